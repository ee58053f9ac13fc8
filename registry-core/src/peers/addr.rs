//! Which addresses are worth keeping, and in which order to try them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

use crate::id::PeerId;

/// Kept per peer: a host rarely has more useful ones, and every further one is a dial to a possible victim.
pub(super) const MAX_ADDRS: usize = 8;

/// Of these at most so many confirmed ones, so that there is always room for what is new.
const MAX_CONFIRMED: usize = 4;

/// Looked at per list; the rest of a longer one is ignored, so that a list of 10,000 costs no more than this.
const MAX_CONSIDERED: usize = 64;

/// Bytes of one address; relayed ones with two peer ids and a DNS name fit.
const MAX_ADDR_LEN: usize = 256;

/// How far an address reaches. The order is the order of dialling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum AddrClass {
    Public,
    Dns,
    Private,
    Loopback,
    Relayed,
}

impl AddrClass {
    /// `None` when nobody could be reached there: no host, no port, an unspecified or multicast address.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most of multiaddr's protocols name no host")]
    pub(super) fn of(addr: &Multiaddr) -> Option<Self> {
        if addr.is_empty() || addr.len() > MAX_ADDR_LEN {
            return None;
        }
        let mut parts = addr.iter();
        let (host, needs_port) = match parts.next()? {
            Protocol::Ip4(ip) => (Self::of_ip4(ip)?, true),
            Protocol::Ip6(ip) => (Self::of_ip6(ip)?, true),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => (Self::of_name(&name)?, true),
            Protocol::Dnsaddr(name) => (Self::of_name(&name)?, false),
            Protocol::Memory(port) => ((port != 0).then_some(Self::Loopback)?, false),
            _ => return None,
        };
        let port = match parts.next() {
            Some(Protocol::Tcp(port) | Protocol::Udp(port)) => port != 0,
            _ => false,
        };
        let relayed = addr.iter().any(|part| matches!(part, Protocol::P2pCircuit));
        (port || !needs_port).then_some(if relayed { Self::Relayed } else { host })
    }

