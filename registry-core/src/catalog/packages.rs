//! All releases by name.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::catalog::amendment::{Amendment, Change};
use crate::catalog::release::{Name, NewRelease, UpdateKind};
use crate::catalog::spec::{PackageSpec, Unresolved};
use crate::catalog::statement::{Says, Statement};
use crate::catalog::version::{self, Version};
use crate::id::{Digest, PublisherId};

/// What all logs together say of each package.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Packages {
    count: usize,
    /// Of each package, in ascending order of version.
    releases: BTreeMap<(Name, PublisherId), Vec<Place>>,
    /// By the position of a release, the latest word on whether it is yanked. There are few.
    yanked: BTreeMap<(PublisherId, u64), Word>,
    /// The same of deprecations.
    deprecated: BTreeMap<(PublisherId, u64), Word>,
    /// The same of a whole package.
    abandoned: BTreeMap<(Name, PublisherId), Word>,
}

/// A statement that marks something, or takes its mark back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Word {
    position: u64,
    marks: bool,
}

/// Packages looked at for one page of a list: bounds the work of one call.
const MAX_LOOKED_AT: usize = 4096;

/// A part of a list of packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// In the order of their names.
    pub packages: Vec<Listed>,
    /// There may be more after this name.
    pub next: Option<Name>,
}

/// A package in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// What is picked when no version is named; when all are yanked, the highest.
    pub version: Version,
    /// How many there are.
    pub versions: u64,
    /// All are yanked.
    pub yanked: bool,
    /// That version, or the whole package.
    pub deprecated: bool,
}

/// A release, without what its statement says of it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) version: Version,
    /// In the publisher's log.
    pub(crate) position: u64,
}

/// Positions of the statements that mark a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) yanked: Option<u64>,
    pub(crate) deprecated: Option<u64>,
}

impl Packages {
    /// Takes in an admitted statement. Tells what that has changed, and the position of the release concerned; of a whole
    /// package, of its highest.
    pub(crate) fn admit(&mut self, statement: &Statement) -> Option<(UpdateKind, u64)> {
        match &statement.says {
            Says::Release(meta) => Some((self.insert(statement, meta), statement.position)),
            Says::Amendment(amendment) => self.amend(statement, amendment),
        }
    }

    fn insert(&mut self, &Statement { publisher, position, .. }: &Statement, meta: &NewRelease) -> UpdateKind {
        // Most packages have one version, and a node knows many.
        let versions = self.releases.entry((meta.name.clone(), publisher)).or_insert_with(|| Vec::with_capacity(1));
        let kind = if versions.is_empty() { UpdateKind::NewPackage } else { UpdateKind::NewVersion };
        let new = (&meta.version, position);
        let at = versions.partition_point(|other| version::cmp_released((&other.version, other.position), new).is_lt());
        versions.insert(at, Place { version: meta.version.clone(), position });
        self.count += 1;
        kind
    }

    fn amend(
        &mut self,
        &Statement { publisher, position, .. }: &Statement,
        amendment: &Amendment,
    ) -> Option<(UpdateKind, u64)> {
        let release = self.concerned(publisher, amendment)?;
        let Amendment { name, version, change } = amendment;
        let package = (name.clone(), publisher);
        let of = (publisher, release);
        let marks = matches!(change, Change::Yank { .. } | Change::Deprecate(_));
        let word = Word { position, marks };
        let marked = match (change, version) {
            (Change::Yank { .. } | Change::Unyank, _) => note(&mut self.yanked, of, word),
            (Change::Deprecate(_) | Change::Undeprecate, Some(_)) => note(&mut self.deprecated, of, word),
            (Change::Deprecate(_) | Change::Undeprecate, None) => note(&mut self.abandoned, package, word),
        };
        let kind = match change {
            Change::Yank { .. } => (!marked).then_some(UpdateKind::Yanked),
            Change::Unyank => marked.then_some(UpdateKind::Unyanked),
            Change::Deprecate(_) => Some(UpdateKind::Deprecated),
            Change::Undeprecate => marked.then_some(UpdateKind::Undeprecated),
        };
        kind.map(|kind| (kind, release))
    }

    /// The position of the release an amendment is about; of a whole package, of its highest.
    pub(crate) fn concerned(&self, publisher: PublisherId, amendment: &Amendment) -> Option<u64> {
        let listed = match &amendment.version {
            Some(version) => self.find(publisher, &amendment.name, version),
            None => self.versions(publisher, &amendment.name).last(),
        };
        listed.map(|listed| listed.position)
    }

    /// Is it not so already? Another message is a change.
    pub(crate) fn would_change(&self, publisher: PublisherId, amendment: &Amendment, release: u64) -> bool {
        let of = (publisher, release);
        match (&amendment.change, &amendment.version) {
            (Change::Yank { .. }, _) => mark(&self.yanked, &of).is_none(),
            (Change::Unyank, _) => mark(&self.yanked, &of).is_some(),
            (Change::Deprecate(_), _) => true,
            (Change::Undeprecate, Some(_)) => mark(&self.deprecated, &of).is_some(),
            (Change::Undeprecate, None) => mark(&self.abandoned, &(amendment.name.clone(), publisher)).is_some(),
        }
    }

    /// What marks the release at this position.
    pub(crate) fn marks(&self, publisher: PublisherId, name: &Name, position: u64) -> Marks {
        let of = (publisher, position);
        let abandoned = || mark(&self.abandoned, &(name.clone(), publisher));
        Marks { yanked: mark(&self.yanked, &of), deprecated: mark(&self.deprecated, &of).or_else(abandoned) }
    }

