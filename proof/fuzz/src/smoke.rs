//! Many runs of each target on damaged inputs, from one seed: the same seed is the same runs.
//!
//! There is no feedback from coverage. What makes the runs worth their time is that the inputs are valid
//! ones with small damage, sealed again where there are sums. That it is so is counted: a target that
//! accepts nothing, or refuses nothing, is reported as a failure of the harness.

use crate::attempt::{Broken, Subject};
use crate::known::{self, KNOWN};
use crate::targets::{Target, Verdict};
use base::Rng;
use base::rng::mix;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to run.
pub struct Plan {
    /// Runs of each target; slower ones take their share of it ([`Target::one_in`]).
    pub runs: u64,
    /// Which targets.
    pub targets: Vec<&'static Target>,
    /// Decides everything.
    pub seed: u64,
    /// Whether the table leaves the seconds out, so that two runs of one seed print the same.
    pub is_seconds_free: bool,
    /// Whether a defect is planted, which must be found.
    pub is_planted: bool,
    /// Whether each input is written down before it is run: for what ends the process or never ends.
    pub is_traced: bool,
    /// Where inputs that break something are written.
    pub out: PathBuf,
}

/// Failures of one target that are told, each in another place.
const SHOWN_MAX: usize = 5;

/// What came of one target.
#[derive(Default)]
struct Tally {
    runs: u64,
    accepted: u64,
    refused: u64,
    known: u64,
    broken: Vec<Broken>,
    n_broken: u64,
}

/// Runs everything; whether nothing is wrong.
///
/// # Errors
/// When what is to be told cannot be written.
pub fn smoke(plan: &Plan, tell: &mut dyn Write) -> io::Result<bool> {
    let mut is_good = replay_found(plan, tell)?;
    let mut table = format!(
        "{:<18}{:>9}{:>10}{:>10}{:>7}{:>8}",
        "target", "runs", "accepted", "refused", "known", "broken"
    );
    table += if plan.is_seconds_free {
        "\n"
    } else {
        "  seconds\n"
    };
    let mut n_runs = 0;
    for target in &plan.targets {
        let began = Instant::now();
        let tally = run_target(plan, target, tell)?;
        n_runs += tally.runs;
        table += &format!(
            "{:<18}{:>9}{:>10}{:>10}{:>7}{:>8}",
            target.name, tally.runs, tally.accepted, tally.refused, tally.known, tally.n_broken
        );
        table += &match plan.is_seconds_free {
            true => "\n".to_owned(),
            false => format!("{:>9.1}\n", began.elapsed().as_secs_f64()),
        };
        is_good &= tally.n_broken == 0;
        if tally.accepted == 0 || tally.refused == 0 {
            is_good = false;
            let what = if tally.accepted == 0 {
                "accepts"
            } else {
                "refuses"
            };
            writeln!(
                tell,
                "FAILED {}   the harness: it {what} nothing",
                target.name
            )?;
        }
    }
    let verdict = if is_good { "nothing broken" } else { "FAILED" };
    writeln!(tell, "{table}seed {}, {n_runs} runs, {verdict}", plan.seed)?;
    Ok(is_good)
}

/// Where the inputs of bugs are kept that were found once.
pub fn found_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("found")
}

/// The target in the name of a found input: `<target>--<what>.bin`.
fn is_of(target: &Target, file: &str) -> bool {
    file.split_once("--")
        .is_some_and(|(name, _)| name == target.name)
}

