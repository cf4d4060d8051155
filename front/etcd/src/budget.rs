//! How much one transaction may read.
//!
//! A transaction may ask for everything a hundred times over, with transactions inside ten thousand times; and one that
//! also writes is decided by every member, and by each of them again when it starts anew. So there is a bound, far above
//! what a client could use: etcd's own is what its answer may have in gRPC.

use crate::status::Refusal;
use base::limits::{TXN_ANSWER_BYTES_MAX, TXN_ROWS_MAX};

/// What is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    rows: u64,
    bytes: u64,
}

impl Budget {
    /// Of a transaction.
    pub(crate) const TXN: Budget = Budget {
        rows: TXN_ROWS_MAX,
        bytes: TXN_ANSWER_BYTES_MAX,
    };

    /// Of one that was decided when there was no bound.
    pub(crate) const ENDLESS: Budget = Budget {
        rows: u64::MAX,
        bytes: u64::MAX,
    };

    /// Takes records that are read, and bytes that are answered.
    pub(crate) fn take(&mut self, rows: u64, bytes: usize) -> Result<(), Refusal> {
        let rows = self.rows.checked_sub(rows);
        let bytes = self.bytes.checked_sub(bytes as u64);
        let (Some(rows), Some(bytes)) = (rows, bytes) else {
            return Err(Refusal::TxnReadsTooMuch);
        };
        *self = Budget { rows, bytes };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_not_overdrawn() {
        let mut budget = Budget::TXN;
        assert_eq!(budget.take(TXN_ROWS_MAX - 1, 7), Ok(()));
        assert_eq!(budget.take(2, 0), Err(Refusal::TxnReadsTooMuch));
        assert_eq!(budget.take(1, TXN_ANSWER_BYTES_MAX as usize - 7), Ok(()));
        assert_eq!(budget.take(0, 1), Err(Refusal::TxnReadsTooMuch));
        assert_eq!(budget.take(0, 0), Ok(()));
    }
}
