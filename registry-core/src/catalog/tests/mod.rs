//! Tests with real signatures.

mod admission;
mod amending;
mod forks;
mod golden;
mod host;
mod publishing;
mod quotas;
mod record;
pub(super) mod signer;
