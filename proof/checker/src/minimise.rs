//! A counter-example that fits on a screen.
//!
//! Two cuts keep a history's guilt honest. (1) A prefix in time of a linearizable history is
//! linearizable, so the shortest guilty prefix is cut first; answers after the cut become unknown. (2)
//! An operation without effect can always go; a write can go together with everybody who saw its
//! value. Both directions of soundness: whatever is left and still has no order proves that the whole
//! has none.

use crate::history::{Operation, Time};
use crate::linear::{Action, Effect, Guard, State, Verdict, check};
use std::collections::BTreeSet;

/// The smallest guilty part of `actions` that greedy removal finds.
pub fn minimise(actions: &[Action], steps_max: u64) -> Vec<Action> {
    let guilty = |actions: &[Action]| matches!(check(actions, steps_max), Verdict::No(_));
    let mut small = shortest_prefix(actions, &guilty);
    // Observers first, one by one; they are most of any history.
    let mut at = small.len();
    while at > 0 {
        at -= 1;
        if small[at].effect == Effect::Keep {
            let mut without = small.clone();
            without.remove(at);
            if guilty(&without) {
                small = without;
            }
        }
    }
    loop {
        let before = small.len();
        for state in written(&small) {
            let without = without_value(&small, state);
            if without.len() < small.len() && guilty(&without) {
                small = without;
            }
        }
        if small.len() == before {
            return small;
        }
    }
}

fn shortest_prefix(actions: &[Action], guilty: &dyn Fn(&[Action]) -> bool) -> Vec<Action> {
    let mut ends: Vec<Time> = actions
        .iter()
        .filter_map(|action| action.returned)
        .collect();
    ends.sort_unstable();
    // Guilt is monotone in time: find the first moment of it by halving.
    let (mut low, mut high) = (0, ends.len());
    while low < high {
        let middle = (low + high) / 2;
        if guilty(&prefix(actions, ends[middle])) {
            high = middle
        } else {
            low = middle + 1
        }
    }
    ends.get(low)
        .map_or_else(|| actions.to_vec(), |end| prefix(actions, *end))
}

fn prefix(actions: &[Action], end: Time) -> Vec<Action> {
    let mut kept: Vec<Action> = actions
        .iter()
        .filter(|action| action.call <= end)
        .copied()
        .collect();
    for action in &mut kept {
        if action.returned.is_some_and(|returned| returned > end) {
            action.returned = None;
            // A put whose answer has not come may replace anything; a conditional one may not.
            if matches!(action.effect, Effect::Keep) {
                action.guard = Guard::Any;
            }
        }
    }
    kept
}

fn written(actions: &[Action]) -> BTreeSet<State> {
    let set = actions.iter().filter_map(|action| match action.effect {
        Effect::Set(state @ Some(_)) => Some(state),
        _ => None,
    });
    set.collect()
}

/// Without the writes of `state` and everybody who saw it, and who saw what those wrote, and so on.
fn without_value(actions: &[Action], state: State) -> Vec<Action> {
    // Who saw "not this" or "something" may depend on any write: then nothing can go.
    let vague = |action: &Action| matches!(action.guard, Guard::IsNot(_) | Guard::Present);
    if actions.iter().any(vague) {
        return actions.to_vec();
    }
    let mut gone = BTreeSet::from([state]);
    let mut kept = actions.to_vec();
    loop {
        let before = kept.len();
        let mut deletes_gone = false;
        kept.retain(|action| {
            let saw = matches!(action.guard, Guard::Is(state) if gone.contains(&state));
            let wrote = matches!(action.effect, Effect::Set(state) if gone.contains(&state));
            if let (true, Effect::Set(after)) = (saw, action.effect) {
                deletes_gone |= after.is_none();
                if after.is_some() {
                    gone.insert(after);
                }
            }
            !saw && !wrote
        });
        // Absence has many causes; when a delete would have to go, leave the group alone.
        if deletes_gone {
            return actions.to_vec();
        }
        if kept.len() == before {
            return kept;
        }
    }
}

/// The counter-example as text: one line per operation, in the order of their calls.
pub fn picture(actions: &[Action], history: &[Operation]) -> String {
    let mut actions = actions.to_vec();
    actions.sort_by_key(|action| (action.call, action.number));
    let mut lines = vec![format!(
        "  no order of these {} operations explains their answers:",
        actions.len()
    )];
    for action in &actions {
        lines.push(match history.iter().find(|op| op.number == action.number) {
            Some(op) => format!("  {op}"),
            None => "  (a lease ended: its key may be deleted at any time)".to_owned(),
        });
    }
    lines.join("\n")
}
