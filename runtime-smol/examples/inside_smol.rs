//! A node on a smol program's own executor. This is all it takes.
//!
//! Run with: cargo run -p runtime-smol --example inside_smol

use std::sync::Arc;

use futures::StreamExt;
use registry_core::Event;
use registry_node::{Keys, Notice, Registry};
use runtime_smol::Smol;
use smol::Executor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let home = tempfile::tempdir()?;
        let listen = || Ok::<_, Box<dyn std::error::Error>>(vec!["/ip4/127.0.0.1/tcp/0".parse()?]);
        let first = Registry::builder(home.path().join("first"), Keys::ephemeral())
            .listen(listen()?)
            .start(Smol::new(Arc::clone(&executor)))
            .await?;
        let mut events = first.subscribe().await?;
        let second = Registry::builder(home.path().join("second"), Keys::ephemeral())
            .listen(listen()?)
            .bootstrap(first.listen_addrs())
            .start(Smol::new(Arc::clone(&executor)))
            .await?;
        while let Some(notice) = events.next().await {
            if notice == Notice::Event(Event::PeerUp(second.peer_id())) {
                break;
            }
        }
        println!("{} and {} are connected", first.peer_id(), second.peer_id());
        first.shutdown().await;
        second.shutdown().await;
        Ok(())
    }))
}
