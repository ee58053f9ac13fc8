//! Tests with real signatures.

mod record;
pub(super) mod signer;
