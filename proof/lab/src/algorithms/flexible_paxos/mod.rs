#![doc = include_str!("story.md")]

mod exhibit;

use super::paxos::{ADOPT, ADOPT_HIGHEST, KEEP_PROMISE, Quorums};
use crate::exhibit::{Break, Broken};

/// Basic Paxos, with quorums that need not be majorities.
pub struct FlexiblePaxos;

/// Without it a proposer may miss what was chosen.
const QUORUMS_INTERSECT: Break = Break {
    rule: "quorums-intersect",
    law: "agreement",
    says: "two promises of four are enough, so they need not tell of what two others accepted",
};

/// The quorums of `n` acceptors, of which `accept` choose a value.
///
/// What `accept` acceptors have done cannot escape `n - accept + 1` others: that many promises are asked for. Without
/// the rule one less.
fn quorums(n: usize, accept: usize, broken: Broken) -> Quorums {
    let promise = n - accept + 1 - usize::from(broken.is(&QUORUMS_INTERSECT));
    Quorums { promise, accept }
}
