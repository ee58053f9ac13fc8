//! Inputs to machines, and the machines' events to each other, until all are quiet.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Action, SendClass, StoreRequest};
use crate::catalog::{CatalogEvent, Verdict};
use crate::cx::Cx;
use crate::event::{Event, OpError, Refusal, Stage};
use crate::exchange::ExchangeEvent;
use crate::gossip::GossipEvent;
use crate::id::{Digest, JobId, OpId, Owner, PeerId, PeerIx, PublisherId, RequestId, StoreId, Token};
use crate::input::{ProtocolSet, RequestError, Side, StoreResult};
use crate::kad::{KadEvent, QueryId};
use crate::light::LightEvent;
use crate::node::operations::{Announcement, Purpose};
use crate::node::{Node, cx};
use crate::peers::{Offence, PeerEvent};
use crate::sync::SyncEvent;
use crate::wire::registry::RegistryMessage;
use crate::wire::{Kind, Message, Protocol};

/// Providers a fetch looks for at a time; more are asked for while it is short of them.
const PROVIDERS_WANTED: usize = 8;

/// Events routed in one call. Machines bound their events per input, so reaching this is a bug of ours.
const MAX_ROUTED: usize = 100_000;

/// A ticket given to the catalogue names who handed the thing in.
#[derive(Clone, Copy)]
enum Ticket {
    Gossip(u64),
    Sync(u64),
}

impl Ticket {
    fn pack(self) -> u64 {
        match self {
            Self::Gossip(ticket) => ticket << 1,
            Self::Sync(ticket) => (ticket << 1) | 1,
        }
    }

    fn unpack(packed: u64) -> Self {
        if packed & 1 == 0 { Self::Gossip(packed >> 1) } else { Self::Sync(packed >> 1) }
    }
}

impl Node {
    pub(super) fn handle_received(&mut self, peer: PeerId, msg: &Message) {
        let Some(peer) = self.peers.find_connected(&peer) else { return };
        match &msg.0 {
            Kind::Gossip(rpc) => self.gossip.handle_rpc(cx!(self, gossip), peer, rpc),
            Kind::Bitswap(msg) => self.exchange.handle_message(cx!(self, exchange), peer, msg),
            Kind::Kad(_) | Kind::Registry(_) => {
                debug_assert!(false, "the shell hands requests in as Input::Request");
            }
        }
    }

    pub(super) fn handle_request(&mut self, peer: PeerId, token: Token, msg: &Message) {
        let connected = self.peers.find_connected(&peer);
        match (connected, &msg.0) {
            (Some(peer), Kind::Kad(msg)) => self.kad.handle_request(cx!(self, kad), peer, token, msg),
            (Some(peer), Kind::Registry(msg)) => match &**msg {
                RegistryMessage::Search(_) | RegistryMessage::Find(_) => {
                    self.server.handle_request(cx!(self, light), &self.catalog, &self.index, peer, token, msg);
                }
                RegistryMessage::Compare { .. }
                | RegistryMessage::Differences { .. }
                | RegistryMessage::GetLog { .. }
                | RegistryMessage::Log { .. }
                | RegistryMessage::GetProof { .. }
                | RegistryMessage::Proof { .. }
                | RegistryMessage::Found(_) => {
                    self.sync.handle_request(cx!(self, sync), &self.catalog, peer, token, msg);
                }
            },
            (None, _) | (Some(_), Kind::Gossip(_) | Kind::Bitswap(_)) => {
                self.out.push(Action::Respond { token, msg: None });
            }
        }
    }

    pub(super) fn handle_response(&mut self, id: RequestId, msg: &Message) {
        match (id.owner(), &msg.0) {
            (Some(Owner::Kad), Kind::Kad(msg)) => self.kad.handle_response(cx!(self, kad), id, msg),
            (Some(Owner::Sync), Kind::Registry(msg)) => {
                self.sync.handle_response(cx!(self, sync), &self.catalog, id, msg);
            }
            (Some(Owner::Light), Kind::Registry(msg)) => self.light.handle_response(cx!(self, light), id, msg),
            (_, Kind::Kad(_) | Kind::Registry(_) | Kind::Gossip(_) | Kind::Bitswap(_)) => {
                self.handle_request_failed(id, RequestError::Malformed);
            }
        }
    }

