//! The heartbeat: upkeep and lazy gossip, on a grid, and only at points of the grid where a rule can act.

use alloc::vec::Vec;

use crate::action::SendClass;
use crate::cx::Cx;
use crate::gossip::Gossip;
use crate::gossip::limits::{Budget, REFRESH};
use crate::gossip::send::{broadcast, ihave};
use crate::id::{PeerIx, TopicName};
use crate::time::{Duration, Instant, micros};

/// Points of time `origin + n * period`; heartbeat 1 is at the origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    origin: Instant,
    period: u64,
}

impl Grid {
    pub(super) fn new(origin: Instant, period: Duration) -> Self {
        Self { origin, period: micros(period).max(1) }
    }

    /// The latest heartbeat that is not after `now`; 0 before the first.
    pub(super) fn tick(&self, now: Instant) -> u64 {
        if now < self.origin { 0 } else { 1 + micros(now.since(self.origin)) / self.period }
    }

    pub(super) fn at(&self, tick: u64) -> Instant {
        self.origin + Duration::from_micros(tick.saturating_sub(1).saturating_mul(self.period))
    }

    /// The first heartbeat that is not before `time`.
    fn tick_from(&self, time: Instant) -> u64 {
        let tick = self.tick(time);
        if self.at(tick) < time { tick.saturating_add(1) } else { tick }
    }
}

impl Gossip {
    /// The next heartbeat at which a rule can act.
    pub(super) fn due_tick(&self) -> Option<u64> {
        [self.upkeep, self.refresh, self.cache.due(self.ran)].into_iter().flatten().min()
    }

    /// G3: mesh, fanout, gossip, message cache, IDONTWANT.
    pub(super) fn heartbeat(&mut self, cx: &mut Cx<'_>, tick: u64) {
        self.ran = tick;
        let refreshes = self.refresh.take_if(|due| *due <= tick).is_some();
        self.stale |= self.upkeep.take_if(|due| *due <= tick).is_some() | refreshes;
        let names: Vec<TopicName> = self.topics.keys().cloned().collect();
        if refreshes {
            names.iter().for_each(|name| self.refresh_mesh(name));
        }
        for name in &names {
            self.keep_mesh(cx, name);
        }
        for name in &names {
            self.keep_fanout(cx, name);
        }
        self.gossip_about(cx, tick);
        self.cache.shift(tick);
        if let Some(until) = self.dont_wants {
            self.peers.values_mut().for_each(|state| state.forget_dont_wants(tick));
            self.dont_wants = Some(until).filter(|until| tick <= *until);
        }
        let slack = cx.config.gossip.heartbeat;
        self.topics.retain(|_, topic| {
            topic.backoffs.forget_expired(cx.now, slack);
            topic.joined || topic.fanout.is_some() || !topic.backoffs.is_empty()
        });
    }

    /// IHAVE about recent messages to some subscribers outside the mesh: to each about those it is not known to have and
    /// was not told of. Over the rounds as many peers hear of a message as if all were repeated to all.
    fn gossip_about(&mut self, cx: &mut Cx<'_>, tick: u64) {
        let config = &cx.config.gossip;
        for (name, keys) in self.cache.recent(tick) {
            let Some(topic) = self.topics.get(&name) else { continue };
            let hears = |peer: &&PeerIx| {
                let state = self.peers.get(**peer);
                state.is_some_and(|state| state.ready && !state.is_muted(tick)) && !topic.partners().contains(peer)
            };
            let targets: Vec<PeerIx> =
                self.subscribers.get(&name).into_iter().flatten().filter(hears).copied().collect();
            let share = targets.len().saturating_mul(config.gossip_factor_percent) / 100;
            let targets = cx.rng.sample(targets, share.max(config.d_lazy));
            let max_ids = Budget::IhaveIds.limit() as usize;
            let keys = if keys.len() > max_ids { cx.rng.sample(keys, max_ids) } else { keys };
            for (keys, peers) in self.cache.tell(&keys, &targets) {
                let ids = keys.iter().filter_map(|key| self.cache.id(key)).collect();
                for msg in ihave(name.clone(), ids, Budget::IhaveMessages.limit() as usize) {
                    broadcast(cx, &peers, msg, SendClass::Gossip);
                }
            }
        }
    }

    /// Finds the next heartbeats for meshes and fanouts, when something they depend on has changed.
    pub(super) fn replan(&mut self, cx: &Cx<'_>) {
        if !core::mem::take(&mut self.stale) {
            return;
        }
        let now = self.grid.tick(cx.now);
        // A heartbeat that is due and not run yet stays due, however many inputs come first.
        let soonest = self.upkeep.filter(|due| *due <= now).unwrap_or(now.saturating_add(1));
        let times = self.topics.iter().filter_map(|(name, topic)| self.upkeep_time(cx, name, topic));
        self.upkeep = times.min().map(|time| self.grid.tick_from(time).max(soonest));
        let is_meshed = self.topics.values().any(|topic| !topic.mesh.is_empty());
        self.refresh = is_meshed.then(|| self.refresh.unwrap_or((now / REFRESH + 1).saturating_mul(REFRESH)));
    }
}
