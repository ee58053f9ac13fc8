//! A peer made of `libp2p-kad` and `libp2p-gossipsub`: what wharf must be able to live with.

use std::collections::HashMap;
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

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    gossipsub: gossipsub::Behaviour,
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
}

/// A running foreign peer; it ends when dropped.
pub(crate) struct Foreign {
    pub(crate) peer_id: PeerId,
    pub(crate) addr: Multiaddr,
    orders: mpsc::UnboundedSender<Order>,
    pub(crate) messages: mpsc::UnboundedReceiver<(PeerId, Vec<u8>)>,
}

enum Order {
    Dial(Multiaddr),
    Put(Vec<u8>, Vec<u8>, oneshot::Sender<bool>),
    Get(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
    Provide(Vec<u8>, oneshot::Sender<bool>),
    Providers(Vec<u8>, oneshot::Sender<Vec<PeerId>>),
    Stored(oneshot::Sender<usize>),
    Subscribe(String),
    Publish(String, Vec<u8>, oneshot::Sender<bool>),
    Subscribers(String, oneshot::Sender<usize>),
}

/// What a running query answers.
enum Waiting {
    Done(oneshot::Sender<bool>),
    Value(oneshot::Sender<Option<Vec<u8>>>),
    Providers(oneshot::Sender<Vec<PeerId>>, Vec<PeerId>),
}

impl Foreign {
    /// Starts a peer on a free port of the loopback interface, a DHT server under `kad_protocol`.
    pub(crate) async fn start(kad_protocol: &'static str) -> Self {
        let key = Keypair::generate_ed25519();
        let mut swarm = swarm(&key, kad_protocol);
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let addr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        swarm.add_external_address(addr.clone());
        let (orders, inbox) = mpsc::unbounded_channel();
        let (heard, messages) = mpsc::unbounded_channel();
        let peer_id = key.public().to_peer_id();
        tokio::spawn(run(swarm, inbox, heard));
        Self { peer_id, addr, orders, messages }
    }

    pub(crate) fn dial(&self, addr: Multiaddr) {
        self.order(Order::Dial(addr));
    }

    pub(crate) async fn put(&self, key: &[u8], value: &[u8]) -> bool {
        self.ask(|reply| Order::Put(key.to_vec(), value.to_vec(), reply)).await
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.ask(|reply| Order::Get(key.to_vec(), reply)).await
    }

    pub(crate) async fn provide(&self, key: &[u8]) -> bool {
        self.ask(|reply| Order::Provide(key.to_vec(), reply)).await
    }

    pub(crate) async fn providers(&self, key: &[u8]) -> Vec<PeerId> {
        self.ask(|reply| Order::Providers(key.to_vec(), reply)).await
    }

    /// Records others have put here.
    pub(crate) async fn stored(&self) -> usize {
        self.ask(Order::Stored).await
    }

    pub(crate) fn subscribe(&self, topic: &str) {
        self.order(Order::Subscribe(topic.to_string()));
    }

    /// False when it has nobody to send to.
    pub(crate) async fn publish(&self, topic: &str, data: &[u8]) -> bool {
        self.ask(|reply| Order::Publish(topic.to_string(), data.to_vec(), reply)).await
    }

    /// Peers it knows to be subscribed.
    pub(crate) async fn subscribers(&self, topic: &str) -> usize {
        self.ask(|reply| Order::Subscribers(topic.to_string(), reply)).await
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

fn swarm(key: &Keypair, kad_protocol: &'static str) -> Swarm<Behaviour> {
    let peer_id = key.public().to_peer_id();
    let mut config = kad::Config::new(libp2p_swarm::StreamProtocol::new(kad_protocol));
    config.set_query_timeout(Duration::from_secs(20));
    let mut kad = kad::Behaviour::with_config(peer_id, MemoryStore::new(peer_id), config);
    kad.set_mode(Some(kad::Mode::Server));
    let gossip = gossipsub::ConfigBuilder::default().heartbeat_initial_delay(Duration::ZERO).build().unwrap();
    let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
    let behaviour = Behaviour {
        kad,
        gossipsub: gossipsub::Behaviour::new(signed, gossip).unwrap(),
        identify: libp2p_identify::Behaviour::new(libp2p_identify::Config::new("ipfs/0.1.0".into(), key.public())),
        ping: libp2p_ping::Behaviour::default(),
    };
    let transport = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let config = libp2p_swarm::Config::with_executor(|task| {
        tokio::spawn(task);
    });
    Swarm::new(transport, behaviour, peer_id, config.with_idle_connection_timeout(Duration::from_secs(600)))
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    heard: mpsc::UnboundedSender<(PeerId, Vec<u8>)>,
) {
    let mut waiting = HashMap::new();
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(order) => obey(&mut swarm, &mut waiting, order),
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(event) => on_event(&mut swarm, &mut waiting, &heard, event),
                _ => {}
            },
        }
    }
}

