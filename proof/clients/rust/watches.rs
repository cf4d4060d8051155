//! Watches, and members that are killed under a client.

use crate::check::{
    Checks, Failure, PATIENCE, client, control, endpoints, eventually, holds, same,
};
use crate::data::put;
use etcd_client::{Event, EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::timeout;

/// The next response.
///
/// # Errors
/// None comes.
pub(crate) async fn next(stream: &mut WatchStream) -> Result<WatchResponse, Failure> {
    let response = timeout(PATIENCE, stream.message()).await??;
    response.ok_or_else(|| "the stream is over".into())
}

fn told(event: &Event) -> String {
    let Some(kv) = event.kv() else {
        return "an event without a key".to_owned();
    };
    let key = String::from_utf8_lossy(kv.key());
    let was = event.prev_kv().map_or(String::new(), |kv| {
        format!(" was {}", String::from_utf8_lossy(kv.value()))
    });
    match event.event_type() {
        EventType::Put => format!("put {key}={}{was}", String::from_utf8_lossy(kv.value())),
        EventType::Delete => format!("delete {key}{was}"),
    }
}

/// Events until there are `n`, told.
///
/// # Errors
/// They do not come.
pub(crate) async fn events(stream: &mut WatchStream, n: usize) -> Result<String, Failure> {
    let mut all = Vec::new();
    while all.len() < n {
        all.extend(next(stream).await?.events().iter().map(told));
    }
    Ok(all.join(", "))
}

pub(crate) async fn checks(checks: &mut Checks) {
    checks
        .check(
            "watch: history with what was there before, and then the present",
            async || {
                let mut c = client(&endpoints()).await?;
                let first = put(&mut c, "watch/h/a", "1").await?;
                put(&mut c, "watch/h/a", "2").await?;
                c.delete("watch/h/a", None).await?;
                let options = WatchOptions::new()
                    .with_prefix()
                    .with_prev_key()
                    .with_start_revision(first);
                let mut stream = c.watch("watch/h/", Some(options)).await?;
                let history = events(&mut stream, 3).await?;
                same(
                    "history",
                    &*history,
                    "put watch/h/a=1, put watch/h/a=2 was 1, delete watch/h/a was 2",
                )?;
                put(&mut c, "watch/h/b", "3").await?;
                same("now", &*events(&mut stream, 1).await?, "put watch/h/b=3")
            },
        )
        .await;
    checks
        .check("watch: filters, progress on demand, cancel", async || {
            let mut c = client(&endpoints()).await?;
            let first = put(&mut c, "watch/f", "1").await?;
            c.delete("watch/f", None).await?;
            let options = WatchOptions::new()
                .with_filters([WatchFilterType::NoPut])
                .with_start_revision(first)
                .with_progress_notify();
            let mut stream = c.watch("watch/f", Some(options)).await?;
            same("deletes", &*events(&mut stream, 1).await?, "delete watch/f")?;
            let revision = put(&mut c, "watch/elsewhere", "1").await?;
            // While the member is behind, etcd answers nothing: ask again.
            eventually("progress", async || {
                if stream.request_progress().await.is_err() {
                    return false;
                }
                let soon = std::time::Duration::from_millis(200);
                let answer = timeout(soon, stream.message()).await;
                let Ok(Ok(Some(answer))) = answer else {
                    return false;
                };
                answer
                    .header()
                    .is_some_and(|header| header.revision() >= revision)
            })
            .await?;
            stream.cancel(0).await?;
            loop {
                let answer = next(&mut stream).await?;
                if answer.canceled() {
                    return Ok(());
                }
            }
        })
        .await;
    checks
        .check(
            "watch: below the compacted revision it ends and says from where on",
            async || {
                let mut c = client(&endpoints()).await?;
                let old = put(&mut c, "watch/c", "1").await?;
                let now = put(&mut c, "watch/c", "2").await?;
                c.compact(now, None).await?;
                let options = WatchOptions::new().with_start_revision(old);
                let mut stream = c.watch("watch/c", Some(options)).await?;
                let mut answer = next(&mut stream).await?;
                if answer.created() {
                    answer = next(&mut stream).await?;
                }
                same(
                    "ended",
                    (answer.canceled(), answer.compact_revision()),
                    (true, now),
                )
            },
        )
        .await;
    checks
        .check(
            "reconnect: writes go on, and a new watch begins where the old one was",
            async || {
                let mut lonely = client(&endpoints()[1..2]).await?;
                let mut others = client(&[endpoints()[0].clone(), endpoints()[2].clone()]).await?;
                let mut stream = lonely.watch("reconnect", None).await?;
                next(&mut stream).await?;
                let last = put(&mut others, "reconnect", "0").await?;
                same("before", &*events(&mut stream, 1).await?, "put reconnect=0")?;
                control("kill 2").await?;
                let ended = timeout(PATIENCE, stream.message()).await?;
                holds("the stream ends", !matches!(ended, Ok(Some(_))))?;
                for value in ["1", "2", "3"] {
                    eventually("a put", async || {
                        put(&mut others, "reconnect", value).await.is_ok()
                    })
                    .await?;
                }
                control("start 2").await?;
                let mut seen = String::new();
                eventually("a new watch", async || {
                    let options = WatchOptions::new().with_start_revision(last + 1);
                    let Ok(mut stream) = lonely.watch("reconnect", Some(options)).await else {
                        return false;
                    };
                    let Ok(told) = events(&mut stream, 3).await else {
                        return false;
                    };
                    seen = told;
                    true
                })
                .await?;
                // A put that was sent again is there twice.
                let mut all: Vec<&str> = seen.split(", ").collect();
                all.dedup();
                same(
                    "after",
                    all,
                    ["put reconnect=1", "put reconnect=2", "put reconnect=3"],
                )
            },
        )
        .await;
}
