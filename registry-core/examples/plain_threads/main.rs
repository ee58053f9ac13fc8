//! Two nodes on plain threads exchange a package: blocking sockets, a channel and a loop. No async, no libp2p.
//!
//! `shell.rs` is what every shell around the core must do; `wire.rs` carries its messages over TCP.
//!
//! Run with: cargo run -p registry-core --example plain_threads

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell has a clock and I/O, which the core must not"
)]

mod shell;
mod wire;

use std::net::TcpListener;
use std::thread;

use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_core::id::Codec;
use registry_core::{BlockId, Command, Digest, Event};

use shell::Shell;

const TEXT: &[u8] = b"hello from a thread";

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr()?.port()).parse().expect("an address");
    let name = Name::new("hello").expect("letters");

    let mut publisher = Shell::new(1);
    publisher.listen(listener);
    // A file as short as this is one block; longer ones are built by `exchange::unixfs`.
    let root = BlockId { codec: Codec::Raw, digest: Digest::of(TEXT) };
    publisher.blocks.insert(root.digest, TEXT.into());
    let version = Version::new("1.0.0", Scheme::Semver).expect("a version");
    let content = Content::Root { root, size: TEXT.len() as u64 };
    publisher.run(Command::Publish(NewRelease::new(name.clone(), version, content)));
    let spec = PackageSpec { publisher: Some(publisher.publisher_id), name, version: None };
    let serving = thread::spawn(move || publisher.until(|event| matches!(event, Event::PeerDown(_))));

    let mut reader = Shell::new(2);
    let Event::Connected { peer, .. } = reader.run(Command::Connect(addr)) else { unreachable!("it ends so") };
    let Event::Resolved { release, .. } = reader.run(Command::Resolve(spec)) else { unreachable!("it ends so") };
    let Content::Root { root, .. } = release.release.meta.content else { unreachable!("it has content") };
    reader.run(Command::Fetch(root));
    assert_eq!(reader.blocks[&root.digest], TEXT);
    println!("{} is here: {}", release.release.meta.name, String::from_utf8_lossy(&reader.blocks[&root.digest]));

    reader.command(Command::Disconnect(peer));
    reader.until(|event| matches!(event, Event::PeerDown(_)));
    serving.join().expect("the other thread ends well");
    Ok(())
}
