//! One random way through a scope that is too large to be explored.

use base::Rng;
use spec::model::property::violated;
use spec::model::state::{Set, State, Term, Who};
use spec::model::{Action, Heartbeats, Model, Network, Property, Refusals, Scope};

/// What [`scope`] is, to be read behind "random runs of".
pub(super) const LARGE: &str =
    "3 to 5 members, 8 terms, 4 entries, changes of membership; restarts, losses, duplicates";

/// A random run ends after so many steps.
const STEPS_MAX: usize = 150;

/// A member is added or removed in some terms.
const CHANGES: &[(Term, Who)] = &[
    (Term(1), Who(2)),
    (Term(2), Who(0)),
    (Term(3), Who(2)),
    (Term(4), Who(1)),
    (Term(5), Who(0)),
];

/// A random run.
pub(super) struct Walked {
    /// What happened.
    pub(super) way: Vec<Action>,
    /// What the last step violates.
    pub(super) trouble: Option<Property>,
}

/// A large scope.
pub(super) fn scope(rng: &mut Rng) -> Scope {
    let members = rng.between(3, 5) as u8;
    Scope {
        voters: Set::first(members),
        messages_max: 12,
        restarts_max: 3,
        requests_max: 6,
        drops_max: 4,
        network: if rng.one_in(2) {
            Network::Once
        } else {
            Network::Again
        },
        refusals: if rng.one_in(2) {
            Refusals::Answered
        } else {
            Refusals::Silent
        },
        heartbeats: Heartbeats::Always,
        changes: if rng.one_in(3) { CHANGES } else { &[] },
        ..Scope::logs("random", members, 8, 4)
    }
}

/// Goes on until nothing can happen any more, a property is violated, or the steps are used up.
pub(super) fn walk(model: &Model, rng: &mut Rng) -> Walked {
    let mut state = State::initial();
    let mut walked = Walked {
        way: Vec::new(),
        trouble: None,
    };
    let mut open = Vec::new();
    while walked.way.len() < STEPS_MAX {
        model.candidates(&state, &mut open);
        let Some((action, after)) = step(model, &state, &mut open, rng) else {
            break;
        };
        walked.way.push(action);
        walked.trouble = violated(&Property::ALL, model.scope.members, &state, &after);
        if walked.trouble.is_some() {
            break;
        }
        state = after;
    }
    walked
}

/// Draws one of the open actions until it is one that is possible.
fn step(
    model: &Model,
    state: &State,
    open: &mut Vec<Action>,
    rng: &mut Rng,
) -> Option<(Action, State)> {
    while !open.is_empty() {
        let at = rng.below(open.len() as u64) as usize;
        if rng.below(WEIGHT_MAX) >= weight(open[at]) {
            continue;
        }
        let action = open.swap_remove(at);
        if let Some(after) = model.take(state, action) {
            return Some((action, after));
        }
    }
    None
}

const WEIGHT_MAX: u64 = 12;

/// How often each kind of action is tried: most often something arrives, seldom something goes wrong.
fn weight(action: Action) -> u64 {
    match action {
        Action::Handle(_) | Action::BecomeLeader(_) | Action::AdvanceCommit(_) => WEIGHT_MAX,
        Action::Append(..) | Action::ClientRequest(_) | Action::ChangeMembership(..) => 6,
        Action::Timeout(_) | Action::Restart(_) | Action::Drop(_) | Action::Heartbeat(..) => 1,
    }
}

/// Leaves out of a way into trouble whatever it can do without.
pub(super) fn shorten(model: &Model, property: Property, way: Vec<Action>) -> Vec<Action> {
    let mut best = way;
    let mut at = best.len();
    while at > 0 {
        at -= 1;
        let mut fewer = best.clone();
        fewer.remove(at.min(fewer.len() - 1));
        if let Some(shorter) = replay(model, property, &fewer) {
            best = shorter;
            at = at.min(best.len());
        }
    }
    best
}

/// Takes the actions that are possible, until the property is violated.
fn replay(model: &Model, property: Property, way: &[Action]) -> Option<Vec<Action>> {
    let mut state = State::initial();
    let mut done = Vec::new();
    for action in way {
        let Some(after) = model.take(&state, *action) else {
            continue;
        };
        done.push(*action);
        if !property.holds(model.scope.members, &state, &after) {
            return Some(done);
        }
        state = after;
    }
    None
}
