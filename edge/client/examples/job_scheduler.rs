//! A job scheduler whose nodes are killed and paused, and whose jobs happen once all the same.
//!
//! Three processes campaign for one office. Who leads does the jobs, one after the other: each adds an amount to a ledger,
//! which must not happen twice. Meanwhile the first process kills the leader, again and again, and pauses one for longer than
//! its lease lives, so that it wakes up as a leader who is none any more.
//!
//! What makes it right: the write that does a job carries the leader's fence, so an old leader's write is refused; and it
//! changes ledger and job together, so a job is either done or not. Success only when each job was done once, the ledger has
//! the sum, and tokens rose from job to job.
//!
//! ```sh
//! quorate dev &
//! cargo run -p quorate --example job_scheduler -- --endpoints 127.0.0.1:2379
//! ```

mod common;

use common::{Arguments, Ended, Node};
use quorate::{Client, Code, Condition, Held, Keys, Step};
use std::collections::BTreeMap;
use std::time::Duration;

const N_JOBS: u64 = 24;
/// A disturbance after so many jobs.
const JOBS_PER_DISTURBANCE: usize = 6;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Short, so that the example is: a leader that is gone is missed for so long.
const TTL: Duration = Duration::from_secs(2);
const WORK: Duration = Duration::from_millis(40);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    common::run(schedule, node).await
}

/// One node: campaigns, works while it leads, campaigns again.
async fn node(q: Client, run: String, name: String) -> Ended {
    let election = q.election(run.clone()).ttl(TTL);
    loop {
        let work = |held| {
            let (q, run, name) = (q.clone(), run.clone(), name.clone());
            async move { do_jobs(&q, &run, &name, &held).await }
        };
        match election.lead(name.clone(), work).await? {
            Ok(()) => return Ok(()),
            // Somebody else leads: the refusal came before our own clock said so.
            Err(error) if error.is(Code::StaleToken) || error.is(Code::LockLost) => {
                println!("{name}: refused, another one leads: {error}");
            }
            Err(error) => println!("{name}: {error}; once more"),
        }
    }
}

async fn do_jobs(q: &Client, run: &str, name: &str, held: &Held) -> quorate::Result<()> {
    println!("{name} leads with token {}", held.token());
    let jobs = q.range(Keys::prefix(format!("/{run}/jobs/"))).await?;
    for job in jobs.kvs.iter().filter(|job| job.text() == Some("to do")) {
        let ledger = q.get(format!("/{run}/ledger")).await?;
        let before: u64 = number(&ledger.kv);
        let amount: u64 = job
            .key
            .to_string()
            .rsplit('/')
            .next()
            .map_or(0, |it| it.parse().unwrap_or(0));
        tokio::time::sleep(WORK).await;
        // The fence says that we still lead, the condition that nobody did it before.
        let done = q
            .txn()
            .fence(&held.fence())
            .when(Condition::of(&job.key).revision(job.revision))
            .then(Step::put(&job.key, format!("done with {}", held.token())))
            .then(Step::put(
                format!("/{run}/ledger"),
                (before + amount).to_string(),
            ));
        if !done.await?.succeeded {
            println!("{name}: job {amount} was done before");
        }
    }
    Ok(())
}

fn number(kv: &Option<quorate::KeyValue>) -> u64 {
    let text = kv.as_ref().and_then(|kv| kv.text());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The first process: gives out jobs, disturbs, and checks.
async fn schedule(q: Client, arguments: Arguments, run: String) -> Ended {
    for job in 1..=N_JOBS {
        q.put(format!("/{run}/jobs/{job:03}"), "to do").await?;
    }
    let mut nodes = BTreeMap::new();
    for name in NODES {
        nodes.insert(name.to_owned(), arguments.spawn(&run, name)?);
    }
    let mut n_disturbed = 0;
    loop {
        tokio::time::sleep(WORK / 2).await;
        let n_done = jobs_done(&q, &run).await?.len();
        if n_done == N_JOBS as usize {
            break;
        }
        if n_done / JOBS_PER_DISTURBANCE <= n_disturbed {
            continue;
        }
        let Some(leader) = q.election(run.clone()).leader().await? else {
            continue;
        };
        n_disturbed += 1;
        let name = String::from_utf8_lossy(&leader.value).into_owned();
        let node = nodes.get_mut(&name).ok_or(format!("{name} leads?"))?;
        disturb(&arguments, &run, &name, node, n_disturbed).await?;
    }
    drop(nodes);
    check(&q, &run, n_disturbed).await?;
    q.delete(Keys::prefix(format!("/{run}/"))).await?;
    Ok(())
}

async fn disturb(
    arguments: &Arguments,
    run: &str,
    name: &str,
    node: &mut Node,
    n_disturbed: usize,
) -> Ended {
    #[cfg(unix)]
    if n_disturbed == 2 {
        println!("pausing {name} for longer than its lease lives");
        node.pause()?;
        tokio::time::sleep(TTL * 2).await;
        return node.resume();
    }
    println!("killing {name}");
    node.kill();
    *node = arguments.spawn(run, name)?;
    let _ = n_disturbed;
    Ok(())
}

/// The jobs that are done, in the order of their revisions: version and token.
async fn jobs_done(q: &Client, run: &str) -> quorate::Result<Vec<(u64, u64)>> {
    let jobs = q.range(Keys::prefix(format!("/{run}/jobs/"))).await?;
    let done = |job: &quorate::KeyValue| {
        let token = job.text()?.strip_prefix("done with ")?.parse().ok()?;
        Some((job.revision, job.version, token))
    };
    let mut done: Vec<_> = jobs.kvs.iter().filter_map(done).collect();
    done.sort_unstable();
    Ok(done
        .into_iter()
        .map(|(_, version, token)| (version, token))
        .collect())
}

async fn check(q: &Client, run: &str, n_disturbed: usize) -> Ended {
    let done = jobs_done(q, run).await?;
    let ledger = number(&q.get(format!("/{run}/ledger")).await?.kv);
    let expected = N_JOBS * (N_JOBS + 1) / 2;
    let mut tokens: Vec<u64> = done.iter().map(|(_, token)| *token).collect();
    if done.iter().any(|(version, _)| *version != 2) {
        return Err(format!("a job was done twice: {done:?}").into());
    }
    if ledger != expected {
        return Err(format!("the ledger says {ledger} instead of {expected}").into());
    }
    if !tokens.is_sorted() {
        return Err(format!("an old leader wrote after a newer one: {tokens:?}").into());
    }
    tokens.dedup();
    if tokens.len() < 2 {
        return Err("nobody took over: nothing was shown".into());
    }
    println!(
        "{} jobs done once each by {} leaders, disturbed {n_disturbed} times; the ledger says {ledger}",
        done.len(),
        tokens.len(),
    );
    Ok(())
}
