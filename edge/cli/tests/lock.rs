//! What `quorate lock` does when the lock is lost: real processes, a real cluster, real signals.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fs;
use std::path::Path;
use std::time::Instant;
use support::*;

/// A command that writes down what happens to it, and does not listen to SIGTERM.
fn stubborn(trace: &Path) -> String {
    format!(
        "trap 'echo warned >> {trace}' TERM; echo $$ $QUORATE_LOCK_TOKEN >> {trace}; \
         while :; do sleep 0.05; done",
        trace = trace.display()
    )
}

fn lines(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The process id and the token that the command wrote down.
fn begun(trace: &Path) -> (u32, u64) {
    let line = until("the command runs", || lines(trace).into_iter().next());
    let (pid, token) = line.split_once(' ').unwrap();
    (pid.parse().unwrap(), token.parse().unwrap())
}

/// A holder that is cut off: warned, then ended, and only then the next one holds.
#[test]
fn a_holder_that_is_cut_off_is_warned_and_ended_before_the_next_one_holds() {
    let cluster = Cluster::start(3);
    let way = Way::to(cluster.members[0].address);
    let trace = cluster.scratch.path("trace");
    let command = stubborn(&trace);
    let arguments = [
        "lock", "jobs", "--ttl", "3s", "-o", "json", "--", "sh", "-c", &command,
    ];
    let mut first = cluster.begin(&way.address.to_string(), &arguments, "first.log");
    let (pid, token) = begun(&trace);

    // The next one sees, the moment it holds, what has become of the first one.
    let look = format!("cat {}; kill -0 {pid} 2>&1 || echo gone", trace.display());
    let arguments = ["lock", "jobs", "-q", "--", "sh", "-c", &look];
    let mut second = cluster.begin(&cluster.endpoints(), &arguments, "second.log");
    until("the second one waits", || {
        let look = cluster.quorate(&["lock", "jobs", "--look"]);
        look.out.contains("waits").then_some(())
    });
    way.cut();

    assert_eq!(first.end(), Some(8));
    assert!(!is_alive(pid), "the command outlived the lock");
    let said = fs::read_to_string(cluster.scratch.path("first.log")).unwrap();
    let error: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(error["code"], "Q4005", "{said}");

    assert_eq!(second.end(), Some(0));
    let seen = fs::read_to_string(cluster.scratch.path("second.log")).unwrap();
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(
        seen[..2],
        [format!("{pid} {token}").as_str(), "warned"],
        "{seen:?}"
    );
    assert_eq!(seen.last(), Some(&"gone"), "{seen:?}");

    // The first one's token is refused, and both are named.
    let fence = format!("jobs={token}");
    let late = cluster.quorate(&[
        "lock", "jobs", "-q", "--", QUORATE, "put", "k", "late", "--fence", &fence,
    ]);
    assert_eq!(late.code, Some(4), "{late:?}");
    assert!(late.err.contains("error[Q4001]"), "{late:?}");
    let named = regex::Regex::new(&format!(r"\b{token}\b.*\b(\d+)\b")).unwrap();
    let newest = named
        .captures(&late.err)
        .map(|found| found[1].parse::<u64>().unwrap());
    assert!(newest.is_some_and(|newest| newest > token), "{late:?}");
    assert!(
        late.err.contains("did not take effect, and never will"),
        "{late:?}"
    );
    assert_eq!(cluster.quorate(&["get", "k"]).code, Some(3));
}

#[test]
fn a_command_that_listens_ends_by_itself_and_in_time() {
    let cluster = Cluster::start(1);
    let way = Way::to(cluster.members[0].address);
    let trace = cluster.scratch.path("trace");
    // It says how it ended; SIGKILL would leave no time for that.
    let command = format!(
        "trap 'echo cleaned up >> {trace}; exit 0' TERM; echo $$ $QUORATE_LOCK_TOKEN >> {trace}; \
         while :; do sleep 0.05; done",
        trace = trace.display()
    );
    let arguments = ["lock", "jobs", "--ttl", "3s", "--", "sh", "-c", &command];
    let mut holder = cluster.begin(&way.address.to_string(), &arguments, "holder.log");
    begun(&trace);
    way.cut();
    // The command's own code does not count: what it did may have been in vain.
    assert_eq!(holder.end(), Some(8));
    assert_eq!(lines(&trace).last().map(String::as_str), Some("cleaned up"));
}

/// The pause: quorate itself stands still for longer than the lock lives.
#[test]
fn a_holder_that_was_stopped_ends_its_command_the_moment_it_goes_on() {
    let cluster = Cluster::start(3);
    let trace = cluster.scratch.path("trace");
    let command = stubborn(&trace);
    let arguments = [
        "lock", "jobs", "--ttl", "2s", "-o", "json", "--", "sh", "-c", &command,
    ];
    let mut paused = cluster.begin(&cluster.endpoints(), &arguments, "paused.log");
    let (pid, old) = begun(&trace);
    signal("STOP", paused.pid());

    // Another one gets the lock, and with it a newer token.
    let other = cluster.quorate(&[
        "lock",
        "jobs",
        "-q",
        "--",
        "sh",
        "-c",
        "echo $QUORATE_LOCK_TOKEN",
    ]);
    let new: u64 = other.out.trim().parse().unwrap();
    assert!(new > old, "{new} {old}");
    assert!(
        is_alive(pid),
        "nobody could stop it: that is what fences are for"
    );
    let late = cluster.quorate(&[
        "put",
        "k",
        "late",
        "--fence",
        &format!("jobs={old}"),
        "-o",
        "json",
    ]);
    assert_eq!(late.code, Some(4), "{late:?}");
    assert_eq!(late.error()["code"], "Q4001");
    assert_eq!(late.error()["token"], old.to_string());
    assert_eq!(late.error()["effect"], "none");

    let went_on = Instant::now();
    signal("CONT", paused.pid());
    assert_eq!(paused.end(), Some(8));
    assert!(!is_alive(pid));
    // There was nothing left to warn of: it was killed at once, long before any margin.
    assert!(
        went_on.elapsed().as_millis() < 1500,
        "{:?}",
        went_on.elapsed()
    );
    assert_eq!(lines(&trace).len(), 1, "{:?}", lines(&trace));
    let said = fs::read_to_string(cluster.scratch.path("paused.log")).unwrap();
    assert!(said.contains("Q4005"), "{said}");
}

#[test]
fn signals_are_passed_on_and_the_lock_is_given_back() {
    let cluster = Cluster::start(1);
    let trace = cluster.scratch.path("trace");
    let command = format!(
        "trap 'echo heard >> {trace}' USR1; trap 'exit 9' INT; echo $$ $QUORATE_LOCK_TOKEN >> {trace}; \
         while :; do sleep 0.05; done",
        trace = trace.display()
    );
    let arguments = ["lock", "jobs", "--ttl", "60s", "--", "sh", "-c", &command];
    let mut holder = cluster.begin(&cluster.endpoints(), &arguments, "holder.log");
    begun(&trace);
    signal("USR1", holder.pid());
    until("the command hears it", || {
        lines(&trace).contains(&"heard".to_owned()).then_some(())
    });
    signal("INT", holder.pid());
    assert_eq!(holder.end(), Some(9));
    // Its lease would have lived for a minute.
    let next = cluster.quorate(&["lock", "jobs", "--wait", "0s", "--", "true"]);
    assert_eq!(next.code, Some(0), "{next:?}");
}

#[test]
fn whoever_is_interrupted_in_the_line_leaves_it() {
    let cluster = Cluster::start(1);
    let trace = cluster.scratch.path("trace");
    let command = stubborn(&trace);
    let arguments = ["lock", "jobs", "--", "sh", "-c", &command];
    let mut holder = cluster.begin(&cluster.endpoints(), &arguments, "holder.log");
    begun(&trace);
    let arguments = ["lock", "jobs", "--ttl", "60s", "--", "true"];
    let mut waiter = cluster.begin(&cluster.endpoints(), &arguments, "waiter.log");
    let waits = || {
        cluster
            .quorate(&["lock", "jobs", "--look"])
            .out
            .contains("waits")
    };
    until("it waits", || waits().then_some(()));
    signal("INT", waiter.pid());
    assert_eq!(waiter.end(), Some(130));
    until("it has left", || (!waits()).then_some(()));
    // What quorate started does not outlive it, even when nobody asks it.
    signal("KILL", holder.pid());
    holder.end();
    let (pid, _) = begun(&trace);
    until("the command ends", || (!is_alive(pid)).then_some(()));
}

/// What a command leaves behind must not run under a lock that somebody else holds.
#[test]
fn what_a_command_leaves_behind_ends_before_the_lock_is_given_back() {
    let cluster = Cluster::start(1);
    let trace = cluster.scratch.path("trace");
    // The one it leaves behind is not told apart by listening: it ends by SIGKILL.
    let command = format!(
        "sh -c 'trap \"echo told >> {trace}\" TERM; echo $$ 0 >> {trace}; while :; do sleep 0.05; done' & \
         while ! test -s {trace}; do sleep 0.05; done; exit 5",
        trace = trace.display()
    );
    let ended = cluster.quorate(&["lock", "jobs", "--ttl", "60s", "--", "sh", "-c", &command]);
    let (pid, _) = begun(&trace);
    assert!(!is_alive(pid), "it outlived the lock");
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(lines(&trace).last().map(String::as_str), Some("told"));
    let next = cluster.quorate(&["lock", "jobs", "--wait", "0s", "--", "true"]);
    assert_eq!(next.code, Some(0), "{next:?}");
}

/// Whether a process is stopped.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap().trim().starts_with('T')
}

