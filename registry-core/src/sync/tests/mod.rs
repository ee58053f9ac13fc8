//! Sync by packet script, with an empty catalogue: what peers claim, and what they do instead of keeping their word.

mod ahead;
mod pair;

use alloc::vec;

use super::*;
use crate::action::Action;
use crate::event::Event;
use crate::fuzzing::TestWorld;
use crate::id::{Digest, PeerId, Token};
use crate::wire::Kind;
use crate::wire::registry::{Difference, PARTS, PublisherState, RangeDigest};

/// A node's sync and catalogue in their surroundings.
struct Bench {
    world: TestWorld,
    sync: Sync,
    catalog: Catalog,
}

impl Bench {
    fn new() -> Self {
        let mut config = crate::Config::default();
        config.peers.min_connections = 0;
        let mut world = TestWorld::new(config);
        let catalog = Catalog::new(&mut world.cx());
        Self { world, sync: Sync::new(), catalog }
    }

    fn connect(&mut self, n: u64) -> PeerIx {
        let peer = self.world.connect(n);
        self.sync.handle_peer_up(&mut self.world.cx(), peer);
        peer
    }

    /// Lets the next deadline pass; returns what is asked then.
    fn wake(&mut self) -> Vec<Asked> {
        let at = self.sync.next_deadline().expect("something is planned");
        let by = at.since(self.world.now);
        self.world.advance(by);
        self.sync.handle_timeout(&mut self.world.cx(), &self.catalog);
        assert!(self.sync.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
        self.asked()
    }

    fn asked(&mut self) -> Vec<Asked> {
        self.actions().0
    }

    /// Requests, answers and offences among the actions.
    #[expect(clippy::type_complexity, reason = "three lists")]
    fn actions(&mut self) -> (Vec<Asked>, Vec<(Token, Option<RegistryMessage>)>, Vec<(PeerId, Offence)>) {
        let (mut asked, mut answered, mut charged) = (vec![], vec![], vec![]);
        for action in self.world.actions() {
            match action {
                Action::Request { id, peer, msg } => asked.push((id, peer, registry(&msg))),
                Action::Respond { token, msg } => answered.push((token, msg.as_ref().map(registry))),
                Action::Emit(Event::PeerMisbehaved { peer, offence, .. }) => charged.push((peer, offence)),
                Action::Disconnect { .. } | Action::Dial { .. } => {}
                Action::Send { .. }
                | Action::Store { .. }
                | Action::Verify { .. }
                | Action::Sign { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_)
                | Action::Emit(_) => panic!("unexpected {action:?}"),
            }
        }
        (asked, answered, charged)
    }

    fn answer(&mut self, id: RequestId, msg: RegistryMessage) {
        self.sync.handle_response(&mut self.world.cx(), &self.catalog, id, &msg);
    }

    fn fail(&mut self, id: RequestId, why: RequestError) {
        self.sync.handle_request_failed(&mut self.world.cx(), &self.catalog, id, why);
    }

    fn request(&mut self, peer: PeerIx, msg: RegistryMessage) -> Option<RegistryMessage> {
        self.sync.handle_request(&mut self.world.cx(), &self.catalog, peer, Token(1), &msg);
        let (_, mut answered, _) = self.actions();
        assert_eq!(answered.len(), 1, "always answered");
        answered.remove(0).1
    }

    fn catch_up(&mut self, publisher: PublisherId, want: u64, source: Option<PeerIx>) {
        self.sync.catch_up(&mut self.world.cx(), &self.catalog, publisher, want, source, false);
    }

    fn events(&mut self) -> Vec<SyncEvent> {
        core::iter::from_fn(|| self.sync.poll_event()).collect()
    }

    /// A peer that is asked for its first comparison.
    fn compared(&mut self, n: u64) -> (PeerIx, RequestId) {
        let peer = self.connect(n);
        let [(id, _, RegistryMessage::Compare { .. })] = self.wake()[..] else { panic!("nothing compared") };
        (peer, id)
    }
}

/// Longer than any log, and yet a length.
const ENDLESS: u64 = u64::MAX - 1;

type Asked = (RequestId, PeerId, RegistryMessage);

fn registry(msg: &crate::Message) -> RegistryMessage {
    match &msg.0 {
        Kind::Registry(msg) => RegistryMessage::clone(msg),
        Kind::Kad(_) | Kind::Gossip(_) | Kind::Bitswap(_) => panic!("unexpected {msg:?}"),
    }
}

/// Publisher `n` of the first range.
fn publisher(n: u8) -> PublisherId {
    let mut id = [0; 32];
    id[31] = n;
    PublisherId(Digest(id))
}

fn claim(n: u8, length: u64) -> PublisherState {
    PublisherState { publisher: publisher(n), length, tip: Digest([n; 32]) }
}

fn page(entries: Vec<PublisherState>) -> RegistryMessage {
    RegistryMessage::Differences { ranges: vec![Difference::States(entries)] }
}

fn differences(ranges: Vec<Difference>) -> RegistryMessage {
    RegistryMessage::Differences { ranges }
}

fn same() -> RegistryMessage {
    differences(vec![Difference::None])
}

fn compare(ranges: &[(Range, Digest)]) -> RegistryMessage {
    let ranges = ranges.iter().map(|(range, digest)| RangeDigest { range: *range, digest: *digest });
    RegistryMessage::Compare { ranges: ranges.collect() }
}

fn log(from: u64, entries: &[&'static [u8]]) -> RegistryMessage {
    let entries = entries.iter().map(|entry| Bytes::from_static(entry)).collect();
    RegistryMessage::Log { record: Bytes::from_static(b"record"), from, entries }
}

fn proof(bytes: &'static [u8]) -> RegistryMessage {
    RegistryMessage::Proof { proof: Bytes::from_static(bytes) }
}

#[test]
fn equal_catalogues_cost_one_question() {
    let mut bench = Bench::new();
    bench.connect(1);
    let asked = bench.wake();
    assert_eq!(asked[0].2, compare(&[(Range::ALL, tree::NOTHING)]));
    bench.answer(asked[0].0, same());
    assert!(bench.asked().is_empty());
    assert!(bench.sync.rounds.is_empty());
    let next = bench.sync.next_deadline().unwrap();
    assert!(next.since(bench.world.now) <= bench.world.config.sync.interval * 3 / 2);
    let [(_, _, RegistryMessage::Compare { .. })] = bench.wake()[..] else { panic!("no further round") };
}

#[test]
fn of_many_new_peers_a_few_are_asked_one_after_the_other_without_polling() {
    let mut bench = Bench::new();
    for n in 0..40 {
        bench.connect(n);
    }
    let (mut questions, mut wakes) = (0, 0);
    let mut open = vec![];
    let end = bench.world.now + Duration::from_secs(3);
    while bench.sync.next_deadline().is_some_and(|next| next < end) {
        open.extend(bench.wake());
        wakes += 1;
        while let Some((id, ..)) = open.pop() {
            questions += 1;
            bench.answer(id, same());
            open.extend(bench.asked());
        }
    }
    assert_eq!((questions, wakes), (MAX_FIRST_ROUNDS, MAX_FIRST_ROUNDS));
}

#[test]
fn a_regular_round_waits_for_its_place_before_first_rounds() {
    let mut bench = Bench::new();
    let (regular, id) = bench.compared(1);
    bench.answer(id, same());
    (2..4).for_each(|n| _ = bench.compared(n));
    let newcomer = bench.connect(4);
    bench.wake();
    assert_eq!(bench.sync.due, [newcomer]);
    bench.sync.shunned.note(bench.world.now, newcomer);
    bench.sync.timers.set(Timer::Next, bench.world.now + Duration::from_millis(1));
    bench.wake();
    assert_eq!(bench.sync.due, [regular, newcomer]);
}

#[test]
fn without_partners_nothing_wakes() {
    let mut bench = Bench::new();
    assert_eq!(bench.sync.next_deadline(), None);
    let peer = bench.connect(1);
    bench.wake();
    bench.sync.handle_peer_down(&mut bench.world.cx(), peer);
    assert_eq!(bench.sync.next_deadline(), None);
}

#[test]
fn what_a_peer_has_more_of_is_fetched_a_few_at_a_time_and_judged() {
    let mut bench = Bench::new();
    let (peer, id) = bench.compared(1);
    bench.answer(id, page((0..10).map(|n| claim(n, 3)).collect()));
    let asked = bench.asked();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0].2, RegistryMessage::GetLog { publisher: publisher(0), from: 0 });
    bench.answer(asked[0].0, log(0, &[b"one", b"two"]));
    let events = bench.events();
    let [SyncEvent::Entries { ticket, source, from: 0, entries, .. }] = &events[..] else {
        panic!("unexpected {events:?}");
    };
    assert_eq!((*source, entries.len()), (peer, 2));
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, *ticket, Verdict::Ignore);
    let further = bench.asked();
    assert_eq!(further.len(), 1, "an ignored log makes room for the next one");
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, *ticket, Verdict::Reject);
    assert!(bench.actions().2.is_empty(), "a verdict counts once");
}

