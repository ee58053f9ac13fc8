//! One node's folder: keys, store, lock and control socket.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use registry_node::{KeyError, Keys};
use serde_json::json;

use crate::error::{CliError, Code};

const LOST: &str = "put the file back from a copy; without one, choose another --home";

/// The kernel's limit on a Unix socket's path, its closing NUL included.
const MAX_SOCKET_PATH: usize = 108;

pub(crate) struct Home {
    dir: PathBuf,
}

/// Held for as long as a daemon or an `init` owns the home.
pub(crate) struct HomeLock {
    _file: File,
}

impl Home {
    /// The given folder, or the user's data folder.
    pub(crate) fn new(dir: Option<PathBuf>) -> Result<Self, CliError> {
        let dir = match dir {
            Some(dir) => dir,
            None => default_dir().ok_or_else(|| {
                CliError::new(Code::Usage, "neither HOME nor XDG_DATA_HOME is set", "say where with --home DIR")
            })?,
        };
        let dir = std::path::absolute(&dir).map_err(|error| CliError::io("home", &dir, &error))?;
        let home = Self { dir };
        if home.socket().as_os_str().len() >= MAX_SOCKET_PATH {
            let message = format!("{} is too long for a control socket in it", home.dir.display());
            return Err(CliError::new(Code::Usage, message, "choose a shorter --home"));
        }
        Ok(home)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Takes the home for this process; a second one is refused.
    pub(crate) fn lock(&self) -> Result<HomeLock, CliError> {
        let make = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        make.map_err(|error| CliError::io("cannot make", &self.dir, &error))?;
        let path = self.dir.join("lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(|error| CliError::io("cannot open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(CliError::new(
                Code::Conflict,
                format!("another wharf is using {}", self.dir.display()),
                "stop it, or choose another --home",
            )),
            Err(TryLockError::Error(error)) => Err(CliError::io("cannot lock", &path, &error)),
        }
    }

    /// The home's keys, made now when there are none.
    pub(crate) fn keys(&self) -> Result<Keys, CliError> {
        Keys::load_or_create(&self.dir).map_err(|error| {
            let hint = match &error {
                KeyError::Io { error, .. } if error.kind() == ErrorKind::NotFound => LOST,
                KeyError::Damaged { .. } => LOST,
                KeyError::Io { .. } | KeyError::Mode { .. } => "key files must belong to you and have mode 0600",
            };
            CliError::new(Code::Other, error.to_string(), hint)
        })
    }

    /// `wharf init`
    pub(crate) fn init(&self, json: bool) -> Result<(), CliError> {
        let _lock = self.lock()?;
        let keys = self.keys()?;
        let (peer, publisher) = (keys.peer_id().to_string(), keys.publisher_id().to_string());
        if json {
            println!("{}", json!({"event": "initialized", "home": self.dir, "peer_id": peer, "publisher": publisher}));
        } else {
            println!("home       {}\npeer id    {peer}\npublisher  {publisher}", self.dir.display());
        }
        Ok(())
    }
}

fn default_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share"))).map(|dir| dir.join("wharf"))
}
