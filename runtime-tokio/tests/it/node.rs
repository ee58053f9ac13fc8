//! Whole nodes: start, use, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use registry_core::catalog::{Name, PackageSpec, Scheme, Version};
use registry_core::command::DhtCommand;
use registry_core::event::{DhtResult, OpError, Stage};
use registry_core::id::Codec;
use registry_core::search::{Query, SearchPage};
use registry_core::{BlockId, Config, Digest, Event};
use registry_node::{Error, Existing, Keys, NewPackage, Notice, Registry, StoreFault, Subscription};
use runtime_tokio::Tokio;

use crate::shell::PATIENCE;

fn builder(dir: &std::path::Path) -> registry_node::Builder {
    Registry::builder(dir.join("store"), Keys::load_or_create(dir).unwrap())
        .listen(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()])
}

#[tokio::test]
async fn a_node_that_was_stopped_has_let_go_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    let first = builder(dir.path()).start(Tokio::current()).await.unwrap();
    let addr = first.listen_addrs().remove(0);
    assert!(matches!(builder(dir.path()).start(Tokio::current()).await, Err(Error::Store(StoreFault::InUse))));
    let other = first.clone();
    first.shutdown().await;
    assert!(matches!(other.stats().await, Err(Error::NotRunning)));
    assert!(matches!(
        other.search(Query { text: "x".into(), limit: 1, ..Query::default() }).await,
        Err(Error::NotRunning)
    ));
    assert!(matches!(other.pack(dir.path(), false).await, Err(Error::NotRunning)));
    other.shutdown().await;
    // Its port and its store are free again.
    let again = Registry::builder(dir.path().join("store"), Keys::load(dir.path()).unwrap()).listen(vec![addr.clone()]);
    let again = again.start(Tokio::current()).await.unwrap();
    assert_eq!(again.listen_addrs(), [addr]);
    assert_eq!(again.peer_id(), first.peer_id());
    again.shutdown().await;
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: multiaddr::Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", holder.local_addr().unwrap().port()).parse().unwrap();
    let node =
        Registry::builder(dir.path(), Keys::ephemeral()).listen(vec![addr.clone()]).start(Tokio::current()).await;
    assert!(matches!(node, Err(Error::Listen { addr: refused, .. }) if refused == addr));
}

async fn node(dir: &Path, bootstrap: &[&Registry]) -> Registry {
    let mut config = Config::default();
    config.kad.open_namespaces.push("test".into());
    // Connections come back quickly after a restart.
    config.peers.max_backoff = Duration::from_secs(2);
    config.exchange.stall_timeout = Duration::from_secs(5);
    let entrances = bootstrap.iter().map(|node| entrance(node)).collect();
    builder(dir).config(config).bootstrap(entrances).start(Tokio::current()).await.unwrap()
}

fn entrance(node: &Registry) -> multiaddr::Multiaddr {
    format!("{}/p2p/{}", node.listen_addrs()[0], node.peer_id()).parse().unwrap()
}

/// Skips events until one is wanted.
async fn until(events: &mut Subscription, mut wanted: impl FnMut(&Event) -> bool) {
    let found = async {
        while let Some(notice) = events.next().await {
            if matches!(&notice, Notice::Event(event) if wanted(event)) {
                return;
            }
        }
        panic!("the node is gone");
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event does not come");
}

async fn connected(node: &Registry, to: &Registry) {
    let mut events = node.subscribe().await.unwrap();
    if node.peers().await.unwrap().iter().all(|view| view.peer != to.peer_id()) {
        until(&mut events, |event| *event == Event::PeerUp(to.peer_id())).await;
    }
}

fn package(path: &Path, name: &str, version: &str) -> NewPackage {
    let version = Version { text: version.into(), scheme: Scheme::Semver };
    NewPackage {
        summary: "A telescope for the kitchen".into(),
        keywords: vec!["optics".into()],
        ..NewPackage::new(path, Name::new(name).unwrap(), version)
    }
}

fn spec(publisher: &Registry, name: &str) -> PackageSpec {
    PackageSpec { publisher: Some(publisher.publisher_id()), name: Name::new(name).unwrap(), version: None }
}

/// A folder of three files, one of several blocks.
fn folder(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("telescope");
    std::fs::create_dir_all(folder.join("lens")).unwrap();
    std::fs::write(folder.join("README"), b"look through it").unwrap();
    std::fs::write(folder.join("lens/empty"), b"").unwrap();
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.join("lens/big"), data).unwrap();
    folder
}

fn assert_same(a: &Path, b: &Path) {
    for name in ["README", "lens/empty", "lens/big"] {
        assert_eq!(std::fs::read(a.join(name)).unwrap(), std::fs::read(b.join(name)).unwrap(), "{name}");
    }
}

