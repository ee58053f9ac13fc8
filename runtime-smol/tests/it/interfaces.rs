//! Listeners on all addresses of a machine whose addresses change: in a network namespace of its own.

use std::net::IpAddr;
use std::process::Command;

use libp2p_core::transport::TransportEvent;
use multiaddr::Protocol;

use crate::pair::{Kind, Listening};

/// Set for the run inside of the namespace.
const INSIDE: &str = "WHARF_TEST_INSIDE";

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The next change of the listener's addresses: which, and whether it came.
async fn change(listening: &mut Listening) -> (IpAddr, bool) {
    let (addr, up) = match listening.next().await {
        TransportEvent::NewAddress { listen_addr, .. } => (listen_addr, true),
        TransportEvent::AddressExpired { listen_addr, .. } => (listen_addr, false),
        other => panic!("{other:?}"),
    };
    match (addr.iter().next(), listening.addr.iter().nth(1)) {
        (Some(Protocol::Ip4(ip)), port) if port == addr.iter().nth(1) => (ip.into(), up),
        (Some(Protocol::Ip6(ip)), port) if port == addr.iter().nth(1) => (ip.into(), up),
        other => panic!("{addr}: {other:?}"),
    }
}

async fn addresses_come_and_go() {
    ip("link set lo up");
    let mut v4 = Listening::on(Kind::Smol, "/ip4/0.0.0.0/tcp/0").await;
    assert_eq!(v4.addr.iter().next(), Some(Protocol::Ip4([127, 0, 0, 1].into())));
    // Beside it, on the same port.
    let Some(Protocol::Tcp(port)) = v4.addr.iter().nth(1) else { panic!("{}", v4.addr) };
    let mut v6 = Listening::on(Kind::Smol, &format!("/ip6/::/tcp/{port}")).await;

    let (new4, new6): (IpAddr, IpAddr) = ("10.9.8.7".parse().unwrap(), "fd00::7".parse().unwrap());
    ip("addr add 10.9.8.7/32 dev lo");
    ip("addr add fd00::7/128 dev lo nodad");
    assert_eq!(change(&mut v4).await, (new4, true));
    assert_eq!(change(&mut v6).await, (new6, true));
    let to = format!("/ip4/10.9.8.7/tcp/{port}").parse().unwrap();
    let (dialled, event) = futures::join!(Kind::Smol.dial(&to), v4.next());
    dialled.unwrap();
    assert!(matches!(event, TransportEvent::Incoming { local_addr, .. } if local_addr == to));
    ip("addr del 10.9.8.7/32 dev lo");
    ip("addr del fd00::7/128 dev lo");
    assert_eq!(change(&mut v4).await, (new4, false));
    assert_eq!(change(&mut v6).await, (new6, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_on_all_addresses_tells_of_each_that_comes_or_goes() {
    const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];
    if std::env::var_os(INSIDE).is_some() {
        return addresses_come_and_go().await;
    }
    let allowed = Command::new("unshare").args(NAMESPACE).args(["ip", "link", "set", "lo", "up"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("skipped: no network namespace of its own (unshare, ip)");
        return;
    }
    let test = "interfaces::a_listener_on_all_addresses_tells_of_each_that_comes_or_goes";
    let mut again = Command::new("unshare");
    again.args(NAMESPACE).arg(std::env::current_exe().unwrap()).args(["--exact", test]).env(INSIDE, "1");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
