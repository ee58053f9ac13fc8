//! Answers to peers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::tree::{LISTED, NOTHING};
use super::{FAULT, Sync};
use crate::catalog::Catalog;
use crate::collections::Limit;
use crate::cx::Cx;
use crate::id::{PeerIx, Token};
use crate::time::Duration;
use crate::wire::registry::{Difference, MAX_LISTED, MAX_STATEMENTS, MAX_STATES, RangeDigest, RegistryMessage};

/// Bytes of statements per answer: a quarter of a frame, so that one answer never blocks a slow link for long, and the
/// logs of one round fit what a catalogue verifies of one source at a time.
pub(super) const MAX_LOG_BYTES: usize = 256 * 1024;

/// What a peer may ask: 500 a second. Beyond that it is answered with nothing, and charged.
const SERVED: Limit = Limit { interval: Duration::from_millis(2), burst: 1000 };

/// What this node asks of a peer: half of what it would serve itself, so that jitter never makes it a flooder.
pub(super) const ASKED: Limit = Limit { interval: Duration::from_millis(4), burst: 500 };

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
            RegistryMessage::GetProof { publisher } => {
                let proof = catalog.proof(*publisher).cloned().unwrap_or_default();
                Some(RegistryMessage::Proof { proof })
            }
            RegistryMessage::Differences { .. }
            | RegistryMessage::Log { .. }
            | RegistryMessage::Proof { .. }
            | RegistryMessage::Search(_)
            | RegistryMessage::Find(_)
            | RegistryMessage::Found(_) => None,
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
