//! Pubsub messages (libp2p pubsub specification, gossipsub v1.0 to v1.2).

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use crate::id::{PeerId, TopicName};
use crate::wire::walk::{fields, spend};
use crate::wire::{WireError, compact, put};

/// Sent: rust-libp2p loses its stream at 64 KiB less what shares a read.
pub(crate) const MAX_FRAME: usize = 56 * 1024;
/// Read: the specification's limit. rust-libp2p sends up to 64 KiB; go-, js- and py-libp2p gather messages into more.
pub(crate) const MAX_INBOUND_FRAME: usize = 1024 * 1024;
/// Subscriptions in one RPC. rust-libp2p holds 100 topics of a peer; js-libp2p sends all of its topics at once.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 512;
/// Bytes of a topic's name; longer ones only cost the tables that are keyed by it.
pub(crate) const MAX_TOPIC: usize = 256;
/// Published messages in one RPC, rust-libp2p's number: each may cost a signature check.
pub(crate) const MAX_PUBLISH: usize = 500;
/// Control entries of all kinds in one RPC: a few for each topic.
pub(crate) const MAX_CONTROL: usize = 1024;
/// Message ids in all IHAVE, IWANT and IDONTWANT of one RPC: what go-libp2p takes of IHAVE per peer and heartbeat.
pub(crate) const MAX_IDS: usize = 5000;
/// Bytes of a message id. The longest in use is rust-libp2p's, base58 of `from` and a decimal number: under 90.
pub(crate) const MAX_ID: usize = 128;

const SIGN_PREFIX: &[u8] = b"libp2p-pubsub:";
const SIGNATURE_FIELD: u64 = 5;
const KEY_FIELD: u64 = 6;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rpc {
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) publish: Vec<Arc<PubMessage>>,
    pub(crate) control: Control,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subscription {
    pub(crate) subscribe: bool,
    pub(crate) topic: TopicName,
}

/// A published message beside its exact bytes: the signature covers fields this node may not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PubMessage {
    pub(crate) raw: Bytes,
    /// `None` also when it is no peer id.
    pub(crate) from: Option<PeerId>,
    pub(crate) data: Bytes,
    /// Exactly 8 bytes, big endian, on the wire; of another length it counts as missing.
    pub(crate) seqno: Option<u64>,
    pub(crate) topic: TopicName,
    pub(crate) signature: Option<Bytes>,
    /// Protobuf-encoded public key, when the sender gave it.
    pub(crate) key: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    pub(crate) ihave: Vec<(TopicName, Vec<Bytes>)>,
    pub(crate) iwant: Vec<Bytes>,
    pub(crate) graft: Vec<TopicName>,
    pub(crate) prune: Vec<Prune>,
    pub(crate) idontwant: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prune {
    pub(crate) topic: TopicName,
    /// Seconds.
    pub(crate) backoff: Option<u64>,
}

impl PubMessage {
    /// The bytes a StrictSign signature covers: `libp2p-pubsub:` and the message without fields 5 and 6.
    pub(crate) fn signed_bytes(&self) -> Bytes {
        let covered = fields(&self.raw).flatten().filter(|f| f.number != SIGNATURE_FIELD && f.number != KEY_FIELD);
        let mut bytes = Vec::with_capacity(SIGN_PREFIX.len() + self.raw.len());
        bytes.extend_from_slice(SIGN_PREFIX);
        covered.for_each(|field| bytes.extend_from_slice(field.raw));
        bytes.into()
    }

    /// The bytes to sign for a new message.
    pub(crate) fn bytes_to_sign(from: &PeerId, seqno: u64, topic: &TopicName, data: &Bytes) -> Bytes {
        let mut bytes = SIGN_PREFIX.to_vec();
        MessageProto::new(from, seqno, topic, data).encode_raw(&mut bytes);
        bytes.into()
    }

    /// A complete message of this node. `key` only when it is not inlined in `from`.
    pub(crate) fn new(
        from: PeerId,
        seqno: u64,
        topic: TopicName,
        data: Bytes,
        signature: Bytes,
        key: Option<Bytes>,
    ) -> Self {
        let unsigned = MessageProto::new(&from, seqno, &topic, &data);
        let proto = MessageProto { signature: Some(signature.clone()), key: key.clone(), ..unsigned };
        let raw = proto.encode_to_vec().into();
        Self { raw, from: Some(from), data, seqno: Some(seqno), topic, signature: Some(signature), key }
    }