#[test]
fn a_holder_that_is_told_to_stop_stops_its_command_too() {
    let cluster = Cluster::start(1);
    let trace = cluster.scratch.path("trace");
    let command = stubborn(&trace);
    let arguments = ["lock", "jobs", "--ttl", "3s", "--", "sh", "-c", &command];
    let mut holder = cluster.begin(&cluster.endpoints(), &arguments, "holder.log");
    let (pid, _) = begun(&trace);
    let stop = || {
        signal("TSTP", holder.pid());
        until("both are stopped", || {
            (is_stopped(pid) && is_stopped(holder.pid())).then_some(())
        });
    };
    stop();
    signal("CONT", holder.pid());
    until("both go on", || {
        (!is_stopped(pid) && !is_stopped(holder.pid())).then_some(())
    });
    assert!(is_alive(pid), "the lock is still held");

    stop();
    let other = cluster.quorate(&["lock", "jobs", "-q", "--", "true"]);
    assert_eq!(other.code, Some(0), "{other:?}");
    assert!(is_stopped(pid), "it ran past the lock");
    signal("CONT", holder.pid());
    assert_eq!(holder.end(), Some(8));
    assert!(!is_alive(pid));
    assert_eq!(lines(&trace).len(), 1, "{:?}", lines(&trace));
}

