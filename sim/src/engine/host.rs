//! One virtual machine: a node when it runs, and what outlives it.

use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use registry_core::catalog::LocalPublisher;
use registry_core::id::{RequestId, Token};
use registry_core::input::{GossipVersion, Identity, ProtocolSet};
use registry_core::{Digest, LocalPeer, Node, PeerId, Role};
use serde::{Deserialize, Serialize};

use super::conditions::Clock;
use super::{NodeIx, Options};
use crate::crypto::KeyPair;
use crate::disk::Disk;
use crate::mix::{Keyed, LookupTable};
use crate::net::{Link, ephemeral_addr, listen_addr};
use crate::scenario::Scenario;

/// How a machine without a running node looks from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Down {
    /// The process is gone: connections are reset, dials refused.
    Refusing,
    /// The machine is gone: connections hang until noticed, dials time out.
    Silent,
}

/// A peer's request that this node has not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    pub(super) peer: NodeIx,
    pub(super) conn: u64,
    /// `None` when nobody waits for the answer.
    pub(super) id: Option<RequestId>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Host {
    pub(super) node: Option<Box<Node>>,
    /// Counts starts; what belongs to an earlier life is dropped.
    pub(super) life: u32,
    pub(super) down: Down,
    pub(super) local: LocalPeer,
    /// Who it was before, each with the number of the last connection of that time.
    pub(super) former: Vec<(u64, PeerId)>,
    pub(super) node_key: KeyPair,
    pub(super) publisher_key: Option<KeyPair>,
    pub(super) addr: Multiaddr,
    pub(super) ephemeral: Multiaddr,
    pub(super) disk: Disk,
    pub(super) links: LookupTable<NodeIx, Link>,
    /// Own requests without an answer, and whom they went to.
    pub(super) pending: BTreeMap<RequestId, NodeIx>,
    pub(super) tokens: BTreeMap<Token, Inbound>,
    pub(super) next_token: u64,
    /// Counts the events this node has caused.
    pub(super) seq: u64,
    pub(super) wake_at: Option<u64>,
    pub(super) wake_queued: Option<u64>,
    /// Advertises the DHT protocol.
    pub(super) server: bool,
    pub(super) role: Role,
    pub(super) clock: Clock,
    /// Has never been an attacker's.
    pub(super) honest: bool,
    /// Has damaged what it sent.
    pub(super) garbles: bool,
}

impl Host {
    pub(super) fn new(scenario: &Scenario, seed: u64, options: &Options, ix: NodeIx, publishes: bool) -> Self {
        let node_key = KeyPair::derive(seed, "node-key", ix);
        let publisher_key = publishes.then(|| KeyPair::derive(seed, "publisher-key", ix));
        let local = LocalPeer {
            id: node_key.peer_id(),
            public_key: node_key.public_protobuf(),
            publisher: publisher_key.as_ref().map(|key| publisher(key, seed, ix)),
        };
        let mut disk = Disk::default();
        disk.write(&local.publisher.iter().map(LocalPublisher::origin).collect::<Vec<_>>());
        Self {
            node: None,
            life: 0,
            down: Down::Refusing,
            local,
            former: Vec::new(),
            node_key,
            publisher_key,
            addr: listen_addr(ix),
            ephemeral: ephemeral_addr(ix, 0),
            disk,
            links: LookupTable::with_hasher(Keyed(options.hasher_key)),
            pending: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            seq: 0,
            wake_at: None,
            wake_queued: None,
            server: false,
            role: scenario.role(ix),
            clock: Clock::default(),
            honest: true,
            garbles: false,
        }
    }

    /// It runs.
    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// It runs and advertises the DHT protocol.
    pub fn is_server(&self) -> bool {
        self.is_up() && self.server
    }

    /// What it does for others.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How often it was started before.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// The address its outbound connections come from.
    pub fn dials_from(&self) -> &Multiaddr {
        &self.ephemeral
    }

    /// The node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.local.id
    }

    /// Who it was, or is, at its end of this connection.
    pub(super) fn peer_id_on(&self, conn: u64) -> PeerId {
        let former = self.former.iter().find(|(last, _)| conn <= *last);
        former.map_or(self.local.id, |(_, id)| *id)
    }

    /// It was this peer before.
    pub(super) fn has_been(&self, peer: &PeerId) -> bool {
        self.former.iter().any(|(_, id)| id == peer)
    }

    /// It has lost its disk before, or was moved, and is not who it was.
    pub fn is_another(&self) -> bool {
        !self.former.is_empty()
    }

    /// The public side of its identities.
    pub fn local(&self) -> &LocalPeer {
        &self.local
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Connected peers, in ascending order.
    pub fn peers(&self) -> Vec<NodeIx> {
        self.links().into_iter().map(|(peer, _)| peer).collect()
    }

    /// It knows of an open connection to that node.
    pub fn is_connected(&self, peer: NodeIx) -> bool {
        self.links.get(&peer).is_some_and(|link| link.up)
    }

    /// Connections, counted.
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    /// Connections, by the peer's number.
    pub(super) fn links(&self) -> Vec<(NodeIx, Link)> {
        let mut links: Vec<_> = self.links.iter().map(|(peer, link)| (*peer, *link)).collect();
        links.sort_unstable_by_key(|(peer, _)| *peer);
        links
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            protocols: ProtocolSet {
                kad: self.server,
                gossip: Some(GossipVersion::V1_2),
                bitswap: true,
                registry: self.role.duties().catalogue,
            },
            agent: "wharf-sim".into(),
            listen_addrs: vec![self.addr.clone()],
        }
    }
}

/// A publisher with one key, whose next key is of the seed too.
pub(crate) fn publisher(key: &KeyPair, seed: u64, ix: NodeIx) -> LocalPublisher {
    let next = Digest::of(&KeyPair::derive(seed, "next-publisher-key", ix).public());
    let signature = key.sign(&LocalPublisher::signing_input(key.public(), next));
    LocalPublisher::new(key.public(), next, signature[..].try_into().expect("64 bytes"))
}
