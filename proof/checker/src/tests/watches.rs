//! Watches, untouched and doctored.

use super::toy;
use crate::Chronicle;
use crate::history::*;
use crate::watch::{Content, Delivery, Watch, check};
use base::{Revision, Rng};

/// What a correct watcher of `span` from `start` gets, one delivery per few revisions.
pub(super) fn watch(chronicle: &Chronicle, span: Span, start: Revision) -> Watch {
    let mut deliveries = Vec::new();
    for (revision, page) in chronicle.pages().filter(|(revision, _)| *revision >= start) {
        let events: Vec<_> = page
            .events
            .iter()
            .filter(|event| span.contains(&event.row.key))
            .map(|event| {
                (
                    event.clone(),
                    chronicle.at(&event.row.key, revision.previous()).cloned(),
                )
            })
            .collect();
        let content = match events.is_empty() {
            true => Content::Progress,
            false => Content::Events {
                events,
                fragment: false,
            },
        };
        deliveries.push(Delivery {
            time: page.first_seen,
            revision,
            compacted: Revision(0),
            content,
        });
    }
    Watch {
        number: 1,
        span,
        start,
        no_put: false,
        no_delete: false,
        previous: true,
        deliveries,
        complete_to: Some(chronicle.last()),
    }
}

pub(super) fn events(delivery: &mut Delivery) -> Option<&mut Vec<(crate::Event, Option<Row>)>> {
    match &mut delivery.content {
        Content::Events { events, .. } => Some(events),
        _ => None,
    }
}

#[test]
fn a_correct_watch_passes() {
    for seed in 0..30 {
        let toy = toy::run(seed, 400);
        for span in [Span::all(), Span::single("k1"), Span::between("k1", "k3")] {
            check(
                &watch(&toy.chronicle, span, Revision(1 + seed)),
                &toy.chronicle,
            )
            .unwrap();
        }
    }
}

/// Doctors watches of 30 runs; each must be rejected with one of `claims`.
fn rejected(claims: &[&str], doctor: impl Fn(&mut Watch, &mut Rng) -> bool) {
    let mut n_changed = 0;
    for seed in 0..30 {
        let toy = toy::run(seed, 400);
        let mut watch = watch(&toy.chronicle, Span::all(), Revision(2));
        if doctor(&mut watch, &mut Rng::new(seed)) {
            n_changed += 1;
            let violation = check(&watch, &toy.chronicle).expect_err("must be rejected");
            assert!(claims.contains(&violation.claim), "{violation}");
        }
    }
    assert!(n_changed > 10);
}

#[test]
fn a_dropped_event_is_rejected() {
    rejected(
        &["a_watch_misses_nothing", "a_watch_gets_everything"],
        |watch, rng| {
            let at = rng.below(watch.deliveries.len() as u64) as usize;
            watch.deliveries.remove(at);
            true
        },
    );
}

#[test]
fn a_repeated_event_is_rejected() {
    rejected(&["a_watch_never_goes_back"], |watch, rng| {
        let at = rng.below(watch.deliveries.len() as u64) as usize;
        let again = watch.deliveries[at].clone();
        watch.deliveries.insert(at, again);
        true
    });
}

#[test]
fn swapped_deliveries_are_rejected() {
    rejected(&["a_watch_misses_nothing"], |watch, rng| {
        let at = rng.below(watch.deliveries.len() as u64 - 1) as usize;
        watch.deliveries.swap(at, at + 1);
        true
    });
}

#[test]
fn a_wrong_row_before_is_rejected() {
    rejected(&["a_watch_knows_the_row_before"], |watch, rng| {
        let at = rng.below(watch.deliveries.len() as u64) as usize;
        let event = &mut events(&mut watch.deliveries[at]).unwrap()[0];
        event.1 = match event.1.take() {
            Some(_) => None,
            None => Some(Row::default()),
        };
        true
    });
}

#[test]
fn a_torn_revision_is_rejected_unless_it_says_that_more_follows() {
    let tear = |watch: &mut Watch, says_so: bool| {
        let whole = |delivery: &Delivery| match &delivery.content {
            Content::Events { events, .. } => events.len() > 1,
            _ => false,
        };
        let Some(at) = watch.deliveries.iter_mut().position(|d| whole(d)) else {
            return false;
        };
        let mut second = watch.deliveries[at].clone();
        events(&mut watch.deliveries[at]).unwrap().truncate(1);
        events(&mut second).unwrap().remove(0);
        if let Content::Events { fragment, .. } = &mut watch.deliveries[at].content {
            *fragment = says_so;
        }
        watch.deliveries.insert(at + 1, second);
        true
    };
    rejected(&["a_revision_arrives_whole"], |watch, _| tear(watch, false));
    let toy = toy::run(5, 400);
    let mut watch = watch(&toy.chronicle, Span::all(), Revision(2));
    assert!(tear(&mut watch, true));
    check(&watch, &toy.chronicle).unwrap();
}

#[test]
fn a_bookmark_ahead_of_its_events_is_rejected() {
    rejected(&["a_bookmark_is_never_ahead"], |watch, rng| {
        let at = rng.below(watch.deliveries.len() as u64) as usize;
        let revision = watch.deliveries[at].revision;
        let content = Content::Progress;
        watch.deliveries.insert(
            at,
            Delivery {
                time: Time(0),
                revision,
                compacted: Revision(0),
                content,
            },
        );
        true
    });
}

#[test]
fn a_needless_cancel_and_words_after_it_are_rejected() {
    rejected(&["a_watch_is_cancelled_for_a_reason"], |watch, rng| {
        let at = 1 + rng.below(watch.deliveries.len() as u64 - 1) as usize;
        let compacted = watch.deliveries[at - 1].revision;
        watch.deliveries[at].content = Content::Compacted(compacted);
        watch.deliveries.truncate(at + 1);
        true
    });
    rejected(&["a_cancelled_watch_is_silent"], |watch, _| {
        watch.deliveries[0].content = Content::Compacted(Revision(50));
        true
    });
}
