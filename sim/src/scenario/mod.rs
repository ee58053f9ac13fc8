//! What a run consists of: the network, its work, what strikes it, and how it is judged.

mod file;
pub mod human;
mod knobs;

use std::sync::Arc;

use registry_core::{Config, Rng, Role};
use serde::{Deserialize, Serialize};

use crate::engine::{Down, NodeIx};
use crate::fault::Fault;
use crate::net::Transport;

pub use file::{LIBRARY, from_toml};
pub use knobs::{Count, Knobs, Time};

/// Microseconds in a second.
pub const SECOND: u64 = 1_000_000;

/// Nodes of the largest network.
const MAX_NODES: u32 = 1_000_000;

/// A kind of run. With a seed it makes a [`Schedule`](crate::Schedule).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// One line for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Nodes, and what lies between them.
    pub net: Network,
    /// What nodes are asked to do.
    pub work: Work,
    /// Faults at their times.
    #[serde(rename = "phase", skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// Faults whose times and nodes are drawn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub random: Vec<Random>,
    /// Nodes that come and go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// Many who want the same at once.
    #[serde(rename = "crowd", skip_serializing_if = "Vec::is_empty")]
    pub crowds: Vec<Crowd>,
    /// The end.
    pub judge: Judge,
    /// Settings of the core.
    pub knobs: Knobs,
    /// What the knobs are set in: every node's configuration.
    #[serde(skip)]
    pub config: Arc<Config>,
}

/// See [`Scenario::net`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Virtual nodes; node 0 is the one the others join through.
    pub nodes: u32,
    /// Of these, so many are light: the last ones.
    pub light: u32,
    /// The same round trip between all nodes; without it they lie on a map.
    #[serde(with = "human::option", skip_serializing_if = "Option::is_none")]
    pub rtt: Option<u64>,
    /// How messages get from node to node.
    pub transport: Transport,
    /// Time over which the nodes join.
    #[serde(with = "human")]
    pub join: u64,
    /// Time between the last join and the first work.
    #[serde(with = "human")]
    pub settle: u64,
    /// Some join only later, all at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
}

/// See [`Network::late`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Late {
    /// Share of the nodes, from 0 to 1: the last ones.
    pub share: f64,
    /// When the first of them joins, after the work's beginning.
    #[serde(with = "human")]
    pub at: u64,
    /// Time over which they join.
    #[serde(with = "human")]
    pub within: u64,
}

/// See [`Scenario::work`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Work {
    /// How long it lasts; the calm at its end included.
    #[serde(with = "human", rename = "for")]
    pub lasts: u64,
    /// Packages published.
    pub publishes: u32,
    /// Searches made.
    pub searches: u32,
    /// Packages resolved, fetched and compared.
    pub gets: u32,
    /// Pubsub messages on a topic all nodes follow.
    pub messages: u32,
}

/// A fault at its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Phase {
    /// When it begins, after the work's beginning.
    #[serde(with = "human")]
    pub at: u64,
    /// What happens.
    pub fault: Fault,
    /// To whom.
    #[serde(default)]
    pub who: Who,
    /// How long; without it until the calm, and never beyond.
    #[serde(rename = "for", with = "human::option", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<u64>,
}

/// A fault whose times and nodes are drawn, between a tenth of the work and the calm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Random {
    /// How often.
    pub often: Often,
    /// What happens.
    pub fault: Fault,
    /// To whom, each time.
    #[serde(default)]
    pub who: Who,
    /// How long, each time; without it until the calm, and never beyond.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Between>,
}

/// Many nodes fetch the package that was published last.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Crowd {
    /// When the first does, after the work's beginning.
    #[serde(with = "human")]
    pub at: u64,
    /// Share of the nodes, from 0 to 1, drawn.
    pub share: f64,
    /// Time over which they do.
    #[serde(with = "human")]
    pub within: u64,
}

/// How often a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Often {
    /// So often in all.
    Times(u64),
    /// So often per 1,000 nodes and minute.
    Rate(u64),
}