#[test]
fn an_ignored_log_is_not_fetched_again_in_the_next_round_with_that_peer() {
    let mut bench = Bench::new();
    // However jittered, the next round is within the setback.
    bench.world.config.sync.interval = Duration::from_secs(30);
    let (liar, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(0, 3)]));
    let fetch = bench.asked()[0].0;
    bench.answer(fetch, log(0, &[b"one"]));
    let [SyncEvent::Entries { ticket, .. }] = bench.events()[..] else { panic!("nothing to judge") };
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, ticket, Verdict::Ignore);
    assert!(bench.sync.rounds.is_empty());
    let [(id, _, RegistryMessage::Compare { .. })] = bench.wake()[..] else { panic!("no further round") };
    bench.answer(id, page(vec![claim(0, 3)]));
    assert!(bench.asked().is_empty());

    // What it sent says nothing of what others have.
    bench.sync.handle_peer_down(&mut bench.world.cx(), liar);
    let (_, id) = bench.compared(2);
    bench.answer(id, page(vec![claim(0, 3)]));
    assert_eq!(bench.asked()[0].2, RegistryMessage::GetLog { publisher: publisher(0), from: 0 });
}

#[test]
fn a_flood_of_heads_leaves_room_for_rounds_and_for_what_they_find() {
    let mut bench = Bench::new();
    for n in 0..1000u64 {
        bench.catch_up(PublisherId(Digest::of(&n.to_be_bytes())), ENDLESS, None);
    }
    bench.catch_up(publisher(7), 3, None);
    assert!(bench.sync.has_gap_room());
    let (peer, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(7, 3), claim(8, 3)]));
    let asked: Vec<_> = bench.asked().into_iter().map(|(_, from, msg)| (from, msg)).collect();
    let peer = bench.world.peers.id(peer).unwrap();
    for n in [7, 8] {
        assert!(asked.contains(&(peer, RegistryMessage::GetLog { publisher: publisher(n), from: 0 })));
    }
}