fn obey(swarm: &mut Swarm<Behaviour>, waiting: &mut HashMap<kad::QueryId, Waiting>, order: Order) {
    let Behaviour { kad, gossipsub, .. } = swarm.behaviour_mut();
    // A test that no longer waits for the answer has dropped the receiver.
    match order {
        Order::Dial(addr) => swarm.dial(addr).unwrap(),
        Order::Put(key, value, reply) => {
            let query = kad.put_record(kad::Record::new(key, value), kad::Quorum::One).unwrap();
            waiting.insert(query, Waiting::Done(reply));
        }
        Order::Get(key, reply) => {
            waiting.insert(kad.get_record(key.into()), Waiting::Value(reply));
        }
        Order::Provide(key, reply) => {
            waiting.insert(kad.start_providing(key.into()).unwrap(), Waiting::Done(reply));
        }
        Order::Providers(key, reply) => {
            waiting.insert(kad.get_providers(key.into()), Waiting::Providers(reply, Vec::new()));
        }
        Order::Stored(reply) => drop(reply.send(kad.store_mut().records().count())),
        Order::Subscribe(topic) => {
            gossipsub.subscribe(&gossipsub::IdentTopic::new(topic)).unwrap();
        }
        Order::Publish(topic, data, reply) => {
            let sent = gossipsub.publish(gossipsub::IdentTopic::new(topic), data);
            drop(reply.send(sent.is_ok()));
        }
        Order::Subscribers(topic, reply) => {
            let topic = gossipsub::IdentTopic::new(topic).hash();
            let count = gossipsub.all_peers().filter(|(_, topics)| topics.contains(&&topic)).count();
            drop(reply.send(count));
        }
    }
}

fn on_event(
    swarm: &mut Swarm<Behaviour>,
    waiting: &mut HashMap<kad::QueryId, Waiting>,
    heard: &mpsc::UnboundedSender<(PeerId, Vec<u8>)>,
    event: BehaviourEvent,
) {
    match event {
        BehaviourEvent::Identify(libp2p_identify::Event::Received { peer_id, info, .. }) => {
            if info.protocols.iter().any(|protocol| swarm.behaviour().kad.protocol_names().contains(protocol)) {
                for addr in info.listen_addrs {
                    swarm.behaviour_mut().kad.add_address(&peer_id, addr);
                }
            }
        }
        BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. }) => {
            drop(heard.send((message.source.expect("strict signing"), message.data)));
        }
        BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
            on_result(waiting, id, result, step.last);
        }
        _ => {}
    }
}

fn on_result(waiting: &mut HashMap<kad::QueryId, Waiting>, id: kad::QueryId, result: kad::QueryResult, last: bool) {
    let Some(mut state) = waiting.remove(&id) else { return };
    match (&mut state, result) {
        (_, kad::QueryResult::PutRecord(outcome)) => return finish_bool(state, outcome.is_ok()),
        (_, kad::QueryResult::StartProviding(outcome)) => return finish_bool(state, outcome.is_ok()),
        (_, kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found)))) => {
            if let Waiting::Value(reply) = state {
                drop(reply.send(Some(found.record.value)));
            }
            return;
        }
        (Waiting::Providers(_, found), kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. }))) => {
            found.extend(providers);
        }
        _ => {}
    }
    match state {
        Waiting::Providers(reply, found) if last => drop(reply.send(found)),
        Waiting::Value(reply) if last => drop(reply.send(None)),
        state => drop(waiting.insert(id, state)),
    }
}

fn finish_bool(state: Waiting, ok: bool) {
    if let Waiting::Done(reply) = state {
        drop(reply.send(ok));
    }
}
