//! Tests of the whole machine.

mod announcing;
mod answers;
mod net;
mod network;
mod serving;
mod values;

use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::fuzzing::TestWorld;
use crate::id::{PeerId, Token};
use crate::wire::kad::{KadPeer, Record};
use crate::wire::{Kind as WireKind, Message};

/// One machine in its surroundings, driven message by message. It does not refresh its table unless `refresh` is called.
pub(super) struct Script {
    pub(super) world: TestWorld,
    pub(super) kad: Kad,
    next_token: u64,
}

/// A request as it left.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) peer: PeerId,
    pub(super) msg: KadMessage,
}

/// What a machine did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) asked: Vec<Asked>,
    pub(super) sent: Vec<(PeerId, KadMessage)>,
    pub(super) answers: Vec<(Token, Option<KadMessage>)>,
    pub(super) jobs: Vec<JobId>,
    pub(super) offences: Vec<Offence>,
}

impl Script {
    pub(super) fn new(change: impl FnOnce(&mut crate::config::KadConfig)) -> Self {
        let mut config = crate::Config::default();
        config.kad.open_namespaces = ["test".into()].into();
        change(&mut config.kad);
        let mut world = TestWorld::new(config);
        let mut kad = Kad::new(&mut world.cx());
        kad.refresh.joined = true;
        world.actions();
        Self { world, kad, next_token: 0 }
    }

    /// Connects server `n`.
    pub(super) fn join(&mut self, n: u64) -> PeerIx {
        let peer = self.world.connect(n);
        self.kad.handle_server(&mut self.world.cx(), peer, true);
        peer
    }

    pub(super) fn done(&mut self) -> Done {
        let mut done = Done::default();
        for action in self.world.actions() {
            match action {
                Action::Request { id, peer, msg } => done.asked.push(Asked { id, peer, msg: typed(&msg) }),
                Action::Send { peer, msg, .. } => done.sent.push((peer, typed(&msg))),
                Action::Respond { token, msg } => done.answers.push((token, msg.as_ref().map(typed))),
                Action::Verify { job, .. } => done.jobs.push(job),
                Action::Emit(crate::Event::PeerMisbehaved { offence, .. }) => done.offences.push(offence),
                Action::Dial { .. }
                | Action::Disconnect { .. }
                | Action::Store { .. }
                | Action::Sign { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_)
                | Action::Emit(_) => {}
            }
        }
        for event in self.world.peer_events() {
            if let crate::peers::PeerEvent::RequestFailed { id, why } = event {
                self.kad.handle_request_failed(&mut self.world.cx(), id, why);
            }
        }
        done
    }

    /// A peer's question, and the immediate answer.
    pub(super) fn ask(&mut self, peer: PeerIx, msg: &KadMessage) -> Option<KadMessage> {
        self.put(peer, msg);
        let done = self.done();
        assert_eq!(done.answers.len(), 1, "exactly one answer");
        let (token, answer) = done.answers.into_iter().next().unwrap();
        assert_eq!(token, Token(self.next_token));
        answer
    }

    /// A peer's question that may be answered later.
    pub(super) fn put(&mut self, peer: PeerIx, msg: &KadMessage) {
        self.next_token += 1;
        self.kad.handle_request(&mut self.world.cx(), peer, Token(self.next_token), msg);
    }

    pub(super) fn answer(&mut self, asked: &Asked, change: impl FnOnce(&mut KadMessage)) {
        let mut msg = message(asked.msg.kind, asked.msg.key.clone());
        change(&mut msg);
        self.kad.handle_response(&mut self.world.cx(), asked.id, &msg);
    }

    pub(super) fn verified(&mut self, job: JobId, ok: bool) {
        self.kad.handle_verified(&mut self.world.cx(), job, ok);
    }

    /// Lets time pass, waking the machine whenever it wants to be woken.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while let Some(at) = self.kad.next_deadline().filter(|at| *at <= end) {
            self.world.advance(at.since(self.world.now));
            self.kad.handle_timeout(&mut self.world.cx());
            assert!(self.kad.next_deadline().is_none_or(|next| next > at), "spinning");
        }
        self.world.advance(end.since(self.world.now));
    }

    /// Lets time pass; all peers that are connected answer at once, and keep what they are told to. Returns what was
    /// announced, and how many PUT_VALUEs were sent.
    pub(super) fn play(&mut self, time: Duration) -> (Vec<KadMessage>, usize) {
        let (mut told, mut puts) = (Vec::new(), 0);
        let end = self.world.now + time;
        loop {
            let done = self.done();
            told.extend(done.sent.into_iter().map(|(_, msg)| msg));
            if done.asked.is_empty() {
                match self.kad.next_deadline().filter(|at| *at <= end) {
                    Some(at) => self.pass(at.since(self.world.now)),
                    None => break self.pass(end.since(self.world.now)),
                }
            }
            for asked in done.asked {
                puts += usize::from(asked.msg.kind == KadKind::PutValue);
                self.answer(&asked, |msg| msg.record = asked.msg.record.clone());
            }
        }
        (told, puts)
    }

    /// Learns how long answers take: here, no time at all.
    pub(super) fn warm_up(&mut self) {
        self.done();
        self.kad.find_closest(&mut self.world.cx(), Bytes::from_static(b"warm up"));
        for asked in self.done().asked {
            self.answer(&asked, |_| {});
        }
        self.events();
    }

    /// Starts a refresh now.
    pub(super) fn refresh(&mut self) {
        self.kad.start_refresh(&mut self.world.cx());
    }

    pub(super) fn events(&mut self) -> Vec<KadEvent> {
        core::iter::from_fn(|| self.kad.poll_event()).collect()
    }
}

pub(super) fn typed(msg: &Message) -> KadMessage {
    match &msg.0 {
        WireKind::Kad(msg) => KadMessage::clone(msg),
        WireKind::Gossip(_) | WireKind::Bitswap(_) | WireKind::Registry(_) => panic!("not a DHT message"),
    }
}

pub(super) fn kad_peer(n: u64) -> KadPeer {
    KadPeer { id: TestWorld::peer_id(n), addrs: [TestWorld::addr(n)].into(), connected: false }
}

pub(super) fn question(kind: KadKind, key: &[u8]) -> KadMessage {
    message(kind, Bytes::copy_from_slice(key))
}

pub(super) fn record(key: &[u8], value: &[u8]) -> Option<Record> {
    Some(Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) })
}

pub(super) fn put_question(key: &[u8], value: &[u8]) -> KadMessage {
    KadMessage { record: record(key, value), ..question(KadKind::PutValue, key) }
}

/// The key that peer `n`'s announcements carry.
pub(super) fn multihash(n: u64) -> Bytes {
    crate::id::Digest::of(&n.to_be_bytes()).to_multihash()
}
