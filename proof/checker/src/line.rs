//! Lines of locks, semaphores, elections and barriers: what members say happened, and what clients may conclude.
//!
//! A few lines of a naive model say who holds after each revision. Against it stands everything that clients were
//! told and did:
//!
//! ```text
//!   revision      7 a enters    9 b enters    12 a's lease ends
//!   holds         a ────────────────────────┤ b ──────────────────►
//!   a believes    ├────────────────────┤                its own clock, less the guard band
//!   a writes            8 ✓                  13 ✗ refused: token 7
//! ```
//!
//! *Tokens*: a place's token is the revision that took it, so tokens only rise. *Effects*: a fenced write that was
//! acknowledged at a revision was its token's to make, as of that revision; a write of a place that held all the
//! while is not refused. *Belief*: whoever stops by its own clock, as the guard says, never believes to hold a place
//! that is gone. *Leases*: "alive" means alive, "gone" means gone, none ends before its time and no place outlives it.
//! *Observers* never go back.

use crate::history::Time;
use crate::verdict::Violation;
use base::{LeaseId, MemberId, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// What a line is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The first place alone when it is exclusive, else all that share before the first that does not.
    Lock,
    /// The first so many places.
    Semaphore,
    /// The first place.
    Election,
    /// All up to the one that completed the last full party.
    Barrier,
}

/// A line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Line {
    /// What it is for.
    pub kind: Kind,
    /// What it is called.
    pub name: Vec<u8>,
}

/// A place as a member tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its fencing token.
    pub token: Revision,
    /// It holds together with others that share.
    pub shares: bool,
    /// Of semaphores and barriers.
    pub permits: u64,
    /// What it lives on.
    pub lease: LeaseId,
}

/// What happened to a line at a revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A place was taken, or says something else.
    Taken(Place),
    /// The place with this token is gone.
    Gone(Revision),
}

/// What a client was told, or did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The fields' names say what they are.
pub enum Fact {
    /// It was told whether a place holds, as of a revision.
    Told {
        line: Line,
        token: Revision,
        revision: Revision,
        is_held: bool,
    },
    /// A write fenced with the token was acknowledged at a revision.
    Wrote {
        line: Line,
        token: Revision,
        revision: Revision,
    },
    /// A write fenced with the token was refused for it.
    NotLet {
        line: Line,
        token: Revision,
        call: Time,
        returned: Time,
    },
    /// It believed to hold, by its own clock and the guard band.
    Believed {
        line: Line,
        token: Revision,
        from: Time,
        until: Time,
    },
    /// It worked on something outside that only compares tokens, and was let through.
    WorkedOutside {
        line: Line,
        token: Revision,
        at: Time,
    },
    /// An observer was told who holds.
    Observed {
        stream: u64,
        line: Line,
        tokens: Vec<Revision>,
        revision: Revision,
    },
    /// A lease was granted or renewed, and lives for so many nanoseconds from some moment after the call.
    Lives {
        lease: LeaseId,
        call: Time,
        returned: Time,
        revision: Revision,
        ttl: u64,
    },
    /// A lease was said to be gone.
    CalledGone {
        lease: LeaseId,
        call: Time,
        returned: Time,
    },
    /// Somebody asked to leave a line.
    Left { line: Line, token: Revision },
    /// Somebody asked for the end of a lease; the revision of the answer, if one came.
    Revoked {
        lease: LeaseId,
        call: Time,
        revision: Option<Revision>,
    },
}

/// How far clocks go wrong in a run.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// How much faster than true time a member's clock may run, in permille.
    pub error_permille: u64,
    /// All clocks keep the bound that holders reckon with.
    pub keep_bound: bool,
}

struct Page {
    first_seen: Time,
    changes: Vec<(Line, Change)>,
}

/// All that members told about lines, by revision.
#[derive(Default)]
pub struct Lines {
    pages: BTreeMap<Revision, Page>,
}

/// One line after each revision that changed it.
#[derive(Default)]
struct Story {
    /// In the order of revisions; places in the order of tokens.
    states: Vec<(Revision, Vec<Place>, Revision)>,
    /// By token: when and how it ended.
    ends: BTreeMap<Revision, (Time, Revision)>,
    leases: BTreeMap<Revision, LeaseId>,
    /// When each of these revisions was first known.
    times: BTreeMap<Revision, Time>,
}

