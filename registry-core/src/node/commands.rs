//! The application's commands: started here, carried by the machines, ended here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::Action;
use crate::catalog::{PackageSpec, Says, Unresolved};
use crate::command::{Command, CommandError, DhtCommand, PubsubCommand};
use crate::cx::Cx;
use crate::event::{DhtResult, Event, OpError};
use crate::id::{DialId, OpId, PeerIx, PublisherId};
use crate::kad::Kad;
use crate::node::operations::{DhtKind, OPERATION_TIMEOUT, Operation, Purpose, Resolve};
use crate::node::{Node, cx};
use crate::search::{ParsedQuery, Query};
use crate::time::{Duration, Instant};

/// A resolve waits so long for a node that has just started to meet its network.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// Longest search text, in bytes.
const MAX_QUERY_TEXT: usize = 1024;

/// Most results of one search: each is read, taken apart and explained, in some 40 microseconds.
const MAX_RESULTS: usize = 100;

/// Providers one DHT command may wait for.
const MAX_FOUND: usize = 100;

/// Longest provider key, in bytes (K23).
const MAX_PROVIDER_KEY: usize = 80;

impl Node {
    /// Asks something of the node.
    ///
    /// # Errors
    /// When the arguments are not acceptable. Everything later arrives as events that carry the returned id.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<OpId, CommandError> {
        self.advance(now);
        if !self.ready {
            return Err(CommandError::NotReady);
        }
        self.operations.check_room()?;
        let op = self.operations.next_id();
        match command {
            Command::Publish(new) => self.publish(op, Says::Release(new))?,
            Command::Amend(amendment) => self.publish(op, Says::Amendment(amendment))?,
            Command::PublishBatch(releases) => self.publish_batch(op, releases)?,
            Command::Search(query) => self.search(op, query)?,
            Command::Resolve(spec) => self.resolve(op, spec),
            Command::Fetch(root) => {
                self.operations.insert(op, Operation::Fetch, None);
                self.exchange.fetch(cx!(self, exchange), op, root);
            }
            Command::Follow { publisher, on } => self.catalog.follow(cx!(self, catalog), publisher, on)?,
            Command::Connect(addr) => {
                let dial = self.peers.dial_addr(self.now, &self.config, &mut self.out, addr);
                self.operations.insert(op, Operation::Connect { dial }, Some(self.now + OPERATION_TIMEOUT));
            }
            Command::Bootstrap(addrs) => {
                for addr in addrs {
                    self.peers.add_bootstrap(self.now, &self.config, &mut self.out, addr);
                }
            }
            Command::Disconnect(peer) => {
                let peer = self.peers.find_connected(&peer);
                self.peers.disconnect(&self.config, &mut self.out, peer.ok_or(CommandError::Unknown)?);
            }
            Command::Dht(command) => self.dht(op, command)?,
            Command::Pubsub(command) => self.pubsub(op, command)?,
            Command::Cancel(running) => self.cancel(running)?,
        }
        self.route();
        Ok(op)
    }

    fn search(&mut self, op: OpId, query: Query) -> Result<(), CommandError> {
        if query.text.len() > MAX_QUERY_TEXT {
            return Err(invalid("query", format!("longer than {MAX_QUERY_TEXT} bytes")));
        }
        if !(1..=MAX_RESULTS).contains(&query.limit) {
            return Err(invalid("limit", format!("must be from 1 to {MAX_RESULTS}")));
        }
        if !self.config.role.duties().catalogue {
            let parsed = ParsedQuery::new(&query).map_err(|error| invalid("query", format!("{error}")))?;
            self.operations.insert(op, Operation::Light, None);
            self.light.search(cx!(self, light), op, query, parsed);
            return Ok(());
        }
        let read = |publisher, position| self.catalog.release(publisher, position);
        let page = self.index.page(&query, read).map_err(|error| invalid("query", format!("{error}")))?;
        self.out.push(Action::Emit(Event::SearchDone { op, page }));
        Ok(())
    }

    fn resolve(&mut self, op: OpId, spec: PackageSpec) {
        match self.catalog.resolve(&spec) {
            Ok(release) => self.out.push(Action::Emit(Event::Resolved { op, release })),
            // Nothing that is heard can change that.
            Err(why @ (Unresolved::Forked | Unresolved::NoRanges(_))) => self.emit_failure(op, why.into()),
            Err(_) if !self.config.role.duties().catalogue => {
                self.operations.insert(op, Operation::Light, None);
                self.light.find(cx!(self, light), op, spec);
            }
            Err(_) if !self.sync.has_compared() && self.peers.has_entrance() => {
                self.operations.insert(op, Operation::Joining(spec), Some(self.now + JOIN_PATIENCE));
            }
            Err(_) => self.ask_for_head(op, spec),
        }
    }

    /// This node has compared catalogues with a peer, or waited long enough for that.
    pub(super) fn end_joining(&mut self, op: OpId) {
        if let Some(Operation::Joining(spec)) = self.operations.remove(op) {
            self.ask_for_head(op, spec);
        }
    }

    fn ask_for_head(&mut self, op: OpId, spec: PackageSpec) {
        let alone = self.peers.connected().next().is_none();
        match spec.publisher {
            Some(publisher) if !alone => {
                let query = self.kad.get_value(cx!(self, kad), publisher.record_key());
                self.operations.start_query(query, Purpose::Head(op));
                let resolve = Resolve { spec, publisher, query: Some(query) };
                self.operations.insert(op, Operation::Resolve(resolve), Some(self.now + OPERATION_TIMEOUT));
            }
            Some(publisher) if self.catalog.state(publisher).is_none() => self.emit_failure(op, OpError::NoPeers),
            Some(_) | None => self.emit_failure(op, self.why_unresolved(&spec)),
        }
    }

    fn why_unresolved(&self, spec: &PackageSpec) -> OpError {
        self.catalog.resolve(spec).err().map_or(OpError::NotFound, OpError::from)
    }

    /// The head record a resolve asked for: wait for the statements it promises, or give up.
    pub(super) fn learn_head(&mut self, op: OpId, record: Option<Bytes>, asked: u32, answered: u32) {
        let Some(Operation::Resolve(resolve)) = self.operations.get_mut(op) else { return };
        resolve.query = None;
        let publisher = resolve.publisher;
        let behind = record.as_ref().is_some_and(|record| self.catalog.is_behind(publisher, record));
        match record {
            Some(record) if behind => self.catalog.handle_head_record(cx!(self, catalog), record),
            None if answered == 0 && asked > 0 => self.fail(op, OpError::Timeout { asked, answered }),
            Some(_) | None => {
                self.resolve_waiting(publisher);
                self.fail_unresolved(op);
            }
        }
    }

    /// The catalogue learnt more of a publisher: some resolves may end.
    pub(super) fn resolve_waiting(&mut self, publisher: PublisherId) {
        let catalog = &self.catalog;
        let found = |(op, spec): (OpId, &PackageSpec)| catalog.resolve(spec).ok().map(|release| (op, release));
        let done: Vec<_> = self.operations.specs_of(publisher).filter_map(found).collect();
        for (op, release) in done {
            self.operations.remove(op);
            self.out.push(Action::Emit(Event::Resolved { op, release }));
        }
    }

    /// A publisher's log was fetched as far as it goes, or could not be.
    pub(super) fn caught_up(&mut self, publisher: PublisherId, ok: bool) {
        self.resolve_waiting(publisher);
        if ok {
            self.waiting(publisher).into_iter().for_each(|op| self.fail_unresolved(op));
        } else {
            self.fail_waiting(publisher, &OpError::NoProviders);
        }
        if self.local.publisher.as_ref().is_some_and(|own| own.id == publisher) {
            self.own_log_fetched(ok);
        }
    }

    /// What resolves wait for will not come.
    pub(super) fn fail_waiting(&mut self, publisher: PublisherId, error: &OpError) {
        self.waiting(publisher).into_iter().for_each(|op| self.fail(op, error.clone()));
    }

    /// Resolves that wait for a publisher's log.
    fn waiting(&self, publisher: PublisherId) -> Vec<OpId> {
        let waits = |(op, resolve): (OpId, &Resolve)| resolve.query.is_none().then_some(op);
        self.operations.resolves_of(publisher).filter_map(waits).collect()
    }

    fn fail_unresolved(&mut self, op: OpId) {
        let Some(Operation::Resolve(resolve)) = self.operations.get_mut(op) else { return };
        let spec = resolve.spec.clone();
        self.fail(op, self.why_unresolved(&spec));
    }

    fn dht(&mut self, op: OpId, command: DhtCommand) -> Result<(), CommandError> {
        let (query, kind) = match command {
            DhtCommand::Put { key, value } => {
                Kad::check_put(&self.config.kad, self.unix(), &key, &value).map_err(|reason| invalid("key", reason))?;
                (self.kad.put_value(cx!(self, kad), key, value), DhtKind::Put)
            }
            DhtCommand::Get(key) => (self.kad.get_value(cx!(self, kad), key), DhtKind::Get),
            DhtCommand::Provide(key) => {
                check_provider_key(&key)?;
                (self.kad.provide(cx!(self, kad), key), DhtKind::Provide)
            }
            DhtCommand::StopProviding(key) => {
                self.kad.stop_providing(cx!(self, kad), &key);
                self.out.push(Action::Emit(Event::Dht { op, result: DhtResult::Stopped }));
                return Ok(());
            }
            DhtCommand::FindProviders { key, count } => {
                check_provider_key(&key)?;
                if !(1..=MAX_FOUND).contains(&count) {
                    return Err(invalid("count", format!("must be from 1 to {MAX_FOUND}")));
                }
                (self.kad.find_providers(cx!(self, kad), key, count), DhtKind::FindProviders)
            }
            DhtCommand::FindPeer(peer) => {
                let key = Bytes::copy_from_slice(peer.as_bytes());
                (self.kad.find_closest(cx!(self, kad), key), DhtKind::FindPeer(peer))
            }
            DhtCommand::Closest(key) => (self.kad.find_closest(cx!(self, kad), key), DhtKind::Closest),
        };
        self.operations.start_query(query, Purpose::Command(op));
        self.operations.insert(op, Operation::Dht { query, kind }, None);
        Ok(())
    }

    pub(super) fn finish_dht_value(&mut self, op: OpId, value: Option<Bytes>, asked: u32, answered: u32) {
        match value {
            Some(value) => {
                self.operations.remove(op);
                self.out.push(Action::Emit(Event::Dht { op, result: DhtResult::Value(value) }));
            }
            None if answered == 0 && asked > 0 => self.fail(op, OpError::Timeout { asked, answered }),
            None => self.fail(op, OpError::NotFound),
        }
    }

    /// `hops` is that of a lookup of the closest servers.
    pub(super) fn finish_dht_peers(&mut self, op: OpId, found: &[PeerIx], asked: u32, answered: u32, hops: u32) {
        let Some(Operation::Dht { kind, .. }) = self.operations.get_mut(op) else { return };
        let (wanted, closest) = match kind {
            DhtKind::FindPeer(peer) => (Some(*peer), false),
            DhtKind::Closest => (None, true),
            DhtKind::Put | DhtKind::Get | DhtKind::Provide | DhtKind::FindProviders => (None, false),
        };
        let found = match wanted {
            Some(peer) => self.peers.find(&peer).into_iter().collect(),
            None => found.to_vec(),
        };
        let view = |peer: PeerIx| {
            let addrs = self.peers.addrs(peer).to_vec();
            self.peers.id(peer).filter(|_| wanted.is_none() || !addrs.is_empty()).map(|id| (id, addrs))
        };
        let peers: Vec<_> = found.into_iter().filter_map(view).collect();
        if peers.is_empty() && answered == 0 && asked > 0 {
            self.fail(op, OpError::Timeout { asked, answered });
        } else if peers.is_empty() {
            self.fail(op, OpError::NotFound);
        } else {
            self.operations.remove(op);
            let result = if closest { DhtResult::Closest { peers, hops } } else { DhtResult::Peers(peers) };
            self.out.push(Action::Emit(Event::Dht { op, result }));
        }
    }

    fn pubsub(&mut self, op: OpId, command: PubsubCommand) -> Result<(), CommandError> {
        match command {
            PubsubCommand::Subscribe(topic) => {
                self.check_topic(&topic)?;
                self.gossip.subscribe(cx!(self, gossip), topic);
            }
            PubsubCommand::Unsubscribe(topic) => {
                self.check_topic(&topic)?;
                self.gossip.unsubscribe(cx!(self, gossip), &topic);
            }
            PubsubCommand::Publish { topic, data } => {
                self.check_topic(&topic)?;
                self.gossip.publish(cx!(self, gossip), Some(op), topic, data)?;
                self.operations.insert(op, Operation::Pubsub, Some(self.now + OPERATION_TIMEOUT));
            }
        }
        Ok(())
    }

    /// The registry's own topic is not for hand-made messages.
    pub(super) fn finish_pubsub(&mut self, op: OpId, sent: Result<u32, OpError>) {
        if self.operations.publish_mut(op).is_some() {
            self.publish_moved(op, |publish| publish.sent = Some(sent.unwrap_or(0)));
        } else {
            match sent {
                Ok(sent) => {
                    self.operations.remove(op);
                    self.out.push(Action::Emit(Event::PubsubPublished { op, sent }));
                }
                Err(error) => self.fail(op, error),
            }
        }
    }

    fn check_topic(&self, topic: &str) -> Result<(), CommandError> {
        match topic {
            "" => Err(invalid("topic", "is empty")),
            topic if *topic == *self.topic => Err(invalid("topic", "is the registry's own")),
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, op: OpId) -> Result<(), CommandError> {
        match self.operations.get_mut(op) {
            None => return Err(CommandError::Unknown),
            Some(Operation::Fetch) => self.exchange.cancel(cx!(self, exchange), op),
            Some(Operation::Light) => self.light.cancel(op),
            Some(Operation::Dht { query, .. } | Operation::Resolve(Resolve { query: Some(query), .. })) => {
                let query = *query;
                self.operations.end_query(query);
                self.kad.cancel(cx!(self, kad), query);
            }
            // A statement that may be signed already stays: cancelling only ends the waiting.
            Some(
                Operation::Publish(_)
                | Operation::PublishBatch
                | Operation::Joining(_)
                | Operation::Resolve(_)
                | Operation::Connect { .. }
                | Operation::Pubsub,
            ) => {}
        }
        self.fail(op, OpError::Cancelled);
        Ok(())
    }

    pub(super) fn time_out(&mut self, op: OpId) {
        let running = self.operations.get_mut(op);
        if matches!(running, Some(Operation::Joining(_))) {
            return self.end_joining(op);
        }
        let query = if let Some(Operation::Resolve(resolve)) = running { resolve.query } else { None };
        if let Some(query) = query {
            self.operations.end_query(query);
            self.kad.cancel(cx!(self, kad), query);
        }
        self.fail(op, OpError::Timeout { asked: 0, answered: 0 });
    }

    pub(super) fn finish_connect(&mut self, dial: DialId, peer: Option<PeerIx>) {
        let Some(op) = self.operations.connect_of(dial) else { return };
        match peer.and_then(|peer| self.peers.id(peer)) {
            Some(peer) => {
                self.operations.remove(op);
                self.out.push(Action::Emit(Event::Connected { op, peer }));
            }
            None => self.fail(op, OpError::Unreachable),
        }
    }
}

fn check_provider_key(key: &[u8]) -> Result<(), CommandError> {
    let fits = (1..=MAX_PROVIDER_KEY).contains(&key.len());
    if fits { Ok(()) } else { Err(invalid("key", format!("must be 1 to {MAX_PROVIDER_KEY} bytes"))) }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> CommandError {
    CommandError::Invalid { field, reason: reason.into() }
}
