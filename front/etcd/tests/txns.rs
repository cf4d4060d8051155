//! Transactions against a naive model: a map, copied whole, and etcd's rules word by word.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use bytes::Bytes;
use etcd::proto::etcdserverpb::{
    self as pb, compare::TargetUnion, request_op::Request, response_op::Response,
};
use etcd::proto::mvccpb::KeyValue;
use etcd::{Limits, Method, Plan, Refusal, Status};
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use support::World;

fn key(n: u8) -> Bytes {
    Bytes::from(vec![b'a' + n])
}

fn keys() -> impl Strategy<Value = (Bytes, Bytes)> {
    let end = prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(&[0])),
        2 => (0u8..6).prop_map(key),
    ];
    ((0u8..5).prop_map(key), end)
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    let union = prop_oneof![
        (0i64..4).prop_map(TargetUnion::Version),
        (0i64..6).prop_map(TargetUnion::CreateRevision),
        (0i64..6).prop_map(TargetUnion::ModRevision),
        "[xy]?".prop_map(|value| TargetUnion::Value(value.into())),
        (0i64..2).prop_map(TargetUnion::Lease),
    ];
    (
        keys(),
        0i32..4,
        0i32..5,
        prop::option::weighted(0.9, union),
        any::<bool>(),
    )
        .prop_map(|((key, range_end), result, target, union, matching)| {
            // Mostly the operand that goes with the target; sometimes another, which counts as zero.
            let target = match (&union, matching) {
                (Some(TargetUnion::Version(_)), true) => 0,
                (Some(TargetUnion::CreateRevision(_)), true) => 1,
                (Some(TargetUnion::ModRevision(_)), true) => 2,
                (Some(TargetUnion::Value(_)), true) => 3,
                (Some(TargetUnion::Lease(_)), true) => 4,
                _ => target,
            };
            pb::Compare {
                result,
                target,
                key,
                range_end,
                target_union: union,
            }
        })
}

fn op() -> impl Strategy<Value = pb::RequestOp> {
    let put = (
        (0u8..5).prop_map(key),
        "[xy]",
        0i64..2,
        any::<bool>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(key, value, lease, prev_kv, ignore_value)| {
            let value = if ignore_value {
                Bytes::new()
            } else {
                value.into()
            };
            Request::RequestPut(pb::PutRequest {
                key,
                value,
                lease,
                prev_kv,
                ignore_value,
                ignore_lease: false,
            })
        });
    let delete = (keys(), any::<bool>()).prop_map(|((key, range_end), prev_kv)| {
        Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key,
            range_end,
            prev_kv,
        })
    });
    let range = (keys(), prop_oneof![4 => Just(0i64), 1 => -2i64..9]).prop_map(
        |((key, range_end), revision)| {
            Request::RequestRange(pb::RangeRequest {
                key,
                range_end,
                revision,
                ..Default::default()
            })
        },
    );
    prop_oneof![8 => put, 4 => delete, 4 => range].prop_map(|request| pb::RequestOp {
        request: Some(request),
    })
}

fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let shape = |ops: BoxedStrategy<pb::RequestOp>| {
        let branch = || prop::collection::vec(ops.clone(), 0..4);
        (prop::collection::vec(compare(), 0..3), branch(), branch()).prop_map(
            |(compare, success, failure)| pb::TxnRequest {
                compare,
                success,
                failure,
            },
        )
    };
    shape(op().boxed())
        .boxed()
        .prop_recursive(3, 20, 3, move |inner| {
            let nested = inner.prop_map(|txn| pb::RequestOp {
                request: Some(Request::RequestTxn(txn)),
            });
            shape(prop_oneof![3 => op(), 2 => nested].boxed())
        })
}

// ---- the model ---------------------------------------------------------------------------------

/// Ranges that are deleted.
type Spans = Vec<(Bytes, Bytes)>;

/// Puts and deletes of some operations, as etcd's `checkIntervals` gathers them: lists, compared
/// pair by pair.
fn gather(ops: &[pb::RequestOp]) -> Option<(BTreeSet<Bytes>, Spans)> {
    let touches = |deletes: &[(Bytes, Bytes)], key: &Bytes| {
        deletes.iter().any(|(start, end)| {
            if end.is_empty() {
                key == start
            } else {
                start <= key && key < end
            }
        })
    };
    let mut puts = BTreeSet::new();
    let mut deletes = Vec::new();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            deletes.push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(txn)) = &op.request else {
            continue;
        };
        let (then_puts, then_deletes) = gather(&txn.success)?;
        let (else_puts, else_deletes) = gather(&txn.failure)?;
        let both = then_puts.union(&else_puts);
        if both
            .into_iter()
            .any(|key| puts.contains(key) || touches(&deletes, key))
        {
            return None;
        }
        puts.extend(then_puts);
        puts.extend(else_puts);
        deletes.extend(then_deletes);
        deletes.extend(else_deletes);
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request
            && (touches(&deletes, &put.key) || !puts.insert(put.key.clone()))
        {
            return None;
        }
    }
    Some((puts, deletes))
}

