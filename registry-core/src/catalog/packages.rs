//! All releases by name.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::catalog::release::{Name, NewRelease, Release, UpdateKind};
use crate::catalog::spec::PackageSpec;
use crate::catalog::version::{self, Version};
use crate::id::{Digest, PublisherId};

/// The releases of each package in ascending order of version.
#[derive(Debug, Default)]
pub(crate) struct Packages(BTreeMap<(Name, PublisherId), Vec<Listed>>);

/// A release, without what its statement says of it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) version: Version,
    /// In the publisher's log.
    pub(crate) position: u64,
}

impl Packages {
    pub(crate) fn insert(&mut self, release: &Release) -> UpdateKind {
        let Release { publisher, position, meta, .. } = release;
        // Most packages have one version, and a node knows many.
        let versions = self.0.entry((meta.name.clone(), *publisher)).or_insert_with(|| Vec::with_capacity(1));
        let kind = if versions.is_empty() { UpdateKind::NewPackage } else { UpdateKind::NewVersion };
        let new = (&meta.version, *position);
        let at = versions.partition_point(|other| version::cmp_released((&other.version, other.position), new).is_lt());
        versions.insert(at, Listed { version: meta.version.clone(), position: *position });
        kind
    }

    /// In ascending order of version.
    pub(crate) fn versions(&self, publisher: PublisherId, name: &Name) -> &[Listed] {
        self.0.get(&(name.clone(), publisher)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn find(&self, publisher: PublisherId, name: &Name, version: &str) -> Option<&Listed> {
        self.versions(publisher, name).iter().find(|listed| *listed.version.text == *version)
    }

    /// Has the publisher released this name and version, whatever else is in it?
    pub(crate) fn holds(&self, publisher: PublisherId, new: &NewRelease) -> bool {
        self.find(publisher, &new.name, &new.version.text).is_some()
    }

    /// Publisher and position; see [`PackageSpec`].
    pub(crate) fn resolve(&self, spec: &PackageSpec) -> Option<(PublisherId, u64)> {
        let publisher = spec.publisher.or_else(|| self.only_publisher(&spec.name))?;
        let versions = self.versions(publisher, &spec.name);
        let picked = version::pick(versions, spec.version.as_deref(), |listed| &listed.version)?;
        Some((publisher, picked.position))
    }

    fn only_publisher(&self, name: &Name) -> Option<PublisherId> {
        let from = (name.clone(), PublisherId(Digest([0; 32])));
        let mut publishers = self.0.range(from..).map(|((other, publisher), _)| (other, *publisher));
        let mut next = || publishers.next().filter(|(other, _)| *other == name).map(|(_, publisher)| publisher);
        let first = next()?;
        next().is_none().then_some(first)
    }
}
