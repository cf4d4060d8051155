//! The search on small histories by hand, and against brute force.

use crate::history::Time;
use crate::linear::{Action, Effect, Guard, State, Verdict, check, explains, settle};
use crate::minimise::minimise;
use base::Rng;

fn action(number: u64, call: u64, returned: Option<u64>, guard: Guard, effect: Effect) -> Action {
    Action {
        number,
        call: Time(call),
        returned: returned.map(Time),
        guard,
        effect,
        happened: true,
    }
}

fn put(number: u64, call: u64, returned: u64, value: u32) -> Action {
    action(
        number,
        call,
        Some(returned),
        Guard::Any,
        Effect::Set(Some(value)),
    )
}

fn get(number: u64, call: u64, returned: u64, state: State) -> Action {
    action(number, call, Some(returned), Guard::Is(state), Effect::Keep)
}

fn is_yes(actions: &[Action]) -> bool {
    match check(actions, 100_000) {
        Verdict::Yes(_) => true,
        Verdict::No(_) => false,
        Verdict::Unknown => panic!("given up"),
    }
}

#[test]
fn an_old_value_after_a_new_one_was_seen_is_rejected() {
    let good = [
        put(1, 0, 10, 1),
        put(2, 20, 50, 2),
        get(3, 25, 30, Some(1)),
        get(4, 31, 40, Some(2)),
    ];
    assert!(is_yes(&good));
    let bad = [
        put(1, 0, 10, 1),
        put(2, 20, 50, 2),
        get(3, 25, 30, Some(2)),
        get(4, 31, 40, Some(1)),
    ];
    assert!(!is_yes(&bad));
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never_but_not_early() {
    let unknown = action(1, 10, None, Guard::Any, Effect::Set(Some(1)));
    assert!(is_yes(&[
        unknown,
        get(2, 20, 30, None),
        get(3, 900, 910, Some(1))
    ]));
    assert!(is_yes(&[unknown, get(2, 20, 30, None)]));
    assert!(!is_yes(&[
        unknown,
        get(2, 20, 30, Some(1)),
        get(3, 40, 50, None)
    ]));
    assert!(!is_yes(&[get(2, 0, 9, Some(1)), unknown]));
}

#[test]
fn two_winners_of_one_condition_are_rejected() {
    let swap = |number, value| {
        action(
            number,
            20,
            Some(40),
            Guard::Is(Some(0)),
            Effect::Set(Some(value)),
        )
    };
    assert!(is_yes(&[put(1, 0, 10, 0), swap(2, 1)]));
    assert!(!is_yes(&[put(1, 0, 10, 0), swap(2, 1), swap(3, 2)]));
}

#[test]
fn a_search_that_takes_too_long_is_unknown_and_not_yes() {
    let many: Vec<Action> = (0..20).map(|n| put(n, 0, 100, n as u32)).collect();
    assert_eq!(check(&many, 10), Verdict::Unknown);
}

/// Tries every order of every subset of the unknown ones.
fn brute_force(actions: &[Action], done: u32, state: State) -> bool {
    let open = |at: usize| done & (1 << at) == 0;
    if (0..actions.len()).all(|at| !open(at) || actions[at].returned.is_none()) {
        return true;
    }
    let ends = (0..actions.len())
        .filter(|at| open(*at))
        .filter_map(|at| actions[at].returned);
    let first_end = ends.min().expect("something definite is open");
    (0..actions.len()).any(|at| {
        let action = &actions[at];
        let holds = match action.guard {
            Guard::Any => true,
            Guard::Is(wanted) => state == wanted,
            Guard::IsNot(unwanted) => state != unwanted,
            Guard::Present => state.is_some(),
        };
        let after = match action.effect {
            Effect::Keep => state,
            Effect::Set(after) => after,
        };
        open(at)
            && action.call <= first_end
            && holds
            && brute_force(actions, done | (1 << at), after)
    })
}

#[test]
fn the_search_agrees_with_brute_force_and_minimising_keeps_the_guilt() {
    let mut rng = Rng::new(7);
    let (mut n_yes, mut n_no) = (0, 0);
    for _ in 0..3000 {
        let n = rng.between(2, 7);
        let actions: Vec<Action> = (0..n)
            .map(|number| {
                let call = rng.below(40);
                let returned = (!rng.one_in(5)).then(|| call + rng.below(20));
                let state = (!rng.one_in(4)).then(|| rng.below(3) as u32);
                let guard = match rng.below(5) {
                    0 => Guard::IsNot(state),
                    1 => Guard::Present,
                    2 => Guard::Is(state),
                    _ => Guard::Any,
                };
                match rng.below(2) {
                    0 => action(number, call, returned, Guard::Is(state), Effect::Keep),
                    _ => {
                        let value = (!rng.one_in(5)).then_some(number as u32);
                        action(number, call, returned, guard, Effect::Set(value))
                    }
                }
            })
            .collect();
        let expected = brute_force(&actions, 0, None);
        assert_eq!(is_yes(&actions), expected, "{actions:#?}");
        assert_eq!(is_yes(&settle(&actions)), expected, "settled: {actions:#?}");
        if let Verdict::Yes(order) = check(&actions, 100_000) {
            let by_number = |n: &u64| actions.iter().find(|action| action.number == *n).unwrap();
            assert!(
                explains(&order.iter().map(by_number).collect::<Vec<_>>()),
                "{actions:#?}"
            );
        }
        if expected {
            n_yes += 1;
        } else {
            n_no += 1;
            let small = minimise(&actions, 100_000);
            assert!(small.len() <= actions.len() && !is_yes(&small));
        }
    }
    assert!(n_yes > 300 && n_no > 300, "{n_yes} {n_no}");
}

#[test]
fn a_suggested_order_is_verified_and_not_believed() {
    let actions = [put(1, 0, 10, 1), put(2, 20, 30, 2), get(3, 40, 50, Some(1))];
    let [first, second, read] = &actions;
    assert!(explains(&[first, second]));
    assert!(
        !explains(&[second, first]),
        "the second was asked after the first was answered"
    );
    assert!(
        !explains(&[first, read, second]),
        "the read was asked after the second was answered"
    );
    assert!(
        !explains(&[first, second, read]),
        "the read saw something else"
    );
}

#[test]
fn a_counter_example_is_cut_down_to_what_matters() {
    // A thousand harmless operations around one stale read.
    let mut actions = Vec::new();
    for n in 0..200 {
        actions.push(put(2 * n, n * 100, n * 100 + 10, n as u32));
        actions.push(get(2 * n + 1, n * 100 + 20, n * 100 + 30, Some(n as u32)));
    }
    actions.push(get(999, 15_050, 15_060, Some(149)));
    let small = minimise(&actions, 1_000_000);
    let numbers: Vec<u64> = small.iter().map(|action| action.number).collect();
    assert_eq!(numbers, [298, 300, 999]);
}