#[derive(Clone, Default)]
struct Model {
    kvs: BTreeMap<Bytes, KeyValue>,
    /// By revision; the first is revision 1.
    past: Vec<BTreeMap<Bytes, KeyValue>>,
}

impl Model {
    fn revision(&self) -> i64 {
        self.past.len() as i64
    }

    fn within(kvs: &BTreeMap<Bytes, KeyValue>, key: &Bytes, end: &Bytes) -> Vec<KeyValue> {
        let is_within = |k: &Bytes| match &end[..] {
            [] => k == key,
            [0] => k >= key,
            _ => k >= key && k < end,
        };
        kvs.values()
            .filter(|kv| is_within(&kv.key))
            .cloned()
            .collect()
    }

    fn holds(&self, compare: &pb::Compare) -> bool {
        let found = Model::within(&self.kvs, &compare.key, &compare.range_end);
        if found.is_empty() {
            return compare.target != 3 && Model::compares(compare, &KeyValue::default());
        }
        found.iter().all(|kv| Model::compares(compare, kv))
    }

    fn compares(compare: &pb::Compare, kv: &KeyValue) -> bool {
        let union = compare.target_union.as_ref();
        let number = |n: Option<i64>| n.unwrap_or(0);
        let ordering = match compare.target {
            0 => kv.version.cmp(&number(union.and_then(|u| {
                if let TargetUnion::Version(n) = u {
                    Some(*n)
                } else {
                    None
                }
            }))),
            1 => kv.create_revision.cmp(&number(union.and_then(|u| {
                if let TargetUnion::CreateRevision(n) = u {
                    Some(*n)
                } else {
                    None
                }
            }))),
            2 => kv.mod_revision.cmp(&number(union.and_then(|u| {
                if let TargetUnion::ModRevision(n) = u {
                    Some(*n)
                } else {
                    None
                }
            }))),
            3 => match union {
                Some(TargetUnion::Value(value)) => kv.value.cmp(value),
                _ => kv.value.cmp(&Bytes::new()),
            },
            _ => kv.lease.cmp(&number(union.and_then(|u| {
                if let TargetUnion::Lease(n) = u {
                    Some(*n)
                } else {
                    None
                }
            }))),
        };
        match compare.result {
            0 => ordering.is_eq(),
            1 => ordering.is_gt(),
            2 => ordering.is_lt(),
            _ => ordering.is_ne(),
        }
    }

