//! The pause: a holder of a lock is stopped for longer than its lease lives, another takes the lock, and then the first one
//! wakes up in the middle of its work and writes.
//!
//! Everything is real: the lock, `quorate lock`, processes that are stopped with `SIGSTOP`, a PostgreSQL and a file. Each
//! resource is tried twice. Without a gate the late write is taken and the second holder's work is lost; with the gate
//! it is refused, because 33 is less than 34. What the run prints is README's transcript, word for word.

use cluster::{Cluster, Postgres, Server, TempDir};
use gate::file::{FencedFile, FileError};
use gate::sql::{SqlError, postgres as sql_gate};
use gate::{Stale, Token};
use postgres::{Client, Config, NoTls};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What a child is to do, and that it is one.
const ROLE: &str = "QUORATE_PAUSE_ROLE";

/// The account begins with this.
const BALANCE: i64 = 100;

/// How long something that must come true may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the account is kept, and whether a gate stands before it.
#[derive(Clone)]
struct Account {
    /// `postgres` or `file`.
    kind: &'static str,
    at: PathBuf,
    is_gated: bool,
}

impl Account {
    fn role(&self) -> String {
        format!("{} {} {}", self.kind, self.is_gated, self.at.display())
    }

    fn of_role(role: &str) -> Account {
        let mut words = role.splitn(3, ' ');
        let (kind, is_gated, at) = (words.next(), words.next(), words.next());
        Account {
            kind: if kind == Some("file") {
                "file"
            } else {
                "postgres"
            },
            is_gated: is_gated == Some("true"),
            at: at.expect("a place").into(),
        }
    }

    fn database(&self) -> Client {
        let mut config = Config::new();
        config.host_path(&self.at).user("gate").dbname("postgres");
        let until = Instant::now() + PATIENCE;
        loop {
            match config.connect(NoTls) {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < until, "PostgreSQL: {error}"),
            }
            std::thread::yield_now();
        }
    }

    /// A new account.
    fn open(&self) {
        match self.kind {
            "file" if self.is_gated => {
                let written = FencedFile::new(&self.at).write(Token(0), b"100");
                written.expect("a new file");
            }
            "file" => std::fs::write(&self.at, "100").expect("a new file"),
            _ => {
                let mut client = self.database();
                sql_gate::create_table(&mut client).expect("a table of fences");
                let account = "DROP TABLE IF EXISTS account; CREATE TABLE account (balance bigint);
                               INSERT INTO account VALUES (100); DELETE FROM quorate_fence";
                client.batch_execute(account).expect("an account");
            }
        }
    }

    fn read(&self) -> i64 {
        match self.kind {
            "file" if self.is_gated => {
                let contents = FencedFile::new(&self.at).read().expect("readable");
                let data = contents.expect("it was written").data;
                String::from_utf8(data)
                    .expect("text")
                    .parse()
                    .expect("a number")
            }
            "file" => std::fs::read_to_string(&self.at)
                .expect("readable")
                .parse()
                .expect("a number"),
            _ => self
                .database()
                .query_one("SELECT balance FROM account", &[])
                .expect("an account")
                .get(0),
        }
    }

    fn write(&self, balance: i64, token: Token) -> Result<(), Stale> {
        let update = "UPDATE account SET balance = $1";
        match (self.kind, self.is_gated) {
            ("file", true) => {
                match FencedFile::new(&self.at).write(token, balance.to_string().as_bytes()) {
                    Ok(()) => Ok(()),
                    Err(FileError::Stale(stale)) => Err(stale),
                    Err(other) => panic!("{other}"),
                }
            }
            ("file", false) => {
                std::fs::write(&self.at, balance.to_string()).expect("writable");
                Ok(())
            }
            (_, true) => {
                let mut client = self.database();
                let mut transaction = client.transaction().expect("a transaction");
                match sql_gate::admit(&mut transaction, "account", token) {
                    Ok(()) => {}
                    Err(SqlError::Stale(stale)) => return Err(stale),
                    Err(other) => panic!("{other}"),
                }
                transaction.execute(update, &[&balance]).expect("update");
                transaction.commit().expect("commit");
                Ok(())
            }
            (_, false) => {
                let mut client = self.database();
                client.execute(update, &[&balance]).expect("update");
                Ok(())
            }
        }
    }
}

/// The work under the lock: reads the balance, thinks until it is told to go on, writes the balance and what it adds.
#[test]
fn a_teller() {
    let Ok(role) = std::env::var(ROLE) else {
        return; // It is the actor of the other test.
    };
    let account = Account::of_role(&role);
    let token: u64 = std::env::var("QUORATE_LOCK_TOKEN")
        .expect("it runs under quorate lock")
        .parse()
        .expect("a number");
    let say = |words: String| {
        println!("@{words}");
        std::io::stdout().flush().expect("heard");
    };
    let balance = account.read();
    say(format!("pid {}", std::process::id()));
    say(format!("token {token} reads {balance}"));
    let mut add = String::new();
    std::io::stdin().read_line(&mut add).expect("an order");
    let add: i64 = add.trim().parse().expect("a number");
    match account.write(balance + add, Token(token)) {
        Ok(()) => say(format!("token {token} writes {}", balance + add)),
        Err(stale) => say(format!("refused: token {} < {}", stale.token, stale.newest)),
    }
}

/// `quorate lock account -- a teller`.
struct Teller {
    lock: Child,
    orders: ChildStdin,
    words: std::io::Lines<BufReader<ChildStdout>>,
    pid: Option<Pid>,
}

