//! A tiny correct store with concurrent clients: makes good histories to doctor.

use crate::chronicle::{Chronicle, Event};
use crate::history::*;
use crate::witness::tombstone;
use base::{LeaseId, MemberId, Revision, Rng};
use std::collections::BTreeMap;

pub(super) const TTL: u64 = 1000;

/// When it was called, what was asked, and the answer once it was applied.
type Open = (Time, Request, Option<(Revision, Answer)>);

#[derive(Default)]
pub(super) struct Toy {
    pub(super) revision: u64,
    pub(super) rows: BTreeMap<Key, Row>,
    pub(super) chronicle: Chronicle,
    pub(super) history: Vec<Operation>,
}

impl Toy {
    /// Applies `request` now, as a member would.
    pub(super) fn apply(&mut self, now: Time, request: &Request) -> (Revision, Answer) {
        self.revision = self.revision.max(1);
        let at = Revision(self.revision + 1);
        let mut rows = self.rows.clone();
        let mut events = Vec::new();
        let answer = step(&self.rows, &mut rows, at, request, &mut events);
        if !events.is_empty() {
            self.revision += 1;
            self.rows = rows;
            self.chronicle
                .observe(MemberId(1), now, at, events)
                .unwrap();
        }
        (Revision(self.revision), answer)
    }
}

fn step(
    before: &BTreeMap<Key, Row>,
    rows: &mut BTreeMap<Key, Row>,
    at: Revision,
    request: &Request,
    events: &mut Vec<Event>,
) -> Answer {
    let delete = |rows: &mut BTreeMap<Key, Row>, doomed: &[Row], events: &mut Vec<Event>| {
        for row in doomed {
            rows.remove(&row.key);
            events.push(Event {
                row: tombstone(&row.key, at),
            });
        }
    };
    match request {
        Request::Range { span, .. } => Answer::Rows(
            rows.values()
                .filter(|row| span.contains(&row.key))
                .cloned()
                .collect(),
        ),
        Request::Put { key, value, lease } => {
            let previous = rows.get(key).cloned();
            let row = Row {
                key: key.clone(),
                value: value.clone(),
                create: previous.as_ref().map_or(at, |row| row.create),
                modified: at,
                version: previous.as_ref().map_or(1, |row| row.version + 1),
                lease: *lease,
            };
            rows.insert(key.clone(), row.clone());
            events.push(Event { row });
            Answer::Put {
                previous: Some(previous),
            }
        }
        Request::Delete { span } => {
            let doomed: Vec<Row> = rows
                .values()
                .filter(|row| span.contains(&row.key))
                .cloned()
                .collect();
            delete(rows, &doomed, events);
            Answer::Deleted {
                count: doomed.len() as u64,
                previous: Some(doomed),
            }
        }
        Request::Txn {
            compares,
            then,
            otherwise,
        } => {
            let succeeded = compares.iter().all(|compare| {
                let row = before.get(&compare.key);
                match &compare.target {
                    Target::Modified(revision) => {
                        row.map_or(Revision(0), |row| row.modified) == *revision
                    }
                    Target::Create(revision) => {
                        row.map_or(Revision(0), |row| row.create) == *revision
                    }
                    Target::Value(value) => row.is_some_and(|row| row.value == *value),
                    _ => unreachable!("the toy does not draw it"),
                }
            });
            let branch = if succeeded { then } else { otherwise };
            let answers = branch
                .iter()
                .map(|r| step(before, rows, at, r, events))
                .collect();
            Answer::Txn { succeeded, answers }
        }
        Request::Revoke { lease } => {
            let doomed: Vec<Row> = rows
                .values()
                .filter(|row| row.lease == *lease)
                .cloned()
                .collect();
            delete(rows, &doomed, events);
            Answer::Done
        }
        _ => Answer::Done,
    }
}

/// A run of `n_steps` steps of five clients on four keys, every choice drawn from `seed`.
pub(super) fn run(seed: u64, n_steps: usize) -> Toy {
    let mut rng = Rng::new(seed);
    let mut toy = Toy::default();
    let mut clients: Vec<Option<Open>> = vec![None; 5];
    let mut number = 0;
    for step in 0..n_steps {
        let now = Time(step as u64 * 10 + 10);
        if rng.one_in(60) {
            // A lease ends by itself.
            toy.apply(now, &Request::Revoke { lease: LeaseId(7) });
        }
        let client = rng.below(5) as usize;
        match clients[client].take() {
            None => {
                clients[client] = Some((
                    now,
                    draw(&mut rng, &toy, number + 1000 * client as u64),
                    None,
                ))
            }
            Some((call, request, None)) => {
                let lost = rng.one_in(12);
                let answered = (!lost || rng.one_in(2)).then(|| toy.apply(now, &request));
                if lost {
                    push(
                        &mut toy,
                        &mut number,
                        client,
                        call,
                        now,
                        request,
                        Outcome::Unknown,
                    );
                } else {
                    clients[client] = Some((call, request, answered));
                }
            }
            Some((call, request, Some((revision, answer)))) => {
                let outcome = Outcome::Answered { revision, answer };
                push(&mut toy, &mut number, client, call, now, request, outcome);
            }
        }
    }
    for (client, open) in clients.into_iter().enumerate() {
        if let Some((call, request, _)) = open {
            let end = Time(n_steps as u64 * 10 + 20);
            push(
                &mut toy,
                &mut number,
                client,
                call,
                end,
                request,
                Outcome::Unknown,
            );
        }
    }
    toy.chronicle.index();
    toy
}

fn push(
    toy: &mut Toy,
    number: &mut u64,
    client: usize,
    call: Time,
    now: Time,
    request: Request,
    outcome: Outcome,
) {
    *number += 1;
    toy.history.push(Operation {
        number: *number,
        client: client as u64,
        call,
        returned: now,
        request,
        outcome,
    });
}

fn draw(rng: &mut Rng, toy: &Toy, unique: u64) -> Request {
    let key = format!("k{}", rng.below(4)).into_bytes();
    let value = format!("v{unique}-{}", rng.below(1 << 40)).into_bytes();
    let lease = if rng.one_in(4) {
        LeaseId(7)
    } else {
        LeaseId::NONE
    };
    match rng.below(10) {
        0..3 => Request::Put { key, value, lease },
        3..6 => Request::Range {
            span: Span::single(key),
            at: None,
            level: Level::Linearizable,
        },
        6 => Request::Range {
            span: Span::all(),
            at: None,
            level: Level::Linearizable,
        },
        7 => Request::Delete {
            span: Span::single(key),
        },
        8 => Request::Delete {
            span: Span::between("k0", "k2"),
        },
        _ => {
            let seen = toy.rows.get(&key).map_or(Revision(0), |row| row.modified);
            Request::Txn {
                compares: vec![Compare {
                    key: key.clone(),
                    target: Target::Modified(seen),
                    relation: Relation::Equal,
                }],
                then: vec![Request::Put {
                    key: key.clone(),
                    value,
                    lease,
                }],
                otherwise: vec![Request::Range {
                    span: Span::single(key),
                    at: None,
                    level: Level::Linearizable,
                }],
            }
        }
    }
}
