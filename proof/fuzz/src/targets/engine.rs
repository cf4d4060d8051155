//! `consensus::Engine`: what other members say, through the frame reader and the gate into a real
//! engine that persists, applies, compacts and campaigns in between.
//!
//! The input is a stream of frames; its first byte is the engine's beginning (0: a founder of a cluster
//! of three, else: a member that joins). A `ReadIndexRequest` is not a message here but the world's next
//! move, its number saying which ([`Deed`]), so that mutations move the world around too. The corpus is
//! what member 1 of a real cluster of three heard and did.

use super::{Target, Verdict};
use crate::frames;
use base::{
    Change, ClusterId, EntryKind, Index, LogPosition, MemberId, Membership, MessageKind, Mutants,
    PeerMessage, Rng, SnapshotMeta, Term,
};
use bytes::{Bytes, BytesMut};
use consensus::{Config, Engine, Raft, Ready, Refused, Restored};
use std::collections::{BTreeMap, VecDeque};
use wire::{Frame, FrameReader, Origin, encode};

/// See the module.
pub const TARGET: Target = Target {
    name: "engine",
    run,
    corpus,
    mutate,
    one_in: 4,
};

const ME: MemberId = MemberId(1);

/// The world's next move, by number.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Persist,
    Ticks(u64),
    Propose,
    Read,
    Compact,
    Campaign,
    Change(u64),
    Transfer(u64),
    StepDown,
}

impl Deed {
    fn of_number(number: u64) -> Deed {
        let rest = number >> 4;
        match number % 16 {
            1 => Deed::Ticks(rest % 200),
            2 => Deed::Propose,
            3 => Deed::Read,
            4 => Deed::Compact,
            5 => Deed::Campaign,
            6 => Deed::Change(rest),
            7 => Deed::Transfer(rest % 6),
            8 => Deed::StepDown,
            _ => Deed::Persist,
        }
    }

    fn number(self) -> u64 {
        match self {
            Deed::Persist => 0,
            Deed::Ticks(n) => 1 | n << 4,
            Deed::Propose => 2,
            Deed::Read => 3,
            Deed::Compact => 4,
            Deed::Campaign => 5,
            Deed::Change(n) => 6 | n << 4,
            Deed::Transfer(n) => 7 | n << 4,
            Deed::StepDown => 8,
        }
    }
}

/// A member with a disk that answers when it is told to.
struct Member {
    raft: Raft,
    writes: VecDeque<(u64, Index)>,
    /// The last entry that was handed out as decided.
    handed: Index,
    applied: LogPosition,
    term: Term,
    commit: Index,
    /// What it wants to say.
    said: Vec<base::Message>,
}

impl Member {
    fn new(member: MemberId, restored: Restored) -> Member {
        let config = Config {
            member,
            seed: 5,
            election_ticks: 100,
            heartbeat_ticks: 10,
            mutants: Mutants::none(),
        };
        let at = restored.snapshot;
        let membership = restored.membership.clone();
        let mut raft = Raft::new(config, restored).expect("a beginning is a beginning");
        if at.index > Index(0) {
            raft.snapshot_provided(SnapshotMeta {
                position: at,
                membership,
            });
        }
        Member {
            raft,
            writes: VecDeque::new(),
            handed: at.index,
            applied: at,
            term: Term(0),
            commit: Index(0),
            said: Vec::new(),
        }
    }

    /// Carries out what the engine wants, then looks whether it still makes sense.
    fn settle(&mut self) {
        let mut n_readys = 0;
        while let Some(ready) = self.raft.ready() {
            n_readys += 1;
            assert!(n_readys < 10_000, "the engine is never done");
            self.carry_out(ready);
        }
        self.raft.check();
        let status = self.raft.status();
        assert!(status.term >= self.term, "terms fall: {status:?}");
        assert!(
            status.commit >= self.commit,
            "decisions are undone: {status:?}"
        );
        (self.term, self.commit) = (status.term, status.commit);
    }

    fn carry_out(&mut self, ready: Ready) {
        let mut at = Index(0);
        if let Some(meta) = &ready.snapshot {
            let index = meta.position.index;
            assert!(index >= self.handed, "a state from the past");
            // A state of what is handed out already can only be one with another term in its place.
            assert!(
                index > self.handed,
                "a decided entry is replaced by a state"
            );
            self.handed = meta.position.index;
            at = self.handed;
        }
        for entry in &ready.committed {
            assert_eq!(
                entry.position.index,
                self.handed.next(),
                "a hole in the log"
            );
            self.handed = entry.position.index;
            self.applied = entry.position;
            if entry.kind == EntryKind::Change {
                // That it does not fit is something that every member finds alike.
                let _ = self.raft.apply_change(entry);
            }
            at = self.handed;
        }
        self.writes.push_back((ready.number, at));
        if ready.snapshot.is_none() && at > Index(0) {
            self.raft.applied(at);
        }
        self.said.extend(ready.send_now);
        self.said.extend(ready.send_after_persist);
    }

