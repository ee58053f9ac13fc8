//! A peer made of `libp2p-kad` and `libp2p-gossipsub`: what wharf must be able to live with.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::StreamExt;
use libp2p_core::{Transport, upgrade};
use libp2p_gossipsub as gossipsub;
use libp2p_identity::{Keypair, PeerId};
use libp2p_kad as kad;
use libp2p_kad::store::{MemoryStore, RecordStore};
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use multiaddr::Multiaddr;
use tokio::sync::{mpsc, oneshot};

/// What a foreign peer calls itself.
pub const AGENT: &str = "foreign/1";
/// A busy machine is no reason to drop messages.
const QUEUED: Duration = Duration::from_secs(60);

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    gossipsub: gossipsub::Behaviour,
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
}

/// A running foreign peer; it ends when dropped.
pub struct Foreign {
    pub peer_id: PeerId,
    pub addr: Multiaddr,
    orders: mpsc::UnboundedSender<Order>,
    pub messages: mpsc::UnboundedReceiver<(PeerId, Vec<u8>)>,
}

enum Order {
    Dial(Multiaddr),
    Put(Vec<u8>, Vec<u8>, oneshot::Sender<bool>),
    Get(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
    Closest(Vec<u8>, oneshot::Sender<Vec<PeerId>>),
    Provide(Vec<u8>, oneshot::Sender<bool>),
    Providers(Vec<u8>, oneshot::Sender<Vec<PeerId>>),
    StopProviding(Vec<u8>, oneshot::Sender<()>),
    Stored(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
    Store(Vec<u8>, Vec<u8>, oneshot::Sender<bool>),
    StoredProviders(Vec<u8>, oneshot::Sender<Vec<PeerId>>),
    Servers(oneshot::Sender<usize>),
    Subscribe(String),
    Publish(String, Vec<u8>, oneshot::Sender<bool>),
    Mesh(String, oneshot::Sender<Vec<PeerId>>),
    Acquaintance(PeerId, oneshot::Sender<Acquaintance>),
}

/// How a foreign peer is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kad_protocol: String,
    /// Bucket size and replication.
    pub k: usize,
    pub provider_ttl: Duration,
    pub ping_interval: Duration,
    pub bootstrap_interval: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            kad_protocol: "/wharf/kad/1.0.0".into(),
            k: 20,
            provider_ttl: Duration::from_secs(48 * 3600),
            ping_interval: Duration::from_secs(15),
            // What a busy machine made a first lookup miss is found soon, not after five minutes.
            bootstrap_interval: Duration::from_secs(5),
        }
    }
}

/// What it knows of a peer.
#[derive(Clone, Debug, Default)]
pub struct Acquaintance {
    /// Pings it has answered since it was last connected.
    pub pongs: u32,
    /// How often its last connection ended.
    pub lost: u32,
    pub agent: String,
    pub protocols: Vec<String>,
}

/// What a running query answers.
enum Waiting {
    Done(oneshot::Sender<bool>),
    Value(oneshot::Sender<Option<Vec<u8>>>),
    Closest(oneshot::Sender<Vec<PeerId>>),
    Providers(oneshot::Sender<Vec<PeerId>>, Vec<PeerId>),
}

impl Foreign {
    /// Starts a peer on a free port of the loopback interface, a DHT server.
    pub async fn start(setup: Setup) -> Self {
        let key = Keypair::generate_ed25519();
        let (mut swarm, addr) = listen(&key, behaviour(&key, setup)).await;
        swarm.add_external_address(addr.clone());
        let (orders, inbox) = mpsc::unbounded_channel();
        let (heard, messages) = mpsc::unbounded_channel();
        let peer_id = key.public().to_peer_id();
        let state = State { swarm, heard, waiting: HashMap::new(), acquaintances: HashMap::new() };
        tokio::spawn(state.run(inbox));
        Self { peer_id, addr, orders, messages }
    }

    pub fn dial(&self, addr: Multiaddr) {
        self.order(Order::Dial(addr));
    }