/// A duration drawn between two others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The shortest.
    #[serde(with = "human")]
    pub least: u64,
    /// The longest.
    #[serde(with = "human")]
    pub most: u64,
}

/// Whom a fault strikes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Every node.
    #[default]
    All,
    /// A share of the nodes, from 0 to 1, drawn.
    Share(f64),
    /// So many nodes, drawn.
    Count(u32),
    /// A share of the nodes, from 0 to 1: those nearest to one of them, drawn.
    Region(f64),
    /// A share of the nodes, from 0 to 1, drawn, in turn: in the first half of the time one after the other is struck, in
    /// the second half one after the other is let go, in another order.
    InTurn(f64),
    /// These.
    Nodes(Vec<NodeIx>),
    /// Those from the first to before the second of these, of which an attacker has no publisher.
    Range(NodeIx, NodeIx),
}

/// See [`Scenario::churn`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Churn {
    /// Share of the nodes that come and go, from 0 to 1.
    pub share: f64,
    /// How long they stay.
    pub session: Weibull,
    /// How long they are away.
    pub away: Weibull,
}

/// A distribution of durations.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weibull {
    /// Its shape: below 1 most are short and some are very long.
    pub k: f64,
    /// What 63 % do not exceed.
    #[serde(with = "human")]
    pub scale: u64,
}

/// See [`Scenario::judge`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Judge {
    /// Time without faults before the final questions.
    #[serde(with = "human")]
    pub calm: u64,
    /// From the calm on only this share of the nodes, drawn, is there: the others are gone for good.
    pub core: f64,
    /// Lookups compared with the true closest nodes.
    pub lookups: u32,
    /// Nodes that must find each acknowledged publish.
    pub probes: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            nodes: 1_000,
            light: 0,
            rtt: None,
            transport: Transport::default(),
            join: 60 * SECOND,
            settle: 30 * SECOND,
            late: None,
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self { lasts: 600 * SECOND, publishes: 200, searches: 1_000, gets: 1_000, messages: 20 }
    }
}

impl Default for Churn {
    /// Sessions as measured in the IPFS network of 2022.
    fn default() -> Self {
        let away = Weibull { k: 1.0, scale: 600 * SECOND };
        Self { share: 1.0, session: Weibull { k: 0.61, scale: 13_176 * SECOND }, away }
    }
}

impl Weibull {
    /// One duration, in microseconds.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let uniform = (rng.below(1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64;
        (self.scale as f64 * libm::pow(-libm::log(uniform), 1.0 / self.k)) as u64
    }
}

impl Default for Judge {
    fn default() -> Self {
        Self { calm: 60 * SECOND, core: 1.0, lookups: 200, probes: 20 }
    }
}

impl Scenario {
    /// The library's standard run of so many nodes.
    pub fn standard(nodes: NodeIx) -> Self {
        let mut scenario = Self::load("standard").expect("a test reads the whole library");
        scenario.net.nodes = nodes;
        scenario
    }

    /// A small run for tests: some seconds of CPU in a debug build.
    pub fn small(nodes: NodeIx) -> Self {
        let mut scenario = Self::standard(nodes);
        scenario.net = Network { nodes, join: 10 * SECOND, settle: 10 * SECOND, ..Network::default() };
        scenario.work = Work { lasts: 120 * SECOND, publishes: 8, searches: 10, gets: 10, messages: 8 };
        scenario.judge = Judge { calm: 40 * SECOND, lookups: 10, probes: 5, ..Judge::default() };
        scenario.set_loss(10_000);
        scenario
    }

