//! Histories of the toy store, untouched and doctored.

use super::toy::{self, Toy};
use crate::history::*;
use crate::{Violation, lease, project, witness};
use base::{LeaseId, MemberId, Revision, Rng};

const STEPS_MAX: u64 = 1_000_000;

fn judge(toy: &Toy) -> (Vec<Violation>, Vec<Violation>) {
    let (attribution, by_witness) = witness::check(&toy.history, &toy.chronicle, &[]);
    let by_search = project::check(&toy.history, &toy.chronicle, &attribution, STEPS_MAX);
    (by_witness, by_search)
}

#[test]
fn good_histories_pass_both_judges() {
    for seed in 0..60 {
        let toy = toy::run(seed, 600);
        let (by_witness, by_search) = judge(&toy);
        assert!(by_witness.is_empty(), "seed {seed}: {}", by_witness[0]);
        assert!(by_search.is_empty(), "seed {seed}: {}", by_search[0]);
        toy.chronicle.check_gapless().unwrap();
    }
}

/// Doctors many histories with `doctor`, which says whether it found something to change. Returns how
/// many were changed and how many of these the witness and the search rejected.
fn doctored(doctor: impl Fn(&mut Toy, &mut Rng) -> bool) -> (usize, usize, usize) {
    let (mut n_changed, mut n_witness, mut n_search) = (0, 0, 0);
    for seed in 0..40 {
        let mut toy = toy::run(seed, 600);
        let mut rng = Rng::new(seed);
        if !doctor(&mut toy, &mut rng) {
            continue;
        }
        toy.chronicle.index();
        let (by_witness, by_search) = judge(&toy);
        n_changed += 1;
        n_witness += usize::from(!by_witness.is_empty());
        n_search += usize::from(!by_search.is_empty());
    }
    assert!(
        n_changed >= 20,
        "only {n_changed} histories could be doctored"
    );
    (n_changed, n_witness, n_search)
}

fn pick(toy: &Toy, rng: &mut Rng, fits: impl Fn(&Operation) -> bool) -> Option<usize> {
    let fitting: Vec<usize> = (0..toy.history.len())
        .filter(|at| fits(&toy.history[*at]))
        .collect();
    rng.pick(&fitting).copied()
}

/// Removes a revision from the chronicle and closes the gap, as a store that forgot it would look.
fn lose(toy: &mut Toy, lost: Revision) {
    let mut rebuilt = crate::Chronicle::default();
    for (revision, page) in toy
        .chronicle
        .pages()
        .filter(|(revision, _)| *revision != lost)
    {
        rebuilt
            .observe(page.by, page.first_seen, revision, page.events.clone())
            .unwrap();
    }
    toy.chronicle = rebuilt;
}

#[test]
fn a_lost_write_is_rejected() {
    let (n, witness, _) = doctored(|toy, rng| {
        let fits =
            |op: &Operation| matches!(&op.request, Request::Put { .. }) && op.revision().is_some();
        let Some(at) = pick(toy, rng, fits) else {
            return false;
        };
        let revision = toy.history[at].revision().unwrap();
        lose(toy, revision);
        true
    });
    assert_eq!(witness, n);
}

#[test]
fn a_stale_read_is_rejected_by_both() {
    let (n, witness, search) = doctored(|toy, rng| {
        // A single-key read that says what was true before the last write that it must know.
        let reads: Vec<usize> = (0..toy.history.len()).collect();
        let start = rng.below(reads.len() as u64) as usize;
        for at in reads[start..].iter().copied() {
            let op = toy.history[at].clone();
            let (Request::Range { span, .. }, Some(_)) = (&op.request, op.revision()) else {
                continue;
            };
            if span.end != End::Single {
                continue;
            }
            // The newest put that it must know, and the value that this put certainly replaced.
            let put_at = |revision: Revision| {
                toy.history.iter().find(|other| {
                    matches!(&other.request, Request::Put { key, .. } if *key == span.first)
                        && other.revision() == Some(revision)
                })
            };
            let newest = (1..=toy.revision)
                .rev()
                .filter_map(|revision| put_at(Revision(revision)))
                .find(|put| put.returned < op.call);
            let Some(newest) = newest else { continue };
            let newest_revision = newest.revision().unwrap();
            let Some(row) = toy
                .chronicle
                .at(&span.first, newest_revision.previous())
                .cloned()
            else {
                continue;
            };
            if put_at(row.modified).is_none_or(|put| put.returned >= newest.call) {
                continue;
            }
            toy.history[at].outcome = Outcome::Answered {
                revision: newest_revision.previous(),
                answer: Answer::Rows(vec![row]),
            };
            return true;
        }
        false
    });
    assert_eq!((witness, search), (n, n));
}

