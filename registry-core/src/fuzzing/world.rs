//! Everything a machine is lent, owned in one place.

use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;

use crate::action::Action;
use crate::config::Config;
use crate::cx::{Cx, LocalPeer, Outbox};
use crate::id::{Digest, PeerId, PeerIx};
use crate::input::{GossipVersion, Identity, ProtocolSet, Side};
use crate::peers::{PeerEvent, Peers};
use crate::rng::{Rng, Seed};
use crate::time::{Duration, Instant, UnixTime};

/// What a peer of this network serves.
pub(crate) const ALL_PROTOCOLS: ProtocolSet =
    ProtocolSet { kad: true, gossip: Some(GossipVersion::V1_2), bitswap: true, registry: true };

/// The surroundings of one machine under test: a real peer book, outbox, clock and random stream.
pub(crate) struct TestWorld {
    pub(crate) peers: Peers,
    pub(crate) out: Outbox,
    pub(crate) rng: Rng,
    pub(crate) config: Config,
    pub(crate) local: LocalPeer,
    pub(crate) now: Instant,
    pub(crate) unix: UnixTime,
}

impl TestWorld {
    pub(crate) fn new(config: Config) -> Self {
        let local = LocalPeer { id: Self::peer_id(u64::MAX), public_key: Bytes::new(), publisher: None };
        let seed = Seed([42; 32]);
        let now = Instant::from_micros(1_000_000);
        Self {
            peers: Peers::new(seed, now, &config, local.id),
            out: Outbox::default(),
            rng: Rng::new(seed, "test"),
            config,
            local,
            now,
            unix: UnixTime::from_secs(1_700_000_000),
        }
    }

    /// The id of test peer `n`.
    pub(crate) fn peer_id(n: u64) -> PeerId {
        PeerId::from_ed25519(&Digest::of(&n.to_be_bytes()).0)
    }

    /// The address of test peer `n`.
    pub(crate) fn addr(n: u64) -> Multiaddr {
        let [.., a, b, c] = n.to_be_bytes();
        alloc::format!("/ip4/10.{a}.{b}.{c}/tcp/4001").parse().expect("a well-formed address")
    }

    pub(crate) fn cx(&mut self) -> Cx<'_> {
        Cx {
            now: self.now,
            unix: self.unix,
            config: &self.config,
            local: &self.local,
            rng: &mut self.rng,
            peers: &mut self.peers,
            out: &mut self.out,
        }
    }

    /// Connects test peer `n`, dialled by this node and serving everything. Leaves no actions or peer events behind.
    pub(crate) fn connect(&mut self, n: u64) -> PeerIx {
        self.connect_as(n, Side::Dialer, ALL_PROTOCOLS)
    }

    pub(crate) fn connect_as(&mut self, n: u64, side: Side, protocols: ProtocolSet) -> PeerIx {
        let peer = self.meet(n, side, protocols);
        self.actions();
        self.peer_events();
        peer
    }

    /// The same, but leaves the actions of what waited for the connection.
    pub(crate) fn meet(&mut self, n: u64, side: Side, protocols: ProtocolSet) -> PeerIx {
        let (id, addr) = (Self::peer_id(n), Self::addr(n));
        let info = Identity { protocols, agent: "test".into(), listen_addrs: [addr.clone()].into() };
        self.peers.handle_connected(self.now, &self.config, &mut self.out, id, addr, side);
        self.peers.handle_identified(self.now, &self.config, id, info);
        self.peers.intern(id)
    }

    /// Makes test peer `n` known by address, not connected.
    pub(crate) fn know(&mut self, n: u64) -> PeerIx {
        let peer = self.peers.intern(Self::peer_id(n));
        self.peers.add_addrs(&self.config, peer, &[Self::addr(n)].into());
        peer
    }

    /// Ends a peer's connection. Leaves no actions or peer events behind.
    pub(crate) fn disconnect(&mut self, peer: PeerIx) {
        if let Some(id) = self.peers.id(peer) {
            self.peers.handle_disconnected(self.now, &self.config, &mut self.out, id);
        }
        self.actions();
        self.peer_events();
    }

    /// Moves both clocks.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        self.unix = self.unix + by;
    }

    /// Takes all actions.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        core::iter::from_fn(|| self.out.pop()).collect()
    }

    /// Takes all events of the peer book.
    pub(crate) fn peer_events(&mut self) -> Vec<PeerEvent> {
        core::iter::from_fn(|| self.peers.poll_event()).collect()
    }
}

impl Default for TestWorld {
    fn default() -> Self {
        Self::new(Config::default())
    }
}
