//! The digest of a run: a 64-bit mix of every event key and every action's encoded bytes.

use registry_core::action::{Action, StoreRequest, Write};
use registry_core::command::FoundPeers;
use registry_core::event::{DhtResult, Event, Stage};
use registry_core::search::{Part, SearchPage};
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::{World, short_id};
use crate::mix::mix;
use crate::queue::Key;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Trace {
    state: u64,
    scratch: Vec<u8>,
    recorded: Option<Vec<Recorded>>,
}

/// One event, and the digest of all before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Which one.
    pub key: Key,
    /// The digest before it.
    pub before: u64,
}

impl Trace {
    /// An event happens.
    pub fn event(&mut self, key: &Key) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(Recorded { key: *key, before: self.state });
        }
        self.word(key.at);
        self.word((key.class as u64) << 32 | u64::from(key.to));
        self.word(u64::from(key.from) << 40 ^ key.seq);
    }

    /// A node asks for something; `message` is the hash of the encoded message in it.
    pub fn action(&mut self, node: u32, action: &Action, message: Option<u64>) {
        let header = fingerprint(action, &mut self.scratch);
        self.word(u64::from(node) << 32 ^ header);
        if let Some(hash) = message {
            self.word(hash);
        }
    }

    /// Keeps every event from now on, or none.
    pub fn record(&mut self, on: bool) {
        self.recorded = on.then(Vec::new);
    }

    /// What was kept since the last call.
    pub fn take_recorded(&mut self) -> Vec<Recorded> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The digest so far.
    pub fn digest(&self) -> u64 {
        self.state
    }

    fn word(&mut self, word: u64) {
        self.state = mix(self.state.rotate_left(5) ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

/// The digests of a run at the end of each virtual second, and the events of one of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seconds {
    /// The digest at the end of each second, the first second's first.
    pub digests: Vec<u64>,
    /// Of this second the events are kept.
    pub recorded: Option<u64>,
    /// The events of that second.
    pub events: Vec<Recorded>,
}

impl Seconds {
    /// A second begins.
    pub(crate) fn begin(&self, world: &mut World) {
        world.record(self.recorded == Some(self.digests.len() as u64));
    }

    /// A second is over.
    pub(crate) fn end(&mut self, world: &mut World) {
        if self.recorded == Some(self.digests.len() as u64) {
            self.events = world.take_recorded();
        }
        self.digests.push(world.digest());
    }

    /// As a file has it.
    pub fn text(&self) -> String {
        let seconds = (0..).zip(&self.digests).map(|(second, digest)| format!("second {second} {digest:016x}\n"));
        let events = self.events.iter().map(|Recorded { key, before }| {
            let Key { at, class, to, from, seq } = key;
            format!("event {at} {class:?} to {to} from {from} seq {seq} after {before:016x}\n")
        });
        seconds.chain(events).collect()
    }
}

/// Of everything in an action but its message, by way of an unambiguous encoding where it is not short.
fn fingerprint(action: &Action, out: &mut Vec<u8>) -> u64 {
    out.clear();
    match action {
        Action::Dial { dial, peer, addrs } => {
            head(out, 0, dial.0);
            bytes(out, peer.as_ref().map_or(&[], |peer| peer.as_bytes()));
            addrs.iter().for_each(|addr| bytes(out, addr.as_ref()));
        }
        Action::Disconnect { peer, why } => {
            head(out, 1, *why as u64);
            bytes(out, peer.as_bytes());
        }
        Action::Send { peer, msg: _, class } => return mix(short_id(peer)) ^ (2 << 8 | *class as u64),
        Action::Request { id, peer, msg: _ } => return mix(mix(short_id(peer)) ^ id.0) ^ 3,
        Action::Respond { token, msg: _ } => return mix(token.0) ^ 4,
        Action::Store { op, request } => {
            head(out, 5, op.0);
            encode_store(request, out);
        }
        Action::Verify { job, checks } => {
            head(out, 6, job.0);
            for check in checks {
                [&check.key, &check.message, &check.signature].into_iter().for_each(|part| bytes(out, part));
            }
        }
        Action::Sign { job, key, bytes: message } => {
            head(out, 7, job.0);
            head(out, *key as u8, message.len() as u64);
            bytes(out, message);
        }
        Action::Hash { job, data } => {
            head(out, 8, job.0);
            content(out, data);
        }
        Action::Merge { job, parts } => {
            head(out, 11, job.0);
            for Part { segment, dead } in parts {
                bytes(out, &segment.id());
                dead.iter().for_each(|ix| head(out, 0, u64::from(*ix)));
            }
        }
        Action::SetServerMode(on) => head(out, 9, u64::from(*on)),
        Action::Emit(event) => {
            head(out, 10, 0);
            encode_event(event, out);
        }
    }
    xxh3_64(out)
}

fn encode_store(request: &StoreRequest, out: &mut Vec<u8>) {
    match request {
        StoreRequest::Commit(writes) => {
            head(out, 0, writes.len() as u64);
            for Write { table, key, value } in writes {
                head(out, *table as u8, u64::from(value.is_some()));
                bytes(out, key);
                bytes(out, value.as_deref().unwrap_or_default());
            }
        }
        StoreRequest::PutBlock { digest, data } => {
            head(out, 1, 0);
            bytes(out, &digest.0);
            content(out, data);
        }
        StoreRequest::GetBlock(digest) => {
            head(out, 2, 0);
            bytes(out, &digest.0);
        }
        StoreRequest::HasBlocks(digests) => {
            head(out, 3, digests.len() as u64);
            digests.iter().for_each(|digest| bytes(out, &digest.0));
        }
    }
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Ready => head(out, 0, 0),
        Event::PeerUp(peer) => {
            head(out, 1, 0);
            bytes(out, peer.as_bytes());
        }
        Event::PeerDown(peer) => {
            head(out, 2, 0);
            bytes(out, peer.as_bytes());
        }
        Event::PeerMisbehaved { peer, offence, banned } => {
            head(out, 3, u64::from(*banned));
            bytes(out, peer.as_bytes());
            bytes(out, format!("{offence:?}").as_bytes());
        }
        Event::Progress { op, stage } => {
            head(out, 4, op.0);
            encode_stage(*stage, out);
        }
        Event::Published { op, release, acks, sent } => {
            head(out, 5, op.0);
            head(out, 0, u64::from(*acks) << 32 | u64::from(*sent));
            bytes(out, &release.statement.0);
        }
        Event::BatchPublished { op, outcomes } => {
            head(out, 16, op.0);
            bytes(out, format!("{outcomes:?}").as_bytes());
        }
        Event::SearchDone { op, page } => {
            head(out, 6, op.0);
            encode_page(page, out);
        }
        Event::Resolved { op, release } => {
            head(out, 7, op.0);
            bytes(out, &release.statement.0);
        }
        Event::Fetched { op, root, sources } => {
            head(out, 8, op.0);
            bytes(out, &root.digest.0);
            for (peer, count) in sources {
                head(out, 0, *count);
                bytes(out, peer.as_bytes());
            }
        }
        Event::Connected { op, peer } => {
            head(out, 9, op.0);
            bytes(out, peer.as_bytes());
        }
        Event::Dht { op, result } => {
            head(out, 10, op.0);
            encode_dht(result, out);
        }
        Event::PubsubPublished { op, sent } => {
            head(out, 11, op.0);
            head(out, 0, u64::from(*sent));
        }
        Event::PubsubMessage { topic, author, data } => {
            head(out, 12, 0);
            bytes(out, topic.as_bytes());
            bytes(out, author.as_bytes());
            content(out, data);
        }
        Event::Update { kind, release } => {
            head(out, 13, *kind as u64);
            bytes(out, &release.statement.0);
        }
        Event::Forked(publisher) => {
            head(out, 17, 0);
            bytes(out, &publisher.0.0);
        }
        Event::Failed { op, error } => {
            head(out, 14, op.0);
            bytes(out, format!("{error:?}").as_bytes());
        }
        Event::StoreFailed(request) => {
            head(out, 15, 0);
            encode_store(request, out);
        }
    }
}

