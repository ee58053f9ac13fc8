//! `bench gossip`: processor time and latency of delivering signed messages of 1 KiB.

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use crate::networks::{Arena, Heard, Idle, Network, Rival, Wharf, median};

const MESSAGE: usize = 1024;
/// Silence after which whatever is missing is lost.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Nodes of each network; they publish in turn.
    #[arg(long, default_value_t = 20)]
    nodes: usize,

    /// Messages a second, by the clock: none waits for another.
    #[arg(long, default_value_t = 200)]
    rate: u32,

    /// Length of a round.
    #[arg(long, default_value_t = 5)]
    seconds: u32,

    /// One network after the other; a first one is not counted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// One network alone, for a profile.
    #[arg(long, value_parser = [Wharf::NAME, Rival::NAME])]
    only: Option<String>,
}

/// A message that a node has received.
struct Delivery {
    /// When it was due to be published.
    due: Instant,
    at: Instant,
}

struct Side<N> {
    network: N,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// Microseconds of processor time per delivery, of each round.
    gross: Vec<f64>,
    net: Vec<f64>,
    /// Milliseconds from the due time of each message to each delivery.
    latencies: Vec<f64>,
    expected: usize,
    refused: u32,
    /// Seconds from the first due time to the last delivery, of each round.
    lengths: Vec<f64>,
}

impl<N: Network> Side<N> {
    fn new(network: N, heard: Vec<Heard>, epoch: Instant) -> Self {
        let (sender, deliveries) = mpsc::unbounded_channel();
        for mut node in heard {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(data) = node.next().await {
                    let nanos = data.first_chunk().map_or(0, |nanos| u64::from_be_bytes(*nanos));
                    // The measurement may be over.
                    let _ = sender.send(Delivery { due: epoch + Duration::from_nanos(nanos), at: Instant::now() });
                }
            });
        }
        let (gross, net, latencies, expected, refused, lengths) = Default::default();
        Self { network, deliveries, gross, net, latencies, expected, refused, lengths }
    }

    async fn round(&mut self, idle: Idle, epoch: Instant, options: &Options) {
        if options.only.as_deref().is_some_and(|only| only != N::NAME) {
            return;
        }
        let meter = idle.meter();
        let count = options.rate * options.seconds;
        let start = Instant::now();
        let ticks = interval(Duration::from_secs(1) / options.rate);
        let ticks = stream::unfold(ticks, async |mut ticks| Some((ticks.tick().await, ticks)));
        let (network, refused) = (&self.network, AtomicU32::new(0));
        let publish = async |(node, due): (usize, Instant)| {
            let mut data = vec![0; MESSAGE];
            data[..8].copy_from_slice(&((due - epoch).as_nanos() as u64).to_be_bytes());
            if network.publish(node, data).await.is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        };
        let nodes = stream::iter((0..options.nodes).cycle().take(count as usize));
        let publish_all = pin!(nodes.zip(ticks).for_each_concurrent(None, publish));
        let expected = count as usize * (options.nodes - 1);
        let hear_all = pin!(hear(&mut self.deliveries, start, expected));
        let heard = match select(publish_all, hear_all).await {
            Either::Left(((), hear_all)) => hear_all.await,
            Either::Right((heard, _)) => heard,
        };
        let (gross, net) = meter.read();
        self.gross.push(1e6 * gross / heard.len() as f64);
        self.net.push(1e6 * net / heard.len() as f64);
        self.latencies.extend(heard.iter().map(|delivery| 1e3 * (delivery.at - delivery.due).as_secs_f64()));
        self.lengths.push(heard.last().map_or(0.0, |last| (last.at - start).as_secs_f64()));
        self.expected += expected;
        self.refused += refused.load(Ordering::Relaxed);
    }

    fn forget(&mut self) {
        (self.gross, self.net, self.latencies, self.expected, self.refused, self.lengths) = Default::default();
    }

    /// The median of `net`.
    fn print(mut self) -> f64 {
        if self.net.is_empty() {
            return f64::NAN;
        }
        self.latencies.sort_by(f64::total_cmp);
        let (net, count) = (median(self.net), self.latencies.len());
        println!(
            "{:<7} {net:6.1} µs of CPU per delivery ({:.1} with the idle share), p50 {:.1} ms, p95 {:.1} ms, \
             {count} of {} delivered, {} not taken, the last after {:.1} s",
            N::NAME,
            median(self.gross),
            self.latencies[count / 2],
            self.latencies[count * 95 / 100],
            self.expected,
            self.refused,
            median(self.lengths),
        );
        net
    }
}

/// So many deliveries of messages of this round, or those that come without a long silence.
async fn hear(deliveries: &mut mpsc::UnboundedReceiver<Delivery>, start: Instant, count: usize) -> Vec<Delivery> {
    let mut heard = Vec::with_capacity(count);
    while heard.len() < count {
        match timeout(PATIENCE, deliveries.recv()).await {
            Ok(Some(delivery)) if delivery.due >= start => heard.push(delivery),
            // What an earlier round gave up.
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    heard
}

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let arena = Arena::start(options.nodes).await?;
    let epoch = Instant::now();
    let mut wharf = Side::new(arena.wharf.0, arena.wharf.1, epoch);
    let mut rival = Side::new(arena.rival.0, arena.rival.1, epoch);
    for round in 0..=options.rounds {
        wharf.round(arena.idle, epoch, options).await;
        rival.round(arena.idle, epoch, options).await;
        if round == 0 {
            wharf.forget();
            rival.forget();
        }
    }
    let ratio = wharf.print() / rival.print();
    println!("ratio {ratio:.2}");
    Ok(())
}
