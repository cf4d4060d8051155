//! How committed entries become state.
//!
//! The machine owns the store and applies entries in index order, one command after another, each by
//! its dialect. It takes bounded steps, so that a member answers heartbeats while a long queue is
//! worked off. What an entry did becomes readable all at once, when the entry ends: applied position
//! and effects are one unit (rule R1), and a root is never published in the middle of an entry.
//!
//! It is pure: its only inputs are entries and the state that it started from, so all members compute
//! the same. The proof is carried along: every entry folds into a rolling digest, the leader puts its
//! own digest into the log from time to time, and whoever finds another one has diverged (rule R12).

use crate::config::NodeConfig;
use crate::effects::{Answer, Dropped, StopReason, Tag};
use crate::proposals::Tags;
use crate::retries::{self, Numbered, RetryRefusal};
use crate::system::{MemberChange, SYSTEM, SystemCommand, SystemRefusal};
use base::{
    Entry, EntryKind, Index, LeaseId, Mark, MemberId, Membership, Mutant, Revision, invariant,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use store::command::{Batch, Command, DialectId};
use store::members::Member;
use store::{Dialect, Event, LeaseChange, Outcome, RootId, Stamp, State, Store};

/// Entries whose digests are remembered, to compare with the leader's.
const DIGESTS_KEPT: usize = 4096;

/// A command counts once, and once more for each so many bytes: what it costs grows with what it says.
const BYTES_AS_A_COMMAND: usize = 512;

/// What kind of entry a command stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Within {
    Normal,
    Change,
    /// A change that the engine could not carry out.
    Misfit,
}

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) events: Vec<(RootId, Event)>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) leases: Vec<LeaseChange>,
    pub(crate) entries: u64,
    /// Of those, how many held nothing but a digest.
    pub(crate) digests: u64,
    pub(crate) bytes: u64,
    pub(crate) stop: Option<StopReason>,
}

/// The applying half of a member.
pub(crate) struct Machine {
    store: Store,
    dialects: BTreeMap<DialectId, Box<dyn Dialect + Send>>,
    queue: VecDeque<Entry>,
    digests: VecDeque<(Index, u64)>,
    outstanding: BTreeSet<Tag>,
    /// Which commands of each origin were applied in this life.
    seen: Tags,
    member: MemberId,
    incarnation: u32,
    /// Versions swept by the stores before this one.
    swept_before: u64,
    apply_version_max: u16,
}

impl Machine {
    pub(crate) fn new(
        config: &NodeConfig,
        state: State,
        dialects: Vec<Box<dyn Dialect + Send>>,
    ) -> Machine {
        let mut machine = Machine {
            store: adopt(state, config),
            dialects: dialects
                .into_iter()
                .map(|dialect| (dialect.id(), dialect))
                .collect(),
            queue: VecDeque::new(),
            digests: VecDeque::new(),
            outstanding: BTreeSet::new(),
            seen: Tags::default(),
            member: config.member,
            incarnation: config.incarnation,
            swept_before: 0,
            apply_version_max: config.apply_version_max,
        };
        machine.note_digest();
        machine
    }

    /// The state as of the last applied entry.
    pub(crate) fn state(&self) -> &State {
        self.store.state()
    }

    /// An immutable root of it.
    pub(crate) fn publish(&mut self) -> State {
        self.store.publish()
    }

    /// Queues committed entries.
    pub(crate) fn push(&mut self, entries: Vec<Entry>) {
        self.queue.extend(entries);
    }

    /// Entries that wait.
    pub(crate) fn lag(&self) -> u64 {
        self.queue.len() as u64
    }

