//! One node's configuration. Durations are virtual or real time alike; sizes are bytes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::role::Role;
use crate::time::Duration;

/// Immutable for a node's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Names this network; part of statements and topics. 1 to 32 of `[a-z0-9-]`.
    pub network: String,
    /// What this node does for others; [`Config::of`] sets the limits that go with it.
    pub role: Role,
    /// Connections and misbehaviour.
    pub peers: PeersConfig,
    /// Kademlia.
    pub kad: KadConfig,
    /// Gossipsub.
    pub gossip: GossipConfig,
    /// Block exchange.
    pub exchange: ExchangeConfig,
    /// Catalogue.
    pub catalog: CatalogConfig,
    /// Reconciliation.
    pub sync: SyncConfig,
    /// The bug planted in this node.
    #[cfg(feature = "canary")]
    pub canary: Option<crate::Canary>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: "main".into(),
            role: Role::default(),
            peers: PeersConfig::default(),
            kad: KadConfig::default(),
            gossip: GossipConfig::default(),
            exchange: ExchangeConfig::default(),
            catalog: CatalogConfig::default(),
            sync: SyncConfig::default(),
            #[cfg(feature = "canary")]
            canary: None,
        }
    }
}

/// Connections and misbehaviour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeersConfig {
    /// Addresses may be private or loopback (a LAN, a test); otherwise such addresses of others are dropped.
    pub allow_private_addrs: bool,
    /// Below this many connections the node dials peers it knows. With 0 it looks for none by itself.
    pub min_connections: usize,
    /// Above `max_connections`, connections are closed down to this many.
    pub low_connections: usize,
    /// See `low_connections`. At twice this number further inbound connections are closed at once.
    pub max_connections: usize,
    /// A younger connection is not trimmed; with more than one and a half times `max_connections`, a tenth of this is
    /// enough.
    pub trim_grace: Duration,
    /// First wait after a failed dial; doubles (jittered) up to `max_backoff`.
    pub min_backoff: Duration,
    /// See `min_backoff`; who is connected to nobody tries its entrances twice a minute. About this often, in a large
    /// network less, a node calls on an entrance and on a peer it was connected to before, also with enough connections:
    /// parts of a network that have lost each other meet again.
    pub max_backoff: Duration,
    /// Points of misbehaviour that lead to a ban; points decay by half each `offence_half_life`.
    pub ban_threshold: u32,
    /// See `ban_threshold`.
    pub offence_half_life: Duration,
    /// How long a ban lasts.
    pub ban_time: Duration,
    /// When not empty, only these peers may connect.
    pub allow: Vec<crate::PeerId>,
    /// These may not.
    pub block: Vec<crate::PeerId>,
    /// Peers the book keeps, connected or not.
    pub max_known: usize,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            allow_private_addrs: true,
            min_connections: 12,
            low_connections: 50,
            max_connections: 200,
            trim_grace: Duration::from_secs(20),
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            ban_threshold: 100,
            offence_half_life: Duration::from_secs(600),
            ban_time: Duration::from_secs(3600),
            allow: Vec::new(),
            block: Vec::new(),
            max_known: 2048,
        }
    }
}

/// Kademlia.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KadConfig {
    /// Serve the DHT (server), or only ask (client).
    pub server: bool,
    /// Replication and bucket size (K3).
    pub k: usize,
    /// Requests in flight per lookup (K4).
    pub alpha: usize,
    /// A lookup may end when so many of the closest have answered (K5); a follow-up asks the rest of the k.
    pub beta: usize,
    /// Wait for one answer.
    pub request_timeout: Duration,
    /// A lookup ends after this, with what it has.
    pub query_timeout: Duration,
    /// Table refresh (K11).
    pub refresh_interval: Duration,
    /// A provider record's life (K25).
    pub provider_ttl: Duration,
    /// Own provider records are announced again after this (K25).
    pub provider_republish: Duration,
    /// A value's life (K25).
    pub record_ttl: Duration,
    /// Own values are stored again after this.
    pub record_republish: Duration,
    /// Namespaces in which any value is valid (tests, debugging): `name` accepts `/name/...`.
    pub open_namespaces: Vec<String>,
    /// Provider records kept.
    pub max_provider_records: usize,
    /// Providers kept per key.
    pub max_providers_per_key: usize,
    /// Values kept.
    pub max_records: usize,
}

