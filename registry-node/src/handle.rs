//! The handle of a running node.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::{mpsc, oneshot};
use futures::future::Shared;
use futures::{FutureExt, SinkExt, StreamExt};
use libp2p_identify::Info;
use multiaddr::Multiaddr;
use registry_core::catalog::packages::Listing;
use registry_core::catalog::{Amendment, Content, Dependency, Name, NewRelease, PackageSpec, ReleaseInfo, Version};
use registry_core::command::{DhtCommand, PubsubCommand};
use registry_core::event::{BatchOutcome, DhtResult, Stage};
use registry_core::id::TopicName;
use registry_core::peers::PeerView;
use registry_core::search::{Query, SearchPage};
use registry_core::{BlockId, Command, Event, Node, OpId, PeerId, PublisherId, Stats, TopicView};

use crate::builder::Builder;
use crate::calls::Calls;
use crate::driver::Ask;
use crate::error::{Error, PeerError};
use crate::events::{Ends, Reader, Subscription};
use crate::files::export::{Existing, export};
use crate::files::pack::{Packed, pack};
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::net::swarm_id;
use crate::ping::Pinger;
use crate::store::Blocks;
use crate::view::View;

/// A running node. Cheap to clone; the node stops when the last clone is dropped, or with [`Registry::shutdown`].
///
/// Every operation ends. Dropping its future cancels it.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) cancels: mpsc::UnboundedSender<OpId>,
    pub(crate) stopped: Shared<oneshot::Receiver<()>>,
    pub(crate) jobs: Jobs,
    pub(crate) blocks: Arc<Mutex<Option<Blocks>>>,
    pub(crate) view: View,
    pub(crate) pinger: Pinger,
    pub(crate) peer_id: PeerId,
    pub(crate) publisher_id: PublisherId,
}

/// Something to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPackage {
    /// A file or a folder; hidden entries and links have rules, see [`Packed`].
    pub path: PathBuf,
    /// Take hidden entries along.
    pub hidden: bool,
    /// The package's name.
    pub name: Name,
    /// This version.
    pub version: Version,
    /// One line, at most 256 bytes.
    pub summary: String,
    /// Text that is searched, at most 4 KiB.
    pub description: String,
    /// At most 16 of at most 64 bytes.
    pub keywords: Vec<String>,
    /// At most 64 bytes; empty for none.
    pub category: String,
    /// At most 32 of at most 64 bytes.
    pub tags: Vec<String>,
    /// At most 128 bytes.
    pub licence: String,
    /// At most 256 lists of alternatives.
    pub dependencies: Vec<Vec<Dependency>>,
}

impl NewPackage {
    /// A package that says nothing of itself.
    pub fn new(path: impl Into<PathBuf>, name: Name, version: Version) -> Self {
        Self {
            path: path.into(),
            hidden: false,
            name,
            version,
            summary: String::new(),
            description: String::new(),
            keywords: Vec::new(),
            category: String::new(),
            tags: Vec::new(),
            licence: String::new(),
            dependencies: Vec::new(),
        }
    }

    fn release(self, packed: &Packed) -> NewRelease {
        NewRelease {
            name: self.name,
            version: self.version,
            content: Content::Root { root: packed.root, size: packed.size },
            summary: self.summary,
            description: self.description,
            keywords: self.keywords,
            category: self.category,
            tags: self.tags,
            licence: self.licence,
            dependencies: self.dependencies,
        }
    }
}

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

impl Registry {
    /// Starts building a node whose store is in `store`.
    pub fn builder(store: impl Into<PathBuf>, keys: Keys) -> Builder {
        Builder::new(store.into(), keys)
    }

    /// The node's libp2p id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Under which this node publishes.
    pub fn publisher_id(&self) -> PublisherId {
        self.publisher_id
    }

