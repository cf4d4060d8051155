//! `storage::recover`: a start on a data directory that was damaged.
//!
//! The corpus is what a real log wrote in a few histories, at several moments of each. See `directory`
//! for the layout of an input and for the two kinds of damage.

use super::{Target, Verdict};
use crate::directory::{self, CONFIG, IDENTITY, SEALED};
use crate::parts::{self, Part};
use crate::states::position;
use base::{
    Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Mutants, Rng,
    SnapshotMeta, Term,
};
use bytes::Bytes;
use consensus::{Config, Engine, Raft, Restored};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::LazyLock;
use storage::{
    Catalog, CheckpointWriter, Health, Log, MemDisk, RecoverError, Recovered, StateSink,
    StateSource, Step, UNKNOWN, dump, execute, recover_with,
};

/// See the module.
pub const TARGET: Target = Target {
    name: "log",
    run,
    corpus,
    mutate: directory::mutate,
    one_in: 4,
};

/// Starts, starts again, and goes on. Unless sums were made anew:
///
/// - no entry is found that was not written, and no term;
/// - a start that says "intact" finds the log as it was at some moment, and at its last moment if its
///   watermark is the last one;
/// - a start that says "damaged" says it again.
pub fn run(input: &[u8]) -> Verdict {
    let Some((head, rest)) = input.split_first_chunk::<2>() else {
        return Verdict::Refused;
    };
    let history = &HISTORIES[usize::from(head[0]) % HISTORIES.len()];
    let files = parts::unpack(rest);
    let is_sealed = head[1] == SEALED;
    let has_last_watermark = files.iter().filter(|file| file.tag == 1).count() == 1
        && files.contains(&history.watermark);
    let has_identity = files.iter().any(|file| file.tag == directory::IDENTITY_TAG);
    let mut disk = directory::disk(files);
    dump(&disk);
    let Ok(found) = start(&mut disk) else {
        return Verdict::Refused;
    };
    if !is_sealed {
        history.check(&found, has_last_watermark, has_identity);
    }
    lead(&found);
    let is_intact = found.health == Health::Intact;
    let again = match start(&mut disk) {
        // A number that was the highest one allowed is counted on from by every start.
        Err(RecoverError::Excess(_)) if is_sealed => return Verdict::Refused,
        again => again.expect("who has started can start again"),
    };
    if !is_sealed {
        history.check(&again, false, true);
        assert_eq!(
            again.health == Health::Intact,
            is_intact,
            "{:?}",
            again.health
        );
    }
    if is_intact {
        go_on(&mut disk, again, is_sealed);
    }
    Verdict::of(is_intact)
}

/// Consensus goes on from what was found, or says why not; it never stops over it.
fn lead(found: &Recovered<State>) {
    let checkpoint = found.checkpoint.as_ref();
    let meta = checkpoint.map_or_else(SnapshotMeta::default, |(meta, _)| meta.clone());
    let recovering = match &found.health {
        Health::Intact => None,
        // The server does not start.
        Health::Damaged { watermark, .. } if *watermark == UNKNOWN => return,
        Health::Damaged { watermark, .. } => Some(*watermark),
    };
    let restored = Restored {
        hard_state: found.hard_state,
        membership: meta.membership,
        snapshot: meta.position,
        entries: found.entries.clone(),
        applied: meta.position.index,
        recovering,
    };
    let config = Config {
        member: IDENTITY.member,
        seed: 1,
        election_ticks: 100,
        heartbeat_ticks: 10,
        mutants: Mutants::none(),
    };
    if let Ok(raft) = Raft::new(config, restored) {
        raft.check();
    }
}

/// What is appended after a start is there after the next one.
fn go_on(disk: &mut MemDisk, found: Recovered<State>, is_sealed: bool) {
    let end = found.log.end();
    if end.index.0 >= 1 << 62 || end.term.0 >= 1 << 62 {
        return; // The gate lets nobody come here, and adding to it is not the log's business.
    }
    let fresh = entry(position(end.term.0.max(1), end.index.0 + 1));
    let mut log = found.log;
    let ops = log.append(None, std::slice::from_ref(&fresh));
    execute(disk, &ops).expect("a disk in memory");
    let after = match start(disk) {
        Err(RecoverError::Excess(_)) if is_sealed => return,
        after => after.expect("who has started can start again"),
    };
    if !is_sealed {
        assert_eq!(after.health, Health::Intact);
        assert_eq!(
            after.entries.last(),
            Some(&fresh),
            "what was durable is there"
        );
    }
}

fn start(disk: &mut MemDisk) -> Result<Recovered<State>, RecoverError> {
    recover_with::<Sink>(disk, &IDENTITY, &CONFIG, planted())
}

/// With the feature `mutants`, a log that takes damage for its end: which this target must find.
#[cfg(feature = "mutants")]
fn planted() -> Mutants {
    Mutants::only(base::Mutant::TruncateAtCorruption)
}

