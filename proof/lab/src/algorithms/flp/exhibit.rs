//! How the limit of Fischer, Lynch and Paterson is shown: Ben-Or's protocol is explored as any other; then the
//! scheduler plays against it, without coins and with them.

use super::*;
use crate::algorithm::{Algorithm, Of};
use crate::exhibit::{Ask, Exhibit, Fall, Hand, Kind, Scenario, Shown, Unable};
use crate::kernel::{Choice, Faults, Law, Setup, When, World, judge};
use base::Rng;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::rc::Rc;

/// What is shown: the protocol, and the scheduler against it.
pub struct Flp;

/// For so many steps the scheduler keeps a deterministic protocol from deciding. Any other number would do.
pub const STEPS: usize = 10_000;

/// So many times it plays against coins.
pub const PLAYS: u64 = 300;

/// Nobody needs so many rounds, unless somebody keeps them from deciding.
const ROUNDS_MAX: u16 = 20_000;

/// So many rows of an endless run are drawn.
const ROWS: usize = 24;

fn setup(wishes: &[Bit], rounds_max: u16, broken: Broken) -> Setup<Voter> {
    let voters = wishes.iter().enumerate().map(|(at, wish)| {
        let voter = Voter {
            broken,
            n: wishes.len(),
            f: (wishes.len() - 1) / 2,
            rounds_max,
            wish: *wish,
            value: *wish,
            round: 1,
            half: Half::First,
            heard: BTreeMap::new(),
            decided: None,
        };
        (format!("p{}", at + 1), voter)
    });
    Setup::new(voters)
}

/// What the scheduler plays against: three processes that do not agree yet. Nobody crashes, nothing is lost.
pub fn board(broken: Broken) -> Setup<Voter> {
    setup(&[Bit::Zero, Bit::One, Bit::Zero], ROUNDS_MAX, broken)
}

/// The protocol without its coins.
pub fn deterministic() -> Broken {
    Broken::without(&FLIP_COINS)
}

impl Algorithm for BenOr {
    type Process = Voter;

