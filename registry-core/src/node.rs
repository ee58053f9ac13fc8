//! The node: owns the machines and is the only file that routes between them.

use alloc::sync::Arc;

use crate::action::Action;
use crate::command::{Command, CommandError};
use crate::config::Config;
use crate::cx::{LocalPeer, Outbox};
use crate::id::OpId;
use crate::input::Input;
use crate::rng::Seed;
use crate::time::{Instant, UnixTime, Wake};

/// The two clocks at birth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Monotonic.
    pub now: Instant,
    /// Wall.
    pub unix: UnixTime,
}

/// One node of the registry.
#[derive(Debug)]
pub struct Node {
    out: Outbox,
}

impl Node {
    /// A node that has recovered nothing yet: give it `Recovered` rows, then `RecoveryDone`.
    pub fn new(_config: Arc<Config>, _local: LocalPeer, _seed: Seed, _start: Start) -> Self {
        Self { out: Outbox::default() }
    }

    /// Tells the node that something happened.
    pub fn handle_input(&mut self, _now: Instant, _input: Input) {}

    /// Asks something of the node.
    ///
    /// # Errors
    /// When the arguments are not acceptable.
    pub fn command(&mut self, _now: Instant, _command: Command) -> Result<OpId, CommandError> {
        Err(CommandError::NotReady)
    }

    /// Tells the node the time. Early, late and spurious calls are harmless.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}
