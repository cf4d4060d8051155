//! `quorate lab cluster`: what it prints, draws and keeps, and how it ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cluster(arguments: &[&str]) -> Output {
    typed(arguments, "")
}

/// With this on its standard input.
fn typed(arguments: &[&str], input: &str) -> Output {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("cluster")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = lab.stdin.take().expect("a pipe");
    // Who refuses its arguments reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    lab.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compares with `golden/cluster/NAME.txt`; with `UPDATE=1` writes it.
fn golden(name: &str, said: &Output, code: i32) {
    let said_text = text(&said.stdout);
    assert_eq!(said.status.code(), Some(code), "{name}: {said_text}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cluster");
    let file = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(&file, said_text).expect("the file can be written");
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        kept,
        said_text,
        "{} differs; UPDATE=1 writes it anew",
        file.display()
    );
}

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_partition_and_a_crash_are_drawn_and_found_linearizable() {
    golden("partition", &cluster(&["--script", "partition"]), 0);
}

#[test]
fn an_answer_that_comes_too_early_is_proved_wrong() {
    let said = cluster(&["--script", "answer-early", "--break", "answer-early"]);
    golden("answer-early", &said, 1);
    assert!(text(&said.stdout).ends_with("\nlaw broken: each-key-is-linearizable\n"));
}

#[test]
fn a_disk_that_lies_is_proved_wrong() {
    let said = cluster(&["--script", "lying-disk", "--break", "lying-disk"]);
    golden("lying-disk", &said, 1);
}

#[test]
fn a_read_that_asks_nobody_is_proved_wrong() {
    let said = cluster(&["--script", "read-locally", "--break", "read-locally"]);
    golden("read-locally", &said, 1);
}

#[test]
fn the_same_stories_hold_without_their_bugs() {
    for story in ["answer-early", "lying-disk", "read-locally", "clocks"] {
        let said = cluster(&["--script", story, "--brief"]);
        let printed = text(&said.stdout);
        assert_eq!(said.status.code(), Some(0), "{story}: {printed}");
        let last = printed.lines().last().expect("a judgement");
        assert!(last.starts_with("linearizable: "), "{story}: {last}");
    }
}

#[test]
fn everything_is_listed() {
    let said = cluster(&["--list"]);
    assert_eq!(said.status.code(), Some(0));
    let said = text(&said.stdout);
    for name in [
        "partition",
        "clocks",
        "answer-early",
        "lying-disk",
        "read-locally",
    ] {
        assert!(said.contains(&format!("\n  {name} ")), "{said}");
    }
}

#[test]
fn standard_input_is_a_script_and_its_errors_have_lines() {
    let said = typed(&["--brief"], "c1 put x 1\nc2 get x\n");
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    assert!(text(&said.stdout).contains("#2 c2 get x -> 1"));
    for (script, complaint) in [
        (
            "status\nfly\n",
            "line 2: there is no command fly; `help` lists them\n",
        ),
        (
            "status\ncut n7\n",
            "line 2: cut n7: there is no member n7; there are n1, n2, n3, leader, follower, all\n",
        ),
    ] {
        let said = typed(&[], script);
        assert_eq!(said.status.code(), Some(2));
        assert_eq!(text(&said.stderr), complaint);
    }
}

#[test]
fn what_came_before_the_line_that_fails_is_drawn_and_judged() {
    let script = "c1@leader put x 1\nc2@leader get x\ncut n7\nc1@leader put x 2\n";
    let complaint =
        "line 3: cut n7: there is no member n7; there are n1, n2, n3, leader, follower, all\n";
    let said = typed(&[], script);
    let printed = text(&said.stdout);
    assert_eq!(said.status.code(), Some(2), "{printed}");
    assert_eq!(text(&said.stderr), complaint);
    assert!(printed.contains("#1 put x=1\n"), "{printed}");
    assert!(
        printed.ends_with("\nlinearizable: 2 operations\n"),
        "{printed}"
    );
    let said = typed(&["-o", "json"], script);
    assert_eq!(said.status.code(), Some(2));
    assert_eq!(text(&said.stderr), complaint);
    let card: serde_json::Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
    assert_eq!(card["operations"], 2);
}

