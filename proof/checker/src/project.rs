//! Each key's own small history, cut out of the whole one.
//!
//! A history is linearizable only if its projection on every key is (locality, Herlihy and Wing). So a
//! transaction over several keys becomes one action on each, and what an answer says of *other* keys is
//! dropped: that forbids less, never more, so there are no false alarms; `witness.rs` judges
//! transactions whole. Serializable reads and reads of the past are not part of it.

use crate::chronicle::{Chronicle, Page};
use crate::history::{
    Answer, Compare, End, Key, Level, Operation, Outcome, Relation, Request, Row, Target, Time,
    Value,
};
use crate::linear::{self, Action, Effect, Guard, State, Verdict};
use crate::minimise;
use crate::orders;
use crate::verdict::Violation;
use crate::witness::{Attribution, Cause};
use base::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// Judges each key of `history`. Deletes that no client asked for (ends of leases) come from
/// `attribution`; they may take effect at any time or never. `steps_max` bounds the search per key.
pub fn check(
    history: &[Operation],
    chronicle: &Chronicle,
    attribution: &Attribution,
    steps_max: u64,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let hints = hints(history, attribution);
    let projection = project(history, chronicle, attribution);
    for (key, actions) in &projection.actions {
        let name = crate::history::text(key);
        let actions = linear::settle(actions);
        // The order of the revisions is only a suggestion: it is verified without them.
        let mut suggested: Vec<&Action> = actions.iter().filter(|action| action.happened).collect();
        suggested.sort_by_key(|action| (hints.get(&action.number), action.call));
        let Some(stuck) = linear::first_unexplained(&suggested) else {
            continue;
        };
        match linear::check(&actions, steps_max) {
            Verdict::Yes(_) => {}
            Verdict::Unknown => {
                let near: Vec<Action> = suggested[stuck.saturating_sub(3)..=stuck]
                    .iter()
                    .map(|a| **a)
                    .collect();
                let unsettled = Violation::new(
                    "the_search_ends",
                    format!(
                        "key {name}: no verdict on {} actions in {steps_max} steps; in the order of the \
                         revisions this is stuck, the last of: {near:?}\n{}",
                        actions.len(),
                        minimise::picture(&near, history)
                    ),
                );
                violations.push(unsettled.by(near.iter().map(|action| action.number)));
            }
            Verdict::No(_) => {
                let small = minimise::minimise(&actions, steps_max);
                let evidence = format!("key {name}:\n{}", minimise::picture(&small, history));
                let broken = Violation::new("each_key_is_linearizable", evidence);
                violations.push(Violation {
                    attempts: orders::tried(&small, &|state| projection.name(state)),
                    ..broken.by(small.iter().map(|action| action.number))
                });
            }
        }
    }
    violations
}

/// Where each operation claims to stand: at its revision, those that only looked after the one that
/// made it.
fn hints(history: &[Operation], attribution: &Attribution) -> BTreeMap<u64, (Revision, bool)> {
    let mut hints = BTreeMap::new();
    for op in history {
        if let Some(revision) = op.revision() {
            hints.insert(op.number, (revision, true));
        }
    }
    for (revision, cause) in &attribution.causes {
        let number = match cause {
            Cause::Operation(number) => *number,
            Cause::LeaseEnded(_) => number_of_end(*revision),
        };
        hints.insert(number, (*revision, false));
    }
    hints
}

/// The end of a lease is nobody's operation; it gets a number that no operation has.
fn number_of_end(revision: Revision) -> u64 {
    u64::MAX - revision.0
}

/// The actions on each key, and what their numbers stand for.
pub struct Projection {
    /// The actions on each key.
    pub actions: BTreeMap<Key, Vec<Action>>,
    values: BTreeMap<u32, Value>,
}

impl Projection {
    /// A state in words.
    pub fn name(&self, state: State) -> String {
        match state {
            None => "absent".to_owned(),
            Some(number) => match self.values.get(&number) {
                Some(value) => crate::history::text(value),
                None => "some other value".to_owned(),
            },
        }
    }
}

