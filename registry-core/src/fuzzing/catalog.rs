//! The catalogue: its parsers on any bytes, and the machine under publishers, peers and a shell that do anything.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use bytes::Bytes;

use super::author::{Author, amendment, release};
use super::{Choices, TestWorld};
use crate::action::{Action, StoreRequest, Table, Write};
use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::{Envelope, SIGNATURE_LEN};
use crate::catalog::log::Conflict;
use crate::catalog::proof::Proof;
use crate::catalog::statement::MAX_STATEMENT;
use crate::catalog::{
    Catalog, CatalogEvent, Change, Deprecation, Head, Inception, Order, PackageSpec, Says, Scheme, Statement, Version,
    Wish, record,
};
use crate::config::Config;
use crate::event::BatchOutcome;
use crate::id::{JobId, OpId, PublisherId, StoreId};
use crate::input::{Row, StoreError, StoreResult};
use crate::time::Duration;

/// Every parser of the catalogue: no bytes panic, and what is accepted has this one encoding.
pub fn catalog_parsers(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(envelope) = Envelope::decode(&bytes, MAX_STATEMENT) {
        assert_eq!(envelope.encode(), bytes);
    }
    if let Ok(announcement) = Announcement::decode(&bytes) {
        assert_eq!(announcement.encode(), bytes);
    }
    if let Ok((proof, checks)) = Proof::open("test", &bytes) {
        assert!(!checks.is_empty() && proof.bytes == bytes);
    }
    if let Ok(inception) = Inception::from_body(data) {
        assert_eq!(inception.to_body(), Ok(bytes.clone()));
    }
    if let Ok(head) = Head::from_body(data) {
        assert_eq!(head.to_body(), bytes);
    }
    if let Ok(statement) = Statement::from_body(data, "test") {
        assert_eq!(statement.to_body("test"), bytes);
    }
    assert!(record::check(b"/wharf/x", data).is_err());
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(spec) = PackageSpec::parse(text) {
        assert_eq!(PackageSpec::parse(&format!("{spec}")), Ok(spec));
    }
    let (a, b) = text.split_once(' ').unwrap_or((text, text));
    for scheme in [Scheme::Opaque, Scheme::Debian, Scheme::Semver] {
        if let (Ok(a), Ok(b)) = (Version::new(a, scheme), Version::new(b, scheme)) {
            assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            assert_eq!(a.cmp(&b).is_eq(), a == b);
        }
    }
}

/// A catalogue, the shell under it, and what is known from outside.
struct Bench {
    world: TestWorld,
    catalog: Catalog,
    /// The first one is the local publisher.
    authors: Vec<Author>,
    disk: BTreeMap<(Table, Bytes), Bytes>,
    signing: VecDeque<JobId>,
    verifying: VecDeque<JobId>,
    storing: VecDeque<(StoreId, Vec<Write>)>,
    tickets: BTreeSet<u64>,
    publishing: BTreeSet<OpId>,
    next: u64,
    /// Somebody was followed: then there may be more publishers than the budget says.
    follows: bool,
    /// Statements told of, by publisher.
    admitted: BTreeMap<PublisherId, u64>,
    /// By author, the statement that was taken back last, and its place.
    retracted: BTreeMap<usize, (usize, Bytes)>,
}

impl Bench {
    fn new() -> Self {
        let mut config = Config { network: "test".into(), ..Config::default() };
        config.peers.ban_threshold = u32::MAX;
        config.catalog.max_publishers = 4;
        config.catalog.max_statements_per_publisher = 6;
        let mut world = TestWorld::new(config);
        let authors: Vec<_> = (0..7).map(Author::unsigned).collect();
        world.local.publisher = authors.first().map(|author| author.publisher.clone());
        let catalog = Catalog::new(&mut world.cx());
        Self {
            world,
            catalog,
            authors,
            disk: BTreeMap::new(),
            signing: VecDeque::new(),
            verifying: VecDeque::new(),
            storing: VecDeque::new(),
            tickets: BTreeSet::new(),
            publishing: BTreeSet::new(),
            next: 0,
            follows: false,
            admitted: BTreeMap::new(),
            retracted: BTreeMap::new(),
        }
    }

