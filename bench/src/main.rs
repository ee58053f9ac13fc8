//! Side-by-side measurements: wharf and its rivals in one run, on data the user names.

mod corpus;
mod engine;
mod quality;
mod rival;
mod search;

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
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Args::parse().what {
        What::Search(options) => search::run(&options),
    }
}
