//! The `.crate` files of a lock file as releases with bytes.

use std::path::Path;

use registry_core::catalog::release::{MAX_KEYWORDS, MAX_LINE, MAX_WORD};

use crate::args::Scheme;
use crate::cargo::{self, Cache, Dependency, Locked, Manifest};
use crate::control::{self, About, Item, ItemContent};
use crate::error::{CliError, Code};
use crate::import::Row;
use crate::import::text::Fitter;

/// A row for each package of the lock file that comes from a registry, read from cargo's cache as it is taken.
pub(super) fn rows(lock: &Path) -> Result<impl Iterator<Item = Row> + use<>, CliError> {
    let text = std::fs::read_to_string(lock).map_err(|error| CliError::io("cannot read", lock, &error))?;
    let unusable = |message: String, hint: &str| CliError::new(Code::Usage, message, hint);
    let locked =
        cargo::locked(&text).map_err(|error| unusable(format!("{}: {error}", lock.display()), "name a Cargo.lock"))?;
    let cache = Cache::open().map_err(|message| unusable(message, "run `cargo fetch` first"))?;
    Ok(locked.into_iter().map(move |locked| {
        let item = item(&cache, &locked);
        Row { line: None, name: locked.name, version: locked.version, item }
    }))
}

fn item(cache: &Cache, locked: &Locked) -> Result<(Item, bool), String> {
    let path = cache.find(locked).ok_or("not in cargo's cache: run `cargo fetch` first")?;
    if !locked.matches(&path)? {
        return Err(format!("{} is not the file the lock file names", path.display()));
    }
    let manifest = locked.manifest(&path).ok_or_else(|| format!("{}: no readable Cargo.toml", path.display()))?;
    let mut fit = Fitter::default();
    let about = about(locked, &manifest, &mut fit);
    Ok((Item { about, content: ItemContent::File(path) }, fit.shortened))
}

/// What the package says of itself, as far as a statement has room for it.
pub(crate) fn about(
    locked: &Locked,
    Manifest { package, dependencies, build_dependencies }: &Manifest,
    fit: &mut Fitter,
) -> About {
    let (summary, description) = fit.summary(&package.description, "");
    let needed = dependencies.iter().chain(build_dependencies).filter_map(needed);
    let mut needs: Vec<_> = needed.map(|dependency| vec![dependency]).collect();
    needs.dedup();
    About {
        name: locked.name.clone(),
        version: locked.version.clone(),
        scheme: Scheme::Semver,
        summary,
        description,
        keywords: fit.words(package.keywords.iter().map(String::as_str), MAX_KEYWORDS),
        category: fit.line(package.categories.first().map_or("", String::as_str), MAX_WORD),
        tags: Vec::new(),
        licence: fit.line(&package.license, MAX_LINE),
        dependencies: needs,
    }
}

/// Optional dependencies are not needed.
fn needed((key, dependency): (&String, &Dependency)) -> Option<control::Dependency> {
    let (name, requirement) = match dependency {
        Dependency::Version(version) => (key, version),
        Dependency::Table { optional: true, .. } => return None,
        Dependency::Table { version, package, .. } => (package.as_ref().unwrap_or(key), version),
    };
    Some(control::Dependency { name: name.clone(), requirement: requirement.clone() })
}
