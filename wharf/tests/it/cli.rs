//! The verbs, their answers and their exit codes.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::node::{Node, Output, random_file, wharf};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn publish_search_get_and_a_third_node_after_the_first_is_gone() {
    let files = temp();
    let folder = files.path().join("tool");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let big = random_file(&folder.join("data.bin"), 3_000_000, 1);
    std::fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();

    let mut first = Node::start(&[]);
    let published = first.run(&[
        "publish",
        folder.to_str().unwrap(),
        "--name",
        "Tool",
        "--version",
        "1.2.0",
        "--summary",
        "cuts paper boats",
        "--keyword",
        "origami",
        "--category",
        "craft",
        "--tag",
        "paper",
        "--tag",
        "boat",
    ]);
    assert!(published.lines.iter().any(|line| line["event"] == "progress"), "stages are told");
    let published = published.ok();
    assert_eq!(published["event"], "published");
    for field in ["publisher", "name", "version", "root", "acks"] {
        assert!(!published[field].is_null(), "{field} in {published}");
    }

    let second = Node::start(&[&first.addr()]);
    second.wait_for("Tool");
    let found = second.run(&["search", "origami boat", "--explain"]).ok();
    assert_eq!(found["complete"], true);
    let hit = &found["results"][0];
    assert_eq!(
        (&hit["name"], &hit["version"], &hit["publisher"]),
        (&json!("Tool"), &json!("1.2.0"), &published["publisher"])
    );
    assert!(hit["score"].as_f64().unwrap() > 0.0);
    let parts: f64 = hit["parts"].as_array().unwrap().iter().map(|part| part["score"].as_f64().unwrap()).sum();
    assert!((parts - hit["score"].as_f64().unwrap()).abs() < 1e-9, "the parts add up");
    for (filter, hits) in [("--tag=boat", 1), ("--tag=ship", 0), ("--category=craft", 1), ("--category=art", 0)] {
        let found = second.run(&["search", "origami", filter]).ok();
        assert_eq!(found["results"].as_array().unwrap().len(), hits, "{filter}");
    }

    let out = files.path().join("second");
    let got = second.get("Tool@^1", &out).ok();
    assert_eq!(got["event"], "fetched");
    assert_eq!(got["providers"][0]["peer_id"], first.peer_id());
    assert!(got["providers"][0]["bytes"].as_u64().unwrap() >= big.len() as u64);
    assert_eq!(std::fs::read(out.join("data.bin")).unwrap(), big);

    first.kill();
    let third = Node::start_with(&["--runtime", "smol"], &[&second.addr()]);
    assert_eq!((&second.ready["runtime"], &third.ready["runtime"]), (&json!("tokio"), &json!("smol")));
    third.wait_for("Tool");
    let out = files.path().join("third");
    let spec = format!("{}/Tool@1.2.0", published["publisher"].as_str().unwrap());
    let got = third.get(&spec, &out).ok();
    assert_eq!(got["providers"][0]["peer_id"], second.peer_id());
    assert_eq!(std::fs::read(out.join("data.bin")).unwrap(), big);
    assert_eq!(std::fs::read(out.join("src/main.rs")).unwrap(), b"fn main() {}\n");
}