#[test]
fn what_the_application_waits_for_goes_before_a_flood_of_heads() {
    let mut bench = Bench::new();
    bench.connect(1);
    for n in 0..2000u64 {
        bench.catch_up(PublisherId(Digest::of(&n.to_be_bytes())), ENDLESS, None);
    }
    let before = bench.asked().len();
    assert!(before > 0);
    let ask = |n| RegistryMessage::GetLog { publisher: publisher(n), from: 0 };
    for n in 0..10 {
        let (cx, catalog) = (&mut bench.world.cx(), &bench.catalog);
        bench.sync.catch_up(cx, catalog, publisher(n), 3, None, true);
        let asked: Vec<_> = bench.asked().into_iter().map(|(.., msg)| msg).collect();
        assert_eq!(asked.contains(&ask(n)), n < 8, "{n}");
    }
    assert!(bench.sync.queue.front() == Some(&publisher(9)), "the last ones wait, but before the flood");
    let request = *bench.sync.requests.keys().next().unwrap();
    bench.answer(request, log(0, &[]));
    let seeking = bench.events().into_iter().find_map(|event| match event {
        SyncEvent::NeedHolders { publisher } => Some(publisher),
        SyncEvent::Entries { .. } | SyncEvent::Proof { .. } | SyncEvent::CaughtUp { .. } | SyncEvent::Compared => None,
    });
    bench.sync.handle_holders(&mut bench.world.cx(), &bench.catalog, seeking.unwrap(), &[]);
    assert_eq!(bench.asked()[0].2, ask(9));
}

