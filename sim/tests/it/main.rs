//! Runs of small worlds, as tests.

mod determinism;
mod golden;
mod planted;
mod smoke;
