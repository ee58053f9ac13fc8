use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::net::{Conduct, Net};
use super::script::Script;
use super::{file, sum, total_len};
use crate::action::{Action, SendClass, StoreRequest};
use crate::event::Event;
use crate::exchange::unixfs::{CHUNK, MAX_BLOCK};
use crate::exchange::{prefix_of, rank};
use crate::fuzzing::TestWorld;
use crate::id::{BlockId, Codec, Digest, OpId};
use crate::input::StoreResult;
use crate::peers::Offence;
use crate::wire::Protocol;
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Want, WantKind};

fn id(n: u32) -> BlockId {
    BlockId { digest: Digest::of(&n.to_be_bytes()), codec: Codec::Raw }
}

fn offences(actions: &[Action]) -> Vec<Offence> {
    let offence = |action: &Action| match action {
        Action::Emit(Event::PeerMisbehaved { offence, .. }) => Some(*offence),
        _ => None,
    };
    actions.iter().filter_map(offence).collect()
}

/// One provider changes its blocks, one promises and sends nothing, one is honest.
#[test]
fn attack_28_wrong_bytes_or_none() {
    let (tree, blocks) = file(12 * CHUNK, 5);
    let mut net = Net::with_providers(3, tree.id, &blocks);
    net.nodes[1].conduct = Conduct::Corrupt;
    net.nodes[2].conduct = Conduct::Withholding;
    net.fetch(0, 1, tree.id);
    let sources = net.finish(0, 1).expect("fetched");
    assert!(net.holds(0, &blocks));
    assert_eq!(net.nodes[0].store.len(), blocks.len(), "nothing wrong is stored");
    assert_eq!(sources, [(TestWorld::peer_id(3), total_len(&blocks))]);

    let world = &net.nodes[0].world;
    let peer = |n| world.peers.find(&TestWorld::peer_id(n)).expect("a known peer");
    assert!(world.peers.is_banned(world.now, peer(1)), "banned after one wrong block");
    assert!(!world.peers.is_banned(world.now, peer(2)) && !world.peers.is_banned(world.now, peer(3)));
    let score = |n| rank::score(&world.peers.observed(peer(n))).total;
    assert!(score(3) > 2 * score(2), "{} {}", score(3), score(2));
    assert!(score(2) > 100 * score(1), "{} {}", score(2), score(1));

    // In the next fetch the liar is not asked, and the withholder hardly.
    let (tree, blocks) = file(4 * CHUNK, 6);
    for n in 1..4 {
        net.give(n, &blocks);
    }
    net.providers.insert(tree.id, vec![1, 2, 3]);
    net.fetch(0, 2, tree.id);
    assert_eq!(sum(&net.finish(0, 2).expect("fetched")), total_len(&blocks));
}

/// More providers promise and send nothing than one block is asked of at once.
#[test]
fn attack_28_withholders_do_not_keep_a_block_from_who_has_it() {
    let mut script = Script::new(5);
    let root = id(1);
    script.fetch(1, root);
    script.has(false);
    script.store(StoreResult::Done);
    let mut wants = script.provide(root, &[0, 1, 2, 3, 4]);
    let started = script.world.now;
    let (mut asking, mut asked) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new());
    loop {
        for (peer, kind, _) in wants {
            match kind {
                WantKind::Block => asking.insert(peer),
                WantKind::Have => false,
                WantKind::Cancel => asking.remove(&peer),
            };
        }
        asked.extend(&asking);
        assert!(asking.len() <= 3, "{asking:?}");
        if asked.len() == 5 {
            break;
        }
        let actions = script.wake();
        assert_eq!(script.failed(), [], "only {asked:?} were asked");
        wants = script.wants(&actions);
    }
    assert!(script.world.now.since(started) < script.world.config.exchange.stall_timeout / 2);
}

#[test]
fn attack_63_oversize_block_is_refused_before_it_is_hashed() {
    let mut script = Script::new(1);
    script.fetch(1, id(1));
    script.has(false);
    script.provide(id(1), &[0]);
    let data = Bytes::from(vec![0; MAX_BLOCK + 1]);
    let actions = script.receive(0, Block { prefix: prefix_of(Codec::Raw), data });
    assert_eq!(offences(&actions), [Offence::Protocol(Protocol::Bitswap)]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Hash { .. })));
}

#[test]
fn attack_63_unasked_blocks_are_dropped_and_counted() {
    let mut script = Script::new(1);
    let block = Block { prefix: prefix_of(Codec::Raw), data: Bytes::from_static(b"here, take this") };
    for _ in 0..16 {
        assert!(script.receive(0, block.clone()).is_empty(), "neither hashed nor charged");
    }
    assert_eq!(offences(&script.receive(0, block)), [Offence::Protocol(Protocol::Bitswap)]);
}

#[test]
fn attack_63_wrong_block_is_charged_and_its_sender_barred() {
    let mut script = Script::new(2);
    script.fetch(1, id(1));
    script.has(false);
    let wants = script.provide(id(1), &[0, 1]);
    let liar = wants[0].0;
    let wrong = Block { prefix: prefix_of(Codec::Raw), data: Bytes::from_static(b"not this") };
    script.receive(liar, wrong.clone());
    let actions = script.hash();
    assert_eq!(offences(&actions), [Offence::BadBlock]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Store { .. })));
    let again = script.wants(&actions);
    assert_eq!(again, [(1 - liar, WantKind::Block, id(1))], "asked of the other at once");
}