    const NAME: &'static str = "flp";
    const KIND: Kind = Kind::Limit;
    const LINE: &'static str =
        "no deterministic protocol always decides: a scheduler that keeps it from it, and coins";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[FLIP_COINS, DECIDE_ON_F_PLUS_1];
    const SCENARIOS: &'static [Scenario] = &[Scenario {
        name: "coins",
        says: "nobody hears the same from two, so all flip coins; the coins agree, and that is the end",
        broken: None,
        script: include_str!("scenarios/coins.txt"),
    }];
    const SMALL: &'static str =
        "3 processes that begin with 0, 1, 0, in 2 rounds; every fall of every coin; p3 may crash";
    const LARGE: &'static str = "3 or 5 processes, 30 rounds at most; fewer than half crash";

    fn laws() -> Vec<Law<Voter>> {
        vec![
            Law {
                name: "agreement",
                says: "no two processes decide differently",
                when: When::Always,
                holds: agreement,
            },
            Law {
                name: "validity",
                says: "what is decided was somebody's at the beginning",
                when: When::Always,
                holds: validity,
            },
            Law {
                name: "termination",
                says: "in the end all that live have decided, or have come to the last round of the case",
                when: When::AtRest,
                holds: termination,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Voter> {
        Setup {
            delivery: crate::kernel::Delivery::Fifo,
            faults: Faults {
                crashes: 1,
                ..Faults::default()
            },
            mortal: vec![ProcessId(2)],
            ..setup(&[Bit::Zero, Bit::One, Bit::Zero], 2, broken)
        }
    }

    fn stage(broken: Broken) -> Setup<Voter> {
        setup(&[Bit::Zero, Bit::One, Bit::Zero], 3, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Voter> {
        let n = if rng.one_in(4) { 5 } else { 3 };
        let wishes: Vec<Bit> = (0..n)
            .map(|_| if rng.one_in(2) { Bit::Zero } else { Bit::One })
            .collect();
        Setup {
            faults: Faults {
                crashes: (n as u8 - 1) / 2,
                ..Faults::default()
            },
            ..setup(&wishes, 30, broken)
        }
    }
}

/// What a play against the scheduler came to.
pub struct Played {
    /// Steps that kept both decisions possible.
    pub n_open: usize,
    /// The longest detour: so many messages went before the oldest.
    pub detour_max: usize,
    /// All steps. No more than [`STEPS`], or the few after them that end a stage.
    pub n_steps: usize,
    /// The last round that anybody was in.
    pub round: u16,
    /// Who decided.
    pub n_decided: usize,
    /// A safety law that broke on the way.
    pub breach: Option<crate::kernel::Breach>,
    /// In which round no way was left to keep the outcome open, and whether a coin had just fallen.
    pub lost: Option<(u16, bool)>,
    /// The first configuration, round numbers aside, that was there twice, with the steps and rounds of both times.
    pub lasso: Option<[(usize, u16); 2]>,
    /// How it ended.
    pub world: World<Voter>,
    /// How it began.
    pub opening: Vec<Choice<Voter>>,
}

/// The scheduler plays until its steps are used up, or until it can no longer keep the outcome open; then messages
/// arrive in the order in which they were sent. Coins fall as `rng` says.
pub fn against(scheduler: &mut Scheduler, mut world: World<Voter>, rng: &mut Rng) -> Played {
    let laws = BenOr::laws();
    let (mut n_open, mut n_steps, mut detour_max, mut is_lost) = (0, 0, 0, false);
    let (mut breach, mut opening) = (None, Vec::new());
    let (mut lost, mut lasso, mut been, mut was_coin) = (None, None, HashMap::new(), false);
    while n_steps < STEPS && breach.is_none() {
        let here = (n_steps, last_round(&world));
        if lasso.is_none() && !is_lost && world.facts().is_empty() {
            lasso = been
                .insert(configuration(&world), here)
                .map(|before| [before, here]);
        }
        let plan = match is_lost {
            true => None,
            false => scheduler.stage(&world),
        };
        // Where nothing but coins is left to wait for, one is tossed, and the scheduler thinks again.
        let is_stage = plan.is_some();
        if !is_stage && !is_lost && world.in_flight().next().is_some() {
            is_lost = true;
            lost = Some((here.1, was_coin));
        }
        let plan = plan.unwrap_or_else(|| world.choices().into_iter().take(1).collect());
        if plan.is_empty() {
            break;
        }
        detour_max = detour_max.max(plan.len() - 1);
        for choice in plan {
            // A coin is nobody's to choose; when it has fallen the scheduler thinks again.
            let (choice, is_coin) = match choice {
                Choice::Wake(who, _) => (Choice::Wake(who, toss(rng)), true),
                other => (other, false),
            };
            world.apply(&choice);
            if n_steps < ROWS {
                opening.push(choice);
            }
            n_steps += 1;
            n_open += usize::from(is_stage);
            was_coin = is_coin;
            breach = judge(&laws, &world);
            if is_coin || breach.is_some() {
                break;
            }
        }
    }
    Played {
        n_open,
        detour_max,
        n_steps,
        round: last_round(&world),
        n_decided: world.facts().len(),
        breach,
        lost,
        lasso,
        world,
        opening,
    }
}

fn last_round(world: &World<Voter>) -> u16 {
    let rounds = world.processes().map(|voter| voter.round);
    rounds.max().unwrap_or(0)
}

fn toss(rng: &mut Rng) -> Bit {
    if rng.one_in(2) { Bit::Zero } else { Bit::One }
}

impl Exhibit for Flp {
    fn name(&self) -> &'static str {
        BenOr::NAME
    }

    fn kind(&self) -> Kind {
        BenOr::KIND
    }

    fn line(&self) -> &'static str {
        BenOr::LINE
    }

    fn story(&self) -> &'static str {
        BenOr::STORY
    }

    fn breaks(&self) -> &'static [Break] {
        BenOr::BREAKS
    }

    fn scenarios(&self) -> &'static [Scenario] {
        BenOr::SCENARIOS
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let broken = self.rule(ask.broken.as_deref())?;
        let mut shown = Of::<BenOr>::new().run(ask, out)?;
        if shown.fall.is_some() || ask.scenario.is_some() || ask.seed.is_some() {
            return Ok(shown);
        }
        let mut scheduler = Scheduler::default();
        let stalled = stall(&mut scheduler, out);
        if broken == deterministic() {
            shown.picture = stalled.picture;
            shown.fall = stalled.fall;
            return Ok(shown);
        }
        shown.fall = lose(&mut Scheduler::default(), out);
        Ok(shown)
    }

    fn step(&self, ask: &Ask, hand: &mut Hand<'_>) -> Result<(), Unable> {
        Of::<BenOr>::new().step(ask, hand)
    }
}

