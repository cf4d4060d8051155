//! Holds everything that was asked, answered and told against each other, with the judges of `checker`.
//!
//! The witness replays the whole history in the order of its revisions; the search for an order on each key
//! goes window by window (`ask.rs`: keys of one window are used by its operations alone), so it stays as small for a
//! million operations as for a thousand. A verdict that is not reached counts as a violation.

use crate::ask::window;
use base::Revision;
use checker::chronicle::Chronicle;
use checker::watch::{Content, Watch};
use checker::witness::{Attribution, Cause};
use checker::{Operation, Row, Span, Time, Violation, project, watch, witness};
use std::collections::BTreeMap;

/// Steps of the search for one key.
const STEPS_MAX: u64 = 2_000_000;

/// All that is known of a run when it is over.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) history: Vec<Operation>,
    pub(crate) chronicle: Chronicle,
    pub(crate) seen: Vec<(Time, Revision)>,
    pub(crate) watches: Vec<Watch>,
    /// What each member held at one revision in the end.
    pub(crate) finals: Vec<Held>,
}

/// All keys of a member.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) member: String,
    pub(crate) revision: Revision,
    pub(crate) rows: Vec<Row>,
    pub(crate) hash: u32,
}

/// What the judges say.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) n_revisions: u64,
    /// Revisions that only unknown operations explain.
    pub(crate) n_late: usize,
    pub(crate) n_windows: usize,
    pub(crate) n_keys: usize,
    pub(crate) n_events: usize,
}

/// Judges a run.
pub(crate) fn judge(evidence: &mut Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    evidence.chronicle.index();
    evidence.history.sort_by_key(|operation| operation.number);
    let answers = evidence.history.iter();
    let answers = answers.filter_map(|op| Some((op.revision()?, op.returned)));
    evidence.chronicle.known(answers);
    let (history, chronicle) = (&evidence.history, &evidence.chronicle);
    verdict.violations.extend(chronicle.check_gapless().err());
    let (attribution, violations) = witness::check(history, chronicle, &evidence.seen);
    verdict.violations.extend(violations);
    verdict.n_revisions = chronicle.last().0;

    let owned: BTreeMap<u64, Revision> = attribution
        .causes
        .iter()
        .filter_map(|(revision, cause)| match cause {
            Cause::Operation(number) => Some((*number, *revision)),
            Cause::LeaseEnded(_) => None,
        })
        .collect();
    for operations in history.chunk_by(|a, b| window(a.number) == window(b.number)) {
        let own = operations.iter().filter_map(|op| {
            let revision = owned.get(&op.number)?;
            Some((*revision, Cause::Operation(op.number)))
        });
        let own = Attribution {
            causes: own.collect(),
            ..Attribution::default()
        };
        verdict.n_late += operations
            .iter()
            .filter(|op| op.revision().is_none() && owned.contains_key(&op.number))
            .count();
        verdict.n_windows += 1;
        let violations = project::check(operations, chronicle, &own, STEPS_MAX);
        verdict.violations.extend(violations);
    }

    for one in &evidence.watches {
        verdict
            .violations
            .extend(watch::check(one, chronicle).err());
        let events = one.deliveries.iter().map(|d| match &d.content {
            Content::Events { events, .. } => events.len(),
            _ => 0,
        });
        verdict.n_events += events.sum::<usize>();
    }
    held(evidence, &mut verdict);
    verdict
}

/// Every member holds what the history leads to, and all hash alike.
fn held(evidence: &Evidence, verdict: &mut Verdict) {
    for held in &evidence.finals {
        let expected = evidence.chronicle.rows(&Span::all(), held.revision);
        verdict.n_keys = verdict.n_keys.max(expected.len());
        if held.rows != expected {
            let (row, name) = (first_difference(&expected, &held.rows), &held.member);
            verdict.violations.push(Violation::new(
                "every_member_holds_what_was_acknowledged",
                format!(
                    "{name} at revision {}: {} keys, expected {}; {row}",
                    held.revision,
                    held.rows.len(),
                    expected.len()
                ),
            ));
        }
    }
    if evidence
        .finals
        .iter()
        .any(|held| held.hash != evidence.finals[0].hash)
    {
        let hashes = evidence.finals.iter();
        let hashes: Vec<_> = hashes.map(|held| (&held.member, held.hash)).collect();
        verdict
            .violations
            .push(Violation::new("members_hash_alike", format!("{hashes:?}")));
    }
}

