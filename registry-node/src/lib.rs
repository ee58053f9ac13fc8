//! One node's shell, runtime-neutral.

pub mod crypto;
pub mod net;
pub mod store;
pub mod swarm;
