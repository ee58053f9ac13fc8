//! Answers for people: text on stdout, progress on stderr when it is a terminal. Under `--json`, lines as they come.

mod by_hand;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::control::Request;
use crate::error::{CliError, Code};

/// Shows a request's answer as it arrives.
pub(crate) struct View {
    json: bool,
    kind: Kind,
    bar: ProgressBar,
}

enum Kind {
    Publish,
    Amend,
    Ls,
    Follow,
    Search { explain: bool },
    Info,
    Get,
    Watch,
    Peers,
    Connect,
    Status,
    ByHand,
}

impl View {
    pub(crate) fn new(request: &Request, json: bool) -> Self {
        let kind = match request {
            Request::Publish(_) => Kind::Publish,
            Request::Import { .. } => unreachable!("an import shows itself"),
            Request::Yank(_) | Request::Deprecate(_) => Kind::Amend,
            Request::Ls { .. } => Kind::Ls,
            Request::Follow { .. } => Kind::Follow,
            Request::Search(search) => Kind::Search { explain: search.explain },
            Request::Info { .. } => Kind::Info,
            Request::Get { .. } => Kind::Get,
            Request::Watch(_) => Kind::Watch,
            Request::Peers => Kind::Peers,
            Request::Connect { .. } => Kind::Connect,
            Request::Status => Kind::Status,
            Request::Dht { .. } | Request::Pubsub { .. } | Request::Ping(_) | Request::Identify { .. } => Kind::ByHand,
        };
        let bar = match kind {
            Kind::Publish | Kind::Get if !json && std::io::stderr().is_terminal() => {
                let bar = ProgressBar::new_spinner();
                bar.enable_steady_tick(Duration::from_millis(100));
                bar
            }
            _ => ProgressBar::hidden(),
        };
        Self { json, kind, bar }
    }

    pub(crate) fn line(&mut self, line: Value) {
        if self.json {
            return print(&line.to_string());
        }
        match self.kind {
            Kind::Publish => self.publish(&line),
            Kind::Amend => amend(&line),
            Kind::Ls => ls(&line),
            Kind::Follow => print(&format!("{} {}", text(&line, "event"), text(&line, "publisher"))),
            Kind::Search { explain } => search(&line, explain),
            Kind::Info => info(&line),
            Kind::Get => self.get(&line),
            Kind::Watch => watch(&line),
            Kind::Peers => peers(&line),
            Kind::Connect => print(&format!("connected to {}", text(&line, "peer_id"))),
            Kind::Status => status(&line),
            Kind::ByHand => by_hand::show(&line),
        }
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn publish(&self, line: &Value) {
        match text(line, "event") {
            "published" => self.bar.suspend(|| {
                print(&format!("published {}", spec(line)));
                print(&format!(
                    "  {} bytes under {}\n  head record kept by {} DHT nodes, announced to {} peers",
                    line["size"],
                    text(line, "root"),
                    line["acks"],
                    line["sent"]
                ));
            }),
            _ => self.bar.set_message(text(line, "stage").replace('_', " ")),
        }
    }

    fn get(&self, line: &Value) {
        match text(line, "event") {
            "fetched" => self.bar.suspend(|| {
                warn_of_status(line);
                print(&format!("{} -> {}", spec(line), text(line, "out")));
                for provider in list(line, "providers") {
                    print(&format!("  {:>12} bytes from {}", provider["bytes"], text(provider, "peer_id")));
                }
            }),
            _ => {
                if let (Some(bytes), Some(total)) = (line["bytes"].as_u64(), line["total"].as_u64()) {
                    let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
                    self.bar.set_style(ProgressStyle::with_template(style).expect("a fixed template"));
                    self.bar.set_length(total.max(bytes));
                    self.bar.set_position(bytes);
                    let providers = line["providers"].as_u64().filter(|count| *count > 0);
                    self.bar.set_message(providers.map_or_else(String::new, |count| format!("from {count} peers")));
                } else {
                    self.bar.set_message(text(line, "stage").replace('_', " "));
                }
            }
        }
    }
}

/// An error: on stderr for people, on stdout as the stream's last object under `--json`.
pub(crate) fn error(error: &CliError, json: bool) {
    if json {
        let CliError { code, message, hint } = error;
        let exit = code.exit();
        print(
            &json!({"event": "error", "error": code, "exit_code": exit, "message": message, "hint": hint}).to_string(),
        );
    } else {
        eprintln!("wharf: {}\n  hint: {}", error.message, error.hint);
    }
}

/// A reader that has seen enough ends the program quietly, as with any other filter.
pub(crate) fn print(line: &str) {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => {}
        Err(closed) if closed.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("wharf: output: {error}");
            std::process::exit(Code::Storage.exit().into());
        }
    }
}

