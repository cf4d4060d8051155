//! The table is pinned, and where it says what etcd says it says the same.

use super::cells;
use super::cells::{Buckets, Histogram};
use super::page::Page;
use super::table::{self, ALL, Family, Kind};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Names, kinds, labels and buckets of a cluster of etcd 3.6.16, read from its own pages; Go's runtime left out.
const ETCDS: &str = include_str!("etcd-3.6.txt");

/// The table as text; `UPDATE=1` writes it anew.
const GOLDEN: &str = include_str!("table.txt");

/// Names of etcd's that its pages show only after something happened, or that 3.7 has.
const NOT_ON_ITS_PAGES: [&str; 4] = [
    "etcd_network_disconnected_peers_total",
    "etcd_network_peer_received_failures_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_server_request_duration_seconds",
];

/// Which histograms have which buckets.
fn buckets(family: &Family) -> Option<&'static Buckets> {
    Some(match family.name {
        "etcd_server_apply_duration_seconds" | "etcd_server_range_duration_seconds" => {
            &cells::APPLY
        }
        "etcd_network_peer_round_trip_time_seconds" => &cells::NETWORK,
        "etcd_mvcc_hash_duration_seconds" | "etcd_mvcc_hash_rev_duration_seconds" => &cells::HASH,
        "etcd_disk_backend_snapshot_duration_seconds" => &cells::SNAPSHOT,
        "etcd_disk_backend_defrag_duration_seconds" => &cells::DEFRAGMENT,
        "etcd_snap_db_save_total_duration_seconds" => &cells::RECEIVE,
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds" => &cells::COMPACT,
        "etcd_debugging_lease_ttl_total" => &cells::TTL,
        "grpc_server_handling_seconds" => return None,
        _ if family.kind == Kind::Histogram => &cells::DISK,
        _ => return None,
    })
}

fn kind(family: &Family) -> &'static str {
    match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

#[test]
fn the_table_is_as_it_was() {
    let mut text = String::new();
    for family in ALL {
        let labels = match family.labels {
            [] => "-".to_owned(),
            labels => labels.join(","),
        };
        let _ = writeln!(
            text,
            "{} {} {labels} {}",
            family.name,
            kind(family),
            family.help
        );
    }
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/table.txt");
        std::fs::write(path, &text).expect("the source can be written");
        return;
    }
    assert_eq!(
        text, GOLDEN,
        "UPDATE=1 writes it anew: then read the difference"
    );
}

#[test]
fn what_etcd_has_is_of_etcds_kind_with_its_labels_and_buckets() {
    let theirs: BTreeMap<&str, Vec<&str>> = ETCDS
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.collect()))
        })
        .collect();
    for family in ALL
        .iter()
        .filter(|family| !family.name.starts_with("quorate_"))
    {
        let Some(theirs) = theirs.get(family.name) else {
            assert!(
                NOT_ON_ITS_PAGES.contains(&family.name),
                "{} is not etcd's",
                family.name
            );
            continue;
        };
        let [their_kind, their_labels, bounds @ ..] = &theirs[..] else {
            panic!("{}: {theirs:?}", family.name);
        };
        assert_eq!(kind(family), *their_kind, "{}", family.name);
        let mut labels = family.labels.to_vec();
        labels.sort_unstable();
        let labels = match labels.is_empty() {
            true => "-".to_owned(),
            false => labels.join(","),
        };
        assert_eq!(labels, *their_labels, "{}", family.name);
        if let Some(buckets) = buckets(family) {
            let ours: Vec<String> = buckets.bounds().map(|bound| bound.to_string()).collect();
            assert_eq!(ours, bounds, "{}", family.name);
        }
    }
}

/// The mixin's alerts and the other names that the compatibility list promises.
#[test]
fn names_are_there_once_and_well_formed() {
    let mut names: Vec<&str> = ALL.iter().map(|family| family.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for family in ALL {
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert!(is_plain(family.name) && family.labels.iter().all(|label| is_plain(label)));
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
}

#[test]
fn a_page_is_prometheus_text() {
    let mut page = Page::default();
    page.one(&table::TERM, 7.0);
    let histogram = Histogram::new(&cells::NETWORK);
    histogram.observe(Duration::from_micros(150));
    let mut rows = page.family(&table::PEER_ROUND_TRIP);
    rows.histogram(&["a\"b\\c\nd"], &histogram);
    drop(rows);
    // Nobody has a row of it: it is not there.
    drop(page.family(&table::CLOCK_OFFSET));
    let text = page.render();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "# HELP etcd_network_peer_round_trip_time_seconds How long another member took to answer a question."
    );
    assert_eq!(
        lines[1],
        "# TYPE etcd_network_peer_round_trip_time_seconds histogram"
    );
    let label = "To=\"a\\\"b\\\\c\\nd\"";
    assert_eq!(
        lines[2],
        format!("etcd_network_peer_round_trip_time_seconds_bucket{{{label},le=\"0.0001\"}} 0")
    );
    assert_eq!(
        lines[3],
        format!("etcd_network_peer_round_trip_time_seconds_bucket{{{label},le=\"0.0002\"}} 1")
    );
    assert!(text.contains(&format!(
        "etcd_network_peer_round_trip_time_seconds_bucket{{{label},le=\"+Inf\"}} 1\n"
    )));
    assert!(text.contains(&format!(
        "etcd_network_peer_round_trip_time_seconds_sum{{{label}}} 0.00015\n"
    )));
    assert!(text.contains(&format!(
        "etcd_network_peer_round_trip_time_seconds_count{{{label}}} 1\n"
    )));
    assert!(text.ends_with("# TYPE quorate_term gauge\nquorate_term 7\n"));
    assert!(!text.contains("clock_offset"));
}
