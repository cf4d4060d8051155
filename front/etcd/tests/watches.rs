//! The traps of watching, each as a claim. The everyday stories are in `golden/watch.txt`.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::{Instant, Mutants};
use etcd::proto::etcdserverpb as pb;
use etcd::proto::etcdserverpb::watch_request::RequestUnion;
use etcd::{Limits, StreamId};
use proptest::prelude::*;
use prost::Message;
use std::time::Duration;
use support::{World, decode};

fn create(request: pb::WatchCreateRequest) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request)),
    }
}

fn watch(key: &'static str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: key.into(),
        ..Default::default()
    }
}

fn all_from(start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision,
        ..Default::default()
    }
}

fn progress() -> pb::WatchRequest {
    let request = pb::WatchProgressRequest {};
    pb::WatchRequest {
        request_union: Some(RequestUnion::ProgressRequest(request)),
    }
}

fn world_with_stream() -> (World, StreamId) {
    let mut world = World::new();
    let stream = world.desk.open();
    (world, stream)
}

fn values(responses: &[pb::WatchResponse]) -> Vec<String> {
    let events = responses.iter().flat_map(|response| &response.events);
    events
        .map(|event| String::from_utf8_lossy(&event.kv.as_ref().unwrap().value).into_owned())
        .collect()
}

#[test]
fn created_precedes_events_even_of_the_past() {
    let (mut world, stream) = world_with_stream();
    world.put("a", "1");
    let at_once = world.watch(
        stream,
        create(pb::WatchCreateRequest {
            start_revision: 2,
            ..watch("a")
        }),
    );
    assert!(at_once.len() == 1 && at_once[0].created && at_once[0].events.is_empty());
    assert_eq!(values(&world.drain(stream)), ["1"]);
}

#[test]
fn one_revision_is_one_response_however_large_unless_fragments_are_allowed() {
    let limits = Limits {
        request_bytes_max: 1000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (whole, split) = (world.desk.open(), world.desk.open());
    world.watch(whole, create(all_from(0)));
    world.watch(
        split,
        create(pb::WatchCreateRequest {
            fragment: true,
            ..all_from(0)
        }),
    );
    // Fragments are cut at the limit and 512 KiB: 40 puts of 20 KB are 800 KB.
    let puts = (0..40).map(|n| pb::PutRequest {
        key: format!("k{n:02}").into(),
        value: vec![b'v'; 20_000].into(),
        ..Default::default()
    });
    let txn = pb::TxnRequest {
        success: puts
            .map(|put| pb::RequestOp {
                request: Some(pb::request_op::Request::RequestPut(put)),
            })
            .collect(),
        ..Default::default()
    };
    world
        .apply(&[&[etcd::Kind::Txn as u8][..], &txn.encode_to_vec()].concat())
        .unwrap();

    let responses = world.drain(whole);
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].events.len(), 40);
    assert!(!responses[0].fragment);

    let fragments = world.drain(split);
    assert!(fragments.len() > 1, "{}", fragments.len());
    let (last, first) = fragments.split_last().unwrap();
    assert!(first.iter().all(|response| response.fragment) && !last.fragment);
    assert!(
        fragments
            .iter()
            .all(|response| response.encoded_len() <= 1000 + 512 * 1024)
    );
    assert!(
        fragments
            .iter()
            .all(|response| response.header.unwrap().revision == 2)
    );
    let joined: Vec<_> = fragments
        .iter()
        .flat_map(|response| response.events.clone())
        .collect();
    assert_eq!(joined, responses[0].events);
}

#[test]
fn an_event_larger_than_the_limit_is_sent_alone() {
    let limits = Limits {
        request_bytes_max: 100,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let stream = world.desk.open();
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            fragment: true,
            ..all_from(0)
        }),
    );
    let put = |key: &str, n| pb::PutRequest {
        key: key.to_owned().into(),
        value: vec![b'v'; n].into(),
        ..Default::default()
    };
    for (key, n) in [("a", 10), ("b", 600_000), ("c", 10)] {
        world
            .apply(&[&[etcd::Kind::Put as u8][..], &put(key, n).encode_to_vec()].concat())
            .unwrap();
    }
    let n_events: Vec<_> = world.drain(stream).iter().map(|r| r.events.len()).collect();
    assert_eq!(n_events, [1, 1, 1]);
}

