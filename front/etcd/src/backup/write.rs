//! From a held state to the bytes of a file, in steps.
//!
//! The buckets are gone through in the order of their names, twice: once to count, once for the bytes. Between
//! two steps only a place is remembered (which bucket, after which revision, after which lease), and the state is
//! held; writes go on beside it.

use super::schema::{self, RevisionKey};
use crate::apply::{alarms, is_zero_compacted};
use base::{LeaseId, Revision};
use bolt::{Layout, WriteError, Writer};
use store::members::REMOVED;
use store::stream;
use store::{Place, State};
use thiserror::Error;

/// Bytes of entries between two looks at whether the caller has enough.
const STEP_BYTES: usize = 256 * 1024;

/// Bytes of one piece of the store's stream in the bucket of ours; a single record may be longer.
const PIECE_BYTES: usize = 64 * 1024;

/// Why a state cannot be written as a file: a defect of ours, not of anybody's data.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("cannot lay out the backup")]
pub struct BackupFault(#[from] WriteError);

/// A state on its way into a file. It holds the state.
pub struct Backup {
    state: State,
    writer: Writer,
    next: Next,
    layout: Option<Layout>,
    /// The last version that was written.
    last: Place,
    scratch: Vec<u8>,
}

/// What is written next.
enum Next {
    Alarm,
    Auth,
    Cluster,
    /// Versions at this place and above.
    Keys(Place),
    /// Leases from this id on, in the order of their bytes.
    Leases(LeaseId),
    Members,
    Meta,
    /// A piece of the stream with this number.
    Rest(Box<stream::Writer>, u64),
    End,
}

/// How far a step came.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    End,
}

impl Backup {
    /// Begins to write `state`.
    pub fn new(state: State) -> Backup {
        Backup {
            state,
            writer: Writer::measure(),
            next: Next::Alarm,
            layout: None,
            last: Place::default(),
            scratch: Vec::new(),
        }
    }

    /// Counts: how many bytes the file has. Done once; it reads every version.
    ///
    /// # Errors
    /// A defect.
    pub fn measure(&mut self) -> Result<u64, BackupFault> {
        if let Some(layout) = self.layout {
            return Ok(layout.file_bytes());
        }
        while self.step()? == Step::More {}
        let layout = self.writer.finish()?;
        self.layout = Some(layout);
        self.writer = Writer::emit(layout);
        self.next = Next::Alarm;
        self.last = Place::default();
        Ok(layout.file_bytes())
    }

    /// The next bytes of the file, at least `n_bytes` unless it ends; nothing behind its end.
    ///
    /// # Errors
    /// A defect.
    pub fn next_bytes(&mut self, n_bytes: usize) -> Result<Vec<u8>, BackupFault> {
        self.measure()?;
        while self.writer.n_ready() < n_bytes && !matches!(self.next, Next::End) {
            if self.step()? == Step::End {
                self.writer.finish()?;
            }
        }
        Ok(self.writer.take_ready())
    }

    fn step(&mut self) -> Result<Step, BackupFault> {
        let Backup {
            state,
            writer,
            last,
            scratch,
            ..
        } = self;
        let next = std::mem::replace(&mut self.next, Next::End);
        self.next = match next {
            Next::Alarm => {
                alarm(state, writer)?;
                Next::Auth
            }
            Next::Auth => {
                super::auth::write(state, writer)?;
                Next::Cluster
            }
            Next::Cluster => {
                cluster(writer)?;
                writer.begin_bucket(schema::KEY)?;
                Next::Keys(Place::default())
            }
            Next::Keys(from) => match keys(state, from, last, writer, scratch)? {
                Some(next) => Next::Keys(next),
                None => {
                    marker(state, *last, writer)?;
                    writer.end_bucket()?;
                    writer.begin_bucket(schema::LEASE)?;
                    Next::Leases(LeaseId(0))
                }
            },
            Next::Leases(from) => match leases(state, from, writer)? {
                Some(next) => Next::Leases(next),
                None => {
                    writer.end_bucket()?;
                    Next::Members
                }
            },
            Next::Members => {
                members(state, writer)?;
                Next::Meta
            }
            Next::Meta => {
                meta(state, writer)?;
                writer.begin_bucket(schema::BUCKET_OF_OURS)?;
                let rest = stream::Writer::without(state.clone(), crate::ROOT);
                Next::Rest(Box::new(rest), 0)
            }
            Next::Rest(mut rest, number) => match rest.next_chunk(PIECE_BYTES) {
                Some(piece) => {
                    writer.push(&number.to_be_bytes(), &piece)?;
                    Next::Rest(rest, number + 1)
                }
                None => {
                    writer.end_bucket()?;
                    return Ok(Step::End);
                }
            },
            Next::End => return Ok(Step::End),
        };
        Ok(Step::More)
    }
}

