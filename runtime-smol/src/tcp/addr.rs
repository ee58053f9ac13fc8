//! Multiaddresses and socket addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use multiaddr::{Multiaddr, Protocol};

/// What a multiaddress stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Socket(SocketAddr),
    Name { host: String, port: u16, family: Family },
}

/// Which of a name's addresses are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    fn has(self, addr: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => addr.is_ipv4(),
            Self::V6 => addr.is_ipv6(),
        }
    }
}

impl Target {
    /// `None` for everything but a host, a TCP port and perhaps a peer id.
    pub(super) fn of(addr: &Multiaddr) -> Option<Self> {
        let mut parts = addr.iter();
        let (host, Protocol::Tcp(port)) = (parts.next()?, parts.next()?) else { return None };
        if !matches!((parts.next(), parts.next()), (None | Some(Protocol::P2p(_)), None)) {
            return None;
        }
        let name = |host: &str, family| Self::Name { host: host.into(), port, family };
        match host {
            Protocol::Ip4(ip) => Some(Self::Socket((ip, port).into())),
            Protocol::Ip6(ip) => Some(Self::Socket((ip, port).into())),
            Protocol::Dns(host) => Some(name(&host, Family::Any)),
            Protocol::Dns4(host) => Some(name(&host, Family::V4)),
            Protocol::Dns6(host) => Some(name(&host, Family::V6)),
            _ => None,
        }
    }

    /// Somebody may be there.
    pub(super) fn can_be_dialled(&self) -> bool {
        match self {
            Self::Socket(addr) => addr.port() != 0 && !addr.ip().is_unspecified(),
            Self::Name { port, .. } => *port != 0,
        }
    }

    /// All its addresses, by the system's resolver.
    pub(super) async fn resolve(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Socket(addr) => Ok(vec![addr]),
            Self::Name { host, port, family } => {
                let mut addrs = smol::net::resolve((host, port)).await?;
                addrs.retain(|addr| family.has(addr));
                Ok(addrs)
            }
        }
    }
}

pub(super) fn multiaddr(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::from(ip).with(Protocol::Tcp(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Target> {
        Target::of(&text.parse().unwrap())
    }

    #[test]
    fn hosts_with_a_tcp_port_are_targets_and_nothing_else_is() {
        let peer = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy49tpPV95XdKu1BcvMA";
        assert_eq!(of("/ip4/192.0.2.1/tcp/7"), Some(Target::Socket("192.0.2.1:7".parse().unwrap())));
        assert_eq!(of(&format!("/ip6/::1/tcp/7/p2p/{peer}")), Some(Target::Socket("[::1]:7".parse().unwrap())));
        for (kind, family) in [("dns", Family::Any), ("dns4", Family::V4), ("dns6", Family::V6)] {
            let host = "example.org".to_string();
            assert_eq!(of(&format!("/{kind}/example.org/tcp/7")), Some(Target::Name { host, port: 7, family }));
        }
        for other in [
            "/ip4/192.0.2.1",
            "/ip4/192.0.2.1/udp/7",
            "/ip4/192.0.2.1/tcp/7/ws",
            "/tcp/7",
            "/dnsaddr/example.org",
            &format!("/ip4/192.0.2.1/tcp/7/p2p/{peer}/p2p-circuit"),
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert!(!of("/ip4/0.0.0.0/tcp/7").unwrap().can_be_dialled());
        assert!(!of("/ip6/::1/tcp/0").unwrap().can_be_dialled());
        assert!(!of("/dns/example.org/tcp/0").unwrap().can_be_dialled());
        assert!(of("/ip6/::1/tcp/7").unwrap().can_be_dialled());
    }

    #[test]
    fn a_name_has_the_addresses_of_its_family() {
        let v4 = smol::block_on(of("/dns4/localhost/tcp/7").unwrap().resolve()).unwrap();
        assert_eq!(v4, ["127.0.0.1:7".parse().unwrap()]);
        // Not every machine has IPv6.
        let v6 = smol::block_on(of("/dns6/localhost/tcp/7").unwrap().resolve()).unwrap();
        assert!(v6.iter().all(SocketAddr::is_ipv6), "{v6:?}");
    }
}