    fn decode(raw: Bytes) -> Result<Self, WireError> {
        let proto = MessageProto::decode(raw.clone())?;
        Ok(Self {
            raw,
            from: proto.from.and_then(|bytes| PeerId::from_bytes(&bytes).ok()),
            data: proto.data.unwrap_or_default(),
            seqno: proto.seqno.and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok()).map(u64::from_be_bytes),
            topic: topic(proto.topic)?,
            signature: proto.signature,
            key: proto.key,
        })
    }
}

impl Rpc {
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        for Subscription { subscribe, topic } in &self.subscriptions {
            put::head(out, 1, put::number_len(1) + put::bytes_len(topic.len()));
            put::number(out, 1, u64::from(*subscribe));
            put::bytes(out, 2, topic.as_bytes());
        }
        self.publish.iter().for_each(|message| put::bytes(out, 2, &message.raw));
        if self.control != Control::default() {
            put::head(out, 3, self.control.len());
            self.control.encode_into(out);
        }
    }

    /// The encoded length, for splitting before `MAX_FRAME`.
    pub(crate) fn encoded_len(&self) -> usize {
        let subscription = |sub: &Subscription| put::bytes_len(put::number_len(1) + put::bytes_len(sub.topic.len()));
        let subscriptions: usize = self.subscriptions.iter().map(subscription).sum();
        let publish: usize = self.publish.iter().map(|message| put::bytes_len(message.raw.len())).sum();
        let control = if self.control == Control::default() { 0 } else { put::bytes_len(self.control.len()) };
        subscriptions + publish + control
    }

    /// Reads an RPC whose caps hold; unknown fields and extensions are skipped. Peers offered in a PRUNE are not read:
    /// peer exchange is off.
    pub(crate) fn decode(frame: Bytes) -> Result<Self, WireError> {
        screen(&frame)?;
        let frame_len = frame.len();
        let proto = RpcProto::decode(frame)?;
        let publish = proto.publish.into_iter().map(|raw| PubMessage::decode(compact(raw, frame_len)).map(Arc::new));
        Ok(Self {
            subscriptions: proto.subscriptions.into_iter().map(SubscriptionProto::read).collect::<Result<_, _>>()?,
            publish: publish.collect::<Result<_, _>>()?,
            control: proto.control.unwrap_or_default().read()?,
        })
    }
}

impl Control {
    fn encode_into(&self, out: &mut Vec<u8>) {
        for (topic, ids) in &self.ihave {
            put::head(out, 1, put::bytes_len(topic.len()) + ids_len(ids));
            put::bytes(out, 1, topic.as_bytes());
            ids.iter().for_each(|id| put::bytes(out, 2, id));
        }
        encode_ids(out, 2, &self.iwant);
        for topic in &self.graft {
            put::head(out, 3, put::bytes_len(topic.len()));
            put::bytes(out, 1, topic.as_bytes());
        }
        for prune in &self.prune {
            put::head(out, 4, prune.len());
            put::bytes(out, 1, prune.topic.as_bytes());
            if let Some(seconds) = prune.backoff {
                put::number(out, 3, seconds);
            }
        }
        encode_ids(out, 5, &self.idontwant);
    }

    fn len(&self) -> usize {
        let ihave = self.ihave.iter().map(|(topic, ids)| put::bytes_len(topic.len()) + ids_len(ids));
        let graft = self.graft.iter().map(|topic| put::bytes_len(topic.len()));
        let alone = [&self.iwant, &self.idontwant].into_iter().filter(|ids| !ids.is_empty()).map(|ids| ids_len(ids));
        ihave.chain(graft).chain(self.prune.iter().map(Prune::len)).chain(alone).map(put::bytes_len).sum()
    }
}

impl Prune {
    fn len(&self) -> usize {
        put::bytes_len(self.topic.len()) + self.backoff.map_or(0, put::number_len)
    }
}

/// An entry that holds nothing but ids; none without any.
fn encode_ids(out: &mut Vec<u8>, field: u8, ids: &[Bytes]) {
    if !ids.is_empty() {
        put::head(out, field, ids_len(ids));
        ids.iter().for_each(|id| put::bytes(out, 1, id));
    }
}

fn ids_len(ids: &[Bytes]) -> usize {
    ids.iter().map(|id| put::bytes_len(id.len())).sum()
}

/// Counts and measures everything a decoder would allocate for.
fn screen(frame: &[u8]) -> Result<(), WireError> {
    let mut subscriptions = MAX_SUBSCRIPTIONS;
    let mut publish = MAX_PUBLISH;
    let mut control = MAX_CONTROL;
    let mut ids = MAX_IDS;
    for field in fields(frame) {
        let field = field?;
        match field.number {
            1 => {
                spend(&mut subscriptions)?;
                screen_entry(field.body()?, Some(2), None, &mut ids)?;
            }
            2 => {
                spend(&mut publish)?;
                screen_entry(field.body()?, Some(4), None, &mut ids)?;
            }
            3 => screen_control(field.body()?, &mut control, &mut ids)?,
            _ => {}
        }
    }
    Ok(())
}

