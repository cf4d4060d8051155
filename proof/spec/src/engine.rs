//! Raft as a second engine behind [`consensus::Engine`]: to be read beside the paper, and to be compared
//! with the shipped one.
//!
//! ```text
//!   engine.rs            what a member knows; terms and roles                      §5.1
//!     elections.rs       asking for votes, giving them, winning                    §5.2 §5.4.1, thesis §9.6
//!     replication.rs     appending, agreeing, deciding; snapshots                  §5.3 §5.4.2 §7
//!     calls.rs           what the caller may ask: `Engine`; reads, transfer, joint changes
//!     log.rs quorum.rs peers.rs
//! ```
//!
//! It is written for the reader: the log is a `Vec`, nothing is cached, and one rule holds for what may be
//! sent before the disk has answered: *a leader's own messages when its term and vote are durable, everything
//! else when everything is.* It needs no more than the shipped engine gives, and may do less: it sends what
//! is missing as soon as it knows, without a window. Timers are the shipped engine's ([`consensus::timer`]), so
//! that a comparison is about the rules.
//!
//! The rules of consensus are broken *here* for the simulator's planted bugs ([`base::Mutant`], those that name
//! the specification): the shipped engine keeps no such branches.

mod calls;
mod elections;
mod log;
mod peers;
mod quorum;
mod replication;

use self::log::Log;
use self::peers::Peers;
use base::{
    Entry, HardState, Index, LogPosition, MemberId, Membership, Message, MessageKind, Mutant,
    SnapshotMeta, Term, invariant,
};
use bytes::Bytes;
use consensus::timer::Slot;
use consensus::{Config, Engine, Misconfigured, Ready, Restored, Role, RoleChange};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One member's consensus, by the book.
pub struct SpecRaft {
    config: Config,
    membership: Membership,

    // What must survive a restart (figure 2): on disk before anybody hears of it.
    term: Term,
    vote: MemberId,
    log: Log,

    // What need not.
    role: Role,
    leader: MemberId,
    commit: Index,
    /// The last decided entry, or state, that was handed out.
    handed: Index,
    applied: Index,
    recovering: Option<LogPosition>,

    // A candidate's.
    votes: BTreeMap<MemberId, bool>,
    /// The leader asked for this candidacy: voters need not be loyal to it.
    is_summoned: bool,
    has_met_leader: bool,
    candidacies: u32,

    // A leader's.
    peers: Peers,
    reads: VecDeque<ReadRound>,
    last_round: u64,
    transfer: Option<Transfer>,
    provided: Option<SnapshotMeta>,
    snapshot_wanted: bool,

    // Time, in ticks.
    ticks: u64,
    /// Since a leader's word, a vote given or a campaign begun; of a leader, since its last heartbeat.
    elapsed: usize,
    /// Of a leader: since it last looked whether a quorum answers.
    unchecked: usize,

    disk: Disk,
    out: Ready,
    told: RoleChange,
}

/// A round of ReadIndex that waits for its quorum.
#[derive(Debug)]
struct ReadRound {
    round: u64,
    context: u64,
    index: Index,
    acknowledged: BTreeSet<MemberId>,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    to: MemberId,
    ticks_left: usize,
}

/// What is durable and what is on its way.
#[derive(Debug, Default)]
struct Disk {
    /// Entries up to here are durable.
    persisted: Index,
    /// Term and vote that are durable.
    ballot: (Term, MemberId),
    /// Term and vote as last given to the disk.
    given: (Term, MemberId),
    /// From here on entries were not given to the disk yet.
    unwritten: Index,
    under_way: VecDeque<Write>,
    last_number: u64,
}

/// One write under way.
#[derive(Debug)]
struct Write {
    number: u64,
    since: u64,
    ballot: (Term, MemberId),
    /// The end of the log with it.
    end: LogPosition,
    /// What this member says it has when this is durable: the leader's term, and up to where.
    acknowledges: Option<(Term, Index)>,
}

