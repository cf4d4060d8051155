//! Answers to ranges, written straight from the store's records into one buffer.
//!
//! ```text
//!   RangeResponse = [ header ] [ kvs … ] [ more ] [ count ]
//!                     before      one record after the other, in bounded steps
//! ```
//!
//! A plain range (no sort, no filter) is written as it is walked and stops at its limit; its count comes
//! from the store's counted index, never from a scan. A sorted or filtered one is gathered first, as
//! reference counts, in steps as well. A long range holds a [`State`], so writes go on beside it and it
//! still sees one revision.

use crate::auth::{self, Caller, Needs};
use crate::budget::Budget;
use crate::header::{HEADER_BYTES_MAX, HeaderParts};
use crate::pb;
use crate::record::{self, Values};
use crate::request::{RangeOptions, RangeView};
use crate::status::{Refusal, Status};
use base::Revision;
use bytes::Bytes;
use store::{KeyRange, RangeEnd, ReadError, Record, RootView, State};

/// Fields of `RangeResponse`.
const KVS: u32 = 2;
const MORE: u32 = 3;
const COUNT: u32 = 4;

/// A range that a client asked for, checked and ready to be answered from a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeQuery {
    /// The keys.
    pub range: KeyRange,
    /// All else.
    pub options: RangeOptions,
}

impl RangeQuery {
    /// Keeps a view of `body` without copying its keys.
    pub(crate) fn of(body: &Bytes, view: &RangeView<'_>) -> RangeQuery {
        RangeQuery {
            range: record::key_range(body.slice_ref(view.key), body.slice_ref(view.end)),
            options: view.options,
        }
    }
}

/// The order in which records are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// As the store has them.
    Natural,
    /// By a target, after gathering.
    Sorted { target: i32, descending: bool },
}

/// A range on its way: what is still to be walked, and how.
#[derive(Debug)]
pub(crate) struct Walk {
    /// What is left.
    range: KeyRange,
    options: RangeOptions,
    at: Option<Revision>,
    order: Order,
    /// Records wanted before the walk may stop; everything when it must be gathered first.
    fetch_max: u64,
    /// Records wanted in the answer.
    limit: u64,
    gathered: Vec<Record>,
    n_fetched: u64,
    n_written: u64,
    more: bool,
    count: u64,
    state: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Walking,
    /// All is gathered; so many are written.
    Writing(usize),
    Done,
}

impl Walk {
    /// Begins. `view` must be the same root at the same state in every step.
    pub(crate) fn begin(
        view: RootView<'_>,
        range: KeyRange,
        options: RangeOptions,
    ) -> Result<Walk, Refusal> {
        let at = (options.revision > 0).then_some(Revision(options.revision as u64));
        view.readable(at)?;
        let count = if range.is_empty() {
            0
        } else {
            view.count(&range, at)?
        };
        let limit = match u64::try_from(options.limit) {
            Ok(0) | Err(_) => u64::MAX,
            Ok(limit) => limit,
        };
        // etcd sorts by another target than the key even when no order is named, but then only what the
        // limit (and one more) let through: verified on 3.4.23.
        let order = match (options.sort_order, options.sort_target) {
            (0, 0) | (1, 0) => Order::Natural,
            (direction, target) => Order::Sorted {
                target,
                descending: direction == 2,
            },
        };
        let whole = options.sort_order != 0 || options.is_filtered();
        let fetch_max = if whole {
            u64::MAX
        } else {
            limit.saturating_add(1)
        };
        let done = options.count_only || count == 0;
        Ok(Walk {
            range,
            options,
            at,
            order,
            fetch_max,
            limit,
            gathered: Vec::new(),
            n_fetched: 0,
            n_written: 0,
            more: false,
            count,
            state: if done { Phase::Done } else { Phase::Walking },
        })
    }

    /// Keys in the range, whatever the limit and the filters.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Records that were looked at to count them: the present is counted by the index alone.
    pub(crate) fn n_counted(&self) -> u64 {
        self.at.map_or(0, |_| self.count)
    }

    /// Records that were read.
    pub(crate) fn n_fetched(&self) -> u64 {
        self.n_fetched
    }

    /// Goes on for at most `rows` records; true when all records are in `out`.
    pub(crate) fn step(&mut self, view: RootView<'_>, rows: usize, out: &mut Vec<u8>) -> bool {
        if self.state == Phase::Walking {
            self.walk(view, rows, out);
        } else if let Phase::Writing(from) = self.state {
            self.write_gathered(from, rows, out);
        }
        self.state == Phase::Done
    }

