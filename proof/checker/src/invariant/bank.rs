//! Accounts between which money moves: whoever sees all of them at once sees the same sum.
//!
//! All accounts are opened in one transaction with [`DEPOSIT`] each. A transfer compares the revisions of
//! both balances with those that were seen, and puts both. A torn transaction, a read that mixes two
//! revisions, a lost or a repeated write: each makes money or loses it.

use super::{Look, after, broken, words};
use crate::history::{Key, Row, Value};
use crate::verdict::Violation;

/// What each account holds at first.
pub const DEPOSIT: u64 = 100;

const ACCOUNT: &str = "w/account/";

/// The key of an account.
pub fn account(number: u64) -> Key {
    format!("{ACCOUNT}{number}").into_bytes()
}

/// The value of a balance; `tag` makes it unique.
pub fn value(balance: u64, tag: &str) -> Value {
    format!("{balance} {tag}").into_bytes()
}

/// The balance that a row says.
pub fn balance(row: &Row) -> Option<u64> {
    words(row).first()?.parse().ok()
}

/// Judges each look: no account yet, or all with the whole sum.
pub(super) fn check(n_accounts: u64, looks: &[Look]) -> Result<(), Violation> {
    for look in looks.iter().filter(|look| !look.rows.is_empty()) {
        let named = |row: &&Row| after(&row.key, ACCOUNT).is_some();
        let n_seen = look.rows.iter().filter(named).count() as u64;
        if n_seen != n_accounts {
            return Err(broken(
                "no_account_is_lost",
                look,
                format!("{n_seen} of {n_accounts} accounts"),
            ));
        }
        let balances: Option<Vec<u64>> = look.rows.iter().map(balance).collect();
        let Some(balances) = balances else {
            return Err(broken(
                "no_account_is_overdrawn",
                look,
                "a balance that is no number from 0 on",
            ));
        };
        let (sum, paid_in) = (balances.iter().sum::<u64>(), n_accounts * DEPOSIT);
        if sum != paid_in {
            return Err(broken(
                "money_is_neither_made_nor_lost",
                look,
                format!("{paid_in} were paid in, and there are {sum}"),
            ));
        }
    }
    Ok(())
}
