//! What the tests of the log share: a naive model, a state of plain bytes, and a disk that loses what
//! was not synced.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod crash;

use base::{
    ClusterId, Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Mutants, Rng,
    SnapshotMeta, Term,
};
use bytes::Bytes;
use quorate_storage::{
    Catalog, CheckpointWriter, Disk, DiskError, Health, Identity, Log, LogConfig, Op, RecoverError,
    Recovered, StateSink, StateSource, Step, execute, recover_with,
};
use std::error::Error;

pub const IDENTITY: Identity = Identity {
    cluster: ClusterId(0xc1),
    member: MemberId(0xa1),
};

pub fn tiny() -> LogConfig {
    LogConfig {
        segment_bytes: 8 * 4096,
        spares: 2,
        space_low_bytes: 0,
    }
}

/// The plans that free all segments up to `to`, one after the other.
pub fn freed(log: &mut Log, to: Index) -> Vec<Op> {
    let mut ops = Vec::new();
    loop {
        let one = log.truncate_prefix(to);
        if one.is_empty() {
            return ops;
        }
        ops.extend(one);
    }
}

pub fn position(index: u64, term: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

pub fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let mut rng = Rng::new(index * 1000 + term);
    let data: Vec<u8> = (0..bytes).map(|_| rng.next_u64() as u8).collect();
    let kind = if index % 7 == 3 {
        EntryKind::Change
    } else {
        EntryKind::Normal
    };
    let context = if index % 5 == 1 {
        Bytes::from_static(b"context")
    } else {
        Bytes::new()
    };
    Entry {
        position: position(index, term),
        kind,
        data: data.into(),
        context,
    }
}

pub fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: MemberId(vote),
        commit: Index(commit),
    }
}

pub fn meta(position: LogPosition) -> SnapshotMeta {
    SnapshotMeta {
        position,
        membership: Membership::of_voters(vec![MemberId(0xa1), MemberId(2)]),
    }
}

/// A state that is nothing but bytes and a position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plain {
    pub applied: LogPosition,
    pub bytes: Vec<u8>,
}

impl Plain {
    pub fn at(applied: LogPosition) -> Plain {
        let mut rng = Rng::new(applied.index.0);
        Plain {
            applied,
            bytes: (0..300).map(|_| rng.next_u64() as u8).collect(),
        }
    }

    fn stream(&self) -> Vec<u8> {
        let mut out = self.applied.term.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.applied.index.0.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }
}

pub struct PlainSource(Vec<u8>);

impl StateSource for PlainSource {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        if self.0.is_empty() {
            return None;
        }
        let rest = self.0.split_off(max_bytes.min(self.0.len()));
        Some(std::mem::replace(&mut self.0, rest).into())
    }
}

#[derive(Default)]
pub struct PlainSink(Vec<u8>);

impl StateSink for PlainSink {
    type State = Plain;
    fn begin() -> PlainSink {
        PlainSink::default()
    }
    fn push(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finish(self) -> Result<Plain, Box<dyn Error + Send + Sync>> {
        if self.0.len() < 16 {
            return Err("too short".into());
        }
        let number = |at: usize| u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap());
        Ok(Plain {
            applied: position(number(8), number(0)),
            bytes: self.0[16..].to_vec(),
        })
    }
    fn applied(state: &Plain) -> LogPosition {
        state.applied
    }
}

pub fn open(disk: &mut dyn Disk) -> Result<Recovered<Plain>, RecoverError> {
    open_with(disk, Mutants::none())
}

pub fn open_with(disk: &mut dyn Disk, mutants: Mutants) -> Result<Recovered<Plain>, RecoverError> {
    recover_with::<PlainSink>(disk, &IDENTITY, &tiny(), mutants)
}