    /// The fields behind the records.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        pb::uint(out, MORE, u64::from(self.more));
        pb::uint(out, COUNT, self.count);
    }

    fn values(&self) -> Values {
        if self.options.keys_only {
            Values::Drop
        } else {
            Values::Keep
        }
    }

    fn walk(&mut self, view: RootView<'_>, rows: usize, out: &mut Vec<u8>) {
        // Readable at the beginning means readable now: the state is the same.
        let Ok(mut records) = view.range(&self.range, self.at) else {
            self.state = Phase::Done;
            return;
        };
        let mut last = None;
        for _ in 0..rows {
            let next = if self.n_fetched < self.fetch_max {
                records.next()
            } else {
                None
            };
            let Some(record) = next else {
                self.end_walk();
                return;
            };
            self.n_fetched += 1;
            last = Some(record);
            if self.is_filtered_out(record) {
                continue;
            }
            match self.order {
                Order::Sorted { .. } => self.gathered.push(record.clone()),
                Order::Natural if self.n_written == self.limit => {
                    self.more = true;
                    self.state = Phase::Done;
                    return;
                }
                Order::Natural => {
                    record::write(out, KVS, record, self.values());
                    self.n_written += 1;
                }
            }
        }
        if let Some(record) = last {
            self.range = self.range.after(record.key());
        }
    }

    fn is_filtered_out(&self, record: &Record) -> bool {
        let options = &self.options;
        if !options.is_filtered() {
            return false;
        }
        let outside = |value: Revision, least: i64, most: i64| {
            let value = value.0 as i64;
            (most != 0 && value > most) || (least != 0 && value < least)
        };
        let created = record.create_revision();
        outside(
            record.mod_revision(),
            options.min_mod_revision,
            options.max_mod_revision,
        ) || outside(
            created,
            options.min_create_revision,
            options.max_create_revision,
        )
    }

    fn end_walk(&mut self) {
        let Order::Sorted { target, descending } = self.order else {
            self.state = Phase::Done;
            return;
        };
        // Stable, so equals stay in the order of their keys, whichever way the sort goes. etcd leaves that
        // open; few records it orders just so.
        self.gathered.sort_by(|a, b| {
            let ordering = match target {
                1 => a.version().cmp(&b.version()),
                2 => a.create_revision().cmp(&b.create_revision()),
                3 => a.mod_revision().cmp(&b.mod_revision()),
                4 => a.value().cmp(b.value()),
                _ => a.key().cmp(b.key()),
            };
            if descending {
                ordering.reverse()
            } else {
                ordering
            }
        });
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        self.more = self.gathered.len() > limit;
        self.gathered.truncate(limit);
        self.state = Phase::Writing(0);
    }

    fn write_gathered(&mut self, from: usize, rows: usize, out: &mut Vec<u8>) {
        let to = from.saturating_add(rows).min(self.gathered.len());
        for record in &self.gathered[from..to] {
            record::write(out, KVS, record, self.values());
        }
        self.state = if to == self.gathered.len() {
            Phase::Done
        } else {
            Phase::Writing(to)
        };
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        match error {
            ReadError::Compacted { .. } => Refusal::Compacted,
            ReadError::Future { .. } => Refusal::FutureRevision,
        }
    }
}

/// Writes the answer to a range without its header, in one go.
pub(crate) fn write_body(
    out: &mut Vec<u8>,
    view: RootView<'_>,
    key: &[u8],
    end: &[u8],
    options: &RangeOptions,
) -> Result<(), Refusal> {
    if end.is_empty() && !options.count_only && !options.is_filtered() {
        return write_single(out, view, key, options);
    }
    let mut walk = Walk::begin(view, record::key_range_of(key, end), *options)?;
    while !walk.step(view, usize::MAX, out) {}
    walk.finish(out);
    Ok(())
}

/// Records that are read between two looks at what was spent: each may have a megabyte.
const ROWS_SPENT_AT_ONCE: usize = 64;

/// Takes from `budget` what [`write_body`] would read and write.
pub(crate) fn spend(
    budget: &mut Budget,
    view: RootView<'_>,
    key: &[u8],
    end: &[u8],
    options: &RangeOptions,
) -> Result<(), Refusal> {
    let mut walk = Walk::begin(view, record::key_range_of(key, end), *options)?;
    budget.take(walk.n_counted(), 0)?;
    let mut out = Vec::new();
    loop {
        let before = walk.n_fetched;
        let is_done = walk.step(view, ROWS_SPENT_AT_ONCE, &mut out);
        budget.take(walk.n_fetched - before, out.len())?;
        if is_done {
            return Ok(());
        }
        out.clear();
    }
}

/// The commonest range: one key. A limit, a sort or serializability do not matter to it.
fn write_single(
    out: &mut Vec<u8>,
    view: RootView<'_>,
    key: &[u8],
    options: &RangeOptions,
) -> Result<(), Refusal> {
    let at = (options.revision > 0).then_some(Revision(options.revision as u64));
    if let Some(record) = view.get(key, at)? {
        let values = if options.keys_only {
            Values::Drop
        } else {
            Values::Keep
        };
        record::write(out, KVS, &record, values);
        pb::uint(out, COUNT, 1);
    }
    Ok(())
}

