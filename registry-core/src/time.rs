//! Time is an input. Nothing in this crate can read a clock.

use core::num::NonZeroU64;
pub use core::time::Duration;

/// A point of monotonic time: microseconds since an arbitrary origin chosen by the shell.
///
/// All arithmetic saturates, so no duration taken from the wire can panic or wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The earliest instant.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);

    /// The instant `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        match NonZeroU64::new(micros.saturating_add(1)) {
            Some(value) => Self(value),
            None => Self::ORIGIN,
        }
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0.get().saturating_sub(1)
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_micros(self.as_micros().saturating_add(micros(duration)))
    }
}

/// Wall-clock time: microseconds since 1970-01-01T00:00:00Z. Used only for validity periods and sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The time `micros` microseconds after 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The time `seconds` seconds after 1970.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl core::ops::Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// A duration in whole microseconds, saturating at `u64::MAX`.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// When the node wants [`handle_timeout`](crate::Node::handle_timeout) to be called, and on whose behalf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// Call no earlier than this (an earlier call is harmless).
    pub at: Instant,
    /// Which part of the node asked.
    pub why: WakeReason,
}

/// The part of the node a [`Wake`] belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WakeReason {
    /// Dialling, back-off, bans.
    Peers,
    /// Lookups, refresh, republish, expiry.
    Kad,
    /// The gossip heartbeat and its deadlines.
    Gossip,
    /// Block requests and fetches.
    Exchange,
    /// Own head renewal and admission.
    Catalog,
    /// Reconciliation with peers.
    Sync,
    /// Searches of peers.
    Light,
    /// Deadlines of application commands.
    Operations,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::from_micros(u64::MAX) + Duration::MAX, Instant::from_micros(u64::MAX));
        assert_eq!(Instant::from_micros(5).since(Instant::from_micros(9)), Duration::ZERO);
        assert_eq!(UnixTime::from_secs(u64::MAX) + Duration::MAX, UnixTime::from_micros(u64::MAX));
        assert_eq!(core::mem::size_of::<Option<Instant>>(), 8);
    }
}
