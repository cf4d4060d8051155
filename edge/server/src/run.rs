//! From a configuration to a running member, and its end.

use crate::auth::{Doorkeeper, TokenSpecError};
use crate::clock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError};
use crate::disk::FileDisk;
use crate::durable::{BootError, Checkpoints, LogThread, boot};
use crate::front::Front;
use crate::grpc;
use crate::http::{Door, Port};
use crate::identity::{Listen, ListenAt};
use crate::member::{Member, Parts};
use crate::peers::{Peers, listen};
use ::clock::guard::DriftBound;
use base::Chain;
use etcd::auth::RootOnly;
use etcd::{EtcdDialect, Session};
use node::{Node, NodeConfig, StopReason};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tracing::{info, warn};

/// How long a leader that is asked to stop tries to hand its office over first.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a member did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it cannot be used.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A port cannot be had.
    #[error("cannot listen for {whom} on {address}")]
    Listen {
        /// `clients` or `members`.
        whom: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The timers do not fit together.
    #[error("the configuration cannot work")]
    Misconfigured(#[from] consensus::Misconfigured),
    /// Tokens cannot be made or believed as it was configured.
    #[error("the configuration cannot work")]
    Tokens(#[from] TokenSpecError),
    /// The operating system refuses a thread or a timer.
    #[error("cannot start the member")]
    Start(#[source] io::Error),
    /// The member's state is not that of the others.
    #[error("the member must not go on: {0}")]
    Stopped(String),
}

/// Runs a member until it is told to stop (`SIGTERM`, `SIGINT`) or must.
///
/// # Errors
/// It cannot start, or found out that it must not go on.
pub fn run(config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, run_here(config));
    // Every task is dropped here; what was acknowledged is durable already, so there is nothing to save.
    drop(local);
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn bind(whom: &'static str, listen: &Listen) -> Result<TcpListener, RunError> {
    let bound = match &listen.at {
        ListenAt::Tcp(address) if !listen.is_tls => TcpListener::bind(address).await,
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    bound.map_err(|source| RunError::Listen {
        whom,
        address: listen.to_string(),
        source,
    })
}

async fn run_here(config: Config) -> Result<(), RunError> {
    let mut stop = Stop::listen().map_err(RunError::Start)?;
    let doorkeeper = Doorkeeper::new(&config)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let mut clients = Vec::new();
    let mut peers = Vec::new();
    let both = match config.listen_client_http.is_empty() {
        true => Door::Clients,
        false => Door::Grpc,
    };
    for (door, whom, addresses) in [
        (both, "clients", &config.listen_client),
        (Door::Http, "clients", &config.listen_client_http),
        (Door::Metrics, "those who watch", &config.listen_metrics),
    ] {
        for address in addresses {
            clients.push((door, bind(whom, address).await?));
        }
    }
    for address in &config.listen_peer {
        peers.push(bind("members", address).await?);
    }

    let open = || FileDisk::open(&data_dir.member()).map_err(BootError::Open);
    let mut disk = open()?;
    let booted = tokio::select! {
        booted = boot(&config, &mut disk) => booted?,
        () = stop.asked() => return Ok(()),
    };
    let identity = booted.identity;
    info!(
        name = config.name, member = %identity.member, cluster = %identity.cluster,
        applied = %booted.boot.state.applied(), entries = booted.boot.entries.len(),
        "starting a member"
    );
    let (reports, reported) = unbounded_channel();
    let started = Checkpoints::start(identity, booted.catalog, open()?, reports.clone());
    let checkpoints = started.map_err(RunError::Start)?;
    let disk = disk.with_undertaker(checkpoints.undertaker());
    let log = LogThread::start(booted.log, disk, checkpoints.clone(), reports.clone());
    let origin = wire::Origin {
        cluster: identity.cluster,
        member: identity.member,
    };
    let incarnation = data_dir.next_incarnation((clock::wall_ms() / 1000) as u32)?;
    let member = Member::new(Parts {
        identity,
        node: Node::new(
            node_config(&config, identity, incarnation),
            booted.boot,
            vec![
                Box::new(EtcdDialect),
                Box::new(RootOnly::new(native::KeyDialect, crate::native::locked)),
                Box::new(RootOnly::new(native::LineDialect, crate::native::locked)),
            ],
            clock::now(),
        )?,
        session: session(&config, identity.member.0 ^ clock::wall_ms() << 20),
        planner: planner(
            &config,
            &identity,
            identity.member.0 ^ clock::wall_ms() << 21,
        ),
        peers: Peers::new(origin, &config.name),
        log: log.map_err(RunError::Start)?,
        checkpoints,
        reports: reports.clone(),
        doorkeeper,
        config,
    });

    let spawn = tokio::task::spawn_local::<std::pin::Pin<Box<dyn Future<Output = ()>>>>;
    spawn(Box::pin(member.clone().reports(reported)));
    spawn(Box::pin(member.clone().pump()));
    spawn(Box::pin(member.clone().ticks()));
    for listener in peers {
        spawn(Box::pin(listen(
            listener,
            origin,
            member.clone(),
            reports.clone(),
        )));
    }
    member.connect(&booted.introduced);
    let limits = grpc::Limits {
        message_bytes_max: member.config.request_bytes_max + base::limits::REQUEST_OVERHEAD_BYTES,
        ..grpc::Limits::default()
    };
    for (door, listener) in clients {
        let port = Rc::new(Port::new(&member, door));
        spawn(Box::pin(grpc::serve(listener, port, limits)));
    }
    spawn(Box::pin(Front(member.clone()).withdrawals()));
    spawn(Box::pin(Front(member.clone()).publish()));

    tokio::select! {
        () = stop.asked() => {
            info!("asked to stop");
            hand_over(&member).await;
            info!("stopped");
            Ok(())
        }
        reason = member.stopped() => match reason {
            StopReason::Removed => Ok(()),
            StopReason::Diverged { index, theirs, ours } => {
                let why = format!("at entry {index} the digest is {ours:016x} and not {theirs:016x}");
                data_dir.quarantine(&why)?;
                Err(RunError::Stopped(why))
            }
            StopReason::TooOld { needs } => Err(RunError::Stopped(format!(
                "the log has a command of version {needs}, which this program does not know; \
                 install a newer one"
            ))),
        },
    }
}

fn node_config(config: &Config, identity: storage::Identity, incarnation: u32) -> NodeConfig {
    NodeConfig {
        incarnation,
        heartbeat: config.heartbeat,
        election: config.election,
        snapshot_count: config.snapshot_count,
        learners_max: config.learners_max,
        read_lease: config.read_lease_drift_ppm.and_then(DriftBound::from_ppm),
        clock_ahead_max: config.clock_ahead_max,
        ..NodeConfig::new(identity.cluster, identity.member)
    }
}

fn session(config: &Config, seed: u64) -> Session {
    let limits = etcd::Limits {
        request_bytes_max: config.request_bytes_max,
        txn_ops_max: config.txn_ops_max,
        lease_ttl_min_s: config.lease_ttl_min_s(),
        quota_bytes: config.quota_bytes.unwrap_or(0),
    };
    Session::new(limits, seed)
}

fn planner(config: &Config, identity: &storage::Identity, seed: u64) -> native::Session {
    let limits = native::Limits {
        request_bytes_max: config.request_bytes_max,
        txn_ops_max: config.txn_ops_max,
        lease_ttl_min_s: config.lease_ttl_min_s().max(1) as u64,
        quota_bytes: config.quota_bytes.unwrap_or(0),
        ..native::Limits::default()
    };
    native::Session::new(limits, identity.cluster, seed)
}

/// A leader that leaves in peace names its successor, so that nobody waits for an election.
async fn hand_over(member: &Rc<Member>) {
    if member.leader() != member.identity.member {
        return;
    }
    let Some(successor) = member.connected_voters().first().copied() else {
        return;
    };
    let moved = tokio::time::timeout(HANDOVER_TIMEOUT, member.move_leader(successor)).await;
    match moved {
        Ok(Ok(())) => info!(to = %successor, "leadership is handed over"),
        Ok(Err(status)) => warn!(reason = %Chain(&status), "leadership is not handed over"),
        Err(_) => warn!("leadership is not handed over in time"),
    }
}

/// The signals that ask for an end.
struct Stop {
    term: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Stop> {
        Ok(Stop {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