/// All operations of writing the checkpoint at `position`, in steps of 100 bytes.
pub fn checkpoint(catalog: &Catalog, position: LogPosition) -> (Vec<Op>, Catalog) {
    let source = PlainSource(Plain::at(position).stream());
    let mut writer = CheckpointWriter::from_source(&IDENTITY, catalog, &meta(position), source);
    let mut all = Vec::new();
    loop {
        match writer.step(100) {
            Step::More(ops) => all.extend(ops),
            Step::Done { ops, catalog } => {
                all.extend(ops);
                return (all, catalog);
            }
        }
    }
}

/// What the log must hold, told naively.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    pub hard_state: HardState,
    /// The place before the first entry.
    pub base: LogPosition,
    pub entries: Vec<Entry>,
    pub checkpoint: LogPosition,
}

impl Model {
    pub fn end(&self) -> LogPosition {
        self.entries
            .last()
            .map_or(self.base, |entry| entry.position)
    }

    pub fn append(&mut self, hard_state: Option<HardState>, entries: &[Entry]) {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        let end = entries.last().map_or(self.end(), |entry| entry.position);
        self.hard_state.commit = self.hard_state.commit.min(end.index);
        if let Some(first) = entries.first() {
            self.entries
                .retain(|entry| entry.position.index < first.position.index);
            self.entries.extend_from_slice(entries);
        }
    }

    pub fn install(&mut self, to: LogPosition) {
        self.base = to;
        self.entries.clear();
    }

    /// What a start gives when the checkpoint is in force.
    pub fn after_checkpoint(&self) -> (LogPosition, Vec<Entry>) {
        let at = self.checkpoint;
        let here = self
            .entries
            .iter()
            .find(|entry| entry.position.index == at.index);
        let known = match here {
            Some(entry) => entry.position == at,
            None => self.base.index > at.index || (self.base == at),
        };
        if !known {
            return (at, Vec::new());
        }
        let entries = self
            .entries
            .iter()
            .filter(|entry| entry.position.index > at.index);
        (self.end(), entries.cloned().collect())
    }

    /// Panics unless `found` is intact and exactly what this model says.
    pub fn assert_is(&self, found: &Recovered<Plain>, story: &dyn Fn() -> String) {
        assert_eq!(
            found.health,
            Health::Intact,
            "{} {:?}",
            story(),
            found.notes
        );
        let (end, entries) = self.after_checkpoint();
        let indices = |all: &[Entry]| all.iter().map(|e| e.position).collect::<Vec<_>>();
        assert_eq!(indices(&found.entries), indices(&entries), "{}", story());
        assert!(found.entries == entries, "{}: the contents differ", story());
        assert_eq!(found.log.end(), end, "{}", story());
        let mut wanted = self.hard_state;
        wanted.commit = wanted.commit.max(self.checkpoint.index).min(end.index);
        if wanted.term < end.term {
            wanted.term = end.term;
            wanted.vote = MemberId::NONE;
        }
        assert_eq!(found.hard_state, wanted, "{}", story());
        let state = found
            .checkpoint
            .as_ref()
            .map(|(meta, state)| (meta.position, state.clone()));
        let wanted =
            (self.checkpoint.index.0 > 0).then(|| (self.checkpoint, Plain::at(self.checkpoint)));
        assert_eq!(state, wanted, "{}", story());
    }

    /// The states that may be found when an append is cut off: nothing of it, all of it, and with
    /// several records any number of entries, in order. What it says to be committed comes with its
    /// entries only.
    pub fn states(&self, hard_state: Option<HardState>, entries: &[Entry]) -> Vec<Model> {
        let mut states = vec![self.clone()];
        for n in entries.len().min(1)..=entries.len() {
            let mut model = self.clone();
            model.append(hard_state, &entries[..n]);
            states.push(model);
        }
        states
    }

    pub fn matches(&self, found: &Recovered<Plain>) -> bool {
        let (end, entries) = self.after_checkpoint();
        found.health == Health::Intact && found.entries == entries && found.log.end() == end
    }
}

pub fn run(disk: &mut dyn Disk, ops: &[Op]) -> Result<(), DiskError> {
    execute(disk, ops)
}
