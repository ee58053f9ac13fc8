//! Peers that answer searches with anything but the truth.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use registry_core::action::Action;
use registry_core::{Message, Protocol};
use serde::Serialize;

use crate::engine::{NodeIx, ReplaceAction};

/// The first bytes of an answer to a search: an array of a number and a field.
const FOUND: [u8; 2] = [0x82, 6];

/// How a liar lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    /// A signature of its answer is wrong.
    Forged,
    /// What it answered to another search.
    Irrelevant,
    /// Nothing, as if it knew no package.
    Empty,
    /// The truth of some time ago: it has missed the latest versions, and asks nobody for them.
    Stale,
}

/// How often which lie was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Told {
    /// Answers with a wrong signature.
    pub forged: u64,
    /// Answers to other searches.
    pub irrelevant: u64,
    /// Empty answers.
    pub empty: u64,
    /// Answers without the latest versions.
    pub stale: u64,
}

/// Who lies how: the kinds take turns.
pub(super) fn roles(liars: Vec<NodeIx>) -> BTreeMap<NodeIx, Lie> {
    liars.into_iter().zip([Lie::Forged, Lie::Irrelevant, Lie::Empty, Lie::Stale].into_iter().cycle()).collect()
}

/// What liars do instead of their honest actions.
pub(super) fn plant(liars: &BTreeMap<NodeIx, Lie>, told: &Rc<Cell<Told>>) -> Box<ReplaceAction> {
    let mut last: BTreeMap<NodeIx, (Lie, Option<Message>)> =
        liars.iter().map(|(liar, lie)| (*liar, (*lie, None))).collect();
    let told = Rc::clone(told);
    Box::new(move |node, action| {
        let Some((lie, last)) = last.get_mut(&node) else { return vec![action] };
        let lie = *lie;
        match action {
            Action::Request { msg, .. } if lie == Lie::Stale && msg.protocol() == Protocol::Registry => vec![],
            Action::Respond { token, msg: Some(msg) } if is_found(&msg) => {
                let mut counts = told.get();
                let msg = match lie {
                    Lie::Forged => forge(&msg).inspect(|_| counts.forged += 1).unwrap_or(msg),
                    Lie::Irrelevant => match last.replace(msg.clone()) {
                        Some(earlier) if earlier != msg => {
                            counts.irrelevant += 1;
                            earlier
                        }
                        _ => msg,
                    },
                    Lie::Empty => {
                        counts.empty += 1;
                        empty()
                    }
                    Lie::Stale => {
                        counts.stale += 1;
                        msg
                    }
                };
                told.set(counts);
                vec![Action::Respond { token, msg: Some(msg) }]
            }
            action => vec![action],
        }
    })
}

fn is_found(msg: &Message) -> bool {
    msg.protocol() == Protocol::Registry && encoded(msg).starts_with(&FOUND)
}

fn encoded(msg: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    msg.encode_into(&mut bytes);
    bytes
}

/// The last release ends with its signature, a number of at most five bytes, and no words.
fn forge(msg: &Message) -> Option<Message> {
    let mut bytes = encoded(msg);
    let at = bytes.len().checked_sub(20).filter(|at| *at > 300)?;
    bytes[at] ^= 1;
    Message::decode(Protocol::Registry, bytes.into()).ok()
}

/// The array of the statistics of an empty index, and of no records, releases and words.
fn empty() -> Message {
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
    Message::decode(Protocol::Registry, Bytes::from(bytes)).expect("an answer without releases")
}
