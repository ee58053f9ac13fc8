//! Two ends of a connection, each of either transport.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Transport};
use multiaddr::Multiaddr;

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection of either transport.
pub(crate) type Connection = Pin<Box<dyn Io>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Smol,
    Tokio,
}

/// Who listens, and who dials. libp2p-tcp with itself shows that a test is fair.
pub(crate) const PAIRS: [(Kind, Kind); 4] =
    [(Kind::Smol, Kind::Tokio), (Kind::Tokio, Kind::Smol), (Kind::Smol, Kind::Smol), (Kind::Tokio, Kind::Tokio)];

impl Kind {
    pub(crate) fn transport(self) -> Boxed<Connection> {
        fn boxed<T: Io + 'static>(connection: T, _: libp2p_core::ConnectedPoint) -> Connection {
            Box::pin(connection)
        }
        match self {
            Self::Smol => runtime_smol::tcp::Transport::default().map(boxed).boxed(),
            Self::Tokio => {
                libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true)).map(boxed).boxed()
            }
        }
    }

    pub(crate) async fn dial(self, addr: &Multiaddr) -> io::Result<Connection> {
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        match self.transport().dial(addr.clone(), opts) {
            Ok(dial) => tokio::time::timeout(PATIENCE, dial).await.expect("it never ends").map_err(unboxed),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The transport's own error; boxing hides its kind.
pub(crate) fn unboxed(error: io::Error) -> io::Error {
    let inner = error.into_inner().expect("a boxed error");
    *inner.downcast().expect("the transports' errors are of I/O")
}

/// A transport that listens on one address.
pub(crate) struct Listening {
    pub(crate) transport: Boxed<Connection>,
    pub(crate) id: ListenerId,
    pub(crate) addr: Multiaddr,
}

impl Listening {
    pub(crate) async fn on(kind: Kind, addr: &str) -> Self {
        let mut transport = kind.transport();
        let id = ListenerId::next();
        transport.listen_on(id, addr.parse().unwrap()).unwrap();
        let mut listening = Self { transport, id, addr: Multiaddr::empty() };
        listening.addr = match listening.next().await {
            TransportEvent::NewAddress { listener_id, listen_addr } if listener_id == id => listen_addr,
            other => panic!("{other:?}"),
        };
        listening
    }

    pub(crate) async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.transport.select_next_some()).await.expect("nothing happens")
    }

    /// The next connection, and the address it came from.
    pub(crate) async fn accept(&mut self) -> (Connection, Multiaddr) {
        match self.next().await {
            TransportEvent::Incoming { upgrade, local_addr, send_back_addr, .. } => {
                assert_eq!(local_addr, self.addr);
                (upgrade.await.unwrap(), send_back_addr)
            }
            other => panic!("{other:?}"),
        }
    }
}

type Event = TransportEvent<<Boxed<Connection> as Transport>::ListenerUpgrade, io::Error>;

/// A connection's two ends: who dialled, and who accepted.
pub(crate) async fn connected(listener: Kind, dialer: Kind, addr: &str) -> (Connection, Connection) {
    let mut listening = Listening::on(listener, addr).await;
    let to = listening.addr.clone();
    let (dialled, (accepted, _)) = futures::join!(dialer.dial(&to), listening.accept());
    (dialled.unwrap(), accepted)
}

/// Sends bytes from one end while the other reads them.
pub(crate) async fn travels(from: &mut Connection, to: &mut Connection, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    let sent = async {
        from.write_all(bytes).await.unwrap();
        from.flush().await.unwrap();
    };
    let both = futures::future::join(sent, async { to.read_exact(&mut read).await.unwrap() });
    tokio::time::timeout(PATIENCE, both).await.expect("bytes are stuck");
    assert!(read == bytes, "other bytes came");
}
