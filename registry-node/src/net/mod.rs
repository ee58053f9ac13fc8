//! The network side of a node: a libp2p behaviour that moves frames, and nothing else.
//!
//! [`Behaviour`] is one [`NetworkBehaviour`](libp2p_swarm::NetworkBehaviour) that a user can put beside his own in his
//! own swarm. [`NetLink`] joins it to the loop: a bounded queue of actions one way, and inputs the other way, which each
//! connection's credit bounds. Neither side ever waits for the other while it holds anything.

mod behaviour;
mod credit;
mod frame;
mod handler;
mod oneway;
mod protocols;
mod requests;

use futures::channel::mpsc;
use multiaddr::Multiaddr;
use registry_core::action::SendClass;
use registry_core::id::{DialId, RequestId, Token};
use registry_core::wire::KAD_PROTOCOL;
use registry_core::{Input, Message, PeerId};

pub use behaviour::Behaviour;
pub(crate) use behaviour::swarm_id;
pub(crate) use frame::within;
pub use handler::{FromBehaviour, Handler, ToBehaviour};

use credit::Permit;

/// Actions queued for the behaviour before the loop waits.
const ACTION_QUEUE: usize = 1024;

/// Names and limits of the network side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetConfig {
    /// The DHT's protocol id; `/ipfs/kad/1.0.0` joins an IPFS-style network.
    pub kad_protocol: String,
    /// Serve the DHT from the start; [`SetServerMode`](registry_core::action::Action::SetServerMode) changes it.
    pub server: bool,
    /// Serve catalogue and searches.
    pub registry: bool,
    /// Connections being secured at one time, started by others. Each costs some 10 KiB for at most ten seconds.
    pub max_pending_incoming: usize,
    /// Connections started by others.
    pub max_incoming: usize,
    /// Connections with one peer: two after a simultaneous dial, and dead ones of its earlier runs.
    pub max_per_peer: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            kad_protocol: KAD_PROTOCOL.into(),
            server: true,
            registry: true,
            max_pending_incoming: 1536,
            max_incoming: 400,
            max_per_peer: 4,
        }
    }
}

/// The actions that concern the network.
#[derive(Clone, Debug)]
pub enum NetAction {
    /// [`Action::Dial`](registry_core::action::Action::Dial)
    Dial {
        /// Comes back in `DialFailed`.
        dial: DialId,
        /// The expected peer.
        peer: Option<PeerId>,
        /// Where to try.
        addrs: Vec<Multiaddr>,
    },
    /// [`Action::Disconnect`](registry_core::action::Action::Disconnect)
    Disconnect(PeerId),
    /// [`Action::Send`](registry_core::action::Action::Send)
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        msg: Message,
        /// What to drop first.
        class: SendClass,
    },
    /// [`Action::Request`](registry_core::action::Action::Request)
    Request {
        /// Comes back in the answer.
        id: RequestId,
        /// To whom.
        peer: PeerId,
        /// What to ask.
        msg: Message,
    },
    /// [`Action::Respond`](registry_core::action::Action::Respond)
    Respond {
        /// Of the request.
        token: Token,
        /// The answer.
        msg: Option<Message>,
    },
    /// [`Action::SetServerMode`](registry_core::action::Action::SetServerMode)
    SetServerMode(bool),
}

/// Something that happened on the network. It counts against its connection's credit until it is taken apart.
#[derive(Debug)]
pub struct NetInput {
    input: Input,
    permit: Option<Permit>,
}

impl NetInput {
    fn free(input: Input) -> Self {
        Self { input, permit: None }
    }

    /// What happened.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Takes the input and gives the credit back.
    pub fn into_input(self) -> Input {
        drop(self.permit);
        self.input
    }
}

/// The loop's end of the queues between it and the behaviour.
#[derive(Debug)]
pub struct NetLink {
    /// Bounded; the loop takes no further input while it is full.
    pub actions: mpsc::Sender<NetAction>,
    /// Bounded by the connections' credit.
    pub inputs: mpsc::UnboundedReceiver<NetInput>,
}
