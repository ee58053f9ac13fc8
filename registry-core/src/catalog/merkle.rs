//! The Merkle tree of RFC 9162 section 2.1.1 over a log that only grows.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// The roots of the complete subtrees a tree consists of, largest first: enough to add leaves and to compute the root,
/// in space logarithmic in the number of leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tree {
    leaves: u64,
    peaks: Vec<Digest>,
}

impl Tree {
    /// Appends a leaf whose data is `data`.
    pub(crate) fn push(&mut self, data: &[u8]) {
        let mut node = hash(0, data, &[]);
        // Each trailing 1 bit of the old size is a complete subtree of the new leaf's size so far.
        for _ in 0..self.leaves.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = hash(1, &left.0, &node.0);
        }
        // Most logs are short, and a node holds many.
        self.peaks.reserve_exact(1);
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// The root; of an empty tree, the digest of nothing.
    pub(crate) fn root(&self) -> Digest {
        let smaller_on_the_right = self.peaks.iter().rev().copied();
        smaller_on_the_right.reduce(|right, left| hash(1, &left.0, &right.0)).unwrap_or_else(|| Digest::of(&[]))
    }
}

fn hash(prefix: u8, first: &[u8], second: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([prefix]);
    hash.update(first);
    hash.update(second);
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn hex(digest: Digest) -> String {
        format!("{digest:?}")
    }

    /// Leaves and roots of the test data of Certificate Transparency's reference implementation.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(hex(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf);
            assert_eq!(hex(tree.root()), root);
        }
    }

    /// MTH as RFC 9162 defines it, by recursion over the whole list.
    fn by_definition(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => Digest::of(&[]),
            [leaf] => hash(0, leaf, &[]),
            _ => {
                let split = (leaves.len() - 1).checked_ilog2().map_or(1, |bits| 1 << bits);
                hash(1, &by_definition(&leaves[..split]).0, &by_definition(&leaves[split..]).0)
            }
        }
    }

    #[test]
    fn grows_to_what_the_definition_says() {
        let leaves: Vec<_> = (0u16..200).map(|i| i.to_be_bytes().to_vec()).collect();
        let mut tree = Tree::default();
        for (i, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), by_definition(&leaves[..i]));
            tree.push(leaf);
        }
        assert_eq!(tree.peaks.len() as u32, 200u32.count_ones());
    }
}
