use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use registry_core::exchange::unixfs::{CHUNK, UnixfsError};
use registry_core::id::Codec;
use registry_core::{BlockId, Digest};

use super::export::{Existing, ExportError, export};
use super::pack::{PackError, Packed, pack};
use crate::jobs::Stop;
use crate::store::{Blocks, Store};

/// A store, and a folder in which nothing but the wanted result may appear.
struct Place {
    dir: tempfile::TempDir,
    blocks: Blocks,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blocks = Store::open(&dir.path().join("store")).unwrap().blocks();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir, blocks }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out").join("package")
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn pack(&self, path: &Path) -> Result<Packed, PackError> {
        pack(&self.blocks, path, false, &Stop::default())
    }

    fn export(&self, root: BlockId, size: u64) -> Result<(), ExportError> {
        export(&self.blocks, root, size, &self.out(), Existing::Refuse, &Stop::default())
    }

    fn put(&self, codec: Codec, data: Vec<u8>) -> BlockId {
        let digest = Digest::of(&data);
        self.blocks.put(&[(digest, Bytes::from(data))]).unwrap();
        BlockId { digest, codec }
    }

    /// A directory node with any names.
    fn folder(&self, entries: &[(&str, BlockId)]) -> BlockId {
        self.node(entries, &[0x08, 1])
    }

    fn node(&self, entries: &[(&str, BlockId)], unixfs: &[u8]) -> BlockId {
        let mut node = Vec::new();
        for (name, id) in entries {
            let link = [field(0x0a, &id.to_cid().to_bytes()), field(0x12, name.as_bytes()), vec![0x18, 0]].concat();
            node.extend(field(0x12, &link));
        }
        node.extend(field(0x0a, unixfs));
        self.put(Codec::DagPb, node)
    }

    /// The export fails, and leaves nothing behind.
    fn refuses(&self, root: BlockId, size: u64) -> ExportError {
        let error = self.export(root, size).unwrap_err();
        assert_eq!(fs::read_dir(self.dir.path().join("out")).unwrap().count(), 0, "{error}");
        error
    }
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes);
    out
}

fn listing(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let relative = path.strip_prefix(root).unwrap().to_owned();
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.push((relative, None));
        } else {
            found.push((relative, Some(fs::read(&path).unwrap())));
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_comes_back_as_it_was_without_its_hidden_entries() {
    let place = Place::new();
    let source = place.source();
    fs::create_dir_all(source.join("sub/empty")).unwrap();
    fs::write(source.join("big"), vec![7; 3 * CHUNK + 5]).unwrap();
    fs::write(source.join("sub/small"), b"small").unwrap();
    fs::write(source.join("sub/nothing"), b"").unwrap();
    let before = listing(&source);
    fs::write(source.join(".hidden"), b"secret").unwrap();
    fs::create_dir(source.join("sub/.git")).unwrap();

    let packed = place.pack(&source).unwrap();
    assert_eq!((packed.files, packed.hidden, packed.size), (3, 2, 3 * CHUNK as u64 + 10));
    place.export(packed.root, packed.size).unwrap();
    assert_eq!(listing(&place.out()), before);
    assert_eq!(place.pack(&place.out()).unwrap().root, packed.root);
    let all = pack(&place.blocks, &source, true, &Stop::default()).unwrap();
    assert_eq!((all.files, all.hidden), (4, 0));
}

#[test]
fn a_single_file_keeps_its_name() {
    let place = Place::new();
    fs::write(place.source(), b"data").unwrap();
    let packed = place.pack(&place.source()).unwrap();
    place.export(packed.root, packed.size).unwrap();
    assert_eq!(fs::read(place.out().join("source")).unwrap(), b"data");
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_not_packed() {
    let place = Place::new();
    fs::create_dir(place.source()).unwrap();
    let link = place.source().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    assert!(matches!(place.pack(&place.source()), Err(PackError::Link(path)) if path == link));
    assert!(matches!(place.pack(&link), Err(PackError::Link(_))));
    fs::remove_file(&link).unwrap();
    let socket = place.source().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(place.pack(&place.source()), Err(PackError::Special(path)) if path == socket));
}

#[test]
fn names_that_leave_the_folder_or_differ_between_systems_are_refused() {
    let place = Place::new();
    let leaf = place.put(Codec::Raw, b"evil".to_vec());
    for name in ["..", ".", "", "/etc/passwd", "../up", "a/b", "nul\0", "a".repeat(256).as_str()] {
        let error = place.refuses(place.folder(&[(name, leaf)]), 4);
        assert!(matches!(error, ExportError::Tree(UnixfsError::Name)), "{name:?}: {error}");
    }
    for name in ["..\\up", "c:evil", "new\nline", "trailing.", "trailing "] {
        let error = place.refuses(place.folder(&[(name, leaf)]), 4);
        assert!(matches!(&error, ExportError::Name(named) if named == name), "{name:?}: {error}");
    }
}

#[test]
fn names_that_some_systems_take_for_one_are_refused() {
    let place = Place::new();
    let leaf = place.put(Codec::Raw, b"evil".to_vec());
    let error = place.refuses(place.folder(&[("same", leaf), ("same", leaf)]), 8);
    assert!(matches!(error, ExportError::Tree(UnixfsError::Duplicate)));
    let error = place.refuses(place.folder(&[("README", leaf), ("readme", leaf)]), 8);
    assert!(matches!(error, ExportError::Name(_)));
    let sub = place.folder(&[("x", leaf)]);
    let error = place.refuses(place.folder(&[("Dir", sub), ("dir", leaf)]), 8);
    assert!(matches!(error, ExportError::Name(_)));
}

#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_written_out_again_is_not_packed() {
    for names in [&["README", "readme"][..], &["back\\slash"], &["trailing."]] {
        let place = Place::new();
        fs::create_dir(place.source()).unwrap();
        names.iter().for_each(|name| fs::write(place.source().join(name), b"").unwrap());
        assert!(matches!(place.pack(&place.source()), Err(PackError::Name(_))), "{names:?}");
    }
}