    /// What an author has said and taken back, beside what it has said instead, when it has.
    fn proof(&self, n: usize) -> Option<Bytes> {
        let (at, retracted) = self.retracted.get(&n)?;
        let conflict = Conflict(retracted.clone(), self.authors[n].statements.get(*at)?.clone());
        Proof::of("test", &self.authors[n].publisher.inception, &conflict).map(|proof| proof.bytes)
    }

    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.tickets.insert(self.next);
        self.next
    }

    fn observe(&mut self) {
        for action in self.world.actions() {
            match action {
                Action::Sign { job, .. } => self.signing.push_back(job),
                Action::Verify { job, .. } => self.verifying.push_back(job),
                Action::Store { op, request: StoreRequest::Commit(writes) } => self.storing.push_back((op, writes)),
                Action::Emit(_) | Action::Disconnect { .. } => {}
                Action::Store { .. }
                | Action::Send { .. }
                | Action::Respond { .. }
                | Action::Request { .. }
                | Action::Dial { .. }
                | Action::Hash { .. }
                | Action::Merge { .. }
                | Action::SetServerMode(_) => unreachable!("not the catalogue's"),
            }
        }
        while let Some(event) = self.catalog.poll_event() {
            match event {
                CatalogEvent::Judged { ticket, .. } => assert!(self.tickets.remove(&ticket), "judged twice"),
                CatalogEvent::PublishFailed { op, .. } | CatalogEvent::NothingToChange { op, .. } => {
                    assert!(self.publishing.remove(&op), "ended twice");
                }
                CatalogEvent::Announce { op, release, .. } => {
                    assert!(self.publishing.remove(&op), "ended twice");
                    let publisher = release.release.publisher;
                    let record = self.catalog.record(publisher).expect("announced too early");
                    assert!(record::check(&publisher.record_key(), &record).is_ok());
                    let told = self.admitted.get(&publisher).is_some_and(|told| *told > release.release.position);
                    assert!(told, "announced too early");
                }
                CatalogEvent::Admitted { publisher, .. } => {
                    let admitted = self.admitted.entry(publisher).or_default();
                    *admitted += 1;
                    let held = self.catalog.state(publisher).map_or(0, |state| state.length);
                    assert!(*admitted <= held, "admitted twice");
                }
                CatalogEvent::PutOut { publisher, .. } => {
                    assert!(self.catalog.state(publisher).is_none());
                    self.admitted.remove(&publisher);
                }
                CatalogEvent::BatchDone { op, outcomes } => {
                    assert!(self.publishing.remove(&op), "ended twice");
                    let own = self.authors[0].id();
                    for outcome in outcomes {
                        let BatchOutcome::Published { position } = outcome else { continue };
                        let told = self.admitted.get(&own).is_some_and(|told| *told > position);
                        assert!(told, "told too early");
                    }
                }
                CatalogEvent::Forked { publisher, .. } => assert!(self.catalog.is_forked(publisher)),
                CatalogEvent::Behind { .. }
                | CatalogEvent::Refused { .. }
                | CatalogEvent::Signed { .. }
                | CatalogEvent::HeadMoved { .. } => {}
            }
        }
        self.catalog.assert_sound();
        let own = self.authors.first().map(Author::id);
        let others = self.catalog.states(None).filter(|state| Some(state.publisher) != own);
        let lengths: Vec<_> = others.map(|state| state.length).collect();
        assert!(lengths.iter().all(|length| *length <= 6), "within the quotas");
        assert!(lengths.len() <= 4 || self.follows, "within the quotas");
    }

    fn answer_store(&mut self, done: bool) {
        let Some((op, writes)) = self.storing.pop_front() else { return };
        let result = if done {
            for Write { table, key, value } in writes {
                match value {
                    Some(value) => self.disk.insert((table, key), value),
                    None => self.disk.remove(&(table, key)),
                };
            }
            StoreResult::Done
        } else {
            StoreResult::Failed(StoreError::Io)
        };
        self.catalog.handle_stored(&mut self.world.cx(), op, result);
    }

    fn answer_sign(&mut self, signs: bool) {
        if let Some(job) = self.signing.pop_front() {
            let signature = signs.then_some(Bytes::from_static(&[7; SIGNATURE_LEN]));
            self.catalog.handle_signed(&mut self.world.cx(), job, signature);
        }
    }

    fn answer_verify(&mut self, ok: bool) {
        if let Some(job) = self.verifying.pop_front() {
            self.catalog.handle_verified(&mut self.world.cx(), job, ok);
        }
    }

    /// A crash: what is not on disk is lost.
    fn restart(&mut self) {
        self.catalog = Catalog::new(&mut self.world.cx());
        for ((table, key), value) in &self.disk {
            let row = Row { table: *table, key: key.clone(), value: value.clone() };
            self.catalog.handle_recovered(&mut self.world.cx(), row);
        }
        self.signing.clear();
        self.verifying.clear();
        self.storing.clear();
        self.tickets.clear();
        self.publishing.clear();
        let durable: BTreeMap<_, _> = self.catalog.states(None).map(|state| (state.publisher, state.length)).collect();
        let kept = |(publisher, told): (&PublisherId, &u64)| durable.get(publisher).is_some_and(|held| held >= told);
        assert!(self.admitted.iter().all(kept), "whatever was admitted is durable");
        self.admitted = durable;
    }

    /// Answers everything: then everything given to the catalogue must have ended.
    fn settle(&mut self) {
        loop {
            self.observe();
            if !self.verifying.is_empty() {
                self.answer_verify(true);
            } else if !self.signing.is_empty() {
                self.answer_sign(true);
            } else if !self.storing.is_empty() {
                self.answer_store(true);
            } else {
                break;
            }
        }
        assert!(self.tickets.is_empty() && self.publishing.is_empty(), "something never ended");
    }
}

