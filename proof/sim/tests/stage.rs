//! Worlds driven by hand: whatever is typed, the core keeps its promises; and a bug of the shell around it is found.

use base::{Mutants, Rng};
use quorate_sim::run::run_on_tape;
use quorate_sim::stage::{Bug, Command, Finding, NotACommand, Script, ScriptError, Stage, open};
use quorate_sim::tape::{Link, Tape};
use quorate_sim::{Plan, run_plan};

fn bug(name: &str) -> Bug {
    Bug::named(name).expect("a bug that can be planted")
}

/// Plays `text` to its end or to the first command that cannot be carried out.
fn play(text: &str, seed: u64, bug: Option<Bug>) -> (Vec<String>, Result<(), ScriptError>, Stage) {
    let mut stage = Stage::new(seed, bug);
    let mut told = Vec::new();
    let script = Script::parse(text).expect("a script");
    let outcome = script.run(&mut stage, &mut |line| told.push(line.to_owned()));
    (told, outcome, stage)
}

/// Commands as they come to a restless mind. That some cannot be carried out here and now is part of it.
fn restless(seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let names = ["n1", "n2", "n3", "leader", "follower", "old"];
    let mut commands = vec!["let old = leader".to_owned()];
    for n in 0..40_u64 {
        let mut member = || *rng.pick(&names).expect("some");
        let (one, other) = (member(), member());
        let client = rng.between(1, 4);
        let key = *rng.pick(&["x", "y"]).expect("some");
        let behind = if rng.one_in(3) { " &" } else { "" };
        commands.push(match rng.below(22) {
            0..4 => format!("c{client}@{one} put {key} v{n}{behind}"),
            4..8 => format!("c{client}@{one} get {key}{behind}"),
            8 => format!("c{client} get {key} stale"),
            9 => format!("c{client} delete {key}{behind}"),
            10 => format!("c{client} cas {key} v{} v{n}", n / 2),
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
    for line in restless(seed) {
        let command = Command::parse(&line)
            .expect("a command")
            .expect("not empty");
        // Nobody leads, or it is paused already: that is an answer, too.
        let _ = stage.run(&command);
    }
    stage.finish()
}

#[test]
fn whatever_is_typed_the_core_keeps_its_promises() {
    for seed in 0..100 {
        let finding = play_restless(seed, None);
        let told = finding.lines().join("\n");
        assert!(finding.holds(), "seed {seed}: {told}");
    }
}

#[test]
fn restless_minds_find_the_bugs_of_the_shell() {
    for name in ["answer-early", "lying-disk", "read-locally"] {
        let found = (0..100).find(|seed| !play_restless(*seed, Some(bug(name))).holds());
        assert!(found.is_some(), "{name} escapes");
    }
}

#[test]
fn every_story_ends_as_it_says_on_every_seed() {
    for story in Script::STORIES {
        for seed in 0..20 {
            let (told, outcome, mut stage) = play(story.text, seed, None);
            assert_eq!(outcome, Ok(()), "{}: {told:?}", story.name);
            let finding = stage.finish();
            let lines = finding.lines().join("\n");
            assert!(finding.holds(), "{} on {seed}: {lines}", story.name);
            let Some(planted) = story.bug else { continue };
            let (_, outcome, mut stage) = play(story.text, seed, Some(bug(planted)));
            assert_eq!(outcome, Ok(()), "{} without its rule", story.name);
            let finding = stage.finish();
            assert_eq!(
                finding.broken(),
                Some("each_key_is_linearizable"),
                "{} on {seed}",
                story.name
            );
            let guilt = finding.guilt.expect("operations prove it");
            assert!(guilt.operations.len() <= 3, "{guilt:?}");
            assert!(!guilt.orders.is_empty(), "{guilt:?}");
        }
    }
}

#[test]
fn a_stage_is_its_seed_and_its_commands() {
    let partition = Script::STORIES[0].text;
    let told = |seed| {
        let (told, _, stage) = play(partition, seed, None);
        (told, stage.events())
    };
    assert_eq!(told(3), told(3));
    assert_ne!(told(3).1, told(4).1);
}

#[test]
fn time_passes_where_nobody_runs() {
    let (told, outcome, mut stage) = play("crash all\nwait 3s\nc1@n1 get x\nwait leader", 0, None);
    assert!(
        matches!(outcome, Err(ScriptError::Refused { line: 4, .. })),
        "{outcome:?}"
    );
    assert!(
        told.iter().any(|line| line.contains("connection refused")),
        "{told:?}"
    );
    assert!(stage.finish().holds());
}

/// What a script that is wrong is told.
fn complaint(text: &str) -> String {
    match Script::parse(text) {
        Err(error) => error.to_string(),
        Ok(_) => match play(text, 0, None).1 {
            Err(error) => error.to_string(),
            Ok(()) => "nothing is wrong".to_owned(),
        },
    }
}

#[test]
fn what_cannot_be_carried_out_is_said_with_its_line() {
    for (text, expected) in [
        (
            "# first\nputt x 1",
            "line 2: there is no command putt; did you mean put?; `help` lists them",
        ),
        (
            "\n\nfly away",
            "line 3: there is no command fly; `help` lists them",
        ),
        (
            "put x",
            "line 1: put does not take 1 words; it is used so: [CLIENT[@MEMBER]] put KEY VALUE [lease N] [&]",
        ),
        (
            "c1@n9 get x",
            "line 1: c1@n9 get x: there is no member n9; there are n1, n2, n3, leader, follower, all",
        ),
        (
            "c0 get x",
            "line 1: client c0 is more than there are: c1 to c9",
        ),
        (
            "c12 get x",
            "line 1: client c12 is more than there are: c1 to c9",
        ),
        (
            "c1 cut n1",
            "line 1: a client does not cut; it is used so: [CLIENT[@MEMBER]] put KEY VALUE [lease N] [&]",
        ),
        (
            "put x 1\nput y 1",
            "line 2: put y 1: 1 was put before, by #1: the judge needs each value to be put once, so put another",
        ),
        (
            "cut n1 / n1",
            "line 1: cut n1 / n1: n1 cannot be on both sides",
        ),
        ("cut all", "line 1: cut all: nobody is on the other side"),
        (
            "c1@all get x",
            "line 1: c1@all get x: all is 3 members, and here one is wanted",
        ),
        ("resume n1", "line 1: resume n1: n1 is not paused"),
        (
            "kill n1\npause n1",
            "line 2: pause n1: n1 does not run: `restart n1`",
        ),
        (
            "kill all\nc1@leader get x",
            "line 2: c1@leader get x: there is no leader now; `wait leader` waits for one",
        ),
        (
            "let all = n1",
            "line 1: let all = n1: all has a meaning already: take another name",
        ),
        (
            "wait 2h",
            "line 1: 2h is no time; it is used so: wait MS, wait 2s, wait leader, wait answers",
        ),
        (
            "wait 3600s",
            "line 1: 3600s is more than one command may wait: 60 s",
        ),
        (
            "drift n1 +80",
            "line 1: 80 percent is more than a clock may be off: 50 percent",
        ),
        (
            "skew n1 soon",
            "line 1: soon is no number; it is used so: skew A +MS",
        ),
    ] {
        assert_eq!(complaint(text), expected);
    }
    let long = "put x ".to_owned() + &"y".repeat(1000);
    assert_eq!(
        complaint(&long),
        "line 1: the line is more than 400 letters"
    );
    let many = "status\n".repeat(3000);
    assert_eq!(complaint(&many), "the script is longer than 2000 commands");
    assert_eq!(
        complaint(&"# on and on\n".repeat(10_000)),
        "the script is longer than 65536 bytes"
    );
}

#[test]
fn no_line_is_more_than_refused() {
    let words = [
        "put",
        "get",
        "c1",
        "c1@n1",
        "@",
        "cut",
        "/",
        ">",
        "&",
        "x",
        "-",
        "+5",
        "wait",
        "let",
        "=",
        "n1",
        "lease",
        "1",
        "18446744073709551616",
        "é",
        "all",
        "drift",
        "skew",
        "-9223372036854775808",
        "cas",
        "grant",
    ];
    let mut rng = Rng::new(1);
    let mut n_commands = 0;
    for _ in 0..20_000 {
        let n = rng.between(1, 5);
        let line: Vec<&str> = (0..n).filter_map(|_| rng.pick(&words).copied()).collect();
        let parsed: Result<Option<Command>, NotACommand> = Command::parse(&line.join(" "));
        n_commands += usize::from(matches!(parsed, Ok(Some(_))));
    }
    assert!(n_commands > 100, "{n_commands}");
}

#[test]
fn bugs_of_the_core_are_planted_by_name_where_the_build_has_them() {
    let unknown = Bug::named("no-such-bug").expect_err("nobody knows it");
    assert!(
        unknown
            .to_string()
            .contains("answer-early, lying-disk, read-locally")
    );
    match Mutants::plant(base::Mutant::StaleReadIndex) {
        Some(_) => {
            let story = Script::STORIES.iter().find(|it| it.name == "read-locally");
            let text = story.expect("it is there").text;
            let (_, outcome, mut stage) = play(text, 0, Some(bug("stale-read-index")));
            assert_eq!(outcome, Ok(()));
            assert_eq!(stage.finish().broken(), Some("each_key_is_linearizable"));
        }
        None => {
            let error = Bug::named("stale-read-index").expect_err("not in this build");
            assert!(
                error
                    .to_string()
                    .contains("this build has none of those in it"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_tape_decides_nothing_and_its_arrows_have_two_ends() {
    for seed in 0..12 {
        let plain = run_plan(Plan::draw(seed), Mutants::none(), false);
        let tape: Option<Box<Tape>> = Some(Box::default());
        let (taped, tape) = run_on_tape(Plan::draw(seed), Mutants::none(), false, tape);
        assert_eq!(plain.hash, taped.hash, "seed {seed}");
        let tape = tape.expect("it is given back");
        let mut sent = std::collections::BTreeMap::new();
        let mut n_received = 0;
        for event in tape.events() {
            match event.link {
                Some(Link::Sends(number, to)) => {
                    assert!(sent.insert(number, (event.who, to)).is_none());
                }
                Some(Link::Receives(number, from)) => {
                    assert_eq!(sent.get(&number), Some(&(from, event.who)), "seed {seed}");
                    n_received += 1;
                }
                _ => {}
            }
        }
        assert!(n_received > 100, "seed {seed}: {n_received}");
        assert_eq!(tape.n_forgotten(), 0, "seed {seed}");
    }
}

#[test]
fn a_seed_is_opened_as_what_happened() {
    let (report, events) = open(7, None);
    assert!(report.violations.is_empty());
    assert!(!events.is_empty() && events.is_sorted_by_key(|event| event.at));
}
