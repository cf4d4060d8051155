//! Every flag of etcd's, and what becomes of it here.
//!
//! Defaults are etcd's. A flag that tunes etcd's own inside is accepted, so that start scripts go on
//! working, and noted in the log. A flag whose absence would change what a user relies on is refused unless it has its
//! default.

/// What becomes of a flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// It is used.
    Used,
    /// What it tunes does not exist here.
    NoEffect,
    /// It cannot be had yet, and going on without it would be wrong.
    Refused(&'static str),
}

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) is_switch: bool,
    pub(super) meaning: Meaning,
    pub(super) help: &'static str,
}

const fn used(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        default: Some(default),
        is_switch: false,
        meaning: Meaning::Used,
        help,
    }
}

const fn no_effect(name: &'static str) -> Flag {
    Flag {
        name,
        default: None,
        is_switch: false,
        meaning: Meaning::NoEffect,
        help: "",
    }
}

const fn switch(name: &'static str, meaning: Meaning, default: &'static str) -> Flag {
    Flag {
        name,
        default: Some(default),
        is_switch: true,
        meaning,
        help: "",
    }
}

const fn switch_used(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        default: Some(default),
        is_switch: true,
        meaning: Meaning::Used,
        help,
    }
}

const fn refused(name: &'static str, reason: &'static str) -> Flag {
    Flag {
        name,
        default: Some(""),
        is_switch: false,
        meaning: Meaning::Refused(reason),
        help: "",
    }
}

const APPLY_VERSION_MAX: &str = "quorate-apply-version-max";
const DISCOVERY: &str = "discovery is not supported; use --initial-cluster";
const TRACING: &str = "distributed tracing is not supported";

/// Older names, which manifests of 3.4 and 3.5 still have.
pub(super) const OLDER: &[(&str, &str)] = &[
    (
        "experimental-bootstrap-defrag-threshold-megabytes",
        "bootstrap-defrag-threshold-megabytes",
    ),
    (
        "experimental-compact-hash-check-time",
        "compact-hash-check-time",
    ),
    (
        "experimental-compaction-batch-limit",
        "compaction-batch-limit",
    ),
    (
        "experimental-compaction-sleep-interval",
        "compaction-sleep-interval",
    ),
    ("experimental-corrupt-check-time", "corrupt-check-time"),
    (
        "experimental-distributed-tracing-address",
        "distributed-tracing-address",
    ),
    (
        "experimental-distributed-tracing-instance-id",
        "distributed-tracing-instance-id",
    ),
    (
        "experimental-distributed-tracing-sampling-rate",
        "distributed-tracing-sampling-rate",
    ),
    (
        "experimental-distributed-tracing-service-name",
        "distributed-tracing-service-name",
    ),
    ("experimental-downgrade-check-time", "downgrade-check-time"),
    (
        "experimental-enable-distributed-tracing",
        "enable-distributed-tracing",
    ),
    (
        "experimental-backend-bbolt-freelist-type",
        "backend-bbolt-freelist-type",
    ),
    ("experimental-max-learners", "max-learners"),
    ("experimental-memory-mlock", "memory-mlock"),
    (
        "experimental-peer-skip-client-san-verification",
        "peer-skip-client-san-verification",
    ),
    (
        "experimental-snapshot-catchup-entries",
        "snapshot-catchup-entries",
    ),
    (
        "experimental-warning-apply-duration",
        "warning-apply-duration",
    ),
    (
        "experimental-warning-unary-request-duration",
        "warning-unary-request-duration",
    ),
    (
        "experimental-watch-progress-notify-interval",
        "watch-progress-notify-interval",
    ),
];

