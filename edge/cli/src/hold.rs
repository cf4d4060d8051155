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
//! it: also what it leaves behind when it ends, before the lock is given back. At a terminal that group is the
//! foreground group, so that it can read and Ctrl-C reaches it. When the command is stopped there, or this process
//! is told to stop (SIGTSTP), both stop, and whoever continues this process continues the command only if the lock
//! is still held. When this process is killed, the kernel kills the command, but not what the command started; when
//! it is stopped by SIGSTOP, nobody watches the lock. That is what fences are for.

mod terminal;

use crate::complaint::Complaint;
use crate::parse;
use api::Code;
use api::proto::{Fence, Queue};
use client::{Leadership, LeaseId, LockGuard, Lost};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, getsid, kill_current_process_group,
    kill_process, kill_process_group, set_child_subreaper, set_parent_process_death_signal,
    test_kill_process_group, waitid,
};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;
use terminal::Terminal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How often the clock is looked at. The client's own alarm comes too late to warn.
const TICK: Duration = Duration::from_millis(20);

/// The most that a warning comes before the deadline.
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// How long before the deadline the command is killed: it must be gone at the deadline, not killed after it.
const KILL_AHEAD: Duration = TICK.saturating_mul(2);

/// How long what a command leaves behind has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// How long what was killed is waited for. Only what hangs in the kernel takes longer, and that runs no more.
const BURIAL_MAX: Duration = Duration::from_secs(2);

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

/// Signals that are heard. All are passed on, but for SIGTSTP and SIGCONT.
const HEARD: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::CONT,
];

/// Hears the signals that somebody sends to this process.
pub(crate) struct Signals {
    heard: Vec<(tokio::signal::unix::Signal, Signal)>,
}

impl Signals {
    /// From now on, none of them ends this process.
    pub(crate) fn listen() -> Result<Signals, Complaint> {
        let listen = |number: Signal| {
            let kind = SignalKind::from_raw(number.as_raw());
            Ok((signal(kind)?, number))
        };
        let heard: std::io::Result<Vec<_>> = HEARD.into_iter().map(listen).collect();
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
        let others = [Signal::USR1, Signal::USR2, Signal::CONT];
        loop {
            let heard = self.next().await;
            if heard == Signal::TSTP {
                stop_this_process();
            } else if !others.contains(&heard) {
                return heard;
            }
        }
    }
}

/// What a shell makes of a process that a signal ended.
pub(crate) fn exit_of_signal(number: Signal) -> u8 {
    u8::try_from(128 + number.as_raw()).unwrap_or(u8::MAX)
}

/// Stops until somebody sends SIGCONT.
fn stop_this_process() {
    // It cannot fail: a process may signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// A command that runs.
struct Running {
    child: Child,
    /// Its process group, which has the number of the command.
    group: Pid,
    terminal: Option<Terminal>,
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
            .process_group(0)
            .kill_on_drop(true);
        let terminal = Terminal::find();
        let is_lent = terminal.is_some_and(Terminal::is_lent_at_once);
        let parent = getpid();
        // SAFETY: between fork and exec only system calls are made, and no memory is taken.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have died before it was asked to tell.
                if getppid() != Some(parent) {
                    return Err(rustix::io::Errno::SRCH.into());
                }
                // Before the command can read: by this process it could come too late.
                if is_lent {
                    terminal::set_foreground(getpid());
                }
                Ok(())
            });
        }
        // Whatever loses its parent comes to this process, so that it is seen to end.
        let _ = set_child_subreaper(Some(parent));
        let spawned = command.spawn();
        if let (Err(_), Some(terminal), true) = (&spawned, terminal, is_lent) {
            // Nobody is there to have it.
            terminal.lend(rustix::process::getpgrp());
        }
        let child = spawned?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let group = pid
            .and_then(Pid::from_raw)
            .ok_or_else(|| std::io::Error::other("it has no process id"))?;
        Ok(Running {
            child,
            group,
            terminal,
        })
    }

    /// To the command and to what it started.
    fn send(&self, number: Signal) {
        // They may have ended by themselves in this moment.
        let _ = kill_process_group(self.group, number);
    }

    /// Stops the command, and then this process.
    fn suspend(&self) {
        self.send(Signal::STOP);
        let was_lent = self
            .terminal
            .is_some_and(|terminal| terminal.take_back(self.group));
        // The keys would have stopped all of this process' group, had the terminal been with it.
        if was_lent {
            let _ = kill_current_process_group(Signal::STOP);
        } else {
            stop_this_process();
        }
    }

    /// Continues the command.
    fn resume(&self) {
        if let Some(terminal) = self.terminal.filter(|terminal| terminal.is_lent_at_once()) {
            terminal.lend(self.group);
        }
        self.send(Signal::CONT);
    }

    /// Does what a shell would, if the terminal has just stopped the command.
    fn follow_terminal(&self) {
        let Some(terminal) = self.terminal else {
            return;
        };
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(self.group), options) else {
            return;
        };
        let by = status.stopping_signal();
        let is = |number: Signal| by == Some(number.as_raw());
        let wants_terminal = is(Signal::TTIN) || is(Signal::TTOU);
        // Nobody could continue the leader of a session.
        let is_first = getsid(None).is_ok_and(|session| session == getpid());
        if wants_terminal && terminal.is_ours() {
            terminal.lend(self.group);
            self.send(Signal::CONT);
        } else if is_first && is(Signal::TSTP) {
            self.send(Signal::CONT);
        } else if wants_terminal || is(Signal::TSTP) {
            self.suspend();
        }
    }

    /// Whether nothing is left of the group. Ends what waits to be buried.
    fn is_gone(&self) -> bool {
        bury_orphans(self.group);
        test_kill_process_group(self.group) == Err(rustix::io::Errno::SRCH)
    }

    /// Ends what the command, which has ended, has left in its group.
    async fn end_rest(&self, guard: &Guard, grace: Duration) {
        let mut is_warned = false;
        let mut killed_at = None;
        let began = Instant::now();
        while !self.is_gone() {
            let has_time = began.elapsed() < grace && guard.remaining() > KILL_AHEAD;
            if !has_time {
                // Again and again: it may start something in this moment.
                self.send(Signal::KILL);
                let killed_at = *killed_at.get_or_insert_with(Instant::now);
                if killed_at.elapsed() > BURIAL_MAX {
                    return;
                }
            } else if !is_warned {
                is_warned = true;
                self.send(Signal::TERM);
                self.send(Signal::CONT);
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(terminal) = self.terminal {
            terminal.take_back(self.group);
        }
    }
}

/// Takes note of the end of processes that came to this one, but not of the command's own.
fn bury_orphans(command: Pid) {
    loop {
        // SAFETY: zeroes are a valid `siginfo_t`, and the call writes no other type there; it says whose end it is
        // when it says that there is one.
        let pid = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            match libc::waitid(libc::P_ALL, 0, &raw mut info, options) {
                0 => Pid::from_raw(info.si_pid()),
                _ => None,
            }
        };
        let Some(pid) = pid.filter(|pid| *pid != command) else {
            return;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::Pid(pid), options);
    }
}

