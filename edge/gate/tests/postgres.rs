//! The gate in PostgreSQL, against a real server that the test starts. Without one it fails: a gate that was not
//! tried is not known to shut.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use postgres::{Client, Config, IsolationLevel, NoTls};
use quorate_gate::sql::{self, Dialect, Guarded, SqlError, postgres as gate};
use quorate_gate::{Stale, Token};

/// A server with a directory and a socket of its own. It ends with this value; and with this process, however that
/// ends, since the shell around it then reads the end of its input.
struct Server {
    directory: tempfile::TempDir,
    shell: Child,
}

/// The program `name`: from `PATH`, else where Debian hides it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
    }
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("PostgreSQL is not installed: no {name} in PATH or /usr/lib/postgresql/*/bin; on Debian: apt-get install postgresql")
        })
}

/// A command as a user that PostgreSQL accepts: not root.
fn as_user(is_root: bool) -> Command {
    if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", "sh", "-c"]);
        command
    } else {
        let mut command = Command::new("sh");
        command.arg("-c");
        command
    }
}

impl Server {
    fn start() -> Server {
        let (initdb, postgres) = (program("initdb"), program("postgres"));
        // A socket's path has a limit of about a hundred bytes.
        let directory = tempfile::Builder::new()
            .prefix("gate")
            .tempdir_in("/tmp")
            .unwrap();
        let at = directory.path().display();
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(directory.path())
                .status();
            assert!(owned.unwrap().success(), "there is no user postgres");
        }
        let made = as_user(is_root)
            .arg(format!(
                "{} -D {at}/data -U gate -A trust -E UTF8 --locale=C --no-sync",
                initdb.display()
            ))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // The server waits for its children, the shell for the end of its input.
        let shell = as_user(is_root)
            .arg(format!(
                "{} -D {at}/data -k {at} -c listen_addresses= -c fsync=off > {at}/log 2>&1 < /dev/null &
                 server=$!; cat > /dev/null; kill -QUIT $server; wait $server",
                postgres.display()
            ))
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Server { directory, shell }
    }

    fn try_connect(&self) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(self.directory.path())
            .user("gate")
            .dbname("postgres")
            .connect(NoTls)
    }

    /// Connects as soon as the server answers.
    fn connect(&mut self) -> Client {
        loop {
            match self.try_connect() {
                Ok(client) => return client,
                Err(error) => {
                    if let Some(status) = self.shell.try_wait().unwrap() {
                        let log = std::fs::read_to_string(self.directory.path().join("log"));
                        panic!(
                            "the server ended ({status}): {error}\n{}",
                            log.unwrap_or_default()
                        );
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

const PUT: &str =
    "INSERT INTO t (id, v) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = excluded.v";

fn prepared() -> (Server, Client) {
    let mut server = Server::start();
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
