use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use bytes::Bytes;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::id::{Codec, Digest};

/// The bytes IPIP-499's conformance fixtures are made of: the ChaCha20 key stream of a hashed seed.
fn fixture_bytes(len: usize, seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha20Rng::from_seed(Digest::of(seed.as_bytes()).0).fill_bytes(&mut bytes);
    bytes
}

fn build_file(data: &[u8]) -> (Tree, BTreeMap<BlockId, Bytes>) {
    let mut builder = FileBuilder::new();
    let mut blocks = builder.push(Bytes::copy_from_slice(data));
    let built = builder.finish();
    blocks.extend(built.blocks);
    (built.tree, blocks.into_iter().map(|block| (block.id, block.data)).collect())
}

fn file_cid(data: &[u8]) -> String {
    build_file(data).0.id.to_string()
}

const LIMITS: WalkLimits = WalkLimits { bytes: 1 << 30, entries: 10_000 };

fn export(
    root: BlockId,
    blocks: &BTreeMap<BlockId, Bytes>,
) -> Result<BTreeMap<Vec<String>, Option<Vec<u8>>>, UnixfsError> {
    let mut walk = Walk::new(root, LIMITS);
    let mut out = BTreeMap::new();
    let mut open: Option<(Vec<String>, u64, Vec<u8>)> = None;
    loop {
        match walk.next()? {
            Step::Need(id) => walk.supply(blocks[&id].clone())?,
            Step::Directory { path } => assert!(out.insert(path, None).is_none()),
            Step::File { path, size } => assert!(open.replace((path, size, vec![])).is_none()),
            Step::Data(data) => open.as_mut().unwrap().2.extend_from_slice(&data),
            Step::FileEnd => {
                let (path, size, data) = open.take().unwrap();
                assert_eq!(data.len() as u64, size);
                assert!(out.insert(path, Some(data)).is_none());
            }
            Step::Done => return Ok(out),
        }
    }
}

