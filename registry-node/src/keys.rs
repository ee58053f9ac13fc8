//! The private keys of a home: files of mode 0600, made together and never overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use libp2p_identity::{Keypair, PublicKey, ed25519};
use registry_core::catalog::LocalPublisher;
use registry_core::{Digest, LocalPeer, PeerId, PublisherId};

use crate::crypto::SigningKeys;
use crate::error::Error;
use crate::store::{Store, sync_dir};

const NODE: &str = "node.key";
const PUBLISHER: &str = "publisher.key";
/// The key that a rotation will bring in: only its digest is public, so it can lie elsewhere.
const NEXT: &str = "publisher-next.key";
const INCEPTION: &str = "publisher.inception";
/// There as long as the publisher has signed nothing: the first store it is used with holds its log from the beginning.
const UNUSED: &str = "publisher.unused";

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or folder cannot be read or written.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{} has mode {mode:04o}; it must be 0600", .path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold what it should.
    #[error("{} is damaged", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

/// The keys of one node and of its publisher.
#[derive(Clone, Debug)]
pub struct Keys {
    node: Keypair,
    publisher: ed25519::Keypair,
    identity: LocalPublisher,
    /// `None` when they exist only in memory.
    dir: Option<PathBuf>,
}

impl Keys {
    /// Reads the keys in `dir`, or makes them when there are none. A publisher without a node, as after its files were
    /// copied to another home, gets a new one.
    ///
    /// # Errors
    /// When a file cannot be read or made, is damaged, or others than its owner have access to it.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyError> {
        if !dir.join(INCEPTION).exists() {
            Self::create(dir)?;
        }
        read_or_make(&dir.join(NODE))?;
        Self::load(dir)
    }

    /// Reads the keys in `dir`.
    ///
    /// # Errors
    /// See [`Keys::load_or_create`].
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let node = Keypair::from(read_key(&dir.join(NODE))?);
        let publisher = read_key(&dir.join(PUBLISHER))?;
        let path = dir.join(INCEPTION);
        let inception = Bytes::from(fs::read(&path).map_err(|error| KeyError::Io { path: path.clone(), error })?);
        let identity = LocalPublisher::from_inception(inception, &publisher.public().to_bytes())
            .ok()
            .filter(is_signed)
            .ok_or(KeyError::Damaged { path })?;
        Ok(Self { node, publisher, identity, dir: Some(dir.to_owned()) })
    }

    /// Keys that exist only in memory.
    pub fn ephemeral() -> Self {
        let publisher = ed25519::Keypair::generate();
        let identity = incept(&publisher, &ed25519::Keypair::generate());
        Self { node: Keypair::generate_ed25519(), publisher, identity, dir: None }
    }

    /// The inception comes last: it is the sign that the publisher is whole.
    fn create(dir: &Path) -> Result<(), KeyError> {
        fs::create_dir_all(dir).map_err(|error| KeyError::Io { path: dir.to_owned(), error })?;
        // A new key makes a new publisher, also beside one that was there.
        if ![PUBLISHER, NEXT].iter().all(|name| dir.join(name).exists()) {
            write_private(&dir.join(UNUSED), &[])?;
        }
        let publisher = read_or_make(&dir.join(PUBLISHER))?;
        let next = read_or_make(&dir.join(NEXT))?;
        write_private(&dir.join(INCEPTION), &incept(&publisher, &next).inception)
    }

    /// The node's libp2p id.
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_bytes(&self.node.public().to_peer_id().to_bytes()).expect("an ed25519 key makes a peer id")
    }

    /// Under which this node publishes.
    pub fn publisher_id(&self) -> PublisherId {
        self.identity.id
    }

    /// The libp2p identity, for a swarm of the program's own.
    pub fn node(&self) -> &Keypair {
        &self.node
    }

    /// Begins the publisher's log in this store, if it has signed nothing yet.
    pub(crate) fn begin_in(&self, store: &Store) -> Result<(), Error> {
        let Some(dir) = &self.dir else { return Ok(store.put(&self.identity.origin())?) };
        let unused = dir.join(UNUSED);
        if unused.exists() {
            store.put(&self.identity.origin())?;
            fs::remove_file(&unused)?;
            sync_dir(dir)?;
        }
        Ok(())
    }

    pub(crate) fn local_peer(&self) -> LocalPeer {
        LocalPeer {
            id: self.peer_id(),
            public_key: self.node.public().encode_protobuf().into(),
            publisher: Some(self.identity.clone()),
        }
    }

    pub(crate) fn signing(&self) -> SigningKeys {
        SigningKeys { node: self.node.clone(), publisher: Some(self.publisher.clone()) }
    }
}

