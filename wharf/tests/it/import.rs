//! Imports: what is taken, skipped and refused, and that none of it is lost to a kill.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::node::{Node, Output};

fn write_rows(path: &Path, rows: &[Value]) {
    let lines: Vec<_> = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(path, lines.concat()).unwrap();
}

fn row(number: usize) -> Value {
    json!({
        "name": format!("package-{number}"),
        "version": format!("1.{}.0", number % 7),
        "summary": format!("row number {number}"),
        "description": "It does what its name says. ".repeat(number % 40),
        "tags": [format!("tag-{}", number % 11)],
        "dependencies": [format!("package-{} ^1", number / 2)],
    })
}

fn import(node: &Node, path: &Path) -> Output {
    node.run(&["import", path.to_str().unwrap()])
}

/// Rows, published, unchanged and refused of the line that says so.
fn counts(line: &Value) -> [u64; 4] {
    ["rows", "published", "unchanged", "refused"].map(|field| line[field].as_u64().unwrap_or_else(|| panic!("{line}")))
}

#[test]
fn rows_are_taken_once_and_the_others_named() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("rows.jsonl");
    let mut rows: Vec<_> = (0..100).map(row).collect();
    let node = Node::start(&[]);
    write_rows(&path, &rows);
    assert_eq!(counts(&import(&node, &path).ok()), [100, 100, 0, 0]);
    assert_eq!(counts(&import(&node, &path).ok()), [100, 0, 100, 0]);

    rows[3]["summary"] = json!("something else");
    rows[7]["version"] = json!("not semver");
    rows[8]["version"] = json!("2.0.0");
    rows[9]["dependencies"] = json!(["a b|c/d"]);
    rows.push(json!({"name": "nothing more", "version": "1.0.0"}));
    rows.push(json!([1]));
    write_rows(&path, &rows);
    let output = import(&node, &path);
    let refused: Vec<_> = output.lines.iter().filter(|line| line["event"] == "refused").collect();
    let told: Vec<_> =
        refused.iter().map(|line| (line["line"].as_u64().unwrap(), line["name"].as_str().unwrap())).collect();
    let expected = [(4, "package-3"), (8, "package-7"), (10, "package-9"), (101, "nothing more"), (102, "")];
    assert_eq!(told, expected);
    assert!(refused[0]["reason"].as_str().unwrap().contains("never changes"), "{}", refused[0]);
    assert!(refused[2]["reason"].as_str().unwrap().starts_with("dependencies: c/d"), "{}", refused[2]);
    let [.., end, error] = &output.lines[..] else { panic!("{:?}", output.lines) };
    assert_eq!((&end["event"], counts(end)), (&json!("imported"), [102, 1, 96, 5]));
    assert_eq!((output.code, &error["error"]), (7, &json!("refused")));
    let releases = node.run(&["info", "package-8"]).ok();
    assert_eq!(releases["releases"].as_array().unwrap().len(), 2, "a new version is a new release");
    let status = node.run(&["status"]).ok();
    assert!(status["calls"].as_u64().unwrap() > 0 && status["slow_calls"].is_u64(), "{status}");
    assert!(status["longest_call_ms"].as_f64().unwrap() > 0.0 && status["longest_call"] != "", "{status}");
    assert_eq!(node.run(&["search", "number 42"]).ok()["results"][0]["name"], "package-42");
}

