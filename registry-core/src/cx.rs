//! What a machine is lent for the length of one call.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Action, SendClass, SignatureCheck, SigningKey, StoreRequest};
use crate::catalog::LocalPublisher;
use crate::config::Config;
use crate::event::Event;
use crate::id::{JobId, Owner, PeerId, PeerIx, RequestId, StoreId, Token};
use crate::peers::{Offence, Peers};
use crate::rng::Rng;
use crate::time::{Instant, UnixTime};
use crate::wire::Message;

/// The public side of the node's identities; the shell holds the keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalPeer {
    /// The node's libp2p id.
    pub id: PeerId,
    /// Its public key, protobuf-encoded.
    pub public_key: Bytes,
    /// The publisher this node signs for, if any.
    pub publisher: Option<LocalPublisher>,
}

/// The queue of actions and the counter that names them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    actions: VecDeque<Action>,
    next_id: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// Lent to a machine: time, configuration, its own random stream, the peer book and the outbox.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) unix: UnixTime,
    pub(crate) config: &'a Config,
    pub(crate) local: &'a LocalPeer,
    pub(crate) rng: &'a mut Rng,
    pub(crate) peers: &'a mut Peers,
    pub(crate) out: &'a mut Outbox,
}

impl Cx<'_> {
    /// Sends a one-way message to a connected peer; nothing happens when it is not connected.
    pub(crate) fn send(&mut self, peer: PeerIx, msg: impl Into<Message>, class: SendClass) {
        if self.peers.is_connected(peer)
            && let Some(peer) = self.peers.id(peer)
        {
            self.out.push(Action::Send { peer, msg: msg.into(), class });
        }
    }

    /// Sends a one-way message, dialling first when needed; dropped when the peer cannot be reached.
    pub(crate) fn notify(&mut self, peer: PeerIx, msg: impl Into<Message>) {
        self.peers.notify(self.now, self.config, self.out, peer, msg.into());
    }

    /// Sends a request, dialling first when needed. Always ends in a response or a failure, never within this call.
    pub(crate) fn request(&mut self, owner: Owner, peer: PeerIx, msg: impl Into<Message>) -> RequestId {
        let id = RequestId::new(owner, self.out.next_id());
        self.peers.request(self.now, self.config, self.out, peer, id, msg.into());
        id
    }

    /// Answers a peer's request; `None` closes its stream.
    pub(crate) fn respond(&mut self, token: Token, msg: Option<Message>) {
        self.out.push(Action::Respond { token, msg });
    }

    pub(crate) fn store(&mut self, owner: Owner, request: StoreRequest) -> StoreId {
        let op = StoreId::new(owner, self.out.next_id());
        self.out.push(Action::Store { op, request });
        op
    }

    pub(crate) fn verify(&mut self, owner: Owner, checks: Vec<SignatureCheck>) -> JobId {
        let job = JobId::new(owner, self.out.next_id());
        self.out.push(Action::Verify { job, checks });
        job
    }

    pub(crate) fn sign(&mut self, owner: Owner, key: SigningKey, bytes: Bytes) -> JobId {
        let job = JobId::new(owner, self.out.next_id());
        self.out.push(Action::Sign { job, key, bytes });
        job
    }

    pub(crate) fn hash(&mut self, owner: Owner, data: Bytes) -> JobId {
        let job = JobId::new(owner, self.out.next_id());
        self.out.push(Action::Hash { job, data });
        job
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.out.push(Action::Emit(event));
    }

    /// Charges a peer for breaking a rule; enough of it bans the peer.
    pub(crate) fn charge(&mut self, peer: PeerIx, offence: Offence) {
        self.peers.charge(self.now, self.config, self.out, peer, offence);
    }
}