    /// Where the node can be reached, as far as its listeners know.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.view.listen_addrs()
    }

    /// Searches the catalogue.
    ///
    /// # Errors
    /// [`Error::Command`] for a query that is not acceptable.
    pub async fn search(&self, query: Query) -> Result<SearchPage, Error> {
        let take = |event| match event {
            Event::SearchDone { page, .. } => Some(page),
            _ => None,
        };
        self.start(Command::Search(query), take).await?.await
    }

    /// Packs a file or folder into the store, without publishing it.
    ///
    /// # Errors
    /// [`Error::Pack`].
    pub async fn pack(&self, path: impl Into<PathBuf>, hidden: bool) -> Result<Packed, Error> {
        let (blocks, path) = (self.blocks()?, path.into());
        self.jobs.run(move |stop| pack(&blocks, &path, hidden, stop)).await
    }

    /// Packs and publishes a package: the returned operation signs and announces it.
    ///
    /// # Errors
    /// [`Error::Pack`], or [`Error::Command`] for a statement that is not acceptable.
    pub async fn publish(&self, package: NewPackage) -> Result<Operation<Published>, Error> {
        let packed = self.pack(&package.path, package.hidden).await?;
        self.publish_release(package.release(&packed)).await
    }

    /// Publishes a release whose content is in the store, or lies elsewhere.
    ///
    /// # Errors
    /// [`Error::Command`] for a statement that is not acceptable.
    pub async fn publish_release(&self, release: NewRelease) -> Result<Operation<Published>, Error> {
        let take = |event| match event {
            Event::Published { release, acks, sent, .. } => Some(Published { release, acks, sent }),
            _ => None,
        };
        self.start(Command::Publish(release), take).await
    }

    /// Publishes up to [`MAX_BATCH`](registry_core::catalog::MAX_BATCH) releases, whose content is in the store or lies
    /// elsewhere, in one commit; gives what became of each once that is durable. The new head is announced within
    /// seconds, once for all batches until then.
    ///
    /// # Errors
    /// [`Error::Command`] when there are too many, [`Error::Op`] when nothing could be signed or stored.
    pub async fn publish_batch(&self, releases: Vec<NewRelease>) -> Result<Vec<BatchOutcome>, Error> {
        let take = |event| match event {
            Event::BatchPublished { outcomes, .. } => Some(outcomes),
            _ => None,
        };
        self.start(Command::PublishBatch(releases), take).await?.await
    }

    /// Says something of an own package or version later: yanks it, deprecates it, or takes that back. Gives the release
    /// concerned; of a whole package, its highest. With nobody told, it was so already.
    ///
    /// # Errors
    /// [`Error::Command`] for a statement that is not acceptable; the operation ends in [`Error::Op`] when there is no such
    /// release.
    pub async fn amend(&self, amendment: Amendment) -> Result<Operation<Published>, Error> {
        let take = |event| match event {
            Event::Published { release, acks, sent, .. } => Some(Published { release, acks, sent }),
            _ => None,
        };
        self.start(Command::Amend(amendment), take).await
    }

    /// Keeps a publisher's statements however full the catalogue is, also after a restart; or no longer.
    ///
    /// # Errors
    /// [`Error::Command`] when too many are followed.
    pub async fn follow(&self, publisher: PublisherId, on: bool) -> Result<(), Error> {
        self.command(Command::Follow { publisher, on }).await
    }

    /// Finds the release a specification names, asking the network when it is not known here.
    ///
    /// # Errors
    /// [`Error::Op`] when nobody knows it.
    pub async fn resolve(&self, spec: PackageSpec) -> Result<Arc<ReleaseInfo>, Error> {
        let take = |event| match event {
            Event::Resolved { release, .. } => Some(release),
            _ => None,
        };
        self.start(Command::Resolve(spec), take).await?.await
    }

    /// Fetches all blocks under a root into the store.
    ///
    /// # Errors
    /// [`Error::Command`] when too much is running.
    pub async fn fetch(&self, root: BlockId) -> Result<Operation<Fetched>, Error> {
        let take = |event| match event {
            Event::Fetched { root, sources, .. } => Some(Fetched { root, sources }),
            _ => None,
        };
        self.start(Command::Fetch(root), take).await
    }

    /// Writes fetched content of `size` bytes to `out`, everything or nothing: names that are not safe on every file system
    /// are refused, and each block is verified once more.
    ///
    /// # Errors
    /// [`Error::Export`]; nothing is left at `out` then.
    pub async fn export(&self, root: BlockId, size: u64, out: &Path, existing: Existing) -> Result<(), Error> {
        let (blocks, out) = (self.blocks()?, out.to_owned());
        self.jobs.run(move |stop| export(&blocks, root, size, &out, existing, stop)).await
    }

    /// Resolves, fetches and writes out a package. `stage` is told how the fetch goes on.
    ///
    /// # Errors
    /// Of [`Registry::resolve`], [`Registry::fetch`] and [`Registry::export`], or [`Error::External`].
    pub async fn get(
        &self,
        spec: PackageSpec,
        out: &Path,
        existing: Existing,
        mut stage: impl FnMut(Stage),
    ) -> Result<Got, Error> {
        let release = self.resolve(spec).await?;
        let Content::Root { root, size } = release.release.meta.content else { return Err(Error::External) };
        let mut fetch = self.fetch(root).await?;
        while let Some(reached) = fetch.stage().await {
            stage(reached);
        }
        let sources = fetch.await?.sources;
        self.export(root, size, out, existing).await?;
        Ok(Got { release, sources })
    }

    /// Peers, updates and pubsub messages as they come.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn subscribe(&self) -> Result<Subscription, Error> {
        let (reader, subscription) = Reader::new();
        self.ask(Ask::Subscribe(reader)).await?;
        Ok(subscription)
    }

    /// All versions of a package that are known here, highest first. Asks nobody.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn info(&self, spec: PackageSpec) -> Result<Vec<Arc<ReleaseInfo>>, Error> {
        self.look(move |node| node.info(&spec)).await
    }

    /// Some of a publisher's packages that are known here, in the order of their names, and after which to go on. Asks
    /// nobody.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn list(&self, publisher: PublisherId, after: Option<Name>) -> Result<Listing, Error> {
        self.look(move |node| node.list(publisher, after.as_ref())).await
    }

    /// Has this publisher contradicted itself, as far as is known here?
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn is_forked(&self, publisher: PublisherId) -> Result<bool, Error> {
        self.look(move |node| node.is_forked(publisher)).await
    }

    /// Connected peers, in ascending order of id.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, Error> {
        self.look(Node::peers).await
    }

    /// Counts of what the node holds and does.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.look(Node::stats).await
    }

    /// What calls of the core have cost since the start.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn calls(&self) -> Result<Calls, Error> {
        self.look_at_all(|_, calls| *calls).await
    }

    /// The pubsub topics that this node or a connected peer subscribes to, by name.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn topics(&self) -> Result<Vec<TopicView>, Error> {
        self.look(Node::topics).await
    }

    /// What a connected peer told of itself last, as soon as it has.
    ///
    /// # Errors
    /// [`Error::Peer`].
    pub async fn identify(&self, peer: PeerId) -> Result<Info, Error> {
        if self.asks.is_closed() {
            return Err(Error::NotRunning);
        }
        Ok(self.view.identify(swarm_id(&peer).ok_or(PeerError::NotConnected)?).await?)
    }

    /// The time of a round trip to a connected peer, at most ten seconds.
    ///
    /// # Errors
    /// [`Error::Peer`].
    pub async fn ping(&self, peer: PeerId) -> Result<Duration, Error> {
        self.pinger.ping(swarm_id(&peer).ok_or(PeerError::NotConnected)?).await
    }

    /// Dials an address.
    ///
    /// # Errors
    /// [`Error::Op`] when nobody answers there.
    pub async fn connect(&self, addr: Multiaddr) -> Result<PeerId, Error> {
        let take = |event| match event {
            Event::Connected { peer, .. } => Some(peer),
            _ => None,
        };
        self.start(Command::Connect(addr), take).await?.await
    }

    /// Closes the connections to a peer.
    ///
    /// # Errors
    /// [`Error::Command`] when there are none.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Error> {
        self.command(Command::Disconnect(peer)).await
    }

    /// Adds entrances to the network, dialled again and again while there are too few connections.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub async fn bootstrap(&self, addrs: Vec<Multiaddr>) -> Result<(), Error> {
        self.command(Command::Bootstrap(addrs)).await
    }

    /// A DHT operation by hand.
    ///
    /// # Errors
    /// [`Error::Op`].
    pub async fn dht(&self, command: DhtCommand) -> Result<DhtResult, Error> {
        let take = |event| match event {
            Event::Dht { result, .. } => Some(result),
            _ => None,
        };
        self.start(Command::Dht(command), take).await?.await
    }

    /// Signs and sends a pubsub message. Gives the number of peers it was sent to.
    ///
    /// # Errors
    /// [`Error::Op`].
    pub async fn pubsub_publish(&self, topic: TopicName, data: Bytes) -> Result<u32, Error> {
        let take = |event| match event {
            Event::PubsubPublished { sent, .. } => Some(sent),
            _ => None,
        };
        self.start(Command::Pubsub(PubsubCommand::Publish { topic, data }), take).await?.await
    }

    /// Receives a topic's messages, as [`Event::PubsubMessage`] of [`Registry::subscribe`].
    ///
    /// # Errors
    /// [`Error::Command`].
    pub async fn pubsub_subscribe(&self, topic: TopicName) -> Result<(), Error> {
        self.command(Command::Pubsub(PubsubCommand::Subscribe(topic))).await
    }

    /// No longer.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub async fn pubsub_unsubscribe(&self, topic: TopicName) -> Result<(), Error> {
        self.command(Command::Pubsub(PubsubCommand::Unsubscribe(topic))).await
    }

    /// Stops the node and waits until its sockets, tasks, threads and files are closed. Every later call, of any clone,
    /// gives [`Error::NotRunning`].
    pub async fn shutdown(&self) {
        let _ = self.ask(Ask::Stop).await;
        let _ = self.stopped.clone().await;
    }

    fn blocks(&self) -> Result<Blocks, Error> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::NotRunning)
    }

    async fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks.clone().send(ask).await.map_err(|_| Error::NotRunning)
    }

    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Node) -> T + Send + 'static) -> Result<T, Error> {
        self.look_at_all(move |node, _| look(node)).await
    }

    async fn look_at_all<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Node, &Calls) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |node: &Node, calls: &Calls| {
            // The asker may be gone.
            let _ = reply.send(look(node, calls));
        });
        self.ask(Ask::Look(look)).await?;
        answer.await.map_err(|_| Error::NotRunning)
    }

    /// A command that is done when it is accepted.
    async fn command(&self, command: Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Do(command, reply)).await?;
        Ok(answer.await.map_err(|_| Error::NotRunning)??)
    }

    async fn start<T>(&self, command: Command, take: fn(Event) -> Option<T>) -> Result<Operation<T>, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Start(command, reply)).await?;
        let (op, ends) = answer.await.map_err(|_| Error::NotRunning)??;
        Ok(Operation { op, ends, take, cancels: Some(self.cancels.clone()) })
    }
}
