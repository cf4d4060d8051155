//! What the schedulers play: against foreknown coins, against real ones, and against timeouts in the place of coins.

use super::scheduler::configuration;
use super::timeouts::{DELAY_MAX, Draw, TIMEOUTS, election, hold, next};
use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Fall, Shown};
use crate::kernel::{Breach, Choice, World, judge};
use base::Rng;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

/// For so many steps the scheduler keeps a deterministic protocol from deciding. Any other number would do.
pub const STEPS: usize = 10_000;

/// So many times it plays against coins.
pub const PLAYS: u64 = 300;

/// So many rows of an endless run are drawn.
const ROWS: usize = 24;

/// So many ticks an election is held back.
const TICKS: u32 = 15_000;

/// So many ticks each of many elections with a bound takes.
const TICKS_BOUND: u32 = 1_000;

/// So many rows of it are drawn.
const ROWS_HELD: usize = 21;

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
    pub breach: Option<Breach>,
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

/// The scheduler against the protocol without coins.
pub(super) fn stall(scheduler: &mut Scheduler, out: &mut dyn Write) -> Shown {
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
pub(super) fn lose(scheduler: &mut Scheduler, out: &mut dyn Write) -> Option<Fall> {
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

/// Another scheduler against elections: timeouts in the place of coins.
pub(super) fn wait(out: &mut dyn Write) -> Option<Fall> {
    let bound = Some(DELAY_MAX);
    let same = Rc::new(election(Draw::Same, bound, TICKS, &mut Rng::new(0)));
    let mut drawn = World::drawn(&same);
    for _ in 0..ROWS_HELD {
        drawn.apply(&next(&drawn)?);
    }
    let picture = drawn.picture().cloned().unwrap_or_default();
    let (least, most) = TIMEOUTS;
    let _ = writeln!(
        out,
        "\ntimeouts in the place of coins: who hears of no leader for so many ticks asks for votes; the scheduler holds back \
         each message\nfor as long as it may, here {DELAY_MAX} ticks; the timeout is {least} for all,\nand they begin a tick apart, p1 first\n\n{}\n   …",
        picture.text().trim_end()
    );
    let prompt = hold(&Rc::new(election(
        Draw::Same,
        Some(0),
        TICKS,
        &mut Rng::new(0),
    )));
    let Some(term) = prompt.led else {
        let why = format!("all timeouts {least}, no message late: nobody leads");
        return Some(Fall {
            law: FLIP_COINS.law,
            why,
        });
    };
    let _ = writeln!(
        out,
        "  all timeouts {least}, every message at once: somebody leads, in term {term}"
    );
    let held = hold(&same);
    let endless = hold(&Rc::new(election(
        Draw::Anew,
        None,
        TICKS,
        &mut Rng::new(0),
    )));
    for (held, words) in [
        (
            &held,
            format!("all timeouts {least}, every message within {DELAY_MAX}"),
        ),
        (
            &endless,
            format!(
                "timeouts drawn anew from {least} to {most}, messages as late as the scheduler likes"
            ),
        ),
    ] {
        if let Some(term) = held.led {
            let why = format!("{words}: somebody leads term {term}");
            return Some(Fall {
                law: FLIP_COINS.law,
                why,
            });
        }
        let _ = writeln!(
            out,
            "  {words}: {TICKS} ticks, {} terms, nobody leads; {} messages have arrived, the latest after {} ticks",
            held.n_terms, held.arrived.0, held.late
        );
    }
    let (mut n_terms, mut last) = (0, 0);
    for seed in 0..PLAYS {
        let rng = &mut Rng::new(seed);
        let held = hold(&Rc::new(election(Draw::Anew, bound, TICKS_BOUND, rng)));
        let Some(term) = held.led.filter(|_| held.rivals.is_none()) else {
            let why = format!("seed {seed}: {:?} in {} terms", held.rivals, held.n_terms);
            return Some(Fall {
                law: FLIP_COINS.law,
                why,
            });
        };
        n_terms += u64::from(term);
        last = last.max(term);
    }
    let _ = writeln!(
        out,
        "  timeouts drawn anew, every message within {DELAY_MAX}: {PLAYS} times somebody leads, in term {}.{} on average, {last} at \
         the latest",
        n_terms / PLAYS,
        n_terms * 10 / PLAYS % 10,
    );
    None
}
