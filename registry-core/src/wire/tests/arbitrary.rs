//! Messages as this node may make them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use multiaddr::Multiaddr;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::catalog::{Name, PackageSpec};
use crate::id::{BlockId, Codec, Digest, PeerId, PublisherId, TopicName};
use crate::search::{Meaning, Query, Statistics};
use crate::wire::Message;
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Presence, Want, WantKind};
use crate::wire::gossip::{Control, Prune, PubMessage, Rpc, Subscription};
use crate::wire::kad::{KadKind, KadMessage, KadPeer, Record};
use crate::wire::registry::{
    Difference, Found, FoundRelease, FoundWord, PARTS, PublisherState, Range, RangeDigest, RegistryMessage,
};

pub(super) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        kad().prop_map(Message::from),
        rpc().prop_map(Message::from),
        bitswap().prop_map(Message::from),
        registry().prop_map(Message::from),
    ]
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

fn some_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..=max).prop_map(Bytes::from)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn publisher() -> impl Strategy<Value = PublisherId> {
    digest().prop_map(PublisherId)
}

fn peer_id() -> impl Strategy<Value = PeerId> {
    let inlined = vec(any::<u8>(), 1..=42).prop_map(|key| (0x00, key));
    let hashed = vec(any::<u8>(), 32).prop_map(|digest| (0x12, digest));
    prop_oneof![inlined, hashed]
        .prop_map(|(code, bytes)| PeerId::from_bytes(&[&[code, bytes.len() as u8], &bytes[..]].concat()).unwrap())
}

fn addr() -> impl Strategy<Value = Multiaddr> {
    let ip =
        any::<(u32, u16)>().prop_map(|(ip, port)| alloc::format!("/ip4/{}/tcp/{port}", core::net::Ipv4Addr::from(ip)));
    let dns = ("[a-z]{1,20}", any::<u16>()).prop_map(|(host, port)| alloc::format!("/dns/{host}/udp/{port}/quic-v1"));
    prop_oneof![ip, dns].prop_map(|text| text.parse().unwrap())
}

fn kad() -> impl Strategy<Value = KadMessage> {
    let kind = prop_oneof![
        Just(KadKind::PutValue),
        Just(KadKind::GetValue),
        Just(KadKind::AddProvider),
        Just(KadKind::GetProviders),
        Just(KadKind::FindNode),
        Just(KadKind::Ping),
    ];
    let peers = || {
        let peer = (peer_id(), vec(addr(), 0..4), any::<bool>());
        vec(peer.prop_map(|(id, addrs, connected)| KadPeer { id, addrs: addrs.into(), connected }), 0..6)
    };
    let record = (bytes(80), bytes(200)).prop_map(|(key, value)| Record { key, value });
    (kind, some_bytes(80), option::of(record), peers(), peers())
        .prop_map(|(kind, key, record, closer, providers)| KadMessage { kind, key, record, closer, providers })
}

fn topic() -> impl Strategy<Value = TopicName> {
    ".{1,20}".prop_map(|text: String| TopicName::from(text))
}

pub(super) fn published() -> impl Strategy<Value = PubMessage> {
    (peer_id(), any::<u64>(), topic(), bytes(200), bytes(64), option::of(bytes(40))).prop_map(
        |(from, seqno, topic, data, signature, key)| PubMessage::new(from, seqno, topic, data, signature, key),
    )
}

fn rpc() -> impl Strategy<Value = Rpc> {
    let ids = || vec(bytes(40), 0..5);
    let prune = (topic(), option::of(any::<u64>())).prop_map(|(topic, backoff)| Prune { topic, backoff });
    let control = (vec((topic(), ids()), 0..3), ids(), vec(topic(), 0..3), vec(prune, 0..3), ids())
        .prop_map(|(ihave, iwant, graft, prune, idontwant)| Control { ihave, iwant, graft, prune, idontwant });
    let subscription = (any::<bool>(), topic()).prop_map(|(subscribe, topic)| Subscription { subscribe, topic });
    (vec(subscription, 0..4), vec(published().prop_map(Arc::new), 0..4), control)
        .prop_map(|(subscriptions, publish, control)| Rpc { subscriptions, publish, control })
}

fn cid() -> impl Strategy<Value = Cid> {
    let codec = prop_oneof![Just(Codec::Raw), Just(Codec::DagPb), Just(Codec::DagCbor)];
    prop_oneof![
        (digest(), codec).prop_map(|(digest, codec)| Cid::Known(BlockId { digest, codec })),
        some_bytes(60).prop_map(Cid::Foreign),
    ]
}

