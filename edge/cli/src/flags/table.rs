//! Every flag of etcd's, and what becomes of it here.
//!
//! Defaults are etcd's. A flag that tunes etcd's own inside is accepted, so that start scripts go on
//! working, and noted in the log. A flag whose absence would change what a user relies on (TLS,
//! authentication) is refused unless it has its default.

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

const fn refused(name: &'static str, reason: &'static str) -> Flag {
    Flag {
        name,
        default: Some(""),
        is_switch: false,
        meaning: Meaning::Refused(reason),
        help: "",
    }
}

const TLS: &str = "TLS is not supported yet";
const AUTH: &str = "authentication is not supported yet";
const DISCOVERY: &str = "discovery is not supported yet; use --initial-cluster";
const FILE: &str = "configuration files are not supported yet; use flags or ETCD_ variables";
const COMPACTION: &str = "automatic compaction is not supported yet; use `etcdctl compact`";

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
        "quorate-apply-version-max",
        "3",
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
    used("log-level", "info", "debug, info, warn or error"),
    used("log-format", "json", "json, or console for people"),
    switch("version", Meaning::Used, "false"),
    switch("help", Meaning::Used, "false"),
    switch("h", Meaning::Used, "false"),
    // Set by `quorate dev`; ends the member when that process ends.
    used("quorate-parent", "0", ""),
    // What these tune does not exist here, or is always as the flag's default says.
    no_effect("logger"),
    no_effect("log-outputs"),
    no_effect("wal-dir"),
    no_effect("max-snapshots"),
    no_effect("max-wals"),
    no_effect("snapshot-catchup-entries"),
    no_effect("experimental-snapshot-catchup-entries"),
    no_effect("backend-batch-interval"),
    no_effect("backend-batch-limit"),
    no_effect("backend-bbolt-freelist-type"),
    no_effect("grpc-keepalive-min-time"),
    no_effect("grpc-keepalive-interval"),
    no_effect("grpc-keepalive-timeout"),
    no_effect("max-concurrent-streams"),
    no_effect("raft-read-timeout"),
    no_effect("raft-write-timeout"),
    no_effect("listen-metrics-urls"),
    no_effect("metrics"),
    no_effect("bcrypt-cost"),
    no_effect("auth-token-ttl"),
    no_effect("cors"),
    no_effect("warning-apply-duration"),
    no_effect("experimental-warning-apply-duration"),
    no_effect("warning-unary-request-duration"),
    no_effect("experimental-warning-unary-request-duration"),
    no_effect("watch-progress-notify-interval"),
    no_effect("experimental-watch-progress-notify-interval"),
    no_effect("corrupt-check-time"),
    no_effect("experimental-corrupt-check-time"),
    no_effect("compact-hash-check-time"),
    no_effect("experimental-compact-hash-check-time"),
    no_effect("compaction-batch-limit"),
    no_effect("experimental-compaction-batch-limit"),
    no_effect("compaction-sleep-interval"),
    no_effect("experimental-compaction-sleep-interval"),
    no_effect("downgrade-check-time"),
    no_effect("experimental-downgrade-check-time"),
    no_effect("bootstrap-defrag-threshold-megabytes"),
    no_effect("experimental-bootstrap-defrag-threshold-megabytes"),
    no_effect("feature-gates"),
    no_effect("v2-deprecation"),
    switch("initial-election-tick-advance", Meaning::NoEffect, "true"),
    switch("strict-reconfig-check", Meaning::NoEffect, "true"),
    switch("pre-vote", Meaning::NoEffect, "true"),
    switch("enable-grpc-gateway", Meaning::NoEffect, "true"),
    switch("enable-v2", Meaning::NoEffect, "false"),
    switch("enable-pprof", Meaning::NoEffect, "false"),
    switch("socket-reuse-port", Meaning::NoEffect, "false"),
    switch("socket-reuse-address", Meaning::NoEffect, "false"),
    switch("enable-log-rotation", Meaning::NoEffect, "false"),
    switch("memory-mlock", Meaning::NoEffect, "false"),
    switch("experimental-memory-mlock", Meaning::NoEffect, "false"),
    switch(
        "experimental-initial-corrupt-check",
        Meaning::NoEffect,
        "false",
    ),
    switch(
        "experimental-compact-hash-check-enabled",
        Meaning::NoEffect,
        "false",
    ),
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
    switch("client-cert-auth", Meaning::Refused(TLS), "false"),
    switch("peer-client-cert-auth", Meaning::Refused(TLS), "false"),
    switch("auto-tls", Meaning::Refused(TLS), "false"),
    switch("peer-auto-tls", Meaning::Refused(TLS), "false"),
    switch(
        "force-new-cluster",
        Meaning::Refused("not supported yet"),
        "false",
    ),
    switch(
        "unsafe-no-fsync",
        Meaning::Refused("this server never answers before it syncs"),
        "false",
    ),
    refused("cert-file", TLS),
    refused("key-file", TLS),
    refused("client-cert-file", TLS),
    refused("client-key-file", TLS),
    refused("client-crl-file", TLS),
    refused("client-cert-allowed-hostname", TLS),
    refused("trusted-ca-file", TLS),
    refused("peer-cert-file", TLS),
    refused("peer-key-file", TLS),
    refused("peer-client-cert-file", TLS),
    refused("peer-client-key-file", TLS),
    refused("peer-crl-file", TLS),
    refused("peer-trusted-ca-file", TLS),
    refused("peer-cert-allowed-cn", TLS),
    refused("peer-cert-allowed-hostname", TLS),
    refused("cipher-suites", TLS),
    refused("tls-min-version", TLS),
    refused("tls-max-version", TLS),
    refused("auth-token", AUTH),
    refused(
        "host-whitelist",
        "a list of allowed hosts is not supported yet",
    ),
    refused(
        "listen-client-http-urls",
        "HTTP and gRPC share the client port here",
    ),
    refused("discovery", DISCOVERY),
    refused("discovery-srv", DISCOVERY),
    refused("discovery-srv-name", DISCOVERY),
    refused("discovery-token", DISCOVERY),
    refused("discovery-endpoints", DISCOVERY),
    refused("config-file", FILE),
    refused("auto-compaction-mode", COMPACTION),
    refused("auto-compaction-retention", COMPACTION),
];

/// Values that a refused flag may have all the same, beside the empty one: they ask for what is so.
const HARMLESS: &[(&str, &str)] = &[
    ("auto-compaction-mode", "periodic"),
    ("auto-compaction-retention", "0"),
    ("auth-token", "simple"),
    ("host-whitelist", "*"),
];

/// The flag of this name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// Whether `value` asks `flag` for nothing that is not so anyway.
pub(super) fn asks_nothing(flag: &Flag, value: &str) -> bool {
    flag.default == Some(value) || HARMLESS.contains(&(flag.name, value))
}

/// The flags that are used, for people.
pub(super) fn help() -> String {
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty());
    shown.fold(String::new(), |mut text, flag| {
        let default = flag.default.unwrap_or_default();
        text.push_str(&format!("  --{:<29} {}\n", flag.name, flag.help));
        text.push_str(&format!("    {:<29} (default: {default})\n", ""));
        text
    })
}
