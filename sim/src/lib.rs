//! The virtual network: thousands of [`registry_core::Node`]s in one thread, under virtual time and injected failures, with
//! checkers that watch what they do.
//!
//! Two runs of one scenario are the same, event by event: time is integer microseconds, events are ordered by
//! (time, class, destination, source, per-source counter) and never by insertion, and every random choice is a function of
//! (seed, domain, node, counter). The digest of a run covers every event key and every action's encoded bytes.

pub mod adversary;
pub mod catch_up;
pub mod checks;
mod corpus;
pub mod crypto;
pub mod disk;
pub mod engine;
pub mod fault;
pub mod flood;
pub mod fork;
pub mod fuzzing;
mod judge;
pub mod light;
pub mod mix;
pub mod net;
pub mod queue;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod swarm;
pub mod trace;
pub mod workload;

pub use engine::{NodeIx, Options, World};
pub use fault::Fault;
pub use report::{Report, Verdict};
pub use scenario::Scenario;
pub use schedule::{Schedule, plan};
pub use workload::{Simulation, run};
