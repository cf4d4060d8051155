//! One history, whoever decides: in calm worlds the engine that ships and the specification give one client the same
//! answers, revision by revision.
//!
//! With faults or several clients the two may differ and both be right (who leads, which of two writes came first),
//! and the judges decide; here there is only one right answer.

use base::Mutants;
use checker::history::{Outcome, Request};
use quorate_sim::member::Settings;
use quorate_sim::plan::Mix;
use quorate_sim::world::World;
use quorate_sim::{Consensus, Plan};
use std::time::Duration;

/// Operations that are compared in each world.
const N: usize = 300;

fn history(seed: u64, consensus: Consensus) -> Vec<(Request, Outcome)> {
    let drawn = Plan::draw(seed);
    let plan = Plan {
        consensus,
        faults: Vec::new(),
        trouble: Duration::from_secs(600),
        n_clients: 1,
        n_watchers: 0,
        patience: Duration::from_secs(4),
        clock_error_permille: 0,
        compaction: None,
        workload: None,
        natives: None,
        rules: None,
        upgrade: false,
        drift_ppm: None,
        mix: Mix {
            // What a lease has left is a matter of time, and time is not the same.
            lease: 0,
            // A member may answer from its own state a moment before it hears of a write.
            get_serializable: 0,
            ..drawn.mix
        },
        ..drawn
    };
    let settings = Settings {
        plan,
        mutants: Mutants::none(),
    };
    let mut world = World::new(settings, false);
    let mine = |world: &World| {
        let history = world.asking.history.iter();
        let answered = history.filter(|operation| {
            operation.client == 1 && matches!(operation.outcome, Outcome::Answered { .. })
        });
        let pairs =
            answered.map(|operation| (operation.request.clone(), operation.outcome.clone()));
        pairs.collect::<Vec<_>>()
    };
    assert!(
        world.run_until(Duration::from_secs(300), |world| {
            world.asking.history.len() >= N + N / 4
        }),
        "seed {seed}: too slow"
    );
    assert!(world.violations.is_empty(), "{}", world.violations[0]);
    let mut history = mine(&world);
    assert!(history.len() >= N, "seed {seed}: {} answers", history.len());
    history.truncate(N);
    history
}

#[test]
fn both_engines_give_one_client_the_same_answers() {
    let (mut compared, mut revisions) = (0, 0);
    for seed in 0..12 {
        let shipped = history(seed, Consensus::Shipped);
        let specified = history(seed, Consensus::Specification);
        for (n, (one, other)) in shipped.iter().zip(&specified).enumerate() {
            assert_eq!(one, other, "seed {seed}, answer {n}");
        }
        compared += shipped.len();
        revisions += shipped
            .iter()
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Answered { revision, .. } => Some(revision.0),
                _ => None,
            })
            .max()
            .unwrap_or(0);
    }
    println!("{compared} answers are the same, up to {revisions} revisions");
    assert!(
        compared == 12 * N && revisions > 1000,
        "{compared}, {revisions}"
    );
}
