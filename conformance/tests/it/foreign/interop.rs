//! Networks of which one half is made of `libp2p-kad` and `libp2p-gossipsub`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use conformance::{Foreign, Setup};
use futures::StreamExt;
use futures::future::join_all;
use libp2p_identity::PeerId;
use libp2p_kad::KBucketKey;
use prost::Message as _;
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, OpError};
use registry_core::id::Digest;
use registry_core::input::GossipVersion;
use registry_core::{Config, Event, Message, Protocol};
use registry_node::net::NetConfig;
use registry_node::{Error, Keys, Notice, Registry, Subscription};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::PATIENCE;
use crate::net::shell::Shell;
use crate::runtimes::Mix;

/// Peers of each kind.
const HALF: usize = 11;
/// Replication: a third of the network, so that most peers do not hold a record.
const K: usize = 8;

pub(super) struct Wharf {
    pub(super) registry: Registry,
    notices: Subscription,
    _dir: TempDir,
}

impl Wharf {
    pub(super) async fn start(mix: &Mix, config: Config, bootstrap: Vec<multiaddr::Multiaddr>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let builder = Registry::builder(dir.path(), Keys::ephemeral()).listen(listen).bootstrap(bootstrap);
        let registry = builder.config(config).start(mix.runtime()).await.unwrap();
        let notices = registry.subscribe().await.unwrap();
        Self { registry, notices, _dir: dir }
    }

    pub(super) fn id(&self) -> PeerId {
        PeerId::from_bytes(self.registry.peer_id().as_bytes()).unwrap()
    }

    pub(super) fn addr(&self) -> multiaddr::Multiaddr {
        self.registry.listen_addrs().remove(0)
    }

