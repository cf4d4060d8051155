//! The specification as a judge: every step of every member of a running cluster is held against it.
//!
//! It sees what an engine *shows*: term, vote, role, log and decided index after each step, the entries that go to
//! the disk, what the disk has finished, and every message that leaves. From that it knows which action of the paper the
//! step must have been, and whether its guard held. The five properties of Raft's figure 3 carry their names; the
//! others are guards:
//!
//! | claim | what is seen | source |
//! | --- | --- | --- |
//! | `election_safety` | one member speaks as leader in a term | §5.2 |
//! | `leader_append_only` | a leader's log only grows | §5.3 |
//! | `log_matching` | an entry's place and term fix its contents and the term before it | §5.3 |
//! | `leader_completeness` | a new leader has all that was decided in earlier terms | §5.4 |
//! | `state_machine_safety` | one entry is decided at each place, for ever | §5.4.3 |
//! | `one_vote_a_term` | a granted vote leaves for one candidate a term, over all lives of the member | §5.2 |
//! | `voters_remember` | whoever votes or stands still has what it kept on its disk and what was decided | figure 2 |
//! | `votes_are_durable` | and it, or a newer term, is on the voter's disk before it leaves | figure 2 |
//! | `elected_by_a_majority` | a new leader was given the votes of a majority of each half of its membership | §5.2 |
//! | `votes_for_logs_as_new` | and only for a log that is no older than the voter's | §5.4.1 |
//! | `terms_only_rise` | within a life; and so does what is decided | §5.1 |
//! | `decides_own_term_first` | a leader decides an entry of its own term, and all before with it | §5.4.2 |
//! | `one_change_at_a_time` | a leader changes the membership when every earlier change of its log is decided | §6 |
//! | `decided_is_durable` | what a leader decides is synced on the disks of a quorum | figure 2 |
//! | `what_is_recovered_is_synced` | a life begins with a log that is on the disk, not in a cache | figure 2 |
//! | `acknowledged_is_durable` | what a follower acknowledges is synced on its disk | figure 2 |
//!
//! It believes nobody about durability: whoever drives it says what a disk has really kept.

use base::{
    Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message, MessageKind,
    SnapshotMeta, Term, rng,
};
use consensus::{Engine, Role};
use std::collections::{BTreeMap, BTreeSet};

/// A guard that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its name.
    pub claim: &'static str,
    /// Who did what.
    pub what: String,
}

/// A member as it was last seen in this life.
#[derive(Clone, Debug)]
struct Seen {
    term: Term,
    role: Role,
    commit: Index,
    last: LogPosition,
    membership: Membership,
}

/// What one disk has had, synced, at some time. A copy that is damaged later was there when it counted.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// The furthest state.
    state: Index,
    entries: BTreeSet<(Index, Term)>,
    /// Votes that were written here.
    ballots: BTreeSet<(Term, MemberId)>,
    /// The newest term that a life began with: which vote it remembers of it is not seen.
    began_in: Term,
}

impl Kept {
    fn has(&self, at: LogPosition) -> bool {
        at.index <= self.state || self.entries.contains(&(at.index, at.term))
    }
}

/// What is known of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Contents {
    before: Option<Term>,
    hash: u64,
}

/// Watches one cluster.
#[derive(Debug, Default)]
pub struct Observer {
    seen: BTreeMap<MemberId, Seen>,
    kept: BTreeMap<MemberId, Kept>,
    leaders: BTreeMap<Term, MemberId>,
    entries: BTreeMap<LogPosition, Contents>,
    /// Decided: at which place which term, and in the term of which leader it was seen to be.
    decided: BTreeMap<Index, (Term, Term)>,
    changes: BTreeSet<LogPosition>,
    votes: BTreeMap<(MemberId, Term), MemberId>,
    candidates: BTreeMap<(MemberId, Term), LogPosition>,
    n_steps: u64,
}

