//! The lives of a node: it starts, crashes, stops, or loses its disk.

use std::sync::Arc;

use registry_core::command::Command;
use registry_core::input::Input;
use registry_core::{Node, Start};

use super::{Down, NodeIx, World};
use crate::crypto::KeyPair;
use crate::disk::Disk;
use crate::fault::Effect;
use crate::mix::{Domain, draw, node_seed, scale};
use crate::net::listen_addr;

impl World {
    /// Starts a node: recovery of its disk, its address, and the bootstrap node to dial.
    pub(super) fn boot(&mut self, ix: NodeIx) {
        let host = &mut self.hosts[ix as usize];
        if host.node.is_some() {
            return;
        }
        host.clock.tell(0);
        let start = Start { now: host.clock.instant(self.now), unix: host.clock.unix(self.now) };
        if host.life > 0 {
            self.fired.add(Effect::Restart, 1);
        }
        let seed = node_seed(self.seed, ix, host.life);
        let is_usual = host.role == self.config.role;
        let planted = self.planted.config.as_ref().filter(|_| is_usual);
        let config = planted.unwrap_or(if is_usual { &self.config } else { &self.light_config });
        host.node = Some(Box::new(Node::new(Arc::clone(config), host.local.clone(), seed, start)));
        host.server = config.kad.server;
        let batches = host.disk.recovery();
        batches.into_iter().for_each(|rows| self.handle(ix, Input::Recovered(rows)));
        self.handle(ix, Input::RecoveryDone);
        self.handle(ix, Input::LocalAddr { addr: listen_addr(ix), up: true });
        if ix != 0 {
            let accepted = self.ask(ix, Command::Bootstrap(vec![listen_addr(0)]));
            assert!(accepted.is_ok(), "a ready node takes bootstrap addresses: {accepted:?}");
        }
    }

    /// Ends a running node without warning; its disk remains. False when it does not run.
    pub fn crash(&mut self, ix: NodeIx, down: Down) -> bool {
        let host = &self.hosts[ix as usize];
        let unanswered = host.disk.unanswered() as u64;
        let survivors = scale(draw(self.seed, Domain::Torn, u64::from(ix), u64::from(host.life)), unanswered + 1);
        let ends = self.end(ix, down, survivors as usize);
        if ends {
            self.fired.add(Effect::Crash, 1);
            self.fired.add(Effect::LostWrite, unanswered - survivors);
        }
        ends
    }

    /// Stops a running node: its connections are closed, and its store does what was asked of it. False when it does not
    /// run.
    pub fn stop(&mut self, ix: NodeIx) -> bool {
        let ends = self.end(ix, Down::Refusing, self.hosts[ix as usize].disk.unanswered());
        self.fired.add(Effect::Stop, u64::from(ends));
        ends
    }

    /// A node's life ends; of the unanswered disk requests so many are done.
    pub(super) fn end(&mut self, ix: NodeIx, down: Down, survivors: usize) -> bool {
        if self.hosts[ix as usize].node.take().is_none() {
            return false;
        }
        self.crashed.push_back(ix);
        self.conditions.forget(ix);
        self.cut_off(ix, down);
        let host = &mut self.hosts[ix as usize];
        host.life += 1;
        host.down = down;
        host.wake_at = None;
        host.pending.clear();
        host.tokens.clear();
        host.disk.crash(survivors);
        self.settle();
        true
    }

    /// The machine of a node that does not run is replaced: an empty disk, another peer id. Publisher keys have a copy
    /// elsewhere.
    pub(super) fn lose_disk(&mut self, ix: NodeIx) {
        self.fired.add(Effect::LostDisk, 1);
        let host = &mut self.hosts[ix as usize];
        host.disk = Disk::default();
        let pair = KeyPair::derive(self.seed, &format!("node-key-{}", host.life), ix);
        self.identify_as(ix, pair);
    }
}
