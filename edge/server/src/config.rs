//! What a member needs to know before it starts: complete, checked, printable.
//!
//! The command line turns what was typed into this ([`Config`]); after it, nobody reads flags, files or the
//! environment. Core and front receive plain values from here and never the whole.

mod security;

use crate::identity::{Listen, ListenAt, Url, UrlError, cluster_id, member_id};
use base::limits::{REQUEST_BYTES_MAX, TXN_OPS_MAX};
use base::{ClusterId, MemberId};
use clock::guard::DriftBound;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use security::{TlsPolicy, TlsVersion, TransportSecurity};

/// etcd's default for `--quota-backend-bytes 0`.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;

/// By how much a leader's wall clock may be ahead of the others', unless it is configured: far more than any working time
/// daemon allows, and little enough that hybrid time does not run away.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(10);

/// The shortest time after which a quiet watch tells its progress, etcd's.
pub const PROGRESS_NOTIFY_MIN: Duration = Duration::from_millis(100);

/// The longest election timeout, etcd's.
pub const ELECTION_MAX: Duration = Duration::from_secs(50);

/// One member as `--initial-cluster` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
}

/// Whether the member starts a cluster or joins one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitialState {
    /// All members of `--initial-cluster` start together, empty.
    New,
    /// The cluster runs, and has added this member.
    Existing,
}

/// A member's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The member's name, for people.
    pub name: String,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// Where it listens for clients.
    pub listen_client: Vec<Listen>,
    /// Where it listens for those that ask only for metrics and health.
    pub listen_metrics: Vec<Listen>,
    /// Where HTTP is served, if not where gRPC is.
    pub listen_client_http: Vec<Listen>,
    /// Where clients reach it.
    pub advertise_client: Vec<String>,
    /// Where it listens for other members.
    pub listen_peer: Vec<Listen>,
    /// Where other members reach it.
    pub advertise_peer: Vec<String>,
    /// The cluster as it starts.
    pub initial_cluster: Vec<InitialMember>,
    /// Whether that cluster is new.
    pub initial_state: InitialState,
    /// Tells clusters with equal URLs apart.
    pub token: String,
    /// Entries between two checkpoints.
    pub snapshot_count: u64,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits before it doubts.
    pub election: Duration,
    /// Bytes of data before the NOSPACE alarm; nothing for no bound.
    pub quota_bytes: Option<u64>,
    /// Operations in one transaction.
    pub txn_ops_max: usize,
    /// Bytes in one request.
    pub request_bytes_max: usize,
    /// Learners at a time.
    pub learners_max: usize,
    /// By how many millionths clocks may run fast or slow. Somebody must state it before reads by the leader's lease are
    /// served, on all members alike; nothing: nobody did.
    pub read_lease_drift_ppm: Option<u32>,
    /// By how much the wall clock may be wrong, where the kernel does not say; nothing: nobody knows.
    pub clock_error_max: Option<Duration>,
    /// By how much a leader's wall clock may be ahead of the others' before it is not believed.
    pub clock_ahead_max: Duration,
    /// TLS towards clients.
    pub client_security: TransportSecurity,
    /// TLS between members, both as a server and as a client.
    pub peer_security: TransportSecurity,
    /// What TLS may be, on both.
    pub tls: TlsPolicy,
    /// How tokens are made, as etcd's `--auth-token` says it: `simple`, or `jwt` and its options.
    pub auth_token: String,
    /// How long a simple token lives unused.
    pub auth_token_ttl: Duration,
    /// How many times two to the power of this a password is hashed; 4 to 31.
    pub bcrypt_cost: u32,
    /// What history is forgotten without being asked.
    pub auto_compaction: AutoCompaction,
    /// Whether a change of the membership is refused that would leave less than a majority of started members.
    pub strict_reconfig: bool,
    /// Makes a cluster of this member alone out of what it has.
    pub force_new_cluster: bool,
    /// Whether a member compares what it has with the others before it serves.
    pub corrupt_check_initial: bool,
    /// How often the members' contents are compared; nothing: never.
    pub corrupt_check_every: Option<Duration>,
    /// How often what was hashed at compactions is compared; nothing: never.
    pub compact_hash_check_every: Option<Duration>,
    /// How long a watch that asked for progress stays quiet at most.
    pub progress_notify: Duration,
    /// Which web pages' scripts may ask, as origins; `*` for all.
    pub cors: Vec<String>,
    /// Which names clients may call this member by in HTTP; `*` for all.
    pub host_whitelist: Vec<String>,
    /// Whether JSON over HTTP is served.
    pub grpc_gateway: bool,
    /// Whether metrics include histograms of every method.
    pub metrics_extensive: bool,
    /// Streams that one connection may have open at once; nothing: this server's own limit.
    pub streams_max: Option<u32>,
    /// An apply that takes longer is worth a line.
    pub warn_apply: Duration,
    /// A request that takes longer is worth a line.
    pub warn_request: Duration,
    /// Where every change and every refusal is written down; nothing: nowhere.
    pub audit_log: Option<PathBuf>,
    /// What becomes of a request whose line finds no room.
    pub audit_mode: AuditMode,
    /// The newest apply version that is used: what this build knows, or less for a rehearsal of a rolling upgrade, where
    /// it behaves as the build before.
    pub apply_version_max: u16,
}

