//! What is done to both servers. Each operation stands alone: it can be left out of a history, and the rest of
//! the history still means something.

use crate::generate::is_odd;
use crate::marks::Names;
use crate::proto;
use crate::tree::Tree;
use prost_reflect::DynamicMessage;
use std::fmt;

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// One request, one answer.
    Ask(Ask),
    /// A range whose answer is a stream: etcd has it from 3.7 on.
    RangeStream {
        caller: Option<u8>,
        message: Vec<u8>,
    },
    /// One message on a watch stream, which is opened by its first.
    Watch {
        stream: u8,
        caller: Option<u8>,
        message: Vec<u8>,
    },
    /// The client gives a watch stream up.
    CloseWatch { stream: u8 },
    /// Progress is asked for when everything was delivered.
    Progress { stream: u8 },
    /// A stream of renewals, sent in one go.
    KeepAlive {
        caller: Option<u8>,
        leases: Vec<i64>,
    },
    /// Contenders for a lock, from the first to the last.
    Locks(Contest),
    /// Candidates of an election, from the first to the last.
    Election(Contest),
    /// A lease runs out by itself.
    Expiry { lease: i64, keys: Vec<Vec<u8>> },
    /// A member joins as a learner, never starts, and goes.
    Learner { urls: Vec<String> },
    /// `kill -9` and a new start.
    Restart(Which),
    /// Every event must have been delivered.
    Settle,
}

/// A request of one method.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// `KV/Range`
    pub(crate) method: &'static str,
    pub(crate) body: Body,
    /// Which user asks, by the token of its last authentication.
    pub(crate) caller: Option<u8>,
    /// Under which number the lease that the server names is remembered.
    pub(crate) remember: Option<u8>,
}

/// The bytes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A message with marks to fill in.
    Template(Vec<u8>),
    /// Bytes as they are, good or bad.
    Raw(Vec<u8>),
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Peer,
    Ours,
    Both,
}

/// How many contend for a name, and how they end, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    pub(crate) name: Vec<u8>,
    pub(crate) n_contenders: u8,
    /// The server names the first one's lease, and nobody else contends.
    pub(crate) leaseless: bool,
    pub(crate) ends: Vec<End>,
}

/// How the first in line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By `Unlock` or `Resign`.
    Leaves,
    /// Its lease is revoked.
    LosesLease,
    /// Its key is deleted under it.
    LosesKey,
    /// Not the first but the last in line goes away: its call is cancelled.
    LastHangsUp,
}

impl Operation {
    /// Who asks, where that is somebody.
    pub(crate) fn caller(&self) -> Option<u8> {
        match self {
            Operation::Ask(ask) => ask.caller,
            Operation::Watch { caller, .. }
            | Operation::KeepAlive { caller, .. }
            | Operation::RangeStream { caller, .. } => *caller,
            _ => None,
        }
    }

    /// Under what it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Operation::Ask(ask) => ask.method,
            Operation::RangeStream { .. } => "KV/RangeStream",
            Operation::Watch { .. } => "Watch/Watch message",
            Operation::CloseWatch { .. } => "Watch/Watch close",
            Operation::Progress { .. } => "Watch/Watch progress",
            Operation::KeepAlive { .. } => "Lease/LeaseKeepAlive",
            Operation::Locks(_) => "Lock contest",
            Operation::Election(_) => "Election contest",
            Operation::Expiry { .. } => "lease expiry",
            Operation::Learner { .. } => "learner",
            Operation::Restart(_) => "kill -9",
            Operation::Settle => "settle",
        }
    }
}

/// Of a request with more bytes ours asks first who sends it.
const LARGE_BYTES: usize = 64 * 1024;

impl Ask {
    /// A well-formed request.
    pub(crate) fn new(method: &'static str, message: &impl prost::Message) -> Ask {
        Ask {
            method,
            body: Body::Template(message.encode_to_vec()),
            caller: None,
            remember: None,
        }
    }

    /// Under what its answers are compared.
    pub(crate) fn call(&self) -> String {
        match &self.body {
            Body::Raw(bytes) if is_odd(bytes) => format!("{} of odd bytes", self.method),
            Body::Raw(bytes) if bytes.len() > LARGE_BYTES && self.tree().is_none() => {
                format!("{} of many bytes", self.method)
            }
            _ if self.touches_nothing() => format!("{} of nothing", self.method),
            _ => self.method.to_owned(),
        }
    }