    /// Brings a value to the closest peers; true when most of them have taken it.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> bool {
        self.ask(|reply| Order::Put(key.to_vec(), value.to_vec(), reply)).await
    }

    pub async fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.ask(|reply| Order::Get(key.to_vec(), reply)).await
    }

    /// The closest peers that answered.
    pub async fn closest(&self, key: &[u8]) -> Vec<PeerId> {
        self.ask(|reply| Order::Closest(key.to_vec(), reply)).await
    }

    pub async fn provide(&self, key: &[u8]) -> bool {
        self.ask(|reply| Order::Provide(key.to_vec(), reply)).await
    }

    pub async fn providers(&self, key: &[u8]) -> Vec<PeerId> {
        self.ask(|reply| Order::Providers(key.to_vec(), reply)).await
    }

    pub async fn stop_providing(&self, key: &[u8]) {
        self.ask(|reply| Order::StopProviding(key.to_vec(), reply)).await;
    }

    /// The value in its own store.
    pub async fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.ask(|reply| Order::Stored(key.to_vec(), reply)).await
    }

    /// Puts a value into its own store; false when that is full.
    pub async fn store(&self, key: &[u8], value: &[u8]) -> bool {
        self.ask(|reply| Order::Store(key.to_vec(), value.to_vec(), reply)).await
    }

    /// The providers in its own store.
    pub async fn stored_providers(&self, key: &[u8]) -> Vec<PeerId> {
        self.ask(|reply| Order::StoredProviders(key.to_vec(), reply)).await
    }

    /// Peers in its routing table.
    pub async fn servers(&self) -> usize {
        self.ask(Order::Servers).await
    }

    pub fn subscribe(&self, topic: &str) {
        self.order(Order::Subscribe(topic.to_string()));
    }

    /// False when it has nobody to send to.
    pub async fn publish(&self, topic: &str, data: &[u8]) -> bool {
        self.ask(|reply| Order::Publish(topic.to_string(), data.to_vec(), reply)).await
    }

    /// Its mesh of a topic, in ascending order.
    pub async fn mesh(&self, topic: &str) -> Vec<PeerId> {
        self.ask(|reply| Order::Mesh(topic.to_string(), reply)).await
    }

    pub async fn acquaintance(&self, peer: PeerId) -> Acquaintance {
        self.ask(|reply| Order::Acquaintance(peer, reply)).await
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (reply, answer) = oneshot::channel();
        self.order(order(reply));
        answer.await.expect("the foreign peer runs")
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap_or_else(|_| panic!("the foreign peer runs"));
    }
}

/// A peer that accepts connections and speaks no protocol on them, until the runtime ends. Gives its address.
pub async fn mute() -> Multiaddr {
    let (mut swarm, addr) = listen(&Keypair::generate_ed25519(), libp2p_swarm::dummy::Behaviour).await;
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    addr
}

fn behaviour(key: &Keypair, setup: Setup) -> Behaviour {
    let peer_id = key.public().to_peer_id();
    let protocol = libp2p_swarm::StreamProtocol::try_from_owned(setup.kad_protocol).unwrap();
    let k = NonZeroUsize::new(setup.k).unwrap();
    let mut config = kad::Config::new(protocol);
    config.set_kbucket_size(k).set_replication_factor(k);
    config.set_query_timeout(Duration::from_secs(20)).set_provider_record_ttl(Some(setup.provider_ttl));
    config.set_periodic_bootstrap_interval(Some(setup.bootstrap_interval));
    let mut kad = kad::Behaviour::with_config(peer_id, MemoryStore::new(peer_id), config);
    kad.set_mode(Some(kad::Mode::Server));
    let gossip = gossipsub::ConfigBuilder::default()
        .heartbeat_initial_delay(Duration::ZERO)
        .publish_queue_duration(QUEUED)
        .forward_queue_duration(QUEUED)
        .build()
        .unwrap();
    let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
    let identify = libp2p_identify::Config::new("ipfs/0.1.0".into(), key.public()).with_agent_version(AGENT.into());
    Behaviour {
        kad,
        gossipsub: gossipsub::Behaviour::new(signed, gossip).unwrap(),
        identify: libp2p_identify::Behaviour::new(identify),
        ping: libp2p_ping::Behaviour::new(libp2p_ping::Config::new().with_interval(setup.ping_interval)),
    }
}

/// A swarm on a free port of the loopback interface, and its address there.
async fn listen<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> (Swarm<B>, Multiaddr) {
    let transport = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let config = libp2p_swarm::Config::with_executor(|task| {
        tokio::spawn(task);
    });
    let config = config.with_idle_connection_timeout(Duration::from_secs(600));
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return (swarm, address);
        }
    }
}

/// A test that no longer waits for an answer has dropped its receiver.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}

/// All of the closest were asked, and more than half have stored the value.
fn most_stored(outcome: &kad::PutRecordResult) -> bool {
    match outcome {
        Ok(_) => true,
        Err(
            kad::PutRecordError::QuorumFailed { success, quorum, .. }
            | kad::PutRecordError::Timeout { success, quorum, .. },
        ) => 2 * success.len() > quorum.get(),
    }
}

struct State {
    swarm: Swarm<Behaviour>,
    heard: mpsc::UnboundedSender<(PeerId, Vec<u8>)>,
    waiting: HashMap<kad::QueryId, Waiting>,
    acquaintances: HashMap<PeerId, Acquaintance>,
}

