//! Messages of peers, from arrival to verdict.
//!
//! An arriving message is only *pending*: beside the first copy a few others under the same id are kept, so that a copy
//! with a wrong signature never suppresses a good one. Acceptance (or a verdict of `Ignore`, which presupposes a good
//! signature) enters the seen cache; a refused copy is remembered by its exact bytes alone.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{SendClass, SignatureCheck};
use crate::catalog::Verdict;
use crate::cx::Cx;
use crate::gossip::limits::{MAX_COPIES, MAX_PENDING, MAX_PENDING_BYTES, MAX_PENDING_PER_PEER, MAX_RELAYED};
use crate::gossip::message_id::MessageId;
use crate::gossip::send::broadcast;
use crate::gossip::{Gossip, GossipEvent};
use crate::id::{Digest, JobId, Owner, PeerId, PeerIx, is_ed25519_key};
use crate::input::GossipVersion;
use crate::peers::Offence;
use crate::wire::Protocol;
use crate::wire::gossip::{Control, PubMessage, Rpc};

/// Messages whose signature or content is being judged.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_key: BTreeMap<Digest, Candidate>,
    jobs: BTreeMap<JobId, Digest>,
    tickets: BTreeMap<u64, Digest>,
    next_ticket: u64,
    copies: usize,
    bytes: usize,
    by_source: BTreeMap<PeerIx, u32>,
}

#[derive(Debug)]
struct Candidate {
    /// Being judged.
    current: Arrival,
    others: VecDeque<Arrival>,
}

/// One exact message and everybody who sent it, the first one first.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    msg: Arc<PubMessage>,
    id: MessageId,
    author: PeerId,
    seqno: u64,
    holders: Vec<PeerIx>,
}

impl Pending {
    pub(super) fn contains(&self, key: &Digest) -> bool {
        self.by_key.contains_key(key)
    }

    /// Has the peer sent bytes that are being judged already? Then it counts as their holder.
    fn add_holder(&mut self, key: &Digest, msg: &PubMessage, peer: PeerIx) -> bool {
        let Some(candidate) = self.by_key.get_mut(key) else { return false };
        let mut copies = core::iter::once(&mut candidate.current).chain(&mut candidate.others);
        let Some(copy) = copies.find(|copy| copy.msg.raw == msg.raw) else { return false };
        if !copy.holders.contains(&peer) {
            copy.holders.push(peer);
        }
        true
    }

    fn has_room(&self, key: &Digest, source: PeerIx, len: usize) -> bool {
        self.copies < MAX_PENDING
            && self.bytes.saturating_add(len) <= MAX_PENDING_BYTES
            && self.by_source.get(&source).is_none_or(|count| *count < MAX_PENDING_PER_PEER)
            && self.by_key.get(key).is_none_or(|candidate| {
                let first = |copy: &Arrival| copy.holders.first() == Some(&source);
                candidate.others.len() + 1 < MAX_COPIES
                    && !first(&candidate.current)
                    && !candidate.others.iter().any(first)
            })
    }

    /// True when it is the first copy under its id, to be judged now.
    fn add(&mut self, key: Digest, source: PeerIx, copy: Arrival) -> bool {
        self.copies += 1;
        self.bytes += copy.msg.raw.len();
        *self.by_source.entry(source).or_default() += 1;
        match self.by_key.get_mut(&key) {
            Some(candidate) => {
                candidate.others.push_back(copy);
                false
            }
            None => {
                self.by_key.insert(key, Candidate { current: copy, others: VecDeque::new() });
                true
            }
        }
    }

