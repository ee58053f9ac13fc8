//! What a runtime has to give: tasks, sleep and a transport.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::channel::mpsc;
use futures::future::BoxFuture;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::{Keypair, PeerId};
use registry_core::{Instant, UnixTime};

/// Everything an adapter implements.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a task to its end, or drops it when the runtime stops.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Done after `duration`, never earlier.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// A secured, multiplexed transport; see [`crate::swarm::secure`].
    ///
    /// # Errors
    /// When the transport cannot be set up.
    fn transport(&self, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>>;
}

/// The two clocks of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn unix(self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Spawns tasks and knows when all of them are gone.
#[derive(Clone)]
pub(crate) struct Tasks {
    runtime: Arc<dyn Runtime>,
    /// One clone lives in each task.
    alive: mpsc::Sender<std::convert::Infallible>,
}

impl Tasks {
    /// The receiver ends when every task and every clone of the spawner is gone.
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> (Self, mpsc::Receiver<std::convert::Infallible>) {
        let (alive, gone) = mpsc::channel(0);
        (Self { runtime, alive }, gone)
    }

    /// To be kept by whatever else the end must wait for.
    pub(crate) fn alive(&self) -> mpsc::Sender<std::convert::Infallible> {
        self.alive.clone()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alive = self.alive.clone();
        self.runtime.spawn(Box::pin(async move {
            task.await;
            drop(alive);
        }));
    }
}

impl libp2p_swarm::Executor for Tasks {
    fn exec(&self, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }
}
