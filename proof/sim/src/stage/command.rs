//! What may be typed: one line, one command, the same in scripts and at the prompt.
//!
//! ```text
//!   [CLIENT[@MEMBER]] put KEY VALUE [lease N]     CLIENT: c1 to c9; c1 when not said
//!   [CLIENT[@MEMBER]] get KEY [stale]             MEMBER: n1 n2 n3, leader, follower, all, or what `let` named
//!   [CLIENT[@MEMBER]] delete KEY                  ... &  at the end: do not wait for the answer
//!   [CLIENT[@MEMBER]] cas KEY OLD NEW             OLD is - when the key must not be there
//!   [CLIENT[@MEMBER]] grant N SECONDS | renew N | revoke N
//!   cut A [B ...]  |  cut A ... / B ...  |  cut A > B     heal [A ...]
//!   pause A ...   resume A ...   skew A +MS|-MS   drift A +PERCENT|-PERCENT
//!   kill A ...    crash A ...    restart A ...
//!   wait MS | wait 2s | wait 500us | wait leader | wait answers
//!   let NAME = A
//!   status   history   check   diagram   help   quit
//! ```

use std::time::Duration;

/// Letters of a line.
const LINE_LETTERS_MAX: usize = 400;

/// Letters of a key, a value or a name: they have to fit into a picture.
const WORD_LETTERS_MAX: usize = 40;

/// The longest time that one command may let pass.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The furthest that a wall clock jumps at once: a hundred days.
const SKEW_MS_MAX: i64 = 100 * 86_400_000;

/// The most that a clock may run too fast or too slow, in percent.
const DRIFT_PERCENT_MAX: i64 = 50;

/// The longest time to live of a lease, in seconds.
const TTL_S_MAX: u64 = 600;

/// Members, as somebody names them: a list of names that mean something only when the command is carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whom(pub Vec<String>);

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Write one key, on a lease or on none.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The lease's number.
        lease: Option<u32>,
    },
    /// Read one key.
    Get {
        /// The key.
        key: String,
        /// Whatever the member itself has will do (etcd: serializable).
        is_stale: bool,
    },
    /// Delete one key.
    Delete {
        /// The key.
        key: String,
    },
    /// Write one key if it has this value now.
    Swap {
        /// The key.
        key: String,
        /// What it must be; nothing: it must not be there.
        old: Option<String>,
        /// What it becomes.
        new: String,
    },
    /// Begin a lease.
    Grant {
        /// Its number.
        lease: u32,
        /// How long it lives, in seconds.
        ttl_s: u64,
    },
    /// Keep it alive.
    Renew {
        /// Its number.
        lease: u32,
    },
    /// End it.
    Revoke {
        /// Its number.
        lease: u32,
    },
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A client asks.
    Ask {
        /// Its number.
        client: u64,
        /// Whom it asks from now on.
        at: Option<String>,
        /// What.
        question: Question,
        /// The next command does not wait for the answer.
        is_background: bool,
    },
    /// No frame passes between these and those, or all others.
    Cut(Whom, Option<Whom>),
    /// No frame passes from these to those; the other way they do.
    CutOneWay(Whom, Whom),
    /// All links are whole, or those of some members.
    Heal(Option<Whom>),
    /// Members stand still.
    Pause(Whom),
    /// They go on.
    Resume(Whom),
    /// Wall clocks jump by so many milliseconds.
    Skew(Whom, i64),
    /// Clocks run so many percent too fast.
    Drift(Whom, i64),
    /// Processes die; their disks keep everything.
    Kill(Whom),
    /// The power goes: what was not synced is lost.
    Crash(Whom),
    /// Processes start, after having been killed if they run.
    Restart(Whom),
    /// Time passes.
    Wait(Duration),
    /// Time passes until somebody leads that a majority hears.
    WaitLeader,
    /// Time passes until every client has its answer or has given up.
    WaitAnswers,
    /// A name for one member.
    Let(String, String),
    /// Where everybody stands.
    Status,
    /// What was asked and answered so far.
    History,
    /// Whether it is linearizable so far.
    Check,
    /// Draw it.
    Diagram,
    /// What may be typed.
    Help,
    /// The end.
    Quit,
}

