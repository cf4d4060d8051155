//! Transactions that only read: answered by the member itself, never written to the log.
//!
//! Which branch is taken and whether its ranges can be read is decided at the start; then the ranges are
//! written one after the other, in bounded steps, as a single long range is. A transaction may ask for
//! everything a hundred times over.

use crate::apply::txn::{RANGE, RESPONSES, SUCCEEDED, branch, check_range};
use crate::compare;
use crate::header::{self, HeaderParts};
use crate::pb;
use crate::range::{RangeQuery, Walk};
use crate::request::{OpView, TxnView};
use crate::status::Status;
use bytes::Bytes;
use std::collections::VecDeque;
use store::State;

/// The answer on its way. It keeps its own state, so it sees one revision however long it takes.
pub struct TxnAnswer {
    state: State,
    /// The ranges that are not begun.
    waiting: VecDeque<RangeQuery>,
    /// The range under way, and its bytes so far.
    walk: Option<(Walk, Vec<u8>)>,
    out: Vec<u8>,
}

impl TxnAnswer {
    /// Begins to answer a `TxnRequest` of ranges alone.
    ///
    /// # Errors
    /// The bytes are malformed, or a revision is compacted or in the future.
    pub fn begin(
        state: &State,
        message: &Bytes,
        header: &HeaderParts,
    ) -> Result<TxnAnswer, Status> {
        let root = state.root(crate::ROOT);
        let view = TxnView::read(message)?;
        let succeeded = compare::all_hold(root, &view);
        let mut waiting = VecDeque::new();
        for op in branch(&view, succeeded) {
            if let OpView::Range(range) = op {
                check_range(root, range.options.revision)?;
                waiting.push_back(RangeQuery::of(message, range));
            }
        }
        let mut out = Vec::new();
        header.write(&mut out, state.revision());
        pb::uint(&mut out, SUCCEEDED, u64::from(succeeded));
        Ok(TxnAnswer {
            state: state.clone(),
            waiting,
            walk: None,
            out,
        })
    }

    /// The ranges that are to be written.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &RangeQuery> {
        self.waiting.iter()
    }

    /// Goes on for at most `rows` records (at least one) of one range; the answer when it is complete. After
    /// that there is nothing left to ask for.
    pub fn step(&mut self, rows: usize) -> Option<Bytes> {
        let root = self.state.root(crate::ROOT);
        let Some((mut walk, mut body)) = self.walk.take() else {
            let Some(next) = self.waiting.pop_front() else {
                return Some(Bytes::from(std::mem::take(&mut self.out)));
            };
            let mut body = Vec::new();
            header::write_inner(&mut body, root.revision());
            // Readable at the beginning means readable now: the state is the same.
            if let Ok(walk) = Walk::begin(root, next.range, next.options) {
                self.walk = Some((walk, body));
            }
            return None;
        };
        if !walk.step(root, rows.max(1), &mut body) {
            self.walk = Some((walk, body));
            return None;
        }
        walk.finish(&mut body);
        let length = pb::message_len(RANGE, body.len());
        pb::message(&mut self.out, RESPONSES, length);
        pb::message(&mut self.out, RANGE, body.len());
        self.out.extend_from_slice(&body);
        None
    }
}
