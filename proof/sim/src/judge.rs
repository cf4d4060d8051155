//! The end of a world: does everything that was said add up?

use crate::reader::acknowledged;
use crate::watching::Watching;
use crate::world::World;
use base::{Index, LeaseId, Revision};
use checker::invariant::{self, Look};
use checker::line::{Clocks, Fact};
use checker::{Violation, fresh, lease, lock, project, states, watch, witness};
use std::collections::{BTreeMap, BTreeSet};
use store::KeyRange;

/// Steps of the search on one key. Histories have some hundred operations a key; this is plenty.
const SEARCH_STEPS_MAX: u64 = 3_000_000;

impl World {
    /// Judges histories, watches, leases and final states.
    pub fn judge(&mut self) -> Vec<Violation> {
        self.chronicle.index();
        let chronicle = &self.chronicle;
        let history = &self.asking.history;
        let watches = self.watching.finish();
        let mut violations = Vec::new();
        // First what needs the fewest words.
        violations.extend(self.judge_workload());
        violations.extend(chronicle.check_gapless().err());
        let mut seen = Watching::seen(&watches);
        // One counter of revisions for all doors: what one client was told another must not miss.
        seen.extend(acknowledged(&self.natives.history));
        let (attribution, found) = witness::check(history, chronicle, &seen);
        violations.extend(found);
        violations.extend(project::check(
            history,
            chronicle,
            &attribution,
            SEARCH_STEPS_MAX,
        ));
        let clock_error = self.settings.plan.worst_permille();
        violations.extend(lease::check(history, chronicle, &attribution, clock_error));
        violations.extend(lock::check(history));
        violations.extend(
            watches
                .iter()
                .filter_map(|it| watch::check(it, chronicle).err()),
        );
        violations.extend(self.judge_states());
        violations.extend(self.judge_natives());
        violations.extend(self.judge_rules());
        violations
    }

    /// What users did against what they might.
    fn judge_rules(&self) -> Vec<Violation> {
        let pages = self.chronicle.pages();
        let values: BTreeSet<&[u8]> = pages
            .flat_map(|(_, page)| &page.events)
            .map(|event| &event.row.value[..])
            .collect();
        let happened = |value: &[u8]| values.contains(value);
        self.governing
            .judge(&self.asking.users, &self.asking.history, happened)
    }

    /// Places, leases and reads of the native front.
    fn judge_natives(&mut self) -> Vec<Violation> {
        let now = self.now();
        let mut violations = Vec::new();
        for at in self.running() {
            if let Some(process) = &self.members[at].process {
                process.natives.desk.check(&process.state);
            }
        }
        for contender in 0..self.natives.contenders.len() {
            self.stops_believing(contender, now);
        }
        let expected = self.expected_members().into_iter();
        let living: Vec<LeaseId> = expected
            .filter_map(|at| self.members[at].process.as_ref())
            .flat_map(|process| process.state.leases().map(|lease| lease.id))
            .collect();
        let clocks = Clocks {
            error_permille: self.settings.plan.worst_permille(),
            keep_bound: self.settings.plan.keeps_bound(),
        };
        let natives = &mut self.natives;
        natives.chronicle.index();
        for (revision, page) in natives.chronicle.pages() {
            let values = page.events.iter().map(|event| &event.row.value);
            for (line, token) in values.filter_map(|value| natives.fenced.get(value)) {
                natives.facts.push(Fact::Wrote {
                    line: line.clone(),
                    token: *token,
                    revision,
                });
            }
        }
        violations.extend(natives.lines.check(&natives.facts, clocks, &living));
        let mut acks = acknowledged(&natives.history);
        let (attribution, found) = witness::check(
            &natives.history,
            &natives.chronicle,
            &acknowledged(&self.asking.history),
        );
        violations.extend(found);
        violations.extend(project::check(
            &natives.history,
            &natives.chronicle,
            &attribution,
            SEARCH_STEPS_MAX,
        ));
        acks.extend(acknowledged(&self.asking.history));
        let (anomalies, found) = fresh::check(&natives.looks, &acks, clocks.error_permille);
        natives.anomalies = anomalies;
        violations.extend(found);
        violations
    }

    /// What the application's rows say adds up, in every look and on each member at the end.
    fn judge_workload(&self) -> Option<Violation> {
        let workload = self.settings.plan.workload?;
        let ours = KeyRange::between(invariant::PREFIX, invariant::END);
        // Whoever was removed may have stopped anywhere.
        let looks = self.expected_members().into_iter().filter_map(|at| {
            let member = &self.members[at];
            let state = &member.process.as_ref()?.state;
            let rows = state.root(etcd::ROOT).range(&ours, None).ok()?;
            let rows = rows.map(crate::speak::row_of_record).collect();
            let who = format!("member {} at the end", member.id);
            Some(Look::at_the_end(who, state.revision(), rows))
        });
        let looks: Vec<Look> = looks.collect();
        invariant::check(workload.invariant, &self.asking.history, &looks).err()
    }

