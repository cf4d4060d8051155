//! The five properties by the names of figure 3, and how a state violates one of them, in words.

use crate::exhibit::Fall;
use spec::model::Property;
use spec::model::state::{Role, State, Who};

/// What `quorate lab` calls a property.
pub(super) fn law(property: Property) -> &'static str {
    match property {
        Property::ElectionSafety => "election-safety",
        Property::LeaderAppendOnly => "leader-append-only",
        Property::LogMatching => "log-matching",
        Property::LeaderCompleteness => "leader-completeness",
        Property::StateMachineSafety => "state-machine-safety",
    }
}

/// What a property claims.
pub(super) fn says(property: Property) -> &'static str {
    match property {
        Property::ElectionSafety => "a term has one leader at most",
        Property::LeaderAppendOnly => "a leader never overwrites or deletes entries of its own log",
        Property::LogMatching => {
            "logs with an entry of the same index and term are the same up to it"
        }
        Property::LeaderCompleteness => {
            "a committed entry is in the logs of all leaders of later terms"
        }
        Property::StateMachineSafety => "no two members apply different entries at the same index",
    }
}

/// How the step from `before` to `after` violates `property`.
pub(super) fn fall(property: Property, n: u8, before: &State, after: &State) -> Fall {
    let found = match property {
        Property::ElectionSafety => two_leaders(after),
        Property::LeaderAppendOnly => overwritten(n, before, after),
        Property::LogMatching => mixed(n, after),
        Property::LeaderCompleteness => lacking(n, after),
        Property::StateMachineSafety => applied(n, after),
    };
    Fall {
        law: law(property),
        why: found.unwrap_or_else(|| format!("{property} is violated")),
    }
}

fn names(n: u8) -> impl Iterator<Item = Who> {
    (0..n).map(Who)
}

fn two_leaders(state: &State) -> Option<String> {
    let (term, last) = state.elections.last()?;
    let mut earlier = state.elections.iter().filter(|(other, _)| other == term);
    let (_, first) = earlier.find(|(_, who)| who != last)?;
    Some(format!(
        "{first} was elected in term {term}, and {last} too"
    ))
}

fn overwritten(n: u8, before: &State, after: &State) -> Option<String> {
    let who = names(n).find(|who| {
        let (was, is) = (before.member(*who), after.member(*who));
        was.role == Role::Leader
            && is.role == Role::Leader
            && !is.log.entries().starts_with(was.log.entries())
    })?;
    let (was, is) = (before.member(who).log, after.member(who));
    Some(format!(
        "{who}, which leads term {}, had {was} in its log, and has {}",
        is.term, is.log
    ))
}

fn mixed(n: u8, state: &State) -> Option<String> {
    names(n).find_map(|one| {
        let left = state.member(one).log;
        let other = names(one.0).find(|other| {
            let right = state.member(*other).log;
            let mut pairs = left.entries().iter().zip(right.entries());
            let meet = pairs.rposition(|(l, r)| l.term == r.term);
            meet.is_some_and(|last| left.entries()[..=last] != right.entries()[..=last])
        })?;
        let right = state.member(other).log;
        Some(format!(
            "the log of {other} is {right}, and that of {one} is {left}"
        ))
    })
}

fn lacking(n: u8, state: &State) -> Option<String> {
    names(n).find_map(|who| {
        let leader = state.member(who);
        let mut committed = state.committed.iter().enumerate();
        let (place, lost) = committed.find(|(place, done)| {
            done.term < leader.term && leader.log.entries().get(*place) != Some(&done.entry)
        })?;
        (leader.role == Role::Leader).then(|| {
            format!(
                "{} was committed at index {} in term {}, and {who} leads term {} with {}",
                lost.entry,
                place + 1,
                lost.term,
                leader.term,
                leader.log
            )
        })
    })
}

fn applied(n: u8, state: &State) -> Option<String> {
    names(n).find_map(|who| {
        let member = state.member(who);
        let applied = &member.log.entries()[..usize::from(member.commit.0)];
        let place = (0..applied.len()).find(|place| {
            state.committed.get(*place).map(|done| done.entry) != Some(applied[*place])
        })?;
        let decided = state.committed.get(place);
        let decided = decided.map_or("nothing".into(), |done| done.entry.to_string());
        Some(format!(
            "{who} applies {} at index {}, where {decided} was committed",
            applied[place],
            place + 1
        ))
    })
}
