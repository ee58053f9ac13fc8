//! What must hold of a catalogue at any time.

use crate::catalog::Catalog;
use crate::catalog::admit::{MAX_PARKED, MAX_PENDING, MAX_PROVING, MAX_WAITING};
use crate::catalog::log::Entry;
use crate::catalog::merkle::Tree;
use crate::catalog::packages::Packages;
use crate::catalog::proof::{MAX_PROOFS, Proof};
use crate::catalog::quotas::{MAX_FOLLOWED, Standing, Usage};
use crate::catalog::record::HeadRecord;
use crate::catalog::statement::Says;
use crate::wire::registry::PublisherState;

impl Catalog {
    /// For tests and fuzzing.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub(crate) fn assert_sound(&self) {
        let mut packages = Packages::default();
        for (publisher, log) in &self.logs {
            let mut tip = publisher.0;
            let mut tree = Tree::default();
            let mut bytes = log.head.record.len();
            for (position, entry) in (0..).zip(log.entries()) {
                let (parsed, _) = Entry::open(&entry.envelope, &self.network).expect("what was admitted is valid");
                let statement = parsed.statement;
                assert_eq!((statement.publisher, statement.position, statement.previous), (*publisher, position, tip));
                if let Says::Release(meta) = &statement.says {
                    let found = self.packages.find(*publisher, &meta.name, &meta.version.text);
                    let found = found.map(|found| found.position);
                    assert_eq!(found, Some(position), "each version once, and found by name");
                }
                packages.admit(&statement);
                assert_eq!(parsed.digest, entry.digest);
                tip = entry.digest;
                tree.push(&tip.0);
                bytes += entry.envelope.len();
            }
            assert_eq!(bytes, log.bytes());
            assert!(log.len() <= log.head.length, "the head covers every entry");
            if log.is_complete() {
                let (record, _) = HeadRecord::open(&log.head.record).expect("a valid record");
                assert_eq!((tip, tree.root()), (record.head.tip, record.head.root));
            }
        }
        for standing in [Standing::Kept, Standing::Settled, Standing::Drawn] {
            let mut usage = Usage::default();
            for log in self.logs.values().filter(|log| log.standing == standing) {
                usage.publishers += 1;
                usage.bytes += log.bytes();
            }
            assert_eq!(usage, self.quotas.usage(standing), "all is counted");
        }
        assert_eq!(packages, self.packages, "whatever the order of admission");
        for (publisher, proof) in &self.proofs {
            let (opened, _) = Proof::open(&self.network, proof).expect("what was kept is valid");
            assert_eq!(opened.publisher, *publisher);
            assert!(self.is_forked(*publisher) && !self.wants_proof(*publisher));
            assert_eq!(self.claim(*publisher), Some(PublisherState::forked(*publisher)), "whatever is held of its log");
        }
        assert!(self.proving.len() <= MAX_PROVING);
        assert!(self.proofs.len() <= MAX_PROOFS + MAX_FOLLOWED + 1);
        assert!(self.verifying.len() <= MAX_PENDING && self.parked.len() <= MAX_PARKED);
        assert!(self.busy.values().all(|waiting| waiting.len() <= MAX_WAITING));
    }
}
