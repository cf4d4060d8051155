//! What a look at a cluster finds wrong: rules over what its members say, and nothing else.
//!
//! Each rule is one function. A finding says what is so, why that matters, and what to do.

use crate::cmd::status::bytes;
use crate::survey::Word;
use api::proto::StatusResponse;
use base::quorum;
use serde::Serialize;

/// Values of this size slow every member down, and each keeps all of them in memory.
const VALUE_BYTES_MAX: u64 = 100 * 1024;

/// A sync that takes longer holds up every write.
const SYNC_US_MAX: u64 = 100_000;

/// A backup that is older is missing, in seconds.
const BACKUP_AGE_S_MAX: u64 = 24 * 3600;

/// The part of the quota, in percent, from which space is low.
const SPACE_PERCENT_MAX: u64 = 80;

/// Clocks that differ by more, in milliseconds, make times mean little and lease reads unsafe.
const OFFSET_MS_MAX: u64 = 100;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It does not work, or the next failure stops it.
    Critical,
    /// It works, and will not for ever.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Which rule, as one word.
    pub(crate) check: &'static str,
    /// The members that it is about; none: the cluster.
    pub(crate) members: Vec<String>,
    /// What is so.
    pub(crate) what: String,
    /// What to do.
    pub(crate) help: &'static str,
}

impl Finding {
    fn new(severity: Severity, check: &'static str, what: String, help: &'static str) -> Finding {
        Finding {
            severity,
            check,
            members: Vec::new(),
            what,
            help,
        }
    }

    fn of(mut self, member: &str) -> Finding {
        self.members.push(member.to_owned());
        self
    }
}

/// Everything that is wrong, the worst first.
pub(crate) fn of(words: &[Word]) -> Vec<Finding> {
    let told: Vec<(&str, &StatusResponse)> = words
        .iter()
        .filter_map(|word| Some((name(word), word.status.as_ref()?)))
        .collect();
    let mut findings = Vec::new();
    members(words, &mut findings);
    agreement(&told, &mut findings);
    backups(&told, &mut findings);
    for (name, status) in &told {
        let mut its = Vec::new();
        space(status, &mut its);
        disk(status, &mut its);
        clock(status, &mut its);
        state(status, &mut its);
        findings.extend(its.into_iter().map(|finding| finding.of(name)));
    }
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |it: &&mut Finding| it.check == finding.check && it.what == finding.what;
        match merged.iter_mut().find(same) {
            Some(it) => it.members.extend(finding.members),
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.severity);
    merged
}

fn name(word: &Word) -> &str {
    let of_status = word.status.as_ref().map(|status| status.name.as_str());
    let of_member = word.member.as_ref().map(|member| member.name.as_str());
    let known = of_member.or(of_status).filter(|name| !name.is_empty());
    known.or(word.endpoint.as_deref()).unwrap_or("?")
}

/// Enough voters, an odd number of them, one to lead.
fn members(words: &[Word], findings: &mut Vec<Finding>) {
    use Severity::{Critical, Warning};
    let is_voter = |word: &&Word| {
        word.member
            .as_ref()
            .is_some_and(|member| !member.is_learner)
    };
    let voters: Vec<&Word> = words.iter().filter(is_voter).collect();
    let n = u32::try_from(voters.len()).unwrap_or(u32::MAX);
    let alive = voters.iter().filter(|word| word.status.is_some()).count();
    let alive = u32::try_from(alive).unwrap_or(u32::MAX);
    let needed = quorum::majority(n);
    for word in words.iter().filter(|word| word.status.is_none()) {
        let why = word.error.clone().unwrap_or_default();
        let finding = Finding::new(
            Warning,
            "silent",
            format!("it does not answer: {why}"),
            "look at its process and its log; is the network whole?",
        );
        findings.push(finding.of(name(word)));
    }
    if n > 0 && alive < needed {
        findings.push(Finding::new(
            Critical,
            "quorum",
            format!("{alive} of {n} voting members answer, and {needed} are needed"),
            "bring members back; until then nothing can be written",
        ));
    } else if n > 0 && alive == needed {
        let what = match n {
            1 => "the only voting member must not fail".to_owned(),
            _ => format!("{alive} of {n} voting members answer, and all of them are needed"),
        };
        findings.push(Finding::new(
            if n == 1 { Warning } else { Critical },
            "margin",
            what,
            "run three or five members, and bring back those that do not answer",
        ));
    }
    if quorum::is_wasteful(n) {
        findings.push(Finding::new(
            Warning,
            "even",
            format!(
                "{n} voting members tolerate no more failures than {}",
                n - 1
            ),
            "run an odd number: the last one only adds one more that can fail",
        ));
    }
    let statuses = words.iter().filter_map(|word| word.status.as_ref());
    if alive >= needed && statuses.clone().all(|status| status.leader == 0) {
        findings.push(Finding::new(
            Critical,
            "leader",
            "nobody leads".to_owned(),
            "wait a moment and ask again; else look whether the members reach each other",
        ));
    }
}

