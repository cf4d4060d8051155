//! The requests as both halves read them: borrowed views of the bytes that the client sent, and the
//! envelope in which they stand in the log.
//!
//! ```text
//!   log:   [ kind: 1 byte ][ the client's protobuf message, as it came ]
//! ```
//!
//! A kind's number is for ever: old logs are replayed. The views check nothing but the encoding; what a
//! request must not say is `check`'s matter.

use crate::scan::{Fields, Malformed, Value};
use crate::status::Refusal;
use bytes::Bytes;

/// Transactions within transactions, counting the outermost. etcd bounds it only by `max-txn-ops`
/// (each level takes one operation of it, 128 by default); here it bounds the stack as well.
pub(crate) const TXN_DEPTH_MAX: usize = 128;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a request in the log is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// The kind with this number.
            pub fn of_number(number: u8) -> Option<Kind> {
                match number { $($number => Some(Kind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// `PutRequest`.
    Put = 1,
    /// `DeleteRangeRequest`.
    DeleteRange = 2,
    /// `TxnRequest`.
    Txn = 3,
    /// `CompactionRequest`.
    Compact = 4,
    /// `LeaseGrantRequest`, with an id and a TTL that the session half has settled.
    LeaseGrant = 5,
    /// `LeaseRevokeRequest`.
    LeaseRevoke = 6,
    /// `AlarmRequest`, to activate or to deactivate.
    Alarm = 7,
    /// `AuthEnableRequest`.
    AuthEnable = 8,
    /// `AuthDisableRequest`.
    AuthDisable = 9,
    /// `AuthUserAddRequest`, with the password's hash and without the password.
    UserAdd = 10,
    /// `AuthUserDeleteRequest`.
    UserDelete = 11,
    /// `AuthUserChangePasswordRequest`, with the password's hash and without the password.
    UserChangePassword = 12,
    /// `AuthUserGrantRoleRequest`.
    UserGrantRole = 13,
    /// `AuthUserRevokeRoleRequest`.
    UserRevokeRole = 14,
    /// `AuthRoleAddRequest`.
    RoleAdd = 15,
    /// `AuthRoleDeleteRequest`.
    RoleDelete = 16,
    /// `AuthRoleGrantPermissionRequest`.
    RoleGrantPermission = 17,
    /// `AuthRoleRevokePermissionRequest`.
    RoleRevokePermission = 18,
    /// A token for a user whose password was checked: `auth::IssueToken`, a message of our own.
    IssueToken = 19,
}

/// Puts a request into its envelope.
pub(crate) fn envelope(kind: Kind, message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + message.len());
    out.push(kind as u8);
    out.extend_from_slice(message);
    Bytes::from(out)
}

/// Everything of a `RangeRequest` but its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RangeOptions {
    /// Keys at most; 0 or less for no limit.
    pub limit: i64,
    /// As of when; 0 or less for the present.
    pub revision: i64,
    /// 0 none, 1 ascending, 2 descending.
    pub sort_order: i32,
    /// 0 key, 1 version, 2 creation, 3 modification, 4 value.
    pub sort_target: i32,
    /// Whether the member's own state will do.
    pub serializable: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Leave the keys out.
    pub count_only: bool,
    /// Leave out what was modified before; 0 for no bound.
    pub min_mod_revision: i64,
    /// Leave out what was modified after; 0 for no bound.
    pub max_mod_revision: i64,
    /// Leave out what was created before; 0 for no bound.
    pub min_create_revision: i64,
    /// Leave out what was created after; 0 for no bound.
    pub max_create_revision: i64,
}

impl RangeOptions {
    /// Whether a filter by revision is set.
    pub fn is_filtered(&self) -> bool {
        self.min_mod_revision != 0
            || self.max_mod_revision != 0
            || self.min_create_revision != 0
            || self.max_create_revision != 0
    }
}

/// A `RangeRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RangeView<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) end: &'a [u8],
    pub(crate) options: RangeOptions,
}

