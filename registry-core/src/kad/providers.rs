//! Provider records kept for others.
//!
//! Space is shared fairly, so that neither those who came first nor those who come last own it:
//! * one peer may fill at most a quarter of the store; beyond that its further records are refused;
//! * of the peers that contend for one key, or for being known as a provider at all, those stay whose hash under this
//!   node's secret is lowest: an outcome that does not depend on the order or the number of announcements;
//! * in a full store the peer with most records gives up the one that expires first, unless the newcomer's peer has as
//!   many itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::config::KadConfig;
use crate::id::{Digest, PeerIx};
use crate::kad::position::Position;
use crate::peers::Peers;
use crate::time::{Duration, Instant};

/// The longest multihash a provider record is kept for (K23).
pub(crate) const MAX_KEY: usize = 80;

/// The longest life of a record (K25).
const MAX_TTL: Duration = Duration::from_secs(48 * 3600);

/// Peers whose records are kept. Each is pinned in the peer book, addresses included.
const MAX_SOURCES: usize = 1024;

/// One peer may have at most this share of the store.
const SHARE_OF_ONE_SOURCE: usize = 4;

/// Keyed by position: keys themselves are never needed again.
#[derive(Debug)]
pub(crate) struct Providers {
    secret: [u8; 32],
    keys: BTreeMap<Position, Vec<Record>>,
    sources: BTreeMap<PeerIx, Source>,
    /// (records, peer), to find the peer with most.
    by_size: BTreeSet<(usize, PeerIx)>,
    /// (lot, peer), to find the contender to be left out.
    by_lot: BTreeSet<(Digest, PeerIx)>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    peer: PeerIx,
    expires: Instant,
}

#[derive(Debug)]
struct Source {
    lot: Digest,
    records: BTreeSet<(Instant, Position)>,
}

impl Providers {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            keys: BTreeMap::new(),
            sources: BTreeMap::new(),
            by_size: BTreeSet::new(),
            by_lot: BTreeSet::new(),
            len: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps or renews a record; false when the quotas leave no room for it.
    pub(crate) fn add(
        &mut self,
        peers: &mut Peers,
        config: &KadConfig,
        now: Instant,
        key: Position,
        peer: PeerIx,
    ) -> bool {
        let expires = now + config.provider_ttl.min(MAX_TTL);
        let known = self.keys.get(&key).is_some_and(|records| records.iter().any(|record| record.peer == peer));
        if known {
            self.remove(peers, key, peer);
        } else if !self.make_room(peers, config, key, peer) {
            return false;
        }
        self.insert(peers, key, Record { peer, expires });
        true
    }

    /// Providers of a key whose records have not expired, in the order of their arrival.
    pub(crate) fn get(&self, now: Instant, key: Position) -> Vec<PeerIx> {
        let records = self.keys.get(&key).map_or(&[][..], |records| records);
        records.iter().filter(|record| record.expires > now).map(|record| record.peer).collect()
    }

