//! Reads of the past agree with history: as of a revision and as of its time, at every member.

use quorate_levels::World;
use serde_json::json;

const WRITES: usize = 12;

#[tokio::test]
async fn a_read_of_the_past_says_what_was_true_then() {
    let world = World::start(&[]).await;
    let mut written = Vec::new();
    for n in 0..WRITES {
        let value = n.to_string();
        let put = world.native(n % 3).put("past/x", &value).await;
        let put = put.expect("a healthy cluster");
        // Another key moves the revision on in between.
        let other = world.native((n + 1) % 3).put("past/y", &value).await;
        let other = other.expect("a healthy cluster");
        assert!(other.revision > put.revision && other.time > put.time);
        written.push((value, put, other));
    }
    for member in 0..3 {
        let mut native = world.native(member);
        // It has them all: what comes below needs no majority.
        native.get("past/x", "linearizable").await.expect("healthy");
        for (value, put, other) in &written {
            for at in [put, other] {
                for read in [
                    json!({"revision": at.revision.to_string(), "consistency": {"level": "sequential"}}),
                    json!({"asOf": at.time, "consistency": {"level": "sequential"}}),
                ] {
                    let seen = native.read("past/x", read.clone()).await;
                    let seen = seen.unwrap_or_else(|why| panic!("{read}: {why:?}"));
                    assert_eq!(seen.value.as_ref(), Some(value), "{member}: {read}");
                }
            }
        }
        let before = written[0].1.revision - 1;
        let read = json!({"revision": before.to_string()});
        let seen = native.read("past/x", read).await.expect("before the first");
        assert_eq!(seen.value, None);
    }
}
