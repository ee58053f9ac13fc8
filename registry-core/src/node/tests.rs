//! A node by packet script.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::StoreRequest;
use crate::fuzzing::author::{Author, release};
use crate::fuzzing::world::{ALL_PROTOCOLS, TestWorld};
use crate::id::Token;
use crate::input::{Identity, Side, StoreResult};
use crate::wire::Kind;
use crate::wire::kad::{KadKind, KadMessage, Record};
use crate::wire::registry::RegistryMessage;
use crate::{Action, Command, Config, Event, Input, Instant, LocalPeer, Node, Seed, Start, UnixTime};

/// A publisher that has lost its store, and its only peer, which has `here` of its log.
struct Bench {
    node: Node,
    now: Instant,
    here: Author,
    /// Lookups that nobody answers.
    lookups: usize,
    signs: usize,
    events: Vec<Event>,
}

impl Bench {
    fn new(length: usize) -> Self {
        let mut here = Author::unsigned(3);
        (0..length).for_each(|n| _ = here.say(release("a", &alloc::format!("1.{n}.0"))));
        let now = Instant::from_micros(1_000_000);
        let config = Config { network: "test".into(), ..Config::default() };
        let publisher = Some(here.publisher.clone());
        let local = LocalPeer { id: TestWorld::peer_id(0), public_key: Bytes::new(), publisher };
        let start = Start { now, unix: UnixTime::from_secs(1_700_000_000) };
        let node = Node::new(Arc::new(config), local, Seed([1; 32]), start);
        let mut bench = Self { node, now, here, lookups: 0, signs: 0, events: Vec::new() };
        let (peer, addr) = (TestWorld::peer_id(1), TestWorld::addr(1));
        let info = Identity { protocols: ALL_PROTOCOLS, agent: "test".into(), listen_addrs: vec![addr.clone()] };
        bench.input(Input::RecoveryDone);
        bench.input(Input::Connected { peer, addr, side: Side::Dialer });
        bench.input(Input::Identified { peer, info });
        bench
    }

    fn input(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(action) = self.node.poll_action() {
            let input = match action {
                Action::Verify { job, .. } => Input::Verified { job, ok: true },
                Action::Store { op, request: StoreRequest::Commit(_) } => {
                    Input::Stored { op, result: StoreResult::Done }
                }
                Action::Request { id, msg, .. } => match &msg.0 {
                    Kind::Registry(msg) => {
                        let RegistryMessage::GetLog { from, .. } = **msg else { continue };
                        let at = (from as usize).min(self.here.statements.len());
                        let (record, entries) = (self.here.record(), self.here.statements[at..].to_vec());
                        Input::Response { id, msg: RegistryMessage::Log { record, from, entries }.into() }
                    }
                    Kind::Kad(msg) => {
                        self.lookups += usize::from(msg.kind == KadKind::GetValue);
                        continue;
                    }
                    Kind::Gossip(_) | Kind::Bitswap(_) => continue,
                },
                Action::Sign { .. } => {
                    self.signs += 1;
                    continue;
                }
                Action::Emit(event) => {
                    self.events.push(event);
                    continue;
                }
                Action::Store { .. }
                | Action::Dial { .. }
                | Action::Disconnect { .. }
                | Action::Send { .. }
                | Action::Respond { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => continue,
            };
            self.node.handle_input(self.now, input);
        }
    }
}

#[test]
fn an_old_head_heard_while_the_own_log_is_looked_for_does_not_end_the_search() {
    let mut bench = Bench::new(2);
    bench.node.command(bench.now, Command::Publish(release("b", "1.0.0"))).unwrap();
    bench.settle();
    assert_eq!(bench.lookups, 1);
    let key = bench.here.id().record_key();
    let record = Some(Record { key: key.clone(), value: bench.here.record() });
    let put = KadMessage { kind: KadKind::PutValue, key, record, closer: Vec::new(), providers: Vec::new() };
    bench.input(Input::Request { peer: TestWorld::peer_id(1), token: Token(1), msg: put.into() });
    assert!(bench.events.iter().any(|event| matches!(event, Event::Update { .. })), "what the head counts is fetched");
    assert_eq!(bench.signs, 0, "nobody has said yet how long the log is");
    while let Some(wake) = bench.node.poll_timeout().filter(|_| bench.signs == 0) {
        bench.now = wake.at;
        bench.node.handle_timeout(bench.now);
        bench.settle();
    }
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Failed { .. })), "{:?}", bench.events);
}