    fn of_ip4(ip: Ipv4Addr) -> Option<Self> {
        let [a, b, ..] = ip.octets();
        let shared = a == 100 && b & 0xC0 == 64;
        if a == 0 || ip.is_multicast() || ip.is_broadcast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_private() || ip.is_link_local() || shared {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }

    fn of_ip6(ip: Ipv6Addr) -> Option<Self> {
        if let Some(ip) = ip.to_ipv4_mapped() {
            return Self::of_ip4(ip);
        }
        if ip.is_unspecified() || ip.is_multicast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_unique_local() || ip.is_unicast_link_local() {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        match name {
            "" => None,
            "localhost" => Some(Self::Loopback),
            _ => Some(Self::Dns),
        }
    }

    /// In a public network the other classes lead nowhere, or into somebody's private network.
    pub(super) fn is_allowed(self, allow_private: bool) -> bool {
        allow_private || matches!(self, Self::Public | Self::Dns)
    }
}

/// Splits a trailing `/p2p/<id>` off. `None` when the id is of a kind this network does not know.
pub(super) fn split_peer(addr: &Multiaddr) -> Option<(Multiaddr, Option<PeerId>)> {
    match addr.iter().last() {
        Some(Protocol::P2p(id)) => {
            let id = PeerId::from_bytes(&id.to_bytes()).ok()?;
            let mut addr = addr.clone();
            addr.pop();
            Some((addr, Some(id)))
        }
        _ => Some((addr.clone(), None)),
    }
}

/// The address without the peer's own id at its end; `None` when it ends in another peer's id.
pub(super) fn strip_peer(addr: &Multiaddr, peer: &PeerId) -> Option<Multiaddr> {
    let (addr, id) = split_peer(addr)?;
    id.is_none_or(|id| id == *peer).then_some(addr)
}

/// The addresses of a peer that pass the policy, without its id, as many as may be considered.
pub(super) fn acceptable(peer: PeerId, addrs: &[Multiaddr], allow_private: bool) -> impl Iterator<Item = Multiaddr> {
    addrs
        .iter()
        .take(MAX_CONSIDERED)
        .filter(move |addr| AddrClass::of(addr).is_some_and(|class| class.is_allowed(allow_private)))
        .filter_map(move |addr| strip_peer(addr, &peer))
}

/// One peer's addresses, best first: confirmed ones (latest first), then those it has told itself and then hearsay, each
/// by class. Shared with the messages that carry them: most peers have one list, and many tell of it.
#[derive(Debug, Default)]
pub(super) struct Addrs {
    list: Arc<[Multiaddr]>,
    confirmed: u8,
    /// Confirmed or told by the peer itself.
    first_hand: u8,
}

impl Addrs {
    pub(super) fn all(&self) -> &Arc<[Multiaddr]> {
        &self.list
    }

    /// Those that were dialled with success.
    pub(super) fn confirmed(&self) -> &[Multiaddr] {
        self.list.get(..usize::from(self.confirmed)).unwrap_or_default()
    }

    /// Those that the peer has told itself, as far as they are not confirmed.
    pub(super) fn told(&self) -> &[Multiaddr] {
        self.list.get(usize::from(self.confirmed)..usize::from(self.first_hand)).unwrap_or_default()
    }

    /// First-hand: this address led to the peer. True when that was not known.
    pub(super) fn confirm(&mut self, addr: Multiaddr) -> bool {
        let known = self.list.iter().position(|known| *known == addr);
        let fresh = known.is_none_or(|at| at >= usize::from(self.confirmed));
        if known != Some(0) {
            let others = self.list.iter().filter(|known| **known != addr).cloned();
            self.list = core::iter::once(addr.clone()).chain(others).take(MAX_ADDRS).collect();
        }
        if fresh {
            self.confirmed = self.confirmed.saturating_add(1).min(MAX_CONFIRMED as u8);
        }
        if known.is_none_or(|at| at >= usize::from(self.first_hand)) {
            self.first_hand = self.first_hand.saturating_add(1).min(MAX_ADDRS as u8);
        }
        fresh
    }

    /// The peer's own word replaces what was not confirmed.
    pub(super) fn tell(&mut self, addrs: impl Iterator<Item = Multiaddr>) {
        self.forget_unconfirmed();
        self.hear(addrs, false);
        self.first_hand = self.list.len() as u8;
    }

    pub(super) fn forget_unconfirmed(&mut self) {
        if self.list.len() > usize::from(self.confirmed) {
            self.list = self.confirmed().into();
        }
        self.first_hand = self.confirmed;
    }

    /// Hearsay: fills free room only; with `displace`, the last unconfirmed one makes room for each. True when one was
    /// added.
    pub(super) fn hear(&mut self, addrs: impl Iterator<Item = Multiaddr>, displace: bool) -> bool {
        let mut list = Vec::new();
        for addr in addrs {
            let known = if list.is_empty() { &self.list[..] } else { &list };
            if known.contains(&addr) || (known.len() >= MAX_ADDRS && !displace) {
                continue;
            }
            if list.is_empty() {
                list = self.list.to_vec();
            }
            list.truncate(MAX_ADDRS - 1);
            self.first_hand = self.first_hand.min(MAX_ADDRS as u8 - 1);
            let hearsay = usize::from(self.first_hand);
            let class = AddrClass::of(&addr);
            let at = list.iter().skip(hearsay).take_while(|known| AddrClass::of(known) <= class).count();
            list.insert(hearsay + at, addr);
        }
        let added = !list.is_empty();
        if added {
            self.list = list.into();
        }
        added
    }

    /// Takes over a list that has the same addresses in the same order.
    pub(super) fn share(&mut self, list: &Arc<[Multiaddr]>) {
        if self.list == *list {
            self.list = list.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn classes_follow_the_reach_of_an_address() {
        let cases = [
            ("/ip4/8.8.8.8/tcp/1", Some(AddrClass::Public)),
            ("/ip4/8.8.8.8/udp/1/quic-v1", Some(AddrClass::Public)),
            ("/ip4/10.1.2.3/tcp/1", Some(AddrClass::Private)),
            ("/ip4/100.64.0.1/tcp/1", Some(AddrClass::Private)),
            ("/ip4/169.254.0.1/tcp/1", Some(AddrClass::Private)),
            ("/ip4/127.0.0.1/tcp/1", Some(AddrClass::Loopback)),
            ("/memory/7", Some(AddrClass::Loopback)),
            ("/ip6/::1/tcp/1", Some(AddrClass::Loopback)),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Some(AddrClass::Private)),
            ("/ip6/fe80::1/tcp/1", Some(AddrClass::Private)),
            ("/ip6/fd00::1/tcp/1", Some(AddrClass::Private)),
            ("/ip6/2a00::1/tcp/1", Some(AddrClass::Public)),
            ("/dns4/node.example/tcp/1", Some(AddrClass::Dns)),
            ("/dnsaddr/node.example", Some(AddrClass::Dns)),
            (
                "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS/p2p-circuit",
                Some(AddrClass::Relayed),
            ),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/224.0.0.1/tcp/1", None),
            ("/ip4/255.255.255.255/tcp/1", None),
            ("/ip4/8.8.8.8/tcp/0", None),
            ("/ip4/8.8.8.8", None),
            ("/ip6/::/tcp/1", None),
            ("/tcp/1", None),
            ("/unix/tmp", None),
        ];
        for (text, class) in cases {
            assert_eq!(AddrClass::of(&addr(text)), class, "{text}");
        }
        assert_eq!(AddrClass::of(&Multiaddr::empty()), None);
    }

    #[test]
    fn hearsay_is_ordered_by_class_and_fills_free_room_only() {
        let mut addrs = Addrs::default();
        assert!(addrs.hear([addr("/ip4/127.0.0.1/tcp/1")].into_iter(), false));
        assert!(addrs.hear([addr("/ip4/8.8.8.8/tcp/1")].into_iter(), false));
        assert!(!addrs.hear([addr("/ip4/8.8.8.8/tcp/1")].into_iter(), false));
        assert!(addrs.confirm(addr("/ip4/10.0.0.1/tcp/1")));
        assert!(!addrs.confirm(addr("/ip4/10.0.0.1/tcp/1")));
        let order = ["/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/127.0.0.1/tcp/1"].map(addr);
        assert_eq!(addrs.all()[..], order);
        for port in 1..20 {
            addrs.hear([addr(&format!("/ip4/9.9.9.9/tcp/{port}"))].into_iter(), false);
        }
        assert_eq!(addrs.all().len(), MAX_ADDRS);
        assert!(!addrs.hear([addr("/ip4/7.7.7.7/tcp/1")].into_iter(), false));
        assert!(addrs.hear([addr("/ip4/7.7.7.7/tcp/1")].into_iter(), true));
        assert_eq!(addrs.confirmed(), [addr("/ip4/10.0.0.1/tcp/1")]);
    }

    #[test]
    fn only_a_well_formed_id_is_split_off() {
        let id = PeerId::from_ed25519(&[3; 32]);
        let whole = addr(&format!("/ip4/8.8.8.8/tcp/1/p2p/{id}"));
        assert_eq!(split_peer(&whole), Some((addr("/ip4/8.8.8.8/tcp/1"), Some(id))));
        assert_eq!(strip_peer(&whole, &id), Some(addr("/ip4/8.8.8.8/tcp/1")));
        assert_eq!(strip_peer(&whole, &PeerId::from_ed25519(&[4; 32])), None);
        assert_eq!(split_peer(&addr("/ip4/8.8.8.8/tcp/1")), Some((addr("/ip4/8.8.8.8/tcp/1"), None)));
    }

    proptest! {
        #[test]
        fn confirmed_addresses_survive_hearsay(steps in proptest::collection::vec((0u8..4, 1u16..30), 0..80)) {
            let mut addrs = Addrs::default();
            let mut confirmed = vec![];
            for (what, port) in steps {
                let it = addr(&format!("/ip4/8.8.8.8/tcp/{port}"));
                match what {
                    0 => {
                        addrs.confirm(it.clone());
                        confirmed.retain(|known| *known != it);
                        confirmed.insert(0, it);
                        confirmed.truncate(MAX_CONFIRMED);
                    }
                    1 => { addrs.hear([it].into_iter(), false); }
                    2 => {
                        addrs.tell([it.clone()].into_iter());
                        prop_assert!(addrs.confirmed().contains(&it) || addrs.told() == [it]);
                    }
                    _ => { addrs.hear([it].into_iter(), true); }
                }
                prop_assert_eq!(addrs.confirmed(), &confirmed[..]);
                prop_assert!(addrs.all().len() <= MAX_ADDRS);
                prop_assert!(addrs.all().starts_with(&[addrs.confirmed(), addrs.told()].concat()));
                let mut distinct = addrs.all().to_vec();
                distinct.sort();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), addrs.all().len());
            }
        }
    }
}
