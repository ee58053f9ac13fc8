//! The registry's errors as the user meets them: an exit code, what happened, what to do.

use registry_core::CommandError;
use registry_core::event::{OpError, Refusal};
use registry_node::{Error, ExportError, PackError, PeerError, StoreFault};

use crate::error::{CliError, Code};

/// What to do about being connected to nobody.
pub(super) const ALONE: &str = "this node is connected to nobody: `wharf connect ADDR`, or start it with --bootstrap";

pub(super) fn failure(error: Error) -> CliError {
    let (code, hint) = match &error {
        Error::NotRunning => (Code::NotRunning, "start it with `wharf up`"),
        Error::Command(error) => of_command(error),
        Error::Op(error) => of_operation(error),
        Error::External => {
            (Code::NotFound, "this release has no bytes in the network; see `wharf info` for what is known of them")
        }
        Error::Store(fault) => of_store(fault),
        Error::Pack(error) => of_pack(error),
        Error::Export(error) => of_export(error),
        Error::Peer(error) => of_peer(*error),
        Error::Listen { .. } => (Code::Conflict, "choose another --listen address, or port 0 for a free one"),
        Error::KadProtocol => (Code::Usage, "a protocol id looks like /ipfs/kad/1.0.0"),
        Error::System(_) => (Code::Other, "check the system's limits and the configuration"),
    };
    CliError::new(code, error.to_string(), hint)
}

fn of_command(error: &CommandError) -> (Code, &'static str) {
    match error {
        CommandError::Invalid { .. } => (Code::Usage, "see `wharf help` for what is accepted"),
        CommandError::NoPublisher => (Code::Other, "make one with `wharf init`"),
        CommandError::AlreadyPublished => (Code::Conflict, "a release never changes: publish it under a new version"),
        CommandError::NotReady | CommandError::Busy => (Code::Other, "try again in a moment"),
        CommandError::Unknown => (Code::NotFound, "see `wharf peers` and `wharf status`"),
    }
}

fn of_operation(error: &OpError) -> (Code, &'static str) {
    match error {
        OpError::NotFound => (Code::NotFound, "try `wharf search`, or `wharf info NAME` for its versions"),
        OpError::Ambiguous => (Code::Usage, "name it PUBLISHER/NAME; `wharf search` shows whose there are"),
        OpError::NoRanges(_) => (Code::Usage, "name a whole version; `wharf info NAME` lists them"),
        OpError::AlreadyPublished => (Code::Conflict, "a release never changes: publish it under a new version"),
        OpError::NoProviders => {
            (Code::NoPeer, "the package is known but nobody connected has its bytes; try again when a holder is up")
        }
        OpError::NoPeers => (Code::NoPeer, ALONE),
        OpError::Timeout { .. } => {
            (Code::Timeout, "see `wharf peers`; what has arrived is kept, so trying again resumes")
        }
        OpError::Verification => (Code::Verification, "nothing was kept; another provider may have it intact"),
        OpError::Refused(Refusal::LogUnsynced) => {
            let hint = "the key was used elsewhere, or its store was lost: `wharf connect ADDR` to nodes that have the log, \
                        then try again; only if the key has never published: make an empty file publisher.unused in the \
                        home, and start the daemon again";
            (Code::Conflict, hint)
        }
        OpError::Refused(Refusal::Forked) => (
            Code::Refused,
            "a key has signed what cannot both be; versions from before can be named exactly, see `wharf info`",
        ),
        OpError::Refused(Refusal::Yanked) => {
            (Code::Refused, "`wharf info` says why; a yanked version can still be named exactly")
        }
        OpError::Refused(Refusal::NoRoom) => {
            (Code::Refused, "follow the publisher to keep it: `wharf follow PUBLISHER`, then try again")
        }
        OpError::Storage => (Code::Storage, "free some space in the home"),
        OpError::Signing => (Code::Other, "check the key files in the home"),
        OpError::Unreachable => (Code::NoPeer, "check the address, and that another node listens there"),
        OpError::Cancelled => (Code::Other, "start it again when you want it"),
    }
}

fn of_peer(error: PeerError) -> (Code, &'static str) {
    match error {
        PeerError::NotConnected => (Code::NoPeer, "`wharf connect ADDR`; `wharf peers` lists who is connected"),
        PeerError::Silent => (Code::Timeout, "try again; a peer that stays silent is disconnected soon"),
        PeerError::Unsupported => (Code::Other, "it may be of another kind: see `wharf peers`"),
        PeerError::Lost => (Code::NoPeer, "see `wharf peers`, and try again"),
    }
}

fn of_store(fault: &StoreFault) -> (Code, &'static str) {
    match fault {
        StoreFault::Full => (Code::Storage, "free some space in the home"),
        StoreFault::InUse => (Code::Conflict, "stop the other wharf, or choose another --home"),
        StoreFault::Io(_) => (Code::Storage, "check the disk that holds the home"),
    }
}

fn of_pack(error: &PackError) -> (Code, &'static str) {
    match error {
        PackError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            (Code::NotFound, "name a file or a folder that exists")
        }
        PackError::Io { .. } => (Code::Other, "check the permissions of what you publish"),
        PackError::Link(_) | PackError::Special(_) | PackError::Name(_) | PackError::Unixfs { .. } => {
            (Code::Usage, "only plain files and folders can be published")
        }
        PackError::Store(fault) => of_store(fault),
        PackError::Stopped => (Code::NotRunning, "the daemon is stopping"),
    }
}

fn of_export(error: &ExportError) -> (Code, &'static str) {
    match error {
        ExportError::Exists(_) => (Code::Conflict, "choose another --out; nothing was overwritten"),
        ExportError::Missing(_) => (Code::Storage, "a block is damaged on this disk; get it again"),
        ExportError::Tree(_) | ExportError::Size { .. } | ExportError::Name(_) => (
            Code::Verification,
            "the package is not what its publisher signed, or is not safe to write; nothing was kept",
        ),
        ExportError::Full(_) => (Code::Storage, "free some space at --out"),
        ExportError::Io { .. } => (Code::Other, "check --out and its permissions"),
        ExportError::Store(fault) => of_store(fault),
        ExportError::Stopped => (Code::NotRunning, "the daemon is stopping"),
    }
}
