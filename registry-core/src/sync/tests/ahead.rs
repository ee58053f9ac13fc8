//! A long log that several peers hold, or say they do.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::pair::{Side, author};
use crate::action::Action;
use crate::event::Event;
use crate::fuzzing::TestWorld;
use crate::fuzzing::author::Author;
use crate::id::{PeerId, RequestId};
use crate::input::RequestError;
use crate::sync::ahead::MAX_AHEAD;
use crate::time::Duration;
use crate::wire::Kind;
use crate::wire::registry::RegistryMessage;

const LENGTH: usize = 1500;
const RUN: usize = 128;
const PEERS: u64 = 4;

/// What a peer does when it is asked for a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Run,
    /// Cut short by its bytes.
    Short,
    /// After a third of the time it has.
    Late,
    /// One statement, at the last moment.
    Drop,
    Nothing,
    /// Of another place than the one asked for.
    Elsewhere,
    /// Whose statements do not follow each other.
    Broken,
    Failure,
    Silence,
}

/// A node that fetches the log of the first peer, and what came of it.
struct Reader {
    side: Side,
    open: VecDeque<(RequestId, PeerId, u64)>,
    /// By whom which places were asked for.
    asked: BTreeMap<PeerId, Vec<u64>>,
    most_open: usize,
    charged: Vec<PeerId>,
}

