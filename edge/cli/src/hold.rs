//! A command that runs while something is held, and not a moment longer.
//!
//! ```text
//!   last good renewal                        warning            deadline      the cluster lets go
//!   ├──────────────── held ──────────────────┼──── margin ──────┼─ guard band ─┤
//!                                            └ SIGTERM          └ SIGKILL
//! ```
//!
//! The deadline is the client's own: counted from when the last good renewal was *sent*, less a guard band. The
//! margin before it is a fifth of the time to live, at most a second. A warning is final: a command that was told
//! to stop is ended at the deadline of then, even if renewals come again. When the process itself was stopped past
//! the deadline, the loss is found by the first look after it runs again, and there is nothing to warn of.
//!
//! The command gets a process group of its own, and signals go to the group, so that what it started ends with
//! it. At a terminal it stays in the foreground group instead, so that it can read and Ctrl-C reaches it; then
//! signals go to the command alone. When this process is killed, the kernel kills the command: nobody would be
//! left to watch the lock.

use crate::complaint::Complaint;
use crate::parse;
use api::Code;
use api::proto::{Fence, Queue};
use client::{Leadership, LeaseId, LockGuard, Lost};
use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal,
};
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How often the clock is looked at. The client's own alarm comes too late to warn.
const TICK: Duration = Duration::from_millis(20);

/// The most that a warning comes before the deadline.
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// Exit codes of shells for commands that cannot be run.
const NOT_RUNNABLE: u8 = 126;
const NOT_THERE: u8 = 127;

/// What is held.
#[derive(Debug)]
pub(crate) enum Guard {
    /// A lock, or a permit of a semaphore.
    Lock(LockGuard),
    /// An office.
    Office(Leadership),
}

impl Guard {
    pub(crate) fn token(&self) -> u64 {
        match self {
            Guard::Lock(guard) => guard.token().get(),
            Guard::Office(leadership) => leadership.token().get(),
        }
    }

    fn remaining(&self) -> Duration {
        match self {
            Guard::Lock(guard) => guard.remaining(),
            Guard::Office(leadership) => leadership.remaining(),
        }
    }

    fn lost(&self) -> Option<Lost> {
        let held = match self {
            Guard::Lock(guard) => guard.check(),
            Guard::Office(leadership) => leadership.check(),
        };
        held.err()
    }

    async fn release(self) -> client::Result<()> {
        match self {
            Guard::Lock(guard) => guard.release().await,
            Guard::Office(leadership) => leadership.resign().await,
        }
    }
}

/// What to run, and what it hears of the line that it runs under.
#[derive(Debug)]
pub(crate) struct Job {
    /// The command and its arguments; at least one.
    pub(crate) command: Vec<OsString>,
    /// The line.
    pub(crate) queue: Queue,
    /// How long the place lives without a sign of life.
    pub(crate) ttl: Duration,
}

