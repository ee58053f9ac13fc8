//! Attack cases of the protocol notes that end at the wire.

use super::*;

fn decode(protocol: Protocol, bytes: impl Into<Bytes>) -> Result<Message, WireError> {
    Message::decode(protocol, bytes.into())
}

fn rpc(bytes: Vec<u8>) -> Result<gossip::Rpc, WireError> {
    gossip::Rpc::decode(bytes.into())
}

fn poll_after(protocol: Protocol, bytes: &[u8]) -> Result<Option<Bytes>, WireError> {
    let mut decoder = FrameDecoder::new(protocol);
    decoder.push(bytes);
    decoder.poll()
}

fn length(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(value, &mut out);
    out
}

#[test]
fn attack_01_length_above_the_limit() {
    for protocol in PROTOCOLS {
        let max = protocol.max_frame() as u64;
        assert_eq!(poll_after(protocol, &length(max + 1)), Err(WireError::TooLong));
        let mut decoder = FrameDecoder::new(protocol);
        decoder.push(&length(max));
        assert_eq!(decoder.poll(), Ok(None));
        assert!(decoder.capacity() < 1024, "nothing is reserved from a declared length");
    }
}

#[test]
fn attack_02_malformed_lengths() {
    for protocol in PROTOCOLS {
        assert_eq!(poll_after(protocol, &[0x81, 0x00, 0x00]), Err(WireError::Varint));
        assert_eq!(poll_after(protocol, &[0x80, 0x00]), Err(WireError::Varint));
        assert_eq!(poll_after(protocol, &[0xff; 11]), Err(WireError::TooLong));
        assert_eq!(poll_after(protocol, &length(u64::MAX)), Err(WireError::TooLong));
        assert_eq!(poll_after(protocol, &[0xff; 4]), Err(WireError::TooLong));
    }
}

#[test]
fn attack_03_truncated_frames() {
    let whole = frame(&registry::RegistryMessage::Compare { ranges: vec![] }.into());
    for cut in 1..whole.len() {
        let mut decoder = FrameDecoder::new(Protocol::Registry);
        decoder.push(&whole[..cut]);
        assert_eq!(decoder.poll(), Ok(None));
        assert_eq!(decoder.finish(), Err(WireError::Truncated));
        decoder.push(&whole[cut..]);
        assert!(decoder.poll().unwrap().is_some());
        assert_eq!((decoder.finish(), decoder.capacity()), (Ok(()), 0));
    }
    for protocol in PROTOCOLS {
        assert!(decode(protocol, vec![0x0a, 0x05, 1]).is_err());
    }
}