impl Reader {
    fn observe(&mut self) {
        self.side.route();
        while let Some(action) = self.side.world.out.pop() {
            match action {
                Action::Request { id, peer, msg } => {
                    let Kind::Registry(msg) = &msg.0 else { panic!("not sync's") };
                    let RegistryMessage::GetLog { from, .. } = **msg else { continue };
                    self.open.push_back((id, peer, from));
                    self.asked.entry(peer).or_default().push(from);
                }
                Action::Emit(Event::PeerMisbehaved { peer, .. }) => self.charged.push(peer),
                Action::Disconnect { .. } | Action::Dial { .. } => {}
                Action::Verify { .. }
                | Action::Store { .. }
                | Action::Emit(_)
                | Action::Send { .. }
                | Action::Respond { .. }
                | Action::Sign { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => self.side.perform(action),
            }
            self.side.route();
        }
        self.most_open = self.most_open.max(self.open.len());
    }
}

fn fetch(author: &Author, behaviour: [Answer; PEERS as usize]) -> Reader {
    let mut side = Side::new();
    let peers: Vec<_> = (1..=PEERS).map(|n| side.world.connect(n)).collect();
    peers.iter().for_each(|peer| side.sync.handle_peer_up(&mut side.world.cx(), *peer));
    let mut reader = Reader { side, open: VecDeque::new(), asked: BTreeMap::new(), most_open: 0, charged: Vec::new() };
    let Side { world, sync, catalog, .. } = &mut reader.side;
    sync.catch_up(&mut world.cx(), catalog, author.id(), LENGTH as u64, Some(peers[0]), true);
    reader.observe();
    while reader.side.sync.load().1 > 0 {
        let Some((id, peer, from)) = reader.open.pop_front() else {
            let at = reader.side.sync.next_deadline().expect("something is waited for");
            let by = at.since(reader.side.world.now);
            reader.side.world.advance(by);
            let Side { world, sync, catalog, .. } = &mut reader.side;
            sync.handle_timeout(&mut world.cx(), catalog);
            reader.observe();
            continue;
        };
        let n = (1..=PEERS).find(|n| TestWorld::peer_id(*n) == peer).expect("one of them");
        let at = (from as usize).min(LENGTH);
        let mut entries = author.statements[at..LENGTH.min(at + RUN)].to_vec();
        let answer = behaviour[n as usize - 1];
        let from = if answer == Answer::Elsewhere { from + 1 } else { from };
        match answer {
            Answer::Nothing => entries.clear(),
            Answer::Short => entries.truncate(RUN / 6),
            Answer::Broken => entries.swap(0, 1),
            Answer::Late => {
                let third = reader.side.world.config.sync.request_timeout / 3;
                reader.side.world.advance(third);
            }
            Answer::Drop => {
                entries.truncate(1);
                let almost = reader.side.world.config.sync.request_timeout - Duration::from_millis(1);
                reader.side.world.advance(almost);
            }
            Answer::Run | Answer::Elsewhere | Answer::Failure | Answer::Silence => {}
        }
        let Side { world, sync, catalog, .. } = &mut reader.side;
        match answer {
            Answer::Silence => {}
            Answer::Failure => sync.handle_request_failed(&mut world.cx(), catalog, id, RequestError::Reset),
            Answer::Run
            | Answer::Short
            | Answer::Late
            | Answer::Drop
            | Answer::Nothing
            | Answer::Elsewhere
            | Answer::Broken => {
                let msg = RegistryMessage::Log { record: author.record(), from, entries };
                sync.handle_response(&mut world.cx(), catalog, id, &msg);
            }
        }
        reader.observe();
    }
    let (rounds, _, requests) = reader.side.sync.load();
    assert!(requests <= rounds, "nothing of it is left behind");
    reader
}

#[test]
fn a_long_log_is_fetched_of_all_holders_at_once_and_each_run_once() {
    let author = author(1, LENGTH);
    let reader = fetch(&author, [Answer::Run; 4]);
    assert_eq!(reader.side.catalog.len(), LENGTH);
    assert_eq!(reader.most_open, 1 + MAX_AHEAD);
    assert_eq!(reader.asked.len() as u64, PEERS, "all are asked");
    let mut places: Vec<_> = reader.asked.into_values().flatten().collect();
    places.sort_unstable();
    assert_eq!(places, (0..LENGTH as u64).step_by(RUN).collect::<Vec<_>>());
    assert!(reader.charged.is_empty());
}

#[test]
fn over_a_slow_link_one_run_is_asked_for_after_the_other() {
    let author = author(1, LENGTH);
    let reader = fetch(&author, [Answer::Late; 4]);
    assert_eq!((reader.side.catalog.len(), reader.most_open), (LENGTH, 1));
    assert!(reader.charged.is_empty());
}

#[test]
fn runs_cut_short_by_their_bytes_come_one_after_the_other_and_once() {
    let author = author(1, LENGTH);
    let reader = fetch(&author, [Answer::Short; 4]);
    assert_eq!((reader.side.catalog.len(), reader.most_open), (LENGTH, 1));
    let mut places: Vec<_> = reader.asked.into_values().flatten().collect();
    places.sort_unstable();
    assert_eq!(places, (0..LENGTH as u64).step_by(RUN / 6).collect::<Vec<_>>());
}

#[test]
fn whoever_gives_a_log_drop_by_drop_does_not_keep_it_from_others() {
    let author = author(1, LENGTH);
    let began = Side::new().world.now;
    let reader = fetch(&author, [Answer::Drop, Answer::Run, Answer::Run, Answer::Run]);
    assert_eq!(reader.side.catalog.len(), LENGTH);
    let took = reader.side.world.now.since(began);
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn whoever_fails_is_left_out_and_who_lies_is_charged() {
    let author = author(1, LENGTH);
    for (bad, charged) in [
        (Answer::Nothing, false),
        (Answer::Failure, false),
        (Answer::Silence, false),
        (Answer::Elsewhere, true),
        (Answer::Broken, true),
    ] {
        for behaviour in [[Answer::Run, bad, Answer::Run, bad], [Answer::Run, bad, bad, bad]] {
            let reader = fetch(&author, behaviour);
            assert_eq!(reader.side.catalog.len(), LENGTH);
            let honest = |n: u64| behaviour[n as usize - 1] == Answer::Run;
            for n in 1..=PEERS {
                let id = TestWorld::peer_id(n);
                assert_eq!(reader.charged.contains(&id), charged && !honest(n));
                assert!(honest(n) || reader.asked[&id].len() <= MAX_AHEAD, "not asked again and again");
            }
        }
    }
}