/// What becomes of a request when the audit log's disk is too slow to take its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuditMode {
    /// The line is dropped and counted, and the log itself says so.
    #[default]
    Drop,
    /// The request waits: nothing happens that is not written down.
    Block,
}

/// What history is forgotten without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AutoCompaction {
    /// None.
    #[default]
    Off,
    /// What is older than this.
    Periodic(Duration),
    /// What is more than so many revisions back.
    Revisions(i64),
}

/// Why a configuration cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A URL.
    #[error("--{flag}")]
    Url {
        /// Which flag it was in.
        flag: &'static str,
        /// What is wrong with it.
        source: UrlError,
    },
    /// The member is not in its own cluster.
    #[error(
        "--initial-cluster does not name this member: \
         there is no \"{name}\" among {known} (--name must be one of them)"
    )]
    NotAMember {
        /// The member's name.
        name: String,
        /// Who is named.
        known: String,
    },
    /// The two flags that state a member's peer URLs disagree.
    #[error(
        "--initial-cluster says that \"{name}\" is at {cluster}, \
         and --initial-advertise-peer-urls says {advertised}"
    )]
    PeerUrls {
        /// The member's name.
        name: String,
        /// By `--initial-cluster`.
        cluster: String,
        /// By `--initial-advertise-peer-urls`.
        advertised: String,
    },
    /// Two members cannot be told apart.
    #[error("--initial-cluster has the URL {0} twice")]
    SharedUrl(String),
    /// TLS is spoken there, and there is nothing to show.
    #[error(
        "TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for {whose} url {url} \
         with HTTPS scheme"
    )]
    NoCertificate {
        /// `peer-` or nothing.
        prefix: &'static str,
        /// `client` or `peer`.
        whose: &'static str,
        /// Which listener or advertised address.
        url: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("--{0}key-file and --{0}cert-file must both be present")]
    HalfCertificate(&'static str),
    /// Anything about one number.
    #[error("--{flag} is {value}: {rule}")]
    Number {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        rule: &'static str,
    },
}

impl Config {
    /// A member alone, by etcd's defaults.
    pub fn new(name: &str, data_dir: PathBuf) -> Config {
        let peer = "http://localhost:2380".to_owned();
        let loopback = |port| Listen::tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        Config {
            name: name.to_owned(),
            data_dir,
            listen_client: vec![loopback(2379)],
            advertise_client: vec!["http://localhost:2379".to_owned()],
            listen_peer: vec![loopback(2380)],
            advertise_peer: vec![peer.clone()],
            initial_cluster: vec![InitialMember {
                name: name.to_owned(),
                peer_urls: vec![peer],
            }],
            initial_state: InitialState::New,
            token: "etcd-cluster".to_owned(),
            snapshot_count: 10_000,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(1000),
            quota_bytes: Some(QUOTA_BYTES_DEFAULT),
            txn_ops_max: TXN_OPS_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            learners_max: 1,
            read_lease_drift_ppm: None,
            clock_error_max: None,
            clock_ahead_max: CLOCK_AHEAD_MAX,
            listen_metrics: Vec::new(),
            listen_client_http: Vec::new(),
            client_security: TransportSecurity::default(),
            peer_security: TransportSecurity::default(),
            tls: TlsPolicy::default(),
            auth_token: "simple".to_owned(),
            auth_token_ttl: Duration::from_secs(300),
            bcrypt_cost: 10,
            auto_compaction: AutoCompaction::Off,
            strict_reconfig: true,
            force_new_cluster: false,
            corrupt_check_initial: false,
            corrupt_check_every: None,
            compact_hash_check_every: None,
            progress_notify: Duration::from_secs(600),
            cors: vec!["*".to_owned()],
            host_whitelist: vec!["*".to_owned()],
            grpc_gateway: true,
            metrics_extensive: false,
            streams_max: None,
            warn_apply: Duration::from_millis(100),
            warn_request: Duration::from_millis(300),
            audit_log: None,
            audit_mode: AuditMode::Drop,
            apply_version_max: node::APPLY_VERSION,
        }
    }

