//! Who leads when links, not members, are gone: every connected graph of five members, samples of networks with
//! links of one direction, and the one kind of network in which Raft has no leader (Omni-Paxos, EuroSys 2023, shows
//! how protocols hang in them).
//!
//! A cluster works, then only the links of the graph are left, while clients go on. Whenever some member still
//! reaches a majority both ways there must be a leader that does, within four election timeouts; unless all such
//! members lack decided entries, which is a *constrained election*: whoever may win cannot be reached by enough, and
//! whoever is reached may not win.

use base::{MemberId, Mutants, Rng};
use quorate_sim::member::Settings;
use quorate_sim::world::{World, member_id};
use quorate_sim::{Consensus, Plan};
use std::collections::BTreeSet;
use std::time::Duration;

const N: usize = 5;
const ELECTION: Duration = Duration::from_millis(500);

/// One bit for each ordered pair of members: whether the first reaches the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Links(u32);

impl Links {
    const NONE: Links = Links(0);

    fn all() -> Links {
        let pairs = (0..N).flat_map(|a| (0..N).map(move |b| (a, b)));
        pairs.fold(Links::NONE, |links, (a, b)| links.with(a, b))
    }

    /// All links between `hub` and the others, and no others.
    fn star(hub: usize) -> Links {
        (0..N).fold(Links::NONE, |links, n| links.with_both(hub, n))
    }

    fn with(self, from: usize, to: usize) -> Links {
        match from == to {
            true => self,
            false => Links(self.0 | 1 << (from * N + to)),
        }
    }

    fn without(self, from: usize, to: usize) -> Links {
        Links(self.0 & !(1 << (from * N + to)))
    }

    fn with_both(self, a: usize, b: usize) -> Links {
        self.with(a, b).with(b, a)
    }

    fn has(self, from: usize, to: usize) -> bool {
        from == to || self.0 & 1 << (from * N + to) != 0
    }

    fn has_both(self, a: usize, b: usize) -> bool {
        self.has(a, b) && self.has(b, a)
    }

    /// How many members `a` reaches and is reached by, itself among them.
    fn reach(self, a: usize) -> usize {
        (0..N).filter(|b| self.has_both(a, *b)).count()
    }

    fn is_connected(self) -> bool {
        let mut seen = BTreeSet::from([0]);
        for _ in 0..N {
            let more: Vec<usize> = (0..N)
                .filter(|b| seen.iter().any(|a| self.has_both(*a, *b)))
                .collect();
            seen.extend(more);
        }
        seen.len() == N
    }

    fn renamed(self, names: &[usize]) -> Links {
        let pairs = (0..N).flat_map(|a| (0..N).map(move |b| (a, b)));
        pairs
            .filter(|(a, b)| self.has(*a, *b))
            .fold(Links::NONE, |out, (a, b)| out.with(names[a], names[b]))
    }

    /// For people: `1-2` is a link both ways, `1>2` one of one direction.
    fn edges(self) -> String {
        let mut edges = Vec::new();
        for a in 0..N {
            for b in a + 1..N {
                let (one, other) = (member_id(a), member_id(b));
                match (self.has(a, b), self.has(b, a)) {
                    (true, true) => edges.push(format!("{one}-{other}")),
                    (true, false) => edges.push(format!("{one}>{other}")),
                    (false, true) => edges.push(format!("{other}>{one}")),
                    (false, false) => {}
                }
            }
        }
        edges.join(" ")
    }

