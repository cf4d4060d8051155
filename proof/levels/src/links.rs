//! What stands between the members: each advertises a port of ours and listens at another one, and what arrives is
//! passed on until one of the two is cut off.
//!
//! ```text
//!   member 1 ──► port that 2 advertises ──► [who dials? is 1 or 2 cut off?] ──► port where 2 listens
//! ```
//!
//! Who dials is asked of the kernel (`/proc`): which of the members' processes holds the other end. So nothing of the
//! members' own language is known here.

use cluster::Place;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Members that are cut off, by position.
type Cut = BTreeSet<usize>;

/// The links among some members. They end with the runtime on which they were opened.
pub struct Links {
    cut: watch::Sender<Cut>,
    /// For each member, how many connections from or to it are open.
    open: Arc<[AtomicUsize]>,
}

impl Links {
    /// Takes the ports that the members at `places` will advertise.
    ///
    /// # Errors
    /// One is taken.
    pub async fn bind(places: &[Place]) -> io::Result<Vec<TcpListener>> {
        let mut listeners = Vec::new();
        for place in places {
            listeners.push(TcpListener::bind((&*place.host, place.peer_port)).await?);
        }
        Ok(listeners)
    }

    /// Passes on what comes to `listeners`, as long as nobody is cut off. `processes` are the members'.
    ///
    /// # Panics
    /// A place has no port behind the advertised one.
    pub fn open(listeners: Vec<TcpListener>, places: &[Place], processes: &[u32]) -> Links {
        let (cut, _) = watch::channel(Cut::new());
        let open: Arc<[AtomicUsize]> = places.iter().map(|_| AtomicUsize::new(0)).collect();
        let processes: Arc<[u32]> = processes.into();
        for (member, listener) in listeners.into_iter().enumerate() {
            let behind = places[member].peer_port_behind;
            let link = Link {
                member,
                port: behind.expect("the member listens behind the port"),
                processes: processes.clone(),
                cut: cut.subscribe(),
                open: open.clone(),
            };
            tokio::spawn(link.serve(listener));
        }
        Links { cut, open }
    }

    /// Cuts a member off from all others: connections end, and new ones as soon as they are made. Returns when that is so.
    pub async fn cut(&self, member: usize) {
        self.cut.send_modify(|cut| {
            cut.insert(member);
        });
        while self.open[member].load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets a member be reached again.
    pub fn heal(&self, member: usize) {
        self.cut.send_modify(|cut| {
            cut.remove(&member);
        });
    }
}

/// The way to one member.
#[derive(Clone)]
struct Link {
    member: usize,
    port: u16,
    processes: Arc<[u32]>,
    cut: watch::Receiver<Cut>,
    open: Arc<[AtomicUsize]>,
}

/// Counts a connection as open while it lives.
struct Counted(Arc<[AtomicUsize]>, [usize; 2]);

impl Counted {
    fn new(open: &Arc<[AtomicUsize]>, ends: [usize; 2]) -> Counted {
        for end in ends {
            open[end].fetch_add(1, Ordering::SeqCst);
        }
        Counted(open.clone(), ends)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for end in self.1 {
            self.0[end].fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Link {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(self.clone().pass_on(stream, from));
        }
    }

    async fn pass_on(mut self, mut stream: TcpStream, from: SocketAddr) {
        let Some(dialer) = dialer(from.port(), &self.processes) else {
            return; // It has hung up already.
        };
        let ends = [dialer, self.member];
        // First counted, then looked: whoever cuts meanwhile waits for this connection.
        let _counted = Counted::new(&self.open, ends);
        let is_cut = |cut: &Cut| ends.iter().any(|end| cut.contains(end));
        if is_cut(&self.cut.borrow_and_update()) {
            return;
        }
        let Ok(mut behind) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return;
        };
        // What the members set themselves must not be undone between them.
        let _ = (stream.set_nodelay(true), behind.set_nodelay(true));
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut behind) => {}
            _ = self.cut.wait_for(is_cut) => {}
        }
    }
}

/// Which of the processes has a connection from this port of loopback.
fn dialer(port: u16, processes: &[u32]) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    // proc(5): sl, local address, remote address, state, queues, timer, retransmissions, uid, timeout, inode.
    let local = format!("0100007F:{port:04X}");
    let inode = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&&*local))
        .and_then(|fields| fields.get(9).map(|inode| (*inode).to_owned()))?;
    let wanted = format!("socket:[{inode}]");
    processes.iter().position(|process| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
            return false;
        };
        files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|link| link.as_os_str() == &*wanted)
    })
}