#[test]
fn a_progress_answer_never_overtakes_events() {
    // etcd issue 15220.
    let (mut world, stream) = world_with_stream();
    world.watch(stream, create(watch("a")));
    world.watch(stream, create(watch("b")));
    world.put("a", "1");
    world.put("b", "2");
    world.put("a", "3");
    assert!(world.watch(stream, progress()).is_empty());
    // The client takes little at a time: the answer waits until all is sent.
    let mut seen = Vec::new();
    while world.desk.is_ready(stream) {
        seen.extend(decode(world.desk.poll(stream, &world.state, 1)));
    }
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(values(before).len(), 3);
    assert!(last.watch_id == -1 && last.events.is_empty());
    assert_eq!(last.header.unwrap().revision, 4);
}

#[test]
fn a_stream_without_watches_has_no_progress_to_tell() {
    let (mut world, stream) = world_with_stream();
    assert!(world.watch(stream, progress()).is_empty());
    assert!(world.drain(stream).is_empty());
}

#[test]
fn a_watch_of_the_future_says_nothing_until_then() {
    // etcd issue 20221, twice.
    let (mut world, stream) = world_with_stream();
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            start_revision: 4,
            progress_notify: true,
            ..watch("a")
        }),
    );
    for n in 2..4 {
        world.put("a", &n.to_string());
        assert!(world.drain(stream).is_empty());
    }
    world.watch(stream, progress());
    let second = Duration::from_secs(1);
    world.desk.tick(Instant(0));
    assert!(world.desk.tick(Instant(0) + second * 3600).is_empty());
    world.put("a", "4");
    assert_eq!(values(&world.drain(stream)), ["4"]);
}

#[test]
fn quiet_watches_hear_of_progress_each_interval_and_busy_ones_do_not() {
    let mut world = World::new();
    world.desk.set_progress_interval(Duration::from_secs(10));
    let stream = world.desk.open();
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            progress_notify: true,
            ..watch("a")
        }),
    );
    world.watch(stream, create(watch("a")));
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            progress_notify: true,
            ..watch("b")
        }),
    );
    let at = |seconds| Instant(0) + Duration::from_secs(seconds);
    assert!(world.desk.tick(at(0)).is_empty());
    // Watches count as busy when they begin.
    assert!(world.desk.tick(at(11)).is_empty());
    world.put("a", "1");
    world.drain(stream);
    assert!(world.desk.tick(at(15)).is_empty(), "not yet");
    let told = world.desk.tick(at(22));
    let told = decode(
        told.into_iter()
            .flat_map(|(_, responses)| responses)
            .collect(),
    );
    assert_eq!(
        told.len(),
        1,
        "the busy one is left out, so is the one that did not ask"
    );
    assert_eq!((told[0].watch_id, told[0].header.unwrap().revision), (2, 2));
    let told = world.desk.tick(at(33));
    assert_eq!(told[0].1.len(), 2, "now both are quiet");
}

#[test]
fn a_tick_gives_out_no_events_for_a_client_that_takes_none() {
    let mut world = World::new();
    world.desk.set_progress_interval(Duration::from_secs(10));
    let stream = world.desk.open();
    let of_interest = |start_revision| {
        create(pb::WatchCreateRequest {
            progress_notify: true,
            start_revision,
            ..watch("a")
        })
    };
    world.watch(stream, of_interest(0));
    let at = |seconds| Instant(0) + Duration::from_secs(seconds);
    world.desk.tick(at(0));
    world.desk.tick(at(11));
    world.put("a", "1");
    // One that has events waiting, and one that is to read history.
    world.watch(stream, of_interest(1));
    for tick in 2..6 {
        assert_eq!(world.desk.tick(at(tick * 11)), [], "nothing is taken");
    }
    assert_eq!(values(&world.drain(stream)), ["1", "1"]);
    world.desk.tick(at(66));
    let told = world.desk.tick(at(77));
    assert_eq!(told[0].1.len(), 2, "now that all is taken");
}

#[test]
fn compaction_ends_a_watch_that_lags_behind_it_and_no_other() {
    let (mut world, stream) = world_with_stream();
    world.watch(stream, create(watch("a")));
    for n in 1..=5 {
        world.put("a", &n.to_string());
    }
    assert_eq!(values(&world.drain(stream)).len(), 5);
    let lagging = world.desk.open();
    world.watch(
        lagging,
        create(pb::WatchCreateRequest {
            start_revision: 3,
            ..watch("a")
        }),
    );
    world.compact(5);
    let ended = world.drain(lagging);
    assert_eq!(ended.len(), 1);
    assert!(ended[0].canceled && ended[0].cancel_reason.is_empty());
    assert_eq!((ended[0].watch_id, ended[0].compact_revision), (0, 5));
    assert_eq!(ended[0].header.unwrap().revision, 0);
    assert_eq!(world.desk.n_watches(), 1);
    world.put("a", "6");
    assert_eq!(values(&world.drain(stream)), ["6"]);
}

