//! `quorate lock NAME -- COMMAND`.

use crate::complaint::Complaint;
use crate::global::Globals;
use crate::hold::{self, Guard, Job, Signals};
use crate::link::Link;
use crate::output::{Format, Voice, render, shown};
use crate::parse;
use crate::table::Table;
use api::proto::{LookQueueRequest, LookQueueResponse, Mode, Queue, QueueKind};
use api::{Code, Method};
use bytes::Bytes;
use client::Lock as Wanted;
use serde::Serialize;
use std::ffi::OsString;
use std::time::Duration;

/// Run a command while a lock is held. The command is told to stop before the cluster may pass the lock on.
#[derive(clap::Args, Debug)]
#[command(
    before_help = "\
Examples:
  quorate lock nightly -- ./job.sh
  quorate lock nightly --ttl 5s --wait 10s -- ./job.sh        exit 124 when it takes longer
  quorate lock nightly -- sh -c 'quorate put report done --fence $QUORATE_LOCK_FENCE'
  quorate lock pool --permits 3 -- ./job.sh                   three at a time
  quorate lock config --shared -- ./read.sh                   together with others that share
  quorate lock nightly --look                                 who holds it, and who waits",
    after_help = "\
The command gets QUORATE_LOCK_TOKEN, QUORATE_LOCK_NAME and QUORATE_LOCK_FENCE (for --fence). When the lock is
about to be lost it gets SIGTERM, a fifth of the time to live before the deadline and at most a second, and SIGKILL
just before the deadline; the exit code is 8 then, and else the command's own.

The command has a process group of its own. What it leaves running there when it ends gets SIGTERM, and SIGKILL a
second later, before the lock is given back; what leaves the group (setsid) is not seen. Ctrl-Z and SIGTSTP stop the
command together with quorate, and it goes on only if the lock is still held. When quorate itself is stopped with
SIGSTOP, or killed, nobody watches the lock (of a killed quorate the command is killed, but not what it started): then
only the fence protects."
)]
pub(crate) struct Lock {
    /// The lock's name.
    #[arg(value_parser = parse::bytes())]
    name: Bytes,
    /// How long it stays taken when this process is silent, whole seconds.
    #[arg(long, default_value = "10s", value_parser = parse::ttl)]
    ttl: Duration,
    /// Wait for at most so long; without it: as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    wait: Option<Duration>,
    /// Hold it together with others that share.
    #[arg(long, conflicts_with = "permits")]
    shared: bool,
    /// A semaphore that so many may hold at once. All who use it must say the same number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    permits: Option<u32>,
    /// Only print who holds it, and who waits. (Of a semaphore: with --permits.)
    #[arg(long, conflicts_with_all = ["command", "wait", "shared"])]
    look: bool,
    /// The command, behind --.
    #[arg(last = true, required_unless_present = "look", value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct HeldNow {
    line: String,
    token: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    lease: String,
}

impl Lock {
    fn queue(&self) -> Queue {
        let kind = match self.permits {
            Some(_) => QueueKind::Semaphore,
            None => QueueKind::Lock,
        };
        Queue {
            kind: kind.into(),
            name: self.name.clone(),
        }
    }

    /// Only looking is a read.
    pub(crate) fn looks(&self) -> bool {
        self.look
    }
}

/// Runs the command, or looks.
pub(crate) async fn run(lock: Lock, globals: &Globals) -> Result<u8, Complaint> {
    let link = Link::open(globals)?;
    let voice = globals.voice();
    let queue = lock.queue();
    if lock.look {
        return look(&link, queue, voice).await;
    }
    let mut signals = Signals::listen()?;
    let wanted = match lock.permits {
        Some(permits) => link.client.semaphore(lock.name.clone(), permits),
        None => link.client.lock(lock.name.clone()),
    };
    let wanted = wanted.ttl(lock.ttl).note(note());
    let wanted = if lock.shared { wanted.shared() } else { wanted };
    let guard = hold::unless_ended(&mut signals, acquire(wanted, lock.wait, &queue)).await?;
    let lease = hold::lease_text(guard.lease());
    held(voice, &queue, guard.token().get(), lease);
    let job = Job {
        command: lock.command,
        queue,
        ttl: lock.ttl,
    };
    hold::run(Guard::Lock(guard), &job, &mut signals).await
}

async fn acquire(
    wanted: Wanted,
    wait: Option<Duration>,
    queue: &Queue,
) -> Result<client::LockGuard, Complaint> {
    let over = || {
        let within = humantime::format_duration(wait.unwrap_or_default());
        Complaint::coded(
            Code::WaitOver,
            format!(
                "{} was not to be had within {within}",
                parse::queue_text(queue)
            ),
        )
    };
    let acquired = match wait {
        None => wanted.acquire().await,
        Some(wait) if wait.is_zero() => match wanted.try_acquire().await {
            Ok(None) => return Err(over()),
            Ok(Some(guard)) => Ok(guard),
            Err(error) => Err(error),
        },
        Some(wait) => wanted.acquire_within(wait).await,
    };
    acquired.map_err(|error| match error.is(Code::WaitOver) {
        true => over(),
        false => Complaint::from(&error),
    })
}

/// Says that it is held, on standard error: standard output is the command's.
pub(crate) fn held(voice: Voice, queue: &Queue, token: u64, lease: String) {
    let line = parse::queue_text(queue);
    if voice.is_for_people() {
        voice.remark(format_args!("{line} is held, token {token}"));
        return;
    }
    let now = HeldNow {
        line,
        token: token.to_string(),
        lease,
    };
    if let Ok(text) = render(Format::Jsonl, "Held", &now) {
        voice.remark(text.trim_end());
    }
}

/// What people see of a holder: which machine, which process.
pub(crate) fn note() -> String {
    let system = rustix::system::uname();
    format!(
        "{}, process {}",
        system.nodename().to_string_lossy(),
        std::process::id()
    )
}

/// Prints who stands in a line.
pub(crate) async fn look(link: &Link, queue: Queue, voice: Voice) -> Result<u8, Complaint> {
    let request = LookQueueRequest {
        queue: Some(queue),
        consistency: link.consistency.clone(),
    };
    let answer: LookQueueResponse = link.read(Method::LookQueue, &request).await?;
    voice.answer("LookQueueResponse", &answer, || table(&answer))?;
    Ok(0)
}

fn table(answer: &LookQueueResponse) -> String {
    let mut table = Table::new(["TOKEN", "HOLDS", "MODE", "LEASE", "SINCE", "SAYS"]);
    for standing in &answer.standings {
        let mode = match standing.mode() {
            Mode::Exclusive => "alone",
            Mode::Shared => "shared",
        };
        table.row([
            standing.token.to_string(),
            if standing.is_held { "yes" } else { "waits" }.to_owned(),
            mode.to_owned(),
            format!("{:x}", standing.lease),
            standing.since.clone(),
            shown(&standing.value),
        ]);
    }
    match answer.standings.is_empty() {
        true => "nobody stands in this line\n".to_owned(),
        false => table.text(),
    }
}
