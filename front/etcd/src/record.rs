//! Store records as `mvccpb.KeyValue`, written straight from the record into the answer.

use crate::pb;
use bytes::Bytes;
use store::{KeyRange, Record};

/// Whether values are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    Keep,
    Drop,
}

/// Writes `record` as a `KeyValue` in `field`.
pub(crate) fn write(out: &mut Vec<u8>, field: u32, record: &Record, values: Values) {
    let (key, value) = (record.key(), record.value());
    let value = match values {
        Values::Keep => value,
        Values::Drop => &[],
    };
    let (created, modified) = (record.create_revision().0, record.mod_revision().0);
    let (version, lease) = (record.version(), record.lease().0 as u64);
    let length = pb::bytes_len(1, key.len())
        + pb::uint_len(2, created)
        + pb::uint_len(3, modified)
        + pb::uint_len(4, version)
        + pb::bytes_len(5, value.len())
        + pb::uint_len(6, lease);
    out.reserve(pb::message_len(field, length));
    pb::message(out, field, length);
    pb::bytes(out, 1, key);
    pb::uint(out, 2, created);
    pb::uint(out, 3, modified);
    pb::uint(out, 4, version);
    pb::bytes(out, 5, value);
    pb::uint(out, 6, lease);
}

/// Writes the fields of `record` as a `KeyValue` of its own: what etcd keeps.
pub(crate) fn write_fields(out: &mut Vec<u8>, record: &Record) {
    pb::bytes(out, 1, record.key());
    pb::uint(out, 2, record.create_revision().0);
    pb::uint(out, 3, record.mod_revision().0);
    pb::uint(out, 4, record.version());
    pb::bytes(out, 5, record.value());
    pb::uint(out, 6, record.lease().0 as u64);
}

/// What a tombstone is on the wire: the key, and when it went.
pub(crate) fn write_tombstone(out: &mut Vec<u8>, field: u32, record: &Record) {
    let (key, modified) = (record.key(), record.mod_revision().0);
    let length = pb::bytes_len(1, key.len()) + pb::uint_len(3, modified);
    pb::message(out, field, length);
    pb::bytes(out, 1, key);
    pb::uint(out, 3, modified);
}

/// The keys that `key` and `range_end` of a request mean.
pub(crate) fn key_range(key: Bytes, end: Bytes) -> KeyRange {
    match &end[..] {
        [] => KeyRange::single(key),
        [0] => KeyRange::from(key),
        _ => KeyRange::between(key, end),
    }
}

/// As [`key_range`], from borrowed bytes.
pub(crate) fn key_range_of(key: &[u8], end: &[u8]) -> KeyRange {
    key_range(Bytes::copy_from_slice(key), Bytes::copy_from_slice(end))
}
