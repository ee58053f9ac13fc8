//! What leaves: control gathered per peer and call, in frames that every receiver takes.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SendClass;
use crate::cx::Cx;
use crate::gossip::Gossip;
use crate::gossip::limits::{ENTRY_OVERHEAD, MAX_CONTROL};
use crate::id::{PeerIx, TopicName};
use crate::time::Duration;
use crate::wire::Message;
use crate::wire::gossip::{Control, Prune, Rpc};

/// Groups of consecutive items whose sizes add up to at most `limit` each (a larger item stands alone).
pub(super) fn chunks<T>(items: Vec<T>, limit: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut used = 0_usize;
    for item in items {
        let size = size(&item).saturating_add(ENTRY_OVERHEAD);
        match groups.last_mut() {
            Some(group) if used.saturating_add(size) <= limit => {
                used += size;
                group.push(item);
            }
            Some(_) | None => {
                used = size;
                groups.push(alloc::vec![item]);
            }
        }
    }
    groups
}

/// An upper bound of the encoded size.
fn max_size(control: &Control) -> usize {
    let Control { ihave, iwant, graft, prune, idontwant } = control;
    let ids = ihave.iter().flat_map(|(_, ids)| ids).chain(iwant).chain(idontwant).map(Bytes::len);
    let topics = ihave.iter().map(|(topic, _)| topic).chain(graft).chain(prune.iter().map(|prune| &prune.topic));
    ids.chain(topics.map(|topic| topic.len())).map(|len| len + ENTRY_OVERHEAD).sum()
}

/// Control as RPCs that no receiver refuses for their size.
fn rpcs(control: Control) -> Vec<Rpc> {
    let rpc = |control| Rpc { control, ..Rpc::default() };
    if max_size(&control) <= MAX_CONTROL {
        return alloc::vec![rpc(control)];
    }
    let Control { ihave, iwant, graft, prune, idontwant } = control;
    let mut out = Vec::new();
    for graft in chunks(graft, MAX_CONTROL, |topic| topic.len()) {
        out.push(rpc(Control { graft, ..Control::default() }));
    }
    for prune in chunks(prune, MAX_CONTROL, |prune| prune.topic.len()) {
        out.push(rpc(Control { prune, ..Control::default() }));
    }
    for idontwant in chunks(idontwant, MAX_CONTROL, Bytes::len) {
        out.push(rpc(Control { idontwant, ..Control::default() }));
    }
    for iwant in chunks(iwant, MAX_CONTROL, Bytes::len) {
        out.push(rpc(Control { iwant, ..Control::default() }));
    }
    for (topic, ids) in ihave {
        for ids in chunks(ids, MAX_CONTROL - topic.len().min(MAX_CONTROL / 2), Bytes::len) {
            out.push(rpc(Control { ihave: alloc::vec![(topic.clone(), ids)], ..Control::default() }));
        }
    }
    out
}

/// IHAVE about one topic, ready to be sent to many; no more RPCs than a receiver reads between two heartbeats.
pub(super) fn ihave(topic: TopicName, ids: Vec<Bytes>, max_rpcs: usize) -> Vec<Message> {
    let control = Control { ihave: alloc::vec![(topic, ids)], ..Control::default() };
    rpcs(control).into_iter().take(max_rpcs).map(Message::from).collect()
}

impl Gossip {
    fn queue(&mut self, peer: PeerIx) -> &mut Control {
        self.outgoing.entry(peer).or_default()
    }

    pub(super) fn queue_graft(&mut self, peer: PeerIx, topic: &TopicName) {
        let control = self.queue(peer);
        control.prune.retain(|prune| prune.topic != *topic);
        control.graft.push(topic.clone());
    }

    pub(super) fn queue_prune(&mut self, peer: PeerIx, topic: &TopicName, backoff: Duration) {
        let control = self.queue(peer);
        control.graft.retain(|grafted| grafted != topic);
        if control.prune.iter().all(|prune| prune.topic != *topic) {
            control.prune.push(Prune { topic: topic.clone(), backoff: Some(backoff.as_secs()) });
        }
    }

    pub(super) fn queue_iwant(&mut self, peer: PeerIx, id: Bytes) {
        self.queue(peer).iwant.push(id);
    }

    /// Sends the control that this call has gathered, one RPC per peer when it fits.
    pub(super) fn flush(&mut self, cx: &mut Cx<'_>) {
        while let Some((peer, control)) = self.outgoing.pop_first() {
            for rpc in rpcs(control) {
                cx.send(peer, rpc, SendClass::Control);
            }
        }
    }
}

/// Sends one message to many; returns to how many.
pub(super) fn broadcast(cx: &mut Cx<'_>, peers: &[PeerIx], msg: impl Into<Message>, class: SendClass) -> u32 {
    let msg = msg.into();
    for peer in peers {
        cx.send(*peer, msg.clone(), class);
    }
    peers.len() as u32
}
