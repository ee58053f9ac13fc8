//! The registry as one more behaviour in a program's own libp2p swarm.
//!
//! Run with: cargo run -p runtime-tokio --example beside_your_own

use std::error::Error;

use futures::StreamExt;
use libp2p_identify as identify;
use libp2p_ping as ping;
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use registry_node::{Keys, Registry, Runtime, net};
use runtime_tokio::Tokio;

/// What the program speaks: its own protocols, and the registry's.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Mine {
    registry: net::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let keys = Keys::load_or_create(home.path())?;
    let key = keys.node().clone();
    let (node, registry) = Registry::builder(home.path().join("store"), keys).embed(Tokio::current()).await?;

    let identify = identify::Config::new("/my-program/1.0.0".into(), key.public());
    let behaviour = Mine { registry, identify: identify::Behaviour::new(identify), ping: ping::Behaviour::default() };
    let config = libp2p_swarm::Config::with_executor(|task| drop(tokio::spawn(task)));
    let transport = Tokio::current().transport(&key)?;
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);

    // Somebody to talk to: a whole node.
    let other = Registry::builder(home.path().join("other"), Keys::ephemeral());
    let other = other.listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?]).start(Tokio::current()).await?;
    let connected = node.connect(other.listen_addrs()[0].clone());
    tokio::pin!(connected);
    let (mut met, mut pinged) = (false, false);
    while !(met && pinged) {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                // This is all that the registry asks of its neighbours.
                SwarmEvent::Behaviour(MineEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                    let registry = &mut swarm.behaviour_mut().registry;
                    registry.identified(peer_id, &info.protocols, &info.agent_version, &info.listen_addrs);
                }
                SwarmEvent::Behaviour(MineEvent::Ping(event)) => pinged |= event.result.is_ok(),
                _ => {}
            },
            peer = &mut connected, if !met => {
                println!("the registry is connected with {}", peer?);
                met = true;
            }
        }
    }
    println!("and my own protocol runs over the same connection");
    node.shutdown().await;
    other.shutdown().await;
    Ok(())
}
