//! How writes go: admitted, batched, proposed by the leader, forwarded by everybody else; and what the
//! leader decides about a change of the membership before the engine sees it.

use super::{DIGEST_ENTRIES, DIGEST_EVERY, DigestTimer, Node, PROMOTE_PERCENT};
use crate::effects::{Refused, Tag};
use crate::proposals::ROUNDS_MAX;
use crate::system::{MemberChange, SYSTEM, SystemCommand, SystemRefusal};
use crate::versions::Versions;
use base::limits::{
    APPLY_LAG_MAX, MEMBERS_MAX, PROPOSALS_WAITING_MAX, REQUEST_BYTES_MAX, REQUEST_OVERHEAD_BYTES,
};
use base::{Change, Mark, MemberId, Mutant, PeerMessage};
use bytes::Bytes;
use consensus::Refused as Engine;
use store::command::{Batch, Command, Identity};

impl Node {
    pub(super) fn admit(&self, bytes: usize) -> Result<(), Refused> {
        if !self.serves() {
            return Err(Refused::Stopped);
        }
        if bytes > REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES {
            return Err(Refused::TooLarge);
        }
        if !self.proposals.has_room(bytes)
            || self.machine.n_outstanding() + self.bounced.n_waiting() >= PROPOSALS_WAITING_MAX
            || self.machine.lag() > APPLY_LAG_MAX
        {
            return Err(Refused::Busy);
        }
        Ok(())
    }

    pub(super) fn next_tag(&mut self) -> Tag {
        self.last_tag += 1;
        // A sum, so that tags go on rising after 2³² of them.
        Tag((u64::from(self.config.incarnation) << 32) + self.last_tag)
    }

    /// Whether this leader may write: it has applied the first entry of its term, and with it every
    /// entry of its predecessors, so its stamps are later than all of theirs.
    pub(super) fn may_lead(&self) -> bool {
        self.leadership.is_self && self.machine.state().applied().term == self.leadership.term
    }

    pub(super) fn flush_proposals(&mut self) {
        self.end_rounds();
        if self.proposals.is_empty() {
            return;
        }
        if self.leadership.is_self {
            self.propose_round();
        } else if !self.leadership.leader.is_none() {
            self.forward_all();
        }
    }

    fn end_rounds(&mut self) {
        if self.rounds.is_empty() {
            return;
        }
        let commit = self.replica.status().commit;
        while self.rounds.pop_front_if(|last| *last <= commit).is_some() {
            self.gathering.committed(self.proposals.len(), self.now);
        }
    }

    fn propose_round(&mut self) {
        // Appends would keep the others from electing somebody whose disk works (rule R16).
        if self.replica.disk_hangs(self.now) {
            return;
        }
        if !self.gathering.is_over(self.proposals.len(), self.now) {
            Mark::Gathered.reach();
            return;
        }
        // A second change of the membership would only meet the engine's rule if it were not held back here.
        let is_greedy = self.config.mutants.has(Mutant::SpecTwoChanges);
        let n_rounds_max = if is_greedy { usize::MAX } else { ROUNDS_MAX };
        while self.may_lead() && self.rounds.len() < n_rounds_max && !self.proposals.is_empty() {
            let mut commands = self.proposals.take_batch(stands_alone);
            commands.retain(|command| self.is_due(command));
            if commands.is_empty() {
                continue;
            }
            if let [command] = &commands[..]
                && let Some(change) = configuration_change(command)
            {
                if !self.propose_change(change, commands) {
                    return;
                }
                continue;
            }
            let batch = self.stamp(commands);
            match self.replica.propose(batch.encode()) {
                Ok(index) => {
                    self.rounds.push_back(index);
                    self.gathering.proposed(batch.commands.len(), self.now);
                }
                // Nothing that is admitted is so large; whatever it is, it must not block the rest.
                Err(Engine::TooLarge { .. }) => {}
                // The engine takes none now (leadership is being handed over): keep them.
                Err(_) => {
                    self.proposals.put_back(batch.commands);
                    return;
                }
            }
        }
    }

    /// Whether a command that waited is still to be proposed: not one whose client has given up, and
    /// not one that has come twice. Asked of a leader that has applied all that was before its term.
    fn is_due(&self, command: &Command) -> bool {
        if let Some(version) = raised_by(command) {
            return self.all_know(version);
        }
        let is_leaders_word = !may_come_from_outside(command);
        if command.origin == self.config.member {
            return is_leaders_word || self.machine.expects(Tag(command.tag));
        }
        is_leaders_word
            || !self.machine.has_passed(command)
            || self.config.mutants.has(Mutant::DoubleApplyOnRetry)
    }

