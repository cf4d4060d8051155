//! How Raft is shown: the specification's scopes explored whole, its rules broken, random ways, plays.

use super::draw::Drawing;
use super::{script, walk, why};
use crate::exhibit::{Ask, Break, Broken, Exhibit, Kind, Scenario, Shown, Unable, asked};
use base::Rng;
use spec::model::cases::{self, Case};
use spec::model::state::State;
use spec::model::{Action, End, Model, Property, Rule, Scope, explore};
use std::fmt::Write;

/// Raft, as the product is judged by it.
pub struct Raft;

const fn rule(rule: &'static str, law: &'static str, says: &'static str) -> Break {
    Break { rule, law, says }
}

const BREAKS: &[Break] = &[
    rule(
        "one-vote-per-term",
        "election-safety",
        "a member votes for whoever asks, also twice in a term",
    ),
    rule(
        "vote-is-durable",
        "election-safety",
        "a member forgets at a restart that it has voted",
    ),
    rule(
        "higher-term-is-adopted",
        "leader-append-only",
        "a member that hears of a higher term stays what it was",
    ),
    rule(
        "vote-for-up-to-date-log",
        "leader-completeness",
        "a member votes for a log that lacks what its own has",
    ),
    rule(
        "previous-entry-matches",
        "log-matching",
        "a follower takes an entry without looking at what stands before it",
    ),
    rule(
        "conflict-is-truncated",
        "state-machine-safety",
        "a follower keeps its own entry where the leader has another",
    ),
    rule(
        "commit-within-match",
        "state-machine-safety",
        "a follower commits entries of which it does not know whether the leader has them",
    ),
    rule(
        "commit-own-term-only",
        "leader-completeness",
        "a leader commits an entry of an older term because a majority has it (figure 8)",
    ),
    rule(
        "committed-in-term-before-change",
        "leader-completeness",
        "a new leader changes the membership before it has committed anything in its term",
    ),
    rule(
        "one-change-at-a-time",
        "leader-completeness",
        "a leader changes the membership again before the last change is committed",
    ),
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "election",
        says: "n1 is elected, takes a command, commits it, and tells",
        broken: None,
        script: include_str!("scenarios/election.txt"),
    },
    Scenario {
        name: "split-vote",
        says: "all stand at once and nobody wins the term; whoever is first the next time wins",
        broken: None,
        script: include_str!("scenarios/split-vote.txt"),
    },
    Scenario {
        name: "stale-follower",
        says: "n3 has missed what was committed: it asks for votes and gets none",
        broken: None,
        script: include_str!("scenarios/stale-follower.txt"),
    },
    Scenario {
        name: "own-term",
        says: "figure 8, e: 1·n1 is committed through an entry of n1's own term, and n5 cannot win",
        broken: None,
        script: include_str!("scenarios/own-term.txt"),
    },
    Scenario {
        name: "figure-8",
        says: "figure 8, d: 1·n1 is counted on a majority and called committed; n5 overwrites it",
        broken: Some("commit-own-term-only"),
        script: include_str!("scenarios/figure-8.txt"),
    },
];

/// One sound scope takes as long as all the others together; the tests of `proof/spec` explore it.
fn sound() -> impl Iterator<Item = Scope> {
    let is_long = |scope: &Scope| scope.name == "3 members, 2 terms, 1 entry, restart";
    cases::sound()
        .into_iter()
        .filter(move |scope| !is_long(scope))
}

/// Where it shows that a rule is missing. That the rule, when it is kept, holds there is tested in `proof/spec`.
fn case(broken: Broken) -> Option<Case> {
    let asked = BREAKS.iter().find(|rule| broken.is(rule))?;
    cases::broken().into_iter().find(|case| {
        let word = case.rule.to_string().replace(' ', "-");
        word == asked.rule && why::law(case.property) == asked.law
    })
}

macro_rules! say {
    ($out:expr, $($words:tt)*) => { let _ = writeln!($out, $($words)*); };
}

impl Exhibit for Raft {
    fn name(&self) -> &'static str {
        "raft"
    }

    fn kind(&self) -> Kind {
        Kind::Consensus
    }

    fn line(&self) -> &'static str {
        "one log, kept by a leader that is elected for a term: the specification itself"
    }

    fn story(&self) -> &'static str {
        include_str!("story.md")
    }

    fn breaks(&self) -> &'static [Break] {
        BREAKS
    }

    fn scenarios(&self) -> &'static [Scenario] {
        SCENARIOS
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let (scenario, broken) = asked(self, ask)?;
        say!(out, "{}: {}", self.name(), self.line());
        if !ask.is_brief {
            say!(out, "\n{}", self.story().trim_end());
        }
        if let Some(rule) = BREAKS.iter().find(|rule| broken.is(rule)) {
            say!(out, "\nBROKEN on purpose, {}: {}", rule.rule, rule.says);
        }
        if let Some(scenario) = scenario {
            return scene(scenario, out);
        }
        let case = case(broken);
        let rule = case.as_ref().map(|case| case.rule);
        if let Some(seed) = ask.seed {
            return Ok(one_seed(rule, seed, out));
        }
        match case {
            Some(case) => Ok(without(&case, out)),
            None => with_all(ask, out),
        }
    }
}

