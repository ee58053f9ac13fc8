//! Connections: dialling, identify, resets, and what they do to what is under way.

use registry_core::id::DialId;
use registry_core::input::{DialError, Input, RequestError, Side};

use super::host::Down;
use super::{NodeIx, Payload, World};
use crate::fault::Effect;
use crate::mix::{Domain, draw, scale};
use crate::net::{HANDSHAKE_ROUND_TRIPS, Link};
use crate::queue::Class;

/// A dial to a machine that does not answer fails after this, in microseconds.
const DIAL_TIMEOUT: u64 = 10_000_000;
/// What is not answered is sent again after this, in microseconds.
const RETRANSMIT: u64 = 1_000_000;
/// Peers of a machine that is gone without a word notice it between one and two of these, in microseconds.
pub(super) const KEEP_ALIVE: u64 = 15_000_000;

/// A dial on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    pub(super) id: DialId,
    pub(super) life: u32,
    pub(super) started: u64,
    /// The dialler did not know whom it would meet.
    pub(super) anybody: bool,
}

impl World {
    pub(super) fn dial(&mut self, from: NodeIx, to: NodeIx, id: DialId, anybody: bool) {
        let host = &self.hosts[from as usize];
        if self.conditions.is_full(from, host.links.len()) {
            self.fired.add(Effect::ConnectionCap, 1);
            self.fail_dial(self.now + 1_000, from, id, DialError::Refused);
            return;
        }
        let life = host.life;
        let dial = Dial { id, life, started: self.now, anybody };
        let at = self.now + HANDSHAKE_ROUND_TRIPS * self.rtt(from, to) - self.one_way(from, to);
        self.schedule(at, Class::Network, to, from, Payload::Dial(dial));
    }

    pub(super) fn fail_dial(&mut self, at: u64, from: NodeIx, dial: DialId, why: DialError) {
        self.schedule_input(at, from, Input::DialFailed { dial, why });
    }

    pub(super) fn dial_arrives(&mut self, from: NodeIx, to: NodeIx, dial: Dial) {
        if self.hosts[from as usize].life != dial.life {
            return;
        }
        let back = self.now + self.one_way(from, to);
        let listener = &self.hosts[to as usize];
        if listener.node.is_none() {
            match listener.down {
                Down::Refusing => self.fail_dial(back, from, dial.id, DialError::Unreachable),
                Down::Silent => self.fail_dial(dial.started + DIAL_TIMEOUT, from, dial.id, DialError::Timeout),
            }
            return;
        }
        if let Some(effect) = self.conditions.dial(from, to) {
            self.fired.add(effect, 1);
            self.fail_dial(dial.started + DIAL_TIMEOUT, from, dial.id, DialError::Timeout);
            return;
        }
        if self.is_paused(to) {
            self.greet_later(from, to, dial);
            return;
        }
        let theirs = self.hosts[from as usize].links.get(&to).map(|link| link.conn);
        let ours = listener.links.get(&from).map(|link| link.conn);
        match (ours, theirs) {
            // Both dialled, or this is a second dial: the first connection serves.
            (Some(ours), Some(theirs)) if ours == theirs => {
                if dial.anybody {
                    let (peer, addr) = (self.hosts[to as usize].local.id, self.hosts[to as usize].addr.clone());
                    self.schedule_input(back, from, Input::Connected { peer, addr, side: Side::Dialer });
                }
                return;
            }
            // What is left of a connection the dialler has lost already, or whose loss has not reached it.
            (ours, theirs) => {
                if let Some(conn) = ours {
                    self.close_side(to, from, conn);
                }
                if let Some(conn) = theirs {
                    self.close_side(from, to, conn);
                }
                self.settle();
            }
        }
        if self.conditions.is_full(to, self.hosts[to as usize].links.len()) {
            self.fired.add(Effect::ConnectionCap, 1);
            self.fail_dial(back, from, dial.id, DialError::Unreachable);
            return;
        }
        self.next_conn += 1;
        let conn = self.next_conn;
        self.hosts[to as usize].links.insert(from, Link::new(conn, true, back));
        self.hosts[from as usize].links.insert(to, Link::new(conn, false, 0));
        self.schedule(back, Class::Network, from, to, Payload::Established { conn });
        let dialler = &self.hosts[from as usize];
        let (peer, addr) = (dialler.local.id, dialler.ephemeral.clone());
        self.input(to, Input::Connected { peer, addr, side: Side::Listener });
    }

    /// Whoever is paused shakes hands when it runs again, if the dialler is patient enough.
    fn greet_later(&mut self, from: NodeIx, to: NodeIx, dial: Dial) {
        let (again, end) = (self.now + RETRANSMIT, dial.started + DIAL_TIMEOUT);
        if again < end {
            self.schedule(again, Class::Network, to, from, Payload::Dial(dial));
        } else {
            self.fail_dial(end, from, dial.id, DialError::Timeout);
        }
    }

