//! Every judge against every way of doctoring: who rejects what.
//!
//! One good case has a bit of everything: a random history, reads of each level, a lease that ends in its
//! time, a lock that changes hands, a watch, digests and final states. Each doctoring changes one thing in
//! it. The verdicts are computed and printed into docs/testing.md, so the table there cannot rot.

use super::toy::{self, Toy};
use super::watches;
use crate::chronicle::{Chronicle, Event, Page};
use crate::history::*;
use crate::states::{self, Digests};
use crate::watch::Watch;
use crate::{lease, lock, project, watch, witness};
use base::{Index, LeaseId, LogPosition, MemberId, Revision, Term};
use std::collections::BTreeMap;

const SEEDS: u64 = 8;
const STEPS_MAX: u64 = 1_000_000;
const LEASE: LeaseId = LeaseId(70);

/// What the judges hear of one run.
struct Case {
    history: Vec<Operation>,
    chronicle: Chronicle,
    watch: Watch,
    /// What the second member tells of each revision.
    told: Vec<(Revision, Vec<Event>)>,
    /// (member, index, digest).
    digests: Vec<(u64, u64, u64)>,
    /// What each member has at the end.
    states: Vec<(u64, Revision, Vec<Row>)>,
    /// Where the operations of the story are in the history.
    named: BTreeMap<&'static str, usize>,
}

impl Case {
    fn op(&mut self, name: &str) -> &mut Operation {
        let at = self.named[name];
        &mut self.history[at]
    }

    fn revision_of(&self, name: &str) -> Revision {
        let revision = self.history[self.named[name]].revision();
        revision.expect("it was answered")
    }

    fn answer(&mut self, name: &str, revision: Revision, rows: Vec<Row>) {
        self.op(name).outcome = Outcome::Answered {
            revision,
            answer: Answer::Rows(rows),
        };
    }

    /// Rewrites each page; nothing removes it, and those behind it move up.
    fn rewrite(&mut self, mut page: impl FnMut(Revision, &Page) -> Option<(Time, Vec<Event>)>) {
        let mut rebuilt = Chronicle::default();
        for (revision, old) in self.chronicle.pages() {
            if let Some((first_seen, events)) = page(revision, old) {
                rebuilt
                    .observe(old.by, first_seen, revision, events)
                    .expect("each revision is told once");
            }
        }
        rebuilt.index();
        self.chronicle = rebuilt;
    }
}

// ---- the good case -----------------------------------------------------------------------------

struct Story {
    toy: Toy,
    now: u64,
    named: BTreeMap<&'static str, usize>,
}

impl Story {
    fn record(&mut self, name: &'static str, client: u64, request: Request, outcome: Outcome) {
        self.named.insert(name, self.toy.history.len());
        self.toy.history.push(Operation {
            number: self.toy.history.len() as u64 + 1,
            client,
            call: Time(self.now),
            returned: Time(self.now + 9),
            request,
            outcome,
        });
        self.now += 20;
    }

    fn ask(&mut self, name: &'static str, client: u64, request: Request) -> Revision {
        let (revision, answer) = self.toy.apply(Time(self.now + 5), &request);
        let outcome = Outcome::Answered { revision, answer };
        self.record(name, client, request, outcome);
        revision
    }

    /// A read of everything that tells what was at `revision`, under a header of `header`.
    fn look(&mut self, name: &'static str, request: Request, revision: Revision, header: Revision) {
        self.toy.chronicle.index();
        let rows = self.toy.chronicle.rows(&Span::all(), revision);
        let outcome = Outcome::Answered {
            revision: header,
            answer: Answer::Rows(rows),
        };
        self.record(name, 6, request, outcome);
    }
}

fn range(span: Span, at: Option<Revision>, level: Level) -> Request {
    Request::Range { span, at, level }
}