    /// Checks what can be checked before anything is begun; of the world, only whether the directory has begun is asked.
    ///
    /// # Errors
    /// The first thing that cannot work, in the user's words.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (flag, urls) in [
            ("advertise-client-urls", &self.advertise_client),
            ("initial-advertise-peer-urls", &self.advertise_peer),
        ] {
            for url in urls {
                Url::parse(url).map_err(|source| ConfigError::Url { flag, source })?;
            }
        }
        // What is said of the first members counts once, as in etcd; a configuration outlives their addresses.
        if !has_begun(&self.data_dir) {
            self.check_cluster()?;
        }
        self.check_security()?;
        let ms = |duration: Duration| format!("{} ms", duration.as_millis());
        let number = |flag, value, rule| Err(ConfigError::Number { flag, value, rule });
        if self.heartbeat < Duration::from_millis(10) {
            let rule = "at least 10 ms, which is this server's unit of time";
            return number("heartbeat-interval", ms(self.heartbeat), rule);
        }
        if self.election < 5 * self.heartbeat {
            let rule = "at least five times --heartbeat-interval";
            return number("election-timeout", ms(self.election), rule);
        }
        if self.election > ELECTION_MAX {
            return number("election-timeout", ms(self.election), "at most 50000 ms");
        }
        if self.snapshot_count == 0 {
            return number("snapshot-count", "0".to_owned(), "at least 1");
        }
        if !(1..=REQUEST_BYTES_MAX).contains(&self.request_bytes_max) {
            let rule = "between 1 and 1572864: larger requests would hold up the log for everybody";
            return number(
                "max-request-bytes",
                self.request_bytes_max.to_string(),
                rule,
            );
        }
        if let Some(ppm) = self.read_lease_drift_ppm
            && DriftBound::from_ppm(ppm).is_none()
        {
            let rule =
                "at most 100000; time daemons slew by up to 83333, and 500 is what ntpd keeps to";
            return number("read-lease-drift-ppm", ppm.to_string(), rule);
        }
        if !(node::APPLY_VERSION_FIRST..=node::APPLY_VERSION).contains(&self.apply_version_max) {
            let rule = "2 to 4, the versions that this build knows";
            let value = self.apply_version_max.to_string();
            return number("quorate-apply-version-max", value, rule);
        }
        if !(4..=31).contains(&self.bcrypt_cost) {
            return number(
                "bcrypt-cost",
                self.bcrypt_cost.to_string(),
                "between 4 and 31",
            );
        }
        if self.auth_token_ttl.is_zero() {
            return number("auth-token-ttl", "0".to_owned(), "at least 1 s");
        }
        if self.progress_notify < PROGRESS_NOTIFY_MIN {
            let rule = "at least 100 ms";
            return number(
                "watch-progress-notify-interval",
                ms(self.progress_notify),
                rule,
            );
        }
        if self.streams_max == Some(0) {
            return number("max-concurrent-streams", "0".to_owned(), "at least 1");
        }
        if self.tls.max.is_some_and(|max| max < self.tls.min) {
            let rule = "at least --tls-min-version";
            return number("tls-max-version", "TLS1.2".to_owned(), rule);
        }
        if self.tls.self_signed_years == 0 {
            return number(
                "self-signed-cert-validity",
                "0".to_owned(),
                "at least 1 year",
            );
        }
        if self.txn_ops_max == 0 {
            return number("max-txn-ops", "0".to_owned(), "at least 1");
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        let doors = [("", &self.client_security), ("peer-", &self.peer_security)];
        for (prefix, security) in doors {
            if security.cert_file.is_some() != security.key_file.is_some() {
                return Err(ConfigError::HalfCertificate(prefix));
            }
        }
        let listeners = [
            ("", "client", &self.listen_client, &self.client_security),
            (
                "",
                "client",
                &self.listen_client_http,
                &self.client_security,
            ),
            ("", "metrics", &self.listen_metrics, &self.client_security),
            ("peer-", "peer", &self.listen_peer, &self.peer_security),
        ];
        for (prefix, whose, listeners, security) in listeners {
            let bare = listeners.iter().find(|listen| listen.is_tls);
            if let Some(listen) = bare
                && !security.has_certificate()
            {
                let scheme = match listen.at {
                    ListenAt::Tcp(_) => "https",
                    ListenAt::Unix(_) => "unixs",
                };
                let url = format!("{scheme}://{listen}");
                return Err(ConfigError::NoCertificate { prefix, whose, url });
            }
        }
        Ok(())
    }

    /// Checks what the cluster's description says alone.
    ///
    /// # Errors
    /// The first thing that cannot work, in the user's words.
    pub fn check_cluster(&self) -> Result<(), ConfigError> {
        let mut seen = Vec::new();
        for url in self.initial_cluster.iter().flat_map(|m| &m.peer_urls) {
            Url::parse(url).map_err(|source| ConfigError::Url {
                flag: "initial-cluster",
                source,
            })?;
            if seen.contains(&url) {
                return Err(ConfigError::SharedUrl(url.clone()));
            }
            seen.push(url);
        }
        let mine = self.initial_cluster.iter().find(|m| m.name == self.name);
        let Some(mine) = mine else {
            let names = self
                .initial_cluster
                .iter()
                .map(|m| format!("\"{}\"", m.name));
            return Err(ConfigError::NotAMember {
                name: self.name.clone(),
                known: names.collect::<Vec<_>>().join(", "),
            });
        };
        if sorted(&mine.peer_urls) != sorted(&self.advertise_peer) {
            return Err(ConfigError::PeerUrls {
                name: self.name.clone(),
                cluster: mine.peer_urls.join(","),
                advertised: self.advertise_peer.join(","),
            });
        }
        Ok(())
    }

    /// The ids of the members of a new cluster, in the order of `initial_cluster`.
    pub fn initial_ids(&self) -> Vec<MemberId> {
        let id = |m: &InitialMember| member_id(&m.peer_urls, &self.token, None);
        self.initial_cluster.iter().map(id).collect()
    }

    /// The id of a new cluster.
    pub fn initial_cluster_id(&self) -> ClusterId {
        cluster_id(&self.initial_ids())
    }

    /// This member's id in a new cluster.
    pub fn initial_member_id(&self) -> MemberId {
        member_id(&self.advertise_peer, &self.token, None)
    }

    /// The least time to live of a lease in seconds: etcd's rule, one and a half election timeouts.
    pub fn lease_ttl_min_s(&self) -> i64 {
        let ms = (self.election.as_millis() as i64 * 3).div_euclid(2);
        (ms + 999) / 1000
    }

    /// How long a request may wait for its outcome: etcd's rule.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election
    }
}