#[test]
fn files_have_the_names_kubo_gives_them() {
    for (data, cid) in [
        (&b""[..], "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"hello", "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (&fixture_bytes(CHUNK, "chunk-v1-seed"), "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
        (&fixture_bytes(CHUNK + 1, "chunk-v1-seed"), "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
    ] {
        assert_eq!(file_cid(data), cid);
    }
}

/// 1 GiB of zeros and one byte more, without hashing the same chunk 1024 times.
#[test]
fn the_tree_grows_a_level_after_1024_chunks() {
    let chunk = Bytes::from(vec![0; CHUNK]);
    let leaf = FileBuilder::new().push(chunk)[0].id;
    let leaf = Tree { id: leaf, size: CHUNK as u64, dag_size: CHUNK as u64 };
    let full = || {
        let mut builder = FileBuilder::new();
        (0..WIDTH).for_each(|_| builder.add(0, leaf, &mut vec![]));
        builder
    };
    let tree = full().finish().tree;
    assert_eq!(tree.id.to_string(), "bafybeibqawkaltgjfdebq4no6nmfcvkcw7k52xqzclkwfmrkn6oxw7srmy");
    assert_eq!(tree.size, 1 << 30);

    let mut builder = full();
    builder.push(Bytes::from_static(&[0]));
    let built = builder.finish();
    assert_eq!(built.tree.id.to_string(), "bafybeigx4uyebjbq65346xh6cjrt6yshbdudzudhnqecwbzvymslxj7gje");
    assert_eq!(built.tree.dag_size, 1_073_793_198);
    assert_eq!(built.blocks.len(), 3);
}

#[test]
fn directories_have_the_names_kubo_gives_them() {
    let hello = build_file(b"hello").0;
    let empty = DirectoryBuilder::new().finish().unwrap().tree;
    assert_eq!(empty.id.to_string(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");

    let mut directory = DirectoryBuilder::new();
    directory.add("sub", empty).unwrap();
    directory.add("hello.txt", hello).unwrap();
    let tree = directory.finish().unwrap().tree;
    assert_eq!(tree.id.to_string(), "bafybeib24r6tntac4s6zg7mliudskw76eyb6uya7iyvkjqdwhbuo7hzhim");
    assert_eq!((tree.size, tree.dag_size), (5, 113));

    // The largest flat directory of the profile.
    let stream = fixture_bytes(1 << 20, "hamt-unixfs-v1-2025");
    let letters = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let mut name = stream.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()]));
    let x = build_file(b"x").0;
    let mut directory = DirectoryBuilder::new();
    for i in 0..4766 {
        let len = if i == 4765 { 21 } else { 11 };
        directory.add(name.by_ref().take(len).collect::<String>(), x).unwrap();
    }
    let cid = directory.finish().unwrap().tree.id.to_string();
    assert_eq!(cid, "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4");
}

#[test]
fn a_built_tree_is_walked_back() {
    let data = fixture_bytes(2 * CHUNK + 7, "walk");
    let (file, mut blocks) = build_file(&data);
    let (small, more) = build_file(b"small");
    blocks.extend(more);
    let mut sub = DirectoryBuilder::new();
    sub.add("big", file).unwrap();
    let sub = sub.finish().unwrap();
    let mut top = DirectoryBuilder::new();
    top.add("z", small).unwrap();
    top.add("sub", sub.tree).unwrap();
    let top = top.finish().unwrap();
    blocks.extend(sub.blocks.into_iter().chain(top.blocks).map(|block| (block.id, block.data)));

    let path = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let out = export(top.tree.id, &blocks).unwrap();
    assert_eq!(out.len(), 4);
    assert_eq!(out[&path(&[])], None);
    assert_eq!(out[&path(&["sub"])], None);
    assert_eq!(out[&path(&["sub", "big"])].as_ref(), Some(&data));
    assert_eq!(out[&path(&["z"])].as_deref(), Some(&b"small"[..]));
    let dag: u64 = blocks.values().map(|block| block.len() as u64).sum();
    assert_eq!((top.tree.size, top.tree.dag_size), (data.len() as u64 + 5, dag));
}

#[test]
fn names_that_leave_their_directory_are_refused() {
    let tree = build_file(b"x").0;
    for name in ["", ".", "..", "a/b", "/", "a\0", &"n".repeat(MAX_NAME + 1)] {
        assert_eq!(DirectoryBuilder::new().add(name, tree), Err(UnixfsError::Name), "{name:?}");
        let evil = node(&[(name.as_bytes(), tree.id, 1)], Some(&[8, 1]));
        assert_eq!(parse(Codec::DagPb, &evil), Err(UnixfsError::Name), "{name:?}");
    }
    let mut directory = DirectoryBuilder::new();
    directory.add("..a", tree).unwrap();
    assert_eq!(directory.add("..a", tree), Err(UnixfsError::Duplicate));
}

/// A DAG-PB node from parts: (link name, child, Tsize), then UnixFS bytes.
fn node(links: &[(&[u8], BlockId, u64)], data: Option<&[u8]>) -> Bytes {
    use super::pb::{field, put_bytes_field, put_varint_field};
    let mut out = vec![];
    for (name, id, tsize) in links {
        let mut link = vec![];
        put_bytes_field(&mut link, field::LINK_HASH, &id.to_cid().to_bytes());
        put_bytes_field(&mut link, field::LINK_NAME, name);
        put_varint_field(&mut link, field::LINK_TSIZE, *tsize);
        put_bytes_field(&mut out, field::NODE_LINK, &link);
    }
    if let Some(data) = data {
        put_bytes_field(&mut out, field::NODE_DATA, data);
    }
    out.into()
}

fn file_data(size: Option<u64>, block_sizes: &[u64]) -> Vec<u8> {
    use super::pb::{field, kind, put_varint_field};
    let mut out = vec![];
    put_varint_field(&mut out, field::FS_TYPE, kind::FILE);
    if let Some(size) = size {
        put_varint_field(&mut out, field::FS_FILESIZE, size);
    }
    block_sizes.iter().for_each(|size| put_varint_field(&mut out, field::FS_BLOCKSIZES, *size));
    out
}

#[test]
fn inconsistent_nodes_are_refused() {
    let leaf = build_file(b"12345").0.id;
    let cbor = BlockId { codec: Codec::DagCbor, ..leaf };
    let links = [(&b""[..], leaf, 5), (&b""[..], leaf, 5)];
    let refused = |block: Bytes, error| assert_eq!(parse(Codec::DagPb, &block), Err(error), "{block:?}");

    assert!(parse(Codec::DagPb, &node(&links, Some(&file_data(Some(10), &[5, 5])))).is_ok());
    refused(node(&links, Some(&file_data(Some(9), &[5, 5]))), UnixfsError::Size);
    refused(node(&links, Some(&file_data(Some(5), &[5]))), UnixfsError::Size);
    refused(node(&links, Some(&file_data(None, &[5, 5]))), UnixfsError::Size);
    refused(node(&links, Some(&file_data(Some(5), &[5, 0]))), UnixfsError::Size);
    refused(node(&links, Some(&file_data(Some(1), &[u64::MAX, 2]))), UnixfsError::Size);
    refused(node(&[], Some(&file_data(Some(7), &[]))), UnixfsError::Size);
    refused(node(&[(b"", cbor, 5)], Some(&file_data(Some(5), &[5]))), UnixfsError::ForeignChild);
    refused(node(&links, None), UnixfsError::Encoding);
    refused(node(&[(b"a", leaf, 5), (b"a", leaf, 5)], Some(&[8, 1])), UnixfsError::Duplicate);
    refused(node(&[(&[0xff], leaf, 5)], Some(&[8, 1])), UnixfsError::Name);
    // Metadata, symbolic link, sharded directory.
    for kind in 3..=5 {
        refused(node(&[], Some(&[8, kind])), UnixfsError::Unsupported);
    }
    refused(Bytes::from(vec![0; MAX_BLOCK + 1]), UnixfsError::TooLong);
    assert_eq!(parse(Codec::Raw, &Bytes::from(vec![0; MAX_BLOCK + 1])), Err(UnixfsError::TooLong));
}

#[test]
fn a_part_must_hold_what_its_parent_declares() {
    let (short, mut blocks) = build_file(b"1234");
    let lying = node(&[(b"", short.id, 5)], Some(&file_data(Some(5), &[5])));
    let root = BlockId { digest: Digest::of(&lying), codec: Codec::DagPb };
    blocks.insert(root, lying);
    assert_eq!(export(root, &blocks), Err(UnixfsError::Size));
}

/// A few blocks that name 24^n files, and a chain deeper than any honest tree.
#[test]
fn bombs_end_at_the_limits() {
    let (mut tree, mut blocks) = build_file(b"boom");
    let mut chain = (tree, 0);
    for depth in 0..MAX_DEPTH + 2 {
        let mut wide = DirectoryBuilder::new();
        (0..24).for_each(|i| wide.add(format!("{i}"), tree).unwrap());
        let wide = wide.finish().unwrap();
        if depth < 8 {
            tree = wide.tree;
        }
        let mut narrow = DirectoryBuilder::new();
        narrow.add("d", chain.0).unwrap();
        let narrow = narrow.finish().unwrap();
        chain = (narrow.tree, depth);
        blocks.extend(wide.blocks.into_iter().chain(narrow.blocks).map(|block| (block.id, block.data)));
    }
    assert_eq!(export(tree.id, &blocks), Err(UnixfsError::TooMany));
    assert_eq!(export(chain.0.id, &blocks), Err(UnixfsError::TooDeep));

    let (file, blocks) = build_file(&[1; 100]);
    let mut walk = Walk::new(file.id, WalkLimits { bytes: 99, entries: 1 });
    assert_eq!(walk.next(), Ok(Step::Need(file.id)));
    assert_eq!(walk.supply(blocks[&file.id].clone()), Err(UnixfsError::TooMany));
}

#[test]
fn fuzz_body_runs() {
    crate::fuzzing::run(300, crate::fuzzing::unixfs::unixfs);
}

proptest! {
    // Each case hashes some megabytes.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn pieces_do_not_matter(pieces in proptest::collection::vec(0usize..CHUNK + 10, 0..5)) {
        let data = vec![7; pieces.iter().sum()];
        let mut builder = FileBuilder::new();
        let mut rest = Bytes::from(data.clone());
        let mut blocks = 0;
        for piece in pieces {
            blocks += builder.push(rest.split_to(piece)).len();
        }
        let built = builder.finish();
        let (tree, _) = build_file(&data);
        prop_assert_eq!(built.tree, tree);
        prop_assert_eq!(tree.size, data.len() as u64);
        prop_assert!(blocks + built.blocks.len() >= data.len().div_ceil(CHUNK));
    }
}

proptest! {
    #[test]
    fn directories_round_trip(names in proptest::collection::btree_set("[^/\0]{1,20}", 0..20)) {
        let tree = build_file(b"x").0;
        let mut directory = DirectoryBuilder::new();
        let names: Vec<_> = names.into_iter().filter(|name| check_name(name).is_ok()).collect();
        for name in names.iter().rev() {
            directory.add(name.clone(), tree).unwrap();
        }
        let built = directory.finish().unwrap();
        let NodeKind::Directory { entries } = parse(Codec::DagPb, &built.blocks[0].data).unwrap() else {
            panic!("a directory")
        };
        prop_assert_eq!(entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), names);
        prop_assert!(entries.iter().all(|entry| entry.id == tree.id && entry.dag_size == 1));
    }

    #[test]
    fn mutated_nodes_never_panic(flips in proptest::collection::vec((0usize..200, any::<u8>()), 1..4)) {
        let leaf = build_file(b"12345").0.id;
        let mut block = node(&[(b"", leaf, 5), (b"", leaf, 5)], Some(&file_data(Some(10), &[5, 5]))).to_vec();
        for (at, value) in flips {
            let len = block.len();
            block[at % len] = value;
        }
        if let Ok(NodeKind::File { size, children }) = parse(Codec::DagPb, &block.into()) {
            prop_assert_eq!(size, children.iter().map(|child| child.size).sum::<u64>());
        }
    }
}