impl Observer {
    /// Steps that were judged.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// A member starts, or starts again: what it shows is the beginning of a life. `is_synced`: whether what it has
    /// read is really on its disk, and not in a cache that the next power cut empties.
    pub fn started(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        is_synced: bool,
    ) -> Option<Broken> {
        let status = engine.status();
        if is_synced {
            let kept = self.kept.entry(member).or_default();
            kept.began_in = kept.began_in.max(status.term);
            kept.state = kept.state.max(Index(status.first.0 - 1));
            for index in (status.first.0..=status.last.index.0).map(Index) {
                kept.entries
                    .extend(engine.term_at(index).map(|term| (index, term)));
            }
        }
        self.seen.insert(member, look(engine));
        (!is_synced).then(|| Broken {
            claim: "what_is_recovered_is_synced",
            what: format!(
                "n{member} begins with a log up to {} that is not all synced",
                status.last
            ),
        })
    }

    /// A disk has finished a write, and really has it: the vote, everything up to `snapshot`, and `entries`.
    pub fn synced(
        &mut self,
        member: MemberId,
        hard_state: Option<HardState>,
        snapshot: Option<&SnapshotMeta>,
        entries: &[Entry],
    ) {
        let kept = self.kept.entry(member).or_default();
        kept.ballots
            .extend(hard_state.map(|state| (state.term, state.vote)));
        if let Some(meta) = snapshot {
            kept.state = kept.state.max(meta.position.index);
        }
        let entries = entries.iter().map(|entry| entry.position);
        kept.entries.extend(entries.map(|at| (at.index, at.term)));
    }