impl SpecRaft {
    /// An engine that goes on from `restored`.
    ///
    /// # Errors
    /// When the restored log makes no sense.
    pub fn new(config: Config, restored: Restored) -> Result<SpecRaft, Misconfigured> {
        let Restored {
            hard_state,
            membership,
            snapshot,
            entries,
            applied,
            recovering,
        } = restored;
        let mut log = Log::default();
        log.begin_after(snapshot);
        for entry in entries {
            if entry.position.index != log.last().index.next() {
                return Err(Misconfigured(format!("a gap before {}", entry.position)));
            }
            log.push(entry);
        }
        let last = log.last();
        if applied < snapshot.index || applied > last.index {
            return Err(Misconfigured(format!(
                "applied {applied} is not in the log"
            )));
        }
        let on_disk = (hard_state.term, hard_state.vote);
        let (mut term, mut vote) = on_disk;
        if config.mutants.has(Mutant::SpecVoteForgotten) {
            vote = MemberId::NONE;
        }
        let least = recovering.map_or(last.term, |lost| lost.term.max(last.term));
        if term < least {
            (term, vote) = (least, MemberId::NONE);
        }
        if recovering.is_some() && vote.is_none() {
            // The vote may be gone with the entries: it helps nobody to a second leader.
            vote = config.member;
        }
        Ok(SpecRaft {
            disk: Disk {
                persisted: last.index,
                ballot: on_disk,
                given: on_disk,
                unwritten: last.index.next(),
                ..Disk::default()
            },
            commit: hard_state.commit.max(applied).min(last.index),
            told: RoleChange {
                term,
                ..RoleChange::default()
            },
            config,
            membership,
            term,
            vote,
            log,
            role: Role::Follower,
            leader: MemberId::NONE,
            handed: applied,
            applied,
            recovering,
            votes: BTreeMap::new(),
            is_summoned: false,
            has_met_leader: false,
            candidacies: 0,
            peers: Peers::new(),
            reads: VecDeque::new(),
            last_round: 0,
            transfer: None,
            provided: None,
            snapshot_wanted: false,
            ticks: 0,
            elapsed: 0,
            unchecked: 0,
            out: Ready::default(),
        })
    }

    /// The same, boxed: what a node takes for its engine.
    ///
    /// # Errors
    /// When the restored log makes no sense.
    pub fn start(
        config: Config,
        restored: Restored,
    ) -> Result<Box<dyn Engine + Send>, Misconfigured> {
        Ok(Box::new(SpecRaft::new(config, restored)?))
    }

    fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    fn own(&self) -> MemberId {
        self.config.member
    }

    /// §5.1: whoever learns of a later term is in it, and follows.
    fn follow(&mut self, term: Term, leader: MemberId) {
        if term > self.term {
            self.term = term;
            self.vote = MemberId::NONE;
        }
        self.role = Role::Follower;
        self.leader = leader;
        self.has_met_leader |= !leader.is_none();
        self.elapsed = 0;
        self.votes.clear();
        self.reads.clear();
        self.transfer = None;
        self.peers.clear();
    }

    /// Ticks of silence after which this member asks for votes.
    fn patience(&self) -> usize {
        let mut voters = [
            &self.membership.voters[..],
            &self.membership.voters_outgoing[..],
        ]
        .concat();
        voters.sort_unstable();
        voters.dedup();
        let slot = Slot {
            seed: self.config.seed,
            member: self.own(),
            term: self.term,
            role: self.role,
            leader: self.leader,
            voters: &voters,
            election_ticks: self.config.election_ticks,
        };
        // A cluster that has just started does not wait for a leader that never was.
        match self.has_met_leader || self.role == Role::Follower && self.candidacies > 0 {
            true => slot.ticks(),
            false => slot.start_ticks() << self.candidacies.min(5),
        }
    }

    fn send(&mut self, message: Message) {
        use MessageKind as Kind;
        let is_leaders = matches!(
            message.kind,
            Kind::Append | Kind::Heartbeat | Kind::Snapshot | Kind::TimeoutNow
        );
        // A leader's entries travel while its own disk writes them: its own copy counts when it is there.
        match is_leaders && self.disk.ballot == (self.term, self.vote) {
            true => self.out.send_now.push(message),
            false => self.out.send_after_persist.push(message),
        }
    }

    fn message(&self, kind: MessageKind, to: MemberId) -> Message {
        Message::new(kind, self.own(), to, self.term)
    }

