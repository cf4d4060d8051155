//! One member: one process of the server under test.

use crate::net::spawn_in;
use crate::ports::free_port;
use crate::{Server, Usage, usage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where a member listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// An IP address, `127.0.0.1` if nothing else is said.
    pub host: String,
    /// The port for clients.
    pub client_port: u16,
    /// The port for the other members.
    pub peer_port: u16,
    /// Where it listens for them in truth, when a stranger stands at `peer_port` and passes on what he likes.
    pub peer_port_behind: Option<u16>,
    /// The network namespace in which the process runs, if not the usual one. Needs root.
    pub namespace: Option<String>,
    /// What the URL for clients begins with. For `https` the server needs flags that name its certificate.
    pub client_scheme: &'static str,
    /// The same for members.
    pub peer_scheme: &'static str,
}

impl Place {
    /// Two free ports on loopback.
    ///
    /// # Errors
    /// No port is free.
    pub fn loopback() -> io::Result<Place> {
        Ok(Place {
            host: "127.0.0.1".to_owned(),
            client_port: free_port()?,
            peer_port: free_port()?,
            peer_port_behind: None,
            namespace: None,
            client_scheme: "http",
            peer_scheme: "http",
        })
    }

    /// The same over TLS, for clients and members.
    #[must_use]
    pub fn secured(mut self) -> Place {
        (self.client_scheme, self.peer_scheme) = ("https", "https");
        self
    }

    /// `http://host:port` for clients, or `https`.
    pub fn client_url(&self) -> String {
        format!(
            "{}://{}:{}",
            self.client_scheme, self.host, self.client_port
        )
    }

    /// `http://host:port` for members.
    pub fn peer_url(&self) -> String {
        format!("{}://{}:{}", self.peer_scheme, self.host, self.peer_port)
    }

    fn peer_listen_url(&self) -> String {
        let port = self.peer_port_behind.unwrap_or(self.peer_port);
        format!("{}://{}:{port}", self.peer_scheme, self.host)
    }
}

/// One process of a server, and how to start it again. Dropping it kills it.
pub struct Member {
    /// Its `--name`.
    pub name: String,
    /// Where it listens.
    pub place: Place,
    /// Its data directory.
    pub data: PathBuf,
    log: PathBuf,
    program: PathBuf,
    flags: Vec<String>,
    /// How many of `flags` are the member's own, and not its server's.
    n_own_flags: usize,
    child: Option<Child>,
}

impl Member {
    pub(crate) fn new(
        server: &Server,
        name: &str,
        place: Place,
        folder: &Path,
        initial: &str,
        state: &str,
        token: &str,
    ) -> Member {
        let data = folder.join(name);
        let mut flags: Vec<String> = [
            ("--name", name),
            ("--data-dir", &data.display().to_string()),
            ("--listen-client-urls", &place.client_url()),
            ("--advertise-client-urls", &place.client_url()),
            ("--listen-peer-urls", &place.peer_listen_url()),
            ("--initial-advertise-peer-urls", &place.peer_url()),
            ("--initial-cluster", initial),
            ("--initial-cluster-state", state),
            ("--initial-cluster-token", token),
        ]
        .iter()
        .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()])
        .collect();
        let n_own_flags = flags.len();
        flags.extend(server.flags().iter().cloned());
        Member {
            name: name.to_owned(),
            place,
            data,
            log: folder.join(format!("{name}.log")),
            program: server.program().to_owned(),
            flags,
            n_own_flags,
            child: None,
        }
    }

    /// From its next start on it is a process of `server`, on the same data.
    pub fn become_of(&mut self, server: &Server) {
        server.program().clone_into(&mut self.program);
        self.flags.truncate(self.n_own_flags);
        self.flags.extend(server.flags().iter().cloned());
    }

    /// What it is started with for `--name`, the last that was said.
    pub fn flag(&self, name: &str) -> Option<String> {
        let said = self
            .flags
            .iter()
            .rposition(|flag| *flag == format!("--{name}"))?;
        self.flags.get(said + 1).cloned()
    }

    /// The same server with further flags, from its next start on.
    pub fn add_flags(&mut self, flags: &[&str]) {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// Starts the process on its data directory, new or old. Its output is appended to a log.
    ///
    /// # Errors
    /// The process or its log cannot be opened.
    pub fn start(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        // Variables of ours must not reach it: etcd refuses a flag that the environment sets, too.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(&self.flags).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(match &self.place.namespace {
            None => command.spawn()?,
            Some(namespace) => spawn_in(namespace, &mut command)?,
        });
        Ok(())
    }

    /// The process id, if it was started and not killed.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// `http://host:port` for clients.
    pub fn client_url(&self) -> String {
        self.place.client_url()
    }

    /// What the process has used so far; `None` if it does not run.
    pub fn usage(&self) -> Option<Usage> {
        usage(self.pid()?)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until the process ends by itself; whether it did so within `patience`.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let Some(child) = self.child.as_mut() else {
            return true;
        };
        // Where its end cannot be waited for it is not known, and that is no end.
        let has_ended = ends(child, patience).unwrap_or(false);
        if has_ended {
            self.kill(); // It has nothing left to kill, and waits for what the process leaves.
        }
        has_ended
    }

    /// The lines of its log in which `words` stand.
    pub fn said(&self, words: &str) -> Vec<String> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }

    /// The last `n` lines of its log.
    pub fn last_words(&self, n: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(n)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the end of a process at most for `patience`: its descriptor (`pidfd_open(2)`) becomes readable then.
fn ends(child: &Child, patience: Duration) -> rustix::io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    Ok(poll(&mut ended, Some(&patience))? > 0)
}
