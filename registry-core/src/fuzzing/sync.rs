//! Sync beside an empty catalogue, with peers that claim and answer anything.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Choices, TestWorld};
use crate::action::Action;
use crate::catalog::{Catalog, Verdict};
use crate::config::Config;
use crate::id::{Digest, PublisherId, RequestId, Token};
use crate::input::RequestError;
use crate::sync::{Sync, SyncEvent};
use crate::time::Duration;
use crate::wire::registry::{Difference, PARTS, PublisherState, Range, RangeDigest, RegistryMessage};

const PEERS: u64 = 6;

/// A node's sync, and what it still waits for.
struct Bench {
    world: TestWorld,
    sync: Sync,
    catalog: Catalog,
    open: Vec<RequestId>,
    tickets: Vec<u64>,
    /// Calls of `catch_up` not yet followed by `CaughtUp`, at most one answer each.
    owed: usize,
}

impl Bench {
    fn observe(&mut self) {
        let mut answers = 0;
        for action in self.world.actions() {
            match action {
                Action::Request { id, .. } => self.open.push(id),
                Action::Respond { .. } => answers += 1,
                Action::Emit(_) | Action::Disconnect { .. } | Action::Dial { .. } | Action::Store { .. } => {}
                Action::Send { .. }
                | Action::Verify { .. }
                | Action::Sign { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => unreachable!("not sync's"),
            }
        }
        assert!(answers <= 1);
        while let Some(event) = self.sync.poll_event() {
            match event {
                SyncEvent::Entries { ticket, .. } | SyncEvent::Proof { ticket, .. } => self.tickets.push(ticket),
                SyncEvent::NeedHolders { .. } | SyncEvent::Compared => {}
                SyncEvent::CaughtUp { .. } => {
                    self.owed = self.owed.checked_sub(1).expect("caught up without having been asked");
                }
            }
        }
        let (rounds, gaps, requests) = self.sync.load();
        assert!(rounds <= 2 && gaps <= 1024 && requests <= rounds + 4 * 16, "{rounds} {gaps} {requests}");
    }

    fn tell_time(&mut self, by: Duration) {
        self.world.advance(by);
        self.sync.handle_timeout(&mut self.world.cx(), &self.catalog);
        assert!(self.sync.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
    }
}

fn publisher(choices: &mut Choices<'_>) -> PublisherId {
    let mut id = [0; 32];
    id[0] = choices.byte() & 0x11;
    id[1] = choices.byte() & 3;
    PublisherId(Digest(id))
}

fn message(choices: &mut Choices<'_>) -> RegistryMessage {
    match choices.below(8) {
        0 => {
            let digest = Digest([choices.byte() & 1; 32]);
            let ranges = (0..choices.below(3)).map(|_| RangeDigest { range: range(choices), digest });
            RegistryMessage::Compare { ranges: ranges.collect() }
        }
        1..4 => {
            let ranges = (0..choices.below(4)).map(|_| difference(choices)).collect();
            RegistryMessage::Differences { ranges }
        }
        4 => RegistryMessage::GetLog { publisher: publisher(choices), from: choices.u64() },
        5 => RegistryMessage::GetProof { publisher: publisher(choices) },
        6 => RegistryMessage::Proof { proof: Bytes::from_static(&b"proof"[..choices.below(6) as usize]) },
        _ => {
            let entries = (0..choices.below(3)).map(|_| Bytes::from_static(b"entry")).collect();
            RegistryMessage::Log { record: Bytes::from_static(b"record"), from: choices.below(2), entries }
        }
    }
}

fn range(choices: &mut Choices<'_>) -> Range {
    (0..choices.below(70)).fold(Range::ALL, |range, _| range.part(usize::from(choices.byte() & 1)).unwrap_or(range))
}

fn difference(choices: &mut Choices<'_>) -> Difference {
    match choices.below(3) {
        0 => Difference::None,
        1 => Difference::Parts(Box::new([(); PARTS].map(|()| Digest([choices.byte() & 1; 32])))),
        _ => {
            let count = choices.below(4);
            let length = if choices.byte() & 1 == 0 { 1 } else { PublisherState::FORKED };
            let state = |_| PublisherState { publisher: publisher(choices), length, tip: Digest([0; 32]) };
            Difference::States((0..count).map(state).collect())
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.peers.min_connections = 0;
    config.peers.ban_threshold = u32::MAX;
    config
}

/// Peers come, go, ask, answer out of turn, make claims and break them; the catalogue judges late or twice. Work stays
/// bounded, nothing spins, and every gap asked for ends exactly once.
pub fn sync(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut world = TestWorld::new(config());
    let catalog = Catalog::new(&mut world.cx());
    let mut bench = Bench { world, sync: Sync::new(), catalog, open: Vec::new(), tickets: Vec::new(), owed: 0 };
    while !choices.is_empty() {
        let what = choices.byte();
        let n = choices.below(PEERS);
        let peer = bench.world.peers.intern(TestWorld::peer_id(n));
        match what % 10 {
            0 | 1 => {
                let peer = bench.world.connect(n);
                bench.sync.handle_peer_up(&mut bench.world.cx(), peer);
            }
            2 => {
                bench.world.disconnect(peer);
                bench.sync.handle_peer_down(&mut bench.world.cx(), peer);
            }
            3 | 4 => {
                let id = bench.open.pop().unwrap_or(RequestId(choices.u64()));
                let msg = message(&mut choices);
                bench.sync.handle_response(&mut bench.world.cx(), &bench.catalog, id, &msg);
            }
            5 => {
                let id = bench.open.pop().unwrap_or(RequestId(choices.u64()));
                bench.sync.handle_request_failed(&mut bench.world.cx(), &bench.catalog, id, RequestError::Timeout);
            }
            6 => {
                let msg = message(&mut choices);
                bench.sync.handle_request(&mut bench.world.cx(), &bench.catalog, peer, Token(0), &msg);
            }
            7 => {
                let (publisher, want) = (publisher(&mut choices), 200 * choices.below(3));
                bench.owed += 1;
                bench.sync.catch_up(&mut bench.world.cx(), &bench.catalog, publisher, want, Some(peer), want == 400);
            }
            8 => {
                let ticket = bench.tickets.pop().unwrap_or(choices.below(8));
                let verdict = [Verdict::Accept, Verdict::Ignore, Verdict::Reject][usize::from(what / 10 % 3)];
                bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, ticket, verdict);
                let publisher = publisher(&mut choices);
                bench.sync.handle_holders(&mut bench.world.cx(), &bench.catalog, publisher, &[peer]);
            }
            _ => bench.tell_time(Duration::from_millis(choices.below(1 << 17))),
        }
        bench.observe();
    }
    for n in 0..PEERS {
        let peer = bench.world.peers.intern(TestWorld::peer_id(n));
        bench.world.disconnect(peer);
        bench.sync.handle_peer_down(&mut bench.world.cx(), peer);
    }
    for _ in 0..200 {
        bench.tell_time(Duration::from_secs(60));
        bench.observe();
        if bench.sync.next_deadline().is_none() {
            break;
        }
    }
    assert_eq!(bench.sync.load(), (0, 0, 0), "something never ends");
    assert_eq!(bench.sync.next_deadline(), None);
}

#[cfg(test)]
mod tests {
    #[test]
    fn survives_arbitrary_peers() {
        super::super::run(120, super::sync);
    }
}
