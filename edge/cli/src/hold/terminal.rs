//! The terminal, lent to a command that has a process group of its own.
//!
//! Only the foreground group may read from a terminal and gets what its keys send. So the command's group is that
//! group while it runs, as a shell does it, and the terminal is taken back when it has ended or was stopped.

use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::io::IsTerminal as _;
use std::os::fd::BorrowedFd;

/// The terminal that standard input is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// The group of this process.
    ours: Pid,
    /// Whether others of this group, as a pager, read what the command writes, and need the terminal themselves.
    is_shared: bool,
}

impl Terminal {
    /// Nothing when standard input is something else.
    pub(super) fn find() -> Option<Terminal> {
        let is_pipe = |stat: rustix::fs::Stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
        };
        std::io::stdin().is_terminal().then(|| Terminal {
            ours: getpgrp(),
            is_shared: rustix::fs::fstat(std::io::stdout()).is_ok_and(is_pipe),
        })
    }

    /// Whether the group of this process may read from it; not when a shell runs it in the background.
    pub(super) fn is_ours(self) -> bool {
        is_foreground(self.ours)
    }

    /// Whether a command gets it as soon as it begins.
    pub(super) fn is_lent_at_once(self) -> bool {
        self.is_ours() && !self.is_shared
    }

    /// Makes `group` the foreground group. A terminal that is gone has none.
    pub(super) fn lend(self, group: Pid) {
        set_foreground(group);
    }

    /// Takes it back from `group`; nothing happens when the terminal is with others. True when it was with `group`.
    pub(super) fn take_back(self, group: Pid) -> bool {
        let was_lent = is_foreground(group);
        if was_lent {
            set_foreground(self.ours);
        }
        was_lent
    }
}

/// Standard input.
fn stdin() -> BorrowedFd<'static> {
    // SAFETY: nothing in this program closes standard input.
    unsafe { BorrowedFd::borrow_raw(0) }
}

fn is_foreground(group: Pid) -> bool {
    tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == group)
}

/// Makes `group` the foreground group. Only system calls and no memory: it is used between fork and exec, too.
pub(super) fn set_foreground(group: Pid) {
    // A group in the background that changes this is stopped by SIGTTOU, unless it is blocked.
    // SAFETY: both sets are initialised by the calls before they are read, and outlive them.
    unsafe {
        let mut blocked = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        // The terminal may be gone.
        let _ = tcsetpgrp(stdin(), group);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}