#[test]
fn what_a_round_is_fetching_is_asked_of_others_too_once_somebody_waits_for_it() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(1, 3)]));
    let [(fetch, ..)] = bench.asked()[..] else { panic!("nothing fetched") };
    bench.connect(2);
    bench.catch_up(publisher(1), EVERYTHING, None);
    bench.fail(fetch, RequestError::Reset);
    let question = RegistryMessage::GetLog { publisher: publisher(1), from: 0 };
    assert!(matches!(&bench.asked()[..], [(_, from, msg)] if *from == TestWorld::peer_id(2) && *msg == question));
}

#[test]
fn everything_is_caught_up_with_when_all_were_asked_and_not_when_time_runs_out() {
    for asked in [true, false] {
        let mut bench = Bench::new();
        bench.connect(1);
        bench.catch_up(publisher(1), EVERYTHING, None);
        let [(id, ..)] = bench.asked()[..] else { panic!("nobody asked") };
        bench.answer(id, log(0, &[]));
        assert!(matches!(bench.events()[..], [SyncEvent::NeedHolders { .. }]));
        if asked {
            bench.sync.handle_holders(&mut bench.world.cx(), &bench.catalog, publisher(1), &[]);
        }
        while !bench.sync.gaps.is_empty() {
            bench.wake();
        }
        assert!(matches!(bench.events()[..], [SyncEvent::CaughtUp { ok, .. }] if ok == asked));
    }
}

#[test]
fn attack_17_a_round_that_is_drawn_out_and_brings_nothing_is_not_begun_again_soon() {
    let mut bench = Bench::new();
    let (peer, mut id) = bench.compared(1);
    let begun = bench.world.now;
    while bench.sync.rounds.contains_key(&peer) {
        let almost = bench.world.config.sync.request_timeout - Duration::from_millis(1);
        bench.world.advance(almost);
        bench.sync.handle_timeout(&mut bench.world.cx(), &bench.catalog);
        let late = bench.world.now.since(begun).as_secs() as u8;
        let parts: [_; PARTS] = core::array::from_fn(|part| if part == 0 { Digest([late; 32]) } else { tree::NOTHING });
        bench.answer(id, differences(vec![Difference::Parts(parts.into())]));
        let (asked, _, charged) = bench.actions();
        assert!(charged.is_empty(), "the deadline ends it");
        id = asked.first().map_or(id, |(id, ..)| *id);
    }
    assert!(bench.sync.shunned.is_active(bench.world.now, peer));
}

#[test]
fn a_length_that_was_only_claimed_does_not_fail_a_catch_up() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(1, ENDLESS)]));
    assert_eq!(bench.sync.gaps[&publisher(1)].wanted(), ENDLESS);
    bench.catch_up(publisher(1), 2, None);
    assert_eq!(bench.sync.gaps[&publisher(1)].wanted(), 2);
    bench.catch_up(publisher(1), 5, None);
    bench.catch_up(publisher(1), 4, None);
    assert_eq!(bench.sync.gaps[&publisher(1)].wanted(), 5);
}

