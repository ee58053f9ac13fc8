//! Joining, being away and being killed: whoever misses something ends with the same catalogue, for what it misses.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::Node;

/// Times the joining node is killed, unless it is quicker than that.
const ROUNDS: u64 = 12;
/// Releases there are to fetch.
const ROWS: usize = 3_000;
/// Releases made while a node is away.
const FURTHER: usize = 200;
/// A test ends when nodes have not become one by then.
const PATIENCE: Duration = Duration::from_secs(120);

fn import(node: &Node, folder: &Path, rows: std::ops::Range<usize>) {
    let path = folder.join("rows.jsonl");
    let line = |number: usize| {
        let (name, description) = (format!("package-{number}"), "It does what its name says. ".repeat(20));
        format!("{}\n", json!({"name": name, "version": "1.0.0", "summary": "a row", "description": description}))
    };
    std::fs::write(&path, rows.map(line).collect::<String>()).unwrap();
    node.run(&["import", path.to_str().unwrap()]).ok();
}

fn status(node: &Node) -> Value {
    node.run(&["status"]).ok()
}

fn releases(node: &Node) -> u64 {
    status(node)["releases"].as_u64().unwrap()
}

fn moved(node: &Node) -> u64 {
    let status = status(node);
    status["sync_sent"].as_u64().unwrap() + status["sync_received"].as_u64().unwrap()
}

/// Waits until both nodes show the same digest of their catalogues.
fn become_one(a: &Node, b: &Node) {
    let since = Instant::now();
    loop {
        let [a, b] = [a, b].map(status);
        if a["catalogue"] == b["catalogue"] {
            assert_eq!(a["releases"], b["releases"]);
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{a} and {b} stay different");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_joining_node_loses_nothing_to_kills_and_moves_only_what_it_misses() {
    let files = tempfile::tempdir().unwrap();
    let holder = Node::start(&[]);
    import(&holder, files.path(), 0..ROWS);

    // Without kills: what a whole catalogue costs.
    let unharmed = Node::start(&[&holder.addr()]);
    become_one(&holder, &unharmed);
    let whole = moved(&unharmed);
    drop(unharmed);

    let mut node = Node::start(&[&holder.addr()]);
    let (mut held, mut cut) = (0, 0);
    for round in 0..ROUNDS {
        let mut seen = releases(&node);
        while seen == held && seen < ROWS as u64 {
            seen = releases(&node);
        }
        std::thread::sleep(Duration::from_millis(round * 37 % 100));
        node.kill();
        cut += u64::from(seen > held && seen < ROWS as u64);
        node = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[&holder.addr()]);
        held = releases(&node);
        assert!(held >= seen, "round {round}: {seen} were there, {held} are left");
    }
    println!("{cut} of {ROUNDS} kills came in the middle; {held} of {ROWS} were there before the last run");
    assert!(cut > 2, "some kills must come in the middle");
    become_one(&holder, &node);
    let rest = whole * (ROWS as u64 - held) / ROWS as u64;
    assert!(moved(&node) <= rest + rest / 10 + 50_000, "{} moved for {rest}", moved(&node));

    node.kill();
    import(&holder, files.path(), ROWS..ROWS + FURTHER);
    let node = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[&holder.addr()]);
    become_one(&holder, &node);
    // A statement has its description, two digests and a signature at least.
    let missing = FURTHER as u64 * (20 * 28 + 2 * 32 + 64);
    println!("{} bytes moved for at least {missing} missing", moved(&node));
    assert!(moved(&node) <= 3 * missing, "{} moved for {missing}", moved(&node));
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
    assert_eq!(releases(&light), 0);
    assert_eq!(moved(&light), 0, "it does not reconcile");
}