async fn search(node: &Registry, text: &str) -> SearchPage {
    node.search(Query { text: text.into(), limit: 10, ..Query::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_publishes_another_finds_and_fetches_and_a_third_gets_it_when_the_first_is_gone() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let a = node(dirs[0].path(), &[]).await;
    let b = node(dirs[1].path(), &[&a]).await;
    connected(&b, &a).await;
    let mut news = b.subscribe().await.unwrap();

    let source = folder(dirs[0].path());
    let mut publish = a.publish(package(&source, "telescope", "1.0.0")).await.unwrap();
    let mut stages = Vec::new();
    while let Some(stage) = publish.stage().await {
        stages.push(stage);
    }
    let published = publish.await.unwrap();
    assert!(stages.contains(&Stage::Signed) && stages.contains(&Stage::Stored), "{stages:?}");
    assert_eq!(published.release.release.publisher, a.publisher_id());

    until(&mut news, |event| matches!(event, Event::Update { .. })).await;
    let page = search(&b, "kitchen optics").await;
    assert_eq!(page.hits.len(), 1);
    assert_eq!(page.hits[0].release, published.release);

    let out = dirs[1].path().join("out");
    let mut fetching = 0;
    let got = b
        .get(spec(&a, "telescope"), &out, Existing::Refuse, |stage| {
            fetching += usize::from(matches!(stage, Stage::Fetching { .. }))
        })
        .await
        .unwrap();
    assert_same(&source, &out);
    assert_eq!(got.sources.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [a.peer_id()]);
    assert!(got.sources[0].1 >= 3_000_000, "{:?}", got.sources);
    assert!(fetching > 0);

    a.shutdown().await;
    let c = node(dirs[2].path(), &[&b]).await;
    let mut news = c.subscribe().await.unwrap();
    if c.info(spec(&a, "telescope")).await.unwrap().is_empty() {
        until(&mut news, |event| matches!(event, Event::Update { .. })).await;
    }
    let out = dirs[2].path().join("out");
    let got = tokio::time::timeout(PATIENCE, c.get(spec(&a, "telescope"), &out, Existing::Refuse, |_| ())).await;
    let got = got.expect("the third node waits").unwrap();
    assert_same(&source, &out);
    assert_eq!(got.sources.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [b.peer_id()]);
    b.shutdown().await;
    c.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_knows_what_it_knew() {
    let dir = tempfile::tempdir().unwrap();
    let first = node(dir.path(), &[]).await;
    let source = folder(dir.path());
    let published = first.publish(package(&source, "telescope", "1.0.0")).await.unwrap().await.unwrap();
    first.shutdown().await;

    let second = node(dir.path(), &[]).await;
    assert_eq!(second.info(spec(&second, "telescope")).await.unwrap(), [published.release]);
    assert_eq!(search(&second, "telescope").await.hits.len(), 1);
    let out = dir.path().join("out");
    let got = second.get(spec(&second, "telescope"), &out, Existing::Refuse, |_| ()).await.unwrap();
    assert_same(&source, &out);
    assert_eq!(got.sources, []);
    let again = second.publish(package(&source, "telescope", "1.0.0")).await;
    assert!(matches!(again, Err(Error::Command(registry_core::CommandError::AlreadyPublished))), "{again:?}");
    let next = second.publish(package(&source, "telescope", "1.1.0")).await.unwrap().await.unwrap();
    assert_eq!(next.release.release.position, 1);
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_providers_and_messages_travel_between_nodes() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let a = node(dirs[0].path(), &[]).await;
    let b = node(dirs[1].path(), &[]).await;
    assert_eq!(b.connect(entrance(&a)).await.unwrap(), a.peer_id());
    connected(&a, &b).await;

    let (key, value) = (Bytes::from_static(b"/test/key"), Bytes::from_static(b"value"));
    let put = DhtCommand::Put { key: key.clone(), value: value.clone() };
    let stored = async {
        loop {
            // Until identify has told that the other serves the DHT, nobody is there to store it.
            match a.dht(put.clone()).await {
                Ok(DhtResult::Stored { acks: 1.. }) => return,
                Ok(_) | Err(Error::Op(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
    assert_eq!(b.dht(DhtCommand::Get(key)).await.unwrap(), DhtResult::Value(value));
    let content = Digest::of(b"content").to_multihash();
    a.dht(DhtCommand::Provide(content.clone())).await.unwrap();
    let found = b.dht(DhtCommand::FindProviders { key: content, count: 1 }).await.unwrap();
    assert!(
        matches!(&found, DhtResult::Peers(peers) if peers.iter().any(|(peer, _)| *peer == a.peer_id())),
        "{found:?}"
    );

    let topic: Arc<str> = "chat".into();
    let mut heard = b.subscribe().await.unwrap();
    b.pubsub_subscribe(Arc::clone(&topic)).await.unwrap();
    let sent = async {
        while a.pubsub_publish(Arc::clone(&topic), Bytes::from_static(b"hello")).await.unwrap_or(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap();
    until(&mut heard, |event| {
        matches!(event, Event::PubsubMessage { author, data, .. } if *author == a.peer_id() && data.as_ref() == b"hello")
    })
    .await;
    assert_eq!(a.stats().await.unwrap().connections, 1);
    b.disconnect(a.peer_id()).await.unwrap();
    until(&mut heard, |event| *event == Event::PeerDown(a.peer_id())).await;
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_end_with_a_reason_and_a_dropped_one_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &[]).await;
    let unknown = BlockId { digest: Digest::of(b"unknown"), codec: Codec::Raw };
    let missing = node.fetch(unknown).await.unwrap().await;
    assert!(matches!(missing, Err(Error::Op(OpError::NoProviders | OpError::NoPeers))), "{missing:?}");
    let missing = node.resolve(spec(&node, "nothing")).await;
    assert!(matches!(missing, Err(Error::Op(OpError::NotFound | OpError::NoPeers))), "{missing:?}");
    let nobody = node.connect("/ip4/127.0.0.1/tcp/1".parse().unwrap()).await;
    assert!(matches!(nobody, Err(Error::Op(OpError::Unreachable(_)))), "{nobody:?}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let connect = node.connect(addr);
    let gave_up = tokio::select! {
        result = connect => panic!("{result:?}"),
        accepted = silent.accept() => accepted.unwrap(),
    };
    while node.stats().await.unwrap().operations > 0 {
        tokio::task::yield_now().await;
    }
    drop(gave_up);
    node.shutdown().await;
}
