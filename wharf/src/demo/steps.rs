//! The demo's script.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::args::{Runtime, Search, Watch};
use crate::control::{Publish, Request};
use crate::demo::Report;
use crate::demo::crates::{self, CachedCrate};
use crate::demo::node::{self, Node};
use crate::error::CliError;

/// Publishes and gets that run at once against one node.
const PARALLEL: usize = 8;

/// The watcher must hear of the update within this.
const UPDATE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(packages: usize, report: &mut Report) -> Result<(), CliError> {
    let crates = report.step("input", format!("{packages} .crate files in cargo's cache"), || {
        let crates = crates::find(packages)?;
        let bytes: u64 = crates.iter().filter_map(|one| std::fs::metadata(&one.path).ok()).map(|meta| meta.len()).sum();
        Ok((format!("{} files, {:.1} MB", crates.len(), bytes as f64 / 1e6), crates))
    })?;

    let (mut publisher, searcher, first, second) = report.step("start", "4 nodes, a process each", || {
        let publisher = Node::start(Runtime::Tokio, None)?;
        let searcher = Node::start(Runtime::Smol, Some(&publisher.addr))?;
        let first = Node::start(Runtime::Tokio, Some(&searcher.addr))?;
        let second = Node::start(Runtime::Smol, Some(&searcher.addr))?;
        Ok(("2 ready on tokio, 2 on smol".to_string(), (publisher, searcher, first, second)))
    })?;

    let updates = report.step("publish", format!("{} signed releases with bytes", crates.len()), || {
        let updates = watch(&searcher, &publisher.publisher)?;
        let published = in_parallel(&crates, |one| publish(&publisher.home(), one))?;
        Ok((format!("{} published", published.len()), updates))
    })?;

    let sought = &crates[crates.len() / 2];
    report.step("search", format!("another node finds {}", sought.locked.name), || {
        Ok((find(&searcher, &updates, sought)?, ()))
    })?;

    let out = tempfile::tempdir().map_err(|error| CliError::io("temporary folder", Path::new("."), &error))?;
    let (left, right) = crates.split_at(crates.len() / 2);
    report.step("fetch parts", "two nodes each fetch one half", || {
        let (id, path) = (&publisher.publisher, out.path());
        let halves = std::thread::scope(|scope| {
            let one = scope.spawn(|| in_parallel(left, |one| get(&first.home(), id, one, &path.join("first"))));
            let two = in_parallel(right, |one| get(&second.home(), id, one, &path.join("second")));
            one.join().map_err(|_| "a thread died".to_string())?.and_then(|one| Ok((one, two?)))
        })?;
        Ok((format!("{} and {} fetched", halves.0.len(), halves.1.len()), ()))
    })?;

    report.step("kill", "the publisher gets SIGKILL", || {
        publisher.kill()?;
        Ok(("dead".to_string(), ()))
    })?;

    let newcomer = report.step("join", "a fifth node joins without the publisher", || {
        let newcomer = Node::start(Runtime::Smol, Some(&searcher.addr))?;
        Ok((format!("joined through {}", short(&searcher.peer_id)), newcomer))
    })?;

    report.step("find", format!("the newcomer finds {}", sought.locked.name), || {
        let updates = watch(&newcomer, &publisher.publisher)?;
        Ok((find(&newcomer, &updates, sought)?, ()))
    })?;

    report.step("fetch all", "0 bytes from the killed node", || {
        let target = out.path().join("newcomer");
        let sources = in_parallel(&crates, |one| get(&newcomer.home(), &publisher.publisher, one, &target))?;
        let mut total = BTreeMap::new();
        for (peer, bytes) in sources.into_iter().flatten() {
            *total.entry(peer).or_insert(0) += bytes;
        }
        let killed = total.get(&publisher.peer_id).copied().unwrap_or(0);
        let list: Vec<_> = total.iter().map(|(peer, bytes)| format!("{} {bytes}", short(peer))).collect();
        let said = format!("{killed} from the killed one; {}", list.join(", "));
        if killed == 0 && total.values().sum::<u64>() > 0 { Ok((said, ())) } else { Err(said) }
    })?;

    report.step("compare", "every file has Cargo.lock's checksum", || {
        for one in &crates {
            let path = out.path().join("newcomer").join(file_name(one)?);
            if !one.locked.matches(&path)? {
                return Err(format!("{} differs", path.display()));
            }
        }
        Ok((format!("{} of {} equal", crates.len(), crates.len()), ()))
    })?;

    report.step("follow", "a watcher hears of another node's release", || {
        let updates = watch(&newcomer, &first.publisher)?;
        publish(&first.home(), &crates[0])?;
        let update = updates.recv_timeout(UPDATE_PATIENCE).map_err(|_| "nothing heard".to_string())?;
        let (name, version) = (update["name"].as_str().unwrap_or("?"), update["version"].as_str().unwrap_or("?"));
        Ok((format!("{name}@{version} of {}", short(&first.publisher)), ()))
    })
}

