//! What a run consists of.

use std::sync::Arc;

use registry_core::{Config, Role};

/// Microseconds in a second.
pub const SECOND: u64 = 1_000_000;

/// One run, replayable from these values alone.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Virtual nodes; node 0 is the one the others join through.
    pub nodes: u32,
    /// Of these, so many are light: the last ones.
    pub light: u32,
    /// Decides every random choice.
    pub seed: u64,
    /// Virtual minutes of work after joining.
    pub minutes: u64,
    /// Messages and requests lost while faults are on, in millionths.
    pub loss_ppm: u64,
    /// Connections reset per minute while faults are on, in tenths of a percent of the nodes.
    pub resets_per_mille: u64,
    /// Nodes that crash and restart while faults are on, in percent.
    pub restarts_percent: u64,
    /// The same round trip between all nodes, in milliseconds; `None` places nodes on a map.
    pub rtt_ms: Option<u64>,
    /// Round-trips every message through its codec.
    pub wire: bool,
    /// Calls `handle_timeout` when nothing is due, which must change nothing.
    pub spurious: bool,
    /// Packages published.
    pub publishes: u32,
    /// Searches made.
    pub searches: u32,
    /// Packages resolved, fetched and compared.
    pub gets: u32,
    /// Pubsub messages on a topic all nodes follow.
    pub messages: u32,
    /// Lookups compared with the true closest nodes.
    pub lookups: u32,
    /// Non-holders that must find each acknowledged publish.
    pub probes: usize,
    /// Seconds over which the nodes join.
    pub join_seconds: u64,
    /// Seconds between the last join and the first work.
    pub settle_seconds: u64,
    /// Seconds of calm before the final checks.
    pub calm_seconds: u64,
    /// Every node's configuration.
    pub config: Arc<Config>,
}

impl Scenario {
    /// The standard run: 10 virtual minutes, 200 publishes, 1,000 searches, 1,000 gets, 5 % of the nodes restarted.
    pub fn standard(nodes: u32, seed: u64) -> Self {
        Self {
            nodes,
            light: 0,
            seed,
            minutes: 10,
            loss_ppm: 10_000,
            resets_per_mille: 20,
            restarts_percent: 5,
            rtt_ms: None,
            wire: false,
            spurious: false,
            publishes: 200,
            searches: 1_000,
            gets: 1_000,
            messages: 20,
            lookups: 200,
            probes: 20,
            join_seconds: 60,
            settle_seconds: 30,
            calm_seconds: 60,
            config: Arc::new(Config::default()),
        }
    }

    /// A small run for tests: some seconds of CPU in a debug build.
    pub fn small(nodes: u32, seed: u64) -> Self {
        Self {
            minutes: 2,
            publishes: 8,
            searches: 10,
            gets: 10,
            messages: 8,
            lookups: 10,
            probes: 5,
            join_seconds: 10,
            settle_seconds: 10,
            calm_seconds: 40,
            ..Self::standard(nodes, seed)
        }
    }

    /// A node's role.
    pub fn role(&self, node: u32) -> Role {
        if node < self.nodes - self.light { self.config.role } else { Role::Light }
    }

    /// When the work begins, in microseconds.
    pub fn work_at(&self) -> u64 {
        (self.join_seconds + self.settle_seconds) * SECOND
    }

    /// When the work, and with it the final calm, ends.
    pub fn judge_at(&self) -> u64 {
        self.work_at() + self.minutes * 60 * SECOND
    }

    /// The faults' first and last microsecond: a tenth of the work is done before them, and the calm follows them.
    pub fn faults_at(&self) -> (u64, u64) {
        let work = self.minutes * 60 * SECOND;
        let from = self.work_at() + work / 10;
        (from, (self.judge_at().saturating_sub(self.calm_seconds * SECOND)).max(from))
    }
}
