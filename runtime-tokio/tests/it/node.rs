//! Whole nodes: start, use, stop.

use registry_core::search::Query;
use registry_node::{Error, Keys, Registry, StoreFault};
use runtime_tokio::Tokio;

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
