//! What became of a world that was driven by hand: is its history linearizable, and if not, what proves it?

use super::bug::Bug;
use super::drive::line;
use crate::tape::{Event, Kind};
use checker::orders::label;
use checker::{Operation, Outcome, Time, Violation};
use std::collections::BTreeSet;

/// Claims about what clients were told: if one is broken, no order explains the history.
const OF_HISTORY: [&str; 9] = [
    "each_key_is_linearizable",
    "nothing_is_older_than_what_was_known",
    "answers_are_true_at_their_revision",
    "acknowledged_writes_are_in_the_history",
    "no_answer_comes_from_the_future",
    "answers_come_from_the_history",
    "an_operation_takes_effect_once",
    "a_refusal_is_never_visible",
    "no_effect_before_its_cause",
];

/// The judgement on a history.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What is broken: what says most comes first.
    pub violations: Vec<Violation>,
    /// Operations that were judged.
    pub n_operations: usize,
    /// Operations of which nobody knows what became.
    pub n_unknown: usize,
    /// What was planted.
    pub bug: Option<Bug>,
    /// The proof, if there is one made of operations.
    pub guilt: Option<Guilt>,
}

/// The smallest part of the history that proves that a promise is broken.
#[derive(Clone, Debug)]
pub struct Guilt {
    /// The promise.
    pub claim: &'static str,
    /// Its operations, by call.
    pub operations: Vec<Operation>,
    /// Why no order explains them: each line is one dead end.
    pub orders: Vec<String>,
    /// What happened from the first of them to the last.
    pub events: Vec<Event>,
}

/// A claim as people read it: in a picture, in a judgement, and as the law that is broken.
pub fn law(claim: &str) -> String {
    claim.replace('_', "-")
}

impl Finding {
    pub(super) fn new(
        mut violations: Vec<Violation>,
        history: &[Operation],
        events: &[Event],
        bug: Option<Bug>,
    ) -> Finding {
        let rank = |violation: &Violation| {
            let at = OF_HISTORY
                .iter()
                .position(|claim| *claim == violation.claim);
            at.unwrap_or(OF_HISTORY.len())
        };
        violations.sort_by_key(rank);
        let mut told = BTreeSet::new();
        violations.retain(|violation| told.insert((violation.claim, violation.evidence.clone())));
        let guilt = violations
            .iter()
            .find(|violation| !violation.operations.is_empty())
            .map(|violation| Guilt::of(violation, history, events));
        let is_unknown = |op: &&Operation| op.outcome == Outcome::Unknown;
        Finding {
            n_operations: history.len(),
            n_unknown: history.iter().filter(is_unknown).count(),
            violations,
            bug,
            guilt,
        }
    }

    /// Whether every promise holds.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The promise that is broken, if any.
    pub fn broken(&self) -> Option<&'static str> {
        self.violations.first().map(|violation| violation.claim)
    }

    /// All promises that are broken, each once.
    pub fn claims(&self) -> impl Iterator<Item = &'static str> {
        let mut claims: Vec<&'static str> = Vec::new();
        for violation in &self.violations {
            if !claims.contains(&violation.claim) {
                claims.push(violation.claim);
            }
        }
        claims.into_iter()
    }

    /// The judgement in words, the counter-example included.
    pub fn lines(&self) -> Vec<String> {
        let n = self.n_operations;
        let unknown = match self.n_unknown {
            0 => String::new(),
            n => format!(" ({n} with an unknown outcome: each may have happened or not)"),
        };
        let Some(broken) = self.broken() else {
            return vec![format!("linearizable: {n} operations{unknown}")];
        };
        let mut lines = match OF_HISTORY.contains(&broken) {
            true => vec![format!("NOT linearizable: {n} operations{unknown}")],
            false => vec![format!("BROKEN: {n} operations{unknown}")],
        };
        lines.push(format!("broken: {}", law(broken)));
        if let Some(guilt) = &self.guilt {
            let n = guilt.operations.len();
            lines.push(String::new());
            lines.push(match n {
                1 => "this operation alone proves it:".to_owned(),
                n => format!("these {n} operations alone prove it:"),
            });
            lines.extend(guilt.operations.iter().map(|op| format!("  {}", line(op))));
            lines.extend(bars(&guilt.operations));
            if !guilt.orders.is_empty() {
                lines.push("no order explains them:".to_owned());
                lines.extend(guilt.orders.iter().map(|order| format!("  {order}")));
            }
        }
        if self
            .guilt
            .as_ref()
            .is_none_or(|guilt| guilt.claim != broken)
            && let Some(first) = self.violations.first()
        {
            lines.extend(first.evidence.lines().map(|line| format!("  {line}")));
        }
        let others: Vec<&str> = self.claims().filter(|claim| *claim != broken).collect();
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|claim| law(claim)).collect();
            lines.push(format!("broken, too: {}", names.join(", ")));
        }
        lines
    }
}

