//! What the core may depend on. (What it may name is `clippy.toml`'s and `#![no_std]`'s to enforce.)

use std::process::Command;

/// Crates that read a clock, ask the system for randomness, do I/O or run tasks.
const FORBIDDEN: [&str; 14] = [
    "async-io",
    "async-std",
    "futures-timer",
    "getrandom",
    "libp2p-core",
    "libp2p-swarm",
    "mio",
    "parking_lot",
    "rand",
    "smol",
    "socket2",
    "time",
    "tokio",
    "web-time",
];

#[test]
fn no_runtime_clock_or_randomness_under_the_core() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "registry-core", "--edges", "normal", "--prefix", "none", "--format", "{lib}"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names are text");
    assert!(tree.lines().any(|name| name == "registry_core"), "unexpected form: {tree}");
    for name in FORBIDDEN {
        let library = name.replace('-', "_");
        assert!(tree.lines().all(|line| line != library), "registry-core must not depend on {name}");
    }
}
