//! How long an answer usually takes: the estimator of RFC 6298, in integers. It speaks for many peers, near and far, not
//! for one path, so it forgets four times as slowly; at first it learns from each answer as much as from all before.

use crate::time::{Duration, micros};

/// Below this nobody is slow: a scheduler's hiccup is no news.
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// What a new answer weighs in the mean, and in the deviation, as a divisor.
const MEAN_WEIGHT: u64 = 32;
const DEVIATION_WEIGHT: u64 = 16;

/// Smoothed mean and deviation of answer times, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Answers so far, up to `MEAN_WEIGHT`.
    answers: u64,
    mean: u64,
    deviation: u64,
}

impl Pace {
    pub(super) fn sample(&mut self, time: Duration) {
        let time = micros(time);
        self.answers = (self.answers + 1).min(MEAN_WEIGHT);
        if self.answers == 1 {
            (self.mean, self.deviation) = (time, time / 2);
        } else {
            let weight = self.answers.min(DEVIATION_WEIGHT);
            self.deviation = self.deviation - self.deviation / weight + self.mean.abs_diff(time) / weight;
            self.mean = self.mean - self.mean / self.answers + time / self.answers;
        }
    }

    /// After this an answer is late: mean and four deviations, at most `limit`; `None` before the first answer.
    pub(super) fn patience(self, limit: Duration) -> Option<Duration> {
        let usual = Duration::from_micros(self.mean.saturating_add(self.deviation.saturating_mul(4)));
        (self.answers != 0).then(|| usual.max(MIN_PATIENCE).min(limit))
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
            if is_far && answer > 20 {
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
