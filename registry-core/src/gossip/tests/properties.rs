//! Invariants under arbitrary operations.

use proptest::prelude::*;

use super::bench::*;
use crate::config::Config;
use crate::fuzzing::TestWorld;
use crate::fuzzing::gossip::gossip;
use crate::gossip::cache::Authors;
use crate::input::Side;
use crate::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bounds are asserted by the body after every operation.
    #[test]
    fn bounds_hold_whatever_peers_do(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        gossip(&data);
    }

    #[test]
    fn the_degree_lies_within_its_bounds_after_a_heartbeat(
        inbound in 0_u64..30,
        outbound in 0_u64..30,
        joins in proptest::collection::vec(0_u64..60, 0..40),
        leavers in proptest::collection::vec(0_usize..60, 0..20),
    ) {
        let mut bench = Bench::with(Config::default());
        bench.subscribe("a");
        let mut peers = alloc::vec![];
        for n in 0..inbound + outbound {
            let side = if n < inbound { Side::Listener } else { Side::Dialer };
            peers.push(bench.subscriber(n, side, "a"));
        }
        for n in joins {
            if let Some(peer) = peers.get(n as usize) {
                bench.receive(*peer, graft("a"));
            }
        }
        bench.run(Duration::from_secs(1));
        for n in leavers {
            if n < peers.len() {
                bench.peer_gone(peers.swap_remove(n));
            }
        }
        // Those pruned by a full mesh are candidates again after their back-off.
        bench.run(Duration::from_secs(64));
        let degree = bench.mesh("a").len();
        prop_assert!(degree <= 12);
        prop_assert!(degree >= peers.len().min(5), "degree {} of {}", degree, peers.len());
    }

    /// A number is refused exactly when nothing newer than the seen cache's memory can stand for it.
    #[test]
    fn authors_never_forget_what_the_seen_cache_forgets(
        steps in proptest::collection::vec((0_u64..40, 0_u64..3), 1..100),
    ) {
        let author = TestWorld::peer_id(1);
        let mut authors = Authors::default();
        let mut accepted: alloc::vec::Vec<(u64, u64)> = alloc::vec![];
        let mut rotation = 0;
        for (seqno, rotate) in steps {
            rotation += rotate;
            let forgotten = accepted.iter().filter(|(_, at)| at + 2 <= rotation).map(|(seqno, _)| *seqno).max();
            prop_assert_eq!(authors.is_replay(rotation, &author, seqno), Some(seqno) <= forgotten);
            if Some(seqno) > forgotten {
                authors.note(rotation, author, seqno);
                accepted.push((seqno, rotation));
            }
        }
    }
}
