//! Watches: each change once and in order, over cuts and members; a compacted history is an error.

use crate::fake::{Fake, Fault, soon};
use api::Method;
use base::Rng;
use quorate::{Code, Keys, Step, WatchError, WatchKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn changes_are_told_from_a_revision_or_from_now() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let first = q.put("/a", "1").await.expect("written");
    let mut old = q.watch("/a").from(first.revision()).previous().stream();
    let mut new = q.watch(Keys::prefix("/")).stream();
    assert_eq!(new.started().await.expect("it stands"), first.revision());
    q.put("/b", "beside").await.expect("written");
    q.put("/a", "2").await.expect("written");
    q.delete("/a").await.expect("deleted");
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = soon(old.next()).await.expect("told").expect("no error");
        let previous = event
            .previous
            .as_ref()
            .and_then(|kv| kv.text().map(str::to_owned));
        told.push((event.kind, event.revision(), previous));
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            (WatchKind::Put, 1, None),
            (WatchKind::Put, 3, text("1")),
            (WatchKind::Delete, 4, text("2")),
        ]
    );
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(
            new.next()
                .await
                .expect("told")
                .expect("no error")
                .revision(),
        );
    }
    assert_eq!(told, [2, 3, 4]);
    assert_eq!(new.synced(), 4);
}

/// Connections are cut and streams refused at random while keys change, several at one revision.
#[tokio::test]
async fn nothing_is_missed_and_nothing_told_twice_over_cuts() {
    for seed in 0..4 {
        let fake = Arc::new(Fake::start(3).await);
        let mut rng = Rng::new(seed);
        let mut fork = rng.fork(1);
        fake.script(move |_, method| match method {
            Method::Watch => match fork.below(5) {
                0 => Fault::Refuse(Code::NoAnswer),
                1 => Fault::CutBefore,
                _ => Fault::None,
            },
            _ => Fault::None,
        });
        let q = fake.client().await;
        let mut watch = q.watch(Keys::prefix("/w/")).stream();
        watch.started().await.expect("it stands");
        let is_over = Arc::new(AtomicBool::new(false));
        let (writer, over, cutter) = (q.clone(), is_over.clone(), fake.clone());
        let cutting = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                cutter.cut();
                tokio::time::sleep(Duration::from_millis(rng.below(7))).await;
            }
        });
        let writing = tokio::spawn(async move {
            for n in 0..60 {
                let mut txn = writer.txn();
                for key in 0..n % 5 + 1 {
                    txn = txn.then(Step::put(format!("/w/{key}"), n.to_string()));
                }
                txn.await.expect("written");
            }
            writer.put("/w/end", "end").await.expect("written");
        });
        let mut told = Vec::new();
        loop {
            let event = soon(watch.next()).await.expect("told").expect("no error");
            told.push((event.revision(), event.kv.key.to_string()));
            if event.kv.key.text() == Some("/w/end") {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        writing.await.expect("no panic");
        cutting.await.expect("no panic");
        let model = fake.model();
        let history = model.history.iter().map(|(at, event)| {
            let kv = event.kv.as_ref().expect("a key");
            (*at, String::from_utf8_lossy(&kv.key).into_owned())
        });
        assert_eq!(told, history.collect::<Vec<_>>(), "seed {seed}");
        drop(model);
        assert!(fake.n_asked(Method::Watch) > 3, "seed {seed}: it was cut");
    }
}

/// The members tell at most two changes at once, so that these three come in two answers.
#[tokio::test]
async fn what_was_written_together_is_given_together() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let mut watch = q.watch(Keys::All).stream();
    watch.started().await.expect("it stands");
    for n in 0..4 {
        let value = n.to_string();
        let put = |key: &str| Step::put(key, value.as_str());
        let txn = q.txn().then(put("/a")).then(put("/b")).then(put("/c"));
        txn.await.expect("written");
    }
    let mut n_told = 0;
    while n_told < 12 {
        let whole = soon(watch.next_whole())
            .await
            .expect("told")
            .expect("no error");
        assert_eq!(whole.len() % 3, 0, "{whole:?}");
        n_told += whole.len();
        assert_eq!(watch.synced(), whole[whole.len() - 1].revision());
    }
}

#[tokio::test]
async fn a_compacted_history_is_an_error_with_the_oldest_revision() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    for value in ["1", "2", "3"] {
        q.put("/a", value).await.expect("written");
    }
    q.compact(3).await.expect("compacted");
    let mut watch = q.watch("/a").from(2).stream();
    match soon(watch.next()).await {
        Some(Err(WatchError::Compacted { oldest: 3 })) => {}
        other => panic!("{other:?}"),
    }
    assert!(soon(watch.next()).await.is_none());
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_ends_a_watch() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    fake.once(Method::Watch, Fault::Refuse(Code::BadKeys));
    match q.watch("/a").stream().started().await {
        Err(WatchError::Refused(error)) => assert!(error.is(Code::BadKeys)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_that_is_dropped_is_given_up() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    fake.script(|_, method| match method {
        Method::Watch => Fault::CutBefore,
        _ => Fault::None,
    });
    let watch = q.watch("/a").stream();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(watch);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let n_asked = fake.n_asked(Method::Watch);
    assert!(n_asked > 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(fake.n_asked(Method::Watch), n_asked);
}

#[tokio::test]
async fn a_member_that_ends_streams_at_once_is_not_asked_without_a_pause() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    fake.script(|_, method| match method {
        Method::Watch | Method::Observe => Fault::EndSoon(Code::NoAnswer),
        _ => Fault::None,
    });
    let _watch = q.watch(Keys::prefix("/")).stream();
    let _observation = q.election("e").observe();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for method in [Method::Watch, Method::Observe] {
        let n_asked = fake.n_asked(method);
        assert!((2..20).contains(&n_asked), "{method:?}: {n_asked}");
    }
}

#[tokio::test]
async fn a_stream_that_a_member_ends_goes_on_at_another() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    fake.script(|member, method| match (member, method) {
        (0, Method::Watch | Method::Observe) => Fault::EndSoon(Code::NoAnswer),
        _ => Fault::None,
    });
    // Other requests take turns, too, and the member answers them.
    let others = q.clone();
    let others = tokio::spawn(async move {
        loop {
            others.now().await.expect("told");
        }
    });
    for n in 1..=20 {
        for method in [Method::Watch, Method::Observe] {
            let before = fake.asked_of(method).len();
            let _watch = (method == Method::Watch).then(|| q.watch(Keys::prefix("/")).stream());
            let _observation = (method == Method::Observe).then(|| q.election("e").observe());
            let reached = async {
                while !fake.asked_of(method)[before..].contains(&1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            soon(reached).await;
            let asked = fake.asked_of(method)[before..].to_vec();
            assert!(asked == [1] || asked == [0, 1], "{n} {method:?}: {asked:?}");
        }
    }
    others.abort();
}
