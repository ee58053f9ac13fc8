//! What nodes show of packages, and what they hold of their publishers' logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use registry_core::action::Table;
use registry_core::catalog::{Content, PackageSpec, ReleaseInfo};
use registry_core::event::Event;
use registry_core::{BlockId, Digest, HeadView, PeerId, PublisherId};

use super::{Check, Checker};
use crate::engine::{NodeIx, World};
use crate::fault::Effect;

/// What publishers were asked to publish: publisher, name and version.
type Key = (PublisherId, String, String);

/// Everything that is published in a run.
#[derive(Debug, Default)]
pub struct Truth {
    releases: BTreeMap<Key, BlockId>,
    /// Who publishes, and who that was before it may have lost its disk.
    publishers: BTreeMap<PublisherId, (NodeIx, PeerId)>,
}

impl Truth {
    /// A node publishes this content.
    pub fn add(&mut self, by: (NodeIx, PeerId), publisher: PublisherId, name: &str, version: &str, root: BlockId) {
        self.releases.insert((publisher, name.into(), version.into()), root);
        self.publishers.insert(publisher, by);
    }
}

/// R1, R2, R5 and X1 at whatever an application is told of a release.
pub struct Shown {
    truth: Truth,
    statements: BTreeMap<Key, Digest>,
    genuine: Check,
    unique: Check,
    durable: Check,
    current: Check,
}

impl Shown {
    /// Nothing but this is true.
    pub fn new(truth: Truth) -> Self {
        Self {
            truth,
            statements: BTreeMap::new(),
            genuine: Check::new("R1", "only what its publisher has published is shown"),
            unique: Check::new("R2", "one version of a package is one statement, on every node"),
            durable: Check::new("R5-out", "nobody is told of a statement that its publisher's store does not hold"),
            current: Check::new("X1", "search shows the version that the node's own catalogue calls current"),
        }
    }

    fn show(&mut self, world: &World, node: NodeIx, info: &ReleaseInfo) {
        let key = key_of(info);
        let root = self.truth.releases.get(&key);
        let same =
            matches!((&info.release.meta.content, root), (Content::Root { root, .. }, Some(truth)) if root == truth);
        // An attacker's publisher may say what it likes of its own.
        let fired = world.fired();
        let has_foreign = fired.of(Effect::SearchSpam) + fired.of(Effect::Equivocation) > 0;
        if !has_foreign || self.truth.publishers.contains_key(&info.release.publisher) {
            self.genuine.judge(same, || format!("node {node} shows {key:?}, {:?}", info.release.meta.content));
        }
        let known = *self.statements.entry(key.clone()).or_insert(info.statement);
        self.unique.judge(known == info.statement, || {
            format!("node {node} shows {key:?} as {:?}, others as {known:?}", info.statement)
        });
    }

    /// A publisher that has not lost its disk has on it what it has published.
    fn judge_durable(&mut self, world: &World, node: NodeIx, info: &ReleaseInfo) {
        let (publisher, position) = (info.release.publisher, info.release.position);
        let Some((by, peer)) = self.truth.publishers.get(&publisher).copied() else { return };
        if by == node || world.host(by).peer_id() != peer {
            return;
        }
        let row = [&publisher.0.0[..], &position.to_be_bytes()].concat();
        let held = world.host(by).disk().row(Table::Log, &Bytes::from(row)).is_some();
        self.durable
            .judge(held, || format!("node {node} knows number {position} of node {by}, which does not have it"));
    }

    fn judge_current(&mut self, world: &World, ix: NodeIx, info: &ReleaseInfo) {
        let Some(node) = world.node(ix).filter(|_| world.host(ix).role().duties().catalogue) else { return };
        let (publisher, name) = (Some(info.release.publisher), info.release.meta.name.clone());
        let current = node.info(&PackageSpec { publisher, name, version: None }).first().map(|first| first.statement);
        self.current.judge(current == Some(info.statement), || {
            format!("node {ix} finds {:?}, while the current one is {current:?}", key_of(info))
        });
    }
}

fn key_of(info: &ReleaseInfo) -> Key {
    let meta = &info.release.meta;
    (info.release.publisher, meta.name.as_str().into(), meta.version.text.as_ref().into())
}

impl Checker for Shown {
    fn heard(&mut self, world: &World, node: NodeIx, event: &Event) {
        match event {
            Event::Update { release, .. } => {
                self.show(world, node, release);
                self.judge_durable(world, node, release);
            }
            Event::Published { release, .. } | Event::Resolved { release, .. } => self.show(world, node, release),
            Event::SearchDone { page, .. } => {
                for hit in &page.hits {
                    self.show(world, node, &hit.release);
                    self.judge_current(world, node, &hit.release);
                }
            }
            _ => {}
        }
    }

    fn checks(&self) -> Vec<Check> {
        let (current, durable) = (&self.current, &self.durable);
        vec![self.genuine.clone(), self.unique.clone(), durable.clone(), current.clone()]
    }
}

/// R2 and R5 of logs: what a node holds never shrinks, whatever becomes of it.
pub struct Heads {
    held: Vec<Held>,
    forward: Check,
    recovered: Check,
}

#[derive(Clone, Default)]
struct Held {
    peer: Option<PeerId>,
    life: u32,
    heads: BTreeMap<PublisherId, HeadView>,
}

impl Heads {
    /// Nothing is held yet.
    pub fn new(world: &World) -> Self {
        Self {
            held: vec![Held::default(); world.len() as usize],
            forward: Check::new("R2-log", "a log and its head never go back while a node runs"),
            recovered: Check::new("R5", "after a restart a node holds at least what it held before"),
        }
    }

    /// An attacker lays on its disk what it likes.
    fn look(&mut self, world: &World, ix: NodeIx) {
        let Some(node) = world.node(ix).filter(|_| !world.was_hostile(ix)) else { return };
        let held = &mut self.held[ix as usize];
        let life = world.host(ix).life();
        let check = if held.life == life { &mut self.forward } else { &mut self.recovered };
        held.life = life;
        let peer = Some(world.host(ix).peer_id());
        if std::mem::replace(&mut held.peer, peer) != peer {
            held.heads.clear();
        }
        let heads: BTreeMap<_, _> = node.heads().map(|head| (head.publisher, head)).collect();
        for (publisher, before) in &held.heads {
            let now = heads.get(publisher);
            let kept = now.is_some_and(|now| now.rank >= before.rank && now.len >= before.len);
            check.judge(kept, || format!("node {ix} held {before:?}, and now {now:?}"));
        }
        held.heads = heads;
    }
}

impl Checker for Heads {
    fn sampled(&mut self, world: &World, ix: NodeIx) {
        self.look(world, ix);
    }

    fn swept(&mut self, world: &World, _quiet: u64) {
        (0..world.len()).for_each(|ix| self.look(world, ix));
    }

    fn heard(&mut self, world: &World, node: NodeIx, event: &Event) {
        if matches!(event, Event::Ready) {
            self.look(world, node);
        }
    }

    fn checks(&self) -> Vec<Check> {
        let recovered = (self.recovered.evaluated > 0).then(|| self.recovered.clone());
        [self.forward.clone()].into_iter().chain(recovered).collect()
    }
}
