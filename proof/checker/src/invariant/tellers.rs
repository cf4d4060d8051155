//! Two tellers and the last 100: what they paid out is gone from the till, and never more than was in it.
//!
//! A till is opened with [`FLOAT`]. A teller reads what is in it, checks that it is enough, and swaps the
//! value that it read for what is left. Nobody's word is taken for the order: at any look the sum of the
//! payments that had been acknowledged must be gone, and no more than those and the unknown ones.

use super::{Look, after, broken, words};
use crate::history::{Answer, Key, Operation, Outcome, Request, Row, Time, Value, text};
use crate::verdict::Violation;
use std::collections::BTreeMap;

/// What each till holds at first.
pub const FLOAT: u64 = 100;

const TILL: &str = "w/till/";

/// The key of a till; the digits keep them in order.
pub fn till(number: u64) -> Key {
    format!("{TILL}{number:04}").into_bytes()
}

/// The number of a row's till.
pub fn number(row: &Row) -> Option<u64> {
    after(&row.key, TILL)?.parse().ok()
}

/// The value of a till after a payment; `tag` makes it unique.
pub fn value(left: i64, paid: u64, tag: &str) -> Value {
    format!("{left} {paid} {tag}").into_bytes()
}

/// What is left in a till.
pub fn left(row: &Row) -> Option<i64> {
    words(row).first()?.parse().ok()
}

/// One payment that may have taken place.
struct Payment<'a> {
    amount: u64,
    operation: &'a Operation,
    is_known: bool,
}

fn payments(history: &[Operation]) -> BTreeMap<&Key, Vec<Payment<'_>>> {
    let mut payments: BTreeMap<&Key, Vec<Payment<'_>>> = BTreeMap::new();
    for operation in history {
        let Request::Txn { then, .. } = &operation.request else {
            continue;
        };
        let Some(Request::Put { key, value, .. }) = then.first() else {
            continue;
        };
        let value = text(value);
        let paid = value.split(' ').nth(1).and_then(|word| word.parse().ok());
        let (Some(_), Some(amount)) = (after(key, TILL), paid) else {
            continue;
        };
        let is_known = match &operation.outcome {
            Outcome::Answered {
                answer: Answer::Txn { succeeded, .. },
                ..
            } if *succeeded => true,
            Outcome::Unknown => false,
            _ => continue,
        };
        payments.entry(key).or_default().push(Payment {
            amount,
            operation,
            is_known,
        });
    }
    payments
}

/// Judges each till in each look.
pub(super) fn check(history: &[Operation], looks: &[Look]) -> Result<(), Violation> {
    let payments = payments(history);
    for look in looks {
        let rows: BTreeMap<&Key, &Row> = look.rows.iter().map(|row| (&row.key, row)).collect();
        for (key, row) in &rows {
            let name = text(key);
            let Some(left) = left(row).filter(|left| *left >= 0) else {
                let what = format!("less than nothing in {name}");
                return Err(broken("a_till_is_never_below_zero", look, what));
            };
            let of_it = payments.get(*key).map_or(&[][..], Vec::as_slice);
            let gone = FLOAT as i64 - left;
            let (least, most) = bounds(of_it, look);
            if gone < least {
                let mut what = format!("{least} had been paid out of {name}, and {gone} are gone");
                what += &told(of_it, look.call);
                let broken = broken("what_was_paid_is_gone", look, what);
                return Err(broken.by(numbers(of_it, look.call)));
            }
            if gone > most {
                let mut what = format!("{gone} are gone from {name}, and {most} at most were paid");
                what += &told(of_it, look.returned);
                let broken = broken("nothing_is_gone_unpaid", look, what);
                return Err(broken.by(numbers(of_it, look.returned)));
            }
        }
        for (key, of_it) in &payments {
            if !rows.contains_key(key) && bounds(of_it, look).0 > 0 {
                let what = format!("{} is not there any more", text(key));
                return Err(broken("what_was_opened_stays", look, what));
            }
        }
    }
    Ok(())
}

/// What must be gone at least, and may be at most, when somebody looked.
fn bounds(payments: &[Payment<'_>], look: &Look) -> (i64, i64) {
    let (mut least, mut most) = (0, 0);
    for payment in payments {
        let amount = payment.amount as i64;
        if look.is_fresh && payment.is_known && payment.operation.returned < look.call {
            least += amount;
        }
        if payment.operation.call <= look.returned {
            most += amount;
        }
    }
    (least, most)
}

fn asked<'a>(payments: &'a [Payment<'a>], until: Time) -> impl Iterator<Item = &'a Operation> {
    let operations = payments.iter().map(|payment| payment.operation);
    operations.filter(move |operation| operation.call <= until)
}

fn told(payments: &[Payment<'_>], until: Time) -> String {
    let told = asked(payments, until).map(|operation| format!("\n  {operation}"));
    told.collect()
}

fn numbers(payments: &[Payment<'_>], until: Time) -> Vec<u64> {
    let numbers = asked(payments, until).map(|operation| operation.number);
    numbers.collect()
}
