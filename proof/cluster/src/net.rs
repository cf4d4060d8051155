//! Members and their clients in network namespaces of their own.
//!
//! ```text
//!   namespace 1 [member] ──┐
//!   namespace 2 [member] ──┼── bridge in a namespace of its own ── namespace c [clients]
//!   namespace 3 [member] ──┘      a cable can be pulled there
//! ```
//!
//! Nothing of it is seen from outside, so two runs never meet. Who wants to reach the members first
//! [enters](Net::enter) the clients' namespace: the thread and all threads and processes that it starts
//! from then on are in it. Needs root and iproute2.
//!
//! Processes are put into a namespace by the thread that starts them, not by `ip netns exec`: that would give
//! each a view of the mounts of its own, in which a file system lives on after it was unmounted here.

use crate::Place;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// Namespaces for members and clients, joined by a bridge. They go with the value.
pub struct Net {
    name: String,
    n_members: usize,
}

/// The third and fourth byte of the clients' address; members have their own number.
const CLIENTS: &str = "0.254";

impl Net {
    /// Namespaces for `n_members` (1, 2, …) and one for clients.
    ///
    /// # Errors
    /// No root, no `ip`, or a kernel without namespaces.
    pub fn new(n_members: usize) -> io::Result<Net> {
        // The process id keeps two runs apart.
        let net = Net {
            name: format!("q{}", std::process::id()),
            n_members,
        };
        let hub = net.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge0", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge0", "up"])?;
        for member in 1..=n_members {
            net.plug(
                &net.namespace(member),
                &member.to_string(),
                &format!("0.{member}"),
            )?;
        }
        net.plug(&net.clients(), "c", CLIENTS)?;
        Ok(net)
    }

    /// A namespace with a cable to the bridge.
    fn plug(&self, namespace: &str, end: &str, address: &str) -> io::Result<()> {
        let (hub, inside, outside) = (self.hub(), format!("m{end}"), format!("h{end}"));
        ip(&["netns", "add", namespace])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&[
            "link", "add", &inside, "netns", namespace, "type", "veth", "peer", "name", &outside,
            "netns", &hub,
        ])?;
        let address = format!("10.213.{address}/16");
        ip(&["-n", namespace, "addr", "add", &address, "dev", &inside])?;
        ip(&["-n", namespace, "link", "set", &inside, "up"])?;
        ip(&[
            "-n", &hub, "link", "set", &outside, "master", "bridge0", "up",
        ])
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    /// The namespace of a member, from 1 on.
    pub fn namespace(&self, member: usize) -> String {
        format!("{}-{member}", self.name)
    }

    /// The namespace of the clients.
    pub fn clients(&self) -> String {
        format!("{}-c", self.name)
    }

    /// The address of a member.
    pub fn host(&self, member: usize) -> String {
        format!("10.213.0.{member}")
    }

    /// The address of the clients.
    pub fn client_host(&self) -> String {
        format!("10.213.{CLIENTS}")
    }

    /// Where a member listens.
    pub fn place(&self, member: usize) -> Place {
        Place {
            host: self.host(member),
            client_port: 2379,
            peer_port: 2380,
            peer_port_behind: None,
            namespace: Some(self.namespace(member)),
            client_scheme: "http",
            peer_scheme: "http",
        }
    }

    /// Puts the calling thread, and all that it starts from now on, into the clients' namespace.
    ///
    /// # Errors
    /// No root.
    pub fn enter(&self) -> io::Result<()> {
        enter(&self.clients())
    }

    /// Pulls a member's cable at the hub (`down`), or plugs it in (`up`).
    ///
    /// # Errors
    /// The words of `ip`.
    pub fn cable(&self, member: usize, state: &str) -> io::Result<()> {
        let end = format!("h{member}");
        ip(&["-n", &self.hub(), "link", "set", &end, state])
    }

    /// Runs `iptables` with `arguments` (by blanks) in a member's namespace.
    ///
    /// # Errors
    /// The words of `iptables`.
    pub fn filter(&self, member: usize, arguments: &str) -> io::Result<()> {
        let mut command = Command::new("iptables");
        command.arg("-w").args(arguments.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = spawn_in(&self.namespace(member), &mut command)
            .map_err(|err| io::Error::other(format!("iptables: {err}")))?
            .wait_with_output()?;
        crate::said(&run, "iptables", arguments)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // The cables go with their namespaces.
        for member in 1..=self.n_members {
            ip(&["netns", "del", &self.namespace(member)]).ok();
        }
        ip(&["netns", "del", &self.clients()]).ok();
        ip(&["netns", "del", &self.hub()]).ok();
    }
}

/// Puts the calling thread into a namespace that `ip netns add` has made.
fn enter(namespace: &str) -> io::Result<()> {
    let link = File::open(format!("/run/netns/{namespace}"))?;
    move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Starts a process in a namespace. A thread of its own enters it, so that nobody else does.
pub(crate) fn spawn_in(namespace: &str, command: &mut Command) -> io::Result<Child> {
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            enter(namespace)?;
            command.spawn()
        });
        starter
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
    })
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let run = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|err| io::Error::other(format!("ip: {err}")))?;
    crate::said(&run, "ip", &arguments.join(" "))
}
