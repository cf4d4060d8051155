//! `quorate lab question N`: eight questions that everybody who coordinates should be able to answer, as guided scenarios.
//!
//! Each tells what it is about, runs what holds, runs the same without one rule, and answers in two sentences. Both
//! outcomes are expected: an exhibit that falls where it should hold, or the other way round, is an error here.

mod eight;

pub use eight::EIGHT;

use crate::calculate::Answer;
use crate::catalogue;
use crate::exhibit::{Ask, Fall};
use std::fmt::Write;

/// Random runs of each exhibit: `quorate lab run` makes more.
const SEEDS: u64 = 1_000;

/// One question.
pub struct Question {
    /// From 1.
    pub number: u32,
    /// The question.
    pub asks: &'static str,
    /// A short lecture.
    pub tells: &'static str,
    /// What holds.
    pub holds: &'static [Act],
    /// The same without a rule.
    pub breaks: &'static [Act],
    /// Two sentences.
    pub answers: &'static str,
}

/// Something that is run for a question.
pub enum Act {
    /// An exhibit, with the rule that is left out and the law that falls.
    Run {
        /// Its name in the catalogue.
        exhibit: &'static str,
        /// The scenario that is played; the whole exhibit otherwise.
        scenario: Option<&'static str>,
        /// Rule and law.
        without: Option<(&'static str, &'static str)>,
    },
    /// A calculation.
    Calc {
        /// What one types behind `quorate lab calc`.
        typed: &'static str,
        /// What comes out.
        compute: fn() -> Result<Answer, String>,
    },
}

/// Why a question cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unanswered {
    /// There is no such question.
    #[error("there is no question {0}; there are 1 to 8, and `quorate lab question` lists them")]
    NoQuestion(u32),
    /// What it would show is not there.
    #[error("question {number} shows {exhibit:?}, and the lab does not have it yet")]
    NoExhibit {
        /// Which question.
        number: u32,
        /// What is missing.
        exhibit: &'static str,
    },
    /// An exhibit refuses, or a calculation.
    #[error("question {number}: {why}")]
    Refused {
        /// Which question.
        number: u32,
        /// In the words of what refused.
        why: String,
    },
    /// The outcome is not the one that the question is about.
    #[error("question {number}: {typed} should end with {expected}, and ended with {found}")]
    Outcome {
        /// Which question.
        number: u32,
        /// What was run.
        typed: String,
        /// The law that should fall.
        expected: String,
        /// The law that fell.
        found: String,
    },
}

/// The question of this number.
///
/// # Errors
/// When there is none.
pub fn find(number: u32) -> Result<&'static Question, Unanswered> {
    let found = EIGHT.iter().find(|question| question.number == number);
    found.ok_or(Unanswered::NoQuestion(number))
}

/// One line for each.
pub fn list() -> String {
    let mut text = String::new();
    for question in EIGHT {
        let _ = writeln!(text, "  {}  {}", question.number, question.asks);
    }
    text + "\nquorate lab question N    the lecture, what holds, what breaks without a rule, and the answer\n"
}

impl Question {
    /// Tells, runs, breaks and answers.
    ///
    /// # Errors
    /// When something is missing, or does not end as the question says it does.
    pub fn show(&self, out: &mut dyn Write) -> Result<(), Unanswered> {
        // A String takes everything.
        let _ = writeln!(
            out,
            "question {}: {}\n\n{}",
            self.number,
            self.asks,
            self.tells.trim()
        );
        for (title, acts) in [
            ("what holds", self.holds),
            ("without the rule", self.breaks),
        ] {
            for act in acts {
                let _ = writeln!(out, "\n=== {title}: quorate lab {}\n", act.typed());
                self.play(act, out)?;
            }
        }
        let _ = writeln!(out, "\n=== answer\n\n{}", self.answers.trim());
        Ok(())
    }

    /// Exhibits of the catalogue that it shows.
    pub fn exhibits(&self) -> impl Iterator<Item = &'static str> {
        let acts = self.holds.iter().chain(self.breaks);
        acts.filter_map(|act| match act {
            Act::Run { exhibit, .. } => Some(*exhibit),
            Act::Calc { .. } => None,
        })
    }

    fn play(&self, act: &Act, out: &mut dyn Write) -> Result<(), Unanswered> {
        let number = self.number;
        let refused = |why| Unanswered::Refused { number, why };
        let (exhibit, scenario, without) = match act {
            Act::Calc { compute, .. } => {
                let answer = compute().map_err(refused)?;
                let _ = out.write_str(&answer.text);
                return Ok(());
            }
            Act::Run {
                exhibit,
                scenario,
                without,
            } => (*exhibit, *scenario, *without),
        };
        let found = catalogue::find(exhibit).ok_or(Unanswered::NoExhibit { number, exhibit })?;
        let ask = Ask {
            broken: without.map(|(rule, _)| rule.into()),
            scenario: scenario.map(String::from),
            seeds: SEEDS,
            is_brief: true,
            ..Ask::default()
        };
        let shown = found
            .run(&ask, out)
            .map_err(|error| refused(base::Chain(&error).to_string()))?;
        let words = |law: Option<&str>| match law {
            None => "all laws kept".to_string(),
            Some(law) => format!("{law} broken"),
        };
        let law = shown.fall.as_ref().map(|Fall { law, .. }| *law);
        let expected = without.map(|(_, law)| law);
        if law != expected {
            return Err(Unanswered::Outcome {
                number,
                typed: act.typed(),
                expected: words(expected),
                found: words(law),
            });
        }
        let _ = writeln!(out, "\n{}", words(law));
        Ok(())
    }
}

impl Act {
    /// What one types behind `quorate lab` to see it alone.
    fn typed(&self) -> String {
        match self {
            Act::Calc { typed, .. } => format!("calc {typed}"),
            Act::Run {
                exhibit,
                scenario,
                without,
            } => {
                let mut typed = format!("run {exhibit}");
                if let Some((rule, _)) = without {
                    typed += &format!(" --break {rule}");
                }
                if let Some(scenario) = scenario {
                    typed += &format!(" --scenario {scenario}");
                }
                typed
            }
        }
    }
}
