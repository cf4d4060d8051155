//! The seam between the store and the fronts: a front's apply half is a [`Dialect`].
//!
//! The command in the log is the request as the client sent it; the dialect decides it, on every
//! member alike. So a dialect is a pure function of the transaction it is given: no clock, no chance,
//! no configuration, nothing cached, and nothing that depends on how far this member has swept (R3).

use crate::command::{DialectId, Identity};
use crate::root::RootId;
use crate::state::State;
use crate::store::Stamp;
use crate::txn::WriteTxn;
use bytes::Bytes;

/// A front's apply half.
pub trait Dialect {
    /// Which commands are ours.
    fn id(&self) -> DialectId;

    /// Which root we write.
    fn root(&self) -> RootId;

    /// Decides `request` and writes what it decides. Bytes that make no sense are a refusal, never a
    /// panic: they come from a client.
    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], stamp: &Stamp) -> Outcome;

    /// Whether `identity` may make this request at all, against the state before it. `apply` decides that, too;
    /// this is asked first where what an earlier try came to would be told instead. There is no default, so that nobody
    /// who wraps a dialect can forget it.
    ///
    /// # Errors
    /// The refusal.
    fn admit(
        &self,
        state: &State,
        identity: Option<&Identity>,
        request: &[u8],
    ) -> Result<(), Outcome>;
}

/// The replicated result of a command: the same on every member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// 0 when done, else the dialect's own refusal code.
    pub status: u16,
    /// What the session half makes its answer of.
    pub body: Bytes,
}

impl Outcome {
    /// Done, with what the answer is made of.
    pub fn done(body: impl Into<Bytes>) -> Outcome {
        Outcome {
            status: 0,
            body: body.into(),
        }
    }

    /// Refused. `status` must not be 0.
    pub fn refused(status: u16, body: impl Into<Bytes>) -> Outcome {
        base::invariant!(status != 0, "0 means done");
        Outcome {
            status,
            body: body.into(),
        }
    }

    /// Whether the command took effect as asked.
    pub fn is_done(&self) -> bool {
        self.status == 0
    }
}
