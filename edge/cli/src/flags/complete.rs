//! From what was typed to a configuration that can work.

use super::raw::{Raw, url_error, wrong};
use super::{FlagError, LogChoice, Run, value};
use base::Chain;
use server::config::{
    AuditMode, AutoCompaction, Config, InitialMember, InitialState, PROGRESS_NOTIFY_MIN,
    QUOTA_BYTES_DEFAULT, TlsPolicy, TlsVersion, TransportSecurity,
};
use server::identity::{Listen, Url};
use std::path::PathBuf;
use std::time::Duration;

/// etcd's feature gates, and whether each is something that exists here.
const GATES: &[(&str, Gate)] = &[
    ("InitialCorruptCheck", Gate::InitialCorruptCheck),
    ("CompactHashCheck", Gate::CompactHashCheck),
    ("StopGRPCServiceOnDefrag", Gate::NoEffect),
    ("TxnModeWriteWithSharedBuffer", Gate::NoEffect),
    ("LeaseCheckpoint", Gate::NoEffect),
    ("LeaseCheckpointPersist", Gate::NoEffect),
    ("SetMemberLocalAddr", Gate::NoEffect),
    ("FastLeaseKeepAlive", Gate::NoEffect),
    ("PriorityRequest", Gate::NoEffect),
    ("AllAlpha", Gate::NoEffect),
    ("AllBeta", Gate::NoEffect),
];