impl Story {
    /// Who holds after `revision`.
    fn holders(&self, kind: Kind, revision: Revision) -> Vec<Revision> {
        let n_before = self.states.partition_point(|(at, ..)| *at <= revision);
        match n_before.checked_sub(1).map(|at| &self.states[at]) {
            Some((_, places, gate)) => holders(kind, places, *gate),
            None => Vec::new(),
        }
    }

    fn stands(&self, token: Revision, revision: Revision) -> bool {
        let n_before = self.states.partition_point(|(at, ..)| *at <= revision);
        let state = n_before.checked_sub(1).map(|at| &self.states[at]);
        state.is_some_and(|(_, places, _)| places.iter().any(|place| place.token == token))
    }
}

fn holders(kind: Kind, places: &[Place], gate: Revision) -> Vec<Revision> {
    let n = match kind {
        Kind::Election => 1,
        Kind::Semaphore => places.first().map_or(0, |place| place.permits as usize),
        Kind::Barrier => places.iter().filter(|place| place.token <= gate).count(),
        Kind::Lock => {
            let n_sharing = places.iter().take_while(|place| place.shares).count();
            n_sharing.max(1)
        }
    };
    places.iter().take(n).map(|place| place.token).collect()
}

impl Lines {
    /// Takes what `member` published for one revision. Repetition is fine, contradiction is not.
    ///
    /// # Errors
    /// Somebody said something else before.
    pub fn observe(
        &mut self,
        member: MemberId,
        now: Time,
        revision: Revision,
        changes: Vec<(Line, Change)>,
    ) -> Result<(), Violation> {
        match self.pages.get(&revision) {
            None => {
                let page = Page {
                    first_seen: now,
                    changes,
                };
                self.pages.insert(revision, page);
                Ok(())
            }
            Some(page) if page.changes == changes => Ok(()),
            Some(page) => Err(Violation::new(
                "members_tell_the_same_history",
                format!(
                    "lines at revision {revision}: {:?}, and member {member} says {changes:?}",
                    page.changes
                ),
            )),
        }
    }

    /// Judges what clients were told and did. `living` are the leases that live at the end.
    pub fn check(&self, facts: &[Fact], clocks: Clocks, living: &[LeaseId]) -> Vec<Violation> {
        let mut violations = Vec::new();
        let stories = self.tell(&mut violations);
        let nothing = Story::default();
        let ends = lease_ends(&stories, facts);
        for fact in facts {
            let broken = match fact {
                Fact::Told { line, .. }
                | Fact::Wrote { line, .. }
                | Fact::NotLet { line, .. }
                | Fact::Believed { line, .. } => {
                    check_one(line, stories.get(line).unwrap_or(&nothing), fact, clocks)
                }
                Fact::CalledGone {
                    lease,
                    call,
                    returned,
                } => {
                    // Its time may be over, and its end proposed, before its places go.
                    let was_asked = facts.iter().any(|other| {
                        matches!(other, Fact::Revoked { lease: it, call: asked, .. } if it == lease && asked <= returned)
                    });
                    let must_live = facts.iter().any(|other| match other {
                        Fact::Lives {
                            lease: it,
                            call: then,
                            returned: known,
                            ttl,
                            ..
                        } => {
                            let shortest = ttl * 1000 / (1000 + clocks.error_permille);
                            it == lease && known < call && then.0 + shortest > returned.0
                        }
                        _ => false,
                    });
                    (must_live && !was_asked).then(|| broken("a_lease_called_gone_is_gone", fact))
                }
                _ => None,
            };
            violations.extend(broken);
        }
        violations.extend(outside(facts));
        violations.extend(observers(facts, &stories));
        violations.extend(leases(facts, &ends, clocks));
        violations.extend(outlived(facts, &stories, living));
        violations
    }

