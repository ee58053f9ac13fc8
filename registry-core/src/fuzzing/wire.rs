//! The codecs: whatever decodes, encodes to bytes that decode to the same. Each body tries the input itself, and a good
//! message edited as the input says, which gets past the first field more often.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Choices;
use crate::catalog::{Name, PackageSpec};
use crate::id::{BlockId, Codec, Digest, PeerId, PublisherId, TopicName};
use crate::search::{Meaning, Query, Statistics};
use crate::wire::bitswap::{BitswapMessage, Block, Cid, Presence, Want, WantKind};
use crate::wire::gossip::{Control, Prune, PubMessage, Rpc, Subscription};
use crate::wire::kad::{KadKind, KadMessage, KadPeer, Record};
use crate::wire::registry::{
    Difference, Found, FoundRelease, FoundWord, PARTS, PublisherState, Range, RangeDigest, RegistryMessage,
};
use crate::wire::{FrameDecoder, Kind, Message, Protocol, WireError};

/// Kademlia.
pub fn wire_kad(data: &[u8]) {
    check_codec(Protocol::Kad, data, &[kad_message().into()]);
}

/// Pubsub.
pub fn wire_gossip(data: &[u8]) {
    check_codec(Protocol::Gossip, data, &[rpc().into()]);
}

/// Bitswap.
pub fn wire_bitswap(data: &[u8]) {
    check_codec(Protocol::Bitswap, data, &[bitswap_message().into()]);
}

/// wharf's own protocol.
pub fn wire_registry(data: &[u8]) {
    check_codec(Protocol::Registry, data, &registry_messages().map(Message::from));
}

/// The frame decoder: the same frames and the same end, however the stream is cut.
pub fn wire_frames(data: &[u8]) {
    let mut choices = Choices::new(data);
    let protocol = match choices.below(4) {
        0 => Protocol::Kad,
        1 => Protocol::Gossip,
        2 => Protocol::Bitswap,
        _ => Protocol::Registry,
    };
    let cut = 1 + choices.below(16) as usize;
    let stream = choices.rest();
    let whole = read_frames(protocol, [stream].into_iter());
    assert_eq!(whole, read_frames(protocol, stream.chunks(1)));
    assert_eq!(whole, read_frames(protocol, stream.chunks(cut)));
}

fn read_frames<'a>(protocol: Protocol, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Result<(), WireError>) {
    let mut decoder = FrameDecoder::new(protocol);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        while let Ok(Some(frame)) = decoder.poll() {
            assert!(frame.len() <= protocol.max_frame());
            frames.push(frame);
        }
    }
    (frames, decoder.finish())
}

fn check_codec(protocol: Protocol, data: &[u8], examples: &[Message]) {
    check_bytes(protocol, data);
    let mut choices = Choices::new(data);
    if let Some(example) = examples.get(choices.below(examples.len() as u64) as usize) {
        let mut bytes = Vec::new();
        example.encode_into(&mut bytes);
        edit(&mut bytes, choices);
        check_bytes(protocol, &bytes);
    }
}

fn check_bytes(protocol: Protocol, bytes: &[u8]) {
    let Ok(message) = Message::decode(protocol, Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    message.encode_into(&mut again);
    assert_eq!(again.len(), message.wire_len());
    // A message all of whose parts were skipped encodes to nothing, a subscription without its flag to more than it was.
    if !again.is_empty() && again.len() <= protocol.max_frame() {
        assert_eq!(Message::decode(protocol, again.into()).as_ref(), Ok(&message));
    }
    if let Kind::Gossip(rpc) = &message.0 {
        for published in &rpc.publish {
            assert!(published.signed_bytes().len() <= published.raw.len() + "libp2p-pubsub:".len());
        }
    }
}

/// Overwrites, inserts or removes up to six bytes.
fn edit(bytes: &mut Vec<u8>, mut choices: Choices<'_>) {
    for _ in 0..choices.below(7) {
        let at = choices.below(bytes.len() as u64) as usize;
        match choices.below(3) {
            0 => bytes.insert(at, choices.byte()),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = choices.byte()),
        }
    }
}