    /// Every member's state is the one that the history leads to, at every revision that it still has.
    fn judge_states(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut hashes: BTreeMap<(Index, Revision), (u32, base::MemberId)> = BTreeMap::new();
        for at in self.running() {
            let member = &self.members[at];
            let Some(process) = &member.process else {
                continue;
            };
            let state = &process.state;
            state.check();
            let id = member.id;
            let root = state.root(etcd::ROOT);
            let (oldest, newest) = (root.compacted().0.max(1), state.revision().0);
            let mut asked: Vec<u64> = (0..8).map(|n| newest.saturating_sub(n * n)).collect();
            asked.push(oldest);
            for revision in asked
                .into_iter()
                .filter(|revision| *revision >= oldest)
                .map(Revision)
            {
                let rows = root
                    .range(&KeyRange::all(), Some(revision))
                    .map(|rows| rows.map(crate::speak::row_of_record).collect::<Vec<_>>());
                let rows = rows.as_deref().ok();
                if let Err(violation) = states::check_rows(id, revision, rows, &self.chronicle) {
                    violations.push(violation);
                    break;
                }
            }
            violations.extend(self.judge_events(id, &root));
            if let Ok(hash) = root.hash(Revision(0)) {
                let key = (state.applied().index, root.compacted());
                let (first, by) = *hashes.entry(key).or_insert((hash.hash, id));
                if first != hash.hash {
                    violations.push(Violation::new(
                        "members_have_equal_hashes",
                        format!(
                            "at {key:?} member {by} has {first:08x}, member {id} {:08x}",
                            hash.hash
                        ),
                    ));
                }
            }
        }
        violations
    }

    /// The retained history is what happened, from the compacted revision on.
    fn judge_events(&self, id: base::MemberId, root: &store::RootView<'_>) -> Option<Violation> {
        let from = Revision(root.compacted().0.max(1));
        let events = root.events(from).ok()?;
        let mut expected = self
            .chronicle
            .pages()
            .filter(|(revision, _)| *revision >= from && *revision <= root.revision())
            .flat_map(|(_, page)| &page.events);
        for event in events {
            let row = crate::speak::row_of_record(&event.record);
            match expected.next() {
                Some(happened) if happened.row == row => {}
                other => {
                    return Some(Violation::new(
                        "retained_history_is_what_happened",
                        format!("member {id}, from {from}: has {row}, expected {other:?}"),
                    ));
                }
            }
        }
        expected.next().map(|missing| {
            Violation::new(
                "retained_history_is_what_happened",
                format!("member {id}, from {from}: lacks {missing}"),
            )
        })
    }

    /// Why there is no progress, for people.
    pub fn explain(&self) -> String {
        let mut text = format!("membership {:?}", self.membership.1);
        for (at, member) in self.members.iter().enumerate() {
            text += &format!("\n  n{}: ", member.id);
            let Some(process) = &member.process else {
                text += &format!("down, {:?}", member.condition);
                continue;
            };
            let status = process.node.status();
            let role = match (status.is_leader, status.is_recovering, status.is_learner) {
                (true, ..) => "leader",
                (_, true, _) => "recovering",
                (.., true) => "learner",
                _ => "follower",
            };
            text += &format!(
                "{role}, term {}, knows leader n{}, last {}, commit {}, applied {}, disk {}",
                status.term,
                status.leader,
                status.last,
                status.commit,
                status.applied,
                if process.work.is_busy() {
                    "busy"
                } else {
                    "idle"
                },
            );
            if let Some((operation, answered)) = self.asking.last_writes.get(&at) {
                text += &format!(", last write #{operation} answered: {answered}");
            }
        }
        let leaders = self
            .members
            .iter()
            .filter(|member| member.process.as_ref().is_some_and(|p| p.node.is_leader()))
            .count();
        text += &format!("\n  {leaders} leaders");
        text
    }

    /// Members of the cluster that should take part by now.
    pub fn expected_members(&self) -> Vec<usize> {
        let in_it = self.membership.1.everyone();
        (0..self.members.len())
            .filter(|at| in_it.contains(&self.members[*at].id))
            .filter(|at| self.members[*at].condition == crate::member::Condition::Well)
            .collect()
    }

    /// Whether every expected member runs, has had a write acknowledged, and has applied the same.
    pub fn has_converged(&self) -> bool {
        let mut applied = None;
        self.expected_members().into_iter().all(|at| {
            let Some(process) = &self.members[at].process else {
                return false;
            };
            let position = process.state.applied();
            let written = self
                .asking
                .last_writes
                .get(&at)
                .is_some_and(|(_, answered)| *answered);
            written && *applied.get_or_insert(position) == position
        })
    }
}
