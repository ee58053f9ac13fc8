//! Two nodes' sync over their real catalogues, with a disk and workers that never fail.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use crate::action::Action;
use crate::catalog::log::Conflict;
use crate::catalog::proof::Proof;
use crate::catalog::{Catalog, CatalogEvent};
use crate::config::Config;
use crate::fuzzing::TestWorld;
use crate::fuzzing::author::Author;
use crate::id::{Digest, PeerIx, RequestId, Token};
use crate::input::StoreResult;
use crate::sync::{EVERYTHING, Sync, SyncEvent};
use crate::time::{Duration, Instant};
use crate::wire::Kind;
use crate::wire::registry::{Difference, PublisherState, RegistryMessage};

pub(super) struct Side {
    pub(super) world: TestWorld,
    pub(super) catalog: Catalog,
    pub(super) sync: Sync,
    other: PeerIx,
}

impl Side {
    pub(super) fn new() -> Self {
        let mut world = TestWorld::new(Config { network: "test".into(), ..Config::default() });
        let other = world.connect(1);
        let catalog = Catalog::new(&mut world.cx());
        Self { world, catalog, sync: Sync::new(), other }
    }

    /// Takes a run of a log from outside.
    fn take(&mut self, record: Bytes, from: usize, entries: Vec<Bytes>) {
        let cx = &mut self.world.cx();
        self.catalog.handle_entries(cx, u64::MAX, self.other, record, from as u64, entries);
        self.settle();
    }

    /// Takes a proof that a publisher has contradicted itself from outside.
    fn learn(&mut self, proof: &Bytes) {
        self.catalog.handle_proof(&mut self.world.cx(), u64::MAX, self.other, proof);
        self.settle();
    }

    fn settle(&mut self) {
        self.route();
        while let Some(action) = self.world.out.pop() {
            self.perform(action);
            self.route();
        }
    }

    /// What is this node's own affair.
    pub(super) fn perform(&mut self, action: Action) {
        let cx = &mut self.world.cx();
        match action {
            Action::Verify { job, .. } => self.catalog.handle_verified(cx, job, true),
            Action::Store { op, .. } => self.catalog.handle_stored(cx, op, StoreResult::Done),
            Action::Emit(_) => {}
            Action::Dial { .. }
            | Action::Disconnect { .. }
            | Action::Send { .. }
            | Action::Request { .. }
            | Action::Respond { .. }
            | Action::Sign { .. }
            | Action::Hash { .. }
            | Action::Merge { .. }
            | Action::SetServerMode(_) => panic!("unexpected {action:?}"),
        }
    }

    /// Performs everything up to the next question of this node.
    fn asked(&mut self) -> (RequestId, RegistryMessage) {
        loop {
            self.route();
            let action = self.world.out.pop().expect("a question");
            if let Action::Request { id, msg, .. } = action {
                let Kind::Registry(msg) = msg.0 else { panic!("not sync's") };
                return (id, RegistryMessage::clone(&msg));
            }
            self.perform(action);
        }
    }

    fn answer(&mut self, id: RequestId, msg: RegistryMessage) {
        self.sync.handle_response(&mut self.world.cx(), &self.catalog, id, &msg);
        self.route();
    }

    fn offences(&self) -> u32 {
        self.world.peers.views(self.world.now, &self.world.config)[0].offences
    }

    fn claims(&self, authors: &[Author]) -> Vec<Option<PublisherState>> {
        authors.iter().map(|author| self.catalog.claim(author.id())).collect()
    }

