//! Transactions that only read: answered by the member itself, never written to the log.
//!
//! Which branch is taken and whether its ranges can be read is decided at the start; then the ranges are
//! written one after the other, in bounded steps, as a single long range is. A transaction may ask for
//! everything a hundred times over.

use crate::apply::txn::{RANGE, RESPONSES, SUCCEEDED, branch, check_range};
use crate::budget::Budget;
use crate::compare;
use crate::header::{self, HeaderParts};
use crate::pb;
use crate::range::{RangeQuery, Walk};
use crate::request::{OpView, TxnView};
use crate::status::{Refusal, Status};
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
    /// What it may still read.
    budget: Budget,
}

impl TxnAnswer {
    /// Begins to answer a `TxnRequest` of ranges alone.
    ///
    /// # Errors
    /// The bytes are malformed, a revision is compacted or in the future, or its comparisons read too much.
    pub fn begin(
        state: &State,
        message: &Bytes,
        header: &HeaderParts,
    ) -> Result<TxnAnswer, Status> {
        let root = state.root(crate::ROOT);
        let view = TxnView::read(message)?;
        let mut budget = Budget::TXN;
        let succeeded = compare::all_hold(root, &view, &mut budget)?;
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
            budget,
        })
    }

    /// The ranges that are to be written.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &RangeQuery> {
        self.waiting.iter()
    }

    /// Goes on for at most `rows` records (at least one) of one range; the answer when it is complete, or why there is
    /// none: it reads too much. After that there is nothing left to ask for.
    pub fn step(&mut self, rows: usize) -> Option<Result<Bytes, Status>> {
        let root = self.state.root(crate::ROOT);
        let Some((mut walk, mut body)) = self.walk.take() else {
            let Some(next) = self.waiting.pop_front() else {
                return Some(Ok(Bytes::from(std::mem::take(&mut self.out))));
            };
            let mut body = Vec::new();
            header::write_inner(&mut body, root.revision());
            // Readable at the beginning means readable now: the state is the same.
            if let Ok(walk) = Walk::begin(root, next.range, next.options) {
                let taken = self.budget.take(walk.n_counted(), body.len());
                self.walk = Some((walk, body));
                return self.refused(taken);
            }
            return None;
        };
        let before = (walk.n_fetched(), body.len());
        let is_done = walk.step(root, rows.max(1), &mut body);
        let taken = (walk.n_fetched() - before.0, body.len() - before.1);
        if let Err(refusal) = self.budget.take(taken.0, taken.1) {
            return self.refused(Err(refusal));
        }
        if !is_done {
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

    /// Ends it, if it is refused.
    fn refused(&mut self, taken: Result<(), Refusal>) -> Option<Result<Bytes, Status>> {
        let refusal = taken.err()?;
        self.walk = None;
        self.waiting.clear();
        self.out = Vec::new();
        Some(Err(refusal.into()))
    }
}
