//! What stands in the log: one byte of kind and the message of the API (`docs/format/native.md`).

use crate::{KEYS, LINES, Refusal};
use api::proto::{
    CompactRequest, DeleteRequest, EnterRequest, GrantRequest, LeaveRequest, NowRequest,
    ProclaimRequest, PutRequest, RevokeRequest, TxnRequest,
};
use bytes::{BufMut, Bytes};
use prost::Message;
use store::command::DialectId;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($message:ty) = $number:literal $dialect:ident,)*) => {
        /// One request, as it stands in the log.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Request { $($(#[$doc])* $name($message),)* }

        impl Request {
            /// Who decides it.
            pub fn dialect(&self) -> DialectId {
                match self { $(Request::$name(_) => $dialect,)* }
            }

            /// The bytes in the log.
            pub fn encode(&self) -> Bytes {
                match self { $(Request::$name(message) => envelope($number, message),)* }
            }

            /// The inverse of [`Request::encode`].
            ///
            /// # Errors
            /// [`Refusal::Malformed`].
            pub fn decode(bytes: &[u8]) -> Result<Request, Refusal> {
                let (kind, message) = bytes.split_first().ok_or(Refusal::Malformed)?;
                match kind {
                    $($number => <$message>::decode(message)
                        .map(Request::$name)
                        .map_err(|_| Refusal::Malformed),)*
                    _ => Err(Refusal::Malformed),
                }
            }
        }
    };
}

// A kind is for ever.
requests! {
    /// Write a key.
    Put(PutRequest) = 1 KEYS,
    /// Delete keys.
    Delete(DeleteRequest) = 2 KEYS,
    /// Several at one revision.
    Txn(TxnRequest) = 3 KEYS,
    /// Forget history.
    Compact(CompactRequest) = 4 KEYS,
    /// A new lease.
    Grant(GrantRequest) = 5 KEYS,
    /// End a lease.
    Revoke(RevokeRequest) = 6 KEYS,
    /// Change nothing, and so let the leader's stamp say how late it is.
    Touch(NowRequest) = 7 KEYS,
    /// Take a place.
    Enter(EnterRequest) = 17 LINES,
    /// Give it up.
    Leave(LeaveRequest) = 18 LINES,
    /// Say something else as a leader.
    Proclaim(ProclaimRequest) = 19 LINES,
    /// Forget how lines were.
    CompactLines(CompactRequest) = 20 LINES,
}

impl Request {
    /// Whether it may make the data larger, so that it is not wanted where there is no room.
    pub fn grows(&self) -> bool {
        match self {
            Request::Put(_) | Request::Grant(_) | Request::Enter(_) | Request::Proclaim(_) => true,
            Request::Txn(request) => {
                let mut operations = request.then.iter().chain(&request.otherwise);
                operations.any(|operation| operation.put.is_some())
            }
            Request::Delete(_)
            | Request::Compact(_)
            | Request::Revoke(_)
            | Request::Touch(_)
            | Request::Leave(_)
            | Request::CompactLines(_) => false,
        }
    }
}

fn envelope(kind: u8, message: &impl Message) -> Bytes {
    let mut out = Vec::with_capacity(1 + message.encoded_len());
    out.put_u8(kind);
    message
        .encode(&mut out)
        .expect("a vector takes as much as there is");
    out.into()
}
