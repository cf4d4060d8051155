//! Leases: none ends by itself before its owner's last known renewal and its time to live have passed, and none is
//! renewed that has ended.
//!
//! Soundness: the server may have counted from any moment between a renewal's call and its answer, so
//! the earliest permitted end is call + ttl, shrunk by the clocks' permitted error. A renewal without an
//! answer promises nothing. That all keys of a lease vanish at one revision is checked by `witness`.

use crate::chronicle::Chronicle;
use crate::history::{Operation, Outcome, Request, Time};
use crate::verdict::Violation;
use crate::witness::{Attribution, Cause};
use base::LeaseId;
use std::collections::BTreeMap;

/// Judges every lease that ended by itself and had keys. `clock_error_permille`: how much faster than
/// true time a member's clock may run.
pub fn check(
    history: &[Operation],
    chronicle: &Chronicle,
    attribution: &Attribution,
    clock_error_permille: u64,
) -> Vec<Violation> {
    let mut leases: BTreeMap<LeaseId, (u64, Vec<&Operation>)> = BTreeMap::new();
    for op in history {
        let answered = matches!(op.outcome, Outcome::Answered { .. });
        match op.request {
            Request::Grant { lease, ttl } if answered => {
                let entry = leases.entry(lease).or_default();
                entry.0 = ttl;
                entry.1.push(op);
            }
            Request::Renew { lease } if answered => {
                leases.entry(lease).or_default().1.push(op);
            }
            _ => {}
        }
    }
    let mut violations = renewed_when_gone(history, chronicle, attribution);
    for (revision, cause) in &attribution.causes {
        let Cause::LeaseEnded(lease) = cause else {
            continue;
        };
        if attribution.unclear.contains(revision) {
            continue;
        }
        let Some(page) = chronicle.page(*revision) else {
            continue;
        };
        let Some((ttl, kept)) = leases.get(lease) else {
            continue;
        };
        let shortest = ttl * 1000 / (1000 + clock_error_permille);
        // An answer that came after the end may speak of an earlier moment; only answers that its
        // owner had before the end count.
        let last = kept
            .iter()
            .filter(|op| op.returned <= page.first_seen)
            .max_by_key(|op| op.call);
        let Some(last) = last else { continue };
        let earliest = Time(last.call.0 + shortest);
        if page.first_seen < earliest {
            let early = Violation::new(
                "a_lease_never_ends_early",
                format!(
                    "lease {lease} (ttl {}) ended at revision {revision} at {}, not before {earliest} was promised by\n  {last}",
                    Time(*ttl),
                    page.first_seen
                ),
            );
            violations.push(early.by([last.number]));
        }
    }
    violations
}

/// Renewals that were asked when the lease was known to be over, and were told that it lives. A lease is over for
/// ever: clients never use an id twice.
fn renewed_when_gone(
    history: &[Operation],
    chronicle: &Chronicle,
    attribution: &Attribution,
) -> Vec<Violation> {
    let mut over: BTreeMap<LeaseId, (Time, String)> = BTreeMap::new();
    let mut note = |lease, time, why: String| {
        let first = over.entry(lease).or_insert((time, String::new()));
        if time <= first.0 {
            *first = (time, why);
        }
    };
    for op in history {
        if let (Request::Revoke { lease }, Outcome::Answered { .. }) = (&op.request, &op.outcome) {
            note(*lease, op.returned, format!("{op}"));
        }
    }
    for (revision, cause) in &attribution.causes {
        if let Cause::LeaseEnded(lease) = cause
            && !attribution.unclear.contains(revision)
            && let Some(page) = chronicle.page(*revision)
        {
            note(
                *lease,
                page.first_seen,
                format!("its end at revision {revision}"),
            );
        }
    }
    let renewed = history
        .iter()
        .filter_map(|op| match (&op.request, &op.outcome) {
            (Request::Renew { lease }, Outcome::Answered { .. }) => Some((lease, op)),
            _ => None,
        });
    let late = renewed.filter_map(|(lease, op)| {
        let (time, why) = over.get(lease).filter(|(time, _)| op.call > *time)?;
        let told = format!("lease {lease} was over at {time} ({why}), and then\n  {op}");
        Some(Violation::new("a_renewed_lease_is_alive", told).by([op.number]))
    });
    late.collect()
}
