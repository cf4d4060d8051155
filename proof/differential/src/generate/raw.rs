//! Bytes that no client of etcd's would send: fields that nobody knows, messages cut off, damaged, empty.

use super::{kv, one_of};
use crate::operation::{Ask, Body, Operation};
use base::Rng;
use prost::encoding::decode_varint;

/// One request with something wrong or something more.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    let mut operation = match rng.below(3) {
        0 => super::txn::operation(rng),
        1 => super::lease::operation(rng),
        _ => kv::operation(rng),
    };
    if let Operation::Ask(ask) = &mut operation {
        let (Body::Template(bytes) | Body::Raw(bytes)) = &mut ask.body;
        match rng.below(8) {
            // Unknown fields: a number, a string, a message in a message, 8 bytes.
            0 => bytes.extend([0xc0, 0x3e, 0x05]),
            1 => bytes.extend([0xc2, 0x3e, 0x03, b'a', b'b', b'c']),
            2 => bytes.extend([0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8]),
            // The first field once more: the last one counts, and messages are merged.
            3 => {
                let again = bytes.clone();
                bytes.extend(again);
            }
            4 => {
                bytes.clear();
                ask.method = one_of(
                    rng,
                    &[
                        "KV/Range",
                        "KV/Put",
                        "KV/DeleteRange",
                        "KV/Txn",
                        "KV/Compact",
                        "Lease/LeaseRevoke",
                        "Lease/LeaseTimeToLive",
                        "Lock/Unlock",
                        "Election/Leader",
                        "Election/Resign",
                        "Election/Proclaim",
                        "Cluster/MemberPromote",
                        "Cluster/MemberAdd",
                        "Auth/UserGet",
                        "Auth/RoleGet",
                    ],
                );
            }
            _ => damage(rng, ask),
        }
    }
    operation
}

fn damage(rng: &mut Rng, ask: &mut Ask) {
    let (Body::Template(bytes) | Body::Raw(bytes)) = &ask.body;
    let mut bytes = bytes.clone();
    // Writes only lose their end: a key made of chance would stay, see `KEYS`.
    let writes = ["KV/Put", "KV/Txn", "KV/Compact"].contains(&ask.method);
    match rng.below(if writes { 1 } else { 3 }) {
        0 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
        1 => {
            let at = rng.below(bytes.len() as u64 + 1) as usize;
            bytes.insert(at, rng.below(256) as u8);
        }
        _ => {
            let at = rng.below(bytes.len() as u64) as usize;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
    if has_odd_tags(&bytes) {
        return;
    }
    ask.body = Body::Raw(bytes);
    // Leases made of chance would live for chance's time.
    if ask.method == "Lease/LeaseGrant" {
        ask.method = "Lease/LeaseTimeToLive";
    }
}

/// Groups, and fields beyond the highest number: etcd's library skips what nobody has written since protobuf 1, and
/// ours calls it malformed.
fn has_odd_tags(mut bytes: &[u8]) -> bool {
    while let Ok(tag) = decode_varint(&mut bytes) {
        let length = match tag & 7 {
            _ if tag >> 32 != 0 => return true,
            0 => {
                let _ = decode_varint(&mut bytes);
                0
            }
            1 => 8,
            2 => decode_varint(&mut bytes).map_or(usize::MAX, |n| n as usize),
            5 => 4,
            3 | 4 => return true,
            _ => return false,
        };
        bytes = bytes.get(length..).unwrap_or_default();
    }
    false
}