    pub(super) fn handle_request_failed(&mut self, id: RequestId, why: RequestError) {
        match id.owner() {
            Some(Owner::Kad) => self.kad.handle_request_failed(cx!(self, kad), id, why),
            Some(Owner::Sync) => self.sync.handle_request_failed(cx!(self, sync), &self.catalog, id, why),
            Some(Owner::Light) => self.light.handle_request_failed(cx!(self, light), id),
            Some(Owner::Peers | Owner::Gossip | Owner::Exchange | Owner::Catalog | Owner::Search) | None => {}
        }
    }

    pub(super) fn handle_malformed(&mut self, peer: PeerId, protocol: Protocol) {
        if let Some(peer) = self.peers.find(&peer) {
            let offence = Offence::Malformed(protocol);
            self.peers.charge(self.now, &self.config, &mut self.out, peer, offence);
        }
    }

    pub(super) fn handle_sent(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.find(&peer) {
            self.exchange.handle_sent(cx!(self, exchange), peer);
        }
    }

    pub(super) fn handle_send_dropped(&mut self, peer: PeerId, class: SendClass) {
        let Some(peer) = self.peers.find(&peer) else { return };
        match class {
            SendClass::Block => self.exchange.handle_send_dropped(cx!(self, exchange), peer),
            SendClass::Control | SendClass::Own | SendClass::Forward | SendClass::Gossip => {
                self.gossip.handle_send_dropped(cx!(self, gossip), peer);
            }
        }
    }

    pub(super) fn handle_stored(&mut self, op: StoreId, result: StoreResult) {
        match op.owner() {
            Some(Owner::Gossip) => self.gossip.handle_stored(cx!(self, gossip), op, result),
            Some(Owner::Exchange) => self.exchange.handle_stored(cx!(self, exchange), op, result),
            Some(Owner::Catalog) => self.catalog.handle_stored(cx!(self, catalog), op, result),
            // A segment that was not stored is made again from the logs.
            Some(Owner::Peers | Owner::Kad | Owner::Sync | Owner::Light | Owner::Search) | None => {}
        }
    }

    pub(super) fn handle_verified(&mut self, job: JobId, ok: bool) {
        match job.owner() {
            Some(Owner::Kad) => self.kad.handle_verified(cx!(self, kad), job, ok),
            Some(Owner::Gossip) => self.gossip.handle_verified(cx!(self, gossip), job, ok),
            Some(Owner::Catalog) => self.catalog.handle_verified(cx!(self, catalog), job, ok),
            Some(Owner::Light) => self.light.handle_verified(cx!(self, light), job, ok),
            Some(Owner::Peers | Owner::Exchange | Owner::Sync | Owner::Search) | None => {}
        }
    }

    pub(super) fn handle_signed(&mut self, job: JobId, signature: Option<Bytes>) {
        match job.owner() {
            Some(Owner::Gossip) => self.gossip.handle_signed(cx!(self, gossip), job, signature),
            Some(Owner::Catalog) => self.catalog.handle_signed(cx!(self, catalog), job, signature),
            Some(Owner::Peers | Owner::Kad | Owner::Exchange | Owner::Sync | Owner::Light | Owner::Search) | None => {}
        }
    }

    pub(super) fn handle_hashed(&mut self, job: JobId, digest: Digest) {
        if job.owner() == Some(Owner::Exchange) {
            self.exchange.handle_hashed(cx!(self, exchange), job, digest);
        }
    }

    /// Carries events between the machines until none has any; iteration, never recursion.
    pub(super) fn route(&mut self) {
        for _ in 0..MAX_ROUTED {
            if let Some(event) = self.peers.poll_event() {
                self.route_peer(event);
            } else if let Some(event) = self.kad.poll_event() {
                self.route_kad(event);
            } else if let Some(event) = self.gossip.poll_event() {
                self.route_gossip(event);
            } else if let Some(event) = self.exchange.poll_event() {
                self.route_exchange(event);
            } else if let Some(event) = self.catalog.poll_event() {
                self.route_catalog(event);
            } else if let Some(event) = self.sync.poll_event() {
                self.route_sync(event);
            } else if let Some(event) = self.light.poll_event() {
                self.route_light(event);
            } else if !self.start_announcement() {
                self.keep_index();
                return;
            }
        }
        debug_assert!(false, "machines keep raising events at each other");
    }