/// A line that is no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotACommand {
    /// Nobody knows it.
    #[error("there is no command {word}{}; `help` lists them", suggestion(.meant))]
    Unknown {
        /// The word.
        word: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// It is used in another way.
    #[error("{what}; it is used so: {usage}")]
    Usage {
        /// What is wrong.
        what: String,
        /// The right way.
        usage: &'static str,
    },
    /// Something is too long or too much.
    #[error("{what} is more than {limit}")]
    TooMuch {
        /// What it is.
        what: String,
        /// What it may be.
        limit: String,
    },
}

fn suggestion(meant: &Option<&'static str>) -> String {
    meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"))
}

/// What may be typed, and how.
pub const USAGE: [(&str, &str, &str); 23] = [
    (
        "put",
        "[CLIENT[@MEMBER]] put KEY VALUE [lease N] [&]",
        "write a key; & does not wait for the answer",
    ),
    (
        "get",
        "[CLIENT[@MEMBER]] get KEY [stale] [&]",
        "read it; stale: what the member itself has",
    ),
    ("delete", "[CLIENT[@MEMBER]] delete KEY [&]", "delete it"),
    (
        "cas",
        "[CLIENT[@MEMBER]] cas KEY OLD NEW [&]",
        "write NEW if it is OLD now; - stands for no such key",
    ),
    (
        "grant",
        "[CLIENT[@MEMBER]] grant LEASE SECONDS [&]",
        "begin a lease",
    ),
    (
        "renew",
        "[CLIENT[@MEMBER]] renew LEASE [&]",
        "keep it alive",
    ),
    ("revoke", "[CLIENT[@MEMBER]] revoke LEASE [&]", "end it"),
    (
        "cut",
        "cut A ... [/ B ...], or cut A ... > B ...",
        "no message passes: both ways (from A to all others), or one way",
    ),
    ("heal", "heal [A ...]", "all links are whole, or all of A"),
    ("pause", "pause A ...", "a member stands still"),
    ("resume", "resume A ...", "it goes on"),
    ("skew", "skew A +MS", "its wall clock jumps"),
    (
        "drift",
        "drift A +PERCENT",
        "its clocks run too fast or too slow",
    ),
    (
        "kill",
        "kill A ...",
        "its process dies; the disk keeps everything",
    ),
    (
        "crash",
        "crash A ...",
        "its power goes; what was not synced is lost",
    ),
    ("restart", "restart A ...", "its process starts again"),
    (
        "wait",
        "wait MS, wait 2s, wait leader, wait answers",
        "time passes",
    ),
    (
        "let",
        "let NAME = A",
        "NAME stands for a member from now on",
    ),
    ("status", "status", "where everybody stands"),
    ("history", "history", "what was asked and answered"),
    ("check", "check", "is it linearizable so far?"),
    ("diagram", "diagram", "draw what happened"),
    ("quit", "quit", "check, draw what is broken, and go"),
];

impl Command {
    /// What `line` says: nothing, when it is empty or a comment.
    ///
    /// # Errors
    /// It is no command.
    pub fn parse(line: &str) -> Result<Option<Command>, NotACommand> {
        if line.chars().count() > LINE_LETTERS_MAX {
            return Err(NotACommand::TooMuch {
                what: "the line".to_owned(),
                limit: format!("{LINE_LETTERS_MAX} letters"),
            });
        }
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else {
            return Ok(None);
        };
        let (client, at, words) = match client_of(first)? {
            Some((client, at)) => (Some(client), at, &words[1..]),
            None => (None, None, &words[..]),
        };
        let Some((name, rest)) = words.split_first() else {
            let what = format!("{first} asks nothing");
            return Err(misused("put", what));
        };
        if let Some((question, is_background)) = question(name, rest)? {
            return Ok(Some(Command::Ask {
                client: client.unwrap_or(1),
                at,
                question,
                is_background,
            }));
        }
        if client.is_some() {
            let what = format!("a client does not {name}");
            return match USAGE.iter().any(|(known, ..)| known == name) {
                true => Err(misused("put", what)),
                false => Err(unknown(name)),
            };
        }
        trouble(name, rest).map(Some)
    }
}

