//! Messages kept for those who missed them, and authors' sequence numbers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::LookupMap;
use crate::gossip::limits::{MAX_AUTHORS, MAX_CACHE_BYTES, MAX_SERVED};
use crate::gossip::message_id::MessageId;
use crate::id::{Digest, PeerId, PeerIx, TopicName};
use crate::wire::gossip::PubMessage;

/// The message cache: windows of one heartbeat each (`mcache` of the specification).
#[derive(Debug)]
pub(super) struct MessageCache {
    /// Heartbeats a message can be asked for.
    length: u64,
    /// Heartbeats at which a message is gossiped about.
    gossip: u64,
    entries: LookupMap<Digest, Cached>,
    /// In ascending order, none of them empty.
    windows: VecDeque<Window>,
    bytes: usize,
}

/// The messages kept between two heartbeats.
#[derive(Debug)]
struct Window {
    /// The heartbeat before.
    tick: u64,
    keys: VecDeque<Digest>,
}

#[derive(Debug)]
struct Cached {
    msg: Arc<PubMessage>,
    /// As it travels.
    id: Bytes,
    window: u64,
    served: Vec<(PeerIx, u8)>,
    aware: PeerBits,
}

/// Peers by the slots of their handles, a bit each. A slot may pass to another peer while a message is kept: that one is
/// told of the message by others.
#[derive(Debug, Default)]
struct PeerBits(Vec<u64>);