/// Other fronts take revisions that etcd's keys know nothing of. Its tools take the last key for the newest
/// revision, so where that is not the state's, a tombstone of no key says so: they must not go back.
fn marker(state: &State, last: Place, writer: &mut Writer) -> Result<(), BackupFault> {
    let newest = state.revision();
    let told = last.revision.max(state.root(crate::ROOT).compacted());
    // An empty store is at 1 without a key that says so.
    if newest <= told.max(Revision(1)) {
        return Ok(());
    }
    let key = RevisionKey {
        place: Place {
            revision: newest,
            sub: 0,
        },
        is_tombstone: true,
    };
    Ok(writer.push(key.encode(&mut [0; 18]), &[])?)
}

fn keys(
    state: &State,
    from: Place,
    last: &mut Place,
    writer: &mut Writer,
    value: &mut Vec<u8>,
) -> Result<Option<Place>, BackupFault> {
    let mut n_bytes = 0;
    for record in state.root(crate::ROOT).retained(from) {
        if n_bytes >= STEP_BYTES {
            return Ok(Some(record.place()));
        }
        value.clear();
        schema::key_value(value, record);
        let key = RevisionKey::of(record);
        writer.push(key.encode(&mut [0; 18]), value)?;
        *last = record.place();
        n_bytes += value.len() + 32;
    }
    Ok(None)
}

/// Ids are in the order of their bytes: negative ones come last.
fn leases(
    state: &State,
    from: LeaseId,
    writer: &mut Writer,
) -> Result<Option<LeaseId>, BackupFault> {
    let mut n_bytes = 0;
    let rest = state.leases_from(from);
    let mut rest = rest.take_while(|lease| (lease.id.0 < 0) == (from.0 < 0));
    for lease in &mut rest {
        if n_bytes >= STEP_BYTES {
            return Ok(Some(lease.id));
        }
        let value = schema::lease(lease.id, lease.ttl_s);
        writer.push(&lease.id.0.to_be_bytes(), &value)?;
        n_bytes += value.len() + 32;
    }
    Ok((from.0 >= 0).then_some(LeaseId(i64::MIN)))
}

fn alarm(state: &State, writer: &mut Writer) -> Result<(), BackupFault> {
    let mut raised: Vec<Vec<u8>> = alarms::alarms(state).map(|alarm| alarm.encode()).collect();
    raised.sort_unstable();
    writer.begin_bucket(schema::ALARM)?;
    for alarm in &raised {
        writer.push(alarm, &[])?;
    }
    Ok(writer.end_bucket()?)
}

fn cluster(writer: &mut Writer) -> Result<(), BackupFault> {
    writer.begin_bucket(schema::CLUSTER)?;
    writer.push(schema::CLUSTER_VERSION, crate::STORAGE_VERSION.as_bytes())?;
    writer.push(schema::DOWNGRADE, schema::NO_DOWNGRADE)?;
    Ok(writer.end_bucket()?)
}

fn members(state: &State, writer: &mut Writer) -> Result<(), BackupFault> {
    let known = state.members();
    let known = known.iter().map(|member| {
        let key = schema::member_key(member.id);
        (key, schema::member(member))
    });
    let removed = state.records(REMOVED).filter_map(|(key, _)| {
        let id = u64::from_be_bytes(key[..].try_into().ok()?);
        Some((schema::member_key(base::MemberId(id)), b"removed".to_vec()))
    });
    for (bucket, mut entries) in [
        (schema::MEMBERS, known.collect::<Vec<_>>()),
        (schema::MEMBERS_REMOVED, removed.collect()),
    ] {
        entries.sort_unstable();
        writer.begin_bucket(bucket)?;
        for (key, value) in &entries {
            writer.push(key, value)?;
        }
        writer.end_bucket()?;
    }
    Ok(())
}

fn meta(state: &State, writer: &mut Writer) -> Result<(), BackupFault> {
    let (applied, compacted) = (state.applied(), state.root(crate::ROOT).compacted());
    let is_compacted = compacted > Revision(0) || is_zero_compacted(state);
    let compacted = schema::revision(compacted);
    writer.begin_bucket(schema::META)?;
    let conf_state = schema::conf_state(state.membership());
    writer.push(schema::CONF_STATE, &conf_state)?;
    let index = applied.index.0.to_be_bytes();
    writer.push(schema::CONSISTENT_INDEX, &index)?;
    if is_compacted {
        writer.push(schema::FINISHED_COMPACT, &compacted)?;
        writer.push(schema::SCHEDULED_COMPACT, &compacted)?;
    }
    let version = crate::STORAGE_VERSION.as_bytes();
    writer.push(schema::STORAGE_VERSION, version)?;
    writer.push(schema::TERM, &applied.term.0.to_be_bytes())?;
    Ok(writer.end_bucket()?)
}
