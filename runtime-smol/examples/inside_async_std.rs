//! A node in an async-std program, which neither knows nor needs a second runtime.
//!
//! Run with: cargo run -p runtime-smol --example inside_async_std

use std::error::Error;
use std::time::Duration;

use async_std::{fs, task};
use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_node::{Existing, Keys, Registry};
use runtime_smol::Smol;

async fn node(home: &std::path::Path, join: Vec<registry_node::Multiaddr>) -> Result<Registry, Box<dyn Error>> {
    fs::create_dir_all(home).await?;
    let builder = Registry::builder(home.join("store"), Keys::load_or_create(home)?);
    Ok(builder.listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?]).bootstrap(join).start(Smol::global()).await?)
}

async fn exchange() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let publisher = node(&dir.path().join("publisher"), Vec::new()).await?;
    let reader = node(&dir.path().join("reader"), publisher.listen_addrs()).await?;

    let text = dir.path().join("hello.txt");
    fs::write(&text, "hello from async-std").await?;
    let spec = PackageSpec { publisher: None, name: Name::new("hello")?, version: None };
    let version = Version::new("1.0.0", Scheme::Semver)?;
    // The content is what is packed of the file.
    let release = NewRelease::new(spec.name.clone(), version, Content::Unknown);
    let published = publisher.publish(text, release).await?.await?;
    println!("published {}, told {} peers", published.release.release.meta.name.as_str(), published.sent);

    let out = dir.path().join("out");
    while reader.info(spec.clone()).await?.is_empty() {
        // The program's own timers run on beside the node.
        task::sleep(Duration::from_millis(50)).await;
    }
    reader.get(spec, &out, Existing::Refuse).await?;
    assert_eq!(fs::read_to_string(out.join("hello.txt")).await?, "hello from async-std");
    println!("the other node has it");
    reader.shutdown().await;
    publisher.shutdown().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(exchange())
}