/// How the command ended, and whether what it ran under was held all the time.
enum Ended {
    Held(ExitStatus),
    Lost(Lost),
}

/// Runs the command under `guard`, and gives back what is held. The exit code is the command's own, unless it was lost.
pub(crate) async fn run(guard: Guard, job: &Job, signals: &mut Signals) -> Result<u8, Complaint> {
    let name = parse::queue_text(&job.queue);
    let token = guard.token();
    let lost = |why: Lost, note: &'static str| {
        let complaint = Complaint::coded(Code::LockLost, format!("{name}, token {token}: {why}"));
        Err(complaint.note(note))
    };
    if let Some(why) = guard.lost() {
        return lost(why, "the command was not started");
    }
    let mut running = match Running::start(job, token) {
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
    // What it started must not go on when others may hold: it ends before the lock is given back, or let go.
    let grace = match ended {
        Ended::Held(_) => GRACE,
        Ended::Lost(_) => Duration::ZERO,
    };
    running.end_rest(&guard, grace).await;
    let had_terminal = running
        .terminal
        .is_some_and(|terminal| terminal.take_back(running.group));
    drop(running);
    let ended = match (ended, guard.lost()) {
        (Ended::Held(_), Some(why)) => Ended::Lost(why),
        (ended, _) => ended,
    };
    match ended {
        Ended::Lost(why) => lost(why, "the command was ended"),
        Ended::Held(status) => {
            match guard.release().await {
                Err(error) if error.is(Code::LockLost) => {
                    return lost(Lost::Revoked, "the command was ended");
                }
                // At worst it stays taken until its lease ends.
                _ => {}
            }
            // Ctrl-C ends a script around this process, too, as if the terminal had not been lent.
            if had_terminal && status.signal() == Some(Signal::INT.as_raw()) {
                let _ = kill_current_process_group(Signal::INT);
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
    let mut deadline: Option<Instant> = None;
    let mut why = None;
    loop {
        let mut heard = None;
        tokio::select! {
            status = running.child.wait() => {
                let status = status.map_err(|error| {
                    Complaint::unexpected(format!("cannot wait for the command: {error}"))
                })?;
                return Ok(match why.or_else(|| guard.lost()) {
                    Some(why) => Ended::Lost(why),
                    None => Ended::Held(status),
                });
            }
            number = signals.next() => heard = Some(number),
            () = tokio::time::sleep(TICK) => {}
        }
        bury_orphans(running.group);
        // First of all, and after every stop: nothing goes on, nor begins again, under what is lost.
        let is_over = deadline.is_some_and(|deadline| Instant::now() + KILL_AHEAD >= deadline);
        if let Some(lost) = guard.lost() {
            why.get_or_insert(lost);
            running.send(Signal::KILL);
            continue;
        }
        if is_over || guard.remaining() <= KILL_AHEAD {
            why.get_or_insert(Lost::Expired);
            running.send(Signal::KILL);
            continue;
        }
        if deadline.is_none() && guard.remaining() <= margin {
            deadline = Some(Instant::now() + guard.remaining());
            why = Some(Lost::Expired);
            running.send(Signal::TERM);
            // A stopped process cannot stop itself.
            running.send(Signal::CONT);
        }
        // This process may stop in here: what comes next is the look at what is held, not another signal.
        match heard {
            Some(Signal::TSTP) => running.suspend(),
            Some(Signal::CONT) => running.resume(),
            Some(number) => running.send(number),
            None => running.follow_terminal(),
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
