//! Logs of the attacker's publishers, ready to be put on disks.

use registry_core::action::Write;

use crate::corpus::Author;
use crate::fork::branches;
use crate::workload::imitation;

/// Authors of spam are others than those of contradictions.
const SPAMMERS: u32 = 1_000;

/// One of two logs of one publisher.
pub(crate) fn contradictory(seed: u64, which: usize) -> Vec<Write> {
    let [first, second] = branches(seed);
    if which.is_multiple_of(2) { first } else { second }
}

/// So many statements that imitate so many packages in turn.
pub(crate) fn imitating(seed: u64, spammer: usize, statements: u32, imitated: u32) -> Vec<Write> {
    let mut author = Author::new(seed, SPAMMERS + spammer as u32);
    author.publish((0..statements).map(|number| imitation(number % imitated.max(1), number)).collect());
    author.rows().collect()
}