    /// Replaces every transaction by the branch that it takes.
    fn flatten(&self, txn: &pb::TxnRequest) -> (bool, Vec<Step>) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let steps = ops.iter().map(|op| match op.request.as_ref().unwrap() {
            Request::RequestTxn(inner) => {
                let (succeeded, steps) = self.flatten(inner);
                Step::Txn(succeeded, steps)
            }
            simple => Step::Op(simple.clone()),
        });
        (succeeded, steps.collect())
    }

    /// The first operation that cannot be is the reason that is told.
    fn check(&self, steps: &[Step]) -> Result<(), Refusal> {
        for step in steps {
            match step {
                Step::Op(Request::RequestPut(put)) => {
                    if put.ignore_value && !self.kvs.contains_key(&put.key) {
                        return Err(Refusal::KeyNotFound);
                    }
                    if put.lease > 1 {
                        return Err(Refusal::LeaseNotFound);
                    }
                }
                Step::Op(Request::RequestRange(range)) if range.revision > self.revision() => {
                    return Err(Refusal::FutureRevision);
                }
                Step::Op(Request::RequestRange(range)) if range.revision < -1 => {
                    return Err(Refusal::Compacted);
                }
                Step::Txn(_, steps) => self.check(steps)?,
                Step::Op(_) => {}
            }
        }
        Ok(())
    }

    fn run(&mut self, steps: Vec<Step>, has_written: &mut bool) -> Vec<pb::ResponseOp> {
        let next = self.revision() + 1;
        let header = |revision| {
            Some(pb::ResponseHeader {
                revision,
                ..Default::default()
            })
        };
        let mut responses = Vec::new();
        for step in steps {
            let response = match step {
                Step::Txn(succeeded, steps) => Response::ResponseTxn(pb::TxnResponse {
                    header: header(0),
                    succeeded,
                    responses: self.run(steps, has_written),
                }),
                Step::Op(Request::RequestRange(range)) => {
                    let now = if *has_written { next } else { next - 1 };
                    let kvs = match range.revision {
                        ..=0 => Model::within(&self.kvs, &range.key, &range.range_end),
                        past => Model::within(
                            &self.past[past as usize - 1],
                            &range.key,
                            &range.range_end,
                        ),
                    };
                    let count = kvs.len() as i64;
                    Response::ResponseRange(pb::RangeResponse {
                        header: header(now),
                        kvs,
                        more: false,
                        count,
                    })
                }
                Step::Op(Request::RequestPut(put)) => {
                    *has_written = true;
                    let before = self.kvs.get(&put.key).cloned();
                    let kv = self.kvs.entry(put.key.clone()).or_insert(KeyValue {
                        key: put.key.clone(),
                        create_revision: next,
                        ..Default::default()
                    });
                    kv.mod_revision = next;
                    kv.version += 1;
                    if !put.ignore_value {
                        kv.value = put.value.clone();
                    }
                    kv.lease = put.lease;
                    let prev_kv = before.filter(|_| put.prev_kv);
                    Response::ResponsePut(pb::PutResponse {
                        header: header(next),
                        prev_kv,
                    })
                }
                Step::Op(Request::RequestDeleteRange(delete)) => {
                    let gone = Model::within(&self.kvs, &delete.key, &delete.range_end);
                    gone.iter().for_each(|kv| drop(self.kvs.remove(&kv.key)));
                    *has_written |= !gone.is_empty();
                    Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                        header: header(if *has_written { next } else { next - 1 }),
                        deleted: gone.len() as i64,
                        prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
                    })
                }
                Step::Op(Request::RequestTxn(_)) => unreachable!("flattened"),
            };
            responses.push(pb::ResponseOp {
                response: Some(response),
            });
        }
        responses
    }

    fn txn(&mut self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Refusal> {
        if gather(&txn.success).is_none() || gather(&txn.failure).is_none() {
            return Err(Refusal::DuplicateKey);
        }
        let (succeeded, steps) = self.flatten(txn);
        self.check(&steps)?;
        let mut has_written = false;
        let responses = self.run(steps, &mut has_written);
        if has_written {
            self.past.push(self.kvs.clone());
        }
        let header = Some(pb::ResponseHeader {
            cluster_id: 7,
            member_id: 1,
            revision: self.revision(),
            raft_term: 3,
        });
        Ok(pb::TxnResponse {
            header,
            succeeded,
            responses,
        })
    }
}

#[derive(Clone)]
enum Step {
    Op(Request),
    Txn(bool, Vec<Step>),
}

proptest! {
    #![proptest_config(support::cases(1500))]

    #[test]
    fn transactions_do_what_etcds_rules_say(txns in prop::collection::vec(txn(), 1..8)) {
        let mut world = World::new();
        let grant = pb::LeaseGrantRequest { id: 1, ttl: 60 };
        let _: pb::LeaseGrantResponse = world.call(Method::LeaseGrant, &grant).unwrap();
        let mut model = Model::default();
        model.past.push(BTreeMap::new());
        for txn in txns {
            let expected = model.txn(&txn).map_err(Status::from);
            let got = world.call_bytes(Method::Txn, txn.encode_to_vec().into());
            if let Ok(bytes) = &got {
                let again = pb::TxnResponse::decode(bytes.clone()).unwrap().encode_to_vec();
                prop_assert_eq!(&again[..], &bytes[..], "the bytes are those that prost would write");
            }
            let got = got.map(|bytes| pb::TxnResponse::decode(bytes).unwrap());
            prop_assert_eq!(got, expected, "{:#?}", txn);
            prop_assert_eq!(world.state.revision().0 as i64, model.revision());
        }
    }
}

