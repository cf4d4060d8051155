//! Ranges against a naive model: a list of whole pictures, one per revision.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use bytes::Bytes;
use etcd::proto::{etcdserverpb as pb, mvccpb};
use etcd::{HeaderParts, Method, Plan, Query, RangeAnswer, RangeChunks, Refusal, Status};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use support::{HEADER, World};

type Picture = BTreeMap<Bytes, mvccpb::KeyValue>;

#[derive(Clone, Debug)]
enum Write {
    Put(u8, u8),
    Delete(u8, u8),
}

fn key(n: u8) -> Bytes {
    Bytes::from(vec![b'a' + n])
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        4 => (0u8..8, any::<u8>()).prop_map(|(k, v)| Write::Put(k, v % 4)),
        1 => (0u8..8, 1u8..4).prop_map(|(k, n)| Write::Delete(k, n)),
    ];
    prop::collection::vec(write, 0..25)
}

fn request() -> impl Strategy<Value = pb::RangeRequest> {
    let bound = prop_oneof![3 => Just(0i64), 2 => 1i64..20];
    let end = prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(&[0])),
        (0u8..9).prop_map(key),
    ];
    let keys = (0u8..8, end).prop_map(|(start, end)| (key(start), end));
    let revision = prop_oneof![2 => Just(0i64), 2 => -1i64..25];
    let sort = (0i32..3, 0i32..5);
    let flags = (any::<bool>(), prop::bool::weighted(0.2));
    let bounds = (bound.clone(), bound.clone(), bound.clone(), bound);
    (keys, -1i64..6, revision, sort, flags, bounds).prop_map(
        |((key, range_end), limit, revision, sort, flags, bounds)| pb::RangeRequest {
            key,
            range_end,
            limit,
            revision,
            sort_order: sort.0,
            sort_target: sort.1,
            serializable: true,
            keys_only: flags.0,
            count_only: flags.1,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        },
    )
}

/// Writes to both; the pictures by revision, the first being revision 1.
fn perform(world: &mut World, writes: &[Write]) -> Vec<Picture> {
    let mut pictures = vec![Picture::new()];
    for write in writes {
        let mut picture = pictures.last().unwrap().clone();
        let revision = pictures.len() as i64 + 1;
        match write {
            Write::Put(k, v) => {
                let (key, value) = (key(*k), Bytes::from(vec![b'0' + v; *v as usize]));
                let request = pb::PutRequest {
                    key: key.clone(),
                    value: value.clone(),
                    ..Default::default()
                };
                let _: pb::PutResponse = world.call(Method::Put, &request).unwrap();
                let kv = picture.entry(key.clone()).or_insert(mvccpb::KeyValue {
                    key,
                    create_revision: revision,
                    ..Default::default()
                });
                kv.mod_revision = revision;
                kv.version += 1;
                kv.value = value;
            }
            Write::Delete(k, n) => {
                let request = pb::DeleteRangeRequest {
                    key: key(*k),
                    range_end: key(k + n),
                    prev_kv: false,
                };
                let answer: pb::DeleteRangeResponse =
                    world.call(Method::DeleteRange, &request).unwrap();
                let before = picture.len();
                picture.retain(|key, _| !(*key >= request.key && *key < request.range_end));
                assert_eq!(answer.deleted as usize, before - picture.len());
                if answer.deleted == 0 {
                    continue;
                }
            }
        }
        pictures.push(picture);
    }
    pictures
}