#[test]
fn an_answer_with_a_wrong_row_is_rejected() {
    let (n, witness, search) = doctored(|toy, rng| {
        let fits = |op: &Operation| matches!(&op.outcome, Outcome::Answered { answer: Answer::Rows(rows), .. } if !rows.is_empty());
        let Some(at) = pick(toy, rng, fits) else {
            return false;
        };
        if let Outcome::Answered {
            answer: Answer::Rows(rows),
            ..
        } = &mut toy.history[at].outcome
        {
            rows[0].value = b"never written".to_vec();
        }
        true
    });
    assert_eq!((witness, search), (n, n));
}

#[test]
fn a_dropped_row_is_rejected_by_both() {
    let (n, witness, search) = doctored(|toy, rng| {
        // Dropped from an answer about one key that is certainly there all the time of the read.
        let fits = |op: &Operation| matches!(&op.outcome, Outcome::Answered { answer: Answer::Rows(rows), .. } if rows.len() > 2);
        let Some(at) = pick(toy, rng, fits) else {
            return false;
        };
        if let Outcome::Answered {
            answer: Answer::Rows(rows),
            ..
        } = &mut toy.history[at].outcome
        {
            rows.remove(0);
        }
        true
    });
    assert_eq!(witness, n);
    // The search forgives where a delete or an end of a lease may have come in between.
    assert!(search * 2 > n, "{search} of {n}");
}

#[test]
fn a_refused_write_that_is_visible_is_rejected() {
    let (n, witness, _) = doctored(|toy, rng| {
        let fits =
            |op: &Operation| matches!(&op.request, Request::Put { .. }) && op.revision().is_some();
        let Some(at) = pick(toy, rng, fits) else {
            return false;
        };
        toy.history[at].outcome = Outcome::Refused {
            reason: "no leader".to_owned(),
        };
        true
    });
    assert_eq!(witness, n);
}

#[test]
fn a_write_that_happened_twice_is_rejected() {
    let (n, witness, _) = doctored(|toy, rng| {
        let fits =
            |op: &Operation| matches!(&op.request, Request::Put { .. }) && op.revision().is_some();
        let Some(at) = pick(toy, rng, fits) else {
            return false;
        };
        let mut events = toy
            .chronicle
            .page(toy.history[at].revision().unwrap())
            .unwrap()
            .events
            .clone();
        let next = toy.chronicle.last().next();
        events[0].row.modified = next;
        toy.chronicle
            .observe(MemberId(1), Time(1 << 40), next, events)
            .unwrap();
        true
    });
    assert_eq!(witness, n);
}

#[test]
fn swapped_answers_are_rejected() {
    let (n, witness, _) = doctored(|toy, rng| {
        let put =
            |op: &Operation| matches!(&op.request, Request::Put { .. }) && op.revision().is_some();
        let (Some(a), Some(b)) = (pick(toy, rng, put), pick(toy, rng, put)) else {
            return false;
        };
        let (first, second) = (
            toy.history[a].outcome.clone(),
            toy.history[b].outcome.clone(),
        );
        (toy.history[a].outcome, toy.history[b].outcome) = (second, first);
        a != b
    });
    assert_eq!(witness, n);
}

