//! What surrounds the core: sockets, threads, queues.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, join_all, select};
use registry_core::event::OpError;
use registry_core::id::Codec;
use registry_core::search::Query;
use registry_core::{BlockId, Digest, Event};
use registry_node::{Error, Keys, Notice, Registry, StoreFault};

use super::{connected, within};
use crate::runtimes::Mix;
use crate::world::{Peer, Real, World, bytes, entrance, release, spec};

fn builder(dir: &std::path::Path) -> registry_node::Builder {
    Registry::builder(dir.join("store"), Keys::load_or_create(dir).unwrap())
        .listen(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()])
}

pub(crate) async fn a_node_that_was_stopped_has_let_go_of_everything(mix: Mix) {
    let dir = tempfile::tempdir().unwrap();
    let first = builder(dir.path()).start(mix.runtime()).await.unwrap();
    let addr = first.listen_addrs().remove(0);
    assert!(matches!(builder(dir.path()).start(mix.runtime()).await, Err(Error::Store(StoreFault::InUse))));
    let other = first.clone();
    first.shutdown().await;
    assert!(matches!(other.stats().await, Err(Error::NotRunning)));
    let query = Query { text: "x".into(), limit: 1, ..Query::default() };
    assert!(matches!(other.search(query).await, Err(Error::NotRunning)));
    assert!(matches!(other.pack(dir.path(), false).await, Err(Error::NotRunning)));
    other.shutdown().await;
    // Its port and its store are free again.
    let again = Registry::builder(dir.path().join("store"), Keys::load(dir.path()).unwrap()).listen(vec![addr.clone()]);
    let again = again.start(mix.runtime()).await.unwrap();
    assert_eq!(again.listen_addrs(), [addr]);
    assert_eq!(again.peer_id(), first.peer_id());
    again.shutdown().await;
}

pub(crate) async fn an_address_in_use_is_refused_by_name(mix: Mix) {
    let dir = tempfile::tempdir().unwrap();
    let builder = |name| Registry::builder(dir.path().join(name), Keys::ephemeral());
    let any = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let node = builder("node").listen(any).start(mix.runtime()).await.unwrap();
    let program = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = program.local_addr().unwrap().port();
    let of_program: multiaddr::Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    for addr in [of_program, node.listen_addrs().remove(0)] {
        let other = builder("other").listen(vec![addr.clone()]).start(mix.runtime()).await;
        assert!(matches!(other, Err(Error::Listen { addr: refused, .. }) if refused == addr));
    }
    node.shutdown().await;
}

pub(crate) async fn operations_end_with_a_reason(mix: Mix) {
    let node = Real::new(mix).start(0, None).await;
    let unknown = BlockId { digest: Digest::of(b"unknown"), codec: Codec::Raw };
    let missing = within(node.fetch(unknown, |_| ())).await;
    assert!(matches!(missing, Err(Error::Op(OpError::NoProviders | OpError::NoPeers))), "{missing:?}");
    let missing = within(node.resolve(spec(&node, "nothing"))).await;
    assert!(matches!(missing, Err(Error::Op(OpError::NotFound | OpError::NoPeers))), "{missing:?}");
    let nobody = within(node.connect("/ip4/127.0.0.1/tcp/1".parse().unwrap())).await;
    assert!(matches!(nobody, Err(Error::Op(OpError::Unreachable))), "{nobody:?}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let _accepted = tokio::select! {
        result = node.connect(addr) => panic!("{result:?}"),
        accepted = silent.accept() => accepted.unwrap(),
    };
    let cancelled = async {
        while node.stats().await.operations > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(cancelled).await;
    node.stop().await;
}

pub(crate) async fn a_slow_reader_misses_events_and_holds_nobody_up(mix: Mix) {
    /// More than a reader's queue holds.
    const COUNT: u64 = 1_500;
    let world = Real::new(mix);
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    b.pubsub_subscribe("flood").await;
    let mut slow = b.registry.subscribe().await.unwrap();
    let mut quick = b.registry.subscribe().await.unwrap();
    let flood = async {
        loop {
            let messages = (0..20).map(|_| a.pubsub_publish("flood", Bytes::from_static(b"message")));
            // One that found nobody is not heard.
            let _ = join_all(messages).await;
        }
    };
    let read = async {
        let mut heard = 0;
        while heard < COUNT {
            match within(quick.next()).await.expect("the node runs") {
                Notice::Event(Event::PubsubMessage { .. }) => heard += 1,
                Notice::Event(_) => {}
                Notice::Missed(missed) => panic!("the quick reader missed {missed}"),
            }
        }
        let mut events = 0;
        loop {
            match within(slow.next()).await.expect("the node runs") {
                Notice::Event(_) => events += 1,
                Notice::Missed(missed) => return events + missed,
            }
        }
    };
    let Either::Left((told, _)) = select(Box::pin(read), Box::pin(flood)).await;
    assert!(told >= COUNT, "told of {told}");
    b.stop().await;
    a.stop().await;
}

pub(crate) async fn a_node_stops_in_the_middle_of_much_work(mix: Mix) {
    const PACKAGES: usize = 12;
    let name = |number: usize| format!("package-{number}");
    let world = Real::new(mix);
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    for number in 0..PACKAGES {
        within(a.publish(&name(number), "1.0.0", bytes(3_000_000, number as u64))).await.unwrap();
    }
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("data");
    std::fs::write(&file, bytes(3_000_000, 99)).unwrap();

    let gets = join_all((0..PACKAGES).map(|number| {
        let (b, spec) = (b.registry.clone(), spec(&a, &name(number)));
        let out = files.path().join(number.to_string());
        tokio::spawn(async move { b.get(spec, &out, registry_node::Existing::Refuse).await.map(drop) })
    }));
    let publishes = join_all((0..PACKAGES).map(|number| {
        let (b, file, release) = (b.registry.clone(), file.clone(), release(&format!("own-{number}"), "1.0.0"));
        tokio::spawn(async move { b.publish(file, release).await?.await })
    }));
    let busy = async {
        while b.stats().await.operations < PACKAGES as u64 {
            world.moment().await;
        }
    };
    within(busy).await;
    let begun = std::time::Instant::now();
    b.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for outcome in within(gets).await {
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Ok(()) | Err(Error::NotRunning | Error::Export(_))), "{outcome:?}");
    }
    let mut acknowledged = Vec::new();
    for outcome in within(publishes).await {
        match outcome.unwrap() {
            Ok(published) => acknowledged.push(published.release),
            Err(Error::NotRunning | Error::Pack(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    let b = world.start(1, Some(&a)).await;
    for release in acknowledged {
        let known = b.info(spec(&b, release.release.meta.name.as_str())).await;
        assert_eq!(known, [release], "what was acknowledged is kept");
    }
    assert_eq!(within(b.connect(entrance(&a.registry))).await.unwrap(), a.peer_id());
    a.stop().await;
    b.stop().await;
}
