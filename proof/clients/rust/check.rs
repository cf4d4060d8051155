//! What a check is. What is printed is read by `src/report.rs`, and what is found in the environment is told in
//! `src/field.rs`.

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long something that must come true may take, on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Why a check failed.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a check comes to.
pub(crate) type Outcome = Result<(), Failure>;

/// Counts what was checked.
#[derive(Default)]
pub(crate) struct Checks {
    n_passed: usize,
    n_failed: usize,
    n_not_yet: usize,
}

impl Checks {
    /// Runs the check of this claim.
    pub(crate) async fn check(&mut self, name: &str, run: impl AsyncFnOnce() -> Outcome) {
        let not_yet = env::var("CLIENTS_NOT_YET").unwrap_or_default();
        let is_not_yet = |word: &str| !word.is_empty() && name.starts_with(word);
        if not_yet.split(',').any(is_not_yet) {
            self.n_not_yet += 1;
            println!("not yet {name}");
            return;
        }
        let begin = Instant::now();
        let outcome = tokio::time::timeout(3 * PATIENCE, run()).await;
        match outcome.unwrap_or_else(|_| Err("it hangs".into())) {
            Ok(()) => {
                self.n_passed += 1;
                println!("ok {name}");
            }
            Err(failure) => {
                self.n_failed += 1;
                println!("FAILED {name}: {}", failure.to_string().replace('\n', " "));
            }
        }
        eprintln!("{:6} ms  {name}", begin.elapsed().as_millis());
    }

    /// The counts, and the exit code.
    pub(crate) fn end(self) -> ExitCode {
        let (passed, failed, not_yet) = (self.n_passed, self.n_failed, self.n_not_yet);
        println!("{passed} passed, {failed} failed, {not_yet} not yet");
        ExitCode::from(u8::from(failed > 0))
    }
}

/// The client URLs of the members.
pub(crate) fn endpoints() -> Vec<String> {
    let all = env::var("CLIENTS_ENDPOINTS").unwrap_or_default();
    all.split(',').map(str::to_owned).collect()
}

/// How to connect: with certificates, if there are any.
///
/// # Errors
/// Their files cannot be read.
pub(crate) fn options() -> Result<ConnectOptions, Failure> {
    let options = ConnectOptions::new()
        .with_timeout(PATIENCE)
        .with_connect_timeout(Duration::from_secs(10));
    let Ok(authority) = env::var("CLIENTS_CA") else {
        return Ok(options);
    };
    let own = Identity::from_pem(
        std::fs::read(env::var("CLIENTS_CERT")?)?,
        std::fs::read(env::var("CLIENTS_KEY")?)?,
    );
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(std::fs::read(authority)?))
        .identity(own);
    Ok(options.with_tls(tls))
}

/// A client of these members.
///
/// # Errors
/// They cannot be reached.
pub(crate) async fn client(endpoints: &[String]) -> Result<Client, Failure> {
    Ok(Client::connect(endpoints, Some(options()?)).await?)
}

/// The client of a user: of one member, because a token may be younger than what another has applied.
///
/// # Errors
/// It is not let in.
pub(crate) async fn client_as(user: &str, password: &str) -> Result<Client, Error> {
    let options = options().map_err(|failure| Error::InvalidArgs(failure.to_string()))?;
    let options = options.with_user(user, password);
    Client::connect(&endpoints()[..1], Some(options)).await
}

/// Wants equal values.
///
/// # Errors
/// They are not.
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: T,
    wanted: U,
) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{what}: wanted {wanted:?}, got {got:?}").into())
}

/// Wants a truth.
///
/// # Errors
/// It is none.
pub(crate) fn holds(what: &str, truth: bool) -> Outcome {
    if truth { Ok(()) } else { Err(what.into()) }
}

/// Wants a refusal in these words.
///
/// # Errors
/// It succeeded, or failed otherwise.
pub(crate) fn refused<T>(what: &str, answer: Result<T, Error>, words: &str) -> Outcome {
    match answer {
        Ok(_) => Err(format!("{what}: it was not refused").into()),
        Err(error) if error.to_string().contains(words) => Ok(()),
        Err(error) => Err(format!("{what}: wanted `{words}`, got `{error}`").into()),
    }
}

/// Asks until it is so.
///
/// # Errors
/// It does not come.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Outcome {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if ask().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("not within {PATIENCE:?}: {what}").into())
}

/// Kills or starts a member: `kill 2`, `start 2`.
///
/// # Errors
/// It is not done.
pub(crate) async fn control(line: &str) -> Outcome {
    let at = env::var("CLIENTS_CONTROL")?;
    let owned = line.to_owned();
    let said = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(at)?;
        writeln!(stream, "{owned}")?;
        let mut said = String::new();
        BufReader::new(stream).read_line(&mut said)?;
        Ok(said)
    });
    same(line, said.await??.trim(), "ok")
}
