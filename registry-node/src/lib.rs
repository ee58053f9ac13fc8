//! One node of the registry on real connections and a real disk, independent of any async runtime.
//!
//! [`Registry`] is the handle of a running node; [`Builder`] puts one together on a [`Runtime`]. Inside, [`net`] moves
//! frames, [`store`] keeps blocks and rows, [`crypto`] verifies, signs and hashes, and one loop feeds what they tell to
//! [`registry_core::Node`] and does what it answers. Protocol logic lives in the core alone.
//!
//! To put the node's protocols beside your own in a swarm of yours, take the [`net::Behaviour`] that [`Builder::embed`]
//! gives.

#![deny(missing_docs)]

mod builder;
mod calls;
pub mod crypto;
mod driver;
mod error;
mod events;
mod files;
mod handle;
mod jobs;
pub mod keys;
pub mod net;
mod operation;
mod ping;
mod runtime;
pub mod store;
pub mod swarm;
mod view;

pub use builder::Builder;
pub use calls::Calls;
pub use error::{Error, PeerError};
pub use events::{Notice, Subscription};
pub use files::export::{Existing, ExportError};
pub use files::pack::{PackError, Packed};
pub use handle::Registry;
pub use keys::{KeyError, Keys};
pub use libp2p_identify::Info;
pub use multiaddr::Multiaddr;
pub use operation::{Download, Fetched, Got, Operation, Published};
pub use registry_core::Config;
pub use runtime::Runtime;
pub use store::StoreFault;
