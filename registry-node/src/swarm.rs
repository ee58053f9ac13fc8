//! The whole swarm of a node: our behaviour beside identify and ping.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::Transport;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::transport::timeout::TransportTimeoutError;
use libp2p_core::upgrade::Version;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::derive_prelude::ConnectionId;
use libp2p_swarm::{Config, Executor, NetworkBehaviour, Swarm, SwarmEvent};

use crate::net::Behaviour;
use crate::ping;

/// For the TCP handshake, noise and yamux together.
const UPGRADE_TIME: Duration = Duration::from_secs(10);
/// Streams of one connection, both directions: all inbound and outbound limits of [`crate::net`] and some room.
const MAX_STREAMS: usize = 128;
/// As every libp2p network says it.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

/// Our behaviour beside identify and ping.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude", to_swarm = "NodeEvent")]
pub struct NodeBehaviour {
    /// Ours.
    pub wharf: Behaviour,
    /// Tells peers what we speak; its answers feed [`Behaviour::identified`].
    pub identify: libp2p_identify::Behaviour,
    /// js-libp2p admits only peers that answer it, and a peer that does not answer ours is gone.
    pub ping: libp2p_ping::Behaviour,
    /// Pings of the application.
    pub pings: ping::Behaviour,
}

/// What the parts of [`NodeBehaviour`] report; ours reports to its loop instead.
#[derive(Debug)]
pub enum NodeEvent {
    /// Of identify.
    Identify(Box<libp2p_identify::Event>),
    /// Of ping.
    Ping(libp2p_ping::Event),
}

impl From<Infallible> for NodeEvent {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<libp2p_identify::Event> for NodeEvent {
    fn from(event: libp2p_identify::Event) -> Self {
        Self::Identify(Box::new(event))
    }
}

impl From<libp2p_ping::Event> for NodeEvent {
    fn from(event: libp2p_ping::Event) -> Self {
        Self::Ping(event)
    }
}

/// Secures and multiplexes a transport of byte streams: noise, then yamux.
///
/// # Errors
/// When the keypair cannot sign.
pub fn secure<T>(transport: T, keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let noise = libp2p_noise::Config::new(keypair).map_err(io::Error::other)?;
    let mut yamux = libp2p_yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let secured = transport.upgrade(Version::V1).authenticate(noise).multiplex(yamux).timeout(UPGRADE_TIME);
    let timeout_of_io = |error| match error {
        TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
        other => io::Error::other(other),
    };
    Ok(secured.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).map_err(timeout_of_io).boxed())
}

/// A swarm whose connections run on `executor`.
pub fn build(
    transport: Boxed<(PeerId, StreamMuxerBox)>,
    keypair: &Keypair,
    wharf: Behaviour,
    agent: String,
    executor: impl Executor + Send + 'static,
) -> Swarm<NodeBehaviour> {
    let identify = libp2p_identify::Config::new(PROTOCOL_VERSION.into(), keypair.public())
        .with_agent_version(agent)
        .with_push_listen_addr_updates(true)
        // The core keeps the addresses.
        .with_cache_size(0);
    let behaviour = NodeBehaviour {
        wharf,
        identify: libp2p_identify::Behaviour::new(identify),
        ping: libp2p_ping::Behaviour::default(),
        pings: ping::Behaviour::default(),
    };
    Swarm::new(transport, behaviour, keypair.public().to_peer_id(), Config::with_executor(executor))
}

/// Does what the swarm leaves to its owner: tells our behaviour what identify learnt, and closes connections that do not
/// answer pings.
pub fn handle_event(swarm: &mut Swarm<NodeBehaviour>, event: &SwarmEvent<NodeEvent>) {
    match event {
        SwarmEvent::Behaviour(NodeEvent::Identify(event)) => {
            if let libp2p_identify::Event::Received { peer_id, info, .. } = &**event {
                let wharf = &mut swarm.behaviour_mut().wharf;
                wharf.identified(*peer_id, &info.protocols, &info.agent_version, &info.listen_addrs);
            }
        }
        SwarmEvent::Behaviour(NodeEvent::Ping(ping)) => {
            if let Some(dead) = dead_connection(ping) {
                swarm.close_connection(dead);
            }
        }
        _ => {}
    }
}

fn dead_connection(ping: &libp2p_ping::Event) -> Option<ConnectionId> {
    matches!(ping.result, Err(libp2p_ping::Failure::Timeout)).then_some(ping.connection)
}
