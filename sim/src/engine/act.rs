//! Carries out what nodes ask for.

use bytes::Bytes;
use registry_core::action::{Action, SendClass, SigningKey, StoreRequest};
use registry_core::id::{Digest, RequestId, StoreId, Token};
use registry_core::input::{DialError, Input, RequestError};
use registry_core::search::Segment;
use registry_core::{Message, PeerId, Protocol};
use xxhash_rust::xxh3::xxh3_64;

use super::host::Inbound;
use super::{NodeIx, Payload, REQUEST_TIMEOUT, Waiting, World, short_id};
use crate::disk::Disk;
use crate::mix::{Domain, draw};
use crate::net::{Link, node_at};
use crate::queue::Class;

/// What a signature check or a signing takes a worker, in microseconds.
const SIGNATURE_TIME: u64 = 60;
/// What a worker takes to merge one document into a segment, in microseconds.
const MERGE_TIME: u64 = 5;
/// Bytes a worker hashes in a microsecond.
const HASH_RATE: u64 = 500;

/// Messages and bytes by protocol: DHT, pubsub, blocks, registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Traffic {
    /// DHT messages.
    pub kad: Count,
    /// Pubsub messages.
    pub gossip: Count,
    /// Block messages.
    pub bitswap: Count,
    /// Registry messages.
    pub registry: Count,
    /// Published messages inside the pubsub messages.
    pub payloads: u64,
}

/// Messages sent, and their bytes without length prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The last message that was encoded: a broadcast is one message to many.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) of: Message,
    hash: u64,
    pub(super) len: usize,
    /// In wire mode: what the codec made of it.
    decoded: Option<Message>,
}

impl Encoded {
    /// The length of this message, if it is the one that was encoded, or what the codec made of that.
    pub(super) fn len_of(&self, msg: &Message) -> Option<usize> {
        let is_it = self.of.is_same(msg) || self.decoded.as_ref().is_some_and(|decoded| decoded.is_same(msg));
        is_it.then_some(self.len)
    }
}

impl Traffic {
    fn count(&mut self, protocol: Protocol, bytes: usize) {
        let count = match protocol {
            Protocol::Kad => &mut self.kad,
            Protocol::Gossip => &mut self.gossip,
            Protocol::Bitswap => &mut self.bitswap,
            Protocol::Registry => &mut self.registry,
        };
        count.messages += 1;
        count.bytes += bytes as u64;
    }

    /// All messages.
    pub fn messages(&self) -> u64 {
        [self.kad, self.gossip, self.bitswap, self.registry].iter().map(|count| count.messages).sum()
    }
}

impl World {
    pub(super) fn act(&mut self, ix: NodeIx, mut action: Action) {
        let encoded = match &mut action {
            Action::Send { msg, .. } | Action::Request { msg, .. } | Action::Respond { msg: Some(msg), .. } => {
                Some(self.encode(ix, msg))
            }
            _ => None,
        };
        self.trace.action(ix, &action, encoded);
        match action {
            Action::Dial { dial, peer, addrs } => self.act_dial(ix, dial, peer, &addrs),
            Action::Disconnect { peer, why: _ } => {
                if let Some((peer, _)) = self.link_to(ix, &peer) {
                    self.disconnect(ix, peer);
                }
            }
            Action::Send { peer, msg, class } => self.act_send(ix, peer, msg, class),
            Action::Request { id, peer, msg } => self.act_request(ix, id, peer, msg),
            Action::Respond { token, msg } => self.act_respond(ix, token, msg),
            Action::Store { op, request } => self.act_store(ix, op, request),
            Action::Verify { job, checks } => {
                let ok = self.verifier.all_hold(&checks);
                let at = self.done_at(ix, SIGNATURE_TIME * checks.len() as u64);
                self.schedule_input(at, ix, Input::Verified { job, ok });
            }
            Action::Sign { job, key, bytes } => {
                let host = &self.hosts[ix as usize];
                let pair = match key {
                    SigningKey::Node => Some(&host.node_key),
                    SigningKey::Publisher => host.publisher_key.as_ref(),
                };
                let signature = pair.map(|pair| pair.sign(&bytes));
                self.schedule_input(self.done_at(ix, SIGNATURE_TIME), ix, Input::Signed { job, signature });
            }
            Action::Hash { job, data } => {
                let digest = Digest::of(&data);
                let at = self.done_at(ix, 1 + data.len() as u64 / HASH_RATE);
                self.schedule_input(at, ix, Input::Hashed { job, digest });
            }
            Action::Merge { job, parts } => {
                let documents: u64 = parts.iter().map(|part| u64::from(part.segment.documents())).sum();
                let key = parts.iter().map(|part| (part.segment.id(), part.dead.clone())).collect();
                let segment = self.merged.entry(key).or_insert_with(|| Segment::merge(&parts)).clone();
                let at = self.done_at(ix, documents * MERGE_TIME);
                self.schedule_input(at, ix, Input::Merged { job, segment: segment.into() });
            }
            Action::SetServerMode(on) => self.set_server_mode(ix, on),
            Action::Emit(event) => self.emitted.push_back((ix, event)),
        }
    }

