//! The transport over real sockets, and what the crate stands on.

mod interfaces;
mod pair;
mod tcp;
mod tree;
