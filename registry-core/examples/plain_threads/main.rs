//! Two nodes on plain threads exchange a package: blocking sockets, a channel and a loop. No async, no libp2p.
//!
//! Run with: cargo run -p registry-core --example plain_threads

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell has a clock and I/O, which the core must not"
)]

mod shell;

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_core::exchange::unixfs::FileBuilder;
use registry_core::input::Side;
use registry_core::{Command, Event};

use shell::{Shell, greet};

const TEXT: &[u8] = b"hello from a thread";

fn release(content: Content) -> NewRelease {
    let name = Name::new("hello").expect("letters");
    let version = Version::new("1.0.0", Scheme::Semver).expect("a version");
    NewRelease { summary: "what one thread tells another".into(), ..NewRelease::new(name, version, content) }
}

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr()?.port()).parse().expect("an address");
    let (ready, publisher) = channel();
    let one = thread::spawn(move || {
        let mut shell = Shell::new(1);
        let (id, tell) = (shell.id, shell.tell.clone());
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| greet(stream, id, Side::Listener, tell.clone()))
        });
        let mut file = FileBuilder::new();
        let mut blocks = file.push(TEXT.into());
        let built = file.finish();
        blocks.extend(built.blocks);
        shell.blocks.extend(blocks.into_iter().map(|block| (block.id.digest, block.data)));
        let content = Content::Root { root: built.tree.id, size: built.tree.size };
        shell.run(Command::Publish(release(content)));
        ready.send(shell.publisher_id).expect("somebody waits");
        shell.until(|event| matches!(event, Event::PeerDown(_)));
    });

    let mut shell = Shell::new(2);
    let publisher = Some(publisher.recv().expect("the other thread publishes"));
    shell.run(Command::Connect(addr));
    let spec = PackageSpec { publisher, name: Name::new("hello").expect("letters"), version: None };
    let Event::Resolved { release, .. } = shell.run(Command::Resolve(spec)) else { unreachable!("it ends so") };
    let Content::Root { root, .. } = release.release.meta.content else { unreachable!("it has content") };
    shell.run(Command::Fetch(root));
    assert_eq!(shell.blocks[&root.digest], TEXT);
    println!("{} is here: {}", release.release.meta.summary, String::from_utf8_lossy(&shell.blocks[&root.digest]));
    // Its sockets close, and the other thread ends.
    drop(shell);
    one.join().expect("the other thread ends well");
    Ok(())
}
