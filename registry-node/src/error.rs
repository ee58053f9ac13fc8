//! What can go wrong for the application, by culprit.

use multiaddr::Multiaddr;
use registry_core::CommandError;
use registry_core::event::OpError;

use crate::files::export::ExportError;
use crate::files::pack::PackError;
use crate::store::StoreFault;

/// Why a peer's answer did not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no connection with it.
    #[error("not connected with that peer")]
    NotConnected,
    /// It does not speak the protocol.
    #[error("that peer does not answer such questions")]
    Unsupported,
    /// It took too long.
    #[error("that peer did not answer in time")]
    Silent,
    /// The stream or the connection broke, or what came was wrong.
    #[error("that peer broke off")]
    Lost,
}

/// Why the node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has been stopped.
    #[error("the node is not running")]
    NotRunning,
    /// The arguments are not acceptable.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It was tried, and came to nothing.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The release has no content in this network; at most it has a digest of bytes that lie elsewhere.
    #[error("the release only describes bytes that lie elsewhere")]
    External,
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// What should be published cannot be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// What was fetched cannot be written out.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A connected peer, or one that should be, was asked in vain.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// No listener could be opened there.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// Where.
        addr: Multiaddr,
        /// Why.
        reason: String,
    },
    /// A name in the configuration is not acceptable.
    #[error("the DHT protocol must start with a slash")]
    KadProtocol,
    /// The system refuses something else: threads, random numbers, the transport.
    #[error("{0}")]
    System(#[from] std::io::Error),
}
