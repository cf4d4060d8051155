//! How SWIM is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Faults, Law, Setup, Time, When, World};
use base::Rng;

/// Members, of whom the first so many ping, and one may die. A message takes up to `delay` ticks.
fn setup(
    n: usize,
    watching: usize,
    dies: Option<(usize, u32)>,
    delay: u32,
    broken: Broken,
) -> Setup<Member> {
    // There and back, through a third one: so long, and a tick, is a period.
    let (patience, period) = (2 * delay + 1, 6 * delay + 2);
    let turn = (n as u32 - 1) * period;
    let times = Times {
        patience,
        period,
        // Everybody comes up once in a turn. Where several watch, each begins to suspect when it hears of it.
        suspicion: if watching > 1 { 2 * turn } else { turn },
    };
    let member = |at: usize| {
        let member = Member {
            broken,
            times,
            helpers: 2,
            is_watching: at < watching,
            dies_at: dies.and_then(|(who, when)| (who == at).then_some(when)),
            is_dead: false,
            list: vec![Opinion::Alive(0); n],
            pinged: None,
            last: at,
        };
        (format!("m{}", at + 1), member)
    };
    // Long enough to be pinged, suspected and buried.
    let horizon = dies.map_or(0, |(_, when)| when) + turn + period + times.suspicion + delay;
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: Some(delay),
        },
        ..Setup::new((0..n).map(member))
    }
}

/// The case in which this rule is missed, with or without it.
fn small(needs: Broken, broken: Broken) -> Setup<Member> {
    // Where nobody comes up in turn somebody must die, or it would not be missed.
    let dies = needs.is(&ROUND_ROBIN).then_some((2, 1));
    // Two losses are enough to show what each of the other rules prevents; with all of them three do no harm.
    let drops = match dies {
        // The dead cannot be asked to ping, and that is as good as another loss or two.
        Some(_) => 1,
        None if needs == Broken::NOTHING => 3,
        None => 2,
    };
    Setup {
        faults: Faults {
            drops,
            duplicates: 2,
            ..Faults::default()
        },
        ..setup(3, 1, dies, 0, broken)
    }
}

impl Algorithm for Swim {
    type Process = Member;

    const NAME: &'static str = "swim";
    const KIND: Kind = Kind::Membership;
    const LINE: &'static str =
        "ping one, ask others, suspect, bury: who is there, at a constant price";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[INDIRECT_PINGS, SUSPECT_FIRST, REFUTE, ROUND_ROBIN];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "through-a-third",
            says: "the ping is lost; m3 is asked, and m2 answers through it",
            broken: None,
            script: include_str!("scenarios/through-a-third.txt"),
        },
        Scenario {
            name: "refuted",
            says: "both pings are lost, m2 is suspected, hears of it, and says that it lives",
            broken: None,
            script: include_str!("scenarios/refuted.txt"),
        },
    ];
    const SMALL: &'static str = "3 members of whom one pings, 3 messages lost, 2 that come twice";
    const LARGE: &'static str =
        "4 members of whom two ping, one of whom may die; 3 losses, 3 duplicates";

    fn laws() -> Vec<Law<Member>> {
        vec![
            Law {
                name: "nobody-buried-alive",
                says: "who lives is not declared dead for the few messages that a case may lose",
                when: When::Always,
                holds: nobody_buried_alive,
            },
            Law {
                name: "death-found",
                says: "in the end all who watch know of who is dead",
                when: When::AtRest,
                holds: death_found,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Member> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&ROUND_ROBIN) {
            "3 members of whom one pings and one dies, one message lost, 2 that come twice"
        } else if broken != Broken::NOTHING {
            "3 members of whom one pings, 2 messages lost, 2 that come twice"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Member>> {
        // What loses less, and where nobody dies, is a part of the plain case.
        (*rule == ROUND_ROBIN).then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Member> {
        let dies = rng.one_in(2).then_some((3, rng.between(1, 12) as u32));
        Setup {
            faults: Faults {
                drops: 3,
                duplicates: 3,
                ..Faults::default()
            },
            steps_max: 800,
            ..setup(4, 2, dies, 1, broken)
        }
    }
}

fn nobody_buried_alive(world: &World<Member>) -> Result<(), String> {
    for (at, member) in world.processes().enumerate() {
        for (who, opinion) in member.list.iter().enumerate() {
            let is_up = world.condition(ProcessId(who)) != Condition::Down;
            if *opinion == Opinion::Dead && is_up && !world.process(ProcessId(who)).is_dead {
                let name = |at| world.name(ProcessId(at));
                return Err(format!(
                    "{} takes {} for dead, and it lives",
                    name(at),
                    name(who)
                ));
            }
        }
    }
    Ok(())
}

fn death_found(world: &World<Member>) -> Result<(), String> {
    let Some(dead) = world.processes().position(|member| member.is_dead) else {
        return Ok(());
    };
    let mut watching = world
        .processes()
        .enumerate()
        .filter(|(_, member)| member.is_watching);
    match watching.find(|(_, member)| member.list[dead] != Opinion::Dead) {
        Some((at, _)) => {
            let name = |at| world.name(ProcessId(at));
            Err(format!(
                "{} is dead, and {} does not know",
                name(dead),
                name(at)
            ))
        }
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message(word, list) = self;
        match word {
            Word::Ping(asking) => write!(f, "ping for m{}", asking.0 + 1)?,
            Word::PingFor(whom) => write!(f, "please ping m{}", whom.0 + 1)?,
            Word::Ack(who, asking) => write!(f, "m{} is there, for m{}", who.0 + 1, asking.0 + 1)?,
        }
        for (at, opinion) in list.iter().enumerate() {
            match opinion {
                Opinion::Alive(0) => {}
                Opinion::Alive(incarnation) => write!(f, "; m{} alive {incarnation}", at + 1)?,
                Opinion::Suspect(_) => write!(f, "; m{} suspect", at + 1)?,
                Opinion::Dead => write!(f, "; m{} dead", at + 1)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Buried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{} is dead", self.0.0 + 1)
    }
}
