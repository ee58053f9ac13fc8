//! A line about a run under way: ten times a second on a terminal, otherwise every ten seconds.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use sim::Simulation;
use sim::scenario::SECOND;

pub(super) struct Live {
    is_terminal: bool,
    every: Duration,
    told_at: Instant,
    /// Events when the line was last written.
    events: u64,
}

impl Live {
    pub(super) fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        let every = if is_terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        Self { is_terminal, every, told_at: Instant::now(), events: 0 }
    }

    /// Runs to the end and tells of it on the way.
    pub(super) fn follow(mut self, simulation: &mut Simulation) {
        while simulation.advance(SECOND) {
            let passed = self.told_at.elapsed();
            if passed >= self.every {
                self.tell(simulation, passed);
            }
        }
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn tell(&mut self, simulation: &Simulation, passed: Duration) {
        let world = simulation.world();
        let (seconds, events) = (world.now() / SECOND, world.events());
        let rate = (events - self.events) as f64 / passed.as_secs_f64() / 1e3;
        let up = (0..world.len()).filter(|ix| world.host(*ix).is_up()).count();
        let line = format!(
            "seed {}  t={:02}:{:02}:{:02}  ev {:.1}M  {rate:.0}k/s  up {up}/{}  viol {}",
            simulation.seed(),
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
            events as f64 / 1e6,
            world.len(),
            simulation.violations(),
        );
        if self.is_terminal {
            eprint!("\r{line}\x1b[K");
            let _ = stderr().flush();
        } else {
            eprintln!("{line}");
        }
        (self.told_at, self.events) = (Instant::now(), events);
    }
}