    /// When a node's workers have done what usually takes so many microseconds.
    fn done_at(&self, ix: NodeIx, micros: u64) -> u64 {
        self.now + micros * self.conditions.slowness(ix)
    }

    /// Encodes a message, counts it and returns its hash; in wire mode what travels is what the codec makes of it.
    fn encode(&mut self, ix: NodeIx, msg: &mut Message) -> u64 {
        if !self.encoded.as_ref().is_some_and(|encoded| encoded.of.is_same(msg)) {
            self.encoded = Some(self.encode_anew(msg));
        }
        let encoded = self.encoded.as_ref().expect("set above");
        let protocol = msg.protocol();
        let bloat = if self.planted.bloated == Some(ix) { 8 << 20 } else { 0 };
        let len = encoded.len + bloat;
        if let Some(decoded) = &encoded.decoded {
            *msg = decoded.clone();
        }
        let hash = encoded.hash;
        self.traffic.count(protocol, len);
        self.traffic.payloads += msg.payloads() as u64;
        self.frames.judge(len <= protocol.max_sent_frame(), || format!("node {ix} sends {len} bytes of {protocol:?}"));
        hash
    }

    fn encode_anew(&mut self, msg: &Message) -> Encoded {
        self.scratch.clear();
        msg.encode_into(&mut self.scratch);
        let decoded = self.options.wire.then(|| {
            let decoded = Message::decode(msg.protocol(), Bytes::copy_from_slice(&self.scratch));
            assert_eq!(decoded.as_ref(), Ok(msg), "a message does not survive its codec");
            decoded.expect("compared above")
        });
        Encoded { of: msg.clone(), hash: xxh3_64(&self.scratch), len: self.scratch.len(), decoded }
    }

    fn act_dial(
        &mut self,
        ix: NodeIx,
        dial: registry_core::id::DialId,
        peer: Option<PeerId>,
        addrs: &[multiaddr::Multiaddr],
    ) {
        let target = addrs.iter().filter_map(node_at).find(|target| *target < self.len());
        match target {
            None => self.fail_dial(self.now + 1_000, ix, dial, DialError::Unreachable),
            Some(target) if target == ix => self.fail_dial(self.now + 1_000, ix, dial, DialError::Refused),
            Some(target) if peer.is_some_and(|peer| self.hosts[target as usize].local.id != peer) => {
                self.fail_dial(self.now + self.rtt(ix, target), ix, dial, DialError::WrongPeer);
            }
            Some(target) => self.dial(ix, target, dial, peer.is_none()),
        }
    }

    fn act_send(&mut self, ix: NodeIx, peer: PeerId, msg: Message, class: SendClass) {
        let Some((to, conn)) = self.open_link(ix, &peer) else { return };
        let payload = match msg.protocol() {
            Protocol::Gossip | Protocol::Bitswap => Payload::OneWay { conn, msg },
            Protocol::Kad | Protocol::Registry => Payload::Ask { conn, id: None, msg },
        };
        if !self.transmit(ix, to, payload) {
            self.at_once.push_back((ix, Input::SendDropped { peer, class }));
        } else if class == SendClass::Block {
            self.at_once.push_back((ix, Input::Sent { peer }));
        }
    }

