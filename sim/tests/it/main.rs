//! Runs of small worlds, as tests.

mod batches;
mod determinism;
mod golden;
mod light;
mod planted;
mod smoke;
