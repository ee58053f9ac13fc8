//! Answers of the registry that are anything but the truth.

use bytes::Bytes;
use registry_core::{Message, Protocol};

use super::Plot;
use super::wire::encoded;
use crate::fault::Effect;

/// The first bytes of an answer to a search: an array of a number and a field.
const FOUND: [u8; 2] = [0x82, 6];
/// The same of a run of a log: an array of a number and three fields.
const LOG: [u8; 2] = [0x84, 3];
/// Shorter answers hold no statement.
const SHORTEST: usize = 300;
/// How far from the end a bit is flipped: an answer to a search ends with a signature, a number of at most five bytes, and
/// no words; a log with a signature.
const FROM_END: usize = 20;

pub(super) fn is_found(msg: &Message) -> bool {
    msg.protocol() == Protocol::Registry && encoded(msg).starts_with(&FOUND)
}

/// The last signature is another one, or something that is signed.
pub(super) fn forge(plot: &mut Plot, msg: &Message) -> Option<Message> {
    let bytes = (msg.protocol() == Protocol::Registry).then(|| encoded(msg))?;
    if !bytes.starts_with(&FOUND) && !bytes.starts_with(&LOG) || bytes.len() < SHORTEST {
        return None;
    }
    let mut bytes = bytes.to_vec();
    let at = if plot.bits & 1 == 0 { bytes.len() - FROM_END } else { bytes.len() / 2 };
    bytes[at] ^= 1;
    let forged = Message::decode(Protocol::Registry, bytes.into()).ok()?;
    plot.fired.add(Effect::ForgedStatement, 1);
    Some(forged)
}

/// The array of the statistics of an empty index, and of no records, releases and words.
pub(super) fn empty(plot: &mut Plot, msg: &Message) -> Option<Message> {
    if !is_found(msg) {
        return None;
    }
    let mut bytes = vec![0x82, 6, 0x84, 0xa6];
    for (field, value) in [
        ("begun", &[0][..]),
        ("named", &[0]),
        ("names", &[0x80]),
        ("lengths", &[0x85, 0, 0, 0, 0, 0]),
        ("meanings", &[0x80]),
        ("documents", &[0]),
    ] {
        bytes.push(0x60 + field.len() as u8);
        bytes.extend_from_slice(field.as_bytes());
        bytes.extend_from_slice(value);
    }
    bytes.extend_from_slice(&[0x80, 0x80, 0x80]);
    plot.fired.add(Effect::EmptyFind, 1);
    Some(Message::decode(Protocol::Registry, Bytes::from(bytes)).expect("an answer without releases"))
}