pub(super) static FLAGS: &[Flag] = &[
    used("name", "default", "the member's name, for people"),
    used("data-dir", "${name}.etcd", "where the member's data is"),
    used(
        "listen-client-urls",
        "http://localhost:2379",
        "where to listen for clients",
    ),
    used(
        "advertise-client-urls",
        "http://localhost:2379",
        "where clients reach the member",
    ),
    used(
        "listen-peer-urls",
        "http://localhost:2380",
        "where to listen for other members",
    ),
    used(
        "initial-advertise-peer-urls",
        "http://localhost:2380",
        "where other members reach it",
    ),
    used(
        "initial-cluster",
        "${name}=${peer URLs}",
        "name=URL of every member, with commas",
    ),
    used(
        "initial-cluster-state",
        "new",
        "new, or existing to join a running cluster",
    ),
    used(
        "initial-cluster-token",
        "etcd-cluster",
        "tells clusters with equal URLs apart",
    ),
    used(
        "snapshot-count",
        "10000",
        "log entries between two checkpoints",
    ),
    used(
        "heartbeat-interval",
        "100",
        "milliseconds between a leader's signs of life",
    ),
    used(
        "election-timeout",
        "1000",
        "milliseconds of silence before an election",
    ),
    used(
        "quota-backend-bytes",
        "0",
        "bytes of data before writes stop; 0: 2 GiB, below: no bound",
    ),
    used("max-txn-ops", "128", "operations in one transaction"),
    used("max-request-bytes", "1572864", "bytes in one request"),
    used("max-learners", "1", "learners at a time"),
    used(
        "read-lease-drift-ppm",
        "",
        "millionths by which clocks may drift; stated on all members, it allows lease reads",
    ),
    used(
        APPLY_VERSION_MAX,
        "", // the newest that this build knows: `help` says it
        "for rehearsals of an upgrade: behave as the build that knew only this apply version",
    ),
    used(
        "clock-error-max",
        "",
        "milliseconds by which the wall clock may be wrong, where the kernel does not say",
    ),
    used(
        "clock-ahead-max",
        "10000",
        "milliseconds by which a leader's wall clock may be ahead of the others'",
    ),
    used(
        "config-file",
        "",
        "a YAML file with all of these; excludes flags and variables",
    ),
    used(
        "listen-client-http-urls",
        "",
        "where to serve HTTP, if not on the clients' ports",
    ),
    used(
        "listen-metrics-urls",
        "",
        "where to serve /metrics and health pages alone",
    ),
    used(
        "max-concurrent-streams",
        "",
        "calls that one connection may have under way",
    ),
    used("cert-file", "", "the certificate shown to clients (PEM)"),
    used("key-file", "", "its key (PEM)"),
    used(
        "client-cert-file",
        "",
        "the certificate shown when this member calls itself a client",
    ),
    used("client-key-file", "", "its key"),
    used("client-crl-file", "", "revoked certificates of clients"),
    used(
        "client-cert-allowed-cn",
        "",
        "common names of which a client must have one",
    ),
    used(
        "client-cert-allowed-hostname",
        "",
        "names of which a client's certificate must have one",
    ),
    used(
        "trusted-ca-file",
        "",
        "who signs clients' certificates (PEM)",
    ),
    switch_used(
        "client-cert-auth",
        "false",
        "clients must show a certificate",
    ),
    switch_used(
        "auto-tls",
        "false",
        "make a certificate for clients at the start",
    ),
    used(
        "peer-cert-file",
        "",
        "the certificate shown to members (PEM)",
    ),
    used("peer-key-file", "", "its key (PEM)"),
    used(
        "peer-client-cert-file",
        "",
        "the certificate shown when calling members",
    ),
    used("peer-client-key-file", "", "its key"),
    used("peer-crl-file", "", "revoked certificates of members"),
    used(
        "peer-trusted-ca-file",
        "",
        "who signs members' certificates (PEM)",
    ),
    used(
        "peer-cert-allowed-cn",
        "",
        "common names of which a member must have one",
    ),
    used(
        "peer-cert-allowed-hostname",
        "",
        "names of which a member's certificate must have one",
    ),
    switch_used(
        "peer-client-cert-auth",
        "false",
        "members must show a certificate",
    ),
    switch_used(
        "peer-auto-tls",
        "false",
        "make a certificate for members at the start",
    ),
    switch_used(
        "peer-skip-client-san-verification",
        "false",
        "a calling member's address need not be in its certificate",
    ),
    used(
        "self-signed-cert-validity",
        "1",
        "years that a made certificate is good for",
    ),
    used(
        "cipher-suites",
        "",
        "cipher suites of TLS, by Go's names; empty: all safe ones",
    ),
    used("tls-min-version", "TLS1.2", "TLS1.2 or TLS1.3"),
    used("tls-max-version", "", "TLS1.2 or TLS1.3; empty: the newest"),
    used("cors", "*", "origins whose pages may ask"),
    used(
        "host-whitelist",
        "*",
        "names that clients may call this member by",
    ),
    used(
        "auth-token",
        "simple",
        "simple, or jwt,pub-key=...,priv-key=...,sign-method=...,ttl=...",
    ),
    used(
        "auth-token-ttl",
        "300",
        "seconds that a simple token lives unused",
    ),
    used(
        "bcrypt-cost",
        "10",
        "how hard a password is to guess, 4 to 31",
    ),
    used("auto-compaction-mode", "periodic", "periodic or revision"),
    used(
        "auto-compaction-retention",
        "0",
        "history to keep: hours, 30m, or revisions; 0: all",
    ),
    switch_used(
        "strict-reconfig-check",
        "true",
        "refuse changes that would lose the majority",
    ),
    switch_used(
        "force-new-cluster",
        "false",
        "make a cluster of this member alone out of its data",
    ),
    used(
        "corrupt-check-time",
        "0s",
        "how often the members' contents are compared; 0: never",
    ),
    used(
        "compact-hash-check-time",
        "1m",
        "how often hashes of compactions are compared, if they are",
    ),
    switch_used("experimental-initial-corrupt-check", "false", ""),
    switch_used("experimental-compact-hash-check-enabled", "false", ""),
    used(
        "watch-progress-notify-interval",
        "10m",
        "how long a watch that wants progress is quiet",
    ),
    used(
        "feature-gates",
        "",
        "InitialCorruptCheck=true,CompactHashCheck=true",
    ),
    switch_used("enable-grpc-gateway", "true", "serve JSON over HTTP"),
    used(
        "metrics",
        "basic",
        "basic, or extensive for histograms of every method",
    ),
    used(
        "warning-apply-duration",
        "100ms",
        "an apply that takes longer is logged",
    ),
    used(
        "warning-unary-request-duration",
        "300ms",
        "a request that takes longer is logged",
    ),
    used("audit-log", "", "a file for every change and every refusal"),
    used(
        "audit-log-mode",
        "drop",
        "what becomes of a line that the disk is too slow for: drop (counted), or block the request",
    ),
    used("logger", "zap", "there is one"),
    used("log-outputs", "default", "stderr, stdout, or paths"),
    switch_used("enable-log-rotation", "false", "rotate log files"),
    used(
        "log-rotation-config-json",
        "",
        "how: {\"maxsize\": MB, \"maxage\": days, \"maxbackups\": n}",
    ),
    used("log-level", "info", "debug, info, warn or error"),
    used("log-format", "json", "json, or console for people"),
    switch("version", Meaning::Used, "false"),
    switch("help", Meaning::Used, "false"),
    switch("h", Meaning::Used, "false"),
    // Set by `quorate dev`; ends the member when that process ends.
    used("quorate-parent", "0", ""),
    // What these tune does not exist here, or is always as the flag's default says.
    no_effect("wal-dir"),
    no_effect("max-snapshots"),
    no_effect("max-wals"),
    no_effect("snapshot-catchup-entries"),
    no_effect("backend-batch-interval"),
    no_effect("backend-batch-limit"),
    no_effect("backend-bbolt-freelist-type"),
    no_effect("grpc-keepalive-min-time"),
    no_effect("grpc-keepalive-interval"),
    no_effect("grpc-keepalive-timeout"),
    no_effect("raft-read-timeout"),
    no_effect("raft-write-timeout"),
    no_effect("compaction-batch-limit"),
    no_effect("compaction-sleep-interval"),
    no_effect("downgrade-check-time"),
    no_effect("bootstrap-defrag-threshold-megabytes"),
    no_effect("v2-deprecation"),
    // Of 3.4 and 3.5, and gone since.
    switch("debug", Meaning::NoEffect, "false"),
    no_effect("log-package-levels"),
    no_effect("proxy-failure-wait"),
    no_effect("proxy-refresh-interval"),
    no_effect("proxy-dial-timeout"),
    no_effect("proxy-write-timeout"),
    no_effect("proxy-read-timeout"),
    switch("initial-election-tick-advance", Meaning::NoEffect, "true"),
    switch("pre-vote", Meaning::NoEffect, "true"),
    switch("enable-pprof", Meaning::NoEffect, "false"),
    switch("socket-reuse-port", Meaning::NoEffect, "false"),
    switch("socket-reuse-address", Meaning::NoEffect, "false"),
    switch("memory-mlock", Meaning::NoEffect, "false"),
    switch(
        "experimental-enable-lease-checkpoint",
        Meaning::NoEffect,
        "false",
    ),
    switch(
        "experimental-enable-lease-checkpoint-persist",
        Meaning::NoEffect,
        "false",
    ),
    switch(
        "experimental-txn-mode-write-with-shared-buffer",
        Meaning::NoEffect,
        "true",
    ),
    switch(
        "experimental-stop-grpc-service-on-defrag",
        Meaning::NoEffect,
        "false",
    ),
    // Going on without these would not be what the user asked for.
    switch(
        "unsafe-no-fsync",
        Meaning::Refused("this server never answers before it syncs"),
        "false",
    ),
    switch(
        "enable-v2",
        Meaning::Refused("the v2 API is not served, as in etcd 3.6"),
        "false",
    ),
    switch(
        "experimental-enable-v2v3",
        Meaning::Refused("the v2 API is not served, as in etcd 3.6"),
        "false",
    ),
    refused("proxy", "a member is no proxy"),
    switch(
        "enable-distributed-tracing",
        Meaning::Refused(TRACING),
        "false",
    ),
    no_effect("distributed-tracing-address"),
    no_effect("distributed-tracing-service-name"),
    no_effect("distributed-tracing-instance-id"),
    no_effect("distributed-tracing-sampling-rate"),
    refused("discovery", DISCOVERY),
    refused("discovery-srv", DISCOVERY),
    refused("discovery-srv-name", DISCOVERY),
    refused("discovery-token", DISCOVERY),
    refused("discovery-endpoints", DISCOVERY),
    refused("discovery-proxy", DISCOVERY),
    refused("discovery-fallback", DISCOVERY),
    no_effect("discovery-dial-timeout"),
    no_effect("discovery-request-timeout"),
    no_effect("discovery-keepalive-time"),
    no_effect("discovery-keepalive-timeout"),
    no_effect("discovery-cert"),
    no_effect("discovery-key"),
    no_effect("discovery-cacert"),
    no_effect("discovery-user"),
    no_effect("discovery-password"),
    switch("discovery-insecure-transport", Meaning::NoEffect, "true"),
    switch(
        "discovery-insecure-skip-tls-verify",
        Meaning::NoEffect,
        "false",
    ),
];

/// Values that a refused flag may have all the same, beside the empty one: they ask for what is so.
const HARMLESS: &[(&str, &str)] = &[("proxy", "off"), ("discovery-fallback", "exit")];

/// The flag of this name, or of this older name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    let newer = OLDER.iter().find(|(older, _)| *older == name);
    let name = newer.map_or(name, |(_, name)| name);
    FLAGS.iter().find(|flag| flag.name == name)
}

/// Whether `value` asks `flag` for nothing that is not so anyway.
pub(super) fn asks_nothing(flag: &Flag, value: &str) -> bool {
    flag.default == Some(value) || HARMLESS.contains(&(flag.name, value))
}

/// The flags that are used, for people.
pub(super) fn help() -> String {
    let newest = server::config::Config::new("", "".into()).apply_version_max;
    let newest = newest.to_string();
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty());
    shown.fold(String::new(), |mut text, flag| {
        let default = match flag.name {
            APPLY_VERSION_MAX => newest.as_str(),
            _ => flag.default.unwrap_or_default(),
        };
        text.push_str(&format!("  --{:<29} {}\n", flag.name, flag.help));
        text.push_str(&format!("    {:<29} (default: {default})\n", ""));
        text
    })
}
