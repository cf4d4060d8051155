//! Watches: ordered, gapless, whole revisions, resumable, bounded; and an end that says why.

mod support;

use api::proto::{CompactRequest, EventKind, PutRequest, WatchResponse};
use api::{Code, Method};
use base::{Instant, Rng};
use native::{Fault, KEYS, Plan, Reply, Request, StreamId, WatchPlan};
use std::collections::BTreeMap;
use std::time::Duration;
use support::Member;

fn plan(member: &mut Member, json: &str) -> WatchPlan {
    match member.plan(Method::Watch, json) {
        Ok(Plan::Watch(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

fn open(member: &mut Member, json: &str) -> Result<(StreamId, WatchResponse), Fault> {
    let plan = plan(member, json);
    let state = member.state();
    let (id, reply) = member.watches.open(&plan, &state)?;
    Ok((id, watched(reply)))
}

fn watched(reply: Reply) -> WatchResponse {
    match reply {
        Reply::Watch(message) => *message,
        other => panic!("{other:?}"),
    }
}

fn put(member: &mut Member, key: &str, value: &str) {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    let outcome = member.apply(KEYS, &Request::Put(request).encode());
    assert!(outcome.is_done());
}

fn compact(member: &mut Member, revision: u64) {
    let request = Request::Compact(CompactRequest { revision });
    assert!(member.apply(KEYS, &request.encode()).is_done());
}

#[test]
fn a_watch_tells_all_that_happened_whoever_reads_slowly() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut member = Member::new();
        // So small that a slow stream falls back to history.
        member.watches.bound_queues(600);
        let mut map: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut next = 1;
        let (mut id, first) =
            open(&mut member, r#"{"keys":{"all":true},"startRevision":"1"}"#).expect("a watch");
        assert!(first.events.is_empty() && first.synced_revision == 0);
        for step in 0..300 {
            let story = format!("seed {seed}, step {step}");
            match rng.below(10) {
                0..=5 => {
                    let then: Vec<String> = (0..rng.between(1, 3))
                        .map(|n| {
                            format!(r#"{{"put":{{"key":"k{}{n}","value":"v"}}}}"#, rng.below(3))
                        })
                        .collect();
                    let json = format!(r#"{{"then":[{}]}}"#, then.join(","));
                    member.ask(Method::Txn, &json).expect("written");
                }
                6 => {
                    let json = format!(r#"{{"keys":{{"prefix":"k{}"}}}}"#, rng.below(3));
                    member.ask(Method::Delete, &json).expect("deleted");
                }
                7 if rng.one_in(4) => {
                    // The client comes back somewhere else, and goes on where it was.
                    member.watches.close(id);
                    let json = format!(r#"{{"keys":{{"all":true}},"startRevision":"{next}"}}"#);
                    let (again, first) = open(&mut member, &json).expect("a watch");
                    assert_eq!(first.synced_revision, next - 1);
                    id = again;
                }
                8 if rng.one_in(4) => {
                    // A snapshot that says the same.
                    let state = member.state();
                    member.watches.restored(&state);
                }
                _ => {
                    let state = member.state();
                    let streamed = member.watches.poll(id, &state, rng.between(1, 2000));
                    assert_eq!(streamed.end, None);
                    for message in streamed.replies.into_iter().map(watched) {
                        for event in &message.events {
                            let kv = event.kv.as_ref().expect("a key");
                            assert!(kv.mod_revision >= next, "{story}: told twice");
                            match event.kind() {
                                EventKind::Put => map.insert(kv.key.to_vec(), kv.mod_revision),
                                EventKind::Delete => map.remove(&kv.key[..]),
                            };
                        }
                        let last = message.events.last().expect("events");
                        let last = last.kv.as_ref().expect("a key").mod_revision;
                        assert_eq!(message.synced_revision, last, "{story}");
                        next = last + 1;
                        // What it knows is what was, at that revision.
                        let json =
                            format!(r#"{{"keys":{{"all":true}},"read":{{"revision":"{last}"}}}}"#);
                        let Ok(Reply::Range(range)) = member.ask(Method::Range, &json) else {
                            panic!("{story}: no state at {last}");
                        };
                        let truth: BTreeMap<Vec<u8>, u64> = range
                            .kvs
                            .iter()
                            .map(|kv| (kv.key.to_vec(), kv.mod_revision))
                            .collect();
                        assert_eq!(map, truth, "{story}");
                    }
                }
            }
        }
        while member.watches.is_ready(id) {
            let state = member.state();
            for message in member.watches.poll(id, &state, 1000).replies {
                next = watched(message).synced_revision + 1;
            }
        }
        assert_eq!(
            next - 1,
            member.state().revision().0,
            "seed {seed}: all was told"
        );
    }
}

#[test]
fn history_that_is_gone_ends_a_watch_and_says_what_is_left() {
    let mut member = Member::new();
    member.watches.bound_queues(1);
    let (id, _) = open(&mut member, r#"{"keys":{"all":true}}"#).expect("a watch");
    for n in 0..10 {
        put(&mut member, "a", &n.to_string());
    }
    compact(&mut member, 8);
    let state = member.state();
    let streamed = member.watches.poll(id, &state, 1 << 20);
    let fault = streamed.end.expect("an end");
    assert_eq!((fault.code(), fault.0.revision), (Code::Compacted, Some(8)));
    assert!(streamed.replies.is_empty(), "and no gap before it");
    assert_eq!(member.watches.n_streams(), 0);
    let fault = open(&mut member, r#"{"keys":{"all":true},"startRevision":"7"}"#);
    assert_eq!(fault.expect_err("it is gone").0.revision, Some(8));
    assert!(open(&mut member, r#"{"keys":{"all":true},"startRevision":"8"}"#).is_ok());
}

#[test]
fn quiet_watches_say_up_to_where_nothing_was_missed() {
    let mut member = Member::new();
    let (quiet, _) = open(&mut member, r#"{"keys":{"key":"q"},"progress":true}"#).expect("a watch");
    let (silent, _) = open(&mut member, r#"{"keys":{"key":"q"}}"#).expect("a watch");
    let start = Instant(0);
    let second = Duration::from_secs(1);
    let mut told = Vec::new();
    for n in 0..40 {
        put(&mut member, "other", "v");
        let state = member.state();
        assert!(member.watches.ready().is_empty() || n == 0);
        for (id, reply) in member.watches.tick(start + second * n, &state) {
            assert_eq!(id, quiet);
            told.push((n, watched(reply)));
        }
    }
    assert_eq!(told.len(), 3, "every ten seconds: {told:?}");
    for (n, message) in &told {
        assert!(message.events.is_empty());
        assert_eq!(message.synced_revision, u64::from(*n) + 2);
    }
    member.watches.close(silent);
    member.watches.close(quiet);
    assert_eq!(member.watches.n_streams(), 0);
}

#[test]
fn a_desk_of_watches_is_bounded() {
    let mut member = Member::new();
    for _ in 0..1000 {
        open(&mut member, r#"{"keys":{"key":"q"}}"#).expect("a watch");
    }
    let fault = open(&mut member, r#"{"keys":{"key":"q"}}"#).expect_err("it is full");
    assert_eq!(fault.code(), Code::Busy);
}

/// A stream whose client reads slowly is quiet, and what waits for it is not given away to tell progress.
#[test]
fn progress_takes_nothing_from_a_slow_stream() {
    let mut member = Member::new();
    let (id, _) = open(&mut member, r#"{"keys":{"all":true},"progress":true}"#).expect("a watch");
    let state = member.state();
    assert!(member.watches.poll(id, &state, 1000).replies.is_empty());
    put(&mut member, "a", "1");
    // The driver wakes the stream's task, which waits for its client.
    member.watches.ready();
    let state = member.state();
    for n in 1..10 {
        let now = Instant(0) + Duration::from_secs(1000 * n);
        let told = member.watches.tick(now, &state);
        assert!(told.is_empty(), "it is not synced: {told:?}");
    }
    let streamed = member.watches.poll(id, &state, 1000);
    let events: usize = streamed
        .replies
        .into_iter()
        .map(|it| watched(it).events.len())
        .sum();
    assert_eq!(events, 1, "what happened is told once");
    let now = Instant(0) + Duration::from_secs(20_000);
    member.watches.tick(now, &state);
    let now = Instant(0) + Duration::from_secs(30_000);
    assert_eq!(member.watches.tick(now, &state).len(), 1, "now it is");
}
