//! A map whose keys are handles of peers.

use alloc::vec::Vec;

use crate::id::PeerIx;

/// Finds an entry by its slot, with two reads where a tree takes a walk. Of two handles of one slot, which are never in use
/// at once, the later one stays.
#[derive(Clone, Debug)]
pub(crate) struct PeerMap<V> {
    /// By slot: where the entry is, plus one; 0 for none.
    places: Vec<u32>,
    entries: Vec<(PeerIx, V)>,
}

impl<V> Default for PeerMap<V> {
    fn default() -> Self {
        Self { places: Vec::new(), entries: Vec::new() }
    }
}

impl<V> PeerMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn contains(&self, peer: PeerIx) -> bool {
        self.get(peer).is_some()
    }

    pub(crate) fn get(&self, peer: PeerIx) -> Option<&V> {
        let (owner, value) = self.entries.get(self.place(peer)?)?;
        (*owner == peer).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, peer: PeerIx) -> Option<&mut V> {
        let place = self.place(peer)?;
        let (owner, value) = self.entries.get_mut(place)?;
        (*owner == peer).then_some(value)
    }

    pub(crate) fn insert(&mut self, peer: PeerIx, value: V) {
        if let Some(entry) = self.place(peer).and_then(|place| self.entries.get_mut(place)) {
            *entry = (peer, value);
            return;
        }
        self.entries.push((peer, value));
        self.set_place(peer, self.entries.len());
    }

    pub(crate) fn remove(&mut self, peer: PeerIx) -> Option<V> {
        let place = self.place(peer).filter(|_| self.contains(peer))?;
        let (_, value) = self.entries.swap_remove(place);
        self.set_place(peer, 0);
        if let Some((moved, _)) = self.entries.get(place) {
            self.set_place(*moved, place + 1);
        }
        Some(value)
    }

    /// In no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerIx, &V)> {
        self.entries.iter().map(|(peer, value)| (*peer, value))
    }

    /// As `iter`.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    fn place(&self, peer: PeerIx) -> Option<usize> {
        (*self.places.get(peer.slot())? as usize).checked_sub(1)
    }

    fn set_place(&mut self, peer: PeerIx, place: usize) {
        if self.places.len() <= peer.slot() {
            self.places.resize(peer.slot() + 1, 0);
        }
        if let Some(at) = self.places.get_mut(peer.slot()) {
            *at = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_tree(steps in proptest::collection::vec((0usize..12, 1u16..3, any::<bool>()), 0..200)) {
            let mut map = PeerMap::default();
            let mut model = BTreeMap::new();
            for (step, (slot, generation, insert)) in steps.into_iter().enumerate() {
                let peer = PeerIx::new(slot, generation);
                if insert {
                    map.insert(peer, step);
                    model.retain(|other: &PeerIx, _| other.slot() != slot);
                    model.insert(peer, step);
                } else {
                    prop_assert_eq!(map.remove(peer), model.remove(&peer));
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                let entries: BTreeMap<_, _> = map.iter().map(|(peer, value)| (peer, *value)).collect();
                prop_assert_eq!(&entries, &model);
                for (peer, value) in &model {
                    prop_assert_eq!(map.get(*peer), Some(value));
                    prop_assert_eq!(map.get_mut(*peer).copied(), Some(*value));
                    prop_assert!(!map.contains(PeerIx::new(peer.slot(), 3)), "another generation");
                }
            }
        }
    }
}