#[test]
fn a_watch_from_the_compacted_revision_sees_its_delete() {
    // etcd issues 18089 and 19179.
    let (mut world, stream) = world_with_stream();
    world.put("a", "1");
    world.delete("a");
    world.put("b", "2");
    world.compact(3);
    while world.store.sweep(1000) {}
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            start_revision: 3,
            ..watch("a")
        }),
    );
    let seen = world.drain(stream);
    assert_eq!(seen[0].events.len(), 1);
    assert_eq!(seen[0].events[0].r#type, 1);
}

#[test]
fn the_version_before_is_there_for_every_change_but_a_creation() {
    // Kubernetes breaks its watch when it is missing.
    let (mut world, stream) = world_with_stream();
    world.watch(
        stream,
        create(pb::WatchCreateRequest {
            prev_kv: true,
            ..watch("a")
        }),
    );
    world.put("a", "1");
    world.put("a", "2");
    world.delete("a");
    world.put("a", "3");
    let seen = world.drain(stream);
    let before: Vec<Option<String>> = seen
        .iter()
        .flat_map(|response| &response.events)
        .map(|event| {
            event
                .prev_kv
                .as_ref()
                .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
        })
        .collect();
    assert_eq!(before, [None, Some("1".into()), Some("2".into()), None]);
}

#[test]
fn a_canceled_watch_says_nothing_more() {
    let (mut world, stream) = world_with_stream();
    world.watch(stream, create(watch("a")));
    world.put("a", "1");
    let cancel = pb::WatchCancelRequest { watch_id: 0 };
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CancelRequest(cancel)),
    };
    assert!(world.watch(stream, request)[0].canceled);
    world.put("a", "2");
    assert!(world.drain(stream).is_empty());
    assert_eq!(world.desk.n_watches(), 0);
}

#[test]
fn a_stream_that_closes_takes_its_watches_along() {
    let (mut world, stream) = world_with_stream();
    for _ in 0..10 {
        world.watch(stream, create(watch("a")));
    }
    assert_eq!(world.desk.n_watches(), 10);
    world.desk.close(stream);
    assert_eq!((world.desk.n_streams(), world.desk.n_watches()), (0, 0));
    world.put("a", "1");
    assert!(world.desk.ready().is_empty());
    assert!(world.desk.poll(stream, &world.state, 1000).is_empty());
}

#[test]
fn a_slow_stream_gets_whole_revisions_in_order_later() {
    let (mut world, stream) = world_with_stream();
    world.watch(stream, create(all_from(0)));
    let value = "v".repeat(10_000);
    for n in 0..1000 {
        world.put(&format!("k{n}"), &value);
    }
    let mut last = 1;
    let mut n_polls = 0;
    while world.desk.is_ready(stream) {
        n_polls += 1;
        for response in decode(world.desk.poll(stream, &world.state, 1)) {
            assert!(response.encoded_len() < 2 * 1024 * 1024);
            for event in response.events {
                let revision = event.kv.unwrap().mod_revision;
                assert_eq!(revision, last + 1);
                last = revision;
            }
            assert_eq!(response.header.unwrap().revision, last);
        }
    }
    assert_eq!(last, 1001);
    assert!(n_polls > 5, "10 MB leave in parts of about one: {n_polls}");
}

#[test]
fn a_restored_member_goes_on_where_its_watches_were() {
    // etcd issue 15271: never back in time.
    let (mut world, stream) = world_with_stream();
    world.watch(stream, create(all_from(0)));
    world.put("a", "1");
    assert_eq!(values(&world.drain(stream)), ["1"]);
    // Another member writes on; ours gets its state as a snapshot.
    let mut other = World::new();
    for n in 1..=4 {
        other.put("a", &n.to_string());
    }
    world.state = other.state.clone();
    world.desk.restored(&world.state);
    assert_eq!(values(&world.drain(stream)), ["2", "3", "4"]);
}