    /// Carries events between sync and catalogue until both are quiet.
    pub(super) fn route(&mut self) {
        loop {
            let cx = &mut self.world.cx();
            if let Some(event) = self.catalog.poll_event() {
                match event {
                    CatalogEvent::Admitted { publisher, .. }
                    | CatalogEvent::PutOut { publisher, .. }
                    | CatalogEvent::Forked { publisher, .. } => self.sync.handle_changed(&self.catalog, publisher),
                    CatalogEvent::Judged { ticket, verdict } => {
                        self.sync.handle_judged(cx, &self.catalog, ticket, verdict);
                    }
                    CatalogEvent::Behind { publisher, want, source } => {
                        self.sync.catch_up(cx, &self.catalog, publisher, want, source, false);
                    }
                    CatalogEvent::Signed { .. }
                    | CatalogEvent::Announce { .. }
                    | CatalogEvent::NothingToChange { .. }
                    | CatalogEvent::BatchDone { .. }
                    | CatalogEvent::Refused { .. }
                    | CatalogEvent::HeadMoved { .. }
                    | CatalogEvent::PublishFailed { .. } => {}
                }
            } else if let Some(event) = self.sync.poll_event() {
                match event {
                    SyncEvent::Entries { ticket, source, record, from, entries } => {
                        self.catalog.handle_entries(cx, ticket, source, record, from, entries);
                    }
                    SyncEvent::Proof { ticket, source, proof } => {
                        self.catalog.handle_proof(cx, ticket, source, &proof);
                    }
                    SyncEvent::NeedHolders { publisher } => {
                        self.sync.handle_holders(cx, &self.catalog, publisher, &[]);
                    }
                    SyncEvent::CaughtUp { .. } | SyncEvent::Compared => {}
                }
            } else {
                return;
            }
        }
    }
}

struct Pair([Side; 2]);

impl Pair {
    fn new() -> Self {
        Self([Side::new(), Side::new()])
    }

    /// Gives a node the first `count` statements of a log, in runs as long as a catalogue takes.
    fn give(&mut self, side: usize, author: &Author, count: usize) {
        for from in (0..count).step_by(100) {
            let entries = author.statements[from..count.min(from + 100)].to_vec();
            self.0[side].take(author.record(), from, entries);
        }
    }

    fn connect(&mut self) {
        for side in &mut self.0 {
            side.sync.handle_peer_up(&mut side.world.cx(), side.other);
        }
    }

    /// Performs everything at this instant; returns how many questions were asked.
    fn settle(&mut self) -> usize {
        let mut asked = 0;
        loop {
            let mut quiet = true;
            for at in [0, 1] {
                self.0[at].route();
                while let Some(action) = self.0[at].world.out.pop() {
                    quiet = false;
                    asked += usize::from(matches!(action, Action::Request { .. }));
                    self.act(at, action);
                    self.0[at].route();
                }
            }
            if quiet {
                return asked;
            }
        }
    }

    fn act(&mut self, at: usize, action: Action) {
        let [a, b] = &mut self.0;
        let (this, that) = if at == 0 { (a, b) } else { (b, a) };
        match action {
            Action::Request { id, msg, .. } => {
                let Kind::Registry(msg) = &msg.0 else { panic!("not sync's") };
                let cx = &mut that.world.cx();
                that.sync.handle_request(cx, &that.catalog, that.other, Token(id.0), msg);
            }
            Action::Respond { token, msg } => {
                let Some(Kind::Registry(msg)) = msg.map(|msg| msg.0) else { panic!("an honest question is answered") };
                let cx = &mut that.world.cx();
                that.sync.handle_response(cx, &that.catalog, RequestId(token.0), &msg);
            }
            Action::Dial { .. }
            | Action::Disconnect { .. }
            | Action::Send { .. }
            | Action::Store { .. }
            | Action::Verify { .. }
            | Action::Sign { .. }
            | Action::Hash { .. }
            | Action::Merge { .. }
            | Action::SetServerMode(_)
            | Action::Emit(_) => this.perform(action),
        }
    }

    fn run(&mut self, length: Duration) -> usize {
        let mut asked = self.settle();
        let end = self.0[0].world.now + length;
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            for side in &mut self.0 {
                let by = at.since(side.world.now);
                side.world.advance(by);
                side.sync.handle_timeout(&mut side.world.cx(), &side.catalog);
                assert!(side.sync.next_deadline().is_none_or(|next| next > at), "spinning");
            }
            asked += self.settle();
        }
        asked
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|side| side.sync.next_deadline()).min()
    }
}

pub(super) fn author(seed: u8, length: usize) -> Author {
    let mut author = Author::unsigned(seed);
    for n in 0..length {
        author.append("thing", &alloc::format!("1.0.{n}"));
    }
    author
}

#[test]
fn a_long_log_is_fetched_in_runs_and_then_costs_one_question_a_round() {
    let mut pair = Pair::new();
    let author = author(1, 700);
    pair.give(0, &author, 700);
    pair.connect();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.0[1].catalog.len(), 700);
    let rounds = pair.run(Duration::from_secs(600));
    assert!((8..50).contains(&rounds), "{rounds} questions in ten minutes of peace");
    assert_eq!(pair.0[0].offences() + pair.0[1].offences(), 0);
}

