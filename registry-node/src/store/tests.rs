use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::StreamExt;
use futures::executor::block_on;
use registry_core::Digest;

use super::*;
use crate::keys::Keys;

const ROUNDS: usize = 12;
const CRASH_DIR: &str = "WHARF_STORE_CRASH_DIR";

fn write(table: Table, key: &[u8], value: Option<&[u8]>) -> Write {
    Write { table, key: Bytes::copy_from_slice(key), value: value.map(Bytes::copy_from_slice) }
}

fn block(text: &str) -> (Digest, Bytes) {
    (Digest::of(text.as_bytes()), Bytes::copy_from_slice(text.as_bytes()))
}

/// Runs requests through a store's thread; gives the recovered rows and the answers.
fn run(dir: &Path, requests: Vec<StoreRequest>) -> (Vec<Row>, Vec<StoreResult>) {
    let (sender, mut replies) = mpsc::channel(4);
    let (mut store, _fault) = Store::open(dir).unwrap().start(sender).unwrap();
    let count = requests.len();
    for (n, request) in requests.into_iter().enumerate() {
        store.submit(StoreId(n as u64), request);
    }
    let mut rows = Vec::new();
    let mut results = Vec::new();
    let mut recovered = false;
    while !(recovered && results.len() == count) {
        match block_on(replies.next()).unwrap() {
            Input::Recovered(batch) => rows.extend(batch),
            Input::RecoveryDone => recovered = true,
            Input::Stored { op, result } => {
                assert_eq!(op, StoreId(results.len() as u64), "answers come in order");
                results.push(result);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    store.close();
    (rows, results)
}

/// How many rows of this store say that the log of the keys in this home begins there?
fn origins(home: &Path, store: &Path) -> usize {
    let keys = Keys::load_or_create(home).unwrap();
    keys.begin_in(&Store::open(store).unwrap()).unwrap();
    let origin = keys.local_peer().publisher.unwrap().origin();
    run(store, vec![]).0.iter().filter(|row| (row.table, &row.key) == (origin.table, &origin.key)).count()
}

#[test]
fn a_publishers_log_begins_in_the_first_store_of_its_keys_only() {
    let [home, first, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    Keys::load_or_create(home.path()).unwrap();
    assert_eq!([first.path(), second.path(), first.path()].map(|store| origins(home.path(), store)), [1, 0, 1]);
    std::fs::write(home.path().join("publisher.unused"), b"").unwrap();
    assert_eq!(origins(home.path(), second.path()), 1, "its owner says so");
}

#[test]
fn the_log_of_copied_keys_is_elsewhere_unless_one_is_missing_and_made_anew() {
    let [home, store] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    assert_eq!(origins(home.path(), store.path()), 1);
    let old = Keys::load(home.path()).unwrap();
    let [key, next, inception] = ["publisher.key", "publisher-next.key", "publisher.inception"];
    for (names, is_new) in [(&[key, next, inception][..], false), (&[key, next], false), (&[key], true)] {
        let [home_now, store] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for name in names {
            std::fs::copy(home.path().join(name), home_now.path().join(name)).unwrap();
        }
        assert_eq!(origins(home_now.path(), store.path()), usize::from(is_new), "{names:?}");
        let keys = Keys::load(home_now.path()).unwrap();
        assert_eq!(keys.publisher_id() != old.publisher_id(), is_new, "{names:?}");
        assert_ne!(keys.peer_id(), old.peer_id());
    }
}

#[test]
fn what_is_committed_is_recovered_table_by_table_in_key_order() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<_> = (0..1000_u32).rev().map(|n| write(Table::Log, &n.to_be_bytes(), Some(&[0; 2000]))).collect();
    let (rows, results) = run(
        dir.path(),
        vec![
            StoreRequest::Commit(many),
            StoreRequest::Commit(vec![write(Table::Ban, b"x", Some(b"1")), write(Table::Meta, b"y", Some(b"2"))]),
            StoreRequest::Commit(vec![write(Table::Ban, b"x", None), write(Table::Ban, b"z", Some(b"3"))]),
        ],
    );
    assert!(rows.is_empty());
    assert_eq!(results, [StoreResult::Done, StoreResult::Done, StoreResult::Done]);
    let (rows, _) = run(dir.path(), vec![]);
    let keys: Vec<_> = rows.iter().map(|row| (row.table, row.key.clone())).collect();
    let mut expected = vec![(Table::Meta, Bytes::from_static(b"y"))];
    expected.extend((0..1000_u32).map(|n| (Table::Log, Bytes::copy_from_slice(&n.to_be_bytes()))));
    expected.push((Table::Ban, Bytes::from_static(b"z")));
    assert_eq!(keys, expected);
}

#[test]
fn blocks_are_kept_and_reads_see_earlier_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (digest, data) = block("block");
    let other = Digest::of(b"other");
    let (_, results) = run(
        dir.path(),
        vec![
            StoreRequest::HasBlocks(vec![digest]),
            StoreRequest::PutBlock { digest, data: data.clone() },
            StoreRequest::Commit(vec![write(Table::Content, b"r", Some(b""))]),
            StoreRequest::HasBlocks(vec![digest, other]),
            StoreRequest::GetBlock(digest),
            StoreRequest::GetBlock(other),
        ],
    );
    assert_eq!(
        results,
        [
            StoreResult::Has(vec![false]),
            StoreResult::Done,
            StoreResult::Done,
            StoreResult::Has(vec![true, false]),
            StoreResult::Block(Some(data.clone())),
            StoreResult::Block(None),
        ]
    );
    let (_, results) = run(dir.path(), vec![StoreRequest::GetBlock(digest)]);
    assert_eq!(results, [StoreResult::Block(Some(data))]);
}

#[test]
fn a_damaged_block_counts_as_missing_and_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = Store::open(dir.path()).unwrap().blocks();
    let put = [block("a"), block("b"), block("c")];
    blocks.put(&put).unwrap();
    let path = |n: usize| {
        let name = format!("{:?}", put[n].0);
        dir.path().join("blocks").join(&name[..2]).join(name)
    };
    std::fs::write(path(0), b"b").unwrap();
    std::fs::remove_file(path(1)).unwrap();
    assert_eq!(blocks.get(put[0].0).unwrap(), None);
    assert_eq!(blocks.get(put[1].0).unwrap(), None);
    assert_eq!(blocks.get(put[2].0).unwrap().as_ref(), Some(&put[2].1));
    assert!(!blocks.has(put[0].0).unwrap() && !blocks.has(put[1].0).unwrap());
    assert!(dir.path().join("damaged").join(format!("{:?}", put[0].0)).exists());
    blocks.put(&put).unwrap();
    assert_eq!(blocks.get(put[0].0).unwrap().as_ref(), Some(&put[0].1));
}

#[test]
fn a_store_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreFault::InUse)));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_block_that_cannot_be_written_leaves_nothing_and_spares_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, data) = block("bad");
    let (good, good_data) = block("good");
    let store = Store::open(dir.path()).unwrap();
    // A file where the shard's folder should be stands for any fault of the disk.
    std::fs::write(dir.path().join("blocks").join(&format!("{bad:?}")[..2]), b"").unwrap();
    drop(store);
    let (_, results) = run(
        dir.path(),
        vec![
            StoreRequest::PutBlock { digest: bad, data },
            StoreRequest::PutBlock { digest: good, data: good_data },
            StoreRequest::HasBlocks(vec![bad, good]),
        ],
    );
    assert_eq!(results, [StoreResult::Failed(StoreError::Io), StoreResult::Done, StoreResult::Has(vec![false, true])]);
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_apart() {
    let full = StoreFault::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert_eq!(full.kind(), StoreError::Full);
    let full = StoreFault::from(redb::Error::Io(std::io::ErrorKind::StorageFull.into()));
    assert_eq!(full.kind(), StoreError::Full);
    let other = StoreFault::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    assert_eq!(other.kind(), StoreError::Io);
}

