//! The verbs to try foreign peers: one question each to the DHT, to pubsub, to a peer.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use multiaddr::Multiaddr;
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, Event};
use registry_core::id::TopicName;
use registry_core::{PeerId, TopicView};
use registry_node::{Error, Notice, PeerError, Registry};
use serde_json::{Value, json};

use crate::args::{Dht, Ping, Pubsub};
use crate::daemon::failure::failure;
use crate::daemon::{Lines, Node};
use crate::error::{CliError, Code};
use crate::octets::{Key, Octets};

/// Between two pings.
const PING_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn dht(registry: &Registry, ask: Dht, out: &mut Lines<'_>) -> Result<(), CliError> {
    let bytes = |key: &Key| Bytes::copy_from_slice(&key.0.0);
    let (key, command) = match ask {
        Dht::Put { key, value } => (Some(key.clone()), DhtCommand::Put { key: bytes(&key), value: value.0.0.into() }),
        Dht::Get { key } => (Some(key.clone()), DhtCommand::Get(bytes(&key))),
        Dht::Provide { key, stop: false } => (Some(key.clone()), DhtCommand::Provide(bytes(&key))),
        Dht::Provide { key, stop: true } => (Some(key.clone()), DhtCommand::StopProviding(bytes(&key))),
        Dht::Findprovs { key, count } => (Some(key.clone()), DhtCommand::FindProviders { key: bytes(&key), count }),
        Dht::Findpeer { peer } => (None, DhtCommand::FindPeer(parse_peer(&peer)?)),
        Dht::Closest { key } => (Some(key.clone()), DhtCommand::Closest(bytes(&key))),
    };
    let mut line = dht_result(registry.dht(command).await.map_err(dht_failure)?);
    if let Some(key) = key {
        line["key"] = json!(key);
    }
    out.line(line).await
}

fn dht_result(result: DhtResult) -> Value {
    match result {
        DhtResult::Stored { acks } => json!({"event": "stored", "acks": acks}),
        DhtResult::Value(value) => {
            let value = Octets(value.into());
            json!({"event": "value", "text": value.text(), "value": value})
        }
        DhtResult::Provided { sent } => json!({"event": "providing", "sent": sent}),
        DhtResult::Stopped => json!({"event": "stopped"}),
        DhtResult::Peers(peers) => json!({"event": "peers", "peers": found(&peers)}),
        DhtResult::Closest { peers, hops } => json!({"event": "peers", "peers": found(&peers), "hops": hops}),
    }
}

fn found(peers: &[(PeerId, Vec<Multiaddr>)]) -> Value {
    let peer = |(peer, addrs): &(PeerId, Vec<Multiaddr>)| json!({"peer_id": peer.to_string(), "addrs": addrs});
    peers.iter().map(peer).collect()
}

/// What is wrong here is something else than with packages.
fn dht_failure(error: Error) -> CliError {
    let error = failure(error);
    match error.code {
        Code::NotFound => CliError {
            message: "nobody who was asked knows of any".into(),
            hint: "check the key, `wharf peers`, and --dht-protocol and --dht-namespace of `wharf up`".into(),
            ..error
        },
        Code::Usage => {
            let hint = "a record's key is /NAME/rest, with a NAME of --dht-namespace of `wharf up`";
            CliError { hint: hint.into(), ..error }
        }
        _ => error,
    }
}

pub(super) async fn pubsub(node: &Node, ask: Pubsub, out: &mut Lines<'_>) -> Result<(), CliError> {
    let registry = &node.registry;
    match ask {
        Pubsub::Pub { topic, data } => {
            let name = TopicName::from(topic.as_str());
            let sent = registry.pubsub_publish(name, data.0.0.into()).await.map_err(failure)?;
            out.line(json!({"event": "published", "topic": topic, "sent": sent})).await
        }
        Pubsub::Sub { topic } => listen(node, topic.into(), out).await,
        Pubsub::Ls => {
            let topics = registry.topics().await.map_err(failure)?;
            let joined: Vec<_> = topics.iter().filter(|view| view.joined).map(topic_line).collect();
            out.line(json!({"topics": joined})).await
        }
        Pubsub::Peers { topic } => {
            let topics = registry.topics().await.map_err(failure)?;
            let wanted = topics.iter().filter(|view| topic.as_deref().is_none_or(|topic| *view.topic == *topic));
            let peers: Vec<_> = wanted.flat_map(peer_lines).collect();
            out.line(json!({"peers": peers})).await
        }
    }
}

