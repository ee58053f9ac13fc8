//! Requests in flight: answered, late, or lost with their connection.

use alloc::collections::BTreeMap;

use crate::config::Config;
use crate::cx::Cx;
use crate::id::{Owner, PeerIx, RequestId};
use crate::kad::pace::Pace;
use crate::kad::{Kad, QueryId, Timer};
use crate::time::{Duration, Instant};
use crate::wire::Message;
use crate::wire::kad::{KadKind, KadMessage};

/// What was asked over a connection that is lost is asked again after this. A shell tells of failed requests before it
/// tells of the end of their connection.
const SECOND_ATTEMPT: Duration = Duration::from_millis(10);

/// Requests in flight whose query is over, kept only to learn whether the peer is alive.
const MAX_ORPHANS: usize = 1024;

/// A connected peer that has not answered when answers usually have come, or at the latest after this part of the
/// request's time, is slow. Who must be dialled has twice that part, once it is known how long handshakes take.
const SLOW_DIVISOR: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Requests {
    in_flight: BTreeMap<RequestId, Sent>,
    /// Requests sent since the start.
    pub(super) sent: u64,
    /// Of peers that were connected when asked.
    pace: Pace,
    /// Of peers that had to be dialled.
    dial_pace: Pace,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) peer: PeerIx,
    /// The answer must be of the same kind.
    pub(super) kind: KadKind,
    purpose: Purpose,
    at: Instant,
    /// Of both attempts.
    deadline: Instant,
    /// The peer had to be dialled first.
    dialled: bool,
    slow: bool,
    attempt: Attempt,
}

/// A peer may close a connection that it has too many of while it is asked over it: the question is asked once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    First,
    /// The connection was lost, the second attempt is due soon.
    Lost,
    Second,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Lookup(QueryId),
    Store(QueryId),
    /// Entry correction, liveness: the answer itself does not matter.
    Touch,
}

impl Sent {
    pub(super) fn new(cx: &Cx<'_>, peer: PeerIx, kind: KadKind, purpose: Purpose) -> Self {
        let dialled = !cx.peers.is_connected(peer);
        let deadline = cx.now + cx.config.kad.request_timeout.max(Duration::from_millis(1));
        Self { peer, kind, purpose, at: cx.now, deadline, dialled, slow: false, attempt: Attempt::First }
    }
}

impl Requests {
    /// Does a request wait for this peer's answer?
    pub(super) fn await_answer_of(&self, peer: PeerIx) -> bool {
        self.in_flight.values().any(|sent| sent.peer == peer)
    }

    pub(super) fn take(&mut self, id: RequestId) -> Option<Sent> {
        self.in_flight.remove(&id)
    }

    /// After this an answer is late.
    fn patience(&self, config: &Config, dialled: bool) -> Duration {
        let (unknown, longest) = patience_limits(config, dialled);
        let pace = if dialled { self.dial_pace } else { self.pace };
        pace.patience(longest).unwrap_or(unknown)
    }

    fn learn(&mut self, config: &Config, dialled: bool, time: Duration) {
        let (_, longest) = patience_limits(config, dialled);
        let pace = if dialled { &mut self.dial_pace } else { &mut self.pace };
        pace.sample(time.min(longest));
    }

    /// How many requests of a lookup are in flight, and how many of them are slow.
    pub(super) fn of_lookup(&self, id: QueryId) -> (usize, usize) {
        let of_lookup = self.in_flight.values().filter(|sent| sent.purpose == Purpose::Lookup(id));
        of_lookup.fold((0, 0), |(all, slow), sent| (all + 1, slow + usize::from(sent.slow)))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }
}

/// How long to wait while nothing is known, and at most.
fn patience_limits(config: &Config, dialled: bool) -> (Duration, Duration) {
    let part = config.kad.request_timeout / SLOW_DIVISOR;
    (part, if dialled { 2 * part } else { part })
}