#[cfg(not(feature = "mutants"))]
fn planted() -> Mutants {
    Mutants::none()
}

// ---- what was written ----------------------------------------------------------------------------

/// An entry's contents follow from its position, so nobody can be given another's.
fn entry(position: LogPosition) -> Entry {
    let mut rng = Rng::new(position.index.0 * 1000 + position.term.0);
    let bytes = rng.below(1500);
    let data: Vec<u8> = (0..bytes).map(|_| rng.next_u64() as u8).collect();
    Entry {
        position,
        kind: match position.index.0 % 7 {
            3 => EntryKind::Change,
            _ => EntryKind::Normal,
        },
        data: data.into(),
        context: Bytes::copy_from_slice(&b"context"[..(position.index.0 % 8) as usize]),
    }
}

/// What the log held at one moment.
#[derive(Clone, Default)]
struct Moment {
    /// The place before the first entry.
    base: LogPosition,
    entries: Vec<Entry>,
}

impl Moment {
    fn end(&self) -> LogPosition {
        self.entries
            .last()
            .map_or(self.base, |entry| entry.position)
    }

    /// Where the log ends, and its entries, for somebody who starts from the state at `floor`.
    fn after(&self, floor: LogPosition) -> (LogPosition, Vec<Entry>) {
        let mut entries = self.entries.iter();
        let here = entries.find(|entry| entry.position.index == floor.index);
        let is_known = match here {
            Some(entry) => entry.position == floor,
            None => self.base.index > floor.index || self.base == floor,
        };
        if !is_known {
            return (floor, Vec::new());
        }
        let later = self.entries.iter();
        let later = later.filter(|entry| entry.position.index > floor.index);
        (self.end(), later.cloned().collect())
    }
}

struct History {
    moments: Vec<Moment>,
    written: BTreeMap<LogPosition, Entry>,
    term_max: Term,
    /// The watermark file at the end, which says that everything is durable.
    watermark: Part,
    /// Packed directories at several moments, the last one last.
    directories: Vec<Vec<u8>>,
}

impl History {
    fn check(&self, found: &Recovered<State>, has_last_watermark: bool, has_identity: bool) {
        for entry in &found.entries {
            let written = self.written.get(&entry.position);
            assert_eq!(written, Some(entry), "an entry that nobody wrote");
        }
        let term = found.hard_state.term;
        assert!(term <= self.term_max, "{term:?} was never reached");
        let mut floor = LogPosition::default();
        if let Some((meta, state)) = &found.checkpoint {
            floor = meta.position;
            assert_eq!(*state, state_at(floor), "a state that nobody wrote");
        }
        if found.health != Health::Intact {
            return;
        }
        let what = (found.log.end(), found.entries.clone());
        let is_some_moment = self
            .moments
            .iter()
            .any(|moment| moment.after(floor) == what);
        assert!(
            is_some_moment,
            "the log never ended at {} behind {floor}",
            what.0
        );
        if has_last_watermark && !has_identity {
            let is_first = found.log.end() == LogPosition::default();
            assert!(
                !is_first,
                "taken for a first start, and the watermark says more"
            );
        }
        if has_last_watermark {
            let last = self.moments.last().map(|moment| moment.after(floor));
            let end = last.as_ref().map(|last| last.0);
            assert!(
                last == Some(what),
                "intact, and it ended at {end:?}: {:?}",
                found.notes
            );
        }
    }
}

static HISTORIES: LazyLock<Vec<History>> = LazyLock::new(|| {
    let mut plain = Scribe::new();
    for index in 1..9 {
        plain.append(1, index, 1);
        if index % 4 == 0 {
            plain.keep();
        }
    }

    let mut overwritten = Scribe::new();
    overwritten.append(1, 1, 3);
    overwritten.append(1, 4, 4);
    overwritten.keep();
    overwritten.append(2, 5, 2);
    overwritten.append(2, 7, 1);
    overwritten.keep();
    overwritten.append(4, 6, 3);

    let mut checkpointed = Scribe::new();
    checkpointed.append(1, 1, 4);
    checkpointed.append(1, 5, 3);
    checkpointed.checkpoint(position(1, 4));
    checkpointed.keep();
    checkpointed.append(2, 8, 5);
    checkpointed.checkpoint(position(2, 9));
    checkpointed.keep();
    checkpointed.append(2, 13, 3);
    checkpointed.append(2, 16, 2);

    let mut installed = Scribe::new();
    installed.append(1, 1, 5);
    installed.keep();
    installed.checkpoint(position(3, 20));
    installed.install(position(3, 20));
    installed.keep();
    installed.append(3, 21, 3);
    installed.append(3, 24, 3);

    let scribes = [plain, overwritten, checkpointed, installed];
    let histories = scribes.into_iter().enumerate();
    histories
        .map(|(n, scribe)| scribe.finish(n as u8))
        .collect()
});

