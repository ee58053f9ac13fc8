//! What one peer answers, parsed and judged by itself.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

use super::Question;
use crate::action::SignatureCheck;
use crate::catalog::record::HeadRecord;
use crate::catalog::{PackageSpec, Release, ReleaseInfo, StatementError, proven, version};
use crate::id::PeerIx;
use crate::peers::Offence;
use crate::search::{Statistics, score_release};
use crate::wire::registry::{Found, FoundRelease};

/// Releases that are believed once all signatures hold.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) peer: PeerIx,
    pub(super) statistics: Statistics,
    /// With the number of packages that depend on each, as the peer says.
    pub(super) releases: Vec<(Arc<ReleaseInfo>, u32)>,
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
        let mut records = BTreeMap::new();
        let (mut releases, mut checks) = (Vec::new(), Vec::new());
        for FoundRelease { record, envelope, dependents } in &found.releases {
            let bytes = usize::try_from(*record).ok().and_then(|at| found.records.get(at)).ok_or(Some(super::FAULT))?;
            if !records.contains_key(record) {
                let (opened, of_record) = HeadRecord::open(bytes).map_err(offence)?;
                checks.extend(of_record);
                records.insert(*record, opened);
            }
            let Some(record) = records.get(record) else { continue };
            let (release, of_statement) = proven::open(network, record, envelope).map_err(offence)?;
            checks.extend(of_statement);
            releases.push((release, *dependents));
        }
        let answer = Self { peer, statistics: found.statistics.clone(), releases };
        Ok(Opened { answer, checks })
    }

    /// Does every release answer the question, by what the peer itself says of the query's terms?
    pub(super) fn answers(&self, question: &Question) -> bool {
        self.releases.iter().all(|(release, dependents)| match question {
            Question::Search { parsed, .. } => {
                score_release(parsed, &self.statistics, &release.release, *dependents).is_some()
            }
            Question::Find { spec, .. } => fits(spec, release),
        })
    }
}

/// Is this a release that the specification, which has a publisher, may mean?
pub(super) fn fits(spec: &PackageSpec, release: &ReleaseInfo) -> bool {
    let Release { publisher, meta, .. } = &release.release;
    let picks = || version::pick(slice::from_ref(&meta.version), spec.version.as_deref(), |version| version, |_| false);
    spec.publisher == Some(*publisher) && spec.name == meta.name && picks().is_ok()
}
