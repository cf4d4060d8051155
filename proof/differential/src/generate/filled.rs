//! Ranges that have keys, for users who have rights.
//!
//! Of a range that ends where or before it begins etcd finds a right or does not by the shape of the tree in which it
//! keeps them, which is that of the order in which they were given. Nobody else can do the same (docs/compat/etcd.md).
//! Root may ask for such ranges, and everybody where authentication is off.

use crate::operation::{Body, Operation};
use crate::proto::etcdserverpb as pb;
use prost::Message;

/// Ranges without keys become their first key.
pub(super) fn fill(operation: &mut Operation) {
    match operation {
        Operation::Ask(ask) => {
            let (Body::Template(bytes) | Body::Raw(bytes)) = &mut ask.body;
            match ask.method {
                "KV/Range" => within(bytes, |it: &mut pb::RangeRequest| {
                    cut(&it.key, &mut it.range_end)
                }),
                "KV/DeleteRange" => within(bytes, |it: &mut pb::DeleteRangeRequest| {
                    cut(&it.key, &mut it.range_end)
                }),
                "KV/Txn" => within(bytes, txn),
                _ => {}
            }
        }
        Operation::RangeStream { message, .. } => {
            within(message, |it: &mut pb::RangeRequest| {
                cut(&it.key, &mut it.range_end)
            });
        }
        Operation::Watch { message, .. } => within(message, watch),
        _ => {}
    }
}

/// Changes a message, and leaves its bytes as they are where there is nothing to change.
fn within<M: Message + Default>(bytes: &mut Vec<u8>, change: impl Fn(&mut M) -> bool) {
    if let Ok(mut message) = M::decode(bytes.as_slice())
        && change(&mut message)
    {
        *bytes = message.encode_to_vec();
    }
}

/// Whether there was something to cut.
fn cut(key: &[u8], end: &mut Vec<u8>) -> bool {
    let is_empty = !end.is_empty() && *end != [0] && end.as_slice() <= key;
    if is_empty {
        end.clear();
    }
    is_empty
}

fn watch(request: &mut pb::WatchRequest) -> bool {
    use pb::watch_request::RequestUnion;
    match &mut request.request_union {
        Some(RequestUnion::CreateRequest(create)) => cut(&create.key, &mut create.range_end),
        _ => false,
    }
}

fn txn(request: &mut pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    let mut has_changed = false;
    for compare in &mut request.compare {
        has_changed |= cut(&compare.key, &mut compare.range_end);
    }
    for operation in request.success.iter_mut().chain(&mut request.failure) {
        has_changed |= match &mut operation.request {
            Some(Request::RequestRange(it)) => cut(&it.key, &mut it.range_end),
            Some(Request::RequestDeleteRange(it)) => cut(&it.key, &mut it.range_end),
            Some(Request::RequestTxn(nested)) => txn(nested),
            _ => false,
        };
    }
    has_changed
}