/// Starts the binary at a terminal of its own, whose other end is returned.
fn begin_at_terminal(endpoints: &str, arguments: &[&str]) -> (Running, fs::File) {
    use rustix::{fs as files, process, pty};
    use std::os::unix::process::CommandExt as _;

    let keys = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&keys).unwrap();
    pty::unlockpt(&keys).unwrap();
    let flags = files::OFlags::RDWR | files::OFlags::NOCTTY;
    let name = pty::ptsname(&keys, Vec::new()).unwrap();
    let terminal = files::open(name, flags, files::Mode::empty()).unwrap();
    let mut command = std::process::Command::new(QUORATE);
    command
        .args(arguments)
        .env("QUORATE_ENDPOINTS", endpoints)
        .env("QUORATE_CONFIG_DIR", "/nowhere/at/all")
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            process::setsid()?;
            process::ioctl_tiocsctty(std::os::fd::BorrowedFd::borrow_raw(0))?;
            Ok(())
        });
    }
    (Running(command.spawn().unwrap()), keys.into())
}

/// A script at a terminal: what it runs at the moment reads from the terminal, and ends with the lock.
#[test]
fn at_a_terminal_the_command_reads_and_what_it_started_ends_with_the_lock() {
    let cluster = Cluster::start(1);
    let way = Way::to(cluster.members[0].address);
    let trace = cluster.scratch.path("trace");
    let command = format!(
        "sh -c 'trap \"\" TERM HUP; read x; echo $$ $x >> {trace}; while :; do sleep 0.05; done'; true",
        trace = trace.display()
    );
    let arguments = ["lock", "jobs", "--ttl", "3s", "--", "sh", "-c", &command];
    let (mut holder, mut keys) = begin_at_terminal(&way.address.to_string(), &arguments);
    std::io::Write::write_all(&mut keys, b"4711\n").unwrap();
    let (pid, read) = begun(&trace);
    assert_eq!(read, 4711);
    way.cut();
    assert_eq!(holder.end(), Some(8));
    assert!(!is_alive(pid), "it outlived the lock");
}

#[test]
fn an_election_that_nobody_has_won_is_won_without_waiting() {
    let cluster = Cluster::start(1);
    let trace = cluster.scratch.path("trace");
    let won = cluster.quorate(&[
        "elect", "db", "a", "--wait", "0s", "--", "sh", "-c", "exit 7",
    ]);
    assert_eq!(won.code, Some(7), "{won:?}");
    let command = stubborn(&trace);
    let arguments = ["elect", "db", "a", "--", "sh", "-c", &command];
    let _leader = cluster.begin(&cluster.endpoints(), &arguments, "leader.log");
    begun(&trace);
    let not_won = cluster.quorate(&["elect", "db", "b", "--wait", "0s", "--", "true"]);
    assert_eq!(not_won.code, Some(124), "{not_won:?}");
}