    fn leave_only(self, world: &mut World) {
        for a in 0..N {
            for b in 0..N {
                if !self.has(a, b) {
                    world.network.cut(member_id(a), member_id(b));
                }
            }
        }
    }
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

/// One graph of each connected shape, all links both ways.
fn shapes() -> Vec<Links> {
    let names = permutations();
    let pairs: Vec<(usize, usize)> = (0..N)
        .flat_map(|a| (a + 1..N).map(move |b| (a, b)))
        .collect();
    let graphs = (0..1_u32 << pairs.len()).map(|bits| {
        let chosen = pairs.iter().enumerate();
        chosen
            .filter(|(i, _)| bits & 1 << i != 0)
            .fold(Links::NONE, |links, (_, (a, b))| links.with_both(*a, *b))
    });
    let is_first = |links: &Links| names.iter().all(|names| links.renamed(names) >= *links);
    graphs
        .filter(|links| links.is_connected() && is_first(links))
        .collect()
}

/// Five members with a leader, and clients.
fn working(seed: u64, consensus: Consensus) -> World {
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
        natives: None,
        drift_ppm: None,
        workload: None,
        ..Plan::draw(seed)
    };
    let mutants = Mutants::none();
    let mut world = World::new(Settings { plan, mutants }, false);
    assert!(
        world.run_until(5 * ELECTION, |world| is_led(world, Links::all())),
        "a whole network has a leader"
    );
    world.run_until(Duration::from_millis(300 + seed % 400), |_| false);
    world
}

/// Whether the leader of the newest term reaches a majority: an older one may be cut off and not know it yet.
fn is_led(world: &World, links: Links) -> bool {
    let status = |n: usize| {
        let process = world.members[n].process.as_ref()?;
        let status = process.node.status();
        status.is_leader.then_some((status.term, n))
    };
    let newest = (0..N).filter_map(status).max();
    newest.is_some_and(|(_, n)| links.reach(n) > N / 2)
}

/// How many election timeouts until the network is led; nothing within `most`.
fn timeouts_until_led(world: &mut World, links: Links, most: u32) -> Option<u32> {
    (1..=most).find(|_| {
        world.run_until(ELECTION, |_| false);
        assert!(world.violations.is_empty(), "{}", world.violations[0]);
        is_led(world, links)
    })
}

/// Whether everybody who reaches a majority reaches too few who may vote for it: a vote goes to a log that is not
/// older than the voter's own (Raft §5.4.1), since an entry that is decided must not be lost.
fn is_constrained(world: &World, links: Links) -> bool {
    let last = |n: usize| {
        let process = world.members[n].process.as_ref();
        process.map(|process| process.node.status().last)
    };
    (0..N).all(|n| {
        let votes = (0..N).filter(|voter| links.has_both(n, *voter) && last(*voter) <= last(n));
        votes.count() <= N / 2
    })
}

/// What became of a network.
enum Outcome {
    /// A leader after so many election timeouts.
    Led(u32),
    /// No leader, and Raft's vote rule forbids one.
    Constrained,
    /// No leader, and there could be one.
    Stuck,
}

fn led_after_a_cut(links: Links, seed: u64, consensus: Consensus) -> Outcome {
    let mut world = working(seed, consensus);
    links.leave_only(&mut world);
    match timeouts_until_led(&mut world, links, 4) {
        Some(timeouts) => Outcome::Led(timeouts),
        None if is_constrained(&world, links) => Outcome::Constrained,
        None => Outcome::Stuck,
    }
}

