//! Raft holds in every small scope, and each of its rules is needed: without it a property falls.
//!
//! The lengths of the ways into trouble are pinned. The exploration is breadth first, so a length that
//! changes means that the model or the scope has changed.

use spec::model::cases::{self, Case};
use spec::model::fingerprint::Printer;
use spec::model::state::Who;
use spec::model::{Action, End, Model, Property, Rule, Scope, Spent, State, Violation, explore};
use std::collections::{BTreeMap, BTreeSet};

/// The violation that breaking `rule` leads to, after its case has passed with the rule kept.
fn shown(rule: Rule, property: Property) -> (Model, Violation) {
    let is_it = |case: &Case| case.rule == rule && case.property == property;
    let case = cases::broken().into_iter().find(is_it);
    let case = case.expect("every rule has a case");
    let kept = explore(&Model::sound(case.scope.clone()), &Property::ALL);
    assert_eq!(kept.end, End::Exhausted, "{rule} is kept: {kept}");
    let model = Model::breaking(rule, case.scope);
    let broken = explore(&model, &[property]);
    let End::Violated(violation) = broken.end else {
        panic!("{rule} is broken, and {property} holds: {broken}");
    };
    (model, violation)
}

fn steps_to(rule: Rule, property: Property) -> usize {
    shown(rule, property).1.path.len()
}

#[test]
fn raft_holds_in_every_small_scope() {
    for scope in cases::sound() {
        let name = scope.name;
        let report = explore(&Model::sound(scope), &Property::ALL);
        println!("{name:42} {report}");
        assert_eq!(report.end, End::Exhausted, "{name}: {report}");
    }
}

#[test]
fn two_votes_in_a_term_elect_two_leaders() {
    assert_eq!(steps_to(Rule::OneVotePerTerm, Property::ElectionSafety), 8);
}

#[test]
fn a_vote_forgotten_at_a_restart_elects_two_leaders() {
    assert_eq!(steps_to(Rule::VoteIsDurable, Property::ElectionSafety), 9);
}

#[test]
fn a_voter_that_keeps_its_old_term_elects_two_leaders() {
    let steps = steps_to(Rule::HigherTermIsAdopted, Property::ElectionSafety);
    assert_eq!(steps, 8);
}

#[test]
fn a_leader_that_keeps_its_old_term_loses_its_own_entries() {
    let steps = steps_to(Rule::HigherTermIsAdopted, Property::LeaderAppendOnly);
    assert_eq!(steps, 13);
}

#[test]
fn a_vote_for_an_older_log_loses_a_committed_entry() {
    let steps = steps_to(Rule::VoteForUpToDateLog, Property::LeaderCompleteness);
    assert_eq!(steps, 13);
}

#[test]
fn a_conflict_that_stays_is_applied() {
    let steps = steps_to(Rule::ConflictIsTruncated, Property::StateMachineSafety);
    assert_eq!(steps, 16);
}

#[test]
fn a_commit_beyond_the_last_new_entry_applies_what_nobody_decided() {
    let steps = steps_to(Rule::CommitWithinMatch, Property::StateMachineSafety);
    assert_eq!(steps, 16);
}

#[test]
fn an_append_without_the_consistency_check_mixes_logs() {
    let steps = steps_to(Rule::PreviousEntryMatches, Property::LogMatching);
    assert_eq!(steps, 15);
}

#[test]
fn a_leader_that_counts_replicas_of_older_terms_loses_a_committed_entry() {
    let steps = steps_to(Rule::CommitOwnTermOnly, Property::LeaderCompleteness);
    assert_eq!(steps, 27);
}

#[test]
fn a_change_before_a_commit_in_the_term_splits_the_membership() {
    let steps = steps_to(
        Rule::CommittedInTermBeforeChange,
        Property::LeaderCompleteness,
    );
    assert_eq!(steps, 36);
}

#[test]
fn two_changes_at_a_time_split_the_membership() {
    let steps = steps_to(Rule::OneChangeAtATime, Property::LeaderCompleteness);
    assert_eq!(steps, 21);
}

#[test]
fn every_rule_and_every_property_has_a_case() {
    let cases = cases::broken();
    let rules: BTreeSet<Rule> = cases.iter().map(|case| case.rule).collect();
    let properties: BTreeSet<Property> = cases.iter().map(|case| case.property).collect();
    assert_eq!(rules, BTreeSet::from(Rule::ALL));
    assert_eq!(properties, BTreeSet::from(Property::ALL));
}

#[test]
fn the_way_into_trouble_reads_like_a_play() {
    let (model, violation) = shown(Rule::VoteIsDurable, Property::ElectionSafety);
    let play = violation.play(&model).join("\n");
    assert_eq!(
        play,
        "\
n1 times out, asks for votes in term 1
n2 hears n1 in term 1: vote for me, my log ends at 0@0; enters term 1, votes for n1, answers: you have my vote
n1 hears n2 in term 1: you have my vote; has the votes of {n1 n2}
n1 becomes leader of term 1 by the votes of {n1 n2}
n1 restarts in term 1 with []
n3 times out, asks for votes in term 1
n1 hears n3 in term 1: vote for me, my log ends at 0@0; votes for n3, answers: you have my vote
n3 hears n1 in term 1: you have my vote; has the votes of {n1 n3}
n3 becomes leader of term 1 by the votes of {n1 n3}"
    );
}