    /// Entries are given to a member's disk.
    pub fn writes(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        entries: &[Entry],
    ) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut before: Option<Term> = None;
        for entry in entries {
            let at = entry.position;
            let known = before.or_else(|| engine.term_at(Index(at.index.0 - 1)));
            before = Some(at.term);
            if entry.kind == EntryKind::Change {
                broken.extend(self.changes_membership(member, engine, at));
            }
            let contents = Contents {
                before: known,
                hash: fingerprint(entry),
            };
            let first = *self.entries.entry(at).or_insert(contents);
            let differs = first.hash != contents.hash
                || first
                    .before
                    .zip(contents.before)
                    .is_some_and(|(one, two)| one != two);
            if differs {
                broken.push(Broken {
                    claim: "log_matching",
                    what: format!("n{member} writes {at} as {contents:?}; it is {first:?}"),
                });
            }
        }
        broken
    }

    /// An entry that changes the membership is given to a member's disk.
    fn changes_membership(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        at: LogPosition,
    ) -> Option<Broken> {
        self.changes.insert(at);
        let status = engine.status();
        if status.role != Role::Leader || status.term != at.term {
            return None;
        }
        let mut earlier = self.changes.iter().rev();
        let pending = earlier.find(|change| {
            let is_open = change.index > status.commit && change.index < at.index;
            is_open && engine.term_at(change.index) == Some(change.term)
        })?;
        Some(Broken {
            claim: "one_change_at_a_time",
            what: format!(
                "leader n{member} begins a change at {at}, and that of {pending} is not decided"
            ),
        })
    }

    /// What `member` had on its disk, was decided, and is not in its log any more.
    fn forgotten(&self, member: MemberId, engine: &dyn Engine) -> Option<LogPosition> {
        let kept = self.kept.get(&member)?;
        let newest = self
            .decided
            .iter()
            .rev()
            .take(10_000)
            .find_map(|(index, (term, _))| {
                let at = LogPosition {
                    term: *term,
                    index: *index,
                };
                kept.has(at).then_some(at)
            })?;
        let is_behind = newest.index < engine.status().first;
        (!is_behind && engine.term_at(newest.index) != Some(newest.term)).then_some(newest)
    }

    /// A member has taken a step, after which it sends `messages`.
    pub fn stepped<'a>(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        messages: impl IntoIterator<Item = &'a Message>,
    ) -> Vec<Broken> {
        self.n_steps += 1;
        let mut broken = Vec::new();
        let now = look(engine);
        if let Some(before) = self.seen.insert(member, now.clone()) {
            self.compare(member, engine, &before, &now, &mut broken);
        }
        for message in messages {
            self.sends(member, engine, message, &mut broken);
        }
        broken
    }

    fn compare(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        before: &Seen,
        now: &Seen,
        broken: &mut Vec<Broken>,
    ) {
        let mut say = |claim, what| broken.push(Broken { claim, what });
        if now.term < before.term || now.commit < before.commit {
            say(
                "terms_only_rise",
                format!("n{member} goes from {before:?} to {now:?}"),
            );
        }
        let leads = now.role == Role::Leader;
        let led = before.role == Role::Leader && before.term == now.term;
        let at_end = engine.term_at(before.last.index);
        let is_cut = now.last.index < before.last.index;
        let is_rewritten = at_end.is_some_and(|term| term != before.last.term);
        if leads && led && (is_cut || is_rewritten) {
            say(
                "leader_append_only",
                format!(
                    "leader n{member} of term {}: its log ended with {} and now with {}",
                    now.term, before.last, now.last
                ),
            );
        }
        if leads && !led {
            if let Some(missing) = self.missing(engine, now.term) {
                say(
                    "leader_completeness",
                    format!(
                        "n{member} leads term {} without {missing}, which was decided before",
                        now.term
                    ),
                );
            }
            self.speaks_as_leader(member, now.term, broken);
            self.was_elected(member, before, now, broken);
        }
        self.decides(member, engine, before, now, broken);
    }

    /// The first entry that was decided in a term before `term` and is not in the log.
    fn missing(&self, engine: &dyn Engine, term: Term) -> Option<LogPosition> {
        self.decided
            .iter()
            .rev()
            .take(10_000)
            .find_map(|(index, (own, leader))| {
                let has = engine.term_at(*index);
                let is_behind = *index < engine.status().first;
                let lacks = *leader < term && !is_behind && has != Some(*own);
                lacks.then_some(LogPosition {
                    term: *own,
                    index: *index,
                })
            })
    }

    fn decides(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        before: &Seen,
        now: &Seen,
        broken: &mut Vec<Broken>,
    ) {
        for index in before.commit.0 + 1..=now.commit.0 {
            let index = Index(index);
            // Behind a received state nothing is seen of what it covers.
            let Some(term) = engine.term_at(index) else {
                continue;
            };
            let (known, _) = *self.decided.entry(index).or_insert((term, now.term));
            if known != term {
                broken.push(Broken {
                    claim: "state_machine_safety",
                    what: format!(
                        "n{member} decides {index}@{term}, and {index}@{known} is decided"
                    ),
                });
            }
        }
        if now.role != Role::Leader || now.commit <= before.commit {
            return;
        }
        let own = engine.term_at(now.commit);
        if before.term == now.term && before.role == Role::Leader && own != Some(now.term) {
            broken.push(Broken {
                claim: "decides_own_term_first",
                what: format!(
                    "leader n{member} of term {} decides {} of term {own:?}",
                    now.term, now.commit
                ),
            });
        }
        let at = LogPosition {
            term: own.unwrap_or_default(),
            index: now.commit,
        };
        let has = |member: &MemberId| self.kept.get(member).is_some_and(|kept| kept.has(at));
        // A step may carry out a change of membership after the decision, or decide after it.
        if !is_majority(&before.membership, has) && !is_majority(&now.membership, has) {
            let kept = self.kept.keys().filter(|member| has(member));
            let who: Vec<String> = kept.map(|member| format!("n{member}")).collect();
            broken.push(Broken {
                claim: "decided_is_durable",
                what: format!(
                    "leader n{member} decides {at}, and of all only [{}] have it on their disks",
                    who.join(", ")
                ),
            });
        }
    }

    fn was_elected(&self, member: MemberId, before: &Seen, now: &Seen, broken: &mut Vec<Broken>) {
        // One that is alone asks nobody, itself neither.
        let votes = |voter: &MemberId| {
            *voter == member || self.votes.get(&(*voter, now.term)) == Some(&member)
        };
        if !is_majority(&before.membership, votes) && !is_majority(&now.membership, votes) {
            broken.push(Broken {
                claim: "elected_by_a_majority",
                what: format!("n{member} leads term {} without", now.term),
            });
        }
    }

    fn votes_for(
        &mut self,
        member: MemberId,
        candidate: MemberId,
        term: Term,
        broken: &mut Vec<Broken>,
    ) {
        let chosen = *self.votes.entry((member, term)).or_insert(candidate);
        if chosen != candidate {
            broken.push(Broken {
                claim: "one_vote_a_term",
                what: format!("n{member} votes for n{candidate} in term {term}, after {chosen}"),
            });
        }
    }

    fn speaks_as_leader(&mut self, member: MemberId, term: Term, broken: &mut Vec<Broken>) {
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader != member {
            broken.push(Broken {
                claim: "election_safety",
                what: format!("n{member} and n{leader} lead term {term}"),
            });
        }
    }

    fn sends(
        &mut self,
        member: MemberId,
        engine: &dyn Engine,
        message: &Message,
        broken: &mut Vec<Broken>,
    ) {
        let term = message.term;
        let is_ballot = match message.kind {
            MessageKind::Vote => true,
            MessageKind::VoteResponse => !message.reject,
            _ => false,
        };
        if is_ballot && let Some(lost) = self.forgotten(member, engine) {
            broken.push(Broken {
                claim: "voters_remember",
                what: format!(
                    "n{member} sends {:?} in term {term} and has forgotten {lost}, which was on its disk and is decided",
                    message.kind
                ),
            });
        }
        match message.kind {
            MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot => {
                self.speaks_as_leader(member, term, broken);
            }
            MessageKind::Vote => {
                self.candidates.insert((member, term), message.position);
                self.votes_for(member, member, term, broken);
            }
            MessageKind::VoteResponse if !message.reject => {
                self.votes_for(member, message.to, term, broken);
                let kept = self.kept.entry(member).or_default();
                // Or a newer term, in which this one's vote means nothing any more.
                let newest = kept.ballots.last().map_or(Term(0), |(term, _)| *term);
                let is_kept = kept.ballots.contains(&(term, message.to)) || newest > term;
                if term > kept.began_in && !is_kept {
                    broken.push(Broken {
                        claim: "votes_are_durable",
                        what: format!(
                            "n{member} votes for n{} in term {term}, and has not written it",
                            message.to
                        ),
                    });
                }
                let own = engine.status().last;
                // An entry of this very term came after the vote.
                if let Some(candidate) = self.candidates.get(&(message.to, term))
                    && own.term < term
                    && *candidate < own
                {
                    broken.push(Broken {
                        claim: "votes_for_logs_as_new",
                        what: format!(
                            "n{member} has {own} and votes for n{} with {candidate}",
                            message.to
                        ),
                    });
                }
            }
            MessageKind::AppendResponse if !message.reject && term == engine.status().term => {
                let index = message.position.index;
                // What was cut off since is another entry now; the answer is of the past.
                if let Some(term) = engine.term_at(index) {
                    let at = LogPosition { term, index };
                    let kept = self.kept.entry(member).or_default();
                    if !kept.has(at) {
                        let newest = kept.entries.last();
                        broken.push(Broken {
                            claim: "acknowledged_is_durable",
                            what: format!("n{member} acknowledges {at}; its disk ends with {newest:?} behind {}", kept.state),
                        });
                    }
                }
            }
            _ => {}
        }
    }
}

fn look(engine: &dyn Engine) -> Seen {
    let status = engine.status();
    Seen {
        term: status.term,
        role: status.role,
        commit: status.commit,
        last: status.last,
        membership: engine.membership().clone(),
    }
}

fn is_majority(membership: &Membership, has: impl Fn(&MemberId) -> bool) -> bool {
    let of = |voters: &[MemberId]| {
        voters.is_empty() || 2 * voters.iter().filter(|voter| has(voter)).count() > voters.len()
    };
    of(&membership.voters) && of(&membership.voters_outgoing)
}

fn fingerprint(entry: &Entry) -> u64 {
    let mut hash = rng::mix(entry.kind as u64);
    for bytes in [&entry.data, &entry.context] {
        hash = rng::mix(hash ^ bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = rng::mix(hash ^ u64::from_le_bytes(word));
        }
    }
    hash
}
