//! Networks with js-libp2p in them: kad-dht, gossipsub, identify and ping over TCP, noise and yamux.

use bytes::Bytes;
use conformance::{Foreign, Setup};
use registry_core::command::DhtCommand;
use registry_core::event::DhtResult;
use serde_json::json;

use super::interop::{Peer, Wharf, config, eventually, provider_key};
use super::js_peer::{Js, hex, missing};
use crate::runtimes::Mix;
use crate::table::skip;

const KAD: &str = "/wharf/kad/1.0.0";

/// Says why a test is not run.
fn skipped() -> bool {
    let missing = missing();
    if let Some(reason) = missing {
        skip(reason);
    }
    missing.is_some()
}

pub(crate) async fn js_libp2p_identifies_pings_stores_and_finds(mix: Mix) {
    if skipped() {
        return;
    }
    let node = Wharf::start(&mix, config(), Vec::new()).await;
    let other = Wharf::start(&mix, config(), vec![node.addr()]).await;
    let js = Js::start(KAD).await;
    js.dial(&node.addr()).await;
    // It looks around by itself once, perhaps before it knows that wharf serves, and then not for minutes.
    let look_around = async || {
        js.closest(b"around").await;
        js.servers().await == 2
    };
    eventually("js knows both", look_around).await;
    for wharf in [&node, &other] {
        eventually("wharf knows the two others", async || Peer::Wharf(wharf).servers().await == 2).await;
    }

    let id = json!({"peer": node.id().to_string()});
    assert!(js.ask("ping", id.clone()).await.is_number());
    let identity = js.ask("identified", id).await;
    assert!(identity["agent"].as_str().is_some_and(|agent| agent.starts_with("wharf/")), "{identity}");
    for protocol in [KAD, "/meshsub/1.2.0", "/ipfs/bitswap/1.2.0", "/ipfs/ping/1.0.0"] {
        assert!(identity["protocols"].as_array().unwrap().contains(&json!(protocol)), "{identity}");
    }
    let js_id = registry_core::PeerId::from_bytes(&js.peer_id.to_bytes()).unwrap();
    let peers = node.registry.peers().await.unwrap();
    let view = peers.iter().find(|view| view.peer == js_id).expect("it is connected");
    assert!(view.agent.contains("js-libp2p") && view.protocols.kad && view.protocols.gossip.is_some(), "{view:?}");

    let (key, value) = (&b"/test/of js"[..], &b"a value of js"[..]);
    let stored = js.ask("put", json!({"key": hex(key), "value": hex(value)})).await;
    assert!(stored.as_u64().is_some_and(|stored| stored > 0), "{stored}");
    let (key_of_wharf, value_of_wharf) = (&b"/test/of wharf"[..], &b"a value of wharf"[..]);
    other.registry.dht(DhtCommand::Put { key: key_of_wharf.into(), value: value_of_wharf.into() }).await.unwrap();
    for wharf in [&node, &other] {
        assert_eq!(Peer::Wharf(wharf).get(key).await.as_deref(), Some(value));
    }
    assert_eq!(js.get(key_of_wharf).await.as_deref(), Some(value_of_wharf));
    assert_eq!(js.get(b"/test/of nobody").await, None);

    let (of_js, of_wharf) = (provider_key("js"), provider_key("wharf"));
    js.ask("provide", json!({"key": hex(&of_js)})).await;
    // ADD_PROVIDER is not acknowledged.
    eventually("js is found", async || other.providers(&of_js).await.contains(&js.peer_id)).await;
    assert!(other.provide(&of_wharf).await > 0);
    eventually("wharf is found", async || js.providers(&of_wharf).await.contains(&other.id())).await;

    let mut closest = js.closest(key).await;
    closest.retain(|peer| *peer != js.peer_id);
    closest.sort();
    let mut expected = [node.id(), other.id()];
    expected.sort();
    assert_eq!(closest, expected);
    let closest = other.registry.dht(DhtCommand::Closest(Bytes::from_static(b"key"))).await.unwrap();
    let has_js = |peers: &registry_core::command::FoundPeers| peers.iter().any(|(peer, _)| *peer == js_id);
    assert!(matches!(&closest, DhtResult::Closest { peers, .. } if has_js(peers)), "{closest:?}");
    for wharf in [&node, &other] {
        let peers = wharf.registry.peers().await.unwrap();
        assert!(peers.iter().all(|peer| peer.offences == 0), "an honest peer was charged: {peers:?}");
    }
}

