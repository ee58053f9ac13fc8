//! Random scenarios: each leaves some kinds of faults out, and draws how bad the others are.

use registry_core::Rng;

use crate::engine::Down;
use crate::fault::{Access, Fault, Paths};
use crate::mix::stream;
use crate::net::Transport;
use crate::scenario::{Between, Knobs, Often, Random, SECOND, Scenario, Who};

/// Of so many settings of the core one is at an odd value.
const ODD_ONE_IN: u64 = 12;
/// Kinds that are left out, in percent.
const LEFT_OUT: u64 = 50;

/// Draws how bad a fault is.
pub(crate) type Draw = fn(&mut Rng) -> Fault;

/// What a kind of fault strikes, each time.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// One to three nodes.
    Few,
    /// Up to half of the nodes.
    Some,
    /// Any share of the nodes.
    Many,
}

/// Each kind of fault.
pub(crate) const MENU: &[(Reach, Draw)] = &[
    (Reach::Many, |rng| Fault::Loss {
        good_ppm: rng.below(1_000),
        bad_ppm: 50_000 + rng.below(250_000),
        burst: 1 + rng.below(10),
        gap: 20 + rng.below(200),
    }),
    (Reach::Many, |rng| Fault::Tail { spread: 1 + rng.below(5) as u32, rare_ppm: 1_000 + rng.below(9_000) }),
    (Reach::Some, |rng| {
        let all = [Access::Reliable, Access::Home, Access::Constrained, Access::Laggy, Access::Bad];
        Fault::Access(all[rng.index(all.len())])
    }),
    (Reach::Some, |rng| Fault::Bandwidth { kbit: 200 + rng.below(5_000) }),
    (Reach::Many, |rng| Fault::Duplicate { ppm: 1_000 + rng.below(50_000), within: rng.below(10 * SECOND) }),
    (Reach::Many, |rng| Fault::Reorder { ppm: 1_000 + rng.below(100_000), within: rng.below(SECOND) }),
    (Reach::Some, |rng| Fault::Corrupt { ppm: 100 + rng.below(1_000) }),
    (Reach::Few, |rng| Fault::Garble { ppm: 1_000 + rng.below(20_000) }),
    (Reach::Some, |rng| Fault::Partition { paths: paths(rng) }),
    (Reach::Some, |rng| Fault::Flap {
        paths: paths(rng),
        down: (1 + rng.below(30)) * SECOND,
        up: (1 + rng.below(60)) * SECOND,
    }),
    (Reach::Some, |rng| Fault::Clog { paths: paths(rng) }),
    (Reach::Some, |_| Fault::Undialable),
    (Reach::Few, |rng| Fault::ConnectionCap { most: 8 + rng.index(12) }),
    (Reach::Few, |_| Fault::Reset),
    (Reach::Few, |rng| Fault::Crash { down: down(rng), disk_lost: rng.chance(3, 10) }),
    (Reach::Many, |rng| Fault::Crash { down: down(rng), disk_lost: false }),
    (Reach::Few, |_| Fault::Stop),
    (Reach::Few, |rng| Fault::Pause { asleep: rng.chance(1, 2) }),
    (Reach::Few, |rng| Fault::Slow { factor: 1 + rng.below(50) }),
    (Reach::Few, |rng| Fault::DiskError { ppm: 1_000 + rng.below(100_000) }),
    (Reach::Few, |_| Fault::DiskFull),
    (Reach::Some, |rng| Fault::DiskSlow { factor: 2 + rng.below(10) }),
    (Reach::Some, |rng| Fault::DiskStall { ppm: 1_000 + rng.below(20_000) }),
    (Reach::Some, |rng| Fault::BitRot { ppm: 1_000 + rng.below(50_000) }),
    (Reach::Few, |rng| Fault::ClockJump { by: rng.below(1_200) as i64 - 600 }),
    (Reach::Some, |rng| Fault::ClockDrift { ppm: rng.below(100) as i64 - 50 }),
];

/// The scenario that a seed makes of another one.
pub fn vary(base: &Scenario, seed: u64) -> Scenario {
    let mut rng = stream(seed, "swarm", 0, 0);
    let mut scenario = base.clone();
    scenario.net.transport = if rng.chance(1, 2) { Transport::Streams } else { Transport::Datagrams };
    scenario.net.rtt = rng.chance(1, 8).then(|| (1 + rng.below(300)) * 1_000);
    scenario.knobs = Knobs::odd(&mut rng, ODD_ONE_IN);
    for (reach, draw) in MENU {
        let (is_left_out, fault, times) = (rng.chance(LEFT_OUT, 100), draw(&mut rng), 1 + rng.below(4));
        let random =
            Random { often: Often::Times(times), fault, who: who(*reach, &mut rng), lasts: Some(lasts(&mut rng)) };
        if !is_left_out {
            scenario.random.push(random);
        }
    }
    scenario
}

fn who(reach: Reach, rng: &mut Rng) -> Who {
    let percent = |rng: &mut Rng, most| Who::Share((1 + rng.below(most)) as f64 / 100.0);
    match reach {
        Reach::Few => Who::Count(1 + rng.below(3) as u32),
        Reach::Some => percent(rng, 50),
        Reach::Many => percent(rng, 100),
    }
}

/// Mostly seconds, sometimes minutes.
fn lasts(rng: &mut Rng) -> Between {
    let least = SECOND << rng.below(7);
    Between { least, most: 4 * least }
}

fn paths(rng: &mut Rng) -> Paths {
    let all = [Paths::Both, Paths::Out, Paths::In, Paths::Pairs(100_000 + rng.below(600_000))];
    all[rng.index(all.len())]
}

fn down(rng: &mut Rng) -> Down {
    if rng.chance(1, 2) { Down::Refusing } else { Down::Silent }
}
