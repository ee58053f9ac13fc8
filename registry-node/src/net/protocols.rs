//! Protocol names, and their negotiation on new streams.

use std::future::{Ready, ready};
use std::sync::Arc;

use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_swarm::{Stream, StreamProtocol};
use registry_core::Protocol;
use registry_core::input::{GossipVersion, ProtocolSet};
use registry_core::wire::{BITSWAP_PROTOCOL, GOSSIP_PROTOCOLS, REGISTRY_PROTOCOL};

const GOSSIP: [(GossipVersion, StreamProtocol); 3] = [
    (GossipVersion::V1_2, StreamProtocol::new(GOSSIP_PROTOCOLS[0])),
    (GossipVersion::V1_1, StreamProtocol::new(GOSSIP_PROTOCOLS[1])),
    (GossipVersion::V1_0, StreamProtocol::new(GOSSIP_PROTOCOLS[2])),
];
const BITSWAP: StreamProtocol = StreamProtocol::new(BITSWAP_PROTOCOL);
const REGISTRY: StreamProtocol = StreamProtocol::new(REGISTRY_PROTOCOL);

/// All protocols under their names, ready to be offered. Cheap to clone: the swarm asks at each poll of a connection.
#[derive(Clone, Debug)]
pub(super) struct Names {
    server: Arc<[StreamProtocol]>,
    client: Arc<[StreamProtocol]>,
    kad: StreamProtocol,
}

impl Names {
    pub(super) fn new(kad: StreamProtocol, registry: bool) -> Self {
        let gossip = GOSSIP.into_iter().map(|(_, name)| name);
        let client: Vec<_> = gossip.chain([BITSWAP]).chain(registry.then_some(REGISTRY)).collect();
        let server = client.iter().cloned().chain([kad.clone()]).collect();
        Self { server, client: client.into(), kad }
    }

    /// What to offer: a DHT client does not serve the DHT (K7).
    pub(super) fn inbound(&self, server: bool) -> Offer {
        Offer { names: if server { Arc::clone(&self.server) } else { Arc::clone(&self.client) }, kad: self.kad.clone() }
    }

    pub(super) fn outbound(&self, protocol: Protocol) -> Offer {
        let names: Vec<_> = match protocol {
            Protocol::Kad => vec![self.kad.clone()],
            Protocol::Gossip => GOSSIP.into_iter().map(|(_, name)| name).collect(),
            Protocol::Bitswap => vec![BITSWAP],
            Protocol::Registry => vec![REGISTRY],
        };
        Offer { names: names.into(), kad: self.kad.clone() }
    }

    /// What a peer's identify says it serves.
    pub(super) fn served(&self, names: &[StreamProtocol]) -> ProtocolSet {
        ProtocolSet {
            kad: names.contains(&self.kad),
            gossip: GOSSIP.iter().find(|(_, name)| names.contains(name)).map(|(version, _)| *version),
            bitswap: names.contains(&BITSWAP),
            registry: names.contains(&REGISTRY),
        }
    }
}

/// Offers names and gives the bare stream of the one agreed upon.
#[derive(Clone, Debug)]
pub struct Offer {
    names: Arc<[StreamProtocol]>,
    kad: StreamProtocol,
}

impl Offer {
    fn protocol(&self, name: &StreamProtocol) -> Protocol {
        match name {
            name if *name == self.kad => Protocol::Kad,
            name if *name == BITSWAP => Protocol::Bitswap,
            name if *name == REGISTRY => Protocol::Registry,
            _ => Protocol::Gossip,
        }
    }
}

/// Iterates over shared names without copying the list.
#[derive(Clone, Debug)]
pub struct NameIter {
    names: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for NameIter {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.names.get(self.next).cloned();
        self.next += 1;
        name
    }
}

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = NameIter;

    fn protocol_info(&self) -> NameIter {
        NameIter { names: Arc::clone(&self.names), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((self.protocol(&name), stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((self.protocol(&name), stream)))
    }
}
