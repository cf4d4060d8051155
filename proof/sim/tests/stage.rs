//! Worlds driven by hand: whatever is typed, the core keeps its promises; and a bug of the shell around it is found.

use base::Rng;
use quorate_sim::stage::{Bug, Command, Finding, Script, Stage};

/// Plays `text` and judges it.
fn play(text: &str, seed: u64, bug: Option<&str>) -> (String, Finding) {
    let bug = bug.map(|name| Bug::named(name).expect("a bug that can be planted"));
    let mut stage = Stage::new(seed, bug);
    let mut told = String::new();
    let script = Script::parse(text).expect("a script");
    let outcome = script.run(&mut stage, &mut |line| {
        told += line;
        told.push('\n');
    });
    if let Err(error) = outcome {
        told += &format!("error: {error}\n");
    }
    (told, stage.finish())
}

/// Commands as they come to a restless mind. What cannot be carried out here and now is part of it.
fn restless(seed: u64, n_commands: usize) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut n_values = 0;
    let names = ["n1", "n2", "n3", "leader", "follower", "old"];
    let mut commands = vec!["let old = leader".to_owned()];
    for _ in 0..n_commands {
        let mut member = || *rng.pick(&names).expect("some");
        let (one, other) = (member(), member());
        let client = rng.between(1, 4);
        let key = *rng.pick(&["x", "y"]).expect("some");
        n_values += 1;
        let behind = if rng.one_in(3) { " &" } else { "" };
        commands.push(match rng.below(22) {
            0..4 => format!("c{client}@{one} put {key} v{n_values}{behind}"),
            4..8 => format!("c{client}@{one} get {key}{behind}"),
            8 => format!("c{client} get {key} stale"),
            9 => format!("c{client} delete {key}{behind}"),
            10 => format!("c{client} cas {key} v{} v{n_values}", n_values / 2),
            11 => format!("cut {one}"),
            12 => format!("cut {one} > {other}"),
            13 => "heal".to_owned(),
            14 => format!("pause {one}"),
            15 => format!("resume {one}"),
            16 => format!("crash {one}"),
            17 => format!("kill {one}"),
            18 => "restart all".to_owned(),
            19 => format!("drift {one} +{}", rng.below(20)),
            20 => format!("skew {one} -{}", rng.below(100_000)),
            _ => format!("wait {}", rng.between(1, 1500)),
        });
    }
    commands
}

fn play_restless(seed: u64, bug: Option<Bug>) -> Finding {
    let mut stage = Stage::new(seed, bug);
    for line in restless(seed, 40) {
        let command = Command::parse(&line).expect("a command").expect("one");
        // Nobody leads, or it is paused already: that is an answer, too.
        let _ = stage.run(&command);
    }
    stage.finish()
}

#[test]
fn whatever_is_typed_the_core_keeps_its_promises() {
    for seed in 0..(if cfg!(test) { std::env::var("N").map_or(60, |n| n.parse().unwrap()) } else { 0 }) {
        let finding = play_restless(seed, None);
        assert!(finding.holds(), "seed {seed}: {}", finding.lines().join("\n"));
    }
}

#[test]
fn look() {
    for bug in ["lying-disk", "answer-early", "read-locally"] {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..(if cfg!(test) { std::env::var("N").map_or(60, |n| n.parse().unwrap()) } else { 0 }) {
            let finding = play_restless(seed, Some(Bug::named(bug).unwrap()));
            for claim in finding.claims() { *counts.entry(claim).or_insert(0) += 1; }
            if finding.claims().any(|c| c == "no_invariant_breaks") {
                for v in &finding.violations { if v.claim == "no_invariant_breaks" { println!("{bug} {seed}: {v}"); } }
            }
        }
        println!("{bug} {counts:?}");
    }
}
