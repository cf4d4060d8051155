//! Is there any order of the operations on one key that explains every answer?
//!
//! The search is Wing and Gong's with Lowe's memory of (what is done, state) pairs, on a list in which
//! taking an operation out and putting it back costs nothing, as Porcupine does it; the partition by
//! key is in `project.rs`. It believes values and times only, never a revision, so that it is a second
//! opinion on `witness.rs`. An operation whose outcome is unknown may be placed anywhere after its
//! call, or nowhere; it is tried last. The search is bounded; [`Verdict::Unknown`] counts as failure.
//!
//! An order that somebody suggests is tried first: [`explains`] verifies it in one pass and trusts nothing.
//! Values are unique, which makes most unknown operations certain: [`settle`] says how.

use crate::history::Time;
use base::rng::mix;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A value of the key as a small number; nothing stands for "absent". Numbers are given by the caller.
pub type State = Option<u32>;

/// What must be true for an operation to be placed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Any,
    /// The key has exactly this state.
    Is(State),
    /// The key has any other state than this.
    IsNot(State),
    /// The key is there.
    Present,
}

impl Guard {
    /// Whether an operation with this guard can be placed in `state`.
    pub fn holds(self, state: State) -> bool {
        match self {
            Guard::Any => true,
            Guard::Is(wanted) => state == wanted,
            Guard::IsNot(unwanted) => state != unwanted,
            Guard::Present => state.is_some(),
        }
    }
}

/// What an operation does when it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Keep,
    /// The key has this state afterwards.
    Set(State),
}

/// One operation as far as one key is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The number of the operation, for reports.
    pub number: u64,
    /// When it was asked.
    pub call: Time,
    /// When it was answered; nothing means that the outcome is unknown.
    pub returned: Option<Time>,
    /// What its answer says about the state before it.
    pub guard: Guard,
    /// What it did.
    pub effect: Effect,
    /// Whether it is known to have happened, for a suggested order; the search does not look at it.
    pub happened: bool,
}

/// The judgement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Here is an order (numbers of operations) that explains everything.
    Yes(Vec<u64>),
    /// There is none; the longest order found explains this much.
    No(Vec<u64>),
    /// The search was given up.
    Unknown,
}

/// Searches for an order, in at most `steps_max` steps. The key is absent at first.
pub fn check(actions: &[Action], steps_max: u64) -> Verdict {
    Search::new(actions).run(steps_max)
}

/// What is known of unknown writes because values are unique: one whose value was seen took effect
/// before the first who saw it returned; one whose value nobody saw explains nothing, unless somebody
/// saw only "not this" or "something".
pub fn settle(actions: &[Action]) -> Vec<Action> {
    let mut settled = actions.to_vec();
    let seen = loop {
        let seen = first_seen(&settled);
        let mut changed = false;
        for action in &mut settled {
            if let (None, Effect::Set(Some(value))) = (action.returned, action.effect)
                && let Some(time) = seen.get(&value).filter(|time| **time >= action.call)
            {
                // Now that it is certain, what it saw itself counts too.
                action.returned = Some(*time);
                changed = true;
            }
        }
        if !changed {
            break seen;
        }
    };
    let is_vague = |action: &Action| matches!(action.guard, Guard::IsNot(_) | Guard::Present);
    // What an unknown operation saw may matter as well, should that operation be placed.
    let may_matter = |value: u32| {
        seen.contains_key(&value)
            || settled
                .iter()
                .any(|a| a.returned.is_none() && a.guard == Guard::Is(Some(value)))
    };
    if settled.iter().any(is_vague) {
        // They may still be needed as "something else": then one is as good as another.
        let named: BTreeSet<u32> = settled.iter().filter_map(named_value).collect();
        for action in &mut settled {
            if let (None, Effect::Set(Some(value))) = (action.returned, action.effect)
                && !named.contains(&value)
            {
                action.effect = Effect::Set(Some(NAMELESS));
            }
        }
        return settled;
    }
    let explains = |action: &&Action| match (action.returned, action.effect) {
        (None, Effect::Set(Some(value))) => may_matter(value),
        _ => true,
    };
    settled.iter().filter(explains).copied().collect()
}

