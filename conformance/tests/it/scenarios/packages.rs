//! Publish, search, get, and what a restart or an absence changes.

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, select};
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, Stage};
use registry_core::{CommandError, Digest, Event};
use registry_node::Error;

use super::{connected, learnt, until, within};
use crate::world::{Peer, World, bytes, spec};

const NAME: &str = "telescope";

fn root(release: &registry_core::catalog::ReleaseInfo) -> registry_core::BlockId {
    match release.release.meta.content {
        registry_core::catalog::Content::Root { root, .. } => root,
        ref other => panic!("{other:?}"),
    }
}

pub(crate) async fn what_one_node_publishes_others_find_and_fetch_even_when_it_is_gone(world: impl World) {
    let data = bytes(3_000_000, 1);
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    let published = within(a.publish(NAME, "1.0.0", data.clone())).await.unwrap();
    assert_eq!(published.release.publisher, a.publisher_id());
    learnt(&b, &a, NAME, 1).await;
    let page = b.search("kitchen optics").await.unwrap();
    assert_eq!(page.hits.iter().map(|hit| &hit.release).collect::<Vec<_>>(), [&published]);

    let mut steps = 0;
    let fetch = b.fetch(root(&published), |stage| steps += u32::from(matches!(stage, Stage::Fetching { .. })));
    let sources = within(fetch).await.unwrap();
    assert!(b.read(&published).await == data, "other bytes came");
    assert_eq!(sources.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [a.peer_id()]);
    assert!(sources[0].1 >= data.len() as u64 && steps > 0, "{sources:?} in {steps} steps");

    let of_a = spec(&a, NAME);
    a.stop().await;
    let c = world.start(2, Some(&b)).await;
    let resolved = within(c.resolve(of_a)).await.unwrap();
    assert_eq!(resolved, published);
    let sources = within(c.fetch(root(&resolved), |_| ())).await.unwrap();
    assert!(c.read(&resolved).await == data, "other bytes came");
    assert_eq!(sources.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [b.peer_id()]);
    b.stop().await;
    c.stop().await;
}

pub(crate) async fn a_restarted_node_knows_what_it_knew(world: impl World) {
    let data = bytes(100_000, 2);
    let node = world.start(0, None).await;
    let (id, publisher) = (node.peer_id(), node.publisher_id());
    let published = within(node.publish(NAME, "1.0.0", data.clone())).await.unwrap();
    node.stop().await;

    let node = world.start(0, None).await;
    assert_eq!((node.peer_id(), node.publisher_id()), (id, publisher));
    assert_eq!(node.info(spec(&node, NAME)).await, std::slice::from_ref(&published));
    assert_eq!(node.search("telescope").await.unwrap().hits.len(), 1);
    assert_eq!(within(node.fetch(root(&published), |_| ())).await.unwrap(), []);
    assert!(node.read(&published).await == data);
    let again = within(node.publish(NAME, "1.0.0", data.clone())).await;
    assert!(matches!(again, Err(Error::Command(CommandError::AlreadyPublished))), "{again:?}");
    assert_eq!(within(node.publish(NAME, "1.1.0", data)).await.unwrap().release.position, 1);
    node.stop().await;
}

pub(crate) async fn a_fetch_that_was_cut_off_goes_on_after_a_restart(world: impl World) {
    let data = bytes(24_000_000, 3);
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    let published = within(a.publish(NAME, "1.0.0", data.clone())).await.unwrap();
    learnt(&b, &a, NAME, 1).await;

    let size = data.len() as u64;
    let (reached, half) = oneshot::channel();
    let mut reached = Some(reached);
    let fetch = std::pin::pin!(b.fetch(root(&published), |stage| {
        if let Stage::Fetching { bytes, .. } = stage
            && bytes > size / 2
            && let Some(reached) = reached.take()
        {
            let _ = reached.send(bytes);
        }
    }));
    let Either::Right((durable, _running)) = within(select(fetch, half)).await else { panic!("it has ended") };
    assert!(durable.unwrap() < size);
    b.stop().await;

    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    let sources = within(b.fetch(root(&published), |_| ())).await.unwrap();
    assert!(b.read(&published).await == data, "other bytes came");
    // Who sent what is told for both lives together, and is written every 4 MiB.
    let all: u64 = sources.iter().map(|(_, bytes)| bytes).sum();
    assert!((size / 2..size + size / 100).contains(&all), "{sources:?}: nothing is fetched twice");
    a.stop().await;
    b.stop().await;
}

