//! Random scenarios: each leaves some kinds of faults out, and draws how bad the others are.

use registry_core::Rng;

use crate::adversary::{Hostile, Place};
use crate::engine::Down;
use crate::fault::{Access, Fault, Paths};
use crate::mix::stream;
use crate::net::Transport;
use crate::scenario::{Between, Churn, Count, Crowd, Knobs, Late, Often, Random, SECOND, Scenario, Time, Weibull, Who};

/// Of so many settings of the core one is at an odd value.
const ODD_ONE_IN: u64 = 12;
/// Kinds that are left out, in percent.
const LEFT_OUT: u64 = 50;

/// Runs with an attacker, in percent.
const ATTACKED: u64 = 50;
/// Kinds of attacks in one run, at most.
const ATTACKS: u64 = 2;
/// An attacker is not told of packages and keys beyond so many.
const AIMS: u64 = 20;
/// How long an attack lasts that is no flood.
const LONG: Between = Between { least: 120 * SECOND, most: 1_200 * SECOND };
/// Nodes without a catalogue, who ask others for what they look for.
const LIGHT: u32 = 6;
/// In so many of a hundred runs only a core is there in the end, three nodes of five or more.
const LEFT_ALONE: u64 = 25;

/// Runs in which some nodes join late, in which some come and go, and in which many fetch the same, in percent each.
const SHAPED: u64 = 12;
/// Runs with small buckets, in percent: of 24 nodes and 20 places none is ever full.
const SMALL_BUCKETS: u64 = 25;
/// Runs with provider records that live for minutes only, in percent, and for how long they do.
const SHORT_LIVED: u64 = 6;
const SHORT_LIFE: Time = Time(300 * SECOND);
const SHORT_REPUBLISH: Time = Time(120 * SECOND);
/// Runs with so long a calm that tables must be whole again, in percent.
const LONG_CALM: u64 = 3;
const CALM: u64 = 35 * 60 * SECOND;
/// Runs in which nodes want fewer connections than there are others, in percent: 24 nodes never have too many otherwise.
const CROWDED: u64 = 10;
/// Fewest, low and most connections of a node then.
const FEW_CONNECTIONS: [usize; 3] = [6, 10, 15];
/// Of so many kinds of faults that strike a share of the nodes, one strikes a region, and one its nodes in turn.
const GATHERED: u64 = 8;

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
    (Reach::Some, |rng| Fault::Bandwidth { kbit: 20 << rng.below(9) }),
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
    (Reach::Some, |rng| Fault::DiskStall { ppm: 1_000 + rng.below(200_000) }),
    (Reach::Some, |rng| Fault::BitRot { ppm: 1_000 + rng.below(50_000) }),
    (Reach::Few, |rng| Fault::ClockJump { by: rng.below(1_200) as i64 - 600 }),
    (Reach::Some, |rng| Fault::ClockDrift { ppm: rng.below(100) as i64 - 50 }),
];

/// What an attacker may be up to, each time with one or two nodes.
const ATTACK_MENU: &[Draw] = &[
    |_| Fault::Hostile(Hostile::NonForwarder),
    |rng| Fault::Hostile(Hostile::Mute(rng.below(2) as u32)),
    |_| Fault::Hostile(Hostile::IhaveFlood),
    |_| Fault::Hostile(Hostile::IwantFlood),
    |_| Fault::Hostile(Hostile::GraftFlood),
    |_| Fault::Hostile(Hostile::StaleAnswers),
    |_| Fault::Hostile(Hostile::SlowDrip),
    |_| Fault::Hostile(Hostile::InventedPeers),
    |_| Fault::Hostile(Hostile::Eclipse),
    |rng| Fault::Hostile(Hostile::Censor(aim(rng))),
    |_| Fault::Hostile(Hostile::BadBytes),
    |_| Fault::Hostile(Hostile::ForgedStatements),
    |_| Fault::Hostile(Hostile::IrrelevantFinds),
    |_| Fault::Hostile(Hostile::EmptyFinds),
    |_| Fault::Hostile(Hostile::OldNews),
    |rng| Fault::Sybil { near: aim(rng), bits: 4 + rng.below(6) as u32 },
    |_| Fault::CoLocated,
    |_| Fault::Equivocate,
    |rng| Fault::SearchSpam { statements: 1 + rng.below(30) as u32, imitated: 1 + rng.below(AIMS) as u32 },
];

