//! Good histories of each level and guarantee, and what is doctored in them: who rejects what.
//!
//! A line is one operation: process, from when to when, what. `a 0-9 x=1` writes; `b 20-29 x is 1, session` reads.

use crate::history::{Time, Value};
use crate::levels::session::{self, Guarantee};
use crate::levels::{self, Access, Deed, Promise};
use crate::linear::{self, Action, Effect, Guard, Verdict};
use base::Rng;

fn promise(name: &str) -> Promise {
    match name {
        "linearizable" => Promise::Linearizable,
        "lease" => Promise::Lease,
        "session" => Promise::Session,
        "sequential" => Promise::Sequential,
        other => {
            let behind = other.strip_prefix("bounded ").expect("a level");
            Promise::Bounded(behind.parse().expect("a number"))
        }
    }
}

fn access(at: usize, line: &str) -> Access {
    let mut words = line.trim().splitn(3, ' ');
    let mut word = || words.next().expect("three words");
    let (process, span, deed) = (word(), word(), word());
    let (call, returned) = span.split_once('-').expect("from-to");
    let time = |text: &str| Time(text.parse().expect("a time"));
    let (key, deed) = match deed.split_once(" is ") {
        None => {
            let (key, value) = deed.split_once('=').expect("key=value");
            (key, Deed::Write(value.into()))
        }
        Some((key, seen)) => {
            let (value, level) = seen.split_once(", ").expect("a level");
            let value = (value != "absent").then(|| Value::from(value));
            (key, Deed::Read(value, promise(level)))
        }
    };
    Access {
        number: at as u64 + 1,
        process: u64::from(process.as_bytes()[0]),
        call: time(call),
        returned: (returned != "?").then(|| time(returned)),
        key: key.into(),
        deed,
    }
}