pub(crate) async fn a_node_that_was_away_catches_up(world: impl World) {
    const MISSED: usize = 20;
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    within(a.publish(NAME, "0.0.1", bytes(1_000, 0))).await.unwrap();
    learnt(&b, &a, NAME, 1).await;
    b.stop().await;

    for number in 1..=MISSED {
        let version = format!("1.{number}.0");
        within(a.publish(NAME, &version, bytes(1_000, number as u64))).await.unwrap();
    }
    let b = world.start(1, Some(&a)).await;
    learnt(&b, &a, NAME, 1 + MISSED).await;
    let newest = within(b.resolve(spec(&a, NAME))).await.unwrap();
    assert_eq!(&*newest.release.meta.version.text, format!("1.{MISSED}.0"));
    within(b.fetch(root(&newest), |_| ())).await.unwrap();
    assert!(b.read(&newest).await == bytes(1_000, MISSED as u64));

    // From now on it hears of releases as they come.
    let mut news = b.events().await;
    within(a.publish(NAME, "2.0.0", bytes(1_000, 99))).await.unwrap();
    until(
        &mut news,
        |event| matches!(event, Event::Update { release, .. } if &*release.release.meta.version.text == "2.0.0"),
    )
    .await;
    a.stop().await;
    b.stop().await;
}

pub(crate) async fn values_providers_and_messages_travel_between_nodes(world: impl World) {
    let a = world.start(0, None).await;
    let b = world.start(1, None).await;
    if !b.peers().await.contains(&a.peer_id()) {
        assert_eq!(within(b.connect(a.addr())).await.unwrap(), a.peer_id());
    }
    connected(&a, &b).await;

    let (key, value) = (Bytes::from_static(b"/test/key"), Bytes::from_static(b"value"));
    let stored = async {
        loop {
            // Until identify has told that the other serves the DHT, nobody is there to store it.
            match a.dht(DhtCommand::Put { key: key.clone(), value: value.clone() }).await {
                Ok(DhtResult::Stored { acks: 1.. }) => return,
                Ok(_) | Err(Error::Op(_)) => world.moment().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    within(stored).await;
    assert_eq!(within(b.dht(DhtCommand::Get(key))).await.unwrap(), DhtResult::Value(value));
    let content = Digest::of(b"content").to_multihash();
    within(a.dht(DhtCommand::Provide(content.clone()))).await.unwrap();
    let found = within(b.dht(DhtCommand::FindProviders { key: content, count: 1 })).await.unwrap();
    let provides_a = |peers: &registry_core::command::FoundPeers| peers.iter().any(|(peer, _)| *peer == a.peer_id());
    assert!(matches!(&found, DhtResult::Peers(peers) if provides_a(peers)), "{found:?}");

    let mut heard = b.events().await;
    b.pubsub_subscribe("chat").await;
    let sent = async {
        while a.pubsub_publish("chat", Bytes::from_static(b"hello")).await.unwrap_or(0) == 0 {
            world.moment().await;
        }
    };
    within(sent).await;
    until(&mut heard, |event| {
        matches!(event, Event::PubsubMessage { author, data, .. } if *author == a.peer_id() && data.as_ref() == b"hello")
    })
    .await;
    b.disconnect(a.peer_id()).await;
    until(&mut heard, |event| *event == Event::PeerDown(a.peer_id())).await;
    a.stop().await;
    b.stop().await;
}
