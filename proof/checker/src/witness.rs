//! The whole history in the order that the revisions claim.
//!
//! Every answer carries a revision, so the order is given and only has to be verified by replay
//! (reference: reliability §5.2). (1) Each effective operation owns one revision and did there exactly
//! what it should; (2) each read says what was true at its revision, which had
//! happened by then: an old state where that is allowed, never a mix and never the future; (3) revisions respect real time;
//! (4) each revision that no answer owns is explained by exactly one unknown operation or by the end
//! of one lease; (5) what was refused is nowhere. Passing means strict serializability of the whole
//! history, transactions included. What it deliberately trusts is the chronicle, which `chronicle.rs`
//! makes every member agree on.

use crate::chronicle::{Chronicle, Event};
use crate::history::{
    Answer, Compare, Key, Level, Operation, Outcome, Relation, Request, Row, Span, Target, Time,
    Value,
};
use crate::verdict::Violation;
use base::{LeaseId, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// Who did what at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The operation with this number.
    Operation(u64),
    /// Nobody's operation: this lease ended by itself.
    LeaseEnded(LeaseId),
}

/// What the replay found out beside violations.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// The cause of each revision.
    pub causes: BTreeMap<Revision, Cause>,
    /// Ends of leases that may as well be the work of a transaction whose outcome nobody knows: no proof of an
    /// early end.
    pub unclear: BTreeSet<Revision>,
}

/// Judges `history` against what happened. `seen` are moments at which somebody outside (a watcher)
/// knew a revision: later linearizable operations must know it too.
pub fn check(
    history: &[Operation],
    chronicle: &Chronicle,
    seen: &[(Time, Revision)],
) -> (Attribution, Vec<Violation>) {
    let mut judge = Judge {
        chronicle,
        attribution: Attribution::default(),
        violations: Vec::new(),
    };
    // A revocation of a lease without keys takes no revision, and its answer does not tell: those come
    // last, when all other owners are known.
    let is_revoke = |operation: &&Operation| matches!(operation.request, Request::Revoke { .. });
    let others = history.iter().filter(|operation| !is_revoke(operation));
    for operation in others.chain(history.iter().filter(is_revoke)) {
        if let Outcome::Answered { revision, answer } = &operation.outcome {
            judge.answered(operation, *revision, answer);
        }
    }
    judge.explain_the_rest(history);
    judge.real_time(history, seen);
    judge.refused(history);
    (judge.attribution, judge.violations)
}

struct Judge<'a> {
    chronicle: &'a Chronicle,
    attribution: Attribution,
    violations: Vec<Violation>,
}