    /// Positions of what must be known to see why this release is picked, and as what: the latest words on it and on its
    /// package, and what has yanked the versions above it, highest first.
    pub(crate) fn words(&self, publisher: PublisherId, name: &Name, release: u64) -> impl Iterator<Item = u64> {
        let of = (publisher, release);
        let own = [self.yanked.get(&of), self.deprecated.get(&of), self.abandoned.get(&(name.clone(), publisher))];
        let above = self.versions(publisher, name).iter().rev().map(|listed| listed.position);
        let above = above.take_while(move |position| *position != release);
        let passed_over = above.filter_map(move |position| mark(&self.yanked, &(publisher, position)));
        own.into_iter().flatten().map(|word| word.position).chain(passed_over)
    }

    /// See [`Listing`].
    pub(crate) fn list(&self, publisher: PublisherId, after: Option<&Name>) -> Listing {
        let after = after.map(|name| (name.clone(), PublisherId(Digest([0xff; 32]))));
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = self.releases.range((from, Bound::Unbounded)).map(|((name, owner), _)| (name, *owner));
        let (mut packages, mut last) = (Vec::new(), None);
        for (name, owner) in looked_at.by_ref().take(MAX_LOOKED_AT) {
            packages.extend((owner == publisher).then(|| self.summary(publisher, name)).flatten());
            last = Some((name, owner));
        }
        let Some((name, owner)) = last.filter(|_| looked_at.next().is_some()) else {
            return Listing { packages, next: None };
        };
        // The page may have ended among several owners of one name.
        packages.extend((owner < publisher).then(|| self.summary(publisher, name)).flatten());
        Listing { packages, next: Some(name.clone()) }
    }

    fn summary(&self, publisher: PublisherId, name: &Name) -> Option<Listed> {
        let versions = self.versions(publisher, name);
        let current = self.current(publisher, name);
        let yanked = current.is_err();
        let shown = current.ok().or(versions.last())?;
        let deprecated = self.marks(publisher, name, shown.position).deprecated.is_some();
        let (name, version) = (name.clone(), shown.version.clone());
        Some(Listed { name, version, versions: versions.len() as u64, yanked, deprecated })
    }

    /// A publisher's package is no longer known.
    pub(crate) fn forget(&mut self, publisher: PublisherId, name: &Name) {
        let package = (name.clone(), publisher);
        for listed in self.releases.remove(&package).into_iter().flatten() {
            self.count -= 1;
            self.yanked.remove(&(publisher, listed.position));
            self.deprecated.remove(&(publisher, listed.position));
        }
        self.abandoned.remove(&package);
    }

    /// Releases in all.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// In ascending order of version.
    pub(crate) fn versions(&self, publisher: PublisherId, name: &Name) -> &[Place] {
        self.releases.get(&(name.clone(), publisher)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn find(&self, publisher: PublisherId, name: &Name, version: &str) -> Option<&Place> {
        self.versions(publisher, name).iter().find(|listed| *listed.version.text == *version)
    }

    /// Has the publisher released this name and version, whatever else is in it?
    pub(crate) fn holds(&self, publisher: PublisherId, new: &NewRelease) -> bool {
        self.find(publisher, &new.name, &new.version.text).is_some()
    }

    /// Publisher and position; see [`PackageSpec`].
    pub(crate) fn resolve(&self, spec: &PackageSpec) -> Result<(PublisherId, &Place), Unresolved> {
        let publisher = spec.publisher.map_or_else(|| self.only_publisher(&spec.name), Ok)?;
        Ok((publisher, self.pick(publisher, &spec.name, spec.version.as_deref())?))
    }

    /// What is picked when no version is named.
    pub(crate) fn current(&self, publisher: PublisherId, name: &Name) -> Result<&Place, Unresolved> {
        self.pick(publisher, name, None)
    }

    fn pick(&self, publisher: PublisherId, name: &Name, version: Option<&str>) -> Result<&Place, Unresolved> {
        let is_yanked = |listed: &Place| mark(&self.yanked, &(publisher, listed.position)).is_some();
        version::pick(self.versions(publisher, name), version, |listed| &listed.version, is_yanked)
    }

    /// What would be picked if nothing was yanked.
    pub(crate) fn highest(&self, publisher: PublisherId, spec: &PackageSpec) -> Option<&Place> {
        let versions = self.versions(publisher, &spec.name);
        version::pick(versions, spec.version.as_deref(), |listed| &listed.version, |_| false).ok()
    }

    pub(crate) fn only_publisher(&self, name: &Name) -> Result<PublisherId, Unresolved> {
        let from = (name.clone(), PublisherId(Digest([0; 32])));
        let mut publishers = self.releases.range(from..).map(|((other, publisher), _)| (other, *publisher));
        let mut next = || publishers.next().filter(|(other, _)| *other == name).map(|(_, publisher)| publisher);
        let first = next().ok_or(Unresolved::Unknown)?;
        if next().is_none() { Ok(first) } else { Err(Unresolved::Ambiguous) }
    }
}

/// Takes in a later word. Was there a mark before?
fn note<K: Ord>(words: &mut BTreeMap<K, Word>, of: K, word: Word) -> bool {
    let before = match words.entry(of) {
        Entry::Occupied(mut held) => Some(held.insert(word)),
        Entry::Vacant(place) => {
            // What was never marked needs no word against it.
            if word.marks {
                place.insert(word);
            }
            None
        }
    };
    before.is_some_and(|before| before.marks)
}

/// The position of the statement that marks this.
fn mark<K: Ord>(words: &BTreeMap<K, Word>, of: &K) -> Option<u64> {
    words.get(of).filter(|word| word.marks).map(|word| word.position)
}
