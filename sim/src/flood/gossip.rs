//! Announcements that no honest node has made: each newcomer's, by an author of its own, as the bytes of a pubsub message.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use registry_core::action::{Action, SendClass, Table, Write};
use registry_core::{Config, Message, Protocol};

use crate::crypto::KeyPair;
use crate::engine::{NodeIx, ReplaceAction};

/// Statements of an announcement.
const ANNOUNCED: usize = 8;

/// What attackers do beside their honest actions: with whatever they send by pubsub, one of their announcements goes
/// along, each once.
pub(super) fn plant(
    mut queues: BTreeMap<NodeIx, VecDeque<Message>>,
    announced: &Rc<Cell<usize>>,
) -> Box<ReplaceAction> {
    let announced = Rc::clone(announced);
    Box::new(move |node, action| {
        let Action::Send { peer, msg, .. } = &action else { return vec![action] };
        let queue = queues.get_mut(&node).filter(|_| msg.protocol() == Protocol::Gossip);
        let Some(msg) = queue.and_then(VecDeque::pop_front) else { return vec![action] };
        announced.set(announced.get() + 1);
        let announcement = Action::Send { peer: *peer, msg, class: SendClass::Own };
        vec![action, announcement]
    })
}

/// An RPC with the announcement of a newcomer's log, signed by an author that nobody has heard of.
pub(super) fn announce(seed: u64, ix: u32, rows: &[Write]) -> Message {
    let key = KeyPair::derive(seed, "announcer", ix);
    let author = key.peer_id();
    let topic = format!("/wharf/{}/announce/1", Config::default().network);
    let mut message = Vec::new();
    let fields = [author.as_bytes(), &announcement(rows), &1u64.to_be_bytes(), topic.as_bytes()];
    (1..).zip(fields).for_each(|(number, bytes)| field(&mut message, number, bytes));
    let signature = key.sign(&[b"libp2p-pubsub:", &message[..]].concat());
    field(&mut message, 5, &signature);
    let mut rpc = Vec::new();
    field(&mut rpc, 2, &message);
    Message::decode(Protocol::Gossip, rpc.into()).expect("a pubsub message")
}

/// The array of the head record and the list of the last statements.
fn announcement(rows: &[Write]) -> Vec<u8> {
    let values = |table, key_len| {
        let rows = rows.iter().filter(move |row| row.table == table && row.key.len() == key_len);
        rows.filter_map(|row| row.value.as_ref())
    };
    let record = values(Table::Publisher, 32).next().expect("a publisher has a record");
    let statements: Vec<&Bytes> = values(Table::Log, 40).collect();
    let last = &statements[statements.len().saturating_sub(ANNOUNCED)..];
    let mut out = vec![0x82];
    byte_string(&mut out, record);
    out.push(0x80 + last.len() as u8);
    last.iter().for_each(|statement| byte_string(&mut out, statement));
    out
}

/// In CBOR. No record or statement is shorter than 24 bytes.
fn byte_string(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(len) => out.extend_from_slice(&[0x58, len]),
        Err(_) => {
            out.push(0x59);
            out.extend_from_slice(&u16::try_from(bytes.len()).expect("under 64 KiB").to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// In protobuf.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push((number << 3) | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}
