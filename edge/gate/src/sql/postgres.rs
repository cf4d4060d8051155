//! The gate in a transaction of PostgreSQL.
//!
//! Any isolation level will do. Under `READ COMMITTED` the upsert waits for whoever has the row and then judges
//! what that one left. Under the stricter levels a transaction that began before the row changed fails
//! with a serialization error instead (40001): nothing is written, and it may be tried again.

use postgres::{GenericClient, Transaction};

use super::{Dialect, SqlError};
use crate::gate::Gate;
use crate::token::{Stale, Token};

/// What can go wrong.
pub type Error = SqlError<postgres::Error>;

/// Makes the table of fences if it is missing.
///
/// # Errors
/// What the database says.
pub fn create_table(client: &mut impl GenericClient) -> Result<(), postgres::Error> {
    client.batch_execute(super::CREATE_TABLE)
}

/// Lets `token` pass within `transaction`, before its first write. With an error, drop the transaction: that
/// rolls it back, and nothing changes. It is a [`Transaction`] and not a client, because a check that is
/// committed alone guards nothing.
///
/// # Errors
/// [`Stale`] when a newer token has passed, or what the database says.
pub fn admit(transaction: &mut Transaction<'_>, resource: &str, token: Token) -> Result<(), Error> {
    let number = token.to_bigint()?;
    let admitted = transaction
        .execute(&super::admit(Dialect::Postgres), &[&resource, &number])
        .map_err(Error::database(resource))?;
    if admitted == 1 {
        return Ok(());
    }
    let newest = newest(transaction, resource)?.unwrap_or(token);
    Err(Stale { token, newest }.into())
}

/// The newest token that has passed, as this client sees it.
///
/// # Errors
/// What the database says.
pub fn newest(client: &mut impl GenericClient, resource: &str) -> Result<Option<Token>, Error> {
    let row = client
        .query_opt(&super::newest(Dialect::Postgres), &[&resource])
        .map_err(Error::database(resource))?;
    // The table's check keeps negative numbers out.
    Ok(row.map(|row| Token(row.get::<_, i64>(0).unsigned_abs())))
}

impl Gate for Transaction<'_> {
    type Error = Error;

    fn admit(&mut self, resource: &str, token: Token) -> Result<(), Error> {
        admit(self, resource, token)
    }
}
