//! `sim`: runs seeded worlds and says what was broken.

use base::{Mutant, Mutants};
use clap::{Parser, Subcommand};
use quorate_sim::mutants::{Fate, home, hunt, is_hunted, named};
use quorate_sim::night::Night;
use quorate_sim::plant::Planted;
use quorate_sim::report::{Totals, failure};
use quorate_sim::{Consensus, Fault, Plan, Workload, run_plan};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A world is many small values that come and go: a tenth faster than with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds of a night between two notes of it.
const NIGHT_CHUNK: u64 = 50;

/// What members run on.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    /// What ships.
    Shipped,
    /// The executable specification.
    Specification,
}

impl From<Engine> for Consensus {
    fn from(engine: Engine) -> Consensus {
        match engine {
            Engine::Shipped => Consensus::Shipped,
            Engine::Specification => Consensus::Specification,
        }
    }
}

/// Seeded worlds of whole clusters.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds. The last line is the sum; the exit code is 1 after any violation.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Print one hash per seed: two runs must print the same.
        #[arg(long)]
        trace_hash: bool,
        /// Plant a bug.
        #[arg(long)]
        mutant: Option<String>,
        /// The members' engine; as the seed draws it when not given.
        #[arg(long)]
        engine: Option<Engine>,
        /// The application beside the mix; as the seed draws it when not given.
        #[arg(long, value_parser = Workload::NAMES)]
        workload: Option<String>,
        /// Threads; all cores when not given.
        #[arg(long)]
        jobs: Option<usize>,
        /// Leave out the worlds in which this kind of fault is not (`corruption`, `power-cut` …).
        #[arg(long)]
        fault: Option<String>,
        /// Go on after a violation, and show so many at most.
        #[arg(long, default_value_t = 5)]
        show: u64,
    },
    /// Run one seed and keep its trace in target/sim.
    Replay {
        /// Which seed.
        seed: u64,
        /// Plant a bug.
        #[arg(long)]
        mutant: Option<String>,
        /// The members' engine; as the seed draws it when not given.
        #[arg(long)]
        engine: Option<Engine>,
        /// The application beside the mix; as the seed draws it when not given.
        #[arg(long, value_parser = Workload::NAMES)]
        workload: Option<String>,
    },
    /// Run seeds for hours, over as many sittings as it takes: each goes on behind the last one of this commit.
    Night {
        /// For how long, at most.
        #[arg(long, default_value_t = 8.0)]
        hours: f64,
        /// Until so many seeds were run in all.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The product that is run; git's HEAD when not given.
        #[arg(long)]
        commit: Option<String>,
        /// Threads; all cores when not given.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Plant bugs from patch files: each is built in a work tree of its own and runs until it is caught. The exit code
    /// is 1 when one is not.
    Plant {
        /// Seeds at most for each.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// The profile that it is built with.
        #[arg(long, default_value = "sim")]
        profile: String,
        /// Threads; all cores when not given.
        #[arg(long)]
        jobs: Option<usize>,
        /// What `git diff` prints.
        #[arg(required = true)]
        patches: Vec<PathBuf>,
    },
    /// Run every planted bug until it is caught.
    Mutants {
        /// Seeds at most for each.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Only these.
        names: Vec<String>,
        /// How many must be caught for the exit code 0.
        #[arg(long, default_value_t = 10)]
        at_least: usize,
        /// Stop as soon as so many are caught.
        #[arg(long)]
        quick: bool,
        /// Threads; all cores when not given.
        #[arg(long)]
        jobs: Option<usize>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run {
            seeds,
            from,
            trace_hash,
            mutant,
            engine,
            workload,
            jobs,
            fault,
            show,
        } => {
            let Some(mutants) = planted(mutant.as_deref()) else {
                return ExitCode::from(2);
            };
            let fault = match fault.as_deref().map(fault_named) {
                Some(None) => return ExitCode::from(2),
                fault => fault.flatten(),
            };
            run_many(
                seeds,
                from,
                trace_hash,
                World {
                    mutants,
                    engine: engine_for(engine, mutant.as_deref()),
                    mutant: mutant.as_deref(),
                    workload: workload.as_deref(),
                },
                fault,
                n_jobs(jobs),
                show,
            )
        }
        Command::Replay {
            seed,
            mutant,
            engine,
            workload,
        } => {
            let Some(mutants) = planted(mutant.as_deref()) else {
                return ExitCode::from(2);
            };
            let world = World {
                mutants,
                engine: engine_for(engine, mutant.as_deref()),
                mutant: mutant.as_deref(),
                workload: workload.as_deref(),
            };
            replay(seed, &world)
        }
        Command::Night {
            hours,
            seeds,
            commit,
            jobs,
        } => night(hours, seeds, commit, n_jobs(jobs)),
        Command::Plant {
            seeds,
            from,
            profile,
            jobs,
            patches,
        } => {
            let n_missed = patches
                .iter()
                .filter(|patch| !is_caught(patch, from, seeds, &profile, n_jobs(jobs)))
                .count();
            ExitCode::from(u8::from(n_missed > 0))
        }
        Command::Mutants {
            seeds,
            names,
            at_least,
            quick,
            jobs,
        } => hunt_all(seeds, &names, at_least, quick, n_jobs(jobs)),
    }
}

