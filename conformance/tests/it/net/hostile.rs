//! Garbage on the port, and peers that break every rule: the others are still served.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use multiaddr::{Multiaddr, Protocol as Part};
use registry_core::action::SendClass;
use registry_core::{Input, Protocol, WireError};
use registry_node::net::NetConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw::Raw;
use super::shell::{Echo, Shell, block, find_node, find_node_body, subscription};
use crate::PATIENCE;
use crate::alone::{alone, say};
use crate::runtimes::Mix;

const KAD: &str = "/wharf/kad/1.0.0";
const GOSSIP: &str = "/meshsub/1.1.0";
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";
const REGISTRY: &str = "/wharf/registry/1";

async fn victim(mix: &Mix) -> Echo {
    Shell::start(mix).await.echo()
}

fn socket(addr: &Multiaddr) -> (std::net::Ipv4Addr, u16) {
    let mut parts = addr.iter();
    match (parts.next(), parts.next()) {
        (Some(Part::Ip4(ip)), Some(Part::Tcp(port))) => (ip, port),
        other => panic!("no TCP address: {other:?}"),
    }
}

/// The peer's fault is told, and the stream is over.
async fn is_malformed(victim: &mut Echo, stream: &mut (impl futures::AsyncRead + Unpin), expected: WireError) {
    let error = victim
        .until(|input| match input {
            Input::Malformed { error, .. } => Some(*error),
            _ => None,
        })
        .await;
    assert_eq!(error, expected);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream stays open");
    assert!(ended.is_err() || rest.is_empty());
}

pub(crate) async fn attack_01_prefixes_above_the_limit_close_the_stream_before_anything_is_reserved(mix: Mix) {
    let mut victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    for (protocol, name) in
        [(Protocol::Kad, KAD), (Protocol::Gossip, GOSSIP), (Protocol::Bitswap, BITSWAP), (Protocol::Registry, REGISTRY)]
    {
        let mut stream = raw.stream(name).await.unwrap();
        let mut length = protocol.max_frame() + 1;
        let mut prefix = Vec::new();
        while length >= 0x80 {
            prefix.push(length as u8 | 0x80);
            length >>= 7;
        }
        prefix.push(length as u8);
        stream.write_all(&prefix).await.unwrap();
        stream.flush().await.unwrap();
        is_malformed(&mut victim, &mut stream, WireError::TooLong).await;
    }
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn a_peer_that_breaks_every_stream_is_disconnected(mix: Mix) {
    let mut victim = Shell::start(&mix).await;
    let _raw = Raw::dial_and_reset(&victim.addr).await;
    let connected = |input: &Input| match input {
        Input::Connected { peer, .. } => Some(*peer),
        _ => None,
    };
    let peer = victim.until(connected).await;
    let disconnected =
        |input: &Input| matches!(input, Input::Disconnected { peer: gone } if *gone == peer).then_some(());
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(50), victim.until(disconnected)).await.is_err() {
        assert!(sent < 200, "still connected");
        victim.send(peer, subscription("topic"), SendClass::Control).await;
        sent += 1;
    }
}

