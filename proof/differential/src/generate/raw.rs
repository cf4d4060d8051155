//! Bytes that no client of etcd's would send: fields that nobody knows, messages cut off, damaged, empty.

use super::{kv, one_of};
use crate::operation::{Ask, Body, Operation};
use base::Rng;
use prost::encoding::decode_varint;

/// One request with something wrong or something more.
///
/// With `is_next` nothing is damaged but by its end.
pub(super) fn operation(rng: &mut Rng, is_next: bool) -> Operation {
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
                ask.remember = None;
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
            _ => damage(rng, ask, is_next),
        }
    }
    operation
}

fn damage(rng: &mut Rng, ask: &mut Ask, is_next: bool) {
    let (Body::Template(bytes) | Body::Raw(bytes)) = &ask.body;
    let mut bytes = bytes.clone();
    // Writes only lose their end: a key made of chance would stay, see `KEYS`.
    let writes = ["KV/Put", "KV/Txn", "KV/Compact"].contains(&ask.method);
    match rng.below(if writes || is_next { 1 } else { 3 }) {
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
    // What one library takes and another does not may be asked of what changes nothing: then the answers are compared
    // as those to odd bytes.
    if is_odd(&bytes) && !READS.contains(&ask.method) && ask.method != "Lease/LeaseGrant" {
        return;
    }
    ask.body = Body::Raw(bytes);
    // Leases made of chance would live for chance's time.
    if ask.method == "Lease/LeaseGrant" {
        ask.method = "Lease/LeaseTimeToLive";
        ask.remember = None;
    }
}

/// Methods that change nothing, whatever their bytes come to mean.
const READS: &[&str] = &["KV/Range", "Lease/LeaseTimeToLive", "Lease/LeaseLeases"];

/// Whether bytes are a message to one library and none to another: groups, which nobody has written since protobuf 1,
/// fields beyond the highest number, numbers of more than 64 bits.
pub(crate) fn is_odd(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if is_overlong(bytes) {
            return true;
        }
        let Ok(tag) = decode_varint(&mut bytes) else {
            return false;
        };
        let length = match tag & 7 {
            _ if tag >> 32 != 0 => return true,
            0 => {
                if is_overlong(bytes) {
                    return true;
                }
                let _ = decode_varint(&mut bytes);
                0
            }
            1 => 8,
            2 if is_overlong(bytes) => return true,
            2 => decode_varint(&mut bytes).map_or(usize::MAX, |n| n as usize),
            5 => 4,
            3 | 4 => return true,
            _ => return false,
        };
        bytes = bytes.get(length..).unwrap_or_default();
    }
    false
}

/// Whether a number stands here of which more than 64 bits are written: etcd 3.6 loses those that are too many.
fn is_overlong(bytes: &[u8]) -> bool {
    let long = bytes.get(..10);
    long.is_some_and(|ten| ten[..9].iter().all(|byte| *byte >= 0x80) && (2..0x80).contains(&ten[9]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lease_that_is_granted_gets_a_name() {
        let mut rng = Rng::new(1);
        let mut n_remembered = 0;
        for _ in 0..20_000 {
            if let Operation::Ask(ask) = operation(&mut rng, false)
                && ask.remember.is_some()
            {
                // One who is asked about a lease and answers would count one more than one who refuses.
                assert_eq!(ask.method, "Lease/LeaseGrant", "{ask:?}");
                n_remembered += 1;
            }
        }
        assert!(n_remembered > 0);
    }

    #[test]
    fn odd_is_what_libraries_take_differently() {
        let minus_one = [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert!(!is_odd(&minus_one) && !is_odd(b"") && !is_odd(&[10, 1, b'a']));
        let mut overlong = minus_one;
        overlong[10] = 3;
        assert!(is_odd(&overlong));
        // A group, and a field whose number needs 33 bits.
        assert!(is_odd(&[0x0b, 0x0c]));
        assert!(is_odd(&[0x80, 0x80, 0x80, 0x80, 0x10, 0]));
        // Cut off: no library takes it.
        assert!(!is_odd(&[10, 5, b'a']));
    }
}
