//! What scenarios see of a network, real or virtual.

mod real;
mod simulated;

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use multiaddr::Multiaddr;
use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, ReleaseInfo, Scheme, Version};
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, Stage};
use registry_core::search::SearchPage;
use registry_core::{BlockId, Config, Event, PeerId, PublisherId, Stats, TopicView};
use registry_node::Error;

pub(crate) use real::{Real, entrance};
pub(crate) use simulated::Simulated;

/// The nodes of a scenario.
pub(crate) trait World: Sized {
    type Peer: Peer;

    /// Starts a node, with what it had when it was stopped. It joins through another, which need not be running.
    async fn start(&self, number: usize, through: Option<&Self::Peer>) -> Self::Peer;

    /// Lets a little time pass before somebody looks again.
    async fn moment(&self);
}

/// A running node. Every operation ends; dropping it cancels it.
pub(crate) trait Peer: Clone {
    fn peer_id(&self) -> PeerId;
    fn publisher_id(&self) -> PublisherId;
    /// Where it listens.
    fn addr(&self) -> Multiaddr;
    /// Publishes a file called `data`.
    async fn publish(&self, name: &str, version: &str, data: Vec<u8>) -> Result<Arc<ReleaseInfo>, Error>;
    async fn search(&self, text: &str) -> Result<SearchPage, Error>;
    async fn resolve(&self, spec: PackageSpec) -> Result<Arc<ReleaseInfo>, Error>;
    /// Fetches content; `stage` is told how it goes on. Gives the verified bytes of each provider.
    async fn fetch(&self, root: BlockId, stage: impl FnMut(Stage)) -> Result<Vec<(PeerId, u64)>, Error>;
    /// The file of fetched content.
    async fn read(&self, release: &ReleaseInfo) -> Vec<u8>;
    async fn dht(&self, command: DhtCommand) -> Result<DhtResult, Error>;
    async fn pubsub_subscribe(&self, topic: &str);
    async fn pubsub_publish(&self, topic: &str, data: Bytes) -> Result<u32, Error>;
    async fn connect(&self, addr: Multiaddr) -> Result<PeerId, Error>;
    async fn disconnect(&self, peer: PeerId);
    /// All versions that are known here.
    async fn info(&self, spec: PackageSpec) -> Vec<Arc<ReleaseInfo>>;
    async fn peers(&self) -> Vec<PeerId>;
    async fn stats(&self) -> Stats;
    async fn topics(&self) -> Vec<TopicView>;
    /// What belongs to no operation, from now on. A reader that is too slow is a failure.
    async fn events(&self) -> impl Stream<Item = Event> + Unpin;
    async fn stop(&self);
}

/// Of every node.
fn config() -> Config {
    let mut config = Config::default();
    config.kad.open_namespaces.push("test".into());
    // Connections come back quickly after a restart.
    config.peers.max_backoff = registry_core::Duration::from_secs(2);
    config.exchange.stall_timeout = registry_core::Duration::from_secs(5);
    config
}

/// A release without content.
pub(crate) fn release(name: &str, text: &str) -> NewRelease {
    let version = Version { text: text.into(), scheme: Scheme::Semver };
    NewRelease {
        summary: SUMMARY.into(),
        keywords: vec![KEYWORD.into()],
        ..NewRelease::new(Name::new(name).unwrap(), version, Content::Unknown)
    }
}

/// What all packages say of themselves.
const SUMMARY: &str = "A telescope for the kitchen";
const KEYWORD: &str = "optics";

/// The newest version of a publisher's package.
pub(crate) fn spec(publisher: &impl Peer, name: &str) -> PackageSpec {
    PackageSpec { publisher: Some(publisher.publisher_id()), name: Name::new(name).unwrap(), version: None }
}

/// Content that does not repeat itself.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    });
    words.flatten().take(len).collect()
}
