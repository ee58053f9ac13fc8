//! A js-libp2p node in a process of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::PATIENCE;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A running peer; killed when dropped.
pub(super) struct Js {
    child: Child,
    stdin: Mutex<(ChildStdin, u64)>,
    waiting: Waiting,
    pub(super) peer_id: PeerId,
    pub(super) addr: Multiaddr,
    pub(super) messages: mpsc::UnboundedReceiver<(PeerId, Vec<u8>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("js")
}

/// Why no peer can be started here.
pub(super) fn missing() -> Option<&'static str> {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    match node {
        Err(_) => Some("no node"),
        Ok(_) if !folder().join("node_modules/libp2p").exists() => Some("conformance/js/install was not run"),
        Ok(_) => None,
    }
}

impl Js {
    pub(super) async fn start(kad_protocol: &str) -> Self {
        let mut command = Command::new("node");
        command.arg("peer.mjs").arg(kad_protocol).current_dir(folder());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let waiting = Waiting::default();
        let (ready, started) = oneshot::channel();
        let (heard, messages) = mpsc::unbounded_channel();
        let answers = Arc::clone(&waiting);
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                // Whoever does not wait any more does not mind.
                match line["event"].as_str() {
                    Some("ready") => drop(ready.take().map(|ready| ready.send(line))),
                    Some(_) => drop(heard.send((peer_id(&line["from"]), unhex(&line["data"])))),
                    None => {
                        let id = line["id"].as_u64().expect("an answer has an id");
                        drop(answers.lock().unwrap().remove(&id).map(|waiting| waiting.send(line)));
                    }
                }
            }
            // Nobody waits for a peer that is gone.
            answers.lock().unwrap().clear();
        });
        let ready = tokio::time::timeout(PATIENCE, started).await.expect("it does not start").expect("it ends at once");
        let addr = ready["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("an address");
        Self { child, stdin: (stdin, 0).into(), waiting, peer_id: peer_id(&ready["peer"]), addr, messages }
    }

    /// Gives an order and its answer, or what went wrong.
    pub(super) async fn try_ask(&self, order: &str, mut args: Value) -> Result<Value, String> {
        let (reply, answer) = oneshot::channel();
        {
            let (stdin, last) = &mut *self.stdin.lock().unwrap();
            *last += 1;
            args["id"] = json!(*last);
            args["do"] = json!(order);
            self.waiting.lock().unwrap().insert(*last, reply);
            writeln!(stdin, "{args}").expect("the peer runs");
        }
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("{order} does not end"));
        let mut answer = answer.expect("the peer runs");
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["ok"].take()),
        }
    }

    pub(super) async fn ask(&self, order: &str, args: Value) -> Value {
        self.try_ask(order, args).await.unwrap_or_else(|error| panic!("{order}: {error}"))
    }

    pub(super) async fn dial(&self, addr: &Multiaddr) {
        self.ask("dial", json!({"addr": addr})).await;
    }

    pub(super) async fn servers(&self) -> u64 {
        self.ask("servers", json!({})).await.as_u64().expect("a number")
    }

    pub(super) async fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        // It rejects when there is none.
        let value = self.try_ask("get", json!({"key": hex(key)})).await.ok()?;
        (!value.is_null()).then(|| unhex(&value))
    }

    pub(super) async fn providers(&self, key: &[u8]) -> Vec<PeerId> {
        peers(&self.ask("providers", json!({"key": hex(key)})).await)
    }

    pub(super) async fn closest(&self, key: &[u8]) -> Vec<PeerId> {
        peers(&self.ask("closest", json!({"key": hex(key)})).await)
    }

    pub(super) async fn mesh(&self, topic: &str) -> Vec<PeerId> {
        peers(&self.ask("mesh", json!({"topic": topic})).await)
    }

    /// To how many peers.
    pub(super) async fn publish(&self, topic: &str, data: &[u8]) -> u64 {
        self.ask("publish", json!({"topic": topic, "data": hex(data)})).await.as_u64().expect("a number")
    }

    pub(super) async fn heard(&mut self) -> (PeerId, Vec<u8>) {
        let message = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        message.expect("it hears nothing").expect("the peer runs")
    }
}

impl Drop for Js {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers(list: &Value) -> Vec<PeerId> {
    list.as_array().expect("a list").iter().map(peer_id).collect()
}

fn peer_id(text: &Value) -> PeerId {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no peer id: {text}"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hex digits");
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
