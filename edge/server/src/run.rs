//! From a configuration to a running member, and its end.

use crate::audit::{Audit, AuditThread};
use crate::auth::{Doorkeeper, TokenSpecError};
use crate::clock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError};
use crate::disk::FileDisk;
use crate::durable::{BootError, Checkpoints, LogThread, boot, dialects};
use crate::entrance::{Entrance, Porter, Way};
use crate::front::Front;
use crate::grpc;
use crate::grpc::limits::STREAMS_MAX;
use crate::http::{Common, Door, Port};
use crate::identity::{Listen, ListenAt, Url};
use crate::member::{Member, Parts};
use crate::metrics::{Metered, Metrics};
use crate::peers::{Peers, Spoken, listen};
use crate::supervisor;
use crate::tls::{Security, Side, TlsError};
use ::clock::guard::DriftBound;
use base::Chain;
use etcd::Session;
use node::{Node, NodeConfig, StopReason};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tracing::{info, warn};

/// How long a leader that is asked to stop tries to hand its office over first.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a member that is asked to stop waits for the calls under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// The audit log cannot be written.
    #[error("cannot open the audit log {}", path.display())]
    AuditLog {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be had as it was asked for.
    #[error("TLS towards {whom}")]
    Tls {
        /// `clients` or `members`.
        whom: &'static str,
        /// Why.
        source: TlsError,
    },
    /// A URL says TLS, and there is no certificate.
    #[error(
        "TLS key/cert ({}, {}) must be provided for {whom} url {url} with HTTPS scheme",
        side.flag("cert-file"), side.flag("key-file")
    )]
    NoCertificate {
        /// Whose door.
        side: Side,
        /// `client` or `peer`.
        whom: &'static str,
        /// The listener.
        url: String,
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
    allow_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let local = tokio::task::LocalSet::new();
    let mut last = None;
    let ended = local.block_on(&runtime, run_here(config, &mut last));
    // Every task is dropped here; what was acknowledged is durable already, so there is nothing to save.
    drop(local);
    // But for the last lines of the audit log: the way to its thread is gone with the tasks.
    drop(last);
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Takes all descriptors that this process may have: what a shell allows at first (1024) is fewer than the connections
/// that are served.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, ..limit }) {
        warn!(error = %error, "cannot raise the number of descriptors");
    }
}

/// One side's TLS, and what listens there.
struct Entrances<'a> {
    side: Side,
    security: Option<Arc<Security>>,
    porter: &'a Porter,
}

impl<'a> Entrances<'a> {
    /// Reads what TLS needs. `urls` are where others reach this side.
    fn open(
        side: Side,
        config: &Config,
        listens: &[Listen],
        urls: &[String],
        porter: &'a Porter,
    ) -> Result<Entrances<'a>, RunError> {
        let asked = match side {
            Side::Client => &config.client_security,
            Side::Peer => &config.peer_security,
        };
        let hosts = hosts(listens, urls);
        let opened = Security::open(side, asked, &config.tls, &config.data_dir, &hosts);
        let security = opened.map_err(|source| RunError::Tls {
            whom: Entrances::whom(side),
            source,
        })?;
        Ok(Entrances {
            side,
            security,
            porter,
        })
    }

    fn whom(side: Side) -> &'static str {
        match side {
            Side::Client => "clients",
            Side::Peer => "members",
        }
    }

    /// Also tells where it listens really.
    fn bind(&self, listen: &Listen) -> Result<(Entrance, Listen), RunError> {
        let whom = match self.side {
            Side::Client => "client",
            Side::Peer => "peer",
        };
        if listen.is_tls && self.security.is_none() {
            return Err(RunError::NoCertificate {
                side: self.side,
                whom,
                url: listen.to_string(),
            });
        }
        if !listen.is_tls && self.security.is_some() {
            let url = listen.to_string();
            warn!(
                whom,
                url,
                "scheme is HTTP while key and cert files are present; ignoring key and cert files"
            );
        }
        let bound = Entrance::bind(listen, self.security.as_ref(), self.porter);
        let (entrance, at) = bound.map_err(|source| RunError::Listen {
            whom: Entrances::whom(self.side),
            address: listen.to_string(),
            source,
        })?;
        if at != *listen {
            info!(whom, asked = %listen, address = %at, "the system has picked a port");
        }
        Ok((entrance, at))
    }
}

