//! `bench runtimes`: fetching and publishing between two nodes, on tokio and on smol, each with one worker thread.

use std::error::Error;
use std::time::Instant;

use cpu_time::ProcessTime;
use registry_core::catalog::{Content, Name, NewRelease, Scheme, Version};
use registry_node::{Keys, Registry, Runtime};
use runtime_smol::Smol;
use runtime_tokio::Tokio;

use crate::networks::median;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Content that is fetched.
    #[arg(long, default_value_t = 64)]
    mebibytes: usize,

    /// Releases that are published, one after the other.
    #[arg(long, default_value_t = 300)]
    releases: u32,

    /// Two fresh nodes, on one runtime after the other.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
}

/// Seconds on the clock and of processor time, of each round.
#[derive(Default)]
struct Figures {
    fetch: (Vec<f64>, Vec<f64>),
    publish: (Vec<f64>, Vec<f64>),
}

impl Figures {
    async fn round(
        &mut self,
        runtime: impl Runtime + Clone,
        seed: u64,
        options: &Options,
    ) -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let start = async |name: &str| {
            Registry::builder(dir.path().join(name), Keys::ephemeral())
                .listen(vec!["/ip4/127.0.0.1/tcp/0".parse()?])
                .start(runtime.clone())
                .await
                .map_err(Box::<dyn Error>::from)
        };
        let (a, b) = (start("a").await?, start("b").await?);
        b.connect(a.listen_addrs().remove(0)).await?;
        let file = dir.path().join("content");
        std::fs::write(&file, noise(options.mebibytes << 20, seed))?;
        let release = NewRelease::new(Name::new("content")?, version(0)?, Content::Unknown);
        let content = a.publish(&file, release).await?.await?.release.release.meta.content.clone();
        let Content::Root { root, .. } = content else { return Err("no content".into()) };

        let (clock, cpu) = (Instant::now(), ProcessTime::now());
        b.fetch(root).await?.await?;
        note(&mut self.fetch, clock, cpu);

        let (clock, cpu) = (Instant::now(), ProcessTime::now());
        for number in 1..=options.releases {
            let release = NewRelease::new(Name::new("content")?, version(number)?, content.clone());
            a.publish_release(release).await?.await?;
        }
        note(&mut self.publish, clock, cpu);
        a.shutdown().await;
        b.shutdown().await;
        Ok(())
    }

    fn print(self, name: &str, options: &Options) {
        let (size, count) = (options.mebibytes as f64, f64::from(options.releases));
        println!(
            "{name:<6} fetch {:.0} MiB/s, {:.2} ms of CPU per MiB; publish {:.0} releases/s, {:.2} ms of CPU each",
            size / median(self.fetch.0),
            1e3 * median(self.fetch.1) / size,
            count / median(self.publish.0),
            1e3 * median(self.publish.1) / count,
        );
    }
}

fn note(figures: &mut (Vec<f64>, Vec<f64>), clock: Instant, cpu: ProcessTime) {
    figures.0.push(clock.elapsed().as_secs_f64());
    figures.1.push(cpu.elapsed().as_secs_f64());
}

fn version(number: u32) -> Result<Version, &'static str> {
    Version::new(&format!("1.0.{number}"), Scheme::Semver)
}

/// Bytes of which no block comes twice.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let words = (0..len as u64 / 8).map(|word| (word ^ seed << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
    words.flat_map(u64::to_be_bytes).collect()
}

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (mut tokio, mut smol) = (Figures::default(), Figures::default());
    for round in 0..options.rounds {
        tokio.round(Tokio::current(), 2 * round, options).await?;
        smol.round(Smol::global(), 2 * round + 1, options).await?;
    }
    tokio.print("tokio", options);
    smol.print("smol", options);
    Ok(())
}
