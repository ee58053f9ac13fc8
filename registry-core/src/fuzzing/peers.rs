//! The peer book under a shell that says anything in any order.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Choices, TestWorld};
use crate::action::Action;
use crate::config::Config;
use crate::id::{DialId, PeerId, PeerIx, RequestId};
use crate::input::{DialError, Identity, ProtocolSet, Side};
use crate::peers::{Offence, PeerEvent};
use crate::time::Duration;
use crate::wire::Protocol;
use crate::wire::registry::RegistryMessage;

/// Peers in play: more than the book may know.
const PEERS: u64 = 24;

/// What the outside can tell of the book's state.
#[derive(Default)]
struct Model {
    up: BTreeSet<PeerIx>,
    connected: BTreeSet<PeerId>,
    most_connected: usize,
    open: BTreeSet<RequestId>,
    dials: BTreeMap<DialId, Option<PeerId>>,
}

impl Model {
    fn observe(&mut self, world: &mut TestWorld) {
        for event in world.peer_events() {
            match event {
                PeerEvent::Up { peer, side: _ } => assert!(self.up.insert(peer), "up twice"),
                PeerEvent::Down { peer } => assert!(self.up.remove(&peer), "down without up"),
                PeerEvent::RequestFailed { id, why: _ } => assert!(self.open.remove(&id), "a request ended twice"),
                PeerEvent::Protocols { .. }
                | PeerEvent::Banned { .. }
                | PeerEvent::Dialled { .. }
                | PeerEvent::Lonely
                | PeerEvent::Visited { .. } => {}
            }
        }
        for action in world.actions() {
            match action {
                Action::Request { id, peer, msg: _ } => {
                    assert!(self.open.remove(&id), "a request ended twice");
                    assert!(world.peers.find_connected(&peer).is_some());
                }
                Action::Dial { dial, peer, addrs } => {
                    assert!(!addrs.is_empty());
                    self.dials.insert(dial, peer);
                }
                Action::Disconnect { .. } | Action::Emit(_) | Action::Store { .. } => {}
                Action::Send { .. }
                | Action::Respond { .. }
                | Action::Verify { .. }
                | Action::Sign { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => unreachable!("not the peer book's"),
            }
        }
        let up: alloc::vec::Vec<_> = world.peers.connected().collect();
        assert!(up.iter().eq(self.up.iter()), "events and state disagree");
        for peer in up {
            let id = world.peers.id(peer).expect("a connected peer is known");
            assert!(self.connected.contains(&id), "nobody said that this peer is connected");
        }
        self.most_connected = self.most_connected.max(self.connected.len());
        let (known, dials, waiting) = world.peers.load();
        assert!(known <= world.config.peers.max_known + self.most_connected);
        assert!(dials <= 64 && waiting == self.open.len());
    }
}

fn small() -> Config {
    let mut config = Config::default();
    config.peers.max_known = 8;
    config.peers.min_connections = 3;
    config.peers.low_connections = 3;
    config.peers.max_connections = 4;
    config.peers.block = [TestWorld::peer_id(0)].into();
    config
}

fn tell_time(world: &mut TestWorld, by: Duration) {
    world.advance(by);
    world.peers.handle_timeout(world.now, world.unix, &world.config, &mut world.out, |_| false);
    assert!(world.peers.next_deadline().is_none_or(|next| next > world.now), "spinning");
}

/// Connections, dials, requests, identify and offences of a few peers in any order: state is entered and left exactly
/// once, every request ends once, caps hold, and nothing spins.
pub fn peers(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut world = TestWorld::new(small());
    let mut model = Model::default();
    while !choices.is_empty() {
        let what = choices.byte();
        let n = choices.below(PEERS);
        let id = TestWorld::peer_id(n);
        match what % 12 {
            0 | 1 => {
                let side = if what & 16 == 0 { Side::Dialer } else { Side::Listener };
                model.connected.insert(id);
                world.peers.handle_connected(world.now, &world.config, &mut world.out, id, TestWorld::addr(n), side);
            }
            2 => {
                world.peers.handle_disconnected(world.now, &world.config, &mut world.out, id);
                model.connected.remove(&id);
            }
            3 => {
                world.know(n);
            }
            4 | 5 => {
                let peer = world.peers.intern(id);
                let request = RequestId(world.out.next_id());
                model.open.insert(request);
                let (now, config, out) = (world.now, &world.config, &mut world.out);
                world.peers.request(
                    now,
                    config,
                    out,
                    peer,
                    request,
                    RegistryMessage::Compare { ranges: alloc::vec![] }.into(),
                );
            }
            6 => {
                let dial = model.dials.pop_first().map_or(DialId(choices.u64()), |(dial, _)| dial);
                let why = [DialError::Unreachable, DialError::WrongPeer, DialError::Timeout][usize::from(what % 3)];
                world.peers.handle_dial_failed(world.now, &world.config, &mut world.out, dial, why);
            }
            7 => {
                let protocols = ProtocolSet { kad: what & 16 == 0, ..ProtocolSet::default() };
                let info = Identity { protocols, agent: "x".into(), listen_addrs: [TestWorld::addr(n)].into() };
                world.peers.handle_identified(world.now, &world.config, id, info);
            }
            8 => {
                let peer = world.peers.intern(id);
                let offence = if what & 16 == 0 { Offence::BadBlock } else { Offence::Malformed(Protocol::Kad) };
                world.peers.charge(world.now, &world.config, &mut world.out, peer, offence);
                let banned = what & 16 == 0 && world.peers.id(peer).is_some();
                assert!(!banned || world.peers.is_banned(world.now, peer) && !world.peers.is_connected(peer));
            }
            9 => {
                let addr = TestWorld::addr(n);
                world.peers.dial_addr(world.now, &world.config, &mut world.out, addr);
            }
            10 => {
                let peer = world.peers.intern(id);
                world.peers.disconnect(&world.config, &mut world.out, peer);
            }
            _ => tell_time(&mut world, Duration::from_millis(choices.below(1 << 14))),
        }
        model.observe(&mut world);
    }
    tell_time(&mut world, Duration::from_secs(20));
    model.observe(&mut world);
    assert!(model.open.is_empty(), "a request never ended");
}

#[cfg(test)]
mod tests {
    #[test]
    fn survives_arbitrary_shells() {
        super::super::run(120, super::peers);
    }
}
