//! Misbehaviour points, and the bans they lead to.

use super::Offence;
use crate::collections::DeadlineIndex;
use crate::id::PeerId;
use crate::time::{Duration, Instant, micros};

/// Bans kept at once; beyond that the one that ends first is lifted. Each costs about 150 bytes.
const MAX_BANS: usize = 4096;

impl Offence {
    /// Points, against a threshold of 100 by default. What can only be a lie about content bans at once, a false
    /// signature or statement on the second time; broken framing may be a defect and is forgiven more often.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Malformed(_) | Self::Protocol(_) => 10,
            Self::BadSignature | Self::BadStatement => 50,
            Self::BadBlock => 100,
        }
    }
}

/// Points that halve with every half-life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    /// In 1/65536 point, as of `at`.
    fixed: u64,
    at: Instant,
}

impl Default for Score {
    fn default() -> Self {
        Self { fixed: 0, at: Instant::ORIGIN }
    }
}

impl Score {
    const ONE: u64 = 1 << 16;

    /// Whole points now, rounded up.
    pub(super) fn points(&self, now: Instant, half_life: Duration) -> u32 {
        u32::try_from(self.decayed(now, half_life).div_ceil(Self::ONE)).unwrap_or(u32::MAX)
    }

    /// Adds points; returns the sum.
    pub(super) fn add(&mut self, now: Instant, half_life: Duration, weight: u32) -> u32 {
        self.fixed = self.decayed(now, half_life).saturating_add(u64::from(weight) * Self::ONE);
        self.at = now.max(self.at);
        self.points(now, half_life)
    }

    /// Exact at whole half-lives, linear between them.
    fn decayed(&self, now: Instant, half_life: Duration) -> u64 {
        let half_life = micros(half_life).max(1);
        let elapsed = micros(now.since(self.at));
        let halved = u32::try_from(elapsed / half_life).ok().and_then(|n| self.fixed.checked_shr(n)).unwrap_or(0);
        let part = u128::from(halved / 2) * u128::from(elapsed % half_life) / u128::from(half_life);
        halved - part as u64
    }
}

/// Who is banned, and until when. Keyed by id: a ban outlives the peer's place in the book.
#[derive(Debug, Default)]
pub(super) struct Bans(DeadlineIndex<PeerId>);

impl Bans {
    /// Returns the peer whose ban had to make room.
    pub(super) fn insert(&mut self, peer: PeerId, until: Instant) -> Option<PeerId> {
        self.0.set(peer, until);
        if self.0.len() > MAX_BANS { self.0.pop_due(Instant::from_micros(u64::MAX)) } else { None }
    }

    pub(super) fn until(&self, peer: &PeerId) -> Option<Instant> {
        self.0.get(*peer)
    }

    pub(super) fn contains(&self, now: Instant, peer: &PeerId) -> bool {
        self.until(peer).is_some_and(|until| until > now)
    }

    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<PeerId> {
        self.0.pop_due(now)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.next()
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.0.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF_LIFE: Duration = Duration::from_secs(600);

    #[test]
    fn points_halve_with_each_half_life() {
        let mut score = Score::default();
        assert_eq!(score.add(Instant::ORIGIN, HALF_LIFE, 80), 80);
        let at = |secs| Instant::ORIGIN + Duration::from_secs(secs);
        assert_eq!(score.points(at(300), HALF_LIFE), 60);
        assert_eq!(score.points(at(600), HALF_LIFE), 40);
        assert_eq!(score.points(at(1800), HALF_LIFE), 10);
        assert_eq!(score.points(at(1_000_000_000), HALF_LIFE), 0);
        assert_eq!(score.add(at(600), HALF_LIFE, 10), 50);
    }

    #[test]
    fn bans_are_bounded() {
        let mut bans = Bans::default();
        for n in 0..MAX_BANS as u64 + 10 {
            let id = PeerId::from_ed25519(&crate::id::Digest::of(&n.to_be_bytes()).0);
            bans.insert(id, Instant::from_micros(n));
        }
        assert_eq!(bans.0.len(), MAX_BANS);
        assert_eq!(bans.next(), Some(Instant::from_micros(10)));
    }

    proptest! {
        #[test]
        fn points_only_fall_with_time_and_only_rise_with_offences(
            steps in proptest::collection::vec((0u64..2_000, 0u32..200), 1..50)
        ) {
            let mut score = Score::default();
            let mut now = Instant::ORIGIN;
            for (secs, weight) in steps {
                let before = score.points(now, HALF_LIFE);
                now = now + Duration::from_secs(secs);
                let faded = score.points(now, HALF_LIFE);
                prop_assert!(faded <= before);
                let after = score.add(now, HALF_LIFE, weight);
                prop_assert!(after >= faded && after >= weight && after <= faded + weight);
            }
        }
    }
}
