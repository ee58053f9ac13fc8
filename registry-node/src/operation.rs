//! What a handle gives for work that takes a while, and what that work ends in.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use registry_core::catalog::ReleaseInfo;
use registry_core::event::Stage;
use registry_core::{BlockId, Event, OpId, PeerId};

use crate::error::Error;
use crate::events::Ends;
use crate::files::export::Existing;
use crate::handle::Registry;

/// A release that is signed, durable and announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// What.
    pub release: Arc<ReleaseInfo>,
    /// DHT servers that acknowledged the publisher's head record.
    pub acks: u32,
    /// Pubsub peers it was sent to.
    pub sent: u32,
}

/// Content whose blocks are all verified and in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Under this root.
    pub root: BlockId,
    /// Verified bytes per provider, including those before a restart.
    pub sources: Vec<(PeerId, u64)>,
}

/// A package that was written out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    /// What.
    pub release: Arc<ReleaseInfo>,
    /// Verified bytes per provider.
    pub sources: Vec<(PeerId, u64)>,
}

/// A running operation: a future of its result. Dropping it cancels the operation.
#[derive(Debug)]
#[must_use]
pub struct Operation<T> {
    op: OpId,
    ends: Ends,
    take: fn(Event) -> Option<T>,
    cancels: Option<mpsc::UnboundedSender<OpId>>,
}

impl<T> Operation<T> {
    pub(crate) fn new(
        op: OpId,
        ends: Ends,
        take: fn(Event) -> Option<T>,
        cancels: mpsc::UnboundedSender<OpId>,
    ) -> Self {
        Self { op, ends, take, cancels: Some(cancels) }
    }

    /// The next stage it reaches; `None` when none will come any more. A slow reader misses stages.
    pub async fn stage(&mut self) -> Option<Stage> {
        self.ends.stages.next().await
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ends.end.poll_unpin(cx).map(|end| {
            self.cancels = None;
            match end.map_err(|_| Error::NotRunning)? {
                Event::Failed { error, .. } => Err(error.into()),
                event => Ok((self.take)(event).expect("an operation ends in its own kind of event")),
            }
        })
    }
}

impl<T> Drop for Operation<T> {
    fn drop(&mut self) {
        if let Some(cancels) = &self.cancels {
            // A node that is gone has nothing to cancel.
            let _ = cancels.unbounded_send(self.op);
        }
    }
}

/// A package whose release is known and whose blocks are being fetched. Dropping it cancels the fetch.
#[derive(Debug)]
#[must_use]
pub struct Download {
    pub(crate) registry: Registry,
    pub(crate) release: Arc<ReleaseInfo>,
    pub(crate) size: u64,
    pub(crate) fetch: Operation<Fetched>,
}

impl Download {
    /// The next stage of the fetch; `None` when none will come any more. A slow reader misses stages.
    pub async fn stage(&mut self) -> Option<Stage> {
        self.fetch.stage().await
    }

    /// Waits for the last block, then writes the package out.
    ///
    /// # Errors
    /// Of the fetch, and of [`Registry::export`].
    pub async fn save(self, out: &Path, existing: Existing) -> Result<Got, Error> {
        let Fetched { root, sources } = self.fetch.await?;
        self.registry.export(root, self.size, out, existing).await?;
        Ok(Got { release: self.release, sources })
    }
}
