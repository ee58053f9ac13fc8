//! Nodes that do not do what they should, and are not who they were.

use std::sync::Arc;

use bytes::Bytes;
use registry_core::action::{Action, Write};
use registry_core::{Digest, Input, PeerId};

use super::{Down, NodeIx, Payload, World};
use crate::adversary::{Deed, Hostile, Mind, Place, Plot};
use crate::crypto::KeyPair;
use crate::fault::Effect;
use crate::mix::{Domain, draw, lookup_key};
use crate::net::{Link, ephemeral_addr, listen_addr};
use crate::queue::Class;

impl World {
    /// Is a node up to something?
    pub fn is_hostile(&self, ix: NodeIx) -> bool {
        self.minds.contains_key(&ix)
    }

    /// Has a node never been an attacker's, and never damaged what it sent?
    pub fn is_honest(&self, ix: NodeIx) -> bool {
        let host = &self.hosts[ix as usize];
        host.honest && !host.garbles
    }

    /// Has a node been an attacker's, now or before?
    pub fn was_hostile(&self, ix: NodeIx) -> bool {
        !self.hosts[ix as usize].honest
    }

    /// Has one of two running nodes banned the other?
    pub fn is_banned_between(&self, a: NodeIx, b: NodeIx) -> bool {
        let bans = |by: NodeIx, whom: NodeIx| {
            self.node(by).is_some_and(|node| node.has_banned(&self.hosts[whom as usize].local.id))
        };
        bans(a, b) || bans(b, a)
    }

    /// From now on these nodes behave like this.
    pub(super) fn corrupt(&mut self, id: u32, hostile: Hostile, nodes: &[NodeIx]) {
        let fellow =
            |ix: &NodeIx| (self.hosts[*ix as usize].local.id, Bytes::copy_from_slice(listen_addr(*ix).as_ref()));
        let fellows: Arc<[(PeerId, Bytes)]> = nodes.iter().map(fellow).collect();
        let place = if let Hostile::Censor(place) = hostile { self.place(place) } else { None };
        let muted = if let Hostile::Mute(publisher) = hostile { self.publisher(publisher) } else { None };
        let muted = muted.map(|ix| self.hosts[ix as usize].local.id);
        for ix in nodes {
            self.minds.entry(*ix).or_default().push((id, Mind::new(hostile, Arc::clone(&fellows), place, muted)));
        }
    }

    /// These nodes are honest again, unless there is something else.
    pub(super) fn reform(&mut self, id: u32, nodes: &[NodeIx]) {
        for ix in nodes {
            if let Some(minds) = self.minds.get_mut(ix) {
                minds.retain(|(other, _)| *other != id);
                if minds.is_empty() {
                    self.minds.remove(ix);
                }
            }
        }
    }

    /// A node gets an identity whose place agrees with another one in so many bits; it starts anew if it runs. False when
    /// there is no such place.
    pub(super) fn move_near(&mut self, ix: NodeIx, near: Place, bits: u32) -> bool {
        let Some(place) = self.place(near) else { return false };
        let runs = self.end(ix, Down::Refusing, usize::MAX);
        let agrees = |pair: &KeyPair| {
            let own = Digest::of(pair.peer_id().as_bytes()).0;
            let differing = u64::from_be_bytes(*own.first_chunk().expect("32 bytes"))
                ^ u64::from_be_bytes(*place.0.first_chunk().expect("32 bytes"));
            differing.leading_zeros() >= bits
        };
        let life = self.hosts[ix as usize].life;
        let ground = (0_u32..).map(|attempt| KeyPair::derive(self.seed, &format!("sybil-key-{life}-{attempt}"), ix));
        let pair = ground.into_iter().find(agrees).expect("there are enough keys");
        self.identify_as(ix, pair);
        self.fired.add(Effect::Sybil, 1);
        if runs {
            self.schedule_boot(self.now, ix);
        }
        true
    }

    /// A node holds these rows; it starts anew if it runs.
    pub(super) fn start_with(&mut self, ix: NodeIx, rows: &[Write]) {
        let runs = self.end(ix, Down::Refusing, usize::MAX);
        self.preload(ix, rows);
        if runs {
            self.schedule_boot(self.now, ix);
        }
    }

