//! Yanked and deprecated packages, lists and ranges.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::node::Node;

fn eventually(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute");
    }
}

#[test]
fn a_yank_and_a_deprecation_reach_others() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("a");
    std::fs::write(&path, "a").unwrap();
    let first = Node::start(&[]);
    for version in ["1.0.0", "1.4.2", "2.0.0", "2.1.0-rc.1"] {
        first.publish(&path, "tool", version);
    }
    let id = first.publisher().to_string();
    let second = Node::start(&[&first.addr()]);
    second.wait_for("tool");
    let picked = |spec: &str| {
        let output = second.run(&["get", spec, "--out", files.path().join("out").to_str().unwrap()]);
        output.last()["version"].as_str().map_or_else(|| json!(output.code), |version| json!(version))
    };
    for (spec, version) in [
        ("tool", "2.0.0"),
        ("tool@^1.2", "1.4.2"),
        ("tool@>=1, <2", "1.4.2"),
        ("tool@~1.4", "1.4.2"),
        ("tool@>=2.1.0-rc.0", "2.1.0-rc.1"),
    ] {
        assert_eq!(picked(spec), version, "{spec}");
    }

    let yanked = first.run(&["yank", "tool@2.0.0", "--reason", "eats files"]).ok();
    assert_eq!((&yanked["event"], &yanked["yanked"]), (&json!("yanked"), &json!("eats files")));
    let versions = |node: &Node| node.run(&["ls", "tool"]).ok()["releases"].as_array().unwrap().clone();
    eventually(|| versions(&second).iter().any(|release| release["yanked"] == "eats files"));
    assert_eq!(picked("tool"), "1.4.2");
    assert_eq!(picked("tool@^2"), 7);
    assert_eq!(picked("tool@2.0.0"), "2.0.0");
    assert_eq!(second.run(&["search", "tool"]).ok()["results"][0]["version"], "1.4.2");
    assert_eq!(first.run(&["yank", "tool@9.9.9"]).code, 3);
    assert_eq!(second.run(&["yank", &format!("{id}/tool@2.0.0")]).code, 7);
    assert_eq!(first.run(&["yank", "tool@2.0.0", "--undo"]).ok()["event"], "unyanked");
    assert_eq!(first.run(&["yank", "tool@2.0.0", "--undo"]).ok()["sent"], 0, "it is so already");

    first.run(&["deprecate", "tool", "--message", "use better", "--replacement", "better"]).ok();
    eventually(|| second.run(&["info", "tool@1.0.0"]).ok()["releases"][0]["deprecated"] == "use better");
    let hit = &second.run(&["search", "tool"]).ok()["results"][0];
    assert_eq!((&hit["version"], &hit["replacement"]), (&json!("2.0.0"), &json!(format!("{id}/better"))));
    let listed = second.run(&["ls", &id]).ok();
    let expected = json!([{"name": "tool", "version": "2.0.0", "versions": 4, "yanked": false, "deprecated": true}]);
    assert_eq!((&listed["packages"], &listed["forked"]), (&expected, &json!(false)));
    assert_eq!(second.run(&["ls"]).ok()["packages"], json!([]));
    first.run(&["deprecate", "tool", "--undo"]).ok();
    assert_eq!(first.run(&["deprecate", "tool"]).code, 2, "a message is needed");

    assert_eq!(second.run(&["follow", &id]).ok()["event"], "followed");
    assert_eq!(second.run(&["status"]).ok()["followed"], 1);
    assert_eq!(second.run(&["unfollow", &id]).ok()["event"], "unfollowed");
}

#[test]
fn ranges_are_for_semver_only() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("a");
    std::fs::write(&path, "a").unwrap();
    let node = Node::start(&[]);
    let publish =
        ["publish", path.to_str().unwrap(), "--name", "deb", "--version", "1:2.0~rc1-1", "--scheme", "debian"];
    node.run(&publish).ok();
    let out = files.path().join("out");
    let refused = node.get("deb@^1", &out);
    assert_eq!(refused.code, 2);
    assert!(refused.last()["message"].as_str().unwrap().contains("debian"));
    assert_eq!(node.get("deb@1:2.0~rc1-1", &out).ok()["version"], "1:2.0~rc1-1");
}
