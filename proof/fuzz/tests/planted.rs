//! A smoke run can fail: a planted defect ends it with code 1 and leaves the input behind. And two runs of
//! one seed are the same.

use std::path::PathBuf;
use std::process::{Command, Output};

fn fuzz(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    command.args(arguments).output().expect("the driver starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder of this test's own, below the build's.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_planted_defect_is_found_told_and_kept() {
    for target in ["batch", "engine", "log", "snapshot_stream", "etcd_requests"] {
        let out = folder(&format!("planted-{target}"));
        let path = out.to_string_lossy();
        let output = fuzz(&[
            "smoke", "--plant", "--target", target, "--runs", "4000", "--seed", "3", "--out", &path,
        ]);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let found = told
            .lines()
            .find(|line| line.starts_with(&format!("FAILED {target}   seed 3   run ")));
        assert!(found.is_some(), "target, seed and run are told:\n{told}");
        assert!(told.contains("the planted defect"), "{told}");
        let files: Vec<_> = std::fs::read_dir(&out)
            .expect("a folder")
            .flatten()
            .collect();
        assert_eq!(files.len(), 1, "one place, one input");
        let input = std::fs::read(files[0].path()).expect("an input");
        assert_eq!(input, [0xff, 0xff, 0xff, 0x7f], "and as small as can be");
    }
}

/// A bug of the product, planted where it hurts: `cargo test --release --features mutants`.
#[cfg(feature = "mutants")]
#[test]
fn a_log_that_takes_damage_for_its_end_is_found() {
    let path = folder("mutant").to_string_lossy().into_owned();
    let output = fuzz(&["smoke", "--target", "log", "--runs", "4000", "--out", &path]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("intact, and it ended at"));
}

#[cfg(not(feature = "mutants"))]
#[test]
fn without_a_defect_the_same_runs_pass() {
    let output = fuzz(&["smoke", "--runs", "400", "--seed", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn one_seed_is_one_run() {
    let smoke = |seed| fuzz(&["smoke", "--runs", "400", "--seconds-free", "--seed", seed]);
    let (one, two, other) = (text(&smoke("3")), text(&smoke("3")), text(&smoke("4")));
    assert_eq!(one, two);
    assert_ne!(one, other);
}

#[test]
fn a_target_that_refuses_nothing_is_a_failure_of_the_harness() {
    // One run is either accepted or refused, and so one of the two never happens.
    let output = fuzz(&["smoke", "--target", "batch", "--runs", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FAILED batch   the harness: it"));
}

#[test]
fn nonsense_is_refused_with_words() {
    for arguments in [
        &["smoke", "--runs"][..],
        &["smoke", "--target", "x"],
        &["fly"],
    ] {
        assert_eq!(fuzz(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