fn history(lines: &str) -> Vec<Access> {
    let lines = lines.trim().lines();
    lines
        .enumerate()
        .map(|(at, line)| access(at, line))
        .collect()
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
enum Judge {
    Levels,
    Session(Guarantee),
}

impl Judge {
    fn accepts(self, history: &[Access]) -> bool {
        match self {
            Judge::Levels => levels::check(history).is_ok(),
            Judge::Session(guarantee) => session::check(history, guarantee).is_ok(),
        }
    }
}

/// A good history, its judge, and what is replaced by what so that it is bad.
struct Case {
    judge: Judge,
    good: &'static str,
    doctorings: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            a 20-29 x=2
            b 22-25 x is 2, linearizable
            c 27-30 x is 2, linearizable
            a 40-? x=3
            b 50-59 x is 2, linearizable
            b 60-69 x is 3, linearizable
            c 70-79 x is 3, linearizable",
        doctorings: &[
            // New, then old, while the write is still under way.
            ("c 27-30 x is 2", "c 27-30 x is 1"),
            ("c 70-79 x is 3", "c 70-79 x is 2"),
            ("b 50-59 x is 2", "b 50-59 x is 1"),
            ("b 50-59 x is 2", "b 50-59 x is absent"),
            // From the future, and from nowhere.
            ("a 40-? x=3", "a 80-? x=3"),
            ("b 60-69 x is 3", "b 60-69 x is 4"),
        ],
    },
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            b 20-29 x is 1, lease
            a 30-39 x=2
            b 35-36 x is 1, lease
            b 50-59 x is 2, lease",
        doctorings: &[
            ("b 20-29 x is 1", "b 20-29 x is absent"),
            ("b 50-59 x is 2", "b 50-59 x is 1"),
            ("b 20-29 x is 1", "b 20-29 x is 2"),
            // A leader that was deposed: its lease ran on while another one wrote.
            ("a 30-39 x=2", "a 30-33 x=2"),
        ],
    },
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            a 20-29 x=2
            b 40-49 x is 1, bounded 20
            b 41-42 x is 2, bounded 20
            c 60-69 x is 2, bounded 20
            c 70-79 x is 2, bounded 60",
        doctorings: &[
            ("b 40-49 x is 1", "b 40-49 x is absent"),
            ("c 60-69 x is 2", "c 60-69 x is 1"),
            ("b 40-49 x is 1, bounded 20", "b 40-49 x is 1, bounded 10"),
            ("b 40-49 x is 1", "b 50-59 x is 1"),
            ("a 20-29 x=2", "a 200-229 x=2"),
        ],
    },
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            a 20-29 x=2
            b 40-49 x is 1, session
            a 40-49 x is 2, session
            b 50-59 y=1
            a 60-69 x is 2, session
            c 70-79 y is 1, session
            c 80-89 x is 2, session",
        doctorings: &[
            // Own writes, what was read, and in whose order.
            ("a 40-49 x is 2", "a 40-49 x is 1"),
            ("a 60-69 x is 2", "a 60-69 x is absent"),
            ("c 80-89 x is 2", "c 80-89 x is absent"),
            ("c 80-89 x is 2", "c 80-89 x is 1"),
            ("b 40-49 x is 1", "b 40-49 x is 3"),
        ],
    },
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            a 20-29 y=1
            a 40-49 x=2
            b 50-59 x is absent, sequential
            b 60-69 y is 1, sequential
            b 70-79 x is 1, sequential
            b 80-89 x is 2, sequential
            c 80-89 x is absent, sequential
            c 90-99 y is absent, sequential",
        doctorings: &[
            // Back in time on one register, and across two.
            ("b 80-89 x is 2", "b 80-89 x is absent"),
            ("b 70-79 x is 1", "b 70-79 x is absent"),
            ("b 50-59 x is absent", "b 50-59 x is 2"),
            ("b 60-69 y is 1", "b 60-69 y is 2"),
        ],
    },
    // An old member and a token that is not carried: each level in one history.
    Case {
        judge: Judge::Levels,
        good: "
            a 0-9 x=1
            a 20-29 x=2
            b 40-49 x is 2, linearizable
            b 50-59 x is 1, bounded 40
            b 60-69 x is 2, session
            d 70-79 x is absent, sequential
            b 80-89 x is 2, lease",
        doctorings: &[
            ("b 40-49 x is 2", "b 40-49 x is 1"),
            ("b 50-59 x is 1", "b 50-59 x is absent"),
            ("b 60-69 x is 2", "b 60-69 x is 1"),
            ("b 80-89 x is 2", "b 80-89 x is 1"),
            ("d 70-79 x is absent", "d 70-79 x is 3"),
        ],
    },
    Case {
        judge: Judge::Session(Guarantee::ReadYourWrites),
        good: "
            b 0-9 x=1
            a 20-29 x=2
            c 30-39 x is 1, sequential
            a 40-49 x is 2, session
            b 50-59 x=3
            a 60-69 x is 3, session
            a 70-79 x is 2, session",
        doctorings: &[
            ("a 40-49 x is 2", "a 40-49 x is 1"),
            ("a 40-49 x is 2", "a 40-49 x is absent"),
            ("a 70-79 x is 2", "a 70-79 x is 1"),
        ],
    },
    Case {
        judge: Judge::Session(Guarantee::MonotonicReads),
        good: "
            a 0-9 x=1
            a 20-29 x=2
            b 40-49 x is 1, session
            b 50-59 x is 1, session
            b 60-69 x is 2, session
            a 70-79 x is 1, sequential",
        doctorings: &[
            ("b 50-59 x is 1", "b 50-59 x is absent"),
            ("b 50-59 x is 1", "b 50-54 x is 2, session\nb 56-59 x is 1"),
            ("b 60-69 x is 2", "b 60-69 x is 2, session\nb 80-89 x is 1"),
        ],
    },
    Case {
        judge: Judge::Session(Guarantee::MonotonicWrites),
        good: "
            b 0-9 x=0
            a 20-29 x=1
            a 40-49 y=1
            c 50-59 x is 0, session
            c 60-69 y is 1, session
            c 70-79 x is 1, session",
        doctorings: &[
            ("c 70-79 x is 1", "c 70-79 x is 0"),
            ("c 70-79 x is 1", "c 70-79 x is absent"),
            ("c 50-59 x is 0", "c 61-62 y is 1, session\nc 64-69 x is 0"),
        ],
    },
    Case {
        judge: Judge::Session(Guarantee::WritesFollowReads),
        good: "
            b 0-9 x=0
            b 20-29 x=1
            a 30-39 x is 1, session
            a 40-49 y=1
            c 50-59 x is 0, session
            c 60-69 y is 1, session
            c 70-79 x is 1, session",
        doctorings: &[
            ("c 70-79 x is 1", "c 70-79 x is 0"),
            ("c 70-79 x is 1", "c 70-79 x is absent"),
            ("c 50-59 x is 0", "c 61-62 y is 1, session\nc 64-69 x is 0"),
        ],
    },
];