#[test]
fn fields_are_mapped_and_standard_input_is_read() {
    let node = Node::start(&[]);
    let mut command = node.command();
    command.args(["import", "-", "--map", "name=id", "--map", "summary=title", "--scheme", "opaque"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let line = br#"{"id": "x", "version": "r9", "title": "mapped", "sha256": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865", "size": 2}"#;
    child.stdin.take().unwrap().write_all(line).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    let release = node.run(&["info", "x@r9"]).ok()["releases"][0].clone();
    assert_eq!((&release["summary"], &release["size"]), (&json!("mapped"), &json!(2)));
    let cases: [(&[&str], i32); 3] = [
        (&["import", "no-such-file.jsonl"], 3),
        (&["import", "-", "--map", "colour=c"], 2),
        (&["import", "-", "--cargo-cache", "--format", "npm"], 2),
    ];
    for (args, code) in cases {
        assert_eq!(node.run(args).code, code, "{args:?}");
    }
    let missing = node.get("x@r9", &std::env::temp_dir().join("never"));
    assert_eq!(missing.code, 3, "it has no bytes here");
}

#[test]
fn a_lock_files_crates_come_with_their_bytes() {
    let node = Node::start(&[]);
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let text = std::fs::read_to_string(lock).unwrap();
    let entry = |name: &str| {
        let start = text.find(&format!("[[package]]\nname = \"{name}\"\n")).unwrap();
        text[start..].split("\n\n").next().unwrap().to_string()
    };
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("Cargo.lock");
    let unknown = "[[package]]\nname = \"no-such-crate\"\nversion = \"1.0.0\"\nchecksum = \"00\"\n";
    let own = "[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n";
    std::fs::write(&path, [&entry("serde_json"), unknown, own, &entry("bytes")].join("\n\n")).unwrap();
    let args = ["import", "--cargo-cache", path.to_str().unwrap()];
    let output = node.run(&args);
    let end = &output.lines[output.lines.len() - 2];
    assert_eq!((output.code, counts(end)), (7, [3, 2, 0, 1]), "{:?}", output.lines);
    let out = files.path().join("out");
    let got = node.get("serde_json", &out).ok();
    assert!(!got["summary"].as_str().unwrap().is_empty() && !got["licence"].as_str().unwrap().is_empty());
    let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let digest = Sha256::digest(std::fs::read(file).unwrap());
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(entry("serde_json").contains(&checksum));
    let again = node.run(&args);
    assert_eq!(counts(&again.lines[again.lines.len() - 2]), [3, 0, 2, 1]);
}

#[test]
fn a_full_disk_stops_an_import_and_nothing_else() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("rows.jsonl");
    let long = |number| {
        let mut row = row(number);
        row["description"] = json!("Every row takes some room on the disk. ".repeat(100));
        row
    };
    let rows: Vec<_> = (0..1500).map(long).collect();
    write_rows(&path, &rows);
    let mut small = Node::start_on_full_disk(8192);
    let output = import(&small, &path);
    assert_eq!((output.code, &output.last()["error"]), (10, &json!("storage")), "{}", output.last());
    let [rows_told, published, ..] = counts(output.lines.iter().rfind(|line| line["event"] == "imported").unwrap());
    assert!(published > 0 && published == rows_told && published < 1500);
    assert_eq!(small.run(&["status"]).ok()["releases"], published);
    assert_eq!(small.run(&["search", "row"]).code, 0, "reading goes on");

    small.kill();
    let node = Node::start_in(small.home.clone(), "/ip4/127.0.0.1/tcp/0", &[]);
    assert_eq!(counts(&import(&node, &path).ok()), [1500, 1500 - published, published, 0]);
}

/// Rows that come new in each round: enough for several batches.
const ROWS: usize = 200;
/// Kills.
const ROUNDS: usize = 10;

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("rows.jsonl");
    let rows: Vec<_> = (0..ROWS * ROUNDS).map(row).collect();
    let mut node = Node::start(&[]);
    let (mut acknowledged, mut cut) = (0, 0);
    for round in 0..ROUNDS {
        // Everything again from the first row, as somebody would who does not know how far it came.
        write_rows(&path, &rows[..(round + 1) * ROWS]);
        let mut command = node.command();
        let mut child = command.arg("import").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut told = lines.filter(|line| line["event"] == "progress").map(|line| counts(&line));
        // After another number of new batches each time, beginning with none.
        let patience = acknowledged + (round as u64 % 4) * 64;
        for [rows, .., refused] in told.by_ref() {
            assert_eq!(refused, 0);
            acknowledged = acknowledged.max(rows);
            if rows >= patience {
                break;
            }
        }
        node.kill();
        acknowledged = told.fold(acknowledged, |most, [rows, ..]| most.max(rows));
        let code = child.wait().unwrap().code();
        assert!(code == Some(0) || code == Some(9), "{code:?}");
        cut += usize::from(code == Some(9));

        node = Node::start_in(node.home.clone(), "/ip4/127.0.0.1/tcp/0", &[]);
        let held = node.run(&["status"]).ok()["releases"].as_u64().unwrap();
        assert!(held >= acknowledged, "round {round}: {held} of {acknowledged} acknowledged rows are left");
    }
    println!("{acknowledged} rows acknowledged in {ROUNDS} rounds, {cut} of them cut off");
    assert!(cut > ROUNDS / 2, "most kills must come in time");

    let [all, published, unchanged, refused] = counts(&import(&node, &path).ok());
    assert!(unchanged >= acknowledged && refused == 0);
    assert_eq!((all, published + unchanged), (rows.len() as u64, rows.len() as u64));
    assert_eq!(node.run(&["status"]).ok()["releases"], rows.len(), "exactly the rows");

    // Whoever follows the log links every entry to the one before and checks the head over all.
    let follower = Node::start(&[&node.addr()]);
    follower.wait_for(&format!("package-{}", rows.len() - 1));
    assert_eq!(follower.run(&["status"]).ok()["catalogue"], node.run(&["status"]).ok()["catalogue"]);
}
