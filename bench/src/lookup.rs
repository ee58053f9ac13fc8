//! `bench lookup`: processor time of looking up the 20 servers closest to a random key.

use std::error::Error;
use std::time::Instant;

use registry_core::Digest;

use crate::networks::{Arena, Meter, Network, Rival, Wharf, median};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Nodes of each network.
    #[arg(long, default_value_t = 50)]
    nodes: usize,

    /// In each, every node looks up one key, in one network after the other; a first one is not counted.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

#[derive(Default)]
struct Figures {
    /// Microseconds of processor time per lookup, of each round.
    gross: Vec<f64>,
    net: Vec<f64>,
    /// Milliseconds from question to answer.
    wall: Vec<f64>,
    found: usize,
}

impl Figures {
    async fn round(&mut self, meter: Meter, network: &impl Network, keys: &[Digest]) -> Result<(), Box<dyn Error>> {
        for (node, key) in keys.iter().enumerate() {
            let start = Instant::now();
            self.found += network.closest(node, &key.0).await?;
            self.wall.push(1e3 * start.elapsed().as_secs_f64());
        }
        let (gross, net) = meter.read();
        self.gross.push(1e6 * gross / keys.len() as f64);
        self.net.push(1e6 * net / keys.len() as f64);
        Ok(())
    }

    fn print(self, name: &str) -> f64 {
        let net = median(self.net);
        println!(
            "{name:<7} {net:6.0} µs of CPU per lookup ({:.0} with the idle share), {:.1} ms, {:.1} peers found, {} lookups",
            median(self.gross),
            median(self.wall.clone()),
            self.found as f64 / self.wall.len() as f64,
            self.wall.len(),
        );
        net
    }
}

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let arena = Arena::start(options.nodes).await?;
    let (mut wharf, mut rival) = (Figures::default(), Figures::default());
    for round in 0..=options.rounds {
        let keys: Vec<_> = (0..options.nodes).map(|node| Digest::of(format!("{round} {node}").as_bytes())).collect();
        wharf.round(arena.idle.meter(), &arena.wharf.0, &keys).await?;
        rival.round(arena.idle.meter(), &arena.rival.0, &keys).await?;
        if round == 0 {
            (wharf, rival) = Default::default();
        }
    }
    let ratio = wharf.print(Wharf::NAME) / rival.print(Rival::NAME);
    println!("ratio {ratio:.2}");
    Ok(())
}