impl<'a> RangeView<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<RangeView<'a>, Malformed> {
        let mut view = RangeView::default();
        let options = &mut view.options;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => view.key = value.bytes()?,
                2 => view.end = value.bytes()?,
                3 => options.limit = value.int()?,
                4 => options.revision = value.int()?,
                5 => options.sort_order = value.choice()?,
                6 => options.sort_target = value.choice()?,
                7 => options.serializable = value.flag()?,
                8 => options.keys_only = value.flag()?,
                9 => options.count_only = value.flag()?,
                10 => options.min_mod_revision = value.int()?,
                11 => options.max_mod_revision = value.int()?,
                12 => options.min_create_revision = value.int()?,
                13 => options.max_create_revision = value.int()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// A `PutRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PutView<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) lease: i64,
    pub(crate) prev_kv: bool,
    pub(crate) ignore_value: bool,
    pub(crate) ignore_lease: bool,
}

impl<'a> PutView<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<PutView<'a>, Malformed> {
        let mut view = PutView::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => view.key = value.bytes()?,
                2 => view.value = value.bytes()?,
                3 => view.lease = value.int()?,
                4 => view.prev_kv = value.flag()?,
                5 => view.ignore_value = value.flag()?,
                6 => view.ignore_lease = value.flag()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// A `DeleteRangeRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DeleteView<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) end: &'a [u8],
    pub(crate) prev_kv: bool,
}

impl<'a> DeleteView<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<DeleteView<'a>, Malformed> {
        let mut view = DeleteView::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => view.key = value.bytes()?,
                2 => view.end = value.bytes()?,
                3 => view.prev_kv = value.flag()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// What a comparison compares with. A union of another type than the target counts as zero, or as no
/// bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Operand<'a> {
    #[default]
    Nothing,
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(&'a [u8]),
    Lease(i64),
}

/// A `Compare`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CompareView<'a> {
    pub(crate) result: i32,
    pub(crate) target: i32,
    pub(crate) key: &'a [u8],
    pub(crate) end: &'a [u8],
    pub(crate) operand: Operand<'a>,
}

