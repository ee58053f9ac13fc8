//! Nodes on the loopback interface.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, future};
use multiaddr::Multiaddr;
use registry_core::catalog::{Content, PackageSpec, ReleaseInfo};
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, Stage};
use registry_core::search::{Query, SearchPage};
use registry_core::{BlockId, Event, PeerId, PublisherId, Stats, TopicView};
use registry_node::{Error, Existing, Keys, Notice, Registry};
use tempfile::TempDir;

use super::{Peer, World, config, release};
use crate::runtimes::Mix;

/// A folder for each node, and what they run on.
pub(crate) struct Real {
    mix: Mix,
    dir: Arc<TempDir>,
}

impl Real {
    pub(crate) fn new(mix: Mix) -> Self {
        Self { mix, dir: Arc::new(tempfile::tempdir().unwrap()) }
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) registry: Registry,
    dir: Arc<TempDir>,
}

impl World for Real {
    type Peer = Node;

    async fn start(&self, number: usize, through: Option<&Node>) -> Node {
        let home = self.dir.path().join(number.to_string());
        std::fs::create_dir_all(&home).unwrap();
        let registry = Registry::builder(home.join("store"), Keys::load_or_create(&home).unwrap())
            .config(config())
            .listen(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()])
            .bootstrap(through.map(|node| entrance(&node.registry)).into_iter().collect())
            .start(self.mix.runtime())
            .await
            .unwrap();
        Node { registry, dir: Arc::clone(&self.dir) }
    }

    async fn moment(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where a node can be joined.
pub(crate) fn entrance(node: &Registry) -> Multiaddr {
    format!("{}/p2p/{}", node.listen_addrs()[0], node.peer_id()).parse().unwrap()
}

impl Peer for Node {
    fn peer_id(&self) -> PeerId {
        self.registry.peer_id()
    }

    fn publisher_id(&self) -> PublisherId {
        self.registry.publisher_id()
    }

    fn addr(&self) -> Multiaddr {
        entrance(&self.registry)
    }

    async fn publish(&self, name: &str, version: &str, data: Vec<u8>) -> Result<Arc<ReleaseInfo>, Error> {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let file = dir.path().join("data");
        std::fs::write(&file, data).unwrap();
        let published = self.registry.publish(&file, release(name, version)).await?.await?;
        Ok(published.release)
    }

    async fn search(&self, text: &str) -> Result<SearchPage, Error> {
        self.registry.search(Query { text: text.into(), limit: 100, ..Query::default() }).await
    }

    async fn resolve(&self, spec: PackageSpec) -> Result<Arc<ReleaseInfo>, Error> {
        self.registry.resolve(spec).await
    }

    async fn fetch(&self, root: BlockId, mut stage: impl FnMut(Stage)) -> Result<Vec<(PeerId, u64)>, Error> {
        let mut fetch = self.registry.fetch(root).await?;
        while let Some(reached) = fetch.stage().await {
            stage(reached);
        }
        Ok(fetch.await?.sources)
    }

    async fn read(&self, release: &ReleaseInfo) -> Vec<u8> {
        let Content::Root { root, size } = release.release.meta.content else { panic!("no content") };
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let out = dir.path().join("out");
        self.registry.export(root, size, &out, Existing::Refuse).await.unwrap();
        std::fs::read(out.join("data")).unwrap()
    }

    async fn dht(&self, command: DhtCommand) -> Result<DhtResult, Error> {
        self.registry.dht(command).await
    }

    async fn pubsub_subscribe(&self, topic: &str) {
        self.registry.pubsub_subscribe(topic.into()).await.unwrap();
    }

    async fn pubsub_publish(&self, topic: &str, data: Bytes) -> Result<u32, Error> {
        self.registry.pubsub_publish(topic.into(), data).await
    }

    async fn connect(&self, addr: Multiaddr) -> Result<PeerId, Error> {
        self.registry.connect(addr).await
    }

    async fn disconnect(&self, peer: PeerId) {
        self.registry.disconnect(peer).await.unwrap();
    }

    async fn info(&self, spec: PackageSpec) -> Vec<Arc<ReleaseInfo>> {
        self.registry.info(spec).await.unwrap()
    }

    async fn peers(&self) -> Vec<PeerId> {
        self.registry.peers().await.unwrap().into_iter().map(|view| view.peer).collect()
    }

    async fn stats(&self) -> Stats {
        self.registry.stats().await.unwrap()
    }

    async fn topics(&self) -> Vec<TopicView> {
        self.registry.topics().await.unwrap()
    }

    async fn events(&self) -> impl Stream<Item = Event> + Unpin {
        self.registry.subscribe().await.unwrap().then(|notice| {
            future::ready(match notice {
                Notice::Event(event) => event,
                Notice::Missed(missed) => panic!("missed {missed} events"),
            })
        })
    }

    async fn stop(&self) {
        self.registry.shutdown().await;
    }
}
