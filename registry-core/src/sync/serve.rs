//! Answers to peers.

use alloc::vec::Vec;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{FAULT, Sync};
use crate::catalog::Catalog;
use crate::cx::Cx;
use crate::id::{Digest, PeerIx, PublisherId, Token};
use crate::time::{Duration, Instant, micros};
use crate::wire::registry::{MAX_STATEMENTS, PublisherState, RANGES, RegistryMessage};

/// Publishers per answer: 80 bytes each, a third of a frame.
const PAGE: usize = 4096;

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

/// The range of a publisher: the first four bits of its id.
pub(super) fn range_of(publisher: PublisherId) -> u8 {
    let [first, ..] = publisher.0.0;
    first >> 4
}

/// The states of one range in ascending order of id, from behind `after` on.
pub(super) fn states_in(
    catalog: &Catalog,
    range: u8,
    after: Option<PublisherId>,
) -> impl Iterator<Item = PublisherState> + '_ {
    let last_of_previous = range.checked_sub(1).map(|previous| {
        let mut last = [0xFF; 32];
        last[0] = (previous << 4) | 0x0F;
        PublisherId(Digest(last))
    });
    let after = after.max(last_of_previous);
    catalog
        .states(after)
        .skip_while(move |state| after.is_some_and(|after| state.publisher <= after))
        .take_while(move |state| range_of(state.publisher) == range)
        .filter(|state| state.length > 0)
}

/// The fingerprints of all ranges, computed again only for ranges that have changed.
#[derive(Debug)]
pub(super) struct Fingerprints {
    known: [Option<Digest>; RANGES as usize],
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self { known: [None; RANGES as usize] }
    }
}

impl Fingerprints {
    pub(super) fn invalidate(&mut self, publisher: PublisherId) {
        if let Some(known) = self.known.get_mut(usize::from(range_of(publisher))) {
            *known = None;
        }
    }

    /// sha2-256 over (publisher, length (8 bytes, big endian), tip) of a range's publishers in ascending order.
    pub(super) fn all(&mut self, catalog: &Catalog) -> Vec<Digest> {
        let fingerprint = |(range, known): (u8, &mut Option<Digest>)| {
            *known.get_or_insert_with(|| {
                let mut hash = Sha256::new();
                for state in states_in(catalog, range, None) {
                    hash.update(state.publisher.0.0);
                    hash.update(state.length.to_be_bytes());
                    hash.update(state.tip.0);
                }
                Digest(hash.finalize().into())
            })
        };
        (0..RANGES).zip(&mut self.known).map(fingerprint).collect()
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
        let within_limit = self.served.entry(peer).or_default().take(cx.now, &SERVED).is_ok();
        let answer = if within_limit { self.answer(catalog, msg) } else { None };
        if answer.is_none() {
            cx.charge(peer, FAULT);
        }
        cx.respond(token, answer.map(Into::into));
    }

    /// `None` for what is no question.
    fn answer(&mut self, catalog: &Catalog, msg: &RegistryMessage) -> Option<RegistryMessage> {
        match msg {
            RegistryMessage::GetSummary => {
                Some(RegistryMessage::Summary { fingerprints: self.fingerprints.all(catalog) })
            }
            RegistryMessage::GetPublishers { range, after } if *range < RANGES => {
                let mut states = states_in(catalog, *range, *after);
                let entries = states.by_ref().take(PAGE).collect();
                Some(RegistryMessage::Publishers { entries, more: states.next().is_some() })
            }
            RegistryMessage::GetLog { publisher, from } => {
                let (record, mut entries) =
                    catalog.log(*publisher, *from, MAX_LOG_BYTES).unwrap_or((Bytes::new(), Vec::new()));
                entries.truncate(MAX_STATEMENTS);
                Some(RegistryMessage::Log { record, from: *from, entries })
            }
            RegistryMessage::GetPublishers { .. }
            | RegistryMessage::Summary { .. }
            | RegistryMessage::Publishers { .. }
            | RegistryMessage::Log { .. } => None,
        }
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

    #[test]
    fn ranges_are_the_first_four_bits() {
        let mut id = [0; 32];
        for (first, range) in [(0x00, 0), (0x0F, 0), (0x10, 1), (0xFF, 15)] {
            id[0] = first;
            assert_eq!(range_of(PublisherId(Digest(id))), range);
        }
    }
}