/// Writes a history with the real log.
struct Scribe {
    disk: MemDisk,
    log: Log,
    catalog: Catalog,
    now: Moment,
    moments: Vec<Moment>,
    written: BTreeMap<LogPosition, Entry>,
    kept: Vec<Vec<Part>>,
    term: u64,
}

impl Scribe {
    fn new() -> Scribe {
        let mut disk = MemDisk::new();
        let found = start(&mut disk).expect("a first start");
        Scribe {
            disk,
            log: found.log,
            catalog: found.catalog,
            now: Moment::default(),
            moments: vec![Moment::default()],
            written: BTreeMap::new(),
            kept: Vec::new(),
            term: 0,
        }
    }

    fn execute(&mut self, ops: &[storage::Op]) {
        execute(&mut self.disk, ops).expect("a disk in memory");
    }

    fn append(&mut self, term: u64, first: u64, n: u64) {
        let entries: Vec<Entry> = (first..first + n)
            .map(|i| entry(position(term, i)))
            .collect();
        self.term = term;
        let hard_state = HardState {
            term: Term(term),
            vote: MemberId(2),
            commit: Index(first - 1),
        };
        let ops = self.log.append(Some(hard_state), &entries);
        self.execute(&ops);
        self.now
            .entries
            .retain(|entry| entry.position.index.0 < first);
        for entry in entries {
            self.written.insert(entry.position, entry.clone());
            self.now.entries.push(entry);
        }
        self.moments.push(self.now.clone());
        if let Some(ops) = self.log.prepare() {
            self.execute(&ops);
            self.log.prepared(true);
        }
    }

    fn checkpoint(&mut self, at: LogPosition) {
        let meta = SnapshotMeta {
            position: at,
            membership: Membership::of_voters(vec![MemberId(0xa1), MemberId(2)]),
        };
        let source = Source(state_at(at).stream());
        let mut writer = CheckpointWriter::from_source(&IDENTITY, &self.catalog, &meta, source);
        loop {
            match writer.step(100) {
                Step::More(ops) => self.execute(&ops),
                Step::Done { ops, catalog } => {
                    self.execute(&ops);
                    self.catalog = catalog;
                    break;
                }
            }
        }
        let floor = self.catalog.log_floor();
        loop {
            let ops = self.log.truncate_prefix(floor);
            if ops.is_empty() {
                return;
            }
            self.execute(&ops);
        }
    }

    fn install(&mut self, at: LogPosition) {
        let ops = self.log.install(&SnapshotMeta {
            position: at,
            ..SnapshotMeta::default()
        });
        self.execute(&ops);
        self.now = Moment {
            base: at,
            entries: Vec::new(),
        };
        self.moments.push(self.now.clone());
    }

    fn keep(&mut self) {
        self.kept.push(directory::files(&self.disk));
    }

    fn finish(mut self, number: u8) -> History {
        if let Some(ops) = self.log.seal() {
            self.execute(&ops);
        }
        self.keep();
        let last = self.kept.last().cloned().unwrap_or_default();
        let watermark = last.into_iter().find(|file| file.tag == 1);
        let pack = |files: &Vec<Part>| [&[number, 0][..], &parts::pack(files)].concat();
        History {
            moments: self.moments,
            written: self.written,
            term_max: Term(self.term),
            watermark: watermark.expect("a log has a watermark"),
            directories: self.kept.iter().map(pack).collect(),
        }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let all = HISTORIES.iter();
    all.flat_map(|history| history.directories.clone())
        .collect()
}

// ---- a state that is nothing but bytes -----------------------------------------------------------

#[derive(Clone, PartialEq, Eq, Debug)]
struct State {
    applied: LogPosition,
    bytes: Vec<u8>,
}

fn state_at(applied: LogPosition) -> State {
    let mut rng = Rng::new(applied.index.0);
    State {
        applied,
        bytes: (0..300).map(|_| rng.next_u64() as u8).collect(),
    }
}

impl State {
    fn stream(&self) -> Vec<u8> {
        let mut out = self.applied.term.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.applied.index.0.to_le_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }
}

struct Source(Vec<u8>);

impl StateSource for Source {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        let rest = self.0.split_off(max_bytes.min(self.0.len()));
        let chunk = std::mem::replace(&mut self.0, rest);
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

struct Sink(Vec<u8>);

impl StateSink for Sink {
    type State = State;

    fn begin() -> Sink {
        Sink(Vec::new())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self) -> Result<State, Box<dyn Error + Send + Sync>> {
        let Some((head, bytes)) = self.0.split_first_chunk::<16>() else {
            return Err("too short".into());
        };
        let (term, index) = head.split_at(8);
        let number = |eight: &[u8]| {
            eight
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        Ok(State {
            applied: position(number(term), number(index)),
            bytes: bytes.to_vec(),
        })
    }

    fn applied(state: &State) -> LogPosition {
        state.applied
    }
}
