//! Round trips on demand: libp2p-ping measures at its own pace, and tells nobody but the swarm's owner.
//!
//! The behaviour only opens streams; whoever asked for one speaks on it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::channel::{mpsc, oneshot};
use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use libp2p_core::Endpoint;
use libp2p_core::transport::PortUse;
use libp2p_core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p_identity::PeerId;
use libp2p_ping::PROTOCOL_NAME;
use libp2p_swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound};
use libp2p_swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, ToSwarm,
};
use multiaddr::Multiaddr;

use crate::error::{Error, PeerError};
use crate::net::within;

/// For opening the stream and the round trip together.
const PING_TIME: Duration = Duration::from_secs(10);
/// Bytes each way.
const PING_SIZE: usize = 32;
/// Asked-for streams that wait for the swarm.
const ASK_QUEUE: usize = 16;

/// Where a stream, or the reason why there is none, goes. Dropped when the peer is not connected.
type Reply = oneshot::Sender<Result<Stream, PeerError>>;

/// Asks the swarm for ping streams. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pinger(mpsc::Sender<(PeerId, Reply)>);

impl Pinger {
    /// One round trip on a stream of its own; opening it does not count.
    pub(crate) async fn ping(&self, peer: PeerId) -> Result<Duration, Error> {
        within(PING_TIME, self.ping_patiently(peer)).await.unwrap_or(Err(PeerError::Silent.into()))
    }

    async fn ping_patiently(&self, peer: PeerId) -> Result<Duration, Error> {
        let (reply, stream) = oneshot::channel();
        self.0.clone().send((peer, reply)).await.map_err(|_| Error::NotRunning)?;
        let stream = stream.await.map_err(|_| PeerError::NotConnected)??;
        Ok(round_trip(stream).await.map_err(|_| PeerError::Lost)?)
    }
}

async fn round_trip(mut stream: Stream) -> io::Result<Duration> {
    let mut sent = [0; PING_SIZE];
    getrandom::fill(&mut sent)?;
    let started = Instant::now();
    stream.write_all(&sent).await?;
    stream.flush().await?;
    let mut received = [0; PING_SIZE];
    stream.read_exact(&mut received).await?;
    let took = started.elapsed();
    if received != sent {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The answer is there; how the stream ends says nothing more.
    let _ = stream.close().await;
    Ok(took)
}

/// Opens the streams a [`Pinger`] asks for. Answering pings is left to `libp2p_ping`.
#[derive(Debug)]
pub struct Behaviour {
    asks: mpsc::Receiver<(PeerId, Reply)>,
    pinger: Pinger,
}

impl Behaviour {
    pub(crate) fn pinger(&self) -> Pinger {
        self.pinger.clone()
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        let (sender, asks) = mpsc::channel(ASK_QUEUE);
        Self { asks, pinger: Pinger(sender) }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, never: Infallible) {
        match never {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Reply>> {
        match self.asks.poll_next_unpin(cx) {
            Poll::Ready(Some((peer_id, event))) => {
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// One connection's asked-for streams.
#[derive(Debug, Default)]
pub struct Handler(VecDeque<Reply>);

impl ConnectionHandler for Handler {
    type FromBehaviour = Reply;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Reply, Infallible>> {
        match self.0.pop_front() {
            Some(reply) => {
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL_NAME), reply);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.0.push_back(reply);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, DeniedUpgrade, Self::OutboundProtocol, (), Reply>) {
        let (reply, outcome) = match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                (info, Ok(stream))
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => (info, Err(refusal(&error))),
            _ => return,
        };
        // The asker may be gone.
        let _ = reply.send(outcome);
    }
}

fn refusal(error: &StreamUpgradeError<Infallible>) -> PeerError {
    match error {
        StreamUpgradeError::Timeout => PeerError::Silent,
        StreamUpgradeError::NegotiationFailed => PeerError::Unsupported,
        StreamUpgradeError::Io(_) => PeerError::Lost,
        StreamUpgradeError::Apply(never) => match *never {},
    }
}
