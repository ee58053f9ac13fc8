//! What is announced in the DHT: few at a time, each kept until somebody has heard it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::action::Action;
use crate::cx::Cx;
use crate::event::{DhtResult, Event};
use crate::id::OpId;
use crate::kad::QueryId;
use crate::node::operations::{Announcement, DhtKind, Operation, Purpose};
use crate::node::{Node, cx};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// Announcements running at once. A restarted node with a thousand contents must not start a thousand lookups.
const MAX_RUNNING: usize = 4;

/// First wait after an announcement that nobody took; doubles up to `MAX_RETRY`.
const MIN_RETRY: Duration = Duration::from_secs(5);
const MAX_RETRY: Duration = Duration::from_secs(600);

/// One thing to announce, and the publish that waits for it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) what: Announcement,
    pub(super) op: Option<OpId>,
}

#[derive(Debug)]
pub(super) struct Announcer {
    queue: VecDeque<Item>,
    running: BTreeMap<QueryId, Item>,
    retry: Duration,
    not_before: Option<Instant>,
}

impl Announcer {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), running: BTreeMap::new(), retry: MIN_RETRY, not_before: None }
    }

    /// Adds what somebody waits for in front of what can wait.
    pub(super) fn push(&mut self, item: Item) {
        if item.op.is_some() {
            self.queue.push_front(item);
        } else if !self.queue.iter().any(|queued| queued.what == item.what) {
            self.queue.push_back(item);
        }
    }

    /// The next item that may start. What a publish waits for never waits for the retry time.
    pub(super) fn next(&mut self, now: Instant) -> Option<Item> {
        self.not_before = self.not_before.filter(|at| now < *at);
        let urgent = self.queue.front().is_some_and(|item| item.op.is_some());
        let may_start = self.not_before.is_none() && self.running.len() < MAX_RUNNING;
        if urgent || may_start { self.queue.pop_front() } else { None }
    }

    pub(super) fn started(&mut self, query: QueryId, item: Item) {
        self.running.insert(query, item);
    }

    /// An announcement reached `holders` servers. With none it is kept for a later try.
    pub(super) fn finished(&mut self, now: Instant, rng: &mut Rng, query: QueryId, holders: u32) -> Option<Item> {
        let item = self.running.remove(&query)?;
        if holders == 0 {
            self.push(Item { what: item.what.clone(), op: None });
            self.not_before = Some(now + rng.jitter(self.retry));
            self.retry = (self.retry * 2).min(MAX_RETRY);
        } else {
            self.not_before = None;
            self.retry = MIN_RETRY;
        }
        Some(item)
    }

    /// A DHT server is known: try now.
    pub(super) fn hurry(&mut self) {
        self.not_before = None;
        self.retry = MIN_RETRY;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.queue.is_empty() { None } else { self.not_before }
    }

    pub(super) fn backlog(&self) -> usize {
        self.queue.len() + self.running.len()
    }
}

impl Node {
    pub(super) fn announce(&mut self, what: Announcement, op: Option<OpId>) {
        self.announcer.push(Item { what, op });
    }

    /// After a restart: the own head record, the own log, every complete content.
    pub(super) fn announce_all(&mut self) {
        if let Some(publisher) = self.local.publisher.as_ref().map(|publisher| publisher.id)
            && self.catalog.record(publisher).is_some()
        {
            self.announce(Announcement::Record(publisher), None);
            self.announce(Announcement::Provider(publisher.0.to_multihash()), None);
        }
        let contents: Vec<_> = self.exchange.contents().collect();
        for root in contents {
            self.announce(Announcement::Provider(root.digest.to_multihash()), None);
        }
    }

    /// Starts one waiting announcement; false when none may start.
    pub(super) fn start_announcement(&mut self) -> bool {
        let Some(item) = self.announcer.next(self.now) else { return false };
        let query = match &item.what {
            Announcement::Record(publisher) => {
                let value = self.catalog.record(*publisher).unwrap_or_default();
                self.kad.put_value(cx!(self, kad), publisher.record_key(), value)
            }
            Announcement::Provider(key) => self.kad.provide(cx!(self, kad), key.clone()),
        };
        self.operations.start_query(query, Purpose::Announce);
        self.announcer.started(query, item);
        true
    }

    /// A put or a provide is over: an announcement, or a DHT command.
    pub(super) fn finish_announcement(&mut self, query: QueryId, holders: u32) {
        match self.operations.end_query(query) {
            Some(Purpose::Announce) => {
                let item = self.announcer.finished(self.now, &mut self.rngs.node, query, holders);
                if let Some(op) = item.and_then(|item| item.op) {
                    self.publish_moved(op, |publish| publish.acks = Some(holders));
                }
            }
            Some(Purpose::Command(op)) => {
                let result = match self.operations.remove(op) {
                    Some(Operation::Dht { kind: DhtKind::Put, .. }) => DhtResult::Stored { acks: holders },
                    Some(_) => DhtResult::Provided { sent: holders },
                    None => return,
                };
                self.out.push(Action::Emit(Event::Dht { op, result }));
            }
            Some(Purpose::Content(_) | Purpose::Holders(_) | Purpose::OwnLog | Purpose::Head(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Digest, PublisherId};
    use crate::rng::Seed;

    #[test]
    fn what_nobody_took_waits_once_and_lets_others_go_first() {
        let (mut announcer, mut rng) = (Announcer::new(), Rng::new(Seed([7; 32]), "announcer"));
        let now = Instant::ORIGIN;
        let record = Announcement::Record(PublisherId(Digest([1; 32])));
        let provider = Announcement::Provider(bytes::Bytes::from_static(b"key"));
        for op in 1..=3 {
            announcer.push(Item { what: record.clone(), op: Some(OpId(op)) });
            let item = announcer.next(now).expect("a publish waits for it");
            announcer.started(QueryId(op), item);
        }
        announcer.push(Item { what: provider.clone(), op: None });
        for op in 1..=3 {
            let ended = announcer.finished(now, &mut rng, QueryId(op), 0);
            assert_eq!(ended.and_then(|item| item.op), Some(OpId(op)));
        }
        assert_eq!(announcer.backlog(), 2, "the record is announced again once, not once per release");
        assert!(announcer.next(now).is_none());
        let due = announcer.next_deadline().expect("a later try");
        assert!(due > now);
        for (query, what) in [(4, provider), (5, record)] {
            let item = announcer.next(due).expect("due");
            assert_eq!(item.what, what);
            announcer.started(QueryId(query), item);
            announcer.finished(due, &mut rng, QueryId(query), 3);
        }
        assert_eq!((announcer.backlog(), announcer.next_deadline()), (0, None));
    }
}
