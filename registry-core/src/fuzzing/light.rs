//! Searches of peers that come, go, answer anything, twice, late or not at all.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::author::{Author, amendment, release};
use super::{Choices, TestWorld};
use crate::action::Action;
use crate::catalog::{Change, Deprecation, Name, PackageSpec};
use crate::config::Config;
use crate::id::{Digest, JobId, OpId, RequestId};
use crate::light::{Light, LightEvent};
use crate::search::{Meaning, ParsedQuery, Query, Statistics};
use crate::time::Duration;
use crate::wire::registry::{Found, FoundRelease, FoundWord, RegistryMessage};

const PEERS: u64 = 8;

/// Each author has so many, and then as many amendments.
const RELEASES: usize = 3;

/// The machine, and what it still waits for.
struct Bench {
    world: TestWorld,
    light: Light,
    open: Vec<RequestId>,
    jobs: Vec<JobId>,
    running: BTreeSet<OpId>,
    /// Statements whose signatures were said to hold.
    held: BTreeSet<Digest>,
    /// What each job is about.
    verifying: BTreeMap<JobId, Vec<Digest>>,
}

impl Bench {
    /// `answered`: the statements of the answer just given.
    fn observe(&mut self, answered: &[Digest]) {
        for action in self.world.actions() {
            if let Action::Request { id, .. } = action {
                self.open.push(id);
            } else if let Action::Verify { job, .. } = action {
                self.jobs.push(job);
                self.verifying.insert(job, answered.to_vec());
            }
        }
        while let Some(event) = self.light.poll_event() {
            let op = match event {
                LightEvent::Searched { op, page } => {
                    for hit in &page.hits {
                        assert!(self.held.contains(&hit.release.statement), "shown and not verified");
                        assert_eq!(hit.release.status.yanked, None, "picked and yanked");
                    }
                    op
                }
                LightEvent::Resolved { op, release } => {
                    assert!(self.held.contains(&release.statement), "shown and not verified");
                    assert_eq!(release.status.yanked, None, "picked and yanked");
                    op
                }
                LightEvent::Failed { op, .. } => op,
                LightEvent::NeedHolders { .. } => continue,
            };
            assert!(self.running.remove(&op), "ended twice");
        }
        assert!(self.light.next_deadline().is_none_or(|next| next > self.world.now), "spinning");
    }
}

fn statistics(choices: &mut Choices<'_>) -> Statistics {
    let meaning = |choices: &mut Choices<'_>| Meaning {
        word: choices.byte().into(),
        term: ["thing", "thinks", ""][choices.below(3) as usize].into(),
        documents: choices.u64(),
    };
    let meanings = (0..choices.below(4)).map(|_| meaning(choices)).collect();
    let names = vec!["thing".into(); choices.below(3) as usize];
    let lengths = [(); 5].map(|()| choices.u64());
    Statistics { documents: choices.u64(), lengths, meanings, named: choices.u64(), begun: choices.u64(), names }
}

fn found(choices: &mut Choices<'_>, authors: &[Author]) -> Found {
    let envelope = |choices: &mut Choices<'_>, from: usize| {
        let author = &authors[choices.below(authors.len() as u64) as usize];
        let envelope = author.statements[from + choices.below(RELEASES as u64) as usize].clone();
        if choices.byte() == 0 { Bytes::from_static(b"nothing") } else { envelope }
    };
    let release = |choices: &mut Choices<'_>| {
        let from = usize::from(choices.byte() == 0);
        let envelope = envelope(choices, from);
        FoundRelease { record: choices.below(3), envelope, dependents: choices.byte().into() }
    };
    let word = |choices: &mut Choices<'_>| {
        let from = RELEASES - usize::from(choices.byte() == 0);
        let envelope = envelope(choices, from);
        FoundWord { record: choices.below(3), envelope }
    };
    let releases = (0..choices.below(4)).map(|_| release(choices)).collect();
    let words = (0..choices.below(4)).map(|_| word(choices)).collect();
    let records = authors.iter().map(Author::record).take(choices.below(4) as usize).collect();
    Found { statistics: statistics(choices), records, releases, words }
}

