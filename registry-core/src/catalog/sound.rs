//! What must hold of a catalogue at any time.

use crate::catalog::Catalog;
use crate::catalog::admit::{MAX_PARKED, MAX_PENDING, MAX_WAITING};
use crate::catalog::merkle::Tree;
use crate::catalog::record::HeadRecord;

impl Catalog {
    /// For tests and fuzzing.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub(crate) fn assert_sound(&self) {
        let mut bytes = 0;
        for (publisher, log) in &self.logs {
            let mut tip = publisher.0;
            let mut tree = Tree::default();
            bytes += log.head.record.len();
            for (position, entry) in (0..).zip(log.entries()) {
                let info = self.release(*publisher, position).expect("what was admitted can be parsed");
                let release = &info.release;
                assert_eq!((release.publisher, release.position, release.previous), (*publisher, position, tip));
                let found = self.packages.find(*publisher, &release.meta.name, &release.meta.version.text);
                assert_eq!(found.map(|found| found.position), Some(position), "each version once, and found by name");
                assert_eq!(info.statement, entry.digest);
                tip = entry.digest;
                tree.push(&tip.0);
                bytes += entry.envelope.len();
            }
            assert!(log.len() <= log.head.length, "the head covers every entry");
            if log.is_complete() {
                let (record, _) = HeadRecord::open(&log.head.record).expect("a valid record");
                assert_eq!((tip, tree.root()), (record.head.tip, record.head.root));
            }
        }
        assert!(bytes <= self.bytes, "no byte uncounted");
        assert_eq!(self.releases().count(), self.len());
        assert!(self.verifying.len() <= MAX_PENDING && self.parked.len() <= MAX_PARKED);
        assert!(self.busy.values().all(|waiting| waiting.len() <= MAX_WAITING));
    }
}