/// Every rule is kept: plays, scopes, random ways.
fn with_all(ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
    let mut shown = Shown::default();
    for scenario in SCENARIOS.iter().filter(|one| one.broken.is_none()) {
        let played = scene(scenario, out)?;
        shown.picture = played.picture;
        shown.fall = shown.fall.or(played.fall);
    }
    say!(out, "\nlaws");
    for property in Property::ALL {
        say!(out, "  {:<22}{}", why::law(property), why::says(property));
    }
    say!(out, "\nevery interleaving of:");
    for scope in sound() {
        let name = scope.name;
        let model = Model::sound(scope);
        let report = explore(&model, &Property::ALL);
        let (states, steps, depth) = (report.states, report.transitions, report.depth);
        shown.n_states += states as u64;
        let figures = format!("{states} states, {steps} steps, depth {depth}");
        match report.end {
            End::Exhausted => {
                say!(out, "  {name:<40}{figures}, all of them: the laws hold");
            }
            End::GaveUp => {
                say!(out, "  {name:<40}{figures}, not all of them: the laws hold");
            }
            End::Violated(violation) => {
                say!(out, "  {name:<40}{figures}: trouble");
                trouble(&model, violation.property, &violation.path, &mut shown, out);
                return Ok(shown);
            }
        }
    }
    random(ask, &mut shown, out);
    say!(out, "\nrules that can be left out, and what breaks then");
    for rule in BREAKS {
        say!(out, "  --break {:<32}{}", rule.rule, rule.law);
    }
    Ok(shown)
}

fn random(ask: &Ask, shown: &mut Shown, out: &mut dyn Write) {
    let mut steps = 0;
    for seed in 0..ask.seeds {
        let (model, walked) = walked(None, seed);
        steps += walked.way.len();
        shown.n_seeds = seed + 1;
        if let Some(property) = walked.trouble {
            say!(
                out,
                "random runs of {}: trouble at seed {seed}",
                walk::LARGE
            );
            let way = walk::shorten(&model, property, walked.way);
            return trouble(&model, property, &way, shown, out);
        }
    }
    say!(out, "random runs of {}:", walk::LARGE);
    say!(out, "  {} seeds, {steps} steps: the laws hold", ask.seeds);
}

/// One rule is not kept: the shortest way into trouble.
fn without(case: &Case, out: &mut dyn Write) -> Shown {
    let scope = &case.scope;
    let model = Model::breaking(case.rule, scope.clone());
    let report = explore(&model, &[case.property]);
    let mut shown = Shown {
        n_states: report.states as u64,
        ..Shown::default()
    };
    say!(
        out,
        "\nevery interleaving of {} members, {} terms, logs of {} entries (scope {:?}), asked for {}:",
        scope.members,
        scope.terms_max,
        scope.entries_max,
        scope.name,
        why::law(case.property)
    );
    let (states, steps) = (report.states, report.transitions);
    match report.end {
        End::Violated(violation) => {
            say!(out, "  trouble after {states} states, {steps} steps");
            trouble(&model, violation.property, &violation.path, &mut shown, out);
        }
        _ => {
            say!(out, "  {states} states, {steps} steps: the law holds");
        }
    }
    shown
}

/// Draws a way into trouble.
fn trouble(
    model: &Model,
    property: Property,
    way: &[Action],
    shown: &mut Shown,
    out: &mut dyn Write,
) {
    shown.picture = Drawing::of(model, way);
    say!(out, "\n{}", shown.picture.text().trim_end());
    let before = model.play(&way[..way.len().saturating_sub(1)]);
    let before = before.unwrap_or_else(State::initial);
    let after = way.last().and_then(|last| model.take(&before, *last));
    let after = after.unwrap_or_else(|| before.clone());
    let fall = why::fall(property, model.scope.members, &before, &after);
    say!(out, "\n{} does not hold: {}", fall.law, fall.why);
    shown.fall = Some(fall);
}

fn scene(scenario: &'static Scenario, out: &mut dyn Write) -> Result<Shown, Unable> {
    let rule = BREAKS
        .iter()
        .find(|rule| Some(rule.rule) == scenario.broken)
        .and_then(|rule| case(Broken::without(rule)))
        .map(|case| case.rule);
    let played = script::play(scenario.script, rule);
    let (picture, fall) = played.map_err(|source| Unable::Script {
        scenario: scenario.name,
        source,
    })?;
    say!(
        out,
        "\nscenario {}: {}\n\n{}",
        scenario.name,
        scenario.says,
        picture.text().trim_end()
    );
    if let Some(fall) = &fall {
        say!(out, "\n{} does not hold: {}", fall.law, fall.why);
    }
    Ok(Shown {
        fall,
        picture,
        ..Shown::default()
    })
}

fn walked(rule: Option<Rule>, seed: u64) -> (Model, walk::Walked) {
    let mut rng = Rng::new(seed);
    let scope = walk::scope(&mut rng);
    let model = match rule {
        Some(rule) => Model::breaking(rule, scope),
        None => Model::sound(scope),
    };
    let walked = walk::walk(&model, &mut rng);
    (model, walked)
}

/// One random way, drawn.
fn one_seed(rule: Option<Rule>, seed: u64, out: &mut dyn Write) -> Shown {
    let (model, walked) = walked(rule, seed);
    let steps = walked.way.len();
    let mut shown = Shown {
        n_seeds: 1,
        ..Shown::default()
    };
    say!(out, "\nseed {seed} of {}: {steps} steps", walk::LARGE);
    match walked.trouble {
        Some(property) => trouble(&model, property, &walked.way, &mut shown, out),
        None => {
            shown.picture = Drawing::of(&model, &walked.way);
            let text = shown.picture.text();
            say!(out, "\n{}\n\nthe laws hold", text.trim_end());
        }
    }
    shown
}
