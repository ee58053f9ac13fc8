//! `wharf` processes in temporary homes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A line that is waited for comes by then, or never.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the built binary.
pub(crate) fn wharf(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.arg("--home").arg(home).arg("--json").stdin(Stdio::null());
    command
}

/// What one verb printed, line by line, and its exit code.
pub(crate) struct Output {
    pub(crate) lines: Vec<Value>,
    pub(crate) code: i32,
}

impl Output {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("wharf runs");
        let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
        // Killed by a signal: shown as the negative number.
        let code = output.status.code().unwrap_or(-1);
        Self { lines: lines.collect(), code }
    }

    pub(crate) fn last(&self) -> &Value {
        self.lines.last().expect("at least one line")
    }

    /// The last line of a verb that must succeed.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{:?}", self.lines);
        self.lines.into_iter().next_back().expect("at least one line")
    }
}

/// A running daemon; killed when dropped. The home outlives it as long as somebody holds it.
pub(crate) struct Node {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub(crate) home: std::sync::Arc<TempDir>,
    pub(crate) ready: Value,
}

impl Node {
    pub(crate) fn start(bootstrap: &[&str]) -> Self {
        Self::start_with(&[], bootstrap)
    }

    /// With further options of `up`.
    pub(crate) fn start_with(options: &[&str], bootstrap: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("wharf-test-").tempdir().expect("a temporary folder");
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        Self::up(home.into(), &[&listen, options].concat(), bootstrap)
    }

    pub(crate) fn start_in(home: std::sync::Arc<TempDir>, listen: &str, bootstrap: &[&str]) -> Self {
        Self::up(home, &["--listen", listen], bootstrap)
    }

    fn up(home: std::sync::Arc<TempDir>, options: &[&str], bootstrap: &[&str]) -> Self {
        let mut command = wharf(home.path());
        command.arg("up").args(options).stdout(Stdio::piped());
        for addr in bootstrap {
            command.args(["--bootstrap", addr]);
        }
        Self::spawn(command, home)
    }

    /// Alone, where no file may grow beyond `blocks` of 512 bytes, as on a disk that fills up.
    pub(crate) fn start_on_full_disk(blocks: u64) -> Self {
        let home = tempfile::Builder::new().prefix("wharf-test-").tempdir().expect("a temporary folder");
        let daemon = wharf(home.path());
        // Without the trap the system would kill the writer.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(daemon.get_program()).args(daemon.get_args());
        command.args(["up", "--listen", "/ip4/127.0.0.1/tcp/0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn(command, home.into())
    }

    fn spawn(mut command: Command, home: std::sync::Arc<TempDir>) -> Self {
        let mut child = command.spawn().expect("wharf starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line}"));
        assert_eq!(ready["event"], "ready", "{line}");
        Self { child, _stdout: stdout, home, ready }
    }

    pub(crate) fn peer_id(&self) -> &str {
        self.ready["peer_id"].as_str().expect("a peer id")
    }

    pub(crate) fn publisher(&self) -> &str {
        self.ready["publisher"].as_str().expect("a publisher")
    }

    pub(crate) fn addr(&self) -> String {
        format!("{}/p2p/{}", self.listen(), self.peer_id())
    }

    pub(crate) fn listen(&self) -> &str {
        self.ready["listen"][0].as_str().expect("an address")
    }

    /// The TCP port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.listen().rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn command(&self) -> Command {
        wharf(self.home.path())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Output::of(self.command().args(args))
    }

    pub(crate) fn publish(&self, path: &Path, name: &str, version: &str) -> Value {
        let path = path.to_str().expect("UTF-8");
        self.run(&["publish", path, "--name", name, "--version", version]).ok()
    }

    pub(crate) fn get(&self, spec: &str, out: &Path) -> Output {
        self.run(&["get", spec, "--out", out.to_str().expect("UTF-8")])
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// The exit code, once it ends.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// A verb that goes on until it is stopped.
    pub(crate) fn follow(&self, args: &[&str]) -> Following {
        let mut command = self.command();
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("wharf runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Following { child, lines }
    }

    /// Waits until the daemon has admitted a release of this name, by following it.
    pub(crate) fn wait_for(&self, name: &str) {
        let mut updates = self.follow(&["watch", "--name", name]);
        assert_eq!(updates.next()["event"], "watching");
        if self.run(&["info", name]).code != 0 {
            let update = updates.next();
            assert_eq!(update["name"], name, "{update}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A verb under way; killed when dropped.
pub(crate) struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    /// Its next line.
    pub(crate) fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }

    /// The exit code, once it ends by itself.
    pub(crate) fn code(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of `len` bytes that do not repeat, the same for the same seed.
pub(crate) fn random_file(path: &Path, len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) as u8
    };
    let bytes: Vec<u8> = (0..len).map(|_| next()).collect();
    std::fs::write(path, &bytes).expect("a writable temporary folder");
    bytes
}