impl Judge<'_> {
    /// `by` are the operations that prove it.
    fn fail(&mut self, claim: &'static str, by: &[&Operation], evidence: String) {
        let numbers = by.iter().map(|operation| operation.number);
        self.violations
            .push(Violation::new(claim, evidence).by(numbers));
    }

    /// Points 1 and 2 for one answered operation.
    fn answered(&mut self, operation: &Operation, revision: Revision, answer: &Answer) {
        if revision > self.chronicle.last() {
            return self.fail(
                "answers_come_from_the_history",
                &[operation],
                format!(
                    "{operation}\n  the last revision that anybody has is {}",
                    self.chronicle.last()
                ),
            );
        }
        if let Some(page) = self.chronicle.page(revision)
            && page.first_seen > operation.returned
        {
            return self.fail(
                "no_answer_comes_from_the_future",
                &[operation],
                format!(
                    "{operation}\n  revision {revision} happened at {}",
                    page.first_seen
                ),
            );
        }
        if let Request::Range { at: Some(at), .. } = &operation.request
            && *at > revision
        {
            return self.fail(
                "no_answer_comes_from_the_future",
                &[operation],
                format!("{operation}\n  it was asked for revision {at}, which was not there yet"),
            );
        }
        let effective = match (&operation.request, answer) {
            (Request::Revoke { lease }, _) => self.is_free_revoke_of(*lease, revision, operation),
            _ => changes_something(answer),
        };
        let before = if effective {
            revision.previous()
        } else {
            revision
        };
        let replay = Replay::new(self.chronicle, before, revision).run(&operation.request);
        if !same_answer(&replay.answer, answer) {
            return self.fail(
                "answers_are_true_at_their_revision",
                &[operation],
                format!("{operation}\n  expected {}", replay.answer),
            );
        }
        if !effective {
            if let Request::Revoke { lease } = &operation.request
                && let Some(row) = self.chronicle.rows_of_lease(*lease, revision).first()
            {
                let evidence = format!("{operation}\n  yet at revision {revision} there is {row}");
                self.fail("a_revoked_lease_has_no_keys", &[operation], evidence);
            }
            return;
        }
        let empty = Vec::new();
        let page = self.chronicle.page(revision);
        let happened = page.map_or(&empty, |page| &page.events);
        if *happened != replay.events {
            return self.fail(
                "acknowledged_writes_are_in_the_history",
                &[operation],
                format!(
                    "{operation}\n  at revision {revision} the history has [{}]",
                    happened
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ")
                ),
            );
        }
        self.claim(operation, revision);
    }

    /// Whether `operation` may have done what happened at `revision`: nobody else did.
    fn is_free_revoke_of(&self, lease: LeaseId, revision: Revision, operation: &Operation) -> bool {
        !self.attribution.causes.contains_key(&revision)
            && self
                .chronicle
                .page(revision)
                .is_some_and(|page| page.first_seen >= operation.call)
            && self.is_revoke_of(lease, revision)
    }

    fn is_revoke_of(&self, lease: LeaseId, revision: Revision) -> bool {
        self.chronicle.page(revision).is_some_and(|page| {
            let keys = self.chronicle.rows_of_lease(lease, revision.previous());
            !keys.is_empty()
                && page.events.iter().all(Event::is_delete)
                && keys
                    .iter()
                    .map(|row| &row.key)
                    .eq(page.events.iter().map(|e| &e.row.key))
        })
    }

    fn claim(&mut self, operation: &Operation, revision: Revision) {
        if let Some(page) = self.chronicle.page(revision)
            && page.first_seen < operation.call
        {
            let evidence = format!(
                "{operation}\n  published at {}, before it was asked",
                page.first_seen
            );
            self.fail("no_effect_before_its_cause", &[operation], evidence);
        }
        let cause = Cause::Operation(operation.number);
        if let Some(Cause::Operation(first)) = self.attribution.causes.insert(revision, cause) {
            let evidence =
                format!("{operation}\n  revision {revision} is also claimed by #{first}");
            self.fail("each_revision_has_one_owner", &[operation], evidence);
        }
    }

    /// Point 4: revisions that no answer owns.
    fn explain_the_rest(&mut self, history: &[Operation]) {
        let mut candidates: Vec<&Operation> = history
            .iter()
            .filter(|op| op.outcome == Outcome::Unknown)
            .collect();
        let by_value = unknown_by_value(&candidates);
        candidates.retain(|op| values_of(&op.request).is_empty());
        let mut used = BTreeSet::new();
        let chronicle = self.chronicle;
        for (revision, page) in chronicle.pages() {
            // What changed nothing here is the chronicle's to judge.
            if self.attribution.causes.contains_key(&revision) || page.events.is_empty() {
                continue;
            }
            let written = page.events.iter().find(|event| !event.is_delete());
            let explains = |op: &&&Operation| {
                op.call <= page.first_seen
                    && Replay::new(chronicle, revision.previous(), revision)
                        .run(&op.request)
                        .events
                        == page.events
            };
            if let Some(event) = written {
                match by_value.get(&event.row.value).filter(|op| explains(op)) {
                    Some(op) if used.insert(op.number) => self.claim(op, revision),
                    Some(op) => self.fail(
                        "an_operation_takes_effect_once",
                        &[op],
                        format!("{op}\n  again at revision {revision}: {event}"),
                    ),
                    None => self.unexplained(history, revision, &page.events),
                }
                continue;
            }
            let free = |op: &&&Operation| !used.contains(&op.number) && explains(op);
            if let Some(op) = candidates.iter().find(free) {
                used.insert(op.number);
                self.claim(op, revision);
                continue;
            }
            // A transaction may have taken its branch without puts.
            let ended = self.ended_lease(revision, &page.events);
            let by_txn = by_value.values().find(free);
            match (ended, by_txn) {
                (Some((_, true)) | None, Some(op)) => {
                    used.insert(op.number);
                    self.claim(op, revision);
                }
                (Some((lease, _)), by_txn) => {
                    if by_txn.is_some() {
                        self.attribution.unclear.insert(revision);
                    }
                    let cause = Cause::LeaseEnded(lease);
                    self.attribution.causes.insert(revision, cause);
                }
                (None, None) => self.unexplained(history, revision, &page.events),
            }
        }
    }

    fn unexplained(&mut self, history: &[Operation], revision: Revision, events: &[Event]) {
        let mut evidence = format!("revision {revision}: ");
        for event in events {
            evidence += &format!("{event}; ");
        }
        let mentions = |op: &&Operation| {
            let values = values_of(&op.request);
            events
                .iter()
                .any(|e| !e.is_delete() && values.contains(&&e.row.value))
        };
        let by: Vec<&Operation> = history.iter().filter(mentions).collect();
        for op in &by {
            evidence += &format!("\n  {op}");
        }
        self.fail("every_revision_has_a_cause", &by, evidence);
    }

    /// The lease whose whole set of keys vanished at `revision`, in key order (S6: all at once).
    fn ended_lease(&self, revision: Revision, events: &[Event]) -> Option<(LeaseId, bool)> {
        let first = self
            .chronicle
            .at(&events.first()?.row.key, revision.previous())?;
        let lease = first.lease;
        // A lease on which something hangs later had not ended, unless its number was granted anew.
        let mut later = self.chronicle.pages_from(revision.next());
        let lives_on = later.any(|(_, page)| page.events.iter().any(|e| e.row.lease == lease));
        let ended = !lease.is_none() && self.is_revoke_of(lease, revision);
        ended.then_some((lease, lives_on))
    }

    /// Point 3: what returned before a call is not newer than what the call got.
    fn real_time(&mut self, history: &[Operation], seen: &[(Time, Revision)]) {
        let owners: BTreeMap<u64, Revision> = self
            .attribution
            .causes
            .iter()
            .filter_map(|(revision, cause)| match cause {
                Cause::Operation(number) => Some((*number, *revision)),
                Cause::LeaseEnded(_) => None,
            })
            .collect();
        let mut returned: Vec<(Time, Revision, Option<&Operation>)> = history
            .iter()
            .filter_map(|op| Some((op.returned, op.revision()?, Some(op))))
            .chain(seen.iter().map(|(time, revision)| (*time, *revision, None)))
            .collect();
        returned.sort_by_key(|(time, revision, _)| (*time, *revision));
        let mut called: Vec<&Operation> = history.iter().collect();
        called.sort_by_key(|op| op.call);

        let mut returned = returned.into_iter().peekable();
        let mut newest: Option<(Revision, Option<&Operation>)> = None;
        for op in called {
            while let Some((_, revision, by)) = returned.next_if(|(time, ..)| *time < op.call) {
                if newest.is_none_or(|(known, _)| revision > known) {
                    newest = Some((revision, by));
                }
            }
            let owned = owners.get(&op.number).copied();
            let Some(got) = owned.or(op.revision()) else {
                continue;
            };
            let must_be_new = owned.is_some() || is_linearizable(&op.request);
            let Some((known, by)) = newest.filter(|_| must_be_new) else {
                continue;
            };
            if got < known || (owned.is_some() && got == known) {
                let both: Vec<&Operation> = std::iter::once(op).chain(by).collect();
                let witness = by.map_or("a watcher's event".to_owned(), ToString::to_string);
                self.fail(
                    "nothing_is_older_than_what_was_known",
                    &both,
format!("{op}\n  its revision is {got}, yet revision {known} was known before it was asked:\n  {witness}"),
                );
            }
        }
    }

    /// Point 5: a definite refusal never takes effect.
    fn refused(&mut self, history: &[Operation]) {
        let mut refused: BTreeMap<&Value, &Operation> = BTreeMap::new();
        for op in history {
            if matches!(op.outcome, Outcome::Refused { .. }) {
                refused.extend(values_of(&op.request).into_iter().map(|value| (value, op)));
            }
        }
        for (revision, page) in self.chronicle.pages() {
            for event in &page.events {
                if let Some(op) = refused.get(&event.row.value).filter(|_| !event.is_delete()) {
                    let evidence = format!("{op}\n  yet at revision {revision}: {event}");
                    let broken = Violation::new("a_refusal_is_never_visible", evidence);
                    self.violations.push(broken.by([op.number]));
                }
            }
        }
    }
}

