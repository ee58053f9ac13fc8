//! Networks of equal size in this process, everybody connected with everybody over loopback TCP, noise and yamux: of
//! wharf's nodes, and of nodes built on `libp2p-kad` and `libp2p-gossipsub`. Both have k = 20 and meshes of 6.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conformance::{Foreign, Setup};
use cpu_time::ProcessTime;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use registry_core::command::DhtCommand;
use registry_core::event::DhtResult;
use registry_core::{Config, Event};
use registry_node::{Keys, Notice, Registry};
use runtime_tokio::Tokio;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// What both networks gossip about.
const TOPIC: &str = "bench";
/// Longer than a mesh needs to form, and the ends of all handshakes to be worked off.
const SETTLE: Duration = Duration::from_secs(12);
const IDLE: Duration = Duration::from_secs(10);
/// Upkeep of routing tables would fall into one measurement and not into the other.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Payloads that a node receives.
pub(crate) type Heard = BoxStream<'static, Bytes>;

pub(crate) trait Network: Sized {
    const NAME: &'static str;

    /// Subscribed to the topic.
    async fn start(nodes: usize) -> Result<(Self, Vec<Heard>), Box<dyn Error>>;

    /// The number of closest peers that a node found.
    async fn closest(&self, node: usize, key: &[u8]) -> Result<usize, Box<dyn Error>>;

    async fn publish(&self, node: usize, data: Vec<u8>) -> Result<(), Box<dyn Error>>;
}

pub(crate) struct Wharf {
    nodes: Vec<Registry>,
    _dir: TempDir,
}

impl Network for Wharf {
    const NAME: &'static str = "wharf";

    async fn start(count: usize) -> Result<(Self, Vec<Heard>), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let (mut nodes, mut heard) = (Vec::<Registry>::new(), Vec::new());
        let mut config = Config::default();
        config.kad.refresh_interval = registry_core::Duration::from_secs(NEVER.as_secs());
        for number in 0..count {
            let node = Registry::builder(dir.path().join(number.to_string()), Keys::ephemeral())
                .config(config.clone())
                .listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?])
                .start(Tokio::current())
                .await?;
            node.pubsub_subscribe(TOPIC.into()).await?;
            heard.push(node.subscribe().await?.filter_map(payload).boxed());
            for other in &nodes {
                node.connect(other.listen_addrs().remove(0)).await?;
            }
            nodes.push(node);
        }
        Ok((Self { nodes, _dir: dir }, heard))
    }

    async fn closest(&self, node: usize, key: &[u8]) -> Result<usize, Box<dyn Error>> {
        match self.nodes[node].dht(DhtCommand::Closest(Bytes::copy_from_slice(key))).await? {
            DhtResult::Closest { peers, .. } => Ok(peers.len()),
            other => Err(format!("{other:?}").into()),
        }
    }

    async fn publish(&self, node: usize, data: Vec<u8>) -> Result<(), Box<dyn Error>> {
        self.nodes[node].pubsub_publish(TOPIC.into(), data.into()).await?;
        Ok(())
    }
}

async fn payload(notice: Notice) -> Option<Bytes> {
    match notice {
        Notice::Event(Event::PubsubMessage { data, .. }) => Some(data),
        _ => None,
    }
}

pub(crate) struct Rival(Vec<Foreign>);

impl Network for Rival {
    const NAME: &'static str = "libp2p";

    async fn start(count: usize) -> Result<(Self, Vec<Heard>), Box<dyn Error>> {
        let (mut nodes, mut heard) = (Vec::<Foreign>::new(), Vec::new());
        for _ in 0..count {
            let mut node = Foreign::start(Setup { bootstrap_interval: NEVER, ..Setup::default() }).await;
            node.subscribe(TOPIC);
            let mut messages = std::mem::replace(&mut node.messages, mpsc::unbounded_channel().1);
            heard.push(stream::poll_fn(move |cx| messages.poll_recv(cx)).map(|(_, data)| data.into()).boxed());
            for other in &nodes {
                node.dial(other.addr.clone());
            }
            nodes.push(node);
        }
        Ok((Self(nodes), heard))
    }

    async fn closest(&self, node: usize, key: &[u8]) -> Result<usize, Box<dyn Error>> {
        Ok(self.0[node].closest(key).await.len())
    }

    async fn publish(&self, node: usize, data: Vec<u8>) -> Result<(), Box<dyn Error>> {
        if self.0[node].publish(TOPIC, &data).await { Ok(()) } else { Err("refused to publish".into()) }
    }
}

/// Both networks at rest, and what they hear.
pub(crate) struct Arena {
    pub(crate) wharf: (Wharf, Vec<Heard>),
    pub(crate) rival: (Rival, Vec<Heard>),
    pub(crate) idle: Idle,
}

impl Arena {
    pub(crate) async fn start(nodes: usize) -> Result<Self, Box<dyn Error>> {
        let wharf = Wharf::start(nodes).await?;
        let alone = Idle::measure().await;
        let rival = Rival::start(nodes).await?;
        let idle = Idle::measure().await;
        println!("idle: {nodes} wharf nodes {:.1} %, both networks {:.1} % of a core", 100.0 * alone.0, 100.0 * idle.0);
        Ok(Self { wharf, rival, idle })
    }
}

/// The share of a core that the networks take without a task.
#[derive(Clone, Copy)]
pub(crate) struct Idle(f64);

impl Idle {
    async fn measure() -> Self {
        tokio::time::sleep(SETTLE).await;
        let meter = Self(0.0).meter();
        tokio::time::sleep(IDLE).await;
        Self(meter.read().0 / IDLE.as_secs_f64())
    }

    /// Starts to measure.
    pub(crate) fn meter(self) -> Meter {
        Meter { cpu: ProcessTime::now(), clock: Instant::now(), idle: self }
    }
}

/// Processor time of the process.
pub(crate) struct Meter {
    cpu: ProcessTime,
    clock: Instant,
    idle: Idle,
}

impl Meter {
    /// Seconds, in all and without the idle share.
    pub(crate) fn read(&self) -> (f64, f64) {
        let gross = self.cpu.elapsed().as_secs_f64();
        (gross, gross - self.idle.0 * self.clock.elapsed().as_secs_f64())
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
