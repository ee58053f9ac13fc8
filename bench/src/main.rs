//! Side-by-side measurements: wharf and its rivals in one run. Searching is measured on data the user names.

mod corpus;
mod engine;
mod gossip;
mod lookup;
mod networks;
mod quality;
mod rival;
mod runtimes;
mod search;

use std::error::Error;

use clap::{Parser, Subcommand};

#[derive(Parser, Debug)]
#[command(about = "Measures wharf beside its rivals", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Ranked search on judged queries.
    Search(search::Options),
    /// DHT lookups, beside libp2p-kad.
    Lookup(lookup::Options),
    /// Pubsub deliveries, beside libp2p-gossipsub.
    Gossip(gossip::Options),
    /// Fetching and publishing, on tokio and on smol.
    Runtimes(runtimes::Options),
}

fn main() -> Result<(), Box<dyn Error>> {
    match Args::parse().what {
        What::Search(options) => search::run(&options),
        What::Lookup(options) => on_tokio(2, lookup::run(&options)),
        What::Gossip(options) => on_tokio(2, gossip::run(&options)),
        What::Runtimes(options) => on_tokio(1, runtimes::run(&options)),
    }
}

fn on_tokio(threads: usize, run: impl Future<Output = Result<(), Box<dyn Error>>>) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?.block_on(run)
}