#[test]
fn a_rejected_run_ends_the_round_with_its_source() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(0, 3), claim(1, 3)]));
    let fetch = bench.asked()[0].0;
    bench.answer(fetch, log(0, &[b"forged"]));
    let [SyncEvent::Entries { ticket, .. }] = bench.events()[..] else { panic!("nothing to judge") };
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, ticket, Verdict::Reject);
    assert!(bench.actions().2.is_empty(), "the catalogue has charged the source");
    assert!(bench.sync.rounds.is_empty());
    let shunned = bench.world.now;
    loop {
        let asked = bench.wake();
        if !asked.is_empty() {
            break;
        }
    }
    assert!(bench.world.now.since(shunned) >= Duration::from_secs(60), "a shunned peer is left alone");
}

#[test]
fn a_gap_tries_its_source_then_others_then_holders_and_always_ends() {
    let mut bench = Bench::new();
    let source = bench.connect(1);
    let other = bench.connect(2);
    bench.catch_up(publisher(1), 5, Some(source));
    for peer in [1, 2] {
        let [(id, from, RegistryMessage::GetLog { .. })] = bench.asked()[..] else { panic!("nobody asked") };
        assert_eq!(from, TestWorld::peer_id(peer));
        if peer == 1 { bench.answer(id, log(0, &[])) } else { bench.fail(id, RequestError::Reset) }
    }
    assert!(matches!(bench.events()[..], [SyncEvent::NeedHolders { .. }]));
    let holder = bench.world.know(3);
    let local = bench.world.local.id;
    let own = bench.world.peers.intern(local);
    let holders = [own, source, other, holder];
    bench.sync.handle_holders(&mut bench.world.cx(), &bench.catalog, publisher(1), &holders);
    let dialled = bench.world.actions();
    assert!(matches!(dialled[..], [Action::Dial { .. }]), "{dialled:?}");
    let failed = RequestId::new(Owner::Sync, 0);
    bench.fail(failed, RequestError::Unreachable);
    assert!(bench.events().is_empty(), "unknown ids are ignored");
    let waiting = *bench.sync.requests.keys().next().unwrap();
    bench.fail(waiting, RequestError::Unreachable);
    assert!(matches!(bench.events()[..], [SyncEvent::CaughtUp { ok: false, .. }]));
    bench.sync.handle_holders(&mut bench.world.cx(), &bench.catalog, publisher(1), &[holder]);
    assert!(bench.sync.gaps.is_empty() && bench.sync.requests.is_empty());
}

#[test]
fn a_gap_that_is_none_is_answered_at_once() {
    let mut bench = Bench::new();
    bench.catch_up(publisher(1), 0, None);
    assert!(matches!(bench.events()[..], [SyncEvent::CaughtUp { ok: true, .. }]));
}

#[test]
fn gaps_are_bounded_and_all_of_them_end() {
    let mut bench = Bench::new();
    bench.connect(1);
    for n in 0..2000u64 {
        bench.catch_up(PublisherId(Digest::of(&n.to_be_bytes())), 1, None);
    }
    let mut ended = 0;
    while !bench.sync.gaps.is_empty() {
        ended += bench.events().iter().filter(|event| matches!(event, SyncEvent::CaughtUp { .. })).count();
        bench.wake();
    }
    ended += bench.events().iter().filter(|event| matches!(event, SyncEvent::CaughtUp { .. })).count();
    assert_eq!(ended, 2000);
}

#[test]
fn a_claimed_fork_is_asked_for_its_proof_and_the_catalogue_judges_it() {
    let mut bench = Bench::new();
    let (peer, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(1, PublisherState::FORKED)]));
    let [(id, _, RegistryMessage::GetProof { publisher: of })] = bench.asked()[..] else { panic!("nothing asked") };
    assert_eq!(of, publisher(1));
    bench.answer(id, proof(b"proof"));
    let events = bench.events();
    let [SyncEvent::Proof { ticket, source, proof }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*source, &proof[..]), (peer, &b"proof"[..]));
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, *ticket, Verdict::Reject);
    assert!(bench.actions().2.is_empty(), "the catalogue has charged the source");
    assert!(bench.sync.rounds.is_empty() && bench.sync.gaps.is_empty());
}

