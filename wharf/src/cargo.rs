//! What cargo has on this machine: lock files, the `.crate` files in its cache, the manifests inside them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// A manifest larger than this is not read.
const MAX_MANIFEST: u64 = 1 << 20;

/// A package a lock file names, that comes from a registry.
#[derive(Clone, Debug)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    /// sha-256 of the `.crate` file, in hex.
    pub(crate) checksum: String,
}

/// What is read of a package's manifest.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    pub(crate) package: Package,
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Dependency>,
    #[serde(default)]
    pub(crate) build_dependencies: BTreeMap<String, Dependency>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
pub(crate) struct Package {
    pub(crate) description: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) license: String,
}

/// A dependency, as cargo writes it into the manifest of a `.crate` file.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum Dependency {
    Version(String),
    Table {
        #[serde(default)]
        version: String,
        /// Its name, where the manifest uses another one.
        package: Option<String>,
        #[serde(default)]
        optional: bool,
    },
}

/// The packages of a lock file that come from a registry, in its order.
pub(crate) fn locked(lock: &str) -> Result<Vec<Locked>, toml::de::Error> {
    #[derive(serde::Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Entry>,
    }

    #[derive(serde::Deserialize)]
    struct Entry {
        name: String,
        version: String,
        checksum: Option<String>,
    }

    let lock: Lock = toml::from_str(lock)?;
    let from_registry = |Entry { name, version, checksum }| Some(Locked { name, version, checksum: checksum? });
    Ok(lock.package.into_iter().filter_map(from_registry).collect())
}

/// cargo's folders of `.crate` files, one per registry.
pub(crate) struct Cache(Vec<PathBuf>);

impl Cache {
    /// `$CARGO_HOME/registry/cache/*`
    pub(crate) fn open() -> Result<Self, String> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")));
        let cache = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/cache");
        let entries = std::fs::read_dir(&cache).map_err(|error| {
            format!("cargo's cache of packages, {}: {error}; `cargo fetch` fills it", cache.display())
        })?;
        let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        folders.sort();
        Ok(Self(folders))
    }

    /// The file of a package, when it is there.
    pub(crate) fn find(&self, locked: &Locked) -> Option<PathBuf> {
        let file = format!("{}-{}.crate", locked.name, locked.version);
        self.0.iter().map(|folder| folder.join(&file)).find(|path| path.is_file())
    }
}

impl Locked {
    /// Is this file the one the lock file names?
    pub(crate) fn matches(&self, path: &Path) -> Result<bool, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(digest == self.checksum)
    }

    /// The manifest inside its `.crate` file.
    pub(crate) fn manifest(&self, path: &Path) -> Option<Manifest> {
        let inside = format!("{}-{}/Cargo.toml", self.name, self.version);
        let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).ok()?));
        let entry = archive
            .entries()
            .ok()?
            .filter_map(Result::ok)
            .find(|entry| entry.path().is_ok_and(|path| path == Path::new(&inside)))?;
        let mut text = String::new();
        entry.take(MAX_MANIFEST).read_to_string(&mut text).ok()?;
        toml::from_str(&text).ok()
    }
}