/// Members of one state, and of one version.
fn agreement(told: &[(&str, &StatusResponse)], findings: &mut Vec<Finding>) {
    for (at, (name, status)) in told.iter().enumerate() {
        let differs = |(_, other): &&(&str, &StatusResponse)| {
            other.applied_index == status.applied_index
                && other.digest != status.digest
                && other.digest != 0
                && status.digest != 0
        };
        if let Some((other, _)) = told[..at].iter().find(differs) {
            let finding = Finding::new(
                Severity::Critical,
                "digest",
                format!("it differs from {other} at index {}", status.applied_index),
                "stop it, keep its data directory for a report, and let it start with an empty one",
            );
            findings.push(finding.of(name));
        }
    }
    let mut versions: Vec<&str> = told
        .iter()
        .map(|(_, status)| status.version.as_str())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        findings.push(Finding::new(
            Severity::Warning,
            "versions",
            format!("members run {}", versions.join(" and ")),
            "finish the upgrade",
        ));
    }
}

/// Somebody has taken a snapshot lately.
fn backups(told: &[(&str, &StatusResponse)], findings: &mut Vec<Finding>) {
    if told.is_empty() {
        return;
    }
    let youngest = told
        .iter()
        .filter_map(|(_, status)| status.backup_age_s)
        .min();
    let what = match youngest {
        Some(age) if age <= BACKUP_AGE_S_MAX => return,
        Some(age) => format!("the last backup is {} hours old", age / 3600),
        None => "nobody has taken a backup since the members started".to_owned(),
    };
    findings.push(Finding::new(
        Severity::Warning,
        "backup",
        what,
        "take snapshots regularly, and try to restore one: etcdctl snapshot save FILE",
    ));
}

fn space(status: &StatusResponse, findings: &mut Vec<Finding>) {
    let (used, quota) = (status.bytes_in_use, status.quota_bytes);
    // Without a quota nothing is low.
    if quota > 0 && quota != u64::MAX && used.saturating_mul(100) / quota >= SPACE_PERCENT_MAX {
        findings.push(Finding::new(
            Severity::Warning,
            "space",
            format!("{} of {} are used", bytes(used), bytes(quota)),
            "delete what is not needed and compact, or raise --quota-backend-bytes",
        ));
    }
    if status.value_bytes_largest > VALUE_BYTES_MAX {
        findings.push(Finding::new(
            Severity::Warning,
            "value",
            format!(
                "the largest value has {}",
                bytes(status.value_bytes_largest)
            ),
            "keep large values elsewhere, and their address and hash here",
        ));
    }
    for alarm in &status.alarms {
        findings.push(Finding::new(
            Severity::Critical,
            "alarm",
            format!("the alarm {alarm} is raised"),
            "quorate explain Q2105 tells what to do about space",
        ));
    }
}

fn disk(status: &StatusResponse, findings: &mut Vec<Finding>) {
    if !matches!(status.disk.as_str(), "" | "normal") {
        findings.push(Finding::new(
            if status.disk == "full" {
                Severity::Critical
            } else {
                Severity::Warning
            },
            "disk",
            format!("its disk is {}", status.disk),
            "make space on the disk of its data directory",
        ));
    }
    if status.sync_worst_us > SYNC_US_MAX {
        findings.push(Finding::new(
            Severity::Warning,
            "sync",
            format!("a sync of its disk took {} ms", status.sync_worst_us / 1000),
            "every write waits for the disk: give it one of its own, that keeps its promises",
        ));
    }
}

fn clock(status: &StatusResponse, findings: &mut Vec<Finding>) {
    let Some(clock) = &status.clock else {
        return;
    };
    let mut warn = |check, what: String, help| {
        findings.push(Finding::new(Severity::Warning, check, what, help));
    };
    if clock.error_us.is_none() {
        warn(
            "clock-bound",
            "nobody knows by how much its clock may be wrong".to_owned(),
            "run a time daemon that keeps the kernel's estimate (chrony, ntpd), or state a bound: \
             --clock-error-max",
        );
    }
    if clock.jumped {
        warn(
            "clock-jump",
            "its clock was set within the last minute".to_owned(),
            "let the time daemon slew the clock instead of setting it",
        );
    }
    if let Some(offset) = clock
        .offset_worst_ms
        .filter(|offset| *offset > OFFSET_MS_MAX)
    {
        warn(
            "clock-offset",
            format!("its clock differs from another member's by {offset} ms"),
            "synchronise the clocks of all members with the same source",
        );
    }
}

fn state(status: &StatusResponse, findings: &mut Vec<Finding>) {
    if status.is_recovering {
        findings.push(Finding::new(
            Severity::Critical,
            "recovering",
            "its log was damaged, and it does not vote until the others have brought it up"
                .to_owned(),
            "leave it running; look at its disk",
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "diagnosis/tests.rs"]
mod tests;
