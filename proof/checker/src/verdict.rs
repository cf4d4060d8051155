//! What a checker says when a promise was broken.

use std::fmt;

/// A broken promise: which one, and the evidence as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The claim that does not hold, as a name: `reads_are_not_stale`.
    pub claim: &'static str,
    /// The evidence, one or more lines.
    pub evidence: String,
}

impl Violation {
    /// The broken `claim` with its evidence.
    pub fn new(claim: &'static str, evidence: impl Into<String>) -> Violation {
        Violation {
            claim,
            evidence: evidence.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.evidence)
    }
}