#[test]
fn a_long_reading_transaction_is_answered_in_steps_that_add_up() {
    let mut world = World::new();
    for n in 0..1500 {
        world.put(&format!("k{n:04}"), "v");
    }
    let range = |limit, revision| pb::RequestOp {
        request: Some(Request::RequestRange(pb::RangeRequest {
            key: "k".into(),
            range_end: "l".into(),
            limit,
            revision,
            ..Default::default()
        })),
    };
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: "k".into(),
            range_end: "l".into(),
            result: 1,
            ..Default::default()
        }],
        success: vec![range(0, 0), range(3, 0), range(0, 700)],
        failure: vec![range(1, 0)],
    };
    let message: Bytes = txn.encode_to_vec().into();
    let query = etcd::Query::Txn(message);
    let Ok(etcd::Reply::Steps(mut steps)) = etcd::answer(&world.state, &query, &support::HEADER)
    else {
        panic!("too long for one step");
    };
    let mut n_steps = 0;
    let bytes = loop {
        n_steps += 1;
        if let Some(bytes) = steps.step(100) {
            break bytes.unwrap();
        }
    };
    assert!(n_steps > 20);
    let answer = pb::TxnResponse::decode(bytes.clone()).unwrap();
    assert!(answer.succeeded && answer.encode_to_vec() == bytes);
    let counts = answer.responses.iter().map(|op| match &op.response {
        Some(Response::ResponseRange(range)) => (range.kvs.len(), range.count, range.more),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [(1500, 1500, false), (3, 1500, true), (699, 699, false)]
    );
}