#[test]
fn a_peer_is_held_to_what_it_claimed_and_not_to_a_head_heard_since() {
    let author = author(1, 5);
    for (claimed, offences) in [(3, 0), (4, 10)] {
        let mut side = Side::new();
        side.sync.handle_peer_up(&mut side.world.cx(), side.other);
        let at = side.sync.next_deadline().expect("a first round");
        let by = at.since(side.world.now);
        side.world.advance(by);
        side.sync.handle_timeout(&mut side.world.cx(), &side.catalog);
        let (id, _) = side.asked();
        let claim = PublisherState { publisher: author.id(), length: claimed, tip: Digest([0; 32]) };
        side.answer(id, RegistryMessage::Differences { ranges: vec![Difference::States(vec![claim])] });
        let (id, _) = side.asked();
        side.sync.catch_up(&mut side.world.cx(), &side.catalog, author.id(), 5, None, false);
        let entries = author.statements[..3].to_vec();
        side.answer(id, RegistryMessage::Log { record: author.record(), from: 0, entries });
        let (id, question) = side.asked();
        assert_eq!(question, RegistryMessage::GetLog { publisher: author.id(), from: 3 });
        side.answer(id, RegistryMessage::Log { record: author.record(), from: 3, entries: vec![] });
        assert_eq!(side.offences(), offences, "claimed {claimed}, kept 3, since heard of 5");
    }
}

#[test]
fn whoever_is_asked_for_all_of_the_own_log_tells_also_a_head_it_cannot_bear_out() {
    let [once, begun, author] = [1, 3, 5].map(|length| author(1, length));
    let mut side = Side::new();
    side.world.local.publisher = Some(author.publisher.clone());
    let peers = [2, 3, 4, 5].map(|n| side.world.connect(n));
    side.catalog = Catalog::new(&mut side.world.cx());
    peers.iter().for_each(|peer| side.sync.handle_peer_up(&mut side.world.cx(), *peer));
    side.sync.catch_up(&mut side.world.cx(), &side.catalog, author.id(), EVERYTHING, None, true);
    let (id, _) = side.asked();
    side.answer(id, RegistryMessage::Log { record: begun.record(), from: 0, entries: begun.statements.clone() });
    for record in [Bytes::new(), begun.record(), once.record(), author.record()] {
        let (id, question) = side.asked();
        assert_eq!(question, RegistryMessage::GetLog { publisher: author.id(), from: 3 });
        assert!(side.catalog.has_own_log());
        side.answer(id, RegistryMessage::Log { record, from: 3, entries: vec![] });
    }
    side.settle();
    assert_eq!((side.catalog.len(), side.catalog.has_own_log()), (3, false));
    assert_eq!((side.sync.load().1, side.offences()), (0, 0));
}

/// Two logs that part after `common` statements.
fn branches(seed: u8, common: usize) -> [Author; 2] {
    let [mut left, mut right] = [author(seed, common), author(seed, common)];
    left.append("left", "1.0.0");
    right.append("right", "1.0.0");
    [left, right]
}

fn proof([left, right]: &[Author; 2]) -> Bytes {
    let last = |author: &Author| author.statements.last().expect("a statement").clone();
    let conflict = Conflict(last(left), last(right));
    Proof::of("test", &left.publisher.inception, &conflict).expect("two at one place").bytes
}

#[test]
fn a_fork_that_sync_finds_is_proven_to_both() {
    let mut pair = Pair::new();
    let [ours, mut theirs] = branches(1, 2);
    theirs.append("right", "1.0.1");
    pair.give(0, &ours, 3);
    pair.give(1, &theirs, 4);
    pair.connect();
    let asked = pair.run(Duration::from_secs(3600));
    assert!(asked < 400, "{asked}");
    for side in &pair.0 {
        assert!(side.catalog.is_forked(ours.id()));
    }
    assert_eq!((pair.0[0].catalog.len(), pair.0[1].catalog.len()), (3, 4), "what was admitted stays");
    assert_eq!(pair.0[0].sync.digest(), pair.0[1].sync.digest());
    assert_eq!(pair.0[0].offences() + pair.0[1].offences(), 0);
}

