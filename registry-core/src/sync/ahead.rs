//! A long log, fetched of several peers at once.
//!
//! Once a first run of a log is durable, the runs after the next one are asked for while that is on its way or judged, of
//! one connected peer after the other. What arrives waits for its turn: the catalogue gets one run after the other, of
//! whoever sent it, and whatever fails is asked for again when its turn comes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::serve::MAX_LOG_BYTES;
use super::{Asker, FAULT, Sync};
use crate::catalog::MAX_RUN;
use crate::cx::Cx;
use crate::id::{PeerIx, PublisherId, RequestId};
use crate::time::{Duration, Instant};
use crate::wire::registry::{PublisherState, RegistryMessage};

/// Runs of a log asked for or waiting beside the one whose turn it is: of all gaps together at most 15 MiB.
pub(super) const MAX_AHEAD: usize = 3;

/// A run whose turn has not come.
#[derive(Debug)]
pub(super) struct Piece {
    source: PeerIx,
    from: u64,
    load: Load,
}

#[derive(Debug)]
enum Load {
    Asked { request: RequestId, until: Instant },
    Here { record: Bytes, entries: Vec<Bytes> },
}

/// A piece whose turn it is.
pub(super) enum Turn {
    Asked { source: PeerIx, request: RequestId, from: u64, until: Instant },
    Here { source: PeerIx, record: Bytes, from: u64, entries: Vec<Bytes> },
}

impl Piece {
    /// Where it ends, or may end.
    fn end(&self) -> u64 {
        let len = if let Load::Here { entries, .. } = &self.load { entries.len() } else { MAX_RUN };
        self.from.saturating_add(len as u64)
    }
}

/// The pieces of one gap, in order, and whom to ask for more.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pieces: VecDeque<Piece>,
    /// The next one first.
    helpers: VecDeque<PeerIx>,
}

impl Ahead {
    pub(super) fn set_helpers(&mut self, helpers: impl IntoIterator<Item = PeerIx>) {
        for helper in helpers {
            if !self.helpers.contains(&helper) {
                self.helpers.push_back(helper);
            }
        }
    }

    /// The piece that holds what follows `have` statements, and the requests of pieces before that, which are given up.
    pub(super) fn take(&mut self, have: u64) -> (Option<Turn>, Vec<RequestId>) {
        let mut given_up = Vec::new();
        while let Some(passed) = self.pieces.pop_front_if(|piece| piece.end() <= have) {
            given_up.extend(passed.request());
        }
        let turn =
            self.pieces.pop_front_if(|piece| piece.from <= have).map(|Piece { source, from, load }| match load {
                Load::Asked { request, until } => Turn::Asked { source, request, from, until },
                Load::Here { record, entries } => Turn::Here { source, record, from, entries },
            });
        (turn, given_up)
    }

    /// A peer that has failed is not asked again, and what it sent is not used.
    pub(super) fn drop_helper(&mut self, helper: PeerIx) -> Vec<RequestId> {
        self.helpers.retain(|other| *other != helper);
        let requests = self.pieces.iter().filter(|piece| piece.source == helper).filter_map(Piece::request).collect();
        self.pieces.retain(|piece| piece.source != helper);
        requests
    }

    /// Of pieces that have not arrived.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.pieces.iter().filter_map(Piece::request)
    }

    fn asked_by(&mut self, id: RequestId) -> Option<&mut Piece> {
        self.pieces.iter_mut().find(|piece| piece.request() == Some(id))
    }
}

impl Piece {
    fn request(&self) -> Option<RequestId> {
        if let Load::Asked { request, .. } = self.load { Some(request) } else { None }
    }
}

impl Sync {
    /// Asks for the runs after the one from `from` on, as far as the log goes.
    pub(super) fn look_ahead(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, from: u64) {
        while let Some(gap) = self.gaps.get_mut(&publisher) {
            let next = gap.ahead.pieces.back().map_or(from.saturating_add(MAX_RUN as u64), Piece::end);
            let full = gap.ahead.pieces.len() >= MAX_AHEAD;
            if full || !gap.quick || gap.want == PublisherState::FORKED || next >= gap.want {
                return;
            }
            let Some(source) = gap.ahead.helpers.pop_front() else { return };
            gap.ahead.helpers.push_back(source);
            let question = RegistryMessage::GetLog { publisher, from: next };
            let Ok(request) = self.ask(cx, Asker::Gap(publisher), source, question) else { return };
            let until = cx.now + cx.config.sync.request_timeout.max(Duration::from_millis(1));
            if let Some(gap) = self.gaps.get_mut(&publisher) {
                gap.ahead.pieces.push_back(Piece { source, from: next, load: Load::Asked { request, until } });
            }
        }
    }

    /// What was asked for ahead has come, or nothing: whoever has nothing is not to blame.
    pub(super) fn handle_piece(
        &mut self,
        cx: &mut Cx<'_>,
        publisher: PublisherId,
        id: RequestId,
        msg: Option<&RegistryMessage>,
    ) {
        let Some(piece) = self.gaps.get_mut(&publisher).and_then(|gap| gap.ahead.asked_by(id)) else { return };
        let source = piece.source;
        match msg {
            Some(RegistryMessage::Log { record, from, entries })
                if *from == piece.from
                    && !entries.is_empty()
                    && entries.iter().map(Bytes::len).sum::<usize>() <= MAX_LOG_BYTES =>
            {
                let entries = entries.get(..MAX_RUN).unwrap_or(entries).to_vec();
                piece.load = Load::Here { record: record.clone(), entries };
                return;
            }
            Some(RegistryMessage::Log { entries, .. }) if entries.is_empty() => {}
            Some(_) => {
                self.shunned.note(cx.now, source);
                cx.charge(source, FAULT);
            }
            None => {}
        }
        self.drop_helper(publisher, source);
    }

    pub(super) fn drop_helper(&mut self, publisher: PublisherId, helper: PeerIx) {
        let requests = self.gaps.get_mut(&publisher).map(|gap| gap.ahead.drop_helper(helper));
        self.cancel(requests.into_iter().flatten());
    }

    /// Nobody waits for these any more.
    pub(super) fn cancel(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        for request in requests {
            self.requests.remove(&request);
        }
    }

    /// Some connected peers, whoever has delivered first.
    pub(super) fn find_helpers(&mut self, cx: &mut Cx<'_>, publisher: PublisherId, first: PeerIx) {
        let partners = self.willing_partners(cx);
        if let Some(gap) = self.gaps.get_mut(&publisher) {
            gap.ahead.set_helpers([first].into_iter().chain(partners));
        }
    }
}