#[test]
fn an_effect_before_its_cause_is_rejected() {
    let (n, witness, _) = doctored(|toy, rng| {
        let put =
            |op: &Operation| matches!(&op.request, Request::Put { .. }) && op.revision().is_some();
        let Some(at) = pick(toy, rng, put) else {
            return false;
        };
        toy.history[at].call = Time(toy.history[at].returned.0 - 1);
        let page = toy
            .chronicle
            .page(toy.history[at].revision().unwrap())
            .unwrap();
        page.first_seen < toy.history[at].call
    });
    assert_eq!(witness, n);
}

#[test]
fn members_that_contradict_each_other_are_rejected() {
    let mut toy = toy::run(3, 600);
    let page = toy.chronicle.page(Revision(5)).unwrap().clone();
    toy.chronicle
        .observe(MemberId(2), Time(9), Revision(5), page.events.clone())
        .unwrap();
    let mut other = page.events;
    other[0].row.value = b"other".to_vec();
    let violation = toy
        .chronicle
        .observe(MemberId(2), Time(9), Revision(5), other)
        .unwrap_err();
    assert_eq!(violation.claim, "members_tell_the_same_history");
}

#[test]
fn a_revision_that_a_refusal_burnt_is_rejected() {
    let mut toy = toy::run(3, 600);
    lose(&mut toy, Revision(9));
    assert_eq!(
        toy.chronicle.check_gapless().unwrap_err().claim,
        "revisions_are_gapless"
    );
}

#[test]
fn a_lease_that_ends_early_is_rejected_and_one_that_ends_in_time_is_not() {
    let operation = |number, call, request, revision, answer| Operation {
        number,
        client: 1,
        call: Time(call),
        returned: Time(call + 5),
        request,
        outcome: Outcome::Answered {
            revision: Revision(revision),
            answer,
        },
    };
    let lease = LeaseId(7);
    for (end, early) in [(1000 + toy::TTL - 1, true), (1000 + toy::TTL, false)] {
        let mut toy = Toy::default();
        let put = Request::Put {
            key: b"k".to_vec(),
            value: b"v".to_vec(),
            lease,
        };
        let (revision, answer) = toy.apply(Time(12), &put);
        toy.apply(Time(end), &Request::Revoke { lease });
        toy.history = vec![
            operation(
                1,
                0,
                Request::Grant {
                    lease,
                    ttl: toy::TTL,
                },
                1,
                Answer::Done,
            ),
            operation(2, 10, put, revision.0, answer),
            operation(
                3,
                1000,
                Request::Renew { lease },
                revision.0,
                Answer::Renewed,
            ),
        ];
        toy.chronicle.index();
        let (attribution, violations) = witness::check(&toy.history, &toy.chronicle, &[]);
        assert!(violations.is_empty(), "{}", violations[0]);
        let violations = lease::check(&toy.history, &toy.chronicle, &attribution, 0);
        assert_eq!(!violations.is_empty(), early);
        // A clock that may run twice as fast may end it at half the time.
        assert!(lease::check(&toy.history, &toy.chronicle, &attribution, 1000).is_empty());
    }
}

#[test]
fn half_a_lease_cannot_vanish() {
    let lease = LeaseId(7);
    let mut toy = Toy::default();
    let put = |key: &str| Request::Put {
        key: key.into(),
        value: key.into(),
        lease,
    };
    let mut number = 0;
    for key in ["a", "b"] {
        number += 1;
        let (revision, answer) = toy.apply(Time(number * 20), &put(key));
        toy.history.push(Operation {
            number,
            client: 1,
            call: Time(number * 20 - 1),
            returned: Time(number * 20 + 1),
            request: put(key),
            outcome: Outcome::Answered { revision, answer },
        });
    }
    toy.apply(
        Time(90),
        &Request::Delete {
            span: Span::single("a"),
        },
    );
    toy.chronicle.index();
    let (_, violations) = witness::check(&toy.history, &toy.chronicle, &[]);
    assert_eq!(violations[0].claim, "every_revision_has_a_cause");
}