fn kad_message() -> KadMessage {
    let addr = multiaddr::Multiaddr::empty().with(multiaddr::Protocol::Ip4([127, 0, 0, 1].into()));
    let peer = KadPeer { id: peer(), addrs: [addr].into(), connected: true };
    KadMessage {
        kind: KadKind::GetValue,
        key: Bytes::from_static(b"/wharf/key"),
        record: Some(Record { key: Bytes::from_static(b"/wharf/key"), value: Bytes::from_static(b"value") }),
        closer: vec![peer.clone(), peer.clone()],
        providers: vec![peer],
    }
}

fn rpc() -> Rpc {
    let topic = TopicName::from("topic");
    let id = Bytes::from_static(b"id");
    let published =
        PubMessage::new(peer(), 7, topic.clone(), Bytes::from_static(b"data"), id.clone(), Some(id.clone()));
    Rpc {
        subscriptions: vec![Subscription { subscribe: true, topic: topic.clone() }],
        publish: vec![Arc::new(published)],
        control: Control {
            ihave: vec![(topic.clone(), vec![id.clone()])],
            iwant: vec![id.clone()],
            graft: vec![topic.clone()],
            prune: vec![Prune { topic, backoff: Some(60) }],
            idontwant: vec![id],
        },
    }
}

fn bitswap_message() -> BitswapMessage {
    let cid = Cid::Known(BlockId { digest: Digest([1; 32]), codec: Codec::Raw });
    BitswapMessage {
        wants: vec![Want { cid: cid.clone(), priority: 1, kind: WantKind::Have, send_dont_have: true }],
        full: true,
        blocks: vec![Block { prefix: Bytes::from_static(&[1, 0x55, 0x12, 0x20]), data: Bytes::from_static(b"data") }],
        presences: vec![(cid, Presence::DontHave)],
        pending_bytes: 9,
    }
}

fn registry_messages() -> [RegistryMessage; 9] {
    let digest = Digest([1; 32]);
    let publisher = PublisherId(digest);
    let range = Range::ALL.part(3).expect("a part");
    let states = Difference::States(vec![PublisherState { publisher, length: 1, tip: digest }]);
    [
        RegistryMessage::Compare { ranges: vec![RangeDigest { range, digest }] },
        RegistryMessage::Differences {
            ranges: vec![Difference::None, states, Difference::Parts(Box::new([digest; PARTS]))],
        },
        RegistryMessage::GetLog { publisher, from: 1 },
        RegistryMessage::Log {
            record: Bytes::from_static(b"record"),
            from: 1,
            entries: vec![Bytes::from_static(b"entry")],
        },
        RegistryMessage::Search(Query {
            text: "words".into(),
            limit: 10,
            category: Some("net".into()),
            tags: vec!["tag".into()],
            publisher: Some(publisher),
        }),
        RegistryMessage::Find(PackageSpec {
            publisher: Some(publisher),
            name: Name::new("name").expect("a name"),
            version: Some("1".into()),
        }),
        RegistryMessage::Found(Found {
            statistics: Statistics {
                documents: 3,
                meanings: vec![Meaning { word: 0, term: "words".into(), documents: 2 }],
                names: vec!["name".into()],
                ..Statistics::default()
            },
            records: vec![Bytes::from_static(b"record")],
            releases: vec![FoundRelease { record: 0, envelope: Bytes::from_static(b"entry"), dependents: 1 }],
            words: vec![FoundWord { record: 0, envelope: Bytes::from_static(b"word") }],
        }),
        RegistryMessage::GetProof { publisher },
        RegistryMessage::Proof { proof: Bytes::from_static(b"proof") },
    ]
}

fn peer() -> PeerId {
    PeerId::from_ed25519(&[7; 32])
}

#[cfg(test)]
mod tests {
    use super::super::run;

    #[test]
    fn wire_kad() {
        run(64, super::wire_kad);
    }

    #[test]
    fn wire_gossip() {
        run(64, super::wire_gossip);
    }

    #[test]
    fn wire_bitswap() {
        run(64, super::wire_bitswap);
    }

    #[test]
    fn wire_registry() {
        run(64, super::wire_registry);
    }

    #[test]
    fn wire_frames() {
        run(400, super::wire_frames);
    }
}
