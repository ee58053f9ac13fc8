//! N4: when nobody asks for anything and nothing is wrong, only upkeep goes on.

use registry_core::{Config, Duration};

use super::Check;
use crate::engine::{NodeIx, World};
use crate::scenario::SECOND;

/// What the last questions have set in motion has come to rest after this, in microseconds.
const SETTLES: u64 = 30 * SECOND;
/// Events are counted for so long, in microseconds.
const COUNTED: u64 = 60 * SECOND;

/// Events of a round of reconciliation, at both sides.
const ROUND: u64 = 20;

/// The end of a run, from when nothing is asked any more.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    since: u64,
    /// When counting began, and the events until then.
    counted: Option<(u64, u64)>,
}

impl Rest {
    /// The longest it takes, in microseconds.
    pub const TIME: u64 = SETTLES + COUNTED + SECOND;

    /// Begins now.
    pub fn new(now: u64) -> Self {
        Self { since: now, counted: None }
    }

    /// Virtual time has come to here; true when it is over.
    pub fn goes_on(&mut self, world: &World, now: u64) -> bool {
        match self.counted {
            None if now >= self.since + SETTLES => self.counted = Some((now, world.events())),
            Some((since, _)) => return now >= since + COUNTED,
            None => {}
        }
        false
    }

    /// N4, of a rest that is over.
    pub fn check(&self, world: &World, now: u64) -> Check {
        let mut check = Check::new("N4", "at rest a node handles no more events than its upkeep needs");
        let Some((since, before)) = self.counted else { return check };
        let up: Vec<NodeIx> = (0..world.len()).filter(|ix| world.host(*ix).is_up()).collect();
        let times = |every: Duration| (now - since).div_ceil(every.as_micros() as u64);
        let upkeep: u64 = up.iter().map(|ix| upkeep(world, *ix, up.len(), times)).sum();
        let events = world.events() - before;
        check.judge(events <= upkeep, || {
            format!("{events} events of {} nodes in {} s, {upkeep} are upkeep", up.len(), (now - since) / SECOND)
        });
        check
    }
}

/// The most events of one node of so many while what is done every so often is done so many `times`.
fn upkeep(world: &World, ix: NodeIx, nodes: usize, times: impl Fn(Duration) -> u64) -> u64 {
    let Config { kad, gossip, sync, .. } = world.configuration(ix);
    let contents = world.node(ix).map_or(0, |node| node.stats().contents);
    // Each of the k is asked, and answers; to some it must connect first.
    let lookup = 3 * kad.k as u64;
    // Of a key in each bucket that has members, and of its own.
    let refresh = (nodes.ilog2() as u64 + 2) * lookup;
    times(gossip.heartbeat)
        + times(sync.interval) * ROUND
        + times(kad.refresh_interval) * refresh
        + times(kad.provider_republish) * (contents + 1) * 2 * lookup
        + times(kad.record_republish) * 2 * lookup
}