    fn persist(&mut self) {
        if let Some((number, at)) = self.writes.pop_front() {
            self.raft.persisted(number);
            self.raft.applied(at);
        }
    }

    /// What is refused changes nothing, so nobody asks.
    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Persist => self.persist(),
            Deed::Ticks(n) => (0..n).for_each(|_| self.raft.tick()),
            Deed::Propose => {
                let _ = self.raft.propose(Bytes::from_static(b"x"));
            }
            Deed::Read => {
                let _ = self.raft.read_index(7);
            }
            Deed::Compact => self.compact(),
            Deed::Campaign => {
                let _ = self.raft.campaign();
            }
            Deed::Change(n) => {
                let member = MemberId(1 + n % 5);
                let change = match (n >> 4) % 3 {
                    0 => Change::AddVoter(member),
                    1 => Change::AddLearner(member),
                    _ => Change::Remove(member),
                };
                let _ = self.raft.propose_change(vec![change], Bytes::new());
            }
            Deed::Transfer(n) => {
                let _ = self.raft.transfer(MemberId(n));
            }
            Deed::StepDown => self.raft.step_down(),
        }
    }

    fn compact(&mut self) {
        let applied = self.raft.status().applied;
        let membership = self.raft.membership().clone();
        if applied > Index(0) && applied == self.applied.index && !membership.voters.is_empty() {
            self.raft.snapshot_provided(SnapshotMeta {
                position: self.applied,
                membership,
            });
            self.raft.compact(applied);
        }
    }
}

/// Plays the frames to member 1. The engine never stops, whatever the gate lets in; terms and decisions
/// only rise, and decided entries come without a hole.
pub fn run(input: &[u8]) -> Verdict {
    let Some((beginning, stream)) = input.split_first() else {
        return Verdict::Refused;
    };
    let restored = match beginning {
        0 => Restored::genesis(founders()),
        _ => Restored::joining(),
    };
    let mut member = Member::new(ME, restored);
    let mut all_passed = !stream.is_empty();
    for frame in frames::split(stream) {
        // Every frame on a connection of its own: a refused one ends only itself.
        let sender = frame.get(24..32).map_or(0, |id| id[0]);
        let mut reader = FrameReader::of_stranger();
        reader.trust(origin(MemberId(u64::from(sender))));
        let mut bytes = BytesMut::from(&frame[..]);
        let Ok(Some((origin, Frame::Message(message)))) = reader.next(&mut bytes) else {
            all_passed = false;
            continue;
        };
        all_passed &= hear(&mut member, origin.member, message);
        member.settle();
        member.said.clear();
    }
    for _ in 0..200 {
        member.persist();
        member.settle();
    }
    Verdict::of(all_passed)
}

/// Whether the gate let it through.
fn hear(member: &mut Member, from: MemberId, message: PeerMessage) -> bool {
    use Refused::{Invalid, LogShort, NotMember};
    match message {
        PeerMessage::Raft(message) => {
            let stepped = member.raft.step(*message);
            return !matches!(
                stepped,
                Err(Invalid { .. } | NotMember(_) | LogShort { .. })
            );
        }
        PeerMessage::ReadIndexRequest { attempt } => member.act(Deed::of_number(attempt)),
        PeerMessage::Recovering { intact } => member.raft.reset_progress(from, intact),
        PeerMessage::SnapshotOutcome { installed } => member.raft.report_snapshot(from, installed),
        PeerMessage::Removed | PeerMessage::Leaving => member.raft.report_unreachable(from),
        // What the node answers and the engine never sees.
        PeerMessage::Forward { .. }
        | PeerMessage::ReadIndexReply { .. }
        | PeerMessage::LeaseRenewRequest { .. }
        | PeerMessage::LeaseRemainingRequest { .. }
        | PeerMessage::LeaseReply { .. }
        | PeerMessage::PromiseRequest { .. }
        | PeerMessage::PromiseReply { .. }
        | PeerMessage::ClockRequest { .. }
        | PeerMessage::ClockReply { .. }
        | PeerMessage::Knows { .. }
        | PeerMessage::Bounce { .. } => {}
    }
    true
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    frames::mutate(input, 1, other, rng);
}

fn founders() -> Membership {
    Membership::of_voters(vec![MemberId(1), MemberId(2), MemberId(3)])
}

fn origin(member: MemberId) -> Origin {
    Origin {
        cluster: ClusterId(0xc1),
        member,
    }
}

