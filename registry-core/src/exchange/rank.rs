//! Which provider to ask first: pure functions over what this node itself has seen of a peer.
//!
//! All numbers are fixed-point with [`ONE`] = 1.0, so that every platform ranks alike.
//!
//! ```text
//! reliability = 1 - failure rate                         EWMA (1/8); 1.0 for a peer never asked
//! speed       = rate / (rate + 1 MiB/s)                  0.5 for a peer never asked
//! promptness  = 250 ms / (250 ms + latency)              0.5 for a peer never asked
//! total       = reliability^3 * (2 * speed + promptness) / 3
//! ```
//!
//! Hence a stranger starts at 0.5: behind peers known to be quick, before peers known to be slow. Only verified bytes
//! count as success, each failure (too late, missing) costs about a third of the total, and one wrong block costs all
//! but a 4096th of it. Every success takes back an eighth of the failure rate, so a penalty fades with good service.
//! Observations are first-hand and never told to others.

use core::cmp::Reverse;

use crate::id::PeerId;
use crate::peers::Observed;
use crate::time::{Duration, micros};

/// 1.0
pub const ONE: u32 = 1 << 16;

/// The rate at which speed is one half, in bytes per second.
const HALF_SPEED: u64 = 1 << 20;
/// The latency at which promptness is one half, in microseconds.
const HALF_PROMPT: u64 = 250_000;
/// The failure rate after a wrong block: 15/16.
const LIAR: u32 = ONE / 16 * 15;

/// A provider's score and the parts it is made of, each from 0 to [`ONE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Score {
    /// Share of requests that ended well.
    pub reliability: u32,
    /// From verified bytes per second.
    pub speed: u32,
    /// From the time between asking and having.
    pub promptness: u32,
    /// What providers are ordered by.
    pub total: u32,
}

/// Computes the score of what was observed.
pub(crate) fn score(observed: &Observed) -> Score {
    let reliability = ONE - observed.failure_rate.min(ONE);
    let (speed, promptness) = match observed.verified_bytes {
        0 => (ONE / 2, ONE / 2),
        _ => (share(observed.bytes_per_sec, HALF_SPEED), ONE - share(observed.latency_us, HALF_PROMPT)),
    };
    let quality = (2 * speed + promptness) / 3;
    let total = (0..3).fold(quality, |total, _| product(total, reliability));
    Score { reliability, speed, promptness, total }
}

/// The order of asking: best first, total.
pub(crate) fn order(score: Score, peer: PeerId) -> impl Ord {
    (Reverse(score.total), peer)
}

/// A verified block came.
pub(crate) fn delivered(observed: &mut Observed, bytes: u64, latency: Duration) {
    observed.verified_bytes = observed.verified_bytes.saturating_add(bytes);
    observed.latency_us = average(observed.latency_us, micros(latency).max(1));
    observed.failure_rate -= observed.failure_rate / 8;
}

/// So many verified bytes per second came lately.
pub(crate) fn metered(observed: &mut Observed, bytes_per_sec: u64) {
    observed.bytes_per_sec = average(observed.bytes_per_sec, bytes_per_sec);
}

/// A block did not come in time, or the peer does not have it.
pub(crate) fn failed(observed: &mut Observed) {
    let rate = observed.failure_rate.min(ONE);
    observed.failure_rate = rate - rate / 8 + ONE / 8;
}

/// A wrong block came.
pub(crate) fn lied(observed: &mut Observed) {
    observed.failure_rate = observed.failure_rate.max(LIAR);
}

fn share(value: u64, half: u64) -> u32 {
    let share = u128::from(value) * u128::from(ONE) / (u128::from(value) + u128::from(half));
    u32::try_from(share).unwrap_or(ONE)
}

fn product(a: u32, b: u32) -> u32 {
    let product = u64::from(a) * u64::from(b) / u64::from(ONE);
    u32::try_from(product).unwrap_or(ONE)
}

/// EWMA (1/8); the first sample counts whole.
fn average(old: u64, sample: u64) -> u64 {
    if old == 0 { sample } else { old - old / 8 + sample / 8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::TestWorld;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const BLOCK: u64 = 1 << 20;

    fn total(observed: &Observed) -> u32 {
        score(observed).total
    }

    fn serve(observed: &mut Observed, millis: u64) {
        delivered(observed, BLOCK, Duration::from_millis(millis));
        metered(observed, BLOCK * 1000 / millis);
    }

    fn veteran(millis: u64) -> Observed {
        let mut observed = Observed::default();
        (0..100).for_each(|_| serve(&mut observed, millis));
        observed
    }

    #[test]
    fn a_stranger_starts_in_the_middle() {
        let stranger = score(&Observed::default());
        assert_eq!((stranger.reliability, stranger.total), (ONE, ONE / 2));
        assert!(total(&veteran(20)) > stranger.total);
        assert!(total(&veteran(4000)) < stranger.total);
    }

    #[test]
    fn a_liar_falls_below_everybody_at_once() {
        let mut liar = veteran(1);
        lied(&mut liar);
        let mut clumsy = veteran(8000);
        failed(&mut clumsy);
        assert!(total(&liar) < total(&clumsy) / 20);
        assert!(total(&liar) < ONE / 2000);
    }

    #[test]
    fn a_failing_peer_falls_below_a_slow_honest_one_within_three_failures() {
        let mut failing = veteran(100);
        let honest = veteran(1000);
        assert!(total(&failing) > total(&honest));
        (0..3).for_each(|_| failed(&mut failing));
        assert!(total(&failing) < total(&honest));
        (0..17).for_each(|_| failed(&mut failing));
        assert!(total(&failing) * 20 < total(&honest), "less than 5 % after 20 failures");
    }

    #[test]
    fn a_new_honest_peer_rises_above_slower_ones_within_three_successes() {
        let mut new = Observed::default();
        (0..3).for_each(|_| serve(&mut new, 50));
        assert!(total(&new) > total(&veteran(500)));
        let mut sorry = veteran(50);
        lied(&mut sorry);
        (0..40).for_each(|_| serve(&mut sorry, 50));
        assert!(total(&sorry) > ONE / 2, "a penalty fades with good service");
    }

    fn observations() -> impl Strategy<Value = Observed> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
            |(verified_bytes, latency_us, bytes_per_sec, failure_rate)| Observed {
                verified_bytes,
                latency_us,
                bytes_per_sec,
                failure_rate,
            },
        )
    }

    proptest! {
        #[test]
        fn scores_are_finite_and_never_fall_with_success_or_rise_with_failure(observed in observations()) {
            let before = score(&observed);
            for part in [before.reliability, before.speed, before.promptness, before.total] {
                prop_assert!(part <= ONE);
            }
            let mut worse = observed;
            failed(&mut worse);
            prop_assert!(total(&worse) <= before.total);
            let mut worst = worse;
            lied(&mut worst);
            prop_assert!(total(&worst) <= total(&worse));
            let mut better = observed;
            delivered(&mut better, 1, Duration::from_micros(observed.latency_us));
            prop_assert!(score(&better).reliability >= before.reliability);
        }

        #[test]
        fn the_order_is_total(list in proptest::collection::vec(observations(), 2..20)) {
            let ranked = |start: usize| {
                let mut peers: Vec<_> = (0..list.len()).map(|i| (i + start) % list.len()).collect();
                peers.sort_by_key(|i| order(score(&list[*i % 3]), TestWorld::peer_id(*i as u64)));
                peers
            };
            prop_assert_eq!(ranked(0), ranked(list.len() / 2));
        }
    }
}