/// Keys that changed, with their revisions.
type Seen = Vec<(i64, String)>;

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Both(u8, u8),
    Watch(u8, Option<u8>, i64),
    Poll(usize),
    Progress,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..5).prop_map(Step::Put),
        2 => (0u8..5).prop_map(Step::Delete),
        1 => (0u8..5, 0u8..5).prop_map(|(a, b)| Step::Both(a, b)),
        2 => (0u8..5, prop::option::of(1u8..6), 0i64..12).prop_map(|(a, b, c)| Step::Watch(a, b, c)),
        3 => prop_oneof![Just(1usize), Just(1 << 20)].prop_map(Step::Poll),
        1 => Just(Step::Progress),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(support::cases(400))]

    /// Ordered, unique, reliable, atomic; and a progress revision means what it says.
    #[test]
    fn every_watch_sees_exactly_the_history_of_its_keys(steps in steps()) {
        let (mut world, stream) = world_with_stream();
        let key = |n: u8| String::from((b'a' + n) as char);
        // By watch: from which revision, which keys, what it saw.
        let mut watches: Vec<(i64, String, String, Seen)> = Vec::new();
        let mut history = Seen::new();
        let mut seen = Vec::new();
        for step in steps {
            let before = world.state.revision().0 as i64;
            match step {
                Step::Put(k) => world.put(&key(k), "v"),
                Step::Delete(k) => world.delete(&key(k)),
                Step::Both(a, b) => {
                    let puts = [a, b].map(key);
                    let ops = puts.iter().take(if a == b { 1 } else { 2 }).map(|key| pb::RequestOp {
                        request: Some(pb::request_op::Request::RequestPut(pb::PutRequest {
                            key: key.clone().into(),
                            ..Default::default()
                        })),
                    });
                    let txn = pb::TxnRequest { success: ops.collect(), ..Default::default() };
                    let _: pb::TxnResponse = world.call(etcd::Method::Txn, &txn).unwrap();
                }
                Step::Watch(a, b, start) => {
                    let (key, end) = (key(a), b.map(|b| key(a + b)).unwrap_or_default());
                    let request = pb::WatchCreateRequest {
                        key: key.clone().into(),
                        range_end: end.clone().into(),
                        start_revision: start,
                        ..Default::default()
                    };
                    let created = world.watch(stream, create(request));
                    prop_assert_eq!(created[0].watch_id, watches.len() as i64);
                    let start = if start == 0 { before + 1 } else { start };
                    watches.push((start, key, end, Vec::new()));
                }
                Step::Poll(budget) => {
                    let responses = decode(world.desk.poll(stream, &world.state, budget));
                    seen.extend(responses.into_iter().map(|response| (watches.len(), response)));
                },
                Step::Progress => prop_assert!(world.watch(stream, progress()).is_empty()),
            }
            let now = world.state.revision().0 as i64;
            if now > before {
                for (_, event) in events_of(&world, now) {
                    history.push((now, event));
                }
            }
        }
        let rest = world.drain(stream);
        seen.extend(rest.into_iter().map(|response| (watches.len(), response)));
        for (n_watches, response) in seen {
            let header = response.header.unwrap().revision;
            if response.watch_id == -1 {
                for (start, key, end, saw) in &watches[..n_watches] {
                    prop_assert!(*start <= header + 1);
                    let due = history.iter().filter(|(r, k)| r >= start && *r <= header && within(k, key, end));
                    prop_assert_eq!(due.count(), saw.iter().filter(|(r, _)| *r <= header).count());
                }
                continue;
            }
            let saw = &mut watches[response.watch_id as usize].3;
            for event in &response.events {
                let kv = event.kv.as_ref().unwrap();
                prop_assert!(kv.mod_revision <= header);
                saw.push((kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned()));
            }
        }
        for (start, key, end, saw) in watches {
            let due: Vec<_> = history.iter().filter(|(r, k)| *r >= start && within(k, &key, &end)).cloned().collect();
            prop_assert_eq!(saw, due);
        }
    }
}

fn within(k: &str, key: &str, end: &str) -> bool {
    if end.is_empty() {
        k == key
    } else {
        k >= key && k < end
    }
}

fn events_of(world: &World, revision: i64) -> Vec<(i64, String)> {
    let root = world.state.root(etcd::ROOT);
    let events = root.events(base::Revision(revision as u64)).unwrap();
    events
        .map(|event| {
            (
                revision,
                String::from_utf8_lossy(event.record.key()).into_owned(),
            )
        })
        .collect()
}

#[test]
fn a_desk_without_streams_is_quiet() {
    let desk = etcd::WatchDesk::new(support::HEADER, 1000, Mutants::none());
    assert_eq!((desk.n_streams(), desk.n_watches()), (0, 0));
}