    fn release(&mut self, copy: &Arrival) {
        self.copies -= 1;
        self.bytes -= copy.msg.raw.len();
        if let Some(source) = copy.holders.first()
            && let Some(count) = self.by_source.get_mut(source)
        {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(source);
            }
        }
    }

    /// Forgets every copy under an id; returns the one that was judged.
    fn take(&mut self, key: &Digest) -> Option<Arrival> {
        let Candidate { current, others } = self.by_key.remove(key)?;
        self.release(&current);
        for copy in &others {
            self.release(copy);
        }
        Some(current)
    }

    /// Forgets the copy that was judged; true when another one takes its place.
    fn advance(&mut self, key: &Digest) -> bool {
        let Some(candidate) = self.by_key.get_mut(key) else { return false };
        let Some(next) = candidate.others.pop_front() else {
            self.take(key);
            return false;
        };
        let refused = core::mem::replace(&mut candidate.current, next);
        self.release(&refused);
        true
    }

    fn current(&self, key: &Digest) -> Option<&Arrival> {
        self.by_key.get(key).map(|candidate| &candidate.current)
    }

    pub(super) fn len(&self) -> usize {
        let copies: usize = self.by_key.values().map(|candidate| 1 + candidate.others.len()).sum();
        assert_eq!(self.copies, copies);
        assert_eq!(self.by_source.values().map(|count| *count as usize).sum::<usize>(), copies);
        assert_eq!(self.jobs.len() + self.tickets.len(), self.by_key.len());
        copies
    }
}

/// What StrictSign demands, or `None`.
fn author_of(msg: &PubMessage) -> Option<(PeerId, u64)> {
    let (author, seqno) = (msg.from?, msg.seqno?);
    let key_fits = match &msg.key {
        Some(key) => author.matches_key(key),
        None => author.inlined_key().is_some(),
    };
    (key_fits && msg.signature.is_some()).then_some((author, seqno))
}

/// The key of a message that `author_of` has accepted.
fn key_of<'a>(author: &'a PeerId, msg: &'a PubMessage) -> &'a [u8] {
    msg.key.as_deref().or(author.inlined_key()).unwrap_or_default()
}

fn signature_check(copy: &Arrival) -> SignatureCheck {
    let msg = &copy.msg;
    SignatureCheck {
        key: Bytes::copy_from_slice(key_of(&copy.author, msg)),
        message: msg.signed_bytes(),
        signature: msg.signature.clone().unwrap_or_default(),
    }
}