pub(crate) async fn js_libp2p_hears_and_is_heard_on_each_new_connection(mix: Mix) {
    const TOPIC: &str = "both";
    if skipped() {
        return;
    }
    let mut config = config();
    // Nobody dials by itself.
    config.peers.min_connections = 0;
    let mut node = Wharf::start(&mix, config, Vec::new()).await;
    let mut js = Js::start(KAD).await;
    let js_id = registry_core::PeerId::from_bytes(&js.peer_id.to_bytes()).unwrap();
    node.registry.pubsub_subscribe(TOPIC.into()).await.unwrap();
    js.ask("subscribe", json!({"topic": TOPIC})).await;
    for round in 0..4 {
        if round % 2 == 0 {
            js.dial(&node.addr()).await;
        } else {
            assert_eq!(node.registry.connect(js.addr.clone()).await.unwrap(), js_id);
        }
        eventually("the mesh is whole", async || js.mesh(TOPIC).await == [node.id()]).await;
        // More than js and wharf spare each other with IDONTWANT.
        for size in [10, 2_000, 50_000] {
            let data = vec![round; size];
            eventually("js has somebody to send to", async || js.publish(TOPIC, &data).await > 0).await;
            assert_eq!(node.heard().await, (js.peer_id, data.clone()));
            let sent = node.registry.pubsub_publish(TOPIC.into(), data.clone().into()).await;
            assert_eq!(sent.unwrap(), 1);
            assert_eq!(js.heard().await, (node.id(), data));
        }
        assert_eq!(node.registry.peers().await.unwrap()[0].offences, 0);
        js.ask("hangup", json!({"peer": node.id().to_string()})).await;
        // A lookup of either side may connect them again at once.
        node.lost(js_id).await;
    }
}

pub(crate) async fn js_libp2p_and_rust_libp2p_meet_through_a_hub(mix: Mix) {
    const TOPIC: &str = "hub";
    if skipped() {
        return;
    }
    // Pubsub: with DHT protocols of their own they hear of nobody but the hub.
    let hub = Wharf::start(&mix, config(), Vec::new()).await;
    let mut js = Js::start("/js/kad/1.0.0").await;
    let mut rust = Foreign::start(Setup { kad_protocol: "/rust/kad/1.0.0".into(), ..Setup::default() }).await;
    hub.registry.pubsub_subscribe(TOPIC.into()).await.unwrap();
    js.ask("subscribe", json!({"topic": TOPIC})).await;
    rust.subscribe(TOPIC);
    js.dial(&hub.addr()).await;
    rust.dial(hub.addr());
    eventually("js is in the hub's mesh", async || js.mesh(TOPIC).await == [hub.id()]).await;
    eventually("rust is in the hub's mesh", async || rust.mesh(TOPIC).await == [hub.id()]).await;
    assert!(js.publish(TOPIC, b"of js").await > 0);
    assert_eq!(rust.messages.recv().await, Some((js.peer_id, b"of js".to_vec())));
    assert!(rust.publish(TOPIC, b"of rust").await);
    assert_eq!(js.heard().await, (rust.peer_id, b"of rust".to_vec()));

    // The DHT: each knows nobody but the hub at first.
    let js = Js::start(KAD).await;
    let rust = Foreign::start(Setup::default()).await;
    js.dial(&hub.addr()).await;
    rust.dial(hub.addr());
    eventually("js has a table", async || js.servers().await > 0).await;
    eventually("rust has a table", async || rust.servers().await > 0).await;
    js.ask("put", json!({"key": hex(b"/test/of js"), "value": hex(b"js")})).await;
    assert_eq!(rust.get(b"/test/of js").await.as_deref(), Some(&b"js"[..]));
    rust.put(b"/test/of rust", b"rust").await;
    assert_eq!(js.get(b"/test/of rust").await.as_deref(), Some(&b"rust"[..]));
    let (of_js, of_rust) = (provider_key("js"), provider_key("rust"));
    js.ask("provide", json!({"key": hex(&of_js)})).await;
    eventually("rust finds js", async || rust.providers(&of_js).await.contains(&js.peer_id)).await;
    assert!(rust.provide(&of_rust).await);
    eventually("js finds rust", async || js.providers(&of_rust).await.contains(&rust.peer_id)).await;
    let peers = hub.registry.peers().await.unwrap();
    assert!(peers.iter().all(|peer| peer.offences == 0), "an honest peer was charged: {peers:?}");
}
