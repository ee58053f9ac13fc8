//! Searches by packet script: what peers send, and what they do instead of telling the truth.

use alloc::string::String;
use alloc::vec;
use core::slice;

use bytes::Bytes;

use super::*;
use crate::action::Action;
use crate::catalog::record::HeadRecord;
use crate::catalog::{Catalog, CatalogEvent, Change, Deprecation, Name, PackageSpec, proven};
use crate::config::Config;
use crate::event::{Event, Refusal};
use crate::fuzzing::TestWorld;
use crate::fuzzing::author::{Author, amendment, release};
use crate::id::{PeerId, Token};
use crate::input::StoreResult;
use crate::search::Index;
use crate::wire::Kind;
use crate::wire::registry::{Found, FoundRelease, FoundWord, MAX_WORDS};

/// A peer's catalogue and index.
struct Holder {
    world: TestWorld,
    catalog: Catalog,
    index: Index,
    server: Server,
    asker: PeerIx,
}

fn config() -> Config {
    let mut config = Config { network: "test".into(), ..Config::default() };
    config.peers.min_connections = 0;
    config
}

impl Holder {
    fn new(authors: &[Author]) -> Self {
        let mut world = TestWorld::new(config());
        let asker = world.connect(1);
        let catalog = Catalog::new(&mut world.cx());
        let mut holder = Self { world, catalog, index: Index::default(), server: Server::default(), asker };
        authors.iter().for_each(|author| holder.take(author));
        holder
    }

    fn take(&mut self, author: &Author) {
        self.take_run(author, 0, author.statements.len());
    }

    fn take_run(&mut self, author: &Author, from: usize, count: usize) {
        let run = author.statements.iter().skip(from).take(count).cloned().collect();
        let cx = &mut self.world.cx();
        self.catalog.handle_entries(cx, 1, self.asker, author.record(), from as u64, run);
        loop {
            while let Some(event) = self.catalog.poll_event() {
                if let CatalogEvent::Admitted { publisher, update: Some((_, release)) } = event {
                    let name = &release.release.meta.name;
                    match self.catalog.current(publisher, name).and_then(|at| self.catalog.release(publisher, at)) {
                        Some(current) => self.index.insert(&[&current.release]),
                        None => self.index.remove(name, publisher),
                    }
                }
            }
            let Some(action) = self.world.out.pop() else { return };
            let cx = &mut self.world.cx();
            if let Action::Verify { job, .. } = action {
                self.catalog.handle_verified(cx, job, true);
            } else if let Action::Store { op, .. } = action {
                self.catalog.handle_stored(cx, op, StoreResult::Done);
            }
        }
    }

    /// What it answers; `None` when it refuses to.
    fn ask(&mut self, msg: &RegistryMessage) -> Option<Found> {
        let cx = &mut self.world.cx();
        self.server.handle_request(cx, &self.catalog, &self.index, self.asker, Token(1), msg);
        let answer = |action| if let Action::Respond { msg, .. } = action { Some(msg) } else { None };
        let msg = self.world.actions().into_iter().find_map(answer).expect("always answered")?;
        if let RegistryMessage::Found(found) = registry(&msg) { Some(found) } else { panic!("{msg:?}") }
    }

    fn page(&self, text: &str) -> SearchPage {
        self.index.page(&query(text), |publisher, position| self.catalog.release(publisher, position)).unwrap()
    }
}

/// A light node's machine in its surroundings.
struct Bench {
    world: TestWorld,
    light: Light,
}

type Asked = (RequestId, PeerId, RegistryMessage);

impl Bench {
    fn new(peers: u64) -> Self {
        let mut bench = Self { world: TestWorld::new(config()), light: Light::default() };
        (1..=peers).for_each(|n| bench.connect(n));
        bench
    }

    fn connect(&mut self, n: u64) {
        let peer = self.world.connect(n);
        self.light.handle_peer_up(&mut self.world.cx(), peer);
    }

