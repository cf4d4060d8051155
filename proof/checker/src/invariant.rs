//! What an application builds on the store, and what must then always add up.
//!
//! Five small applications whose clients use nothing but reads and transactions: accounts whose sum never
//! changes, a cycle of keys that stays one, an e-mail that two want, two tellers at one till, work that only the holder of a lock does. Each is
//! judged by what its own rows say whenever somebody looked at all of them, and at the end on each member.
//! No judge here knows how the store works, and none replays it: a bug that fools the store and the other
//! judges alike still has to make money.
//!
//! A *look* is one answer with all rows of the application, as of one revision. The sentences that are
//! written into keys and values are in the five files, with their judges; whoever asks writes them with
//! the functions there.

pub mod bank;
pub mod cycle;
pub mod fence;
pub mod sign_up;
pub mod tellers;

use crate::history::{Answer, End, Level, Operation, Outcome, Request, Row, Span, Time, text};
use crate::verdict::Violation;
use base::Revision;
use std::fmt;

/// Every key of these applications begins so; nobody else's does.
pub const PREFIX: &str = "w/";

/// Before this key they end.
pub const END: &str = "w0";

/// All keys of these applications.
pub fn span() -> Span {
    Span::between(PREFIX, END)
}

/// Which application, and how big it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Accounts between which money moves: none is made and none is lost.
    Bank {
        /// How many.
        n_accounts: u64,
    },
    /// Keys each of which names the next: always one cycle.
    Cycle,
    /// An e-mail that several want to sign up with: one gets it, and its row with it.
    SignUp,
    /// Two tellers pay out of one till: never more than is in it, and what they paid is gone.
    Tellers,
    /// Work under a lock: only its holder's has an effect.
    Fence,
}

impl Invariant {
    /// Its name, as people type it.
    pub fn name(self) -> &'static str {
        match self {
            Invariant::Bank { .. } => "bank",
            Invariant::Cycle => "cycle",
            Invariant::SignUp => "sign-up",
            Invariant::Tellers => "tellers",
            Invariant::Fence => "fence",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All rows of the application as somebody saw them, as of one revision.
#[derive(Clone, Debug)]
pub struct Look {
    /// Who saw them, for reports.
    pub who: String,
    /// The operation that showed them, if it was one.
    pub number: Option<u64>,
    /// Not before this moment, if the look is fresh.
    pub call: Time,
    /// Not after this moment.
    pub returned: Time,
    /// As of which revision.
    pub revision: Revision,
    /// Whether it must show what was acknowledged before `call`.
    pub is_fresh: bool,
    /// What was there, in key order.
    pub rows: Vec<Row>,
}

impl Look {
    /// What a member has when all is over and everybody has been answered.
    pub fn at_the_end(who: impl Into<String>, revision: Revision, rows: Vec<Row>) -> Look {
        Look {
            who: who.into(),
            number: None,
            call: Time(u64::MAX),
            returned: Time(u64::MAX),
            revision,
            is_fresh: true,
            rows,
        }
    }
}

/// Judges every look in `history` and those of the end: the first broken promise, if there is one.
pub fn check(
    invariant: Invariant,
    history: &[Operation],
    at_the_end: &[Look],
) -> Result<(), Violation> {
    let mut looks = looks(history);
    looks.extend(at_the_end.iter().cloned());
    match invariant {
        Invariant::Bank { n_accounts } => {
            has_begun_for_good(&looks)?;
            bank::check(n_accounts, &looks)
        }
        Invariant::Cycle => {
            has_begun_for_good(&looks)?;
            cycle::check(&looks)
        }
        Invariant::SignUp => sign_up::check(history, &looks),
        Invariant::Tellers => tellers::check(history, &looks),
        Invariant::Fence => fence::check(&looks),
    }
}

/// Every answer in `history` that shows all rows of the application.
pub fn looks(history: &[Operation]) -> Vec<Look> {
    let mut looks = Vec::new();
    for operation in history {
        if let Outcome::Answered { revision, answer } = &operation.outcome {
            gather(operation, &operation.request, answer, *revision, &mut looks);
        }
    }
    looks
}

fn gather(
    operation: &Operation,
    request: &Request,
    answer: &Answer,
    revision: Revision,
    looks: &mut Vec<Look>,
) {
    match (request, answer) {
        (Request::Range { span, at, level }, Answer::Rows(rows)) if covers(span) => {
            let ours = rows.iter().filter(|row| is_ours(&row.key));
            looks.push(Look {
                who: format!(
                    "#{} of client {}: {request}",
                    operation.number, operation.client
                ),
                number: Some(operation.number),
                call: operation.call,
                returned: operation.returned,
                revision: at.unwrap_or(revision),
                is_fresh: at.is_none() && *level == Level::Linearizable,
                rows: ours.cloned().collect(),
            });
        }
        (
            Request::Txn {
                then, otherwise, ..
            },
            Answer::Txn { succeeded, answers },
        ) => {
            let branch = if *succeeded { then } else { otherwise };
            for (request, answer) in branch.iter().zip(answers) {
                gather(operation, request, answer, revision, looks);
            }
        }
        _ => {}
    }
}

fn is_ours(key: &[u8]) -> bool {
    key.starts_with(PREFIX.as_bytes())
}

fn covers(span: &Span) -> bool {
    let ours = self::span();
    span.first <= ours.first
        && match (&span.end, &ours.end) {
            (End::Unbounded, _) => true,
            (End::Before(end), End::Before(wanted)) => end >= wanted,
            _ => false,
        }
}

/// What was opened in one transaction is never nothing again.
fn has_begun_for_good(looks: &[Look]) -> Result<(), Violation> {
    let shown = looks.iter().filter(|look| !look.rows.is_empty());
    let Some(first) = shown.min_by_key(|look| look.revision) else {
        return Ok(());
    };
    match looks
        .iter()
        .find(|look| look.rows.is_empty() && look.revision >= first.revision)
    {
        None => Ok(()),
        Some(empty) => Err(broken(
            "what_was_opened_stays",
            empty,
            format!("nothing, yet at revision {} {}", first.revision, first.who),
        )
        .by(first.number)),
    }
}

/// A broken promise with the look that shows it.
fn broken(claim: &'static str, look: &Look, what: impl fmt::Display) -> Violation {
    let mut evidence = format!("{what}\n  {} saw at revision {}:", look.who, look.revision);
    for row in &look.rows {
        evidence += &format!("\n    {row}");
    }
    Violation::new(claim, evidence).by(look.number)
}

/// The words of a value; the last is there to make it unique.
fn words(row: &Row) -> Vec<String> {
    let value = text(&row.value);
    value.split(' ').map(str::to_owned).collect()
}

/// What follows `prefix` in a key.
fn after<'a>(key: &'a [u8], prefix: &str) -> Option<&'a str> {
    std::str::from_utf8(key.strip_prefix(prefix.as_bytes())?).ok()
}
