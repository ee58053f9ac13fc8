//! `bench gossip`: processor time and latency of delivering signed messages of 1 KiB.

use std::error::Error;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::networks::{Arena, Heard, Meter, Network, median};

const MESSAGE: usize = 1024;
/// Messages that are being published: a slow node does not hold up the others.
const IN_FLIGHT: usize = 64;
/// After the last message, for those that are on the way.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Nodes of each network; they publish in turn.
    #[arg(long, default_value_t = 20)]
    nodes: usize,

    /// Messages a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,

    /// Length of a round.
    #[arg(long, default_value_t = 5)]
    seconds: u32,

    /// One network after the other; a first one is not counted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

struct Side<N> {
    network: N,
    /// From publication to each delivery.
    delivered: mpsc::UnboundedReceiver<Duration>,
    /// Microseconds of processor time per delivery, of each round.
    gross: Vec<f64>,
    net: Vec<f64>,
    latencies: Vec<f64>,
    expected: usize,
    /// Messages a second, of each round.
    rate: Vec<f64>,
}

impl<N: Network> Side<N> {
    fn new(network: N, heard: Vec<Heard>, epoch: Instant) -> Self {
        let (sender, delivered) = mpsc::unbounded_channel();
        for mut node in heard {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(data) = node.next().await {
                    let sent = Duration::from_nanos(data.first_chunk().map_or(0, |nanos| u64::from_be_bytes(*nanos)));
                    // The measurement may be over.
                    let _ = sender.send(epoch.elapsed().saturating_sub(sent));
                }
            });
        }
        let (gross, net, latencies, rate) = Default::default();
        Self { network, delivered, gross, net, latencies, expected: 0, rate }
    }

    async fn round(&mut self, meter: Meter, epoch: Instant, options: &Options) -> Result<(), Box<dyn Error>> {
        let count = options.rate * options.seconds;
        let start = Instant::now();
        let ticks = interval(Duration::from_secs(1) / options.rate);
        let ticks = stream::unfold(ticks, async |mut ticks| Some((ticks.tick().await, ticks)));
        let network = &self.network;
        let publish = |(node, _)| {
            let mut data = vec![0; MESSAGE];
            data[..8].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_be_bytes());
            network.publish(node, data)
        };
        let nodes = stream::iter((0..options.nodes).cycle().take(count as usize));
        nodes.zip(ticks).map(publish).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        self.rate.push(f64::from(count) / start.elapsed().as_secs_f64());
        let expected = count as usize * (options.nodes - 1);
        self.expected += expected;
        for _ in 0..expected {
            let Ok(Some(latency)) = timeout(PATIENCE, self.delivered.recv()).await else { break };
            self.latencies.push(1e3 * latency.as_secs_f64());
        }
        let (gross, net) = meter.read();
        self.gross.push(1e6 * gross / expected as f64);
        self.net.push(1e6 * net / expected as f64);
        Ok(())
    }

    fn forget(&mut self) {
        (self.gross, self.net, self.latencies, self.expected, self.rate) = Default::default();
    }

    fn print(mut self) -> f64 {
        self.latencies.sort_by(f64::total_cmp);
        let (net, count) = (median(self.net), self.latencies.len());
        println!(
            "{:<7} {net:6.1} µs of CPU per delivery ({:.1} with the idle share), p50 {:.1} ms, p95 {:.1} ms, \
             {count} of {} delivered, {:.0} messages a second",
            N::NAME,
            median(self.gross),
            self.latencies[count / 2],
            self.latencies[count * 95 / 100],
            self.expected,
            median(self.rate),
        );
        net
    }
}

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let arena = Arena::start(options.nodes).await?;
    let epoch = Instant::now();
    let mut wharf = Side::new(arena.wharf.0, arena.wharf.1, epoch);
    let mut rival = Side::new(arena.rival.0, arena.rival.1, epoch);
    for round in 0..=options.rounds {
        wharf.round(arena.idle.meter(), epoch, options).await?;
        rival.round(arena.idle.meter(), epoch, options).await?;
        if round == 0 {
            wharf.forget();
            rival.forget();
        }
    }
    let ratio = wharf.print() / rival.print();
    println!("ratio {ratio:.2}");
    Ok(())
}
