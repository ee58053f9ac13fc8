//! The libp2p behaviour: connections in, frames both ways.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::channel::mpsc;
use libp2p_core::transport::{PortUse, TransportError};
use libp2p_core::{ConnectedPoint, Endpoint};
use libp2p_swarm::behaviour::{ConnectionEstablished, FromSwarm};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError as SwarmDialError, DialFailure,
    InvalidProtocol, NetworkBehaviour, NotifyHandler, StreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use multiaddr::{Multiaddr, Protocol as Part};
use registry_core::action::SendClass;
use registry_core::id::{DialId, RequestId, Token};
use registry_core::input::{DialError, Identity, RequestError, Side};
use registry_core::{Input, PeerId};

use super::handler::{FromBehaviour, Handler, Shared, ToBehaviour};
use super::protocols::Names;
use super::{ACTION_QUEUE, NetAction, NetConfig, NetInput, NetLink};

/// Actions moved per poll, so that connections get their turn.
const BUDGET: usize = 128;
/// Characters of a peer's agent string that are passed on.
const MAX_AGENT: usize = 128;
/// Addresses of a peer's identify that are passed on.
const MAX_ADDRS: usize = 32;

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum Refused {
    #[error("too many connections")]
    TooMany,
    #[error("too many connections with this peer")]
    TooManyOfPeer,
    #[error("a peer id of a kind this network does not know")]
    PeerId,
}

/// A dial under way, and the addresses that are tried.
#[derive(Debug)]
struct Dialling {
    dial: DialId,
    peer: Option<libp2p_identity::PeerId>,
    addrs: Vec<Multiaddr>,
}

/// Moves frames between a swarm and a node's loop. See [`NetLink`].
///
/// Put `libp2p_identify::Behaviour` beside it and pass on what identify learns with [`Behaviour::identified`]; without
/// that the node does not know what its peers speak.
#[derive(Debug)]
pub struct Behaviour {
    config: NetConfig,
    shared: Arc<Shared>,
    server: bool,
    actions: mpsc::Receiver<NetAction>,
    inputs: mpsc::UnboundedSender<NetInput>,
    /// Connections of each peer, oldest first: the oldest one carries everything.
    peers: HashMap<libp2p_identity::PeerId, Vec<ConnectionId>>,
    incoming: HashSet<ConnectionId>,
    pending_incoming: HashSet<ConnectionId>,
    dials: HashMap<ConnectionId, Dialling>,
    requests: HashMap<RequestId, ConnectionId>,
    /// Blocks on their way out.
    blocks: HashMap<ConnectionId, usize>,
    tokens: HashMap<Token, (libp2p_identity::PeerId, ConnectionId)>,
    queue: VecDeque<ToSwarm<Infallible, FromBehaviour>>,
}

impl Behaviour {
    /// A behaviour and the loop's end of its queues.
    ///
    /// # Errors
    /// When the configured DHT protocol does not start with a slash.
    pub fn new(config: NetConfig) -> Result<(Self, NetLink), InvalidProtocol> {
        let kad = StreamProtocol::try_from_owned(config.kad_protocol.clone())?;
        let (action_sender, actions) = mpsc::channel(ACTION_QUEUE);
        let (inputs, input_receiver) = mpsc::unbounded();
        let behaviour = Self {
            shared: Arc::new(Shared::new(Names::new(kad, config.registry))),
            server: config.server,
            config,
            actions,
            inputs,
            peers: HashMap::new(),
            incoming: HashSet::new(),
            pending_incoming: HashSet::new(),
            dials: HashMap::new(),
            requests: HashMap::new(),
            blocks: HashMap::new(),
            tokens: HashMap::new(),
            queue: VecDeque::new(),
        };
        Ok((behaviour, NetLink { actions: action_sender, inputs: input_receiver }))
    }

