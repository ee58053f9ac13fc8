//! The demo's input: the `.crate` files cargo has cached for building this program.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cargo::{self, Cache, Locked};
use crate::control::About;
use crate::import::crates::about;
use crate::import::text::Fitter;

/// The lock file this program was built from.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// One cached package.
#[derive(Clone)]
pub(crate) struct CachedCrate {
    pub(crate) locked: Locked,
    pub(crate) path: PathBuf,
    pub(crate) about: About,
}

/// Up to `count` cached packages of the lock file, one version of each name, in order of name.
pub(crate) fn find(count: usize) -> Result<Vec<CachedCrate>, String> {
    let cache = Cache::open()?;
    let mut names = BTreeSet::new();
    let mut cached = |locked: Locked| {
        let path = cache.find(&locked).filter(|_| !names.contains(&locked.name))?;
        let manifest = locked.manifest(&path)?;
        names.insert(locked.name.clone());
        Some(CachedCrate { about: about(&locked, &manifest, &mut Fitter::default()), locked, path })
    };
    let locked = cargo::locked(LOCK).map_err(|error| format!("Cargo.lock: {error}"))?;
    let found: Vec<_> = locked.into_iter().filter_map(&mut cached).take(count).collect();
    if found.len() < count.min(100) {
        return Err(format!("only {} of the lock file's packages are in cargo's cache", found.len()));
    }
    Ok(found)
}
