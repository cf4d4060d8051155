//! Runs the rules of `proof/tidy` over the whole tree.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the tree exists")
}

/// All files below the root whose name ends with `suffix`, as (relative path, text); there must be some.
fn files(suffix: &str) -> Vec<(String, String)> {
    let found = files_if_any(suffix);
    assert!(!found.is_empty(), "no file ends with {suffix}");
    found
}

fn files_if_any(suffix: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("the folder can be listed")
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(suffix) {
                let relative = path.strip_prefix(&root).expect("below the root");
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.push((relative.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn arrows_point_to_the_left() {
    let complaints: Vec<String> = files("Cargo.toml")
        .iter()
        .filter(|(path, _)| path != "Cargo.toml" && !path.starts_with("fuzz/"))
        .flat_map(|(path, text)| {
            tidy::layers::complaints(path.trim_end_matches("/Cargo.toml"), text)
        })
        .collect();
    assert_none(&complaints);
}

#[test]
fn every_source_file_keeps_the_rules_of_its_folder() {
    let complaints: Vec<String> = files(".rs")
        .iter()
        .flat_map(|(path, text)| tidy::source::complaints(path, text))
        .collect();
    assert_none(&complaints);
}

#[test]
fn what_is_said_to_work_has_a_test() {
    let sources: Vec<(String, String)> = [".rs", ".go", ".py", ".java", ".mjs", ".js", ".ts"]
        .iter()
        .flat_map(|suffix| files_if_any(suffix))
        .collect();
    let is_test = |name: &str| {
        if name.contains('/') {
            return root().join(name).exists();
        }
        let called = [
            format!("fn {name}("),
            format!("func {name}("),
            format!("def {name}("),
        ];
        sources
            .iter()
            .any(|(_, text)| called.iter().any(|call| text.contains(call.as_str())))
    };
    for page in ["docs/compat/etcd.md", "docs/reliability.md"] {
        let text = fs::read_to_string(root().join(page)).expect("the page is there");
        assert!(
            text.contains("| State | Test |"),
            "{page} has no such table"
        );
        assert_none(&tidy::claims::complaints(page, &text, is_test));
    }
}

#[test]
fn every_claim_of_the_field_has_its_command_and_its_test() {
    let sources = files(".rs");
    let is_test = |name: &str| match name.split_once("::") {
        None => root().join(name).is_file(),
        Some((path, function)) => sources
            .iter()
            .any(|(at, text)| at == path && text.contains(&format!("fn {function}("))),
    };
    let page = "docs/claims.md";
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let lab = tidy::field::Lab::read(&sources);
    assert!(lab.exhibits.len() > 20, "the catalogue is read: {lab:?}");
    assert_none(&tidy::field::complaints(page, &text, &lab, is_test));
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the page is there")
}

#[test]
fn crash_faults_only_is_said_where_people_decide() {
    for (path, sentences) in tidy::guides::CRASH_FAULTS {
        assert_none(&tidy::guides::unsaid(path, &page(path), sentences));
    }
}

#[test]
fn which_lock_is_enough_is_said_with_a_run_for_each() {
    let lab = tidy::field::Lab::read(&files(".rs"));
    let path = "docs/guide/which-lock.md";
    assert_none(&tidy::guides::locks(path, &page(path), &lab));
    let fencing = "docs/guide/fencing.md";
    let link = ["(which-lock.md)"];
    assert_none(&tidy::guides::unsaid(fencing, &page(fencing), &link));
}

#[test]
fn what_other_systems_promise_has_an_answer_here() {
    let path = "docs/guide/other-systems.md";
    assert_none(&tidy::guides::systems(path, &page(path)));
}

#[test]
fn storms_and_split_brain_are_run_by_every_build() {
    assert_none(&tidy::guides::unrun(
        ".ci/run",
        &page(".ci/run"),
        ".ci/chaos",
    ));
    for command in [
        "-p quorate-chaos -- storms ",
        "target/release/quorate-bench split-brain ",
    ] {
        assert_none(&tidy::guides::unrun(
            ".ci/chaos",
            &page(".ci/chaos"),
            command,
        ));
    }
}

#[test]
fn no_file_names_a_machine() {
    // Spelt in two halves, or this file would complain about itself.
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/fa", "rm/"),
    ];
    let mut complaints = Vec::new();
    for suffix in [".rs", ".md", ".toml", ".sh", ".txt", "justfile"] {
        for (file, text) in files(suffix) {
            for path in paths {
                let named = text
                    .match_indices(path)
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()));
                if named {
                    complaints.push(format!("{file}: names {path}"));
                }
            }
        }
    }
    assert_none(&complaints);
}
