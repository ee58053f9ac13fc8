//! Answers to peers that search.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::FAULT;
use crate::catalog::Catalog;
use crate::collections::{Limit, Pace};
use crate::cx::Cx;
use crate::id::{PeerIx, PublisherId, Token};
use crate::search::{Index, ParsedQuery, score_release};
use crate::time::Duration;
use crate::wire::registry::{Found, FoundRelease, FoundWord, MAX_FOUND, MAX_WORDS, RegistryMessage};

/// What a peer may ask: ten searches a second, each of some milliseconds of work. Beyond that it is answered with nothing,
/// and charged.
const SERVED: Limit = Limit { interval: Duration::from_millis(100), burst: 80 };

/// Bytes of statements and records per answer: half of a frame.
const MAX_BYTES: usize = 512 * 1024;

/// Searches for peers, in what this node holds.
#[derive(Debug, Default)]
pub(crate) struct Server {
    served: BTreeMap<PeerIx, Pace>,
}

impl Server {
    pub(crate) fn handle_peer_down(&mut self, peer: PeerIx) {
        self.served.remove(&peer);
    }

    /// A peer's question; always answered.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Cx<'_>,
        catalog: &Catalog,
        index: &Index,
        peer: PeerIx,
        token: Token,
        msg: &RegistryMessage,
    ) {
        let within_limit = self.served.entry(peer).or_default().take(cx.now, &SERVED).is_ok();
        let found = if within_limit { answer(catalog, index, msg) } else { None };
        if found.is_none() {
            cx.charge(peer, FAULT);
        }
        cx.respond(token, found.map(|found| RegistryMessage::Found(found).into()));
    }
}

/// `None` for what is no question.
fn answer(catalog: &Catalog, index: &Index, msg: &RegistryMessage) -> Option<Found> {
    match msg {
        RegistryMessage::Search(query) => {
            let parsed = ParsedQuery::new(query).ok()?;
            Some(search(catalog, index, &parsed, query.limit.clamp(1, MAX_FOUND)))
        }
        RegistryMessage::Find(spec) => {
            let mut page = Page::default();
            if let Ok(release) = catalog.resolve_yanked(spec) {
                page.add(catalog, release.release.publisher, release.release.position, 0);
            }
            page.add_words(catalog);
            Some(page.found)
        }
        RegistryMessage::Compare { .. }
        | RegistryMessage::Differences { .. }
        | RegistryMessage::GetLog { .. }
        | RegistryMessage::Log { .. }
        | RegistryMessage::GetProof { .. }
        | RegistryMessage::Proof { .. }
        | RegistryMessage::Found(_) => None,
    }
}

fn search(catalog: &Catalog, index: &Index, query: &ParsedQuery, limit: usize) -> Found {
    let mut page = Page::default();
    let statistics = index.statistics(query);
    let reads = query.has_phrase();
    for found in index.search(query, &statistics, if reads { 2 * MAX_FOUND } else { limit }) {
        // The index knows the words of a phrase, not their order.
        let holds = !reads || {
            let release = catalog.release(found.publisher, found.position);
            release
                .is_some_and(|release| score_release(query, &statistics, &release.release, found.dependents).is_some())
        };
        if page.found.releases.len() == limit
            || holds && !page.add(catalog, found.publisher, found.position, found.dependents)
        {
            break;
        }
    }
    page.add_words(catalog);
    Found { statistics, ..page.found }
}

/// An answer in the making.
#[derive(Default)]
struct Page {
    found: Found,
    records: BTreeMap<PublisherId, u64>,
    /// Of the releases.
    places: Vec<(PublisherId, u64)>,
    bytes: usize,
}

impl Page {
    /// Adds a release that is held; false when there is no room for it.
    fn add(&mut self, catalog: &Catalog, publisher: PublisherId, position: u64, dependents: u32) -> bool {
        let (Some(record), Some(envelope)) = (catalog.record(publisher), catalog.statement(publisher, position)) else {
            return true;
        };
        self.bytes += envelope.len() + record.len();
        if self.bytes > MAX_BYTES {
            return false;
        }
        let next = self.found.records.len() as u64;
        let at = *self.records.entry(publisher).or_insert(next);
        if at == next {
            self.found.records.push(record);
        }
        self.found.releases.push(FoundRelease { record: at, envelope, dependents });
        self.places.push((publisher, position));
        true
    }

    /// Adds what was said later of the releases, as far as there is room: of the best ones first.
    fn add_words(&mut self, catalog: &Catalog) {
        for (publisher, position) in core::mem::take(&mut self.places) {
            let (Some(info), Some(record)) = (catalog.release(publisher, position), self.records.get(&publisher))
            else {
                continue;
            };
            for envelope in catalog.words(&info.release).filter_map(|word| catalog.statement(publisher, word)) {
                self.bytes += envelope.len();
                if self.bytes > MAX_BYTES || self.found.words.len() == MAX_WORDS {
                    return;
                }
                self.found.words.push(FoundWord { record: *record, envelope });
            }
        }
    }
}