/// For whom a certificate is made here.
fn hosts(listens: &[Listen], urls: &[String]) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for listen in listens {
        if let ListenAt::Tcp(address) = &listen.at
            && !address.ip().is_unspecified()
        {
            hosts.push(address.ip().to_string());
        }
    }
    let urls = urls.iter().filter_map(|url| Url::parse(url).ok());
    let urls = urls.filter(|url| !url.scheme().is_unix());
    hosts.extend(urls.map(|url| url.host().to_owned()));
    hosts.sort();
    hosts.dedup();
    hosts
}

async fn run_here(config: Config, last: &mut Option<AuditThread>) -> Result<(), RunError> {
    let mut stop = Stop::listen().map_err(RunError::Start)?;
    let doorkeeper = Doorkeeper::new(&config)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let porter = Porter::default();
    let open = |side, listens, urls| Entrances::open(side, &config, listens, urls, &porter);
    let for_clients = open(
        Side::Client,
        &config.listen_client,
        &config.advertise_client,
    )?;
    let for_peers = open(Side::Peer, &config.listen_peer, &config.advertise_peer)?;
    let both = match config.listen_client_http.is_empty() {
        true => Door::Clients,
        false => Door::Grpc,
    };
    let mut clients = Vec::new();
    for (door, listens) in [
        (both, &config.listen_client),
        (Door::Http, &config.listen_client_http),
        (Door::Metrics, &config.listen_metrics),
    ] {
        for listen in listens {
            let (entrance, at) = for_clients.bind(listen)?;
            clients.push((door, at.is_tls, at.to_string(), entrance));
        }
    }
    let mut peers = Vec::new();
    for listen in &config.listen_peer {
        peers.push(for_peers.bind(listen)?.0);
    }
    let peer_security = for_peers.security.clone();
    let way = Way::new(peer_security.clone());

    let open = || FileDisk::open(&data_dir.member()).map_err(BootError::Open);
    let mut disk = open()?;
    let booted = tokio::select! {
        booted = boot(&config, &mut disk, &way) => booted?,
        _ = stop.asked() => return Ok(()),
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
    let spoken = Spoken::new(config.apply_version_max);
    let incarnation = data_dir.next_incarnation((clock::wall_ms() / 1000) as u32)?;
    let audit = match &config.audit_log {
        None => None,
        Some(path) => {
            let started = Audit::start(path, config.audit_mode);
            let (audit, thread) = started.map_err(|source| RunError::AuditLog {
                path: path.clone(),
                source,
            })?;
            *last = Some(thread);
            Some(audit)
        }
    };
    let metrics = Metrics::new(config.metrics_extensive, config.warn_apply);
    let metered = dialects().into_iter().map(|dialect| {
        let metered: Box<dyn store::Dialect + Send> =
            Box::new(Metered::new(dialect, &metrics.applied));
        metered
    });
    let metered = metered.collect();
    let member = Member::new(Parts {
        identity,
        node: Node::new(
            node_config(&config, identity, incarnation),
            booted.boot,
            metered,
            clock::now(),
        )?,
        session: session(&config, identity.member.0 ^ clock::wall_ms() << 20),
        planner: planner(
            &config,
            &identity,
            identity.member.0 ^ clock::wall_ms() << 21,
        ),
        peers: Peers::new(
            origin,
            &config.name,
            way,
            spoken.clone(),
            metrics.peers.clone(),
        ),
        log: log.map_err(RunError::Start)?,
        checkpoints,
        reports: reports.clone(),
        doorkeeper,
        metrics,
        audit,
        config,
    });

    let spawn = tokio::task::spawn_local::<std::pin::Pin<Box<dyn Future<Output = ()>>>>;
    spawn(Box::pin(member.clone().reports(reported)));
    spawn(Box::pin(member.clone().pump()));
    spawn(Box::pin(member.clone().ticks()));
    for listener in peers {
        spawn(Box::pin(listen(
            listener,
            peer_security.clone(),
            origin,
            spoken.clone(),
            member.clone(),
            reports.clone(),
            member.metrics.peers.clone(),
        )));
    }
    member.connect(&booted.introduced);
    let limits = grpc::Limits {
        message_bytes_max: member.config.request_bytes_max + base::limits::REQUEST_OVERHEAD_BYTES,
        streams_max: member
            .config
            .streams_max
            .map_or(STREAMS_MAX, |asked| asked.min(STREAMS_MAX)),
        ..grpc::Limits::default()
    };
    if member.config.corrupt_check_initial {
        let front = Front(member.clone());
        tokio::select! {
            checked = front.check_initial() => checked.map_err(RunError::Stopped)?,
            _ = stop.asked() => return Ok(()),
        }
    }
    let common = Common::default();
    let mut doors = Vec::new();
    for (door, is_secure, address, listener) in clients {
        spawn(Box::pin(tell_serving(
            member.clone(),
            door,
            is_secure,
            address,
        )));
        let port = Rc::new(Port::new(&member, door, &common));
        doors.push(spawn(Box::pin(grpc::serve(listener, port, limits))));
    }
    spawn(Box::pin(Front(member.clone()).upkeep()));
    spawn(Box::pin(Front(member.clone()).withdrawals()));
    spawn(Box::pin(Front(member.clone()).publish()));

    tokio::select! {
        signal = stop.asked() => {
            info!(signal, "received signal; shutting down");
            supervisor::stopping();
            hand_over(&member).await;
            doors.iter().for_each(|door| door.abort());
            common.drain.begin();
            let emptied = common.drain.emptied();
            if tokio::time::timeout(DRAIN_TIMEOUT, emptied).await.is_err() {
                warn!(after = ?DRAIN_TIMEOUT, "some clients are still connected");
            }
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
            StopReason::Corrupt => {
                let why = "its keys are not those of the other members";
                data_dir.quarantine(why)?;
                Err(RunError::Stopped(why.to_owned()))
            }
            StopReason::TooOld { needs } => Err(RunError::Stopped(format!(
                "the log has a command of version {needs}, which this program does not know; \
                 install a newer one"
            ))),
        },
    }
}

/// Says that a listener for clients serves, once the member does.
async fn tell_serving(member: Rc<Member>, door: Door, is_secure: bool, address: String) {
    if door == Door::Metrics {
        return;
    }
    while member.ready().await.is_err() {}
    let traffic = match door {
        Door::Grpc => "grpc",
        Door::Http => "http",
        Door::Clients | Door::Metrics => "grpc+http",
    };
    match is_secure {
        true => info!(traffic, address, "serving client traffic securely"),
        false => info!(
            traffic,
            address, "serving client traffic insecurely; this is strongly discouraged!"
        ),
    }
}

fn node_config(config: &Config, identity: storage::Identity, incarnation: u32) -> NodeConfig {
    NodeConfig {
        incarnation,
        heartbeat: config.heartbeat,
        election: config.election,
        snapshot_count: config.snapshot_count,
        learners_max: config.learners_max,
        strict_reconfig: config.strict_reconfig,
        read_lease: config.read_lease_drift_ppm.and_then(DriftBound::from_ppm),
        clock_ahead_max: config.clock_ahead_max,
        apply_version_max: config.apply_version_max,
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
    let own = member.identity.member;
    if member.leader() != own {
        info!("local-member-id" = %own, "skipped leadership transfer; local server is not leader");
        return;
    }
    let Some(successor) = member.connected_voters().first().copied() else {
        let is_single = member.with_state(|state| state.membership().voters.len() == 1);
        match is_single {
            true => {
                info!("local-member-id" = %own, "skipped leadership transfer for single voting member cluster")
            }
            false => {
                warn!("local-member-id" = %own, "skipped leadership transfer; no other voter is connected")
            }
        }
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

    /// Which one came.
    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupt",
        }
    }
}