    /// Takes what has piled up, with the entries and the ballot that are to be written.
    fn take_ready(&mut self) -> Option<Ready> {
        let end = self.commit.min(self.disk.persisted);
        if self.handed < end {
            self.out.committed = self.log.between(self.handed, end).to_vec();
            self.handed = end;
        }
        let entries: Vec<Entry> = match self.disk.unwritten.0.checked_sub(1) {
            Some(before) => self
                .log
                .between(Index(before), self.log.last().index)
                .to_vec(),
            None => Vec::new(),
        };
        let ballot = (self.term, self.vote);
        let must_sync =
            ballot != self.disk.given || !entries.is_empty() || self.out.snapshot.is_some();
        let role = RoleChange {
            role: self.role,
            term: self.term,
            leader: self.leader,
        };
        let role = (role != self.told).then_some(role);
        if !must_sync && role.is_none() && self.out == Ready::default() {
            return None;
        }
        let mut ready = std::mem::take(&mut self.out);
        if must_sync {
            self.disk.last_number += 1;
            let hard_state = HardState {
                term: self.term,
                vote: self.vote,
                commit: self.commit,
            };
            ready.hard_state = (ballot != self.disk.given).then_some(hard_state);
            self.disk.given = ballot;
            self.disk.unwritten = self.log.last().index.next();
            self.disk.under_way.push_back(Write {
                number: self.disk.last_number,
                since: self.ticks,
                ballot,
                end: self.log.last(),
                acknowledges: None,
            });
        }
        for message in &ready.send_after_persist {
            if message.kind == MessageKind::AppendResponse && !message.reject {
                let told = Some((message.term, message.position.index));
                match self.disk.under_way.back_mut() {
                    Some(write) => write.acknowledges = write.acknowledges.max(told),
                    None => self.recovering = still_recovering(self.recovering, told, &self.log),
                }
            }
        }
        ready.number = self.disk.last_number;
        ready.entries = entries;
        ready.must_sync = must_sync;
        ready.role = role;
        self.told = role.unwrap_or(self.told);
        Some(ready)
    }

    /// Everything up to `number` is durable.
    fn finish_writes(&mut self, number: u64) {
        while let Some(write) = self
            .disk
            .under_way
            .pop_front_if(|write| write.number <= number)
        {
            self.disk.ballot = write.ballot;
            // What was cut off meanwhile is not there, however durable it is.
            let is_there = self.log.term_at(write.end.index) == Some(write.end.term);
            let end = if is_there || write.end.index <= self.log.base.index {
                write.end.index.max(self.log.base.index)
            } else {
                self.disk.persisted.min(self.log.last().index)
            };
            self.disk.persisted = self.disk.persisted.max(end);
            self.recovering = still_recovering(self.recovering, write.acknowledges, &self.log);
        }
        self.count_own_vote();
        self.advance_commit();
    }

    /// Stops when an invariant of this type does not hold.
    fn check_invariants(&self) {
        let last = self.log.last();
        invariant!(
            self.applied <= self.handed && self.handed <= self.commit && self.commit <= last.index,
            "applied {} handed out {} decided {} last {last}",
            self.applied,
            self.handed,
            self.commit
        );
        invariant!(
            self.disk.persisted <= last.index,
            "durable up to {}, and the log ends at {last}",
            self.disk.persisted
        );
        for entry in self.log.entries.windows(2) {
            invariant!(
                entry[0].position.index.next() == entry[1].position.index
                    && entry[0].position.term <= entry[1].position.term,
                "{} before {}",
                entry[0].position,
                entry[1].position
            );
        }
        for (member, peer) in &self.peers {
            invariant!(peer.matched < peer.next, "{member}: {peer:?}");
        }
    }
}

/// Rule R6: the recovery ends when nothing that the member may have promised before is missing any more. Either
/// its log reaches the watermark by the hand of a leader that had everything decided until then, or it ends with an
/// entry of a later term, whose leader began with all of it.
fn still_recovering(
    lost: Option<LogPosition>,
    acknowledged: Option<(Term, Index)>,
    log: &Log,
) -> Option<LogPosition> {
    let (Some(lost), Some((term, index))) = (lost, acknowledged) else {
        return lost;
    };
    let reaches = index >= lost.index && term >= lost.term;
    let is_later = log.term_at(index).is_some_and(|term| term > lost.term);
    (!reaches && !is_later).then_some(lost)
}

/// What joins a heartbeat to its round of reads.
fn round_bytes(round: u64) -> Bytes {
    Bytes::copy_from_slice(&round.to_le_bytes())
}
