//! What the swarm's task sees and handles want to know.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use libp2p_identify::Info;
use libp2p_identity::PeerId;
use libp2p_swarm::SwarmEvent;
use multiaddr::Multiaddr;

use crate::error::PeerError;
use crate::swarm::NodeEvent;

/// Shared by the swarm's task, which writes, and the handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    listen: Vec<Multiaddr>,
    /// One for each connected peer.
    told: HashMap<PeerId, Told>,
}

/// What a peer told of itself.
#[derive(Debug)]
enum Told {
    /// It has not answered yet; to be dropped, so that those who wait look again.
    NotYet(Vec<oneshot::Sender<Infallible>>),
    /// It would not say.
    Nothing,
    /// Its latest word.
    Info(Box<Info>),
}

impl View {
    pub(crate) fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.lock().listen.clone()
    }

    /// What a connected peer told of itself, once it has.
    pub(crate) async fn identify(&self, peer: PeerId) -> Result<Info, PeerError> {
        loop {
            let told = match self.lock().told.get_mut(&peer).ok_or(PeerError::NotConnected)? {
                Told::Info(info) => return Ok((**info).clone()),
                Told::Nothing => return Err(PeerError::Unsupported),
                Told::NotYet(waiting) => {
                    let (asker, told) = oneshot::channel();
                    waiting.retain(|asker| !asker.is_canceled());
                    waiting.push(asker);
                    told
                }
            };
            // It has told now, will not, or is gone.
            let _ = told.await;
        }
    }

    /// The swarm is gone, and nobody is connected any more.
    pub(crate) fn close(&self) {
        self.lock().told.clear();
    }

    pub(crate) fn note(&self, event: &SwarmEvent<NodeEvent>) {
        let Seen { listen, told } = &mut *self.lock();
        match event {
            SwarmEvent::NewListenAddr { address, .. } => listen.push(address.clone()),
            SwarmEvent::ExpiredListenAddr { address, .. } => listen.retain(|known| known != address),
            SwarmEvent::ListenerClosed { addresses, .. } => listen.retain(|known| !addresses.contains(known)),
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                told.entry(*peer_id).or_insert(Told::NotYet(Vec::new()));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => drop(told.remove(peer_id)),
            SwarmEvent::Behaviour(NodeEvent::Identify(event)) => note_identify(told, event),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_identify(told: &mut HashMap<PeerId, Told>, event: &libp2p_identify::Event) {
    match event {
        libp2p_identify::Event::Received { peer_id, info, .. } => {
            if let Some(told) = told.get_mut(peer_id) {
                *told = Told::Info(Box::new(info.clone()));
            }
        }
        libp2p_identify::Event::Error { peer_id, .. } => {
            if let Some(told @ Told::NotYet(_)) = told.get_mut(peer_id) {
                *told = Told::Nothing;
            }
        }
        libp2p_identify::Event::Sent { .. } | libp2p_identify::Event::Pushed { .. } => {}
    }
}