fn all_are_led(consensus: Consensus) {
    let shapes = shapes();
    assert_eq!(shapes.len(), 21, "connected graphs of five");
    assert_eq!(member_id(0), MemberId(1));
    let mut failed = Vec::new();
    for links in shapes {
        let mut worst = 0;
        for seed in 0..5 {
            // The same shape with every member in every place.
            let names: Vec<usize> = (0..N).map(|n| (n + seed as usize) % N).collect();
            let links = links.renamed(&names);
            match led_after_a_cut(links, seed, consensus) {
                Outcome::Led(timeouts) => worst = worst.max(timeouts),
                _ => failed.push(format!("{} (seed {seed})", links.edges())),
            }
        }
        println!("{:48} led within {worst} election timeouts", links.edges());
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

/// Networks in which each direction of each link is there or not, and somebody reaches a majority both ways.
fn one_way_samples(n: usize) -> Vec<Links> {
    let mut rng = Rng::new(0x006f_6e65_7761_7900);
    let mut samples = BTreeSet::new();
    while samples.len() < n {
        let percent = rng.between(30, 90);
        let mut links = Links::NONE;
        for a in 0..N {
            for b in 0..N {
                if rng.below(100) < percent {
                    links = links.with(a, b);
                }
            }
        }
        let is_one_way = (0..N).any(|a| (0..N).any(|b| links.has(a, b) != links.has(b, a)));
        if is_one_way && (0..N).any(|n| links.reach(n) > N / 2) {
            samples.insert(links);
        }
    }
    samples.into_iter().collect()
}

fn one_way_samples_are_led(consensus: Consensus, n: usize) {
    let mut led = [0; 5];
    let mut constrained = 0;
    let mut failed = Vec::new();
    for (seed, links) in (0..).zip(one_way_samples(n)) {
        match led_after_a_cut(links, seed, consensus) {
            Outcome::Led(timeouts) => led[timeouts as usize] += 1,
            Outcome::Constrained => constrained += 1,
            Outcome::Stuck => failed.push(format!("{} (seed {seed})", links.edges())),
        }
    }
    println!(
        "of {n} networks led within 1, 2, 3, 4 election timeouts: {:?}; constrained: {constrained}",
        &led[1..]
    );
    assert!(
        constrained * 10 <= n,
        "that is not what these networks show"
    );
    assert!(failed.is_empty(), "without a leader: {failed:#?}");
}

#[test]
fn networks_with_links_of_one_direction_have_a_leader() {
    one_way_samples_are_led(Consensus::Shipped, 100);
}

#[test]
fn and_on_the_specification_too() {
    one_way_samples_are_led(Consensus::Specification, 40);
}

/// What stands in the table of `docs/testing.md`: networks in which one member alone reaches a majority, and whether
/// it may win.
fn only_the_hub_reaches_a_majority(consensus: Consensus) {
    const HUB: usize = 2;
    let mut world = working(7, consensus);
    let leader = (0..N).find(|n| {
        let process = world.members[*n].process.as_ref();
        process.is_some_and(|process| process.node.is_leader())
    });
    let leader = leader.expect("it works");
    let hub = (leader + HUB) % N;
    let applied = |world: &World, n: usize| {
        let process = world.members[n].process.as_ref();
        process.map_or(0, |process| process.node.status().applied.index.0)
    };
    // The hub is away while the others go on.
    let away = (0..N).fold(Links::all(), |links, n| {
        links.without(hub, n).without(n, hub)
    });
    away.leave_only(&mut world);
    let before = applied(&world, leader);
    assert!(world.run_until(20 * ELECTION, |world| {
        (0..N).all(|n| n == hub || applied(world, n) > before + 5)
    }));
    // Then it is the middle of a chain of three, and the leader is not in it: those who may win reach two.
    let others: Vec<usize> = (0..N).filter(|n| *n != hub && *n != leader).collect();
    let chain = Links::NONE
        .with_both(hub, others[0])
        .with_both(hub, others[1]);
    world.network.heal();
    chain.leave_only(&mut world);
    assert_eq!(
        timeouts_until_led(&mut world, chain, 20),
        None,
        "safety comes first"
    );
    assert!(is_constrained(&world, chain));
    // One link more, and one who has everything reaches a majority.
    let mended = chain.with_both(others[0], others[1]);
    world.network.heal();
    mended.leave_only(&mut world);
    assert!(timeouts_until_led(&mut world, mended, 4).is_some());
    // Away again, and back as the middle of a star: the leader catches it up before it gives its office up.
    world.network.heal();
    away.leave_only(&mut world);
    world.run_until(6 * ELECTION, |_| false);
    world.network.heal();
    Links::star(hub).leave_only(&mut world);
    assert!(timeouts_until_led(&mut world, Links::star(hub), 4).is_some());
}

#[test]
fn whoever_alone_reaches_a_majority_may_have_to_catch_up_first() {
    only_the_hub_reaches_a_majority(Consensus::Shipped);
}

#[test]
fn and_so_it_is_in_the_specification() {
    only_the_hub_reaches_a_majority(Consensus::Specification);
}
