//! The states of all publishers as a tree of digests over the ranges of their ids, for range-based set
//! reconciliation (Meyer, "Range-Based Set Reconciliation", 2023).
//!
//! The digest of a range depends on the set of states in it and on nothing else:
//!
//! ```text
//! nothing               32 zero bytes
//! at most LISTED states sha2-256(0, (id, length (8 bytes, big endian), tip) of each, in ascending order of id)
//! more                  sha2-256(1, the digest of each of the 16 parts)
//! ```
//!
//! Sums of digests would be simpler to keep, but whoever makes publishers at will can choose states whose sum is any
//! given one (Wagner, "A Generalized Birthday Problem", 2002: 2^32 work modulo 2^256 with 128 states). Here, different
//! sets of one digest are a collision of SHA-256. Boundaries lie where the ids say, not in the middle of each set, so
//! that one cached digest serves all peers, and a change hashes only the path to it: 4 ranges of 60,000 publishers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::id::{Digest, PublisherId};
use crate::wire::registry::{PARTS, PublisherState, Range};

/// A range of so many states is told as they are: not much longer than the digests of its parts.
pub(super) const LISTED: usize = 8;

/// The digest of a range without states.
pub(super) const NOTHING: Digest = Digest([0; 32]);

/// At most one state for each publisher.
#[derive(Debug, Default)]
pub(super) struct Tree(Node);

#[derive(Debug)]
struct Node {
    digest: Digest,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// At most `LISTED`, in ascending order.
    States(Vec<PublisherState>),
    Parts {
        count: usize,
        nodes: Box<[Node; PARTS]>,
    },
}

impl Default for Node {
    fn default() -> Self {
        Self { digest: NOTHING, content: Content::States(Vec::new()) }
    }
}

impl Tree {
    /// Replaces the state of a publisher; `None` removes it.
    pub(super) fn set(&mut self, publisher: PublisherId, state: Option<PublisherState>) {
        self.0.set(0, publisher, state);
    }

    pub(super) fn get(&self, publisher: PublisherId) -> Option<&PublisherState> {
        let mut node = &self.0;
        let mut depth = 0;
        while let Content::Parts { nodes, .. } = &node.content {
            node = &nodes[Range::part_at(publisher, depth)];
            depth += 1;
        }
        let Content::States(states) = &node.content else { return None };
        states.iter().find(|state| state.publisher == publisher)
    }

    pub(super) fn digest(&self, range: Range) -> Digest {
        match self.find(range) {
            Found::Node(node) => node.digest,
            Found::Some(states) => digest_of_states(&states),
        }
    }

    /// The states in a range, in ascending order; `None` when there are more than `limit`.
    pub(super) fn states(&self, range: Range, limit: usize) -> Option<Vec<PublisherState>> {
        match self.find(range) {
            Found::Node(node) if node.len() > limit => None,
            Found::Node(node) => {
                let mut states = Vec::with_capacity(node.len());
                node.collect(&mut states);
                Some(states)
            }
            Found::Some(states) => (states.len() <= limit).then_some(states),
        }
    }

    /// The digests of a range's parts.
    pub(super) fn parts(&self, range: Range) -> [Digest; PARTS] {
        match self.find(range) {
            Found::Node(Node { content: Content::Parts { nodes, .. }, .. }) => nodes.each_ref().map(|node| node.digest),
            Found::Node(_) | Found::Some(_) => {
                core::array::from_fn(|part| range.part(part).map_or(NOTHING, |part| self.digest(part)))
            }
        }
    }

    fn find(&self, range: Range) -> Found<'_> {
        let mut node = &self.0;
        for part in range.path() {
            match &node.content {
                Content::Parts { nodes, .. } => node = &nodes[part],
                Content::States(states) => {
                    let within = states.iter().copied().filter(|state| range.contains(state.publisher));
                    return Found::Some(within.collect());
                }
            }
        }
        Found::Node(node)
    }
}

/// A range has a node of its own, or is part of one whose states are listed.
enum Found<'a> {
    Node(&'a Node),
    Some(Vec<PublisherState>),
}

impl Node {
    fn len(&self) -> usize {
        match &self.content {
            Content::States(states) => states.len(),
            Content::Parts { count, .. } => *count,
        }
    }

    fn collect(&self, into: &mut Vec<PublisherState>) {
        match &self.content {
            Content::States(states) => into.extend_from_slice(states),
            Content::Parts { nodes, .. } => nodes.iter().for_each(|node| node.collect(into)),
        }
    }

    fn set(&mut self, depth: u8, publisher: PublisherId, state: Option<PublisherState>) {
        match &mut self.content {
            Content::States(states) => {
                match (states.binary_search_by_key(&publisher, |held| held.publisher), state) {
                    (Ok(at), Some(state)) => states[at] = state,
                    (Ok(at), None) => drop(states.remove(at)),
                    (Err(at), Some(state)) => states.insert(at, state),
                    (Err(_), None) => return,
                }
                if states.len() > LISTED {
                    self.split(depth);
                }
            }
            Content::Parts { count, nodes } => {
                let node = &mut nodes[Range::part_at(publisher, depth)];
                *count -= node.len();
                node.set(depth + 1, publisher, state);
                *count += node.len();
                if *count <= LISTED {
                    let mut states = Vec::with_capacity(LISTED);
                    self.collect(&mut states);
                    self.content = Content::States(states);
                }
            }
        }
        self.hash();
    }

