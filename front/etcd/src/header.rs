//! The header of an answer: who answers, and as of when.
//!
//! Headers are not uniform, and clients know (reference etcd §0.6): answers of the Cluster service have
//! no revision; those of Defragment, MoveLeader and Snapshot have no header at all; inside a transaction
//! each answer has a revision and nothing else, and a transaction inside has an empty header.
//!
//! A protobuf message is the concatenation of its fields and the header is field 1 everywhere. So an
//! answer is a header followed by a body that may have been made long before, by the apply half.

use crate::pb;
use base::{ClusterId, MemberId, Revision, Term};
use bytes::Bytes;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeaderParts {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
    /// The member's term.
    pub term: Term,
}

/// The field in which every answer has its header.
const HEADER: u32 = 1;
const REVISION: u32 = 3;

impl HeaderParts {
    /// Writes the header as field 1. Revision 0 is left out, as the Cluster service wants it.
    pub(crate) fn write(&self, out: &mut Vec<u8>, revision: Revision) {
        pb::nested(out, HEADER, |out| {
            pb::uint(out, 1, self.cluster.0);
            pb::uint(out, 2, self.member.0);
            pb::uint(out, REVISION, revision.0);
            pb::uint(out, 4, self.term.0);
        });
    }

    /// An answer of a header and a body that is ready.
    pub(crate) fn before(&self, revision: Revision, body: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + body.len());
        self.write(&mut out, revision);
        out.extend_from_slice(body);
        Bytes::from(out)
    }
}

/// Bytes of a header at most: the tag, one byte of length, four numbers of a tag and ten bytes each.
pub(crate) const HEADER_BYTES_MAX: usize = 2 + 4 * 11;

/// Writes the header that an operation has inside a transaction: a revision and nothing else.
pub(crate) fn write_inner(out: &mut Vec<u8>, revision: Revision) {
    pb::message(out, HEADER, pb::uint_len(REVISION, revision.0));
    pb::uint(out, REVISION, revision.0);
}

/// Writes the header of a transaction inside a transaction: an empty message, which is not an absent one.
pub(crate) fn write_empty(out: &mut Vec<u8>) {
    pb::message(out, HEADER, 0);
}