    fn search(&mut self, text: &str) -> Vec<Asked> {
        let parsed = ParsedQuery::new(&query(text)).unwrap();
        self.light.search(&mut self.world.cx(), OpId(1), query(text), parsed);
        self.asked()
    }

    fn find(&mut self, spec: PackageSpec) -> Vec<Asked> {
        self.light.find(&mut self.world.cx(), OpId(1), spec);
        self.asked()
    }

    fn asked(&mut self) -> Vec<Asked> {
        self.actions(true).0
    }

    /// Requests and offences; signatures hold or not.
    fn actions(&mut self, hold: bool) -> (Vec<Asked>, Vec<(PeerId, Offence)>) {
        let (mut asked, mut charged) = (vec![], vec![]);
        while let Some(action) = self.world.out.pop() {
            if let Action::Request { id, peer, msg } = action {
                asked.push((id, peer, registry(&msg)));
            } else if let Action::Verify { job, .. } = action {
                self.light.handle_verified(&mut self.world.cx(), job, hold);
            } else if let Action::Emit(Event::PeerMisbehaved { peer, offence, .. }) = action {
                charged.push((peer, offence));
            }
        }
        (asked, charged)
    }

    fn answer(&mut self, id: RequestId, found: Found) {
        self.light.handle_response(&mut self.world.cx(), id, &RegistryMessage::Found(found));
    }

