//! Faults begin and end.

use super::{NodeIx, World};
use crate::fault::Fault;
use crate::mix::{Domain, draw, scale};

/// A fault that has not been lifted.
#[derive(Debug)]
pub(super) struct Imposed {
    fault: Fault,
    /// Whom it has struck.
    nodes: Vec<NodeIx>,
}

impl World {
    /// A fault strikes these nodes, or all when none is named, and lasts until it is lifted. False when it strikes nobody:
    /// no such node, a crash of what does not run, a reset without a connection.
    pub fn impose(&mut self, id: u32, fault: &Fault, nodes: &[NodeIx]) -> bool {
        let named = if nodes.is_empty() { (0..self.len()).collect() } else { nodes.to_vec() };
        let struck: Vec<NodeIx> =
            named.into_iter().filter(|ix| *ix < self.len() && self.strike(id, fault, *ix)).collect();
        if struck.is_empty() {
            return false;
        }
        if !fault.is_instant() {
            self.imposed.insert(id, Imposed { fault: fault.clone(), nodes: struck });
            self.refresh_loss();
        }
        true
    }

    /// A fault ends. False when it was not in force, or has nothing to undo: all that it crashed run again.
    pub fn lift(&mut self, id: u32) -> bool {
        let Some(Imposed { fault, nodes }) = self.imposed.remove(&id) else { return false };
        match fault {
            Fault::Crash { .. } => {
                let down: Vec<NodeIx> = nodes.into_iter().filter(|ix| !self.host(*ix).is_up()).collect();
                down.iter().for_each(|ix| self.schedule_boot(self.now, *ix));
                !down.is_empty()
            }
            Fault::Loss { .. } | Fault::Reset => {
                self.refresh_loss();
                true
            }
        }
    }

    fn strike(&mut self, id: u32, fault: &Fault, ix: NodeIx) -> bool {
        match fault {
            Fault::Loss { .. } => true,
            Fault::Crash { down } => self.crash(ix, *down),
            Fault::Reset => {
                let peers = self.host(ix).peers();
                let bits = draw(self.seed, Domain::Reset, u64::from(ix), u64::from(id));
                let peer = peers.get(scale(bits, peers.len() as u64) as usize);
                peer.is_some_and(|peer| self.reset(ix, *peer))
            }
        }
    }

    /// Of several losses at one node, the worst counts.
    fn refresh_loss(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.loss_ppm = 0);
        for Imposed { fault, nodes } in self.imposed.values() {
            let Fault::Loss { ppm } = fault else { continue };
            for ix in nodes {
                let host = &mut self.hosts[*ix as usize];
                host.loss_ppm = host.loss_ppm.max(*ppm);
            }
        }
    }
}
