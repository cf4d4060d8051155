//! Watches: WatchClient, WatchStream and its two halves, every option.

use etcd_client::{
    Client, DeleteOptions, Event, EventType, Txn, TxnOp, WatchFilterType, WatchOptions, WatchStream,
};
use quorate_conformance::{PATIENCE, alone, refusal, shared};
use tokio::time::timeout;

/// `put a=1 delete b`, for comparing.
fn told(events: &[Event]) -> Vec<String> {
    let one = |event: &Event| {
        let kv = event.kv().expect("an event has a key");
        let key = kv.key_str().expect("text");
        match event.event_type() {
            EventType::Put => format!("put {key}={}", kv.value_str().expect("text")),
            EventType::Delete => format!("delete {key}"),
        }
    };
    events.iter().map(one).collect()
}

async fn next(stream: &mut WatchStream) -> etcd_client::WatchResponse {
    let message = timeout(PATIENCE, stream.message())
        .await
        .expect("an answer in time");
    message.expect("no error").expect("the stream goes on")
}

/// Events until there are `n`.
async fn events(stream: &mut WatchStream, n: usize) -> Vec<Event> {
    let mut all = Vec::new();
    while all.len() < n {
        all.extend_from_slice(next(stream).await.events());
    }
    all
}

async fn put(client: &mut Client, key: &str, value: &str) -> i64 {
    let put = client.put(key, value, None).await.expect("put");
    put.header().expect("a header").revision()
}

#[tokio::test]
async fn watch_tells_what_happens_from_now_on() {
    let mut client = shared().await.client;
    let before = put(&mut client, "watch/a", "0").await;
    let mut stream = client.watch("watch/a", None).await.expect("watch");
    let mut created = next(&mut stream).await;
    assert!(created.created() && !created.canceled());
    assert_eq!((created.watch_id(), created.compact_revision()), (0, 0));
    assert_eq!((created.events().len(), created.cancel_reason()), (0, ""));
    assert!(created.header().expect("a header").revision() >= before);
    assert!(created.take_header().is_some());

    let revision = put(&mut client, "watch/a", "1").await;
    put(&mut client, "watch/other", "x").await;
    client.delete("watch/a", None).await.expect("delete");
    let happened = events(&mut stream, 2).await;
    assert_eq!(told(&happened), ["put watch/a=1", "delete watch/a"]);
    assert_eq!(happened[0].kv().expect("a key").mod_revision(), revision);
    assert!(happened[0].prev_kv().is_none(), "not asked for");
}

#[tokio::test]
async fn watch_starts_at_a_revision_and_takes_ranges() {
    let mut client = shared().await.client;
    let first = put(&mut client, "range/a", "1").await;
    put(&mut client, "range/b", "2").await;
    put(&mut client, "range/c", "3").await;
    let base = WatchOptions::new().with_start_revision(first);
    let tell = async |key: &str, options: WatchOptions, n| {
        let mut stream = client
            .watch_client()
            .watch(key, Some(options))
            .await
            .expect("watch");
        assert!(next(&mut stream).await.created());
        told(&events(&mut stream, n).await)
    };
    assert_eq!(
        tell("range/a", base.clone().with_range("range/c"), 2).await,
        ["put range/a=1", "put range/b=2"]
    );
    assert_eq!(tell("range/", base.clone().with_prefix(), 3).await.len(), 3);
    assert_eq!(tell("range/b", base.clone(), 1).await, ["put range/b=2"]);
    // `with_key` is what `watch` itself uses: its key is the one that counts.
    assert_eq!(
        tell("range/c", base.with_key("range/ignored"), 1).await,
        ["put range/c=3"]
    );
}

#[tokio::test]
async fn watch_of_everything_and_from_a_key() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let first = put(&mut client, "a", "1").await;
    put(&mut client, "b", "2").await;
    let base = WatchOptions::new().with_start_revision(first);
    let mut all = client
        .watch("", Some(base.clone().with_all_keys()))
        .await
        .expect("watch");
    assert_eq!(told(&events(&mut all, 2).await), ["put a=1", "put b=2"]);
    let mut from = client
        .watch("b", Some(base.with_from_key()))
        .await
        .expect("watch");
    assert_eq!(told(&events(&mut from, 1).await), ["put b=2"]);
}

