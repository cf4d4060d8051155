//! What people read: totals, and failures that explain themselves.

use crate::plan::{Fault, Plan};
use crate::run::{Report, run_plan};
use crate::trace;
use crate::workload::Workload;
use base::{Mark, Mutants};
use checker::fresh::Anomalies;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// Lines of the trace that a failure shows.
const LAST_EVENTS: usize = 20;

/// The sum of many runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Seeds.
    pub n_seeds: u64,
    /// Operations judged.
    pub n_operations: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Seeds with a violation.
    pub n_violations: u64,
    /// Events.
    pub n_events: u64,
    /// Steps of members that were held against the specification.
    pub n_steps: u64,
    /// How often each fault struck.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each coverage mark was reached.
    pub marks: BTreeMap<Mark, u64>,
    /// Permitted anomalies that were seen.
    pub anomalies: Anomalies,
}

impl Totals {
    /// Adds one run.
    pub fn add(&mut self, report: &Report) {
        self.n_seeds += 1;
        self.n_operations += report.n_operations;
        self.simulated += report.simulated;
        self.n_violations += u64::from(!report.violations.is_empty());
        self.n_events += report.n_events;
        self.n_steps += report.n_steps;
        self.anomalies.join(&report.anomalies);
        for (fault, n) in &report.faults {
            *self.faults.entry(*fault).or_default() += n;
        }
        for (mark, n) in &report.marks {
            *self.marks.entry(*mark).or_default() += n;
        }
    }

    /// Adds the sums of others.
    pub fn join(&mut self, other: &Totals) {
        self.n_seeds += other.n_seeds;
        self.n_operations += other.n_operations;
        self.simulated += other.simulated;
        self.n_violations += other.n_violations;
        self.n_events += other.n_events;
        self.n_steps += other.n_steps;
        self.anomalies.join(&other.anomalies);
        for (fault, n) in &other.faults {
            *self.faults.entry(*fault).or_default() += n;
        }
        for (mark, n) in &other.marks {
            *self.marks.entry(*mark).or_default() += n;
        }
    }

    /// Which coverage marks were reached how often, and which were not.
    pub fn mark_line(&self) -> String {
        let each: Vec<String> = self
            .marks
            .iter()
            .map(|(mark, n)| format!("{} {n}", mark.name()))
            .collect();
        let missed: Vec<&str> = Mark::ALL
            .iter()
            .filter(|mark| !self.marks.contains_key(mark))
            .map(|mark| mark.name())
            .collect();
        let missed = match missed.is_empty() {
            true => String::new(),
            false => format!("; not reached: {}", missed.join(", ")),
        };
        format!(
            "{} of {} marks reached: {}{missed}",
            self.marks.len(),
            Mark::ALL.len(),
            each.join(", ")
        )
    }

    /// What the levels permit and was seen.
    pub fn anomaly_line(&self) -> String {
        let Anomalies {
            sequential_stale,
            bounded_stale,
            session_stale,
            lease_stale,
            lease_reads,
        } = self.anomalies;
        format!(
            "stale reads that their levels permit: {sequential_stale} sequential, {bounded_stale} bounded, \
             {session_stale} of sessions; {lease_reads} reads by the lease, {lease_stale} of them stale under a bound \
             that was a lie"
        )
    }

    /// The line that scripts read.
    pub fn line(&self) -> String {
        format!(
            "{} seeds, {} operations checked, {:.0} s simulated, {} violations",
            self.n_seeds,
            self.n_operations,
            self.simulated.as_secs_f64(),
            self.n_violations
        )
    }

    /// Which faults struck how often.
    pub fn fault_line(&self) -> String {
        let each: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, n)| format!("{fault:?} {n}"))
            .collect();
        format!(
            "{} events; {} steps held against the specification; faults: {}",
            self.n_events,
            self.n_steps,
            each.join(", ")
        )
    }
}

/// A failure in full: runs the seed again, recording, writes the trace, and says how to replay it.
pub fn failure(report: &Report, mutants: Mutants, mutant: Option<&str>) -> String {
    let seed = report.plan.seed;
    let again = run_plan(report.plan.clone(), mutants, true);
    let mut text = String::new();
    let first = report.violations.first();
    let _ = writeln!(
        text,
        "FAILED {}   seed {seed}   {}",
        first.map_or("nothing", |violation| violation.claim),
        report.plan
    );
    for violation in report.violations.iter().take(3) {
        let _ = writeln!(text, "  {violation}");
    }
    if report.violations.len() > 3 {
        let _ = writeln!(text, "  and {} more", report.violations.len() - 3);
    }
    let planted = mutant.map_or(String::new(), |name| format!(" --mutant {name}"));
    let _ = write!(
        text,
        "  replay: cargo run -p quorate-sim -- replay {seed}{planted}{}",
        forced_workload(&report.plan)
    );
    match write_trace(seed, &again.lines) {
        Ok(path) => {
            let _ = writeln!(text, "     trace: {} (last events below)", path.display());
        }
        Err(error) => {
            let _ = writeln!(text, "     trace: cannot be written: {error}");
        }
    }
    let _ = match keep_picture(seed, again.picture.as_deref()) {
        Ok(Some(path)) => writeln!(text, "  picture: {}", path.display()),
        Ok(None) => Ok(()),
        Err(error) => writeln!(text, "  picture: cannot be written: {error}"),
    };
    if again.hash != report.hash {
        let _ = writeln!(
            text,
            "  NOT DETERMINISTIC: {:016x}, then {:016x}",
            report.hash, again.hash
        );
    }
    // Frames and records are most of a trace and say least.
    let told: Vec<String> = again
        .lines
        .iter()
        .filter(|line| !is_chatter(line))
        .cloned()
        .collect();
    for line in trace::last(&told, LAST_EVENTS) {
        let cut = line
            .char_indices()
            .nth(300)
            .map_or(line.len(), |(at, _)| at);
        let _ = writeln!(text, "    {}", &line[..cut]);
    }
    text
}

/// What to say on the command line for an application that the seed did not draw.
fn forced_workload(plan: &Plan) -> String {
    match plan.workload {
        Some(it) if Workload::draw(plan.seed) != plan.workload => {
            format!(" --workload {}", it.invariant)
        }
        _ => String::new(),
    }
}

fn is_chatter(line: &str) -> bool {
    ["frame", "durable", "apply"]
        .iter()
        .any(|kind| line.contains(&format!("\"kind\":\"{kind}\"")))
}

fn write_trace(seed: u64, lines: &[String]) -> std::io::Result<PathBuf> {
    let path = path_of(seed, "jsonl")?;
    let mut text = lines.join("\n");
    text.push('\n');
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Writes the picture, or removes the one of an earlier run that this one does not bear out.
fn keep_picture(seed: u64, picture: Option<&str>) -> std::io::Result<Option<PathBuf>> {
    let path = path_of(seed, "html")?;
    match picture {
        Some(picture) => std::fs::write(&path, picture).map(|()| Some(path)),
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        },
    }
}

fn path_of(seed: u64, ending: &str) -> std::io::Result<PathBuf> {
    let directory = PathBuf::from("target/sim");
    std::fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("{seed}.{ending}")))
}