/// The actions on each key.
pub fn project(
    history: &[Operation],
    chronicle: &Chronicle,
    attribution: &Attribution,
) -> Projection {
    let mut projector = Projector::new(history);
    let mut revocations = BTreeMap::new();
    let revisions: BTreeMap<u64, Revision> = attribution
        .causes
        .iter()
        .filter_map(|(revision, cause)| match cause {
            Cause::Operation(number) => Some((*number, *revision)),
            Cause::LeaseEnded(_) => None,
        })
        .collect();
    for op in history {
        let page = revisions
            .get(&op.number)
            .and_then(|revision| chronicle.page(*revision));
        projector.operation(op, page);
        if matches!(op.request, Request::Revoke { .. }) {
            revocations.insert(op.number, op);
        }
    }
    for (revision, cause) in &attribution.causes {
        let Some(page) = chronicle.page(*revision) else {
            continue;
        };
        // A lease that ended by itself may have done so at any time; a revocation is an operation.
        let (number, call, returned) = match cause {
            Cause::LeaseEnded(_) => (number_of_end(*revision), Time(0), None),
            Cause::Operation(number) => match revocations.get(number) {
                Some(op) => (*number, op.call, op.revision().map(|_| op.returned)),
                None => continue,
            },
        };
        for event in &page.events {
            let before = chronicle.at(&event.row.key, revision.previous());
            let state = before.map(|row| projector.intern(&row.value));
            let guard = Guard::Is(state);
            let effect = Effect::Set(None);
            projector.push(
                &event.row.key,
                Action {
                    number,
                    call,
                    returned,
                    guard,
                    effect,
                    happened: true,
                },
            );
        }
    }
    let values = projector.values.into_iter();
    Projection {
        actions: projector.actions,
        values: values.map(|(value, number)| (number, value)).collect(),
    }
}

struct Projector {
    keys: BTreeSet<Key>,
    values: BTreeMap<Value, u32>,
    written_at: BTreeMap<(Key, Revision), Value>,
    actions: BTreeMap<Key, Vec<Action>>,
}

impl Projector {
    fn new(history: &[Operation]) -> Projector {
        let mut projector = Projector {
            keys: BTreeSet::new(),
            values: BTreeMap::new(),
            written_at: BTreeMap::new(),
            actions: BTreeMap::new(),
        };
        for op in history {
            projector.learn_keys(&op.request);
            if let Outcome::Answered { revision, answer } = &op.outcome {
                projector.learn_versions(&op.request, answer, *revision);
            }
        }
        projector
    }

    fn learn_keys(&mut self, request: &Request) {
        match request {
            Request::Put { key, .. } => {
                self.keys.insert(key.clone());
            }
            Request::Range { span, .. } | Request::Delete { span } if span.end == End::Single => {
                self.keys.insert(span.first.clone());
            }
            Request::Txn {
                then, otherwise, ..
            } => {
                then.iter()
                    .chain(otherwise)
                    .for_each(|request| self.learn_keys(request));
            }
            _ => {}
        }
    }

    /// Which value a revision wrote, as far as answers tell: compares by revision mean that value.
    fn learn_versions(&mut self, request: &Request, answer: &Answer, revision: Revision) {
        match (request, answer) {
            (_, Answer::Rows(rows)) => rows.iter().for_each(|row| self.learn_row(row)),
            (Request::Put { key, value, .. }, Answer::Put { previous }) => {
                self.written_at
                    .insert((key.clone(), revision), value.clone());
                if let Some(Some(row)) = previous {
                    self.learn_row(row);
                }
            }
            (
                Request::Txn {
                    then, otherwise, ..
                },
                Answer::Txn { succeeded, answers },
            ) => {
                let branch = if *succeeded { then } else { otherwise };
                for (request, answer) in branch.iter().zip(answers) {
                    self.learn_versions(request, answer, revision);
                }
            }
            _ => {}
        }
    }

    fn learn_row(&mut self, row: &Row) {
        self.written_at
            .insert((row.key.clone(), row.modified), row.value.clone());
    }

    fn intern(&mut self, value: &[u8]) -> u32 {
        let next = self.values.len() as u32;
        *self.values.entry(value.to_vec()).or_insert(next)
    }

    fn push(&mut self, key: &[u8], action: Action) {
        self.actions.entry(key.to_vec()).or_default().push(action);
    }

    /// `page` is what happened at the revision that the operation made, if it made one.
    fn operation(&mut self, op: &Operation, page: Option<&Page>) {
        let answer = match &op.outcome {
            Outcome::Answered { answer, .. } => Some(answer),
            Outcome::Unknown => None,
            Outcome::Refused { .. } => return,
        };
        for key in self.keys.clone() {
            for (guard, effect) in self.actions_on(&key, &op.request, answer) {
                let happened =
                    answer.is_some() || page.is_some_and(|p| self.tells(p, &key, effect));
                let action = Action {
                    happened,
                    number: op.number,
                    call: op.call,
                    returned: answer.map(|_| op.returned),
                    guard,
                    effect,
                };
                self.push(&key, action);
            }
        }
    }

    fn tells(&mut self, page: &Page, key: &Key, effect: Effect) -> bool {
        let last = page.events.iter().rfind(|event| event.row.key == *key);
        last.is_some_and(|event| {
            let state = (!event.is_delete()).then(|| self.intern(&event.row.value));
            effect == Effect::Set(state)
        })
    }