/// The scenario that a seed makes of another one, whose own settings stay.
pub fn vary(base: &Scenario, seed: u64) -> Scenario {
    let mut rng = stream(seed, "swarm", 0, 0);
    let mut scenario = base.clone();
    scenario.net.transport = if rng.chance(1, 2) { Transport::Streams } else { Transport::Datagrams };
    scenario.net.rtt = rng.chance(1, 8).then(|| (1 + rng.below(300)) * 1_000);
    scenario.knobs = Knobs::odd(&mut rng, ODD_ONE_IN);
    if rng.chance(LEFT_ALONE, 100) {
        scenario.judge.core = (60 + rng.below(40)) as f64 / 100.0;
    }
    for (reach, draw) in MENU {
        let (is_left_out, fault, times) = (rng.chance(LEFT_OUT, 100), draw(&mut rng), 1 + rng.below(4));
        let random =
            Random { often: Often::Times(times), fault, who: who(*reach, &mut rng), lasts: Some(lasts(&mut rng)) };
        if !is_left_out {
            scenario.random.push(random);
        }
    }
    if rng.chance(ATTACKED, 100) {
        attack(&mut scenario, &mut rng);
    }
    shape(&mut scenario, &mut stream(seed, "swarm/shape", 0, 0));
    scenario.knobs = scenario.knobs.beneath(&base.knobs);
    scenario
}

/// Who comes when, and whom faults strike together.
fn shape(scenario: &mut Scenario, rng: &mut Rng) {
    let time = scenario.work.lasts.saturating_sub(scenario.judge.calm) / 2;
    let share = |rng: &mut Rng| (10 + rng.below(50)) as f64 / 100.0;
    let seconds = |rng: &mut Rng, least, more| (least + rng.below(more)) * SECOND;
    if rng.chance(SHAPED, 100) {
        scenario.net.late = Some(Late { share: share(rng), at: rng.below(time), within: seconds(rng, 1, 120) });
    }
    if rng.chance(SHAPED, 100) {
        let session = Weibull { scale: seconds(rng, 60, 1_200), ..Churn::default().session };
        let away = Weibull { scale: seconds(rng, 10, 300), ..Churn::default().away };
        scenario.churn = Some(Churn { share: share(rng), session, away });
    }
    if rng.chance(SHAPED, 100) {
        scenario.crowds.push(Crowd { at: time / 2 + rng.below(time), share: share(rng), within: seconds(rng, 1, 60) });
    }
    if rng.chance(SMALL_BUCKETS, 100) {
        scenario.knobs.kad.k = Some(Count(4 + rng.index(6)));
    }
    if rng.chance(SHORT_LIVED, 100) {
        let kad = &mut scenario.knobs.kad;
        (kad.provider_ttl, kad.provider_republish) = (Some(SHORT_LIFE), Some(SHORT_REPUBLISH));
    }
    if rng.chance(LONG_CALM, 100) {
        scenario.work.lasts += CALM - scenario.judge.calm.min(CALM);
        scenario.judge.calm = scenario.judge.calm.max(CALM);
    }
    for random in &mut scenario.random {
        random.who = match random.who {
            Who::Share(share) if rng.chance(1, GATHERED) => Who::Region(share),
            Who::Share(share) if rng.chance(1, GATHERED) => Who::InTurn(share),
            _ => continue,
        };
    }
    if rng.chance(CROWDED, 100) {
        let peers = &mut scenario.knobs.peers;
        [peers.min_connections, peers.low_connections, peers.max_connections] =
            FEW_CONNECTIONS.map(|count| Some(Count(count)));
        // A dialler takes a connection that is trimmed sooner for a failure.
        peers.trim_grace = None;
    }
}

/// One or two kinds of attacks. Lies about what is found need somebody who asks.
fn attack(scenario: &mut Scenario, rng: &mut Rng) {
    for _ in 0..1 + rng.below(ATTACKS) {
        let fault = ATTACK_MENU[rng.index(ATTACK_MENU.len())](rng);
        let is_lie = matches!(
            fault,
            Fault::Hostile(
                Hostile::ForgedStatements | Hostile::IrrelevantFinds | Hostile::EmptyFinds | Hostile::OldNews
            )
        );
        if is_lie {
            scenario.net.light = LIGHT;
        }
        let is_flood = matches!(fault, Fault::Hostile(Hostile::IhaveFlood | Hostile::IwantFlood | Hostile::GraftFlood));
        let lasts = if is_flood { lasts(rng) } else { LONG };
        let who = Who::Count(1 + rng.below(2) as u32);
        scenario.random.push(Random { often: Often::Times(1), fault, who, lasts: Some(lasts) });
    }
}

fn aim(rng: &mut Rng) -> Place {
    let number = rng.below(AIMS) as u32;
    if rng.chance(1, 2) { Place::Package(number) } else { Place::Lookup(number) }
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
