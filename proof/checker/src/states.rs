//! What members have become: the same digest at the same place in the log, and the rows that the history
//! leads to.
//!
//! A digest is one number for a whole state, so members that differ anywhere are found at the first entry
//! after which they do, long before anybody reads the difference. It says nothing about who is right: the
//! rows do.

use crate::chronicle::Chronicle;
use crate::history::{Row, Span};
use crate::verdict::Violation;
use base::{LogPosition, MemberId, Revision};
use std::collections::BTreeMap;

/// The digest at each applied index, and who told it first.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    first: BTreeMap<u64, (u64, MemberId)>,
}

impl Digests {
    /// Takes the digest that `member` has once it has applied everything up to `position`.
    ///
    /// # Errors
    /// Somebody had another one there.
    pub fn observe(
        &mut self,
        member: MemberId,
        position: LogPosition,
        digest: u64,
    ) -> Result<(), Violation> {
        let (told, first) = *self
            .first
            .entry(position.index.0)
            .or_insert((digest, member));
        if told == digest {
            return Ok(());
        }
        Err(Violation::new(
            "members_have_equal_digests",
            format!(
                "at {position} member {first} has {told:016x}, member {member} has {digest:016x}"
            ),
        ))
    }
}

/// Whether what `member` has as of `revision` is what the history leads to.
///
/// # Errors
/// It has other rows, or says that it has none any more.
pub fn check_rows(
    member: MemberId,
    revision: Revision,
    rows: Option<&[Row]>,
    chronicle: &Chronicle,
) -> Result<(), Violation> {
    let expected = chronicle.rows(&Span::all(), revision);
    if rows == Some(&expected[..]) {
        return Ok(());
    }
    Err(Violation::new(
        "final_states_are_what_history_leads_to",
        format!("member {member} at revision {revision}: {rows:?}"),
    ))
}
