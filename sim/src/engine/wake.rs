//! Timeouts: when a node wants to be called, and that it is.

use registry_core::{Instant, Node};

use super::conditions::{Due, Pace};
use super::{NodeIx, Payload, World};
use crate::fault::Effect;
use crate::mix::{Domain, draw, scale};
use crate::queue::{Class, Key};

impl World {
    /// One wake per node waits in the queue; it is moved on when the node wants a later one by then.
    pub(super) fn rearm(&mut self, ix: NodeIx) {
        let earliest = self.now + 1;
        let host = &mut self.hosts[ix as usize];
        let Some(node) = &host.node else { return };
        let wake = node.poll_timeout().and_then(|wake| host.clock.when(wake.at.as_micros()));
        host.wake_at = wake.map(|at| at.max(earliest));
        if let Some(at) = host.wake_at
            && host.wake_queued.is_none_or(|queued| at < queued)
        {
            host.wake_queued = Some(at);
            self.queue.push(wake_key(ix, at), Payload::Wake);
        }
    }

    pub(super) fn wake_is_due(&mut self, key: Key) -> bool {
        let host = &mut self.hosts[key.to as usize];
        if host.wake_queued != Some(key.at) {
            return false;
        }
        host.wake_queued = None;
        match host.wake_at {
            None => false,
            Some(at) if at > key.at => {
                host.wake_queued = Some(at);
                self.queue.push(wake_key(key.to, at), Payload::Wake);
                false
            }
            Some(_) => true,
        }
    }

    pub(super) fn wake(&mut self, ix: NodeIx) {
        match self.conditions.pace(ix) {
            Pace::Usual => self.time_out(ix),
            Pace::Slow(_) | Pace::Paused | Pace::Asleep => self.put_off(ix, Due::Timeout),
        }
    }

    pub(super) fn time_out(&mut self, ix: NodeIx) {
        let now = self.clock(ix);
        self.fired.add(Effect::ClockDrift, u64::from(self.hosts[ix as usize].clock.drifts()));
        let deaf = self.planted.deaf.take_if(|deaf| *deaf == ix).is_some();
        let Some(node) = &mut self.hosts[ix as usize].node else { return };
        if !deaf {
            node.handle_timeout(now);
        }
        self.scheme(ix);
        self.drain(ix);
        self.check_spin(ix, now);
    }

    /// After a timeout the next wake is later.
    fn check_spin(&mut self, ix: NodeIx, now: Instant) {
        let node = self.hosts[ix as usize].node.as_ref();
        let again = node.and_then(|node| node.poll_timeout()).filter(|wake| wake.at <= now);
        self.spin.judge(again.is_none(), || format!("node {ix} at {now:?} wants {again:?}"));
    }

    pub(super) fn spurious_timeout(&mut self) {
        let bits = draw(self.seed, Domain::Spurious, 0, self.events);
        let ix = scale(bits, self.hosts.len() as u64) as NodeIx;
        let now = self.clock(ix);
        let host = &mut self.hosts[ix as usize];
        let is_due = |node: &Node| node.poll_timeout().is_some_and(|wake| wake.at <= now);
        let node = host.node.as_mut().filter(|node| !is_due(node) && self.conditions.pace(ix) == Pace::Usual);
        if let Some(node) = node {
            node.handle_timeout(now);
            self.fired.add(Effect::SpuriousTimeout, 1);
            self.drain(ix);
        }
    }
}

fn wake_key(ix: NodeIx, at: u64) -> Key {
    Key { at, class: Class::Wake, to: ix, from: ix, seq: 0 }
}