#[test]
fn good_histories_pass_and_each_doctoring_is_rejected() {
    for Case {
        judge,
        good,
        doctorings,
    } in CASES
    {
        assert!(judge.accepts(&history(good)), "{judge:?}: {good}");
        assert!(doctorings.len() >= 3);
        for (old, new) in *doctorings {
            assert!(good.contains(old), "{old}");
            let doctored = good.replace(old, new);
            assert!(!judge.accepts(&history(&doctored)), "{judge:?}: {doctored}");
        }
    }
}

#[test]
fn each_guarantee_is_broken_by_itself() {
    // Each history breaks one guarantee and no other.
    let broken = [
        "b 0-9 x=1\n a 20-29 x=2\n a 30-39 x is 1, sequential",
        "a 0-9 x=1\n a 20-29 x=2\n b 40-49 x is 2, session\n b 50-59 x is 1, sequential",
        "a 0-9 x=1\n a 20-29 y=1\n b 40-49 y is 1, session\n b 50-59 x is absent, sequential",
        "a 0-9 x=1\n c 11-12 x is 1, session\n c 20-29 y=1\n b 40-49 y is 1, session\n b 50-59 x is absent, sequential",
    ];
    for (at, text) in broken.into_iter().enumerate() {
        for (which, guarantee) in Guarantee::ALL.into_iter().enumerate() {
            let judge = Judge::Session(guarantee);
            assert_eq!(
                judge.accepts(&history(text)),
                at != which,
                "{guarantee:?}: {text}"
            );
        }
    }
}

#[test]
fn what_the_weaker_level_allows_the_stronger_forbids() {
    let old = "a 0-9 x=1\n a 20-29 x=2\n b 40-49 x is 1, LEVEL";
    let back = "a 0-9 x=1\n a 20-29 x=2\n b 32-35 x is 2, linearizable\n b 40-49 x is 1, LEVEL";
    for (level, may_be_old, may_go_back) in [
        ("linearizable", false, false),
        ("lease", false, false),
        ("bounded 5", false, false),
        ("bounded 30", true, true),
        ("session", true, false),
        // Of one member: whoever moves is another process.
        ("sequential", true, false),
    ] {
        let accepts = |text: &str| Judge::Levels.accepts(&history(&text.replace("LEVEL", level)));
        assert_eq!(accepts(old), may_be_old, "{level}");
        assert_eq!(accepts(back), may_go_back, "{level}");
    }
}

// ---- against naive models ----------------------------------------------------------------------

/// A log, members that have applied a part of it, and clients that read where they like as their level allows.
fn run(rng: &mut Rng, n: usize) -> Vec<Access> {
    let keys = ["x", "y"];
    // What was written: key, value, when it was acknowledged.
    let mut log: Vec<(&str, u64, u64)> = Vec::new();
    let mut members = [0_usize; 3];
    let mut carried = [0_usize; 3];
    let mut history = Vec::new();
    let mut now = 0;
    for number in 1..=n as u64 {
        let (process, key) = (rng.below(3) as usize, keys[rng.below(2) as usize]);
        let call = now + 1;
        let returned = call + 2;
        now = returned + rng.below(4);
        for applied in &mut members {
            *applied += rng.below((log.len() - *applied) as u64 + 1) as usize;
        }
        let deed = if rng.one_in(2) {
            log.push((key, number, returned));
            carried[process] = log.len();
            Deed::Write(number.to_string().into())
        } else {
            let promise = match rng.below(5) {
                0 => Promise::Linearizable,
                1 => Promise::Lease,
                2 => Promise::Bounded(10),
                3 => Promise::Session,
                // The client of each member stays there.
                _ => Promise::Sequential,
            };
            let acknowledged = |by: u64| log.iter().filter(|(.., at)| *at < by).count();
            let needed = match promise {
                Promise::Linearizable | Promise::Lease => log.len(),
                Promise::Bounded(behind) => acknowledged(call.saturating_sub(behind)),
                Promise::Session | Promise::Sequential => carried[process],
            };
            members[process] = members[process].max(needed);
            let applied = members[process];
            carried[process] = carried[process].max(applied);
            let newest = log[..applied].iter().rfind(|(other, ..)| *other == key);
            Deed::Read(
                newest.map(|(_, value, _)| value.to_string().into()),
                promise,
            )
        };
        history.push(Access {
            number,
            process: process as u64,
            call: Time(call),
            returned: Some(Time(returned)),
            key: key.into(),
            deed,
        });
    }
    history
}