impl PeerBits {
    /// True when the peer was not there.
    fn insert(&mut self, peer: PeerIx) -> bool {
        let (word, bit) = (peer.slot() / 64, 1 << (peer.slot() % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}

impl MessageCache {
    pub(super) fn new(secret: u64, length: usize, gossip: usize) -> Self {
        let length = (length as u64).max(1);
        let gossip = (gossip as u64).clamp(1, length);
        Self { length, gossip, entries: LookupMap::new(secret), windows: VecDeque::new(), bytes: 0 }
    }

    /// Keeps a message of the window after heartbeat `tick`, which `aware` have or are sent now. When bytes run out, the
    /// oldest messages go.
    pub(super) fn put(&mut self, tick: u64, id: MessageId, msg: Arc<PubMessage>, aware: &[PeerIx]) {
        let key = id.key();
        if self.entries.get(&key).is_some() {
            return;
        }
        self.bytes = self.bytes.saturating_add(msg.raw.len());
        self.entries.insert(
            key,
            Cached { msg, id: id.to_bytes(), window: tick, served: Vec::new(), aware: PeerBits::default() },
        );
        aware.iter().for_each(|peer| _ = self.note_aware(&key, *peer));
        match self.windows.back_mut().filter(|window| window.tick == tick) {
            Some(window) => window.keys.push_back(key),
            None => self.windows.push_back(Window { tick, keys: [key].into() }),
        }
        while self.bytes > MAX_CACHE_BYTES && self.drop_oldest() {}
    }

    /// The message, unless the peer has had it often enough.
    pub(super) fn serve(&mut self, tick: u64, key: &Digest, peer: PeerIx) -> Option<Arc<PubMessage>> {
        let cached = self.entries.get_mut(key).filter(|cached| tick < cached.window.saturating_add(self.length))?;
        match cached.served.iter_mut().find(|(served, _)| *served == peer) {
            Some((_, count)) if *count >= MAX_SERVED => return None,
            Some((_, count)) => *count += 1,
            None => cached.served.push((peer, 1)),
        }
        cached.aware.insert(peer);
        Some(cached.msg.clone())
    }

    /// A peer has the message, or was told of it; false when the message is not kept.
    pub(super) fn note_aware(&mut self, key: &Digest, peer: PeerIx) -> bool {
        self.entries.get_mut(key).map(|cached| cached.aware.insert(peer)).is_some()
    }

    pub(super) fn get(&self, key: &Digest) -> Option<Arc<PubMessage>> {
        self.entries.get(key).map(|cached| cached.msg.clone())
    }

    /// As it travels.
    pub(super) fn id(&self, key: &Digest) -> Option<Bytes> {
        self.entries.get(key).map(|cached| cached.id.clone())
    }

    /// What to gossip about at heartbeat `tick`, by topic, oldest first.
    pub(super) fn recent(&self, tick: u64) -> BTreeMap<TopicName, Vec<Digest>> {
        let recent = self.windows.iter().filter(|window| tick <= window.tick.saturating_add(self.gossip));
        self.by_topic(recent.flat_map(|window| &window.keys))
    }

    /// Those of the messages that are kept, in their order.
    pub(super) fn by_topic<'a>(&self, keys: impl IntoIterator<Item = &'a Digest>) -> BTreeMap<TopicName, Vec<Digest>> {
        let mut topics: BTreeMap<TopicName, Vec<Digest>> = BTreeMap::new();
        for key in keys {
            if let Some(cached) = self.entries.get(key) {
                topics.entry(cached.msg.topic.clone()).or_default().push(*key);
            }
        }
        topics
    }

    /// Those of the messages that each peer is not aware of yet; now it is. Peers that lack the same ones are together.
    pub(super) fn tell(&mut self, keys: &[Digest], peers: &[PeerIx]) -> Vec<(Vec<Digest>, Vec<PeerIx>)> {
        let mut lacking: Vec<(Vec<Digest>, PeerIx)> = peers.iter().map(|peer| (Vec::new(), *peer)).collect();
        for key in keys {
            let Some(cached) = self.entries.get_mut(key) else { continue };
            for (keys, peer) in &mut lacking {
                if cached.aware.insert(*peer) {
                    keys.push(*key);
                }
            }
        }
        let mut batches: BTreeMap<Vec<Digest>, Vec<PeerIx>> = BTreeMap::new();
        for (keys, peer) in lacking.into_iter().filter(|(keys, _)| !keys.is_empty()) {
            batches.entry(keys).or_default().push(peer);
        }
        batches.into_iter().collect()
    }

    /// Forgets what is too old at heartbeat `tick`.
    pub(super) fn shift(&mut self, tick: u64) {
        while self.windows.front().is_some_and(|window| window.tick.saturating_add(self.length) <= tick) {
            self.drop_oldest();
        }
    }

    /// The next heartbeat after `ran` that gossips or forgets something.
    pub(super) fn due(&self, ran: u64) -> Option<u64> {
        let next = ran.saturating_add(1);
        let expiry = self.windows.front()?.tick.saturating_add(self.length).max(next);
        let gossiped = self.windows.iter().find(|window| next <= window.tick.saturating_add(self.gossip));
        let gossip = gossiped.map(|window| window.tick.saturating_add(1).max(next));
        Some(gossip.map_or(expiry, |gossip| gossip.min(expiry)))
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(window) = self.windows.front_mut() else { return false };
        let Some(key) = window.keys.pop_front() else { return false };
        if window.keys.is_empty() {
            self.windows.pop_front();
        }
        if let Some(cached) = self.entries.remove(&key) {
            self.bytes = self.bytes.saturating_sub(cached.msg.raw.len());
        }
        true
    }

    pub(super) fn bytes(&self) -> usize {
        let keys = || self.windows.iter().flat_map(|window| &window.keys);
        assert_eq!(self.entries.len(), keys().count());
        assert!(self.windows.iter().all(|window| !window.keys.is_empty()));
        assert_eq!(
            self.bytes,
            keys().filter_map(|key| self.entries.get(key)).map(|it| it.msg.raw.len()).sum::<usize>()
        );
        self.bytes
    }
}

/// For each author, a sequence number below which everything was delivered or is too old: what has left the seen cache
/// cannot be delivered again.
///
/// Numbers of messages that the seen cache still knows do not count, so that messages may overtake each other.
#[derive(Debug, Default)]
pub(super) struct Authors {
    by_id: BTreeMap<PeerId, Author>,
    by_use: BTreeMap<u64, PeerId>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Author {
    used: u64,
    /// Rotation of the seen cache to which `young` and `old` belong.
    rotation: u64,
    young: Option<u64>,
    old: Option<u64>,
    floor: Option<u64>,
}

impl Author {
    fn floor_at(&self, rotation: u64) -> Option<u64> {
        match rotation.saturating_sub(self.rotation) {
            0 => self.floor,
            1 => self.floor.max(self.old),
            _ => self.floor.max(self.old).max(self.young),
        }
    }

    fn rotate_to(&mut self, rotation: u64) {
        self.floor = self.floor_at(rotation);
        match rotation.saturating_sub(self.rotation) {
            0 => {}
            1 => self.old = core::mem::take(&mut self.young),
            _ => (self.young, self.old) = (None, None),
        }
        self.rotation = rotation;
    }
}

impl Authors {
    /// Is a message with this number a replay? `rotation` counts the seen cache's rotations.
    pub(super) fn is_replay(&self, rotation: u64, author: &PeerId, seqno: u64) -> bool {
        self.by_id.get(author).is_some_and(|known| Some(seqno) <= known.floor_at(rotation))
    }

    /// A message just entered the seen cache.
    pub(super) fn note(&mut self, rotation: u64, author: PeerId, seqno: u64) {
        self.uses += 1;
        let known = self.by_id.entry(author).or_insert_with(|| Author { rotation, ..Author::default() });
        known.rotate_to(rotation);
        known.young = known.young.max(Some(seqno));
        let before = core::mem::replace(&mut known.used, self.uses);
        self.by_use.remove(&before);
        self.by_use.insert(self.uses, author);
        if self.by_id.len() > MAX_AUTHORS
            && let Some((_, silent)) = self.by_use.pop_first()
        {
            self.by_id.remove(&silent);
        }
    }

    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_id.len(), self.by_use.len());
        self.by_id.len()
    }
}
