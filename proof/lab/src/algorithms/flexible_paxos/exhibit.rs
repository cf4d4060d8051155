//! How Flexible Paxos is shown: the parties and the laws of Basic Paxos, with other quorums.

use super::*;
use crate::algorithm::Algorithm;
use crate::algorithms::paxos::{Cast, Party, laws};
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Delivery, Faults, Law, Setup};
use base::Rng;

fn setup(
    (acceptors, asked): (usize, usize),
    accept: usize,
    wishes: &[(char, u8)],
    broken: Broken,
) -> Setup<Party> {
    let cast = Cast {
        acceptors,
        quorums: quorums(acceptors, accept, broken),
        asked,
        learners: 1,
        wishes,
    };
    cast.setup(broken)
}

/// The smallest case in which this rule matters.
fn small(rule: Broken, broken: Broken) -> Setup<Party> {
    if rule.is(&ADOPT_HIGHEST) {
        // As with majorities: two values were accepted before a third ballot.
        return Setup {
            delivery: Delivery::Fifo,
            ..setup((4, 3), 2, &[('x', 2), ('y', 1)], broken)
        };
    }
    setup((4, 3), 2, &[('x', 1), ('y', 1)], broken)
}

impl Algorithm for FlexiblePaxos {
    type Process = Party;

    const NAME: &'static str = "flexible-paxos";
    const KIND: Kind = Kind::Consensus;
    const LINE: &'static str = "only quorums of different phases must meet: 3 of 4, then 2 of 4";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[QUORUMS_INTERSECT, ADOPT, ADOPT_HIGHEST, KEEP_PROMISE];
    const SCENARIOS: &'static [Scenario] = &[Scenario {
        name: "two-down",
        says: "half of the acceptors are gone: the leader's value is chosen, and nobody else can lead",
        broken: None,
        script: include_str!("scenarios/two-down.txt"),
    }];
    const SMALL: &'static str =
        "2 proposers with one round each, who ask 3 of 4 acceptors; quorums of 3, then 2";
    const LARGE: &'static str = "3 proposers with 4 rounds each, 3 to 6 acceptors, counted quorums with Q1 + Q2 = N + 1; crashes, \
                                 losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        laws()
    }

    fn small(broken: Broken) -> Setup<Party> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&ADOPT_HIGHEST) {
            "2 proposers with two rounds and one, who ask 3 of 4 acceptors; quorums of 3, then 2; links that keep the order"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Party>> {
        (*rule == ADOPT_HIGHEST).then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup((4, 4), 2, &[('x', 2), ('y', 2)], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let acceptors = 3 + rng.below(4) as usize;
        let accept = 1 + rng.below(acceptors as u64 - 1) as usize;
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            drops: 5,
            duplicates: 5,
            ..Faults::default()
        };
        let wishes = [('x', 4), ('y', 4), ('z', 4)];
        Setup {
            faults,
            ..setup((acceptors, acceptors), accept, &wishes, broken)
        }
    }
}
