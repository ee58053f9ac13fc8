//! A peer made of `libp2p-kad` and `libp2p-gossipsub`, on a thread of its own.

use std::sync::mpsc;

use futures::StreamExt;
use futures::channel::mpsc as orders;
use libp2p_core::Transport;
use libp2p_core::upgrade::Version;
use libp2p_gossipsub as gossipsub;
use libp2p_identity::Keypair;
use libp2p_kad as kad;
use libp2p_kad::store::{MemoryStore, RecordStore};
use libp2p_swarm::{NetworkBehaviour, StreamProtocol, Swarm, SwarmEvent};

pub(crate) const KAD: &str = "/ipfs/kad/1.0.0";
pub(crate) const AGENT: &str = "foreign/1";

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    gossipsub: gossipsub::Behaviour,
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
}

type Order = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

pub(crate) struct Foreign {
    pub(crate) peer_id: String,
    pub(crate) addr: String,
    /// Gossip it receives.
    pub(crate) messages: mpsc::Receiver<Vec<u8>>,
    orders: orders::UnboundedSender<Order>,
}

impl Foreign {
    /// A DHT server on a free port of the loopback interface, subscribed to `topic`. It ends with the last handle.
    pub(crate) fn start(topic: &'static str) -> Self {
        let key = Keypair::generate_ed25519();
        let peer_id = key.public().to_peer_id().to_string();
        let (ready, addr) = mpsc::channel();
        let (heard, messages) = mpsc::channel();
        let (orders, mut inbox) = orders::unbounded::<Order>();
        let run = async move {
            let mut swarm = swarm(&key);
            swarm.behaviour_mut().gossipsub.subscribe(&gossipsub::IdentTopic::new(topic)).unwrap();
            loop {
                tokio::select! {
                    order = inbox.next() => match order {
                        Some(order) => order(&mut swarm),
                        None => return,
                    },
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::NewListenAddr { address, .. } => ready.send(address.to_string()).unwrap(),
                        SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. })) => {
                            // A test that is over does not listen.
                            let _ = heard.send(message.data);
                        }
                        _ => {}
                    },
                }
            }
        };
        std::thread::spawn(move || on_tokio(run));
        Self { peer_id, addr: addr.recv().unwrap(), messages, orders }
    }

    /// The value it keeps under a key.
    pub(crate) fn record(&self, key: &str) -> Option<Vec<u8>> {
        let key = kad::RecordKey::new(&key);
        self.with(move |swarm| swarm.behaviour_mut().kad.store_mut().get(&key).map(|record| record.value.clone()))
    }

    /// Puts a value into its store.
    pub(crate) fn keep(&self, key: &str, value: &[u8]) {
        let record = kad::Record::new(key.as_bytes().to_vec(), value.to_vec());
        self.with(|swarm| swarm.behaviour_mut().kad.store_mut().put(record)).unwrap();
    }

    /// The providers it keeps of a key.
    pub(crate) fn providers(&self, key: &[u8]) -> Vec<String> {
        let key = kad::RecordKey::new(&key);
        let records = self.with(move |swarm| swarm.behaviour_mut().kad.store_mut().providers(&key));
        records.iter().map(|record| record.provider.to_string()).collect()
    }

    pub(crate) fn publish(&self, topic: &str, data: &[u8]) {
        let (topic, data) = (gossipsub::IdentTopic::new(topic), data.to_vec());
        self.with(|swarm| swarm.behaviour_mut().gossipsub.publish(topic, data)).unwrap();
    }

    /// Does something with its swarm.
    fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Swarm<Behaviour>) -> T + Send + 'static) -> T {
        let (reply, answer) = mpsc::channel();
        let order: Order = Box::new(move |swarm| reply.send(act(swarm)).unwrap());
        self.orders.unbounded_send(order).unwrap();
        answer.recv().unwrap()
    }
}

fn swarm(key: &Keypair) -> Swarm<Behaviour> {
    let peer_id = key.public().to_peer_id();
    let mut kad =
        kad::Behaviour::with_config(peer_id, MemoryStore::new(peer_id), kad::Config::new(StreamProtocol::new(KAD)));
    kad.set_mode(Some(kad::Mode::Server));
    let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
    let identify = libp2p_identify::Config::new("ipfs/0.1.0".into(), key.public()).with_agent_version(AGENT.into());
    let behaviour = Behaviour {
        kad,
        gossipsub: gossipsub::Behaviour::new(signed, gossipsub::Config::default()).unwrap(),
        identify: libp2p_identify::Behaviour::new(identify),
        ping: libp2p_ping::Behaviour::default(),
    };
    join(key, behaviour)
}

/// A swarm on the loopback interface, inside a tokio runtime.
fn join<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let config = libp2p_swarm::Config::with_executor(|task| {
        tokio::spawn(task);
    });
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    swarm
}

/// A peer that speaks nothing at all; gives its address, and serves until the test is over.
pub(crate) fn mute() -> String {
    let (ready, addr) = mpsc::channel();
    let run = async move {
        let mut swarm = join(&Keypair::generate_ed25519(), libp2p_swarm::dummy::Behaviour);
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                ready.send(address.to_string()).unwrap();
            }
        }
    };
    std::thread::spawn(move || on_tokio(run));
    addr.recv().unwrap()
}

fn on_tokio(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
}
