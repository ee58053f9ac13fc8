//! From segments to one.

use alloc::vec::Vec;

use super::dictionary::Terms;
use super::postings::Posting;
use super::write::Writer;
use super::{DocumentIx, Segment};

/// A segment of which some documents are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The segment.
    pub segment: Segment,
    /// Those that are left out, in ascending order.
    pub dead: Vec<DocumentIx>,
}

impl Segment {
    /// One segment of all documents of several that are not left out. The parts must not share a package.
    ///
    /// Takes about a second for two million postings; a shell runs it on a thread of its own.
    pub fn merge(parts: &[Part]) -> Self {
        let documents = live_documents(parts);
        let dependencies = documents.iter().flat_map(|&(part, ix)| parts[part].segment.dependencies(ix));
        let publishers = documents.iter().map(|&(part, ix)| parts[part].segment.key(ix).publisher);
        let mut writer = Writer::new(publishers.collect(), dependencies.collect());
        let lengths = parts.iter().map(|part| part.segment.documents() as usize);
        let mut places: Vec<Vec<Option<DocumentIx>>> = lengths.map(|length| alloc::vec![None; length]).collect();
        for (new, &(part, ix)) in (0..).zip(&documents) {
            let segment = &parts[part].segment;
            writer.document(&segment.document(ix), segment.dependencies(ix));
            places[part][ix as usize] = Some(new);
        }
        merge_terms(parts, &places, &mut writer);
        writer.finish()
    }
}

/// (part, document) in the order of `Key`.
fn live_documents(parts: &[Part]) -> Vec<(usize, DocumentIx)> {
    let live = |(at, part): (usize, &Part)| {
        let dead = part.dead.clone();
        (0..part.segment.documents()).filter(move |ix| dead.binary_search(ix).is_err()).map(move |ix| (at, ix))
    };
    let mut documents: Vec<_> = parts.iter().enumerate().flat_map(live).collect();
    documents.sort_by(|&(a, x), &(b, y)| parts[a].segment.key(x).cmp(&parts[b].segment.key(y)));
    documents
}

fn merge_terms(parts: &[Part], places: &[Vec<Option<DocumentIx>>], writer: &mut Writer) {
    let mut readers: Vec<(usize, Terms<'_>)> = parts.iter().map(|part| part.segment.terms()).enumerate().collect();
    readers.retain_mut(|(_, terms)| terms.advance());
    let mut term = Vec::new();
    let mut postings: Vec<Posting> = Vec::new();
    while let Some(least) = readers.iter().map(|(_, terms)| terms.term()).min() {
        term.clear();
        term.extend_from_slice(least);
        postings.clear();
        readers.retain_mut(|(part, terms)| {
            if terms.term() != term {
                return true;
            }
            let place = |posting: Posting| {
                let document = places[*part].get(posting.document as usize).copied().flatten()?;
                Some(Posting { document, ..posting })
            };
            postings.extend(terms.postings().filter_map(place));
            terms.advance()
        });
        postings.sort_unstable_by_key(|posting| posting.document);
        if !postings.is_empty() {
            writer.term(&term, &postings);
        }
    }
}