fn bitswap() -> impl Strategy<Value = BitswapMessage> {
    let kind = prop_oneof![Just(WantKind::Have), Just(WantKind::Block), Just(WantKind::Cancel)];
    let want = (cid(), any::<i32>(), kind, any::<bool>()).prop_map(|(cid, priority, kind, send_dont_have)| Want {
        cid,
        priority,
        kind,
        send_dont_have,
    });
    let block = (some_bytes(8), bytes(300)).prop_map(|(prefix, data)| Block { prefix, data });
    let presence = prop_oneof![Just(Presence::Have), Just(Presence::DontHave)];
    // One want at least: an empty message is an empty frame, which nobody takes.
    (vec(want, 1..6), any::<bool>(), vec(block, 0..4), vec((cid(), presence), 0..6), 0..=i32::MAX as u32).prop_map(
        |(wants, full, blocks, presences, pending_bytes)| BitswapMessage {
            wants,
            full,
            blocks,
            presences,
            pending_bytes,
        },
    )
}

fn found() -> impl Strategy<Value = Found> {
    let meaning =
        (any::<u32>(), ".{0,9}", any::<u64>()).prop_map(|(word, term, documents)| Meaning { word, term, documents });
    let numbers = (any::<u64>(), any::<[u64; 5]>(), any::<u64>(), any::<u64>());
    let statistics = (numbers, vec(meaning, 0..4), vec(".{0,9}", 0..3)).prop_map(
        |((documents, lengths, named, begun), meanings, names)| Statistics {
            documents,
            lengths,
            meanings,
            named,
            begun,
            names,
        },
    );
    let release = (0..3u64, bytes(90), any::<u32>()).prop_map(|(record, envelope, dependents)| FoundRelease {
        record,
        envelope,
        dependents,
    });
    let word = (0..3u64, bytes(90)).prop_map(|(record, envelope)| FoundWord { record, envelope });
    (statistics, vec(bytes(90), 3), vec(release, 0..5), vec(word, 0..5))
        .prop_map(|(statistics, records, releases, words)| Found { statistics, records, releases, words })
}

fn registry() -> impl Strategy<Value = RegistryMessage> {
    let state = (publisher(), any::<u64>(), digest()).prop_map(|(publisher, length, tip)| PublisherState {
        publisher,
        length,
        tip,
    });
    let range = (publisher(), 0..=64u8).prop_map(|(publisher, depth)| {
        (0..depth).fold(Range::ALL, |range, depth| range.part(Range::part_at(publisher, depth)).unwrap())
    });
    let compared = (range, digest()).prop_map(|(range, digest)| RangeDigest { range, digest });
    let parts: Vec<_> = (0..PARTS).map(|_| digest()).collect();
    let difference = prop_oneof![
        Just(Difference::None),
        vec(state, 0..5).prop_map(Difference::States),
        parts.prop_map(|parts| Difference::Parts(parts.try_into().unwrap())),
    ];
    let query = (".{0,40}", 1..100usize, option::of("[a-z]{1,9}"), vec("[a-z]{1,9}", 0..3), option::of(publisher()))
        .prop_map(|(text, limit, category, tags, publisher)| Query { text, limit, category, tags, publisher });
    let spec = (option::of(publisher()), "[a-z]{1,9}", option::of("[0-9]{1,5}"))
        .prop_map(|(publisher, name, version)| PackageSpec { publisher, name: Name::new(&name).unwrap(), version });
    prop_oneof![
        vec(compared, 0..5).prop_map(|ranges| RegistryMessage::Compare { ranges }),
        vec(difference, 0..5).prop_map(|ranges| RegistryMessage::Differences { ranges }),
        (publisher(), any::<u64>()).prop_map(|(publisher, from)| RegistryMessage::GetLog { publisher, from }),
        (bytes(200), any::<u64>(), vec(bytes(200), 0..5)).prop_map(|(record, from, entries)| RegistryMessage::Log {
            record,
            from,
            entries
        }),
        query.prop_map(RegistryMessage::Search),
        spec.prop_map(RegistryMessage::Find),
        found().prop_map(RegistryMessage::Found),
        publisher().prop_map(|publisher| RegistryMessage::GetProof { publisher }),
        bytes(200).prop_map(|proof| RegistryMessage::Proof { proof }),
    ]
}
