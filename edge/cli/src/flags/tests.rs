//! etcd's command line, as scripts and operators write it.

use super::*;

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
    assert_eq!(run.notes.len(), 3, "{:?}", run.notes);
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
        refusal("--cert-file x"),
        "--cert-file: TLS is not supported yet"
    );
    assert_eq!(
        refusal("--auto-tls"),
        "--auto-tls: TLS is not supported yet"
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
    assert_eq!(run.notes, ["unrecognized environment variable ETCD_X=1"]);
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
fn no_flag_stands_in_the_table_twice() {
    let mut names: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
