//! A publisher that contradicts itself, ready to be put on disks.

use registry_core::action::Write;

use crate::corpus::{Author, invent};

/// The rows of one publisher's log twice: after a common statement each goes on with others, the second longer than the
/// first. Whoever holds the first and hears of the second can prove it.
pub fn branches(seed: u64) -> [Vec<Write>; 2] {
    let packages = invent(seed, 4);
    let releases: Vec<_> = packages.iter().map(|one| one.release(&one.version, &Default::default())).collect();
    [&[0, 1][..], &[0, 2, 3]].map(|branch| {
        let mut author = Author::new(seed, 0);
        branch.iter().for_each(|ix| author.publish(vec![releases[*ix].clone()]));
        author.rows().collect()
    })
}
