//! What of the peer book survives a restart: bans, and addresses that have led somewhere or that a connected peer has told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use super::Peers;
use super::addr::{AddrClass, Addrs, acceptable};
use crate::action::{Action, StoreRequest, Table, Write};
use crate::config::Config;
use crate::cx::Outbox;
use crate::id::{Owner, PeerId, StoreId};
use crate::input::Row;
use crate::time::{Duration, Instant, UnixTime};

/// Peers whose addresses are stored: enough to find a network again of which most have left.
const MAX_STORED: usize = 256;

/// Of these written at once, at most so many of peers that were never dialled: an entrance meets many.
const MAX_TOLD: usize = MAX_STORED / 2;

/// Addresses are written together, at most this often.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The first ones are written this soon after a connection.
const WRITE_DELAY: Duration = Duration::from_secs(5);

/// How good a stored peer is: the lower one gives way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Worth {
    /// It has named its addresses.
    Told,
    /// One of its addresses has led to it.
    Reached,
}

/// What is stored, and what has to be written.
#[derive(Debug, Default)]
pub(super) struct Persist {
    /// Peers with a row, and when (in order of writing) it was last written.
    stored: BTreeMap<PeerId, (Worth, u64)>,
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

    pub(super) fn note_addrs(&mut self, now: Instant, id: PeerId, worth: Worth) {
        let room = if worth == Worth::Reached { MAX_STORED } else { MAX_TOLD };
        if self.dirty_addrs.len() < room {
            self.dirty_addrs.insert(id);
            let earliest = self.written_at.map_or(now, |at| at + WRITE_INTERVAL);
            self.addrs_at.get_or_insert(earliest.max(now + WRITE_DELAY));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.addrs_at, self.bans_at].into_iter().flatten().min()
    }

    /// Counts a row; returns the peer whose row has to go for it, which may be this one.
    fn count(&mut self, id: PeerId, worth: Worth) -> Option<PeerId> {
        self.sequence += 1;
        self.stored.insert(id, (worth, self.sequence));
        if self.stored.len() <= MAX_STORED {
            return None;
        }
        let least = *self.stored.iter().min_by_key(|(_, rank)| **rank)?.0;
        self.stored.remove(&least);
        Some(least)
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
        let dropped = self.persist.count(id, entry.addrs.worth());
        if dropped == Some(id) {
            return;
        }
        writes.push(row(id, Some(encode_addrs(entry.addrs.confirmed(), entry.addrs.told()))));
        writes.extend(dropped.map(|dropped| row(dropped, None)));
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
        let peer = self.intern(id);
        let Some(entry) = self.book.get_mut(peer) else { return };
        let (confirmed, told) = decode_addrs(value);
        for addr in confirmed.into_iter().rev().filter(|addr| AddrClass::of(addr).is_some()) {
            entry.addrs.confirm(addr);
        }
        entry.addrs.tell(acceptable(id, &told, config.peers.allow_private_addrs));
        self.persist.count(id, entry.addrs.worth());
        self.candidate_found(config);
    }
}

impl Addrs {
    pub(super) fn worth(&self) -> Worth {
        if self.confirmed().is_empty() { Worth::Told } else { Worth::Reached }
    }
}

/// Each address as its length (2 bytes, big endian) and its bytes; an empty one is between confirmed and told ones.
fn encode_addrs(confirmed: &[Multiaddr], told: &[Multiaddr]) -> Bytes {
    let mut bytes = Vec::new();
    let between = (!told.is_empty()).then(Multiaddr::empty);
    for addr in confirmed.iter().chain(&between).chain(told) {
        if let Ok(len) = u16::try_from(addr.len()) {
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(addr.as_ref());
        }
    }
    bytes.into()
}

/// As many addresses as are intact: confirmed ones and told ones.
fn decode_addrs(mut bytes: &[u8]) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
    let mut addrs = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let Some((addr, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        addrs.extend(Multiaddr::try_from(addr.to_vec()));
        bytes = rest;
    }
    let Some(between) = addrs.iter().position(Multiaddr::is_empty) else { return (addrs, Vec::new()) };
    let told = addrs.split_off(between + 1);
    addrs.pop();
    (addrs, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn address_rows_round_trip(ports in proptest::collection::vec(1u16.., 0..8), confirmed in 0usize..8) {
            let addrs: Vec<Multiaddr> =
                ports.iter().map(|port| alloc::format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()).collect();
            let (confirmed, told) = addrs.split_at(confirmed.min(addrs.len()));
            prop_assert_eq!(decode_addrs(&encode_addrs(confirmed, told)), (confirmed.to_vec(), told.to_vec()));
        }

        #[test]
        fn damaged_address_rows_are_read_as_far_as_they_are_intact(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (confirmed, told) = decode_addrs(&bytes);
            prop_assert!(confirmed.len() + told.len() <= bytes.len());
        }
    }
}