impl Default for KadConfig {
    fn default() -> Self {
        Self {
            server: true,
            k: 20,
            alpha: 10,
            beta: 3,
            request_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(60),
            refresh_interval: Duration::from_secs(600),
            provider_ttl: Duration::from_secs(48 * 3600),
            provider_republish: Duration::from_secs(22 * 3600),
            record_ttl: Duration::from_secs(48 * 3600),
            record_republish: Duration::from_secs(22 * 3600),
            open_namespaces: Vec::new(),
            max_provider_records: 65_536,
            max_providers_per_key: 64,
            max_records: 16_384,
        }
    }
}

/// Gossipsub; the names are the specification's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GossipConfig {
    /// Desired mesh degree.
    pub d: usize,
    /// Below this, graft.
    pub d_lo: usize,
    /// Above this, prune.
    pub d_hi: usize,
    /// Gossip to at least so many peers.
    pub d_lazy: usize,
    /// Outbound connections kept in a mesh.
    pub d_out: usize,
    /// Gossip to this share of non-mesh peers, in percent.
    pub gossip_factor_percent: usize,
    /// Grid on which mesh upkeep and gossip happen.
    pub heartbeat: Duration,
    /// Fanout without publishing ends after this.
    pub fanout_ttl: Duration,
    /// Heartbeats a message can be asked for.
    pub history_length: usize,
    /// Heartbeats a message is gossiped about.
    pub history_gossip: usize,
    /// Life of the seen cache.
    pub seen_ttl: Duration,
    /// Capacity of the seen cache.
    pub seen_capacity: usize,
    /// No GRAFT after a PRUNE for so long.
    pub prune_backoff: Duration,
    /// No GRAFT after leaving a topic for so long.
    pub unsubscribe_backoff: Duration,
    /// IDONTWANT for messages of at least this size.
    pub idontwant_threshold: usize,
    /// Own messages go to all subscribers, not only the mesh.
    pub flood_publish: bool,
    /// Message ids of other than registry topics: the specification's from and seqno, or sha-256 of topic and data.
    pub content_ids: bool,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            d: 6,
            d_lo: 5,
            d_hi: 12,
            d_lazy: 6,
            d_out: 2,
            gossip_factor_percent: 25,
            heartbeat: Duration::from_secs(1),
            fanout_ttl: Duration::from_secs(60),
            history_length: 5,
            history_gossip: 3,
            seen_ttl: Duration::from_secs(120),
            seen_capacity: 16_384,
            prune_backoff: Duration::from_secs(60),
            unsubscribe_backoff: Duration::from_secs(10),
            idontwant_threshold: 1024,
            flood_publish: true,
            content_ids: false,
        }
    }
}

/// Block exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeConfig {
    /// Providers used at once by one fetch.
    pub max_providers: usize,
    /// Blocks wanted from one provider at once.
    pub window: usize,
    /// A block that has not come by then is asked of another provider too.
    pub block_timeout: Duration,
    /// Whoever waits for so long without any new block gets an error.
    pub stall_timeout: Duration,
    /// Wants one peer may have open here.
    pub max_ledger: usize,
    /// Bytes of blocks queued to one peer.
    pub max_queued_bytes: usize,
    /// Fetches running at once.
    pub max_fetches: usize,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        Self {
            max_providers: 8,
            window: 4,
            block_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(60),
            max_ledger: 1024,
            max_queued_bytes: 4 * 1024 * 1024,
            max_fetches: 256,
        }
    }
}

/// Catalogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CatalogConfig {
    /// Life of an own head.
    pub head_ttl: Duration,
    /// Publishers kept, without the own and the followed ones.
    pub max_publishers: usize,
    /// Statements kept per publisher.
    pub max_statements_per_publisher: u64,
    /// Bytes of statements kept per publisher.
    pub max_bytes_per_publisher: usize,
    /// Bytes of statements kept in all, without those of the own publisher and of the followed ones.
    pub max_bytes: usize,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self {
            head_ttl: Duration::from_secs(30 * 24 * 3600),
            max_publishers: 100_000,
            max_statements_per_publisher: 1_000_000,
            max_bytes_per_publisher: 1 << 28,
            max_bytes: 1 << 30,
        }
    }
}

/// Reconciliation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncConfig {
    /// A round with some peer starts this often (jittered).
    pub interval: Duration,
    /// Wait for one answer.
    pub request_timeout: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), request_timeout: Duration::from_secs(10) }
    }
}
