//! Where nodes are, how long bytes take between them, and what a connection is.

use std::net::Ipv4Addr;

use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

use crate::mix::{Domain, draw, scale};

/// Side of the square in which nodes lie, in microseconds of one-way delay: the median distance is then some 65 ms.
const SIDE: u64 = 130_000;
/// What even neighbours take, one way, in microseconds.
const FLOOR: u64 = 2_000;
/// Round trips from a dial to an open connection: TCP, noise with its negotiation, yamux.
pub const HANDSHAKE_ROUND_TRIPS: u64 = 3;
/// The port every node listens on.
const PORT: u16 = 4001;

/// How messages get from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// What is lost stays lost; messages may come twice, and in any order.
    #[default]
    Datagrams,
    /// What is lost is sent again, and all that follows waits; or the connection breaks.
    Streams,
}

/// Delays of one run.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    seed: u64,
    /// The same round trip between all nodes, in microseconds; `None` for coordinates.
    fixed_rtt: Option<u64>,
}

impl Net {
    /// `fixed_rtt` in microseconds.
    pub fn new(seed: u64, fixed_rtt: Option<u64>) -> Self {
        Self { seed, fixed_rtt }
    }

    /// The usual one-way delay between two nodes, in microseconds; the same in both directions.
    pub fn one_way(&self, a: u32, b: u32) -> u64 {
        if let Some(rtt) = self.fixed_rtt {
            return (rtt / 2).max(1);
        }
        let ((ax, ay), (bx, by)) = (self.place(a), self.place(b));
        let (dx, dy) = (ax.abs_diff(bx), ay.abs_diff(by));
        FLOOR + (dx * dx + dy * dy).isqrt()
    }

    /// The usual round trip between two nodes, in microseconds.
    pub fn rtt(&self, a: u32, b: u32) -> u64 {
        2 * self.one_way(a, b)
    }

    /// The delay of one message: up to a tenth more than usual, except with a fixed round trip.
    pub fn delay(&self, from: u32, to: u32, seq: u64) -> u64 {
        let usual = self.one_way(from, to);
        match self.fixed_rtt {
            Some(_) => usual,
            None => usual + scale(draw(self.seed, Domain::Jitter, u64::from(from), seq), usual / 10),
        }
    }

    fn place(&self, node: u32) -> (u64, u64) {
        let bits = draw(self.seed, Domain::Coordinates, u64::from(node), 0);
        (((bits >> 32) * SIDE) >> 32, ((bits & 0xffff_ffff) * SIDE) >> 32)
    }
}

/// The address a node listens on.
pub fn listen_addr(node: u32) -> Multiaddr {
    addr(node, PORT)
}

/// The address a node's outbound connections come from: some port.
pub fn ephemeral_addr(node: u32, port: u16) -> Multiaddr {
    addr(node, 49_152 | port)
}

/// The node that listens on an address.
pub fn node_at(addr: &Multiaddr) -> Option<u32> {
    let mut parts = addr.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(PORT))) => match ip.octets() {
            [10, a, b, c] => Some(u32::from_be_bytes([0, a, b, c])),
            _ => None,
        },
        _ => None,
    }
}

fn addr(node: u32, port: u16) -> Multiaddr {
    let [_, a, b, c] = node.to_be_bytes();
    Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::new(10, a, b, c))).with(Protocol::Tcp(port))
}

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The same on both sides.
    pub conn: u64,
    /// This side knows that it is open.
    pub up: bool,
    /// Nothing sent from this side arrives earlier.
    pub not_before: u64,
    /// When the last message of each long-lived stream arrives: streams keep their order.
    pub streams: [u64; 2],
}

impl Link {
    /// A new connection whose other side will know of it at `not_before`.
    pub fn new(conn: u64, up: bool, not_before: u64) -> Self {
        Self { conn, up, not_before, streams: [not_before; 2] }
    }

    /// When a message sent now, with this delay, arrives.
    pub fn arrival(&mut self, at: u64, stream: Option<usize>) -> u64 {
        match stream {
            Some(stream) => {
                let arrival = at.max(self.streams[stream] + 1);
                self.streams[stream] = arrival;
                arrival
            }
            None => at.max(self.not_before + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_symmetric_and_lie_where_the_internet_is() {
        let net = Net::new(1, None);
        let mut delays: Vec<u64> = (0..2_000).map(|i| net.one_way(i, 5_000 + i)).collect();
        assert!((0..50).all(|i| net.one_way(i, 99) == net.one_way(99, i)));
        delays.sort_unstable();
        let median = delays[delays.len() / 2];
        assert!((50_000..80_000).contains(&median), "median {median}");
        assert_eq!(Net::new(1, Some(50_000)).rtt(3, 4), 50_000);
    }

    #[test]
    fn addresses_lead_back_to_their_nodes() {
        for node in [0, 1, 255, 256, 70_000] {
            assert_eq!(node_at(&listen_addr(node)), Some(node));
            assert_eq!(node_at(&ephemeral_addr(node, 0)), None);
        }
        assert_eq!(node_at(&"/ip4/127.0.0.1/tcp/4001".parse().unwrap()), None);
    }

    #[test]
    fn a_stream_keeps_its_order_and_requests_do_not_wait_for_it() {
        let mut link = Link::new(1, true, 10);
        assert_eq!(link.arrival(5, Some(0)), 11);
        assert_eq!(link.arrival(50, Some(0)), 50);
        assert_eq!(link.arrival(20, Some(0)), 51);
        assert_eq!(link.arrival(20, Some(1)), 20);
        assert_eq!(link.arrival(20, None), 20);
    }
}
