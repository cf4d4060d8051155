//! The commands that speak to nobody, as they are typed: golden scripts, each line run by a shell.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fmt::Write as _;
use support::*;

#[test]
fn golden_scripts() {
    testkit::check_all("tests/local", || {
        let shell = Shell::new();
        move |commands: &str| shell.play(commands)
    });
}

/// What stands before `--help` in every command of the program: found as a user would, in the help itself.
fn commands_of(path: &[String], found: &mut Vec<Vec<String>>) {
    let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
    words.push("--help");
    let output = run(&words, &[]);
    assert!(output.status.success(), "{words:?}: {output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    let mut lines = help.lines();
    assert_eq!(lines.next(), Some("Examples:"), "{words:?}:\n{help}");
    let example = lines.next().unwrap();
    assert!(example.starts_with("  quorate "), "{words:?}: {example}");
    found.push(path.to_vec());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        // A line that goes on from the one before is indented further.
        if let Some(name) = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
        {
            let name = name.split_whitespace().next().unwrap().to_owned();
            commands_of(&[path, &[name]].concat(), found);
        }
    }
}

#[test]
fn the_help_of_every_command_starts_with_an_example() {
    let mut found = Vec::new();
    commands_of(&[], &mut found);
    let names = found.iter().fold(String::new(), |mut names, path| {
        let _ = write!(names, "|{}", path.join(" "));
        names
    });
    for name in [
        "",
        "dev",
        "server",
        "explain",
        "context use",
        "version",
        "help",
    ] {
        assert!(names.contains(&format!("|{name}")), "{name}: {names}");
    }
    // `quorate help X` is the same text.
    for path in found {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let by_flag = run(&[&words[..], &["--help"]].concat(), &[]);
        let by_word = run(&[&["help"], &words[..]].concat(), &[]);
        assert_eq!(by_flag.stdout, by_word.stdout, "{words:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_in_silence() {
    let shell = Shell::new();
    let said = shell.play("quorate explain | head -1\nquorate quorum -o json | true");
    assert_eq!(said, "CODE   EXIT  MEANS\n");
}
