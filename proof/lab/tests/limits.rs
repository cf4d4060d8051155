//! What nobody can do, against naive models: the scheduler's search, all decision rules of two generals, all lies.

use base::Rng;
use lab::algorithms::flp::{self, Bit, Decided, Scheduler};
use lab::exhibit::Broken;
use lab::kernel::World;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A few random steps into a game.
fn somewhere(broken: Broken, rng: &mut Rng) -> World<flp::Voter> {
    let mut world = World::new(&Rc::new(flp::board(broken)));
    for _ in 0..rng.below(30) {
        stumble(&mut world, rng);
    }
    world
}

fn stumble(world: &mut World<flp::Voter>, rng: &mut Rng) -> bool {
    let choices = world.choices();
    rng.pick(&choices).is_some_and(|choice| world.apply(choice))
}

/// Which bits some of 300 random runs decide first.
fn decided_at_random(world: &World<flp::Voter>, rng: &mut Rng) -> BTreeSet<Bit> {
    let mut decided = BTreeSet::new();
    for _ in 0..300 {
        let mut run = world.clone();
        while run.facts().is_empty() && stumble(&mut run, rng) {}
        decided.extend(run.facts().iter().map(|Decided(_, bit)| *bit));
    }
    decided
}

#[test]
fn what_the_scheduler_remembers_is_what_it_would_find() {
    for broken in [Broken::NOTHING, flp::deterministic()] {
        let mut experienced = Scheduler::default();
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            let world = somewhere(broken, &mut rng);
            let valency = experienced.valency(&world);
            assert_eq!(valency, Scheduler::default().valency(&world));
        }
    }
}

#[test]
fn the_scheduler_wins_against_foreknown_coins_and_loses_against_real_ones() {
    let board = |broken| World::new(&Rc::new(flp::board(broken)));
    let won = flp::against(
        &mut Scheduler::default(),
        board(flp::deterministic()),
        &mut Rng::new(0),
    );
    assert!(won.n_open >= flp::STEPS && won.n_open == won.n_steps);
    assert_eq!((won.n_decided, won.breach), (0, None));
    // Whether both are possible still: random runs from there come to both.
    let both = BTreeSet::from([Bit::Zero, Bit::One]);
    assert_eq!(decided_at_random(&won.world, &mut Rng::new(1)), both);
    let mut scheduler = Scheduler::default();
    for seed in 1_000..1_050 {
        let lost = flp::against(&mut scheduler, board(Broken::NOTHING), &mut Rng::new(seed));
        assert_eq!((lost.n_decided, lost.breach), (3, None), "seed {seed}");
        assert!(lost.n_steps < flp::STEPS);
    }
}