    /// The dialler learns that the connection is open; both sides then tell what they are.
    pub(super) fn established(&mut self, listener: NodeIx, dialler: NodeIx, conn: u64) {
        let rtt = self.rtt(listener, dialler);
        let Some(link) = self.hosts[dialler as usize].links.get_mut(&listener).filter(|link| link.conn == conn) else {
            self.hang_up(dialler, listener, conn);
            return;
        };
        link.up = true;
        let at = self.now + rtt;
        self.carry(at, dialler, listener, Payload::Identify { conn });
        self.carry(at, listener, dialler, Payload::Identify { conn });
        let peer = &self.hosts[listener as usize];
        let (peer, addr) = (peer.peer_id_on(conn), peer.addr.clone());
        self.input(dialler, Input::Connected { peer, addr, side: Side::Dialer });
    }

    pub(super) fn identify(&mut self, from: NodeIx, to: NodeIx, conn: u64) {
        if self.is_linked(to, from, conn) {
            let peer = &self.hosts[from as usize];
            let (peer, info) = (peer.peer_id_on(conn), peer.identity());
            self.input(to, Input::Identified { peer, info });
        }
    }

    /// The node serves the DHT, or no longer: connected peers are told.
    pub(super) fn set_server_mode(&mut self, ix: NodeIx, on: bool) {
        let host = &mut self.hosts[ix as usize];
        if std::mem::replace(&mut host.server, on) == on {
            return;
        }
        for (peer, Link { conn, up, .. }) in host.links() {
            if !up {
                continue;
            }
            let at = self.now + self.one_way(ix, peer);
            self.carry(at, peer, ix, Payload::Identify { conn });
        }
    }

    /// This side closes a connection.
    pub(super) fn disconnect(&mut self, ix: NodeIx, peer: NodeIx) {
        if let Some(conn) = self.hosts[ix as usize].links.get(&peer).map(|link| link.conn) {
            self.close_side(ix, peer, conn);
            self.hang_up(ix, peer, conn);
        }
    }

    /// Breaks the connection between two nodes; what is under way is lost. False when there is none.
    pub fn reset(&mut self, a: NodeIx, b: NodeIx) -> bool {
        let Some(conn) = self.hosts[a as usize].links.get(&b).map(|link| link.conn) else { return false };
        self.fired.add(Effect::Reset, 1);
        self.close_side(a, b, conn);
        self.close_side(b, a, conn);
        self.settle();
        true
    }

    /// All connections of a crashed node break, now or when their other ends notice.
    pub(super) fn cut_off(&mut self, ix: NodeIx, down: Down) {
        for (peer, Link { conn, .. }) in self.hosts[ix as usize].links() {
            match down {
                Down::Refusing => self.hang_up(ix, peer, conn),
                Down::Silent => {
                    let patience = scale(draw(self.seed, Domain::Crash, u64::from(peer), conn), KEEP_ALIVE);
                    self.schedule(self.now + KEEP_ALIVE + patience, Class::Network, peer, ix, Payload::Hangup { conn });
                }
            }
        }
        self.hosts[ix as usize].links.clear();
    }

    /// One side of a connection ends: its requests fail, then its node is told.
    pub(super) fn close_side(&mut self, ix: NodeIx, peer: NodeIx, conn: u64) {
        let host = &mut self.hosts[ix as usize];
        let Some(link) = host.links.get(&peer).filter(|link| link.conn == conn).copied() else { return };
        host.links.remove(&peer);
        if !link.up {
            return;
        }
        let failed: Vec<_> = host.pending.iter().filter(|(_, to)| **to == peer).map(|(id, _)| *id).collect();
        for id in failed {
            self.hosts[ix as usize].pending.remove(&id);
            self.at_once.push_back((ix, Input::RequestFailed { id, why: RequestError::Disconnected }));
        }
        let peer = self.hosts[peer as usize].peer_id_on(conn);
        self.at_once.push_back((ix, Input::Disconnected { peer }));
    }

    /// Do both know of one connection between them?
    pub fn are_connected(&self, a: NodeIx, b: NodeIx) -> bool {
        let link = |from: NodeIx, to: NodeIx| self.hosts[from as usize].links.get(&to).filter(|link| link.up);
        matches!((link(a, b), link(b, a)), (Some(ours), Some(theirs)) if ours.conn == theirs.conn)
    }

    pub(super) fn is_linked(&self, ix: NodeIx, peer: NodeIx, conn: u64) -> bool {
        self.hosts[ix as usize].links.get(&peer).is_some_and(|link| link.conn == conn)
    }

    fn hang_up(&mut self, from: NodeIx, to: NodeIx, conn: u64) {
        let at = self.now + self.one_way(from, to);
        self.carry(at, to, from, Payload::Hangup { conn });
    }
}
