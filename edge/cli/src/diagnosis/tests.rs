//! Each rule finds what it is for, and nothing in a healthy cluster.

use super::*;
use api::proto::{Clock, MemberLine};

/// A cluster of `n` in which nothing is wrong.
fn healthy(n: u64) -> Vec<Word> {
    (1..=n)
        .map(|id| Word {
            endpoint: Some(format!("127.0.0.1:{id}")),
            member: Some(MemberLine {
                id,
                name: format!("n{id}"),
                ..MemberLine::default()
            }),
            status: Some(StatusResponse {
                name: format!("n{id}"),
                version: "1".into(),
                leader: 1,
                applied_index: 10,
                digest: 7,
                bytes_in_use: 100,
                quota_bytes: 1000,
                disk: "normal".into(),
                sync_worst_us: 900,
                backup_age_s: Some(60),
                clock: Some(Clock {
                    error_us: Some(500),
                    offset_worst_ms: Some(1),
                    ..Clock::default()
                }),
                ..StatusResponse::default()
            }),
            error: None,
        })
        .collect()
}

/// What is found once `change` has been done to the statuses of three healthy members.
fn found(change: impl Fn(usize, &mut StatusResponse)) -> Vec<(&'static str, String, String)> {
    let mut words = healthy(3);
    for (at, word) in words.iter_mut().enumerate() {
        change(at, word.status.as_mut().unwrap());
    }
    found_in(&words)
}

fn found_in(words: &[Word]) -> Vec<(&'static str, String, String)> {
    let line = |it: Finding| (it.check, it.members.join(","), it.what);
    of(words).into_iter().map(line).collect()
}

/// The same once member `at` is silent.
fn silent(n: u64, which: &[usize]) -> Vec<&'static str> {
    let mut words = healthy(n);
    for at in which {
        words[*at].status = None;
        words[*at].error = Some("refused".into());
    }
    of(&words).iter().map(|finding| finding.check).collect()
}

#[test]
fn a_healthy_cluster_has_nothing() {
    assert_eq!(found(|_, _| {}), []);
    assert_eq!(found_in(&healthy(5)), []);
}

#[test]
fn the_number_of_members_is_judged_and_who_answers() {
    assert_eq!(silent(1, &[]), ["margin"]);
    assert_eq!(silent(2, &[]), ["margin", "even"]);
    assert_eq!(silent(4, &[]), ["even"]);
    assert_eq!(silent(3, &[2]), ["margin", "silent"]);
    assert_eq!(silent(5, &[2]), ["silent"]);
    assert_eq!(silent(3, &[1, 2]), ["quorum", "silent"]);
    // Learners have no vote.
    let mut words = healthy(4);
    words[3].member.as_mut().unwrap().is_learner = true;
    assert_eq!(found_in(&words), []);
}

#[test]
fn nobody_leads() {
    assert_eq!(found(|_, it| it.leader = 0)[0].0, "leader");
}

#[test]
fn members_that_differ_are_named() {
    let line = (
        "digest",
        "n3".to_owned(),
        "it differs from n1 at index 10".to_owned(),
    );
    assert_eq!(found(|at, it| it.digest = 7 + u64::from(at == 2)), [line]);
    // Nothing can be said of different indexes.
    let far = |at, it: &mut StatusResponse| {
        (it.digest, it.applied_index) = (7 + at as u64, 10 + at as u64);
    };
    assert_eq!(found(far), []);
    let versions = found(|at, it| it.version = at.min(1).to_string());
    assert_eq!(versions[0].2, "members run 0 and 1");
}

#[test]
fn a_backup_of_any_member_counts() {
    assert_eq!(
        found(|at, it| it.backup_age_s = (at == 1).then_some(60)),
        []
    );
    assert_eq!(found(|_, it| it.backup_age_s = None)[0].0, "backup");
    let old = found(|_, it| it.backup_age_s = Some(50 * 3600));
    assert_eq!(old[0].2, "the last backup is 50 hours old");
}

#[test]
fn space_and_large_values() {
    assert_eq!(found(|_, it| it.bytes_in_use = 799), []);
    let low = found(|_, it| it.bytes_in_use = 800);
    let line = (
        "space",
        "n1,n2,n3".to_owned(),
        "800 B of 1000 B are used".to_owned(),
    );
    assert_eq!(low, [line]);
    assert_eq!(found(|_, it| it.value_bytes_largest = 102_400), []);
    assert_eq!(
        found(|_, it| it.value_bytes_largest = 102_401)[0].0,
        "value"
    );
    assert_eq!(
        found(|_, it| it.alarms = vec!["NOSPACE".into()])[0].0,
        "alarm"
    );
    assert_eq!(
        found(|_, it| (it.quota_bytes, it.bytes_in_use) = (0, 1 << 40)),
        []
    );
}

#[test]
fn slow_and_full_disks() {
    assert_eq!(
        found(|at, it| it.sync_worst_us = 100_000 + u64::from(at == 0))[0].1,
        "n1"
    );
    for (disk, severity) in [("low", Severity::Warning), ("full", Severity::Critical)] {
        let mut words = healthy(3);
        words[1].status.as_mut().unwrap().disk = disk.into();
        let findings = of(&words);
        assert_eq!(
            (findings[0].check, findings[0].severity),
            ("disk", severity)
        );
    }
}

#[test]
fn clocks() {
    let with = |change: fn(&mut Clock)| {
        found(move |at, it| {
            if at == 0 {
                change(it.clock.as_mut().unwrap());
            }
        })
    };
    assert_eq!(with(|clock| clock.error_us = None)[0].0, "clock-bound");
    assert_eq!(with(|clock| clock.jumped = true)[0].0, "clock-jump");
    assert_eq!(with(|clock| clock.offset_worst_ms = Some(100)), []);
    let line = (
        "clock-offset",
        "n1".to_owned(),
        "its clock differs from another member's by 101 ms".to_owned(),
    );
    assert_eq!(with(|clock| clock.offset_worst_ms = Some(101)), [line]);
}

#[test]
fn a_member_that_recovers() {
    assert_eq!(found(|at, it| it.is_recovering = at == 1)[0].1, "n2");
}
