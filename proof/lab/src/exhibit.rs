//! What the lab shows: a story, a picture, laws that hold, and rules without which they do not.
//!
//! Algorithms made of processes get all of this from [`crate::algorithm`]; what is no such thing (arithmetic, an
//! adversary that is a scheduler) implements [`Exhibit`] itself.

use crate::diagram::Picture;
use std::fmt::Write;

/// What an exhibit is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Several agree on something for ever.
    Consensus,
    /// Several agree on one of them.
    Election,
    /// Several hold copies.
    Replication,
    /// One at a time.
    Lock,
    /// What reads may see.
    Consistency,
    /// What came before what.
    Time,
    /// Who is there.
    Membership,
    /// What nobody can do.
    Limit,
}

impl Kind {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Consensus => "consensus",
            Kind::Election => "election",
            Kind::Replication => "replication",
            Kind::Lock => "lock",
            Kind::Consistency => "consistency",
            Kind::Time => "time",
            Kind::Membership => "membership",
            Kind::Limit => "limit",
        }
    }
}

/// A rule that can be left out, and the law that then breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Break {
    /// What `--break` takes: words joined by `-` that name the rule that is kept: `adopt-highest`.
    pub rule: &'static str,
    /// The law that does not hold without it.
    pub law: &'static str,
    /// What is left out, in a sentence.
    pub says: &'static str,
}

/// Which rule is left out of a run, if any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Broken(Option<&'static str>);

impl Broken {
    /// Every rule is kept.
    pub const NOTHING: Broken = Broken(None);

    /// This rule is left out.
    pub fn without(rule: &Break) -> Broken {
        Broken(Some(rule.rule))
    }

    /// Whether it is this rule that is left out.
    pub fn is(self, rule: &Break) -> bool {
        self.0 == Some(rule.rule)
    }

    /// The rule that is left out.
    pub fn rule(self) -> Option<&'static str> {
        self.0
    }
}

/// A story in steps: [`crate::kernel::play`] tells how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub says: &'static str,
    /// The rule that is left out in it.
    pub broken: Option<&'static str>,
    /// The script.
    pub script: &'static str,
}

/// How a visitor wants to see it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The rule to leave out.
    pub broken: Option<String>,
    /// Draw the run of this one seed, instead of proving anything.
    pub seed: Option<u64>,
    /// How many random runs are made.
    pub seeds: u64,
    /// Play this scenario only.
    pub scenario: Option<String>,
    /// Leave the story out.
    pub is_brief: bool,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask {
            broken: None,
            seed: None,
            seeds: 10_000,
            scenario: None,
            is_brief: false,
        }
    }
}

/// A law that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fall {
    /// Which.
    pub law: &'static str,
    /// How, in terms of the run.
    pub why: String,
}

/// What a visit has shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The law that does not hold, if there is one.
    pub fall: Option<Fall>,
    /// The picture that was drawn last: what `--svg` and `--trace` write.
    pub picture: Picture,
    /// How many states the small case has; 0 when none was explored.
    pub n_states: u64,
    /// How many random runs there were.
    pub n_seeds: u64,
}

/// What cannot be shown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unable {
    /// There is no such rule to break.
    #[error("{exhibit} has no rule {asked:?} to break; it has: {known}")]
    NoRule {
        /// Where.
        exhibit: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// There is no such scenario.
    #[error("{exhibit} has no scenario {asked:?}; it has: {known}")]
    NoScenario {
        /// Where.
        exhibit: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// A scenario plays without another rule, or with all.
    #[error("scenario {scenario} plays {how}: it says so itself, leave --break away")]
    OtherRule {
        /// Which.
        scenario: &'static str,
        /// Without which rule.
        how: String,
    },
    /// A step of a scenario cannot happen.
    #[error("scenario {scenario}: {source}")]
    Script {
        /// Which.
        scenario: &'static str,
        /// Which line, and what could have happened.
        source: crate::kernel::Unscripted,
    },
    /// This one cannot be walked through by hand.
    #[error("{exhibit} cannot be stepped through: it is no set of processes")]
    NoSteps {
        /// Which.
        exhibit: &'static str,
    },
}

/// Where `--step` asks and answers.
pub struct Hand<'a> {
    /// What the visitor types, a line each.
    pub read: &'a mut dyn std::io::BufRead,
    /// Where it is shown.
    pub write: &'a mut dyn std::io::Write,
}

/// Something that the lab shows.
pub trait Exhibit: Sync {
    /// What `quorate lab run` takes.
    fn name(&self) -> &'static str;
    /// What it is about.
    fn kind(&self) -> Kind;
    /// What it is, in one line.
    fn line(&self) -> &'static str;
    /// The lecture, with its source.
    fn story(&self) -> &'static str;
    /// The rules that can be left out.
    fn breaks(&self) -> &'static [Break];
    /// The stories in steps.
    fn scenarios(&self) -> &'static [Scenario];

    /// Shows it. The picture, the figures and the verdict go to `out`.
    ///
    /// # Errors
    /// When what was asked for is not there.
    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable>;

    /// Lets the visitor choose each step.
    ///
    /// # Errors
    /// When that is not possible here.
    fn step(&self, ask: &Ask, hand: &mut Hand<'_>) -> Result<(), Unable> {
        let _ = (ask, hand);
        Err(Unable::NoSteps {
            exhibit: self.name(),
        })
    }

    /// The rule that was asked for.
    ///
    /// # Errors
    /// When there is no such rule.
    fn rule(&self, asked: Option<&str>) -> Result<Broken, Unable> {
        let Some(asked) = asked else {
            return Ok(Broken::NOTHING);
        };
        let found = self.breaks().iter().find(|rule| rule.rule == asked);
        found.map(Broken::without).ok_or_else(|| Unable::NoRule {
            exhibit: self.name(),
            asked: asked.into(),
            known: names(self.breaks().iter().map(|rule| rule.rule)),
        })
    }
}

/// What was asked for: the scenario, if it is one, and the rule that is left out. A scenario says itself which rule that
/// is; another one beside it would tell a story that is not there.
///
/// # Errors
/// When there is no such scenario or rule, or when the scenario plays without another rule.
pub fn asked(
    exhibit: &dyn Exhibit,
    ask: &Ask,
) -> Result<(Option<&'static Scenario>, Broken), Unable> {
    let Some(name) = &ask.scenario else {
        return Ok((None, exhibit.rule(ask.broken.as_deref())?));
    };
    let scenarios = exhibit.scenarios();
    let found = scenarios.iter().find(|scenario| scenario.name == name);
    let scenario = found.ok_or_else(|| Unable::NoScenario {
        exhibit: exhibit.name(),
        asked: name.clone(),
        known: names(scenarios.iter().map(|scenario| scenario.name)),
    })?;
    match &ask.broken {
        Some(rule) if scenario.broken != Some(rule) => Err(Unable::OtherRule {
            scenario: scenario.name,
            how: match scenario.broken {
                Some(rule) => format!("without {rule}"),
                None => "with every rule kept".into(),
            },
        }),
        _ => Ok((Some(scenario), exhibit.rule(scenario.broken)?)),
    }
}

/// Names joined by `, `; "none" for none.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
