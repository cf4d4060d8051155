//! Messages on a few watch streams.

use super::{extreme, one_of, range, small};
use crate::marks::{COMPACTED, NOW};
use crate::operation::Operation;
use crate::proto::etcdserverpb as pb;
use base::Rng;
use pb::watch_request::RequestUnion;
use prost::Message;

/// How many streams there are.
const STREAMS: u64 = 4;

/// One thing done to a stream.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    let stream = rng.below(STREAMS) as u8;
    let union = match rng.below(100) {
        0..50 => RequestUnion::CreateRequest(create(rng)),
        50..85 => RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id(rng) }),
        85..91 => return Operation::Progress { stream },
        91..93 => return Operation::CloseWatch { stream },
        _ => return super::kv::operation(rng),
    };
    let message = pb::WatchRequest {
        request_union: Some(union),
    };
    Operation::Watch {
        stream,
        caller: None,
        message: message.encode_to_vec(),
    }
}

fn id(rng: &mut Rng) -> i64 {
    match rng.below(20) {
        0 => extreme(rng),
        1..4 => 1000 + small(rng, 3),
        _ => small(rng, 8),
    }
}

fn create(rng: &mut Rng) -> pb::WatchCreateRequest {
    let (key, range_end) = range(rng);
    let filters = match rng.below(6) {
        0 => vec![0],
        1 => vec![1],
        2 if rng.one_in(4) => vec![1, 0, 1, 77],
        _ => Vec::new(),
    };
    pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: match rng.below(40) {
            0..24 => 0,
            24..32 => NOW - small(rng, 20),
            32 => NOW + 1,
            33 => NOW + 1 + small(rng, 20),
            34..38 => COMPACTED + small(rng, 4) - 1,
            38 => one_of(rng, &[-1, i64::MIN, i64::MAX]),
            _ => 1,
        },
        progress_notify: rng.one_in(4),
        filters,
        prev_kv: rng.one_in(3),
        watch_id: match rng.below(5) {
            0 => id(rng),
            _ => 0,
        },
        fragment: rng.one_in(4),
    }
}