    /// Whether it is a transaction without a key: there may be others like it in it.
    fn touches_nothing(&self) -> bool {
        const TOUCHING: &[&str] = &["compare", "request_range", "request_put", "request_delete"];
        let words = match self.method {
            "KV/Txn" => self.tree().map(|tree| tree.to_string()),
            _ => None,
        };
        words.is_some_and(|words| !TOUCHING.iter().any(|some| words.contains(some)))
    }

    /// The request as a tree, its marks unfilled; nothing if it cannot be read.
    pub(crate) fn tree(&self) -> Option<Tree> {
        let (Body::Template(bytes) | Body::Raw(bytes)) = &self.body;
        read(self.method, bytes)
    }
}

fn read(method: &str, bytes: &[u8]) -> Option<Tree> {
    let message = DynamicMessage::decode(proto::method(method).input(), bytes).ok()?;
    Some(Tree::of(&message, &Names::default()))
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by =
            |caller: &Option<u8>| caller.map_or(String::new(), |user| format!(" by user {user}"));
        match self {
            Operation::Ask(ask) => {
                write!(f, "{}{} ", ask.method, by(&ask.caller))?;
                match (&ask.body, ask.tree()) {
                    (Body::Template(_), Some(tree)) => write!(f, "{tree}"),
                    (Body::Template(bytes) | Body::Raw(bytes), tree) => {
                        let shown = &bytes[..bytes.len().min(200)];
                        write!(f, "raw \"{}\"", shown.escape_ascii())?;
                        tree.map_or(Ok(()), |tree| write!(f, " = {tree}"))
                    }
                }
            }
            Operation::RangeStream { caller, message } => {
                write!(f, "KV/RangeStream{} ", by(caller))?;
                let tree = read("KV/RangeStream", message);
                tree.map_or(Ok(()), |tree| write!(f, "{tree}"))
            }
            Operation::Watch {
                stream,
                caller,
                message,
            } => {
                write!(f, "watch stream {stream}{}: ", by(caller))?;
                match read("Watch/Watch", message) {
                    Some(tree) => write!(f, "{tree}"),
                    None => write!(f, "raw \"{}\"", message.escape_ascii()),
                }
            }
            Operation::CloseWatch { stream } => write!(f, "watch stream {stream}: closed"),
            Operation::Progress { stream } => write!(f, "watch stream {stream}: progress?"),
            Operation::KeepAlive { caller, leases } => {
                write!(f, "Lease/LeaseKeepAlive{} {leases:?}", by(caller))
            }
            Operation::Locks(contest) => write!(f, "locks {contest}"),
            Operation::Election(contest) => write!(f, "election {contest}"),
            Operation::Expiry { lease, keys } => {
                write!(f, "lease {lease} expires with {} keys", keys.len())
            }
            Operation::Learner { urls } => write!(f, "a learner at {urls:?} comes and goes"),
            Operation::Restart(which) => write!(f, "kill -9 and start: {which:?}"),
            Operation::Settle => f.write_str("settle"),
        }
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\", {} contenders{}, ends {:?}",
            self.name.escape_ascii(),
            self.n_contenders,
            if self.leaseless { " without lease" } else { "" },
            self.ends
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_of_nothing_has_no_key_in_any_of_its_own() {
        use crate::proto::etcdserverpb::{RequestOp, TxnRequest, request_op::Request};
        let holding = |request| TxnRequest {
            failure: vec![RequestOp {
                request: Some(request),
            }],
            ..Default::default()
        };
        let call = |txn: &TxnRequest| Ask::new("KV/Txn", txn).call();
        let nothing = holding(Request::RequestTxn(TxnRequest::default()));
        let deletion = holding(Request::RequestDeleteRange(Default::default()));
        assert_eq!(call(&TxnRequest::default()), "KV/Txn of nothing");
        assert_eq!(call(&nothing), "KV/Txn of nothing");
        assert_eq!(call(&holding(Request::RequestTxn(deletion))), "KV/Txn");
        assert_eq!(Ask::new("KV/Put", &TxnRequest::default()).call(), "KV/Put");
    }

    #[test]
    fn only_what_is_large_and_cannot_be_read_is_compared_as_many_bytes() {
        let put = |bytes: Vec<u8>| {
            let mut ask = Ask::new("KV/Put", &crate::proto::etcdserverpb::PutRequest::default());
            ask.body = Body::Raw(bytes);
            ask.call()
        };
        // A value of 70,000 bytes, and the same without its end.
        let whole = [&[0x12, 0xf0, 0xa2, 0x04][..], &[b'v'; 70_000]].concat();
        assert_eq!(put(whole.clone()), "KV/Put");
        assert_eq!(put(whole[..69_000].to_vec()), "KV/Put of many bytes");
        assert_eq!(put(whole[..60_000].to_vec()), "KV/Put");
    }
}