fn is_linearizable(request: &Request) -> bool {
    match request {
        Request::Range { level, .. } => *level == Level::Linearizable,
        Request::Renew { .. } => false,
        _ => true,
    }
}

fn unknown_by_value<'a>(unknown: &[&'a Operation]) -> BTreeMap<Value, &'a Operation> {
    let mut map = BTreeMap::new();
    for op in unknown {
        for value in values_of(&op.request) {
            map.insert(value.clone(), *op);
        }
    }
    map
}

/// The values that a request may write.
pub(crate) fn values_of(request: &Request) -> Vec<&Value> {
    match request {
        Request::Put { value, .. } => vec![value],
        Request::Txn {
            then, otherwise, ..
        } => then.iter().chain(otherwise).flat_map(values_of).collect(),
        _ => Vec::new(),
    }
}

fn changes_something(answer: &Answer) -> bool {
    match answer {
        Answer::Put { .. } => true,
        Answer::Deleted { count, .. } => *count > 0,
        Answer::Txn { answers, .. } => answers.iter().any(changes_something),
        _ => false,
    }
}

/// What was not asked for (previous rows) need not be there.
fn same_answer(expected: &Answer, got: &Answer) -> bool {
    match (expected, got) {
        (Answer::Put { previous: a }, Answer::Put { previous: b }) => b.is_none() || a == b,
        (
            Answer::Deleted {
                count: a,
                previous: rows_a,
            },
            Answer::Deleted {
                count: b,
                previous: rows_b,
            },
        ) => a == b && (rows_b.is_none() || rows_a == rows_b),
        (
            Answer::Txn {
                succeeded: a,
                answers: all_a,
            },
            Answer::Txn {
                succeeded: b,
                answers: all_b,
            },
        ) => {
            a == b
                && all_a.len() == all_b.len()
                && all_a.iter().zip(all_b).all(|(a, b)| same_answer(a, b))
        }
        _ => expected == got,
    }
}

