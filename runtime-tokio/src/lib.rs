//! wharf on tokio: timers, tasks and TCP.
//!
//! ```
//! use registry_node::{Keys, Registry};
//! use runtime_tokio::Tokio;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let home = tempfile::tempdir()?;
//! let node = Registry::builder(home.path().join("store"), Keys::load_or_create(home.path())?)
//!     .listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?])
//!     .start(Tokio::current())
//!     .await?;
//! assert_eq!(node.listen_addrs().len(), 1);
//! assert!(node.peers().await?.is_empty());
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::{Keypair, PeerId};
use registry_node::{Runtime, swarm};
use tokio::runtime::Handle;

/// Runs a node on a tokio runtime that has its I/O and time drivers enabled.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// On the given runtime.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// On the runtime of the calling task.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Runtime for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // A timer belongs to the runtime in whose context it is made.
        let _context = self.0.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    fn transport(&self, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let tcp = libp2p_tcp::Config::default().nodelay(true);
        swarm::secure(libp2p_tcp::tokio::Transport::new(tcp), keypair)
    }
}
