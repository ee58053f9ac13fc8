//! One catalogue with its disk and its workers, driven by hand.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::signer::{Signer, verify};
use crate::action::{Action, StoreRequest, Table, Write};
use crate::catalog::log::Log;
use crate::catalog::{Catalog, CatalogEvent, NewRelease, Order, ReleaseInfo, Says, UpdateKind, Verdict, Wish};
use crate::config::Config;
use crate::fuzzing::TestWorld;
use crate::fuzzing::author::Author;
use crate::id::{OpId, PeerIx, PublisherId};
use crate::input::{Row, StoreError, StoreResult};
use crate::time::Duration;

/// An author with the keys of `seed`.
pub(super) fn author(seed: u8) -> Author {
    let signer = Signer::new(seed);
    Author::new(signer.publisher.clone(), move |bytes| signer.sign(bytes))
}

pub(super) struct Host {
    pub(super) world: TestWorld,
    pub(super) catalog: Catalog,
    pub(super) signer: Signer,
    pub(super) disk: BTreeMap<(Table, Bytes), Bytes>,
    pub(super) disk_full: bool,
    /// Signature checks asked for.
    pub(super) checks: usize,
    /// Every signature holds: for authors without keys.
    pub(super) trusting: bool,
}

impl Host {
    /// A host whose own publisher, new as well, has the keys of `seed`.
    pub(super) fn new(seed: u8) -> Self {
        let signer = Signer::new(seed);
        let Write { table, key, value } = signer.publisher.origin();
        Self::on_disk(signer, value.map(|value| ((table, key), value)).into_iter().collect())
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
        Self { world, catalog, signer, disk, disk_full: false, checks: 0, trusting: false }
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
                self.checks += checks.len();
                let ok = self.trusting || verify(&checks);
                self.catalog.handle_verified(&mut self.world.cx(), job, ok);
            }
            Action::Store { op, request: StoreRequest::Commit(writes) } => {
                let result = if self.disk_full {
                    StoreResult::Failed(StoreError::Full)
                } else {
                    for Write { table, key, value } in writes {
                        match value {
                            Some(value) => self.disk.insert((table, key), value),
                            None => self.disk.remove(&(table, key)),
                        };
                    }
                    StoreResult::Done
                };
                self.catalog.handle_stored(&mut self.world.cx(), op, result);
            }
            Action::Emit(_) | Action::Disconnect { .. } => {}
            Action::Store { .. }
            | Action::Send { .. }
            | Action::Respond { .. }
            | Action::Request { .. }
            | Action::Dial { .. }
            | Action::Hash { .. }
            | Action::Merge { .. }
            | Action::SetServerMode(_) => panic!("not the catalogue's"),
        }
    }

    /// Performs actions until there are none, and takes the events.
    pub(super) fn settle(&mut self) -> Vec<CatalogEvent> {
        let mut events = self.events();
        while let Some(action) = self.world.out.pop() {
            self.perform(action);
            events.extend(self.events());
        }
        self.catalog.assert_sound();
        events
    }

    pub(super) fn events(&mut self) -> Vec<CatalogEvent> {
        core::iter::from_fn(|| self.catalog.poll_event()).collect()
    }

    pub(super) fn publish(&mut self, op: u64, new: NewRelease) {
        self.say(op, new);
    }

    pub(super) fn say(&mut self, op: u64, says: impl Into<Says>) {
        let order = Order { op: OpId(op), wish: Wish::One(Box::new(says.into())) };
        self.catalog.publish(&mut self.world.cx(), order);
    }

    pub(super) fn publish_batch(&mut self, op: u64, releases: Vec<NewRelease>) {
        self.catalog.publish(&mut self.world.cx(), Order { op: OpId(op), wish: Wish::Batch(releases) });
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
        events.retain(|event| {
            let CatalogEvent::Judged { ticket: 7, verdict } = event else { return true };
            verdicts.push(*verdict);
            false
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
        self.catalog.releases().map(|release| label(&release)).collect()
    }

    pub(super) fn log_of(&self, publisher: PublisherId) -> Option<&Log> {
        self.catalog.logs.get(&publisher)
    }
}

pub(super) fn label(release: &Arc<ReleaseInfo>) -> String {
    let meta = &release.release.meta;
    [meta.name.as_str(), &meta.version.text].join("@").to_string()
}

/// The releases concerned by admitted statements.
pub(super) fn admitted(events: &[CatalogEvent]) -> Vec<String> {
    updates(events).into_iter().map(|(_, release)| release).collect()
}

/// What was changed by admitted statements.
pub(super) fn updates(events: &[CatalogEvent]) -> Vec<(UpdateKind, String)> {
    let update = |event: &CatalogEvent| {
        let CatalogEvent::Admitted { update, .. } = event else { return None };
        update.as_ref().map(|(kind, release)| (*kind, label(release)))
    };
    events.iter().filter_map(update).collect()
}

/// How often the catalogue said that it lacks something.
pub(super) fn behind(events: &[CatalogEvent]) -> usize {
    events.iter().filter(|event| matches!(event, CatalogEvent::Behind { .. })).count()
}
