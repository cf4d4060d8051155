//! One e-mail, several who sign up with it: exactly one gets it, and the row of its user with it.
//!
//! Whoever signs up creates the e-mail's key if it is absent and puts the user's row in the same
//! transaction; nothing is ever deleted. So e-mails and users belong together in pairs of one revision,
//! whoever was told to have won is there for ever, and whoever was told to have lost is nowhere.

use super::{Look, after, broken, words};
use crate::history::{Answer, Key, Operation, Outcome, Request, Row, Value, text};
use crate::verdict::Violation;
use std::collections::BTreeMap;

const MAIL: &str = "w/mail/";
const USER: &str = "w/user/";

/// The key of an e-mail.
pub fn mail(number: u64) -> Key {
    format!("{MAIL}{number}").into_bytes()
}

/// The key of the user as whom `client` signs up with an e-mail.
pub fn user(mail: u64, client: u64) -> Key {
    format!("{USER}{mail}-{client}").into_bytes()
}

/// The value of an e-mail: whose it is. `tag` makes it unique.
pub fn owned_by(user: &[u8], tag: &str) -> Value {
    format!("{} {tag}", text(user)).into_bytes()
}

/// The value of a user's row: which e-mail is its. `tag` makes it unique.
pub fn owner_of(mail: &[u8], tag: &str) -> Value {
    format!("{} {tag}", text(mail)).into_bytes()
}

/// One attempt to sign up and what became of it.
struct Attempt<'a> {
    mail: &'a Key,
    value: &'a Value,
    operation: &'a Operation,
    /// Nothing when nobody knows.
    won: Option<bool>,
}

fn attempt(operation: &Operation) -> Option<Attempt<'_>> {
    let Request::Txn { then, .. } = &operation.request else {
        return None;
    };
    let Some(Request::Put { key, value, .. }) = then.first() else {
        return None;
    };
    after(key, MAIL)?;
    let won = match &operation.outcome {
        Outcome::Answered {
            answer: Answer::Txn { succeeded, .. },
            ..
        } => Some(*succeeded),
        Outcome::Refused { .. } => Some(false),
        _ => None,
    };
    Some(Attempt {
        mail: key,
        value,
        operation,
        won,
    })
}

/// Judges who was told to have won, and each look.
pub(super) fn check(history: &[Operation], looks: &[Look]) -> Result<(), Violation> {
    let attempts: Vec<Attempt<'_>> = history.iter().filter_map(attempt).collect();
    let mut winners: BTreeMap<&Key, &Attempt<'_>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.won == Some(true)) {
        if let Some(first) = winners.insert(attempt.mail, attempt) {
            return Err(Violation::new(
                "one_of_two_sign_ups_wins",
                format!("{}\n  {}", first.operation, attempt.operation),
            )
            .by([first.operation.number, attempt.operation.number]));
        }
    }
    let mut lost: BTreeMap<&Value, &Attempt<'_>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.won == Some(false)) {
        lost.insert(attempt.value, attempt);
    }
    for look in looks {
        let rows: BTreeMap<&Key, &Row> = look.rows.iter().map(|row| (&row.key, row)).collect();
        for row in &look.rows {
            if let Some(what) = unpaired(row, &rows) {
                return Err(broken("an_email_and_its_user_come_together", look, what));
            }
            if let Some(loser) = lost.get(&row.value) {
                let what = format!("this one had lost: {}", loser.operation);
                let broken = broken("who_lost_is_not_signed_up", look, what);
                return Err(broken.by([loser.operation.number]));
            }
        }
        for (mail, winner) in &winners {
            let owner = rows.get(*mail).map(|row| &row.value);
            let must_show = look.is_fresh && winner.operation.returned < look.call;
            let is_right = owner.map_or(!must_show, |value| value == winner.value);
            if !is_right {
                let what = format!("this one had won: {}", winner.operation);
                let broken = broken("who_won_is_signed_up", look, what);
                return Err(broken.by([winner.operation.number]));
            }
        }
        for attempt in lost.values() {
            // Whoever was told that the e-mail is taken: then somebody has it.
            let was_told = matches!(attempt.operation.outcome, Outcome::Answered { .. });
            let must_show = look.is_fresh && attempt.operation.returned < look.call;
            if was_told && must_show && !rows.contains_key(attempt.mail) {
                let what = format!("it was taken: {}", attempt.operation);
                let broken = broken("a_taken_email_has_an_owner", look, what);
                return Err(broken.by([attempt.operation.number]));
            }
        }
    }
    Ok(())
}

/// What is wrong with a row whose other half is missing, or of another moment.
fn unpaired(row: &Row, rows: &BTreeMap<&Key, &Row>) -> Option<String> {
    let named = words(row).first()?.clone().into_bytes();
    let other = rows.get(&named);
    let names_back = other.is_some_and(|other| {
        words(other).first().map(String::as_bytes) == Some(&row.key[..])
            && other.modified == row.modified
    });
    (!names_back).then(|| match other {
        None => format!("{} without {}", text(&row.key), text(&named)),
        Some(other) => format!("{row} and {other} do not belong together"),
    })
}
