//! The end of a run: tells what should have been from what nobody could have brought about.
//!
//! After the calm only the core is there: the rest has gone for good ([`Judge::core`](crate::scenario::Judge::core)). It is
//! asked the final questions, and has the time the scenario gives it. A question about something of which the core holds
//! no copy any more is not held against it.

use crate::checks::Check;
use crate::engine::{NodeIx, World};
use crate::report::Verdict;
use crate::workload::Package;

/// Properties that say what happens in the end, not what must never happen.
const LIVENESS: [&str; 9] = ["G4", "G5", "K4", "K4-hops", "K5", "K7", "N4", "R4", "U4"];

/// Could the network give this package to somebody who asks: do honest nodes that run have its statement and its bytes?
pub(crate) fn is_recoverable(world: &World, package: &Package) -> bool {
    let honest = |node: &NodeIx| world.host(*node).is_up() && world.is_honest(*node);
    let mut live = (0..world.len()).filter(honest);
    let knows = |node| world.node(node).is_some_and(|it| !it.info(&package.spec()).is_empty());
    live.clone().any(knows) && live.any(|node| package.is_held_by(world, node))
}

/// Of a run in which so many questions could not be answered by anybody.
pub(crate) fn verdict(checks: &[Check], unanswerable: u64) -> Verdict {
    let violated = |check: &&Check| check.violations > 0;
    if checks.iter().filter(violated).any(|check| !LIVENESS.contains(&check.id)) {
        Verdict::Violation
    } else if checks.iter().any(|check| check.violations > 0) {
        Verdict::Liveness
    } else if unanswerable > 0 {
        Verdict::Unrecoverable
    } else {
        Verdict::of(checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safety_comes_before_liveness_and_both_before_what_is_lost() {
        let check = |id, holds| {
            let mut check = Check::new(id, "");
            check.judge(holds, String::new);
            check
        };
        let never = Check::new("R3", "");
        assert_eq!(verdict(&[check("G1", true), check("K4", true)], 0), Verdict::Pass);
        assert_eq!(verdict(&[check("G1", true), never.clone()], 0), Verdict::Inconclusive);
        assert_eq!(verdict(&[check("G1", true), never.clone()], 2), Verdict::Unrecoverable);
        assert_eq!(verdict(&[check("G1", true), check("K4", false), never], 2), Verdict::Liveness);
        assert_eq!(verdict(&[check("G1", false), check("K4", false)], 2), Verdict::Violation);
    }
}
