//! A publish from the command to the last acknowledgement: the own log is checked, the catalogue signs and stores, then
//! the DHT and pubsub are told.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::Action;
use crate::catalog::{Content, NewRelease, Order, ReleaseInfo, Says, Wish};
use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::{BatchOutcome, Event, OpError, Refusal, Stage};
use crate::id::OpId;
use crate::node::operations::{Announcement, OPERATION_TIMEOUT, Operation, Publish, Purpose};
use crate::node::{Node, cx};
use crate::sync::EVERYTHING;

/// Is the own log known to be at least as long as the network's copy? Signing on a shorter one would fork it.
#[derive(Debug)]
pub(super) enum OwnLog {
    Unchecked,
    /// Publishes wait for the lookup of the record, then perhaps for the missing statements.
    Checking {
        waiting: Vec<Order>,
        looked_up: bool,
    },
    Current,
}

impl Node {
    pub(super) fn publish(&mut self, op: OpId, says: Says) -> Result<(), CommandError> {
        self.catalog.check_publish(&says)?;
        self.operations.insert(op, Operation::Publish(Publish::default()), Some(self.now + OPERATION_TIMEOUT));
        self.start_order(Order { op, wish: Wish::One(says.into()) });
        Ok(())
    }

    pub(super) fn publish_batch(&mut self, op: OpId, releases: Vec<NewRelease>) -> Result<(), CommandError> {
        self.catalog.check_batch(releases.len())?;
        self.operations.insert(op, Operation::PublishBatch, Some(self.now + OPERATION_TIMEOUT));
        self.start_order(Order { op, wish: Wish::Batch(releases) });
        Ok(())
    }

    fn start_order(&mut self, order: Order) {
        let Some(publisher) = self.local.publisher.as_ref().map(|publisher| publisher.id) else { return };
        for new in order.wish.releases() {
            if let Content::Root { root, .. } = new.content {
                self.exchange.add_local(cx!(self, exchange), root);
            }
        }
        match &mut self.own_log {
            OwnLog::Current => self.catalog.publish(cx!(self, catalog), order),
            OwnLog::Checking { waiting, .. } => waiting.push(order),
            OwnLog::Unchecked if self.peers.connected().next().is_none() => {
                if self.catalog.has_whole_own_log() {
                    self.catalog.publish(cx!(self, catalog), order);
                } else {
                    self.fail(order.op, OpError::Refused(Refusal::LogUnsynced));
                }
            }
            OwnLog::Unchecked => {
                self.out.push(Action::Emit(Event::Progress { op: order.op, stage: Stage::CheckingLog }));
                self.own_log = OwnLog::Checking { waiting: alloc::vec![order], looked_up: false };
                let query = self.kad.get_value(cx!(self, kad), publisher.record_key());
                self.operations.start_query(query, Purpose::OwnLog);
            }
        }
    }

    /// The network's copy of the own head record: go on when it is not longer, fetch what is missing when it is. In a
    /// store that may have lost statements, peers are asked for more of the log in any case: the last ones may have
    /// reached some of them, and the record nobody.
    pub(super) fn learn_own_log(&mut self, record: Option<Bytes>) {
        let Some(publisher) = self.local.publisher.as_ref().map(|publisher| publisher.id) else { return };
        if let OwnLog::Checking { looked_up, .. } = &mut self.own_log {
            *looked_up = true;
        }
        let behind = record.as_ref().is_some_and(|record| self.catalog.is_behind(publisher, record));
        if let Some(record) = record {
            self.catalog.handle_head_record(cx!(self, catalog), record);
        }
        if behind || !self.catalog.has_whole_own_log() {
            self.sync.catch_up(cx!(self, sync), &self.catalog, publisher, EVERYTHING, None, true);
        } else {
            self.own_log_fetched(true);
        }
    }

    /// As much of the own log is here as could be found, or time has run out; is that all there is known to be? Before
    /// the lookup is answered nobody knows: an old head that somebody has told may count less than the record.
    pub(super) fn own_log_fetched(&mut self, ok: bool) {
        if let OwnLog::Unchecked | OwnLog::Checking { looked_up: false, .. } = self.own_log {
            return;
        }
        let is_found = self.catalog.has_own_log() && (ok || self.catalog.has_whole_own_log());
        let next = if is_found { OwnLog::Current } else { OwnLog::Unchecked };
        let OwnLog::Checking { waiting, .. } = core::mem::replace(&mut self.own_log, next) else { return };
        for order in waiting {
            if !is_found {
                self.fail(order.op, OpError::Refused(Refusal::LogUnsynced));
            } else if self.operations.contains(order.op) {
                self.catalog.publish(cx!(self, catalog), order);
            }
        }
    }

    pub(super) fn announce_release(&mut self, op: OpId, release: Arc<ReleaseInfo>, announcement: Bytes) {
        let publisher = release.release.publisher;
        for stage in [Stage::Stored, Stage::Announcing] {
            self.out.push(Action::Emit(Event::Progress { op, stage }));
        }
        if let Some(publish) = self.operations.publish_mut(op) {
            publish.release = Some(release);
        }
        self.announce(Announcement::Record(publisher), Some(op));
        self.announce(Announcement::Provider(publisher.0.to_multihash()), None);
        if self.gossip.publish(cx!(self, gossip), Some(op), self.topic.clone(), announcement).is_err() {
            self.publish_moved(op, |publish| publish.sent = Some(0));
        }
    }

    pub(super) fn finish_batch(&mut self, op: OpId, outcomes: Vec<BatchOutcome>) {
        if self.operations.remove(op).is_some() {
            self.out.push(Action::Emit(Event::BatchPublished { op, outcomes }));
        }
    }

    pub(super) fn announce_head(&mut self, announcement: Bytes) {
        if let Some(publisher) = self.local.publisher.as_ref().map(|publisher| publisher.id) {
            self.announce(Announcement::Record(publisher), None);
            self.announce(Announcement::Provider(publisher.0.to_multihash()), None);
            // With a full queue the DHT record carries the head alone.
            let _ = self.gossip.publish(cx!(self, gossip), None, self.topic.clone(), announcement);
        }
    }

    /// A publish is done once the DHT and pubsub have both answered.
    pub(super) fn publish_moved(&mut self, op: OpId, change: impl FnOnce(&mut Publish)) {
        let Some(publish) = self.operations.publish_mut(op) else { return };
        change(publish);
        if let Publish { release: Some(release), acks: Some(acks), sent: Some(sent) } = publish {
            let event = Event::Published { op, release: release.clone(), acks: *acks, sent: *sent };
            self.operations.remove(op);
            self.out.push(Action::Emit(event));
        }
    }
}
