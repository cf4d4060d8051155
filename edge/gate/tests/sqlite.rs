//! The gate in SQLite, against a real file.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_gate::sql::{self, Dialect, Guarded, SqlError, sqlite};
use quorate_gate::{Stale, Token};
use rusqlite::{Connection, TransactionBehavior};

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    // The process stays alive in these tests; syncs would only make them slow.
    connection
        .pragma_update(None, "synchronous", "off")
        .unwrap();
    connection
}

fn prepare(path: &Path) -> Connection {
    let connection = open(path);
    sqlite::create_table(&connection).unwrap();
    sqlite::create_table(&connection).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t (id text PRIMARY KEY, v text, fence bigint NOT NULL DEFAULT 0);
             CREATE TABLE history (n integer PRIMARY KEY, token bigint, v text);",
        )
        .unwrap();
    connection
}

const PUT: &str =
    "INSERT INTO t (id, v) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET v = excluded.v";

fn value(connection: &Connection, id: &str) -> String {
    connection
        .query_row("SELECT v FROM t WHERE id = ?1", [id], |row| row.get(0))
        .unwrap()
}

fn write(
    connection: &mut Connection,
    resource: &str,
    token: Token,
    value: &str,
) -> Result<(), sqlite::Error> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    sqlite::admit(&transaction, resource, token)?;
    transaction.execute(PUT, [resource, value]).unwrap();
    transaction
        .execute(
            "INSERT INTO history (token, v) VALUES (?1, ?2)",
            (token.get() as i64, value),
        )
        .unwrap();
    transaction.commit().unwrap();
    Ok(())
}

fn stale(result: Result<(), sqlite::Error>) -> Result<(), Stale> {
    match result {
        Err(SqlError::Stale(stale)) => Err(stale),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

#[test]
fn a_late_writer_overwrites_without_the_gate_and_not_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut a = prepare(&directory.path().join("db"));
    let mut b = open(&directory.path().join("db"));

    // Without: the holder of 33 wakes up after 34 has written, and b's data is gone.
    b.execute(PUT, ["plain", "b"]).unwrap();
    a.execute(PUT, ["plain", "a, late"]).unwrap();
    assert_eq!(value(&b, "plain"), "a, late");

    // With.
    write(&mut a, "jobs", Token(33), "a").unwrap();
    write(&mut b, "jobs", Token(34), "b").unwrap();
    let late = write(&mut a, "jobs", Token(33), "a, late").unwrap_err();
    assert_eq!(
        late.to_string(),
        "token 33 is older than 34: the write was refused and nothing changed"
    );
    assert_eq!(value(&b, "jobs"), "b");
    assert_eq!(sqlite::newest(&b, "jobs").unwrap(), Some(Token(34)));
    write(&mut b, "jobs", Token(34), "b again").unwrap();
    assert_eq!(value(&a, "jobs"), "b again");
}

#[test]
fn the_guarded_update_refuses_in_one_statement() {
    let directory = tempfile::tempdir().unwrap();
    let connection = prepare(&directory.path().join("db"));
    connection.execute(PUT, ["jobs", "nobody"]).unwrap();
    let names = Guarded {
        table: "t",
        key: "id",
        value: "v",
        fence: "fence",
    };
    let statement = sql::guarded_update(Dialect::Sqlite, names);
    let update = |value: &str, token: i64| {
        connection
            .execute(&statement, (value, token, "jobs"))
            .unwrap()
    };
    assert_eq!(update("a", 33), 1);
    assert_eq!(update("b", 34), 1);
    assert_eq!(update("a, late", 33), 0);
    assert_eq!(value(&connection, "jobs"), "b");
    assert_eq!(update("b again", 34), 1);
    assert_eq!(value(&connection, "jobs"), "b again");
}

#[test]
fn a_token_that_bigint_cannot_hold_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = prepare(&directory.path().join("db"));
    let refused = write(&mut connection, "jobs", Token(1 << 63), "x").unwrap_err();
    assert!(matches!(refused, SqlError::TooLarge(_)), "{refused}");
    assert_eq!(sqlite::newest(&connection, "jobs").unwrap(), None);
}

#[test]
fn of_concurrent_writers_the_newest_token_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let connection = prepare(&path);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut connection = open(&path);
                for (n, token) in common::tokens(writer, 25).into_iter().enumerate() {
                    let value = format!("{writer}.{n}");
                    let _refused = stale(write(&mut connection, "jobs", token, &value));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let history: Vec<(Token, String)> = connection
        .prepare("SELECT token, v FROM history ORDER BY n")
        .unwrap()
        .query_map([], |row| {
            Ok((Token(row.get::<_, i64>(0)? as u64), row.get(1)?))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let all: Vec<Token> = (0..4)
        .flat_map(|writer| common::tokens(writer, 25))
        .collect();
    let newest = sqlite::newest(&connection, "jobs").unwrap().unwrap();
    common::judge(&history, &all, &(newest, value(&connection, "jobs")));
}

struct Database {
    path: PathBuf,
    connection: Connection,
}

impl common::Resource for Database {
    fn write(&mut self, resource: &str, token: Token, value: &str) -> Result<(), Stale> {
        stale(write(&mut self.connection, resource, token, value))
    }

    fn look(&mut self, resource: &str) -> Option<(Token, String)> {
        let newest = sqlite::newest(&self.connection, resource).unwrap()?;
        Some((newest, value(&self.connection, resource)))
    }

    fn reopen(&mut self) {
        self.connection = open(&self.path);
    }
}

#[test]
fn it_agrees_with_the_model() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let connection = prepare(&path);
    common::agrees_with_the_model(&mut Database { path, connection });
}
