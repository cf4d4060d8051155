//! The report: what was asked, what was done to whom, what the judges say, and how to do it again.

use crate::journal::{Tally, Written};
use crate::judge::Verdict;
use crate::nemesis::{Done, Strike};
use crate::plan::{Kind, Need};
use checker::Time;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How many violations are shown in full.
const SHOWN: usize = 10;

/// What a report is made of.
pub(crate) struct Report<'a> {
    pub(crate) command: String,
    pub(crate) versions: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) n_members: usize,
    pub(crate) n_clients: usize,
    pub(crate) written: &'a Written,
    /// When changes were acknowledged.
    pub(crate) acknowledgements: &'a [Time],
    pub(crate) done: &'a Done,
    pub(crate) verdict: &'a Verdict,
    pub(crate) missing: &'a [(Need, String)],
    pub(crate) n_watches: usize,
    pub(crate) lasted: Duration,
    pub(crate) judged_in: Duration,
}

/// The whole report as Markdown.
pub(crate) fn write(report: &Report<'_>) -> String {
    let mut out = String::new();
    // Writing to a string cannot go wrong.
    let _ = head(report, &mut out);
    let _ = operations(report.written, &mut out);
    let _ = faults(report, &mut out);
    let _ = judges(report, &mut out);
    out
}

fn head(report: &Report<'_>, out: &mut String) -> std::fmt::Result {
    let total = report.written.total();
    let n = total.answered + total.refused + total.unknown;
    let kinds = report.done.strikes.iter().map(|strike| strike.kind);
    let kinds: std::collections::BTreeSet<Kind> = kinds.collect();
    writeln!(out, "# Chaos on real processes\n")?;
    writeln!(
        out,
        "{} operations of {} clients on {} members, {} faults of {} kinds in {} episodes: **{}**.\n",
        group(n),
        report.n_clients,
        report.n_members,
        report.done.strikes.len(),
        kinds.len(),
        report.done.episodes,
        match report.verdict.violations.len() {
            0 => "linearizable, nothing lost".to_owned(),
            n => format!("{n} violations"),
        }
    )?;
    writeln!(out, "```text\n{}\n```\n", report.command)?;
    writeln!(
        out,
        "Seed {}, {} of trouble, judged in {}. {}.\n",
        report.seed,
        seconds(report.lasted),
        seconds(report.judged_in),
        report.versions.join("; ")
    )?;
    writeln!(
        out,
        "The seed decides the plan of the faults and what each client asks; how they meet is the machine's. What is done \
         and how it is judged: [testing.md](testing.md).\n"
    )
}

fn operations(written: &Written, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## Operations\n")?;
    writeln!(out, "| operation | answered | refused | unknown |")?;
    writeln!(out, "| --- | --- | --- | --- |")?;
    let line = |out: &mut String, name: &str, tally: Tally| {
        let [answered, refused, unknown] =
            [tally.answered, tally.refused, tally.unknown].map(group);
        writeln!(out, "| {name} | {answered} | {refused} | {unknown} |")
    };
    for (what, tally) in &written.tallies {
        line(out, what.name(), *tally)?;
    }
    line(out, "**all**", written.total())?;
    if !written.refusals.is_empty() {
        writeln!(out, "\nRefused with:\n")?;
    }
    for (words, n) in &written.refusals {
        writeln!(out, "- {} × `{words}`", group(*n))?;
    }
    writeln!(out)
}

