//! What of the peer book survives a restart: bans, and addresses that have led somewhere.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use super::Peers;
use super::addr::AddrClass;
use crate::action::{Action, StoreRequest, Table, Write};
use crate::config::Config;
use crate::cx::Outbox;
use crate::id::{Owner, PeerId, StoreId};
use crate::input::Row;
use crate::time::{Duration, Instant, UnixTime};

/// Peers whose addresses are stored: enough to find a network again of which most have left.
const MAX_STORED: usize = 256;

/// Addresses are written together, at most this often.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The first ones are written this soon after a connection.
const WRITE_DELAY: Duration = Duration::from_secs(5);

/// What is stored, and what has to be written.
#[derive(Debug, Default)]
pub(super) struct Persist {
    /// Peers with a row, and when (in order of writing) it was last written.
    stored: BTreeMap<PeerId, u64>,
    sequence: u64,
    dirty_addrs: BTreeSet<PeerId>,
    dirty_bans: BTreeSet<PeerId>,
    addrs_at: Option<Instant>,
    bans_at: Option<Instant>,
    written_at: Option<Instant>,
}

impl Persist {
    pub(super) fn note_ban(&mut self, now: Instant, id: PeerId) {
        self.dirty_bans.insert(id);
        self.bans_at.get_or_insert(now);
    }

    pub(super) fn note_addrs(&mut self, now: Instant, id: PeerId) {
        if self.dirty_addrs.len() < MAX_STORED {
            self.dirty_addrs.insert(id);
            let earliest = self.written_at.map_or(now, |at| at + WRITE_INTERVAL);
            self.addrs_at.get_or_insert(earliest.max(now + WRITE_DELAY));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.addrs_at, self.bans_at].into_iter().flatten().min()
    }

    /// Counts a row; returns the peer whose row has to go for it.
    fn count(&mut self, id: PeerId) -> Option<PeerId> {
        self.sequence += 1;
        self.stored.insert(id, self.sequence);
        if self.stored.len() <= MAX_STORED {
            return None;
        }
        let oldest = *self.stored.iter().min_by_key(|(_, written)| **written)?.0;
        self.stored.remove(&oldest);
        Some(oldest)
    }
}

impl Peers {
    /// Writes what is due in one commit.
    pub(super) fn write_rows(&mut self, now: Instant, unix: UnixTime, out: &mut Outbox) {
        let mut writes = Vec::new();
        if self.persist.bans_at.take_if(|at| *at <= now).is_some() {
            for id in core::mem::take(&mut self.persist.dirty_bans) {
                let until = self.bans.until(&id).map(|until| unix + until.since(now));
                let value = until.map(|until| Bytes::copy_from_slice(&until.as_micros().to_be_bytes()));
                writes.push(Write { table: Table::Ban, key: Bytes::copy_from_slice(id.as_bytes()), value });
            }
        }
        if self.persist.addrs_at.take_if(|at| *at <= now).is_some() {
            self.persist.written_at = Some(now);
            for id in core::mem::take(&mut self.persist.dirty_addrs) {
                self.write_addrs(id, &mut writes);
            }
        }
        if !writes.is_empty() {
            let op = StoreId::new(Owner::Peers, out.next_id());
            out.push(Action::Store { op, request: StoreRequest::Commit(writes) });
        }
    }

    fn write_addrs(&mut self, id: PeerId, writes: &mut Vec<Write>) {
        let Some(entry) = self.book.find(&id).and_then(|peer| self.book.get(peer)) else { return };
        let row =
            |id: PeerId, value| Write { table: Table::PeerAddrs, key: Bytes::copy_from_slice(id.as_bytes()), value };
        writes.push(row(id, Some(encode_addrs(entry.addrs.confirmed()))));
        if let Some(dropped) = self.persist.count(id) {
            writes.push(row(dropped, None));
        }
    }

    pub(crate) fn handle_recovered(&mut self, now: Instant, unix: UnixTime, config: &Config, row: Row) {
        self.tick(now);
        let Ok(id) = PeerId::from_bytes(&row.key) else { return };
        match row.table {
            Table::Ban => self.recover_ban(now, unix, config, id, &row.value),
            Table::PeerAddrs => self.recover_addrs(config, id, &row.value),
            Table::Meta | Table::Publisher | Table::Log | Table::Content | Table::Fetch | Table::Segment => {}
        }
    }

    /// A ban is never recovered for longer than a new one would last, whatever the wall clock has done.
    fn recover_ban(&mut self, now: Instant, unix: UnixTime, config: &Config, id: PeerId, value: &[u8]) {
        let until = value.try_into().map_or(0, u64::from_be_bytes);
        let left = Duration::from_micros(until.saturating_sub(unix.as_micros())).min(config.peers.ban_time);
        if left.is_zero() {
            self.persist.note_ban(now, id);
        } else if let Some(lifted) = self.bans.insert(id, now + left) {
            self.persist.note_ban(now, lifted);
        }
    }

    fn recover_addrs(&mut self, config: &Config, id: PeerId, value: &[u8]) {
        if self.persist.stored.len() >= MAX_STORED || id == self.local {
            return;
        }
        self.persist.count(id);
        let peer = self.intern(id);
        let Some(entry) = self.book.get_mut(peer) else { return };
        for addr in decode_addrs(value).into_iter().rev().filter(|addr| AddrClass::of(addr).is_some()) {
            entry.addrs.confirm(addr);
        }
        self.candidate_found(config);
    }
}

/// Each address as its length (2 bytes, big endian) and its bytes.
fn encode_addrs(addrs: &[Multiaddr]) -> Bytes {
    let mut bytes = Vec::new();
    for addr in addrs {
        if let Ok(len) = u16::try_from(addr.len()) {
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(addr.as_ref());
        }
    }
    bytes.into()
}

/// As many addresses as are intact.
fn decode_addrs(mut bytes: &[u8]) -> Vec<Multiaddr> {
    let mut addrs = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let Some((addr, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        addrs.extend(Multiaddr::try_from(addr.to_vec()));
        bytes = rest;
    }
    addrs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn address_rows_round_trip(ports in proptest::collection::vec(1u16.., 0..8)) {
            let addrs: Vec<Multiaddr> =
                ports.iter().map(|port| alloc::format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()).collect();
            prop_assert_eq!(decode_addrs(&encode_addrs(&addrs)), addrs);
        }

        #[test]
        fn damaged_address_rows_are_read_as_far_as_they_are_intact(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(decode_addrs(&bytes).len() <= bytes.len());
        }
    }
}