/// Every input that ever broke something is tried again, and the list of known bugs is held to be true.
fn replay_found(plan: &Plan, tell: &mut dyn Write) -> io::Result<bool> {
    let mut is_good = true;
    let mut files: Vec<String> = match fs::read_dir(found_folder()) {
        Ok(folder) => folder
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".bin"))
            .collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    for file in files {
        let Some(target) = plan.targets.iter().find(|target| is_of(target, &file)) else {
            continue;
        };
        let subject = Subject {
            target,
            is_planted: false,
        };
        let input = fs::read(found_folder().join(&file))?;
        let listed = KNOWN.iter().find(|known| known.file == file);
        match (subject.attempt(&input), listed) {
            (Ok(_), None) => {}
            (Err(broken), Some(known)) if known.is(target.name, &broken) => {
                writeln!(tell, "known {}   {}: {}", target.name, file, known.what)?;
            }
            (Ok(_), Some(_)) => {
                is_good = false;
                writeln!(
                    tell,
                    "FAILED {}   found/{file} breaks nothing any more: take it off known.rs",
                    target.name
                )?;
            }
            (Err(broken), _) => {
                is_good = false;
                writeln!(
                    tell,
                    "FAILED {}   found/{file}\n  {}: {}",
                    target.name, broken.place, broken.message
                )?;
            }
        }
    }
    for known in KNOWN {
        if !found_folder().join(known.file).exists() {
            is_good = false;
            writeln!(
                tell,
                "FAILED known.rs names found/{}, which is not there",
                known.file
            )?;
        }
    }
    Ok(is_good)
}

/// The input of one run: it depends on nothing but the arguments.
fn input_of(target: &Target, corpus: &[Vec<u8>], seed: u64, run: u64) -> Vec<u8> {
    let name = target
        .name
        .bytes()
        .fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    let mut rng = Rng::new(mix(seed) ^ mix(name ^ mix(run)));
    let mut input = rng.pick(corpus).cloned().unwrap_or_default();
    let n_times = if rng.one_in(4) { 3 } else { 1 };
    for _ in 0..n_times {
        let other = rng.pick(corpus).map_or(&[][..], |other| other);
        (target.mutate)(&mut input, other, &mut rng);
    }
    input
}

fn run_target(plan: &Plan, target: &'static Target, tell: &mut dyn Write) -> io::Result<Tally> {
    let subject = Subject {
        target,
        is_planted: plan.is_planted,
    };
    let corpus = (target.corpus)();
    let mut tally = Tally::default();
    // The valid inputs first, whole; they are not counted.
    for (n, input) in corpus.iter().enumerate() {
        if let Err(broken) = subject.attempt(input) {
            fail(
                plan,
                subject,
                input,
                broken,
                &format!("valid input {n}"),
                &mut tally,
                tell,
            )?;
        }
    }
    for run in 0..plan.runs.div_ceil(target.one_in) {
        let input = input_of(target, &corpus, plan.seed, run);
        if plan.is_traced {
            fs::create_dir_all(&plan.out)?;
            fs::write(plan.out.join("last"), &input)?;
        }
        tally.runs += 1;
        match subject.attempt(&input) {
            Ok(Verdict::Accepted) => tally.accepted += 1,
            Ok(Verdict::Refused) => tally.refused += 1,
            Err(broken) if known::is_known(target.name, &broken) => tally.known += 1,
            Err(broken) => fail(
                plan,
                subject,
                &input,
                broken,
                &format!("run {run}"),
                &mut tally,
                tell,
            )?,
        }
    }
    Ok(tally)
}

/// Counts what broke, and tells it if it broke in a new place.
fn fail(
    plan: &Plan,
    subject: Subject,
    input: &[u8],
    broken: Broken,
    run: &str,
    tally: &mut Tally,
    tell: &mut dyn Write,
) -> io::Result<()> {
    tally.n_broken += 1;
    let is_told = tally.broken.iter().any(|told| told.place == broken.place);
    if is_told || tally.broken.len() >= SHOWN_MAX {
        return Ok(());
    }
    let name = subject.target.name;
    let smallest = subject.minimise(input, &broken);
    fs::create_dir_all(&plan.out)?;
    let file = format!("{name}--{}-{}.bin", plan.seed, run.replace(' ', "-"));
    let file = plan.out.join(file);
    fs::write(&file, &smallest)?;
    writeln!(tell, "FAILED {name}   seed {}   {run}", plan.seed)?;
    writeln!(tell, "  {}: {}", broken.place, broken.message)?;
    writeln!(
        tell,
        "  input: {} ({} bytes of {})\n  replay: cargo run --release -- replay {name} {}",
        file.display(),
        smallest.len(),
        input.len(),
        file.display()
    )?;
    tally.broken.push(broken);
    Ok(())
}