    /// The office is lost, and with it what only a leader may say: an expiry that waited here must not
    /// be proposed in a later office, which owes every lease its full time. What others have forwarded
    /// goes back to them, since no leader takes it from anybody else.
    pub(super) fn drop_office(&mut self) {
        let member = self.config.member;
        let mut of_others = Vec::new();
        self.proposals.retain(|command| {
            let is_own = command.origin == member;
            let may_go_on = may_come_from_outside(command);
            if may_go_on && !is_own {
                of_others.push(command.clone());
            }
            may_go_on && is_own
        });
        self.give_back_all(of_others);
        self.versions = Versions::default();
    }

    /// Gives a batch its version and the leader's time, which is later than every stamp before it.
    pub(super) fn stamp(&mut self, commands: Vec<Command>) -> Batch {
        self.time = self
            .time
            .max(self.machine.state().time())
            .next(self.stamp_wall_ms());
        let raised = commands.iter().filter_map(raised_by).max();
        Batch {
            apply_version: self.apply_version().max(raised.unwrap_or(0)),
            time: self.time,
            commands,
        }
    }

    pub(super) fn forward_all(&mut self) {
        while !self.proposals.is_empty() {
            let mut commands = self.proposals.take_batch(|_| false);
            commands.retain(|command| self.machine.expects(Tag(command.tag)));
            if commands.is_empty() {
                continue;
            }
            let batch = Batch {
                apply_version: self.apply_version(),
                time: self.meant(),
                commands,
            };
            Mark::Forwarded.reach();
            let message = PeerMessage::Forward {
                batch: batch.encode(),
            };
            self.send.push((self.leadership.leader, message));
        }
    }

    /// Commands that landed on a follower. Each follower's tags rise, so a command that comes twice is
    /// known by its tag and not taken again. A member that has just lost its office gives them back; one that never
    /// had it drops them: their origin cannot know, and its clients time out.
    pub(super) fn receive_forward(&mut self, from: MemberId, batch: &Bytes) {
        let Ok(batch) = Batch::decode(batch) else {
            return;
        };
        if !self.leadership.is_self {
            return self.give_back(from, batch);
        }
        if !self.is_member(from) {
            return;
        }
        for command in batch.commands {
            let identity = command.identity.as_ref().map_or(0, Identity::encoded_len);
            let size = command.request.len() + identity;
            let is_again = self.forwarded.has_passed(from, command.tag)
                && !self.config.mutants.has(Mutant::DoubleApplyOnRetry);
            if is_again {
                Mark::ForwardedTwice.reach();
            }
            if command.origin != from
                || is_again
                || size > REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES
                || !self.proposals.has_room(size)
                || !may_come_from_outside(&command)
            {
                continue;
            }
            self.forwarded.note(from, command.tag);
            self.proposals.push(command);
        }
    }

    pub(super) fn propose_system(&mut self, command: &SystemCommand) {
        let request = command.encode();
        if self.proposals.has_room(request.len()) {
            let tag = self.next_tag();
            let origin = self.config.member;
            self.proposals.push(Command {
                dialect: SYSTEM,
                origin,
                tag: tag.0,
                client: None,
                identity: None,
                request,
            });
        }
    }

    pub(super) fn propose_digest(&mut self) {
        let due = self.digest.entries >= DIGEST_ENTRIES
            || (self.digest.entries > 0 && self.now.since(self.digest.last) >= DIGEST_EVERY);
        if due {
            let state = self.machine.state();
            let (index, digest) = (state.applied().index, state.digest());
            self.propose_system(&SystemCommand::Digest { index, digest });
            // The digest's own entry must not ask for another one.
            self.digest = DigestTimer {
                entries: 0,
                last: self.now,
            };
        }
    }

    /// Puts a change of the configuration to the engine, or its refusal into the log. False when the
    /// engine takes nothing now: then the change waits.
    fn propose_change(&mut self, change: MemberChange, mut commands: Vec<Command>) -> bool {
        let refusal = match self.validate(&change) {
            Err(refusal) => refusal,
            Ok(step) => {
                let batch = self.stamp(commands);
                match self.replica.propose_change(vec![step], batch.encode()) {
                    Ok(index) => {
                        self.rounds.push_back(index);
                        return true;
                    }
                    // Not now: the office is given away, or the change before is decided and not applied here yet.
                    // It waits for that one, as at etcd, which takes one after the other.
                    Err(
                        Engine::NotLeader
                        | Engine::NotYet
                        | Engine::Transferring
                        | Engine::Busy
                        | Engine::ChangePending,
                    ) => {
                        self.proposals.put_back(batch.commands);
                        return false;
                    }
                    // Never, whatever the members of the state say: those who vote would be too few.
                    Err(Engine::InvalidChange(_)) => {
                        commands = batch.commands;
                        SystemRefusal::NotEnoughStarted
                    }
                    // What the engine refuses to other calls only.
                    Err(_) => {
                        commands = batch.commands;
                        SystemRefusal::Unhealthy
                    }
                }
            }
        };
        for mut command in commands {
            command.request = SystemCommand::Refuse(refusal).encode();
            self.proposals.push(command);
        }
        true
    }