/// The scheduler against the protocol without coins.
fn stall(scheduler: &mut Scheduler, out: &mut dyn Write) -> Shown {
    let board = Rc::new(board(deterministic()));
    let mut played = against(scheduler, World::new(&board), &mut Rng::new(0));
    let mut drawn = World::drawn(&board);
    for choice in &played.opening {
        drawn.apply(choice);
    }
    let mut picture = drawn.picture().cloned().unwrap_or_default();
    picture.events.truncate(ROWS);
    let _ = writeln!(
        out,
        "\nthe scheduler against the same without coins: nobody crashes, every message arrives\n\n{}\n   …",
        picture.text().trim_end()
    );
    let now = scheduler.valency(&played.world);
    let is_open = now.is_bivalent() && played.n_decided == 0;
    let _ = writeln!(
        out,
        "  {} steps, {} of them in stages after which 0 and 1 could both still be decided; round {}; {} decided\n  \
         each time the oldest message was the next to arrive, or waited for no more than {} before it",
        played.n_steps,
        played.n_open,
        played.round,
        match played.n_decided {
            0 => "nobody has".to_string(),
            n => format!("{n} have"),
        },
        played.detour_max
    );
    let fall = played.breach.take().map(Fall::from);
    let why = match played.lasso {
        // The same steps lead from there to there again: the protocol and its foreknown coins tell rounds apart by
        // odd and even only, and the last round is the case's. Each stage delivers the oldest message, so the circle
        // leaves none out.
        Some([(from, _), (to, round)]) => format!(
            "after {to} steps, in round {round}, everything is as it was after {from}, messages under way and their \
             order too, only round numbers are higher: the same steps again, and so on for ever"
        ),
        None => format!(
            "after {} steps and {} rounds 0 and 1 can both still be decided",
            played.n_steps, played.round
        ),
    };
    let open = is_open.then_some(Fall {
        law: FLIP_COINS.law,
        why,
    });
    if let Some(open) = &open {
        let _ = writeln!(out, "\n{} does not hold: {}", open.law, open.why);
    }
    Shown {
        fall: fall.or(open),
        picture,
        ..Shown::default()
    }
}

/// The same scheduler against coins, many times.
fn lose(scheduler: &mut Scheduler, out: &mut dyn Write) -> Option<Fall> {
    let board = Rc::new(board(Broken::NOTHING));
    let (mut n_rounds, mut longest) = (0u64, 0);
    let (mut n_lost, mut n_by_coin, mut lost_rounds, mut lost_last) = (0u64, 0u64, 0u64, 0);
    for seed in 0..PLAYS {
        let played = against(scheduler, World::new(&board), &mut Rng::new(seed));
        let is_whole = played.n_decided == board.processes.len();
        if let Some(breach) = played.breach {
            return Some(breach.into());
        }
        if !is_whole {
            return Some(Fall {
                law: FLIP_COINS.law,
                why: format!(
                    "seed {seed}: not all have decided after {} steps",
                    played.n_steps
                ),
            });
        }
        n_rounds += u64::from(played.round);
        longest = longest.max(played.round);
        if let Some((round, is_by_coin)) = played.lost {
            n_lost += 1;
            n_by_coin += u64::from(is_by_coin);
            lost_rounds += u64::from(round);
            lost_last = lost_last.max(round);
        }
    }
    let _ = writeln!(
        out,
        "\nthe same scheduler against coins, {PLAYS} times: all decide, every time, and alike\n  \
         {}.{} rounds on average, {longest} at most",
        n_rounds / PLAYS,
        n_rounds * 10 / PLAYS % 10,
    );
    let tenths = lost_rounds * 10 / n_lost.max(1);
    let _ = writeln!(
        out,
        "  {n_lost} times it had to let the outcome become certain, in round {}.{} on average, {lost_last} at the \
         latest;\n  {n_by_coin} times because of a coin that had just fallen",
        tenths / 10,
        tenths % 10,
    );
    None
}

fn agreement(world: &World<Voter>) -> Result<(), String> {
    let mut decided = world.facts().iter();
    let Some(Decided(first, bit)) = decided.next() else {
        return Ok(());
    };
    match decided.find(|Decided(_, other)| other != bit) {
        Some(Decided(who, other)) => Err(format!(
            "{} decided {bit}, and {} decided {other}",
            world.name(*first),
            world.name(*who)
        )),
        None => Ok(()),
    }
}

fn validity(world: &World<Voter>) -> Result<(), String> {
    let is_wish = |bit: Bit| world.processes().any(|voter| voter.wish == bit);
    match world.facts().iter().find(|Decided(_, bit)| !is_wish(*bit)) {
        Some(Decided(who, bit)) => Err(format!(
            "{} decided {bit}, and nobody began with it",
            world.name(*who)
        )),
        None => Ok(()),
    }
}

fn termination(world: &World<Voter>) -> Result<(), String> {
    for at in (0..world.setup().processes.len()).map(ProcessId) {
        let is_up = world.condition(at) == crate::kernel::Condition::Up;
        let voter = world.process(at);
        if is_up && voter.decided.is_none() && voter.round < voter.rounds_max {
            return Err(format!(
                "{} waits in round {} for ever",
                world.name(at),
                voter.round
            ));
        }
    }
    Ok(())
}

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bit::Zero => "0",
            Bit::One => "1",
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Report(round, bit) => write!(f, "report {bit} in {round}"),
            Message::Propose(round, Some(bit)) => write!(f, "propose {bit} in {round}"),
            Message::Propose(round, None) => write!(f, "propose nothing in {round}"),
        }
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decides {}", self.1)
    }
}
