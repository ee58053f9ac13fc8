//! `sim replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sim::scenario::human;
use sim::schedule::{Bug, Unreadable};
use sim::{NodeIx, Options, Simulation, Verdict};

use super::run::How;
use super::{Done, Words, announce, say, tell};

#[derive(Args)]
pub(super) struct Replay {
    /// What `run` or `swarm` has written.
    file: PathBuf,
    /// Stop at this virtual time, such as `1m 30s`, and show a node.
    #[arg(long, value_parser = human::parse, value_name = "TIME", requires = "node")]
    at: Option<u64>,
    /// The node to show.
    #[arg(long, requires = "at")]
    node: Option<NodeIx>,
    /// Show its whole state.
    #[arg(long, requires = "at")]
    dump: bool,
    #[command(flatten)]
    how: How,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn run(&self) -> Done {
        let command = announce(&self.how.words(Words::new(&format!("replay {}", self.file.display()))).0, self.json);
        let bug = match Bug::read(&self.file) {
            Ok(bug) => bug,
            Err(Unreadable::Stale(why)) => {
                say(format_args!("{}  {why}", Verdict::Stale));
                return Ok(ExitCode::from(Verdict::Stale.exit_code()));
            }
            Err(Unreadable::Broken(why)) => return Err(why),
        };
        let mut simulation = Simulation::new(&bug.scenario, bug.seed, bug.schedule(), &self.how.options());
        if let (Some(at), Some(node)) = (self.at, self.node) {
            simulation.advance(at);
            return self.show(&simulation, node);
        }
        self.how.follow(&mut simulation)?;
        let missed = simulation.missed();
        let mut report = simulation.report();
        report.command = command;
        if bug.is_difference() {
            let other = Options::unusual(bug.seed | 1);
            report.compare(&Simulation::new(&bug.scenario, bug.seed, bug.schedule(), &other).finish());
        }
        let (verdict, is_same) = bug.judge(&report);
        report.verdict = verdict;
        missed.entries.iter().for_each(|entry| eprintln!("no longer applies: {entry:?}"));
        eprintln!(
            "stored: {} at {}; {}",
            bug.violates,
            bug.commit,
            if is_same { "the same again" } else { "not again" }
        );
        tell(&report, verdict, self.json)
    }

    fn show(&self, simulation: &Simulation, node: NodeIx) -> Done {
        let world = simulation.world();
        if node >= world.len() {
            return Err(format!("there are only {} nodes, counted from 0", world.len()));
        }
        let host = world.host(node);
        say(format_args!("node {node} at {}: {}", human::text(world.now()), if host.is_up() { "up" } else { "down" }));
        say(format_args!("started {} times before, {:?}, connected to {:?}", host.life(), host.role(), host.peers()));
        match world.node(node) {
            Some(state) if self.dump => say(format_args!("{state:#?}")),
            Some(state) => say(format_args!("{:#?}", state.stats())),
            None => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}
