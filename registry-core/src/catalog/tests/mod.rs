//! Tests with real signatures.

mod host;
mod publishing;
mod record;
pub(super) mod signer;
