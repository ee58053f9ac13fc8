//! A line about a run under way: ten times a second on a terminal, otherwise every ten seconds.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use sim::Simulation;
use sim::report::rss_bytes;
use sim::scenario::SECOND;

pub(super) struct Live {
    is_terminal: bool,
    every: Duration,
    told_at: Instant,
    /// Virtual seconds and events when the line was last written.
    seconds: u64,
    events: u64,
}

impl Live {
    pub(super) fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        let every = if is_terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        Self { is_terminal, every, told_at: Instant::now(), seconds: 0, events: 0 }
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
        let per_second = |count: u64| count as f64 / passed.as_secs_f64();
        let up = (0..world.len()).filter(|ix| world.host(*ix).is_up()).count();
        let line = format!(
            "seed {}  t={:02}:{:02}:{:02} ({:.1}x)  ev {:.1}M {:.0}k/s  up {up}/{}  q {:.0}k  rss {}M  viol {}",
            simulation.seed(),
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
            per_second(seconds - self.seconds),
            events as f64 / 1e6,
            per_second(events - self.events) / 1e3,
            world.len(),
            world.waiting() as f64 / 1e3,
            rss_bytes().unwrap_or(0) >> 20,
            simulation.violations(),
        );
        if self.is_terminal {
            eprint!("\r{line}\x1b[K");
            let _ = stderr().flush();
        } else {
            eprintln!("{line}");
        }
        (self.told_at, self.seconds, self.events) = (Instant::now(), seconds, events);
    }
}
