//! A hash map that cannot be iterated: its order can reach nothing.

use core::hash::{BuildHasher, Hash, Hasher};

#[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
use hashbrown::HashMap;

/// Get, insert and remove only. Keyed by the node's own seed, so that a peer cannot choose colliding keys.
#[derive(Clone, Debug)]
#[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
pub(crate) struct LookupMap<K, V>(HashMap<K, V, Keyed>);

impl<K: Eq + Hash, V> LookupMap<K, V> {
    #[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
    pub(crate) fn new(secret: u64) -> Self {
        Self(HashMap::with_hasher(Keyed(secret)))
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: core::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: core::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(Clone, Copy, Debug)]
struct Keyed(u64);

impl BuildHasher for Keyed {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(self.0)
    }
}

/// Multiply-and-fold over 8-byte words; the secret start makes collisions unpredictable to peers.
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // At most seven bytes are left: there is room for the length above them.
        let length = (bytes.len() as u64) << 56;
        self.mix(rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)) | length);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
