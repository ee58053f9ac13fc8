//! The key space: positions, and the XOR metric between them.

use crate::id::Digest;

/// A point of the 256-bit key space: the sha2-256 of a key, or of a peer id's multihash bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Position([u64; 4]);

/// The XOR of two positions; ordered as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Distance([u64; 4]);

impl Position {
    pub(crate) fn of(key: &[u8]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(Digest::of(key).0.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        }
        Self(words)
    }

    pub(crate) fn distance(self, other: Self) -> Distance {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word ^= other;
        }
        Distance(words)
    }
}

impl Distance {
    /// Leading bits the two positions share: 0 to 256.
    pub(crate) fn common_prefix(self) -> usize {
        let zeros = self.0.iter().take_while(|word| **word == 0).count();
        let partial = self.0.get(zeros).map_or(0, |word| word.leading_zeros());
        zeros * 64 + partial as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PeerId;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn hex(position: Position) -> String {
        position.0.iter().map(|word| format!("{word:016x}")).collect()
    }

    #[test]
    fn golden_vectors_of_the_ipfs_specification() {
        let peer: PeerId = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS".parse().unwrap();
        assert_eq!(
            hex(Position::of(peer.as_bytes())),
            "e43d28f0996557c0d5571d75c62a57a59d7ac1d30a51ecedcdb9d5e4afa56100"
        );
        let multihash = "1220e536c7f88d731f374dccb568aff6f56e838a19382e488039b1ca8ad2599e82fe";
        let bytes: Vec<u8> =
            (0..multihash.len()).step_by(2).map(|i| u8::from_str_radix(&multihash[i..i + 2], 16).unwrap()).collect();
        assert_eq!(hex(Position::of(&bytes)), "d623250f3f660ab4c3a53d3c97b3f6a0194c548053488d093520206248253bcb");
    }

    #[test]
    fn the_metric() {
        let [a, b] = [Position::of(b"a"), Position::of(b"b")];
        assert_eq!(a.distance(b), b.distance(a));
        assert_eq!(a.distance(a).common_prefix(), 256);
        assert_eq!(Distance([0, 1 << 63, 0, 0]).common_prefix(), 64);
        assert_eq!(Distance([1 << 62, u64::MAX, 0, 0]).common_prefix(), 1);
        assert!(Distance([0, 0, 0, 9]) < Distance([0, 0, 1, 0]));
    }
}