fn incept(publisher: &ed25519::Keypair, next: &ed25519::Keypair) -> LocalPublisher {
    let key = publisher.public().to_bytes();
    let next = Digest::of(&next.public().to_bytes());
    let signature = publisher.sign(&LocalPublisher::signing_input(key, next));
    LocalPublisher::new(key, next, signature.try_into().expect("an ed25519 signature has 64 bytes"))
}

fn is_signed(identity: &LocalPublisher) -> bool {
    identity.checks().is_ok_and(|checks| {
        checks.iter().all(|check| {
            PublicKey::try_decode_protobuf(&check.key).is_ok_and(|key| key.verify(&check.message, &check.signature))
        })
    })
}

fn read_or_make(path: &Path) -> Result<ed25519::Keypair, KeyError> {
    if !path.exists() {
        write_private(path, ed25519::Keypair::generate().secret().as_ref())?;
    }
    read_key(path)
}

/// A key file holds the 32 bytes of an ed25519 secret.
fn read_key(path: &Path) -> Result<ed25519::Keypair, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    check_mode(path, &fs::metadata(path).map_err(io)?)?;
    let mut secret = fs::read(path).map_err(io)?;
    let secret = ed25519::SecretKey::try_from_bytes(&mut secret);
    secret.map(ed25519::Keypair::from).map_err(|_| KeyError::Damaged { path: path.to_owned() })
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Mode { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _metadata: &fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

/// Writes a file whole or not at all; an existing one is kept.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file: File = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    write().map_err(|error| KeyError::Io { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::load_or_create(dir.path()).unwrap();
        let second = Keys::load_or_create(dir.path()).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        assert_eq!(first.publisher_id(), second.publisher_id());
        let other = Keys::load_or_create(tempfile::tempdir().unwrap().path()).unwrap();
        assert_ne!(first.publisher_id(), other.publisher_id());
    }

    #[test]
    fn an_interrupted_creation_is_finished_with_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::load_or_create(dir.path()).unwrap();
        fs::remove_file(dir.path().join(INCEPTION)).unwrap();
        let second = Keys::load_or_create(dir.path()).unwrap();
        assert_eq!(first.publisher_id(), second.publisher_id());
    }

    #[cfg(unix)]
    #[test]
    fn key_files_have_mode_0600_and_others_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Keys::load_or_create(dir.path()).unwrap();
        for name in [NODE, PUBLISHER, NEXT] {
            let path = dir.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::set_permissions(dir.path().join(NODE), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::load(dir.path()), Err(KeyError::Mode { mode: 0o640, .. })));
    }

    #[test]
    fn damaged_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        Keys::load_or_create(dir.path()).unwrap();
        let inception = dir.path().join(INCEPTION);
        let good = fs::read(&inception).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&inception, &bad).unwrap();
        assert!(matches!(Keys::load(dir.path()), Err(KeyError::Damaged { .. })));
        fs::write(&inception, &good).unwrap();
        fs::write(dir.path().join(PUBLISHER), b"short").unwrap();
        assert!(matches!(Keys::load(dir.path()), Err(KeyError::Damaged { .. })));
    }
}
