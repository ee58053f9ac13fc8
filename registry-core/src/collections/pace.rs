//! How often something may happen.

use crate::time::{Duration, Instant, micros};

/// So many requests at once, then one per interval.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) interval: Duration,
    pub(crate) burst: u32,
}

/// A leaky bucket kept as one instant: when it would be empty (GCRA).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    empty_at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { empty_at: Instant::ORIGIN }
    }
}

impl Pace {
    /// Counts one request, or tells when the next one is allowed (later than `now`).
    pub(crate) fn take(&mut self, now: Instant, limit: &Limit) -> Result<(), Instant> {
        let full = limit.interval.saturating_mul(limit.burst);
        let filled = self.empty_at.max(now) + limit.interval;
        if filled.since(now) > full {
            return Err(Instant::from_micros(filled.as_micros().saturating_sub(micros(full))));
        }
        self.empty_at = filled;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pace_allows_its_burst_and_its_rate_and_no_more(gaps in proptest::collection::vec(0u64..20_000, 1..400)) {
            let limit = Limit { interval: Duration::from_millis(5), burst: 10 };
            let mut pace = Pace::default();
            let start = Instant::from_micros(1_000_000);
            let mut now = start;
            let mut taken = 0;
            for gap in gaps {
                now = now + Duration::from_micros(gap);
                match pace.take(now, &limit) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        prop_assert!(at > now);
                        prop_assert!(pace.take(at, &limit).is_ok());
                        taken += 1;
                        now = at;
                    }
                }
                prop_assert!(taken <= 10 + micros(now.since(start)) / 5_000);
            }
        }
    }
}
