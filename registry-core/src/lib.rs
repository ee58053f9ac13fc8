//! wharf's heart: one node of a package registry without a server, as a pure state machine.
//!
//! Kademlia, gossipsub, block exchange, catalogue, reconciliation and search, without I/O, clock or randomness of their
//! own. Whoever runs a [`Node`] hands in what happened and does what it asks.
//!
//! # The contract
//!
//! 1. After **any** call ([`Node::handle_input`], [`Node::command`], [`Node::handle_timeout`]) drain
//!    [`Node::poll_action`] until it is `None`, then read [`Node::poll_timeout`].
//! 2. Actions form one FIFO. Do them in that order; in particular nothing may overtake a [`Action::Store`]'s answer.
//! 3. An older `now` is clamped. No input, however hostile, panics or fails: a peer's fault costs that peer.
//! 4. After `handle_timeout(t)` with `t` not before the wake's `at`, the next wake is later than `t`.
//! 5. Each [`Action`] says which [`Input`] answers it. Answers may come in any order, except the store's.
//! 6. The same seed, start and calls give the same actions, byte for byte, in debug and release builds.
//! 7. A restarted node is a new `Node` with another seed, given its rows by [`Input::Recovered`].
//!
//! # Two nodes, driven by hand
//!
//! ```
//! use std::collections::VecDeque;
//! use std::sync::Arc;
//!
//! use registry_core::command::DhtCommand;
//! use registry_core::event::DhtResult;
//! use registry_core::id::{RequestId, Token};
//! use registry_core::input::{GossipVersion, Identity, ProtocolSet, Side, StoreResult};
//! use registry_core::*;
//!
//! /// A perfect world: two nodes, no latency, a store that forgets.
//! struct World {
//!     nodes: [Node; 2],
//!     ids: [PeerId; 2],
//!     now: Instant,
//!     inbox: VecDeque<(usize, Input)>,
//!     requests: Vec<RequestId>,
//!     events: Vec<(usize, Event)>,
//! }
//!
//! impl World {
//!     /// Drains both nodes, then hands in what that caused, until nothing happens any more.
//!     fn run(&mut self) {
//!         loop {
//!             for at in [0, 1] {
//!                 while let Some(action) = self.nodes[at].poll_action() {
//!                     self.act(at, action);
//!                 }
//!             }
//!             let Some((at, input)) = self.inbox.pop_front() else { return };
//!             self.nodes[at].handle_input(self.now, input);
//!         }
//!     }
//!
//!     fn act(&mut self, at: usize, action: Action) {
//!         let (other, peer) = (1 - at, self.ids[at]);
//!         match action {
//!             Action::Dial { .. } => self.connect(at),
//!             Action::Send { msg, .. } => self.inbox.push_back((other, Input::Received { peer, msg })),
//!             Action::Request { id, msg, .. } => {
//!                 let token = Token(self.requests.len() as u64);
//!                 self.requests.push(id);
//!                 self.inbox.push_back((other, Input::Request { peer, token, msg }));
//!             }
//!             Action::Respond { token, msg: Some(msg) } => {
//!                 let id = self.requests[token.0 as usize];
//!                 self.inbox.push_back((other, Input::Response { id, msg }));
//!             }
//!             Action::Store { op, .. } => self.inbox.push_back((at, Input::Stored { op, result: StoreResult::Done })),
//!             Action::Emit(event) => self.events.push((at, event)),
//!             Action::SetServerMode(_) => {}
//!             unneeded => panic!("{unneeded:?}"),
//!         }
//!     }
//!
//!     fn connect(&mut self, dialer: usize) {
//!         let protocols = ProtocolSet { kad: true, gossip: Some(GossipVersion::V1_2), bitswap: true, registry: true };
//!         for (at, side) in [(dialer, Side::Dialer), (1 - dialer, Side::Listener)] {
//!             let (peer, addr) = (self.ids[1 - at], addr(1 - at));
//!             let info = Identity { protocols, agent: "by hand".into(), listen_addrs: vec![addr.clone()] };
//!             self.inbox.push_back((at, Input::Connected { peer, addr, side }));
//!             self.inbox.push_back((at, Input::Identified { peer, info }));
//!         }
//!     }
//! }
//!
//! fn addr(node: usize) -> multiaddr::Multiaddr {
//!     format!("/ip4/127.0.0.1/tcp/{}", 4001 + node).parse().unwrap()
//! }
//!
//! let mut config = Config::default();
//! config.kad.open_namespaces = vec!["demo".into()];
//! let config = Arc::new(config);
//! let start = Start { now: Instant::ORIGIN, unix: UnixTime::from_secs(1_800_000_000) };
//! let ids = [[1; 32], [2; 32]].map(|key| PeerId::from_ed25519(&key));
//! let node = |n: usize| {
//!     let local = LocalPeer { id: ids[n], public_key: ids[n].inlined_key().unwrap().to_vec().into(), publisher: None };
//!     Node::new(config.clone(), local, Seed([n as u8; 32]), start)
//! };
//! let mut world = World {
//!     nodes: [node(0), node(1)],
//!     ids,
//!     now: start.now,
//!     inbox: [(0, Input::RecoveryDone), (1, Input::RecoveryDone)].into(),
//!     requests: Vec::new(),
//!     events: Vec::new(),
//! };
//! world.run();
//! world.nodes[0].command(world.now, Command::Connect(addr(1)))?;
//! world.run();
//!
//! let (key, value) = ("/demo/greeting".into(), "hello".into());
//! world.nodes[0].command(world.now, Command::Dht(DhtCommand::Put { key, value }))?;
//! world.run();
//! let op = world.nodes[1].command(world.now, Command::Dht(DhtCommand::Get("/demo/greeting".into())))?;
//! world.run();
//! assert!(world.events.contains(&(1, Event::Dht { op, result: DhtResult::Value("hello".into()) })));
//!
//! // Time passes only when the world says so.
//! let end = start.now + Duration::from_secs(60);
//! loop {
//!     let wakes = [0, 1].into_iter().filter_map(|at| Some((world.nodes[at].poll_timeout()?.at, at)));
//!     let Some((wake, at)) = wakes.min().filter(|(wake, _)| *wake <= end) else { break };
//!     world.now = wake;
//!     world.nodes[at].handle_timeout(wake);
//!     world.run();
//! }
//! # Ok::<(), CommandError>(())
//! ```

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

#[macro_use]
mod canary;
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
mod light;
mod node;
pub mod peers;
mod rng;
mod role;
pub mod search;
mod sync;
mod time;
pub mod wire;

pub use action::Action;
#[cfg(feature = "canary")]
pub use canary::Canary;
pub use command::{Command, CommandError};
pub use config::Config;
pub use cx::LocalPeer;
pub use event::Event;
pub use id::{BlockId, Digest, OpId, PeerId, PublisherId};
pub use input::Input;
#[doc(hidden)]
pub use node::{EntryView, HeadView, Load, MeshView};
pub use node::{Node, Start, Stats, TopicView};
pub use rng::{Rng, Seed};
pub use role::{Duties, Role};
pub use time::{Duration, Instant, UnixTime, Wake, WakeReason};
pub use wire::{Message, Protocol, WireError};
