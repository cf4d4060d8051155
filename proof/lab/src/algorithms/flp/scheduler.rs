//! The scheduler of the proof: it delivers every message, the oldest first, and never lets the outcome become certain.
//!
//! A configuration is *bivalent* when a run that decides 0 goes on from it, and a run that decides 1 too. Both runs
//! are looked for and found, not assumed. The scheduler takes the oldest message under way and looks for the
//! shortest detour (other messages first) after which that message can be delivered and the outcome is still open.
//! This is lemma 3 of the paper, as a search. A detour is all the unfairness there is: a message waits for a few others.
//!
//! A coin is not the scheduler's: it sees how it fell, and not how it will fall.

use super::{Bit, Decided, Half, Message, Voter};
use crate::kernel::{Choice, ProcessId, World};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Configurations that are looked at for a run that decides a given bit. When none is found among so many the
/// scheduler takes the bit for impossible: it can only lose by that.
const LOOKED_AT_MAX: usize = 1_000;

/// Detours that are tried for one message.
const DETOURS_MAX: usize = 100;

/// A run that decides is looked for so many rounds ahead.
const ROUNDS_AHEAD: u16 = 3;

/// Which decisions can still be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Valency {
    /// A run that decides 0 was found.
    pub zero: bool,
    /// A run that decides 1 was found.
    pub one: bool,
}

/// The adversary, and what it has found out so far.
#[derive(Default)]
pub struct Scheduler {
    known: HashMap<u64, Valency>,
}

impl Valency {
    /// Both can be reached.
    pub fn is_bivalent(self) -> bool {
        self.zero && self.one
    }
}

impl Scheduler {
    /// Which decisions can be reached from here.
    pub fn valency(&mut self, world: &World<Voter>) -> Valency {
        let key = key(world);
        if let Some(valency) = self.known.get(&key) {
            return *valency;
        }
        let valency = Valency {
            zero: is_reached(world, Bit::Zero),
            one: is_reached(world, Bit::One),
        };
        self.known.insert(key, valency);
        valency
    }

    /// How to have the oldest message delivered with the outcome still open: the detour, then that message. Nothing
    /// when there is no such way, or no message.
    pub fn stage(&mut self, world: &World<Voter>) -> Option<Vec<Choice<Voter>>> {
        let (from, to, message) = world.in_flight().next()?;
        let oldest = Choice::Deliver(from, to, *message);
        let mut seen = HashSet::from([world.fingerprint()]);
        let mut detours = VecDeque::from([(Vec::new(), world.clone())]);
        while let Some((way, here)) = detours.pop_front() {
            let mut after = here.clone();
            after.apply(&oldest);
            if self.valency(&after).is_bivalent() {
                return Some([way, vec![oldest]].concat());
            }
            for choice in here.choices() {
                let mut next = here.clone();
                next.apply(&choice);
                if choice != oldest && seen.len() < DETOURS_MAX && seen.insert(next.fingerprint()) {
                    detours.push_back(([way.clone(), vec![choice]].concat(), next));
                }
            }
        }
        None
    }
}

/// Looks for a run that decides `bit`, most hopeful steps first.
fn is_reached(world: &World<Voter>, bit: Bit) -> bool {
    let is_there = |world: &World<Voter>| world.facts().iter().any(|Decided(_, it)| *it == bit);
    let horizon = first_round(world) + ROUNDS_AHEAD;
    let mut seen = HashSet::from([key(world)]);
    let mut stack = vec![world.clone()];
    while let Some(here) = stack.pop() {
        if is_there(&here) {
            return true;
        }
        let mut choices = here.choices();
        choices.retain(|choice| !is_stale(&here, choice));
        choices.sort_by_key(|choice| hope(choice, bit));
        for choice in choices {
            let mut next = here.clone();
            next.apply(&choice);
            let is_near = next.processes().all(|voter| voter.round <= horizon);
            if is_near && seen.len() < LOOKED_AT_MAX && seen.insert(key(&next)) {
                stack.push(next);
            }
        }
    }
    false
}