#[test]
fn a_proof_is_fetched_once_and_then_costs_nothing() {
    let mut pair = Pair::new();
    let logs = branches(1, 1);
    pair.give(0, &logs[0], 2);
    pair.give(1, &logs[0], 2);
    pair.0[0].learn(&proof(&logs));
    pair.connect();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.0[1].catalog.proof(logs[0].id()), Some(&proof(&logs)));
    let rounds = pair.run(Duration::from_secs(600));
    assert!((8..50).contains(&rounds), "{rounds} questions in ten minutes of peace");
}

#[test]
fn a_fork_nobody_can_prove_is_left_alone() {
    let mut pair = Pair::new();
    let logs = branches(1, 2);
    (0..2).for_each(|side| pair.give(side, &logs[side], 3));
    pair.connect();
    let asked = pair.run(Duration::from_secs(3600));
    assert!(asked < 400, "{asked}");
    assert_ne!(pair.0[0].sync.digest(), pair.0[1].sync.digest());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_moves_is_what_is_missing_and_a_little_for_each_changed_publisher(
        publishers in 1u8..120,
        changes in proptest::collection::btree_map(any::<u8>(), 1usize..20, 0..12),
    ) {
        let mut pair = Pair::new();
        let mut authors: Vec<_> = (0..publishers).map(|seed| author(seed, 1)).collect();
        authors.iter().for_each(|author| (0..2).for_each(|side| pair.give(side, author, 1)));
        let (mut changed, mut missing) = (0, 0);
        for (seed, more) in changes {
            let Some(author) = authors.get_mut(usize::from(seed)) else { continue };
            for n in 0..more {
                author.append("more", &alloc::format!("1.0.{n}"));
            }
            pair.give(0, author, 1 + more);
            changed += 1;
            missing += author.statements[1..].iter().map(|statement| statement.len() as u64).sum::<u64>();
        }
        pair.connect();
        pair.run(Duration::from_secs(4));
        prop_assert_eq!(pair.0[0].sync.digest(), pair.0[1].sync.digest());
        let traffic = pair.0[1].sync.traffic();
        let depth = u64::from(publishers).ilog(16) as u64 + 1;
        // A head record, a question for its log, and on the way to it the digests of 16 parts at each depth, both ways.
        let overhead = 700 * changed + 2 * 600 * depth * changed + 300;
        prop_assert!(traffic.sent + traffic.received <= missing * 102 / 100 + overhead, "{traffic:?} for {missing}, {changed}");
    }

    /// Of some logs, a proof that they are forked is known on the one side, on the other or on both; then each side may
    /// hold another branch, or nothing.
    #[test]
    fn any_two_catalogues_become_one(
        held in proptest::collection::vec((0usize..6, 0usize..6), 1..7),
        forked in proptest::collection::vec((0usize..4, 0usize..4, 0u8..3, 0usize..2), 0..12),
    ) {
        let mut pair = Pair::new();
        let mut authors: Vec<_> = (0..).zip(&held).map(|(seed, (a, b))| author(seed, *a.max(b))).collect();
        for (author, (a, b)) in authors.iter().zip(&held) {
            pair.give(0, author, *a);
            pair.give(1, author, *b);
        }
        let wanted = held.iter().map(|(a, b)| *a.max(b)).sum::<usize>();
        for (seed, (a, b, who, branch)) in (100..).zip(&forked) {
            let logs = branches(seed, 2);
            pair.give(0, &logs[0], *a.min(&3));
            pair.give(1, &logs[*branch], *b.min(&3));
            (0..2).filter(|side| who != side).for_each(|side| pair.0[usize::from(side)].learn(&proof(&logs)));
            authors.extend(logs);
        }
        pair.connect();
        pair.run(Duration::from_secs(10));
        let [a, b] = [0, 1].map(|at| pair.0[at].claims(&authors));
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(pair.0[0].sync.digest(), pair.0[1].sync.digest());
        for side in &pair.0 {
            let whole = authors[..held.len()].iter().filter_map(|author| side.catalog.state(author.id()));
            prop_assert_eq!(whole.map(|state| state.length as usize).sum::<usize>(), wanted);
            prop_assert!(authors[held.len()..].iter().all(|author| side.catalog.is_forked(author.id())));
        }
        prop_assert_eq!(pair.0[0].offences() + pair.0[1].offences(), 0);
        prop_assert_eq!(pair.0[0].sync.load(), (0, 0, 0));
    }
}
