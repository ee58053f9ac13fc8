//! `sim swarm`.

use std::io::{IsTerminal as _, stderr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use sim::Scenario;
use sim::scenario::human;
use sim::swarm::{self, Tally};

use super::{Done, Words, announce, tell};

/// The line about the swarm is written so often where nobody looks.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Swarm {
    /// What is varied: a name of `sim list`, or the path of a file.
    #[arg(long, default_value = "swarm")]
    scenario: String,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// So many seeds.
    #[arg(long, required_unless_present = "time")]
    seeds: Option<u64>,
    /// Begin no seed after this time, such as `10m`.
    #[arg(long = "for", value_name = "TIME", value_parser = human::parse, id = "time")]
    time: Option<u64>,
    /// Runs at a time; as many as there are processors otherwise.
    #[arg(long)]
    jobs: Option<usize>,
    /// Where to write failures.
    #[arg(long, value_name = "DIRECTORY", default_value = "swarm-failures")]
    out: PathBuf,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

impl Swarm {
    pub(super) fn run(&self) -> Done {
        let base = Scenario::load(&self.scenario)?;
        let Self { scenario, start, seeds, time, jobs, out, json } = self;
        let words = Words::new("swarm").option("scenario", Some(scenario)).option("start", Some(start));
        let words =
            words.option("seeds", seeds.as_ref()).option("for", time.map(|time| human::text(time).replace(' ', "")));
        let command = announce(&words.option("jobs", jobs.as_ref()).0, *json);
        let jobs = jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let swarm = swarm::Swarm {
            base,
            start: *start,
            seeds: seeds.unwrap_or(u64::MAX),
            time: time.map(Duration::from_micros),
            jobs,
            out: out.clone(),
        };
        let told = Mutex::new(Told { at: Instant::now(), failures: 0 });
        let mut tally = swarm::swarm(&swarm, |tally| told.lock().expect("it only prints").tell(tally))?;
        if stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        tally.command = command;
        tell(&tally, tally.verdict(), *json)
    }
}

/// What was told of a swarm under way.
struct Told {
    at: Instant,
    failures: usize,
}

impl Told {
    /// Each failure at once: whoever ends the swarm early has seen it.
    fn tell(&mut self, tally: &Tally) {
        let (is_terminal, failures) = (stderr().is_terminal(), &tally.failures);
        for file in &failures[self.failures..] {
            eprintln!("{}failed: {}", if is_terminal { "\r\x1b[K" } else { "" }, file.display());
        }
        self.failures = failures.len();
        let line = || format!("{} seeds, {} failed, {:.0} s", tally.seeds, failures.len(), tally.wall_seconds);
        if is_terminal {
            eprint!("\r{}\x1b[K", line());
        } else if self.at.elapsed() >= EVERY {
            eprintln!("{}", line());
            self.at = Instant::now();
        }
    }
}
