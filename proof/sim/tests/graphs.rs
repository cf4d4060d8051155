//! Who leads when links, not members, are gone: every connected graph of five members (Omni-Paxos, EuroSys 2023, shows how
//! Raft can hang in some of them).
//!
//! A cluster works, then only the links of the graph are left, while clients go on. Whenever some member still
//! reaches a majority there must be a leader that does, within four election timeouts.

use base::{MemberId, Mutants};
use quorate_sim::member::Settings;
use quorate_sim::world::{World, member_id};
use quorate_sim::{Consensus, Plan};
use std::collections::BTreeSet;
use std::time::Duration;

const N: usize = 5;
const ELECTION: Duration = Duration::from_millis(500);

/// One bit for each pair of members.
type Graph = u16;

fn bit(a: usize, b: usize) -> Graph {
    let (a, b) = (a.min(b), a.max(b));
    let before: usize = (0..a).map(|row| N - 1 - row).sum();
    1 << (before + b - a - 1)
}

fn has(graph: Graph, a: usize, b: usize) -> bool {
    a == b || graph & bit(a, b) != 0
}

/// How many members `a` reaches, itself among them.
fn reach(graph: Graph, a: usize) -> usize {
    (0..N).filter(|b| has(graph, a, *b)).count()
}

fn is_connected(graph: Graph) -> bool {
    let mut seen = BTreeSet::from([0]);
    for _ in 0..N {
        let more: Vec<usize> = (0..N)
            .filter(|b| seen.iter().any(|a| has(graph, *a, *b)))
            .collect();
        seen.extend(more);
    }
    seen.len() == N
}

fn renamed(graph: Graph, names: &[usize]) -> Graph {
    let mut out = 0;
    for a in 0..N {
        for b in a + 1..N {
            if has(graph, a, b) {
                out |= bit(names[a], names[b]);
            }
        }
    }
    out
}

fn permutations() -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..N {
        all = all
            .into_iter()
            .flat_map(|some| {
                let free = (0..N).filter(|n| !some.contains(n)).collect::<Vec<_>>();
                free.into_iter()
                    .map(move |n| some.iter().copied().chain([n]).collect())
            })
            .collect();
    }
    all
}

/// One graph of each shape.
fn shapes() -> Vec<Graph> {
    let names = permutations();
    let is_first = |graph: &Graph| names.iter().all(|names| renamed(*graph, names) >= *graph);
    (0..1 << (N * (N - 1) / 2))
        .filter(|graph| is_connected(*graph) && is_first(graph))
        .collect()
}

/// How many election timeouts until a leader reaches a majority of `graph`; nothing within `most`.
fn timeouts_until_led(graph: Graph, seed: u64, consensus: Consensus, most: u32) -> Option<u32> {
    let plan = Plan {
        n_members: N,
        consensus,
        faults: Vec::new(),
        trouble: Duration::from_secs(60),
        heartbeat: ELECTION / 10,
        election: ELECTION,
        n_clients: 4,
        n_watchers: 0,
        compaction: None,
        sync: Duration::from_millis(1),
        clock_error_permille: 0,
        workload: None,
        ..Plan::draw(seed)
    };
    let mutants = Mutants::none();
    let mut world = World::new(Settings { plan, mutants }, false);
    let leads = |world: &World, graph: Graph| {
        (0..N).any(|n| {
            let process = world.members[n].process.as_ref();
            process.is_some_and(|process| process.node.is_leader()) && reach(graph, n) > N / 2
        })
    };
    let all: Graph = (1 << (N * (N - 1) / 2)) - 1;
    assert!(
        world.run_until(5 * ELECTION, |world| leads(world, all)),
        "a whole network has a leader"
    );
    world.run_until(Duration::from_millis(300 + seed % 400), |_| false);
    for a in 0..N {
        for b in 0..N {
            if !has(graph, a, b) {
                world.network.cut(member_id(a), member_id(b));
            }
        }
    }
    // The old leader may be cut off and not know it yet: it has to be one that is still led by later.
    (1..=most).find(|_| {
        world.run_until(ELECTION, |_| false);
        leads(&world, graph) && newest_is_able(&world, graph)
    })
}

/// Whether the leader of the newest term reaches a majority.
fn newest_is_able(world: &World, graph: Graph) -> bool {
    let status = |n: usize| {
        let process = world.members[n].process.as_ref()?;
        let status = process.node.status();
        status.is_leader.then_some((status.term, n))
    };
    let newest = (0..N).filter_map(status).max();
    newest.is_some_and(|(_, n)| reach(graph, n) > N / 2)
}

fn edges(graph: Graph) -> String {
    let pairs = (0..N).flat_map(|a| (a + 1..N).map(move |b| (a, b)));
    let names = |n: usize| member_id(n).0;
    let named = pairs
        .filter(|(a, b)| has(graph, *a, *b))
        .map(|(a, b)| format!("{}-{}", names(a), names(b)));
    named.collect::<Vec<_>>().join(" ")
}

fn all_are_led(consensus: Consensus) {
    let shapes = shapes();
    assert_eq!(shapes.len(), 21, "connected graphs of five");
    assert_eq!(member_id(0), MemberId(1));
    let mut failed = Vec::new();
    for graph in shapes {
        let mut worst = 0;
        for seed in 0..5 {
            // The same shape with every member in every place.
            let names: Vec<usize> = (0..N).map(|n| (n + seed as usize) % N).collect();
            match timeouts_until_led(renamed(graph, &names), seed, consensus, 4) {
                Some(timeouts) => worst = worst.max(timeouts),
                None => failed.push(format!("{} (seed {seed})", edges(renamed(graph, &names)))),
            }
        }
        println!("{:48} led within {worst} election timeouts", edges(graph));
    }
    assert!(failed.is_empty(), "without a leader: {failed:#?}");
}

#[test]
fn every_connected_graph_has_a_leader() {
    all_are_led(Consensus::Shipped);
}

#[test]
fn and_on_the_specification() {
    all_are_led(Consensus::Specification);
}
