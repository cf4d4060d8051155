//! The gate in PostgreSQL, against a real server that the test starts. Without one it fails: a gate that was not
//! tried is not known to shut.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod common;

use cluster::Postgres;
use postgres::{Client, Config, IsolationLevel, NoTls};
use quorate_gate::sql::{self, Dialect, Guarded, SqlError, postgres as gate};
use quorate_gate::{Stale, Token};

/// A server of this test's own.
struct Server(Postgres);

impl Server {
    /// Connects as soon as the server answers.
    fn connect(&mut self) -> Client {
        loop {
            let connected = Config::new()
                .host_path(self.0.socket_folder())
                .user("gate")
                .dbname("postgres")
                .connect(NoTls);
            match connected {
                Ok(client) => return client,
                Err(error) => {
                    if let Some(words) = self.0.last_words() {
                        panic!("{error}: {words}");
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
}

const PUT: &str =
    "INSERT INTO t (id, v) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = excluded.v";

fn prepared() -> (Server, Client) {
    let mut server = Server(Postgres::start().unwrap());
    let mut client = server.connect();
    gate::create_table(&mut client).unwrap();
    gate::create_table(&mut client).unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (id text PRIMARY KEY, v text, fence bigint NOT NULL DEFAULT 0);
             CREATE TABLE history (n bigint GENERATED ALWAYS AS IDENTITY, token bigint, v text);",
        )
        .unwrap();
    (server, client)
}

fn value(client: &mut Client, id: &str) -> String {
    client
        .query_one("SELECT v FROM t WHERE id = $1", &[&id])
        .unwrap()
        .get(0)
}

fn write(
    client: &mut Client,
    isolation: IsolationLevel,
    resource: &str,
    token: Token,
    value: &str,
) -> Result<(), gate::Error> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(isolation)
        .start()
        .unwrap();
    gate::admit(&mut transaction, resource, token)?;
    transaction.execute(PUT, &[&resource, &value]).unwrap();
    // The fence's row is locked until the commit, so these numbers are the order of the writes.
    let history = "INSERT INTO history (token, v) VALUES ($1, $2)";
    transaction
        .execute(history, &[&(token.get() as i64), &value])
        .unwrap();
    transaction.commit().unwrap();
    Ok(())
}

fn stale(result: Result<(), gate::Error>) -> Result<(), Stale> {
    match result {
        Err(SqlError::Stale(stale)) => Err(stale),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

const DEFAULT: IsolationLevel = IsolationLevel::ReadCommitted;

#[test]
fn a_late_writer_overwrites_without_the_gate_and_not_with_it() {
    let (mut server, mut a) = prepared();
    let mut b = server.connect();

    // Without: the holder of 33 wakes up after 34 has written, and b's data is gone.
    b.execute(PUT, &[&"plain", &"b"]).unwrap();
    a.execute(PUT, &[&"plain", &"a, late"]).unwrap();
    assert_eq!(value(&mut b, "plain"), "a, late");

    // With.
    write(&mut a, DEFAULT, "jobs", Token(33), "a").unwrap();
    write(&mut b, DEFAULT, "jobs", Token(34), "b").unwrap();
    let late = write(&mut a, DEFAULT, "jobs", Token(33), "a, late").unwrap_err();
    assert_eq!(
        late.to_string(),
        "token 33 is older than 34: the write was refused and nothing changed"
    );
    assert_eq!(value(&mut b, "jobs"), "b");
    assert_eq!(gate::newest(&mut b, "jobs").unwrap(), Some(Token(34)));
    write(&mut b, DEFAULT, "jobs", Token(34), "b again").unwrap();
    assert_eq!(value(&mut a, "jobs"), "b again");

    // The single statement.
    let names = Guarded {
        table: "t",
        key: "id",
        value: "v",
        fence: "fence",
    };
    let statement = sql::guarded_update(Dialect::Postgres, names);
    let mut update =
        |value: &str, token: i64| a.execute(&statement, &[&value, &token, &"plain"]).unwrap();
    assert_eq!(
        [update("a", 33), update("b", 34), update("a, late", 33)],
        [1, 1, 0]
    );
    assert_eq!(value(&mut b, "plain"), "b");

    // What bigint cannot hold.
    let refused = write(&mut b, DEFAULT, "jobs", Token(1 << 63), "x").unwrap_err();
    assert!(matches!(refused, SqlError::TooLarge(_)), "{refused}");
}

#[test]
fn of_concurrent_writers_the_newest_token_wins() {
    let (mut server, mut client) = prepared();
    let levels = [DEFAULT, DEFAULT, DEFAULT, IsolationLevel::Serializable];
    let writers: Vec<_> = (0_u64..)
        .zip(levels)
        .map(|(writer, isolation)| {
            let mut client = server.connect();
            std::thread::spawn(move || {
                for (n, token) in common::tokens(writer, 25).into_iter().enumerate() {
                    let value = format!("{writer}.{n}");
                    // The strict one is told to begin anew when it met another; that has written nothing.
                    while let Err(error) = write(&mut client, isolation, "jobs", token, &value) {
                        match error {
                            SqlError::Database { source, .. } => {
                                assert_eq!(source.code().unwrap().code(), "40001");
                            }
                            refused => {
                                stale(Err(refused)).unwrap_err();
                                break;
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let history: Vec<(Token, String)> = client
        .query("SELECT token, v FROM history ORDER BY n", &[])
        .unwrap()
        .iter()
        .map(|row| (Token(row.get::<_, i64>(0) as u64), row.get(1)))
        .collect();
    let all: Vec<Token> = (0..4)
        .flat_map(|writer| common::tokens(writer, 25))
        .collect();
    let newest = gate::newest(&mut client, "jobs").unwrap().unwrap();
    common::judge(&history, &all, &(newest, value(&mut client, "jobs")));
}

struct Database {
    client: Client,
}

impl common::Resource for Database {
    fn write(&mut self, resource: &str, token: Token, value: &str) -> Result<(), Stale> {
        stale(write(&mut self.client, DEFAULT, resource, token, value))
    }

    fn look(&mut self, resource: &str) -> Option<(Token, String)> {
        let newest = gate::newest(&mut self.client, resource).unwrap()?;
        Some((newest, value(&mut self.client, resource)))
    }
}

#[test]
fn it_agrees_with_the_model() {
    let (_server, client) = prepared();
    common::agrees_with_the_model(&mut Database { client });
}