/// `c2` or `c2@n1`, if that is what `word` looks like.
fn client_of(word: &str) -> Result<Option<(u64, Option<String>)>, NotACommand> {
    let (name, at) = match word.split_once('@') {
        Some((name, at)) => (name, Some(at.to_owned())),
        None => (word, None),
    };
    let number = name
        .strip_prefix('c')
        .filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
    let Some(digits) = number else {
        return match at {
            None => Ok(None),
            Some(_) => Err(misused("put", format!("{name} is no client"))),
        };
    };
    let number = digits.parse::<u64>().ok();
    match number.filter(|number| (1..=super::CLIENTS_MAX).contains(number)) {
        Some(number) => Ok(Some((number, at))),
        None => Err(NotACommand::TooMuch {
            what: format!("client {name}"),
            limit: format!("there are: c1 to c{}", super::CLIENTS_MAX),
        }),
    }
}

fn usage(name: &str) -> &'static str {
    let known = USAGE.iter().find(|(known, ..)| *known == name);
    known.map_or("help", |(_, usage, _)| *usage)
}

fn misused(name: &str, what: impl Into<String>) -> NotACommand {
    NotACommand::Usage {
        what: what.into(),
        usage: usage(name),
    }
}

fn unknown(word: &str) -> NotACommand {
    let names = USAGE.iter().map(|(name, ..)| *name);
    let near = names
        .map(|name| (distance(name, word), name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    NotACommand::Unknown {
        word: word.to_owned(),
        meant: near.map(|(_, name)| name),
    }
}

/// Letters to change, add or leave out to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn question(name: &str, words: &[&str]) -> Result<Option<(Question, bool)>, NotACommand> {
    let (words, is_background) = match words.split_last() {
        Some((&"&", before)) => (before, true),
        _ => (words, false),
    };
    let question = match (name, words) {
        ("put", [key, value]) => Question::Put {
            key: word(key)?,
            value: word(value)?,
            lease: None,
        },
        ("put", [key, value, "lease", lease]) => Question::Put {
            key: word(key)?,
            value: word(value)?,
            lease: Some(number("put", "the lease", lease)?),
        },
        ("get", [key]) => Question::Get {
            key: word(key)?,
            is_stale: false,
        },
        ("get", [key, "stale"]) => Question::Get {
            key: word(key)?,
            is_stale: true,
        },
        ("delete", [key]) => Question::Delete { key: word(key)? },
        ("cas", [key, old, new]) => Question::Swap {
            key: word(key)?,
            old: match *old {
                "-" => None,
                old => Some(word(old)?),
            },
            new: word(new)?,
        },
        ("grant", [lease, seconds]) => Question::Grant {
            lease: number("grant", "the lease", lease)?,
            ttl_s: match u64::from(number("grant", "the time", seconds)?) {
                seconds if seconds > TTL_S_MAX => {
                    return Err(NotACommand::TooMuch {
                        what: format!("{seconds} seconds"),
                        limit: format!("a lease may live: {TTL_S_MAX} seconds"),
                    });
                }
                seconds => seconds,
            },
        },
        ("renew", [lease]) => Question::Renew {
            lease: number("renew", "the lease", lease)?,
        },
        ("revoke", [lease]) => Question::Revoke {
            lease: number("revoke", "the lease", lease)?,
        },
        ("put" | "get" | "delete" | "cas" | "grant" | "renew" | "revoke", words) => {
            let what = format!("{name} does not take {} words", words.len());
            return Err(misused(name, what));
        }
        _ => return Ok(None),
    };
    Ok(Some((question, is_background)))
}

fn trouble(name: &str, words: &[&str]) -> Result<Command, NotACommand> {
    let some = |words: &[&str]| match words.is_empty() {
        true => Err(misused(name, format!("{name} whom?"))),
        false => words
            .iter()
            .map(|it| word(it))
            .collect::<Result<_, _>>()
            .map(Whom),
    };
    let sides = |mark: &str| {
        let at = words.iter().position(|word| *word == mark)?;
        Some((&words[..at], &words[at + 1..]))
    };
    Ok(match (name, words) {
        ("cut", _) => match (sides("/"), sides(">")) {
            (Some((these, those)), None) => Command::Cut(some(these)?, Some(some(those)?)),
            (None, Some((these, those))) => Command::CutOneWay(some(these)?, some(those)?),
            (None, None) => Command::Cut(some(words)?, None),
            _ => return Err(misused("cut", "a cut is either / or >")),
        },
        ("heal", []) => Command::Heal(None),
        ("heal", words) => Command::Heal(Some(some(words)?)),
        ("pause", words) => Command::Pause(some(words)?),
        ("resume", words) => Command::Resume(some(words)?),
        ("kill", words) => Command::Kill(some(words)?),
        ("crash", words) => Command::Crash(some(words)?),
        ("restart", words) => Command::Restart(some(words)?),
        ("skew" | "drift", [whom @ .., by]) if !whom.is_empty() => {
            let by = by.trim_end_matches("ms").trim_end_matches('%');
            let Ok(by) = by.parse::<i64>() else {
                return Err(misused(name, format!("{by} is no number")));
            };
            let (limit, unit) = match name {
                "skew" => (SKEW_MS_MAX, "milliseconds"),
                _ => (DRIFT_PERCENT_MAX, "percent"),
            };
            if by.unsigned_abs() > limit.unsigned_abs() {
                return Err(NotACommand::TooMuch {
                    what: format!("{by} {unit}"),
                    limit: format!("a clock may be off: {limit} {unit}"),
                });
            }
            match name {
                "skew" => Command::Skew(some(whom)?, by),
                _ => Command::Drift(some(whom)?, by),
            }
        }
        ("wait", ["leader"]) => Command::WaitLeader,
        ("wait", ["answers"]) => Command::WaitAnswers,
        ("wait", [time]) => Command::Wait(duration(time)?),
        ("let", [name, "=", member]) => Command::Let(word(name)?, word(member)?),
        ("status", []) => Command::Status,
        ("history", []) => Command::History,
        ("check", []) => Command::Check,
        ("diagram", []) => Command::Diagram,
        ("help", []) => Command::Help,
        ("quit" | "exit", []) => Command::Quit,
        (name, words) if name == "help" || USAGE.iter().any(|(known, ..)| *known == name) => {
            let what = format!("{name} does not take {} words", words.len());
            return Err(misused(name, what));
        }
        _ => return Err(unknown(name)),
    })
}

/// A key, a value or a name.
fn word(text: &str) -> Result<String, NotACommand> {
    match text.chars().count() > WORD_LETTERS_MAX {
        true => Err(NotACommand::TooMuch {
            what: format!("{}...", text.chars().take(10).collect::<String>()),
            limit: format!("{WORD_LETTERS_MAX} letters"),
        }),
        false => Ok(text.to_owned()),
    }
}

fn number(name: &str, what: &str, text: &str) -> Result<u32, NotACommand> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| misused(name, format!("{what} is a number from 1, and not {text}")))
}

/// `300`, `300ms`, `300us` or `2s`.
fn duration(text: &str) -> Result<Duration, NotACommand> {
    let units = [("us", 1), ("ms", 1000), ("s", 1_000_000), ("", 1000)];
    let cut = |(unit, us): &(&str, u64)| Some((text.strip_suffix(unit)?, *us));
    let (digits, unit_us) = units.iter().find_map(cut).unwrap_or((text, 1000));
    let Ok(number) = digits.parse::<u64>() else {
        return Err(misused("wait", format!("{text} is no time")));
    };
    let time = Duration::from_micros(number.saturating_mul(unit_us));
    match time > WAIT_MAX {
        true => Err(NotACommand::TooMuch {
            what: text.to_owned(),
            limit: format!("one command may wait: {} s", WAIT_MAX.as_secs()),
        }),
        false => Ok(time),
    }
}
