//! Peers that are not wharf.

pub(crate) mod interop;
pub(crate) mod js;
mod js_peer;
