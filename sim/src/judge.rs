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
const LIVENESS: [&str; 10] = ["G4", "G5", "K4", "K4-hops", "K5", "K7", "N4", "R4", "R4-ack", "U4"];

/// Properties that questions put to the test, if somebody can answer them.
const BY_QUESTIONS: [&str; 2] = ["R3", "R4"];

/// Could the network give this package to somebody who asks: do honest nodes that run have its statement and its bytes?
pub(crate) fn is_recoverable(world: &World, package: &Package) -> bool {
    is_known(world, package) && live(world).any(|node| package.is_held_by(world, node))
}

/// Do honest nodes that run have this package's statement?
pub(crate) fn is_known(world: &World, package: &Package) -> bool {
    // Who has said that it is published, and has kept its disk, must know it, whatever it says now.
    let is_its_word = |node| node == package.by && package.acknowledged == Some(world.host(node).peer_id());
    let shows = |node| world.node(node).is_some_and(|it| !it.info(&package.spec()).is_empty());
    live(world).any(|node| is_its_word(node) || shows(node))
}

fn live(world: &World) -> impl Iterator<Item = NodeIx> {
    (0..world.len()).filter(|node| world.host(*node).is_up() && world.is_honest(*node))
}

/// Of a run in which so many questions could not be answered by anybody.
pub(crate) fn verdict(checks: &[Check], unanswerable: u64) -> Verdict {
    let violated = |check: &&Check| check.violations > 0;
    if checks.iter().filter(violated).any(|check| !LIVENESS.contains(&check.id)) {
        Verdict::Violation
    } else if checks.iter().any(|check| check.violations > 0) {
        Verdict::Liveness
    } else if unanswerable == 0 {
        Verdict::of(checks)
    } else if checks.iter().any(|check| check.evaluated == 0 && !BY_QUESTIONS.contains(&check.id)) {
        Verdict::Inconclusive
    } else {
        Verdict::Unrecoverable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Down, Options};
    use crate::fault::Fault;
    use crate::scenario::{SECOND, Scenario};

    #[test]
    fn who_has_kept_its_disk_owes_what_it_has_published_whatever_it_shows() {
        let mut world = World::new(&Scenario::small(4), 1, &Options::default(), &[1]);
        let run = |world: &mut World, seconds: u64| {
            let until = world.now() + seconds * SECOND;
            while world.step(until).is_some() {}
        };
        (0..4).for_each(|ix| world.schedule_boot(0, ix));
        run(&mut world, 5);
        let mut package = Package::new(1, 0, 1, &world);
        package.store(&mut world);
        assert!(!is_recoverable(&world, &package), "nobody has said that it is published");
        package.acknowledged = Some(world.host(1).peer_id());
        assert!(is_recoverable(&world, &package));
        for (id, disk_lost) in [(0, false), (1, true)] {
            assert!(world.impose(id, &Fault::Crash { down: Down::Refusing, disk_lost }, &[1]));
            assert!(!is_recoverable(&world, &package), "it is down");
            assert!(world.lift(id));
            run(&mut world, 5);
            package.store(&mut world);
            assert_eq!(is_recoverable(&world, &package), !disk_lost);
        }
    }

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
        assert_eq!(verdict(&[Check::new("G1", ""), never.clone()], 2), Verdict::Inconclusive);
        assert_eq!(verdict(&[check("G1", true), check("K4", false), never], 2), Verdict::Liveness);
        assert_eq!(verdict(&[check("G1", false), check("K4", false)], 2), Verdict::Violation);
    }
}
