//! How the two generals are shown: every loss, then the argument over every loss pattern of every protocol.

use super::*;
use crate::algorithm::{Algorithm, Of};
use crate::exhibit::{Ask, Exhibit, Fall, Hand, Kind, Scenario, Shown, Unable};
use crate::kernel::{Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt::{self, Write};

/// What is shown: the generals, and the argument for all of their protocols.
pub struct TwoGenerals;

/// Protocols of up to so many messages are looked at.
const MESSAGES_MAX: u32 = 12;

fn setup(n_messages: u32, broken: Broken) -> Setup<General> {
    let general = |is_first| General {
        broken,
        n_messages,
        is_first,
        heard: 0,
    };
    Setup {
        // A messenger takes a tick or is lost.
        time: Time::Ticks {
            horizon: n_messages + 1,
            delay_max: Some(1),
        },
        faults: Faults {
            drops: n_messages as u8,
            ..Faults::default()
        },
        ..Setup::new([("a", general(true)), ("b", general(false))])
    }
}

impl Algorithm for Generals {
    type Process = General;

    const NAME: &'static str = "two-generals";
    const KIND: Kind = Kind::Limit;
    const LINE: &'static str =
        "no number of messages over a lossy link makes two sure of each other";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[COMMON_KNOWLEDGE, WAIT_FOR_THE_ORDER];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "all",
            says: "every message arrives, and it is still not enough to be sure: nobody attacks",
            broken: None,
            script: include_str!("scenarios/all.txt"),
        },
        Scenario {
            name: "last",
            says: "the order and two acknowledgements arrive, the last does not: b attacks, a does not",
            broken: Some("common-knowledge"),
            script: include_str!("scenarios/last.txt"),
        },
    ];
    const SMALL: &'static str = "a protocol of 5 messages, any of which may be lost";
    const LARGE: &'static str = "protocols of 1 to 12 messages, any of which may be lost";

    fn laws() -> Vec<Law<General>> {
        vec![
            Law {
                name: "together",
                says: "no general attacks alone",
                when: When::AtRest,
                holds: together,
            },
            Law {
                name: "by-order",
                says: "nobody attacks to whom no order has come",
                when: When::Always,
                holds: by_order,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<General> {
        setup(5, broken)
    }

    fn stage(broken: Broken) -> Setup<General> {
        setup(4, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<General> {
        setup(rng.between(1, u64::from(MESSAGES_MAX)) as u32, broken)
    }
}

impl Exhibit for TwoGenerals {
    fn name(&self) -> &'static str {
        Generals::NAME
    }

    fn kind(&self) -> Kind {
        Generals::KIND
    }

    fn line(&self) -> &'static str {
        Generals::LINE
    }

    fn story(&self) -> &'static str {
        Generals::STORY
    }

    fn breaks(&self) -> &'static [Break] {
        Generals::BREAKS
    }

    fn scenarios(&self) -> &'static [Scenario] {
        Generals::SCENARIOS
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let mut shown = Of::<Generals>::new().run(ask, out)?;
        let is_plain = ask.broken.is_none() && ask.scenario.is_none() && ask.seed.is_none();
        if !is_plain || shown.fall.is_some() {
            return Ok(shown);
        }
        let (n_patterns, fall) = argue(out);
        shown.n_states += n_patterns;
        shown.fall = fall;
        Ok(shown)
    }

    fn step(&self, ask: &Ask, hand: &mut Hand<'_>) -> Result<(), Unable> {
        Of::<Generals>::new().step(ask, hand)
    }
}

/// Writes a line. Writing into a string never fails.
macro_rules! say {
    ($out:expr, $($words:tt)*) => { let _ = writeln!($out, $($words)*); };
}

/// The argument, for every protocol of up to [`MESSAGES_MAX`] messages; how many patterns were looked at.
fn argue(out: &mut dyn Write) -> (u64, Option<Fall>) {
    say!(
        out,
        "\nevery rule at once: patterns of loss that look alike to a general are decided alike by it"
    );
    say!(
        out,
        "  messages  patterns  joined by chains  the shortest chain"
    );
    let mut n_patterns = 0;
    let mut fall = None;
    for n_messages in 1..=MESSAGES_MAX {
        let it = argument(n_messages);
        n_patterns += it.n_patterns as u64;
        let joined = if it.n_parts == 1 { "all" } else { "not all" };
        say!(
            out,
            "  {n_messages:>8}  {:>8}  {joined:<16}  from all arrive to none does: {}",
            it.n_patterns,
            it.chain.len() - 1
        );
        if it.n_parts != 1 {
            let why = format!("with {n_messages} messages a rule might tell patterns apart");
            fall = Some(Fall {
                law: COMMON_KNOWLEDGE.law,
                why,
            });
        }
    }
    say!(
        out,
        "  the chain for 4 messages, 1 for each that arrives, from the first:"
    );
    for (pattern, general) in argument(4).chain {
        let bits: String = (0..4)
            .map(|at| if pattern >> at & 1 == 1 { '1' } else { '0' })
            .collect();
        let alike = match general {
            None => String::new(),
            Some(general) => format!("  looks like the one before to {}", ["a", "b"][general]),
        };
        say!(out, "    {bits}{alike}");
    }
    say!(
        out,
        "  so whoever is never alone does the same when all arrive and when none does: both always, or nobody ever"
    );
    say!(
        out,
        "\nwhat can be had: an order sent k times over a link that loses every other message fails in\n  {} patterns: seldom, \
         and not never",
        [1, 2, 4, 8, 12]
            .map(|k| format!("k={k}: {} of {}", n_alone(k), 1u32 << k))
            .join(", ")
    );
    (n_patterns, fall)
}

fn together(world: &World<General>) -> Result<(), String> {
    let facts = world.facts();
    let name = |attacks| {
        let found = facts.iter().find(|dawn| dawn.attacks == attacks);
        found.map(|dawn| world.name(dawn.general))
    };
    match (name(true), name(false)) {
        (Some(alone), Some(other)) => Err(format!("{alone} attacks alone, {other} stays")),
        _ => Ok(()),
    }
}

fn by_order(world: &World<General>) -> Result<(), String> {
    let found = world
        .facts()
        .iter()
        .find(|dawn| dawn.attacks && !dawn.has_order);
    match found {
        Some(dawn) => Err(format!(
            "{} attacks, and no order has come",
            world.name(dawn.general)
        )),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1: attack at dawn"),
            n => write!(f, "{n}: your {} has come", n - 1),
        }
    }
}

impl fmt::Display for Dawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.attacks { "attacks" } else { "stays" })
    }
}
