//! `wharf up`: one node, and the control socket through which the other verbs use it.

mod amend;
mod by_hand;
mod failure;
mod import;
mod topics;
mod verbs;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use multiaddr::Multiaddr;
use registry_core::{Config, Role};
use registry_node::Registry;
use registry_node::net::NetConfig;
use runtime_smol::Smol;
use runtime_tokio::Tokio;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::args::{self, MessageId, Runtime, Up};
use crate::control::{Reply, Request};
use crate::daemon::topics::Topics;
use crate::error::{CliError, Code};
use crate::home::Home;
use crate::render;

/// A request longer than this is not read.
const MAX_REQUEST: u64 = 1 << 20;

/// How long clients get to take their last lines at shutdown.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all clients share.
#[derive(Clone)]
struct Node {
    registry: Registry,
    topics: Topics,
}

/// Runs until interrupted or terminated.
pub(crate) fn run(home: Home, args: Up, json: bool) -> Result<(), CliError> {
    let _lock = home.lock()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| no_system(&error))?;
    runtime.block_on(serve(&home, args, json))
}

async fn serve(home: &Home, args: Up, json: bool) -> Result<(), CliError> {
    let keys = home.keys()?;
    let (peer_id, publisher) = (keys.peer_id().to_string(), keys.publisher_id().to_string());
    let role = match args.role {
        args::Role::Light => Role::Light,
        args::Role::Peer => Role::Peer,
        args::Role::Seed => Role::Seed,
    };
    let mut config = Config { network: args.network, ..Config::of(role) };
    config.kad.open_namespaces = args.dht_namespace;
    config.gossip.content_ids = args.message_id == MessageId::Content;
    let builder = Registry::builder(home.dir().join("store"), keys)
        .config(config)
        .net(NetConfig { kad_protocol: args.dht_protocol, ..NetConfig::default() })
        .agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
        .listen(addrs(&args.listen)?)
        .bootstrap(addrs(&args.bootstrap)?);
    let registry = match args.runtime {
        Runtime::Tokio => builder.start(Tokio::current()).await,
        Runtime::Smol => builder.start(Smol::global()).await,
    };
    let registry = registry.map_err(failure::failure)?;
    // From here on there is something to tidy up.
    let stop = Stop::new().map_err(|error| no_system(&error))?;
    let listener = bind(&home.socket())?;
    let listen: Vec<_> = registry.listen_addrs().iter().map(ToString::to_string).collect();
    if json {
        let runtime = args.runtime.name();
        let ready = json!({
            "event": "ready", "peer_id": peer_id, "publisher": publisher, "listen": listen, "runtime": runtime,
        });
        render::print(&ready.to_string());
    } else {
        render::print(&format!("wharf is up\n  peer id    {peer_id}\n  publisher  {publisher}"));
        listen.iter().for_each(|addr| render::print(&format!("  listening  {addr}")));
    }
    attend_until(stop, &registry, &listener).await;
    registry.shutdown().await;
    // Whoever finds the socket gone knows that nobody listens; a later start replaces a socket left behind.
    let _ = std::fs::remove_file(home.socket());
    Ok(())
}

/// The signals that end the daemon in good order.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The home's lock is held, so a socket that is there already is a dead daemon's.
fn bind(socket: &Path) -> Result<UnixListener, CliError> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(CliError::io("cannot replace", socket, &error));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(socket).map_err(|error| CliError::io("cannot listen on", socket, &error))?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(socket, mode).map_err(|error| CliError::io("cannot protect", socket, &error))?;
    Ok(listener)
}

async fn attend_until(mut stop: Stop, registry: &Registry, listener: &UnixListener) {
    let mut clients = JoinSet::new();
    let node = Node { registry: registry.clone(), topics: Topics::default() };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept (descriptors used up) is the client's loss, not the daemon's.
                if let Ok((stream, _)) = accepted {
                    clients.spawn(attend(node.clone(), stream));
                }
            }
            Some(_) = clients.join_next() => {}
            () = stop.wanted() => break,
        }
    }
    clients.abort_all();
    let gone = async { while clients.join_next().await.is_some() {} };
    // A client that does not read cannot hold the daemon.
    let _ = tokio::time::timeout(GOODBYE, gone).await;
}

/// One client: a request, its lines, its end. A client that hangs up cancels what it asked for.
async fn attend(node: Node, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read.take(MAX_REQUEST));
    let mut line = String::new();
    if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
        return;
    }
    let mut lines = Lines(&mut write);
    let last = match serde_json::from_str::<Request>(&line) {
        Ok(request) => tokio::select! {
            outcome = verbs::answer(&node, request, &mut lines) => match outcome {
                Ok(()) => Reply::End,
                Err(error) => Reply::Error(error),
            },
            () = hung_up(reader) => return,
        },
        Err(error) => {
            let message = format!("the request makes no sense: {error}");
            Reply::Error(CliError::new(Code::Usage, message, "use the same version of wharf at both ends"))
        }
    };
    // The client may be gone; nothing is lost with its last line.
    let _ = lines.reply(&last).await;
}

async fn hung_up(mut reader: BufReader<Take<OwnedReadHalf>>) {
    let mut byte = [0];
    while matches!(reader.read(&mut byte).await, Ok(1)) {}
}

/// The way to one client.
struct Lines<'a>(&'a mut OwnedWriteHalf);

impl Lines<'_> {
    /// Sends one object for the user.
    async fn line(&mut self, line: serde_json::Value) -> Result<(), CliError> {
        let gone = |_| CliError::new(Code::Other, "the client is gone", "nothing to do");
        self.reply(&Reply::Line(line)).await.map_err(gone)
    }

    async fn reply(&mut self, reply: &Reply) -> std::io::Result<()> {
        let mut text = serde_json::to_string(reply).expect("replies are plain data");
        text.push('\n');
        self.0.write_all(text.as_bytes()).await
    }
}

fn addrs(texts: &[String]) -> Result<Vec<Multiaddr>, CliError> {
    texts.iter().map(|text| verbs::parse_addr(text)).collect()
}

fn no_system(error: &std::io::Error) -> CliError {
    CliError::new(Code::Other, error.to_string(), "check the system's limits")
}