    /// Passes on what a connected peer says of itself, at first and when it changes.
    pub fn identified(
        &mut self,
        peer: libp2p_identity::PeerId,
        protocols: &[StreamProtocol],
        agent: &str,
        listen_addrs: &[Multiaddr],
    ) {
        let Some(peer) = core_id(&peer).filter(|_| self.peers.contains_key(&peer)) else { return };
        let info = Identity {
            protocols: self.shared.names.served(protocols),
            agent: agent.chars().take(MAX_AGENT).collect(),
            listen_addrs: listen_addrs.iter().take(MAX_ADDRS).cloned().collect(),
        };
        self.tell(Input::Identified { peer, info });
    }

    fn tell(&self, input: Input) {
        self.pass(NetInput::free(input));
    }

    fn pass(&self, input: NetInput) {
        // A swarm may outlive the node in it.
        let _ = self.inputs.unbounded_send(input);
    }

    fn act(&mut self, action: NetAction) {
        match action {
            NetAction::Dial { dial, peer, addrs } => self.dial(dial, peer, addrs),
            NetAction::Disconnect(peer) => {
                if let Some((peer, _)) = self.route(&peer) {
                    self.close(peer);
                }
            }
            NetAction::Send { peer, msg, class } => match self.route(&peer) {
                Some(to) => {
                    if class == SendClass::Block {
                        *self.blocks.entry(to.1).or_default() += 1;
                    }
                    self.notify(to, FromBehaviour::Send { msg, class });
                }
                None => self.tell(Input::SendDropped { peer, class }),
            },
            NetAction::Request { id, peer, msg } => match self.route(&peer) {
                Some(to) => {
                    self.requests.insert(id, to.1);
                    self.notify(to, FromBehaviour::Request { id, msg });
                }
                None => self.tell(Input::RequestFailed { id, why: RequestError::Disconnected }),
            },
            NetAction::Respond { token, msg } => {
                if let Some(to) = self.tokens.remove(&token) {
                    self.notify(to, FromBehaviour::Respond { token, msg });
                }
            }
            NetAction::SetServerMode(server) => self.set_server_mode(server),
        }
    }

    fn set_server_mode(&mut self, server: bool) {
        self.server = server;
        let all = self.peers.iter().flat_map(|(peer, ids)| ids.iter().map(|id| (*peer, *id)));
        for to in all.collect::<Vec<_>>() {
            self.notify(to, FromBehaviour::SetServerMode(server));
        }
    }

    /// The connection that carries everything to a peer.
    fn route(&self, peer: &PeerId) -> Option<(libp2p_identity::PeerId, ConnectionId)> {
        let peer = swarm_id(peer)?;
        self.peers.get(&peer)?.first().map(|id| (peer, *id))
    }

