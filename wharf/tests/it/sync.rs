//! Joining, being away and being killed: whoever misses something ends with the same catalogue, for what it misses.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use crate::node::Node;

/// Times the joining node is killed.
const ROUNDS: usize = 20;
/// Releases there are to fetch. They are so long that an answer of the holder has some twenty of them, and that there are
/// many more answers than rounds.
const ROWS: usize = 800;
/// Releases made while a node is away.
const FURTHER: usize = 20;
/// An answer that may have come before a node's progress was looked at, and what is asked and compared besides.
const SLACK: u64 = 256 * 1024 + 50_000;

fn import(node: &Node, folder: &Path, rows: Range<usize>) {
    let path = folder.join("rows.jsonl");
    let dependencies: Vec<_> = (0..100).map(|number| format!("dependency-{number:0100}")).collect();
    let line = |number: usize| {
        let name = format!("package-{number}");
        format!("{}\n", json!({"name": name, "version": "1.0.0", "dependencies": dependencies}))
    };
    std::fs::write(&path, rows.map(line).collect::<String>()).unwrap();
    node.run(&["import", path.to_str().unwrap()]).ok();
}

fn status(node: &Node) -> Value {
    node.run(&["status"]).ok()
}

fn number(status: &Value, field: &str) -> u64 {
    status[field].as_u64().unwrap()
}

fn moved(node: &Node) -> u64 {
    let status = status(node);
    number(&status, "sync_sent") + number(&status, "sync_received")
}

/// The names of a publisher's packages.
fn held(node: &Node, publisher: &str) -> BTreeSet<String> {
    let listed = node.run(&["ls", publisher]).ok();
    let names = listed["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap());
    names.map(str::to_string).collect()
}

/// Waits until a node that held the `known` packages when it started holds at least `count` of them; gives all it is
/// known to hold then. It learns of none a second time.
fn learn(node: &Node, publisher: &str, known: &BTreeSet<String>, count: usize) -> BTreeSet<String> {
    let mut updates = node.follow(&["watch", "--publisher", publisher]);
    assert_eq!(updates.next()["event"], "watching");
    let mut names = held(node, publisher);
    while names.len() < count {
        let update = updates.next();
        assert_eq!(update["event"], "update");
        let name = update["name"].as_str().unwrap();
        assert!(!known.contains(name), "{name} was there already");
        names.insert(name.to_string());
    }
    names
}

#[test]
fn a_joining_node_loses_nothing_to_kills_and_moves_only_what_it_misses() {
    let files = tempfile::tempdir().unwrap();
    let holder = Node::start(&[]);
    let publisher = holder.publisher();
    import(&holder, files.path(), 0..ROWS);
    let restart = |node: &Node| Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[&holder.addr()]);

    let mut node = Node::start(&[&holder.addr()]);
    let (mut kept, mut told, mut cut) = (BTreeSet::new(), 0, 0);
    for round in 0..ROUNDS {
        // Somewhere within an answer, another place each time.
        let count = kept.len() + 1 + round * 7 % 20;
        let acknowledged = learn(&node, publisher, &kept, count.min(ROWS));
        node.kill();
        node = restart(&node);
        kept = held(&node, publisher);
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} of {} were lost", acknowledged.len());
        told = acknowledged.len();
        cut += usize::from(kept.len() < ROWS);
    }
    println!("{cut} of {ROUNDS} kills came in the middle; {} of {ROWS} were there before the last run", kept.len());
    assert!(cut > ROUNDS / 2, "most kills must come in the middle");
    learn(&node, publisher, &kept, ROWS);
    let [there, here] = [&holder, &node].map(status);
    assert_eq!((&here["catalogue"], &here["releases"]), (&there["catalogue"], &json!(ROWS)));
    let bytes = number(&here, "catalogue_bytes");
    // Of what is kept, some may have come since the last start.
    let missing = bytes * (ROWS - told) as u64 / ROWS as u64;
    assert!(moved(&node) <= missing + SLACK, "{} moved for {missing}", moved(&node));

    node.kill();
    import(&holder, files.path(), ROWS..ROWS + FURTHER);
    let node = restart(&node);
    learn(&node, publisher, &kept, ROWS + FURTHER);
    let [there, here] = [&holder, &node].map(status);
    assert_eq!((&here["catalogue"], &here["releases"]), (&there["catalogue"], &there["releases"]));
    let missing = number(&here, "catalogue_bytes") - bytes;
    println!("{} bytes moved for {missing} missing of {bytes}", moved(&node));
    assert!(moved(&node) <= missing + SLACK, "{} moved for {missing}", moved(&node));
}

#[test]
fn a_light_node_searches_and_gets_without_a_catalogue() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("file");
    std::fs::write(&path, b"some bytes").unwrap();
    let holder = Node::start(&[]);
    import(&holder, files.path(), 0..50);
    holder.publish(&path, "thing", "1.0.0");
    let light = Node::start_with(&["--role", "light"], &[&holder.addr()]);
    let found = light.run(&["search", "package-42"]).ok();
    assert_eq!(found["results"][0]["name"], "package-42", "{found}");
    assert_eq!(found["complete"], false, "one peer is not enough");
    let spec = format!("{}/thing", holder.publisher());
    let out = files.path().join("out");
    light.get(&spec, &out).ok();
    assert_eq!(std::fs::read(out.join("file")).unwrap(), b"some bytes");
    assert_eq!(light.run(&["info", "package-42"]).ok()["releases"][0]["version"], "1.0.0", "a name that was shown");
    assert_eq!(light.run(&["info", "package-43"]).code, 3, "a bare name that was not shown names nothing");
    assert_eq!(status(&light)["releases"], 0);
    assert_eq!(moved(&light), 0, "it does not reconcile");
}