impl Kad {
    /// Sends a request of its own, beside any lookup.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: KadMessage, purpose: Purpose) {
        let kind = msg.kind;
        self.send(cx, msg.into(), Sent::new(cx, peer, kind, purpose));
    }

    pub(super) fn send(&mut self, cx: &mut Cx<'_>, msg: Message, sent: Sent) {
        let request = cx.request(Owner::Kad, sent.peer, msg);
        self.requests.in_flight.insert(request, sent);
        self.requests.sent += 1;
        let patience = self.requests.patience(cx.config, sent.dialled).max(Duration::from_millis(1));
        self.timers.set(Timer::Request(request), (cx.now + patience).min(sent.deadline));
    }

    /// The connection a request went over is gone. Plans a second attempt if a lookup waits for the answer, and says so.
    pub(super) fn retry_lost(&mut self, cx: &Cx<'_>, id: RequestId) -> bool {
        let Some(sent) = self.requests.in_flight.get_mut(&id) else { return false };
        let is_awaited = !sent.slow && matches!(sent.purpose, Purpose::Lookup(_));
        let again = is_awaited && sent.attempt == Attempt::First;
        if again {
            sent.attempt = Attempt::Lost;
            self.timers.set(Timer::Request(id), cx.now + SECOND_ATTEMPT);
        }
        again
    }

    /// The second attempt, unless the lookup has ended or the peer is out of reach.
    fn ask_again(&mut self, cx: &mut Cx<'_>, lost: &Sent) {
        let question = match lost.purpose {
            Purpose::Lookup(id) => self.queries.question(id),
            Purpose::Store(_) | Purpose::Touch => None,
        };
        if let Some(question) = question.filter(|_| cx.peers.is_reachable(cx.now, lost.peer)) {
            let sent = Sent::new(cx, lost.peer, lost.kind, lost.purpose);
            self.send(cx, question, Sent { deadline: lost.deadline, attempt: Attempt::Second, ..sent });
        } else {
            self.given_up(cx, lost);
        }
    }

    fn given_up(&mut self, cx: &mut Cx<'_>, sent: &Sent) {
        self.doubt(cx, sent.peer);
        self.unanswered(cx, sent);
    }

    /// A request has waited: for its second attempt, or first it counts as slow, then as failed.
    pub(super) fn handle_overdue(&mut self, cx: &mut Cx<'_>, id: RequestId) {
        let Some(sent) = self.requests.in_flight.get_mut(&id) else { return };
        if sent.attempt == Attempt::Lost || sent.slow {
            let sent = *sent;
            self.requests.in_flight.remove(&id);
            return if sent.attempt == Attempt::Lost { self.ask_again(cx, &sent) } else { self.given_up(cx, &sent) };
        }
        sent.slow = true;
        let Sent { peer, purpose, deadline, .. } = *sent;
        self.timers.set(Timer::Request(id), deadline.max(cx.now + Duration::from_millis(1)));
        if let Purpose::Lookup(query) = purpose
            && let Some(lookup) = self.queries.lookup_mut(query)
        {
            lookup.slow(peer);
            self.advance(cx, query);
        }
    }

    pub(super) fn unanswered(&mut self, cx: &mut Cx<'_>, sent: &Sent) {
        match sent.purpose {
            Purpose::Lookup(id) => {
                if let Some(lookup) = self.queries.lookup_mut(id) {
                    lookup.fail(sent.peer);
                    self.advance(cx, id);
                }
            }
            Purpose::Store(id) => self.acknowledged(cx, id, false),
            Purpose::Touch => {}
        }
    }

    pub(super) fn answered(&mut self, cx: &mut Cx<'_>, sent: &Sent, msg: &KadMessage) {
        self.requests.learn(cx.config, sent.dialled, cx.now.since(sent.at));
        match sent.purpose {
            Purpose::Lookup(id) => self.lookup_answered(cx, id, sent.peer, msg),
            Purpose::Store(id) => {
                let ok = self.queries.is_echo(id, msg);
                self.acknowledged(cx, id, ok);
            }
            Purpose::Touch => {}
        }
    }

    pub(super) fn shed_orphans(&mut self) {
        if self.requests.in_flight.len() <= MAX_ORPHANS {
            return;
        }
        self.requests.in_flight.retain(|id, sent| {
            let keep = match sent.purpose {
                Purpose::Lookup(query) | Purpose::Store(query) => self.queries.is_running(query),
                Purpose::Touch => true,
            };
            if !keep {
                self.timers.clear(Timer::Request(*id));
            }
            keep
        });
    }
}