fn encode_stage(stage: Stage, out: &mut Vec<u8>) {
    match stage {
        Stage::CheckingLog => head(out, 0, 0),
        Stage::Signed => head(out, 1, 0),
        Stage::Stored => head(out, 2, 0),
        Stage::Announcing => head(out, 3, 0),
        Stage::Fetching { bytes, total, providers } => {
            head(out, 5, bytes);
            head(out, 0, total);
            head(out, 0, u64::from(providers));
        }
    }
}

fn encode_page(page: &SearchPage, out: &mut Vec<u8>) {
    head(out, u8::from(page.complete), page.hits.len() as u64);
    for hit in &page.hits {
        bytes(out, &hit.release.statement.0);
        head(out, 0, hit.score);
        for part in &hit.parts {
            head(out, 1, part.score);
            bytes(out, part.term.as_bytes());
            bytes(out, part.field.as_bytes());
        }
    }
}

fn encode_dht(result: &DhtResult, out: &mut Vec<u8>) {
    match result {
        DhtResult::Stored { acks } => head(out, 0, u64::from(*acks)),
        DhtResult::Value(value) => {
            head(out, 1, 0);
            content(out, value);
        }
        DhtResult::Provided { sent } => head(out, 2, u64::from(*sent)),
        DhtResult::Stopped => head(out, 3, 0),
        DhtResult::Peers(peers) => encode_peers(4, peers, out),
        DhtResult::Closest { peers, hops } => {
            head(out, 5, u64::from(*hops));
            encode_peers(5, peers, out);
        }
    }
}

fn encode_peers(tag: u8, peers: &FoundPeers, out: &mut Vec<u8>) {
    head(out, tag, peers.len() as u64);
    for (peer, addrs) in peers {
        bytes(out, peer.as_bytes());
        addrs.iter().for_each(|addr| bytes(out, addr.as_ref()));
    }
}

fn head(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&(data.len() as u64).to_le_bytes());
    out.extend_from_slice(data);
}

/// Long bytes stand in the encoding by their hash.
fn content(out: &mut Vec<u8>, data: &[u8]) {
    head(out, 0, data.len() as u64);
    out.extend_from_slice(&xxh3_64(data).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Class;

    #[test]
    fn every_part_of_a_key_and_of_an_action_counts() {
        let key = Key { at: 1, class: Class::Network, to: 2, from: 3, seq: 4 };
        let digest = |key: Key, action: Action, message| {
            let mut trace = Trace::default();
            trace.event(&key);
            trace.action(0, &action, message);
            trace.digest()
        };
        let base = digest(key, Action::SetServerMode(true), None);
        assert_eq!(base, digest(key, Action::SetServerMode(true), None));
        for other in [
            Key { at: 2, ..key },
            Key { class: Class::Local, ..key },
            Key { to: 3, ..key },
            Key { from: 2, ..key },
            Key { seq: 5, ..key },
        ] {
            assert_ne!(base, digest(other, Action::SetServerMode(true), None));
        }
        assert_ne!(base, digest(key, Action::SetServerMode(false), None));
        assert_ne!(base, digest(key, Action::SetServerMode(true), Some(1)));
        assert_ne!(base, digest(key, Action::Emit(Event::Ready), None));
    }
}
