//! The verbs to try foreign peers.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use conformance::{AGENT, Foreign, Setup, mute};
use serde_json::{Value, json};

use crate::node::{Following, Node};

const PATIENCE: Duration = Duration::from_secs(60);
const KAD: &str = "/ipfs/kad/1.0.0";
/// `hello` as a raw block, and the multihash in it.
const CID: &str = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq";
const MULTIHASH: &str = "12202cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Two nodes that know each other, on tokio and smol.
fn pair() -> [Node; 2] {
    let first = Node::start_with(&["--dht-namespace", "test"], &[]);
    let second = Node::start_with(&["--dht-namespace", "more,test", "--runtime", "smol"], &[&first.addr()]);
    second.run(&["connect", &first.addr()]).ok();
    for (node, other) in [(&first, &second), (&second, &first)] {
        node.run(&["identify", other.peer_id()]).ok();
    }
    [first, second]
}

/// Asks again and again until it holds.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A `pubsub sub` that has said that it listens.
fn listen(node: &Node, topic: &str) -> Following {
    let mut listener = node.follow(&["pubsub", "sub", topic]);
    assert_eq!(listener.next(), json!({"event": "subscribed", "topic": topic}));
    listener
}

fn subscribers(node: &Node, topic: &str) -> Vec<Value> {
    let mut line = node.run(&["pubsub", "peers", topic]).ok();
    line["peers"].take().as_array().unwrap().clone()
}

