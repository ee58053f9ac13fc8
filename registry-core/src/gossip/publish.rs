//! Own messages: a sequence number that never repeats, a signature, and to whom they go.
//!
//! Sequence numbers are microseconds since 1970, or one more than the last. They are reserved in the store an hour ahead,
//! and after a restart the first one lies above the reservation: no number is used twice, whatever the clock does.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{SendClass, SigningKey, StoreRequest, Table, Write};
use crate::command::CommandError;
use crate::cx::Cx;
use crate::event::OpError;
use crate::gossip::limits::{MAX_DRAFTS, MAX_MESSAGE};
use crate::gossip::message_id::MessageId;
use crate::gossip::send::broadcast;
use crate::gossip::{Gossip, GossipEvent};
use crate::id::{JobId, OpId, Owner, PeerIx, StoreId, TopicName};
use crate::input::{Row, StoreResult};
use crate::wire::gossip::{MAX_TOPIC, PubMessage, Rpc};

/// The row of `Table::Meta` that holds the first number not reserved (8 bytes, big endian).
pub(super) const SEQNO_KEY: &[u8] = b"gossip/seqno";
/// An hour of microseconds: one write per hour of publishing.
pub(super) const RESERVE: u64 = 3_600_000_000;

#[derive(Debug, Default)]
pub(super) struct OwnMessages {
    last: u64,
    /// The first number that is not durable.
    reserved: u64,
    reserving: Option<(StoreId, u64)>,
    waiting: VecDeque<Draft>,
    signing: BTreeMap<JobId, (u64, Draft)>,
}

#[derive(Debug)]
struct Draft {
    op: Option<OpId>,
    topic: TopicName,
    data: Bytes,
}

impl OwnMessages {
    pub(super) fn handle_recovered(&mut self, row: &Row) {
        if row.key == SEQNO_KEY
            && let Ok(bytes) = <[u8; 8]>::try_from(&row.value[..])
        {
            self.reserved = u64::from_be_bytes(bytes);
            self.last = self.reserved.saturating_sub(1);
        }
    }

    /// Gives numbers to waiting drafts and hands them to the signer, as far as the reservation goes.
    fn advance(&mut self, cx: &mut Cx<'_>) {
        while let Some(draft) = self.waiting.front() {
            let seqno = self.last.saturating_add(1).max(cx.unix.as_micros());
            if seqno >= self.reserved {
                self.reserve(cx, seqno.saturating_add(RESERVE));
                return;
            }
            let bytes = PubMessage::bytes_to_sign(&cx.local.id, seqno, &draft.topic, &draft.data);
            let job = cx.sign(Owner::Gossip, SigningKey::Node, bytes);
            self.last = seqno;
            if let Some(draft) = self.waiting.pop_front() {
                self.signing.insert(job, (seqno, draft));
            }
        }
    }

    fn reserve(&mut self, cx: &mut Cx<'_>, bound: u64) {
        if self.reserving.is_none() {
            let value = Some(Bytes::copy_from_slice(&bound.to_be_bytes()));
            let write = Write { table: Table::Meta, key: Bytes::from_static(SEQNO_KEY), value };
            self.reserving = Some((cx.store(Owner::Gossip, StoreRequest::Commit(alloc::vec![write])), bound));
        }
    }
}

impl Gossip {
    /// Signs and sends; ends in `Published`. `op` comes back in it. Own messages are not delivered to this node.
    ///
    /// # Errors
    /// `Invalid` when the message does not fit a frame, `Busy` when too many wait for the store or for signatures.
    pub(crate) fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        op: Option<OpId>,
        topic: TopicName,
        data: Bytes,
    ) -> Result<(), CommandError> {
        let too_long =
            |field, limit: usize| CommandError::Invalid { field, reason: alloc::format!("longer than {limit} bytes") };
        if topic.len() > MAX_TOPIC {
            return Err(too_long("topic", MAX_TOPIC));
        }
        if data.len() > MAX_MESSAGE - MAX_TOPIC {
            return Err(too_long("data", MAX_MESSAGE - MAX_TOPIC));
        }
        if self.own.waiting.len() + self.own.signing.len() >= MAX_DRAFTS {
            return Err(CommandError::Busy);
        }
        self.own.waiting.push_back(Draft { op, topic, data });
        self.own.advance(cx);
        Ok(())
    }

    pub(super) fn reserved(&mut self, cx: &mut Cx<'_>, op: StoreId, result: &StoreResult) {
        let Some((_, bound)) = self.own.reserving.take_if(|(reserving, _)| *reserving == op) else { return };
        if *result == StoreResult::Done {
            self.own.reserved = bound;
            self.own.advance(cx);
            return;
        }
        for draft in core::mem::take(&mut self.own.waiting) {
            self.events.push_back(GossipEvent::Published { op: draft.op, sent: Err(OpError::Storage) });
        }
    }

    pub(super) fn signed(&mut self, cx: &mut Cx<'_>, job: JobId, signature: Option<Bytes>) {
        let Some((seqno, Draft { op, topic, data })) = self.own.signing.remove(&job) else { return };
        let Some(signature) = signature else {
            self.events.push_back(GossipEvent::Published { op, sent: Err(OpError::Signing) });
            return;
        };
        let author = cx.local.id;
        let key = author.inlined_key().is_none().then(|| cx.local.public_key.clone());
        let msg = Arc::new(PubMessage::new(author, seqno, topic, data, signature, key));
        let id = MessageId::of(cx.config.gossip.content_ids, &msg, author, seqno);
        self.seen.insert(cx.now, id.key());
        self.settle(&id.key());
        let peers = self.recipients(cx, &msg, &id);
        self.cache.put(self.grid.tick(cx.now), id, msg.clone(), &peers);
        let sent = broadcast(cx, &peers, Rpc { publish: alloc::vec![msg], ..Rpc::default() }, SendClass::Own);
        self.events.push_back(GossipEvent::Published { op, sent: Ok(sent) });
        // What else there is for them leaves with it.
        self.pass_on(cx);
    }

    /// G2: all subscribers when flooding, else the mesh, or the fanout of a topic that is not joined.
    fn recipients(&mut self, cx: &mut Cx<'_>, msg: &PubMessage, id: &MessageId) -> Vec<PeerIx> {
        if !self.has_joined(&msg.topic) {
            self.touch_fanout(cx, &msg.topic);
        }
        let chosen = match self.topics.get(&msg.topic) {
            Some(_) if cx.config.gossip.flood_publish => self.ready_subscribers(&msg.topic),
            Some(topic) => topic.partners().iter().copied().collect(),
            None => Vec::new(),
        };
        let (tick, key) = (self.grid.tick(cx.now), id.key());
        let wants = |peer: &PeerIx| self.peers.get(*peer).is_some_and(|state| state.wants(tick, &key));
        chosen.into_iter().filter(wants).collect()
    }
}
