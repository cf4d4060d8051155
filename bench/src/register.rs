//! One side's clients of the split: a process inside a member's network namespace that talks to that member alone.
//!
//! Three writers put new keys, one writer and one reader use a key that all sides share. A request that is not
//! answered within a moment is left to itself, so that there are always fresh ones. Every ended request is one line
//! of JSON on standard output; times are of the machine's monotonic clock, which all namespaces share. It ends when its
//! standard input does.

use crate::Failure;
use crate::load::connect;
use clap::Args;
use etcd_client::Client;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_millis(100);
/// Above the seven seconds after which a server gives up.
const TIMEOUT: Duration = Duration::from_secs(9);
const OPEN_MAX: u64 = 300;
/// The key that all sides share.
pub(crate) const SHARED: &str = "shared";

/// Command line of `register`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The member of this side.
    #[arg(long)]
    endpoint: String,
    /// The name of this side; its keys begin with it.
    #[arg(long)]
    side: String,
}

/// One request that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) what: What,
    pub(crate) key: String,
    /// What was put, or what was read (empty if there was nothing).
    pub(crate) value: String,
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    /// The revision of the answer; `None` if it was refused or is unknown.
    pub(crate) revision: Option<i64>,
    pub(crate) error: String,
}

/// Kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Put,
    /// A linearizable get.
    Get,
}

/// Nanoseconds of the machine's monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let open = Rc::new(Cell::new(0));
    for client in 0..5 {
        let connection = connect(&arguments.endpoint).await?;
        let (side, open) = (arguments.side.clone(), open.clone());
        tokio::task::spawn_local(one_client(client, side, connection, open));
    }
    // Nothing is ever written to it: this waits for its end.
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(())
}

async fn one_client(client: u64, side: String, connection: Client, open: Rc<Cell<u64>>) {
    for number in 0_u64.. {
        if open.get() >= OPEN_MAX {
            tokio::time::sleep(PATIENCE).await;
            continue;
        }
        let (what, key) = match client {
            0..=2 => (What::Put, format!("{side}/{client}/{number:010}")),
            3 => (What::Put, SHARED.to_owned()),
            _ => (What::Get, SHARED.to_owned()),
        };
        let value = format!("{side}/{client}/{number}");
        open.set(open.get() + 1);
        let (connection, open) = (connection.clone(), open.clone());
        let request = tokio::task::spawn_local(async move {
            let ended = ask(connection, what, key, value).await;
            open.set(open.get() - 1);
            // One write for each line: this process is killed when it is no longer needed.
            let line = serde_json::to_string(&ended).unwrap_or_default();
            println!("{line}");
            ended.revision.is_some()
        });
        match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(true)) => tokio::time::sleep(Duration::from_millis(2)).await,
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(_) => {}
        }
    }
}

async fn ask(mut client: Client, what: What, key: String, value: String) -> Ended {
    let began_ns = now_ns();
    let revision_of = |header: Option<&etcd_client::ResponseHeader>| header.map(|h| h.revision());
    let answer = async {
        match what {
            What::Put => {
                let put = client.put(key.clone(), value.clone(), None).await?;
                Ok((revision_of(put.header()), value.clone()))
            }
            What::Get => {
                let got = client.get(key.clone(), None).await?;
                let read = got
                    .kvs()
                    .first()
                    .map(|kv| String::from_utf8_lossy(kv.value()).into());
                Ok((revision_of(got.header()), read.unwrap_or_default()))
            }
        }
    };
    let answer: Result<Result<_, etcd_client::Error>, _> =
        tokio::time::timeout(TIMEOUT, answer).await;
    let (revision, value, error) = match answer {
        Ok(Ok((revision, value))) => (revision, value, String::new()),
        Ok(Err(err)) => (None, value, err.to_string()),
        Err(_) => (None, value, "no answer".to_owned()),
    };
    Ended {
        what,
        key,
        value,
        began_ns,
        ended_ns: now_ns(),
        revision,
        error,
    }
}
