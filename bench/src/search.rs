//! `bench search`: index time, index size, latency and quality, the core beside tantivy. Times are processor time: of
//! the process for indexing, of the asking thread for queries.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cpu_time::{ProcessTime, ThreadTime};
use registry_core::search::Ranking;
use serde_json::json;

use crate::corpus::{self, Fields, Judged, Row};
use crate::engine::{Engine, Wharf};
use crate::quality::Summary;
use crate::rival::Tantivy;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Packages: JSON lines with name, summary, description, section, tags, depends.
    #[arg(long)]
    corpus: PathBuf,

    /// Judged queries: JSON lines with id, kind, query, relevant, exclude.
    #[arg(long)]
    queries: PathBuf,

    /// Where the result files go, one JSON line per query: id, results, ms.
    #[arg(long)]
    out: PathBuf,

    /// Index section and tags too.
    #[arg(long)]
    all_fields: bool,

    /// Measure the core without each part of its ranking instead.
    #[arg(long)]
    ablate: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let rows: Vec<Row> = corpus::read(&options.corpus)?;
    let queries: Vec<Judged> = corpus::read(&options.queries)?;
    std::fs::create_dir_all(&options.out)?;
    let fields = Fields { depends: true, tags: options.all_fields, section: options.all_fields };
    let wharf = |ranking: Ranking| {
        Measured::new(&queries, &fields, |fields| Ok(Box::new(Wharf::new(&rows, fields, ranking.clone()))))
    };
    let whole = wharf(Ranking::DEFAULT)?;
    whole.write(&options.out.join("wharf.jsonl"), &queries)?;
    if options.ablate {
        let mut table = vec![("whole", whole)];
        for (part, ranking) in ablations() {
            table.push((part, wharf(ranking)?));
        }
        print_ablation(&table, &queries);
        return Ok(());
    }
    let rival = Measured::new(&queries, &fields, |fields| Ok(Box::new(Tantivy::new(&rows, fields)?)))?;
    rival.write(&options.out.join("tantivy.jsonl"), &queries)?;
    print_comparison(&[("wharf", &whole), ("tantivy", &rival)], &queries);
    Ok(())
}

/// The ranking without one part each.
fn ablations() -> [(&'static str, Ranking); 8] {
    let all = Ranking::DEFAULT;
    [
        ("no whole names", Ranking { named: 0, ..all.clone() }),
        ("no beginnings of names", Ranking { begins: 0, ..all.clone() }),
        ("no beginnings of words", Ranking { completion: 0, ..all.clone() }),
        ("no repair", Ranking { repair: [0, 0], ..all.clone() }),
        ("no stemming", Ranking { stemming: false, ..all.clone() }),
        ("no popularity", Ranking { popular: 0, ..all.clone() }),
        ("no all-words bonus", Ranking { together: 0, ..all.clone() }),
        ("no field weights", Ranking { weights: [100; 5], ..all }),
    ]
}

/// What one engine did.
struct Measured {
    index: Duration,
    size: u64,
    /// In the order of the queries.
    latency: Vec<Duration>,
    results: Vec<Vec<String>>,
}

impl Measured {
    /// Queries share an index of the fields that none of them excludes; the first index is the one that is measured.
    fn new(
        queries: &[Judged],
        fields: &Fields,
        build: impl Fn(&Fields) -> Result<Box<dyn Engine>, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut groups: BTreeMap<Fields, Vec<usize>> = BTreeMap::new();
        for (at, query) in queries.iter().enumerate() {
            groups.entry(fields.without(&query.exclude)).or_default().push(at);
        }
        let mut measured = Self {
            index: Duration::ZERO,
            size: 0,
            latency: vec![Duration::ZERO; queries.len()],
            results: vec![Vec::new(); queries.len()],
        };
        for (fields, of_group) in groups.into_iter().rev() {
            let start = ProcessTime::now();
            let engine = build(&fields)?;
            if measured.size == 0 {
                measured.index = start.elapsed();
                measured.size = engine.size()?;
            }
            for at in of_group {
                let start = ThreadTime::now();
                measured.results[at] = engine.search(&queries[at].query)?;
                measured.latency[at] = start.elapsed();
            }
        }
        Ok(measured)
    }

    fn write(&self, path: &Path, queries: &[Judged]) -> Result<(), Box<dyn Error>> {
        let mut file = BufWriter::new(File::create(path)?);
        for ((query, results), latency) in queries.iter().zip(&self.results).zip(&self.latency) {
            writeln!(file, "{}", json!({"id": query.id, "results": results, "ms": milliseconds(*latency)}))?;
        }
        Ok(file.flush()?)
    }

    /// Milliseconds that so many percent of the queries took at most.
    fn percentile(&self, percent: usize) -> f64 {
        let mut latency = self.latency.clone();
        latency.sort_unstable();
        latency.get(latency.len().saturating_sub(1) * percent / 100).copied().map_or(0.0, milliseconds)
    }
}

fn print_comparison(engines: &[(&str, &Measured)], queries: &[Judged]) {
    println!(
        "{:<10} {:>8} {:>9} {:>7} {:>7} {:>7} {:>7}",
        "", "index s", "index MB", "p50 ms", "p95 ms", "p99 ms", "max ms"
    );
    for (name, engine) in engines {
        let latency = [50, 95, 99, 100].map(|percent| format!("{:>7.2}", engine.percentile(percent))).join(" ");
        println!("{name:<10} {:>8.2} {:>9.1} {latency}", engine.index.as_secs_f64(), engine.size as f64 / 1e6);
    }
    let summaries: Vec<_> = engines.iter().map(|(_, engine)| Summary::new(queries, &engine.results)).collect();
    let names = engines.iter().map(|(name, _)| format!("{name:>16}")).collect::<String>();
    println!("\n{:<18}{names}   (MRR@10, nDCG@10)", "");
    let line = |label: &str, of: &dyn Fn(&Summary) -> crate::quality::Quality| {
        let cells = summaries.iter().map(of).map(|quality| format!("{:>10.3} {:.3}", quality.mrr, quality.ndcg));
        println!("{label:<18}{}", cells.collect::<String>());
    };
    for kind in summaries[0].kinds.keys() {
        line(kind, &|summary| summary.kinds[kind]);
    }
    line("macro", &|summary| summary.macro_mean);
    line("all", &|summary| summary.all);
}

fn print_ablation(table: &[(&str, Measured)], queries: &[Judged]) {
    println!("{:<24}{:>7}{:>8}{:>11}{:>12}   kinds that lose most (MRR)", "", "MRR", "nDCG", "macro MRR", "macro nDCG");
    let mut whole: Option<Summary> = None;
    for (part, measured) in table {
        let summary = Summary::new(queries, &measured.results);
        let (all, mean) = (summary.all, summary.macro_mean);
        let whole = whole.get_or_insert_with(|| summary.clone());
        let mut lost: Vec<_> =
            summary.kinds.iter().map(|(kind, now)| (now.mrr - whole.kinds[kind].mrr, kind)).collect();
        lost.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lost = lost.iter().take(3).filter(|(change, _)| *change < -0.005);
        let lost = lost.map(|(change, kind)| format!("{kind} {change:+.3}")).collect::<Vec<_>>().join(", ");
        println!("{part:<24}{:>7.3}{:>8.3}{:>11.3}{:>12.3}   {lost}", all.mrr, all.ndcg, mean.mrr, mean.ndcg);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