fn sorted(urls: &[String]) -> Vec<&String> {
    let mut urls: Vec<_> = urls.iter().collect();
    urls.sort_unstable();
    urls
}

/// Whether a member has lived in this directory.
fn has_begun(data_dir: &Path) -> bool {
    data_dir.join("member").join("identity").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chain;

    fn three() -> Config {
        let mut config = Config::new("n1", "x".into());
        config.initial_cluster = (1..=3)
            .map(|n| InitialMember {
                name: format!("n{n}"),
                peer_urls: vec![format!("http://127.0.0.1:{n}2380")],
            })
            .collect();
        config.advertise_peer = config.initial_cluster[0].peer_urls.clone();
        config
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = three();
        change(&mut config);
        Chain(&config.check().expect_err("refused")).to_string()
    }

    #[test]
    fn the_defaults_are_etcds_and_pass() {
        let config = Config::new("default", "x".into());
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.lease_ttl_min_s(), 2);
        assert_eq!(config.request_timeout(), Duration::from_secs(7));
        assert_eq!(config.initial_cluster_id().to_string(), "cdf818194e3a8c32");
        assert_eq!(three().check(), Ok(()));
        assert!(three().initial_ids().contains(&three().initial_member_id()));
    }

    #[test]
    fn what_cannot_work_is_said_in_the_words_of_the_flags() {
        let text = refusal(|c| c.name = "n9".into());
        assert!(
            text.contains("no \"n9\" among \"n1\", \"n2\", \"n3\""),
            "{text}"
        );
        let text = refusal(|c| c.advertise_peer = vec!["http://10.0.0.1:1".into()]);
        assert!(
            text.ends_with("--initial-advertise-peer-urls says http://10.0.0.1:1"),
            "{text}"
        );
        let text = refusal(|c| c.initial_cluster[1].peer_urls[0] = "ftp://a:1".into());
        assert!(
            text.starts_with("--initial-cluster: \"ftp://a:1\" is not of the form"),
            "{text}"
        );
        let text = refusal(|c| c.election = Duration::from_millis(400));
        let rule = "--election-timeout is 400 ms: at least five times --heartbeat-interval";
        assert_eq!(text, rule);
        let text = refusal(|c| c.initial_cluster[1].peer_urls = c.advertise_peer.clone());
        assert!(text.ends_with("twice"), "{text}");
    }
}
