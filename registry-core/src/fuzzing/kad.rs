//! Kademlia under peers, a shell and an application that do anything in any order.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Choices, TestWorld};
use crate::action::Action;
use crate::config::Config;
use crate::fuzzing::world::ALL_PROTOCOLS;
use crate::id::{JobId, RequestId, Token};
use crate::input::{ProtocolSet, RequestError, Side};
use crate::kad::{Kad, KadEvent, QueryId};
use crate::peers::PeerEvent;
use crate::time::Duration;
use crate::wire::Kind;
use crate::wire::kad::{KadKind, KadMessage, KadPeer, MAX_FRAME, Record};

/// Peers in play: several buckets overflow.
const PEERS: u64 = 24;

struct Model {
    world: TestWorld,
    kad: Kad,
    requests: BTreeMap<RequestId, KadKind>,
    jobs: Vec<JobId>,
    tokens: BTreeSet<Token>,
    next_token: u64,
    queries: BTreeSet<QueryId>,
    /// Queries that raised their last event.
    ended: BTreeSet<QueryId>,
}

impl Model {
    fn new() -> Self {
        let mut config = Config::default();
        config.peers.ban_threshold = 1_000;
        config.kad.k = 3;
        config.kad.alpha = 3;
        config.kad.beta = 2;
        config.kad.open_namespaces = ["test".into()].into();
        config.kad.max_provider_records = 12;
        config.kad.max_providers_per_key = 3;
        config.kad.max_records = 8;
        let mut world = TestWorld::new(config);
        let kad = Kad::new(&mut world.cx());
        Self {
            world,
            kad,
            requests: BTreeMap::new(),
            jobs: Vec::new(),
            tokens: BTreeSet::new(),
            next_token: 0,
            queries: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 | 1 => self.connect(choices),
            2 => {
                let peer = self.world.peers.find(&TestWorld::peer_id(choices.below(PEERS)));
                if let Some(peer) = peer.filter(|peer| self.world.peers.is_connected(*peer)) {
                    self.world.disconnect(peer);
                    self.kad.handle_peer_down(&mut self.world.cx(), peer);
                }
            }
            3 | 4 => self.command(choices),
            5..8 => self.request(choices),
            8..12 => self.respond(choices),
            12 => {
                if let Some(id) = self.pick_request(choices) {
                    let why = [RequestError::Timeout, RequestError::Unsupported, RequestError::Overloaded];
                    let why = why.get(choices.below(3) as usize).copied().unwrap_or(RequestError::Reset);
                    self.kad.handle_request_failed(&mut self.world.cx(), id, why);
                }
            }
            13 => {
                if !self.jobs.is_empty() {
                    let at = choices.below(self.jobs.len() as u64) as usize;
                    let job = self.jobs.remove(at);
                    self.kad.handle_verified(&mut self.world.cx(), job, choices.byte() & 1 == 0);
                }
            }
            _ => self.pass(Duration::from_millis(1 << choices.below(28))),
        }
        self.observe();
    }

    fn connect(&mut self, choices: &mut Choices<'_>) {
        let n = choices.below(PEERS);
        let serves = choices.byte() != 0;
        let protocols = if serves { ALL_PROTOCOLS } else { ProtocolSet::default() };
        if self.world.peers.find(&TestWorld::peer_id(n)).is_some_and(|peer| self.world.peers.is_connected(peer)) {
            return;
        }
        let peer = self.world.connect_as(n, Side::Listener, protocols);
        self.kad.handle_server(&mut self.world.cx(), peer, serves);
    }

    fn command(&mut self, choices: &mut Choices<'_>) {
        let (kad, cx) = (&mut self.kad, &mut self.world.cx());
        let query = match choices.below(7) {
            0 => kad.find_closest(cx, key(choices)),
            1 => kad.get_value(cx, key(choices)),
            2 => kad.put_value(cx, key(choices), value(choices)),
            3 => kad.provide(cx, key(choices)),
            4 => kad.find_providers(cx, key(choices), choices.byte().into()),
            5 => return kad.stop_providing(cx, &key(choices)),
            _ => {
                let running: Vec<_> = self.queries.difference(&self.ended).copied().collect();
                if let Some(query) = running.get(choices.below(running.len() as u64) as usize) {
                    kad.cancel(cx, *query);
                    self.ended.insert(*query);
                }
                return;
            }
        };
        assert!(self.queries.insert(query), "a number used twice");
    }

    fn request(&mut self, choices: &mut Choices<'_>) {
        let Some(peer) = self.world.peers.find(&TestWorld::peer_id(choices.below(PEERS))) else { return };
        let kind = kind(choices);
        let msg = message(choices, kind, &Bytes::new());
        self.next_token += 1;
        let token = Token(self.next_token);
        self.tokens.insert(token);
        self.kad.handle_request(&mut self.world.cx(), peer, token, &msg);
    }

    fn respond(&mut self, choices: &mut Choices<'_>) {
        let Some(id) = self.pick_request(choices) else { return };
        let kind = match choices.byte() {
            0 => kind(choices),
            _ => self.requests.get(&id).copied().unwrap_or(KadKind::Ping),
        };
        let fallback = key(choices);
        let msg = message(choices, kind, &fallback);
        self.kad.handle_response(&mut self.world.cx(), id, &msg);
    }

