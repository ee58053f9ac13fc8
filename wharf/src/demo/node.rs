//! One node of the demo: a `wharf up` process in a temporary home.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::args::Runtime;
use crate::client::Client;
use crate::control::Request;
use crate::home::Home;

/// Killed, and its home removed, when dropped.
pub(crate) struct Node {
    child: Child,
    home: TempDir,
    pub(crate) peer_id: String,
    pub(crate) publisher: String,
    pub(crate) addr: String,
}

impl Node {
    /// Starts a node on a free port of the loopback interface and waits until it is ready.
    pub(crate) fn start(runtime: Runtime, bootstrap: Option<&str>) -> Result<Self, String> {
        let home = tempfile::Builder::new().prefix("wharf-demo-").tempdir().map_err(|error| error.to_string())?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("--home").arg(home.path()).args(["--json", "up", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.args(["--runtime", runtime.name()]);
        if let Some(addr) = bootstrap {
            command.args(["--bootstrap", addr]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start a node: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        let ready = read.ok().and_then(|_| serde_json::from_str::<Value>(&line).ok());
        let Some(ready) = ready.filter(|ready| ready["event"] == "ready") else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("a node did not become ready: {line}"));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        Ok(Self {
            peer_id: text(&ready["peer_id"]),
            publisher: text(&ready["publisher"]),
            addr: format!("{}/p2p/{}", text(&ready["listen"][0]), text(&ready["peer_id"])),
            child,
            home,
        })
    }

    /// Runs one verb; all its lines.
    pub(crate) fn call(&self, request: &Request) -> Result<Vec<Value>, String> {
        let mut lines = Vec::new();
        self.stream(request, |line| lines.push(line))?;
        Ok(lines)
    }

    /// Runs one verb; each line as it comes.
    pub(crate) fn stream(&self, request: &Request, on_line: impl FnMut(Value)) -> Result<(), String> {
        call(self.home.path(), request, on_line)
    }

    /// Where a thread of its own may call from.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_path_buf()
    }

    /// SIGKILL: no goodbye, no flush.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.kill();
    }
}

/// Runs one verb against the daemon of a home.
pub(crate) fn call(home: &Path, request: &Request, on_line: impl FnMut(Value)) -> Result<(), String> {
    let home = Home::new(Some(home.to_path_buf())).map_err(|error| error.to_string())?;
    Client::connect(&home).and_then(|client| client.call(request, on_line)).map_err(|error| error.to_string())
}
