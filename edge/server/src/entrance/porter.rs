//! TLS handshakes, on a thread of their own, so that whoever never finishes one costs next to nothing.
//!
//! ```text
//!   accept ─► silent ── first byte ──► talking ── done ──► handed over to the member's thread
//!               │                         │
//!               └── too many: the oldest silent one is closed, if it had its chance; else the oldest of all
//!               └── HANDSHAKE_TIMEOUT after it was accepted: closed
//! ```
//!
//! A handshake costs a signature (RSA of 2048 bits: about a millisecond), which the member's thread does not have, and
//! whoever connects can ask for it. So one thread of lower priority makes them all, one after another, for all doors:
//! a storm of handshakes takes at most that thread's share of one processor, and connections that stand do not
//! notice it.
//!
//! What an unfinished handshake costs: a descriptor and about [`SILENT_BYTES`] while it is silent (TLS's state is made
//! when the first byte comes), and at most [`TALKING_BYTES_MAX`] after that. At most [`HANDSHAKES_MAX`] are under way
//! for each door. Beyond that the oldest goes, the silent ones first: an honest client speaks at once, so it is
//! the last that idle connections can push out. But one that came within [`GRACE`] is not silent yet: where all others
//! talk, it would be the newcomer that goes each time.

use super::listener::{Bound, StdBound, Visitor, name};
use super::socket::{Raw, Sealed, Socket, StdRaw};
use crate::grpc::prepare;
use crate::tls::{Certificate, Security};
use base::Chain;
use rustls::server::ServerConnection;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Handshakes under way at one door.
pub(crate) const HANDSHAKES_MAX: usize = 1024;

/// The time in which a handshake must be done, from the first to the last byte.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which an honest client's first words are here.
const GRACE: Duration = Duration::from_millis(100);

/// Bytes of memory of a connection that has said nothing.
const SILENT_BYTES: usize = 4 * 1024;

/// Bytes of memory of a handshake under way: TLS holds at most one whole message of a handshake, 64 KiB, and what is to
/// be sent.
const TALKING_BYTES_MAX: usize = 128 * 1024;

/// Finished handshakes that wait for the member's thread. Then the porter waits.
const HANDED_OVER_MAX: usize = 64;

/// How much less important than serving clients handshakes are (`nice`).
const NICE: i32 = 5;

const _: () = {
    // All that strangers can make us hold at one door.
    assert!(HANDSHAKES_MAX * (SILENT_BYTES + TALKING_BYTES_MAX) <= 256 * 1024 * 1024);
};

/// The thread that does the handshakes of all doors. It is there from the first door on, and ends when this is dropped
/// and no door is left.
#[derive(Debug, Default)]
pub(crate) struct Porter(OnceCell<mpsc::UnboundedSender<Watched>>);

/// A door to watch.
struct Watched {
    bound: StdBound,
    security: Arc<Security>,
    done: mpsc::Sender<Done>,
}

/// A finished handshake on its way between two threads.
struct Done {
    raw: StdRaw,
    session: ServerConnection,
    from: Option<SocketAddr>,
    certificate: Option<Arc<Certificate>>,
}

/// Finished handshakes of one door.
#[derive(Debug)]
pub(super) struct Shown(mpsc::Receiver<Done>);

impl Shown {
    pub(super) async fn next(&mut self) -> io::Result<Visitor> {
        let Some(done) = self.0.recv().await else {
            // Ends with the process only.
            return std::future::pending().await;
        };
        let sealed = Sealed::new(done.raw.into_tokio()?, done.session.into());
        Ok(Visitor {
            socket: Socket::Tls(Box::new(sealed)),
            from: done.from,
            certificate: done.certificate,
        })
    }
}

impl Porter {
    fn start() -> io::Result<mpsc::UnboundedSender<Watched>> {
        let (sender, doors) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("porter".to_owned())
            .spawn(move || {
                // Without the permission it is merely less polite.
                let _ = rustix::process::setpriority_process(None, NICE);
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, watch_all(doors));
            })?;
        Ok(sender)
    }

    /// Accepts at a door and does its handshakes.
    ///
    /// # Errors
    /// No thread, or no event loop.
    pub(super) fn watch(&self, bound: Bound, security: Arc<Security>) -> io::Result<Shown> {
        let (done, shown) = mpsc::channel(HANDED_OVER_MAX);
        let watched = Watched {
            bound: bound.into_std()?,
            security,
            done,
        };
        let gone = |_| io::Error::other("the thread for handshakes is gone");
        let porter = match self.0.get() {
            Some(porter) => porter,
            None => {
                let started = Porter::start()?;
                self.0.get_or_init(|| started)
            }
        };
        porter.send(watched).map_err(gone)?;
        Ok(Shown(shown))
    }
}

