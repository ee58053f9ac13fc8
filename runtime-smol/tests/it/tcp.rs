//! Our transport and libp2p-tcp on tokio, each as listener and as dialer.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p_core::{Endpoint, Transport as _};
use multiaddr::{Multiaddr, Protocol};
use socket2::{Domain, Socket, Type};

use crate::pair::{Kind, Listening, PAIRS, PATIENCE, connected, travels, unboxed};

const V4: &str = "/ip4/127.0.0.1/tcp/0";
const V6: &str = "/ip6/::1/tcp/0";

fn port(addr: &Multiaddr) -> u16 {
    match addr.iter().nth(1) {
        Some(Protocol::Tcp(port)) => port,
        other => panic!("{addr}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dials_the_other_and_bytes_travel_both_ways() {
    let has_v6 = TcpListener::bind("[::1]:0").is_ok();
    if !has_v6 {
        println!("skipped IPv6: this machine has no ::1");
    }
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (listener, dialer) in PAIRS {
        for addr in [V4, V6].into_iter().take(1 + usize::from(has_v6)) {
            let (mut a, mut b) = connected(listener, dialer, addr).await;
            travels(&mut a, &mut b, b"hello").await;
            travels(&mut b, &mut a, &large).await;
            travels(&mut a, &mut b, &large).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_has_closed_still_reads() {
    for (listener, dialer) in PAIRS {
        let (mut a, mut b) = connected(listener, dialer, V4).await;
        a.write_all(b"a question").await.unwrap();
        a.close().await.unwrap();
        let mut question = Vec::new();
        b.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"a question");
        assert!(a.write_all(b"more").await.is_err(), "its direction is closed");
        travels(&mut b, &mut a, b"an answer").await;
        b.close().await.unwrap();
        assert_eq!(a.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_an_error_to_who_reads_and_leaves_the_listener_alone() {
    for listener in [Kind::Smol, Kind::Tokio] {
        let mut listening = Listening::on(listener, V4).await;
        let stream = TcpStream::connect(("127.0.0.1", port(&listening.addr))).unwrap();
        let (mut accepted, from) = listening.accept().await;
        assert_eq!(port(&from), stream.local_addr().unwrap().port());
        // Closing sends RST now.
        let socket = Socket::from(stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(socket);
        let error = tokio::time::timeout(PATIENCE, accepted.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        let to = listening.addr.clone();
        let (again, _) = futures::join!(Kind::Smol.dial(&to), listening.accept());
        again.unwrap();
    }
    // As the dialer, too.
    let std_listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", std_listener.local_addr().unwrap().port()).parse().unwrap();
    let mut dialled = Kind::Smol.dial(&addr).await.unwrap();
    let socket = Socket::from(std_listener.accept().unwrap().0);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
    let error = tokio::time::timeout(PATIENCE, dialled.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_stand_at_once() {
    const COUNT: usize = 1_000;
    if descriptors() < 3 * COUNT {
        println!("skipped: {COUNT} connections need {} descriptors (ulimit -n)", 3 * COUNT);
        return;
    }
    for (listener, dialer) in [(Kind::Smol, Kind::Tokio), (Kind::Tokio, Kind::Smol)] {
        let mut listening = Listening::on(listener, V4).await;
        let to = listening.addr.clone();
        let dials = join_all((0..COUNT).map(|_| dialer.dial(&to)));
        let accepts = async {
            let mut accepted = Vec::new();
            while accepted.len() < COUNT {
                accepted.push(listening.accept().await.0);
            }
            accepted
        };
        let (mut dialled, mut accepted) = futures::join!(dials, accepts);
        let sent = dialled.iter_mut().enumerate().map(|(number, connection)| async move {
            let connection = connection.as_mut().unwrap();
            connection.write_all(&(number as u32).to_be_bytes()).await.unwrap();
            connection.flush().await.unwrap();
        });
        let read = accepted.iter_mut().map(|connection| async move {
            let mut number = [0; 4];
            connection.read_exact(&mut number).await.unwrap();
            u32::from_be_bytes(number)
        });
        let (_, mut numbers) = futures::join!(join_all(sent), join_all(read));
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..COUNT as u32), "each connection is its own");
    }
}

/// How many this process may have.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)).and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

/// A listener that accepts nobody and has no room for further ones: what is sent to it gets no answer.
fn black_hole() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let connected = socket.connect_timeout(&addr, std::time::Duration::from_millis(300));
        waiting.push(socket);
        if connected.is_err() {
            return (listener, waiting, addr.as_socket().unwrap());
        }
        assert!(waiting.len() < 64, "the queue has no end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_times_out_and_a_closed_port_refuses() {
    let (_listener, _waiting, addr) = black_hole();
    let begun = Instant::now();
    let hole = format!("/ip4/127.0.0.1/tcp/{}", addr.port()).parse().unwrap();
    let error = Kind::Smol.dial(&hole).await.err().expect("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((4..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = format!("/ip4/127.0.0.1/tcp/{closed}").parse().unwrap();
    assert_eq!(Kind::Smol.dial(&closed).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_and_an_unknown_one_is_an_error() {
    let mut listening = Listening::on(Kind::Smol, V4).await;
    for kind in ["dns", "dns4"] {
        let name = format!("/{kind}/localhost/tcp/{}", port(&listening.addr)).parse().unwrap();
        let (mut dialled, (mut accepted, _)) =
            futures::join!(async { Kind::Smol.dial(&name).await.unwrap() }, listening.accept());
        travels(&mut dialled, &mut accepted, b"by name").await;
    }
    let unknown = "/dns4/there-is-no-such-host.invalid/tcp/1".parse().unwrap();
    assert!(Kind::Smol.dial(&unknown).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_listener_says_so_and_its_port_is_free() {
    let mut listening = Listening::on(Kind::Smol, V4).await;
    let to = listening.addr.clone();
    let (dialled, (mut accepted, _)) = futures::join!(Kind::Tokio.dial(&to), listening.accept());
    assert!(!listening.transport.remove_listener(ListenerId::next()));
    assert!(listening.transport.remove_listener(listening.id));
    let closed = listening.next().await;
    let id = listening.id;
    assert!(matches!(closed, TransportEvent::ListenerClosed { listener_id, reason: Ok(()) } if listener_id == id));
    assert_eq!(Kind::Tokio.dial(&to).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
    // Its connections stay, and do not hold the port.
    travels(&mut dialled.unwrap(), &mut accepted, b"still here").await;
    listening.transport.listen_on(ListenerId::next(), to.clone()).unwrap();
    assert!(matches!(listening.next().await, TransportEvent::NewAddress { listen_addr, .. } if listen_addr == to));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_other_transports_are_left_to_them() {
    let mut transport = Kind::Smol.transport();
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    for text in ["/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/1", "/dnsaddr/localhost"] {
        let addr: Multiaddr = text.parse().unwrap();
        let refused = transport.dial(addr.clone(), opts).err();
        assert!(matches!(refused, Some(TransportError::MultiaddrNotSupported(of)) if of == addr), "{text}");
    }
    for text in ["/ip4/127.0.0.1/udp/1/quic-v1", "/dns4/localhost/tcp/1"] {
        let refused = transport.listen_on(ListenerId::next(), text.parse().unwrap());
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(_))), "{text}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let refused = transport.listen_on(ListenerId::next(), format!("/ip4/127.0.0.1/tcp/{taken}").parse().unwrap());
    let Err(TransportError::Other(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(unboxed(error).kind(), ErrorKind::AddrInUse);
    drop(holder);
}