#[test]
fn all_passes_over_whom_it_does_not_concern() {
    let script = "wait leader\npause n1\nresume all\nkill n2\npause all\npause all\nresume all\n";
    let said = typed(&["--brief"], script);
    let printed = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    for part in [
        "> resume all\n  n1: goes on\n",
        "> pause all\n  n1 and n3: paused\n",
        "> resume all\n  n1 and n3: goes on\n",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    for (script, complaint) in [
        ("resume n1\n", "line 1: resume n1: n1 is not paused\n"),
        (
            "kill n2\nresume all\n",
            "line 2: resume all: n1 is not paused, n2 does not run: `restart n2`, n3 is not paused\n",
        ),
    ] {
        let said = typed(&["--brief"], script);
        assert_eq!(said.status.code(), Some(2), "{script}");
        assert_eq!(text(&said.stderr), complaint);
    }
}

#[test]
fn members_and_laws_have_the_same_names_everywhere() {
    let script = "wait leader\nc1 put x 1\nc1 put y 2\ncrash all\nwait 100\nrestart all\nwait leader\nwait 1000\n";
    let said = typed(&["--break", "lying-disk"], script);
    let printed = text(&said.stdout);
    assert_eq!(said.status.code(), Some(1), "{printed}");
    let rows = printed
        .lines()
        .filter(|line| line.contains("┄┄") && line.ends_with("voters-remember"));
    assert!(rows.count() > 0, "{printed}");
    for part in [
        "\nbroken: voters-remember\n  n",
        "\nlaw broken: voters-remember\n",
        "\nbroken, too: log-matching, ",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(!printed.contains("voters_remember"), "{printed}");
}

#[test]
fn a_prompt_goes_on_after_what_cannot_be() {
    let typed_text = "help\nfly\ncut n7\n\nc1@leader put x 1\nc2@n7 get x\nstatus\ncheck\ndiagram\nhistory\nquit\nput x 2\n";
    let said = typed(&["--prompt", "--brief"], typed_text);
    let printed = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0), "{printed}");
    for part in [
        "[CLIENT[@MEMBER]] put KEY VALUE [lease N] [&]",
        "> there is no command fly",
        "> there is no member n7",
        "leads, term ",
        "linearizable: 1 operations",
        "#1 put x=1",
        "append ",
    ] {
        let part = part.replace("> ", "  ");
        assert!(printed.contains(&part), "{part} is not in {printed}");
    }
    assert!(!printed.contains("x=2"), "{printed}");
}

#[test]
fn what_is_not_there_is_said() {
    for (arguments, complaint) in [
        (
            &["--script", "no-such-story"][..],
            "no-such-story is neither a story (partition, ",
        ),
        (
            &["partition"],
            "a file of commands, or a story, is given so: --script partition\n",
        ),
        (
            &["--break", "no-such-bug"],
            "no bug has the name no-such-bug; there are answer-early, ",
        ),
        (
            &["--sim-seed", "1", "--only", "colour"],
            "there is no kind colour; there are client, ",
        ),
        (
            &["--sim-seed", "1", "--break", "lying-disk"],
            "lying-disk is planted in worlds that are driven by hand",
        ),
        (
            &["--script", "partition", "--svg", "/no/such/folder/x.svg"],
            "cannot write /no/such/folder/x.svg: ",
        ),
    ] {
        let said = cluster(arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}");
        let complaints = text(&said.stderr);
        assert!(complaints.contains(complaint), "{complaints}");
    }
}