    /// A transaction without an answer may have taken either branch: each is an action of its own that
    /// may happen or not. That both may is more than the truth, and so forbids less.
    fn actions_on(
        &mut self,
        key: &Key,
        request: &Request,
        answer: Option<&Answer>,
    ) -> Vec<(Guard, Effect)> {
        let (
            Request::Txn {
                compares,
                then,
                otherwise,
            },
            None,
        ) = (request, answer)
        else {
            return self.on_key(key, request, answer).into_iter().collect();
        };
        let mut actions = Vec::new();
        for (branch, succeeded) in [(then, true), (otherwise, false)] {
            let last = branch
                .iter()
                .rev()
                .find_map(|request| self.on_key(key, request, None));
            if let Some((_, effect)) = last {
                actions.push((self.guard(key, compares, succeeded), effect));
            }
        }
        actions
    }

    /// What `request` with `answer` means to `key` alone, or nothing.
    fn on_key(
        &mut self,
        key: &Key,
        request: &Request,
        answer: Option<&Answer>,
    ) -> Option<(Guard, Effect)> {
        match (request, answer) {
            (
                Request::Range {
                    span,
                    at: None,
                    level: Level::Linearizable,
                },
                Some(answer),
            ) => {
                let Answer::Rows(rows) = answer else {
                    return None;
                };
                let row = rows.iter().find(|row| row.key == *key);
                span.contains(key).then(|| {
                    (
                        Guard::Is(row.map(|row| self.intern(&row.value))),
                        Effect::Keep,
                    )
                })
            }
            (
                Request::Put {
                    key: put, value, ..
                },
                answer,
            ) if put == key => {
                let guard = match answer {
                    Some(Answer::Put {
                        previous: Some(row),
                    }) => Guard::Is(row.as_ref().map(|row| self.intern(&row.value))),
                    _ => Guard::Any,
                };
                Some((guard, Effect::Set(Some(self.intern(value)))))
            }
            (Request::Delete { span }, answer) if span.contains(key) => {
                let guard = match answer {
                    Some(Answer::Deleted {
                        previous: Some(rows),
                        ..
                    }) => {
                        let row = rows.iter().find(|row| row.key == *key);
                        Guard::Is(row.map(|row| self.intern(&row.value)))
                    }
                    Some(Answer::Deleted { count: 0, .. }) => Guard::Is(None),
                    Some(_) if span.end == End::Single => Guard::Present,
                    _ => Guard::Any,
                };
                Some((guard, Effect::Set(None)))
            }
            (
                Request::Txn {
                    compares,
                    then,
                    otherwise,
                },
                Some(answer),
            ) => {
                let Answer::Txn { succeeded, answers } = answer else {
                    return None;
                };
                let branch = if *succeeded { then } else { otherwise };
                let decided = self.guard(key, compares, *succeeded);
                let mut result: Option<(Guard, Effect)> =
                    (decided != Guard::Any).then_some((decided, Effect::Keep));
                for (request, answer) in branch.iter().zip(answers) {
                    let Some((guard, effect)) = self.on_key(key, request, Some(answer)) else {
                        continue;
                    };
                    result = Some(match result {
                        None => (guard, effect),
                        // After a write of its own, what it reads says nothing of the state before.
                        Some((first, Effect::Set(state))) => match effect {
                            Effect::Keep => (first, Effect::Set(state)),
                            set => (first, set),
                        },
                        Some((first, Effect::Keep)) => (sharper(first, guard), effect),
                    });
                }
                result
            }
            _ => None,
        }
    }

    /// What is certain about `key` when the compares gave `succeeded`.
    fn guard(&mut self, key: &Key, compares: &[Compare], succeeded: bool) -> Guard {
        if !succeeded && compares.len() != 1 {
            return Guard::Any;
        }
        let Some(compare) = compares.iter().find(|compare| compare.key == *key) else {
            return Guard::Any;
        };
        let Some(state) = self.state_of(key, &compare.target) else {
            return Guard::Any;
        };
        match (compare.relation, succeeded) {
            (Relation::Equal, true) | (Relation::NotEqual, false) => Guard::Is(state),
            // "value != v" is false for an absent key, in etcd.
            (Relation::Equal, false) => Guard::IsNot(state),
            _ => Guard::Any,
        }
    }

    fn state_of(&mut self, key: &Key, target: &Target) -> Option<State> {
        match target {
            Target::Value(value) => Some(Some(self.intern(value))),
            Target::Modified(Revision(0)) | Target::Create(Revision(0)) | Target::Version(0) => {
                Some(None)
            }
            Target::Modified(revision) => {
                let value = self.written_at.get(&(key.clone(), *revision)).cloned()?;
                Some(Some(self.intern(&value)))
            }
            _ => None,
        }
    }
}

/// The one of two true statements about the same state that says more.
fn sharper(first: Guard, second: Guard) -> Guard {
    match (first, second) {
        (Guard::Is(_), _) => first,
        (_, Guard::Any) => first,
        _ => second,
    }
}
