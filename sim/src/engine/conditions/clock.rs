//! What a node's clocks show.

use registry_core::{Instant, UnixTime};

use super::Conditions;
use crate::engine::{EPOCH, NodeIx};
use crate::fault::Fault;

/// Parts of a whole rate.
const MILLION: i64 = 1_000_000;

/// A monotonic clock that runs at its own rate and never goes back, and a wall clock that may jump. Microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::engine) struct Clock {
    /// The rate holds since this moment, at which the monotonic clock showed `shown`.
    since: u64,
    shown: u64,
    /// So many millionths fast; one million slow is standing still.
    ppm: i64,
    /// What the wall clock shows beyond the monotonic one, and beyond the truth at the start.
    ahead: i64,
    /// The same when the node was last told the time.
    pub(in crate::engine) told: i64,
}

impl Clock {
    /// What the monotonic clock shows.
    pub(in crate::engine) fn at(&self, now: u64) -> u64 {
        if self.ppm == 0 {
            return self.shown + (now - self.since);
        }
        let rate = (MILLION + self.ppm) as u128;
        self.shown + (u128::from(now - self.since) * rate / MILLION as u128) as u64
    }

    /// The same for the core.
    pub(in crate::engine) fn instant(&self, now: u64) -> Instant {
        Instant::from_micros(self.at(now))
    }

    /// When the monotonic clock will show this; `None` while it stands still.
    pub(in crate::engine) fn when(&self, shown: u64) -> Option<u64> {
        let ahead = shown.saturating_sub(self.shown);
        match self.ppm {
            0 => Some(self.since + ahead),
            ppm if ppm <= -MILLION => None,
            ppm => {
                let rate = (MILLION + ppm) as u128;
                Some(self.since + (u128::from(ahead) * MILLION as u128).div_ceil(rate) as u64)
            }
        }
    }

    /// What the wall clock shows: not less than 1970.
    pub(in crate::engine) fn unix(&self, now: u64) -> UnixTime {
        let micros = i128::from(EPOCH.as_micros()) + i128::from(self.at(now)) + i128::from(self.ahead);
        UnixTime::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The node is told the time; true when that is more than `slack` away from what it counts on.
    pub(in crate::engine) fn tell(&mut self, slack: u64) -> bool {
        let is_news = self.told.abs_diff(self.ahead) > slack;
        self.told = self.ahead;
        is_news
    }

    pub(in crate::engine) fn jump(&mut self, by: i64) {
        self.ahead = self.ahead.saturating_add(by);
    }

    /// From now on it runs at this rate. The wall clock of a machine that has slept has gone on.
    pub(in crate::engine) fn run_at(&mut self, now: u64, ppm: i64) {
        if self.ppm <= -MILLION {
            self.jump((now - self.since) as i64);
        }
        (self.shown, self.since, self.ppm) = (self.at(now), now, ppm.max(-MILLION));
    }

    pub(in crate::engine) fn drifts(&self) -> bool {
        self.ppm != 0
    }
}

impl Conditions {
    /// How fast a node's monotonic clock runs, in millionths beside the truth.
    pub(in crate::engine) fn drift(&self, ix: NodeIx) -> i64 {
        let drift = |fault: &Fault| match fault {
            Fault::ClockDrift { ppm } => *ppm,
            _ => 0,
        };
        let asleep = self.at(ix).any(|fault| *fault == Fault::Pause { asleep: true });
        if asleep { -MILLION } else { self.at(ix).map(drift).sum::<i64>().max(1 - MILLION) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_shows_what_it_was_said_to_show_and_never_goes_back() {
        let mut clock = Clock::default();
        assert_eq!((clock.at(7), clock.when(9)), (7, Some(9)));
        clock.run_at(1_000_000, 50);
        assert_eq!(clock.at(2_000_000), 2_000_050);
        for shown in [1_000_000, 1_000_001, 2_000_049, 2_000_050, 99_999_999] {
            let at = clock.when(shown).expect("it runs");
            assert!(clock.at(at) >= shown && (at == 1_000_000 || clock.at(at - 1) < shown), "{shown} at {at}");
        }
        clock.run_at(2_000_000, -50);
        assert_eq!((clock.at(2_000_000), clock.at(3_000_000)), (2_000_050, 3_000_000));
    }

    #[test]
    fn a_sleeping_machine_keeps_the_wall_clock_and_loses_the_monotonic_one() {
        let mut clock = Clock::default();
        let before = clock.unix(5_000_000);
        clock.run_at(5_000_000, -MILLION);
        assert_eq!((clock.at(9_000_000), clock.when(6_000_000)), (5_000_000, None));
        clock.run_at(9_000_000, 0);
        assert_eq!(clock.at(9_000_000), 5_000_000);
        assert_eq!(clock.unix(9_000_000).as_micros() - before.as_micros(), 4_000_000);
        assert!(clock.tell(1_000_000) && !clock.tell(1_000_000));
    }

    #[test]
    fn a_wall_clock_before_1970_shows_1970() {
        let mut clock = Clock::default();
        clock.jump(i64::MIN);
        assert_eq!(clock.unix(0), UnixTime::from_micros(0));
    }
}