fn n_jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn planted(name: Option<&str>) -> Option<Mutants> {
    let Some(name) = name else {
        return Some(Mutants::none());
    };
    let mutant = named(name);
    if mutant.is_none() {
        eprintln!("no planted bug has the name {name}; there are:");
        Mutant::ALL
            .iter()
            .for_each(|mutant| eprintln!("  {}", mutant.name()));
    }
    mutant.map(Mutants::only)
}

/// The fault whose name this is, in any case and with hyphens or without.
fn fault_named(name: &str) -> Option<Fault> {
    let plain = |name: &str| name.replace('-', "").to_lowercase();
    let fault = Fault::ALL
        .into_iter()
        .find(|fault| plain(&format!("{fault:?}")) == plain(name));
    if fault.is_none() {
        eprintln!("no fault has the name {name}; there are: {:?}", Fault::ALL);
    }
    fault
}

/// What is the same for all seeds.
#[derive(Clone, Copy)]
struct World<'a> {
    mutants: Mutants,
    mutant: Option<&'a str>,
    engine: Option<Consensus>,
    workload: Option<&'a str>,
}

impl World<'_> {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::draw(seed);
        plan.consensus = self.engine.unwrap_or(plan.consensus);
        if let Some(name) = self.workload {
            plan.workload = Workload::named(name, seed);
        }
        plan
    }
}

/// The engine that was asked for, or the one in which the planted bug is.
fn engine_for(asked: Option<Engine>, mutant: Option<&str>) -> Option<Consensus> {
    asked
        .map(Consensus::from)
        .or_else(|| mutant.and_then(named).map(home))
}