/// A statement about one of eight versions of a package, more often a release.
fn says(name: &str, choices: &mut Choices<'_>) -> Says {
    let choice = choices.byte();
    let version = format!("{}.0.0", choice % 8);
    let deprecation = || Deprecation { message: "no longer".into(), replacement: None };
    match choice >> 3 {
        0..=1 => amendment(name, Some(&version), Change::Yank { reason: String::new() }),
        2 => amendment(name, Some(&version), Change::Unyank),
        3 => amendment(name, Some(&version), Change::Deprecate(deprecation())),
        4 => amendment(name, None, Change::Deprecate(deprecation())),
        5 => amendment(name, Some(&version), Change::Undeprecate),
        6 => amendment(name, None, Change::Undeprecate),
        _ => Says::Release(release(name, &version)),
    }
}

/// Publishers append, amend, retract and contradict themselves; peers tell of it in any order, wholly or in part; the shell
/// answers late, fails or crashes. Logs stay contiguous and linked, each statement is admitted once and only when it is
/// durable, everything is judged once, quotas hold, and nothing spins.
pub fn catalog(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut bench = Bench::new();
    while !choices.is_empty() {
        let what = choices.byte();
        let n = usize::from(what >> 4) % bench.authors.len();
        let source = bench.world.peers.intern(TestWorld::peer_id(u64::from(what >> 6)));
        match what % 16 {
            0..=2 => {
                let says = says("a", &mut choices);
                bench.authors[n].say(says);
            }
            3 => {
                let statements = &bench.authors[n].statements;
                if let Some(last) = statements.last() {
                    bench.retracted.insert(n, (statements.len() - 1, last.clone()));
                }
                bench.authors[n].retract();
            }
            4 | 5 => {
                let announcement = bench.authors[n].announcement(1 + usize::from(what >> 7));
                let ticket = bench.ticket();
                bench.catalog.handle_announcement(&mut bench.world.cx(), ticket, source, announcement);
            }
            6 => {
                let author = &bench.authors[n];
                let from = choices.below(author.len() + 1);
                let count = usize::from(choices.byte() % 4);
                let run = author.statements.iter().skip(from as usize).take(count).cloned().collect();
                let record = author.record();
                let ticket = bench.ticket();
                bench.catalog.handle_entries(&mut bench.world.cx(), ticket, source, record, from, run);
            }
            7 => {
                let head = bench.authors[n].head(1_700_000_000 + choices.below(100));
                let record = bench.authors[n].record_of(&head);
                bench.catalog.handle_head_record(&mut bench.world.cx(), record);
            }
            8 => {
                let mut altered = bench.authors[n].announcement(1).to_vec();
                let at = choices.below(altered.len() as u64) as usize;
                altered[at] ^= choices.byte();
                let ticket = bench.ticket();
                bench.catalog.handle_announcement(&mut bench.world.cx(), ticket, source, altered.into());
            }
            9 | 10 => bench.answer_verify(what & 0x80 == 0),
            11 => bench.answer_sign(what & 0xf0 != 0),
            12 => bench.answer_store(what & 0xf0 != 0),
            13 => {
                let wish = match what >> 6 {
                    0 | 1 => Wish::One(says("own", &mut choices).into()),
                    size => {
                        let version = |_| format!("{}.0.0", choices.below(8));
                        Wish::Batch((0..size).map(version).map(|version| release("own", &version)).collect())
                    }
                };
                let acceptable = match &wish {
                    Wish::One(says) => bench.catalog.check_publish(says).is_ok(),
                    Wish::Batch(_) => true,
                };
                if acceptable {
                    bench.next += 1;
                    let op = OpId(bench.next);
                    bench.publishing.insert(op);
                    bench.catalog.publish(&mut bench.world.cx(), Order { op, wish });
                }
            }
            14 => {
                bench.world.advance(Duration::from_secs(choices.below(1 << 23)));
                bench.catalog.handle_timeout(&mut bench.world.cx());
                assert!(bench.catalog.next_deadline().is_none_or(|next| next > bench.world.now), "spinning");
            }
            _ if what >> 6 == 0 => bench.restart(),
            _ if what >> 6 == 1 => {
                let publisher = bench.authors[n].id();
                bench.follows = true;
                assert_eq!(bench.catalog.follow(&mut bench.world.cx(), publisher, choices.byte() & 1 == 0), Ok(()));
            }
            _ => {
                if let Some(mut proof) = bench.proof(n).map(|proof| proof.to_vec()) {
                    let at = choices.below(proof.len() as u64) as usize;
                    proof[at] ^= choices.byte() & 1;
                    let ticket = bench.ticket();
                    let (cx, proof) = (&mut bench.world.cx(), proof.into());
                    if what >> 6 == 2 {
                        bench.catalog.handle_proof(cx, ticket, source, &proof);
                    } else {
                        bench.catalog.handle_announcement(cx, ticket, source, proof);
                    }
                }
            }
        }
        bench.observe();
    }
    bench.settle();
    bench.restart();
    bench.observe();
}

#[cfg(test)]
mod tests {
    #[test]
    fn parsers_hold_on_random_bytes() {
        crate::fuzzing::run(400, super::catalog_parsers);
    }

    #[test]
    fn the_machine_holds_on_random_operations() {
        crate::fuzzing::run(48, super::catalog);
    }
}