#[test]
fn errors_have_their_codes_and_hints() {
    let files = temp();
    let node = Node::start(&[]);
    let id = node.publisher().to_string();
    std::fs::write(files.path().join("a"), "a").unwrap();
    node.publish(&files.path().join("a"), "one", "1.0.0");

    let path = files.path().join("a");
    let path = path.to_str().unwrap();
    let missing = files.path().join("missing");
    let cases: [(&[&str], i64); 11] = [
        (&["get", &format!("{id}/none"), "--out", "x"], 3),
        (&["get", "no-such-name", "--out", "x"], 3),
        (&["info", "no-such-name"], 3),
        (&["get", "bad/publisher/name", "--out", "x"], 2),
        (&["publish", path, "--name", "one", "--version", "1.0.0"], 8),
        (&["publish", path, "--name", "a b", "--version", "1.0.0"], 2),
        (&["publish", path, "--name", "two", "--version", "not semver"], 2),
        (&["publish", missing.to_str().unwrap(), "--name", "two", "--version", "1.0.0"], 3),
        (&["connect", "/ip4/127.0.0.1"], 2),
        (&["publish", path, "--no-such-flag"], 2),
        (&["demo", "--packages", "0"], 2),
    ];
    for (args, code) in cases {
        let output = node.run(args);
        let error = output.last();
        assert_eq!((i64::from(output.code), &error["exit_code"]), (code, &json!(code)), "{args:?}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
    }
    assert_eq!(node.run(&["search", "nothing-like-this"]).ok()["results"], json!([]));
    let alone = node.run(&["get", "no-such-name", "--out", "x"]);
    assert!(alone.last()["hint"].as_str().unwrap().contains("connected to nobody"), "{}", alone.last());
    let missing = node.run(&["get", "one"]);
    assert!(missing.last()["message"].as_str().unwrap().contains("--out"), "{}", missing.last());
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_no_success() {
    let node = Node::start(&[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(node.command().arg("status").stdout(full).status().unwrap().code(), Some(10));
}

#[test]
fn a_package_that_is_deprecated_as_a_whole_is_named_without_a_version() {
    let files = temp();
    std::fs::write(files.path().join("a"), "a").unwrap();
    let node = Node::start(&[]);
    node.publish(&files.path().join("a"), "a", "1.0.0");
    assert_eq!(node.run(&["deprecate", "a", "--message", "old"]).ok()["version"], json!(null));
    assert_eq!(node.run(&["deprecate", "a@1.0.0", "--message", "older"]).ok()["version"], "1.0.0");
}

#[test]
fn without_a_daemon_verbs_exit_9_at_once() {
    let home = temp();
    for verb in [&["peers"][..], &["status"], &["search", "x"], &["watch"]] {
        let output = Output::of(wharf(home.path()).args(verb));
        assert_eq!((output.code, &output.last()["error"]), (9, &json!("not_running")), "{verb:?}");
        assert!(output.last()["hint"].as_str().unwrap().contains("wharf up"));
    }
}

#[test]
fn a_home_that_cannot_be_reached_is_no_daemon_that_is_not_running() {
    let files = temp();
    let file = files.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let output = Output::of(wharf(&file).arg("status"));
    assert_eq!((output.code, &output.last()["error"]), (1, &json!("other")), "{:?}", output.lines);
}

#[test]
fn a_verb_exits_9_when_the_daemon_dies() {
    let mut node = Node::start(&[]);
    let mut updates = node.follow(&["watch"]);
    assert_eq!(updates.next()["event"], "watching");
    node.kill();
    assert_eq!(updates.code(), Some(9));
}

#[test]
fn a_home_has_one_daemon_and_a_stale_socket_blocks_nobody() {
    let mut node = Node::start(&[]);
    let socket = node.home.path().join("control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Output::of(node.command().args(["up", "--listen", "/ip4/127.0.0.1/tcp/0"]));
    assert_eq!((second.code, &second.last()["error"]), (8, &json!("conflict")));

    node.kill();
    assert!(socket.exists(), "killed, so it could not tidy up");
    let again = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[]);
    assert_eq!((again.peer_id(), again.publisher()), (node.peer_id(), node.publisher()));
    assert_eq!(again.run(&["status"]).ok()["peer_id"], again.peer_id());
}

#[test]
fn a_terminated_daemon_tidies_up() {
    let node = Node::start(&[]);
    let socket = node.home.path().join("control.sock");
    let kill = Command::new("kill").args(["-TERM", &node.pid().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut node = node;
    assert_eq!(node.wait(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn init_is_repeatable_and_keeps_the_keys_secret() {
    let home = temp();
    let first = Output::of(wharf(home.path()).arg("init")).ok();
    let second = Output::of(wharf(home.path()).arg("init")).ok();
    assert_eq!(first, second);
    let mut keys = 0;
    for entry in std::fs::read_dir(home.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().contains("key") {
            keys += 1;
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }
    assert_eq!(keys, 3, "node key, publisher key, next publisher key");
}

#[test]
fn people_who_watch_read_a_line_per_release() {
    let files = temp();
    std::fs::write(files.path().join("a"), "a").unwrap();
    let node = Node::start(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.arg("--home").arg(node.home.path()).arg("watch").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watcher = command.spawn().unwrap();
    let (mut said, mut line) = (String::new(), String::new());
    BufReader::new(watcher.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "watching\n");
    node.publish(&files.path().join("a"), "a", "1.0.0");
    BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("new package  {}/a@1.0.0\n", node.publisher()));
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

#[test]
fn a_watcher_hears_releases_of_others_as_they_come() {
    let files = temp();
    std::fs::write(files.path().join("a"), "a").unwrap();
    let publisher = Node::start(&[]);
    let follower = Node::start(&[&publisher.addr()]);
    let mut updates = follower.follow(&["watch", "--publisher", publisher.publisher()]);
    assert_eq!(updates.next()["event"], "watching");
    for (version, kind) in [("1.0.0", "new_package"), ("1.1.0", "new_version")] {
        publisher.publish(&files.path().join("a"), "a", version);
        let update = updates.next();
        assert_eq!((&update["event"], &update["kind"]), (&json!("update"), &json!(kind)));
        assert_eq!((&update["name"], &update["version"]), (&json!("a"), &json!(version)));
    }
}