    /// Lets a worker merge segments of the index, and the store keep them.
    fn keep_index(&mut self) {
        if !self.ready || !core::mem::take(&mut self.index_changed) {
            return;
        }
        let writes = self.index.take_writes();
        if !writes.is_empty() {
            cx!(self, node).store(Owner::Search, StoreRequest::Commit(writes));
        }
        if let Some(parts) = self.index.next_merge() {
            let job = JobId::new(Owner::Search, self.out.next_id());
            self.out.push(Action::Merge { job, parts });
        }
    }

    fn route_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Up { peer, side: _ } => {
                if let Some(id) = self.peers.id(peer) {
                    self.out.push(Action::Emit(Event::PeerUp(id)));
                }
            }
            PeerEvent::Down { peer } => {
                self.kad.handle_peer_down(cx!(self, kad), peer);
                self.gossip.handle_peer_down(cx!(self, gossip), peer);
                self.exchange.handle_peer_down(cx!(self, exchange), peer);
                self.sync.handle_peer_down(cx!(self, sync), peer);
                self.light.handle_peer_down(peer);
                self.server.handle_peer_down(peer);
                if let Some(id) = self.peers.id(peer) {
                    self.out.push(Action::Emit(Event::PeerDown(id)));
                }
            }
            PeerEvent::Protocols { peer, was, now } => self.route_protocols(peer, was, now),
            PeerEvent::Banned { peer } => self.kad.handle_peer_banned(cx!(self, kad), peer),
            PeerEvent::RequestFailed { id, why } => self.handle_request_failed(id, why),
            PeerEvent::Dialled { dial, peer } => self.finish_connect(dial, peer),
            PeerEvent::Visited { peer } => self.kad.explore(cx!(self, kad), peer),
            PeerEvent::Lonely => {
                let mut key = [0; 32];
                self.rngs.node.fill(&mut key);
                self.kad.find_closest(cx!(self, kad), Bytes::copy_from_slice(&key));
            }
        }
    }

    fn route_protocols(&mut self, peer: PeerIx, was: ProtocolSet, now: ProtocolSet) {
        if was.kad != now.kad {
            self.kad.handle_server(cx!(self, kad), peer, now.kad);
            if now.kad {
                self.announcer.hurry();
            }
        }
        match now.gossip {
            _ if now.gossip == was.gossip => {}
            Some(version) => {
                let outbound = self.peers.side(peer) == Some(Side::Dialer);
                self.gossip.handle_peer_up(cx!(self, gossip), peer, version, outbound);
            }
            None => self.gossip.handle_peer_down(cx!(self, gossip), peer),
        }
        if now.bitswap && !was.bitswap {
            self.exchange.handle_peer_up(cx!(self, exchange), peer);
        }
        if now.registry && !was.registry {
            self.sync.handle_peer_up(cx!(self, sync), peer);
            self.light.handle_peer_up(cx!(self, light), peer);
        }
    }

    fn route_kad(&mut self, event: KadEvent) {
        match event {
            KadEvent::Providers { query, providers, last, asked, answered } => {
                let purpose = self.operations.purpose(query).cloned();
                if last {
                    self.operations.end_query(query);
                }
                match purpose {
                    Some(Purpose::Content(root)) => {
                        self.exchange.add_providers(cx!(self, exchange), root, &providers);
                    }
                    Some(Purpose::Holders(publisher)) if last => {
                        self.sync.handle_holders(cx!(self, sync), &self.catalog, publisher, &providers);
                        self.light.handle_holders(cx!(self, light), publisher, &providers);
                    }
                    Some(Purpose::Command(op)) if last => self.finish_dht_peers(op, &providers, asked, answered, 0),
                    Some(
                        Purpose::Holders(_)
                        | Purpose::Command(_)
                        | Purpose::OwnLog
                        | Purpose::Head(_)
                        | Purpose::Announce,
                    )
                    | None => {}
                }
            }
            KadEvent::Value { query, value, asked, answered } => self.route_value(query, value, asked, answered),
            KadEvent::Put { query, acks } => self.finish_announcement(query, acks),
            KadEvent::Provided { query, sent } => self.finish_announcement(query, sent),
            KadEvent::Closest { query, peers, asked, answered, hops } => {
                if let Some(Purpose::Command(op)) = self.operations.end_query(query) {
                    self.finish_dht_peers(op, &peers, asked, answered, hops);
                }
            }
            KadEvent::RecordSeen { value } => {
                if self.config.role.duties().catalogue {
                    self.catalog.handle_head_record(cx!(self, catalog), value);
                }
            }
        }
    }

    fn route_value(&mut self, query: QueryId, value: Option<Bytes>, asked: u32, answered: u32) {
        match self.operations.end_query(query) {
            Some(Purpose::OwnLog) => self.learn_own_log(value),
            Some(Purpose::Head(op)) => self.learn_head(op, value, asked, answered),
            Some(Purpose::Command(op)) => self.finish_dht_value(op, value, asked, answered),
            Some(Purpose::Content(_) | Purpose::Holders(_) | Purpose::Announce) | None => {}
        }
    }

    fn route_gossip(&mut self, event: GossipEvent) {
        match event {
            GossipEvent::Deliver { ticket, topic, author, source, data } => {
                if topic == self.topic {
                    self.gossip.handle_judging(cx!(self, gossip), ticket);
                    let ticket = Ticket::Gossip(ticket).pack();
                    self.catalog.handle_announcement(cx!(self, catalog), ticket, source, data);
                } else {
                    self.gossip.handle_verdict(cx!(self, gossip), ticket, Verdict::Accept);
                    self.out.push(Action::Emit(Event::PubsubMessage { topic, author, data }));
                }
            }
            GossipEvent::Published { op, sent } => {
                if let Some(op) = op {
                    self.finish_pubsub(op, sent);
                }
            }
        }
    }

    fn route_exchange(&mut self, event: ExchangeEvent) {
        match event {
            ExchangeEvent::NeedProviders { root } => {
                let purpose = Purpose::Content(root);
                if !self.operations.is_asking(&purpose) {
                    let key = root.digest.to_multihash();
                    let query = self.kad.find_providers(cx!(self, kad), key, PROVIDERS_WANTED);
                    self.operations.start_query(query, purpose);
                }
            }
            ExchangeEvent::Progress { op, bytes, total, providers } => {
                let stage = Stage::Fetching { bytes, total, providers };
                self.out.push(Action::Emit(Event::Progress { op, stage }));
            }
            ExchangeEvent::Fetched { op, root, sources } => {
                self.operations.remove(op);
                self.out.push(Action::Emit(Event::Fetched { op, root, sources }));
            }
            ExchangeEvent::Complete { root, own } => {
                if own || self.config.role.duties().provides {
                    self.announce(Announcement::Provider(root.digest.to_multihash()), None);
                }
            }
            ExchangeEvent::Failed { .. } if planted!(self.config, NodeForgetsFailures) => {}
            ExchangeEvent::Failed { op, error } => self.fail(op, error),
        }
    }

    fn route_catalog(&mut self, event: CatalogEvent) {
        match event {
            CatalogEvent::Admitted { publisher, update } => {
                self.sync.handle_changed(&self.catalog, publisher);
                self.resolve_waiting(publisher);
                if let Some((kind, release)) = update {
                    self.index(kind, &release.release);
                    self.out.push(Action::Emit(Event::Update { kind, release }));
                }
            }
            CatalogEvent::Signed { op } => {
                self.out.push(Action::Emit(Event::Progress { op, stage: Stage::Signed }));
            }
            CatalogEvent::Announce { op, release, announcement } => self.announce_release(op, release, announcement),
            CatalogEvent::NothingToChange { op, release } => {
                if self.operations.remove(op).is_some() {
                    self.out.push(Action::Emit(Event::Published { op, release, acks: 0, sent: 0 }));
                }
            }
            CatalogEvent::BatchDone { op, outcomes } => self.finish_batch(op, outcomes),
            CatalogEvent::HeadMoved { announcement } => self.announce_head(announcement),
            CatalogEvent::PublishFailed { op, error } => self.fail(op, error),
            CatalogEvent::Behind { publisher, want, source } => {
                let own = self.local.publisher.as_ref().is_some_and(|own| own.id == publisher);
                let urgent = own || self.operations.resolves_of(publisher).next().is_some();
                self.sync.catch_up(cx!(self, sync), &self.catalog, publisher, want, source, urgent);
            }
            CatalogEvent::Forked { publisher, proof } => {
                self.sync.handle_changed(&self.catalog, publisher);
                if let Some(proof) = proof {
                    // With a full queue the next one who sees it tells.
                    let _ = self.gossip.publish(cx!(self, gossip), None, self.topic.clone(), proof);
                }
                self.out.push(Action::Emit(Event::Forked(publisher)));
            }
            CatalogEvent::Refused { publisher } => self.fail_waiting(publisher, &OpError::Refused(Refusal::NoRoom)),
            CatalogEvent::PutOut { publisher, names } => {
                self.index_changed = true;
                names.iter().for_each(|name| self.index.remove(name, publisher));
                self.sync.handle_changed(&self.catalog, publisher);
            }
            CatalogEvent::Judged { ticket, verdict } => match Ticket::unpack(ticket) {
                Ticket::Gossip(ticket) => self.gossip.handle_verdict(cx!(self, gossip), ticket, verdict),
                Ticket::Sync(ticket) => {
                    self.sync.handle_judged(cx!(self, sync), &self.catalog, ticket, verdict);
                }
            },
        }
    }

    fn route_sync(&mut self, event: SyncEvent) {
        match event {
            SyncEvent::Entries { ticket, source, record, from, entries } => {
                let ticket = Ticket::Sync(ticket).pack();
                self.catalog.handle_entries(cx!(self, catalog), ticket, source, record, from, entries);
            }
            SyncEvent::Proof { ticket, source, proof } => {
                let ticket = Ticket::Sync(ticket).pack();
                self.catalog.handle_proof(cx!(self, catalog), ticket, source, &proof);
            }
            SyncEvent::NeedHolders { publisher } => self.look_for_holders(publisher),
            SyncEvent::Compared => {
                let waiting: Vec<_> = self.operations.joining().collect();
                waiting.into_iter().for_each(|op| self.end_joining(op));
            }
            SyncEvent::CaughtUp { publisher, ok } => self.caught_up(publisher, ok),
        }
    }

    fn route_light(&mut self, event: LightEvent) {
        match event {
            LightEvent::Searched { op, page } => {
                if self.operations.remove(op).is_some() {
                    self.out.push(Action::Emit(Event::SearchDone { op, page }));
                }
            }
            LightEvent::Resolved { op, release } => {
                if self.operations.remove(op).is_some() {
                    self.out.push(Action::Emit(Event::Resolved { op, release }));
                }
            }
            LightEvent::NeedHolders { publisher } => self.look_for_holders(publisher),
            LightEvent::Failed { op, error } => self.fail(op, error),
        }
    }

    fn look_for_holders(&mut self, publisher: PublisherId) {
        let purpose = Purpose::Holders(publisher);
        if !self.operations.is_asking(&purpose) {
            let key = publisher.0.to_multihash();
            let query = self.kad.find_providers(cx!(self, kad), key, PROVIDERS_WANTED);
            self.operations.start_query(query, purpose);
        }
    }

    /// Ends an operation without success.
    pub(super) fn fail(&mut self, op: OpId, error: OpError) {
        if self.operations.remove(op).is_some() {
            self.emit_failure(op, error);
        }
    }

    pub(super) fn emit_failure(&mut self, op: OpId, error: OpError) {
        self.out.push(Action::Emit(Event::Failed { op, error }));
    }
}
