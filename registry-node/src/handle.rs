//! The handle of a running node.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use futures::future::Shared;
use libp2p_identify::Info;
use multiaddr::Multiaddr;
use registry_core::catalog::packages::Listing;
use registry_core::catalog::{Amendment, Content, Name, NewRelease, PackageSpec, ReleaseInfo};
use registry_core::command::{DhtCommand, PubsubCommand};
use registry_core::event::{BatchOutcome, DhtResult};
use registry_core::id::TopicName;
use registry_core::peers::PeerView;
use registry_core::search::{Query, SearchPage};
use registry_core::{BlockId, Command, Event, Node, OpId, PeerId, PublisherId, Stats, TopicView};

use crate::builder::Builder;
use crate::calls::Calls;
use crate::driver::Ask;
use crate::error::{Error, PeerError};
use crate::events::{Reader, Subscription};
use crate::files::export::{Existing, export};
use crate::files::pack::{Packed, pack};
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::net::swarm_id;
use crate::operation::{Download, Fetched, Got, Operation, Published};
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

    /// Packs a file or folder into the store, without publishing it; `hidden` entries and links have rules, see [`Packed`].
    ///
    /// # Errors
    /// [`Error::Pack`].
    pub async fn pack(&self, path: impl Into<PathBuf>, hidden: bool) -> Result<Packed, Error> {
        let (blocks, path) = (self.blocks()?, path.into());
        self.jobs.run(move |stop| pack(&blocks, &path, hidden, stop)).await
    }

    /// Packs a file or folder, without hidden entries, and publishes a release whose content it is: the returned operation
    /// signs and announces it.
    ///
    /// # Errors
    /// [`Error::Pack`], or [`Error::Command`] for a statement that is not acceptable.
    pub async fn publish(&self, path: impl Into<PathBuf>, release: NewRelease) -> Result<Operation<Published>, Error> {
        let Packed { root, size, .. } = self.pack(path, false).await?;
        self.publish_release(NewRelease { content: Content::Root { root, size }, ..release }).await
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

    /// Resolves a package and begins to fetch it.
    ///
    /// # Errors
    /// Of [`Registry::resolve`] and [`Registry::fetch`], or [`Error::External`].
    pub async fn download(&self, spec: PackageSpec) -> Result<Download, Error> {
        let release = self.resolve(spec).await?;
        let Content::Root { root, size } = release.release.meta.content else { return Err(Error::External) };
        let fetch = self.fetch(root).await?;
        Ok(Download { registry: self.clone(), release, size, fetch })
    }

    /// Resolves, fetches and writes out a package: [`Registry::download`] for those who need not know how it goes on.
    ///
    /// # Errors
    /// Of [`Registry::download`] and [`Download::save`].
    pub async fn get(&self, spec: PackageSpec, out: &Path, existing: Existing) -> Result<Got, Error> {
        self.download(spec).await?.save(out, existing).await
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
        Ok(Operation::new(op, ends, take, self.cancels.clone()))
    }
}