async fn watch_all(mut doors: mpsc::UnboundedReceiver<Watched>) {
    let mut watched = tokio::task::JoinSet::new();
    while let Some(door) = doors.recv().await {
        watched.spawn_local(watch_one(door));
    }
    while watched.join_next().await.is_some() {}
}

/// Handshakes under way at one door, by their age.
#[derive(Default)]
struct UnderWay {
    silent: BTreeMap<u64, Begun>,
    talking: BTreeMap<u64, Begun>,
}

/// One of them.
struct Begun {
    since: Instant,
    task: AbortHandle,
}

impl UnderWay {
    fn begins(&mut self, age: u64, task: AbortHandle) {
        let since = Instant::now();
        self.silent.insert(age, Begun { since, task });
    }

    /// Closes the one that deserves it most, if there are too many.
    fn make_room(&mut self) -> bool {
        if self.silent.len() + self.talking.len() < HANDSHAKES_MAX {
            return false;
        }
        self.close_oldest();
        true
    }

    fn close_oldest(&mut self) {
        let silent = self.silent.first_key_value();
        let talking = self.talking.first_key_value();
        let is_silents_turn = match (silent, talking) {
            (Some((silent, begun)), Some((talking, _))) => {
                begun.since.elapsed() >= GRACE || silent < talking
            }
            (silent, _) => silent.is_some(),
        };
        let oldest = match is_silents_turn {
            true => self.silent.pop_first(),
            false => self.talking.pop_first(),
        };
        if let Some((_, begun)) = oldest {
            begun.task.abort();
        }
    }

    fn speaks(&mut self, age: u64) {
        if let Some(begun) = self.silent.remove(&age) {
            self.talking.insert(age, begun);
        }
    }

    fn ends(&mut self, age: u64) {
        self.silent.remove(&age);
        self.talking.remove(&age);
    }
}

async fn watch_one(door: Watched) {
    let Watched {
        bound,
        security,
        done,
    } = door;
    let bound = match bound.into_tokio() {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "cannot listen");
            return;
        }
    };
    let under_way = Rc::new(RefCell::new(UnderWay::default()));
    let mut is_crowded = false;
    for age in 0_u64.. {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            () = done.closed() => return,
        };
        let (raw, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely, and then those who do not finish have them.
                under_way.borrow_mut().close_oldest();
                warn!(error = %Chain(&error), "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let has_closed_one = under_way.borrow_mut().make_room();
        if has_closed_one && !is_crowded {
            warn!(
                limit = HANDSHAKES_MAX,
                "too many TLS handshakes under way: the oldest are closed"
            );
        }
        is_crowded = has_closed_one;
        let (security, done, under) = (security.clone(), done.clone(), under_way.clone());
        let task = tokio::task::spawn_local(async move {
            let shaken = shake_hands(raw, from, &security, || under.borrow_mut().speaks(age));
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaken).await {
                // Nobody takes it: the member stops.
                Ok(Ok(shaken)) => drop(done.send(shaken).await),
                Ok(Err(error)) => refused(from, &error),
                Err(_) => debug!(from = name(from), "a TLS handshake took too long"),
            }
            under.borrow_mut().ends(age);
        });
        under_way.borrow_mut().begins(age, task.abort_handle());
    }
}

/// Says why somebody was not let in. Whoever merely went away is no news.
fn refused(from: Option<SocketAddr>, error: &io::Error) {
    let from = name(from);
    match error.kind() {
        io::ErrorKind::InvalidData => {
            // etcd's words, which people look for.
            warn!(remote_addr = from, error = %Chain(error), "rejected connection");
        }
        _ => debug!(remote_addr = from, error = %Chain(error), "a TLS handshake was broken off"),
    }
}

async fn shake_hands(
    mut raw: Raw,
    from: Option<SocketAddr>,
    security: &Security,
    speaks: impl FnOnce(),
) -> io::Result<Done> {
    if let Raw::Tcp(tcp) = &raw {
        prepare(tcp)?;
    }
    raw.heard().await?;
    speaks();
    let config = security.server().ok_or(io::ErrorKind::InvalidInput)?;
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    super::way::complete(&mut raw, &mut session).await?;
    if let Raw::Tcp(tcp) = &raw {
        // We have nothing to say now, and a client that gathers small writes (Nagle) would wait 40 ms for the
        // acknowledgement of its last word before it sends its first request. If it fails, that is all.
        let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
    }
    let certificate = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| Certificate::read(leaf))
        .map(Arc::new);
    Ok(Done {
        raw: raw.into_std()?,
        session,
        from,
        certificate,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "tests/porter.rs"]
mod tests;