fn screen_control(body: &[u8], entries: &mut usize, ids: &mut usize) -> Result<(), WireError> {
    for field in fields(body) {
        let field = field?;
        let (topic_field, ids_field) = match field.number {
            1 => (Some(1), Some(2)),
            2 | 5 => (None, Some(1)),
            3 | 4 => (Some(1), None),
            _ => continue,
        };
        spend(entries)?;
        screen_entry(field.body()?, topic_field, ids_field, ids)?;
    }
    Ok(())
}

/// Checks one entry, whose fields of these numbers are its topic and its message ids.
fn screen_entry(
    body: &[u8],
    topic_field: Option<u64>,
    ids_field: Option<u64>,
    ids: &mut usize,
) -> Result<(), WireError> {
    for field in fields(body) {
        let field = field?;
        if Some(field.number) == topic_field && field.body()?.len() > MAX_TOPIC {
            return Err(WireError::TooLong);
        }
        if Some(field.number) == ids_field {
            spend(ids)?;
            if field.body()?.len() > MAX_ID {
                return Err(WireError::TooLong);
            }
        }
    }
    Ok(())
}

fn topic(text: Option<String>) -> Result<TopicName, WireError> {
    text.filter(|text| !text.is_empty()).map(TopicName::from).ok_or(WireError::Missing)
}

/// The messages stay bytes, so that what is passed on is what came.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcProto {
    #[prost(message, repeated, tag = "1")]
    subscriptions: Vec<SubscriptionProto>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    publish: Vec<Bytes>,
    #[prost(message, optional, tag = "3")]
    control: Option<ControlProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SubscriptionProto {
    #[prost(bool, optional, tag = "1")]
    subscribe: Option<bool>,
    #[prost(string, optional, tag = "2")]
    topic: Option<String>,
}

impl SubscriptionProto {
    fn read(self) -> Result<Subscription, WireError> {
        Ok(Subscription { subscribe: self.subscribe.unwrap_or_default(), topic: topic(self.topic)? })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageProto {
    #[prost(bytes = "bytes", optional, tag = "1")]
    from: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    data: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    seqno: Option<Bytes>,
    #[prost(string, optional, tag = "4")]
    topic: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    signature: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    key: Option<Bytes>,
}

impl MessageProto {
    /// Not signed yet.
    fn new(from: &PeerId, seqno: u64, topic: &TopicName, data: &Bytes) -> Self {
        Self {
            from: Some(Bytes::copy_from_slice(from.as_bytes())),
            data: Some(data.clone()),
            seqno: Some(Bytes::copy_from_slice(&seqno.to_be_bytes())),
            topic: Some(topic.to_string()),
            signature: None,
            key: None,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ControlProto {
    #[prost(message, repeated, tag = "1")]
    ihave: Vec<IhaveProto>,
    #[prost(message, repeated, tag = "2")]
    iwant: Vec<IdsProto>,
    #[prost(message, repeated, tag = "3")]
    graft: Vec<GraftProto>,
    #[prost(message, repeated, tag = "4")]
    prune: Vec<PruneProto>,
    #[prost(message, repeated, tag = "5")]
    idontwant: Vec<IdsProto>,
}

impl ControlProto {
    /// The ids are slices of the frame, and there may be thousands: whoever keeps one copies it.
    fn read(self) -> Result<Control, WireError> {
        let all = |entries: Vec<IdsProto>| entries.into_iter().flat_map(|entry| entry.ids).collect();
        let ihave = self.ihave.into_iter().map(|entry| Ok((topic(entry.topic)?, entry.ids)));
        let prune = self.prune.into_iter().map(|p| Ok(Prune { topic: topic(p.topic)?, backoff: p.backoff }));
        Ok(Control {
            ihave: ihave.collect::<Result<_, WireError>>()?,
            iwant: all(self.iwant),
            graft: self.graft.into_iter().map(|entry| topic(entry.topic)).collect::<Result<_, _>>()?,
            prune: prune.collect::<Result<_, WireError>>()?,
            idontwant: all(self.idontwant),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct IhaveProto {
    #[prost(string, optional, tag = "1")]
    topic: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    ids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdsProto {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    ids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GraftProto {
    #[prost(string, optional, tag = "1")]
    topic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PruneProto {
    #[prost(string, optional, tag = "1")]
    topic: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    backoff: Option<u64>,
}