    pub(super) async fn provide(&self, key: &Bytes) -> u32 {
        match self.registry.dht(DhtCommand::Provide(key.clone())).await {
            Ok(DhtResult::Provided { sent }) => sent,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn providers(&self, key: &Bytes) -> Vec<PeerId> {
        match self.registry.dht(DhtCommand::FindProviders { key: key.clone(), count: 100 }).await {
            Ok(DhtResult::Peers(found)) => {
                found.iter().map(|(id, _)| PeerId::from_bytes(id.as_bytes()).unwrap()).collect()
            }
            Err(Error::Op(OpError::NotFound)) => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the connection with a peer has ended.
    pub(super) async fn lost(&mut self, peer: registry_core::PeerId) {
        let down = Notice::Event(Event::PeerDown(peer));
        let gone = async { while self.notices.next().await.expect("the node runs") != down {} };
        tokio::time::timeout(PATIENCE, gone).await.expect("the connection stays");
    }

    /// The next message of a topic it subscribed to, with its author.
    pub(super) async fn heard(&mut self) -> (PeerId, Vec<u8>) {
        loop {
            match self.notices.next().await.expect("the node runs") {
                Notice::Event(Event::PubsubMessage { author, data, .. }) => {
                    return (PeerId::from_bytes(author.as_bytes()).unwrap(), data.to_vec());
                }
                Notice::Event(_) => {}
                Notice::Missed(missed) => panic!("missed {missed} notices"),
            }
        }
    }
}

pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.kad.k = K;
    config.kad.open_namespaces = vec!["test".into()];
    config.kad.request_timeout = PATIENCE / 4;
    config
}

/// Asks again and again until it holds.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A multihash.
pub(super) fn provider_key(of: &str) -> Bytes {
    Digest::of(of.as_bytes()).to_multihash()
}

/// What one peer answers from its own store, whatever others have. Of no kind itself: it serves nothing.
struct Probe {
    shell: Shell,
    asked: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "3")]
    record: Option<AnswerRecord>,
    #[prost(message, repeated, tag = "9")]
    providers: Vec<AnswerPeer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerRecord {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerPeer {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

impl Probe {
    const GET_VALUE: u8 = 1;
    const GET_PROVIDERS: u8 = 3;

    async fn start(mix: &Mix, peers: &[Peer<'_>]) -> Self {
        let mut shell = Shell::with(mix, NetConfig { server: false, ..NetConfig::default() }).await;
        for peer in peers {
            let id = registry_core::PeerId::from_bytes(&peer.id().to_bytes()).unwrap();
            shell.dial(0, Some(id), vec![peer.addr()]).await;
            shell.until(|input| matches!(input, registry_core::Input::Connected { .. }).then_some(())).await;
        }
        Self { shell, asked: 0 }
    }

    async fn value(&mut self, peer: PeerId, key: &[u8]) -> Option<Vec<u8>> {
        self.ask(peer, Self::GET_VALUE, key).await.record.map(|record| record.value)
    }

    async fn providers(&mut self, peer: PeerId, key: &[u8]) -> Vec<PeerId> {
        let answer = self.ask(peer, Self::GET_PROVIDERS, key).await;
        answer.providers.iter().map(|provider| PeerId::from_bytes(&provider.id).unwrap()).collect()
    }

    async fn ask(&mut self, peer: PeerId, kind: u8, key: &[u8]) -> Answer {
        self.asked += 1;
        let mut request = vec![0x08, kind, 0x12, u8::try_from(key.len()).unwrap()];
        request.extend_from_slice(key);
        let request = Message::decode(Protocol::Kad, request.into()).unwrap();
        let peer = registry_core::PeerId::from_bytes(&peer.to_bytes()).unwrap();
        let mut answer = Vec::new();
        self.shell.ask(self.asked, peer, request).await.unwrap().encode_into(&mut answer);
        Answer::decode(&answer[..]).unwrap()
    }
}

/// A peer of either kind.
#[derive(Clone, Copy)]
pub(super) enum Peer<'a> {
    Wharf(&'a Wharf),
    Foreign(&'a Foreign),
}

impl Peer<'_> {
    fn id(self) -> PeerId {
        match self {
            Self::Wharf(wharf) => wharf.id(),
            Self::Foreign(foreign) => foreign.peer_id,
        }
    }

    fn addr(self) -> multiaddr::Multiaddr {
        match self {
            Self::Wharf(wharf) => wharf.addr(),
            Self::Foreign(foreign) => foreign.addr.clone(),
        }
    }

    fn is_wharf(self) -> bool {
        matches!(self, Self::Wharf(_))
    }

    /// The peers in its routing table.
    pub(super) async fn servers(self) -> usize {
        match self {
            Self::Wharf(wharf) => wharf.registry.stats().await.unwrap().routing_table as usize,
            Self::Foreign(foreign) => foreign.servers().await,
        }
    }

    pub(super) async fn put(self, key: &[u8], value: &[u8]) {
        match self {
            Self::Wharf(wharf) => {
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                let done = wharf.registry.dht(DhtCommand::Put { key, value }).await;
                assert!(matches!(done, Ok(DhtResult::Stored { acks }) if acks as usize > K / 2), "{done:?}");
            }
            Self::Foreign(foreign) => assert!(foreign.put(key, value).await),
        }
    }

    pub(super) async fn get(self, key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Wharf(wharf) => match wharf.registry.dht(DhtCommand::Get(Bytes::copy_from_slice(key))).await {
                Ok(DhtResult::Value(value)) => Some(value.to_vec()),
                Err(Error::Op(OpError::NotFound)) => None,
                other => panic!("{other:?}"),
            },
            Self::Foreign(foreign) => foreign.get(key).await,
        }
    }

    pub(super) async fn provide(self, key: &Bytes) {
        match self {
            Self::Wharf(wharf) => assert!(wharf.provide(key).await > 0),
            Self::Foreign(foreign) => assert!(foreign.provide(key).await),
        }
    }

    pub(super) async fn providers(self, key: &Bytes) -> Vec<PeerId> {
        match self {
            Self::Wharf(wharf) => wharf.providers(key).await,
            Self::Foreign(foreign) => foreign.providers(key).await,
        }
    }
}

/// All peers, the closest to the key first.
fn by_distance<'a>(peers: &[Peer<'a>], key: &[u8]) -> Vec<Peer<'a>> {
    let target = KBucketKey::new(key.to_vec());
    let mut peers = peers.to_vec();
    peers.sort_by_key(|peer| KBucketKey::from(peer.id()).distance(&target));
    peers
}

/// The first key of which several peers of both kinds are among the closest.
fn shared_key(peers: &[Peer<'_>], name: impl Fn(usize) -> Bytes) -> Bytes {
    let is_shared = |key: &Bytes| {
        let wharf = by_distance(peers, key)[..K].iter().filter(|peer| peer.is_wharf()).count();
        (3..=K - 3).contains(&wharf)
    };
    (0..).map(name).find(is_shared).unwrap()
}

/// Joins peers of both kinds through one.
async fn mixed_network(mix: &Mix) -> (Vec<Wharf>, Vec<Foreign>) {
    let first = Wharf::start(mix, config(), Vec::new()).await;
    let entrance = first.addr();
    let others = join_all((1..HALF).map(|_| Wharf::start(mix, config(), vec![entrance.clone()])));
    let foreign = join_all((0..HALF).map(|_| Foreign::start(Setup { k: K, ..Setup::default() })));
    let (others, foreign) = futures::join!(others, foreign);
    foreign.iter().for_each(|foreign| foreign.dial(entrance.clone()));
    (std::iter::once(first).chain(others).collect(), foreign)
}

fn peers<'a>(wharf: &'a [Wharf], foreign: &'a [Foreign]) -> Vec<Peer<'a>> {
    wharf.iter().map(Peer::Wharf).chain(foreign.iter().map(Peer::Foreign)).collect()
}

pub(crate) async fn values_and_provider_records_are_stored_and_found_both_ways(mix: Mix) {
    let (wharf, foreign) = mixed_network(&mix).await;
    let peers = peers(&wharf, &foreign);
    for peer in &peers {
        let what = format!("{} knows its neighbours (wharf: {})", peer.id(), peer.is_wharf());
        eventually(&what, async || peer.servers().await >= K).await;
    }
    let mut probe = Probe::start(&mix, &peers).await;
    for writer_is_wharf in [true, false] {
        let of_kind = |peer: &&Peer<'_>| peer.is_wharf() == writer_is_wharf;

        let key = shared_key(&peers, |number| format!("/test/{writer_is_wharf}/{number}").into());
        let near = by_distance(&peers, &key);
        let writer = near.iter().rfind(of_kind).unwrap();
        writer.put(&key, b"the value").await;
        let mut holders = [0, 0];
        for peer in &near[..K] {
            let value = probe.value(peer.id(), &key).await;
            assert!(value.as_ref().is_none_or(|value| value == b"the value"));
            holders[usize::from(peer.is_wharf())] += usize::from(value.is_some());
        }
        assert!(holders.iter().all(|count| *count >= 2), "foreign and wharf holders: {holders:?}");
        for reader_is_wharf in [true, false] {
            let is_reader = |peer: &&Peer<'_>| peer.is_wharf() == reader_is_wharf && peer.id() != writer.id();
            let reader = near.iter().rfind(is_reader).unwrap();
            assert_eq!(probe.value(reader.id(), &key).await, None, "the farthest reader is no holder");
            assert_eq!(reader.get(&key).await.as_deref(), Some(&b"the value"[..]));
        }

        let key = shared_key(&peers, |number| provider_key(&format!("{writer_is_wharf} {number}")));
        let near = by_distance(&peers, &key);
        let provider = near.iter().rfind(of_kind).unwrap();
        provider.provide(&key).await;
        // ADD_PROVIDER is not acknowledged.
        eventually("servers of both kinds keep the provider record", async || {
            let mut holders = [0, 0];
            for peer in &near[..K] {
                let found = probe.providers(peer.id(), &key).await;
                holders[usize::from(peer.is_wharf())] += usize::from(found.contains(&provider.id()));
            }
            holders.iter().all(|count| *count >= 2)
        })
        .await;
        for finder_is_wharf in [true, false] {
            let is_finder = |peer: &&Peer<'_>| peer.is_wharf() == finder_is_wharf && peer.id() != provider.id();
            let finder = near.iter().rfind(is_finder).unwrap();
            assert_eq!(probe.providers(finder.id(), &key).await, [], "the farthest finder is no holder");
            let found = finder.providers(&key).await;
            assert!(found.iter().all(|found| *found == provider.id()) && !found.is_empty(), "{found:?}");
        }
    }
    for node in &wharf {
        let offenders = node.registry.peers().await.unwrap().into_iter().filter(|peer| peer.offences > 0);
        assert_eq!(offenders.count(), 0, "an honest peer was charged");
    }
}

pub(crate) async fn provider_records_expire_on_both_kinds_unless_they_are_announced_again(mix: Mix) {
    let ttl = Duration::from_secs(3);
    let mut config = config();
    config.kad.provider_ttl = ttl;
    config.kad.provider_republish = ttl / 4;
    let first = Wharf::start(&mix, config.clone(), Vec::new()).await;
    let second = Wharf::start(&mix, config, vec![first.addr()]).await;
    let setup = || Setup { provider_ttl: ttl, ..Setup::default() };
    let foreign = [Foreign::start(setup()).await, Foreign::start(setup()).await];
    foreign.iter().for_each(|foreign| foreign.dial(first.addr()));
    let wharf = [first, second];
    let peers = peers(&wharf, &foreign);
    for peer in &peers {
        eventually("all know each other", async || peer.servers().await == 3).await;
    }

    let (foreigns, wharfs) = (provider_key("a foreign peer's"), provider_key("a wharf node's"));
    let mut probe = Probe::start(&mix, &peers).await;
    foreign[0].provide(&foreigns).await;
    wharf[0].provide(&wharfs).await;
    for holder in [wharf[0].id(), wharf[1].id(), foreign[1].peer_id] {
        let expected = [foreign[0].peer_id];
        eventually("a record is kept", async || probe.providers(holder, &foreigns).await == expected).await;
    }
    for holder in [wharf[0].id(), wharf[1].id(), foreign[1].peer_id] {
        eventually("a record expires", async || probe.providers(holder, &foreigns).await.is_empty()).await;
    }
    foreign[0].stop_providing(&foreigns).await;
    assert_eq!(wharf[1].providers(&foreigns).await, []);

    // Announced all the while, and older than the expired one's life.
    for holder in [wharf[1].id(), foreign[0].peer_id, foreign[1].peer_id] {
        let expected = [wharf[0].id()];
        eventually("a record lives on", async || probe.providers(holder, &wharfs).await == expected).await;
    }
    wharf[0].registry.dht(DhtCommand::StopProviding(wharfs.clone())).await.unwrap();
    for holder in [wharf[0].id(), wharf[1].id(), foreign[0].peer_id, foreign[1].peer_id] {
        eventually("a record expires", async || probe.providers(holder, &wharfs).await.is_empty()).await;
    }
    assert_eq!(foreign[1].providers(&wharfs).await, []);
}

/// What one subscriber heard: each message, and how often.
type Heard = BTreeMap<(PeerId, Vec<u8>), u32>;

/// Reads until so many different messages were heard.
async fn hear(heard: &mut Heard, different: usize, mut next: impl AsyncFnMut() -> (PeerId, Vec<u8>)) {
    while heard.len() < different {
        let message = tokio::time::timeout(PATIENCE, next()).await;
        let message = message.unwrap_or_else(|_| panic!("heard {} of {different} messages", heard.len()));
        *heard.entry(message).or_default() += 1;
    }
}

async fn hear_all(wharf: &mut [Wharf], foreign: &mut [Foreign], heard: &mut [Heard], sent: &[(PeerId, Vec<u8>)]) {
    let by_others = |own: PeerId| sent.iter().filter(|(author, _)| *author != own).count();
    let (by_wharf, by_foreign) = heard.split_at_mut(wharf.len());
    for (node, heard) in wharf.iter_mut().zip(by_wharf) {
        hear(heard, by_others(node.id()), async || node.heard().await).await;
    }
    for (peer, heard) in foreign.iter_mut().zip(by_foreign) {
        let different = by_others(peer.peer_id);
        hear(heard, different, async || peer.messages.recv().await.expect("the peer runs")).await;
    }
}

pub(crate) async fn signed_messages_reach_every_subscriber_once_through_peers_of_the_other_kind(mix: Mix) {
    const TOPIC: &str = "mixed";
    const NEIGHBOURS: [usize; 3] = [0, 1, 5];
    const BURST: u8 = 8;

    // Nobody hears of peers he was not connected to: the foreign peers speak DHT protocols of their own.
    let mut config = config();
    config.kad.server = false;
    let mut wharf: Vec<_> = join_all((0..HALF).map(|_| Wharf::start(&mix, config.clone(), Vec::new()))).await;
    let setup = |number| Setup { kad_protocol: format!("/{number}/kad/1.0.0"), ..Setup::default() };
    let mut foreign: Vec<_> = join_all((0..HALF).map(|number| Foreign::start(setup(number)))).await;

    // No two of a kind are neighbours, so that messages go through peers of both kinds in turn.
    for (at, node) in wharf.iter().enumerate() {
        node.registry.pubsub_subscribe(TOPIC.into()).await.unwrap();
        for step in NEIGHBOURS {
            let neighbour = &foreign[(at + step) % HALF];
            if at % 2 == 0 {
                node.registry.connect(neighbour.addr.clone()).await.unwrap();
            } else {
                neighbour.dial(node.addr());
            }
        }
    }
    for (at, peer) in foreign.iter().enumerate() {
        peer.subscribe(TOPIC);
        let mut neighbours = NEIGHBOURS.map(|step| wharf[(at + HALF - step) % HALF].id());
        neighbours.sort();
        eventually("the mesh is whole", async || peer.mesh(TOPIC).await == neighbours).await;
    }

    let mut sent = Vec::new();
    let small = |number| vec![number; 10];
    let large = |number: u8| vec![number; 20 * 1024];
    for (at, data) in [(0, small(1)), (HALF - 1, large(2))] {
        let to = wharf[at].registry.pubsub_publish(TOPIC.into(), data.clone().into()).await.unwrap();
        assert!(to > 0);
        sent.push((wharf[at].id(), data));
    }
    for (at, data) in [(0, small(3)), (HALF - 1, large(4))] {
        assert!(foreign[at].publish(TOPIC, &data).await);
        sent.push((foreign[at].peer_id, data));
    }
    for number in 0..BURST {
        let data = small(100 + number);
        wharf[3].registry.pubsub_publish(TOPIC.into(), data.clone().into()).await.unwrap();
        sent.push((wharf[3].id(), data.clone()));
        assert!(foreign[7].publish(TOPIC, &data).await);
        sent.push((foreign[7].peer_id, data));
    }
    let mut heard = vec![Heard::new(); 2 * HALF];
    hear_all(&mut wharf, &mut foreign, &mut heard, &sent).await;
    // A second round: what comes twice has come by its end.
    let data = small(5);
    wharf[6].registry.pubsub_publish(TOPIC.into(), data.clone().into()).await.unwrap();
    sent.push((wharf[6].id(), data.clone()));
    assert!(foreign[2].publish(TOPIC, &data).await);
    sent.push((foreign[2].peer_id, data));
    hear_all(&mut wharf, &mut foreign, &mut heard, &sent).await;

    let ids = wharf.iter().map(Wharf::id).chain(foreign.iter().map(|peer| peer.peer_id));
    for (own, heard) in ids.zip(heard) {
        assert_eq!(heard.len(), sent.iter().filter(|(author, _)| *author != own).count());
        for message in &sent {
            let times = heard.get(message).copied().unwrap_or(0);
            assert_eq!(times, u32::from(message.0 != own), "{message:?}");
        }
    }
    for node in &wharf {
        let peers = node.registry.peers().await.unwrap();
        assert_eq!(peers.len(), NEIGHBOURS.len());
        assert!(peers.iter().all(|peer| peer.offences == 0), "an honest peer was charged");
    }
}

pub(crate) async fn a_foreign_peer_is_identified_and_stays_connected_for_more_than_a_ping_interval(mix: Mix) {
    let mut config = config();
    config.kad.server = false;
    let node = Wharf::start(&mix, config, Vec::new()).await;
    let setup = Setup { ping_interval: Duration::from_millis(500), ..Setup::default() };
    let foreign = Foreign::start(setup).await;
    foreign.dial(node.addr());
    eventually("the connection is older than an interval of wharf's pings", async || {
        let peers = node.registry.peers().await.unwrap();
        peers.first().is_some_and(|peer| peer.connected_for > Duration::from_secs(16))
    })
    .await;

    let wharf = foreign.acquaintance(node.id()).await;
    assert_eq!(wharf.lost, 0);
    assert!(wharf.pongs >= 10, "{}", wharf.pongs);
    assert!(wharf.agent.starts_with("wharf/"), "{}", wharf.agent);
    for protocol in ["/meshsub/1.2.0", "/ipfs/bitswap/1.2.0", "/wharf/registry/1", "/ipfs/ping/1.0.0"] {
        assert!(wharf.protocols.iter().any(|served| served == protocol), "{:?}", wharf.protocols);
    }
    assert!(!wharf.protocols.iter().any(|served| served == "/wharf/kad/1.0.0"), "a client serves no DHT");

    let view = node.registry.peers().await.unwrap().remove(0);
    assert_eq!(view.peer.as_bytes(), foreign.peer_id.to_bytes());
    assert_eq!(view.agent, conformance::AGENT);
    assert!(view.protocols.kad && view.protocols.gossip == Some(GossipVersion::V1_2));
    assert_eq!(view.offences, 0);
}

pub(crate) async fn messages_as_large_as_either_side_sends_are_read_by_the_other(mix: Mix) {
    const TOPIC: &str = "large";
    const COUNT: u8 = 12;
    /// The most that libp2p-gossipsub sends by default is 64 KiB with all that goes with it.
    const LARGEST_FOREIGN: usize = 65_000;
    /// What wharf sends is less, since libp2p-gossipsub measures what follows in the same read too.
    const LARGEST: usize = 55_000;
    let mut node = Wharf::start(&mix, config(), Vec::new()).await;
    let mut foreign = Foreign::start(Setup::default()).await;
    node.registry.pubsub_subscribe(TOPIC.into()).await.unwrap();
    foreign.subscribe(TOPIC);
    foreign.dial(node.addr());
    eventually("the mesh is whole", async || foreign.mesh(TOPIC).await == [node.id()]).await;

    for number in 0..COUNT {
        assert!(foreign.publish(TOPIC, &vec![number; LARGEST_FOREIGN]).await);
    }
    let mut heard = Heard::new();
    hear(&mut heard, COUNT.into(), async || node.heard().await).await;
    assert!(heard.values().all(|times| *times == 1));
    for number in 0..COUNT {
        let sent = node.registry.pubsub_publish(TOPIC.into(), vec![number; LARGEST].into()).await;
        assert_eq!(sent.unwrap(), 1);
    }
    let mut heard = Heard::new();
    hear(&mut heard, COUNT.into(), async || foreign.messages.recv().await.expect("the peer runs")).await;
    assert!(heard.values().all(|times| *times == 1));

    let too_large = node.registry.pubsub_publish(TOPIC.into(), vec![0; LARGEST_FOREIGN].into()).await;
    assert!(matches!(too_large, Err(Error::Command(_))), "{too_large:?}");
    assert_eq!(node.registry.peers().await.unwrap()[0].offences, 0);
}

pub(crate) async fn a_new_connection_brings_everything_back(mix: Mix) {
    const TOPIC: &str = "again";
    const KEY: &[u8] = b"/test/again";
    let mut config = config();
    // It does not dial by itself.
    config.peers.min_connections = 0;
    let mut node = Wharf::start(&mix, config, Vec::new()).await;
    let mut foreign = Foreign::start(Setup { k: 1, ..Setup::default() }).await;
    node.registry.pubsub_subscribe(TOPIC.into()).await.unwrap();
    foreign.subscribe(TOPIC);
    let foreign_id = registry_core::PeerId::from_bytes(&foreign.peer_id.to_bytes()).unwrap();
    // More often than libp2p-gossipsub accepts streams on one connection.
    for round in 0..6 {
        if round % 2 == 0 {
            foreign.dial(node.addr());
        } else {
            assert_eq!(node.registry.connect(foreign.addr.clone()).await.unwrap(), foreign_id);
        }
        eventually("the mesh is whole", async || foreign.mesh(TOPIC).await == [node.id()]).await;
        eventually("pubsub is known to be spoken", async || {
            let peers = node.registry.peers().await.unwrap();
            peers.iter().any(|peer| peer.protocols.gossip.is_some())
        })
        .await;
        for peer in [Peer::Wharf(&node), Peer::Foreign(&foreign)] {
            eventually("the routing table is filled", async || peer.servers().await == 1).await;
        }

        assert!(foreign.publish(TOPIC, &[round]).await);
        assert_eq!(node.heard().await, (foreign.peer_id, vec![round]));
        let sent = node.registry.pubsub_publish(TOPIC.into(), vec![round].into()).await;
        assert_eq!(sent.unwrap(), 1);
        assert_eq!(foreign.messages.recv().await, Some((node.id(), vec![round])));
        assert!(foreign.put(KEY, &[round]).await);
        assert_eq!(Peer::Wharf(&node).get(KEY).await, Some(vec![round]));

        let lost = foreign.acquaintance(node.id()).await.lost;
        node.registry.disconnect(foreign_id).await.unwrap();
        // A lookup of either side may connect them again at once.
        eventually("the connection has ended", async || foreign.acquaintance(node.id()).await.lost > lost).await;
    }
}

pub(crate) async fn values_that_wharf_does_not_keep_are_refused_without_a_charge(mix: Mix) {
    let node = Wharf::start(&mix, config(), Vec::new()).await;
    let foreign = Foreign::start(Setup { k: 1, ..Setup::default() }).await;
    foreign.dial(node.addr());
    for peer in [Peer::Wharf(&node), Peer::Foreign(&foreign)] {
        eventually("the routing table is filled", async || peer.servers().await == 1).await;
    }
    // libp2p-kad takes any key, and any value that fits its frame of 16 KiB.
    for (key, len) in
        [(&b"/other/key"[..], 10), (b"key", 10), (b"\xff\xfe", 10), (b"/test/key", 0), (b"/test/key", 15_000)]
    {
        assert!(!foreign.put(key, &vec![7; len]).await, "{key:?} of {len} bytes");
    }
    assert!(foreign.put(b"/test/key", &[7; 10_000]).await);
    assert_eq!(Peer::Wharf(&node).get(b"/test/key").await, Some(vec![7; 10_000]));
    assert_eq!(node.registry.peers().await.unwrap()[0].offences, 0);
}