fn publish(home: &Path, one: &CachedCrate) -> Result<(), String> {
    let request = Request::Publish(Box::new(Publish { path: one.path.clone(), about: one.about.clone() }));
    let mut published = false;
    node::call(home, &request, |line| published |= line["event"] == "published")?;
    if published { Ok(()) } else { Err(format!("{} was not published", one.locked.name)) }
}

/// Fetches one package; bytes per provider.
fn get(home: &Path, publisher: &str, one: &CachedCrate, out: &Path) -> Result<Vec<(String, u64)>, String> {
    let spec = format!("{publisher}/{}@{}", one.locked.name, one.locked.version);
    let mut sources = Vec::new();
    let request = Request::Get { spec, out: out.to_path_buf() };
    node::call(home, &request, |line| {
        for provider in line["providers"].as_array().into_iter().flatten() {
            let peer = provider["peer_id"].as_str().unwrap_or_default().to_string();
            sources.push((peer, provider["bytes"].as_u64().unwrap_or(0)));
        }
    })
    .map_err(|error| format!("{}: {error}", one.locked.name))?;
    Ok(sources)
}

fn search(node: &Node, words: &str) -> Result<Vec<Value>, String> {
    let request = Request::Search(Search {
        query: words.to_string(),
        limit: 20,
        category: None,
        tags: Vec::new(),
        publisher: None,
        explain: false,
    });
    let lines = node.call(&request)?;
    Ok(lines.first().and_then(|line| line["results"].as_array().cloned()).unwrap_or_default())
}

/// Searches anew with each update that the node learns of, until the package is among the results.
fn find(node: &Node, updates: &mpsc::Receiver<Value>, sought: &CachedCrate) -> Result<String, String> {
    loop {
        let hits = search(node, &sought.locked.name)?;
        if let Some(place) = hits.iter().position(|hit| hit["name"] == sought.locked.name.as_str()) {
            return Ok(format!("place {} of {}", place + 1, hits.len()));
        }
        updates.recv_timeout(UPDATE_PATIENCE).map_err(|_| format!("not among {} results", hits.len()))?;
    }
}

/// Updates of one publisher as a node learns of them, from now on. The thread ends with the node's process.
fn watch(node: &Node, publisher: &str) -> Result<mpsc::Receiver<Value>, String> {
    let (heard, updates) = mpsc::channel();
    let (home, request) = (node.home(), Request::Watch(Watch { publisher: Some(publisher.to_string()), name: None }));
    std::thread::spawn(move || node::call(&home, &request, |line| drop(heard.send(line))));
    updates.recv_timeout(UPDATE_PATIENCE).map_err(|_| "the watcher did not start".to_string())?;
    Ok(updates)
}

fn file_name(one: &CachedCrate) -> Result<&std::ffi::OsStr, String> {
    one.path.file_name().ok_or_else(|| "a file without a name".to_string())
}

/// All results in the order of the items, or the first failure.
fn in_parallel<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> Result<T, String> + Sync) -> Result<Vec<T>, String> {
    let size = items.len().div_ceil(PARALLEL).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(size)
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a thread died".to_string())??);
        }
        Ok(all)
    })
}

fn short(id: &str) -> &str {
    &id[id.len().saturating_sub(6)..]
}