pub(crate) async fn attack_02_endless_and_overlong_varints_close_the_stream(mix: Mix) {
    let mut victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    for (bytes, expected) in [(&[0xff; 11][..], WireError::TooLong), (&[0x81, 0x00], WireError::Varint)] {
        let mut stream = raw.stream(KAD).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        is_malformed(&mut victim, &mut stream, expected).await;
    }
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn attack_03_a_stream_that_ends_in_the_middle_of_a_frame_is_a_fault(mix: Mix) {
    let mut victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    for name in [KAD, GOSSIP, BITSWAP, REGISTRY] {
        let mut stream = raw.stream(name).await.unwrap();
        stream.write_all(&[100, 1, 2, 3]).await.unwrap();
        stream.close().await.unwrap();
        is_malformed(&mut victim, &mut stream, WireError::Truncated).await;
    }
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn attack_04_frames_glued_together_or_split_byte_by_byte_are_served_alike(mix: Mix) {
    let victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    let body = find_node_body(b"key");
    let frame = [&[body.len() as u8][..], &body].concat();
    let mut glued = raw.stream(KAD).await.unwrap();
    glued.write_all(&frame.repeat(3)).await.unwrap();
    glued.flush().await.unwrap();
    let mut split = raw.stream(KAD).await.unwrap();
    for byte in frame.repeat(3) {
        split.write_all(&[byte]).await.unwrap();
        split.flush().await.unwrap();
    }
    for mut stream in [glued, split] {
        let mut answers = vec![0; 3 * frame.len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answers)).await.unwrap().unwrap();
        assert_eq!(answers, frame.repeat(3));
    }
}

pub(crate) async fn attack_08_a_frame_that_trickles_in_loses_its_slot_at_the_deadline(mix: Mix) {
    let mut victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    let mut stream = raw.stream(KAD).await.unwrap();
    stream.write_all(&[100, 1]).await.unwrap();
    stream.flush().await.unwrap();
    victim.serves_an_honest_peer(&mix).await;
    is_malformed(&mut victim, &mut stream, WireError::Truncated).await;
}

pub(crate) async fn attack_09_a_flood_of_streams_is_capped_and_others_are_served(mix: Mix) {
    let victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    let mut streams = Vec::new();
    for n in 0..100 {
        let name = [KAD, GOSSIP, BITSWAP, REGISTRY][n % 4];
        streams.push(raw.stream(name).await.expect("the newest stream is taken"));
    }
    victim.serves_an_honest_peer(&mix).await;
    // The oldest streams had to go: 25 of each kind were opened, and only DHT streams may be that many.
    let mut ended = 0;
    for (n, stream) in streams.iter_mut().enumerate().take(60) {
        if n % 4 != 0 {
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an old stream is open");
            ended += 1;
        }
    }
    assert_eq!(ended, 45);
    // And the flooder's own newest stream is as good as any.
    let mut newest = raw.stream(KAD).await.unwrap();
    let body = find_node_body(b"key");
    let frame = [&[body.len() as u8][..], &body].concat();
    newest.write_all(&frame).await.unwrap();
    newest.flush().await.unwrap();
    let mut answer = vec![0; frame.len()];
    tokio::time::timeout(PATIENCE, newest.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, frame);
    // More streams than the connection may have end the connection, and nothing else.
    while raw.stream(KAD).await.map(|stream| streams.push(stream)).is_some() && streams.len() < 400 {}
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn unfinished_frames_of_one_connection_are_bounded_together(mix: Mix) {
    let victim = victim(&mix).await;
    let mut raw = Raw::dial(&victim.addr).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = raw.stream(BITSWAP).await.unwrap();
        // A frame of 4 MiB less one byte, of which the last 64 KiB never come.
        let sent = async {
            stream.write_all(&[0xff, 0xff, 0xff, 0x01]).await?;
            stream.write_all(&vec![0; (4 << 20) - (64 << 10)]).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(PATIENCE, sent).await.expect("the stream is stuck");
        streams.push(stream);
    }
    // Two of them fit; the one that came last does not.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, streams[2].read_to_end(&mut rest)).await.expect("the stream is still open");
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn attack_58_a_peer_that_never_reads_loses_blocks_while_others_get_theirs(mix: Mix) {
    let mut sender = Shell::start(&mix).await;
    let mut reader = Shell::start(&mix).await;
    sender.connect(&mut reader).await;
    let mut sleeper = Raw::dial(&sender.addr).await;
    let sleeping = sender
        .until(|input| match input {
            Input::Connected { peer, .. } => Some(*peer),
            _ => None,
        })
        .await;
    assert!(sleeper.stream(BITSWAP).await.is_some());
    let msg = block(&vec![1; 512 * 1024]);
    for _ in 0..40 {
        sender.send(sleeping, msg.clone(), SendClass::Block).await;
    }
    let mut dropped = 0;
    while dropped < 20 {
        match sender.next().await {
            Input::SendDropped { peer, class: SendClass::Block } => {
                assert_eq!(peer, sleeping);
                dropped += 1;
            }
            other => assert!(matches!(other, Input::Identified { .. }), "{other:?}"),
        }
    }
    sender.send(reader.id, msg.clone(), SendClass::Block).await;
    let received = reader
        .until(|input| match input {
            Input::Received { msg, .. } => Some(msg.clone()),
            _ => None,
        })
        .await;
    assert_eq!(received, msg);
}

pub(crate) async fn random_bytes_on_the_port_and_on_streams_are_harmless(mix: Mix) {
    let victim = victim(&mix).await;
    let mut state = 1_u64;
    let mut garbage = |len: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(len)
        .collect()
    };
    for n in 0..50 {
        let mut tcp = TcpStream::connect(socket(&victim.addr)).await.unwrap();
        let _ = tcp.write_all(&garbage(n * 100)).await;
        let _ = tcp.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the connection stays open");
    }
    let mut raw = Raw::dial(&victim.addr).await;
    for n in 0..100 {
        let Some(mut stream) = raw.stream([KAD, GOSSIP, BITSWAP, REGISTRY][n % 4]).await else { break };
        let _ = stream.write_all(&garbage(50 * n)).await;
        let _ = stream.close().await;
    }
    victim.serves_an_honest_peer(&mix).await;
}

pub(crate) async fn pending_connections_are_capped_and_the_others_get_their_turn(mix: Mix) {
    let victim = Shell::with(&mix, NetConfig { max_pending_incoming: 4, ..NetConfig::default() }).await.echo();
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(socket(&victim.addr)).await.unwrap());
    }
    // Those above the cap are closed at once.
    let mut refused = TcpStream::connect(socket(&victim.addr)).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, refused.read_to_end(&mut rest)).await.expect("the connection stays open");
    idle.clear();
    while Raw::try_dial(&victim.addr).await.is_none() {}
    victim.serves_an_honest_peer(&mix).await;
}

/// More than are accepted.
const SECURED: usize = 420;

async fn idle_flood(mix: Mix) {
    let victim = victim(&mix).await;
    let mut honest = Shell::start(&mix).await;
    honest.dial(0, Some(victim.id), vec![victim.addr.clone()]).await;
    victim.serves_an_honest_peer(&mix).await;
    let before = resident_mib();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(socket(&victim.addr)).await.unwrap());
    }
    victim.serves_an_honest_peer(&mix).await;
    let bare = resident_mib();
    let mut secured = Vec::new();
    while secured.len() < SECURED {
        secured.extend(futures::future::join_all((0..20).map(|_| Raw::try_dial(&victim.addr))).await);
    }
    // There is no core here that would make room for newcomers, but whoever was there is served.
    let msg = find_node(b"key");
    assert_eq!(honest.ask(1, victim.id, msg.clone()).await, Ok(msg));
    let after = resident_mib();
    say(&format!("resident MiB: {before} before, {bare} with 1000 idle, {after} with {SECURED} secured"));
    // Both ends of every connection are in this process.
    assert!(bare - before <= 100 && after - before <= 100, "{before} {bare} {after}");
}

fn resident_mib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() / 1024
}

pub(crate) async fn floods_of_idle_connections_cost_less_than_100_mib(mix: Mix) {
    alone("floods_of_idle_connections_cost_less_than_100_mib", &mix, idle_flood(mix.clone())).await;
}
