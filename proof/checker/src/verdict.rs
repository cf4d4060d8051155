//! What a checker says when a promise was broken.

use crate::orders::Attempt;
use std::fmt;

/// A broken promise: which one, and the evidence as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The claim that does not hold, as a name: `reads_are_not_stale`.
    pub claim: &'static str,
    /// The evidence, one or more lines.
    pub evidence: String,
    /// The operations that prove it, by number; none when it is not about operations.
    pub operations: Vec<u64>,
    /// The orders of these operations that were tried, where somebody looked for one.
    pub attempts: Vec<Attempt>,
}

impl Violation {
    /// The broken `claim` with its evidence.
    pub fn new(claim: &'static str, evidence: impl Into<String>) -> Violation {
        Violation {
            claim,
            evidence: evidence.into(),
            operations: Vec::new(),
            attempts: Vec::new(),
        }
    }

    /// The same, proved by these operations.
    pub fn by(mut self, operations: impl IntoIterator<Item = u64>) -> Violation {
        self.operations.extend(operations);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.evidence)
    }
}