fn first_difference(expected: &[Row], got: &[Row]) -> String {
    let mut pairs = expected.iter().zip(got);
    match pairs.find(|(expected, got)| expected != got) {
        Some((expected, got)) => format!("the first difference: expected {expected}, got {got}"),
        None => "one ends where the other goes on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{WINDOW, key};
    use base::{LeaseId, MemberId};
    use checker::{Answer, Event, Level, Outcome, Request};

    /// A right history: each operation puts a key of its window and reads it, one after the other.
    fn right(n: u64) -> Evidence {
        let mut evidence = Evidence::default();
        let mut rows = BTreeMap::new();
        for number in 0..n {
            let (at, revision) = (number * 10, Revision(2 + number / 2));
            let key = key(number / WINDOW, number / 2 % 7);
            let row = Row {
                key: key.clone(),
                value: (number / 2).to_string().into_bytes(),
                create: revision,
                modified: revision,
                version: 1,
                lease: LeaseId::NONE,
            };
            let (request, answer) = if number % 2 == 0 {
                let before: Option<Row> = rows.insert(key.clone(), row.clone());
                let row = Row {
                    create: before.as_ref().map_or(revision, |row: &Row| row.create),
                    version: before.as_ref().map_or(0, |row| row.version) + 1,
                    ..row
                };
                rows.insert(key.clone(), row.clone());
                let value = row.value.clone();
                let events = vec![Event { row }];
                let told = evidence
                    .chronicle
                    .observe(MemberId(1), Time(at + 2), revision, events);
                told.expect("it is new");
                let lease = LeaseId::NONE;
                let answer = Answer::Put { previous: None };
                (Request::Put { key, value, lease }, answer)
            } else {
                let read = Request::Range {
                    span: Span::single(key.clone()),
                    at: None,
                    level: Level::Linearizable,
                };
                (read, Answer::Rows(vec![rows[&key].clone()]))
            };
            evidence.history.push(Operation {
                number,
                client: 1,
                call: Time(at),
                returned: Time(at + 5),
                request,
                outcome: Outcome::Answered { revision, answer },
            });
        }
        let revision = evidence.chronicle.last();
        for member in ["n1", "n2"] {
            evidence.finals.push(Held {
                member: member.to_owned(),
                revision,
                rows: rows.values().cloned().collect(),
                hash: 7,
            });
        }
        evidence
    }

    fn claims(mut evidence: Evidence) -> Vec<&'static str> {
        let violations = judge(&mut evidence).violations;
        violations.iter().map(|violation| violation.claim).collect()
    }

    /// The chronicle without what happened at one revision, as if the cluster had lost it.
    fn without(chronicle: &Chronicle, lost: Revision) -> Chronicle {
        let mut rest = Chronicle::default();
        for (revision, page) in chronicle.pages().filter(|(revision, _)| *revision != lost) {
            let events = page.events.clone();
            let told = rest.observe(page.by, page.first_seen, revision, events);
            told.expect("it was right before");
        }
        rest
    }

    #[test]
    fn a_right_history_over_several_windows_passes() {
        let mut evidence = right(3 * WINDOW);
        let verdict = judge(&mut evidence);
        assert_eq!(verdict.violations, []);
        assert_eq!(verdict.n_windows, 3);
        assert_eq!(verdict.n_keys, 21);
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_is_found() {
        let mut evidence = right(100);
        evidence.chronicle = without(&evidence.chronicle, Revision(20));
        let found = claims(evidence);
        assert!(
            found.contains(&"acknowledged_writes_are_in_the_history"),
            "{found:?}"
        );
        assert!(found.contains(&"revisions_are_gapless"), "{found:?}");
    }

    #[test]
    fn a_key_that_one_member_does_not_hold_in_the_end_is_found() {
        let mut evidence = right(100);
        evidence.finals[1].rows.remove(3);
        assert_eq!(
            claims(evidence),
            ["every_member_holds_what_was_acknowledged"]
        );
    }

    #[test]
    fn members_that_hash_differently_are_found() {
        let mut evidence = right(100);
        evidence.finals[1].hash = 8;
        assert_eq!(claims(evidence), ["members_hash_alike"]);
    }

    #[test]
    fn a_stale_read_is_found_by_both_judges() {
        let mut evidence = right(2 * WINDOW);
        // The read after the last write of a key answers with the write before it.
        let stale = evidence.history[WINDOW as usize - 15].outcome.clone();
        evidence.history[WINDOW as usize - 1].outcome = stale;
        let found = claims(evidence);
        assert!(found.contains(&"each_key_is_linearizable"), "{found:?}");
        assert!(
            found.contains(&"nothing_is_older_than_what_was_known"),
            "{found:?}"
        );
    }

    #[test]
    fn a_refused_write_that_took_effect_is_found() {
        let mut evidence = right(100);
        evidence.history[40].outcome = Outcome::Refused {
            reason: "no room".to_owned(),
        };
        let found = claims(evidence);
        assert!(found.contains(&"a_refusal_is_never_visible"), "{found:?}");
    }
}
