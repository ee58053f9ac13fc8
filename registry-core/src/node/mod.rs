//! The node: owns the machines, and is the only place that routes between them.
//!
//! | raised by | event | goes to |
//! |---|---|---|
//! | peers | up, down | emit; down: kad, gossip, exchange, sync, light, in this order |
//! | peers | protocols | kad (server or not), gossip, exchange, sync, light; announcements may start |
//! | peers | banned | kad |
//! | peers | request failed | the machine that asked |
//! | peers | dialled | the `Connect` that asked |
//! | peers | lonely | kad (a lookup of a random key) |
//! | kad | providers | exchange (a content's), sync and light (a log's), or the DHT command |
//! | kad | value | catalog (a head record), then the publish or resolve that waits; or the DHT command |
//! | kad | put, provided | the announcement; the publish that waits |
//! | kad | closest | the DHT command |
//! | kad | record seen | catalog, where it holds all publishers |
//! | gossip | deliver | catalog (the registry's topic), or accept and emit |
//! | gossip | published | the publish or pubsub command |
//! | catalog | admitted | search index, sync (digests); emit; the resolves that wait |
//! | catalog | forked | gossip (a proof found here), sync (digests); emit |
//! | catalog | refused | the resolves that wait |
//! | catalog | put out | search index, sync (digests) |
//! | catalog | signed | emit |
//! | catalog | announce | announcements (record, log), gossip; emit |
//! | catalog | head moved | announcements (record, log), gossip |
//! | catalog | batch done, nothing to change, publish failed | emit |
//! | catalog | behind | sync |
//! | catalog | judged | gossip or sync, whoever handed it in |
//! | search index | segments to store, to merge | the shell |
//! | sync | entries, proof | catalog |
//! | sync | need holders | kad |
//! | sync | compared | the resolves that wait for a first comparison |
//! | sync | caught up | the publish or resolve that waits |
//! | light | need holders | kad |
//! | light | searched, resolved, failed | emit |
//! | exchange | need providers | kad |
//! | exchange | complete | announcements (provider) |
//! | exchange | progress, fetched, failed | emit |

mod announce;
mod commands;
mod inspect;
mod operations;
mod publish;
mod route;
mod stats;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, Table};
use crate::catalog::packages::Listing;
use crate::catalog::{Catalog, Name, PackageSpec, Release, ReleaseInfo, UpdateKind};
use crate::config::Config;
use crate::cx::{Cx, LocalPeer, Outbox};
use crate::event::Event;
use crate::exchange::Exchange;
use crate::gossip::Gossip;
use crate::id::{Digest, PublisherId, TopicName};
use crate::input::{Input, Row};
use crate::kad::Kad;
use crate::light::{Light, Server};
use crate::peers::{PeerView, Peers};
use crate::rng::{Rng, Seed};
use crate::search::Index;
use crate::sync::Sync;
use crate::time::{Instant, UnixTime, Wake, WakeReason};

use announce::Announcer;
pub use inspect::{EntryView, HeadView, Load, MeshView};
use operations::Operations;
use publish::OwnLog;
pub use stats::{Stats, TopicView};

/// The two clocks at birth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Monotonic.
    pub now: Instant,
    /// Wall.
    pub unix: UnixTime,
}

/// One node of the registry; see the crate's documentation for the contract.
#[derive(Debug)]
pub struct Node {
    config: Arc<Config>,
    local: LocalPeer,
    now: Instant,
    /// The wall clock at a monotonic instant; advanced by elapsed time.
    wall: Start,
    ready: bool,
    topic: TopicName,
    peers: Peers,
    kad: Kad,
    gossip: Gossip,
    exchange: Exchange,
    catalog: Catalog,
    sync: Sync,
    index: Index,
    /// A merge may be due: looked for once per change, not after every call.
    index_changed: bool,
    light: Light,
    server: Server,
    operations: Operations,
    announcer: Announcer,
    own_log: OwnLog,
    rngs: Rngs,
    out: Outbox,
}

/// One stream per machine, so that a new draw in one does not shift another.
#[derive(Debug)]
struct Rngs {
    kad: Rng,
    gossip: Rng,
    exchange: Rng,
    catalog: Rng,
    sync: Rng,
    light: Rng,
    node: Rng,
}

/// Lends the node's shared parts, and one random stream, to a machine.
macro_rules! cx {
    ($node:ident, $rng:ident) => {
        &mut Cx {
            now: $node.now,
            unix: $node.unix(),
            config: &$node.config,
            local: &$node.local,
            rng: &mut $node.rngs.$rng,
            peers: &mut $node.peers,
            out: &mut $node.out,
        }
    };
}
use cx;