    fn close(&mut self, peer_id: libp2p_identity::PeerId) {
        self.queue.push_back(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All });
    }

    fn notify(&mut self, (peer_id, id): (libp2p_identity::PeerId, ConnectionId), event: FromBehaviour) {
        self.queue.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event });
    }

    fn dial(&mut self, dial: DialId, peer: Option<PeerId>, addrs: Vec<Multiaddr>) {
        let peer = match &peer {
            Some(peer) => swarm_id(peer),
            None => addrs.first().and_then(trailing_peer),
        };
        self.try_addrs(Dialling { dial, peer, addrs });
    }

    fn try_addrs(&mut self, dialling: Dialling) {
        let addrs = dialling.addrs.clone();
        // A new port for each: with a reused one, two nodes that dial each other at once open one TCP connection with
        // two dialers.
        let opts = match (dialling.peer, addrs.last()) {
            (_, None) => {
                return self.tell(Input::DialFailed { dial: dialling.dial, why: DialError::Unreachable });
            }
            // The core decides whom to dial when; the swarm's own conditions would only lose a dial.
            (Some(peer), Some(_)) => {
                DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addrs).allocate_new_port().build()
            }
            (None, Some(addr)) => DialOpts::unknown_peer_id().address(addr.clone()).allocate_new_port().build(),
        };
        self.dials.insert(opts.connection_id(), dialling);
        self.queue.push_back(ToSwarm::Dial { opts });
    }

    fn accept(&self, peer: &libp2p_identity::PeerId) -> Result<Handler, Refused> {
        let id = core_id(peer).ok_or(Refused::PeerId)?;
        if self.peers.get(peer).is_some_and(|ids| ids.len() >= self.config.max_per_peer) {
            return Err(Refused::TooManyOfPeer);
        }
        Ok(Handler::new(id, Arc::clone(&self.shared), self.server))
    }

    fn on_established(&mut self, established: &ConnectionEstablished<'_>) {
        let ConnectionEstablished { peer_id, connection_id, endpoint, .. } = established;
        self.pending_incoming.remove(connection_id);
        let Some(peer) = core_id(peer_id) else { return };
        let ids = self.peers.entry(*peer_id).or_default();
        ids.push(*connection_id);
        let first = ids.len() == 1;
        let dialled = self.dials.remove(connection_id).is_some();
        let (addr, side) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (without_peer(address), Side::Dialer),
            ConnectedPoint::Listener { send_back_addr, .. } => {
                self.incoming.insert(*connection_id);
                (without_peer(send_back_addr), Side::Listener)
            }
        };
        // A dial is always answered, also when the peer had connected by itself meanwhile.
        if first || dialled {
            self.tell(Input::Connected { peer, addr, side });
        }
    }

    fn on_closed(&mut self, closed: &ConnectionClosed<'_>) {
        let ConnectionClosed { peer_id, connection_id, .. } = closed;
        self.incoming.remove(connection_id);
        self.tokens.retain(|_, (_, id)| id != connection_id);
        let mut lost: Vec<_> =
            self.requests.extract_if(|_, id| id == connection_id).map(|(request, _)| request).collect();
        lost.sort_unstable();
        for id in lost {
            self.tell(Input::RequestFailed { id, why: RequestError::Disconnected });
        }
        if let (Some(blocks), Some(peer)) = (self.blocks.remove(connection_id), core_id(peer_id)) {
            let class = SendClass::Block;
            (0..blocks).for_each(|_| self.tell(Input::SendDropped { peer, class }));
        }
        let Some(ids) = self.peers.get_mut(peer_id) else { return };
        ids.retain(|id| id != connection_id);
        if ids.is_empty() {
            self.peers.remove(peer_id);
            if let Some(peer) = core_id(peer_id) {
                self.tell(Input::Disconnected { peer });
            }
        }
    }

    fn on_dial_failure(&mut self, failure: &DialFailure<'_>) {
        let Some(mut dialling) = self.dials.remove(&failure.connection_id) else { return };
        // The first to answer decides a dial of the swarm; the peer may be at another address all the same.
        if let SwarmDialError::WrongPeerId { address, .. } | SwarmDialError::LocalPeerId { address } = failure.error {
            let wrong = without_peer(address);
            let tried = dialling.addrs.len();
            dialling.addrs.retain(|addr| without_peer(addr) != wrong);
            if (1..tried).contains(&dialling.addrs.len()) {
                return self.try_addrs(dialling);
            }
        }
        self.tell(Input::DialFailed { dial: dialling.dial, why: dial_error(failure.error) });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending_incoming.len() >= self.config.max_pending_incoming {
            return Err(ConnectionDenied::new(Refused::TooMany));
        }
        self.pending_incoming.insert(id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: libp2p_identity::PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.incoming.len() >= self.config.max_incoming {
            return Err(ConnectionDenied::new(Refused::TooMany));
        }
        self.accept(&peer).map_err(ConnectionDenied::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        peer: libp2p_identity::PeerId,
        _addr: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.accept(&peer).map_err(ConnectionDenied::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.on_established(&established),
            FromSwarm::ConnectionClosed(closed) => self.on_closed(&closed),
            FromSwarm::DialFailure(failure) => self.on_dial_failure(&failure),
            FromSwarm::ListenFailure(failure) => {
                self.pending_incoming.remove(&failure.connection_id);
            }
            FromSwarm::NewListenAddr(new) => self.tell(Input::LocalAddr { addr: new.addr.clone(), up: true }),
            FromSwarm::ExternalAddrConfirmed(new) => self.tell(Input::LocalAddr { addr: new.addr.clone(), up: true }),
            FromSwarm::ExpiredListenAddr(old) => self.tell(Input::LocalAddr { addr: old.addr.clone(), up: false }),
            FromSwarm::ExternalAddrExpired(old) => self.tell(Input::LocalAddr { addr: old.addr.clone(), up: false }),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: libp2p_identity::PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let event = match event {
            ToBehaviour::Input(input) => input,
            // All of them: the node then hears of it, and tells the peer anew what was lost.
            ToBehaviour::Close => return self.close(peer),
        };
        match event.input() {
            Input::Request { token, .. } => {
                self.tokens.insert(*token, (peer, id));
            }
            Input::Sent { .. } | Input::SendDropped { class: SendClass::Block, .. } => match self.blocks.get_mut(&id) {
                Some(blocks) if *blocks > 1 => *blocks -= 1,
                _ => drop(self.blocks.remove(&id)),
            },
            // One that has failed already, with its connection, has had its answer.
            Input::Response { id, .. } | Input::RequestFailed { id, .. } if self.requests.remove(id).is_none() => {
                return;
            }
            _ => {}
        }
        self.pass(event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        for _ in 0..BUDGET {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(event);
            }
            match self.actions.poll_next_unpin(cx) {
                Poll::Ready(Some(action)) => self.act(action),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn core_id(peer: &libp2p_identity::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes()).ok()
}

/// `None` for an id of a kind the swarm does not know: of nobody who is connected.
pub(crate) fn swarm_id(peer: &PeerId) -> Option<libp2p_identity::PeerId> {
    libp2p_identity::PeerId::from_bytes(peer.as_bytes()).ok()
}

fn trailing_peer(addr: &Multiaddr) -> Option<libp2p_identity::PeerId> {
    match addr.iter().last() {
        Some(Part::P2p(peer)) => Some(peer),
        _ => None,
    }
}

fn without_peer(addr: &Multiaddr) -> Multiaddr {
    let mut addr = addr.clone();
    if trailing_peer(&addr).is_some() {
        addr.pop();
    }
    addr
}

fn dial_error(error: &SwarmDialError) -> DialError {
    match error {
        SwarmDialError::WrongPeerId { .. } | SwarmDialError::LocalPeerId { .. } => DialError::WrongPeer,
        SwarmDialError::NoAddresses => DialError::Unreachable,
        SwarmDialError::DialPeerConditionFalse(_) | SwarmDialError::Aborted | SwarmDialError::Denied { .. } => {
            DialError::Refused
        }
        SwarmDialError::Transport(attempts) => {
            let timed_out = |error: &TransportError<std::io::Error>| matches!(error, TransportError::Other(error) if is_timeout(error));
            let unsupported =
                |error: &TransportError<std::io::Error>| matches!(error, TransportError::MultiaddrNotSupported(_));
            if attempts.iter().all(|(_, error)| unsupported(error)) {
                DialError::Refused
            } else if attempts.iter().all(|(_, error)| timed_out(error)) {
                DialError::Timeout
            } else {
                DialError::Unreachable
            }
        }
    }
}

/// Transports wrap errors in errors, of I/O and of their own.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => {
            error.kind() == std::io::ErrorKind::TimedOut || error.get_ref().is_some_and(|inner| is_timeout(inner))
        }
        None => error.source().is_some_and(is_timeout),
    }
}