#[test]
fn links_inside_the_tree_are_refused() {
    let place = Place::new();
    let link = place.node(&[], &[&[0x08, 4][..], &field(0x12, b"/etc/passwd")].concat());
    let error = place.refuses(place.folder(&[("link", link)]), 0);
    assert!(matches!(error, ExportError::Tree(UnixfsError::Unsupported)), "{error}");
}

#[test]
fn bombs_are_refused_at_the_signed_size() {
    let place = Place::new();
    // Each level doubles: some twenty small blocks for a million files.
    let mut bomb = place.put(Codec::Raw, vec![0; 1000]);
    for _ in 0..20 {
        bomb = place.folder(&[("a", bomb), ("b", bomb)]);
    }
    let error = place.refuses(bomb, 5000);
    assert!(matches!(error, ExportError::Tree(UnixfsError::TooMany)), "{error}");
    let mut deep = place.put(Codec::Raw, vec![]);
    for _ in 0..100 {
        deep = place.folder(&[("d", deep)]);
    }
    assert!(matches!(place.refuses(deep, 0), ExportError::Tree(UnixfsError::TooDeep)));
    let short = place.folder(&[("x", place.put(Codec::Raw, vec![0; 10]))]);
    assert!(matches!(place.refuses(short, 11), ExportError::Size { declared: 11, actual: 10 }));
}

#[test]
fn missing_and_damaged_blocks_and_a_stopped_job_leave_nothing() {
    let place = Place::new();
    fs::create_dir(place.source()).unwrap();
    fs::write(place.source().join("one"), b"one").unwrap();
    fs::write(place.source().join("two"), b"two").unwrap();
    let packed = place.pack(&place.source()).unwrap();
    let two = format!("{:?}", Digest::of(b"two"));
    fs::write(place.dir.path().join("store/blocks").join(&two[..2]).join(&two), b"TWO").unwrap();
    assert!(
        matches!(place.refuses(packed.root, packed.size), ExportError::Missing(id) if id.digest == Digest::of(b"two"))
    );
    let nowhere = BlockId { digest: Digest::of(b"nowhere"), codec: Codec::Raw };
    assert!(matches!(place.refuses(nowhere, 1), ExportError::Missing(id) if id == nowhere));
    let stop = Stop::default();
    stop.set();
    let stopped = export(&place.blocks, packed.root, packed.size, &place.out(), Existing::Refuse, &stop);
    assert!(matches!(stopped, Err(ExportError::Stopped)));
    assert!(matches!(pack(&place.blocks, &place.source(), false, &stop), Err(PackError::Stopped)));
    assert!(!place.out().exists());
}

