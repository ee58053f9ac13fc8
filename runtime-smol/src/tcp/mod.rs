//! TCP for libp2p over async-io: IPv4, IPv6 and names.
//!
//! | address | to listen | to dial |
//! |---|---|---|
//! | `/ip4/…/tcp/…`, `/ip6/…/tcp/…` | yes; 0.0.0.0 and `::` follow the machine's addresses as they come and go | yes |
//! | `/dns4/…/tcp/…`, `/dns6/…/tcp/…`, `/dns/…/tcp/…` | no | yes, each of the name's addresses in turn |
//!
//! A trailing `/p2p/…` is the caller's business. Connections always go out from a new port.

mod addr;
mod listener;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Ready};
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use multiaddr::Multiaddr;
use smol::Timer;
use smol::net::TcpStream;

use addr::Target;
use listener::Listener;

/// The limit for one address, so that a name whose first address is a black hole can still be reached.
const CONNECT_TIME: Duration = Duration::from_secs(5);

type Event = TransportEvent<Ready<io::Result<TcpStream>>, io::Error>;

/// Byte streams over TCP, with Nagle's algorithm off.
#[derive(Debug, Default)]
pub struct Transport {
    /// The first is asked first; who had something goes to the end.
    listeners: VecDeque<Listener>,
    closed: VecDeque<ListenerId>,
    waker: Option<Waker>,
}

impl libp2p_core::Transport for Transport {
    type Output = TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<TcpStream>>;
    type Dial = BoxFuture<'static, io::Result<TcpStream>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let Some(Target::Socket(socket)) = Target::of(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        self.listeners.push_back(Listener::bind(id, socket).map_err(TransportError::Other)?);
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|listener| listener.id() == id) else { return false };
        self.listeners.remove(at);
        self.closed.push_back(id);
        self.wake();
        true
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        match Target::of(&addr).filter(Target::can_be_dialled) {
            Some(target) => Ok(dial(target).boxed()),
            None => Err(TransportError::MultiaddrNotSupported(addr)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(listener_id) = self.closed.pop_front() {
            return Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason: Ok(()) });
        }
        for at in 0..self.listeners.len() {
            if let Poll::Ready(event) = self.listeners[at].poll(cx) {
                self.listeners.rotate_left(at + 1);
                return Poll::Ready(event);
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Transport {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

async fn dial(target: Target) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address of this kind"));
    for addr in target.resolve().await? {
        outcome = connect(addr).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let connected = async {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let late = async {
        Timer::after(CONNECT_TIME).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    smol::future::or(connected, late).await
}
