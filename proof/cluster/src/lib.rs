//! Real clusters of real processes: members of any server that takes etcd's flags, on loopback (or
//! in network namespaces), each with its own ports and data directory.
//!
//! ```text
//!   server.rs    Server: which program, under which name, with which extra flags
//!   member.rs    Member: one process; start, kill -9, stop, ask it to end
//!   ports.rs     ports that nobody holds and that no outgoing connection takes meanwhile
//!   postgres.rs  Postgres: a resource outside, which locks protect and gates guard
//!   usage.rs     what a process used: CPU time, resident memory
//!   net.rs       Net: a network namespace for each member, with iptables and cables to pull (root)
//!   image.rs     Image: a small file system for one member's data, to fill and to cut from power (root)
//! ```
//!
//! The tests and the benchmark judge a server from outside, and so this crate knows nothing of ours:
//! no wire, no store, no RPC. When a cluster *serves* is for the caller's client to find out.
//! Everything that was started ends with the [`Cluster`] value; data directories stay where the caller
//! said, and go when it is a [`TempDir`].
//!
//! Linux only: usage is read from `/proc`.

mod image;
mod member;
mod net;
mod ports;
mod postgres;
mod server;
mod temp;
mod usage;

pub use image::Image;
pub use member::{Member, Place};
pub use net::Net;
pub use ports::free_port;
pub use postgres::Postgres;
pub use server::Server;
pub use temp::TempDir;
pub use usage::{Usage, usage};

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Members that were started as one new cluster, and those that joined it later.
pub struct Cluster {
    /// The members, in the order in which they were named.
    pub members: Vec<Member>,
    server: Server,
    folder: std::path::PathBuf,
    token: String,
}

impl Cluster {
    /// Starts `n` members (`n1`, `n2`, …) of `server` on loopback with data under `folder`, which is created.
    /// Returns at once; the members may not serve yet.
    ///
    /// # Errors
    /// No folder, no free port, or no process.
    pub fn start(server: &Server, folder: &Path, n: usize) -> io::Result<Cluster> {
        let places = (0..n)
            .map(|_| Place::loopback())
            .collect::<io::Result<Vec<_>>>()?;
        Cluster::start_at(server, folder, places)
    }

    /// As [`Cluster::start`], with the addresses (and namespaces) of the members given.
    ///
    /// # Errors
    /// No folder or no process.
    pub fn start_at(server: &Server, folder: &Path, places: Vec<Place>) -> io::Result<Cluster> {
        std::fs::create_dir_all(folder)?;
        let initial: Vec<String> = places
            .iter()
            .enumerate()
            .map(|(i, place)| format!("n{}={}", i + 1, place.peer_url()))
            .collect();
        let initial = initial.join(",");
        // One token a cluster: a member of another test that finds this port is turned away.
        let token = format!("{}-{}", std::process::id(), folder.display());
        let mut cluster = Cluster {
            members: Vec::new(),
            server: server.clone(),
            folder: folder.into(),
            token,
        };
        for (i, place) in places.into_iter().enumerate() {
            let name = format!("n{}", i + 1);
            let mut member = cluster.member(&name, place, &initial, "new");
            member.start()?;
            cluster.members.push(member);
        }
        Ok(cluster)
    }

    /// A further member, not started yet. `initial` is the list that the add answered: `name=peer URL`, by commas.
    pub fn member(&self, name: &str, place: Place, initial: &str, state: &str) -> Member {
        Member::new(
            &self.server,
            name,
            place,
            &self.folder,
            initial,
            state,
            &self.token,
        )
    }

    /// The client URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::client_url).collect()
    }

    /// What the members that run have used so far, together.
    pub fn usage(&self) -> Usage {
        self.members
            .iter()
            .filter_map(Member::usage)
            .fold(Usage::default(), |sum, one| sum + one)
    }

    /// Has a small shell wait for the end of this process, however it ends, and then kill the members and remove
    /// the folder. For clusters in statics, which nobody drops. Members started later are not known to it.
    ///
    /// # Errors
    /// No shell.
    pub fn end_with_this_process(&self) -> io::Result<()> {
        // Its input is a pipe from us: when we are gone, `read` meets the end of it.
        let script = "folder=$1; shift; read -r _; kill -9 \"$@\"; rm -rf \"$folder\"";
        let mut guardian = Command::new("sh")
            .args(["-c", script, "guardian"])
            .arg(&self.folder)
            .args(
                self.members
                    .iter()
                    .filter_map(Member::pid)
                    .map(|pid| pid.to_string()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Kept open until the end of the process, on purpose.
        std::mem::forget(guardian.stdin.take());
        Ok(())
    }

    /// The last lines of every member's log, for a failure that must explain itself.
    pub fn last_words(&self) -> String {
        self.members
            .iter()
            .map(|m| format!("--- {}\n{}\n", m.name, m.last_words(15)))
            .collect()
    }
}

/// Nothing if a program ended well, its words otherwise.
fn said(run: &Output, program: &str, arguments: &str) -> io::Result<()> {
    if run.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&run.stderr);
    Err(io::Error::other(format!(
        "{program} {arguments}: {}",
        words.trim()
    )))
}
