//! Hash tables that cannot be iterated: their order can reach nothing.

use core::hash::{BuildHasher, Hash, Hasher};

#[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
use hashbrown::{HashMap, HashTable};

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

    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: core::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get_mut(key)
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

/// Handles of things that carry their keys themselves: a key is kept once, where its handle leads. Keyed as `LookupMap` is.
#[derive(Clone, Debug)]
#[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
pub(crate) struct HandleTable<H> {
    handles: HashTable<H>,
    secret: Keyed,
}

impl<H: Copy> HandleTable<H> {
    #[expect(clippy::disallowed_types, reason = "the one place; no iteration leaves it")]
    pub(crate) fn new(secret: u64) -> Self {
        Self { handles: HashTable::new(), secret: Keyed(secret) }
    }

    /// The handle of `key`; `key_of` follows a handle.
    pub(crate) fn find<'a, K: Eq + Hash + 'a>(&self, key: &K, key_of: impl Fn(H) -> Option<&'a K>) -> Option<H> {
        self.handles.find(self.secret.hash_one(key), |handle| key_of(*handle) == Some(key)).copied()
    }

    /// Adds a handle whose key is not there; it leads to its key already.
    pub(crate) fn insert<'a, K: Hash + 'a>(&mut self, key: &K, handle: H, key_of: impl Fn(H) -> Option<&'a K>) {
        let hash = |handle: &H| key_of(*handle).map_or(0, |key| self.secret.hash_one(key));
        self.handles.insert_unique(self.secret.hash_one(key), handle, hash);
    }

    /// Takes out the handle of `key`, which still leads to it.
    pub(crate) fn remove<'a, K: Eq + Hash + 'a>(&mut self, key: &K, key_of: impl Fn(H) -> Option<&'a K>) {
        let is_it = |handle: &H| key_of(*handle) == Some(key);
        if let Ok(entry) = self.handles.find_entry(self.secret.hash_one(key), is_it) {
            entry.remove();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.len()
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