/// Whether there is an order, found by trying all.
fn has_order(history: &[Access], placed: &mut Vec<usize>) -> bool {
    if placed.len() == history.len() {
        return true;
    }
    for at in 0..history.len() {
        let access = &history[at];
        if placed.contains(&at) {
            continue;
        }
        // Whatever must come before is there already.
        let waits = (0..history.len()).any(|other| {
            let first = &history[other];
            let is_before = first
                .returned
                .is_some_and(|returned| returned < access.call);
            let must = match access.deed {
                Deed::Write(_) | Deed::Read(_, Promise::Linearizable | Promise::Lease) => is_before,
                Deed::Read(_, Promise::Bounded(behind)) => {
                    let is_write = matches!(first.deed, Deed::Write(_));
                    let since = first.returned.map(|returned| returned.0 + behind);
                    is_write && since.is_some_and(|since| since < access.call.0)
                }
                Deed::Read(_, Promise::Session | Promise::Sequential) => {
                    is_before && first.process == access.process
                }
            };
            must && !placed.contains(&other)
        });
        let newest = placed
            .iter()
            .rev()
            .find_map(|other| match &history[*other] {
                Access {
                    key,
                    deed: Deed::Write(value),
                    ..
                } if *key == access.key => Some(value.clone()),
                _ => None,
            });
        let fits = match &access.deed {
            Deed::Write(_) => true,
            Deed::Read(value, _) => *value == newest,
        };
        if !waits && fits {
            placed.push(at);
            if has_order(history, placed) {
                return true;
            }
            placed.pop();
        }
    }
    false
}

#[test]
fn what_members_that_keep_their_promises_answer_is_accepted() {
    for seed in 0..200 {
        let history = run(&mut Rng::new(seed), 60);
        let verdict = levels::check(&history);
        assert!(verdict.is_ok(), "seed {seed}: {}", verdict.unwrap_err());
    }
}

#[test]
fn the_judge_of_levels_agrees_with_trying_every_order() {
    let (mut n_good, mut n_bad) = (0, 0);
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let mut history = run(&mut rng, 7);
        // Another value of the register in the place of one that was read.
        let reads: Vec<usize> = (0..history.len())
            .filter(|at| matches!(history[*at].deed, Deed::Read(..)))
            .collect();
        let Some(read) = rng.pick(&reads).copied() else {
            continue;
        };
        let mut values = vec![None];
        for access in &history {
            if let (Deed::Write(value), true) = (&access.deed, access.key == history[read].key) {
                values.push(Some(value.clone()));
            }
        }
        if let Deed::Read(seen, _) = &mut history[read].deed {
            *seen = rng.pick(&values).cloned().flatten();
        }
        let has_order = has_order(&history, &mut Vec::new());
        assert_eq!(
            levels::check(&history).is_ok(),
            has_order,
            "seed {seed}: {history:#?}"
        );
        n_good += usize::from(has_order);
        n_bad += usize::from(!has_order);
    }
    assert!(n_good > 500 && n_bad > 500, "{n_good} good, {n_bad} bad");
}

#[test]
fn the_search_for_one_order_of_a_register_agrees_on_linearizable_reads() {
    let Some(case) = CASES.first() else {
        unreachable!("there are cases");
    };
    let texts = case.doctorings.iter();
    let doctored = texts.map(|(old, new)| case.good.replace(old, new));
    for text in std::iter::once(case.good.to_owned()).chain(doctored) {
        let history = history(&text);
        let state = |value: &Value| String::from_utf8_lossy(value).parse().ok();
        let actions: Vec<Action> = history
            .iter()
            .map(|access| {
                let (guard, effect) = match &access.deed {
                    Deed::Write(value) => (Guard::Any, Effect::Set(state(value))),
                    Deed::Read(value, _) => {
                        (Guard::Is(value.as_ref().and_then(state)), Effect::Keep)
                    }
                };
                Action {
                    number: access.number,
                    call: access.call,
                    returned: access.returned,
                    guard,
                    effect,
                    happened: true,
                }
            })
            .collect();
        let is_linear = matches!(linear::check(&actions, 100_000), Verdict::Yes(_));
        assert_eq!(Judge::Levels.accepts(&history), is_linear, "{text}");
    }
}
