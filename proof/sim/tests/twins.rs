//! Twin runs: one seed is one run, in any process, on any number of threads.

use std::process::Command;

/// What `sim run --trace-hash` prints: one line per seed, and the sum.
fn hashes(jobs: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args([
            "run",
            "--seeds",
            "6",
            "--from",
            "40",
            "--trace-hash",
            "--jobs",
            jobs,
        ])
        .output()
        .expect("the simulator runs");
    let text = String::from_utf8(output.stdout).expect("the simulator prints text");
    assert!(output.status.success(), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn two_processes_give_each_seed_the_same_trace_hash() {
    let (first, second) = (hashes("1"), hashes("3"));
    assert_eq!(first, second);
    let mut per_seed: Vec<&str> = first[..6]
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    per_seed.sort_unstable();
    per_seed.dedup();
    assert_eq!(
        per_seed.len(),
        6,
        "different seeds are different runs: {first:?}"
    );
    assert!(
        first[6].starts_with("6 seeds, ") && first[6].ends_with(" 0 violations"),
        "{first:?}"
    );
}

#[test]
fn a_recorded_run_is_the_same_run() {
    let silent = quorate_sim::run(3, base::Mutants::none(), None, false);
    let recorded = quorate_sim::run(3, base::Mutants::none(), None, true);
    assert_eq!(silent.hash, recorded.hash);
    assert_eq!(recorded.lines.len() as u64, recorded.n_events);
}