#[test]
fn records_and_providers_go_from_one_node_to_another() {
    let [first, second] = pair();
    let stored = first.run(&["dht", "put", "/test/a", "hello"]).ok();
    assert_eq!(stored, json!({"event": "stored", "key": "2f746573742f61", "acks": 1}));
    let value = second.run(&["dht", "get", "0x2f746573742f61"]).ok();
    assert_eq!(value, json!({"event": "value", "key": "2f746573742f61", "value": "68656c6c6f", "text": "hello"}));

    let mut put = first.command();
    let mut child =
        put.args(["dht", "put", "/test/b", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\0").unwrap();
    assert!(child.wait().unwrap().success());
    let value = second.run(&["dht", "get", "/test/b"]).ok();
    assert_eq!((&value["value"], &value["text"]), (&json!("ff00"), &Value::Null));

    let provided = first.run(&["dht", "provide", CID]).ok();
    assert_eq!(provided, json!({"event": "providing", "key": MULTIHASH, "sent": 1}));
    let here = json!([{"peer_id": first.peer_id(), "addrs": [first.listen()]}]);
    let found = second.run(&["dht", "findprovs", &format!("0x{MULTIHASH}"), "--count", "1"]).ok();
    assert_eq!(found["peers"], here);
    assert_eq!(second.run(&["dht", "findpeer", first.peer_id()]).ok()["peers"], here);
    let closest = second.run(&["dht", "closest", "anything"]).ok();
    assert_eq!((&closest["peers"], &closest["hops"]), (&here, &json!(1)));
    assert_eq!(first.run(&["dht", "provide", CID, "--stop"]).ok()["event"], "stopped");
}

#[test]
fn what_by_hand_is_wrong_or_not_there_has_its_exit_code() {
    let [first, second] = pair();
    let stranger = registry_core::PeerId::from_ed25519(&[9; 32]).to_string();
    let cases: [(&[&str], i32); 13] = [
        (&["dht", "get", "/test/none"], 3),
        (&["dht", "get", "/unknown/none"], 3),
        (&["dht", "findprovs", "none"], 3),
        (&["dht", "findpeer", &stranger], 3),
        (&["dht", "put", "/unknown/a", "b"], 2),
        (&["dht", "put", "/test/a", "0x0"], 2),
        (&["dht", "get", ""], 2),
        (&["dht", "findprovs", "a", "--count", "0"], 2),
        (&["pubsub", "pub", "", "x"], 2),
        (&["pubsub", "sub", "/wharf/main/announce/1"], 2),
        (&["ping", &stranger], 4),
        (&["identify", &stranger], 4),
        (&["ping", "nobody"], 2),
    ];
    for (args, code) in cases {
        let output = first.run(args);
        assert_eq!(output.code, code, "{args:?}: {:?}", output.lines);
        assert!(!output.last()["hint"].as_str().unwrap().is_empty(), "{:?}", output.lines);
    }
    drop(second);
    let alone = Node::start_with(&["--dht-namespace", "test"], &[]);
    assert_eq!(alone.run(&["dht", "get", "/test/a"]).code, 3);
    for options in [["--dht-protocol", "kad"], ["--dht-namespace", "pk"], ["--message-id", "sha256"]] {
        let output = crate::node::Output::of(alone.command().arg("up").args(options));
        assert_eq!(output.code, 2, "{options:?}: {:?}", output.lines);
    }
    for (name, value) in
        [("WHARF_DHT_PROTOCOL", "kad"), ("WHARF_DHT_NAMESPACE", "a,pk"), ("WHARF_MESSAGE_ID", "sha256")]
    {
        let output = crate::node::Output::of(alone.command().arg("up").env(name, value));
        assert_eq!(output.code, 2, "{name}: {:?}", output.lines);
    }
}

#[test]
fn messages_reach_every_listener_until_the_last_has_gone() {
    let [first, second] = pair();
    let mut listeners = [listen(&second, "news"), listen(&second, "news")];
    eventually("the first node hears of the second's subscription", || subscribers(&first, "news").pop());
    for (given, data, text) in [("hello", "68656c6c6f", json!("hello")), ("0x80", "80", Value::Null)] {
        let sent = first.run(&["pubsub", "pub", "news", given]).ok();
        assert_eq!(sent, json!({"event": "published", "topic": "news", "sent": 1}));
        let from = first.peer_id();
        let message = json!({"event": "message", "topic": "news", "from": from, "data": data, "text": text});
        for listener in &mut listeners {
            assert_eq!(listener.next(), message);
        }
    }

    let [one, mut other] = listeners;
    drop(one);
    first.run(&["pubsub", "pub", "news", "again"]).ok();
    assert_eq!(other.next()["text"], "again");
    let joined = second.run(&["pubsub", "ls"]).ok();
    let names: Vec<_> = joined["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].clone()).collect();
    assert_eq!(names, ["/wharf/main/announce/1", "news"]);
    drop(other);
    eventually("the second node leaves", || subscribers(&first, "news").is_empty().then_some(()));
    let mut again = listen(&second, "news");
    eventually("the second node is back", || subscribers(&first, "news").pop());
    first.run(&["pubsub", "pub", "news", "back"]).ok();
    assert_eq!(again.next()["text"], "back");

    let mut sub = second.command();
    let mut child = sub.args(["pubsub", "sub", "news"]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    first.run(&["pubsub", "pub", "news", "to a pipe without a reader"]).ok();
    assert!(child.wait().unwrap().success(), "it ends quietly");
}

#[test]
fn peers_are_pinged_and_tell_what_they_are() {
    let [first, second] = pair();
    let pinged = first.run(&["ping", second.peer_id(), "--count", "2"]);
    let [pong, next, summary] = &pinged.lines[..] else { panic!("{:?}", pinged.lines) };
    assert_eq!((&pong["event"], &pong["seq"], &next["seq"]), (&json!("pong"), &json!(1), &json!(2)));
    assert_eq!((&summary["sent"], &summary["received"]), (&json!(2), &json!(2)));
    let [min, avg, max] = ["min_ms", "avg_ms", "max_ms"].map(|field| summary[field].as_f64().unwrap());
    assert!(0.0 < min && min <= avg && avg <= max, "{summary}");

    let told = second.run(&["identify", first.peer_id()]).ok();
    assert_eq!((&told["agent"], &told["addrs"]), (&json!("wharf/0.1.0"), &json!([first.listen()])));
    let protocols: Vec<_> = told["protocols"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(protocols.contains(&"/wharf/kad/1.0.0") && protocols.contains(&"/ipfs/ping/1.0.0"), "{told}");
    assert!(told["observed_addr"].as_str().unwrap().starts_with("/ip4/127.0.0.1/tcp/"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_does_not_answer_is_told_from_one_that_is_not_there() {
    let node = Node::start(&[]);
    let connected = node.run(&["connect", &mute().await.to_string()]).ok();
    let peer = connected["peer_id"].as_str().unwrap();
    for ask in [["identify", peer], ["ping", peer]] {
        let output = node.run(&ask);
        assert_eq!((output.code, &output.last()["error"]), (1, &json!("other")), "{ask:?}: {:?}", output.lines);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_foreign_peer_is_tried_by_hand() {
    let mut foreign = Foreign::start(Setup { kad_protocol: KAD.into(), ..Setup::default() }).await;
    foreign.subscribe("news");
    let (foreign_id, foreign_addr) = (foreign.peer_id.to_string(), foreign.addr.to_string());
    let node = Node::start_with(&["--dht-protocol", KAD, "--dht-namespace", "test"], &[]);
    node.run(&["connect", &foreign_addr]).ok();
    let told = node.run(&["identify", &foreign_id]).ok();
    assert_eq!((&told["agent"], &told["addrs"]), (&json!(AGENT), &json!([foreign_addr])));
    assert_eq!(node.run(&["ping", &foreign_id, "--count", "1"]).ok()["received"], 1);

    assert_eq!(node.run(&["dht", "put", "/test/a", "ours"]).ok()["acks"], 1);
    assert_eq!(foreign.stored(b"/test/a").await, Some(b"ours".to_vec()));
    assert!(foreign.store(b"/test/b", b"theirs").await);
    assert_eq!(node.run(&["dht", "get", "/test/b"]).ok()["text"], "theirs");

    node.run(&["dht", "provide", CID]).ok();
    let key = registry_core::Digest::of(b"hello").to_multihash();
    let deadline = Instant::now() + PATIENCE;
    // Nobody answers an announcement, so the foreign node may still be reading it.
    while foreign.stored_providers(&key).await.iter().map(ToString::to_string).ne([node.peer_id()]) {
        assert!(Instant::now() < deadline, "the announcement never arrives");
    }

    let mut listener = listen(&node, "news");
    let mesh = eventually("the foreign node is in the mesh", || {
        subscribers(&node, "news").pop().filter(|peer| peer["mesh"] == true)
    });
    assert_eq!(mesh["peer_id"], foreign_id.as_str());
    node.run(&["pubsub", "pub", "news", "ours"]).ok();
    let (author, heard) = tokio::time::timeout(PATIENCE, foreign.messages.recv()).await.unwrap().unwrap();
    assert_eq!((author.to_string().as_str(), &heard[..]), (node.peer_id(), &b"ours"[..]));
    assert!(foreign.publish("news", b"theirs").await);
    let heard = listener.next();
    assert_eq!((&heard["from"], &heard["text"]), (&json!(foreign_id), &json!("theirs")));
}