#[tokio::test]
async fn watch_tells_the_value_before() {
    let mut client = shared().await.client;
    let first = put(&mut client, "prev/a", "1").await;
    put(&mut client, "prev/a", "2").await;
    client.delete("prev/a", None).await.expect("delete");
    let options = WatchOptions::new()
        .with_start_revision(first)
        .with_prev_key();
    let mut stream = client.watch("prev/a", Some(options)).await.expect("watch");
    let happened = events(&mut stream, 3).await;
    let before = |i: usize| happened[i].prev_kv().map(|kv| kv.value().to_vec());
    assert_eq!(
        (before(0), before(1), before(2)),
        (None, Some(b"1".into()), Some(b"2".into()))
    );
    let deleted = happened[2].kv().expect("a key");
    assert_eq!(
        (
            deleted.create_revision(),
            deleted.version(),
            deleted.value()
        ),
        (0, 0, &b""[..])
    );
}

#[tokio::test]
async fn watch_filters_puts_or_deletes() {
    let mut client = shared().await.client;
    let first = put(&mut client, "filt/a", "1").await;
    client.delete("filt/a", None).await.expect("delete");
    put(&mut client, "filt/a", "2").await;
    client.delete("filt/a", None).await.expect("delete");
    let base = WatchOptions::new().with_start_revision(first);
    let no_put = base.clone().with_filters([WatchFilterType::NoPut]);
    let mut stream = client.watch("filt/a", Some(no_put)).await.expect("watch");
    assert_eq!(told(&events(&mut stream, 2).await), ["delete filt/a"; 2]);
    let no_delete = base.with_filters([WatchFilterType::NoDelete]);
    let mut stream = client
        .watch("filt/a", Some(no_delete))
        .await
        .expect("watch");
    assert_eq!(
        told(&events(&mut stream, 2).await),
        ["put filt/a=1", "put filt/a=2"]
    );
}

#[tokio::test]
async fn a_transaction_is_one_message_in_its_order() {
    let mut client = shared().await.client;
    put(&mut client, "order/z", "0").await;
    let options = WatchOptions::new().with_prefix();
    let mut stream = client.watch("order/", Some(options)).await.expect("watch");
    assert!(next(&mut stream).await.created());
    let delete = TxnOp::delete("order/z", Some(DeleteOptions::new()));
    let ops = [
        TxnOp::put("order/b", "1", None),
        delete,
        TxnOp::put("order/a", "2", None),
    ];
    client.txn(Txn::new().and_then(ops)).await.expect("txn");
    let message = next(&mut stream).await;
    assert_eq!(
        told(message.events()),
        ["put order/b=1", "delete order/z", "put order/a=2"]
    );
}

#[tokio::test]
async fn one_stream_carries_several_watches() {
    let mut client = shared().await.client;
    let mut stream = client.watch("several/a", None).await.expect("watch");
    assert_eq!(next(&mut stream).await.watch_id(), 0);
    let options = WatchOptions::new().with_watch_id(77);
    stream
        .watch("several/b", Some(options.clone()))
        .await
        .expect("watch");
    let created = next(&mut stream).await;
    assert!(created.created());
    assert_eq!(created.watch_id(), 77);

    // An id that is taken: created and canceled at once, with no id of its own.
    stream
        .watch("several/c", Some(options))
        .await
        .expect("watch");
    let taken = next(&mut stream).await;
    assert!(taken.canceled());
    assert_eq!(taken.watch_id(), -1);
    let reason = "mvcc: duplicate watch ID provided on the WatchStream";
    assert!(
        taken.cancel_reason().ends_with(reason),
        "{}",
        taken.cancel_reason()
    );

    put(&mut client, "several/b", "1").await;
    let message = next(&mut stream).await;
    assert_eq!((message.watch_id(), message.events().len()), (77, 1));
    stream.cancel(77).await.expect("cancel");
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled());
    assert_eq!(canceled.watch_id(), 77);
    put(&mut client, "several/b", "2").await;
    put(&mut client, "several/a", "3").await;
    let message = next(&mut stream).await;
    assert_eq!(told(message.events()), ["put several/a=3"]);
}