/// Stands for every value that no guard names.
const NAMELESS: u32 = u32::MAX;

fn named_value(action: &Action) -> Option<u32> {
    match action.guard {
        Guard::Is(state) | Guard::IsNot(state) => state,
        _ => None,
    }
}

/// When each value had certainly been written: the first answer that tells of it.
fn first_seen(actions: &[Action]) -> BTreeMap<u32, Time> {
    let mut seen = BTreeMap::new();
    for action in actions {
        if let (Guard::Is(Some(value)), Some(returned)) = (action.guard, action.returned) {
            let first = seen.entry(value).or_insert(returned);
            *first = returned.min(*first);
        }
    }
    seen
}

/// Whether taking `actions` in this order explains every answer: each guard holds, and nothing that
/// was asked only later goes before what had been answered. Unknown operations whose guard does not
/// hold are passed over.
pub fn explains(actions: &[&Action]) -> bool {
    first_unexplained(actions).is_none()
}

/// The first of `actions` that cannot stand where it stands.
pub fn first_unexplained(actions: &[&Action]) -> Option<usize> {
    let mut state = None;
    let mut latest_call = Time(0);
    for (at, action) in actions.iter().enumerate() {
        if !action.guard.holds(state) {
            if action.returned.is_none() {
                continue;
            }
            return Some(at);
        }
        if action
            .returned
            .is_some_and(|returned| returned < latest_call)
        {
            return Some(at);
        }
        latest_call = latest_call.max(action.call);
        if let Effect::Set(after) = action.effect {
            state = after;
        }
    }
    None
}

const HEAD: usize = 0;

/// An element of the time line: the call of an action, or its return.
#[derive(Clone, Copy)]
struct Element {
    action: usize,
    /// For a call: the place of its return, or 0 when there is none.
    returns_at: usize,
    is_call: bool,
    previous: usize,
    next: usize,
}

fn twins(actions: &[Action]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..actions.len()).collect();
    order.sort_by_key(|at| (actions[*at].call, *at));
    let mut last: Vec<((Guard, Effect), usize)> = Vec::new();
    let mut twins = vec![None; actions.len()];
    for at in order
        .into_iter()
        .filter(|at| actions[*at].returned.is_none())
    {
        let kind = (actions[at].guard, actions[at].effect);
        match last.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, twin)) => twins[at] = Some(std::mem::replace(twin, at)),
            None => last.push((kind, at)),
        }
    }
    twins
}

struct Search<'a> {
    actions: &'a [Action],
    line: Vec<Element>,
    n_open: usize,
    /// Stands for the set of what is placed: 128 bits, so that no two sets meet.
    done: (u64, u64),
    is_done: Vec<bool>,
    /// For an unknown operation: the last one before it that does the same. Of such only the earliest
    /// is tried; it can be placed wherever a later one can.
    twin: Vec<Option<usize>>,
    state: State,
    path: Vec<(usize, State)>,
    seen: HashSet<(u64, u64, State)>,
    longest: Vec<u64>,
}