fn put(key: &str, value: &str, lease: LeaseId) -> Request {
    Request::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn fenced(token: Revision, then: Vec<Request>) -> Request {
    Request::Txn {
        compares: vec![Compare {
            key: b"lock".to_vec(),
            target: Target::Create(token),
            relation: Relation::Equal,
        }],
        then,
        otherwise: Vec::new(),
    }
}

fn good(seed: u64) -> Case {
    let toy = toy::run(seed, 300);
    let mut story = Story {
        toy,
        now: 10_000,
        named: BTreeMap::new(),
    };
    let none = LeaseId::NONE;
    story.ask("put before", 6, put("a", "a1", none));
    story.ask("put", 6, put("a", "a2", none));
    let both = vec![put("b", "b1", none), put("c", "c1", none)];
    let always = Request::Txn {
        compares: Vec::new(),
        then: both,
        otherwise: Vec::new(),
    };
    let txn = story.ask("txn", 6, always);
    let one = range(Span::single("a"), None, Level::Linearizable);
    story.ask("get", 6, one);
    let old = range(Span::all(), None, Level::Serializable);
    story.look("serializable", old, txn.previous(), txn.previous());
    let past = range(Span::all(), Some(txn.previous()), Level::Linearizable);
    story.look("past", past, txn.previous(), txn);
    let reason = "no leader".to_owned();
    story.record(
        "refused",
        6,
        put("d", "d1", none),
        Outcome::Refused { reason },
    );
    // A lock that changes hands; the one who had it wakes up late.
    let token = story.ask("lock", 6, fenced(Revision(0), vec![put("lock", "6", none)]));
    story.ask("write", 6, fenced(token, vec![put("w", "w1", none)]));
    let span = Span::single("lock");
    story.ask("unlock", 6, Request::Delete { span });
    let newer = story.ask(
        "lock anew",
        7,
        fenced(Revision(0), vec![put("lock", "7", none)]),
    );
    story.ask("late write", 6, fenced(token, vec![put("w", "w2", none)]));
    story.ask("newer write", 7, fenced(newer, vec![put("w", "w3", none)]));
    // A lease that is renewed once and then left to its end.
    let ttl = toy::TTL;
    story.ask("grant", 6, Request::Grant { lease: LEASE, ttl });
    story.ask("hang", 6, put("leased", "l1", LEASE));
    let revision = Revision(story.toy.revision);
    let answer = Answer::Renewed;
    let renewed = Outcome::Answered { revision, answer };
    story.record("renew", 6, Request::Renew { lease: LEASE }, renewed);
    let end = story.now + toy::TTL;
    story
        .toy
        .apply(Time(end), &Request::Revoke { lease: LEASE });
    story.now = end + 20;
    story.ask("last", 6, put("a", "a3", none));

    let Toy {
        mut chronicle,
        history,
        ..
    } = story.toy;
    chronicle.index();
    let last = chronicle.last();
    let rows = chronicle.rows(&Span::all(), last);
    Case {
        watch: watches::watch(&chronicle, Span::all(), Revision(2)),
        told: chronicle
            .pages()
            .map(|(revision, page)| (revision, page.events.clone()))
            .collect(),
        digests: (1..=3)
            .flat_map(|member| (1..=20).map(move |index| (member, index, base::rng::mix(index))))
            .collect(),
        states: (1..=3).map(|member| (member, last, rows.clone())).collect(),
        history,
        chronicle,
        named: story.named,
    }
}

// ---- the judges --------------------------------------------------------------------------------

/// A level, and whether it rejects the case.
type Judge = (&'static str, fn(&Case) -> bool);

const JUDGES: [Judge; 7] = [
    ("each key, linearizable", |case| {
        let (attribution, _) = witness::check(&case.history, &case.chronicle, &[]);
        let found = project::check(&case.history, &case.chronicle, &attribution, STEPS_MAX);
        !found.is_empty()
    }),
    ("whole history, by revision", |case| {
        let (_, found) = witness::check(&case.history, &case.chronicle, &[]);
        !found.is_empty()
    }),
    ("chronicle", |case| {
        let mut chronicle = case.chronicle.clone();
        let told = case.told.iter().any(|(revision, events)| {
            let told = chronicle.observe(MemberId(2), Time(1 << 40), *revision, events.clone());
            told.is_err()
        });
        told || case.chronicle.check_gapless().is_err()
    }),
    ("watch", |case| {
        watch::check(&case.watch, &case.chronicle).is_err()
    }),
    ("lease", |case| {
        let (attribution, _) = witness::check(&case.history, &case.chronicle, &[]);
        !lease::check(&case.history, &case.chronicle, &attribution, 0).is_empty()
    }),
    ("lock", |case| !lock::check(&case.history).is_empty()),
    ("digests and states", |case| {
        let mut digests = Digests::default();
        let differs = case.digests.iter().any(|(member, index, digest)| {
            let position = LogPosition {
                term: Term(1),
                index: Index(*index),
            };
            let member = MemberId(*member);
            digests.observe(member, position, *digest).is_err()
        });
        let is_wrong = |(member, revision, rows): &(u64, Revision, Vec<Row>)| {
            let member = MemberId(*member);
            states::check_rows(member, *revision, Some(rows), &case.chronicle).is_err()
        };
        differs || case.states.iter().any(is_wrong)
    }),
];

// ---- the doctorings ----------------------------------------------------------------------------

/// What is changed, which levels must reject it, and how it is changed.
type Doctoring = (&'static str, &'static [&'static str], fn(&mut Case));

const KEY: &str = JUDGES[0].0;
const WHOLE: &str = JUDGES[1].0;
const CHRONICLE: &str = JUDGES[2].0;
const WATCH: &str = JUDGES[3].0;
const LEASES: &str = JUDGES[4].0;
const LOCK: &str = JUDGES[5].0;
const STATES: &str = JUDGES[6].0;

const DOCTORINGS: [Doctoring; 24] = [
    ("nothing", &[], |_| {}),
    ("a serializable read, older still", &[], |case| {
        let revision = case.revision_of("put before");
        let rows = case.chronicle.rows(&Span::all(), revision);
        case.answer("serializable", revision, rows);
    }),
    ("a watch misses an event", &[WATCH], |case| {
        case.watch.deliveries.remove(3);
    }),
    ("a watch hears an event twice", &[WATCH], |case| {
        let again = case.watch.deliveries[3].clone();
        case.watch.deliveries.insert(3, again);
    }),
    ("a watch has an old row before", &[WATCH], |case| {
        let last = case.watch.deliveries.last_mut().expect("much happened");
        let events = watches::events(last).expect("the last is a put");
        events[0].1 = None;
    }),
    (
        "one member's history lacks an event",
        &[CHRONICLE],
        |case| {
            let torn = case.told.iter_mut().rfind(|(_, events)| events.len() > 1);
            torn.expect("the transaction").1.pop();
        },
    ),
    ("a stale linearizable read", &[KEY, WHOLE], |case| {
        let revision = case.revision_of("put before");
        let rows = case.chronicle.rows(&Span::single("a"), revision);
        case.answer("get", revision, rows);
    }),
    ("a stale read under a fresh header", &[KEY, WHOLE], |case| {
        let revision = case.revision_of("put before");
        let rows = case.chronicle.rows(&Span::single("a"), revision);
        let header = case.revision_of("get");
        case.answer("get", header, rows);
    }),
    ("a serializable read mixes two states", &[WHOLE], |case| {
        let (old, new) = (case.revision_of("put"), case.revision_of("txn"));
        let mut rows = case.chronicle.rows(&Span::all(), old);
        rows.extend(case.chronicle.rows(&Span::single("b"), new));
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        case.answer("serializable", new, rows);
    }),
    ("a serializable read from the future", &[WHOLE], |case| {
        let revision = case.revision_of("last");
        let rows = case.chronicle.rows(&Span::all(), revision);
        case.answer("serializable", revision, rows);
    }),
    (
        "a read of the past tells another revision",
        &[WHOLE],
        |case| {
            let (asked, header) = (case.revision_of("put before"), case.revision_of("txn"));
            let rows = case.chronicle.rows(&Span::all(), asked);
            case.answer("past", header, rows);
        },
    ),
    ("a read of a revision not yet there", &[WHOLE], |case| {
        let revision = case.revision_of("put before");
        let rows = case.chronicle.rows(&Span::all(), revision);
        case.answer("past", revision, rows);
    }),
    (
        "an acknowledged write is lost",
        &[WHOLE, CHRONICLE],
        |case| {
            let lost = case.revision_of("put");
            case.rewrite(|revision, page| {
                (revision != lost).then(|| (page.first_seen, page.events.clone()))
            });
        },
    ),
    (
        "an acknowledged write is lost on one member",
        &[STATES],
        |case| {
            case.states[1].2.retain(|row| row.key != b"b");
        },
    ),
    ("a write takes effect twice", &[WHOLE], |case| {
        let page = case.chronicle.page(case.revision_of("last"));
        let mut events = page.expect("it happened").events.clone();
        let next = case.chronicle.last().next();
        events[0].row.modified = next;
        events[0].row.version += 1;
        let again = case
            .chronicle
            .observe(MemberId(1), Time(1 << 40), next, events);
        again.expect("nobody told it before");
        case.chronicle.index();
    }),
    (
        "half of a transaction happened",
        &[WHOLE, CHRONICLE, WATCH],
        |case| {
            let torn = case.revision_of("txn");
            case.rewrite(|revision, page| {
                let n = if revision == torn {
                    1
                } else {
                    page.events.len()
                };
                Some((page.first_seen, page.events[..n].to_vec()))
            });
        },
    ),
    ("an effect before it was asked", &[WHOLE], |case| {
        let early = case.revision_of("txn");
        case.rewrite(|revision, page| {
            let earlier = if revision == early { 100 } else { 0 };
            let first_seen = Time(page.first_seen.0 - earlier);
            Some((first_seen, page.events.clone()))
        });
    }),
    ("a definite refusal took effect", &[WHOLE], |case| {
        let reason = "too many requests".to_owned();
        case.op("last").outcome = Outcome::Refused { reason };
    }),
    ("a refusal's value is read", &[WHOLE], |case| {
        let revision = case.revision_of("get");
        let rows = vec![Row {
            key: b"a".to_vec(),
            value: b"d1".to_vec(),
            create: revision,
            modified: revision,
            version: 1,
            lease: LeaseId::NONE,
        }];
        case.answer("get", revision, rows);
    }),
    ("a lease ends early", &[LEASES], |case| {
        let end = case.revision_of("last").previous();
        case.rewrite(|revision, page| {
            let earlier = if revision == end { toy::TTL / 2 } else { 0 };
            let first_seen = Time(page.first_seen.0 - earlier);
            Some((first_seen, page.events.clone()))
        });
    }),
    ("a lease that is over is renewed", &[LEASES], |case| {
        let last = case.op("last");
        let (call, returned) = (last.call, last.returned);
        let renewal = case.op("renew");
        (renewal.call, renewal.returned) = (call, returned);
    }),
    ("an older token writes", &[WHOLE, LOCK], |case| {
        let answer = Answer::Txn {
            succeeded: true,
            answers: vec![Answer::Put { previous: None }],
        };
        let revision = case.revision_of("late write").next();
        case.op("late write").outcome = Outcome::Answered { revision, answer };
    }),
    ("a token falls", &[WHOLE, LOCK], |case| {
        let first = case.op("lock").outcome.clone();
        let second = std::mem::replace(&mut case.op("lock anew").outcome, first);
        case.op("lock").outcome = second;
    }),
    ("digests differ at one index", &[STATES], |case| {
        case.digests[33].2 ^= 1;
    }),
];

/// How many of the doctored cases each judge rejects.
fn verdicts(doctor: fn(&mut Case)) -> [u64; JUDGES.len()] {
    let mut rejected = [0; JUDGES.len()];
    for seed in 0..SEEDS {
        let mut case = good(seed);
        doctor(&mut case);
        for (n, (_, rejects)) in rejected.iter_mut().zip(JUDGES) {
            *n += u64::from(rejects(&case));
        }
    }
    rejected
}

#[test]
fn each_doctoring_is_rejected_by_the_judges_it_is_meant_for() {
    for (what, meant_for, doctor) in DOCTORINGS {
        let verdicts = verdicts(doctor);
        for ((name, _), n) in JUDGES.iter().zip(verdicts) {
            if meant_for.contains(name) {
                assert_eq!(n, SEEDS, "{what}: {name}");
            } else if meant_for.is_empty() {
                assert_eq!(n, 0, "{what} is allowed: {name}");
            }
        }
    }
}

#[test]
fn every_judge_rejects_something() {
    for (name, _) in JUDGES {
        assert!(
            DOCTORINGS
                .iter()
                .any(|(_, meant_for, _)| meant_for.contains(&name))
        );
    }
}

// ---- the table ---------------------------------------------------------------------------------

const BEGIN: &str = "<!-- doctorings: printed by proof/checker/src/tests/matrix.rs, UPDATE=1 -->\n";
const END: &str = "<!-- end of doctorings -->";

fn table() -> String {
    let names: Vec<&str> = JUDGES.iter().map(|(name, _)| *name).collect();
    let mut table = format!("| doctored | {} |\n", names.join(" | "));
    table += &format!("| --- |{}\n", " --- |".repeat(names.len()));
    for (what, _, doctor) in DOCTORINGS {
        let cells = verdicts(doctor).map(|n| match n {
            0 => "passes".to_owned(),
            SEEDS => "**rejected**".to_owned(),
            n => format!("rejected in {n} of {SEEDS}"),
        });
        table += &format!("| {what} | {} |\n", cells.join(" | "));
    }
    table
}

#[test]
fn the_table_in_the_docs_is_what_the_judges_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins somewhere");
    let (printed, after) = rest.split_once(END).expect("the table ends somewhere");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))
            .expect("can be written");
    } else {
        assert_eq!(printed, table, "UPDATE=1 prints it anew");
    }
}
