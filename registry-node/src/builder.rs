//! Putting a node together, and taking it apart.

use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, StreamExt};
use libp2p_core::transport::ListenerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use multiaddr::{Multiaddr, Protocol as Part};
use registry_core::{Config, Node, Seed, Start};

use crate::crypto::CryptoThreads;
use crate::driver::{Driver, Parts};
use crate::error::Error;
use crate::events::{Notice, Reader, Subscription};
use crate::handle::Registry;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::net::{Behaviour, NetConfig, NetLink};
use crate::ping::{self, Pinger};
use crate::runtime::{Clock, Runtime, Tasks};
use crate::store::{Store, StoreFault};
use crate::swarm::{self, NodeBehaviour};
use crate::view::View;

/// Answers of the workers that wait for the loop.
const REPLY_QUEUE: usize = 64;
/// Requests of handles that wait for the loop.
const ASK_QUEUE: usize = 128;

/// The network side of a node that is about to start.
struct Net {
    link: NetLink,
    tasks: Tasks,
    gone: mpsc::Receiver<std::convert::Infallible>,
    view: View,
    pinger: Pinger,
    /// Its own swarm, and what ends it.
    swarm: Option<(BoxFuture<'static, ()>, oneshot::Sender<()>)>,
}

/// See [`Registry::builder`].
#[derive(Debug)]
pub struct Builder {
    store: PathBuf,
    keys: Keys,
    config: Config,
    net: NetConfig,
    agent: String,
    listen: Vec<Multiaddr>,
    bootstrap: Vec<Multiaddr>,
}

impl Builder {
    pub(crate) fn new(store: PathBuf, keys: Keys) -> Self {
        Self {
            store,
            keys,
            config: Config::default(),
            net: NetConfig::default(),
            agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).into(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
        }
    }

    /// The core's configuration.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Names and limits of the network side. What is served and `max_incoming` follow from [`Builder::config`].
    #[must_use]
    pub fn net(self, net: NetConfig) -> Self {
        Self { net, ..self }
    }

    /// What peers are told this program is.
    #[must_use]
    pub fn agent(self, agent: impl Into<String>) -> Self {
        Self { agent: agent.into(), ..self }
    }

    /// Where to listen; none by default.
    #[must_use]
    pub fn listen(self, listen: Vec<Multiaddr>) -> Self {
        Self { listen, ..self }
    }

    /// Entrances to the network.
    #[must_use]
    pub fn bootstrap(self, bootstrap: Vec<Multiaddr>) -> Self {
        Self { bootstrap, ..self }
    }

    /// Starts the node. It listens, has read its store and accepts commands when this returns.
    ///
    /// # Errors
    /// When the store is in use or damaged, an address cannot be listened on, or the system refuses threads.
    pub async fn start(self, runtime: impl Runtime) -> Result<Registry, Error> {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let store = Store::open(&self.store)?;
        self.listen.iter().try_for_each(check_vacant)?;
        let (behaviour, link) = self.behaviour()?;
        let (tasks, gone) = Tasks::new(Arc::clone(&runtime));
        let transport = runtime.transport(self.keys.node())?;
        let mut swarm = swarm::build(transport, self.keys.node(), behaviour, self.agent.clone(), tasks.clone());
        let pinger = swarm.behaviour().pings.pinger();
        let view = View::default();
        for addr in &self.listen {
            listen_on(&mut swarm, addr.clone(), &view).await?;
        }
        let (stop, stopped) = oneshot::channel();
        let run = run_swarm(swarm, stopped, view.clone());
        self.launch(runtime, store, Net { link, tasks, gone, view, pinger, swarm: Some((run.boxed(), stop)) }).await
    }

    /// Starts the node without a swarm: the behaviour goes into one of the program's own, beside its others, with the same
    /// node key. That swarm listens and dials for the node, and what its identify learns is passed on with
    /// [`Behaviour::identified`]; addresses and agent given to this builder are not used, and [`Registry::ping`],
    /// [`Registry::identify`] and [`Registry::listen_addrs`] know nothing. The node stops when the behaviour is dropped.
    ///
    /// # Errors
    /// When the store is in use or damaged, or the system refuses threads.
    pub async fn embed(self, runtime: impl Runtime) -> Result<(Registry, Behaviour), Error> {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let store = Store::open(&self.store)?;
        let (behaviour, link) = self.behaviour()?;
        let (tasks, gone) = Tasks::new(Arc::clone(&runtime));
        let pinger = ping::Behaviour::default().pinger();
        let net = Net { link, tasks, gone, view: View::default(), pinger, swarm: None };
        Ok((self.launch(runtime, store, net).await?, behaviour))
    }

    fn behaviour(&self) -> Result<(Behaviour, NetLink), Error> {
        let net = NetConfig {
            server: self.config.kad.server,
            registry: self.config.role.duties().catalogue,
            max_incoming: 2 * self.config.peers.max_connections,
            ..self.net.clone()
        };
        Behaviour::new(net).map_err(|_| Error::KadProtocol)
    }