    /// Each line's story; a token that is not its own revision is told on the way.
    fn tell(&self, violations: &mut Vec<Violation>) -> BTreeMap<Line, Story> {
        let mut stories: BTreeMap<Line, Story> = BTreeMap::new();
        for (revision, page) in &self.pages {
            for (line, change) in &page.changes {
                let story = stories.entry(line.clone()).or_default();
                story.times.insert(*revision, page.first_seen);
                let (mut places, mut gate) = match story.states.last() {
                    Some((_, places, gate)) => (places.clone(), *gate),
                    None => (Vec::new(), Revision(0)),
                };
                match change {
                    Change::Taken(place) => {
                        match places.iter_mut().find(|it| it.token == place.token) {
                            Some(known) => *known = place.clone(),
                            None => {
                                let newest = story.leases.keys().next_back().copied();
                                if place.token != *revision || newest >= Some(place.token) {
                                    let what = format!(
                                        "{line:?}: revision {revision} gave {place:?} after {newest:?}"
                                    );
                                    violations.push(Violation::new("tokens_only_rise", what));
                                }
                                story.leases.insert(place.token, place.lease);
                                places.push(place.clone());
                                places.sort_by_key(|place| place.token);
                                let waiting = places.iter().filter(|it| it.token > gate).count();
                                if line.kind == Kind::Barrier && waiting as u64 >= place.permits {
                                    gate = place.token;
                                }
                            }
                        }
                    }
                    Change::Gone(token) => {
                        places.retain(|place| place.token != *token);
                        story.ends.insert(*token, (page.first_seen, *revision));
                    }
                }
                match story.states.last_mut() {
                    Some(last) if last.0 == *revision => *last = (*revision, places, gate),
                    _ => story.states.push((*revision, places, gate)),
                }
            }
        }
        stories
    }
}

fn broken(claim: &'static str, fact: &Fact) -> Violation {
    Violation::new(claim, format!("{fact:?}"))
}

fn check_one(line: &Line, story: &Story, fact: &Fact, clocks: Clocks) -> Option<Violation> {
    let holds =
        |token: &Revision, revision: &Revision| story.holders(line.kind, *revision).contains(token);
    let with = |claim, revision: Revision| {
        let held = story.holders(line.kind, revision);
        let what = format!("{fact:?}\n  at revision {revision} held: {held:?}");
        Some(Violation::new(claim, what))
    };
    match fact {
        Fact::Told {
            token,
            revision,
            is_held,
            ..
        } if holds(token, revision) != *is_held => with("who_is_told_to_hold_holds", *revision),
        Fact::Wrote {
            token, revision, ..
        } if !holds(token, revision) => with("only_a_holder_s_write_has_an_effect", *revision),
        // What the place was when the write was asked, and still is when it was answered, it was in between.
        Fact::NotLet {
            token,
            call,
            returned,
            ..
        } => {
            let ended = story.ends.get(token).map(|(time, _)| *time);
            let began = story
                .states
                .iter()
                .find(|(_, places, gate)| holders(line.kind, places, *gate).contains(token));
            let held_since = began.and_then(|(revision, ..)| story.times.get(revision).copied());
            let is_wrong = held_since.is_some_and(|since| since < *call)
                && ended.is_none_or(|ended| ended > *returned);
            is_wrong.then(|| broken("a_holder_s_write_is_let_through", fact))
        }
        Fact::Believed { token, until, .. } if clocks.keep_bound => {
            let (ended, revision) = story.ends.get(token)?;
            (ended < until).then(|| {
                let what =
                    format!("{fact:?}\n  the place was gone at {ended}, revision {revision}");
                Violation::new("a_holder_that_stops_in_time_holds", what)
            })
        }
        _ => None,
    }
}

/// What only compares tokens lets through what is as new as all before it.
fn outside(facts: &[Fact]) -> Option<Violation> {
    let mut works: Vec<(&Time, &Line, &Revision, &Fact)> = Vec::new();
    for fact in facts {
        if let Fact::WorkedOutside { line, token, at } = fact {
            works.push((at, line, token, fact));
        }
    }
    works.sort_by_key(|(at, ..)| **at);
    let mut newest: BTreeMap<&Line, &Revision> = BTreeMap::new();
    for (_, line, token, fact) in works {
        let known = newest.entry(line).or_insert(token);
        if token < *known {
            let what = format!("{fact:?}\n  after token {known}");
            return Some(Violation::new("a_gate_lets_no_older_token_through", what));
        }
        *known = token;
    }
    None
}