const FULL_DIR: &str = "WHARF_STORE_FULL_DIR";

/// Runs where no file may grow beyond 4 MiB, as on a disk that fills up. Does nothing when run alone.
#[test]
fn full_disk_victim() {
    let Some(dir) = std::env::var_os(FULL_DIR) else { return };
    let row = |n: u8, len| StoreRequest::Commit(vec![write(Table::Log, &[n], Some(&vec![n; len]))]);
    let (small, small_data) = block("small");
    let big_data = Bytes::from(vec![1; 5 << 20]);
    let big = Digest::of(&big_data);
    let (_, results) = run(
        Path::new(&dir),
        vec![
            row(1, 10),
            StoreRequest::PutBlock { digest: small, data: small_data.clone() },
            StoreRequest::HasBlocks(vec![]),
            StoreRequest::PutBlock { digest: big, data: big_data },
            StoreRequest::HasBlocks(vec![big]),
            row(2, 8 << 20),
            StoreRequest::GetBlock(small),
            row(3, 10),
        ],
    );
    assert_eq!(
        results,
        [
            StoreResult::Done,
            StoreResult::Done,
            StoreResult::Has(vec![]),
            StoreResult::Failed(StoreError::Full),
            StoreResult::Has(vec![false]),
            StoreResult::Failed(StoreError::Full),
            StoreResult::Block(Some(small_data)),
            StoreResult::Done,
        ]
    );
    println!("all answers as expected");
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_loses_nothing_and_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    // 8192 blocks of 512 bytes; without the trap the system would kill the writer.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8192; exec '{}' --exact store::tests::full_disk_victim --nocapture",
        test.display()
    );
    let output = Command::new("sh").args(["-c", &script]).env(FULL_DIR, dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("all answers as expected"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    let (rows, _) = run(dir.path(), vec![]);
    assert_eq!(rows.iter().map(|row| row.key[0]).collect::<Vec<_>>(), [1, 3]);
}

/// The victim of the next test: writes blocks and rows that name them until it is killed. Does nothing when run alone.
#[test]
fn crash_victim() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let (sender, mut replies) = mpsc::channel(64);
    let (store, _fault) = Store::open(Path::new(&dir)).unwrap().start(sender).unwrap();
    let mut written = 0;
    loop {
        match block_on(replies.next()).unwrap() {
            Input::Recovered(rows) => written += rows.len(),
            Input::RecoveryDone => {}
            Input::Stored { result, op } => {
                assert_eq!(result, StoreResult::Done);
                if op.0 % 2 == 1 {
                    println!("acknowledged {}", op.0 / 2);
                }
                written += (op.0 % 2) as usize;
            }
            other => panic!("unexpected {other:?}"),
        }
        let (digest, data) = block(&format!("block {written}").repeat(500));
        let row = write(Table::Content, &(written as u64).to_be_bytes(), Some(&digest.0));
        store.submit(StoreId(2 * written as u64), StoreRequest::PutBlock { digest, data });
        store.submit(StoreId(2 * written as u64 + 1), StoreRequest::Commit(vec![row]));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash_victim", "--nocapture", "--test-threads=1"])
            .env(CRASH_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The kill falls at another step of the work in each round.
        let mut left = 1 + 7 * round;
        let mut acknowledged: Vec<u64> = Vec::new();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        for line in std::io::BufRead::lines(output).map_while(Result::ok) {
            acknowledged.extend(line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok()));
            if acknowledged.len() >= left {
                child.kill().unwrap();
                left = usize::MAX;
            }
        }
        child.wait().unwrap();
        assert_eq!(left, usize::MAX, "the victim ended by itself");

        let (rows, _) = run(dir.path(), vec![]);
        let blocks = Store::open(dir.path()).unwrap().blocks();
        for row in &rows {
            let digest = Digest(row.value.as_ref().try_into().unwrap());
            assert!(blocks.get(digest).unwrap().is_some(), "a row names a block that is not there");
        }
        for number in acknowledged {
            assert!(rows.iter().any(|row| row.key.as_ref() == number.to_be_bytes()), "lost row {number}");
        }
    }
}