    /// Starts everything but the network.
    async fn launch(self, runtime: Arc<dyn Runtime>, store: Store, net: Net) -> Result<Registry, Error> {
        self.keys.begin_in(&store)?;
        let clock = Clock::start();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::from)?;
        let (reply_sender, replies) = mpsc::channel(REPLY_QUEUE);
        let blocks = store.blocks();
        let crypto = CryptoThreads::start(self.keys.signing(), &reply_sender)?;
        let (store, fault) = store.start(reply_sender)?;
        let start = Start { now: clock.now(), unix: clock.unix() };
        let node = Node::new(Arc::new(self.config), self.keys.local_peer(), Seed(seed), start);
        let (asks, ask_receiver) = mpsc::channel(ASK_QUEUE);
        let (cancels, cancel_receiver) = mpsc::unbounded();
        let mut driver = Driver::new(Parts {
            node,
            clock,
            runtime: Arc::clone(&runtime),
            link: net.link,
            replies,
            store,
            crypto,
            asks: ask_receiver,
            cancels: cancel_receiver,
        });

        let jobs = Jobs::new(net.tasks.alive());
        let blocks = Arc::new(Mutex::new(Some(blocks)));
        let (stopped_sender, stopped) = oneshot::channel();
        let stop_swarm = net.swarm.map(|(run, stop)| {
            net.tasks.spawn(run);
            stop
        });
        drop(net.tasks);
        let registry = Registry {
            asks,
            cancels,
            stopped: stopped.shared(),
            jobs: jobs.clone(),
            blocks: Arc::clone(&blocks),
            view: net.view,
            pinger: net.pinger,
            peer_id: self.keys.peer_id(),
            publisher_id: self.keys.publisher_id(),
        };
        let (reader, events) = Reader::new();
        driver.add_reader(reader);
        runtime.spawn(Box::pin(async move {
            (&mut driver).await;
            jobs.close();
            drop(stop_swarm);
            blocks.lock().unwrap_or_else(PoisonError::into_inner).take();
            close(driver, net.gone).await;
            let _ = stopped_sender.send(());
        }));

        registry.ready(events, fault).await?;
        if !self.bootstrap.is_empty() {
            registry.bootstrap(self.bootstrap).await?;
        }
        Ok(registry)
    }
}

impl Registry {
    async fn ready(&self, events: Subscription, fault: oneshot::Receiver<StoreFault>) -> Result<(), Error> {
        let ready = events
            .filter(|notice| futures::future::ready(matches!(notice, Notice::Event(registry_core::Event::Ready))));
        let fault = fault.then(|fault| async {
            match fault {
                Ok(fault) => fault,
                // The store has read everything.
                Err(_) => futures::future::pending().await,
            }
        });
        match select(pin!(ready.into_future()), pin!(fault)).await {
            Either::Left(((Some(_), _), _)) => Ok(()),
            Either::Left(((None, _), _)) => Err(Error::NotRunning),
            Either::Right((fault, _)) => {
                self.shutdown().await;
                Err(fault.into())
            }
        }
    }
}

/// Waits for all tasks and joins all threads.
async fn close(driver: Driver, mut gone: mpsc::Receiver<std::convert::Infallible>) {
    let (mut store, mut crypto) = driver.into_workers();
    while gone.next().await.is_some() {}
    let (done, closed) = oneshot::channel();
    let joined = std::thread::Builder::new().name("wharf-close".into()).spawn(move || {
        crypto.close();
        store.close();
        let _ = done.send(());
    });
    if joined.is_ok() {
        let _ = closed.await;
    }
}

/// libp2p's TCP shares ports (`SO_REUSEPORT`): it would listen where another node of the same user does, and each of them
/// would get some of the connections.
fn check_vacant(addr: &Multiaddr) -> Result<(), Error> {
    let mut parts = addr.iter();
    let host = match parts.next() {
        Some(Part::Ip4(ip)) => IpAddr::V4(ip),
        Some(Part::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    let Some(Part::Tcp(port)) = parts.next() else { return Ok(()) };
    let taken = |reason: std::io::Error| Error::Listen { addr: addr.clone(), reason: reason.to_string() };
    TcpListener::bind((host, port)).map(drop).map_err(taken)
}

async fn listen_on(swarm: &mut Swarm<NodeBehaviour>, addr: Multiaddr, view: &View) -> Result<(), Error> {
    let failed = |reason: String| Error::Listen { addr: addr.clone(), reason };
    let listener: ListenerId = swarm.listen_on(addr.clone()).map_err(|error| failed(error.to_string()))?;
    loop {
        let event = swarm.select_next_some().await;
        view.note(&event);
        match &event {
            SwarmEvent::NewListenAddr { listener_id, .. } if *listener_id == listener => return Ok(()),
            SwarmEvent::ListenerError { listener_id, error } if *listener_id == listener => {
                return Err(failed(error.to_string()));
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if *listener_id == listener => {
                return Err(failed(format!("{reason:?}")));
            }
            _ => swarm::handle_event(swarm, &event),
        }
    }
}

async fn run_swarm(mut swarm: Swarm<NodeBehaviour>, mut stop: oneshot::Receiver<()>, view: View) {
    loop {
        match select(swarm.next(), &mut stop).await {
            Either::Left((Some(event), _)) => {
                swarm::handle_event(&mut swarm, &event);
                // Last, so that whoever waits for it finds the node told as well.
                view.note(&event);
            }
            Either::Left((None, _)) | Either::Right(_) => return view.close(),
        }
    }
}
