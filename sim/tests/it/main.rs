//! Runs of small worlds, as tests.

mod adversaries;
mod batches;
mod catch_up;
mod determinism;
mod faults;
mod flood;
mod fork;
mod fuzzing;
mod golden;
mod light;
mod planted;
mod quota;
mod regressions;
mod replay;
mod small_net;
mod smoke;
mod swarm;