#[test]
fn a_head_heard_while_a_proof_is_fetched_costs_nobody_anything() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    bench.answer(id, page(vec![claim(1, PublisherState::FORKED)]));
    let [(id, ..)] = bench.asked()[..] else { panic!("nothing asked") };
    bench.catch_up(publisher(1), 3, None);
    bench.answer(id, proof(b"proof"));
    let [SyncEvent::Proof { ticket, .. }] = bench.events()[..] else { panic!("nothing to judge") };
    bench.sync.handle_judged(&mut bench.world.cx(), &bench.catalog, ticket, Verdict::Ignore);
    assert!(bench.actions().2.is_empty());
    assert!(matches!(bench.events()[..], [SyncEvent::NeedHolders { .. }]), "the log is still looked for");
}

#[test]
fn attack_17_a_claimed_fork_without_a_proof_costs_the_peer() {
    for nothing in [proof(b""), log(0, &[b"x"])] {
        let mut bench = Bench::new();
        let (_, id) = bench.compared(1);
        bench.answer(id, page((0..200).map(|n| claim(n, PublisherState::FORKED)).collect()));
        let asked = bench.asked();
        assert!(asked.len() <= 4);
        for (id, ..) in asked {
            bench.answer(id, nothing.clone());
        }
        let (asked, _, charged) = bench.actions();
        assert!(asked.is_empty() && bench.sync.gaps.is_empty());
        assert_eq!(charged.first(), Some(&(TestWorld::peer_id(1), FAULT)));
    }
}

#[test]
fn attack_03_a_peer_that_never_answers_ends_its_round_by_the_deadline() {
    let mut bench = Bench::new();
    bench.connect(1);
    let [(id, ..)] = bench.wake()[..] else { panic!("nothing asked") };
    bench.wake();
    assert!(bench.sync.rounds.is_empty() && bench.sync.requests.is_empty());
    bench.answer(id, same());
    let (asked, _, charged) = bench.actions();
    assert!(asked.is_empty() && charged.is_empty(), "too late is ignored");
}

#[test]
fn attack_10_an_answer_of_the_wrong_kind_is_charged_once() {
    for wrong in [compare(&[]), log(0, &[b"x"]), differences(vec![]), differences(vec![Difference::None; 2])] {
        let mut bench = Bench::new();
        bench.connect(1);
        let [(id, ..)] = bench.wake()[..] else { panic!("nothing asked") };
        bench.answer(id, wrong.clone());
        bench.answer(id, wrong);
        assert_eq!(bench.actions().2, [(TestWorld::peer_id(1), FAULT)]);
        assert!(bench.sync.rounds.is_empty());
    }
}

#[test]
fn attack_10_states_out_of_order_or_of_another_range_are_charged() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    let mut parts = [tree::NOTHING; PARTS];
    parts[0] = Digest([1; 32]);
    bench.answer(id, differences(vec![Difference::Parts(parts.into())]));
    let part = Range::ALL.part(0).unwrap();
    let asked = bench.asked();
    assert_eq!(asked[0].2, compare(&[(part, tree::NOTHING)]));
    let mut elsewhere = claim(1, 1);
    elsewhere.publisher.0.0[0] = 0xF0;
    bench.answer(asked[0].0, page(vec![elsewhere]));
    assert_eq!(bench.actions().2.len(), 1);
    for states in [vec![claim(2, 1), claim(1, 1)], vec![claim(1, 1), claim(1, 1)]] {
        let mut bench = Bench::new();
        let (_, id) = bench.compared(1);
        bench.answer(id, page(states));
        assert_eq!(bench.actions().2.len(), 1);
    }
}

