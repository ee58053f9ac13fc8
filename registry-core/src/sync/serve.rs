//! Answers to peers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::tree::{LISTED, NOTHING};
use super::{FAULT, Sync};
use crate::catalog::Catalog;
use crate::cx::Cx;
use crate::id::{PeerIx, Token};
use crate::time::{Duration, Instant, micros};
use crate::wire::registry::{Difference, MAX_LISTED, MAX_STATEMENTS, MAX_STATES, RangeDigest, RegistryMessage};

/// Bytes of statements per answer: a quarter of a frame, so that one answer never blocks a slow link for long, and the
/// logs of one round fit what a catalogue verifies of one source at a time.
const MAX_LOG_BYTES: usize = 256 * 1024;

/// So many requests at once, then one per interval.
#[derive(Debug)]
pub(super) struct Limit {
    interval: Duration,
    burst: u32,
}

/// What a peer may ask: 500 a second. Beyond that it is answered with nothing, and charged.
const SERVED: Limit = Limit { interval: Duration::from_millis(2), burst: 1000 };

/// What this node asks of a peer: half of what it would serve itself, so that jitter never makes it a flooder.
pub(super) const ASKED: Limit = Limit { interval: Duration::from_millis(4), burst: 500 };

/// A leaky bucket kept as one instant: when it would be empty (GCRA).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    empty_at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { empty_at: Instant::ORIGIN }
    }
}

impl Pace {
    /// Counts one request, or tells when the next one is allowed (later than `now`).
    pub(super) fn take(&mut self, now: Instant, limit: &Limit) -> Result<(), Instant> {
        let full = limit.interval.saturating_mul(limit.burst);
        let filled = self.empty_at.max(now) + limit.interval;
        if filled.since(now) > full {
            return Err(Instant::from_micros(filled.as_micros().saturating_sub(micros(full))));
        }
        self.empty_at = filled;
        Ok(())
    }
}

impl Sync {
    /// A peer's question; always answered.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        peer: PeerIx,
        token: Token,
        msg: &RegistryMessage,
    ) {
        self.traffic.received += msg.encoded_len() as u64;
        let within_limit = self.served.entry(peer).or_default().take(cx.now, &SERVED).is_ok();
        let answer = if within_limit { self.answer(catalog, msg) } else { None };
        match &answer {
            Some(answer) => self.traffic.sent += answer.encoded_len() as u64,
            None => cx.charge(peer, FAULT),
        }
        cx.respond(token, answer.map(Into::into));
    }

    /// `None` for what is no question.
    fn answer(&self, catalog: &Catalog, msg: &RegistryMessage) -> Option<RegistryMessage> {
        match msg {
            RegistryMessage::Compare { ranges } => Some(RegistryMessage::Differences { ranges: self.compare(ranges) }),
            RegistryMessage::GetLog { publisher, from } => {
                let (record, mut entries) =
                    catalog.log(*publisher, *from, MAX_LOG_BYTES).unwrap_or((Bytes::new(), Vec::new()));
                entries.truncate(MAX_STATEMENTS);
                Some(RegistryMessage::Log { record, from: *from, entries })
            }
            RegistryMessage::Differences { .. } | RegistryMessage::Log { .. } => None,
        }
    }

    /// As many ranges as fit an answer, at least the first.
    fn compare(&self, ranges: &[RangeDigest]) -> Vec<Difference> {
        let mut room = MAX_STATES;
        let fits = |RangeDigest { range, digest }: &RangeDigest| {
            if self.tree.digest(*range) == *digest {
                return Some(Difference::None);
            }
            // Whoever has nothing there needs every state: digests would only come on top.
            let limit = if *digest == NOTHING { MAX_LISTED } else { LISTED };
            match self.tree.states(*range, limit) {
                Some(states) => {
                    room = room.checked_sub(states.len())?;
                    Some(Difference::States(states))
                }
                None => Some(Difference::Parts(Box::new(self.tree.parts(*range)))),
            }
        };
        ranges.iter().map_while(fits).collect()
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