    fn wake(&mut self) -> Vec<Asked> {
        let by = self.light.next_deadline().expect("something waits").since(self.world.now);
        self.world.advance(by);
        self.light.handle_timeout(&mut self.world.cx());
        assert!(self.light.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
        self.asked()
    }

    fn event(&mut self) -> Option<LightEvent> {
        self.actions(true);
        self.light.poll_event()
    }

    fn page(&mut self) -> SearchPage {
        match self.event() {
            Some(LightEvent::Searched { op: OpId(1), page }) => page,
            other => panic!("{other:?}"),
        }
    }
}

fn registry(msg: &crate::Message) -> RegistryMessage {
    if let Kind::Registry(msg) = &msg.0 { RegistryMessage::clone(msg) } else { panic!("{msg:?}") }
}

fn query(text: &str) -> Query {
    Query { text: text.into(), limit: 10, ..Query::default() }
}

fn spec(publisher: Option<PublisherId>, name: &str) -> PackageSpec {
    PackageSpec { publisher, name: Name::new(name).unwrap(), version: None }
}

fn author(seed: u8, releases: &[(&str, &str, &str)]) -> Author {
    let mut author = Author::unsigned(seed);
    for (name, version, summary) in releases {
        let mut new = release(name, version);
        new.summary = String::from(*summary);
        author.say(new);
    }
    author
}

fn authors() -> Vec<Author> {
    vec![
        author(1, &[("http-client", "1.0.0", "asks servers"), ("http-server", "1.0.0", "answers clients")]),
        author(2, &[("socket", "0.1.0", "a pipe for http"), ("socket", "0.2.0", "a pipe for http")]),
        author(3, &[("paint", "2.0.0", "brushes and colours")]),
    ]
}

fn stale() -> Holder {
    Holder::new(&[author(2, &[("socket", "0.1.0", "a pipe for http")])])
}

fn names(page: &SearchPage) -> Vec<String> {
    let name = |hit: &crate::search::Hit| {
        let meta = &hit.release.release.meta;
        alloc::format!("{}@{}", meta.name, meta.version.text)
    };
    page.hits.iter().map(name).collect()
}

const HTTP: [&str; 3] = ["http-client@1.0.0", "http-server@1.0.0", "socket@0.2.0"];

#[test]
fn what_peers_agree_on_is_ranked_as_they_rank_it() {
    let mut holder = Holder::new(&authors());
    let mut bench = Bench::new(8);
    let asked = bench.search("http");
    assert_eq!(asked.len(), WANTED);
    for (id, _, msg) in &asked {
        bench.answer(*id, holder.ask(msg).unwrap());
    }
    let page = bench.page();
    assert_eq!(names(&page), HTTP);
    assert_eq!(page, holder.page("http"));
    assert!(page.complete && bench.light.gatherings.is_empty() && bench.light.next_deadline().is_none());
}

#[test]
fn forged_releases_are_never_shown_and_another_peer_is_asked() {
    let mut holder = Holder::new(&authors());
    let mut bench = Bench::new(6);
    let asked = bench.search("http");
    let forged = Holder::new(&[author(9, &[("http", "6.6.6", "http http http")])]).ask(&asked[0].2).unwrap();
    bench.answer(asked[0].0, forged);
    let (instead, charged) = bench.actions(false);
    assert_eq!(charged, [(asked[0].1, Offence::BadSignature)]);
    assert_eq!(instead.len(), 1);
    for (id, _, msg) in asked[1..].iter().chain(&instead) {
        bench.answer(*id, holder.ask(msg).unwrap());
    }
    let page = bench.page();
    assert_eq!(names(&page), HTTP);
    assert!(page.complete);
}

#[test]
fn what_does_not_answer_the_query_or_does_not_parse_is_charged() {
    let mut holder = Holder::new(&authors());
    let paint = holder.ask(&RegistryMessage::Find(spec(Some(authors()[2].id()), "paint"))).unwrap();
    for kind in 0..4 {
        let mut bench = Bench::new(1);
        let (id, peer, msg) = bench.search("http").remove(0);
        let (truth, paint) = (holder.ask(&msg).unwrap(), paint.clone());
        let first = truth.releases[0].clone();
        let wrong = match kind {
            0 => Found { statistics: truth.statistics, ..paint },
            1 => Found { records: paint.records, ..truth },
            2 => {
                let envelope = Bytes::from_static(b"no envelope");
                Found { releases: vec![FoundRelease { envelope, ..first }], ..truth }
            }
            _ => Found { releases: vec![FoundRelease { record: 77, ..first }], ..truth },
        };
        bench.answer(id, wrong);
        let (_, charged) = bench.actions(true);
        assert_eq!(charged.len(), 1, "{kind}");
        assert_eq!(charged[0].0, peer);
        let Some(LightEvent::Failed { error, .. }) = bench.event() else { panic!("nobody else to ask") };
        assert_eq!(error, OpError::Timeout { asked: 1, answered: 0 });
    }
}

#[test]
fn the_highest_version_of_all_answers_is_shown_and_disagreement_is_told() {
    let (mut holder, mut stale) = (Holder::new(&authors()), stale());
    let mut bench = Bench::new(5);
    for (at, (id, _, msg)) in bench.search("http").into_iter().enumerate() {
        let found = if at < 2 { stale.ask(&msg) } else { holder.ask(&msg) };
        bench.answer(id, found.unwrap());
    }
    let page = bench.page();
    assert_eq!(names(&page), HTTP);
    assert!(!page.complete);
}

/// Two versions of a package, then what is said of them.
fn said(words: &[(Option<&str>, Change)]) -> Author {
    let mut author = author(7, &[("tool", "1.0.0", "cuts"), ("tool", "2.0.0", "cuts")]);
    for (version, change) in words {
        author.say(amendment("tool", *version, change.clone()));
    }
    author
}

fn yank() -> Change {
    Change::Yank { reason: "broken".into() }
}

fn deprecation() -> Deprecation {
    Deprecation { message: "use a knife".into(), replacement: None }
}

/// What a light node resolves when one peer holds the whole log and four others only the beginning, or hide the rest.
fn resolve_beside_four(whole: &Author, begun: &Author, version: Option<&str>) -> Result<Arc<ReleaseInfo>, OpError> {
    let (mut holder, mut others) = (Holder::new(slice::from_ref(whole)), Holder::new(slice::from_ref(begun)));
    let mut bench = Bench::new(5);
    let spec = PackageSpec { version: version.map(Into::into), ..spec(Some(whole.id()), "tool") };
    for (at, (id, _, msg)) in bench.find(spec).into_iter().enumerate() {
        let found = if at == 2 { holder.ask(&msg) } else { others.ask(&msg) };
        bench.answer(id, found.unwrap());
    }
    match bench.event() {
        Some(LightEvent::Resolved { release, .. }) => Ok(release),
        Some(LightEvent::Failed { error, .. }) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_peer_that_shows_a_yank_is_enough_for_a_bare_name() {
    let before = said(&[]);
    let yanked = said(&[(Some("2.0.0"), yank())]);
    let version = |release: Result<Arc<ReleaseInfo>, OpError>| release.map(|it| it.release.meta.version.text.clone());
    assert_eq!(version(resolve_beside_four(&before, &before, None)), Ok("2.0.0".into()));
    assert_eq!(version(resolve_beside_four(&yanked, &before, None)), Ok("1.0.0".into()));
    assert_eq!(version(resolve_beside_four(&yanked, &before, Some("^1"))), Ok("1.0.0".into()));
    assert_eq!(resolve_beside_four(&yanked, &before, Some("^2")), Err(OpError::Refused(Refusal::Yanked)));
    let named = resolve_beside_four(&yanked, &before, Some("2.0.0")).unwrap();
    assert_eq!(named.status.yanked.as_deref(), Some("broken"), "had with a warning");
    let both = said(&[(Some("2.0.0"), yank()), (Some("1.0.0"), yank())]);
    assert_eq!(resolve_beside_four(&both, &before, None), Err(OpError::Refused(Refusal::Yanked)));
    let again = said(&[(Some("2.0.0"), yank()), (Some("2.0.0"), Change::Unyank)]);
    assert_eq!(version(resolve_beside_four(&again, &yanked, None)), Ok("2.0.0".into()), "the later word counts");
}

#[test]
fn one_peer_that_shows_a_deprecation_is_enough() {
    let deprecated = |words: &[(Option<&str>, Change)], begun: &Author| {
        resolve_beside_four(&said(words), begun, None).unwrap().status.deprecated.clone()
    };
    let (before, whole) = (said(&[]), said(&[(None, Change::Deprecate(deprecation()))]));
    assert_eq!(deprecated(&[(None, Change::Deprecate(deprecation()))], &before), Some(deprecation()));
    assert_eq!(deprecated(&[(Some("2.0.0"), Change::Deprecate(deprecation()))], &before), Some(deprecation()));
    assert_eq!(deprecated(&[(Some("1.0.0"), Change::Deprecate(deprecation()))], &before), None, "of another version");
    let undone = [(None, Change::Deprecate(deprecation())), (None, Change::Undeprecate)];
    assert_eq!(deprecated(&undone, &whole), None, "the later word counts");
}

#[test]
fn a_search_shows_what_is_not_yanked_and_marks_what_is_deprecated() {
    let words = [(Some("2.0.0"), yank()), (None, Change::Deprecate(deprecation()))];
    let (mut holder, mut others) = (Holder::new(&[said(&words)]), Holder::new(&[said(&[])]));
    let mut bench = Bench::new(5);
    for (at, (id, _, msg)) in bench.search("cuts").into_iter().enumerate() {
        let found = if at == 4 { holder.ask(&msg) } else { others.ask(&msg) };
        bench.answer(id, found.unwrap());
    }
    let page = bench.page();
    assert_eq!(names(&page), ["tool@1.0.0"]);
    assert_eq!(page.hits[0].release.status.deprecated, Some(deprecation()));
    assert!(!page.complete);
    assert_eq!(page.hits, holder.page("cuts").hits, "as whoever knows all shows it");
}

#[test]
fn words_that_are_forged_or_about_something_else_are_charged() {
    let mut holder = Holder::new(&[said(&[(Some("2.0.0"), yank())])]);
    let mut stranger = Author::unsigned(8);
    stranger.append("tool", "2.0.0").say(amendment("tool", Some("2.0.0"), yank()));
    let other = said(&[]).say(amendment("saw", Some("2.0.0"), yank())).statements[2].clone();
    let release = said(&[]).statements[0].clone();
    for (what, envelope, hold) in [
        ("another publisher's", stranger.statements[1].clone(), true),
        ("of another package", other, true),
        ("no amendment", release, true),
        ("not signed", said(&[(Some("2.0.0"), yank())]).statements[2].clone(), false),
    ] {
        let mut bench = Bench::new(1);
        let (id, peer, msg) = bench.find(spec(Some(said(&[]).id()), "tool")).remove(0);
        let truth = holder.ask(&msg).unwrap();
        assert_eq!((truth.releases.len(), truth.words.len()), (1, 1));
        bench.answer(id, Found { words: vec![FoundWord { record: 0, envelope }], ..truth });
        let (_, charged) = bench.actions(hold);
        assert_eq!(charged.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [peer], "{what}");
    }
}

#[test]
fn words_are_as_many_as_there_is_room_for() {
    let mut author = Author::unsigned(7);
    for n in 0..2 * MAX_WORDS {
        author.append("tool", &alloc::format!("1.{n}.0"));
    }
    for n in 1..2 * MAX_WORDS {
        author.say(amendment("tool", Some(&alloc::format!("1.{n}.0")), yank()));
    }
    let mut holder = Holder::new(&[]);
    for from in (0..author.statements.len()).step_by(100) {
        holder.take_run(&author, from, 100);
    }
    let found = holder.ask(&RegistryMessage::Find(spec(Some(author.id()), "tool"))).unwrap();
    assert_eq!((found.releases.len(), found.words.len()), (1, MAX_WORDS));
    assert_eq!(found.words[0].envelope, *author.statements.last().unwrap(), "the highest first");
}

#[test]
fn statistics_are_those_of_the_majority() {
    let mut holder = Holder::new(&authors());
    let mut bench = Bench::new(5);
    let asked = bench.search("http pipe");
    for (at, (id, _, msg)) in asked.iter().enumerate() {
        let mut found = holder.ask(msg).unwrap();
        if at < 2 {
            found.statistics.documents = u64::MAX;
            found.statistics.lengths = [u64::MAX; 5];
            found.statistics.meanings.iter_mut().for_each(|meaning| meaning.documents = 1 + at as u64);
            found.statistics.names = vec!["paint".into()];
            found.releases.iter_mut().for_each(|release| release.dependents = u32::MAX);
        }
        bench.answer(*id, found);
    }
    assert_eq!(bench.page(), holder.page("http pipe"));
}

#[test]
fn with_few_peers_a_page_is_incomplete() {
    let mut holder = Holder::new(&authors());
    let mut bench = Bench::new(2);
    for (id, _, msg) in bench.search("http") {
        bench.answer(id, holder.ask(&msg).unwrap());
    }
    let page = bench.page();
    assert_eq!((page.hits.len(), page.complete), (3, false));
}

#[test]
fn slow_peers_are_hedged_and_not_waited_for_for_ever() {
    let mut holder = Holder::new(&authors());
    let mut bench = Bench::new(20);
    let asked = bench.search("http");
    bench.answer(asked[0].0, holder.ask(&asked[0].2).unwrap());
    assert!(bench.event().is_none());
    let further = bench.wake();
    assert_eq!(further.len(), WANTED - 1);
    for (id, ..) in &further {
        bench.light.handle_request_failed(&mut bench.world.cx(), *id);
    }
    let last = bench.asked();
    assert_eq!(asked.len() + further.len() + last.len(), MAX_ASKED);
    bench.wake();
    let page = bench.page();
    assert_eq!((page.hits.len(), page.complete), (3, false));
    bench.answer(asked[1].0, holder.ask(&asked[1].2).unwrap());
    assert!(bench.event().is_none(), "too late is ignored");
}

#[test]
fn without_peers_it_fails_and_with_an_entrance_it_waits_for_one() {
    let mut bench = Bench::new(0);
    assert!(bench.search("http").is_empty());
    assert!(matches!(bench.event(), Some(LightEvent::Failed { error: OpError::NoPeers, .. })));
    bench.world.peers.add_bootstrap(bench.world.now, &bench.world.config, &mut bench.world.out, TestWorld::addr(7));
    assert!(bench.search("http").is_empty() && bench.event().is_none());
    bench.connect(7);
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn names_are_resolved_to_the_highest_version_and_bare_ones_by_what_was_shown() {
    let publisher = authors()[1].id();
    let (mut holder, mut stale) = (Holder::new(&authors()), stale());
    let mut bench = Bench::new(5);
    assert!(bench.find(spec(None, "socket")).is_empty());
    assert!(matches!(bench.event(), Some(LightEvent::Failed { error: OpError::NotFound, .. })));
    for (version, expected) in [(None, "0.2.0"), (Some("0.1.0".into()), "0.1.0")] {
        let asked = bench.find(PackageSpec { version, ..spec(Some(publisher), "socket") });
        assert_eq!(asked.len(), WANTED);
        for (at, (id, _, msg)) in asked.into_iter().enumerate() {
            let found = if at == 3 { holder.ask(&msg) } else { stale.ask(&msg) };
            bench.answer(id, found.unwrap());
        }
        let Some(LightEvent::Resolved { release, .. }) = bench.event() else { panic!("not resolved") };
        assert_eq!(&*release.release.meta.version.text, expected);
    }
    let asked = bench.find(spec(None, "socket"));
    let question = RegistryMessage::Find(spec(Some(publisher), "socket"));
    assert!(asked.iter().all(|(_, _, msg)| *msg == question) && asked.len() == WANTED);
}

#[test]
fn holders_are_looked_for_when_no_peer_knows_the_name() {
    let publisher = authors()[2].id();
    let (mut holder, mut empty) = (Holder::new(&authors()), Holder::new(&[]));
    let mut bench = Bench::new(2);
    for (id, _, msg) in bench.find(spec(Some(publisher), "paint")) {
        bench.answer(id, empty.ask(&msg).unwrap());
    }
    assert!(matches!(bench.event(), Some(LightEvent::NeedHolders { publisher: of }) if of == publisher));
    let far = bench.world.connect(9);
    bench.light.handle_holders(&mut bench.world.cx(), publisher, &[far]);
    let (id, _, msg) = bench.asked().remove(0);
    bench.answer(id, holder.ask(&msg).unwrap());
    let Some(LightEvent::Resolved { release, .. }) = bench.event() else { panic!("not resolved") };
    assert_eq!(release.release.meta.name.as_str(), "paint");
}

#[test]
fn a_flood_of_searches_is_answered_with_nothing_and_charged() {
    let mut holder = Holder::new(&authors());
    let msg = RegistryMessage::Search(Query { limit: usize::MAX, ..query("http") });
    let served = (0..200).filter(|_| holder.ask(&msg).is_some()).count();
    assert_eq!(served, 80);
    assert!(holder.world.peers.is_banned(holder.world.now, holder.asker));
}

#[test]
fn a_release_must_lie_below_the_head_that_vouches_for_it() {
    let whole = author(1, &[("a", "1.0.0", "one"), ("b", "1.0.0", "two")]);
    let begun = author(1, &[("a", "1.0.0", "one")]);
    let other = author(1, &[("a", "1.0.0", "another one")]);
    let stranger = author(2, &[("a", "1.0.0", "one")]);
    let open = |record: &Author, statement: &Author, at: usize, network: &str| {
        let (record, _) = HeadRecord::open(&record.record()).unwrap();
        proven::release(network, &record, &statement.statements[at]).is_ok()
    };
    assert!(open(&whole, &whole, 0, "test") && open(&whole, &whole, 1, "test"));
    assert!(!open(&begun, &whole, 1, "test"), "after the head");
    assert!(!open(&begun, &other, 0, "test"), "not the tip");
    assert!(!open(&stranger, &begun, 0, "test"), "of another publisher");
    assert!(!open(&whole, &whole, 0, "main"), "of another network");
}