fn search(line: &Value, explain: bool) {
    let results = list(line, "results");
    for hit in results {
        let points = hit["score"].as_f64().unwrap_or(0.0);
        let mark = hit["deprecated"].as_str().map(|message| format!("  deprecated: {message}")).unwrap_or_default();
        print(&format!("{:8.3}  {}@{}{mark}", points, text(hit, "name"), text(hit, "version")));
        if !text(hit, "summary").is_empty() {
            print(&format!("          {}", text(hit, "summary")));
        }
        print(&format!("          {}", text(hit, "publisher")));
        for part in list(hit, "parts").iter().filter(|_| explain) {
            let gave = part["score"].as_f64().unwrap_or(0.0);
            let what = match text(part, "term") {
                "" => text(part, "field").to_owned(),
                term => format!("{term} in {}", text(part, "field")),
            };
            print(&format!("          {gave:8.3} {what}"));
        }
    }
    if results.is_empty() {
        eprintln!("no package matches");
    }
    if line["complete"] == json!(false) {
        eprintln!("incomplete: some peers did not answer");
    }
}

fn amend(line: &Value) {
    if text(line, "event") == "progress" {
        return;
    }
    print(&format!("{} {}", text(line, "event"), spec(line)));
    let (acks, sent) = (&line["acks"], &line["sent"]);
    if (acks, sent) == (&json!(0), &json!(0)) {
        print("  nobody was told: it was so already, or this node is alone");
    } else {
        print(&format!("  head record kept by {acks} DHT nodes, announced to {sent} peers"));
    }
}

fn ls(line: &Value) {
    if line["packages"] == json!([]) {
        eprintln!("no package of this publisher is known here");
    }
    for package in list(line, "packages") {
        let marks = [("yanked", &package["yanked"]), ("deprecated", &package["deprecated"])];
        let marks: String =
            marks.iter().filter(|(_, on)| **on == json!(true)).map(|(mark, _)| format!("  {mark}")).collect();
        let (name, version) = (text(package, "name"), text(package, "version"));
        print(&format!("{name:<32} {version:<20} {} versions{marks}", package["versions"]));
    }
    for release in list(line, "releases") {
        let marks: String = ["yanked", "deprecated"]
            .into_iter()
            .filter_map(|mark| release[mark].as_str().map(|why| format!("  {mark} {why}")))
            .collect();
        print(&format!("{}{marks}", spec(release)));
    }
    warn_of_fork(line);
}

fn warn_of_fork(line: &Value) {
    if line["forked"] == json!(true) {
        eprintln!("warning: this publisher has signed what cannot both be; nothing new of it is taken");
    }
}

/// What the publisher has said of a release that is fetched all the same.
fn warn_of_status(release: &Value) {
    if let Some(reason) = release["yanked"].as_str() {
        eprintln!(
            "warning: {} is yanked: {}",
            spec(release),
            if reason.is_empty() { "no reason given" } else { reason }
        );
    }
    if let Some(message) = release["deprecated"].as_str() {
        let replacement = release["replacement"].as_str().map(|spec| format!(" (instead: {spec})")).unwrap_or_default();
        eprintln!("warning: {} is deprecated: {message}{replacement}", spec(release));
    }
}

fn info(line: &Value) {
    warn_of_fork(line);
    for release in list(line, "releases") {
        print(&spec(release));
        for field in ["yanked", "deprecated", "replacement"] {
            if let Some(said) = release[field].as_str() {
                print(&format!("  {field:<12}{said}"));
            }
        }
        for field in ["summary", "description", "category", "licence", "root"] {
            if !text(release, field).is_empty() {
                print(&format!("  {field:<12}{}", text(release, field)));
            }
        }
        for field in ["keywords", "tags"] {
            let words: Vec<_> = list(release, field).iter().filter_map(Value::as_str).collect();
            if !words.is_empty() {
                print(&format!("  {field:<12}{}", words.join(", ")));
            }
        }
        if let Some(size) = release["size"].as_u64() {
            print(&format!("  {:<12}{size} bytes", "size"));
        }
    }
}

fn watch(line: &Value) {
    match text(line, "event") {
        "watching" => eprintln!("watching"),
        "missed" => by_hand::missed(line),
        _ => {
            let release =
                format!("{:<12} {}  {}", text(line, "kind").replace('_', " "), spec(line), text(line, "summary"));
            print(release.trim_end());
        }
    }
}

fn peers(line: &Value) {
    let peers = list(line, "peers");
    if peers.is_empty() {
        eprintln!("no peer is connected");
    }
    for peer in peers {
        let (id, addr, agent) = (text(peer, "peer_id"), text(peer, "addr"), text(peer, "agent"));
        print(&format!("{id}  {addr}  {agent}  {} s", peer["connected_seconds"]));
    }
}

fn status(line: &Value) {
    let Some(fields) = line.as_object() else { return };
    for (name, value) in fields {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        print(&format!("{:<17} {value}", name.replace('_', " ")));
    }
}

fn spec(line: &Value) -> String {
    let version = line["version"].as_str().map(|version| format!("@{version}")).unwrap_or_default();
    format!("{}/{}{version}", text(line, "publisher"), text(line, "name"))
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or("")
}

fn list<'a>(line: &'a Value, field: &str) -> &'a [Value] {
    line[field].as_array().map_or(&[], Vec::as_slice)
}
