//! One catalogue with its disk and its workers, driven by hand, and logs written by hand to give it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::signer::{Signer, verify};
use crate::action::{Action, StoreRequest, Table};
use crate::catalog::announcement::Announcement;
use crate::catalog::log::Log;
use crate::catalog::merkle::Tree;
use crate::catalog::{
    Catalog, CatalogEvent, Content, Domain, Name, NewRelease, Release, ReleaseInfo, Scheme, Verdict, Version,
};
use crate::config::Config;
use crate::fuzzing::TestWorld;
use crate::id::{BlockId, Codec, Digest, OpId, PeerIx, PublisherId};
use crate::input::{Row, StoreError, StoreResult};
use crate::time::Duration;

/// A small, valid release.
pub(super) fn release(name: &str, version: &str) -> NewRelease {
    let root = BlockId { digest: Digest::of(name.as_bytes()), codec: Codec::DagPb };
    NewRelease {
        name: Name::new(name).unwrap(),
        version: Version::new(version, Scheme::Semver).unwrap(),
        content: Content::Root { root, size: 1000 },
        summary: "a thing".into(),
        description: String::new(),
        keywords: vec!["thing".into()],
        category: String::new(),
        tags: Vec::new(),
        licence: "MIT".into(),
        dependencies: Vec::new(),
    }
}

/// A publisher's log outside any node.
pub(super) struct Author {
    pub(super) signer: Signer,
    pub(super) statements: Vec<Bytes>,
    tip: Digest,
    tree: Tree,
}

impl Author {
    pub(super) fn new(seed: u8) -> Self {
        let signer = Signer::new(seed);
        let tip = signer.publisher.id.0;
        Self { signer, statements: Vec::new(), tip, tree: Tree::default() }
    }

    pub(super) fn id(&self) -> PublisherId {
        self.signer.publisher.id
    }

    pub(super) fn len(&self) -> u64 {
        self.statements.len() as u64
    }

    pub(super) fn next(&self, meta: NewRelease) -> Release {
        Release { publisher: self.id(), position: self.len(), previous: self.tip, meta }
    }

    /// Appends whatever is given, valid or not.
    pub(super) fn append_body(&mut self, body: Bytes) {
        self.tip = Digest::of(&body);
        self.tree.push(&self.tip.0);
        self.statements.push(self.signer.envelope(Domain::Statement, body));
    }

    pub(super) fn append(&mut self, name: &str, version: &str) -> &mut Self {
        self.append_body(self.next(release(name, version)).to_body("test"));
        self
    }

    /// The record of the whole log, with a head signed `secs` after 1970.
    pub(super) fn record_at(&self, secs: u64) -> Bytes {
        self.signer.record(&self.signer.head(self.len(), self.tip, self.tree.root(), secs))
    }

    pub(super) fn record(&self) -> Bytes {
        self.record_at(1_700_000_000)
    }

    /// The announcement of the last statement.
    pub(super) fn announcement(&self) -> Bytes {
        Announcement { record: self.record(), statements: self.statements[self.statements.len() - 1..].to_vec() }
            .encode()
    }
}

pub(super) struct Host {
    pub(super) world: TestWorld,
    pub(super) catalog: Catalog,
    pub(super) signer: Signer,
    pub(super) disk: BTreeMap<(Table, Bytes), Bytes>,
    pub(super) disk_full: bool,
    pub(super) verifications: usize,
}

impl Host {
    /// A host whose own publisher has the keys of `seed`.
    pub(super) fn new(seed: u8) -> Self {
        Self::on_disk(Signer::new(seed), BTreeMap::new())
    }

    /// The same host after a crash, on this disk.
    pub(super) fn restarted(&self, disk: BTreeMap<(Table, Bytes), Bytes>) -> Self {
        Self::on_disk(self.signer.clone(), disk)
    }

    fn on_disk(signer: Signer, disk: BTreeMap<(Table, Bytes), Bytes>) -> Self {
        let mut world = TestWorld::new(Config { network: "test".into(), ..Config::default() });
        world.local.publisher = Some(signer.publisher.clone());
        let mut catalog = Catalog::new(&mut world.cx());
        for ((table, key), value) in &disk {
            let row = Row { table: *table, key: key.clone(), value: value.clone() };
            catalog.handle_recovered(&mut world.cx(), row);
        }
        Self { world, catalog, signer, disk, disk_full: false, verifications: 0 }
    }

    pub(super) fn id(&self) -> PublisherId {
        self.signer.publisher.id
    }

