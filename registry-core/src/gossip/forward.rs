//! Messages of others on their way to the mesh.
//!
//! They leave at once while there are few. When there are many, they are gathered for a moment and leave as one RPC per
//! peer, without those that the peer has sent or named meanwhile: a message costs little beside the frame it travels in.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::SendClass;
use crate::cx::Cx;
use crate::gossip::Gossip;
use crate::gossip::message_id::MessageId;
use crate::gossip::send::{broadcast, chunks};
use crate::id::{Digest, PeerIx};
use crate::time::{Duration, Instant, micros};
use crate::wire::gossip::{MAX_FRAME, PubMessage, Rpc};

/// In the long run, messages leave this often: a moment beside the time they take through a wide network.
const PERIOD: Duration = Duration::from_millis(50);
/// So many times in a row they leave at once, after as many periods of silence.
const BURST: u32 = 4;
/// Bytes that fill a frame gain nothing by waiting.
const MAX_GATHERED: usize = MAX_FRAME;

/// Accepted messages that have not left yet. They lie in the message cache.
#[derive(Debug)]
pub(super) struct Gathered {
    keys: Vec<Digest>,
    bytes: usize,
    /// When they may leave `BURST` times in a row again.
    rested: Instant,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { keys: Vec::new(), bytes: 0, rested: Instant::ORIGIN }
    }
}

impl Gathered {
    fn push(&mut self, key: Digest, len: usize) {
        self.keys.push(key);
        self.bytes = self.bytes.saturating_add(len);
    }

    /// When they are to leave.
    pub(super) fn due(&self) -> Option<Instant> {
        let full = self.bytes >= MAX_GATHERED;
        let slack = micros(PERIOD * (BURST - 1));
        let paced = Instant::from_micros(self.rested.as_micros().saturating_sub(slack));
        (!self.keys.is_empty()).then_some(if full { Instant::ORIGIN } else { paced })
    }

    fn take(&mut self, now: Instant) -> Vec<Digest> {
        self.rested = self.rested.max(now) + PERIOD;
        self.bytes = 0;
        core::mem::take(&mut self.keys)
    }

    pub(super) fn bytes(&self) -> usize {
        assert_eq!(self.keys.is_empty(), self.bytes == 0);
        self.bytes
    }
}

impl Gossip {
    /// To be passed on to the mesh, but not to those who have it or do not want it.
    pub(super) fn forward(&mut self, cx: &mut Cx<'_>, id: MessageId, msg: Arc<PubMessage>, holders: &[PeerIx]) {
        let (tick, key, len) = (self.grid.tick(cx.now), id.key(), msg.raw.len());
        let author = msg.from.and_then(|author| cx.peers.find(&author));
        let Some(topic) = self.topics.get(&msg.topic).filter(|topic| topic.joined) else { return };
        let refuses = |peer: &&PeerIx| self.peers.get(**peer).is_some_and(|state| !state.wants(tick, &key));
        let aware: Vec<PeerIx> = topic.mesh.iter().filter(refuses).chain(holders).copied().chain(author).collect();
        self.cache.put(tick, id, msg, &aware);
        self.gathered.push(key, len);
    }

    /// Lets everything leave that is gathered.
    pub(super) fn pass_on(&mut self, cx: &mut Cx<'_>) {
        if self.gathered.keys.is_empty() {
            return;
        }
        let keys = self.gathered.take(cx.now);
        for (name, keys) in self.cache.by_topic(&keys) {
            let Some(topic) = self.topics.get(&name) else { continue };
            let mesh: Vec<PeerIx> = topic.mesh.iter().copied().collect();
            for (keys, peers) in self.cache.tell(&keys, &mesh) {
                let msgs = keys.iter().filter_map(|key| self.cache.get(key)).collect();
                for publish in chunks(msgs, MAX_FRAME, |msg| msg.raw.len()) {
                    broadcast(cx, &peers, Rpc { publish, ..Rpc::default() }, SendClass::Forward);
                }
            }
        }
    }
}