    fn act_request(&mut self, ix: NodeIx, id: RequestId, peer: PeerId, msg: Message) {
        let Some((to, conn)) = self.open_link(ix, &peer) else {
            self.at_once.push_back((ix, Input::RequestFailed { id, why: RequestError::Disconnected }));
            return;
        };
        let host = &mut self.hosts[ix as usize];
        host.pending.insert(id, to);
        let life = host.life;
        self.waiting.push_back(Waiting { at: self.now + REQUEST_TIMEOUT, node: ix, life, id });
        let taken = self.transmit(ix, to, Payload::Ask { conn, id: Some(id), msg });
        if !taken && self.hosts[ix as usize].pending.remove(&id).is_some() {
            self.at_once.push_back((ix, Input::RequestFailed { id, why: RequestError::Overloaded }));
        }
    }

    fn act_respond(&mut self, ix: NodeIx, token: Token, msg: Option<Message>) {
        let Some(inbound) = self.hosts[ix as usize].tokens.remove(&token) else { return };
        let Inbound { peer, conn, id: Some(id) } = inbound else { return };
        if self.is_linked(ix, peer, conn) {
            let result = msg.ok_or(RequestError::Reset);
            self.transmit(ix, peer, Payload::Answer { conn, id, result });
        }
    }

    fn act_store(&mut self, ix: NodeIx, op: StoreId, request: StoreRequest) {
        let host = &mut self.hosts[ix as usize];
        let latency = Disk::latency(&request, draw(self.seed, Domain::Disk, u64::from(ix), host.seq));
        let (latency, outcome) = self.conditions.disk(ix, host.seq, latency, &request, &host.disk, &mut self.fired);
        let at = host.disk.submit(self.now, latency, op, request, outcome);
        let life = host.life;
        self.schedule(at, Class::Local, ix, ix, Payload::StoreReady { life });
    }

    pub(super) fn store_ready(&mut self, ix: NodeIx, life: u32) {
        let host = &mut self.hosts[ix as usize];
        if host.life == life
            && let Some((op, result)) = host.disk.answer()
        {
            self.input(ix, Input::Stored { op, result });
        }
    }

    pub(super) fn one_way_arrives(&mut self, from: NodeIx, to: NodeIx, conn: u64, msg: Message) {
        if self.is_linked(to, from, conn) {
            let peer = self.hosts[from as usize].peer_id_on(conn);
            self.input(to, Input::Received { peer, msg });
        }
    }

    pub(super) fn ask_arrives(&mut self, from: NodeIx, to: NodeIx, conn: u64, id: Option<RequestId>, msg: Message) {
        if !self.is_linked(to, from, conn) {
            return;
        }
        if msg.protocol() == Protocol::Kad && !self.hosts[to as usize].server {
            if let Some(id) = id {
                let result = Err(RequestError::Unsupported);
                self.transmit(to, from, Payload::Answer { conn, id, result });
            }
            return;
        }
        let token = self.next_token(to);
        self.hosts[to as usize].tokens.insert(token, Inbound { peer: from, conn, id });
        let peer = self.hosts[from as usize].peer_id_on(conn);
        self.input(to, Input::Request { peer, token, msg });
    }

    pub(super) fn answer_arrives(
        &mut self,
        from: NodeIx,
        to: NodeIx,
        conn: u64,
        id: RequestId,
        result: Result<Message, RequestError>,
    ) {
        if !self.is_linked(to, from, conn) || self.hosts[to as usize].pending.remove(&id).is_none() {
            return;
        }
        self.input(
            to,
            match result {
                Ok(msg) => Input::Response { id, msg },
                Err(why) => Input::RequestFailed { id, why },
            },
        );
    }

    fn open_link(&self, ix: NodeIx, peer: &PeerId) -> Option<(NodeIx, u64)> {
        self.link_to(ix, peer).filter(|(_, link)| link.up).map(|(to, link)| (to, link.conn))
    }

    /// A node's connection to a peer, who may be gone without its knowledge.
    fn link_to(&self, ix: NodeIx, peer: &PeerId) -> Option<(NodeIx, Link)> {
        let to = *self.by_peer.get(&short_id(peer))?;
        let link = *self.hosts[ix as usize].links.get(&to)?;
        (self.hosts[to as usize].peer_id_on(link.conn) == *peer).then_some((to, link))
    }
}