/// A state in full, names included, as a text: what fingerprints must neither add to nor leave out.
fn text(state: &State) -> String {
    let mut messages: Vec<String> = state.messages.iter().map(|m| format!("{m:?}")).collect();
    messages.sort();
    let mut state = state.clone();
    state.messages.clear();
    state.elections.sort();
    format!("{state:?} {messages:?}")
}

/// All states of `model`, told apart by their texts.
fn all_states(model: &Model) -> Vec<State> {
    let mut states = vec![State::initial()];
    let mut seen = BTreeSet::from([text(&states[0])]);
    let mut actions = Vec::new();
    let mut place = 0;
    while place < states.len() {
        model.candidates(&states[place], &mut actions);
        for action in &actions {
            if let Some(after) = model.take(&states[place], *action)
                && seen.insert(text(&after))
            {
                states.push(after);
            }
        }
        place += 1;
    }
    states
}

#[test]
fn states_that_differ_in_names_only_count_once_and_no_other() {
    let scope = Scope {
        messages_max: 2,
        ..Scope::logs("small", 3, 2, 1)
    };
    let model = Model::sound(scope.clone());
    let report = explore(&model, &Property::ALL);
    let mut named = Printer::new(3, &[[0, 1, 2, 3, 4]]);
    let mut unnamed = Printer::new(3, &scope.symmetries());
    let mut one_by_one = BTreeSet::new();
    let mut classes = BTreeMap::new();
    let states = all_states(&model);
    for state in &states {
        one_by_one.insert(named.print(state));
        *classes.entry(unnamed.print(state)).or_insert(0) += 1;
    }
    assert_eq!(one_by_one.len(), states.len());
    assert_eq!(classes.len(), report.states);
    // The renamings of three members are a group of six, so a class has 1, 2, 3 or 6 states.
    assert!(classes.values().all(|size| 6 % size == 0), "{classes:?}");
    assert!(classes.values().any(|size| *size == 6));
}

#[test]
fn forgetting_spent_messages_hides_nothing() {
    let reached = |spent, scope: &Scope| {
        let scope = Scope {
            spent,
            ..scope.clone()
        };
        let states = all_states(&Model::sound(scope));
        let members = states.iter().map(|state| format!("{:?}", state.members));
        members.collect::<BTreeSet<String>>()
    };
    let elections = Scope {
        restarts_max: 1,
        ..Scope::elections("elections", 3, 1)
    };
    for scope in [elections, Scope::logs("logs", 2, 2, 1)] {
        let kept = reached(Spent::Kept, &scope);
        assert_eq!(reached(Spent::Forgotten, &scope), kept, "{}", scope.name);
    }
}

#[test]
fn a_member_that_the_scope_names_keeps_its_name() {
    let guided = Scope {
        campaigns: &[Who(0)],
        ..Scope::elections("guided", 3, 1)
    };
    assert_eq!(guided.symmetries(), [[0, 1, 2, 3, 4], [0, 2, 1, 3, 4]]);
    assert_eq!(Scope::elections("free", 3, 1).symmetries().len(), 6);
}

/// Does `action` and everything that it leads to by messages alone.
fn act(model: &Model, state: &State, action: Action) -> State {
    let mut state = model.take(state, action).expect("the guard allows it");
    while let Some(message) = state.messages.first().copied() {
        let heard = model.take(&state, Action::Handle(message));
        state = heard.expect("a message in flight can be delivered");
    }
    state
}

#[test]
fn a_new_leader_changes_the_membership_only_after_a_commit_in_its_term() {
    let rule = Rule::CommittedInTermBeforeChange;
    let case = cases::broken().into_iter().find(|case| case.rule == rule);
    let scope = case.unwrap().scope;
    let (kept, broken) = (Model::sound(scope.clone()), Model::breaking(rule, scope));
    let [n1, n2, n3, n4] = [0, 1, 2, 3].map(Who);
    let mut state = kept.play(&kept.opening()).unwrap();
    for action in [
        Action::ChangeMembership(n1, n2),
        Action::Timeout(n2),
        Action::BecomeLeader(n2),
    ] {
        state = act(&kept, &state, action);
    }
    let change = Action::ChangeMembership(n2, n1);
    assert_eq!(kept.take(&state, change), None);
    assert!(broken.take(&state, change).is_some());
    for action in [
        Action::ClientRequest(n2),
        Action::Append(n2, n3),
        Action::Append(n2, n4),
        Action::AdvanceCommit(n2),
    ] {
        state = act(&kept, &state, action);
    }
    // So the scope does not pass merely because nothing happens in it.
    assert!(kept.take(&state, change).is_some());
}

#[test]
fn a_scope_that_is_given_up_is_not_exhausted() {
    let scope = Scope {
        states_max: 100,
        ..Scope::elections("large", 3, 2)
    };
    let report = explore(&Model::sound(scope), &Property::ALL);
    assert_eq!(report.end, End::GaveUp);
}

#[test]
fn a_guard_forbids_what_raft_forbids() {
    let model = Model::sound(Scope {
        restarts_max: 1,
        ..Scope::logs("small", 3, 2, 1)
    });
    let start = State::initial();
    let who = Who(0);
    for action in [
        Action::BecomeLeader(who),
        Action::ClientRequest(who),
        Action::Append(who, Who(1)),
        Action::AdvanceCommit(who),
        Action::ChangeMembership(who, Who(1)),
        Action::Restart(who),
    ] {
        assert_eq!(model.take(&start, action), None, "{action:?}");
    }
    assert!(model.take(&start, Action::Timeout(who)).is_some());
}
