//! The same workloads on two servers in turn (A B B A), three members each, on a real disk.
//!
//! The figure of merit is the servers' CPU per operation: all three members, user and system, from
//! `/proc`. On a small machine throughput also measures the generator, and so its own CPU stands beside it. The
//! order A B B A takes a slow drift of the machine (heat, neighbours, a filling disk) out of the ratio.

use crate::Failure;
use crate::load::{Load, Order, Shape, Workload};
use crate::side::Side;
use crate::table::{Table, median, mib, time};
use crate::tally::{Summary, per};
use clap::Args;
use cluster::{Server, TempDir};
use serde::Serialize;
use std::path::PathBuf;

/// Command line of `compare`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The server to compare with: a program and flags.
    #[arg(long, default_value = "etcd")]
    a: String,
    /// Our server: a program and flags.
    #[arg(long, default_value = "target/release/quorate")]
    b: String,
    /// What reports call A.
    #[arg(long, default_value = "etcd")]
    a_name: String,
    /// What reports call B.
    #[arg(long, default_value = "quorate")]
    b_name: String,
    /// A folder on a real disk (not a RAM disk) for the members' data.
    #[arg(long)]
    disk: PathBuf,
    /// Who runs when; A alone measures one server.
    #[arg(long, default_value = "ABBA")]
    rounds: String,
    /// Seconds for each load.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Seconds before each load is measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Only these loads, by commas: put-1, put-100, put-1000, get-100, get-serializable-100, range-20, mixed-100, watch-100.
    #[arg(long, value_delimiter = ',')]
    loads: Vec<String>,
    /// Print JSON: every run by itself.
    #[arg(long)]
    json: bool,
}

/// One load on one server once.
#[derive(Serialize)]
struct Run {
    server: String,
    load: &'static str,
    #[serde(flatten)]
    summary: Summary,
    server_cpu_us_per_operation: f64,
    resident_bytes_of_three: u64,
}

/// Name, workload, clients.
const LOADS: &[(&str, Workload, u64)] = &[
    ("put-1", Workload::Put, 1),
    ("put-100", Workload::Put, 100),
    ("put-1000", Workload::Put, 1000),
    ("get-100", Workload::Get, 100),
    ("get-serializable-100", Workload::GetSerializable, 100),
    ("range-20", Workload::Range, 20),
    ("mixed-100", Workload::Mixed, 100),
    ("watch-100", Workload::Watch, 10),
];

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    let links = TempDir::under(&arguments.disk)?;
    for wanted in &arguments.loads {
        if !LOADS.iter().any(|(name, ..)| name == wanted) {
            return Err(format!("no load is called {wanted}").into());
        }
    }
    let mut runs = Vec::new();
    for (nr, letter) in arguments.rounds.chars().enumerate() {
        let server = match letter.to_ascii_uppercase() {
            'A' => Server::new(&arguments.a_name, &arguments.a, links.path())?,
            'B' => Server::new(&arguments.b_name, &arguments.b, links.path())?,
            other => return Err(format!("a round is A or B, not {other}").into()),
        };
        let side = Side::start(&server, &arguments.disk).await?;
        for (name, workload, clients) in LOADS {
            if !arguments.loads.is_empty() && !arguments.loads.iter().any(|one| one == name) {
                continue;
            }
            eprintln!(
                "round {} of {}: {name} on {}",
                nr + 1,
                arguments.rounds.len(),
                server.name
            );
            runs.push(measure(&side, &server.name, name, *workload, *clients, &arguments).await?);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&runs)?);
    } else {
        print(&runs, &arguments);
    }
    Ok(())
}

async fn measure(
    side: &Side,
    server: &str,
    load: &'static str,
    workload: Workload,
    clients: u64,
    arguments: &Arguments,
) -> Result<Run, Failure> {
    let shape = Shape {
        clients,
        connections: None,
        keys: 10_000,
        order: Order::Random,
        value_bytes: 256,
        read_percent: 80,
        watchers: 100,
        operations: None,
        seconds: arguments.seconds,
        warm_up: arguments.warm_up,
    };
    let endpoints = side.cluster.endpoints();
    let prepared = Load::prepare(&endpoints, workload, &shape).await?;
    prepared.warm_up().await?;
    let before = side.cluster.usage();
    let summary = prepared.measure().await?;
    let used = side.cluster.usage() - before;
    Ok(Run {
        server: server.to_owned(),
        load,
        server_cpu_us_per_operation: per(used.cpu, summary.operations),
        summary,
        resident_bytes_of_three: used.resident_bytes,
    })
}

fn print(runs: &[Run], arguments: &Arguments) {
    println!(
        "three members each on loopback, 256 B values, order {}, medians\n",
        arguments.rounds
    );
    let mut table = Table::new(&[
        "load",
        "server",
        "ops/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "server CPU/op",
        "generator CPU/op",
        "RSS of three",
        "errors",
    ]);
    let mut ratios = Table::new(&["load", "server CPU/op", "throughput", "p50"]);
    for (load, ..) in LOADS {
        let of = |server: &str, figure: &dyn Fn(&Run) -> f64| {
            let runs = runs
                .iter()
                .filter(|run| run.load == *load && run.server == server);
            median(runs.map(figure).collect())
        };
        for server in [&arguments.a_name, &arguments.b_name] {
            if !runs
                .iter()
                .any(|run| run.load == *load && run.server == **server)
            {
                continue;
            }
            let latency = |figure: &dyn Fn(&Summary) -> u64| {
                time(of(server, &|run| figure(&run.summary) as f64))
            };
            table.row(vec![
                (*load).to_owned(),
                (*server).clone(),
                format!("{:.0}", of(server, &|run| run.summary.per_second)),
                latency(&|s| s.p50_us),
                latency(&|s| s.p90_us),
                latency(&|s| s.p99_us),
                latency(&|s| s.p999_us),
                latency(&|s| s.max_us),
                format!(
                    "{:.1} µs",
                    of(server, &|run| run.server_cpu_us_per_operation)
                ),
                format!(
                    "{:.1} µs",
                    of(server, &|run| run.summary.generator_cpu_us_per_operation)
                ),
                mib(of(server, &|run| run.resident_bytes_of_three as f64) as u64),
                format!("{:.0}", of(server, &|run| run.summary.errors as f64)),
            ]);
        }
        let ratio = |figure: &dyn Fn(&Run) -> f64| {
            of(&arguments.b_name, figure) / of(&arguments.a_name, figure)
        };
        let cpu = ratio(&|run| run.server_cpu_us_per_operation);
        if cpu.is_finite() && cpu > 0.0 {
            ratios.row(vec![
                (*load).to_owned(),
                format!("{cpu:.3} (1/{:.1})", 1.0 / cpu),
                format!("{:.2}×", ratio(&|run| run.summary.per_second)),
                format!("{:.2}×", ratio(&|run| run.summary.p50_us as f64)),
            ]);
        }
    }
    println!(
        "{table}\n{} against {}\n\n{ratios}",
        arguments.b_name, arguments.a_name
    );
}
