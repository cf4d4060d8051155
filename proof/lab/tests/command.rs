//! The command: what it prints, how it ends.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(arguments)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_arguments_everything_is_listed_one_line_each() {
    let said = lab(&[]);
    assert_eq!(said.status.code(), Some(0));
    let said = text(&said.stdout);
    for one in lab::catalogue::ALL {
        let lines = said
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(one.name()));
        assert_eq!(lines.count(), 1, "{}", one.name());
    }
    for one in lab::measure::ALL {
        assert!(said.contains(one.line), "{}", one.name);
    }
    for more in ["run", "story", "measure", "calc", "question", "cluster"] {
        assert!(said.contains(&format!("quorate lab {more} ")), "{more}");
    }
}

#[test]
fn what_is_told_in_pictures_is_not_told_as_json() {
    for asked in [
        &["run", "paxos", "-o", "json"][..],
        &["question", "4", "-o", "json"],
        &["story", "paxos", "-o", "json"],
    ] {
        let refused = lab(asked);
        assert_eq!(refused.status.code(), Some(2), "{asked:?}");
        assert!(text(&refused.stderr).contains("--trace FILE"), "{asked:?}");
    }
}

#[test]
fn the_list_in_json_gives_name_kind_and_ways_to_break() {
    let said = lab(&["list", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), lab::catalogue::ALL.len());
    let paxos = list
        .iter()
        .find(|one| one["name"] == "paxos")
        .expect("Paxos is there");
    assert_eq!(paxos["kind"], "consensus");
    assert!(
        paxos["breaks"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| { one["rule"] == "adopt-highest" && one["law"] == "agreement" })
    );
}

#[test]
fn it_ends_with_0_1_or_2() {
    let holds = lab(&["run", "paxos", "--brief", "--seeds", "10"]);
    assert_eq!(holds.status.code(), Some(0));
    let falls = lab(&["run", "paxos", "--brief", "--break", "majority"]);
    assert_eq!(falls.status.code(), Some(1));
    assert!(text(&falls.stdout).ends_with("\nlaw broken: agreement\n"));
    for (arguments, complaint) in [
        (&["run", "pexos"][..], "there is no \"pexos\" in the lab"),
        (
            &["run", "paxos", "--break", "everything"],
            "it has: adopt, adopt-highest, ",
        ),
        (
            &["run", "paxos", "--scenario", "war"],
            "paxos has no scenario \"war\"; it has: adopt, duel",
        ),
        (&["story", "pexos"], "there is no \"pexos\" in the lab"),
        (
            &[
                "run",
                "paxos",
                "--brief",
                "--seeds",
                "1",
                "--svg",
                "/nowhere/at/all.svg",
            ],
            "cannot write /nowhere",
        ),
    ] {
        let said = lab(arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&said.stderr).contains(complaint),
            "{arguments:?}: {}",
            text(&said.stderr)
        );
    }
}

#[test]
fn one_seed_is_one_run_and_files_hold_its_picture() {
    let folder = std::env::temp_dir().join(format!("quorate-lab-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (svg, trace) = (folder.join("one.svg"), folder.join("one.jsonl"));
    let run = |seed: &str| {
        let (svg, trace) = (svg.to_str().expect("text"), trace.to_str().expect("text"));
        let said = lab(&[
            "run", "paxos", "--brief", "--seed", seed, "--svg", svg, "--trace", trace,
        ]);
        assert_eq!(said.status.code(), Some(0));
        let files =
            [&svg, &trace].map(|file| std::fs::read_to_string(file).expect("it was written"));
        (said.stdout, files)
    };
    let (first, other) = (run("7"), run("8"));
    assert_eq!(first, run("7"));
    assert_ne!(first.0, other.0);
    assert!(first.1[0].starts_with("<svg ") && first.1[1].lines().count() > 5);
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}

#[test]
fn a_visitor_chooses_each_step() {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["run", "paxos", "--step"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let typed = "0\ndeliver p1 a2\nfly away\n\ncrash a1\nq\n";
    lab.stdin
        .take()
        .expect("a pipe")
        .write_all(typed.as_bytes())
        .expect("it reads");
    let said = lab.wait_with_output().expect("it ends");
    assert_eq!(said.status.code(), Some(0));
    let said = text(&said.stdout);
    assert!(said.contains("cannot fly away"), "{said}");
    let last = said.rsplit("what next?").nth(1).expect("several pictures");
    for row in [
        "   1  ●       │       │       │       │       │       p1  propose",
        "prepare 1.p1: promises",
        "a1  crashes",
    ] {
        assert!(last.contains(row), "{last}");
    }
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/lab.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    let commands: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("$ quorate lab"))
        .collect();
    assert!(commands.len() >= 6);
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let expected = i32::from(words.contains(&"--break"));
        assert_eq!(
            lab(&words).status.code(),
            Some(expected),
            "quorate lab{command}"
        );
    }
}

#[test]
fn the_picture_in_the_readme_is_what_the_lab_draws() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(here.join(file)).expect("it is there");
    let picture = read("golden/paxos/without-majority.txt");
    assert!(
        read("../../README.md").contains(picture.trim_end()),
        "golden/paxos/without-majority.txt"
    );
}
