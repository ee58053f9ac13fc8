//! Who must not be grafted, and until when, for one topic.

use alloc::collections::BTreeMap;

use crate::gossip::limits::{MAX_BACKOFF_SECS, MAX_BACKOFFS};
use crate::id::PeerIx;
use crate::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Backoffs(BTreeMap<PeerIx, Instant>);

impl Backoffs {
    /// The length a peer asks for in PRUNE, made safe; `usual` when it asks for none.
    pub(super) fn clamp(asked: Option<u64>, usual: Duration) -> Duration {
        match asked {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(MAX_BACKOFF_SECS)),
            Some(_) | None => usual,
        }
    }

    /// Starts or prolongs a back-off; never shortens one.
    pub(super) fn extend(&mut self, now: Instant, peer: PeerIx, length: Duration) {
        let until = now + length;
        if let Some(old) = self.0.get_mut(&peer) {
            *old = until.max(*old);
            return;
        }
        if self.0.len() >= MAX_BACKOFFS {
            self.forget_expired(now, Duration::ZERO);
        }
        if self.0.len() >= MAX_BACKOFFS
            && let Some((_, first)) = self.0.iter().map(|(peer, until)| (*until, *peer)).min()
        {
            self.0.remove(&first);
        }
        self.0.insert(peer, until);
    }

    /// May the peer graft this node?
    pub(super) fn holds(&self, now: Instant, peer: PeerIx) -> bool {
        self.0.get(&peer).is_some_and(|until| now < *until)
    }

    /// When this node may graft the peer: `slack` after the end, for the peer's clock and heartbeat differ.
    pub(super) fn graft_after(&self, peer: PeerIx, slack: Duration) -> Option<Instant> {
        self.0.get(&peer).map(|until| *until + slack)
    }

    pub(super) fn forget_expired(&mut self, now: Instant, slack: Duration) {
        self.0.retain(|_, until| now < *until + slack);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