#[test]
fn attack_04_frames_in_one_read_or_byte_by_byte() {
    let bodies: Vec<Vec<u8>> = [1, 200, 40_000, 57_344].map(|len| vec![7; len]).into();
    let stream: Vec<u8> = bodies.iter().flat_map(|body| [length(body.len() as u64), body.clone()].concat()).collect();
    for chunk in [1, 7, 8192, stream.len()] {
        let mut decoder = FrameDecoder::new(Protocol::Gossip);
        let mut found = Vec::new();
        for bytes in stream.chunks(chunk) {
            decoder.push(bytes);
            while let Some(body) = decoder.poll().unwrap() {
                found.push(body);
            }
        }
        assert_eq!(found, bodies);
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn attack_05_unknown_fields_and_enum_values() {
    assert_eq!(decode(Protocol::Kad, vec![0x08, 77]), Err(WireError::Encoding));
    let ping = [vec![0x08, 5], field(15, b"unknown")].concat();
    assert_eq!(kad::KadMessage::decode(ping.into()).map(|message| message.kind), Ok(kad::KadKind::Ping));

    let entry = |want_type| field(1, &[field(1, b"cid"), vec![0x20, want_type]].concat());
    let presence = |kind| field(4, &[field(1, b"cid"), vec![0x10, kind]].concat());
    let bytes = [field(1, &[entry(9), entry(1)].concat()), presence(9), presence(0)].concat();
    let message = bitswap::BitswapMessage::decode(bytes.into()).unwrap();
    assert_eq!(message.wants.iter().map(|want| want.kind).collect::<Vec<_>>(), [bitswap::WantKind::Have]);
    assert_eq!(message.presences.len(), 1);

    // rust-libp2p's first frame: control with extensions; unknown RPC fields.
    let extensions = rpc([field(3, &field(6, b"")), field(4, b"record"), field(10, b"partial")].concat());
    assert_eq!(extensions, Ok(gossip::Rpc::default()));
    assert_eq!(decode(Protocol::Registry, vec![0x81, 0x18, 99]), Err(WireError::Encoding));
}

#[test]
fn attack_06_repeated_fields_wrong_types_and_nesting() {
    let twice = [field(2, b"first"), field(2, b"last"), vec![0x08, 4, 0x08, 5]].concat();
    let message = kad::KadMessage::decode(twice.into()).unwrap();
    assert_eq!((message.kind, &message.key[..]), (kad::KadKind::Ping, &b"last"[..]));

    for (protocol, wrong) in [
        (Protocol::Kad, vec![0x10, 1]),
        (Protocol::Gossip, vec![0x10, 1]),
        (Protocol::Gossip, vec![0x18, 1]),
        (Protocol::Bitswap, vec![0x08, 1]),
        (Protocol::Bitswap, vec![0x18, 1]),
        (Protocol::Registry, vec![0xa0]),
    ] {
        assert_eq!(decode(protocol, wrong), Err(WireError::Encoding));
    }
    for protocol in PROTOCOLS {
        // Groups in groups, lists in lists, and tags of CBOR: none may exhaust the stack.
        for nesting in [0x7b, 0x0b, 0x81, 0xc1, 0x9f] {
            assert!(decode(protocol, vec![nesting; 16 * 1024]).is_err());
        }
        let mut nested = Vec::new();
        for _ in 0..2000 {
            nested = field(1, &nested);
        }
        let _ = decode(protocol, nested);
    }
}

#[test]
fn attack_07_empty_frames_and_messages() {
    for protocol in [Protocol::Kad, Protocol::Bitswap, Protocol::Registry] {
        assert_eq!(poll_after(protocol, &[0]), Err(WireError::Missing));
        assert_eq!(decode(protocol, Bytes::new()), Err(WireError::Missing));
    }
    assert_eq!(poll_after(Protocol::Gossip, &[0]), Ok(Some(Bytes::new())));
    assert_eq!(rpc(Vec::new()), Ok(gossip::Rpc::default()));
    // PUT_VALUE is type 0, so these bytes are a PUT_VALUE of nothing.
    assert_eq!(decode(Protocol::Kad, vec![0x50, 1]), Err(WireError::Missing));
    assert_eq!(rpc(field(1, &[0x08, 1])), Err(WireError::Missing));
    assert_eq!(rpc(field(2, &field(2, b"no topic"))), Err(WireError::Missing));
    assert_eq!(decode(Protocol::Bitswap, field(1, &field(1, &[0x10, 1]))), Err(WireError::Missing));
}

#[test]
fn attack_13_bad_addresses_cost_the_address_only() {
    let own = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[7; 32]].concat();
    let good = [4, 127, 0, 0, 1, 6, 0x0f, 0xa1];
    let p2p = |id: &[u8]| [&good[..], &[0xa5, 0x03, id.len() as u8], id].concat();
    let mut other = own.clone();
    other[10] ^= 1;
    let addrs = [vec![0xff, 0xff], p2p(&own), p2p(&other), Vec::new(), p2p(&own)[good.len()..].to_vec(), good.to_vec()];
    let peer_bytes =
        |addrs: &[Vec<u8>]| field(8, &[field(1, &own), addrs.iter().flat_map(|a| field(2, a)).collect()].concat());
    let read = |peers: Vec<u8>| kad::KadMessage::decode([vec![0x08, 4], peers].concat().into()).unwrap().closer;

    let closer = read(peer_bytes(&addrs));
    let expected: multiaddr::Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
    assert_eq!(closer[0].addrs[..], [expected.clone(), expected]);
    assert_eq!(read(peer_bytes(&vec![good.to_vec(); 100]))[0].addrs.len(), kad::MAX_ADDRS);
    let host = "h".repeat(3000);
    let long: multiaddr::Multiaddr = alloc::format!("/dns/{host}").parse().unwrap();
    assert_eq!(read(peer_bytes(&vec![long.to_vec(); 5]))[0].addrs.len(), 2);
    assert_eq!(read([field(8, &field(1, b"no id")), peer_bytes(&[])].concat()).len(), 1);
    assert_eq!(read(peer_bytes(&[]).repeat(200)).len(), kad::MAX_PEERS);
}

#[test]
fn attack_24_a_record_that_can_be_stored_can_be_sent() {
    let put = |len: usize| kad::KadMessage {
        kind: kad::KadKind::PutValue,
        key: Bytes::from_static(b"/wharf/key"),
        record: Some(kad::Record { key: Bytes::from_static(b"/wharf/key"), value: vec![1; len].into() }),
        closer: Vec::new(),
        providers: Vec::new(),
    };
    let largest = put(kad::MAX_RECORD - 10);
    assert!(encode_frame(&largest.clone().into(), &mut Vec::new()).is_ok());
    for message in [largest, put(kad::MAX_FRAME - 100)] {
        assert_eq!(decode(Protocol::Kad, encode(&message.clone().into())), Ok(message.into()));
    }
    let mut out = vec![1, 2, 3];
    assert_eq!(encode_frame(&put(kad::MAX_FRAME).into(), &mut out), Err(WireError::TooLong));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn attack_48_subscription_floods_end_before_decoding() {
    let subscription = |topic: &[u8]| field(1, &[&[0x08, 1][..], &field(2, topic)].concat());
    assert!(rpc(subscription(b"t").repeat(gossip::MAX_SUBSCRIPTIONS)).is_ok());
    assert_eq!(rpc(subscription(b"t").repeat(gossip::MAX_SUBSCRIPTIONS + 1)), Err(WireError::TooMany));
    assert_eq!(rpc(field(1, b"").repeat(28_000)), Err(WireError::TooMany));
    assert!(rpc(subscription(&[b't'; gossip::MAX_TOPIC])).is_ok());
    assert_eq!(rpc(subscription(&[b't'; gossip::MAX_TOPIC + 1])), Err(WireError::TooLong));
    assert_eq!(rpc(subscription(&[0xff])), Err(WireError::Encoding));
}

#[test]
fn attack_49_publish_and_control_floods_end_before_decoding() {
    let message = field(2, &field(4, b"t"));
    assert_eq!(rpc(message.repeat(gossip::MAX_PUBLISH)).map(|rpc| rpc.publish.len()), Ok(gossip::MAX_PUBLISH));
    assert_eq!(rpc(message.repeat(gossip::MAX_PUBLISH + 1)), Err(WireError::TooMany));
    assert_eq!(rpc(field(2, b"").repeat(28_000)), Err(WireError::TooMany));

    let control = |number, entries: Vec<u8>| field(3, &field(number, &entries));
    let ids = |number, count| field(number, b"i").repeat(count);
    assert!(rpc(control(2, ids(1, gossip::MAX_IDS))).is_ok());
    for (number, id_field) in [(1, 2), (2, 1), (5, 1)] {
        assert_eq!(rpc(control(number, ids(id_field, gossip::MAX_IDS + 1))), Err(WireError::TooMany));
        let giant = field(id_field, &[1; gossip::MAX_ID + 1]);
        assert_eq!(rpc(control(number, giant)), Err(WireError::TooLong));
    }
    // The cap is over all control parts of an RPC together.
    let halves = [control(2, ids(1, gossip::MAX_IDS)), control(5, ids(1, 1))].concat();
    assert_eq!(rpc(halves), Err(WireError::TooMany));
    assert_eq!(rpc(field(3, &field(3, &field(1, b"t")).repeat(gossip::MAX_CONTROL + 1))), Err(WireError::TooMany));
}

#[test]
fn attack_50_missing_and_malformed_fields_are_seen() {
    let read = |fields: &[Vec<u8>]| rpc(field(2, &fields.concat())).unwrap().publish.remove(0);
    let topic = field(4, b"t");
    let bare = read(core::slice::from_ref(&topic));
    assert_eq!((bare.from, bare.seqno, &bare.signature, &bare.key), (None, None, &None, &None));
    let malformed = read(&[field(1, b"no id"), field(3, &[1, 2]), topic.clone()]);
    assert_eq!((malformed.from, malformed.seqno), (None, None));
    let present = read(&[field(1, peer(1).as_bytes()), field(3, &[0, 0, 0, 0, 0, 0, 0, 9]), topic, field(5, b"s")]);
    assert_eq!((present.from, present.seqno), (Some(peer(1)), Some(9)));
    assert_eq!(present.signature, Some(Bytes::from_static(b"s")));
}

#[test]
fn attack_63_bitswap_sizes() {
    let block = |len: usize| field(3, &[field(1, &[1, 0x55, 0x12, 0x20]), field(2, &vec![0; len])].concat());
    assert!(decode(Protocol::Bitswap, block(bitswap::MAX_BLOCK)).is_ok());
    assert_eq!(decode(Protocol::Bitswap, block(bitswap::MAX_BLOCK + 1)), Err(WireError::TooLong));
    assert_eq!(decode(Protocol::Bitswap, block(bitswap::MAX_FRAME)), Err(WireError::TooLong));
    let wants = |count| field(1, &field(1, &field(1, b"cid")).repeat(count));
    assert!(decode(Protocol::Bitswap, wants(bitswap::MAX_ENTRIES)).is_ok());
    assert_eq!(decode(Protocol::Bitswap, wants(bitswap::MAX_ENTRIES + 1)), Err(WireError::TooMany));
    assert_eq!(decode(Protocol::Bitswap, field(3, b"").repeat(2_000_000)), Err(WireError::TooMany));
    assert_eq!(decode(Protocol::Bitswap, field(4, b"").repeat(2_000_000)), Err(WireError::TooMany));
    let giant = field(1, &field(1, &field(1, &[1; bitswap::MAX_CID + 1])));
    assert_eq!(decode(Protocol::Bitswap, giant), Err(WireError::TooLong));
}

#[test]
fn registry_caps_hold() {
    let log = |record: usize, entries: usize, len: usize| {
        encode(
            &registry::RegistryMessage::Log {
                record: vec![0; record].into(),
                from: 0,
                entries: vec![Bytes::from(vec![0; len]); entries],
            }
            .into(),
        )
    };
    assert!(decode(Protocol::Registry, log(registry::MAX_HEAD_RECORD, 40, registry::MAX_STATEMENT)).is_ok());
    assert!(decode(Protocol::Registry, log(0, registry::MAX_STATEMENTS, 200)).is_ok());
    assert!(decode(Protocol::Registry, log(registry::MAX_HEAD_RECORD + 1, 0, 0)).is_err());
    assert!(decode(Protocol::Registry, log(0, 1, registry::MAX_STATEMENT + 1)).is_err());
    assert!(decode(Protocol::Registry, log(0, registry::MAX_STATEMENTS + 1, 1)).is_err());
    let proof = |len: usize| encode(&registry::RegistryMessage::Proof { proof: vec![0; len].into() }.into());
    assert!(decode(Protocol::Registry, proof(registry::MAX_PROOF)).is_ok());
    assert!(decode(Protocol::Registry, proof(registry::MAX_PROOF + 1)).is_err());
    // Trailing bytes, a missing and a further field, a padded number, a list of numbers where bytes belong.
    for bytes in [&[0x82, 0, 0x80, 0][..], &[0x80], &[0x81, 0], &[0x82, 0x18, 0, 0x80], &[0x82, 1, 0x81, 0x81, 1]] {
        assert_eq!(decode(Protocol::Registry, bytes.to_vec()), Err(WireError::Encoding));
    }
    let state = registry::PublisherState { publisher: PublisherId(Digest([1; 32])), length: 1, tip: Digest([2; 32]) };
    // A half-byte over 15, a range below single ids, 15 digests, too many states of one range or of all.
    let digest = [&[0x58, 32][..], &[1; 32]].concat();
    let compare = |parts: &[u8]| [&[0x82, 0, 0x81, 0x82, 0x58, parts.len() as u8], parts, &digest].concat();
    assert!(decode(Protocol::Registry, compare(&[15; 64])).is_ok());
    assert!(decode(Protocol::Registry, compare(&[16; 24])).is_err());
    assert!(decode(Protocol::Registry, compare(&[15; 65])).is_err());
    assert!(decode(Protocol::Registry, [&[0x82, 1, 0x81, 0x59, 1, 0xe0][..], &[1; 15 * 32]].concat()).is_err());
    let differences = |ranges: usize, listed: usize| registry::RegistryMessage::Differences {
        ranges: vec![registry::Difference::States(vec![state; listed]); ranges],
    };
    assert!(decode(Protocol::Registry, encode(&differences(1, registry::MAX_LISTED + 1).into())).is_err());
    assert!(decode(Protocol::Registry, encode(&differences(9, registry::MAX_LISTED).into())).is_err());
    let full = differences(8, registry::MAX_LISTED);
    assert!(encode_frame(&full.clone().into(), &mut Vec::new()).is_ok());
    assert_eq!(decode(Protocol::Registry, encode(&full.clone().into())), Ok(full.into()));
}
