//! All releases by name.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::catalog::release::{Name, NewRelease, ReleaseInfo, UpdateKind};
use crate::catalog::spec::PackageSpec;
use crate::catalog::version;
use crate::id::{Digest, PublisherId};

/// The releases of each package in ascending order of version.
#[derive(Debug, Default)]
pub(crate) struct Packages(BTreeMap<(Name, PublisherId), Vec<Arc<ReleaseInfo>>>);

impl Packages {
    pub(crate) fn insert(&mut self, release: &Arc<ReleaseInfo>) -> UpdateKind {
        let key = (release.release.meta.name.clone(), release.release.publisher);
        // Most packages have one version, and a node knows many.
        let versions = self.0.entry(key).or_insert_with(|| Vec::with_capacity(1));
        let kind = if versions.is_empty() { UpdateKind::NewPackage } else { UpdateKind::NewVersion };
        let at = versions.partition_point(|other| other.cmp_version(release).is_lt());
        versions.insert(at, release.clone());
        kind
    }

    /// In ascending order of version.
    pub(crate) fn versions(&self, publisher: PublisherId, name: &Name) -> &[Arc<ReleaseInfo>] {
        self.0.get(&(name.clone(), publisher)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn find(&self, publisher: PublisherId, name: &Name, version: &str) -> Option<&Arc<ReleaseInfo>> {
        self.versions(publisher, name).iter().find(|release| *release.release.meta.version.text == *version)
    }

    /// Has the publisher released this name and version, whatever else is in it?
    pub(crate) fn holds(&self, publisher: PublisherId, new: &NewRelease) -> bool {
        self.find(publisher, &new.name, &new.version.text).is_some()
    }

    /// See [`PackageSpec`].
    pub(crate) fn resolve(&self, spec: &PackageSpec) -> Option<&Arc<ReleaseInfo>> {
        let publisher = spec.publisher.or_else(|| self.only_publisher(&spec.name))?;
        let versions = self.versions(publisher, &spec.name);
        version::pick(versions, spec.version.as_deref(), |release| &release.release.meta.version)
    }

    fn only_publisher(&self, name: &Name) -> Option<PublisherId> {
        let from = (name.clone(), PublisherId(Digest([0; 32])));
        let mut publishers = self.0.range(from..).map(|((other, publisher), _)| (other, *publisher));
        let mut next = || publishers.next().filter(|(other, _)| *other == name).map(|(_, publisher)| publisher);
        let first = next()?;
        next().is_none().then_some(first)
    }
}
