//! `bench search`: index time, index size, latency and quality of the core's search.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use registry_core::search::Ranking;
use std::collections::BTreeMap;

use crate::corpus::{self, Fields, Judged, Row};
use crate::engine::{Engine, Wharf};
use crate::quality::Summary;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Packages: JSON lines with name, summary, description, section, tags, depends.
    #[arg(long)]
    corpus: PathBuf,

    /// Judged queries: JSON lines with id, kind, query, relevant, exclude.
    #[arg(long)]
    queries: PathBuf,

    /// Where result files go, one line per query.
    #[arg(long)]
    out: PathBuf,

    /// Use section and tags too.
    #[arg(long)]
    all_fields: bool,

    /// Change a constant of the ranking (NAME=PERCENT).
    #[arg(long, value_name = "NAME=PERCENT")]
    set: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let rows: Vec<Row> = corpus::read(&options.corpus)?;
    let queries: Vec<Judged> = corpus::read(&options.queries)?;
    let mut fields = Fields { depends: true, tags: options.all_fields, section: options.all_fields };
    let mut ranking = Ranking::DEFAULT;
    for set in &options.set {
        let (name, value) = set.split_once('=').ok_or("NAME=PERCENT")?;
        let value: u64 = value.parse()?;
        match name {
            "depends" => fields.depends = value != 0,
            "k1" => ranking.k1 = value,
            "together" => ranking.together = value,
            "popular" => ranking.popular = value,
            "named" => ranking.named = value,
            "begins" => ranking.begins = value,
            "completion" => ranking.completion = value,
            "repair1" => ranking.repair[0] = value,
            "repair2" => ranking.repair[1] = value,
            "w0" | "w1" | "w2" | "w3" | "w4" => ranking.weights[name[1..].parse::<usize>()?] = value,
            "b0" | "b1" | "b2" | "b3" | "b4" => ranking.length_shares[name[1..].parse::<usize>()?] = value,
            _ => return Err(format!("no constant {name}").into()),
        }
    }
    let measured =
        measure(&queries, |excluded| Ok(Box::new(Wharf::new(&rows, &fields.without(excluded), ranking.clone()))))?;
    measured.print(&queries);
    std::fs::create_dir_all(&options.out)?;
    Ok(())
}

struct Measured {
    index: Duration,
    size: u64,
    latency: Vec<Duration>,
    results: Vec<Vec<String>>,
}

type Build<'a> = dyn Fn(&std::collections::BTreeSet<String>) -> Result<Box<dyn Engine>, Box<dyn Error>> + 'a;

fn measure(
    queries: &[Judged],
    build: impl Fn(&std::collections::BTreeSet<String>) -> Result<Box<dyn Engine>, Box<dyn Error>>,
) -> Result<Measured, Box<dyn Error>> {
    let build: &Build<'_> = &build;
    let mut groups: BTreeMap<bool, Vec<usize>> = BTreeMap::new();
    for (at, query) in queries.iter().enumerate() {
        groups.entry(query.exclude.contains("depends")).or_default().push(at);
    }
    let mut measured =
        Measured { index: Duration::ZERO, size: 0, latency: Vec::new(), results: vec![Vec::new(); queries.len()] };
    for of_group in groups.values() {
        let start = Instant::now();
        let engine = build(&queries[of_group[0]].exclude)?;
        if measured.size == 0 {
            measured.index = start.elapsed();
            measured.size = engine.size();
        }
        for &at in of_group {
            let start = Instant::now();
            measured.results[at] = engine.search(&queries[at].query)?;
            measured.latency.push(start.elapsed());
        }
    }
    Ok(measured)
}

impl Measured {
    fn print(&self, queries: &[Judged]) {
        let summary = Summary::new(queries, &self.results);
        let mut latency = self.latency.clone();
        latency.sort();
        let at = |percent: usize| latency[(latency.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "index {:.2} s {:.1} MB  ms p50 {:.2} p95 {:.2} p99 {:.2} max {:.2}",
            self.index.as_secs_f64(),
            self.size as f64 / 1e6,
            at(50),
            at(95),
            at(99),
            at(100)
        );
        for (kind, q) in &summary.kinds {
            println!("{kind:<18} {:.3} {:.3}", q.mrr, q.ndcg);
        }
        println!("{:<18} {:.3} {:.3}", "MACRO", summary.macro_mean.mrr, summary.macro_mean.ndcg);
        println!("{:<18} {:.3} {:.3}", "ALL", summary.all.mrr, summary.all.ndcg);
    }
}
