//! The runtimes a scenario's nodes run on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::{Keypair, PeerId};
use registry_node::Runtime;
use runtime_smol::Smol;
use runtime_tokio::Tokio;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tokio,
    Smol,
}

/// Gives each node that is started its runtime, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    name: &'static str,
    kinds: &'static [Kind],
    next: Arc<AtomicUsize>,
}

impl Mix {
    pub(crate) fn tokio() -> Self {
        Self::of("tokio", &[Kind::Tokio])
    }

    pub(crate) fn smol() -> Self {
        Self::of("smol", &[Kind::Smol])
    }

    /// Every other node; one that is started again may find itself on the other runtime.
    pub(crate) fn mixed() -> Self {
        Self::of("mixed", &[Kind::Tokio, Kind::Smol, Kind::Smol, Kind::Tokio])
    }

    fn of(name: &'static str, kinds: &'static [Kind]) -> Self {
        Self { name, kinds, next: Arc::default() }
    }

    /// The last part of its tests' names.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The next node's.
    pub(crate) fn runtime(&self) -> AnyRuntime {
        match self.kinds[self.next.fetch_add(1, Ordering::Relaxed) % self.kinds.len()] {
            Kind::Tokio => AnyRuntime::Tokio(Tokio::current()),
            Kind::Smol => AnyRuntime::Smol(Smol::global()),
        }
    }
}

pub(crate) enum AnyRuntime {
    Tokio(Tokio),
    Smol(Smol),
}

impl AnyRuntime {
    fn inner(&self) -> &dyn Runtime {
        match self {
            Self::Tokio(tokio) => tokio,
            Self::Smol(smol) => smol,
        }
    }
}

impl Runtime for AnyRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner().spawn(task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner().sleep(duration)
    }

    fn transport(&self, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        self.inner().transport(keypair)
    }
}