impl Teller {
    fn start(program: &Path, endpoints: &str, account: &Account) -> Teller {
        let mut lock = Command::new(program)
            .args([
                "lock",
                "account",
                "--ttl",
                "2s",
                "--endpoints",
                endpoints,
                "--",
            ])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_teller", "--nocapture"])
            .env(ROLE, account.role())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("quorate lock");
        Teller {
            orders: lock.stdin.take().expect("a pipe"),
            words: BufReader::new(lock.stdout.take().expect("a pipe")).lines(),
            lock,
            pid: None,
        }
    }

    fn hear(&mut self) -> String {
        for line in self.words.by_ref() {
            let line = line.expect("text");
            let Some((_, words)) = line.split_once('@') else {
                continue;
            };
            match words.strip_prefix("pid ") {
                Some(pid) => self.pid = Pid::from_raw(pid.parse().expect("a number")),
                None => return words.to_owned(),
            }
        }
        panic!("the teller is gone");
    }

    fn order(&mut self, add: i64) {
        writeln!(self.orders, "{add}").expect("the teller lives");
    }

    fn signal_all(&self, signal: Signal) {
        self.signal_teller(signal);
        kill_process(Pid::from_child(&self.lock), signal).expect("it is ours");
    }

    fn signal_teller(&self, signal: Signal) {
        kill_process(self.pid.expect("it said so"), signal).expect("it is ours");
    }

    fn code(&mut self) -> Option<i32> {
        self.lock.wait().expect("it ends").code()
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(pid) = self
            .pid
            .filter(|_| matches!(self.lock.try_wait(), Ok(None)))
        {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.lock.kill();
        let _ = self.lock.wait();
    }
}

/// Plays the pause once; gives what was said.
fn play(program: &Path, account: &Account) -> String {
    account.open();
    let folder = TempDir::new().expect("a folder");
    let server = Server::new("tested", &program.display().to_string(), folder.path());
    let server = server.expect("the program");
    let cluster = Cluster::start(&server, folder.path(), 3).expect("a cluster");
    let endpoints = cluster.endpoints().join(",");
    let put = |n: u32| {
        let until = Instant::now() + PATIENCE;
        loop {
            let put = Command::new(program)
                .args(["put", "fill", &n.to_string(), "--endpoints", &endpoints])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if put.expect("quorate put").success() {
                return;
            }
            assert!(Instant::now() < until, "{}", cluster.last_words());
        }
    };
    // Every write of the cluster takes a revision, and a token is one: the next is 33.
    (2..=32).for_each(put);

    let mut told = String::new();
    let mut tell = |who: &str, words: &str| {
        let _ = writeln!(told, "  {who}: {words}");
    };
    let mut first = Teller::start(program, &endpoints, account);
    tell("first ", &first.hear());
    first.signal_all(Signal::STOP);
    tell("first ", "is paused, for longer than its lease lives");
    let mut second = Teller::start(program, &endpoints, account);
    tell("second", &second.hear());
    second.order(50);
    tell("second", &second.hear());
    assert_eq!(second.code(), Some(0));
    first.order(10);
    // The guard of the first holder sleeps on: there is always a moment in which nobody looks at the lock.
    first.signal_teller(Signal::CONT);
    tell("first ", &format!("wakes up; {}", first.hear()));
    first.signal_all(Signal::CONT);
    let code = first.code();
    assert!(matches!(code, Some(0 | 8)), "{code:?}");
    let balance = account.read();
    let verdict = match balance {
        160 => "all is there",
        150 => "the second holder's 50 are there, and the first holder knows that its 10 are not",
        110 => "the second holder's 50 are lost, and nobody knows",
        _ => "nobody expected that",
    };
    tell(
        "result",
        &format!("{balance} of {BALANCE} + 50 + 10: {verdict}"),
    );
    told
}

/// The program under test: the `quorate` that this build made.
fn program() -> PathBuf {
    quorate_conformance::program()
}

#[test]
fn a_paused_holder_corrupts_what_has_no_gate_and_is_refused_where_there_is_one() {
    let program = program();
    let database = Postgres::start().expect("a PostgreSQL");
    let folder = TempDir::new().expect("a folder");
    let mut transcript = String::new();
    for (kind, is_gated) in [
        ("postgres", false),
        ("postgres", true),
        ("file", false),
        ("file", true),
    ] {
        let at = match kind {
            "file" => folder.path().join(format!("account-{is_gated}")),
            _ => database.socket_folder().to_owned(),
        };
        let account = Account { kind, at, is_gated };
        let gate = if is_gated {
            "with the gate"
        } else {
            "without a gate"
        };
        let name = if kind == "file" {
            "a file"
        } else {
            "PostgreSQL"
        };
        let told = play(&program, &account);
        let last = told.lines().last().expect("a result");
        match is_gated {
            true => {
                assert!(told.contains("refused: token 33 < 34"), "{told}");
                assert!(last.contains(" 150 "), "{told}");
            }
            false => assert!(last.contains(" 110 "), "{told}"),
        }
        let _ = write!(transcript, "{name}, {gate}\n{told}");
    }
    print!("{transcript}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&readme).expect("README");
    let (begin, end) = ("<!-- pause -->\n```text\n", "```\n<!-- /pause -->");
    let (before, rest) = text.split_once(begin).expect("README has the transcript");
    let (shown, after) = rest.split_once(end).expect("and its end");
    if std::env::var_os("UPDATE").is_some() {
        let text = format!("{before}{begin}{transcript}{end}{after}");
        std::fs::write(&readme, text).expect("README is ours");
    } else {
        assert_eq!(
            shown, transcript,
            "README tells another story (UPDATE=1 accepts this one)"
        );
    }
}