/// Signals that are passed on, and what they are to a shell.
const PASSED_ON: [(SignalKind, Signal); 6] = [
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// Hears the signals that somebody sends to this process.
pub(crate) struct Signals {
    heard: Vec<(tokio::signal::unix::Signal, Signal)>,
}

impl Signals {
    /// From now on, none of them ends this process.
    pub(crate) fn listen() -> Result<Signals, Complaint> {
        let listen = |(kind, number)| Ok((signal(kind)?, number));
        let heard: std::io::Result<Vec<_>> = PASSED_ON.into_iter().map(listen).collect();
        let heard = heard
            .map_err(|error| Complaint::unexpected(format!("cannot wait for signals: {error}")))?;
        Ok(Signals { heard })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (stream, number) in &mut self.heard {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Waits for one that asks for the end.
    pub(crate) async fn end(&mut self) -> Signal {
        loop {
            let heard = self.next().await;
            if heard != Signal::USR1 && heard != Signal::USR2 {
                return heard;
            }
        }
    }
}

/// What a shell makes of a process that a signal ended.
pub(crate) fn exit_of_signal(number: Signal) -> u8 {
    u8::try_from(128 + number.as_raw()).unwrap_or(u8::MAX)
}

/// A command that runs.
struct Running {
    child: Child,
    pid: Option<Pid>,
    has_group: bool,
}

impl Running {
    fn start(job: &Job, token: u64) -> std::io::Result<Running> {
        let fence = Fence {
            queue: Some(job.queue.clone()),
            token,
        };
        let name = std::os::unix::ffi::OsStringExt::from_vec(job.queue.name.to_vec());
        let name: OsString = name;
        let mut command = Command::new(&job.command[0]);
        command
            .args(&job.command[1..])
            .env("QUORATE_LOCK_TOKEN", token.to_string())
            .env("QUORATE_LOCK_NAME", name)
            .env("QUORATE_LOCK_FENCE", parse::fence_text(&fence))
            .kill_on_drop(true);
        let has_group = !std::io::stdin().is_terminal();
        if has_group {
            command.process_group(0);
        }
        // SAFETY: between fork and exec only one system call is made, and no memory is taken.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn()?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Running {
            child,
            pid,
            has_group,
        })
    }

    /// To the command, and to what it started where it has a group.
    fn send(&self, number: Signal) {
        if let Some(pid) = self.pid {
            // They may have ended by themselves in this moment.
            let _ = match self.has_group {
                true => kill_process_group(pid, number),
                false => kill_process(pid, number),
            };
        }
    }
}

/// How the command ended, and whether what it ran under was held all the time.
enum Ended {
    Held(ExitStatus),
    Lost(Lost),
}

/// Runs the command under `guard`, and gives back what is held. The exit code is the command's own, unless it was lost.
pub(crate) async fn run(guard: Guard, job: &Job, signals: &mut Signals) -> Result<u8, Complaint> {
    let mut running = match Running::start(job, guard.token()) {
        Ok(running) => running,
        Err(error) => {
            let released = guard.release().await;
            drop(released);
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => NOT_THERE,
                _ => NOT_RUNNABLE,
            };
            let program = job.command[0].display();
            return Err(
                Complaint::unexpected(format!("cannot run {program}: {error}")).exits(exit),
            );
        }
    };
    let ended = watch(&guard, job, &mut running, signals).await?;
    let name = parse::queue_text(&job.queue);
    let token = guard.token();
    let lost = |why: Lost| {
        let complaint = Complaint::coded(Code::LockLost, format!("{name}, token {token}: {why}"));
        Err(complaint.note("the command was ended"))
    };
    match ended {
        Ended::Lost(why) => lost(why),
        Ended::Held(status) => {
            match guard.release().await {
                Err(error) if error.is(Code::LockLost) => return lost(Lost::Revoked),
                // At worst it stays taken until its lease ends.
                _ => {}
            }
            let of_signal = || status.signal().map(|number| 128 + number);
            let code = status.code().or_else(of_signal);
            Ok(code
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(u8::MAX))
        }
    }
}

async fn watch(
    guard: &Guard,
    job: &Job,
    running: &mut Running,
    signals: &mut Signals,
) -> Result<Ended, Complaint> {
    let margin = MARGIN_MAX.min(job.ttl / 5);
    let mut killed_at: Option<Instant> = None;
    let mut why = None;
    loop {
        tokio::select! {
            status = running.child.wait() => {
                let status = status.map_err(|error| {
                    Complaint::unexpected(format!("cannot wait for the command: {error}"))
                })?;
                return Ok(match why.or_else(|| guard.lost()) {
                    Some(why) => {
                        // What it started must not go on either.
                        running.send(Signal::KILL);
                        Ended::Lost(why)
                    }
                    None => Ended::Held(status),
                });
            }
            number = signals.next() => {
                // A terminal has sent these to the whole foreground group.
                let by_terminal = !running.has_group && [Signal::INT, Signal::QUIT].contains(&number);
                if !by_terminal {
                    running.send(number);
                }
            }
            () = tokio::time::sleep(TICK) => {}
        }
        let is_over = killed_at.is_some_and(|deadline| Instant::now() >= deadline);
        if let Some(lost) = guard.lost() {
            why.get_or_insert(lost);
            running.send(Signal::KILL);
        } else if is_over {
            running.send(Signal::KILL);
        } else if killed_at.is_none() && guard.remaining() <= margin {
            killed_at = Some(Instant::now() + guard.remaining());
            why = Some(Lost::Expired);
            running.send(Signal::TERM);
            // A stopped process cannot stop itself.
            running.send(Signal::CONT);
        }
    }
}

/// For how long a command that ends while it stands in a line goes on, so that it leaves the line at once: dropping
/// a place gives it back in the background.
const FAREWELL: Duration = Duration::from_millis(300);

/// Waits for what is `wanted`, unless somebody asks for the end.
pub(crate) async fn unless_ended<T>(
    signals: &mut Signals,
    wanted: impl Future<Output = Result<T, Complaint>>,
) -> Result<T, Complaint> {
    let number = tokio::select! {
        done = wanted => return done,
        number = signals.end() => number,
    };
    tokio::time::sleep(FAREWELL).await;
    Err(Complaint::interrupted(false).exits(exit_of_signal(number)))
}

/// Which lease something lives on, as people see it.
pub(crate) fn lease_text(lease: LeaseId) -> String {
    format!("{:x}", lease.0)
}