    /// A request of this node, sometimes one that is over, or was never made.
    fn pick_request(&self, choices: &mut Choices<'_>) -> Option<RequestId> {
        let at = choices.below(self.requests.len() as u64 + 1) as usize;
        Some(self.requests.keys().rev().nth(at).copied().unwrap_or(RequestId(at as u64)))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        for _ in 0..2_000 {
            let Some(at) = self.kad.next_deadline().filter(|at| *at <= end) else { break };
            self.world.advance(at.since(self.world.now));
            self.kad.handle_timeout(&mut self.world.cx());
            assert!(self.kad.next_deadline().is_none_or(|next| next > at), "spinning");
            self.observe();
        }
        self.world.advance(end.since(self.world.now));
    }

    fn observe(&mut self) {
        loop {
            let (actions, events) = (self.world.actions(), self.world.peer_events());
            if actions.is_empty() && events.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    Action::Request { id, peer: _, msg } => {
                        let Kind::Kad(msg) = &msg.0 else { unreachable!("not Kademlia's") };
                        assert!(self.requests.insert(id, msg.kind).is_none(), "a number used twice");
                    }
                    Action::Respond { token, msg } => {
                        assert!(self.tokens.remove(&token), "answered twice");
                        if let Some(msg) = msg {
                            let Kind::Kad(msg) = &msg.0 else { unreachable!("not Kademlia's") };
                            assert!(msg.encoded_len() <= MAX_FRAME);
                        }
                    }
                    Action::Verify { job, checks } => {
                        assert!(!checks.is_empty());
                        self.jobs.push(job);
                    }
                    Action::Dial { .. }
                    | Action::Disconnect { .. }
                    | Action::Send { .. }
                    | Action::Store { .. }
                    | Action::Emit(_)
                    | Action::SetServerMode(_) => {}
                    Action::Sign { .. } | Action::Hash { .. } | Action::Merge { .. } => unreachable!("not Kademlia's"),
                }
            }
            for event in events {
                match event {
                    PeerEvent::RequestFailed { id, why } => {
                        self.kad.handle_request_failed(&mut self.world.cx(), id, why);
                    }
                    PeerEvent::Banned { peer } => self.kad.handle_peer_banned(&mut self.world.cx(), peer),
                    PeerEvent::Down { peer } => self.kad.handle_peer_down(&mut self.world.cx(), peer),
                    PeerEvent::Visited { peer } => self.kad.explore(&mut self.world.cx(), peer),
                    PeerEvent::Up { .. }
                    | PeerEvent::Protocols { .. }
                    | PeerEvent::Dialled { .. }
                    | PeerEvent::Lonely => {}
                }
            }
        }
        while let Some(event) = self.kad.poll_event() {
            let last = match event {
                KadEvent::Providers { query, last, .. } => last.then_some(query),
                KadEvent::Value { query, .. }
                | KadEvent::Put { query, .. }
                | KadEvent::Provided { query, .. }
                | KadEvent::Closest { query, .. } => Some(query),
                KadEvent::RecordSeen { .. } => None,
            };
            if let Some(query) = last {
                assert!(self.ended.insert(query), "ended twice");
            }
        }
        self.kad.assert_bounds(&self.world.config.kad);
    }
}

fn key(choices: &mut Choices<'_>) -> Bytes {
    match choices.below(5) {
        0 => Bytes::copy_from_slice(choices.bytes(4)),
        1 => Bytes::copy_from_slice(TestWorld::peer_id(choices.below(PEERS)).as_bytes()),
        2 => Bytes::from_static(b"/test/a"),
        3 => Bytes::from(alloc::format!("/test/{}", choices.below(20))),
        _ => Bytes::from([&b"/ipns/"[..], TestWorld::peer_id(choices.below(PEERS)).as_bytes()].concat()),
    }
}

fn value(choices: &mut Choices<'_>) -> Bytes {
    let len = choices.below(6) as usize;
    Bytes::copy_from_slice(choices.bytes(len))
}

fn kind(choices: &mut Choices<'_>) -> KadKind {
    match choices.below(6) {
        0 => KadKind::PutValue,
        1 => KadKind::GetValue,
        2 => KadKind::AddProvider,
        3 => KadKind::GetProviders,
        4 => KadKind::FindNode,
        _ => KadKind::Ping,
    }
}

fn message(choices: &mut Choices<'_>, kind: KadKind, fallback: &Bytes) -> KadMessage {
    let key = if choices.byte() & 1 == 0 { key(choices) } else { fallback.clone() };
    let record = match choices.below(3) {
        0 => None,
        1 => Some(Record { key: key.clone(), value: value(choices) }),
        _ => Some(Record { key: self::key(choices), value: value(choices) }),
    };
    KadMessage { kind, key, record, closer: peers(choices), providers: peers(choices) }
}

fn peers(choices: &mut Choices<'_>) -> Vec<KadPeer> {
    let count = choices.below(9);
    let peer = |_| {
        let n = choices.below(2 * PEERS);
        let id = if n == 0 { TestWorld::peer_id(u64::MAX) } else { TestWorld::peer_id(n) };
        let addrs = (0..choices.below(3)).map(|a| TestWorld::addr(n + a)).collect();
        KadPeer { id, addrs, connected: false }
    };
    (0..count).map(peer).collect()
}

/// Arbitrary histories: every query ends once, every request is answered at most once, tables stay within their bounds.
pub fn kad(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut model = Model::new();
    while !choices.is_empty() {
        model.step(&mut choices);
    }
    for job in core::mem::take(&mut model.jobs) {
        model.kad.handle_verified(&mut model.world.cx(), job, false);
    }
    model.pass(model.world.config.kad.query_timeout * 3);
    model.observe();
    assert!(model.queries.is_subset(&model.ended), "a query that does not end");
    assert!(model.tokens.is_empty(), "a request without an answer");
}

#[cfg(test)]
mod tests {
    #[test]
    fn pseudo_random_inputs() {
        crate::fuzzing::run(120, super::kad);
    }
}
