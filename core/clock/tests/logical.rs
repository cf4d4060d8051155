//! The laws of Lamport and vector clocks, in random histories, against a happens-before relation that is
//! kept by brute force.

use base::{MemberId, Rng};
use clock::{
    COUNT_MAX, LamportClock, LamportTime, NODES_MAX, VectorClock, VectorRefusal, VectorTime,
};

struct Event {
    lamport: LamportTime,
    vector: VectorTime,
    /// The events that this one follows directly: the one before at its node, and a sending.
    causes: Vec<usize>,
}

fn node(n: u64) -> MemberId {
    MemberId(n)
}

/// A random history: events at nodes, messages that are lost, repeated and reordered.
fn history(seed: u64) -> Vec<Event> {
    let mut rng = Rng::new(seed);
    let n_nodes = rng.between(1, 6);
    let mut lamports: Vec<_> = (0..n_nodes)
        .map(|n| LamportClock::new(node(n + 1)))
        .collect();
    let mut vectors: Vec<_> = (0..n_nodes)
        .map(|n| VectorClock::new(node(n + 1)))
        .collect();
    let mut lasts: Vec<Option<usize>> = vec![None; n_nodes as usize];
    let mut events: Vec<Event> = Vec::new();
    let talk_permille = rng.between(50, 800);
    for at in 0..rng.between(1, 60) as usize {
        let node = rng.below(n_nodes) as usize;
        let sending = rng.below(at as u64) as usize;
        let is_receipt = at > 0 && rng.permille(talk_permille);
        let (lamport, vector) = if is_receipt {
            let sent = &events[sending];
            let lamport = lamports[node]
                .receive(sent.lamport)
                .expect("an honest count");
            (
                lamport,
                vectors[node].receive(&sent.vector).expect("an honest time"),
            )
        } else {
            (
                lamports[node].tick(),
                vectors[node].tick().expect("few nodes"),
            )
        };
        let message = is_receipt.then_some(sending);
        events.push(Event {
            lamport,
            vector,
            causes: [lasts[node], message].into_iter().flatten().collect(),
        });
        lasts[node] = Some(at);
    }
    events
}

/// For each event, which events happened before it: walks all ways back.
fn happened_before(events: &[Event]) -> Vec<Vec<bool>> {
    (0..events.len())
        .map(|at| {
            let mut is_before = vec![false; events.len()];
            let mut open = events[at].causes.clone();
            while let Some(cause) = open.pop() {
                if !is_before[cause] {
                    is_before[cause] = true;
                    open.extend(&events[cause].causes);
                }
            }
            is_before
        })
        .collect()
}

#[test]
fn lamport_time_rises_from_cause_to_effect_and_says_nothing_else() {
    let mut n_misleading = 0;
    for seed in 0..500 {
        let events = history(seed);
        let before = happened_before(&events);
        for (f, effect) in events.iter().enumerate() {
            for (e, cause) in events.iter().enumerate() {
                let (earlier, later) = (cause.lamport, effect.lamport);
                if before[f][e] {
                    assert!(
                        earlier.count < later.count,
                        "seed {seed}: {earlier} then {later}"
                    );
                } else if e != f {
                    // All events have one order, and no two the same place in it.
                    assert_ne!(earlier, later, "seed {seed}");
                    n_misleading += usize::from(earlier.count < later.count && !before[e][f]);
                }
            }
        }
    }
    assert!(
        n_misleading > 10_000,
        "L(e) < L(f) must often mean nothing: {n_misleading}"
    );
}

#[test]
fn the_smallest_history_in_which_a_smaller_lamport_time_proves_nothing() {
    let mut a = LamportClock::new(node(1));
    let mut b = LamportClock::new(node(2));
    let first = a.tick();
    b.tick();
    let second = b.tick();
    assert!(first < second, "and yet a and b never spoke");
    assert_eq!(
        (first.to_string(), second.to_string()),
        (format!("1@{}", node(1)), format!("2@{}", node(2)))
    );
}

#[test]
fn equal_counts_are_ordered_by_node() {
    let (mut a, mut b) = (LamportClock::new(node(1)), LamportClock::new(node(2)));
    let (first, second) = (a.tick(), b.tick());
    assert_eq!(first.count, second.count);
    assert!(first < second);
}

#[test]
fn a_count_that_nobody_can_have_reached_is_refused() {
    let mut clock = LamportClock::new(node(1));
    clock.tick();
    let before = clock.clone();
    let at = |count| LamportTime {
        count,
        node: node(2),
    };
    assert!(clock.receive(at(COUNT_MAX + 1)).is_err());
    assert_eq!(clock, before);
    let taken = clock.receive(at(COUNT_MAX)).expect("the limit itself");
    assert!(clock.tick() > taken, "there is room to count on");
}

#[test]
fn vector_time_is_happens_before_exactly() {
    let mut n_concurrent = 0;
    for seed in 0..500 {
        let events = history(seed);
        let before = happened_before(&events);
        for (f, effect) in events.iter().enumerate() {
            for (e, cause) in events.iter().enumerate() {
                let (earlier, later) = (&cause.vector, &effect.vector);
                assert_eq!(
                    earlier.happened_before(later),
                    before[f][e],
                    "seed {seed}: {earlier} {later}"
                );
                let is_concurrent = e != f && !before[f][e] && !before[e][f];
                assert_eq!(
                    earlier.is_concurrent_with(later),
                    is_concurrent,
                    "seed {seed}: {earlier} {later}"
                );
                assert_eq!(earlier == later, e == f, "seed {seed}");
                n_concurrent += usize::from(is_concurrent);
            }
        }
    }
    assert!(n_concurrent > 10_000, "{n_concurrent}");
}

#[test]
fn a_vector_time_names_a_bounded_number_of_nodes() {
    let many = |n: usize| VectorTime::from_counts((1..=n as u64).map(|n| (node(n), 1)));
    assert_eq!(
        many(65).map(|_| ()),
        Err(VectorRefusal::TooManyNodes { n_nodes: 65 })
    );
    let full = many(NODES_MAX).expect("the limit itself");
    let mut stranger = VectorClock::new(node(1000));
    stranger.tick().expect("one node");
    let before = stranger.clone();
    assert_eq!(
        stranger.receive(&full),
        Err(VectorRefusal::TooManyNodes { n_nodes: 65 })
    );
    assert_eq!(stranger, before);
    assert!(
        VectorClock::starting_after(node(1000), full)
            .tick()
            .is_err()
    );
}

#[test]
fn a_time_that_knows_of_our_future_is_refused() {
    let (mut one, mut other) = (VectorClock::new(node(1)), VectorClock::new(node(1)));
    one.tick().expect("one node");
    let time = one.tick().expect("one node");
    other.tick().expect("one node");
    let before = other.clone();
    assert_eq!(
        other.receive(&time),
        Err(VectorRefusal::NamesOurFuture {
            claimed: 2,
            last: 1
        })
    );
    assert_eq!(other, before);
}

#[test]
fn zero_counts_say_nothing() {
    let time = VectorTime::from_counts([(node(1), 2), (node(2), 0), (node(1), 1)]);
    let same = VectorTime::from_counts([(node(1), 2)]);
    assert_eq!(time, same);
}