/// How much a step promises for `bit`.
fn hope(choice: &Choice<Voter>, bit: Bit) -> u8 {
    match choice {
        Choice::Wake(_, side) if *side == bit => 4,
        Choice::Deliver(_, _, Message::Propose(_, Some(it))) if *it == bit => 3,
        Choice::Deliver(_, _, Message::Report(_, it)) if *it == bit => 2,
        Choice::Deliver(_, _, Message::Propose(_, None)) => 1,
        _ => 0,
    }
}

fn first_round(world: &World<Voter>) -> u16 {
    let taking_part = world.processes().filter(|voter| voter.half != Half::Out);
    taking_part.map(|voter| voter.round).min().unwrap_or(0)
}

fn place(message: &Message) -> (u16, Half) {
    match message {
        Message::Report(round, _) => (*round, Half::First),
        Message::Propose(round, _) => (*round, Half::Second),
    }
}

fn is_late(world: &World<Voter>, to: ProcessId, message: &Message) -> bool {
    let voter = world.process(to);
    place(message) < (voter.round, voter.half) || voter.half == Half::Out
}

fn is_stale(world: &World<Voter>, choice: &Choice<Voter>) -> bool {
    matches!(choice, Choice::Deliver(_, to, message) if is_late(world, *to, message))
}

/// Equal for configurations that can go on in the same way: rounds are counted from the first that somebody is in
/// (in pairs, for protocols that know odd from even), and messages that come too late are left out.
fn key(world: &World<Voter>) -> u64 {
    let first = first_round(world) / 2 * 2;
    let mut hasher = DefaultHasher::new();
    for voter in world.processes() {
        let round = voter.round.saturating_sub(first);
        (round, voter.half, voter.value, voter.decided.is_some()).hash(&mut hasher);
        for ((round, half, from), word) in &voter.heard {
            (round.saturating_sub(first), half, from, word).hash(&mut hasher);
        }
    }
    let mut open: Vec<_> = world
        .in_flight()
        .filter(|(_, to, message)| !is_late(world, *to, message))
        .map(|(from, to, message)| {
            let (round, half) = place(message);
            (from, to, round.saturating_sub(first), half, word(message))
        })
        .collect();
    open.sort();
    open.hash(&mut hasher);
    let mut decided: Vec<Bit> = world.facts().iter().map(|Decided(_, bit)| *bit).collect();
    decided.sort();
    decided.dedup();
    decided.hash(&mut hasher);
    hasher.finish()
}

/// A configuration, all of it and exactly, with the order of the messages under way and those that come too late.
/// Round numbers are counted from the first that somebody is in (in pairs, since the protocol knows odd from even).
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Configuration {
    voters: Vec<(i32, Half, Bit, Vec<Word>)>,
    under_way: Vec<(ProcessId, Word)>,
}

/// Of which round and half, from whom, what.
type Word = (i32, Half, ProcessId, Option<Bit>);

/// How things stand, where nobody has decided and no coin is in the air.
pub(super) fn configuration(world: &World<Voter>) -> Configuration {
    let first = i32::from(first_round(world) / 2 * 2);
    let since = |round: u16| i32::from(round) - first;
    let voters = world.processes().map(|voter| {
        let heard = voter.heard.iter();
        let heard = heard.map(|((round, half, from), word)| (since(*round), *half, *from, *word));
        (since(voter.round), voter.half, voter.value, heard.collect())
    });
    let under_way = world.in_flight().map(|(from, to, message)| {
        let (round, half) = place(message);
        (to, (since(round), half, from, word(message)))
    });
    Configuration {
        voters: voters.collect(),
        under_way: under_way.collect(),
    }
}

fn word(message: &Message) -> Option<Bit> {
    match message {
        Message::Report(_, bit) => Some(*bit),
        Message::Propose(_, bit) => *bit,
    }
}