    /// Decides a change of the configuration against what is applied. Only one change is ever under
    /// way (the engine sees to that), so what is applied is what it will meet.
    pub(super) fn validate(&self, change: &MemberChange) -> Result<Change, SystemRefusal> {
        let state = self.machine.state();
        let members = state.members();
        let known = members.iter().find(|member| member.id == change.member());
        match change {
            MemberChange::Add {
                member,
                peer_urls,
                is_learner,
            } => {
                if known.is_some() || state.was_removed(*member) {
                    return Err(SystemRefusal::MemberExists);
                }
                if members
                    .iter()
                    .any(|m| m.peer_urls.iter().any(|url| peer_urls.contains(url)))
                {
                    return Err(SystemRefusal::PeerUrlExists);
                }
                if members.len() >= MEMBERS_MAX {
                    return Err(SystemRefusal::TooManyMembers);
                }
                let learners = members.iter().filter(|member| member.is_learner).count();
                if *is_learner {
                    if learners >= self.config.learners_max {
                        return Err(SystemRefusal::TooManyLearners);
                    }
                    return Ok(Change::AddLearner(*member));
                }
                let voters: Vec<_> = members.iter().filter(|m| !m.is_learner).collect();
                let started = voters.iter().filter(|m| !m.name.is_empty()).count();
                // A lone member may always get a second one.
                let is_strict = self.config.strict_reconfig && voters.len() > 1;
                if is_strict && started < voters.len().div_ceil(2) + 1 {
                    return Err(SystemRefusal::NotEnoughStarted);
                }
                Ok(Change::AddVoter(*member))
            }
            MemberChange::Promote { member } => {
                let Some(known) = known else {
                    return Err(SystemRefusal::MemberNotFound);
                };
                if !known.is_learner {
                    return Err(SystemRefusal::NotLearner);
                }
                let matched = self.replica.matched(*member);
                let last = self.replica.status().last.index;
                if u128::from(matched.0) * 100 < u128::from(last.0) * u128::from(PROMOTE_PERCENT) {
                    return Err(SystemRefusal::LearnerNotReady);
                }
                let voters = members.iter().filter(|member| !member.is_learner);
                let (mut n_voters, mut n_started) = (1, 1);
                for voter in voters {
                    n_voters += 1;
                    n_started += usize::from(!voter.name.is_empty());
                }
                if self.config.strict_reconfig && n_started < n_voters / 2 + 1 {
                    return Err(SystemRefusal::NotEnoughStarted);
                }
                Ok(Change::AddVoter(*member))
            }
            MemberChange::Remove { member } => {
                let Some(known) = known else {
                    return Err(SystemRefusal::MemberNotFound);
                };
                let rest = members.iter().filter(|m| !m.is_learner && m.id != *member);
                let (mut voters, mut started) = (0, 0);
                for other in rest {
                    voters += 1;
                    started += usize::from(!other.name.is_empty());
                }
                let is_strict = self.config.strict_reconfig;
                let too_few = voters == 0 || (is_strict && started < voters / 2 + 1);
                if !known.is_learner && too_few {
                    return Err(SystemRefusal::NotEnoughStarted);
                }
                Ok(Change::Remove(*member))
            }
            MemberChange::Update { .. } | MemberChange::Publish { .. } => {
                Err(SystemRefusal::Malformed)
            }
        }
    }
}

/// Whether a command must be an entry of its own: a change of the configuration is the engine's business.
fn stands_alone(command: &Command) -> bool {
    configuration_change(command).is_some()
}

/// The change of the configuration that a command asks for, if it does.
fn configuration_change(command: &Command) -> Option<MemberChange> {
    if command.dialect != SYSTEM {
        return None;
    }
    match SystemCommand::decode(&command.request) {
        Some(SystemCommand::Member(change)) if change.is_configuration() => Some(change),
        _ => None,
    }
}

/// The apply version to which a command raises.
fn raised_by(command: &Command) -> Option<u16> {
    if command.dialect != SYSTEM {
        return None;
    }
    match SystemCommand::decode(&command.request) {
        Some(SystemCommand::Raise(version)) => Some(version),
        _ => None,
    }
}

/// Whether a follower may ask for this: anything of a front, and membership, but not what is only ever
/// a leader's own word.
fn may_come_from_outside(command: &Command) -> bool {
    command.dialect != SYSTEM
        || SystemCommand::decode(&command.request).is_some_and(|c| c.may_be_forwarded())
}