#[test]
fn attack_15_ranges_without_end_are_charged() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    let mut asked = vec![(id, 1)];
    let mut questions = 0;
    let charged = loop {
        let (id, ranges) = asked.pop().expect("a question or a charge");
        questions += 1;
        let parts: [_; PARTS] = core::array::from_fn(|part| Digest::of(&[questions as u8, part as u8]));
        bench.answer(id, differences(vec![Difference::Parts(parts.into()); ranges]));
        let (requests, _, charged) = bench.actions();
        assert!(bench.sync.rounds.values().all(|round| round.waiting() <= 16 * 15 * 64));
        if !charged.is_empty() {
            break charged;
        }
        let ranges =
            |msg: &RegistryMessage| if let RegistryMessage::Compare { ranges } = msg { ranges.len() } else { 0 };
        asked.extend(requests.iter().map(|(id, _, msg)| (*id, ranges(msg))));
    };
    assert_eq!(charged, [(TestWorld::peer_id(1), FAULT)]);
    assert_eq!(questions, 17);
}

#[test]
fn what_is_not_wanted_of_a_peer_is_not_compared_again_and_again() {
    let mut bench = Bench::new();
    let (peer, id) = bench.compared(1);
    let inner = claim(0, 3);
    let mut parts = [tree::NOTHING; PARTS];
    parts[0] = Digest([1; 32]);
    let split = || differences(vec![Difference::Parts(parts.into())]);
    bench.answer(id, split());
    let id = bench.asked()[0].0;
    bench.sync.ignored.note(bench.world.now, (peer, inner.publisher));
    bench.answer(id, page(vec![inner]));
    assert!(bench.sync.rounds.is_empty());
    for settled in [1, 0] {
        bench.sync.timers.set(Timer::Due(peer), bench.world.now + Duration::from_millis(1));
        let [(id, ..)] = bench.wake()[..] else { panic!("nothing compared") };
        bench.answer(id, split());
        assert!(bench.asked().is_empty() && bench.sync.rounds.is_empty(), "{settled}");
    }
    assert!(bench.sync.settled.is_active(bench.world.now, (peer, tree::NOTHING, tree::digest_of_parts(&parts))));
}

#[test]
fn attack_17_a_claim_that_delivers_nothing_costs_the_peer_and_bounded_work() {
    let mut bench = Bench::new();
    let (_, id) = bench.compared(1);
    bench.answer(id, page((0..200).map(|n| claim(n, ENDLESS)).collect()));
    let asked = bench.asked();
    assert!(asked.len() <= 4);
    for (id, ..) in asked {
        bench.answer(id, log(0, &[]));
    }
    let (asked, _, charged) = bench.actions();
    assert!(asked.is_empty() && bench.sync.gaps.is_empty());
    assert_eq!(charged, [(TestWorld::peer_id(1), FAULT)]);
}

#[test]
fn a_flood_of_questions_is_answered_with_nothing_and_charged() {
    let mut bench = Bench::new();
    let peer = bench.connect(1);
    let served = (0..2000).filter(|_| bench.request(peer, compare(&[])).is_some()).count();
    assert_eq!(served, 1000);
    assert!(bench.world.peers.is_banned(bench.world.now, peer));
    let other = bench.connect(2);
    assert!(bench.request(other, compare(&[])).is_some());
}

#[test]
fn questions_are_answered_and_what_is_none_is_charged() {
    let mut bench = Bench::new();
    let peer = bench.connect(1);
    let question = compare(&[(Range::ALL, tree::NOTHING), (Range::ALL, Digest([1; 32]))]);
    let answer = differences(vec![Difference::None, Difference::States(vec![])]);
    assert_eq!(bench.request(peer, question), Some(answer));
    let question = RegistryMessage::GetLog { publisher: publisher(1), from: u64::MAX };
    let nothing = RegistryMessage::Log { record: Bytes::new(), from: u64::MAX, entries: vec![] };
    assert_eq!(bench.request(peer, question), Some(nothing));
    assert_eq!(bench.request(peer, RegistryMessage::GetProof { publisher: publisher(1) }), Some(proof(b"")));
    for odd in [page(vec![]), log(0, &[]), differences(vec![]), proof(b"")] {
        assert_eq!(bench.request(peer, odd), None);
    }
    assert_eq!(bench.world.peers.views(bench.world.now, &bench.world.config)[0].offences, 40);
}