    /// Whether versions that compaction has hidden are still to be removed.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.store.is_sweeping()
    }

    /// Versions that compaction has removed in this life.
    pub(crate) fn versions_swept(&self) -> u64 {
        self.swept_before + self.store.versions_swept()
    }

    /// Clients of this member that wait for an outcome.
    pub(crate) fn n_outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether a client of this member waits for `tag`.
    pub(crate) fn expects(&self, tag: Tag) -> bool {
        self.outstanding.contains(&tag)
    }

    /// Whether this command, or a later one of its origin, was applied in this life of the member.
    pub(crate) fn has_passed(&self, command: &Command) -> bool {
        self.seen.has_passed(command.origin, command.tag)
    }

    /// This member has a client that waits for `tag`.
    pub(crate) fn expect(&mut self, tag: Tag) {
        self.outstanding.insert(tag);
    }

    /// The next entry, if it changes the membership: the caller must first ask the engine what the
    /// membership is then, and pass it to [`Machine::apply_change`].
    pub(crate) fn next_change(&self) -> Option<&Entry> {
        self.queue
            .front()
            .filter(|entry| entry.kind == EntryKind::Change)
    }

    /// Removes versions that compaction has hidden: looks at `steps` of them.
    pub(crate) fn sweep(&mut self, steps: usize) {
        self.store.sweep(steps);
    }

    /// Applies entries until one changes the membership, `commands_max` are done or the queue is empty.
    /// At least one entry is applied if any waits, however long it is. Returns what was done: entries
    /// and their commands, long ones counted several times.
    pub(crate) fn step(&mut self, commands_max: usize, out: &mut Applied) -> usize {
        let mut done = 0;
        while done < commands_max && self.next_change().is_none() {
            let Some((entry, batch)) = self.next(out) else {
                break;
            };
            let bytes: usize = batch.commands.iter().map(|it| it.request.len()).sum();
            done += 1 + batch.commands.len() + bytes / BYTES_AS_A_COMMAND;
            self.apply_batch(&batch, Within::Normal, out);
            self.end(&entry, out);
        }
        done
    }

    /// Applies the entry of [`Machine::next_change`]. Without a membership the engine could not carry
    /// the change out, and neither do its commands.
    pub(crate) fn apply_change(&mut self, membership: Option<Membership>, out: &mut Applied) {
        let Some((entry, batch)) = self.next(out) else {
            return;
        };
        let within = match membership {
            Some(membership) => {
                self.seen.retain(&membership);
                self.store.set_membership(membership);
                Within::Change
            }
            None => Within::Misfit,
        };
        self.apply_batch(&batch, within, out);
        self.end(&entry, out);
    }

    /// Takes the next entry with its commands. One that this build cannot read stays where it is, as
    /// if it had never been committed: a newer build must find it unapplied.
    fn next(&mut self, out: &mut Applied) -> Option<(Entry, Batch)> {
        if out.stop.is_some() {
            return None;
        }
        let entry = self.queue.front()?;
        let bytes = match entry.kind {
            EntryKind::Normal => &entry.data,
            EntryKind::Change => &entry.context,
        };
        let batch = if bytes.is_empty() {
            Ok(Batch::default())
        } else {
            Batch::decode(bytes)
        };
        let raised = self.store.state().apply_version();
        let needs = match batch {
            Ok(mut batch) => {
                // A leader that had not applied the raise yet stamped lower; the log's order decides.
                batch.apply_version = batch.apply_version.max(raised);
                if batch.apply_version <= self.apply_version_max {
                    return Some((self.queue.pop_front()?, batch));
                }
                batch.apply_version
            }
            Err(_) => u16::MAX,
        };
        out.stop = Some(StopReason::TooOld { needs });
        None
    }

    fn end(&mut self, entry: &Entry, out: &mut Applied) {
        let next = self.store.state().applied().index.next();
        invariant!(
            entry.position.index == next,
            "{} where {next} was due",
            entry.position
        );
        self.store.set_applied(entry.position);
        self.note_digest();
        out.entries += 1;
        out.bytes += entry.size() as u64;
    }

    /// Remembers the digest at the applied index, to compare it with the leader's.
    fn note_digest(&mut self) {
        if self.digests.len() == DIGESTS_KEPT {
            self.digests.pop_front();
        }
        let state = self.store.state();
        self.digests
            .push_back((state.applied().index, state.digest()));
    }

    fn apply_batch(&mut self, batch: &Batch, within: Within, out: &mut Applied) {
        for command in &batch.commands {
            let stamp = Stamp {
                time: batch.time,
                apply_version: batch.apply_version,
                origin: command.origin,
            };
            let (outcome, revision) = self.apply_once(command, &stamp, within, out);
            self.answer(command, outcome, revision, out);
            self.seen.note(command.origin, command.tag);
        }
        // The next leader's stamps follow this one's, also when no command here has written anything.
        if self.store.state().time() < batch.time {
            let stamp = Stamp {
                time: batch.time,
                apply_version: batch.apply_version,
                origin: self.member,
            };
            let effects = self.store.begin(RootId(0), &stamp).finish();
            self.note(effects, &stamp, out);
        }
        if let [only] = &batch.commands[..]
            && only.dialect == SYSTEM
            && matches!(
                SystemCommand::decode(&only.request),
                Some(SystemCommand::Digest { .. })
            )
        {
            out.digests += 1;
        }
    }

    fn answer(
        &mut self,
        command: &Command,
        outcome: Outcome,
        revision: Revision,
        out: &mut Applied,
    ) {
        let tag = Tag(command.tag);
        if command.origin == self.member && self.outstanding.remove(&tag) {
            out.answers.push(Answer {
                tag,
                revision,
                outcome: Ok(outcome),
            });
        }
    }

    /// Decides a command, unless it is a session's and was decided before. Gives the revision that the answer tells,
    /// too.
    fn apply_once(
        &mut self,
        command: &Command,
        stamp: &Stamp,
        within: Within,
        out: &mut Applied,
    ) -> (Outcome, Revision) {
        // The system's own commands belong to no session, whatever a forwarded batch says.
        let client = command.client.filter(|_| command.dialect != SYSTEM);
        let Some((session, sequence)) = client.map(|it| (LeaseId(it.0 as i64), it.1)) else {
            let outcome = self.apply_command(command, stamp, within, out);
            return (outcome, self.store.state().revision());
        };
        match self.look_back(command, session, sequence) {
            Numbered::Before(outcome, revision)
                if !self.store.has_mutant(Mutant::RetryDecidedAgain) =>
            {
                Mark::RetryAnswered.reach();
                return (outcome, revision);
            }
            Numbered::Barred(outcome) => return (outcome, self.store.state().revision()),
            Numbered::Refused(refusal) => {
                Mark::RetryRefused.reach();
                return (refusal.outcome(), self.store.state().revision());
            }
            Numbered::Before(..) | Numbered::New => {}
        }
        let outcome = self.apply_command(command, stamp, within, out);
        let revision = self.store.state().revision();
        let owner = retries::owner_of(self.store.state(), command.identity.as_ref());
        let mut txn = self.store.begin(RootId(0), stamp);
        let (request, done) = (&command.request, (&outcome, revision));
        retries::remember(&mut txn, session, sequence, request, done, owner);
        let effects = txn.finish();
        self.note(effects, stamp, out);
        (outcome, revision)
    }

    /// What `command` comes to as a session's write of this number, as of now, before it is decided.
    fn look_back(&self, command: &Command, session: LeaseId, sequence: u64) -> Numbered {
        let state = self.store.state();
        // What became of the first try is told only to who might ask for it now.
        if let Some(dialect) = self.dialects.get(&command.dialect)
            && let Err(outcome) = dialect.admit(state, command.identity.as_ref(), &command.request)
        {
            return Numbered::Barred(outcome);
        }
        let owner = retries::owner_of(state, command.identity.as_ref());
        if retries::is_anothers(state, session, owner) {
            return Numbered::Refused(RetryRefusal::AnothersSession);
        }
        retries::look(state, session, sequence, &command.request)
    }

    /// What a numbered `command` would answer if it were applied now; nothing when it would be decided.
    pub(crate) fn decided(&self, command: &Command) -> Option<(Outcome, Revision)> {
        let (session, sequence) = command.client?;
        let now = self.store.state().revision();
        match self.look_back(command, LeaseId(session as i64), sequence) {
            Numbered::New => None,
            Numbered::Before(outcome, revision) => Some((outcome, revision)),
            Numbered::Barred(outcome) => Some((outcome, now)),
            Numbered::Refused(refusal) => Some((refusal.outcome(), now)),
        }
    }

    /// Notes what a transaction did. What sessions did last goes with their leases.
    fn note(&mut self, effects: store::Effects, stamp: &Stamp, out: &mut Applied) {
        for change in &effects.leases {
            if let LeaseChange::Revoked(lease) = change
                && !self.store.has_mutant(Mutant::RetrySessionOutlivesLease)
            {
                let mut txn = self.store.begin(RootId(0), stamp);
                retries::forget(&mut txn, *lease);
                txn.finish();
            }
        }
        out.events.extend(effects.events);
        out.leases.extend(effects.leases);
    }

    fn apply_command(
        &mut self,
        command: &Command,
        stamp: &Stamp,
        within: Within,
        out: &mut Applied,
    ) -> Outcome {
        if command.dialect == SYSTEM {
            return match SystemCommand::decode(&command.request) {
                Some(SystemCommand::Member(_)) if within == Within::Misfit => {
                    refused(SystemRefusal::Unhealthy)
                }
                // A change of the configuration means something only where the engine has made it.
                Some(SystemCommand::Member(change))
                    if change.is_configuration() != (within == Within::Change) =>
                {
                    refused(SystemRefusal::Malformed)
                }
                Some(request) => self.apply_system(request, stamp, out),
                None => refused(SystemRefusal::Malformed),
            };
        }
        let Some(dialect) = self.dialects.get(&command.dialect) else {
            return refused(SystemRefusal::UnknownDialect);
        };
        let mut txn = self.store.begin(dialect.root(), stamp);
        txn.act_for(command.identity.clone());
        let outcome = dialect.apply(&mut txn, &command.request, stamp);
        let effects = txn.finish();
        self.note(effects, stamp, out);
        outcome
    }

    fn apply_system(
        &mut self,
        command: SystemCommand,
        stamp: &Stamp,
        out: &mut Applied,
    ) -> Outcome {
        match command {
            SystemCommand::Member(change) => self.apply_member(change, stamp, out),
            SystemCommand::Expire(leases) => {
                for (lease, granted) in leases {
                    // A lease of the same number granted since then is another lease.
                    if self
                        .store
                        .state()
                        .lease(lease)
                        .is_some_and(|l| l.granted == granted)
                    {
                        let mut txn = self.store.begin(RootId(0), stamp);
                        txn.lease_revoke(lease);
                        let effects = txn.finish();
                        self.note(effects, stamp, out);
                    } else {
                        Mark::ExpiryOutdated.reach();
                    }
                }
                Outcome::done(Bytes::new())
            }
            SystemCommand::Digest { index, digest } => {
                let ours = self
                    .digests
                    .iter()
                    .find(|(at, _)| *at == index)
                    .map(|(_, d)| *d);
                if let Some(ours) = ours.filter(|ours| *ours != digest) {
                    out.stop = Some(StopReason::Diverged {
                        index,
                        theirs: digest,
                        ours,
                    });
                }
                Outcome::done(Bytes::new())
            }
            SystemCommand::Refuse(refusal) => refused(refusal),
            SystemCommand::Raise(version) if version <= stamp.apply_version => {
                self.store.raise_apply_version(version);
                Outcome::done(Bytes::new())
            }
            // Whoever does not know it could not have stopped here.
            SystemCommand::Raise(_) => refused(SystemRefusal::Malformed),
        }
    }

    fn apply_member(&mut self, change: MemberChange, stamp: &Stamp, out: &mut Applied) -> Outcome {
        let known = self.store.state().member(change.member());
        let was_removed = self.store.state().was_removed(change.member());
        if let MemberChange::Update { member, peer_urls } = &change
            && known.is_some()
        {
            let members = self.store.state().members();
            let mut others = members.iter().filter(|other| other.id != *member);
            if others.any(|other| other.peer_urls.iter().any(|url| peer_urls.contains(url))) {
                return refused(SystemRefusal::PeerUrlExists);
            }
        }
        let mut txn = self.store.begin(RootId(0), stamp);
        let done = match (change, known) {
            (
                MemberChange::Add {
                    member,
                    peer_urls,
                    is_learner,
                },
                None,
            ) if !was_removed => {
                txn.member_put(&Member {
                    id: member,
                    name: String::new(),
                    peer_urls,
                    client_urls: Vec::new(),
                    is_learner,
                });
                Ok(())
            }
            (MemberChange::Add { .. }, _) => Err(SystemRefusal::MemberExists),
            (_, None) => Err(SystemRefusal::MemberNotFound),
            (MemberChange::Promote { .. }, Some(member)) => {
                txn.member_put(&Member {
                    is_learner: false,
                    ..member
                });
                Ok(())
            }
            (MemberChange::Remove { member }, Some(_)) => {
                txn.member_remove(member);
                Ok(())
            }
            (MemberChange::Update { peer_urls, .. }, Some(member)) => {
                txn.member_put(&Member {
                    peer_urls,
                    ..member
                });
                Ok(())
            }
            (
                MemberChange::Publish {
                    name, client_urls, ..
                },
                Some(member),
            ) => {
                txn.member_put(&Member {
                    name,
                    client_urls,
                    ..member
                });
                Ok(())
            }
        };
        let effects = txn.finish();
        self.note(effects, stamp, out);
        match done {
            Ok(()) => Outcome::done(Bytes::new()),
            Err(refusal) => refused(refusal),
        }
    }

    /// Replaces everything by a received state. Answers for commands that the snapshot has passed are
    /// not known here and never will be.
    pub(crate) fn install(&mut self, state: State, config: &NodeConfig, out: &mut Applied) {
        self.swept_before = self.versions_swept();
        self.store = adopt(state, config);
        self.queue.clear();
        self.digests.clear();
        self.note_digest();
        let revision = self.store.state().revision();
        for tag in std::mem::take(&mut self.outstanding) {
            Mark::PassedBySnapshot.reach();
            out.answers.push(Answer {
                tag,
                revision,
                outcome: Err(Dropped::PassedBySnapshot),
            });
        }
    }

    /// Forgets a waiting client.
    pub(crate) fn forget(&mut self, tag: Tag) {
        self.outstanding.remove(&tag);
    }

    /// Checks the invariants.
    pub(crate) fn check(&self) {
        self.store.state().check();
        for session in retries::sessions(self.store.state()) {
            invariant!(
                self.store.state().lease(session).is_some(),
                "session {session} is remembered and its lease is gone"
            );
        }
        for tag in &self.outstanding {
            let incarnation = (tag.0 >> 32) as u32;
            // The counter below may have carried into it, once in 2³² proposals.
            invariant!(
                incarnation >= self.incarnation,
                "tag {tag:?} is of a former life"
            );
        }
    }
}

/// A refusal as a replicated outcome.
fn refused(refusal: SystemRefusal) -> Outcome {
    Outcome::refused(refusal as u16, Bytes::new())
}

/// A store that goes on from `state`.
fn adopt(state: State, config: &NodeConfig) -> Store {
    let mut store = Store::from_state(state);
    store.plant(config.mutants, config.member);
    store
}