#[test]
fn attack_63_copies_of_a_block_are_no_lies_but_counted() {
    let mut script = Script::new(1);
    let [(_, block), _] = script.start_two();
    script.receive(0, block.clone());
    script.hash();
    (0..2).for_each(|_| drop(script.store(StoreResult::Done)));
    assert!(!script.pending_store(), "the first is complete, the second asked for");
    let mut copy = || {
        script.receive(0, block.clone());
        offences(&script.hash())
    };
    // One more may come in answer to the question who has it.
    assert!((0..17).all(|_| copy().is_empty()));
    assert_eq!(copy(), [Offence::Protocol(Protocol::Bitswap)]);
}

#[test]
fn attack_63_a_copy_judged_after_its_sender_is_gone_is_not_counted() {
    let mut script = Script::new(1);
    let [(_, block), _] = script.start_two();
    script.receive(0, block.clone());
    script.hash();
    (0..2).for_each(|_| drop(script.store(StoreResult::Done)));
    // The first of them may come, in answer to the question who has it.
    script.receive(0, block.clone());
    script.hash();
    script.receive(0, block);
    script.down(0);
    script.hash();
    script.world.connect(0);
    let stray = Block { prefix: prefix_of(Codec::Raw), data: Bytes::from_static(b"here, take this") };
    assert!((0..16).all(|_| offences(&script.receive(0, stray.clone())).is_empty()));
}

#[test]
fn attack_63_wantlist_flood_is_bounded() {
    let mut script = Script::new(2);
    let max = script.world.config.exchange.max_ledger;
    let wants = |from: u32, kind| -> BitswapMessage {
        let want = |n| Want { cid: Cid::Known(id(n)), priority: 1, kind, send_dont_have: true };
        BitswapMessage { wants: (from..from + 4096).map(want).collect(), ..BitswapMessage::default() }
    };
    let mut charged = Vec::new();
    for round in 0..4 {
        let actions = script.message(0, &wants(round * 4096, WantKind::Block));
        charged.extend(offences(&actions));
        let refused: usize = script.presences(&actions).len();
        assert_eq!(refused, if round == 0 { 4096 - max } else { 4096 });
        let reads = actions.iter().filter(|action| matches!(action, Action::Store { .. })).count();
        assert!(reads <= 2, "{reads} reads at once");
    }
    assert_eq!(charged, [], "as many as a frame holds are no offence");
    let mut flood = wants(0, WantKind::Have);
    flood.wants.extend(wants(0, WantKind::Have).wants);
    assert_eq!(offences(&script.message(0, &flood)), [Offence::Protocol(Protocol::Bitswap)]);

    // The other peer is served in its turn.
    let one = Want { cid: Cid::Known(id(7)), priority: 1, kind: WantKind::Block, send_dont_have: true };
    let actions = script.message(1, &BitswapMessage { wants: vec![one], ..BitswapMessage::default() });
    let read = |action: &Action| match action {
        Action::Store { request: StoreRequest::GetBlock(digest), .. } => Some(*digest),
        _ => None,
    };
    assert_eq!(actions.iter().filter_map(read).collect::<Vec<_>>(), [id(7).digest]);
}

/// Peers that want all there is room for, and of which none goes away, leave some for the next one.
#[test]
fn attack_63_full_ledgers_keep_nobody_from_a_few_wants() {
    let mut script = Script::new(65);
    let max = script.world.config.exchange.max_ledger as u32;
    let want = |n, send_dont_have| Want { cid: Cid::Known(id(n)), priority: 1, kind: WantKind::Have, send_dont_have };
    for peer in 0..64 {
        let wants = (0..max).map(|n| want(peer * max + n, false)).collect();
        script.message(peer as usize, &BitswapMessage { wants, ..BitswapMessage::default() });
    }
    let wants = (0..2 * max).map(|n| want(n, true)).collect();
    let actions = script.message(64, &BitswapMessage { wants, ..BitswapMessage::default() });
    assert_eq!(script.presences(&actions).len() as u32, 2 * max - 64);
}

/// A tree whose node declares other sizes than its children have ends the fetch, is not stored, and costs no peer.
#[test]
fn attack_63_content_that_lies_about_itself_is_not_kept() {
    let mut script = Script::new(1);
    let lie = Bytes::from_static(b"\x0a\x04\x08\x02\x18\x07");
    let root = BlockId { digest: Digest::of(&lie), codec: Codec::DagPb };
    script.fetch(1, root);
    script.has(false);
    script.provide(root, &[0]);
    script.receive(0, Block { prefix: prefix_of(Codec::DagPb), data: lie });
    let actions = script.hash();
    assert!(offences(&actions).is_empty());
    assert!(!actions.iter().any(|action| matches!(action, Action::Store { .. })));
    assert_eq!(script.failed(), [(OpId(1), crate::event::OpError::Verification)]);
}

/// What one peer has queued is bounded, whatever it asks for.
#[test]
fn attack_09_one_peer_cannot_make_this_node_queue_without_bound() {
    let mut script = Script::new(1);
    let want = |n| Want { cid: Cid::Known(id(n)), priority: 1, kind: WantKind::Block, send_dont_have: true };
    let msg = BitswapMessage { wants: (0..100).map(want).collect(), ..BitswapMessage::default() };
    script.message(0, &msg);
    let mut sent = 0;
    while script.pending_store() {
        let actions = script.store(StoreResult::Block(Some(Bytes::from(vec![0; CHUNK]))));
        sent += actions.iter().filter(|action| matches!(action, Action::Send { class: SendClass::Block, .. })).count();
    }
    let limit = script.world.config.exchange.max_queued_bytes;
    assert!((limit / CHUNK..=limit / CHUNK + 2).contains(&sent), "{sent} blocks");
    assert_eq!(script.exchange.next_deadline(), None, "time alone does not make room");
    (0..sent).for_each(|_| script.leave(0));
    assert!(script.pending_store(), "the next follows what has left");
}
