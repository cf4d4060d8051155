//! How fresh reads of each level are, in true time: what a level forbids never happens, and what it permits is counted.
//!
//! | level | forbidden | permitted, and counted when it is seen |
//! | --- | --- | --- |
//! | bounded(Δ) | to miss what was acknowledged a Δ before the read | to miss what was acknowledged since |
//! | session | to be older than the token | to miss what others had acknowledged |
//! | sequential | to go back at one member | to miss anything that is new |
//!
//! Linearizable reads and reads by the lease are judged by `witness` and `linear`, as all others that promise as much. An
//! age that a member states is judged as a bound is. Members count Δ by their own clocks, so a bound is longer by their
//! error.

use crate::history::Time;
use crate::verdict::Violation;
use base::Revision;
use std::collections::BTreeMap;

/// What was demanded of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// Every write that was acknowledged before it.
    Linearizable,
    /// The same, by the leader's lease.
    Lease,
    /// Every write that was acknowledged so many nanoseconds before it.
    Bounded(u64),
    /// Everything up to this revision.
    Session(Revision),
    /// Any state of the member.
    Sequential,
}

/// One read that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Its number in the history.
    pub number: u64,
    /// What was demanded.
    pub demand: Demand,
    /// Which member, and which of its lives.
    pub member: (u64, u32),
    /// When it was asked.
    pub call: Time,
    /// When it was answered.
    pub returned: Time,
    /// The revision of the state that was read.
    pub revision: Revision,
    /// How old that state was at most, as the member said, in nanoseconds.
    pub age: Option<u64>,
}

/// What was permitted and happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Anomalies {
    /// Sequential reads that missed an acknowledged write.
    pub sequential_stale: u64,
    /// Bounded reads that missed one, within their bound.
    pub bounded_stale: u64,
    /// Session reads that missed another's.
    pub session_stale: u64,
    /// Reads by the lease that missed one: forbidden, unless clocks break their bound.
    pub lease_stale: u64,
    /// Reads by the lease that were answered.
    pub lease_reads: u64,
}

impl Anomalies {
    /// Adds those of another run.
    pub fn join(&mut self, other: &Anomalies) {
        self.sequential_stale += other.sequential_stale;
        self.bounded_stale += other.bounded_stale;
        self.session_stale += other.session_stale;
        self.lease_stale += other.lease_stale;
        self.lease_reads += other.lease_reads;
    }
}

/// Judges reads against `acknowledged` writes: when each was, and its revision. Clocks of members run by so many
/// permille too fast or too slow.
pub fn check(
    looks: &[Look],
    acknowledged: &[(Time, Revision)],
    error_permille: u64,
) -> (Anomalies, Vec<Violation>) {
    let mut newest = acknowledged.to_vec();
    newest.sort_unstable();
    let mut highest = Revision(0);
    for (_, revision) in &mut newest {
        highest = highest.max(*revision);
        *revision = highest;
    }
    let known_before = |time: Time| {
        let n = newest.partition_point(|(at, _)| *at < time);
        n.checked_sub(1).map_or(Revision(0), |at| newest[at].1)
    };
    let mut anomalies = Anomalies::default();
    let mut violations = Vec::new();
    for look in looks {
        let fail = |claim, missed: Revision| {
            let what = format!("{look:?}\n  revision {missed} was acknowledged before");
            Violation::new(claim, what).by([look.number])
        };
        let ago = |age: u64| {
            Time(
                look.call
                    .0
                    .saturating_sub(age + age * error_permille / 1000),
            )
        };
        let is_stale = known_before(look.call) > look.revision;
        match look.demand {
            Demand::Linearizable => {}
            Demand::Lease => {
                anomalies.lease_reads += 1;
                anomalies.lease_stale += u64::from(is_stale);
            }
            Demand::Bounded(behind_max) => {
                anomalies.bounded_stale += u64::from(is_stale);
                let missed = known_before(ago(behind_max));
                if missed > look.revision {
                    violations.push(fail("a_bounded_read_keeps_its_bound", missed));
                }
            }
            Demand::Session(token) => {
                anomalies.session_stale += u64::from(is_stale);
                if token > look.revision {
                    violations.push(fail("a_session_reads_what_it_has_seen", token));
                }
            }
            Demand::Sequential => anomalies.sequential_stale += u64::from(is_stale),
        }
        if let Some(age) = look.age.filter(|_| look.demand != Demand::Lease) {
            // Ages are told in whole milliseconds.
            let missed = known_before(ago(age + 1_000_000));
            if missed > look.revision {
                violations.push(fail("a_state_is_no_older_than_it_says", missed));
            }
        }
    }
    violations.extend(goes_back(looks));
    (anomalies, violations)
}

/// Of two reads at one life of a member, the later one does not see less.
fn goes_back(looks: &[Look]) -> Option<Violation> {
    let mut by_member: BTreeMap<(u64, u32), Vec<&Look>> = BTreeMap::new();
    for look in looks {
        by_member.entry(look.member).or_default().push(look);
    }
    for mut looks in by_member.into_values() {
        looks.sort_by_key(|look| look.call);
        let mut answered = looks.clone();
        answered.sort_by_key(|look| look.returned);
        let mut answered = answered.into_iter().peekable();
        let mut newest: Option<&Look> = None;
        for look in looks {
            while let Some(before) = answered.next_if(|it| it.returned < look.call) {
                newest = Some(match newest {
                    Some(known) if known.revision >= before.revision => known,
                    _ => before,
                });
            }
            if let Some(before) = newest.filter(|before| before.revision > look.revision) {
                let what = format!("{before:?}\n  and then {look:?}");
                let broken = Violation::new("a_member_never_goes_back", what);
                return Some(broken.by([before.number, look.number]));
            }
        }
    }
    None
}
