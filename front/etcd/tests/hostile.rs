//! Bytes from outside never crash a member: every method, both streams, and the log's envelope.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use bytes::Bytes;
use etcd::proto::etcdserverpb as pb;
use etcd::{LeaseStream, Method};
use proptest::prelude::*;
use prost::Message;
use support::World;

/// Bytes that look like protobuf more often than chance: small tags, small lengths, some keys.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1u8..14, any::<u8>()).prop_map(|(field, n)| vec![field << 3, n & 0x7f]),
        (1u8..14, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(field, bytes)| {
            [&[field << 3 | 2, bytes.len() as u8], &bytes[..]].concat()
        }),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    let message = leaf.prop_recursive(5, 64, 6, |inner| {
        (1u8..5, prop::collection::vec(inner, 0..6)).prop_map(|(field, parts)| {
            let body = parts.concat();
            let mut out = vec![field << 3 | 2];
            prost::encoding::encode_varint(body.len() as u64, &mut out);
            [out, body].concat()
        })
    });
    prop::collection::vec(message, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(support::cases(2000))]

    #[test]
    fn any_bytes_are_answered_by_every_method(body in likely()) {
        let mut world = World::new();
        world.put("a", "1");
        for method in Method::ALL {
            let _ = world.call_bytes(*method, Bytes::from(body.clone()));
        }
    }

    #[test]
    fn any_bytes_in_the_log_are_decided(kind in 0u8..10, body in likely()) {
        let mut world = World::new();
        world.put("a", "1");
        let revision = world.state.revision();
        let request = [&[kind][..], &body].concat();
        if world.apply(&request).is_err() {
            prop_assert_eq!(world.state.revision(), revision, "a refusal takes no revision");
        }
        let _ = world.apply(&[]);
        world.put("a", "2");
    }

    #[test]
    fn any_bytes_on_a_stream_are_answered_or_end_it(requests in prop::collection::vec(likely(), 1..5)) {
        let mut world = World::new();
        world.put("a", "1");
        let stream = world.desk.open();
        let mut renewals = LeaseStream::new();
        for request in requests {
            let _ = renewals.handle(&request);
            let request = Bytes::from(request);
            if world.desk.handle(stream, &request, &world.state).is_err() {
                world.desk.close(stream);
            }
            world.put("a", "2");
            world.drain(stream);
        }
    }
}

#[test]
fn a_request_of_no_fields_must_be_a_message_too() {
    let mut world = World::new();
    let methods = [
        Method::LeaseLeases,
        Method::Status,
        Method::Defragment,
        Method::Hash,
        Method::AuthStatus,
    ];
    for method in methods {
        // The second field is cut off.
        let cut = Bytes::from_static(&[0xc0, 0x3e, 5, 0xc2, 0x3e, 9, b'a']);
        let refused = world.session.plan(method, cut);
        assert_eq!(refused, Err(etcd::Refusal::Malformed.into()), "{method:?}");
        // Fields that nobody knows are no mistake.
        let more = Bytes::from_static(&[0xc0, 0x3e, 5, 0xc2, 0x3e, 1, b'a']);
        assert!(world.session.plan(method, more).is_ok(), "{method:?}");
    }
}

#[test]
fn a_transaction_nested_beyond_reason_is_refused() {
    // Ten thousand levels in a few bytes each: prost alone would refuse at a hundred, a naive reader
    // would leave the stack.
    let mut body = Vec::new();
    for _ in 0..10_000 {
        let mut op = vec![0x22]; // RequestOp.request_txn
        prost::encoding::encode_varint(body.len() as u64, &mut op);
        op.append(&mut body);
        body = vec![0x12]; // TxnRequest.success
        prost::encoding::encode_varint(op.len() as u64, &mut body);
        body.append(&mut op);
    }
    let mut world = World::new();
    let refused = world
        .call_bytes(Method::Txn, body.clone().into())
        .unwrap_err();
    assert_eq!(refused, etcd::Refusal::TooManyOps.into());
    let logged = [&[etcd::Kind::Txn as u8][..], &body].concat();
    assert_eq!(
        world.apply(&logged).unwrap_err(),
        etcd::Refusal::TooManyOps.into()
    );
}

#[test]
fn a_transaction_of_very_many_operations_in_few_bytes_is_checked_quickly() {
    // Levels multiply what siblings add: this has tens of thousands of puts and deletes within the
    // limit of 128 operations a path. Pairwise comparison would take minutes.
    let mut n = 0u64;
    let leaves = |n: &mut u64| {
        let mut txn = pb::TxnRequest::default();
        for _ in 0..40 {
            *n += 1;
            let key = Bytes::from(format!("{n:x}"));
            let put = pb::PutRequest {
                key: key.clone(),
                ..Default::default()
            };
            let delete = pb::DeleteRangeRequest {
                key: Bytes::from(format!("z{n:x}")),
                range_end: Bytes::from(format!("z{n:x}z")),
                ..Default::default()
            };
            for request in [
                pb::request_op::Request::RequestPut(put),
                pb::request_op::Request::RequestDeleteRange(delete),
            ] {
                txn.success.push(pb::RequestOp {
                    request: Some(request),
                });
            }
        }
        txn
    };
    let wide = |inner: &mut dyn FnMut() -> pb::TxnRequest, by: usize| {
        let mut txn = pb::TxnRequest::default();
        for _ in 0..by {
            let request = Some(pb::request_op::Request::RequestTxn(inner()));
            txn.success.push(pb::RequestOp { request });
        }
        txn
    };
    let mut middle = || {
        let mut n_here = std::mem::take(&mut n);
        let txn = leaves(&mut n_here);
        n = n_here;
        txn
    };
    let whole = wide(&mut middle, 45);
    let mut world = World::new();
    let answer: pb::TxnResponse = world.call(Method::Txn, &whole).unwrap();
    assert_eq!(answer.responses.len(), 45);
    assert!(whole.encoded_len() < 200_000);
}