    /// States become parts. Ids differ, so their ranges do before the last half-byte.
    fn split(&mut self, depth: u8) {
        let Content::States(states) = core::mem::replace(&mut self.content, Content::States(Vec::new())) else {
            return;
        };
        let mut nodes: Box<[Node; PARTS]> = Box::default();
        let count = states.len();
        for state in states {
            nodes[Range::part_at(state.publisher, depth)].set(depth + 1, state.publisher, Some(state));
        }
        self.content = Content::Parts { count, nodes };
    }

    fn hash(&mut self) {
        self.digest = match &self.content {
            Content::States(states) => digest_of_states(states),
            Content::Parts { nodes, .. } => digest_of_parts(&nodes.each_ref().map(|node| node.digest)),
        };
    }
}

fn digest_of_states(states: &[PublisherState]) -> Digest {
    if states.is_empty() {
        return NOTHING;
    }
    let mut hash = Sha256::new_with_prefix([0]);
    for state in states {
        hash.update(state.publisher.0.0);
        hash.update(state.length.to_be_bytes());
        hash.update(state.tip.0);
    }
    Digest(hash.finalize().into())
}

/// The digest of a range that is told by its parts.
pub(super) fn digest_of_parts(parts: &[Digest; PARTS]) -> Digest {
    let mut hash = Sha256::new_with_prefix([1]);
    parts.iter().for_each(|part| hash.update(part.0));
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn state(id: [u8; 32], length: u64) -> PublisherState {
        PublisherState { publisher: PublisherId(Digest(id)), length, tip: Digest::of(&length.to_be_bytes()) }
    }

    /// Ids that often begin alike.
    fn id() -> impl Strategy<Value = [u8; 32]> {
        (0u8..3, 0u8..20, any::<u8>(), 0u8..4).prop_map(|(first, second, far, last)| {
            let mut id = [0; 32];
            (id[0], id[1], id[20], id[31]) = (first << 4, second, far & 0x11, last);
            id
        })
    }

    fn ranges_to(publisher: PublisherId) -> impl Iterator<Item = Range> {
        let step = move |range: &Range| range.part(Range::part_at(publisher, range.depth().min(63)));
        core::iter::successors(Some(Range::ALL), step).inspect(move |range| assert!(range.contains(publisher)))
    }

    /// The definition, from the set alone.
    fn by_definition(set: &BTreeMap<PublisherId, PublisherState>, range: Range) -> Digest {
        let states: Vec<_> = set.values().copied().filter(|state| range.contains(state.publisher)).collect();
        if states.len() <= LISTED {
            return digest_of_states(&states);
        }
        digest_of_parts(&core::array::from_fn(|part| by_definition(set, range.part(part).unwrap())))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_range_is_what_the_set_says_whatever_the_order(
            steps in proptest::collection::vec((id(), 0u64..4), 0..120),
        ) {
            let (mut tree, mut set) = (Tree::default(), BTreeMap::new());
            for (id, length) in &steps {
                let (publisher, new) = (PublisherId(Digest(*id)), state(*id, *length));
                if *length == 0 {
                    set.remove(&publisher);
                } else {
                    set.insert(publisher, new);
                }
                tree.set(publisher, set.get(&publisher).copied());
            }
            prop_assert_eq!(tree.0.len(), set.len());
            for (id, _) in steps.iter().take(8) {
                let publisher = PublisherId(Digest(*id));
                prop_assert_eq!(tree.get(publisher), set.get(&publisher));
                for range in ranges_to(publisher).take(6).chain(ranges_to(publisher).skip(60)) {
                    prop_assert_eq!(tree.digest(range), by_definition(&set, range));
                    let within: Vec<_> = set.values().copied().filter(|s| range.contains(s.publisher)).collect();
                    prop_assert_eq!(tree.states(range, 1000), Some(within));
                    let parts: Vec<_> = (0..PARTS).filter_map(|part| range.part(part)).map(|part| tree.digest(part)).collect();
                    prop_assert!(range.depth() == 64 || tree.parts(range)[..] == parts[..]);
                }
            }
        }
    }

    #[test]
    fn more_states_than_asked_for_are_not_listed() {
        let mut tree = Tree::default();
        for n in 0..=LISTED as u8 {
            let id = Digest::of(&[n]).0;
            tree.set(PublisherId(Digest(id)), Some(state(id, 1)));
        }
        assert_eq!(tree.states(Range::ALL, LISTED), None);
        assert_eq!(tree.states(Range::ALL, LISTED + 1).map(|states| states.len()), Some(LISTED + 1));
        assert_eq!(Tree::default().digest(Range::ALL), NOTHING);
        assert_eq!(Tree::default().states(Range::ALL, 0), Some(vec![]));
    }
}