    /// Nodes dial from one address, each from a port of its own.
    pub(super) fn move_together(&mut self, nodes: &[NodeIx]) {
        for (port, ix) in (0..).zip(nodes) {
            self.hosts[*ix as usize].ephemeral = ephemeral_addr(nodes[0], port);
        }
    }

    /// From now on a node that does not run is this peer.
    pub(super) fn identify_as(&mut self, ix: NodeIx, pair: KeyPair) {
        let host = &mut self.hosts[ix as usize];
        host.former.push((self.next_conn, host.local.id));
        host.local.id = pair.peer_id();
        host.local.public_key = pair.public_protobuf();
        host.node_key = pair;
        self.peer_ids[ix as usize] = host.local.id;
        self.by_peer.insert(super::short_id(&host.local.id), ix);
    }

    /// Does an action, or what a hostile node does instead of it.
    pub(super) fn perform(&mut self, ix: NodeIx, action: Action) {
        let Some(mut minds) = self.minds.remove(&ix) else { return self.act(ix, action) };
        let mut deeds = vec![Deed::Now(action)];
        for (_, mind) in &mut minds {
            let mut plot = self.plot(ix);
            let instead = deeds.into_iter().flat_map(|deed| match deed {
                Deed::Now(action) => mind.acts(&mut plot, action),
                later @ Deed::Later(..) => vec![later],
            });
            deeds = instead.collect();
        }
        self.minds.insert(ix, minds);
        for deed in deeds {
            match deed {
                Deed::Now(action) => self.act(ix, action),
                Deed::Later(wait, action) => {
                    let (life, action) = (self.hosts[ix as usize].life, Box::new(action));
                    self.schedule(self.now + wait, Class::Local, ix, ix, Payload::Act { life, action });
                }
            }
        }
    }

    /// Does a node hear of what happened?
    pub(super) fn hears(&mut self, ix: NodeIx, input: &Input) -> bool {
        let Some(mut minds) = self.minds.remove(&ix) else { return true };
        let mut plot = self.plot(ix);
        let hears = minds.iter_mut().all(|(_, mind)| mind.hears(&mut plot, input));
        self.minds.insert(ix, minds);
        hears
    }

    /// What a hostile node does of its own.
    pub(super) fn scheme(&mut self, ix: NodeIx) {
        let Some(mut minds) = self.minds.remove(&ix) else { return };
        let host = &self.hosts[ix as usize];
        let id = |(peer, link): (NodeIx, Link)| self.hosts[peer as usize].peer_id_on(link.conn);
        let peers: Vec<PeerId> = host.links().into_iter().map(id).collect();
        let topics = host.node.iter().flat_map(|node| node.topics()).filter(|topic| topic.joined);
        let topics: Vec<String> = topics.map(|topic| topic.topic.to_string()).collect();
        let mut plot = self.plot(ix);
        let actions: Vec<_> = minds.iter_mut().flat_map(|(_, mind)| mind.moves(&mut plot, &topics, &peers)).collect();
        self.minds.insert(ix, minds);
        actions.into_iter().for_each(|action| self.act(ix, action));
    }

    fn plot(&mut self, ix: NodeIx) -> Plot<'_> {
        let host = &self.hosts[ix as usize];
        let bits = draw(self.seed, Domain::Hostile, u64::from(ix), host.seq);
        Plot { now: self.now, bits, own: host.local.id, fired: &mut self.fired }
    }

    fn publisher(&self, number: u32) -> Option<NodeIx> {
        let publishers = (0..).zip(&self.hosts).filter(|(_, host)| host.publisher_key.is_some());
        publishers.map(|(ix, _)| ix).nth(number as usize)
    }

    fn place(&self, place: Place) -> Option<Digest> {
        match place {
            Place::Node(ix) => Some(Digest::of(self.hosts.get(ix as usize)?.local.id.as_bytes())),
            Place::Publisher(number) => self.place(Place::Node(self.publisher(number)?)),
            Place::Log(ix) => {
                let publisher = self.hosts.get(ix as usize)?.local.publisher.as_ref()?;
                Some(Digest::of(&publisher.id.0.to_multihash()))
            }
            Place::Package(number) => Some(crate::workload::place(self.seed, number)),
            Place::Lookup(number) => Some(Digest::of(&lookup_key(self.seed, number))),
        }
    }
}