/// One operation of client 1: asked is `request`, and what happens is `done`.
fn ask(toy: &mut Toy, number: u64, done: &Request, request: Request, is_unknown: bool) {
    let at = 20 * (number + 1);
    let (revision, answer) = toy.apply(Time(at), done);
    toy.history.push(Operation {
        number,
        client: 1,
        call: Time(at - 1),
        returned: Time(at + 1),
        request,
        outcome: match is_unknown {
            true => Outcome::Unknown,
            false => Outcome::Answered { revision, answer },
        },
    });
}

#[test]
fn a_lease_that_lives_on_is_not_taken_for_the_cause_of_a_delete() {
    let lease = LeaseId(7);
    let mut toy = Toy::default();
    let put = |key: &str| Request::Put {
        key: key.into(),
        value: key.into(),
        lease,
    };
    let delete = Request::Txn {
        compares: Vec::new(),
        then: vec![Request::Delete {
            span: Span::single("a"),
        }],
        otherwise: vec![Request::Put {
            key: b"b".to_vec(),
            value: b"c".to_vec(),
            lease,
        }],
    };
    for (number, request) in [put("a"), delete, put("b")].into_iter().enumerate() {
        let is_unknown = matches!(request, Request::Txn { .. });
        ask(
            &mut toy,
            number as u64,
            &request.clone(),
            request,
            is_unknown,
        );
    }
    toy.chronicle.index();
    let (attribution, violations) = witness::check(&toy.history, &toy.chronicle, &[]);
    assert!(violations.is_empty(), "{}", violations[0]);
    let cause = &attribution.causes[&Revision(3)];
    assert_eq!(*cause, witness::Cause::Operation(1));
}

#[test]
fn a_lease_whose_keys_an_unknown_transaction_may_have_deleted_is_not_said_to_end_early() {
    let lease = LeaseId(7);
    let put = |key: &str, value: &str, lease| Request::Put {
        key: key.into(),
        value: value.into(),
        lease,
    };
    // Its other branch writes, and so it is known by its value when that is taken.
    let delete = Request::Txn {
        compares: Vec::new(),
        then: vec![Request::Delete {
            span: Span::single("a"),
        }],
        otherwise: vec![put("b", "c", LeaseId::NONE)],
    };
    let grant = Request::Grant {
        lease,
        ttl: toy::TTL,
    };
    for (asked, early) in [(delete.clone(), false), (put("x", "y", lease), true)] {
        let mut toy = Toy::default();
        let requests = [grant.clone(), put("a", "1", lease), asked.clone()];
        for (number, request) in requests.into_iter().enumerate() {
            let is_unknown = request == asked;
            let done = if is_unknown {
                &delete
            } else {
                &request.clone()
            };
            ask(&mut toy, number as u64, done, request, is_unknown);
        }
        toy.chronicle.index();
        let (attribution, violations) = witness::check(&toy.history, &toy.chronicle, &[]);
        assert!(violations.is_empty(), "{}", violations[0]);
        let violations = lease::check(&toy.history, &toy.chronicle, &attribution, 0);
        assert_eq!(!violations.is_empty(), early, "{violations:?}");
    }
}

#[test]
fn what_an_answer_tells_moves_a_watchers_moment_back() {
    let mut toy = Toy::default();
    for n in 1..=4 {
        let request = Request::Put {
            key: b"k".to_vec(),
            value: vec![n],
            lease: LeaseId::NONE,
        };
        toy.apply(Time(100 * u64::from(n)), &request);
    }
    let mut chronicle = toy.chronicle;
    chronicle.known([
        (Revision(4), Time(250)),
        (Revision(4), Time(260)),
        (Revision(3), Time(900)),
        (Revision(9), Time(390)),
    ]);
    let moments: Vec<u64> = chronicle
        .pages()
        .map(|(_, page)| page.first_seen.0)
        .collect();
    assert_eq!(moments, [100, 200, 250, 390]);
}