/// Every search and every name asked for ends exactly once; nothing is shown whose signatures were not said to hold.
pub fn light(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut config = Config { network: "test".into(), ..Config::default() };
    config.peers.min_connections = 0;
    config.peers.ban_threshold = u32::MAX;
    let authors = [1, 2].map(|seed| {
        let mut author = Author::unsigned(seed);
        author.say(release("thing", "1.0.0")).say(release("thing", "1.1.0")).say(release("other", "1.0.0"));
        let yank = Change::Yank { reason: String::new() };
        author.say(amendment("thing", Some("1.1.0"), yank)).say(amendment("thing", Some("1.1.0"), Change::Unyank));
        let deprecation = Deprecation { message: "no longer".into(), replacement: None };
        author.say(amendment("thing", None, Change::Deprecate(deprecation)));
        author
    });
    let mut bench = Bench {
        world: TestWorld::new(config),
        light: Light::default(),
        open: Vec::new(),
        jobs: Vec::new(),
        running: BTreeSet::new(),
        held: BTreeSet::new(),
        verifying: BTreeMap::new(),
    };
    let mut ops = 0;
    while !choices.is_empty() {
        let peer = bench.world.peers.intern(TestWorld::peer_id(choices.below(PEERS)));
        let mut answered = Vec::new();
        match choices.below(9) {
            0 => {
                let peer = bench.world.connect(choices.below(PEERS));
                bench.light.handle_peer_up(&mut bench.world.cx(), peer);
            }
            1 => {
                bench.world.disconnect(peer);
                bench.light.handle_peer_down(peer);
            }
            2 => {
                ops += 1;
                let query = Query { text: "thing".into(), limit: 5, ..Query::default() };
                let parsed = ParsedQuery::new(&query).expect("a query");
                bench.running.insert(OpId(ops));
                bench.light.search(&mut bench.world.cx(), OpId(ops), query, parsed);
            }
            3 => {
                ops += 1;
                let publisher = (choices.byte() & 1 == 0).then(|| authors[0].id());
                let spec = PackageSpec { publisher, name: Name::new("thing").expect("a name"), version: None };
                bench.running.insert(OpId(ops));
                bench.light.find(&mut bench.world.cx(), OpId(ops), spec);
            }
            4 | 5 => {
                let id = bench.open.pop().unwrap_or(RequestId(choices.u64()));
                let found = found(&mut choices, &authors);
                let bodies = found.releases.iter().filter_map(|release| {
                    crate::catalog::Envelope::decode(&release.envelope, release.envelope.len()).ok()
                });
                answered = bodies.map(|envelope| envelope.digest()).collect();
                bench.light.handle_response(&mut bench.world.cx(), id, &RegistryMessage::Found(found));
            }
            6 => {
                let id = bench.open.pop().unwrap_or(RequestId(choices.u64()));
                bench.light.handle_request_failed(&mut bench.world.cx(), id);
            }
            7 => {
                let job = bench.jobs.pop().unwrap_or(JobId(choices.u64()));
                let holds = choices.byte() & 3 != 0;
                let about = bench.verifying.remove(&job).unwrap_or_default();
                bench.held.extend(about.into_iter().filter(|_| holds));
                bench.light.handle_verified(&mut bench.world.cx(), job, holds);
            }
            _ => {
                bench.light.handle_holders(&mut bench.world.cx(), authors[0].id(), &[peer]);
                bench.observe(&[]);
                bench.world.advance(Duration::from_millis(choices.below(1 << 13)));
                bench.light.handle_timeout(&mut bench.world.cx());
            }
        }
        bench.observe(&answered);
    }
    while bench.light.next_deadline().is_some() {
        bench.world.advance(Duration::from_secs(1));
        bench.light.handle_timeout(&mut bench.world.cx());
        bench.observe(&[]);
    }
    assert!(bench.running.is_empty(), "something never ends");
}

#[cfg(test)]
mod tests {
    #[test]
    fn survives_arbitrary_peers() {
        super::super::run(160, super::light);
    }
}
