//! What every exhibit promises: its laws hold over everything, each rule that is left out breaks the law that it
//! names, every scenario plays as it is written down in `golden/`.

use lab::catalogue::ALL;
use lab::exhibit::{Ask, Exhibit, Unable};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn names_are_words_and_unique() {
    let mut seen = BTreeSet::new();
    for one in ALL {
        let rules = one.breaks().iter().flat_map(|rule| [rule.rule, rule.law]);
        for name in [one.name()].into_iter().chain(rules) {
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(is_word), "{name:?}");
        }
        assert!(seen.insert(one.name()), "{} is there twice", one.name());
        assert!(
            one.line().chars().count() <= 90,
            "{}: {}",
            one.name(),
            one.line()
        );
        assert!(
            one.story().lines().count() >= 8,
            "{} has no story",
            one.name()
        );
        assert!(!one.breaks().is_empty(), "{} cannot be broken", one.name());
    }
}

#[test]
fn laws_hold_over_everything_and_ten_thousand_seeds() {
    in_parts(|one| {
        let mut text = String::new();
        let shown = one
            .run(&Ask::default(), &mut text)
            .expect("a plain run is possible");
        assert_eq!(shown.fall, None, "{}:\n{text}", one.name());
        assert!(shown.n_states > 0, "{} explores nothing", one.name());
        assert_eq!(shown.n_seeds, 10_000, "{} tries too few seeds", one.name());
        assert!(
            !shown.picture.events.is_empty(),
            "{} draws nothing",
            one.name()
        );
    });
}

#[test]
fn each_rule_left_out_breaks_the_law_that_it_names() {
    in_parts(|one| {
        for rule in one.breaks() {
            let ask = Ask {
                broken: Some(rule.rule.into()),
                is_brief: true,
                ..Ask::default()
            };
            let mut text = String::new();
            let shown = one
                .run(&ask, &mut text)
                .expect("its own rule can be broken");
            let Some(fall) = shown.fall else {
                panic!("{} without {} holds", one.name(), rule.rule)
            };
            assert_eq!(
                fall.law,
                rule.law,
                "{} without {}:\n{text}",
                one.name(),
                rule.rule
            );
            assert!(
                text.contains(fall.law),
                "{} without {} does not say why",
                one.name(),
                rule.rule
            );
            golden(one.name(), &format!("without-{}", rule.rule), &text);
        }
    });
}

#[test]
fn scenarios_play_as_they_are_written_down() {
    for one in ALL {
        for scenario in one.scenarios() {
            let ask = Ask {
                broken: scenario.broken.map(String::from),
                scenario: Some(scenario.name.into()),
                is_brief: true,
                ..Ask::default()
            };
            let mut text = String::new();
            let shown = one
                .run(&ask, &mut text)
                .unwrap_or_else(|error| panic!("{}: {error}", one.name()));
            let breaks = one
                .breaks()
                .iter()
                .find(|rule| Some(rule.rule) == scenario.broken);
            assert_eq!(
                shown.fall.map(|fall| fall.law),
                breaks.map(|rule| rule.law),
                "{} {}:\n{text}",
                one.name(),
                scenario.name
            );
            golden(one.name(), scenario.name, &text);
        }
    }
}

#[test]
fn a_scenario_says_itself_which_rule_is_left_out() {
    for one in ALL {
        for scenario in one.scenarios() {
            let play = |broken: Option<&str>| {
                let ask = Ask {
                    broken: broken.map(String::from),
                    scenario: Some(scenario.name.into()),
                    is_brief: true,
                    ..Ask::default()
                };
                let mut text = String::new();
                one.run(&ask, &mut text).map(|shown| (shown.fall, text))
            };
            let own = play(scenario.broken).unwrap_or_else(|error| panic!("{error}"));
            let of_itself = play(None).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(of_itself, own, "{} {}", one.name(), scenario.name);
            let is_told = own.1.contains("\nBROKEN on purpose, ");
            let what = format!("{} {}:\n{}", one.name(), scenario.name, own.1);
            assert_eq!(is_told, scenario.broken.is_some(), "{what}");
            let others = one.breaks().iter().map(|rule| rule.rule);
            for rule in others.filter(|rule| scenario.broken != Some(rule)) {
                let said = play(Some(rule)).map(|_| ()).expect_err(&what);
                let is_refused =
                    matches!(&said, Unable::OtherRule { scenario: of, .. } if *of == scenario.name);
                assert!(
                    is_refused,
                    "{} {} {rule}: {said}",
                    one.name(),
                    scenario.name
                );
            }
        }
    }
}

/// The same work on each exhibit, spread over the processors.
fn in_parts(work: impl Fn(&dyn Exhibit) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) =
                    ALL.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    work(*one);
                }
            });
        }
    });
}

/// Compares with `golden/EXHIBIT/NAME.txt`; with `UPDATE=1` writes it.
fn golden(exhibit: &str, name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(exhibit);
    let file = path.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(&path).expect("the folder can be made");
        std::fs::write(&file, text).expect("the file can be written");
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        kept,
        text,
        "{} differs; UPDATE=1 writes it anew",
        file.display()
    );
}

#[test]
fn each_algorithm_is_under_three_hundred_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/algorithms");
    let folders = std::fs::read_dir(folder).expect("the folder is there");
    for folder in folders.map(|entry| entry.expect("it can be read").path()) {
        if !folder.is_dir() {
            continue;
        }
        let code = std::fs::read_to_string(folder.join("mod.rs")).expect("the code is there");
        assert!(
            folder.join("story.md").exists(),
            "{} has no story",
            folder.display()
        );
        assert!(
            code.lines().count() < 300,
            "{} is too long to be read",
            folder.display()
        );
    }
}