/// Answers a range in one go: for ranges that are known to be short.
pub(crate) fn answer(
    state: &State,
    query: &RangeQuery,
    header: &HeaderParts,
) -> Result<Bytes, Status> {
    let view = state.root(crate::ROOT);
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + 512);
    header.write(&mut out, state.revision());
    let RangeQuery { range, options } = query;
    if range.end == RangeEnd::Single && !options.count_only && !options.is_filtered() {
        write_single(&mut out, view, &range.start, options)?;
    } else {
        let mut walk = Walk::begin(view, range.clone(), *options)?;
        while !walk.step(view, usize::MAX, &mut out) {}
        walk.finish(&mut out);
    }
    Ok(Bytes::from(out))
}

/// A long range, answered in bounded steps by whoever drives it: between two steps the driver does other
/// work. It keeps its own state, so it sees one revision however long it takes.
pub struct RangeAnswer {
    state: State,
    walk: Walk,
    out: Vec<u8>,
}

impl RangeAnswer {
    /// Begins to answer `query` from `state`.
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn begin(
        state: &State,
        query: &RangeQuery,
        header: &HeaderParts,
    ) -> Result<RangeAnswer, Status> {
        let walk = Walk::begin(state.root(crate::ROOT), query.range.clone(), query.options)?;
        let mut out = Vec::with_capacity(64 * 1024);
        header.write(&mut out, state.revision());
        let state = state.clone();
        Ok(RangeAnswer { state, walk, out })
    }

    /// Keys that the range holds: what the whole work is about proportional to.
    pub fn count(&self) -> u64 {
        self.walk.count()
    }

    /// Goes on for at most `rows` records (at least one); the answer when it is complete. After that
    /// there is nothing left to ask for.
    pub fn step(&mut self, rows: usize) -> Option<Bytes> {
        let view = self.state.root(crate::ROOT);
        if !self.walk.step(view, rows.max(1), &mut self.out) {
            self.make_room();
            return None;
        }
        self.walk.finish(&mut self.out);
        Some(Bytes::from(std::mem::take(&mut self.out)))
    }
}

impl RangeAnswer {
    /// Makes room for the rest at once, if it is about as large as what is there: growing by and by would
    /// copy a large answer several times.
    fn make_room(&mut self) {
        if self.out.capacity() - self.out.len() > self.out.len() {
            return;
        }
        let n_written = self.walk.n_written.max(1);
        let n_left = self
            .walk
            .count
            .min(self.walk.limit)
            .saturating_sub(n_written);
        let record_bytes = self.out.len() as u64 / n_written;
        let room = n_left.saturating_mul(record_bytes + record_bytes / 8);
        self.out.reserve(room.min(ROOM_BYTES_MAX) as usize);
    }
}

/// Bytes that a long answer makes room for at once; beyond it grows as it is filled.
const ROOM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A range as a stream of messages (`RangeStream`, etcd 3.7): each has some records, and only the last
/// has the header, `more` and `count`.
pub struct RangeChunks {
    state: State,
    header: HeaderParts,
    walk: Walk,
    rows: usize,
    bytes_target: usize,
    done: bool,
}

/// Records in the first message of a stream.
const CHUNK_ROWS_FIRST: usize = 10;

impl RangeChunks {
    /// [`RangeChunks::begin_as`], where nobody has said who they are.
    ///
    /// # Errors
    /// As [`RangeChunks::begin_as`].
    pub fn begin(
        state: &State,
        query: &RangeQuery,
        header: &HeaderParts,
        bytes_target: usize,
    ) -> Result<RangeChunks, Status> {
        RangeChunks::begin_as(state, &Ok(None), query, header, bytes_target)
    }

    /// Begins to answer `query` from `state`, in messages of about `bytes_target` bytes, if `caller` may read it.
    ///
    /// # Errors
    /// The caller may not read it, or the revision is compacted or in the future. Sorts and filters are refused when the
    /// request is planned.
    pub fn begin_as(
        state: &State,
        caller: &Caller,
        query: &RangeQuery,
        header: &HeaderParts,
        bytes_target: usize,
    ) -> Result<RangeChunks, Status> {
        auth::permit_caller(state, caller, &Needs::of_read(&query.range))?;
        let walk = Walk::begin(state.root(crate::ROOT), query.range.clone(), query.options)?;
        Ok(RangeChunks {
            state: state.clone(),
            header: *header,
            walk,
            rows: CHUNK_ROWS_FIRST,
            bytes_target,
            done: false,
        })
    }

    /// The next message; nothing when the stream has ended.
    pub fn next_message(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut body = Vec::new();
        self.done = self
            .walk
            .step(self.state.root(crate::ROOT), self.rows, &mut body);
        // Grow towards the target, shrink from far above it: records may be of any size.
        if body.len() < self.bytes_target / 2 {
            self.rows = self.rows.saturating_mul(2);
        } else if body.len() > self.bytes_target.saturating_mul(2) {
            self.rows = (self.rows / 2).max(1);
        }
        let mut out = Vec::with_capacity(body.len() + HEADER_BYTES_MAX + 32);
        pb::nested(&mut out, 1, |out| {
            if self.done {
                self.header.write(out, self.state.revision());
            }
            out.extend_from_slice(&body);
            if self.done {
                self.walk.finish(out);
            }
        });
        Some(Bytes::from(out))
    }
}
