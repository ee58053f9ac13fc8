//! Putting a node together, and taking it apart.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use libp2p_core::transport::ListenerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use multiaddr::Multiaddr;
use registry_core::{Config, Node, Seed, Start};

use crate::crypto::CryptoThreads;
use crate::driver::{Driver, Parts};
use crate::error::Error;
use crate::events::{Notice, Reader, Subscription};
use crate::handle::Registry;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::net::{Behaviour, NetConfig};
use crate::runtime::{Clock, Runtime, Tasks};
use crate::store::{Store, StoreFault};
use crate::swarm::{self, NodeBehaviour};
use crate::view::View;

/// Answers of the workers that wait for the loop.
const REPLY_QUEUE: usize = 64;
/// Requests of handles that wait for the loop.
const ASK_QUEUE: usize = 128;

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
        let clock = Clock::start();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::from)?;

        let store = Store::open(&self.store)?;
        let peers = &self.config.peers;
        let net = NetConfig {
            server: self.config.kad.server,
            registry: self.config.role.duties().catalogue,
            max_incoming: 2 * peers.max_connections,
            ..self.net
        };
        let (behaviour, link) = Behaviour::new(net).map_err(|_| Error::KadProtocol)?;
        let (tasks, gone) = Tasks::new(Arc::clone(&runtime));
        let transport = runtime.transport(self.keys.node())?;
        let mut swarm = swarm::build(transport, self.keys.node(), behaviour, self.agent, tasks.clone());
        let pinger = swarm.behaviour().pings.pinger();
        let view = View::default();
        for addr in self.listen {
            listen_on(&mut swarm, addr, &view).await?;
        }

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
            link,
            replies,
            store,
            crypto,
            asks: ask_receiver,
            cancels: cancel_receiver,
        });

        let jobs = Jobs::new(tasks.alive());
        let blocks = Arc::new(Mutex::new(Some(blocks)));
        let (stopped_sender, stopped) = oneshot::channel();
        let (stop_swarm, swarm_stopped) = oneshot::channel();
        tasks.spawn(run_swarm(swarm, swarm_stopped, view.clone()));
        drop(tasks);
        let registry = Registry {
            asks,
            cancels,
            stopped: stopped.shared(),
            jobs: jobs.clone(),
            blocks: Arc::clone(&blocks),
            view,
            pinger,
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
            close(driver, gone).await;
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