    /// Performs one action.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Sign { job, key: _, bytes } => {
                let signature = self.signer.sign(&bytes);
                self.catalog.handle_signed(&mut self.world.cx(), job, Some(signature));
            }
            Action::Verify { job, checks } => {
                self.verifications += 1;
                self.catalog.handle_verified(&mut self.world.cx(), job, verify(&checks));
            }
            Action::Store { op, request: StoreRequest::Commit(writes) } => {
                let result = if self.disk_full {
                    StoreResult::Failed(StoreError::Full)
                } else {
                    self.disk.extend(writes.into_iter().map(|w| ((w.table, w.key), w.value.unwrap())));
                    StoreResult::Done
                };
                self.catalog.handle_stored(&mut self.world.cx(), op, result);
            }
            Action::Emit(_) | Action::Disconnect { .. } => {}
            other => panic!("not the catalogue's: {other:?}"),
        }
    }

    /// Performs actions until there are none, and takes the events.
    pub(super) fn settle(&mut self) -> Vec<CatalogEvent> {
        let mut events = self.events();
        while let Some(action) = self.world.out.pop() {
            self.perform(action);
            events.extend(self.events());
        }
        self.assert_sound();
        events
    }

    pub(super) fn events(&mut self) -> Vec<CatalogEvent> {
        core::iter::from_fn(|| self.catalog.poll_event()).collect()
    }

    pub(super) fn publish(&mut self, op: u64, new: NewRelease) {
        self.catalog.publish(&mut self.world.cx(), OpId(op), new);
    }

    pub(super) fn peer(&mut self) -> PeerIx {
        self.world.connect(1)
    }

    /// Gossips an announcement to the host and tells what it thought of it.
    pub(super) fn hear(&mut self, announcement: Bytes) -> (Verdict, Vec<CatalogEvent>) {
        let source = self.peer();
        self.catalog.handle_announcement(&mut self.world.cx(), 7, source, announcement);
        self.judged()
    }

    /// Gives the host statements of an author's log, as sync does.
    pub(super) fn fetch(&mut self, author: &Author, from: usize, to: usize) -> (Verdict, Vec<CatalogEvent>) {
        self.fetch_with(author.record(), from as u64, author.statements[from..to].to_vec())
    }

    pub(super) fn fetch_with(&mut self, record: Bytes, from: u64, entries: Vec<Bytes>) -> (Verdict, Vec<CatalogEvent>) {
        let source = self.peer();
        self.catalog.handle_entries(&mut self.world.cx(), 7, source, record, from, entries);
        self.judged()
    }

    fn judged(&mut self) -> (Verdict, Vec<CatalogEvent>) {
        let mut verdicts = Vec::new();
        let mut events = self.settle();
        events.retain(|event| match event {
            CatalogEvent::Judged { ticket, verdict } => {
                assert_eq!(*ticket, 7);
                verdicts.push(*verdict);
                false
            }
            _ => true,
        });
        assert_eq!(verdicts.len(), 1, "judged exactly once");
        (verdicts[0], events)
    }

    /// Misbehaviour points of the peer everything comes from.
    pub(super) fn offences(&self) -> u32 {
        self.world.peers.views(self.world.now, &self.world.config).first().map_or(u32::MAX, |view| view.offences)
    }

    pub(super) fn advance(&mut self, by: Duration) -> Vec<CatalogEvent> {
        self.world.advance(by);
        self.catalog.handle_timeout(&mut self.world.cx());
        let events = self.settle();
        assert!(self.catalog.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
        events
    }

    /// `name@version` of every release, in the order of the catalogue.
    pub(super) fn releases(&self) -> Vec<String> {
        self.catalog.releases().map(|release| label(release)).collect()
    }

    pub(super) fn log_of(&self, publisher: PublisherId) -> Option<&Log> {
        self.catalog.logs.get(&publisher)
    }

    /// What must hold at any time.
    pub(super) fn assert_sound(&self) {
        for (publisher, log) in &self.catalog.logs {
            let mut tip = publisher.0;
            let mut tree = Tree::default();
            for (position, entry) in log.entries().iter().enumerate() {
                let release = &entry.release.release;
                assert_eq!((release.position, release.previous), (position as u64, tip));
                assert_eq!(release.publisher, *publisher);
                tip = entry.digest();
                tree.push(&tip.0);
            }
            assert!(log.len() <= log.record.head.length);
            if log.is_complete() {
                assert_eq!((tip, tree.root()), (log.record.head.tip, log.record.head.root));
            }
        }
    }
}

pub(super) fn label(release: &Arc<ReleaseInfo>) -> String {
    let meta = &release.release.meta;
    [meta.name.as_str(), &meta.version.text].join("@").to_string()
}

/// The admitted releases among events.
pub(super) fn admitted(events: &[CatalogEvent]) -> Vec<String> {
    let release = |event: &CatalogEvent| match event {
        CatalogEvent::Admitted { release, .. } => Some(label(release)),
        _ => None,
    };
    events.iter().filter_map(release).collect()
}

/// How often the catalogue said that it lacks something.
pub(super) fn behind(events: &[CatalogEvent]) -> usize {
    events.iter().filter(|event| matches!(event, CatalogEvent::Behind { .. })).count()
}
