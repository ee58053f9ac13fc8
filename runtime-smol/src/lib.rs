//! wharf on smol: timers, tasks and a TCP transport of its own, without a line of tokio.
//!
//! Timers and sockets live in async-io's reactor, which every program that uses smol or async-std has already and which
//! starts by itself in every other. Tasks go to smol's global executor, or to the program's own.
//!
//! ```
//! use registry_node::{Keys, Registry};
//! use runtime_smol::Smol;
//!
//! # smol::block_on(async {
//! let home = tempfile::tempdir()?;
//! let node = Registry::builder(home.path().join("store"), Keys::load_or_create(home.path())?)
//!     .listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?])
//!     .start(Smol::global())
//!     .await?;
//! assert_eq!(node.listen_addrs().len(), 1);
//! assert!(node.peers().await?.is_empty());
//! node.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

#![deny(missing_docs)]

pub mod tcp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::{Keypair, PeerId};
use registry_node::{Runtime, swarm};
use smol::{Executor, Timer};

/// Runs a node on a smol executor.
#[derive(Clone, Debug)]
pub struct Smol(Option<Arc<Executor<'static>>>);

impl Smol {
    /// On smol's global executor: one thread, or as many as the environment variable `SMOL_THREADS` says. It starts with
    /// the first task, whatever runtime the caller is on, and stays to the end of the process.
    pub fn global() -> Self {
        Self(None)
    }

    /// On an executor that the program runs itself.
    pub fn new(executor: Arc<Executor<'static>>) -> Self {
        Self(Some(executor))
    }
}

impl Runtime for Smol {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match &self.0 {
            Some(executor) => executor.spawn(task),
            None => smol::spawn(task),
        }
        .detach();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Timer::after(duration).map(drop).boxed()
    }

    fn transport(&self, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        swarm::secure(tcp::Transport::default(), keypair)
    }
}