impl<'a> Search<'a> {
    fn new(actions: &'a [Action]) -> Search<'a> {
        // A call sorts before a return at the same moment: then they overlap, which forbids less.
        let mut moments = Vec::with_capacity(actions.len() * 2);
        for (at, action) in actions.iter().enumerate() {
            moments.push((action.call, 0, at));
            if let Some(returned) = action.returned {
                moments.push((returned, 1, at));
            }
        }
        moments.sort_unstable();
        let blank = Element {
            action: 0,
            returns_at: 0,
            is_call: false,
            previous: 0,
            next: 0,
        };
        let mut line = vec![blank; moments.len() + 1];
        let mut call_of = vec![0; actions.len()];
        for (place, (_, kind, at)) in moments.into_iter().enumerate() {
            let place = place + 1;
            line[place] = Element {
                action: at,
                returns_at: 0,
                is_call: kind == 0,
                previous: place - 1,
                next: 0,
            };
            line[place - 1].next = place;
            if kind == 0 {
                call_of[at] = place;
            } else {
                line[call_of[at]].returns_at = place;
            }
        }
        Search {
            actions,
            line,
            n_open: actions
                .iter()
                .filter(|action| action.returned.is_some())
                .count(),
            done: (0, 0),
            is_done: vec![false; actions.len()],
            twin: twins(actions),
            state: None,
            path: Vec::new(),
            seen: HashSet::new(),
            longest: Vec::new(),
        }
    }

    fn run(mut self, steps_max: u64) -> Verdict {
        let mut at = self.line[HEAD].next;
        // First what must be placed, then what may.
        let mut optional = false;
        for _ in 0..steps_max {
            if self.n_open == 0 {
                return Verdict::Yes(self.numbers());
            }
            // The end of the line is as good as a return: nothing more can be placed here.
            if at != HEAD && self.line[at].is_call {
                if self.is_optional(at) == optional && self.try_place(at) {
                    at = self.line[HEAD].next;
                    optional = false;
                } else {
                    at = self.line[at].next;
                }
                continue;
            }
            if !optional {
                optional = true;
                at = self.line[HEAD].next;
                continue;
            }
            if self.path.len() > self.longest.len() {
                self.longest = self.numbers();
            }
            let Some((place, before)) = self.path.pop() else {
                return Verdict::No(self.longest);
            };
            self.put_back(place, before);
            optional = self.is_optional(place);
            at = self.line[place].next;
        }
        Verdict::Unknown
    }

    fn try_place(&mut self, place: usize) -> bool {
        let index = self.line[place].action;
        let action = &self.actions[index];
        let holds = action.guard.holds(self.state);
        if self.twin[index].is_some_and(|twin| !self.is_done[twin]) {
            return false;
        }
        // An unknown operation without effect need never be placed.
        if !holds || (action.returned.is_none() && action.effect == Effect::Keep) {
            return false;
        }
        let after = match action.effect {
            Effect::Keep => self.state,
            Effect::Set(state) => state,
        };
        if action.returned.is_none() && !self.is_needed(place, after) {
            return false;
        }
        self.toggle(index);
        if !self.seen.insert((self.done.0, self.done.1, after)) {
            self.toggle(index);
            return false;
        }
        self.path.push((place, self.state));
        self.state = after;
        self.unlink(place);
        if self.line[place].returns_at != 0 {
            self.unlink(self.line[place].returns_at);
            self.n_open -= 1;
        }
        true
    }

    /// Whether placing the unknown operation at `place`, which gives the state `after`, lets something
    /// follow that cannot be placed now. If whatever follows it could also go before it, then it need
    /// not be placed yet, or ever.
    fn is_needed(&self, place: usize, after: State) -> bool {
        let mut at = self.line[HEAD].next;
        while at != HEAD && self.line[at].is_call {
            let guard = self.actions[self.line[at].action].guard;
            if at != place && guard.holds(after) && !guard.holds(self.state) {
                return true;
            }
            at = self.line[at].next;
        }
        false
    }

    fn put_back(&mut self, place: usize, before: State) {
        let index = self.line[place].action;
        self.toggle(index);
        self.state = before;
        if self.line[place].returns_at != 0 {
            self.relink(self.line[place].returns_at);
            self.n_open += 1;
        }
        self.relink(place);
    }

    fn toggle(&mut self, index: usize) {
        self.is_done[index] = !self.is_done[index];
        let one = mix(index as u64 + 1);
        self.done.0 ^= one;
        self.done.1 ^= mix(one ^ 0x6c69_6e65_6172);
    }

    fn is_optional(&self, place: usize) -> bool {
        self.actions[self.line[place].action].returned.is_none()
    }

    fn unlink(&mut self, place: usize) {
        let Element { previous, next, .. } = self.line[place];
        self.line[previous].next = next;
        if next != 0 {
            self.line[next].previous = previous;
        }
    }

    fn relink(&mut self, place: usize) {
        let Element { previous, next, .. } = self.line[place];
        self.line[previous].next = place;
        if next != 0 {
            self.line[next].previous = place;
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let number = |(place, _): &(usize, State)| self.actions[self.line[*place].action].number;
        self.path.iter().map(number).collect()
    }
}
