//! What nobody can do, against naive models: the scheduler's search, all decision rules of two generals, all lies.

use base::Rng;
use lab::algorithms::byzantine_count::every_rule_of_three;
use lab::algorithms::flp::timeouts::{DELAY_MAX, Draw, election, hold};
use lab::algorithms::flp::{self, Bit, Decided, Scheduler};
use lab::algorithms::two_generals::{argument, n_alone};
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

#[test]
fn timeouts_that_differ_elect_somebody_where_messages_have_a_bound_and_nowhere_else() {
    let bound = Some(DELAY_MAX);
    let play = |draw, bound, seed| {
        let setup = election(draw, bound, 2_000, &mut Rng::new(seed));
        hold(&Rc::new(setup))
    };
    let same = play(Draw::Same, bound, 0);
    assert_eq!((same.led, same.n_terms), (None, 200));
    // It is by delay that nobody leads: where no message is late the first one does.
    assert!((1..=DELAY_MAX).contains(&same.late), "{}", same.late);
    let prompt = play(Draw::Same, Some(0), 0);
    assert_eq!((prompt.led, prompt.rivals, prompt.late), (Some(1), None, 0));
    for seed in 1_000..1_100 {
        let held = play(Draw::Anew, bound, seed);
        assert!(held.led.is_some_and(|term| term < 30), "seed {seed}");
        assert_eq!(held.rivals, None);
        assert!(held.late <= DELAY_MAX);
        let endless = play(Draw::Anew, None, seed);
        assert_eq!(endless.led, None, "seed {seed}");
        // It is not by silence that it wins: what was sent arrives.
        let (n_arrived, n_under_way) = endless.arrived;
        assert!(n_arrived > 20 * n_under_way as u64, "seed {seed}");
    }
}

/// Rules of two generals who count what has come to them: a bit for each count, set when that is enough to attack.
#[test]
fn every_rule_that_is_never_alone_does_the_same_whatever_arrives() {
    for n_messages in 0..=8u32 {
        // A chain of answers: `arrived` of them come, and the next is lost, or was the last.
        let heard = |arrived: u32| (arrived / 2, arrived.div_ceil(2));
        let (most_a, most_b) = heard(n_messages);
        for rule_a in 0..2u32 << most_a {
            for rule_b in 0..2u32 << most_b {
                let done: Vec<(bool, bool)> = (0..=n_messages)
                    .map(heard)
                    .map(|(a, b)| (rule_a >> a & 1 == 1, rule_b >> b & 1 == 1))
                    .collect();
                let is_together = done.iter().all(|(a, b)| a == b);
                let is_constant = done.iter().all(|one| *one == done[0]);
                assert!(!is_together || is_constant, "{rule_a:b} {rule_b:b}");
            }
        }
        // And with all that they could tell each other, over every pattern of loss.
        let it = argument(n_messages);
        assert_eq!((it.n_patterns, it.n_parts), (1 << n_messages, 1));
        assert_eq!(it.chain.first(), Some(&((1 << n_messages) - 1, None)));
        assert_eq!(it.chain.last().map(|(pattern, _)| *pattern), Some(0));
        assert_eq!(it.chain.len() as u32, n_messages + 1);
    }
    assert_eq!([1, 2, 10].map(n_alone), [1, 1, 1]);
}

#[test]
fn no_rule_of_three_generals_stands_one_traitor() {
    assert_eq!(every_rule_of_three(), (262_144, 0));
}
