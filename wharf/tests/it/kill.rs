//! SIGKILL at random moments: nothing acknowledged is lost, a download resumes, the log never forks.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use crate::node::{Node, Output, random_file};

/// Rounds of each kind; 50 together.
const ROUNDS: u64 = 25;

/// A moment within the work, different in each round.
fn moment(round: u64, longest_ms: u64) -> Duration {
    Duration::from_micros((round * 2_654_435_761) % (longest_ms * 1000))
}

#[test]
fn publishes_survive_kills() {
    let files = tempfile::tempdir().unwrap();
    let observer = Node::start(&[]);
    let mut node = Node::start(&[&observer.addr()]);
    let publisher = node.publisher().to_string();
    let (mut acknowledged, mut killed) = (BTreeMap::new(), 0);
    for round in 0..ROUNDS {
        let (version, path) = (format!("1.0.{round}"), files.path().join(format!("file-{round}")));
        let bytes = random_file(&path, 200_000, round + 1);
        let mut publish = node.command();
        publish.args(["publish", path.to_str().unwrap(), "--name", "p", "--version", &version]).stdout(Stdio::piped());
        let publish = publish.spawn().unwrap();
        std::thread::sleep(moment(round, 150));
        node.kill();
        let output = publish.wait_with_output().unwrap();
        if String::from_utf8_lossy(&output.stdout).contains(r#""published""#) {
            acknowledged.insert(version, bytes);
        } else {
            killed += 1;
            assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stdout));
        }
        node = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[&observer.addr()]);
        for (version, bytes) in &acknowledged {
            assert_eq!(node.run(&["info", &format!("{publisher}/p@{version}")]).code, 0, "{version} is lost");
            if bytes.is_empty() {
                unreachable!("files are not empty");
            }
        }
    }
    println!("{} acknowledged, {killed} cut off", acknowledged.len());
    assert!(killed > 0, "some kill must come in time");

    // One more statement after all: whoever follows the log must be able to link it to everything before.
    let path = files.path().join("last");
    acknowledged.insert("2.0.0".into(), random_file(&path, 1000, 99));
    node.publish(&path, "p", "2.0.0");
    let judge = Node::start(&[&node.addr()]);
    judge.wait_for("p");
    for (version, bytes) in &acknowledged {
        let out = files.path().join(format!("out-{version}"));
        judge.get(&format!("{publisher}/p@{version}"), &out).ok();
        let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        assert!(std::fs::read(file).unwrap() == *bytes, "{version} is altered");
    }
    let length =
        |node: &Node| node.run(&["info", &format!("{publisher}/p")]).ok()["releases"].as_array().unwrap().len();
    assert_eq!(length(&judge), length(&node), "both hold one and the same log");
}

#[test]
fn downloads_resume_after_kills() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("big");
    let bytes = random_file(&path, 24_000_000, 5);
    let source = Node::start(&[]);
    source.publish(&path, "big", "1.0.0");
    let mut resumed = 0;
    for round in 0..ROUNDS {
        let mut node = Node::start(&[&source.addr()]);
        node.wait_for("big");
        let out = files.path().join(format!("out-{round}"));
        let mut get = node.command();
        get.args(["get", "big", "--out", out.to_str().unwrap()]).stdout(Stdio::null());
        let mut get = get.spawn().unwrap();
        std::thread::sleep(moment(round, 400));
        node.kill();
        get.wait().unwrap();
        assert!(!out.join("big").exists() || std::fs::read(out.join("big")).unwrap() == bytes, "never half a file");

        let node = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[&source.addr()]);
        let before = stored(&node);
        let fetched = Output::of(node.command().args(["get", "big", "--out", out.to_str().unwrap()])).ok();
        assert!(std::fs::read(out.join("big")).unwrap() == bytes);
        if before > 1_000_000 && before < bytes.len() as u64 {
            resumed += 1;
            let total: u64 =
                fetched["providers"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
            assert!(total < bytes.len() as u64 + 2_000_000, "fetched twice: {fetched}");
        }
    }
    println!("{resumed} of {ROUNDS} downloads were cut in the middle and resumed");
    assert!(resumed > 0, "some kill must come in the middle");
}

/// Bytes of blocks on the node's disk.
fn stored(node: &Node) -> u64 {
    fn sum(folder: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
        entries
            .map(
                |entry| {
                    if entry.path().is_dir() {
                        sum(&entry.path())
                    } else {
                        entry.metadata().map_or(0, |meta| meta.len())
                    }
                },
            )
            .sum()
    }
    sum(&node.home.path().join("store/blocks"))
}
