//! Peers that are not wharf.

pub(crate) mod interop;
mod rust;
