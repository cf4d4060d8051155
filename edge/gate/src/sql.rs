//! Gates in a database: statements to copy, and helpers that run them in the caller's transaction.
//!
//! Two ways. *One row, one statement*: the fence is a column of the row, and the update has the check in its
//! `WHERE` ([`guarded_update`]). *Anything else*: a table of fences, and an upsert that succeeds only for a token
//! that is not older ([`admit`]), **first in the transaction** whose writes it guards. The upsert takes the
//! fence's row lock (SQLite: the file's) until the transaction ends, refused or not, so check and write are one
//! step:
//!
//! ```text
//!   BEGIN
//!     upsert fence … WHERE excluded.token >= token     1 row: admitted    0 rows: ROLLBACK, stale
//!     the writes that the lock protects
//!   COMMIT                                             fence and writes become visible and durable together
//! ```
//!
//! The statements are the same for PostgreSQL and SQLite but for how they name parameters. What they are
//! not: a lock between writers with the same token, which pass, one after the other.

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::token::{Stale, TooLarge};

/// How a database names its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `$1`
    Postgres,
    /// `?1`
    Sqlite,
}

/// The table of fences, one row a resource. The check refuses a row that an older client wrapped around.
pub const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS quorate_fence (
  resource text PRIMARY KEY,
  token bigint NOT NULL CHECK (token >= 0)
)";

/// The newest token of a resource: parameter 1.
const NEWEST: &str = "SELECT token FROM quorate_fence WHERE resource = $1";

/// The gate: parameter 1 is the resource, 2 the token. One row is affected when the token is admitted, none
/// when it is stale; then roll the transaction back.
const ADMIT: &str = "\
INSERT INTO quorate_fence (resource, token) VALUES ($1, $2)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token
WHERE excluded.token >= quorate_fence.token";

/// The statement of the gate: parameter 1 is the resource, 2 the token.
///
/// ```
/// use quorate_gate::sql::{self, Dialect};
///
/// assert_eq!(
///     sql::admit(Dialect::Postgres),
///     "INSERT INTO quorate_fence (resource, token) VALUES ($1, $2)
/// ON CONFLICT (resource) DO UPDATE SET token = excluded.token
/// WHERE excluded.token >= quorate_fence.token"
/// );
/// ```
pub fn admit(dialect: Dialect) -> String {
    spell(ADMIT, dialect)
}

/// The statement that reads the newest token of a resource: parameter 1.
pub fn newest(dialect: Dialect) -> String {
    spell(NEWEST, dialect)
}

/// The names that [`guarded_update`] needs. They are quoted, so a schema cannot be part of one: set the
/// `search_path`.
#[derive(Clone, Copy, Debug)]
pub struct Guarded<'a> {
    /// The table.
    pub table: &'a str,
    /// The column that says which row.
    pub key: &'a str,
    /// The column that is written.
    pub value: &'a str,
    /// The column of the fence: `bigint NOT NULL DEFAULT 0`.
    pub fence: &'a str,
}

/// The single statement for a row that has its fence in a column: parameter 1 is the value, 2 the token, 3 the
/// row's key. No row affected: the token is stale, or there is no such row.
///
/// ```
/// use quorate_gate::sql::{self, Dialect, Guarded};
///
/// let names = Guarded { table: "t", key: "id", value: "v", fence: "fence" };
/// assert_eq!(
///     sql::guarded_update(Dialect::Postgres, names),
///     r#"UPDATE "t" SET "v" = $1, "fence" = $2 WHERE "id" = $3 AND "fence" <= $2"#
/// );
/// ```
pub fn guarded_update(dialect: Dialect, names: Guarded<'_>) -> String {
    let sign = sign(dialect);
    let [table, key, value, fence] = [names.table, names.key, names.value, names.fence].map(quoted);
    format!(
        "UPDATE {table} SET {value} = {sign}1, {fence} = {sign}2 WHERE {key} = {sign}3 AND {fence} <= {sign}2"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sign(dialect: Dialect) -> char {
    match dialect {
        Dialect::Postgres => '$',
        Dialect::Sqlite => '?',
    }
}

fn spell(statement: &str, dialect: Dialect) -> String {
    statement.replace('$', &sign(dialect).to_string())
}

/// Why a transaction may not write. Whichever it is: roll back.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[derive(Debug, thiserror::Error)]
pub enum SqlError<E: std::error::Error + 'static> {
    /// A newer token has passed.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// A token that the column cannot hold.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The database could not answer. A serialization failure may be tried again, with the same token and a
    /// transaction of its own.
    #[error("cannot ask the fence of {resource:?}")]
    Database {
        /// Whose fence was asked.
        resource: String,
        /// What the driver says.
        source: E,
    },
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<E: std::error::Error + 'static> SqlError<E> {
    fn database(resource: &str) -> impl FnOnce(E) -> SqlError<E> {
        let resource = resource.to_owned();
        move |source| SqlError::Database { resource, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let names = Guarded {
            table: "t\" SET v = 1 --",
            key: "id",
            value: "v",
            fence: "fence",
        };
        let statement = guarded_update(Dialect::Sqlite, names);
        assert!(
            statement.starts_with("UPDATE \"t\"\" SET v = 1 --\" SET"),
            "{statement}"
        );
        assert!(statement.ends_with("\"fence\" <= ?2"), "{statement}");
    }
}
