//! One listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future;
use if_watch::IfEvent;
use if_watch::smol::IfWatcher;
use libp2p_core::transport::{ListenerId, TransportEvent};
use smol::net::TcpStream;
use smol::{Async, Timer};
use socket2::{Domain, Protocol, Socket, Type};

use super::Event;
use super::addr::multiaddr;

/// Connections that wait for being accepted; as libp2p-tcp.
const BACKLOG: i32 = 1024;
/// Rest after a failed accept: a process that has used up its descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Listener {
    id: ListenerId,
    socket: Async<TcpListener>,
    /// With the port the system gave.
    addr: SocketAddr,
    addresses: Addresses,
    pause: Option<Timer>,
}

/// Under which addresses the socket can be reached.
#[derive(Debug)]
enum Addresses {
    Untold,
    Told,
    /// Any of the machine's. A watcher that failed once is not asked again.
    Watched(Box<IfWatcher>),
}

impl Listener {
    pub(super) fn bind(id: ListenerId, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            // So that 0.0.0.0 can be listened on beside it.
            socket.set_only_v6(true)?;
        }
        // A restarted node gets its port back while old connections are dying.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = Async::new(TcpListener::from(socket))?;
        let addresses = match addr.ip().is_unspecified() {
            true => Addresses::Watched(Box::new(IfWatcher::new()?)),
            false => Addresses::Untold,
        };
        Ok(Self { id, addr: socket.get_ref().local_addr()?, socket, addresses, pause: None })
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_unpin(cx));
            self.pause = None;
        }
        let listener_id = self.id;
        if let Poll::Ready(event) = self.poll_addresses(cx) {
            return Poll::Ready(event.unwrap_or_else(|error| {
                self.addresses = Addresses::Told;
                TransportEvent::ListenerError { listener_id, error }
            }));
        }
        let event = ready!(self.poll_accept(cx));
        Poll::Ready(event.unwrap_or_else(|error| {
            self.pause = Some(Timer::after(PAUSE));
            TransportEvent::ListenerError { listener_id, error }
        }))
    }

    fn poll_addresses(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let (listener_id, port) = (self.id, self.addr.port());
        let watcher = match &mut self.addresses {
            Addresses::Told => return Poll::Pending,
            Addresses::Untold => {
                self.addresses = Addresses::Told;
                let listen_addr = multiaddr(self.addr.ip(), port);
                return Poll::Ready(Ok(TransportEvent::NewAddress { listener_id, listen_addr }));
            }
            Addresses::Watched(watcher) => watcher,
        };
        loop {
            let event = match ready!(watcher.poll_if_event(cx))? {
                IfEvent::Up(net) if net.addr().is_ipv4() == self.addr.is_ipv4() => {
                    TransportEvent::NewAddress { listener_id, listen_addr: multiaddr(net.addr(), port) }
                }
                IfEvent::Down(net) if net.addr().is_ipv4() == self.addr.is_ipv4() => {
                    TransportEvent::AddressExpired { listener_id, listen_addr: multiaddr(net.addr(), port) }
                }
                IfEvent::Up(_) | IfEvent::Down(_) => continue,
            };
            return Poll::Ready(Ok(event));
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        loop {
            match self.socket.get_ref().accept() {
                Ok((stream, remote)) => return Poll::Ready(self.incoming(stream, remote)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.socket.poll_readable(cx))?,
                // The other side was quicker to leave.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn incoming(&self, stream: std::net::TcpStream, remote: SocketAddr) -> io::Result<Event> {
        let local = stream.local_addr()?;
        let prepared = stream.set_nodelay(true).and_then(|()| Async::new(stream)).map(TcpStream::from);
        Ok(TransportEvent::Incoming {
            listener_id: self.id,
            upgrade: future::ready(prepared),
            local_addr: multiaddr(local.ip(), local.port()),
            send_back_addr: multiaddr(remote.ip(), remote.port()),
        })
    }
}