fn run_many(
    seeds: u64,
    from: u64,
    trace_hash: bool,
    world: World<'_>,
    fault: Option<Fault>,
    jobs: usize,
    show: u64,
) -> ExitCode {
    let totals = Mutex::new(Totals::default());
    let hashes = Mutex::new(Vec::new());
    let began = Instant::now();
    each_seed(from, seeds, jobs, |seed| {
        let plan = world.plan(seed);
        if fault.is_some_and(|fault| !plan.has(fault)) {
            return;
        }
        let report = run_plan(plan, world.mutants, false);
        let mut hashes = hashes.lock().unwrap_or_else(|e| e.into_inner());
        hashes.push((seed, report.hash));
        drop(hashes);
        let n_shown = {
            let mut totals = totals.lock().unwrap_or_else(|e| e.into_inner());
            totals.add(&report);
            totals.n_violations
        };
        if !report.violations.is_empty() && n_shown <= show {
            print!("{}", failure(&report, world.mutants, world.mutant));
        } else if !report.violations.is_empty() {
            println!("FAILED {}   seed {seed}", report.violations[0].claim);
        }
    });
    let mut hashes = hashes.into_inner().unwrap_or_else(|e| e.into_inner());
    if trace_hash {
        hashes.sort_unstable();
        hashes
            .iter()
            .for_each(|(seed, hash)| println!("{seed} {hash:016x}"));
    }
    let totals = totals.into_inner().unwrap_or_else(|e| e.into_inner());
    eprintln!(
        "{:.1} s of wall time; {}\n{}",
        began.elapsed().as_secs_f64(),
        totals.fault_line(),
        totals.mark_line()
    );
    eprintln!("{}", totals.anomaly_line());
    println!("{}", totals.line());
    if totals.n_violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// The commit that is checked out; marked when the files differ from it.
fn head() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_clean {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

fn night(hours: f64, seeds: u64, commit: Option<String>, jobs: usize) -> ExitCode {
    let Some(commit) = commit.or_else(head) else {
        eprintln!("there is no git here to say which commit this is: say --commit");
        return ExitCode::from(2);
    };
    let path = Night::path(&commit);
    let end = Instant::now() + Duration::from_secs_f64((hours * 3600.0).clamp(0.0, 1e6));
    let kept = || -> std::io::Result<Night> {
        let mut night = Night::load(&path, &commit)?;
        eprintln!("{}: from seed {}", path.display(), night.next);
        while night.next < seeds && Instant::now() < end {
            let chunk = NIGHT_CHUNK.min(seeds - night.next);
            let failed = Mutex::new(Vec::new());
            let totals = Mutex::new(Totals::default());
            each_seed(night.next, chunk, jobs, |seed| {
                let report = quorate_sim::run(seed, Mutants::none(), None, false);
                if let Some(violation) = report.violations.first() {
                    print!("{}", failure(&report, Mutants::none(), None));
                    let mut failed = failed.lock().unwrap_or_else(|e| e.into_inner());
                    failed.push((seed, violation.claim.to_owned()));
                }
                let mut totals = totals.lock().unwrap_or_else(|e| e.into_inner());
                totals.add(&report);
            });
            night.next += chunk;
            night
                .totals
                .join(&totals.into_inner().unwrap_or_else(|e| e.into_inner()));
            night
                .failed
                .extend(failed.into_inner().unwrap_or_else(|e| e.into_inner()));
            night.save(&path)?;
        }
        Ok(night)
    };
    match kept() {
        Ok(night) => {
            for (seed, claim) in &night.failed {
                println!("FAILED {claim}   seed {seed}");
            }
            println!("commit {commit}; {}", night.totals.fault_line());
            println!("{}", night.totals.mark_line());
            println!("{}", night.totals.line());
            ExitCode::from(u8::from(!night.failed.is_empty()))
        }
        Err(error) => {
            eprintln!("cannot go on: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs `n` seeds from `from` on, each on the next free thread.
fn each_seed(from: u64, n: u64, jobs: usize, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + n {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
}

fn replay(seed: u64, world: &World<'_>) -> ExitCode {
    let report = run_plan(world.plan(seed), world.mutants, false);
    println!("seed {seed}: {}", report.plan);
    // Also for a seed without a violation: the trace is what one wants to read.
    let text = failure(&report, world.mutants, world.mutant);
    let mut totals = Totals::default();
    totals.add(&report);
    if report.violations.is_empty() {
        println!(
            "no violation; trace: target/sim/{seed}.jsonl; hash {:016x}",
            report.hash
        );
        println!("{}", totals.line());
        return ExitCode::SUCCESS;
    }
    print!("{text}");
    println!("{}", totals.line());
    ExitCode::from(1)
}

fn hunt_all(seeds: u64, names: &[String], at_least: usize, quick: bool, jobs: usize) -> ExitCode {
    let wanted: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| match names.is_empty() {
            true => is_hunted(*mutant),
            false => names.iter().any(|name| name == mutant.name()),
        })
        .collect();
    let enough = if quick { at_least } else { usize::MAX };
    let fates = hunt(&wanted, seeds, enough, jobs);
    for (mutant, fate) in &fates {
        println!("{:32} {}", mutant.name(), describe(fate));
    }
    let fates: Vec<Fate> = fates.into_values().collect();
    let mut caught: Vec<u64> = fates
        .iter()
        .filter_map(|fate| match fate {
            Fate::Caught { n_seeds, .. } => Some(*n_seeds),
            _ => None,
        })
        .collect();
    caught.sort_unstable();
    let n_of = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count();
    let median = caught.get(caught.len() / 2).copied().unwrap_or(0);
    println!(
        "{} of {} planted bugs caught, median {median} seeds, {} escaped, {} not planted",
        caught.len(),
        fates.len(),
        n_of(Fate::Escaped),
        n_of(Fate::NotPlanted)
    );
    if caught.len() >= at_least.min(wanted.len()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// Whether the bug of `patch` is caught, and says so.
fn is_caught(patch: &Path, from: u64, seeds: u64, profile: &str, jobs: usize) -> bool {
    let fate = Planted::build(patch, profile).and_then(|planted| planted.hunt(from, seeds, jobs));
    let name = patch.file_stem().unwrap_or(patch.as_os_str()).display();
    match fate {
        Ok(fate) => {
            println!("{name:32} {}", describe(&fate));
            matches!(fate, Fate::Caught { .. })
        }
        Err(error) => {
            eprintln!("{name:32} cannot be planted: {error}");
            false
        }
    }
}

fn describe(fate: &Fate) -> String {
    match fate {
        Fate::Caught { n_seeds, claim } => format!("caught by {n_seeds} seeds: {claim}"),
        Fate::Escaped => "ESCAPED".to_owned(),
        Fate::NotPlanted => "not planted".to_owned(),
        Fate::NotHunted => "not caught yet: enough others are".to_owned(),
    }
}
