//! Runs of small worlds, as tests.

mod determinism;