/// What one stream tells never goes back, and is true at its revision.
fn observers(facts: &[Fact], stories: &BTreeMap<Line, Story>) -> Option<Violation> {
    let mut last: BTreeMap<u64, (Revision, Revision)> = BTreeMap::new();
    for fact in facts {
        let Fact::Observed {
            stream,
            line,
            tokens,
            revision,
        } = fact
        else {
            continue;
        };
        let held = stories
            .get(line)
            .map(|story| story.holders(line.kind, *revision));
        if *tokens != held.unwrap_or_default() {
            return Some(broken("an_observer_is_told_who_holds", fact));
        }
        let newest = tokens.last().copied().unwrap_or(Revision(0));
        let (at, known) = last.entry(*stream).or_default();
        let goes_back = line.kind == Kind::Election && newest.0 > 0 && newest < *known;
        if *revision < *at || goes_back {
            let what = format!("{fact:?}\n  after token {known} at revision {at}");
            return Some(Violation::new("an_observer_never_goes_back", what));
        }
        (*at, *known) = (*revision, newest.max(*known));
    }
    None
}

/// By lease: when it was first known that a place had ended with it, and at which revision. A place that somebody
/// wanted to leave proves nothing.
fn lease_ends(
    stories: &BTreeMap<Line, Story>,
    facts: &[Fact],
) -> BTreeMap<LeaseId, (Time, Revision)> {
    let mut left: BTreeSet<(&Line, Revision)> = BTreeSet::new();
    for fact in facts {
        if let Fact::Left { line, token } = fact {
            left.insert((line, *token));
        }
    }
    let mut ends = BTreeMap::new();
    for (line, story) in stories {
        let by_lease = story
            .ends
            .iter()
            .filter(|(token, _)| !left.contains(&(line, **token)));
        for (token, end) in by_lease {
            if let Some(lease) = story.leases.get(token) {
                ends.entry(*lease)
                    .and_modify(|known: &mut (Time, Revision)| *known = (*known).max(*end))
                    .or_insert(*end);
            }
        }
    }
    ends
}

/// None ends by itself before its time, and none is alive when its end is known.
fn leases(
    facts: &[Fact],
    ends: &BTreeMap<LeaseId, (Time, Revision)>,
    clocks: Clocks,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut asked: BTreeMap<LeaseId, Time> = BTreeMap::new();
    let mut revoked: BTreeMap<LeaseId, Revision> = BTreeMap::new();
    for fact in facts {
        if let Fact::Revoked {
            lease,
            call,
            revision,
        } = fact
        {
            let first = asked.entry(*lease).or_insert(*call);
            *first = (*first).min(*call);
            if let Some(revision) = revision {
                revoked.insert(*lease, *revision);
            }
        }
    }
    for fact in facts {
        let Fact::Lives {
            lease,
            call,
            returned,
            revision,
            ttl,
        } = fact
        else {
            continue;
        };
        if revoked.get(lease).is_some_and(|at| revision > at) {
            violations.push(broken("a_lease_called_alive_lives", fact));
        }
        let Some((ended, at)) = ends.get(lease) else {
            continue;
        };
        if ended < call || at <= revision {
            let what = format!("{fact:?}\n  it was over at {ended}, revision {at}");
            violations.push(Violation::new("a_lease_called_alive_lives", what));
        }
        let shortest = ttl * 1000 / (1000 + clocks.error_permille);
        let is_by_itself = asked.get(lease).is_none_or(|asked| asked > ended);
        if is_by_itself && returned <= ended && ended.0 < call.0 + shortest {
            let what = format!("{fact:?}\n  it was over at {ended}, revision {at}");
            violations.push(Violation::new("a_lease_never_ends_early", what));
        }
    }
    violations
}

/// Places go with their leases.
fn outlived(
    facts: &[Fact],
    stories: &BTreeMap<Line, Story>,
    living: &[LeaseId],
) -> Option<Violation> {
    for fact in facts {
        let Fact::Revoked {
            lease,
            revision: Some(revision),
            ..
        } = fact
        else {
            continue;
        };
        for (line, story) in stories {
            let mut places = story.leases.iter();
            let left = places.find(|(token, it)| *it == lease && story.stands(**token, *revision));
            if let Some((token, _)) = left {
                let what = format!("{fact:?}\n  {line:?} has token {token} at revision {revision}");
                return Some(Violation::new("no_place_outlives_its_lease", what));
            }
        }
    }
    for (line, story) in stories {
        let Some((revision, places, _)) = story.states.last() else {
            continue;
        };
        let left = places.iter().find(|place| !living.contains(&place.lease));
        if let Some(place) = left {
            let what = format!("{line:?} has {place:?} at the end, since revision {revision}");
            return Some(Violation::new("no_place_outlives_its_lease", what));
        }
    }
    None
}
