//! A configuration that follows the cluster: read once, then kept up to date by a watch.
//!
//! Two programs share a configuration of three keys that must fit together, and one writer changes it in transactions. The
//! watcher applies each transaction whole and never shows a mixture, resumes by itself when a member goes, and ends when it
//! has seen the last change. It ends with success only when what it has then is what is stored, and every state on the
//! way was one that was written.
//!
//! ```sh
//! quorate dev &
//! cargo run -p quorate --example config_watcher -- --endpoints 127.0.0.1:2379
//! ```

mod common;

use quorate::{Client, Keys, Step, WatchEvent, WatchKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the configuration changes.
const N_CHANGES: u64 = 25;
const FIELDS: [&str; 3] = ["host", "port", "generation"];

type Config = BTreeMap<String, String>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    common::run(watch, common::no_node).await
}

async fn watch(q: Client, _: common::Arguments, run: String) -> common::Ended {
    let prefix = format!("/{run}/");
    write(&q, &prefix, 0).await?;
    let (mut config, revision) = read(&q, &prefix).await?;
    let writing = tokio::spawn({
        let (q, prefix) = (q.clone(), prefix.clone());
        async move {
            for generation in 1..=N_CHANGES {
                tokio::time::sleep(Duration::from_millis(10)).await;
                write(&q, &prefix, generation).await?;
            }
            Ok::<_, quorate::Error>(())
        }
    });

    let mut changes = q
        .watch(Keys::prefix(prefix.clone()))
        .from(revision + 1)
        .stream();
    let mut n_seen = 0;
    while generation(&config) < N_CHANGES {
        // Whole revisions: what was written together fits together.
        let whole = changes.next_whole().await.ok_or("the watch ended")??;
        for change in &whole {
            apply(&mut config, &prefix, change);
        }
        check(&config)?;
        n_seen += whole.len();
    }
    writing.await??;

    let (stored, revision) = read(&q, &prefix).await?;
    if stored != config {
        return Err(format!("stored {stored:?}, watched {config:?}").into());
    }
    println!("{n_seen} changes watched; as of revision {revision} the configuration is {config:?}");
    q.delete(Keys::prefix(prefix)).await?;
    Ok(())
}

async fn write(q: &Client, prefix: &str, generation: u64) -> quorate::Result<()> {
    let values = [
        format!("db{}.example.net", generation % 3),
        (5000 + generation % 3).to_string(),
        generation.to_string(),
    ];
    let mut txn = q.txn();
    for (field, value) in FIELDS.iter().zip(values) {
        txn = txn.then(Step::put(format!("{prefix}{field}"), value));
    }
    txn.await?;
    Ok(())
}

async fn read(q: &Client, prefix: &str) -> quorate::Result<(Config, u64)> {
    let ranged = q.range(Keys::prefix(prefix)).await?;
    let field = |kv: &quorate::KeyValue| {
        let name = kv.key.to_string().split_off(prefix.len());
        (name, String::from_utf8_lossy(&kv.value).into_owned())
    };
    let config = ranged.kvs.iter().map(field).collect();
    Ok((config, ranged.freshness.revision))
}

fn apply(config: &mut Config, prefix: &str, change: &WatchEvent) {
    let name = change.kv.key.to_string().split_off(prefix.len());
    match change.kind {
        WatchKind::Delete => _ = config.remove(&name),
        _ => {
            let value = String::from_utf8_lossy(&change.kv.value).into_owned();
            config.insert(name, value);
        }
    }
}

fn generation(config: &Config) -> u64 {
    let text = config.get("generation").map_or("0", String::as_str);
    text.parse().unwrap_or(0)
}

/// Host and port belong to one another in every configuration that was written.
fn check(config: &Config) -> common::Ended {
    let n = generation(config) % 3;
    let fits = config.get("host") == Some(&format!("db{n}.example.net"))
        && config.get("port") == Some(&(5000 + n).to_string());
    match fits {
        true => Ok(()),
        false => Err(format!("a mixture of two configurations: {config:?}").into()),
    }
}
