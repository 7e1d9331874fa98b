//! Measures the daemon against its targets and its peers; `tests/load/run` builds and starts it.
//!
//! Each measurement is a file. It runs the real daemon, names its peer, and measures both in the
//! same run; where they are compared by speed they take turns, and the median of each counts. So a
//! machine that others use at the same time spoils the figures, but hardly their ratio.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that fails says where")]

mod acknowledgements;
mod caller;
mod disk;
mod doorstep;
mod health;
mod latency;
mod memory;
mod metrics;
mod peers;
mod resident;
mod start;
mod statistics;
#[path = "../support/mod.rs"]
mod support;
mod table;

use table::Table;

const MEASUREMENTS: [&str; 8] = [
    "health",
    "metrics",
    "acknowledgements",
    "latency",
    "start",
    "resident",
    "memory",
    MANY_MEMORIES,
];
/// Takes half an hour: only when it is named.
const MANY_MEMORIES: &str = "many-memories";

fn main() {
    // Cargo adds `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if named == [peers::BARE_HYPER] {
        return runtime.block_on(peers::serve_bare_hyper());
    }
    if let Some(unknown) = named.iter().find(|name| !MEASUREMENTS.contains(&name.as_str())) {
        eprintln!("no measurement is called {unknown}; there are: {}", MEASUREMENTS.join(", "));
        std::process::exit(64);
    }
    let mut table = Table::default();
    runtime.block_on(async {
        for name in MEASUREMENTS {
            let wanted = if named.is_empty() {
                name != MANY_MEMORIES
            } else {
                named.iter().any(|one| one == name)
            };
            if !wanted {
                continue;
            }
            eprintln!("measuring {name} …");
            match name {
                "health" => health::measure(&mut table).await,
                "metrics" => metrics::measure(&mut table).await,
                "acknowledgements" => acknowledgements::measure(&mut table).await,
                "latency" => latency::measure(&mut table).await,
                "start" => start::measure(&mut table).await,
                "memory" => memory::measure(&mut table).await,
                MANY_MEMORIES => memory::measure_many(&mut table).await,
                _ => resident::measure(&mut table).await,
            }
        }
    });
    table.print();
}

/// How often a comparison is repeated.
fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}