/// What etcd's own code does, step by step, without any cleverness.
fn naive(
    pictures: &[Picture],
    compacted: i64,
    request: &pb::RangeRequest,
) -> Result<pb::RangeResponse, Refusal> {
    let current = pictures.len() as i64;
    let at = if request.revision <= 0 {
        current
    } else {
        request.revision
    };
    if at > current {
        return Err(Refusal::FutureRevision);
    }
    if at < compacted {
        return Err(Refusal::Compacted);
    }
    let within = |key: &Bytes| match &request.range_end[..] {
        [] => *key == request.key,
        [0] => *key >= request.key,
        end => *key >= request.key && &key[..] < end,
    };
    let all: Vec<mvccpb::KeyValue> = pictures[at as usize - 1]
        .values()
        .filter(|kv| within(&kv.key))
        .cloned()
        .collect();
    let mut answer = pb::RangeResponse {
        header: Some(pb::ResponseHeader {
            cluster_id: 7,
            member_id: 1,
            revision: current,
            raft_term: 3,
        }),
        count: all.len() as i64,
        ..Default::default()
    };
    if request.count_only {
        return Ok(answer);
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    let mut kvs = all;
    if request.sort_order == 0 && filters == [0; 4] && request.limit > 0 {
        kvs.truncate(request.limit as usize + 1);
    }
    kvs.retain(|kv| {
        (request.max_mod_revision == 0 || kv.mod_revision <= request.max_mod_revision)
            && kv.mod_revision >= request.min_mod_revision
            && (request.max_create_revision == 0
                || kv.create_revision <= request.max_create_revision)
            && kv.create_revision >= request.min_create_revision
    });
    let by = |a: &mvccpb::KeyValue, b: &mvccpb::KeyValue| match request.sort_target {
        0 => a.key.cmp(&b.key),
        1 => a.version.cmp(&b.version),
        2 => a.create_revision.cmp(&b.create_revision),
        3 => a.mod_revision.cmp(&b.mod_revision),
        _ => a.value.cmp(&b.value),
    };
    kvs.sort_by(|a, b| {
        if request.sort_order == 2 {
            by(b, a)
        } else {
            by(a, b)
        }
    });
    if request.limit > 0 && kvs.len() > request.limit as usize {
        kvs.truncate(request.limit as usize);
        answer.more = true;
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    answer.kvs = kvs;
    Ok(answer)
}

proptest! {
    #![proptest_config(support::cases(600))]

    #[test]
    fn every_option_means_what_it_means_in_etcd(
        writes in writes(),
        requests in prop::collection::vec(request(), 1..12),
        compacted in 0i64..20,
    ) {
        let mut world = World::new();
        let pictures = perform(&mut world, &writes);
        let compacted = if compacted < pictures.len() as i64 { compacted } else { 0 };
        if compacted > 0 {
            world.compact(compacted);
        }
        for request in requests {
            let expected = naive(&pictures, compacted, &request).map_err(Status::from);
            let body: Bytes = request.encode_to_vec().into();
            let got = world.call_bytes(Method::Range, body.clone());
            if let Ok(bytes) = &got {
                let again = pb::RangeResponse::decode(bytes.clone()).unwrap().encode_to_vec();
                prop_assert_eq!(&again[..], &bytes[..], "the bytes are those that prost would write");
            }
            let decoded = got.map(|bytes| pb::RangeResponse::decode(bytes).unwrap());
            prop_assert_eq!(&decoded, &expected, "{:?}", request);

            let Ok(Plan::Read(read)) = world.session.plan(Method::Range, body) else {
                panic!("a range is a read");
            };
            prop_assert!(!read.linearizable);
            let Query::Range(query) = read.query else { panic!("of keys") };
            for rows in [1, 2, 3, 100] {
                match RangeAnswer::begin(&world.state, &query, &HEADER) {
                    Ok(mut steps) => {
                        let bytes = loop {
                            if let Some(bytes) = steps.step(rows) { break bytes }
                        };
                        prop_assert_eq!(pb::RangeResponse::decode(bytes).unwrap(), expected.clone().unwrap());
                    }
                    Err(status) => prop_assert_eq!(Err(status), expected.clone()),
                }
            }
        }
    }
}

#[test]
fn a_stream_of_chunks_adds_up_to_the_answer() {
    let mut world = World::new();
    for n in 0..500 {
        world.put(&format!("k{n:04}"), &"v".repeat(n % 40));
    }
    for (limit, count_only) in [
        (0, false),
        (1, false),
        (10, false),
        (11, false),
        (499, false),
        (0, true),
    ] {
        let request = pb::RangeRequest {
            key: "k".into(),
            range_end: "l".into(),
            limit,
            count_only,
            ..Default::default()
        };
        let body: Bytes = request.encode_to_vec().into();
        let Ok(Plan::ReadStream(read)) = world.session.plan(Method::RangeStream, body) else {
            panic!("a stream of a range");
        };
        assert!(read.linearizable);
        let Query::Range(query) = read.query else {
            panic!("of keys")
        };
        let mut chunks = RangeChunks::begin(&world.state, &query, &HEADER, 2000).unwrap();
        let mut whole = pb::RangeResponse::default();
        let mut sizes = Vec::new();
        while let Some(bytes) = chunks.next_message() {
            let chunk = pb::RangeStreamResponse::decode(bytes)
                .unwrap()
                .range_response
                .unwrap();
            assert!(whole.header.is_none(), "only the last message has a header");
            sizes.push(chunk.kvs.len());
            whole.merge(&chunk.encode_to_vec()[..]).unwrap();
        }
        let expected: pb::RangeResponse = world.call(Method::Range, &request).unwrap();
        assert_eq!(whole, expected, "limit {limit}");
        assert!(sizes[0] <= 10, "begins small: {sizes:?}");
    }
}

#[test]
fn a_stream_refuses_what_etcd_refuses() {
    let mut world = World::new();
    let base = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let mut refused = |request: pb::RangeRequest| {
        world
            .session
            .plan(Method::RangeStream, request.encode_to_vec().into())
            .unwrap_err()
    };
    let filtered = pb::RangeRequest {
        min_mod_revision: 1,
        ..base.clone()
    };
    assert_eq!(refused(filtered), Refusal::RangeStreamFilter.into());
    let sorted = pb::RangeRequest {
        sort_order: 2,
        ..base.clone()
    };
    assert_eq!(refused(sorted), Refusal::RangeStreamSort.into());
    let sorted = pb::RangeRequest {
        sort_order: 1,
        sort_target: 1,
        ..base.clone()
    };
    assert_eq!(refused(sorted.clone()), Refusal::RangeStreamSort.into());
    // Of two things wrong the order is named.
    let both = pb::RangeRequest {
        min_mod_revision: 1,
        ..sorted
    };
    assert_eq!(refused(both), Refusal::RangeStreamSort.into());
    // What it would be sorted by, if it were.
    let unsorted = pb::RangeRequest {
        sort_target: 1,
        ..base.clone()
    };
    let mut plan = |request: pb::RangeRequest| {
        let body = request.encode_to_vec().into();
        match world.session.plan(Method::RangeStream, body) {
            Ok(Plan::ReadStream(read)) => read.query,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(plan(unsorted), plan(base));
}

#[test]
fn a_long_answer_sees_one_revision_while_writes_go_on() {
    let mut world = World::new();
    for n in 0..100 {
        world.put(&format!("k{n:03}"), "old");
    }
    let query = etcd::RangeQuery {
        range: store::KeyRange::prefix("k"),
        options: Default::default(),
    };
    let mut steps = RangeAnswer::begin(&world.state, &query, &HeaderParts::default()).unwrap();
    assert_eq!(steps.count(), 100);
    let bytes = loop {
        if let Some(bytes) = steps.step(7) {
            break bytes;
        }
        world.put("k050", "new");
        world.delete("k099");
        world.compact(world.state.revision().0 as i64);
        while world.store.sweep(1000) {}
    };
    let answer = pb::RangeResponse::decode(bytes).unwrap();
    assert_eq!(answer.kvs.len(), 100);
    assert!(answer.kvs.iter().all(|kv| kv.value == "old"));
    assert_eq!(answer.header.unwrap().revision, 101);
}
