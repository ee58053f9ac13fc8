//! What is linked into a program that uses this crate.

use std::process::Command;

#[test]
fn no_tokio_is_linked() {
    let tree = |options: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "-p", "runtime-smol", "--prefix", "none", "--format", "{lib}"]).args(options);
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("crate names are text")
    };
    let has_tokio = |tree: &str| tree.lines().any(|name| name.starts_with("tokio"));
    let linked = tree(&["-e", "normal"]);
    assert!(linked.lines().any(|name| name == "async_io") && !has_tokio(&linked), "{linked}");
    assert!(has_tokio(&tree(&["-e", "normal,dev"])), "the tests' own counterpart would be found");
}
