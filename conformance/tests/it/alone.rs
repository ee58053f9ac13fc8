//! Tests in a process of their own, where nothing else uses memory, descriptors or time.

use std::process::Command;

use crate::runtimes::Mix;
use crate::table::skip;

/// Set inside of such a process.
const INSIDE: &str = "WHARF_TEST_INSIDE";
/// Begins the lines that are passed on.
const SAID: &str = "measured: ";

/// Says a figure to whoever reads the tests' output.
pub(crate) fn say(figure: &str) {
    println!("{SAID}{figure}");
}

/// Runs a test's body alone. Needs Linux: the bodies read /proc.
pub(crate) async fn alone(test: &str, mix: &Mix, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        return body.await;
    }
    if !cfg!(target_os = "linux") {
        skip("needs /proc");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let run = format!("ulimit -n 8192; exec '{}' --exact {test}::{}", program.display(), mix.name());
    let output = Command::new("sh").args(["-c", &run]).env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut said = text.lines().filter_map(|line| line.strip_prefix(SAID)).peekable();
    assert!(said.peek().is_some(), "it measured nothing: {text}");
    said.for_each(|figure| println!("{}: {figure}", mix.name()));
}