fn faults(report: &Report<'_>, out: &mut String) -> std::fmt::Result {
    let mut by_kind: BTreeMap<Kind, Vec<&Strike>> = BTreeMap::new();
    for strike in &report.done.strikes {
        by_kind.entry(strike.kind).or_default().push(strike);
    }
    writeln!(out, "## Faults\n")?;
    writeln!(
        out,
        "Without changes: the longest time between two acknowledged changes, at any member, from the last before the fault \
         to the first after its end. Faults overlap, so one pause may stand in several lines.\n"
    )?;
    writeln!(
        out,
        "| fault | times | overlapping another | longest | without changes: median | worst |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
    for (kind, strikes) in &by_kind {
        let overlapping = strikes.iter().filter(|one| {
            let others = report.done.strikes.iter();
            others
                .filter(|other| other.kind != one.kind)
                .any(|other| other.began <= one.ended && one.began <= other.ended)
        });
        let longest = strikes.iter().map(|one| one.ended.0 - one.began.0).max();
        let mut pauses: Vec<u64> = strikes
            .iter()
            .map(|one| pause(report.acknowledgements, one.began, one.ended))
            .collect();
        pauses.sort_unstable();
        writeln!(
            out,
            "| {kind} | {} | {} | {} | {} | {} |",
            strikes.len(),
            overlapping.count(),
            nanos(longest.unwrap_or(0)),
            nanos(pauses[pauses.len() / 2]),
            nanos(pauses[pauses.len() - 1]),
        )?;
    }
    let silent: Vec<&Strike> = report
        .done
        .strikes
        .iter()
        .filter(|strike| strike.note.contains("answered no change"))
        .collect();
    if !silent.is_empty() {
        writeln!(
            out,
            "\nFull disks on which a minority answered no change, neither taken nor refused, until there was room:\n"
        )?;
    }
    for strike in silent {
        writeln!(out, "- {strike}")?;
    }
    if !report.missing.is_empty() {
        writeln!(out, "\nSkipped:\n")?;
    }
    for (need, why) in report.missing {
        let kinds = Kind::ALL.iter().filter(|kind| kind.need() == *need);
        let kinds: Vec<String> = kinds.map(|kind| kind.to_string()).collect();
        writeln!(out, "- {} ({why})", kinds.join("; "))?;
    }
    let worst = report
        .done
        .strikes
        .iter()
        .max_by_key(|one| pause(report.acknowledgements, one.began, one.ended));
    if let Some(worst) = worst {
        let at = pause(report.acknowledgements, worst.began, worst.ended);
        writeln!(
            out,
            "\nThe longest time without changes was {} ({}).\n",
            nanos(at),
            worst
        )?;
    }
    Ok(())
}

fn judges(report: &Report<'_>, out: &mut String) -> std::fmt::Result {
    let verdict = report.verdict;
    writeln!(out, "## Verdicts\n")?;
    writeln!(
        out,
        "- witness: {} operations replayed in the order of {} revisions; {} unknown ones had taken effect",
        group(report.written.history.len() as u64),
        group(verdict.n_revisions),
        group(verdict.n_late as u64),
    )?;
    writeln!(
        out,
        "- linear: each key of {} windows has an order that explains every answer; no search was given up",
        group(verdict.n_windows as u64)
    )?;
    writeln!(
        out,
        "- chronicle and watch: {} events in {} watches; all members told the same history, and told it again in the end",
        group(verdict.n_events as u64),
        group(report.n_watches as u64)
    )?;
    writeln!(
        out,
        "- final state: every member took a put, holds the same {} keys as the history says, and hashes alike",
        group(verdict.n_keys as u64)
    )?;
    writeln!(
        out,
        "- members: each served again after each episode that was waited for, and none ended by itself\n"
    )?;
    if verdict.violations.is_empty() {
        return writeln!(out, "No violation.");
    }
    writeln!(out, "These do **not** hold:\n")?;
    for violation in verdict.violations.iter().take(SHOWN) {
        writeln!(out, "```text\n{violation}\n```\n")?;
    }
    writeln!(out, "{} violations.", verdict.violations.len())
}

/// The longest time between two neighbours of `times` that touches `began..ended`.
fn pause(times: &[Time], began: Time, ended: Time) -> u64 {
    let first = times
        .partition_point(|time| *time <= began)
        .saturating_sub(1);
    let last = (times.partition_point(|time| *time < ended) + 1).min(times.len());
    let pairs = times[first.min(last)..last].windows(2);
    pairs.map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0)
}

fn nanos(ns: u64) -> String {
    seconds(Duration::from_nanos(ns))
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// 1234567 as 1,234,567.
fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(group(7), "7");
        assert_eq!(group(1_234_567), "1,234,567");
    }

    #[test]
    fn a_pause_reaches_over_the_ends_of_its_fault() {
        let times = [10, 20, 90, 100].map(Time);
        assert_eq!(pause(&times, Time(30), Time(40)), 70);
        assert_eq!(pause(&times, Time(12), Time(15)), 10);
        assert_eq!(pause(&times, Time(95), Time(300)), 10);
        assert_eq!(pause(&[], Time(1), Time(2)), 0);
    }
}
