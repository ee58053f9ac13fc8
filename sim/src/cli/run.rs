//! `sim run`.

use std::path::PathBuf;

use clap::Args;
use sim::queue::QueueKind;
use sim::schedule::Bug;
use sim::{Options, Scenario, Simulation, Verdict, plan};

use super::live::Live;
use super::{Done, Words, announce, tell};

#[derive(Args)]
pub(super) struct Run {
    /// A name of `sim list`, or the path of a file.
    #[arg(default_value = "standard")]
    scenario: String,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    how: How,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
    /// Where to write a run that fails, so that `sim replay` can repeat it.
    #[arg(long, value_name = "FILE", default_value = "bug.sim")]
    bug: PathBuf,
}

/// Changes of the scenario.
#[derive(Args)]
struct Changes {
    /// Virtual nodes.
    #[arg(long)]
    nodes: Option<u32>,
    /// Virtual minutes of work after joining.
    #[arg(long)]
    minutes: Option<u64>,
    /// Messages and requests of all nodes lost while faults are on, in percent.
    #[arg(long, value_parser = percent)]
    loss: Option<f64>,
    /// The same round trip between all nodes, in milliseconds, instead of places on a map.
    #[arg(long)]
    rtt: Option<u64>,
    /// Packages to publish.
    #[arg(long)]
    publishes: Option<u32>,
    /// Searches to make.
    #[arg(long)]
    searches: Option<u32>,
    /// Packages to fetch.
    #[arg(long)]
    gets: Option<u32>,
    /// Pubsub messages on a topic all nodes follow.
    #[arg(long)]
    messages: Option<u32>,
    /// Nodes to crash and restart, in percent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=100))]
    restarts: Option<u64>,
}

/// How the run is carried out, which changes nothing in it.
#[derive(Args)]
pub(super) struct How {
    /// Round-trip every message through its codec.
    #[arg(long)]
    wire: bool,
    /// Call nodes when nothing is due.
    #[arg(long)]
    spurious: bool,
    /// What events wait in.
    #[arg(long, value_enum, default_value_t)]
    queue: QueueKind,
    /// What the engine's hash tables are keyed with.
    #[arg(long, default_value_t = 0)]
    hasher_key: u64,
    /// Write the digest of each virtual second, for `sim diff`.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// With `--trace`: also write every event of this virtual second.
    #[arg(long, value_name = "SECOND", requires = "trace")]
    record: Option<u64>,
}

impl How {
    pub(super) fn options(&self) -> Options {
        let Self { wire, spurious, queue, hasher_key, .. } = *self;
        Options { wire, spurious, queue, hasher_key }
    }

    /// With every word that says how.
    pub(super) fn words(&self, words: Words) -> Words {
        let Self { wire, spurious, queue, hasher_key, .. } = self;
        let queue = (*queue != QueueKind::default()).then(|| queue.name());
        let words = words.flag("wire", *wire).flag("spurious", *spurious).option("queue", queue);
        words.option("hasher-key", (*hasher_key != 0).then_some(hasher_key))
    }

    /// Runs to the end, and writes the trace.
    pub(super) fn follow(&self, simulation: &mut Simulation) -> Result<(), String> {
        if let Some(second) = self.record {
            simulation.record(second);
        }
        Live::new().follow(simulation);
        let Some(file) = &self.trace else { return Ok(()) };
        std::fs::write(file, simulation.seconds().text()).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Run {
    pub(super) fn run(&self) -> Done {
        let scenario = self.scenario()?;
        scenario.too_late().for_each(|phase| eprintln!("does not happen, since the calm begins before it: {phase:?}"));
        let command = announce(&self.words(), self.json);
        let mut simulation = Simulation::new(&scenario, self.seed, plan(&scenario, self.seed), &self.how.options());
        self.how.follow(&mut simulation)?;
        let applied = simulation.applied();
        let mut report = simulation.report();
        report.command = command;
        if report.verdict != Verdict::Pass {
            Bug::new(&scenario, &report, applied).write(&self.bug)?;
            eprintln!("repeated by: {} replay {}", super::PROGRAM, self.bug.display());
        }
        tell(&report, report.verdict, self.json)
    }

    fn scenario(&self) -> Result<Scenario, String> {
        let mut scenario = Scenario::load(&self.scenario)?;
        let Changes { nodes, minutes, loss, rtt, publishes, searches, gets, messages, restarts } = self.changes;
        let set = |setting: &mut u32, value: Option<u32>| *setting = value.unwrap_or(*setting);
        set(&mut scenario.net.nodes, nodes);
        set(&mut scenario.work.publishes, publishes);
        set(&mut scenario.work.searches, searches);
        set(&mut scenario.work.gets, gets);
        set(&mut scenario.work.messages, messages);
        if let Some(minutes) = minutes {
            scenario.work.lasts = minutes.saturating_mul(60 * sim::scenario::SECOND);
        }
        if let Some(rtt) = rtt {
            scenario.net.rtt = Some(rtt.saturating_mul(1_000));
        }
        if let Some(percent) = loss {
            scenario.set_loss((percent * 10_000.0).round() as u64);
        }
        if let Some(percent) = restarts {
            scenario.set_crashes(percent);
        }
        scenario.validate()?;
        Ok(scenario)
    }

    /// Every word that decides the run.
    fn words(&self) -> String {
        let Changes { nodes, minutes, loss, rtt, publishes, searches, gets, messages, restarts } = &self.changes;
        let words = Words::new(&format!("run {}", self.scenario)).option("seed", Some(self.seed));
        let words = words.option("nodes", nodes.as_ref()).option("minutes", minutes.as_ref());
        let words = words.option("loss", loss.as_ref()).option("rtt", rtt.as_ref());
        let words = words.option("publishes", publishes.as_ref()).option("searches", searches.as_ref());
        let words = words.option("gets", gets.as_ref()).option("messages", messages.as_ref());
        self.how.words(words.option("restarts", restarts.as_ref())).0
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("must be a number from 0 to 100".into()),
    }
}