#[test]
fn a_seed_of_the_simulator_opens_as_a_picture() {
    let said = cluster(&["--sim-seed", "7", "--last", "40"]);
    let printed = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0), "{printed}");
    assert!(printed.starts_with("seed 7: 3 members"), "{printed}");
    assert!(printed.contains("events before are left out"), "{printed}");
    assert!(printed.contains("▶") && printed.contains("◀"), "{printed}");
    assert!(printed.ends_with("no promise is broken\n"), "{printed}");
    // Only some columns, only some kinds, only some time.
    let said = cluster(&[
        "--sim-seed",
        "7",
        "--members",
        "n1,n3",
        "--only",
        "message",
        "--from",
        "8",
        "--to",
        "12",
    ]);
    let printed = text(&said.stdout);
    let head = printed.lines().find(|line| line.contains("n1      n3"));
    assert_eq!(head.map(str::trim), Some("n1      n3"), "{printed}");
    assert!(!printed.contains("n2"), "{printed}");
}

#[test]
fn pictures_and_traces_are_kept() {
    let (svg, trace) = (file("partition.svg"), file("partition.jsonl"));
    let said = cluster(&[
        "--script",
        "partition",
        "--brief",
        "--svg",
        svg.to_str().expect("a path"),
        "--trace",
        trace.to_str().expect("a path"),
    ]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    let svg = std::fs::read_to_string(svg).expect("it is there");
    assert!(svg.starts_with("<svg ") && svg.contains("cut: n2 / n1 and n3"));
    let trace = std::fs::read_to_string(trace).expect("it is there");
    let shiviz = regex::Regex::new(lab::diagram::SHIVIZ).expect("an expression");
    let mut n_joined = 0;
    for line in trace.lines() {
        assert!(shiviz.is_match(line), "{line}");
        let event: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        let clock = event["clock"].as_object().expect("a clock");
        n_joined += usize::from(clock.len() == 6);
    }
    assert!(
        n_joined > 10,
        "clocks of three clients and three members meet: {n_joined}"
    );
}

#[test]
fn programs_get_the_judgement() {
    let said = cluster(&[
        "--script",
        "read-locally",
        "--break",
        "read-locally",
        "-o",
        "json",
    ]);
    assert_eq!(said.status.code(), Some(1));
    let card: serde_json::Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
    assert_eq!(card["holds"], false);
    assert_eq!(card["broken"][0], "each-key-is-linearizable");
    assert_eq!(card["proof"].as_array().map(Vec::len), Some(3));
    let said = cluster(&["--list", "-o", "json"]);
    let card: serde_json::Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
    assert_eq!(card["bugs"].as_array().map(Vec::len), Some(3));
}

/// What the guide shows.
fn guide() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/lab-cluster.md");
    std::fs::read_to_string(guide).expect("the guide is there")
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let guide = guide();
    let commands: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("$ quorate lab cluster"))
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let words: Vec<String> = command
            .split_whitespace()
            .map(
                |word| match word.contains(".svg") || word.contains(".jsonl") {
                    true => file(word).display().to_string(),
                    false => word.to_owned(),
                },
            )
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let expected = i32::from(words.contains(&"--break"));
        let said = cluster(&words);
        assert_eq!(
            said.status.code(),
            Some(expected),
            "quorate lab cluster{command}"
        );
    }
}

#[test]
fn every_script_of_the_guide_runs() {
    let guide = guide();
    let mut n_scripts = 0;
    for part in guide.split("```text\n").skip(1) {
        let script = part.split("```").next().unwrap_or_default();
        // Tables of commands and pictures are no scripts.
        if !script.starts_with("# ") {
            continue;
        }
        n_scripts += 1;
        let said = typed(&["--brief"], script);
        assert_eq!(
            said.status.code(),
            Some(0),
            "{script}\n{}",
            text(&said.stderr)
        );
    }
    assert!(n_scripts >= 1);
}

#[test]
fn the_guide_lists_every_command() {
    let guide = guide();
    for (name, usage, _) in sim::stage::USAGE {
        assert!(guide.contains(usage), "{name}: {usage}");
    }
}
