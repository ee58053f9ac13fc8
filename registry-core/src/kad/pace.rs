//! How long an answer usually takes: the estimator of RFC 6298, in integers. It speaks for many peers, near and far, not for
//! one path, so it learns and forgets four times as slowly.

use crate::time::{Duration, micros};

/// Below this nobody is slow: a scheduler's hiccup is no news.
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// Smoothed mean and deviation of answer times, in microseconds; 0 before the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    mean: u64,
    deviation: u64,
}

impl Pace {
    pub(super) fn sample(&mut self, time: Duration) {
        let time = micros(time).max(1);
        if self.mean == 0 {
            *self = Self { mean: time, deviation: time / 2 };
        } else {
            self.deviation = self.deviation - self.deviation / 16 + self.mean.abs_diff(time) / 16;
            self.mean = self.mean - self.mean / 32 + time / 32;
        }
    }

    /// After this an answer is late: mean and four deviations, at most `limit`; `None` before the first answer.
    pub(super) fn patience(self, limit: Duration) -> Option<Duration> {
        let usual = Duration::from_micros(self.mean.saturating_add(self.deviation.saturating_mul(4)));
        (self.mean != 0).then(|| usual.max(MIN_PATIENCE).min(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_far_peers_among_near_ones_are_not_late() {
        let mut pace = Pace::default();
        for answer in 0..200 {
            let (near, far) = (Duration::from_millis(80), Duration::from_millis(240));
            let is_far = answer % 6 == 5;
            if is_far && answer > 60 {
                assert!(pace.patience(Duration::from_secs(2)) > Some(far), "after {answer} answers");
            }
            pace.sample(if is_far { far } else { near });
        }
    }

    #[test]
    fn patience_follows_the_answers_within_its_bounds() {
        let limit = Duration::from_secs(2);
        let mut pace = Pace::default();
        assert_eq!(pace.patience(limit), None);
        for _ in 0..100 {
            pace.sample(Duration::from_millis(50));
        }
        assert_eq!(pace.patience(limit), Some(MIN_PATIENCE));
        for _ in 0..10 {
            pace.sample(Duration::from_millis(400));
        }
        assert!(pace.patience(limit) > Some(Duration::from_millis(500)));
        pace.sample(Duration::MAX);
        assert_eq!(pace.patience(limit), Some(limit));
    }
}