    /// The same without faults.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.phases.clear();
        self.random.clear();
        self
    }

    /// From a tenth of the work to the calm, so many of a million messages and requests of all nodes are lost.
    pub fn set_loss(&mut self, ppm: u64) {
        self.phases.retain(|phase| !matches!(phase.fault, Fault::Loss { .. }));
        if ppm > 0 {
            let fault = Fault::loss(ppm);
            self.phases.push(Phase { at: self.work.lasts / 10, fault, who: Who::All, lasts: None });
        }
    }

    /// So many percent of the nodes crash and start again within some seconds.
    pub fn set_crashes(&mut self, percent: u64) {
        self.random.retain(|random| !random.fault.takes_down());
        let crashes = (u64::from(self.net.nodes) * percent).div_ceil(100);
        for (down, times) in [(Down::Refusing, crashes.div_ceil(2)), (Down::Silent, crashes / 2)] {
            let lasts = Some(Between { least: 2 * SECOND, most: 22 * SECOND });
            let (often, fault) = (Often::Times(times), Fault::Crash { down, disk_lost: false });
            self.random.push(Random { often, fault, who: Who::Count(1), lasts });
        }
    }

    /// What a node is configured to.
    pub fn configuration(&self) -> Config {
        let mut config = Config::clone(&self.config);
        self.knobs.apply(&mut config);
        config
    }

    /// What a light node is configured to.
    pub fn light_configuration(&self) -> Config {
        let mut config = Config::clone(&self.config).in_role(Role::Light);
        self.knobs.apply(&mut config);
        config
    }

    /// Can this be run?
    ///
    /// # Errors
    /// What cannot be.
    pub fn validate(&self) -> Result<(), String> {
        let Network { nodes, light, .. } = self.net;
        if !(2..=MAX_NODES).contains(&nodes) || light >= nodes {
            return Err(format!("there may be 2 to {MAX_NODES} nodes, one of them not light"));
        }
        if self.work.lasts < 60 * SECOND || self.judge.calm >= self.work.lasts {
            return Err("the work must last a minute at least, and longer than its calm".into());
        }
        let groups = self.phases.iter().map(|phase| &phase.who).chain(self.random.iter().map(|random| &random.who));
        for who in groups {
            match who {
                Who::Share(share) | Who::Region(share) | Who::InTurn(share) if !is_share(*share) => {
                    return Err("a share is from 0 to 1".into());
                }
                Who::Range(from, to) if from >= to || *to > nodes => {
                    return Err("a range of nodes is empty, or there are not so many".into());
                }
                Who::Nodes(named) if named.iter().any(|node| *node >= nodes) => {
                    return Err(format!("there are only {nodes} nodes, counted from 0"));
                }
                _ => {}
            }
        }
        if self.random.iter().any(|random| random.lasts.is_some_and(|lasts| lasts.least > lasts.most)) {
            return Err("the least duration is not more than the most".into());
        }
        if let Some(Churn { share, session, away }) = self.churn
            && !(is_share(share) && session.k > 0.0 && away.k > 0.0 && session.scale > 0)
        {
            return Err("churn has a share from 0 to 1, shapes above 0 and a session above 0".into());
        }
        if !self.crowds.iter().map(|crowd| crowd.share).chain(self.net.late.map(|late| late.share)).all(is_share) {
            return Err("a crowd, and who joins late, is a share of the nodes from 0 to 1".into());
        }
        Ok(())
    }

    /// A node's role.
    pub fn role(&self, node: NodeIx) -> Role {
        if node < self.net.nodes.saturating_sub(self.net.light) { self.config.role } else { Role::Light }
    }

    /// When the work begins, in microseconds.
    pub fn work_at(&self) -> u64 {
        self.net.join + self.net.settle
    }

    /// When the work, and with it the final calm, ends.
    pub fn judge_at(&self) -> u64 {
        self.work_at() + self.work.lasts
    }

    /// Phases that would begin when the calm has: nothing of them happens.
    pub fn too_late(&self) -> impl Iterator<Item = &Phase> {
        let (_, calm) = self.faults_at();
        self.phases.iter().filter(move |phase| phase.at > 0 && self.work_at() + phase.at >= calm)
    }

    /// Between which times random faults strike: a tenth of the work is done before them, and the calm follows them.
    pub fn faults_at(&self) -> (u64, u64) {
        let from = self.work_at() + self.work.lasts / 10;
        (from, self.judge_at().saturating_sub(self.judge.calm).max(from))
    }
}

fn is_share(share: f64) -> bool {
    (0.0..=1.0).contains(&share)
}
