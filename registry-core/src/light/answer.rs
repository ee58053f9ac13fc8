//! What one peer answers, parsed and judged by itself.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

use super::Question;
use crate::action::SignatureCheck;
use crate::catalog::proven::{self, Word};
use crate::catalog::record::HeadRecord;
use crate::catalog::{PackageSpec, Release, ReleaseInfo, StatementError, version};
use crate::id::PeerIx;
use crate::peers::Offence;
use crate::search::{Statistics, score_release};
use crate::wire::registry::{Found, FoundRelease, FoundWord};

/// Releases that are believed once all signatures hold.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) peer: PeerIx,
    pub(super) statistics: Statistics,
    /// With the number of packages that depend on each, as the peer says.
    pub(super) releases: Vec<(Arc<ReleaseInfo>, u32)>,
    /// What was said later of their packages.
    pub(super) words: Vec<Word>,
}

/// An answer, and what must be verified before it may be believed.
pub(super) struct Opened {
    pub(super) answer: Answer,
    pub(super) checks: Vec<SignatureCheck>,
}

impl Answer {
    /// Parses records and statements. An answer is taken as a whole: an honest peer has verified everything that it holds.
    ///
    /// # Errors
    /// The peer's offence, or none when a later version may have made it.
    pub(super) fn open(network: &str, peer: PeerIx, found: &Found) -> Result<Opened, Option<Offence>> {
        let offence = |error: StatementError| (!error.may_be_newer()).then_some(Offence::BadStatement);
        let (mut checks, mut records) = (Vec::new(), Vec::new());
        for record in &found.records {
            let (opened, of_record) = HeadRecord::open(record).map_err(offence)?;
            checks.extend(of_record);
            records.push(opened);
        }
        let record = |at: u64| usize::try_from(at).ok().and_then(|at| records.get(at)).ok_or(Some(super::FAULT));
        let (mut releases, mut words) = (Vec::new(), Vec::new());
        for FoundRelease { record: of, envelope, dependents } in &found.releases {
            let (release, of_statement) = proven::release(network, record(*of)?, envelope).map_err(offence)?;
            checks.extend(of_statement);
            releases.push((release, *dependents));
        }
        for FoundWord { record: of, envelope } in &found.words {
            let (word, of_statement) = proven::word(network, record(*of)?, envelope).map_err(offence)?;
            checks.extend(of_statement);
            words.push(word);
        }
        let answer = Self { peer, statistics: found.statistics.clone(), releases, words };
        Ok(Opened { answer, checks })
    }

    /// Does every release answer the question, by what the peer itself says of the query's terms, and is every word about
    /// one of their packages?
    pub(super) fn answers(&self, question: &Question) -> bool {
        let answers = |(release, dependents): &(Arc<ReleaseInfo>, u32)| match question {
            Question::Search { parsed, .. } => {
                score_release(parsed, &self.statistics, &release.release, *dependents).is_some()
            }
            Question::Find { spec, .. } => fits(spec, release),
        };
        let packages: BTreeSet<_> =
            self.releases.iter().map(|(info, _)| (info.release.publisher, &info.release.meta.name)).collect();
        let concerns = |word: &Word| packages.contains(&(word.publisher, &word.amendment.name));
        self.releases.iter().all(answers) && self.words.iter().all(concerns)
    }
}

/// Is this a release that the specification, which has a publisher, may mean?
pub(super) fn fits(spec: &PackageSpec, release: &ReleaseInfo) -> bool {
    let Release { publisher, meta, .. } = &release.release;
    let picks = || version::pick(slice::from_ref(&meta.version), spec.version.as_deref(), |version| version, |_| false);
    spec.publisher == Some(*publisher) && spec.name == meta.name && picks().is_ok()
}