impl Node {
    /// A node that has recovered nothing yet: give it `Recovered` rows, then `RecoveryDone`.
    pub fn new(config: Arc<Config>, local: LocalPeer, seed: Seed, start: Start) -> Self {
        let mut rngs = Rngs {
            kad: Rng::new(seed, "kad"),
            gossip: Rng::new(seed, "gossip"),
            exchange: Rng::new(seed, "exchange"),
            catalog: Rng::new(seed, "catalog"),
            sync: Rng::new(seed, "sync"),
            light: Rng::new(seed, "light"),
            node: Rng::new(seed, "node"),
        };
        let mut peers = Peers::new(seed, start.now, &config, local.id);
        let mut out = Outbox::default();
        macro_rules! lend {
            ($rng:ident) => {
                &mut Cx {
                    now: start.now,
                    unix: start.unix,
                    config: &config,
                    local: &local,
                    rng: &mut rngs.$rng,
                    peers: &mut peers,
                    out: &mut out,
                }
            };
        }
        let kad = Kad::new(lend!(kad));
        let gossip = Gossip::new(lend!(gossip));
        let exchange = Exchange::new(lend!(exchange));
        let catalog = Catalog::new(lend!(catalog));
        let topic = registry_topic(&config);
        Self {
            now: start.now,
            wall: start,
            ready: false,
            topic,
            kad,
            gossip,
            exchange,
            catalog,
            sync: Sync::new(),
            index: Index::default(),
            index_changed: false,
            light: Light::default(),
            server: Server::default(),
            operations: Operations::default(),
            announcer: Announcer::new(),
            own_log: OwnLog::Unchecked,
            config,
            local,
            peers,
            rngs,
            out,
        }
    }