/// What a password may cost: the exponents that bcrypt knows.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// The older switches that say the same as a gate. Who sets both is refused, whatever they say.
const SWITCHES_OF_GATES: &[(&str, &str)] = &[
    ("InitialCorruptCheck", "experimental-initial-corrupt-check"),
    (
        "CompactHashCheck",
        "experimental-compact-hash-check-enabled",
    ),
    (
        "StopGRPCServiceOnDefrag",
        "experimental-stop-grpc-service-on-defrag",
    ),
    (
        "TxnModeWriteWithSharedBuffer",
        "experimental-txn-mode-write-with-shared-buffer",
    ),
    ("LeaseCheckpoint", "experimental-enable-lease-checkpoint"),
    (
        "LeaseCheckpointPersist",
        "experimental-enable-lease-checkpoint-persist",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    InitialCorruptCheck,
    CompactHashCheck,
    NoEffect,
}

/// What the feature gates switch on.
#[derive(Default)]
struct Gates {
    initial_corrupt_check: bool,
    compact_hash_check: bool,
}

impl Raw {
    pub(super) fn complete(mut self) -> Result<Run, FlagError> {
        let name = self.text("name").unwrap_or("default").to_owned();
        let data_dir = self.said("data-dir");
        let data_dir =
            data_dir.map_or_else(|| PathBuf::from(format!("{name}.etcd")), PathBuf::from);
        let mut config = Config::new(&name, data_dir);
        self.addresses(&mut config, name)?;
        self.security(&mut config)?;
        if config.client_security.client_cert_file.is_some() {
            self.note(
                "--client-cert-file has no effect here: a member never calls itself".to_owned(),
            );
        }
        self.upkeep(&mut config)?;
        config.initial_state = match self.said("initial-cluster-state") {
            None | Some("new") => InitialState::New,
            Some("existing") => InitialState::Existing,
            Some(text) => return Err(wrong("initial-cluster-state", text, "new or existing")),
        };
        if let Some(token) = self.text("initial-cluster-token") {
            config.token = token.to_owned();
        }
        config.snapshot_count = match self.number("snapshot-count", config.snapshot_count)? {
            0 => {
                let default = config.snapshot_count;
                self.note(format!(
                    "--snapshot-count is 0: {default} is used, as in etcd"
                ));
                default
            }
            count => count,
        };
        config.heartbeat = Duration::from_millis(self.number("heartbeat-interval", 100)?);
        config.election = Duration::from_millis(self.number("election-timeout", 1000)?);
        config.quota_bytes = match self.number("quota-backend-bytes", 0_i64)? {
            0 => Some(QUOTA_BYTES_DEFAULT),
            quota => u64::try_from(quota).ok(), // negative: no bound
        };
        config.txn_ops_max = self.number("max-txn-ops", config.txn_ops_max)?;
        config.request_bytes_max = self.number("max-request-bytes", config.request_bytes_max)?;
        config.streams_max = self.stated("max-concurrent-streams")?;
        config.learners_max = self.number("max-learners", config.learners_max)?;
        config.read_lease_drift_ppm = self.stated("read-lease-drift-ppm")?;
        config.clock_error_max = self.stated("clock-error-max")?.map(Duration::from_millis);
        let ahead_ms = self.number("clock-ahead-max", config.clock_ahead_max.as_millis() as u64)?;
        config.clock_ahead_max = Duration::from_millis(ahead_ms);
        config
            .check()
            .map_err(|error| FlagError::Config(Chain(&error).to_string()))?;
        let parent = self.number("quorate-parent", 0)?;
        Ok(Run {
            log: self.log_choice()?,
            config,
            parent: (parent != 0).then_some(parent),
            notes: self.take_notes(),
        })
    }

    /// Where the member listens and is reached, and who starts with it.
    fn addresses(&self, config: &mut Config, name: String) -> Result<(), FlagError> {
        if self.said("listen-client-urls").is_some() && self.said("advertise-client-urls").is_none()
        {
            return Err(FlagError::NotAdvertised);
        }
        config.listen_client = self.listen("listen-client-urls", "http://localhost:2379")?;
        config.listen_client_http = self.listen("listen-client-http-urls", "")?;
        config.listen_metrics = self.listen("listen-metrics-urls", "")?;
        config.listen_peer = self.listen("listen-peer-urls", "http://localhost:2380")?;
        let advertised = |flag, default| -> Result<Vec<String>, FlagError> {
            let urls = self.urls(flag, default)?;
            Ok(urls.iter().map(Url::to_string).collect())
        };
        config.advertise_client = advertised("advertise-client-urls", "http://localhost:2379")?;
        config.advertise_peer = advertised("initial-advertise-peer-urls", "http://localhost:2380")?;
        config.initial_cluster = match self.said("initial-cluster") {
            Some(text) => initial_cluster(text)?,
            None => vec![InitialMember {
                name,
                peer_urls: config.advertise_peer.clone(),
            }],
        };
        Ok(())
    }

    fn listen(&self, flag: &'static str, default: &str) -> Result<Vec<Listen>, FlagError> {
        let listen = |url: Url| {
            let address = url.listen_address();
            address.map_err(|error| url_error(flag, &error))
        };
        self.urls(flag, default)?.into_iter().map(listen).collect()
    }

    fn security(&mut self, config: &mut Config) -> Result<(), FlagError> {
        let path = |flag| self.said(flag).map(PathBuf::from);
        let names = |flag| -> Vec<String> {
            let text = self.said(flag).unwrap_or_default();
            value::list(text).map(str::to_owned).collect()
        };
        config.client_security = TransportSecurity {
            cert_file: path("cert-file"),
            key_file: path("key-file"),
            client_cert_file: path("client-cert-file"),
            client_key_file: path("client-key-file"),
            trusted_ca_file: path("trusted-ca-file"),
            client_cert_auth: self.switch("client-cert-auth")?,
            crl_file: path("client-crl-file"),
            allowed_cns: names("client-cert-allowed-cn"),
            allowed_hostnames: names("client-cert-allowed-hostname"),
            auto_tls: self.switch("auto-tls")?,
            skip_client_san_verification: false,
        };
        config.peer_security = TransportSecurity {
            cert_file: path("peer-cert-file"),
            key_file: path("peer-key-file"),
            client_cert_file: path("peer-client-cert-file"),
            client_key_file: path("peer-client-key-file"),
            trusted_ca_file: path("peer-trusted-ca-file"),
            client_cert_auth: self.switch("peer-client-cert-auth")?,
            crl_file: path("peer-crl-file"),
            allowed_cns: names("peer-cert-allowed-cn"),
            allowed_hostnames: names("peer-cert-allowed-hostname"),
            auto_tls: self.switch("peer-auto-tls")?,
            skip_client_san_verification: self.switch("peer-skip-client-san-verification")?,
        };
        config.tls = TlsPolicy {
            min: self
                .tls_version("tls-min-version")?
                .unwrap_or(TlsVersion::Tls12),
            max: self.tls_version("tls-max-version")?,
            cipher_suites: names("cipher-suites"),
            self_signed_years: self.number("self-signed-cert-validity", 1)?,
        };
        if config.tls.min == TlsVersion::Tls13 && !config.tls.cipher_suites.is_empty() {
            return Err(FlagError::SuitesOfTls13);
        }
        config.auth_token = self.said("auth-token").unwrap_or("simple").to_owned();
        config.auth_token_ttl = Duration::from_secs(self.number("auth-token-ttl", 300)?);
        let or_all = |names: Vec<String>| match names.is_empty() {
            true => vec!["*".to_owned()],
            false => names,
        };
        config.cors = or_all(names("cors"));
        config.host_whitelist = or_all(names("host-whitelist"));
        config.grpc_gateway = self.switch_or("enable-grpc-gateway", true)?;
        config.audit_log = path("audit-log");
        config.audit_mode = match self.said("audit-log-mode") {
            None | Some("drop") => AuditMode::Drop,
            Some("block") => AuditMode::Block,
            Some(text) => return Err(wrong("audit-log-mode", text, "drop or block")),
        };
        let cost: i64 = self.number("bcrypt-cost", config.bcrypt_cost.into())?;
        match u32::try_from(cost) {
            Ok(known) if BCRYPT_COSTS.contains(&known) => config.bcrypt_cost = known,
            _ => self.note(format!(
                "--bcrypt-cost is {cost}, not between 4 and 31: {} is used, as in etcd",
                config.bcrypt_cost
            )),
        }
        Ok(())
    }

    fn tls_version(&self, flag: &'static str) -> Result<Option<TlsVersion>, FlagError> {
        match self.said(flag) {
            None => Ok(None),
            Some("TLS1.2") => Ok(Some(TlsVersion::Tls12)),
            Some("TLS1.3") => Ok(Some(TlsVersion::Tls13)),
            Some(text) => Err(wrong(flag, text, "TLS1.2 or TLS1.3")),
        }
    }

    /// What the member does of itself while it runs.
    fn upkeep(&mut self, config: &mut Config) -> Result<(), FlagError> {
        config.apply_version_max =
            self.number("quorate-apply-version-max", config.apply_version_max)?;
        config.auto_compaction = self.auto_compaction()?;
        config.strict_reconfig = self.switch_or("strict-reconfig-check", true)?;
        config.force_new_cluster = self.switch("force-new-cluster")?;
        let gates = self.gates()?;
        config.corrupt_check_initial =
            gates.initial_corrupt_check || self.switch("experimental-initial-corrupt-check")?;
        let every = self.duration("corrupt-check-time", Duration::ZERO)?;
        config.corrupt_check_every = (every > Duration::ZERO).then_some(every);
        let every = self.duration("compact-hash-check-time", Duration::from_secs(60))?;
        if every.is_zero() {
            let flag = self.given_as("compact-hash-check-time");
            return Err(FlagError::NotAbove0(flag.to_owned()));
        }
        let is_on =
            gates.compact_hash_check || self.switch("experimental-compact-hash-check-enabled")?;
        config.compact_hash_check_every = is_on.then_some(every);
        let default = config.progress_notify;
        config.progress_notify = match self.duration("watch-progress-notify-interval", default)? {
            Duration::ZERO => default, // as in etcd
            short if short < PROGRESS_NOTIFY_MIN => {
                self.note(format!(
                    "--watch-progress-notify-interval is {short:?}: {PROGRESS_NOTIFY_MIN:?} is used, \
                     as in etcd"
                ));
                PROGRESS_NOTIFY_MIN
            }
            interval => interval,
        };
        config.metrics_extensive = match self.said("metrics") {
            None | Some("basic") => false,
            Some("extensive") => true,
            Some(text) => return Err(wrong("metrics", text, "basic or extensive")),
        };
        config.warn_apply = self.duration("warning-apply-duration", config.warn_apply)?;
        config.warn_request =
            self.duration("warning-unary-request-duration", config.warn_request)?;
        Ok(())
    }

    /// `--auto-compaction-retention`: hours or revisions as a bare number, or a duration.
    fn auto_compaction(&self) -> Result<AutoCompaction, FlagError> {
        let flag = "auto-compaction-retention";
        let text = self.said(flag).unwrap_or("0");
        let number: Option<u64> = text.parse().ok();
        match self.said("auto-compaction-mode") {
            None | Some("periodic") => {
                let retention = match number {
                    Some(hours) => hours.checked_mul(3600).map(Duration::from_secs),
                    None => value::duration(text),
                };
                let expected = "hours, or a duration such as 1h or 30m, is needed";
                match retention.ok_or_else(|| wrong(flag, text, expected))? {
                    Duration::ZERO => Ok(AutoCompaction::Off),
                    retention => Ok(AutoCompaction::Periodic(retention)),
                }
            }
            Some("revision") => {
                let number = number.and_then(|number| i64::try_from(number).ok());
                match number.ok_or_else(|| wrong(flag, text, "a number of revisions is needed"))? {
                    0 => Ok(AutoCompaction::Off),
                    revisions => Ok(AutoCompaction::Revisions(revisions)),
                }
            }
            Some(mode) => Err(wrong("auto-compaction-mode", mode, "periodic or revision")),
        }
    }

    fn gates(&mut self) -> Result<Gates, FlagError> {
        let mut gates = Gates::default();
        let text = self.said("feature-gates").unwrap_or_default().to_owned();
        for pair in value::list(&text) {
            let expected = "Gate=true or Gate=false, separated by commas, is needed";
            let (name, on) = pair
                .split_once('=')
                .and_then(|(name, on)| Some((name.trim(), value::switch(on.trim())?)))
                .ok_or_else(|| wrong("feature-gates", &text, expected))?;
            let known = GATES.iter().find(|(known, _)| *known == name);
            let (name, gate) = *known.ok_or_else(|| FlagError::UnknownGate(name.to_owned()))?;
            let older = SWITCHES_OF_GATES.iter().find(|(gate, _)| *gate == name);
            if let Some((gate, flag)) = older.copied()
                && self.text(flag).is_some()
            {
                let value = self.switch(flag)?;
                return Err(FlagError::BothSwitches {
                    flag,
                    value,
                    gate,
                    on,
                });
            }
            match gate {
                Gate::InitialCorruptCheck => gates.initial_corrupt_check = on,
                Gate::CompactHashCheck => gates.compact_hash_check = on,
                Gate::NoEffect => self.note(format!("feature gate {name} has no effect here")),
            }
        }
        Ok(gates)
    }

    fn log_choice(&self) -> Result<LogChoice, FlagError> {
        let level = match self.said("log-level") {
            Some("debug") => tracing::Level::DEBUG,
            None | Some("info") => tracing::Level::INFO,
            Some("warn") => tracing::Level::WARN,
            Some("error" | "dpanic" | "panic" | "fatal") => tracing::Level::ERROR,
            Some(text) => return Err(wrong("log-level", text, "debug, info, warn or error")),
        };
        let json = match self.said("log-format") {
            None | Some("json") => true,
            Some("console") => false,
            Some(text) => return Err(wrong("log-format", text, "json or console")),
        };
        if let Some(logger) = self.said("logger")
            && logger != "zap"
        {
            return Err(wrong("logger", logger, "there is only zap"));
        }
        let outputs = value::list(self.said("log-outputs").unwrap_or("default"));
        let outputs: Vec<_> = outputs.map(str::to_owned).collect();
        if outputs.len() > 1 && outputs.iter().any(|output| output == "default") {
            return Err(FlagError::DefaultAmongOutputs);
        }
        let rotation = self.text("log-rotation-config-json").map(str::to_owned);
        let rotates = self.switch("enable-log-rotation")?;
        Ok(LogChoice {
            level,
            json,
            outputs,
            rotation: rotates.then(|| rotation.unwrap_or_default()),
        })
    }
}

/// `n1=http://…,n2=http://…`; a name may come several times, once for each of its URLs.
pub(crate) fn initial_cluster(text: &str) -> Result<Vec<InitialMember>, FlagError> {
    let expected = "name=http://host:port, separated by commas, is needed";
    let wrong = || wrong("initial-cluster", text, expected);
    let mut members: Vec<InitialMember> = Vec::new();
    for part in text.split(',') {
        // A list that is folded over lines has blanks after its commas.
        let (name, url) = part.trim().split_once('=').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        let url = Url::parse(url).map_err(|error| url_error("initial-cluster", &error))?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url.to_string()),
            None => members.push(InitialMember {
                name: name.to_owned(),
                peer_urls: vec![url.to_string()],
            }),
        }
    }
    Ok(members)
}