fn topic_line(view: &TopicView) -> Value {
    let mesh = view.subscribers.iter().filter(|(_, in_mesh)| *in_mesh).count();
    json!({"topic": &*view.topic, "mesh": mesh, "peers": view.subscribers.len()})
}

fn peer_lines(view: &TopicView) -> impl Iterator<Item = Value> {
    let line =
        |(peer, in_mesh): &(PeerId, bool)| json!({"peer_id": peer.to_string(), "topic": &*view.topic, "mesh": in_mesh});
    view.subscribers.iter().map(line)
}

async fn listen(node: &Node, topic: TopicName, out: &mut Lines<'_>) -> Result<(), CliError> {
    let mut events = node.registry.subscribe().await.map_err(failure)?;
    let _listening = node.topics.join(&node.registry, topic.clone()).await.map_err(failure)?;
    out.line(json!({"event": "subscribed", "topic": &*topic})).await?;
    while let Some(notice) = events.next().await {
        match notice {
            Notice::Event(Event::PubsubMessage { topic: of, author, data }) if of == topic => {
                let data = Octets(data.into());
                let (topic, from, text) = (&*topic, author.to_string(), data.text());
                out.line(json!({"event": "message", "topic": topic, "from": from, "text": text, "data": data})).await?;
            }
            Notice::Event(_) => {}
            Notice::Missed(count) => out.line(json!({"event": "missed", "count": count})).await?,
        }
    }
    Err(failure(Error::NotRunning))
}

pub(super) async fn ping(registry: &Registry, ping: &Ping, out: &mut Lines<'_>) -> Result<(), CliError> {
    let peer = parse_peer(&ping.peer)?;
    let mut times = Vec::new();
    for seq in 1..=ping.count {
        if seq > 1 {
            tokio::time::sleep(PING_PAUSE).await;
        }
        match registry.ping(peer).await {
            Ok(time) => {
                times.push(time);
                out.line(json!({"event": "pong", "seq": seq, "rtt_ms": millis(time)})).await?;
            }
            Err(error @ Error::Peer(PeerError::Silent | PeerError::Lost)) => {
                out.line(json!({"event": "lost", "seq": seq, "why": error.to_string()})).await?;
            }
            Err(error) => return Err(failure(error)),
        }
    }
    let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else {
        return Err(failure(PeerError::Silent.into()));
    };
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    out.line(json!({
        "event": "summary", "peer_id": peer.to_string(), "sent": ping.count, "received": times.len(),
        "min_ms": millis(*min), "avg_ms": millis(mean), "max_ms": millis(*max),
    }))
    .await
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(super) async fn identify(registry: &Registry, peer: &str, out: &mut Lines<'_>) -> Result<(), CliError> {
    let peer = parse_peer(peer)?;
    let info = registry.identify(peer).await.map_err(failure)?;
    let mut protocols: Vec<_> = info.protocols.iter().map(ToString::to_string).collect();
    protocols.sort_unstable();
    out.line(json!({
        "peer_id": peer.to_string(),
        "agent": info.agent_version,
        "protocol_version": info.protocol_version,
        "protocols": protocols,
        "addrs": info.listen_addrs,
        "observed_addr": info.observed_addr,
    }))
    .await
}

fn parse_peer(text: &str) -> Result<PeerId, CliError> {
    let hint = "a peer's id is a word that starts with 12D3Koo or Qm; `wharf peers` lists some";
    text.parse().map_err(|error| CliError::new(Code::Usage, format!("peer {text}: {error}"), hint))
}