impl State {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                event = self.swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(event) => self.on_event(event),
                    SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                        let acquaintance = self.acquaintances.entry(peer_id).or_default();
                        acquaintance.pongs = 0;
                        acquaintance.lost += 1;
                    }
                    _ => {}
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let Behaviour { kad, gossipsub, .. } = self.swarm.behaviour_mut();
        match order {
            Order::Dial(addr) => self.swarm.dial(addr).unwrap(),
            Order::Put(key, value, reply) => {
                let query = kad.put_record(kad::Record::new(key, value), kad::Quorum::All).unwrap();
                self.waiting.insert(query, Waiting::Done(reply));
            }
            Order::Get(key, reply) => {
                self.waiting.insert(kad.get_record(key.into()), Waiting::Value(reply));
            }
            Order::Closest(key, reply) => {
                self.waiting.insert(kad.get_closest_peers(key), Waiting::Closest(reply));
            }
            Order::Provide(key, reply) => {
                self.waiting.insert(kad.start_providing(key.into()).unwrap(), Waiting::Done(reply));
            }
            Order::Providers(key, reply) => {
                self.waiting.insert(kad.get_providers(key.into()), Waiting::Providers(reply, Vec::new()));
            }
            Order::StopProviding(key, reply) => {
                kad.stop_providing(&key.into());
                answer(reply, ());
            }
            Order::Stored(key, reply) => {
                answer(reply, kad.store_mut().get(&key.into()).map(|record| record.value.clone()));
            }
            Order::Store(key, value, reply) => {
                answer(reply, kad.store_mut().put(kad::Record::new(key, value)).is_ok());
            }
            Order::StoredProviders(key, reply) => {
                let providers = kad.store_mut().providers(&key.into());
                answer(reply, providers.into_iter().map(|record| record.provider).collect());
            }
            Order::Servers(reply) => answer(reply, kad.kbuckets().map(|bucket| bucket.num_entries()).sum()),
            Order::Subscribe(topic) => {
                gossipsub.subscribe(&gossipsub::IdentTopic::new(topic)).unwrap();
            }
            Order::Publish(topic, data, reply) => {
                let sent = gossipsub.publish(gossipsub::IdentTopic::new(topic), data);
                answer(reply, sent.is_ok());
            }
            Order::Mesh(topic, reply) => {
                let mut mesh: Vec<_> =
                    gossipsub.mesh_peers(&gossipsub::IdentTopic::new(topic).hash()).copied().collect();
                mesh.sort();
                answer(reply, mesh);
            }
            Order::Acquaintance(peer, reply) => answer(reply, self.acquaintances.entry(peer).or_default().clone()),
        }
    }

    fn on_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(libp2p_identify::Event::Received { peer_id, info, .. }) => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                if info.protocols.iter().any(|protocol| kad.protocol_names().contains(protocol)) {
                    for addr in info.listen_addrs {
                        kad.add_address(&peer_id, addr);
                    }
                }
                let acquaintance = self.acquaintances.entry(peer_id).or_default();
                acquaintance.agent = info.agent_version;
                acquaintance.protocols = info.protocols.iter().map(ToString::to_string).collect();
            }
            BehaviourEvent::Ping(libp2p_ping::Event { peer, result: Ok(_), .. }) => {
                self.acquaintances.entry(peer).or_default().pongs += 1;
            }
            BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. }) => {
                // A test that is over does not listen.
                let _ = self.heard.send((message.source.expect("strict signing"), message.data));
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                self.on_result(id, result, step.last);
            }
            _ => {}
        }
    }

    fn on_result(&mut self, id: kad::QueryId, result: kad::QueryResult, last: bool) {
        let Some(state) = self.waiting.remove(&id) else { return };
        match (state, result) {
            (Waiting::Done(reply), kad::QueryResult::PutRecord(outcome)) => answer(reply, most_stored(&outcome)),
            (Waiting::Done(reply), kad::QueryResult::StartProviding(outcome)) => answer(reply, outcome.is_ok()),
            (Waiting::Value(reply), kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found)))) => {
                answer(reply, Some(found.record.value));
            }
            (Waiting::Closest(reply), kad::QueryResult::GetClosestPeers(outcome)) => {
                let peers = match outcome {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                answer(reply, peers.into_iter().map(|peer| peer.peer_id).collect());
            }
            (Waiting::Value(reply), _) if last => answer(reply, None),
            (Waiting::Providers(reply, mut found), result) => {
                if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) =
                    result
                {
                    found.extend(providers);
                }
                if last {
                    answer(reply, found);
                } else {
                    self.waiting.insert(id, Waiting::Providers(reply, found));
                }
            }
            (state, _) => drop(self.waiting.insert(id, state)),
        }
    }
}