    /// Peers with records that have not expired.
    pub(crate) fn sources(&self, now: Instant) -> impl Iterator<Item = PeerIx> + '_ {
        let last = |source: &Source| source.records.last().map(|(expires, _)| *expires);
        self.sources.iter().filter(move |(_, source)| last(source) > Some(now)).map(|(peer, _)| *peer)
    }

    /// Drops everything a peer announced.
    pub(crate) fn remove_source(&mut self, peers: &mut Peers, peer: PeerIx) {
        let records: Vec<_> = self.sources.get(&peer).into_iter().flat_map(|source| &source.records).copied().collect();
        for (_, key) in records {
            self.remove(peers, key, peer);
        }
    }

    /// Drops what has expired.
    pub(crate) fn expire(&mut self, peers: &mut Peers, now: Instant) {
        let mut expired = Vec::new();
        for (peer, source) in &self.sources {
            let due = source.records.iter().take_while(|(at, _)| *at <= now);
            expired.extend(due.map(|(_, key)| (*key, *peer)));
        }
        for (key, peer) in expired {
            self.remove(peers, key, peer);
        }
    }

    /// See `Kad::assert_bounds`.
    pub(crate) fn assert_consistent(&self, config: &KadConfig) {
        let records = self.keys.values().map(Vec::len);
        assert_eq!(records.sum::<usize>(), self.len);
        assert!(self.len <= config.max_provider_records.max(1) && self.sources.len() <= MAX_SOURCES);
        assert!(self.keys.values().all(|of_key| (1..=config.max_providers_per_key.max(1)).contains(&of_key.len())));
        let quota = (config.max_provider_records / SHARE_OF_ONE_SOURCE).max(1);
        for (peer, source) in &self.sources {
            assert!((1..=quota).contains(&source.records.len()));
            assert!(
                self.by_size.contains(&(source.records.len(), *peer)) && self.by_lot.contains(&(source.lot, *peer))
            );
            let listed = |(expires, key): &(Instant, Position)| {
                let of_key = self.keys.get(key).into_iter().flatten();
                of_key.filter(|record| record.peer == *peer && record.expires == *expires).count() == 1
            };
            assert!(source.records.iter().all(listed));
        }
        assert_eq!((self.by_size.len(), self.by_lot.len()), (self.sources.len(), self.sources.len()));
        assert_eq!(self.sources.values().map(|source| source.records.len()).sum::<usize>(), self.len);
    }

    /// See the module's documentation.
    fn make_room(&mut self, peers: &mut Peers, config: &KadConfig, key: Position, peer: PeerIx) -> bool {
        let lot = self.lot(peers, peer);
        let mine = self.sources.get(&peer).map_or(0, |source| source.records.len());
        if mine >= (config.max_provider_records / SHARE_OF_ONE_SOURCE).max(1) {
            return false;
        }
        let contenders = self.keys.get(&key).map_or(&[][..], |records| records);
        if contenders.len() >= config.max_providers_per_key.max(1) {
            let lots = contenders.iter().map(|record| (self.lot(peers, record.peer), record.peer));
            match lots.max() {
                Some((highest, loser)) if lot < highest => self.remove(peers, key, loser),
                Some(_) | None => return false,
            }
        }
        if mine == 0 && self.sources.len() >= MAX_SOURCES {
            match self.by_lot.last().copied() {
                Some((highest, loser)) if lot < highest => self.remove_source(peers, loser),
                Some(_) | None => return false,
            }
        }
        if self.len >= config.max_provider_records.max(1) {
            match self.by_size.last().copied() {
                Some((most, loser)) if most > mine => self.remove_first(peers, loser),
                Some(_) | None => self.remove_first(peers, peer),
            }
        }
        self.len < config.max_provider_records.max(1)
    }

    fn remove_first(&mut self, peers: &mut Peers, peer: PeerIx) {
        let first = self.sources.get(&peer).and_then(|source| source.records.first().copied());
        if let Some((_, key)) = first {
            self.remove(peers, key, peer);
        }
    }

    fn insert(&mut self, peers: &mut Peers, key: Position, record: Record) {
        let lot = self.lot(peers, record.peer);
        let source = self.sources.entry(record.peer).or_insert_with(|| {
            peers.pin(record.peer);
            self.by_lot.insert((lot, record.peer));
            Source { lot, records: BTreeSet::new() }
        });
        self.by_size.remove(&(source.records.len(), record.peer));
        source.records.insert((record.expires, key));
        self.by_size.insert((source.records.len(), record.peer));
        self.keys.entry(key).or_default().push(record);
        self.len += 1;
    }

    fn remove(&mut self, peers: &mut Peers, key: Position, peer: PeerIx) {
        let Some(records) = self.keys.get_mut(&key) else { return };
        let Some(at) = records.iter().position(|record| record.peer == peer) else { return };
        let expires = records.remove(at).expires;
        if records.is_empty() {
            self.keys.remove(&key);
        }
        self.len -= 1;
        let Some(source) = self.sources.get_mut(&peer) else { return };
        self.by_size.remove(&(source.records.len(), peer));
        source.records.remove(&(expires, key));
        if source.records.is_empty() {
            self.by_lot.remove(&(source.lot, peer));
            self.sources.remove(&peer);
            peers.release(peer);
        } else {
            self.by_size.insert((source.records.len(), peer));
        }
    }

    fn lot(&self, peers: &Peers, peer: PeerIx) -> Digest {
        if let Some(source) = self.sources.get(&peer) {
            return source.lot;
        }
        let id = peers.id(peer);
        let mut bytes = [0; 32 + crate::PeerId::MAX_LEN];
        let (head, tail) = bytes.split_at_mut(32);
        head.copy_from_slice(&self.secret);
        let id = id.as_ref().map_or(&[][..], |id| id.as_bytes());
        tail.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        Digest::of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::TestWorld;
    use proptest::prelude::*;

    fn key(number: u8) -> Position {
        Position::of(&[number])
    }

    #[test]
    fn a_renewed_record_lives_on_and_an_expired_one_is_not_found() {
        let mut world = TestWorld::default();
        let config = KadConfig { provider_ttl: Duration::from_secs(100), ..KadConfig::default() };
        let mut store = Providers::new([0; 32]);
        let peers = [1, 2].map(|n| world.know(n));
        for peer in peers {
            assert!(store.add(&mut world.peers, &config, world.now, key(0), peer));
        }
        world.advance(Duration::from_secs(60));
        assert!(store.add(&mut world.peers, &config, world.now, key(0), peers[0]));
        world.advance(Duration::from_secs(60));
        assert_eq!(store.get(world.now, key(0)), [peers[0]]);
        store.expire(&mut world.peers, world.now);
        assert_eq!(store.len, 1);
        store.remove_source(&mut world.peers, peers[0]);
        assert!(store.is_empty() && store.sources.is_empty());
    }

    #[test]
    fn in_a_full_store_the_largest_source_makes_room() {
        let mut world = TestWorld::default();
        let config = KadConfig { max_provider_records: 16, ..KadConfig::default() };
        let mut store = Providers::new([0; 32]);
        let peers: Vec<_> = (1..=6).map(|n| world.know(n)).collect();
        for (n, peer) in peers[..4].iter().enumerate() {
            for k in 0..4 {
                world.advance(Duration::from_secs(1));
                assert!(store.add(&mut world.peers, &config, world.now, key(4 * n as u8 + k), *peer));
            }
        }
        assert!(!store.add(&mut world.peers, &config, world.now, key(99), peers[0]), "no more than a quarter");
        for (n, size) in [(0, 1), (1, 2), (2, 3)] {
            assert!(store.add(&mut world.peers, &config, world.now, key(100 + n), peers[4]));
            assert_eq!((store.sources[&peers[4]].records.len(), store.len), (size, 16));
        }
        assert!(store.add(&mut world.peers, &config, world.now, key(110), peers[4]));
        assert!(store.sources.values().all(|source| source.records.len() <= 4), "nobody was pushed out");
        assert_eq!(store.sources.len(), 5);
        store.assert_consistent(&config);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn quotas_hold(steps in proptest::collection::vec((0u8..12, 1u64..14, 0u8..10), 0..120)) {
            let mut world = TestWorld::default();
            let config = KadConfig {
                max_provider_records: 20,
                max_providers_per_key: 3,
                provider_ttl: Duration::from_secs(50),
                ..KadConfig::default()
            };
            let mut store = Providers::new([1; 32]);
            for (number, peer, what) in steps {
                let peer = world.know(peer);
                match what {
                    0 => store.remove_source(&mut world.peers, peer),
                    1 => store.expire(&mut world.peers, world.now),
                    2 => world.advance(Duration::from_secs(20)),
                    _ => {
                        let kept = store.add(&mut world.peers, &config, world.now, key(number), peer);
                        prop_assert_eq!(kept, store.get(world.now, key(number)).contains(&peer));
                    }
                }
                store.assert_consistent(&config);
            }
        }
    }
}
