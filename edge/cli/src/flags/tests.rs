//! etcd's command line, as scripts and operators write it.

use super::table::FLAGS;
use super::*;
use server::config::{AutoCompaction, TlsVersion};
use std::time::Duration;

fn parsed(line: &str, environment: &[(&str, &str)]) -> Result<Asked, FlagError> {
    let pairs = environment
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()));
    parse(line.split_whitespace().map(str::to_owned), pairs)
}

fn run(line: &str) -> Run {
    match parsed(line, &[]) {
        Ok(Asked::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    parsed(line, &[]).expect_err(line).to_string()
}

#[test]
fn every_spelling_of_a_flag_is_taken() {
    for line in ["--name n1", "--name=n1", "-name n1", "-name=n1"] {
        let run = run(line);
        assert_eq!(run.config.name, "n1");
        assert_eq!(run.config.data_dir.to_str(), Some("n1.etcd"));
        assert_eq!(run.config.initial_cluster[0].name, "n1");
    }
}

#[test]
fn a_member_of_three_as_etcds_own_guides_write_it() {
    let run = run(
        "--name m2 --data-dir /d/m2 --listen-client-urls http://127.0.0.1:22379 \
         --advertise-client-urls http://127.0.0.1:22379 --listen-peer-urls http://127.0.0.1:22380 \
         --initial-advertise-peer-urls http://127.0.0.1:22380 --initial-cluster-token t1 \
         --initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380 \
         --initial-cluster-state new --enable-pprof --logger=zap --log-outputs=stderr \
         --heartbeat-interval 50 --election-timeout=500 --snapshot-count 7 --max-txn-ops 10 \
         --max-request-bytes 1000 --quota-backend-bytes -1 --log-level debug",
    );
    let config = &run.config;
    assert_eq!(config.initial_cluster.len(), 3);
    assert_eq!(config.listen_peer[0].to_string(), "127.0.0.1:22380");
    assert_eq!(config.token, "t1");
    assert_eq!(config.heartbeat, Duration::from_millis(50));
    assert_eq!(config.election, Duration::from_millis(500));
    assert_eq!((config.snapshot_count, config.txn_ops_max), (7, 10));
    assert_eq!((config.request_bytes_max, config.quota_bytes), (1000, None));
    assert_eq!(run.log.level, tracing::Level::DEBUG);
    assert_eq!(run.notes, ["--enable-pprof has no effect here"]);
    assert_eq!(run.log.outputs, ["stderr"]);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let text = "flag provided but not defined: --nmae (--help lists all flags)";
    assert_eq!(refusal("--nmae n1"), text);
    assert_eq!(refusal("--name"), "flag needs an argument: --name");
    assert_eq!(
        refusal("start"),
        "\"start\" is not a flag; flags begin with --"
    );
    assert_eq!(
        refusal("--unsafe-no-fsync"),
        "--unsafe-no-fsync: this server never answers before it syncs"
    );
    assert_eq!(
        refusal("--tls-min-version TLS1.1"),
        "--tls-min-version is \"TLS1.1\": TLS1.2 or TLS1.3"
    );
    let text = "--max-txn-ops is \"many\": a whole number is needed";
    assert_eq!(refusal("--max-txn-ops many"), text);
    let text = "--initial-cluster-state is \"old\": new or existing";
    assert_eq!(refusal("--initial-cluster-state old"), text);
    let text = "--advertise-client-urls is required when --listen-client-urls is set explicitly";
    assert_eq!(refusal("--listen-client-urls http://127.0.0.1:1"), text);
    let line = "--initial-cluster a=http://h:1,b";
    let text = "--initial-cluster is \"a=http://h:1,b\": \
                name=http://host:port, separated by commas, is needed";
    assert_eq!(refusal(line), text);
}

#[test]
fn flags_that_ask_for_what_is_so_are_taken() {
    let line = "--auto-tls=false --cert-file= --auto-compaction-retention=0 --pre-vote=true";
    assert!(run(line).notes.is_empty());
}

#[test]
fn a_variable_counts_like_its_flag_and_both_are_a_conflict() {
    let asked = parsed("", &[("ETCD_NAME", "n7"), ("ETCD_X", "1"), ("HOME", "/")]);
    let Ok(Asked::Run(run)) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(run.config.name, "n7");
    assert_eq!(run.notes, ["unrecognized environment variable ETCD_X"]);
    let error = parsed("--name n1", &[("ETCD_NAME", "n7")]).expect_err("both");
    assert_eq!(
        error.to_string(),
        "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line \
         flag (either unset environment variable or disable flag)"
    );
}

#[test]
fn version_and_help_win_over_everything_else() {
    assert!(matches!(parsed("--version", &[]), Ok(Asked::Version)));
    assert!(matches!(parsed("--name x -h", &[]), Ok(Asked::Help)));
    assert!(help().contains("--initial-cluster-token"));
    assert!(!help().contains("quorate-parent"));
}

#[test]
fn an_older_name_is_the_same_flag() {
    let line = "--experimental-watch-progress-notify-interval=5s \
                --experimental-initial-corrupt-check=true --experimental-compact-hash-check-enabled \
                --experimental-compact-hash-check-time 2m";
    let config = run(line).config;
    assert_eq!(config.progress_notify, Duration::from_secs(5));
    assert!(config.corrupt_check_initial);
    assert_eq!(
        config.compact_hash_check_every,
        Some(Duration::from_secs(120))
    );
    let both = "--experimental-corrupt-check-time 1h --corrupt-check-time 1h";
    let text = "cannot set both --experimental-corrupt-check-time and --corrupt-check-time: \
                they are one flag; use --corrupt-check-time";
    assert_eq!(refusal(both), text);
    let error = parsed(
        "--experimental-corrupt-check-time 1h",
        &[("ETCD_CORRUPT_CHECK_TIME", "1h")],
    );
    assert!(matches!(error, Err(FlagError::Shadowed(_))), "{error:?}");
}

#[test]
fn feature_gates_switch_on_what_they_name() {
    let run =
        run("--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true,LeaseCheckpoint=1");
    assert!(run.config.corrupt_check_initial);
    assert_eq!(
        run.config.compact_hash_check_every,
        Some(Duration::from_secs(60))
    );
    assert_eq!(
        run.notes,
        ["feature gate LeaseCheckpoint has no effect here"]
    );
    assert_eq!(
        refusal("--feature-gates Nothing=true"),
        "unrecognized feature gate: Nothing"
    );
}

#[test]
fn retention_is_hours_a_duration_or_revisions() {
    let retention = |line: &str| run(line).config.auto_compaction;
    let hours = |n: u64| AutoCompaction::Periodic(Duration::from_secs(n * 3600));
    assert_eq!(
        retention("--auto-compaction-retention 0"),
        AutoCompaction::Off
    );
    assert_eq!(retention("--auto-compaction-retention 5"), hours(5));
    assert_eq!(retention("--auto-compaction-retention 1h"), hours(1));
    assert_eq!(
        retention("--auto-compaction-mode revision --auto-compaction-retention 1000"),
        AutoCompaction::Revisions(1000)
    );
    for bad in [
        "--auto-compaction-retention -1",
        "--auto-compaction-retention -1h",
        "--auto-compaction-retention 99999999999999999999",
        "--auto-compaction-mode revision --auto-compaction-retention 1h",
        "--auto-compaction-mode hourly",
    ] {
        refusal(bad);
    }
}

#[test]
fn tls_is_asked_for_by_etcds_flags() {
    let run = run(
        "--listen-client-urls https://0.0.0.0:2379,unix:///run/q.sock \
         --advertise-client-urls https://n1:2379 --cert-file c --key-file k --trusted-ca-file a \
         --client-cert-auth --cipher-suites A,B --tls-min-version TLS1.2 \
         --peer-auto-tls --initial-advertise-peer-urls https://n1:2380 \
         --listen-peer-urls https://10.0.0.1:2380 --peer-cert-allowed-cn x,y",
    );
    let config = &run.config;
    assert!(config.listen_client[0].is_tls && !config.listen_client[1].is_tls);
    assert_eq!(config.listen_client[1].to_string(), "/run/q.sock");
    assert!(config.client_security.client_cert_auth);
    assert_eq!(config.tls.cipher_suites, ["A", "B"]);
    assert_eq!(config.tls.min, TlsVersion::Tls12);
    assert_eq!(config.peer_security.allowed_cns, ["x", "y"]);
    assert_eq!(
        refusal(
            "--listen-client-urls https://0.0.0.0:2379 --advertise-client-urls https://n1:2379"
        ),
        "TLS key/cert (--cert-file, --key-file) must be provided for client url \
         https://0.0.0.0:2379 with HTTPS scheme"
    );
    assert_eq!(
        refusal("--cert-file x"),
        "--key-file and --cert-file must both be present"
    );
}

/// As the file that people copy from has it: folded with blanks, comments, sections.
const YAML: &str = r#"
name: n2
data-dir: /var/lib/etcd
initial-cluster: >-
  n1=https://n1.svc:2380,
  n2=https://n2.svc:2380,
  n3=https://n3.svc:2380
initial-cluster-state: new
listen-client-urls: https://0.0.0.0:2379
advertise-client-urls: https://n2.svc:2379
listen-peer-urls: https://0.0.0.0:2380
initial-advertise-peer-urls: https://n2.svc:2380
heartbeat-interval: 100        # ms
auto-compaction-mode: periodic
auto-compaction-retention: "1h"
warning-apply-duration: 200000000
log-outputs: [stderr, /tmp/x.log]
something-new: 5
client-transport-security:
  cert-file: /pki/server.crt
  key-file: /pki/server.key
  trusted-ca-file: /pki/ca.crt
  client-cert-auth: true
peer-transport-security:
  cert-file: /pki/peer.crt
  key-file: /pki/peer.key
  allowed-cns: [a, b]
  skip-client-san-verification: true
  unheard: of
"#;

fn filed(text: &str) -> Result<Run, FlagError> {
    file::parse(text)?.complete()
}

#[test]
fn a_file_is_read_as_etcd_reads_it() {
    let run = filed(YAML).expect("a good file");
    let config = &run.config;
    assert_eq!(config.name, "n2");
    assert_eq!(config.initial_cluster.len(), 3);
    assert_eq!(config.initial_cluster[1].peer_urls, ["https://n2.svc:2380"]);
    assert_eq!(
        config.auto_compaction,
        AutoCompaction::Periodic(Duration::from_secs(3600))
    );
    assert_eq!(config.warn_apply, Duration::from_millis(200));
    assert!(config.client_security.client_cert_auth);
    assert_eq!(
        config.client_security.key_file.as_deref(),
        Some(std::path::Path::new("/pki/server.key"))
    );
    assert_eq!(config.peer_security.allowed_cns, ["a", "b"]);
    assert!(config.peer_security.skip_client_san_verification);
    assert_eq!(run.log.outputs, ["stderr", "/tmp/x.log"]);
    assert_eq!(
        run.notes,
        [
            "unknown key something-new is ignored",
            "unknown key peer-transport-security.unheard is ignored"
        ]
    );
}

#[test]
fn a_file_that_cannot_work_is_refused_in_words() {
    for (text, words) in [
        ("name: [", "not YAML"),
        ("- a", "keys and values"),
        ("name: {a: b}", "one value is needed"),
        ("client-transport-security: 5", "keys are needed"),
        ("heartbeat-interval: soon", "a whole number is needed"),
        ("unsafe-no-fsync: true", "never answers before it syncs"),
        ("1: 2", "not the name of a flag"),
        ("initial-cluster: a", "separated by commas"),
    ] {
        let error = filed(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(filed("").is_ok());
    assert!(filed("name:\nclient-transport-security:\n").is_ok());
}

#[test]
fn a_file_excludes_everything_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("etcd.yaml");
    std::fs::write(&path, "name: filed\n").expect("written");
    let path = path.to_str().expect("a name");
    let asked = parsed(
        &format!("--config-file {path} --name typed"),
        &[("ETCD_NAME", "variable")],
    );
    let Ok(Asked::Run(run)) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!(run.config.name, "filed");
    assert_eq!(run.notes.len(), 1, "{:?}", run.notes);
    let Ok(Asked::Run(run)) = parsed("", &[("ETCD_CONFIG_FILE", path)]) else {
        panic!("by variable")
    };
    assert_eq!((run.config.name.as_str(), run.notes.len()), ("filed", 0));
    let missing = parsed("--config-file /nowhere/at.all", &[]).expect_err("no file");
    assert!(
        missing
            .to_string()
            .starts_with("/nowhere/at.all: No such file")
    );
    let both = parsed(
        &format!("--config-file {path}"),
        &[("ETCD_CONFIG_FILE", "/nowhere/at.all")],
    );
    assert!(both.is_ok(), "the flag is what counts");
}

/// Tried on etcd 3.6.16: its own sample, YAML 1.1's switches, and the last of two.
#[test]
fn a_file_is_forgiven_what_etcd_forgives() {
    let run = filed("discovery:\ndiscovery-fallback: 'proxy'\n").expect("etcd's sample");
    assert_eq!(
        run.notes,
        ["discovery-fallback has no effect here: there is no discovery to fall back from"]
    );
    let run = filed("discovery-fallback: exit\n").expect("the default");
    assert_eq!(run.notes, [""; 0]);
    assert!(filed("discovery: https://d/1\ndiscovery-fallback: proxy\n").is_err());
    // On the command line etcd refuses it, too.
    refusal("--discovery-fallback=proxy");

    for (no, is_strict) in [
        ("no", false),
        ("Off", false),
        ("n", false),
        ("yes", true),
        ("ON", true),
    ] {
        let run = filed(&format!("strict-reconfig-check: {no}\n")).expect(no);
        assert_eq!(run.config.strict_reconfig, is_strict, "{no}");
    }
    let run = filed("name: no\nclient-transport-security:\n  auto-tls: on\n").expect("texts stay");
    assert_eq!(run.config.name, "no");
    assert!(run.config.client_security.auto_tls);
    assert!(filed("strict-reconfig-check: maybe\n").is_err());
    refusal("--strict-reconfig-check=off");

    let twice = "name: a\npeer-transport-security:\n  auto-tls: true\n  auto-tls: false\nname: b\n";
    let run = filed(twice).expect("the last counts");
    assert_eq!(run.config.name, "b");
    assert!(!run.config.peer_security.auto_tls);
}

/// Tried on etcd 3.6.16, which starts with each of these.
#[test]
fn a_number_out_of_its_bounds_is_what_etcd_makes_of_it() {
    let out = run("--snapshot-count=0 --bcrypt-cost=3 --watch-progress-notify-interval=10ms");
    let config = &out.config;
    assert_eq!((config.snapshot_count, config.bcrypt_cost), (10_000, 10));
    assert_eq!(config.progress_notify, Duration::from_millis(100));
    assert_eq!(
        out.notes,
        [
            "--bcrypt-cost is 3, not between 4 and 31: 10 is used, as in etcd",
            "--watch-progress-notify-interval is 10ms: 100ms is used, as in etcd",
            "--snapshot-count is 0: 10000 is used, as in etcd",
        ]
    );
    for cost in ["0", "32", "-1"] {
        assert_eq!(run(&format!("--bcrypt-cost={cost}")).config.bcrypt_cost, 10);
    }
    assert_eq!(run("--bcrypt-cost=4").config.bcrypt_cost, 4);
    // etcd starts, and refuses every transaction that does something.
    refusal("--max-txn-ops=0");
    let out = run("--watch-progress-notify-interval=0");
    assert_eq!(out.config.progress_notify, Duration::from_secs(600));
}

/// Tried on etcd 3.6.16: its words.
#[test]
fn what_contradicts_itself_is_refused_as_etcd_does() {
    for (line, words) in [
        (
            "--experimental-compact-hash-check-enabled=true --feature-gates=CompactHashCheck=true",
            "cannot specify both flags: --experimental-compact-hash-check-enabled=true and \
             --feature-gates=CompactHashCheck=true at the same time, please just use \
             --feature-gates=CompactHashCheck=true",
        ),
        (
            "--experimental-txn-mode-write-with-shared-buffer=false \
             --feature-gates=TxnModeWriteWithSharedBuffer=false",
            "cannot specify both flags: --experimental-txn-mode-write-with-shared-buffer=false and \
             --feature-gates=TxnModeWriteWithSharedBuffer=false at the same time, please just use \
             --feature-gates=TxnModeWriteWithSharedBuffer=false",
        ),
        (
            "--tls-min-version=TLS1.3 --cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            "--log-outputs=stderr,default",
            "multi logoutput for \"default\" is not supported yet",
        ),
        (
            "--compact-hash-check-time=0s",
            "--compact-hash-check-time must be >0 (set to 0s)",
        ),
        (
            "--experimental-compact-hash-check-time=0s",
            "--experimental-compact-hash-check-time must be >0 (set to 0s)",
        ),
    ] {
        assert_eq!(refusal(line), words);
    }
    run("--experimental-initial-corrupt-check=true --feature-gates=CompactHashCheck=true");
    run("--log-outputs=stderr,stdout");
}

#[test]
fn the_help_says_which_apply_version_the_build_knows() {
    let newest = Config::new("", "".into()).apply_version_max;
    let text = help();
    let (_, after) = text
        .split_once("--quorate-apply-version-max")
        .expect("the flag");
    let default = after.split_once("(default: ").expect("its default").1;
    assert!(default.starts_with(&format!("{newest})")), "{default}");
}

/// etcd shows it where its gateway calls itself. Ours does not, and says so; a pair it must be all the same.
#[test]
fn a_certificate_for_calls_to_oneself_has_no_effect_and_that_is_said() {
    let run = run("--client-cert-file c --client-key-file k");
    assert_eq!(
        run.notes,
        ["--client-cert-file has no effect here: a member never calls itself"]
    );
}

/// Start scripts go on working, and nobody believes in vain.
#[test]
fn every_flag_without_effect_is_taken_and_said() {
    let names = FLAGS
        .iter()
        .filter(|flag| flag.meaning == table::Meaning::NoEffect);
    for flag in names {
        let value = match (flag.is_switch, flag.default) {
            (true, Some("true")) => "false",
            (true, _) => "true",
            (false, _) => "7",
        };
        let name = flag.name;
        let notes = run(&format!("--{name}={value}")).notes;
        assert_eq!(notes, [format!("--{name} has no effect here")]);
    }
}

#[test]
fn every_older_name_leads_to_a_flag() {
    for (older, name) in table::OLDER {
        assert!(
            FLAGS.iter().any(|flag| flag.name == *name),
            "{older} leads nowhere"
        );
        assert!(
            !FLAGS.iter().any(|flag| flag.name == *older),
            "{older} twice"
        );
    }
}

#[test]
fn no_flag_stands_in_the_table_twice() {
    let mut names: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn every_flag_stands_in_the_compatibility_table() {
    let page = include_str!("../../../../docs/compat/etcd.md");
    let missing: Vec<_> = FLAGS
        .iter()
        .filter(|flag| flag.name != "quorate-parent")
        .filter(|flag| !page.contains(&format!("`--{}`", flag.name)))
        .map(|flag| flag.name)
        .collect();
    assert_eq!(missing, [""; 0]);
    for (older, _) in table::OLDER {
        assert!(page.contains(&format!("`--{older}`")), "{older}");
    }
}
