//! Round trips of arbitrary messages, and bytes written down by hand from the specifications.

mod arbitrary;
mod attacks;

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::id::{BlockId, Digest, PeerId, PublisherId, TopicName};

pub(super) const PROTOCOLS: [Protocol; 4] = [Protocol::Kad, Protocol::Gossip, Protocol::Bitswap, Protocol::Registry];

pub(super) fn encode(message: &Message) -> Bytes {
    let mut out = Vec::new();
    message.encode_into(&mut out);
    out.into()
}

pub(super) fn frame(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(message, &mut out).unwrap();
    out
}

pub(super) fn peer(seed: u8) -> PeerId {
    PeerId::from_ed25519(&[seed; 32])
}

/// A length-delimited protobuf field with a number under 16.
pub(super) fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint::write(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(message in arbitrary::message()) {
        let bytes = encode(&message);
        prop_assert_eq!(bytes.len(), message.wire_len());
        prop_assert_eq!(Message::decode(message.protocol(), bytes), Ok(message));
    }

    #[test]
    fn frames_decode_to_the_same_however_they_are_cut(
        protocol in proptest::sample::select(&PROTOCOLS[..]),
        seeds in proptest::collection::vec(arbitrary::message(), 0..6),
        cuts in proptest::collection::vec(1usize..200, 0..40),
    ) {
        let messages: Vec<_> = seeds.into_iter().filter(|message| message.protocol() == protocol).collect();
        let stream: Vec<u8> = messages.iter().flat_map(frame).collect();
        let mut decoder = FrameDecoder::new(protocol);
        let mut decoded = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            decoder.push(chunk);
            while let Some(body) = decoder.poll().unwrap() {
                decoded.push(Message::decode(protocol, body).unwrap());
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn a_message_is_passed_on_as_it_came(message in arbitrary::published(), unknown in any::<[u8; 3]>()) {
        let mut raw = field(9, &unknown);
        raw.extend_from_slice(&message.raw);
        let came = gossip::Rpc::decode(field(2, &raw).into()).unwrap();
        prop_assert_eq!(&came.publish[0].raw, &raw);
        prop_assert_eq!(&came.publish[0].data, &message.data);
        let mut signed = b"libp2p-pubsub:".to_vec();
        signed.extend(field(9, &unknown));
        signed.extend_from_slice(&message.signed_bytes()["libp2p-pubsub:".len()..]);
        prop_assert_eq!(&came.publish[0].signed_bytes()[..], &signed[..]);
        prop_assert_eq!(encode(&came.into()), field(2, &raw));
    }
}

#[test]
fn kad_bytes_are_those_of_the_specification() {
    let find = kad::KadMessage {
        kind: kad::KadKind::FindNode,
        key: Bytes::from_static(b"key"),
        record: None,
        closer: Vec::new(),
        providers: Vec::new(),
    };
    assert_eq!(encode(&find.clone().into()), [&[0x08, 4][..], &field(2, b"key")].concat());
    let addr: multiaddr::Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
    let put = kad::KadMessage {
        kind: kad::KadKind::PutValue,
        record: Some(kad::Record { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value") }),
        closer: vec![kad::KadPeer { id: peer(7), addrs: [addr].into(), connected: true }],
        ..find
    };
    let id = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[7; 32]].concat();
    let closer = [field(1, &id), field(2, &[4, 127, 0, 0, 1, 6, 0x0f, 0xa1]), vec![0x18, 1]].concat();
    let record = [field(1, b"key"), field(2, b"value")].concat();
    assert_eq!(encode(&put.into()), [field(2, b"key"), field(3, &record), field(8, &closer)].concat());
}

#[test]
fn the_fields_of_rust_libp2p_are_accepted_and_unknown_ones_skipped() {
    // publisher = 666, ttl = 777, timeReceived = 5; clusterLevelRaw = 10 in the message, senderRecord = 11.
    let extra = [&[0xd2, 0x29, 2, 1, 2][..], &[0xc8, 0x30, 0x80, 0xa3, 0x05], &field(5, b"2026-01-01T00:00:00Z")];
    let record = [field(1, b"k"), field(2, b"v"), extra.concat()].concat();
    let bytes = [field(2, b"k"), field(3, &record), vec![0x50, 10], field(11, b"record")].concat();
    let decoded = kad::KadMessage::decode(bytes.into()).unwrap();
    assert_eq!(decoded.record, Some(kad::Record { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") }));
}

#[test]
fn a_kad_answer_is_cut_to_its_frame() {
    let addr: multiaddr::Multiaddr = alloc::format!("/dns/{}/tcp/1", "a".repeat(60)).parse().unwrap();
    let peers: Vec<_> =
        (0..40).map(|i| kad::KadPeer { id: peer(i), addrs: vec![addr.clone(); 8].into(), connected: false }).collect();
    let answer = kad::KadMessage {
        kind: kad::KadKind::GetProviders,
        key: Bytes::from_static(b"k"),
        record: None,
        closer: peers.clone(),
        providers: peers[..10].to_vec(),
    };
    assert!(answer.encoded_len() > kad::MAX_FRAME);
    let message = Message::from(answer);
    assert!(message.wire_len() <= kad::MAX_FRAME);
    let Kind::Kad(cut) = &message.0 else { unreachable!("made of a kad message") };
    assert_eq!(cut.providers, peers[..10]);
    assert_eq!(cut.closer, peers[..cut.closer.len()]);
}

#[test]
fn gossip_bytes_are_those_of_the_specification() {
    let topic = TopicName::from("t");
    let id = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[7; 32]].concat();
    let unsigned = [field(1, &id), field(2, b"data"), field(3, &[0, 0, 0, 0, 0, 0, 1, 2]), field(4, b"t")].concat();
    let data = Bytes::from_static(b"data");
    let to_sign = gossip::PubMessage::bytes_to_sign(&peer(7), 0x0102, &topic, &data);
    assert_eq!(to_sign, [b"libp2p-pubsub:", &unsigned[..]].concat());
    let signature = Bytes::from_static(&[9; 64]);
    let message = gossip::PubMessage::new(peer(7), 0x0102, topic.clone(), data, signature, None);
    assert_eq!(message.raw, [&unsigned[..], &field(5, &[9; 64])].concat());
    assert_eq!(message.signed_bytes(), to_sign);

    let rpc = gossip::Rpc {
        subscriptions: vec![gossip::Subscription { subscribe: true, topic: topic.clone() }],
        publish: Vec::new(),
        control: gossip::Control {
            ihave: vec![(topic.clone(), vec![Bytes::from_static(b"i")])],
            iwant: vec![Bytes::from_static(b"j")],
            graft: vec![topic.clone()],
            prune: vec![gossip::Prune { topic, backoff: Some(60) }],
            idontwant: vec![Bytes::from_static(b"k")],
        },
    };
    let control = [
        field(1, &[field(1, b"t"), field(2, b"i")].concat()),
        field(2, &field(1, b"j")),
        field(3, &field(1, b"t")),
        field(4, &[field(1, b"t"), vec![0x18, 60]].concat()),
        field(5, &field(1, b"k")),
    ];
    let expected = [field(1, &[&[0x08, 1][..], &field(2, b"t")].concat()), field(3, &control.concat())];
    assert_eq!(encode(&rpc.into()), expected.concat());
}

#[test]
fn bitswap_bytes_are_those_of_the_specification() {
    let id = BlockId { digest: Digest([5; 32]), codec: crate::id::Codec::Raw };
    let cid = [&[0x01, 0x55, 0x12, 0x20][..], &[5; 32]].concat();
    let want = bitswap::Want {
        cid: bitswap::Cid::Known(id),
        priority: 3,
        kind: bitswap::WantKind::Have,
        send_dont_have: true,
    };
    let message = bitswap::BitswapMessage {
        wants: vec![want],
        full: true,
        blocks: vec![bitswap::Block {
            prefix: Bytes::from_static(&[0x01, 0x55, 0x12, 0x20]),
            data: Bytes::from_static(b"data"),
        }],
        presences: vec![(bitswap::Cid::Foreign(Bytes::from_static(b"foreign")), bitswap::Presence::DontHave)],
        pending_bytes: 6,
    };
    let entry = [field(1, &cid), vec![0x10, 3, 0x20, 1, 0x28, 1]].concat();
    let expected = [
        field(1, &[field(1, &entry), vec![0x10, 1]].concat()),
        field(3, &[field(1, &[0x01, 0x55, 0x12, 0x20]), field(2, b"data")].concat()),
        field(4, &[field(1, b"foreign"), vec![0x10, 1]].concat()),
        vec![0x28, 6],
    ];
    assert_eq!(encode(&message.into()), expected.concat());
}

#[test]
fn registry_bytes_are_tagged_arrays() {
    let publisher = PublisherId(Digest([3; 32]));
    let id = [&[0x58, 32][..], &[3; 32]].concat();
    let range = registry::Range::ALL.part(15).and_then(|range| range.part(1)).unwrap();
    let ranges = vec![registry::RangeDigest { range, digest: publisher.0 }];
    let compare = registry::RegistryMessage::Compare { ranges };
    assert_eq!(encode(&compare.into()), [&[0x82, 0x00, 0x81, 0x82, 0x42, 15, 1][..], &id].concat());
    let state = registry::PublisherState { publisher, length: 1, tip: publisher.0 };
    let parts = registry::Difference::Parts([publisher.0; registry::PARTS].into());
    let ranges = vec![registry::Difference::None, registry::Difference::States(vec![state]), parts];
    let expected =
        [&[0x82, 0x01, 0x83, 0xf6, 0x81, 0x83][..], &id, &[0x01], &id, &[0x59, 2, 0], &[3; 16 * 32]].concat();
    assert_eq!(encode(&registry::RegistryMessage::Differences { ranges }.into()), expected);
    let log = registry::RegistryMessage::Log {
        record: Bytes::from_static(b"r"),
        from: 24,
        entries: vec![Bytes::from_static(b"e")],
    };
    assert_eq!(encode(&log.into()), [0x84, 0x03, 0x41, b'r', 0x18, 24, 0x81, 0x41, b'e'][..]);
    let question = registry::RegistryMessage::GetProof { publisher };
    assert_eq!(encode(&question.into()), [&[0x82, 0x07][..], &id].concat());
    let proof = registry::RegistryMessage::Proof { proof: Bytes::from_static(b"p") };
    assert_eq!(encode(&proof.into()), [0x82, 0x08, 0x41, b'p'][..]);
}
