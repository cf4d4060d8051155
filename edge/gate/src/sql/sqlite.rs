//! The gate in a transaction of SQLite.
//!
//! Begin with `TransactionBehavior::Immediate`: the write lock of the file is then taken, and waited for, at the
//! beginning. A deferred transaction that has read before it comes to the gate can only fail with `SQLITE_BUSY`
//! when another has written since; nothing is written, but it must begin anew.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{Dialect, SqlError};
use crate::gate::Gate;
use crate::token::{Stale, Token};

/// What can go wrong.
pub type Error = SqlError<rusqlite::Error>;

/// Makes the table of fences if it is missing.
///
/// # Errors
/// What the database says.
pub fn create_table(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(super::CREATE_TABLE)
}

/// Lets `token` pass within `transaction`, before its first write. With an error, drop the transaction: that
/// rolls it back, and nothing changes. It is a [`Transaction`] and not a connection, because a check that
/// is committed alone guards nothing.
///
/// # Errors
/// [`Stale`] when a newer token has passed, or what the database says.
pub fn admit(transaction: &Transaction<'_>, resource: &str, token: Token) -> Result<(), Error> {
    let number = token.to_bigint()?;
    let admitted = transaction
        .prepare_cached(&super::admit(Dialect::Sqlite))
        .and_then(|mut statement| statement.execute((resource, number)))
        .map_err(Error::database(resource))?;
    if admitted == 1 {
        return Ok(());
    }
    let newest = newest(transaction, resource)?.unwrap_or(token);
    Err(Stale { token, newest }.into())
}

/// The newest token that has passed, as this connection sees it.
///
/// # Errors
/// What the database says.
pub fn newest(connection: &Connection, resource: &str) -> Result<Option<Token>, Error> {
    let number: Option<i64> = connection
        .prepare_cached(&super::newest(Dialect::Sqlite))
        .and_then(|mut statement| statement.query_row([resource], |row| row.get(0)).optional())
        .map_err(Error::database(resource))?;
    // The table's check keeps negative numbers out.
    Ok(number.map(|number| Token(number.unsigned_abs())))
}

impl Gate for Transaction<'_> {
    type Error = Error;

    fn admit(&mut self, resource: &str, token: Token) -> Result<(), Error> {
        admit(self, resource, token)
    }
}