/// Operations count on each path: what a level has is not there for the levels below.
#[test]
fn too_many_operations_are_refused_level_by_level() {
    let put = |n: usize| pb::RequestOp {
        request: Some(Request::RequestPut(pb::PutRequest {
            key: Bytes::from(n.to_string()),
            ..Default::default()
        })),
    };
    let nested = |txn: pb::TxnRequest| pb::RequestOp {
        request: Some(Request::RequestTxn(txn)),
    };
    let flat = |n: usize| pb::TxnRequest {
        success: (0..n).map(put).collect(),
        ..Default::default()
    };
    let within = |outer: usize, inner: usize| {
        let mut txn = flat(outer - 1);
        let mut deep = flat(0);
        deep.failure = (1000..1000 + inner).map(put).collect();
        txn.success.push(nested(deep));
        txn
    };
    let comparisons = |n: usize| pb::TxnRequest {
        compare: (0..n)
            .map(|n| pb::Compare {
                key: Bytes::from(n.to_string()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let mut world = World::new();
    let mut plan =
        |txn: pb::TxnRequest| world.session.plan(Method::Txn, txn.encode_to_vec().into());
    for right in [flat(128), within(1, 127), within(100, 28), comparisons(128)] {
        assert!(plan(right).is_ok());
    }
    for wrong in [flat(129), within(1, 128), within(100, 29), comparisons(129)] {
        assert_eq!(plan(wrong), Err(Refusal::TooManyOps.into()));
    }
}

#[test]
fn a_transaction_that_reads_is_not_proposed() {
    let mut world = World::new();
    let range = |serializable| pb::RequestOp {
        request: Some(Request::RequestRange(pb::RangeRequest {
            key: "a".into(),
            serializable,
            ..Default::default()
        })),
    };
    let mut linearizable = |success: Vec<pb::RequestOp>| {
        let txn = pb::TxnRequest {
            success,
            ..Default::default()
        };
        match world
            .session
            .plan(Method::Txn, txn.encode_to_vec().into())
            .unwrap()
        {
            Plan::Read(read) => Some(read.linearizable),
            _ => None,
        }
    };
    assert_eq!(linearizable(vec![range(false)]), Some(true));
    assert_eq!(linearizable(vec![range(true)]), Some(false));
    assert_eq!(linearizable(vec![range(true), range(false)]), Some(true));
    // etcd lets this one go unasked; nobody said that it may be stale.
    assert_eq!(linearizable(vec![]), Some(true));
    let nested = Request::RequestTxn(pb::TxnRequest::default());
    assert_eq!(
        linearizable(vec![pb::RequestOp {
            request: Some(nested)
        }]),
        None
    );
}

#[test]
fn a_request_is_too_large_at_the_configured_limit() {
    let limits = Limits {
        request_bytes_max: 100,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let put = |n: usize| pb::PutRequest {
        key: "k".into(),
        value: vec![b'v'; n].into(),
        ..Default::default()
    };
    let mut plan = |n| {
        world
            .session
            .plan(Method::Put, put(n).encode_to_vec().into())
    };
    assert!(plan(90).is_ok());
    assert_eq!(plan(100), Err(Refusal::RequestTooLarge.into()));
    // A read does not enter the log.
    let range = pb::RangeRequest {
        key: vec![b'k'; 500].into(),
        ..Default::default()
    };
    assert!(
        world
            .session
            .plan(Method::Range, range.encode_to_vec().into())
            .is_ok()
    );
}

/// Keys of which a transaction of 128 operations cannot read all in each of them.
const MANY: usize = 17_000;

fn world_of_many(version: u16) -> World {
    let mut world = World::of_version(Limits::default(), version);
    let put = |n: usize| pb::RequestOp {
        request: Some(Request::RequestPut(pb::PutRequest {
            key: format!("k{n:05}").into(),
            ..Default::default()
        })),
    };
    for from in (0..MANY).step_by(100) {
        let txn = pb::TxnRequest {
            success: (from..from + 100).map(put).collect(),
            ..Default::default()
        };
        let _: pb::TxnResponse = world.call(Method::Txn, &txn).unwrap();
    }
    world.put("other", "");
    world
}

/// Counts of what there was at a revision before the last: all of it is looked at each time.
fn counts(n: usize, world: &World) -> Vec<pb::RequestOp> {
    let range = pb::RangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        count_only: true,
        revision: world.state.revision().0 as i64 - 1,
        ..Default::default()
    };
    let request = Some(Request::RequestRange(range));
    vec![pb::RequestOp { request }; n]
}

/// Comparisons that hold for every key.
fn comparisons(n: usize) -> Vec<pb::Compare> {
    let compare = pb::Compare {
        key: "k".into(),
        range_end: "l".into(),
        result: 1,
        ..Default::default()
    };
    vec![compare; n]
}

#[test]
fn a_transaction_reads_within_bounds_from_version_four_on() {
    let refused = Err(Refusal::TxnReadsTooMuch.into());
    let write = pb::RequestOp {
        request: Some(Request::RequestPut(pb::PutRequest {
            key: "mark".into(),
            ..Default::default()
        })),
    };
    for version in [3, 4] {
        let mut world = world_of_many(version);
        let before = world.state.revision();
        for (ranges, compares) in [(127, 0), (0, 128), (63, 64)] {
            let mut success = vec![write.clone()];
            success.extend(counts(ranges, &world));
            let txn = pb::TxnRequest {
                compare: comparisons(compares),
                success,
                ..Default::default()
            };
            let done = world
                .call(Method::Txn, &txn)
                .map(|it: pb::TxnResponse| it.succeeded);
            match version {
                3 => assert_eq!(done, Ok(true), "{ranges} and {compares}"),
                _ => assert_eq!(done, refused, "{ranges} and {compares}"),
            }
        }
        let n_written = world.state.revision().0 - before.0;
        assert_eq!(
            n_written,
            if version == 3 { 3 } else { 0 },
            "a refusal writes nothing"
        );
        // What honest clients ask is far below.
        let txn = pb::TxnRequest {
            compare: comparisons(20),
            success: [counts(20, &world), vec![write.clone()]].concat(),
            ..Default::default()
        };
        let done: pb::TxnResponse = world.call(Method::Txn, &txn).unwrap();
        assert_eq!(done.responses.len(), 21);
    }
}

#[test]
fn a_transaction_that_only_reads_has_the_same_bounds_at_any_version() {
    let mut world = world_of_many(3);
    let refused = Err(Refusal::TxnReadsTooMuch.into());
    for (ranges, compares) in [(128, 0), (0, 128), (64, 64)] {
        let txn = pb::TxnRequest {
            compare: comparisons(compares),
            success: counts(ranges, &world),
            ..Default::default()
        };
        let done = world
            .call(Method::Txn, &txn)
            .map(|it: pb::TxnResponse| it.succeeded);
        assert_eq!(done, refused, "{ranges} and {compares}");
    }
}

#[test]
fn what_a_transaction_would_answer_is_measured_before_it_writes() {
    let mut world = World::new();
    world.put("big", &"x".repeat(1_000_000));
    let range = |n: usize| {
        let range = pb::RangeRequest {
            key: "big".into(),
            ..Default::default()
        };
        let request = Some(Request::RequestRange(range));
        vec![pb::RequestOp { request }; n]
    };
    let within = |n: usize| pb::RequestOp {
        request: Some(Request::RequestTxn(pb::TxnRequest {
            success: range(n),
            ..Default::default()
        })),
    };
    let txn = |inner: &[usize]| pb::TxnRequest {
        success: inner.iter().map(|n| within(*n)).collect(),
        ..Default::default()
    };
    let before = world.state.revision();
    // 300 MB, and 20.
    let refused = Err(Refusal::TxnReadsTooMuch.into());
    let mut ask = |inner: &[usize]| {
        let done = world.call(Method::Txn, &txn(inner));
        done.map(|it: pb::TxnResponse| it.responses.len())
    };
    assert_eq!(ask(&[100, 100, 100]), refused);
    assert_eq!(ask(&[10, 10]), Ok(2));
    assert_eq!(world.state.revision(), before);
}
