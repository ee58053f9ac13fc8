//! Tests with real signatures.

mod admission;
mod amending;
mod golden;
mod host;
mod publishing;
mod record;
pub(super) mod signer;