impl Gossip {
    pub(super) fn handle_message(&mut self, cx: &mut Cx<'_>, peer: PeerIx, msg: &Arc<PubMessage>) {
        if !self.has_joined(&msg.topic) {
            return;
        }
        self.copies += 1;
        let Some((author, seqno)) = author_of(msg) else {
            cx.charge(peer, Offence::Protocol(Protocol::Gossip));
            return;
        };
        let id = MessageId::of(cx.config.gossip.content_ids, msg, author, seqno);
        let key = id.key();
        if self.wants.answered(&key, peer)
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.keep_promise();
        }
        let forgets = planted!(cx.config, GossipForgetsSeen);
        let seen = self.seen.contains(&key) && !forgets;
        if self.cache.note_aware(&key, peer) || seen || self.pending.add_holder(&key, msg, peer) {
            return;
        }
        // Whoever knows that kind of key passes it on in good faith.
        if !is_ed25519_key(key_of(&author, msg)) {
            return;
        }
        if self.refused.len() > 0 && self.refused.contains(&Digest::of(&msg.raw)) {
            cx.charge(peer, Offence::Protocol(Protocol::Gossip));
            return;
        }
        if self.authors.is_replay(self.seen.rotations(), &author, seqno) && !forgets {
            self.settle(&key);
            return;
        }
        if !self.pending.has_room(&key, peer, msg.raw.len()) {
            return;
        }
        let copy = Arrival { msg: msg.clone(), id, author, seqno, holders: alloc::vec![peer] };
        if self.pending.add(key, peer, copy) {
            self.check(cx, key);
        }
    }

    fn check(&mut self, cx: &mut Cx<'_>, key: Digest) {
        if let Some(copy) = self.pending.current(&key) {
            let job = cx.verify(Owner::Gossip, alloc::vec![signature_check(copy)]);
            self.pending.jobs.insert(job, key);
        }
    }

    pub(super) fn checked(&mut self, cx: &mut Cx<'_>, job: JobId, ok: bool) {
        let Some(key) = self.pending.jobs.remove(&job) else { return };
        let Some(copy) = self.pending.current(&key).cloned() else { return };
        if !ok {
            self.refuse(cx, key, &copy, Offence::BadSignature);
            return;
        }
        let joined = self.has_joined(&copy.msg.topic);
        // An own message that this node has forgotten, echoed by the network.
        let own = copy.author == cx.local.id;
        if own || !joined {
            self.pending.take(&key);
            self.settle(&key);
            if own {
                self.seen.insert(cx.now, key);
            }
            return;
        }
        let Some(source) = copy.holders.first().copied() else { return };
        let ticket = self.pending.next_ticket;
        self.pending.next_ticket += 1;
        self.pending.tickets.insert(ticket, key);
        let (topic, data) = (copy.msg.topic.clone(), copy.msg.data.clone());
        self.events.push_back(GossipEvent::Deliver { ticket, topic, author: copy.author, source, data });
    }

    pub(super) fn judged(&mut self, cx: &mut Cx<'_>, ticket: u64, verdict: Verdict) {
        let Some(key) = self.pending.tickets.remove(&ticket) else { return };
        match verdict {
            Verdict::Accept | Verdict::Ignore => {
                let Some(copy) = self.pending.take(&key) else { return };
                self.seen.insert(cx.now, key);
                self.authors.note(self.seen.rotations(), copy.author, copy.seqno);
                self.settle(&key);
                if verdict == Verdict::Accept && copy.msg.raw.len() <= MAX_RELAYED {
                    self.forward(cx, copy.id, copy.msg, &copy.holders);
                }
            }
            Verdict::Reject => {
                let Some(copy) = self.pending.current(&key).cloned() else { return };
                self.refuse(cx, key, &copy, Offence::BadStatement);
            }
        }
    }

    /// The copy being judged is bad: its holders pay, and another copy or another advertiser gets its chance.
    fn refuse(&mut self, cx: &mut Cx<'_>, key: Digest, copy: &Arrival, offence: Offence) {
        self.refused.insert(cx.now, Digest::of(&copy.msg.raw));
        let signed = offence != Offence::BadSignature;
        // Another copy under a content id has the same data, so the same verdict; only its signature could differ.
        let hopeless = signed && copy.id.is_content();
        if hopeless {
            self.pending.take(&key);
            self.settle(&key);
        } else if self.pending.advance(&key) {
            self.check(cx, key);
        } else {
            let moves = self.wants.refused(cx.now, key);
            self.pursue(moves);
        }
        // The application has charged the source of what it rejects.
        for holder in copy.holders.iter().skip(usize::from(signed)) {
            cx.charge(*holder, offence);
        }
    }

    /// Nobody needs to send this message any more.
    pub(super) fn settle(&mut self, key: &Digest) {
        for peer in self.wants.settled(key) {
            self.release_ask(peer);
        }
    }

    /// G14: tells the mesh, and whoever was asked for it, not to send a large message again. Its signature holds, so that
    /// a forged copy cannot keep the good one away.
    pub(super) fn tell_dont_want(&self, cx: &mut Cx<'_>, ticket: u64) {
        let Some(key) = self.pending.tickets.get(&ticket) else { return };
        let Some(copy) = self.pending.current(key) else { return };
        if copy.msg.data.len() < cx.config.gossip.idontwant_threshold {
            return;
        }
        let Some(topic) = self.topics.get(&copy.msg.topic) else { return };
        let mut peers: Vec<PeerIx> = topic.mesh.iter().copied().chain(self.wants.asked(key)).collect();
        peers.sort_unstable();
        peers.dedup();
        peers.retain(|peer| {
            let speaks = self.peers.get(*peer).is_some_and(|state| state.version >= GossipVersion::V1_2);
            speaks && !copy.holders.contains(peer)
        });
        let control = Control { idontwant: alloc::vec![copy.id.to_bytes()], ..Control::default() };
        broadcast(cx, &peers, Rpc { control, ..Rpc::default() }, SendClass::Control);
    }
}
