//! The eight questions: each runs, ends as it says in both parts, and reads as it is written down in `golden/`.

use lab::questions::{EIGHT, Question};
use std::path::Path;

#[test]
fn each_question_tells_runs_breaks_and_answers() {
    let numbers: Vec<u32> = EIGHT.iter().map(|question| question.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    for question in EIGHT {
        let mut text = String::new();
        // An outcome other than the one that the question is about is an error of `show`.
        question
            .show(&mut text)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(!question.breaks.is_empty() && !question.holds.is_empty());
        let holds = text.find("=== what holds").expect("it runs");
        let breaks = text.find("=== without the rule").expect("it breaks");
        let answer = text.find("=== answer").expect("it answers");
        assert!(holds < breaks && breaks < answer);
        assert!(text[breaks..answer].contains(" broken\n"), "{text}");
        let sentences = question.answers.matches('.').count();
        assert!((1..=3).contains(&sentences), "{}", question.answers);
        golden(question.number, &text);
    }
}

#[test]
fn an_exhibit_that_ends_otherwise_is_no_answer() {
    let wrong = Question {
        holds: &[lab::questions::Act::Run {
            exhibit: "paxos",
            scenario: None,
            without: Some(("majority", "validity")),
        }],
        breaks: &[],
        ..EIGHT[1]
    };
    let said = wrong
        .show(&mut String::new())
        .expect_err("another law falls");
    assert_eq!(
        said.to_string(),
        "question 2: run paxos --break majority should end with validity broken, and ended with agreement broken"
    );
}

/// Compares with `golden/questions/N.txt`; with `UPDATE=1` writes it.
fn golden(number: u32, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/questions");
    let file = folder.join(format!("{number}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
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