#[test]
fn what_is_there_is_kept_unless_it_is_the_same_or_may_be_replaced() {
    let place = Place::new();
    fs::create_dir(place.source()).unwrap();
    fs::write(place.source().join("file"), b"new").unwrap();
    let packed = place.pack(&place.source()).unwrap();
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("file"), b"old").unwrap();
    let before = listing(&place.out());
    assert!(matches!(place.export(packed.root, packed.size), Err(ExportError::Exists(path)) if path == place.out()));
    assert_eq!(listing(&place.out()), before);
    let replaced = export(&place.blocks, packed.root, packed.size, &place.out(), Existing::Replace, &Stop::default());
    replaced.unwrap();
    assert_eq!(listing(&place.out()), listing(&place.source()));
    place.export(packed.root, packed.size).unwrap();
    fs::write(place.out().join("more"), b"").unwrap();
    assert!(matches!(place.export(packed.root, packed.size), Err(ExportError::Exists(_))));
    assert_eq!(fs::read_dir(place.dir.path().join("out")).unwrap().count(), 1);
}

#[test]
fn packages_are_joined_in_one_folder_unless_an_entry_differs() {
    let place = Place::new();
    let join = |packed: &Packed| {
        export(&place.blocks, packed.root, packed.size, &place.out(), Existing::Join, &Stop::default())
    };
    let pack = |name: &str, data: &[u8]| {
        let path = place.dir.path().join(name);
        fs::write(&path, data).unwrap();
        place.pack(&path).unwrap()
    };
    let (one, two, other) = (pack("one", b"1"), pack("two", b"2"), pack("one", b"different"));
    for packed in [&one, &two, &one] {
        join(packed).unwrap();
    }
    assert!(matches!(join(&other), Err(ExportError::Exists(path)) if path == place.out().join("one")));
    let files: Vec<_> = listing(&place.out()).into_iter().filter_map(|(path, data)| Some((path, data?))).collect();
    assert_eq!(files, [("one".into(), b"1".to_vec()), ("two".into(), b"2".to_vec())]);
    assert_eq!(fs::read_dir(place.dir.path().join("out")).unwrap().count(), 1);
}

#[test]
fn packages_that_arrive_at_once_are_joined_in_a_folder_that_was_not_there() {
    for _ in 0..5 {
        let place = Place::new();
        let packed: Vec<_> = (0..8)
            .map(|n| {
                let path = place.dir.path().join(format!("file-{n}"));
                fs::write(&path, format!("{n}")).unwrap();
                place.pack(&path).unwrap()
            })
            .collect();
        std::thread::scope(|scope| {
            for packed in &packed {
                let (blocks, out) = (&place.blocks, place.out());
                scope.spawn(move || {
                    export(blocks, packed.root, packed.size, &out, Existing::Join, &Stop::default()).unwrap();
                });
            }
        });
        assert_eq!(fs::read_dir(place.out()).unwrap().count(), 8);
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_destinations_place_is_not_followed() {
    let place = Place::new();
    fs::write(place.source(), b"data").unwrap();
    let packed = place.pack(&place.source()).unwrap();
    let target = place.dir.path().join("target");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, place.out()).unwrap();
    assert!(matches!(place.export(packed.root, packed.size), Err(ExportError::Exists(_))));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_tree_survives(files in proptest::collection::btree_map(
        proptest::collection::vec("[a-z]{1,3}", 1..4),
        proptest::collection::vec(any::<u8>(), 0..100),
        0..12,
    )) {
        let place = Place::new();
        let source = place.source();
        fs::create_dir(&source).unwrap();
        for (path, data) in &files {
            let (name, folders) = path.split_last().unwrap();
            let folder = folders.iter().fold(source.clone(), |folder, name| folder.join(name));
            // A path through what is a file already is left out.
            if fs::create_dir_all(&folder).is_ok() && !folder.join(name).exists() {
                fs::write(folder.join(name), data).unwrap();
            }
        }
        let packed = place.pack(&source).unwrap();
        place.export(packed.root, packed.size).unwrap();
        prop_assert_eq!(listing(&place.out()), listing(&source));
    }
}
