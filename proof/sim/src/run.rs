//! One seed from its first event to its judgement.
//!
//! Two phases. First everything is drawn against safety: faults, clients, time. Then the world heals
//! and owes progress: within [`PROGRESS_MAX`] a write on every member is acknowledged and all members
//! have applied the same; if not, the report says who stands where.

use crate::member::Settings;
use crate::plan::{Consensus, Fault, Plan};
use crate::tape::Tape;
use crate::world::World;
use base::{Mark, Mutants};
use checker::fresh::Anomalies;
use checker::{Time, Violation, picture};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

/// After healing, so much simulated time may pass until all is well.
const PROGRESS_MAX: Duration = Duration::from_secs(60);

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The world.
    pub plan: Plan,
    /// What was broken, worst first.
    pub violations: Vec<Violation>,
    /// Operations that were judged.
    pub n_operations: u64,
    /// True time that passed in the world.
    pub simulated: Duration,
    /// The number that stands for the whole run.
    pub hash: u64,
    /// Events that happened.
    pub n_events: u64,
    /// Steps of members that were held against the specification.
    pub n_steps: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<Fault, u64>,
    /// Coverage marks that were reached, and how often.
    pub marks: BTreeMap<Mark, u64>,
    /// Permitted anomalies that were seen.
    pub anomalies: Anomalies,
    /// The trace, if it was recorded.
    pub lines: Vec<String>,
    /// The first violation that operations prove, drawn, if the run was recorded.
    pub picture: Option<String>,
}

/// Runs `seed` with planted bugs, or none, on the engine that the seed draws, or on this one.
pub fn run(seed: u64, mutants: Mutants, consensus: Option<Consensus>, records: bool) -> Report {
    let mut plan = Plan::draw(seed);
    plan.consensus = consensus.unwrap_or(plan.consensus);
    run_plan(plan, mutants, records)
}

/// Runs a world that was drawn or made up.
pub fn run_plan(plan: Plan, mutants: Mutants, records: bool) -> Report {
    run_on_tape(plan, mutants, records, None).0
}

/// The same, on this tape if there is one.
pub fn run_on_tape(
    plan: Plan,
    mutants: Mutants,
    records: bool,
    tape: Option<Box<Tape>>,
) -> (Report, Option<Box<Tape>>) {
    catch_panics_quietly();
    let mut world = World::new(
        Settings {
            plan: plan.clone(),
            mutants,
        },
        records,
    );
    world.tape = tape;
    // What the thread reached in another world counts there.
    Mark::take();
    let outcome = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let mut violations = std::mem::take(&mut world.violations);
    match outcome {
        Ok(more) => violations.extend(more),
        Err(_) => {
            violations.push(Violation::new("no_invariant_breaks", last_panic()));
        }
    }
    let now = world.now();
    let hash = world.trace.digest();
    let picture = violations
        .iter()
        .filter(|_| records)
        .find_map(|violation| draw(violation, &world, &plan));
    let tape = world.tape.take();
    let report = Report {
        picture,
        violations,
        n_operations: (world.asking.history.len() + world.natives.history.len()) as u64,
        anomalies: world.natives.anomalies,
        simulated: Duration::from_nanos(now.0),
        hash,
        n_events: world.trace.n_events(),
        n_steps: world.observer.n_steps(),
        faults: std::mem::take(&mut world.misfortune.counts),
        marks: Mark::take(),
        lines: world.trace.into_lines(),
        plan,
    };
    (report, tape)
}

fn draw(violation: &Violation, world: &World, plan: &Plan) -> Option<String> {
    let where_from = format!("seed {}: {plan}", plan.seed);
    picture::html(violation, &world.asking.history, &where_from)
}

fn live(world: &mut World) -> Vec<Violation> {
    let trouble = Time(world.settings.plan.trouble.as_nanos() as u64);
    while world.now() < trouble && world.violations.is_empty() && world.step() {}
    if !world.violations.is_empty() {
        return Vec::new();
    }
    world.heal();
    world.run_until(Duration::from_secs(2), |_| false);
    world.retire_strangers();
    world.asking.are_quiet = true;
    world.run_until(world.settings.plan.patience, |_| false);
    world.retire_strangers();
    let mut progress = false;
    // Membership may still change by what was under way: ask whoever belongs to it as we see it.
    for _ in 0..PROGRESS_MAX.as_millis() / 500 {
        world.retire_strangers();
        for member in world.expected_members() {
            if !world.asking.last_writes.contains_key(&member)
                && world.members[member].process.is_some()
            {
                world.ask_last_write(member);
            }
        }
        if world.run_until(Duration::from_millis(500), World::has_converged) {
            progress = true;
            break;
        }
        if !world.violations.is_empty() {
            break;
        }
    }
    if world.violations.is_empty() && !progress {
        let what = world.explain();
        world.violate(Violation::new("progress_after_healing", what));
    }
    if progress {
        world.watching.owed_to = world.chronicle.last();
        // Lazy watchers take what is left, and members stay equal.
        world.run_until(Duration::from_secs(3), |_| false);
        if world.violations.is_empty() && !world.run_until(PROGRESS_MAX, World::has_converged) {
            let what = world.explain();
            world.violate(Violation::new("members_stay_equal", what));
        }
    }
    if world.violations.is_empty() {
        world.judge()
    } else {
        Vec::new()
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The words of the panic that was caught last.
pub(crate) fn last_panic() -> String {
    PANIC
        .with(|panic| panic.borrow_mut().take())
        .unwrap_or_default()
}

/// A broken invariant is a finding, not a crash of the simulator: its words are kept for the report.
pub(crate) fn catch_panics_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = info
                .payload()
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| info.payload().downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a panic without words".to_owned());
            let place = info
                .location()
                .map_or(String::new(), |place| format!(" ({place})"));
            PANIC.with(|panic| *panic.borrow_mut() = Some(format!("{message}{place}")));
            // In the release profile a panic ends the process, and nobody would read the report.
            if cfg!(panic = "abort") || std::env::var_os("SIM_PANICS").is_some() {
                default(info);
            }
        }));
    });
}
