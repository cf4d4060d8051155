//! The eight questions, in their words.

use super::{Act, Question};
use crate::calculate::{Answer, lease, phi, quorums};
use clock::guard::DriftBound;
use std::time::Duration;

/// The exhibit as a whole, with all its rules.
const fn kept(exhibit: &'static str) -> Act {
    Act::Run {
        exhibit,
        scenario: None,
        without: None,
    }
}

/// The exhibit without a rule, and the law that falls.
const fn broken(exhibit: &'static str, rule: &'static str, law: &'static str) -> Act {
    Act::Run {
        exhibit,
        scenario: None,
        without: Some((rule, law)),
    }
}

/// All of them.
pub static EIGHT: &[Question] = &[
    Question {
        number: 1,
        asks: "why does no deterministic protocol always decide?",
        tells: "
Nobody can tell a dead process from a slow one, so nobody may wait for all. Then there is always a next message that, held
back a little, leaves the outcome open (Fischer, Lynch, Paterson, 1985). The scheduler below finds that message by search,
step after step, against a protocol that knows its coins beforehand; then it plays against coins that nobody knows.",
        holds: &[kept("flp")],
        breaks: &[broken("flp", "flip-coins", "termination")],
        answers: "
A scheduler that delays one message at a time can keep any deterministic protocol from deciding for ever, though nobody
crashes and nothing is lost; safety it cannot touch. Chance, in coins or in election timeouts, makes such a run so improbable
that it never happens, and does not make it impossible.",
    },
    Question {
        number: 2,
        asks: "how many members do two majorities of five share?",
        tells: "
A majority of N is ⌊N/2⌋ + 1, three of five. Two parts of three have six places for five members, so at least one member is
in both. That one member is all that Paxos and Raft stand on: whatever one majority has decided, any other has a witness of.",
        holds: &[Act::Calc {
            typed: "quorums 5 3 3",
            compute: || quorums::one(5, 3, 3).map_err(|error| error.to_string()),
        }],
        breaks: &[
            Act::Calc {
                typed: "quorums 5 2 2",
                compute: || quorums::one(5, 2, 2).map_err(|error| error.to_string()),
            },
            broken("paxos", "majority", "agreement"),
        ],
        answers: "
At least one, since 3 + 3 > 5. With one member less in each they may share none, and then two values are chosen.",
    },
    Question {
        number: 3,
        asks: "why can a stale follower not win an election?",
        tells: "
What is committed is on a majority. A candidate needs the votes of a majority too, so it must ask somebody who has all
that is committed; and who votes refuses a candidate whose log ends earlier than its own: a lower last term, or the same
and a shorter log (Raft, section 5.4.1).",
        holds: &[kept("raft")],
        breaks: &[broken("raft", "vote-for-up-to-date-log", "leader-completeness")],
        answers: "
Every majority contains a member that has all that is committed, and that member does not vote for a log that is behind its
own. Without that rule a stale follower wins, and overwrites what clients were told is safe.",
    },
    Question {
        number: 4,
        asks: "what happens to a lock holder that sleeps 20 s past its time to live, with and without fencing?",
        tells: "
A holder does not feel that it sleeps: a long collection of garbage, a suspended machine, a packet on a slow way. Its lock
lapses, another takes it, and then the first wakes in the middle of its write. No lock service can stop that write: it has
left already. The resource can, if every write carries the number that the lock was given out with and the
resource refuses any below the highest it has seen.

Read a tick as 10 s. The lock is given for 2 ticks, 20 s. In the scenarios \"pause\" and \"pause-unfenced\" a sleeps for 4,
until 20 s past its time to live. With every rule kept what is explored is every sleep up to there, and every order of messages.",
        holds: &[kept("fenced-lock")],
        breaks: &[
            Act::Run {
                exhibit: "fenced-lock",
                scenario: Some("pause-unfenced"),
                without: Some(("check-token", "no-overwrite")),
            },
            broken("fenced-lock", "check-token", "no-overwrite"),
        ],
        answers: "
With fencing its late write is refused, because the resource has seen a higher token: 33 < 34. Without it the write is taken
and what the next holder wrote is lost, however good the lock service is.",
    },
    Question {
        number: 5,
        asks: "when is SET NX PX enough?",
        tells: "
One store, one key, set if it is not there, with a time to live and a value of one's own that is compared on release. It has no
token that a resource could check, and its store is a single point of failure. While nobody stands still past the time to
live it does what it says.",
        holds: &[kept("set-nx")],
        breaks: &[broken("set-nx", "no-pause", "once")],
        answers: "
When the lock only saves work: if two do it now and then, it costs time and nothing else. It is not enough where two at once
damage something, because a pause past the time to live gives two holders and nothing tells the resource.",
    },
    Question {
        number: 6,
        asks: "does L(a) < L(b) prove that a happened before b?",
        tells: "
A Lamport clock counts on at each event and takes the maximum with whatever number arrives. So if a happened before b, its
number is lower: that way round it is a law. Two events that know nothing of each other have numbers too, and one of the two
numbers is the lower one.",
        holds: &[kept("lamport-clock")],
        breaks: &[broken("lamport-clock", "read-one-way", "conclusions-are-true")],
        answers: "
No: a happened before b implies L(a) < L(b), and not the other way round, for the two may be concurrent. Who must know needs
a vector clock, with an entry for each process.",
    },
    Question {
        number: 7,
        asks: "how does a leader lease serve a read, and how does that fail?",
        tells: "
A leader that has heard from a majority knows that none of them will elect another for a while: they promised. Until then it
may answer reads on its own, without asking. But it counts its lease by its own clock and they count their promises by theirs,
so it must stop earlier than they do, by a guard band for what the clocks may differ in.",
        holds: &[
            kept("leader-lease"),
            Act::Calc {
                typed: "lease --ttl 1s --drift-ppm 500",
                compute: || lease_of(Duration::from_secs(1), 500),
            },
        ],
        breaks: &[broken("leader-lease", "guard-band", "no-stale-read")],
        answers: "
It reads locally for as long as a majority has promised to elect nobody else, counted from when it asked and shortened by
the guard band. With a clock that is slower than the bound says, or without the band, it still answers when another leads
and has written: a stale read.",
    },
    Question {
        number: 8,
        asks: "what does φ mean, and why does it beat a fixed timeout?",
        tells: "
φ is a surprise: the negative logarithm, to the base of 10, of the chance that a heartbeat is still to come after a silence
like this, judged by the gaps so far. φ = 8 is one mistake in 10⁸, if gaps stay as they were. The same silence means nothing on a
jittery link and a death on a steady one.",
        holds: &[
            kept("phi-accrual"),
            Act::Calc {
                typed: "phi --gaps 100,98,103,101,99 --since 130",
                compute: || Ok(phi::of(&[100.0, 98.0, 103.0, 101.0, 99.0], 130.0, 300.0, 0.0)),
            },
            Act::Calc {
                typed: "phi --gaps 100,250,60,180,90 --since 310",
                compute: || Ok(phi::of(&[100.0, 250.0, 60.0, 180.0, 90.0], 310.0, 300.0, 0.0)),
            },
        ],
        breaks: &[broken("phi-accrual", "learn", "no-false-death")],
        answers: "
φ says how improbable the silence is, given the gaps that were seen, so one threshold fits every link. A fixed timeout knows
no gaps: it buries the living on a slow link, and waits too long on a steady one.",
    },
];

fn lease_of(ttl: Duration, ppm: u32) -> Result<Answer, String> {
    let drift = DriftBound::from_ppm(ppm).ok_or("no such drift")?;
    Ok(lease::answer(ttl, drift, Duration::ZERO, Duration::ZERO))
}