// ---- corpus: a real cluster, of which member 1 is recorded --------------------------------------

struct Cluster {
    members: BTreeMap<MemberId, Member>,
    heard: BytesMut,
    beginning: u8,
}

impl Cluster {
    fn founded() -> Cluster {
        let members = (1..=3).map(|n| {
            let member = MemberId(n);
            (member, Member::new(member, Restored::genesis(founders())))
        });
        Cluster {
            members: members.collect(),
            heard: BytesMut::new(),
            beginning: 0,
        }
    }

    fn record(&mut self, from: MemberId, message: PeerMessage) {
        encode(origin(from), &Frame::Message(message), &mut self.heard);
    }

    /// Something happens to a member, and then nothing more until all is said.
    fn act(&mut self, id: MemberId, deed: Deed) {
        self.do_one(id, deed);
        self.deliver();
    }

    fn do_one(&mut self, id: MemberId, deed: Deed) {
        if id == ME {
            let attempt = deed.number();
            self.record(MemberId(2), PeerMessage::ReadIndexRequest { attempt });
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.act(deed);
            member.settle();
        }
    }

    fn deliver(&mut self) {
        for _ in 0..400 {
            let ids: Vec<MemberId> = self.members.keys().copied().collect();
            for id in ids {
                while self.members.get(&id).is_some_and(|m| !m.writes.is_empty()) {
                    self.do_one(id, Deed::Persist);
                }
            }
            let said = self
                .members
                .values_mut()
                .flat_map(|m| std::mem::take(&mut m.said));
            let said: Vec<base::Message> = said.collect();
            if said.is_empty() {
                return;
            }
            for message in said {
                let (from, to) = (message.from, message.to);
                if to == ME && self.members.contains_key(&ME) {
                    self.record(from, PeerMessage::Raft(Box::new(message.clone())));
                }
                let is_snapshot = message.kind == MessageKind::Snapshot;
                if let Some(member) = self.members.get_mut(&to) {
                    // Late answers are refused, as in life.
                    let _ = member.raft.step(message);
                    member.settle();
                }
                if is_snapshot && let Some(sender) = self.members.get_mut(&from) {
                    sender.raft.report_snapshot(to, true);
                    sender.settle();
                }
            }
        }
    }

    fn taken(self) -> Vec<u8> {
        [&[self.beginning][..], &self.heard].concat()
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let (two, three) = (MemberId(2), MemberId(3));
    let mut corpus = Vec::new();

    // It leads, proposes, answers reads, changes the membership, hands the office on.
    let mut cluster = Cluster::founded();
    cluster.act(ME, Deed::Campaign);
    for _ in 0..3 {
        cluster.act(ME, Deed::Propose);
    }
    cluster.act(ME, Deed::Read);
    cluster.act(ME, Deed::Ticks(10));
    cluster.act(ME, Deed::Change(3 | 1 << 4));
    cluster.act(ME, Deed::Compact);
    cluster.act(ME, Deed::Transfer(2));
    cluster.act(two, Deed::Propose);
    corpus.push(cluster.taken());

    // It follows, through a change of leaders.
    let mut cluster = Cluster::founded();
    cluster.act(two, Deed::Campaign);
    for _ in 0..4 {
        cluster.act(two, Deed::Propose);
    }
    cluster.act(two, Deed::Ticks(10));
    cluster.act(two, Deed::Transfer(3));
    cluster.act(three, Deed::Propose);
    cluster.act(three, Deed::Change(3));
    cluster.act(ME, Deed::Compact);
    cluster.act(three, Deed::Propose);
    corpus.push(cluster.taken());

    // It asks in vain, steps down, is overtaken.
    let mut cluster = Cluster::founded();
    cluster.do_one(ME, Deed::Campaign);
    cluster.do_one(ME, Deed::Persist);
    cluster.act(three, Deed::Campaign);
    cluster.act(ME, Deed::Ticks(120));
    cluster.act(three, Deed::StepDown);
    cluster.act(ME, Deed::Campaign);
    cluster.act(ME, Deed::StepDown);
    cluster.act(two, Deed::Campaign);
    corpus.push(cluster.taken());

    // It joins with nothing, and gets a state and then entries.
    let mut cluster = Cluster::founded();
    cluster.members.remove(&ME);
    cluster.act(two, Deed::Campaign);
    cluster.act(two, Deed::Propose);
    cluster.act(two, Deed::Compact);
    cluster.heard.clear();
    cluster.beginning = 1;
    cluster
        .members
        .insert(ME, Member::new(ME, Restored::joining()));
    for _ in 0..3 {
        cluster.act(two, Deed::Ticks(10));
        cluster.act(two, Deed::Propose);
    }
    corpus.push(cluster.taken());
    corpus
}
