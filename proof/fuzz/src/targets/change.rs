//! `consensus::change`: a change of membership as it stands in a log entry.

use super::{Target, Verdict};
use crate::{heap, mutate};
use base::{Change, MemberId, limits::MEMBERS_MAX};
use consensus::change;

/// See the module.
pub const TARGET: Target = Target {
    name: "change",
    run,
    corpus,
    mutate: mutate::bytes,
    one_in: 1,
};

/// Decodes; what was accepted is bounded, names somebody in each step, and has these bytes only.
pub fn run(input: &[u8]) -> Verdict {
    let decoded = heap::bounded(16 * input.len() + 4096, "a change", || {
        change::decode(input)
    });
    let Ok(changes) = decoded else {
        return Verdict::Refused;
    };
    assert!(changes.len() <= MEMBERS_MAX, "{} steps", changes.len());
    for step in &changes {
        let (Change::AddVoter(who) | Change::AddLearner(who) | Change::Remove(who)) = *step;
        assert!(!who.is_none(), "a change of nobody");
    }
    // No step at all is the leaving of a joint membership, which has no bytes.
    if changes.is_empty() {
        assert!(input.is_empty(), "no step out of {} bytes", input.len());
    } else {
        assert_eq!(
            &change::encode(&changes)[..],
            input,
            "one change, one encoding"
        );
    }
    Verdict::Accepted
}

fn corpus() -> Vec<Vec<u8>> {
    let one = [Change::AddLearner(MemberId(4))];
    let three = [
        Change::AddVoter(MemberId(4)),
        Change::Remove(MemberId(1)),
        Change::AddLearner(MemberId(u64::MAX)),
    ];
    let most: Vec<Change> = (1..=MEMBERS_MAX as u64)
        .map(|n| Change::AddVoter(MemberId(n)))
        .collect();
    vec![
        Vec::new(),
        change::encode(&one).to_vec(),
        change::encode(&three).to_vec(),
        change::encode(&most).to_vec(),
    ]
}