/// One operation done again on the history as it was.
struct Replay<'a> {
    chronicle: &'a Chronicle,
    before: Revision,
    at: Revision,
    written: BTreeMap<Key, Option<Row>>,
}

struct Replayed {
    answer: Answer,
    events: Vec<Event>,
}

impl<'a> Replay<'a> {
    fn new(chronicle: &'a Chronicle, before: Revision, at: Revision) -> Replay<'a> {
        Replay {
            chronicle,
            before,
            at,
            written: BTreeMap::new(),
        }
    }

    fn run(mut self, request: &Request) -> Replayed {
        let mut events = Vec::new();
        let answer = self.step(request, &mut events);
        Replayed { answer, events }
    }

    fn row(&self, key: &[u8]) -> Option<Row> {
        match self.written.get(key) {
            Some(row) => row.clone(),
            None => self.chronicle.at(key, self.before).cloned(),
        }
    }

    fn rows(&self, span: &Span) -> Vec<Row> {
        let rows = self.chronicle.rows(span, self.before);
        if self.written.is_empty() {
            return rows;
        }
        let mut all: BTreeMap<Key, Option<Row>> = rows
            .into_iter()
            .map(|row| (row.key.clone(), Some(row)))
            .collect();
        let written = self.written.iter().filter(|(key, _)| span.contains(key));
        all.extend(written.map(|(key, row)| (key.clone(), row.clone())));
        all.into_values().flatten().collect()
    }

    fn step(&mut self, request: &Request, events: &mut Vec<Event>) -> Answer {
        match request {
            Request::Range {
                span, at: Some(at), ..
            } => Answer::Rows(self.chronicle.rows(span, *at)),
            Request::Range { span, at: None, .. } => Answer::Rows(self.rows(span)),
            Request::Put { key, value, lease } => {
                let previous = self.row(key);
                let row = Row {
                    key: key.clone(),
                    value: value.clone(),
                    create: previous.as_ref().map_or(self.at, |row| row.create),
                    modified: self.at,
                    version: previous.as_ref().map_or(0, |row| row.version) + 1,
                    lease: *lease,
                };
                self.written.insert(key.clone(), Some(row.clone()));
                events.push(Event { row });
                Answer::Put {
                    previous: Some(previous),
                }
            }
            Request::Delete { span } => {
                let previous = self.rows(span);
                self.delete(&previous, events);
                Answer::Deleted {
                    count: previous.len() as u64,
                    previous: Some(previous),
                }
            }
            Request::Txn {
                compares,
                then,
                otherwise,
            } => {
                let succeeded = compares.iter().all(|compare| self.holds(compare));
                let branch = if succeeded { then } else { otherwise };
                let answers = branch
                    .iter()
                    .map(|request| self.step(request, events))
                    .collect();
                Answer::Txn { succeeded, answers }
            }
            Request::Revoke { lease } => {
                let rows = self.chronicle.rows_of_lease(*lease, self.before);
                self.delete(&rows, events);
                Answer::Done
            }
            Request::Compact { .. } | Request::Grant { .. } => Answer::Done,
            Request::Renew { .. } => Answer::Renewed,
        }
    }

    fn delete(&mut self, rows: &[Row], events: &mut Vec<Event>) {
        for row in rows {
            self.written.insert(row.key.clone(), None);
            events.push(Event {
                row: tombstone(&row.key, self.at),
            });
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let row = self.chronicle.at(&compare.key, self.before);
        let order = match &compare.target {
            Target::Value(value) => match row {
                Some(row) => row.value.cmp(value),
                None => return false,
            },
            Target::Modified(revision) => row.map_or(Revision(0), |row| row.modified).cmp(revision),
            Target::Create(revision) => row.map_or(Revision(0), |row| row.create).cmp(revision),
            Target::Version(version) => row.map_or(0, |row| row.version).cmp(version),
        };
        match compare.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
        }
    }
}

/// The mark that a key was deleted at `revision`.
pub fn tombstone(key: &[u8], revision: Revision) -> Row {
    Row {
        key: key.to_vec(),
        modified: revision,
        ..Row::default()
    }
}