impl<'a> CompareView<'a> {
    fn read(message: &'a [u8]) -> Result<CompareView<'a>, Malformed> {
        let mut view = CompareView::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => view.result = value.choice()?,
                2 => view.target = value.choice()?,
                3 => view.key = value.bytes()?,
                4 => view.operand = Operand::Version(value.int()?),
                5 => view.operand = Operand::Create(value.int()?),
                6 => view.operand = Operand::Mod(value.int()?),
                7 => view.operand = Operand::Value(value.bytes()?),
                8 => view.operand = Operand::Lease(value.int()?),
                64 => view.end = value.bytes()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// A `RequestOp`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum OpView<'a> {
    Range(RangeView<'a>),
    Put(PutView<'a>),
    DeleteRange(DeleteView<'a>),
    Txn(TxnView<'a>),
    /// None of them is set; etcd answers "key not found".
    Empty,
}

impl<'a> OpView<'a> {
    fn read(message: &'a [u8], levels: usize, ops_max: usize) -> Result<OpView<'a>, Refusal> {
        let mut last = None;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            if (1..=4).contains(&field) {
                last = Some((field, value.bytes()?));
            }
        }
        Ok(match last {
            Some((1, body)) => OpView::Range(RangeView::read(body)?),
            Some((2, body)) => OpView::Put(PutView::read(body)?),
            Some((3, body)) => OpView::DeleteRange(DeleteView::read(body)?),
            Some((_, body)) => OpView::Txn(TxnView::read_within(body, levels, ops_max)?),
            None => OpView::Empty,
        })
    }
}

/// A `TxnRequest`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TxnView<'a> {
    pub(crate) compare: Vec<CompareView<'a>>,
    pub(crate) success: Vec<OpView<'a>>,
    pub(crate) failure: Vec<OpView<'a>>,
}

impl<'a> TxnView<'a> {
    /// Reads a transaction with all that is nested in it.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], or [`Refusal::TooManyOps`] when it is nested too deeply.
    pub(crate) fn read(message: &'a [u8]) -> Result<TxnView<'a>, Refusal> {
        TxnView::read_bounded(message, usize::MAX)
    }

    /// As [`TxnView::read`], of transactions that may have at most `ops_max` operations or comparisons in a list: of more
    /// only one more is read, so that they are seen to be too many.
    ///
    /// # Errors
    /// As [`TxnView::read`].
    pub(crate) fn read_bounded(message: &'a [u8], ops_max: usize) -> Result<TxnView<'a>, Refusal> {
        TxnView::read_within(message, TXN_DEPTH_MAX, ops_max)
    }

    fn read_within(
        message: &'a [u8],
        levels: usize,
        ops_max: usize,
    ) -> Result<TxnView<'a>, Refusal> {
        let Some(levels) = levels.checked_sub(1) else {
            return Err(Refusal::TooManyOps);
        };
        let mut view = TxnView::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            let ops = match field {
                1 if view.compare.len() <= ops_max => {
                    view.compare.push(CompareView::read(value.bytes()?)?);
                    continue;
                }
                2 => &mut view.success,
                3 => &mut view.failure,
                _ => continue,
            };
            if ops.len() <= ops_max {
                ops.push(OpView::read(value.bytes()?, levels, ops_max)?);
            }
        }
        Ok(view)
    }

    /// Whether it only reads. One with a transaction inside never counts, as in etcd.
    pub(crate) fn is_read_only(&self) -> bool {
        self.ops().all(|op| matches!(op, OpView::Range(_)))
    }

    /// Whether the member's own state will do: there are ranges, and all are serializable. etcd also
    /// lets a transaction of comparisons alone go without asking a majority; here that one is
    /// linearizable, because nobody said that it may be stale.
    pub(crate) fn is_serializable(&self) -> bool {
        self.ops().next().is_some()
            && self
                .ops()
                .all(|op| matches!(op, OpView::Range(range) if range.options.serializable))
    }

    /// The operations of both branches, not those of transactions inside.
    pub(crate) fn ops(&self) -> impl Iterator<Item = &OpView<'a>> {
        self.success.iter().chain(&self.failure)
    }
}

/// Two integer fields, 1 and 2: all that `CompactionRequest`, `LeaseGrantRequest`,
/// `LeaseRevokeRequest` and other small requests have.
pub(crate) fn two_integers(message: &[u8]) -> Result<(i64, i64), Malformed> {
    let (mut first, mut second) = (0, 0);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Varint(n)) => first = n as i64,
            (2, Value::Varint(n)) => second = n as i64,
            (1 | 2, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok((first, second))
}

/// Whether the bytes are a message at all, of fields that nobody asks for.
pub(crate) fn no_fields(message: &[u8]) -> Result<(), Malformed> {
    let mut fields = Fields::of(message);
    while fields.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb as pbs;
    use proptest::prelude::*;
    use prost::Message;

    /// However many there are: of four megabytes of them no more is kept than it takes to refuse them.
    #[test]
    fn of_too_many_operations_one_more_is_read_than_there_may_be() {
        let put = pbs::PutRequest {
            key: "k".into(),
            ..Default::default()
        };
        let op = pbs::RequestOp {
            request: Some(pbs::request_op::Request::RequestPut(put)),
        };
        let inner = pbs::TxnRequest {
            compare: vec![pbs::Compare::default(); 500],
            success: vec![op.clone(); 500],
            failure: vec![op; 7],
        };
        let outer = pbs::TxnRequest {
            success: vec![pbs::RequestOp {
                request: Some(pbs::request_op::Request::RequestTxn(inner.clone())),
            }],
            ..Default::default()
        };
        let lengths = |view: &TxnView<'_>| [&view.success, &view.failure].map(Vec::len);
        let message = inner.encode_to_vec();
        let view = TxnView::read_bounded(&message, 10).expect("a transaction");
        assert_eq!((view.compare.len(), lengths(&view)), (11, [11, 7]));
        let message = outer.encode_to_vec();
        let view = TxnView::read_bounded(&message, 10).expect("a transaction");
        let [OpView::Txn(view)] = &view.success[..] else {
            panic!("one is within");
        };
        assert_eq!((view.compare.len(), lengths(view)), (11, [11, 7]));
        let view = TxnView::read(&message).expect("a transaction");
        assert!(matches!(&view.success[..], [OpView::Txn(it)] if it.success.len() == 500));
    }

    /// Fields of small numbers with contents of all sorts, and some bytes that are no field at all.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..12);
        let field = prop_oneof![
            4 => (0u8..15, bytes()).prop_map(|(field, tail)| [vec![field << 3], tail].concat()),
            4 => (0u8..15, 0u8..12, bytes()).prop_map(|(field, length, tail)| {
                [vec![field << 3 | 2, length], tail].concat()
            }),
            1 => (0u8..15, 0u8..8, bytes()).prop_map(|(field, kind, tail)| {
                [vec![field << 3 | kind], tail].concat()
            }),
            // Varints around the ends of their range.
            2 => (0u8..15, any::<u64>(), 0u32..64).prop_map(|(field, number, shift)| {
                let mut out = vec![field << 3];
                crate::pb::varint(&mut out, number >> shift);
                out
            }),
            1 => (0u8..15, 0u8..4).prop_map(|(field, last)| {
                [vec![field << 3], vec![0xff; 9], vec![last]].concat()
            }),
        ];
        prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
    }

    /// Whether a group (wire types 3 and 4) may be in it: prost skips those, we refuse them.
    fn may_have_a_group(message: &[u8]) -> bool {
        message.iter().any(|byte| matches!(byte & 7, 3 | 4))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_put_is_what_prost_reads(message in message()) {
            match (PutView::read(&message), pbs::PutRequest::decode(&message[..])) {
                (Ok(view), Ok(request)) => {
                    prop_assert_eq!(view.key, &request.key[..]);
                    prop_assert_eq!(view.value, &request.value[..]);
                    prop_assert_eq!(view.lease, request.lease);
                    let flags = (request.prev_kv, request.ignore_value, request.ignore_lease);
                    prop_assert_eq!((view.prev_kv, view.ignore_value, view.ignore_lease), flags);
                }
                (Err(_), Err(_)) => {}
                (Err(_), Ok(_)) => prop_assert!(may_have_a_group(&message)),
                (Ok(view), Err(error)) => prop_assert!(false, "{view:?} but {error}"),
            }
        }

        #[test]
        fn a_range_is_what_prost_reads(message in message()) {
            match (RangeView::read(&message), pbs::RangeRequest::decode(&message[..])) {
                (Ok(view), Ok(request)) => {
                    prop_assert_eq!((view.key, view.end), (&request.key[..], &request.range_end[..]));
                    let expected = RangeOptions {
                        limit: request.limit,
                        revision: request.revision,
                        sort_order: request.sort_order,
                        sort_target: request.sort_target,
                        serializable: request.serializable,
                        keys_only: request.keys_only,
                        count_only: request.count_only,
                        min_mod_revision: request.min_mod_revision,
                        max_mod_revision: request.max_mod_revision,
                        min_create_revision: request.min_create_revision,
                        max_create_revision: request.max_create_revision,
                    };
                    prop_assert_eq!(view.options, expected);
                }
                (Err(_), Err(_)) => {}
                (Err(_), Ok(_)) => prop_assert!(may_have_a_group(&message)),
                (Ok(view), Err(error)) => prop_assert!(false, "{view:?} but {error}"),
            }
        }
    }
}
