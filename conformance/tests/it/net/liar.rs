//! A provider that has everything, and gives something else.

use std::path::Path;

use futures::StreamExt;
use prost::Message as _;
use registry_core::action::SendClass;
use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_core::peers::Offence;
use registry_core::{Event, Input, Message, PeerId, Protocol};
use registry_node::{Existing, Keys, Notice, Registry};

use super::shell::Shell;
use crate::PATIENCE;
use crate::runtimes::Mix;

const SIZE: usize = 12_000_000;

#[derive(prost::Message)]
struct Bitswap {
    #[prost(message, optional, tag = "1")]
    wantlist: Option<Wantlist>,
    #[prost(message, repeated, tag = "3")]
    payload: Vec<Block>,
    #[prost(message, repeated, tag = "4")]
    presences: Vec<Presence>,
}

#[derive(prost::Message)]
struct Wantlist {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Want>,
}

#[derive(prost::Message)]
struct Want {
    #[prost(bytes = "vec", tag = "1")]
    cid: Vec<u8>,
    #[prost(bool, tag = "3")]
    cancel: bool,
    /// 0 wants the block, 1 asks whether it is there.
    #[prost(int32, tag = "4")]
    kind: i32,
}

#[derive(prost::Message)]
struct Block {
    #[prost(bytes = "vec", tag = "1")]
    prefix: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// `HAVE` is 0.
#[derive(prost::Message)]
struct Presence {
    #[prost(bytes = "vec", tag = "1")]
    cid: Vec<u8>,
    #[prost(int32, tag = "2")]
    kind: i32,
}

/// Claims to have every block, and answers each want with bytes of its own.
async fn lie(mut liar: Shell) {
    loop {
        let (peer, msg) = liar
            .until(|input| match input {
                Input::Received { peer, msg } if msg.protocol() == Protocol::Bitswap => Some((*peer, msg.clone())),
                _ => None,
            })
            .await;
        let mut body = Vec::new();
        msg.encode_into(&mut body);
        let wants = Bitswap::decode(&*body).unwrap().wantlist.unwrap_or_default().entries;
        let mut answer = Bitswap::default();
        for want in wants.into_iter().filter(|want| !want.cancel) {
            if want.kind == 1 {
                answer.presences.push(Presence { cid: want.cid, kind: 0 });
            } else {
                answer.payload.push(Block { prefix: vec![1, want.cid[1], 0x12, 32], data: vec![0xbd; 1000] });
            }
        }
        if !answer.presences.is_empty() || !answer.payload.is_empty() {
            let msg = Message::decode(Protocol::Bitswap, answer.encode_to_vec().into()).unwrap();
            liar.send(peer, msg, SendClass::Block).await;
        }
    }
}

async fn node(mix: &Mix, dir: &Path) -> Registry {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    Registry::builder(dir, Keys::ephemeral()).listen(listen).start(mix.runtime()).await.unwrap()
}

pub(crate) async fn attack_28_a_provider_of_wrong_blocks_is_banned_and_the_transfer_completes(mix: Mix) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let bytes: Vec<u8> = (0..SIZE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let (honest, getter) = (node(&mix, &dir.path().join("honest")).await, node(&mix, &dir.path().join("getter")).await);
    let version = Version { text: "1.0.0".into(), scheme: Scheme::Semver };
    let release = NewRelease::new(Name::new("file").unwrap(), version, Content::Unknown);
    honest.publish(&file, release).await.unwrap().await.unwrap();

    let liar = Shell::start(&mix).await;
    let (liar_id, liar_addr) = (liar.id, liar.addr.clone());
    tokio::spawn(lie(liar));
    let mut events = getter.subscribe().await.unwrap();
    assert_eq!(getter.connect(liar_addr).await.unwrap(), liar_id);
    getter.connect(honest.listen_addrs()[0].clone()).await.unwrap();

    let spec = PackageSpec { publisher: Some(honest.publisher_id()), name: Name::new("file").unwrap(), version: None };
    let out = dir.path().join("out");
    let got = getter.get(spec, &out, Existing::Refuse).await.unwrap();
    assert!(std::fs::read(out.join("file")).unwrap() == bytes);
    assert!(got.sources.iter().all(|(peer, _)| *peer != liar_id), "{:?}", got.sources);
    banned(&mut events, liar_id).await;
    assert!(getter.peers().await.unwrap().iter().all(|view| view.peer != liar_id), "the liar is gone");
}

/// Waits until a peer was banned for a wrong block.
async fn banned(events: &mut registry_node::Subscription, liar: PeerId) {
    let charged = Event::PeerMisbehaved { peer: liar, offence: Offence::BadBlock, banned: true };
    let gone = async {
        while let Some(notice) = events.next().await {
            if notice == Notice::Event(charged.clone()) {
                return;
            }
        }
        panic!("the node is gone");
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("nobody is charged");
}