#[tokio::test]
async fn the_two_halves_of_a_stream_do_what_it_does() {
    let mut client = shared().await.client;
    let stream = client.watch("halves/a", None).await.expect("watch");
    let (mut sender, mut receiver) = stream.split();
    let mut next = async || {
        let message = timeout(PATIENCE, receiver.message())
            .await
            .expect("an answer in time");
        message.expect("no error").expect("the stream goes on")
    };
    assert!(next().await.created());
    sender.watch("halves/b", None).await.expect("watch");
    let second = next().await;
    assert!(second.created());
    let revision = put(&mut client, "halves/b", "1").await;
    assert_eq!(told(next().await.events()), ["put halves/b=1"]);
    // Unanswered while a watch lags; answered once all have seen all.
    sender.request_progress().await.expect("progress");
    let progress = next().await;
    assert_eq!((progress.watch_id(), progress.events().len()), (-1, 0));
    assert!(progress.header().expect("a header").revision() >= revision);
    sender.cancel(second.watch_id()).await.expect("cancel");
    assert!(next().await.canceled());
}

#[tokio::test]
async fn progress_on_request_says_what_was_seen() {
    let mut client = shared().await.client;
    let mut stream = client.watch("progress/a", None).await.expect("watch");
    assert!(next(&mut stream).await.created());
    let revision = put(&mut client, "progress/a", "1").await;
    assert_eq!(events(&mut stream, 1).await.len(), 1);
    stream.request_progress().await.expect("progress");
    let progress = next(&mut stream).await;
    assert_eq!((progress.watch_id(), progress.events().len()), (-1, 0));
    assert!(progress.header().expect("a header").revision() >= revision);
}

#[tokio::test]
async fn watch_takes_the_options_for_progress_and_fragments() {
    // Progress comes every ten minutes, fragments above 2 MB: here only that both are accepted.
    let mut client = shared().await.client;
    let options = WatchOptions::new().with_progress_notify().with_fragment();
    let mut stream = client
        .watch("accepted/a", Some(options))
        .await
        .expect("watch");
    assert!(next(&mut stream).await.created());
    put(&mut client, "accepted/a", "1").await;
    assert_eq!(told(&events(&mut stream, 1).await), ["put accepted/a=1"]);
}

#[tokio::test]
async fn a_large_revision_is_told_in_fragments() {
    let mut client = shared().await.client;
    let first = put(&mut client, "frag/0", "").await;
    // Each put alone fits a request; a watch that catches up gets more than one message can hold.
    for i in 0..3 {
        client
            .put(format!("frag/{i}"), vec![b'x'; 1_400_000], None)
            .await
            .expect("put");
    }
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(first + 1)
        .with_fragment();
    let mut watcher = client.watch_client().max_decoding_message_size(16 << 20);
    let mut stream = watcher.watch("frag/", Some(options)).await.expect("watch");
    assert!(next(&mut stream).await.created());
    assert_eq!(events(&mut stream, 3).await.len(), 3);
    client
        .delete("frag/", Some(DeleteOptions::new().with_prefix()))
        .await
        .expect("delete");
}

#[tokio::test]
async fn a_message_above_the_clients_limit_ends_its_stream() {
    let mut client = shared().await.client;
    let first = put(&mut client, "limit-w/a", &"x".repeat(5000)).await;
    let mut small = client.watch_client().max_decoding_message_size(1000);
    let options = WatchOptions::new().with_start_revision(first);
    let mut stream = small
        .watch("limit-w/a", Some(options))
        .await
        .expect("watch");
    assert!(next(&mut stream).await.created());
    let message = timeout(PATIENCE, stream.message())
        .await
        .expect("an answer in time");
    assert_eq!(refusal(message).0, quorate_conformance::code::OUT_OF_RANGE);
}

#[tokio::test]
async fn watch_of_a_compacted_past_is_canceled_with_the_revision() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let first = put(&mut client, "gone/a", "1").await;
    let second = put(&mut client, "gone/a", "2").await;
    put(&mut client, "gone/a", "3").await;
    client.compact(second, None).await.expect("compact");
    let options = WatchOptions::new().with_start_revision(first);
    let mut stream = client.watch("gone/a", Some(options)).await.expect("watch");
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled());
    let canceled = next(&mut stream).await;
    assert!(canceled.canceled());
    assert_eq!(
        (canceled.compact_revision(), canceled.cancel_reason()),
        (second, "")
    );
    // At the compacted revision itself the watch still works.
    let options = WatchOptions::new().with_start_revision(second);
    let mut stream = client.watch("gone/a", Some(options)).await.expect("watch");
    assert_eq!(
        told(&events(&mut stream, 2).await),
        ["put gone/a=2", "put gone/a=3"]
    );
}
