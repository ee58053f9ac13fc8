//! One node: what it holds, how busy it is, whom it blames, and what it still says of others.

use std::time::Duration;

use registry_core::event::Event;
use registry_core::{Config, Instant};

use super::panics::guard;
use super::{Check, Checker};
use crate::engine::{NodeIx, World};
use crate::queue::Class;
use crate::scenario::SECOND;

/// Timeouts of one node in one virtual second; it has a few machines, each with timers some milliseconds apart.
const MAX_WAKES: u32 = 2_000;
/// Events of one node in one virtual second; the entrance of a thousand nodes has some thousands.
const MAX_EVENTS: u32 = 50_000;
/// Whoever is trimmed may still be counted while the other side does not know, and dials under way come in addition.
const SPARE_CONNECTIONS: usize = 64;
/// A provider's last word may still be on its way when it goes down.
const SLACK: Duration = Duration::from_secs(60);

/// N1, N2, G3 and the bounds of the DHT.
pub struct Bounds {
    busy: Vec<Busy>,
    load: Check,
    bans: Check,
    storm: Check,
    gossip: Check,
    kad: Check,
}

/// Of the present virtual second.
#[derive(Clone, Copy, Default)]
struct Busy {
    second: u64,
    wakes: u32,
    events: u32,
}

impl Bounds {
    /// Nothing has happened yet.
    pub fn new(world: &World) -> Self {
        Self {
            busy: vec![Busy::default(); world.len() as usize],
            bans: Check::new("N1-ban", "no ban holds for longer than the configuration says"),
            load: Check::new("N1", "connections, known peers, operations and queues stay within their caps"),
            storm: Check::new("N2", "a node has at most 2,000 timeouts and 50,000 events in a virtual second"),
            gossip: Check::new("G3", "seen, cached, pending and wanted messages and control stay within their caps"),
            kad: Check::new("K2-load", "a lookup has at most alpha requests in flight, records stay within quotas"),
        }
    }
}

impl Checker for Bounds {
    fn touched(&mut self, world: &World, node: NodeIx) {
        let busy = &mut self.busy[node as usize];
        let second = world.now() / SECOND;
        if busy.second != second {
            *busy = Busy { second, wakes: 0, events: 0 };
        }
        busy.events += 1;
        busy.wakes += u32::from(world.last().class == Class::Wake);
        let Busy { wakes, events, .. } = *busy;
        let calm = wakes <= MAX_WAKES && events <= MAX_EVENTS;
        self.storm.judge(calm, || format!("node {node} in second {second}: {wakes} timeouts, {events} events"));
    }

    fn sampled(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix) else { return };
        let (load, config) = (node.load(), world.configuration(ix));
        let connections = 2 * config.peers.max_connections + SPARE_CONNECTIONS;
        let fits = load.connections <= connections && load.known <= config.peers.max_known + connections;
        self.load.judge(fits, || format!("node {ix}: {load:?}"));
        let ban = node.longest_ban().unwrap_or_default();
        self.bans.judge(ban <= config.peers.ban_time, || format!("node {ix} bans somebody for {ban:?}"));
        for (check, holds) in [
            (&mut self.load, guard(|| node.assert_bounds())),
            (&mut self.gossip, guard(|| node.assert_gossip_bounds(config))),
            (&mut self.kad, guard(|| node.assert_kad_bounds(config))),
        ] {
            let said = holds.err();
            check.judge(said.is_none(), || format!("node {ix} at {} s: {said:?}", world.now() / SECOND));
        }
    }

    fn ended(&mut self, world: &World, _quiet: u64) {
        (0..world.len()).for_each(|ix| self.sampled(world, ix));
    }

    fn checks(&self) -> Vec<Check> {
        vec![self.load.clone(), self.bans.clone(), self.storm.clone(), self.gossip.clone(), self.kad.clone()]
    }
}

/// H1.
pub struct Conduct {
    blamed: Check,
}

impl Default for Conduct {
    fn default() -> Self {
        Self { blamed: Check::new("H1", "no honest node is charged with an offence") }
    }
}

impl Checker for Conduct {
    fn heard(&mut self, world: &World, node: NodeIx, event: &Event) {
        match event {
            Event::PeerUp(_) => self.blamed.judge(true, String::new),
            Event::PeerMisbehaved { peer, offence, banned: _ } => {
                let peer = world.find(peer);
                // Who garbles its questions gets answers to others.
                let deserved = peer.is_some_and(|peer| !world.is_honest(peer)) || !world.is_honest(node);
                self.blamed.judge(deserved, || {
                    format!("at {} us: node {node} charges node {peer:?} with {offence:?}", world.now())
                });
            }
            _ => {}
        }
    }

    fn checks(&self) -> Vec<Check> {
        vec![self.blamed.clone()]
    }
}

/// R6.
pub struct Expiry {
    ttl: Duration,
    down: Vec<Option<Down>>,
    expired: Check,
}

/// A node that was found down at a sweep.
struct Down {
    /// After which of its lives.
    life: u32,
    /// How long that is for each of the others.
    holders: Vec<Holder>,
}

/// Whoever may hold a record of a node that is down.
#[derive(Clone, Copy)]
struct Holder {
    /// What its clock showed, which stands still while it sleeps.
    since: Instant,
    /// It was seen running: what was said to it before is heard.
    has_run: bool,
}

impl Expiry {
    /// For nodes with this configuration.
    pub fn new(world: &World, config: &Config) -> Self {
        Self {
            ttl: config.kad.provider_ttl + SLACK,
            down: (0..world.len()).map(|_| None).collect(),
            expired: Check::new("R6", "no provider record outlives its provider by more than its life"),
        }
    }

    fn note_down(&mut self, world: &World) {
        for node in 0..world.len() {
            let (down, host) = (&mut self.down[node as usize], world.host(node));
            if host.is_up() {
                *down = None;
            } else if down.as_ref().is_none_or(|down| down.life != host.life()) {
                let holder = |ix| Holder { since: world.clock(ix), has_run: false };
                *down = Some(Down { life: host.life(), holders: (0..world.len()).map(holder).collect() });
            }
        }
        for down in self.down.iter_mut().flatten() {
            for (ix, holder) in (0..).zip(&mut down.holders).filter(|(_, holder)| !holder.has_run) {
                *holder = Holder { since: world.clock(ix), has_run: !world.is_paused(ix) };
            }
        }
    }
}

impl Checker for Expiry {
    fn swept(&mut self, world: &World, _quiet: u64) {
        self.note_down(world);
        if Duration::from_micros(world.now()) <= self.ttl {
            return;
        }
        for ix in 0..world.len() {
            // Who is paused does not know how late it is.
            let Some(node) = world.node(ix).filter(|_| !world.is_paused(ix)) else { continue };
            for provider in node.providers_named().iter().filter_map(|peer| world.find(peer)) {
                let down = self.down[provider as usize].as_ref();
                let gone = down.map_or(Duration::ZERO, |down| world.clock(ix).since(down.holders[ix as usize].since));
                self.expired.judge(gone <= self.ttl, || {
                    format!("node {ix} still names node {provider}, down for {} s", gone.as_secs())
                });
            }
        }
    }

    fn checks(&self) -> Vec<Check> {
        (self.expired.evaluated > 0).then(|| self.expired.clone()).into_iter().collect()
    }
}
