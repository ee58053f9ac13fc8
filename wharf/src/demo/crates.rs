//! The demo's input: the `.crate` files cargo has cached for building this program.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// The lock file this program was built from: names, versions, checksums.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// A manifest larger than this is not read.
const MAX_MANIFEST: u64 = 1 << 20;

/// One cached package.
#[derive(Clone)]
pub(crate) struct CachedCrate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// sha-256 of the file, from the lock file, in hex.
    pub(crate) checksum: String,
    pub(crate) path: PathBuf,
    pub(crate) summary: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) category: String,
    pub(crate) licence: String,
}

#[derive(serde::Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(serde::Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Package {
    description: String,
    keywords: Vec<String>,
    categories: Vec<String>,
    license: String,
}

/// Up to `count` cached packages of the lock file, one version of each name, in order of name.
pub(crate) fn find(count: usize) -> Result<Vec<CachedCrate>, String> {
    let caches = caches()?;
    let lock: Lock = toml::from_str(LOCK).map_err(|error| format!("Cargo.lock: {error}"))?;
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for Locked { name, version, checksum } in lock.package {
        let file = format!("{name}-{version}.crate");
        let path = caches.iter().map(|cache| cache.join(&file)).find(|path| path.is_file());
        if let (Some(checksum), Some(path)) = (checksum, path)
            && names.insert(name.clone())
            && let Some(package) = manifest(&path, &format!("{name}-{version}/Cargo.toml"))
        {
            found.push(CachedCrate {
                summary: one_line(&package.description),
                keywords: package.keywords,
                category: package.categories.into_iter().next().unwrap_or_default(),
                licence: package.license,
                name,
                version,
                checksum,
                path,
            });
        }
        if found.len() == count {
            break;
        }
    }
    if found.len() < count.min(100) {
        return Err(format!("only {} of the lock file's packages are in cargo's cache", found.len()));
    }
    Ok(found)
}

/// Is this file the one the lock file names?
pub(crate) fn matches(path: &Path, checksum: &str) -> Result<bool, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digest == checksum)
}

/// `$CARGO_HOME/registry/cache/*`
fn caches() -> Result<Vec<PathBuf>, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")));
    let cache = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/cache");
    let entries = std::fs::read_dir(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let mut caches: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    caches.sort();
    Ok(caches)
}

fn manifest(path: &Path, inside: &str) -> Option<Package> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).ok()?));
    let entry = archive
        .entries()
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.path().is_ok_and(|path| path == Path::new(inside)))?;
    let mut text = String::new();
    entry.take(MAX_MANIFEST).read_to_string(&mut text).ok()?;
    toml::from_str::<Manifest>(&text).ok().map(|manifest| manifest.package)
}

/// The first sentence-like piece that fits a summary's 256 bytes.
fn one_line(description: &str) -> String {
    let mut line = description.split_whitespace().collect::<Vec<_>>().join(" ");
    while line.len() > 256 {
        let cut = line.rfind(' ').unwrap_or(0);
        line.truncate(cut);
    }
    line
}