impl Guilt {
    fn of(violation: &Violation, history: &[Operation], events: &[Event]) -> Guilt {
        let numbers: BTreeSet<u64> = violation.operations.iter().copied().collect();
        let mut operations: Vec<Operation> = history
            .iter()
            .filter(|op| numbers.contains(&op.number))
            .cloned()
            .collect();
        operations.sort_by_key(|op| (op.call, op.number));
        let orders = violation.attempts.iter().map(|attempt| {
            let placed: Vec<String> = attempt.order.iter().map(|number| label(*number)).collect();
            let placed = match placed.is_empty() {
                true => "at the beginning".to_owned(),
                false => format!("after {}", placed.join(", ")),
            };
            format!("{placed}: {}", attempt.stuck.join("; "))
        });
        Guilt {
            claim: violation.claim,
            events: around(&operations, events),
            orders: orders.collect(),
            operations,
        }
    }
}

/// What has to do with `operations`: their own letters, what members did while one of them was under way, and whatever
/// befell anybody between the first call and the last answer.
fn around(operations: &[Operation], events: &[Event]) -> Vec<Event> {
    let first = operations.iter().map(|op| op.call).min();
    let end = |op: &Operation| match op.outcome {
        Outcome::Unknown => op.call,
        _ => op.returned,
    };
    let last = operations.iter().map(end).max();
    let (first, last) = (first.unwrap_or(Time(0)), last.unwrap_or(Time(u64::MAX)));
    let numbers: BTreeSet<u64> = operations.iter().map(|op| op.number).collect();
    let within = |event: &&Event| event.at >= first && event.at <= last;
    let is_under_way = |event: &&Event| {
        operations
            .iter()
            .any(|op| event.at >= op.call && event.at <= end(op))
    };
    let counts = |event: &&Event| match event.kind {
        Kind::Message | Kind::Apply => !event.is_quiet && is_under_way(event),
        Kind::Client => event.operation.is_some_and(|op| numbers.contains(&op)),
        Kind::Broken => false,
        _ => !event.is_quiet,
    };
    let kept = events.iter().filter(within).filter(counts);
    kept.cloned().collect()
}

/// Bars of time, one lane for each client: the order of calls and answers, not their distance.
fn bars(operations: &[Operation]) -> Vec<String> {
    let mut moments: Vec<(Time, u8, usize)> = Vec::new();
    for (at, op) in operations.iter().enumerate() {
        moments.push((op.call, 0, at));
        let end = match op.outcome {
            Outcome::Unknown => Time(u64::MAX),
            _ => op.returned,
        };
        moments.push((end, 1, at));
    }
    moments.sort_unstable();
    let words: Vec<String> = operations
        .iter()
        .map(|op| format!("#{}", op.number))
        .collect();
    let mut spans = vec![(0, 0); operations.len()];
    let mut column = 0;
    for (_, kind, at) in moments {
        match kind {
            0 => {
                spans[at].0 = column;
                column += 3;
            }
            _ => {
                column = column.max(spans[at].0 + words[at].chars().count() + 3);
                spans[at].1 = column;
                column += 3;
            }
        }
    }
    let clients: BTreeSet<u64> = operations.iter().map(|op| op.client).collect();
    let mut lines = Vec::new();
    for client in clients {
        let mut lane = String::new();
        for (at, op) in operations.iter().enumerate() {
            if op.client != client {
                continue;
            }
            let (from, to) = spans[at];
            let end = if op.outcome == Outcome::Unknown {
                '…'
            } else {
                '┤'
            };
            while lane.chars().count() < from {
                lane.push(' ');
            }
            lane.push('├');
            lane.push_str(&words[at]);
            while lane.chars().count() < to {
                lane.push('─');
            }
            lane.push(end);
        }
        lines.push(format!("  c{client}  {lane}"));
    }
    lines
}
