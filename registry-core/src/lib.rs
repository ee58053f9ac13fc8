//! wharf's heart: one node of a package registry without a server, as a pure state machine.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]
#![deny(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::iter_over_hash_type,
    clippy::float_arithmetic,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::wildcard_enum_match_arm
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
pub mod catalog;
mod collections;
pub mod command;
pub mod config;
mod cx;
pub mod event;
pub mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod gossip;
pub mod id;
pub mod input;
mod kad;
mod node;
pub mod peers;
mod rng;
pub mod search;
mod sync;
mod time;
pub mod wire;

pub use action::Action;
pub use command::{Command, CommandError};
pub use config::Config;
pub use cx::LocalPeer;
pub use event::Event;
pub use id::{BlockId, Digest, OpId, PeerId, PublisherId};
pub use input::Input;
pub use node::{Node, Start, Stats};
pub use rng::{Rng, Seed};
pub use time::{Duration, Instant, UnixTime, Wake, WakeReason};
pub use wire::{Message, Protocol, WireError};