    /// Tells the node that something happened. Nothing a peer does can make this panic or fail.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.advance(now);
        match input {
            Input::Connected { peer, addr, side } => {
                self.peers.handle_connected(self.now, &self.config, &mut self.out, peer, addr, side);
            }
            Input::Disconnected { peer } => self.peers.handle_disconnected(self.now, &self.config, &mut self.out, peer),
            Input::DialFailed { dial, why } => {
                self.peers.handle_dial_failed(self.now, &self.config, &mut self.out, dial, why)
            }
            Input::Identified { peer, info } => self.peers.handle_identified(self.now, &self.config, peer, info),
            Input::Received { peer, msg } => self.handle_received(peer, &msg),
            Input::Request { peer, token, msg } => self.handle_request(peer, token, &msg),
            Input::Response { id, msg } => self.handle_response(id, &msg),
            Input::RequestFailed { id, why } => self.handle_request_failed(id, why),
            Input::Malformed { peer, protocol, error: _ } => self.handle_malformed(peer, protocol),
            Input::Sent { peer } => self.handle_sent(peer),
            Input::SendDropped { peer, class } => self.handle_send_dropped(peer, class),
            Input::Stored { op, result } => self.handle_stored(op, result),
            Input::Recovered(rows) => self.handle_rows(rows),
            Input::RecoveryDone => self.handle_recovery_done(),
            Input::Verified { job, ok } => self.handle_verified(job, ok),
            Input::Signed { job, signature } => self.handle_signed(job, signature),
            Input::Hashed { job, digest } => self.handle_hashed(job, digest),
            Input::Merged { job: _, segment } => {
                self.index_changed = true;
                self.index.handle_merged(*segment);
            }
            Input::LocalAddr { addr, up } => self.peers.handle_local_addr(addr, up),
            Input::WallClock(unix) => self.wall = Start { now: self.now, unix },
        }
        self.route();
    }

    /// Tells the node the time. Early, late and spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.peers.next_deadline()) {
            let unix = self.unix();
            let (kad, gossip, exchange) = (&self.kad, &self.gossip, &self.exchange);
            let keep = |peer| gossip.in_mesh(peer) || exchange.in_use(peer) || kad.in_use(peer);
            self.peers.handle_timeout(self.now, unix, &self.config, &mut self.out, keep);
        }
        if due(self.kad.next_deadline()) {
            self.kad.handle_timeout(cx!(self, kad));
        }
        if due(self.gossip.next_deadline()) {
            self.gossip.handle_timeout(cx!(self, gossip));
        }
        if due(self.exchange.next_deadline()) {
            self.exchange.handle_timeout(cx!(self, exchange));
        }
        if due(self.catalog.next_deadline()) {
            self.catalog.handle_timeout(cx!(self, catalog));
        }
        if due(self.sync.next_deadline()) {
            self.sync.handle_timeout(cx!(self, sync), &self.catalog);
        }
        if due(self.light.next_deadline()) {
            self.light.handle_timeout(cx!(self, light));
        }
        while let Some(op) = self.operations.pop_due(self.now) {
            self.time_out(op);
        }
        self.route();
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// When to call `handle_timeout`, and on whose behalf. A pure read.
    pub fn poll_timeout(&self) -> Option<Wake> {
        let wakes = [
            (self.peers.next_deadline(), WakeReason::Peers),
            (self.kad.next_deadline(), WakeReason::Kad),
            (self.gossip.next_deadline(), WakeReason::Gossip),
            (self.exchange.next_deadline(), WakeReason::Exchange),
            (self.catalog.next_deadline(), WakeReason::Catalog),
            (self.sync.next_deadline(), WakeReason::Sync),
            (self.light.next_deadline(), WakeReason::Light),
            (self.operations.next_deadline(), WakeReason::Operations),
            (self.announcer.next_deadline(), WakeReason::Operations),
        ];
        wakes.into_iter().filter_map(|(at, why)| at.map(|at| Wake { at, why })).min_by_key(|wake| (wake.at, wake.why))
    }

    /// Connected peers, in ascending order of id.
    pub fn peers(&self) -> Vec<PeerView> {
        self.peers.views(self.now, &self.config)
    }

    /// What the catalogue here knows of a package: all its versions, highest first, or the one that is named. Asks nobody.
    pub fn info(&self, spec: &PackageSpec) -> Vec<Arc<ReleaseInfo>> {
        self.catalog.describe(spec)
    }

    /// Some of a publisher's packages, in the order of their names, from the one after `after` on. Asks nobody.
    pub fn list(&self, publisher: PublisherId, after: Option<&Name>) -> Listing {
        self.catalog.list(publisher, after)
    }

    /// Is it known that this publisher has contradicted itself?
    pub fn is_forked(&self, publisher: PublisherId) -> bool {
        self.catalog.is_forked(publisher)
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn unix(&self) -> UnixTime {
        self.wall.unix + self.now.since(self.wall.now)
    }

    fn handle_rows(&mut self, rows: Vec<Row>) {
        if self.ready {
            return;
        }
        let of_catalog = rows.iter().filter(|row| matches!(row.table, Table::Publisher | Table::Log));
        let ids = of_catalog.filter_map(|row| row.key.first_chunk());
        let publishers: BTreeSet<_> = ids.map(|id| PublisherId(Digest(*id))).collect();
        rows.into_iter().for_each(|row| self.handle_recovered(row));
        publishers.into_iter().for_each(|publisher| self.sync.handle_changed(&self.catalog, publisher));
    }

    fn handle_recovered(&mut self, row: Row) {
        match row.table {
            Table::Meta => self.gossip.handle_recovered(cx!(self, gossip), row),
            Table::Publisher | Table::Log => {
                if let Some((kind, release)) = self.catalog.handle_recovered(cx!(self, catalog), row) {
                    self.index(kind, &release.release);
                }
            }
            Table::Segment => self.index.handle_recovered(&row),
            Table::Content | Table::Fetch => self.exchange.handle_recovered(cx!(self, exchange), row),
            Table::PeerAddrs | Table::Ban => {
                let unix = self.unix();
                self.peers.handle_recovered(self.now, unix, &self.config, row);
            }
        }
    }

    /// Lets a package be found by its current release, after one of its releases was added or amended.
    fn index(&mut self, kind: UpdateKind, release: &Release) {
        self.index_changed = true;
        let (publisher, name) = (release.publisher, &release.meta.name);
        let added = matches!(kind, UpdateKind::NewPackage | UpdateKind::NewVersion);
        if added && !self.ready && self.index.position(name, publisher) > Some(release.position) {
            // A stored segment knows of a later one, whose row is still to come.
            return;
        }
        if planted!(self.config, SearchKeepsOld) && kind == UpdateKind::NewVersion {
            return;
        }
        match self.catalog.current(publisher, name) {
            Some(current) if current == release.position => self.index.insert(&[release]),
            Some(_) if added => {}
            Some(current) => {
                if let Some(current) = self.catalog.release(publisher, current) {
                    self.index.insert(&[&current.release]);
                }
            }
            None => self.index.remove(name, publisher),
        }
    }

    /// What stored segments hold beside the catalogue goes; what the catalogue has instead is indexed.
    fn settle_index(&mut self) {
        self.index_changed = true;
        for (name, publisher) in self.index.drop_unconfirmed() {
            let current = self.catalog.current(publisher, &name);
            let release = current.and_then(|position| self.catalog.release(publisher, position));
            release.into_iter().for_each(|release| self.index.insert(&[&release.release]));
        }
    }

    fn handle_recovery_done(&mut self) {
        if self.ready {
            return;
        }
        self.ready = true;
        self.settle_index();
        if self.config.role.duties().catalogue {
            self.gossip.subscribe(cx!(self, gossip), self.topic.clone());
        }
        self.announce_all();
        self.out.push(Action::Emit(Event::Ready));
    }
}

/// The topic of new heads and small statements: `/wharf/<network>/announce/1`.
fn registry_topic(config: &Config) -> TopicName {
    alloc::format!("/wharf/{}/announce/1", config.network).into()
}
