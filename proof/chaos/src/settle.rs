//! After the trouble: progress is demanded, and everything that was acknowledged is read back.

use crate::Failure;
use crate::ask::key;
use crate::client::{Crowd, Ended, connect, one, revision, row};
use crate::judge::Held;
use crate::watcher::{Told, observe};
use base::{LeaseId, Revision};
use checker::Request;
use etcd_client::GetOptions;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long progress is waited for. Long, since the machine may have been taken away.
const PATIENCE: Duration = Duration::from_secs(90);
/// Above the seconds after which a server gives up: what was under way has ended then.
const LATE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(20);
/// The window that no client uses.
const LAST_WINDOW: u64 = 999_999;

/// Waits for late effects, then for one acknowledged put at every member, and for every watch of
/// everything to tell it; answers the last revision.
pub(crate) async fn progress(crowd: &Crowd) -> Result<Revision, Failure> {
    sleep(LATE).await;
    let until = Instant::now() + PATIENCE;
    for (member, door) in crowd.doors.iter().enumerate() {
        loop {
            if Instant::now() > until {
                return Err(format!("no progress: member {} takes no put", member + 1).into());
            }
            let Some(connection) = door.open().await else {
                sleep(LOOK).await;
                continue;
            };
            let number = crowd.journal.number();
            let put = Request::Put {
                key: key(LAST_WINDOW, number),
                value: format!("{number}.0").into_bytes(),
                lease: LeaseId::NONE,
            };
            // A client of its own each time: an unknown one may still be under way.
            let client = u64::MAX - number;
            if one(crowd, connection, member, client, number, put).await == Ended::Answered {
                break;
            }
            sleep(LOOK).await;
        }
    }
    let last = crowd.memory.borrow().newest;
    loop {
        let told = crowd.memory.borrow().told.clone();
        if told.iter().all(|told| *told >= last) {
            return Ok(last);
        }
        if Instant::now() > until {
            return Err(format!("not all members told revision {last}: {told:?}").into());
        }
        sleep(LOOK).await;
    }
}

/// Has every member tell all the history again that is not compacted.
pub(crate) async fn retell(
    crowd: &Rc<Crowd>,
    told: &Rc<Told>,
    last: Revision,
) -> Result<(), Failure> {
    // What was asked to be compacted may be gone, whether it was acknowledged or not.
    let from = crowd.memory.borrow().compacted.next().max(Revision(2));
    for member in 0..crowd.doors.len() {
        let again = observe(member, from, Some(last), crowd.clone(), told.clone());
        timeout(PATIENCE, again)
            .await
            .map_err(|_| format!("member {} does not tell its history again", member + 1))?;
    }
    Ok(())
}

/// All keys of a member at `last`, from itself alone, and its hash.
pub(crate) async fn hold(member: usize, url: &str, last: Revision) -> Result<Held, Failure> {
    let mut client = connect(url).await.ok_or("no connection")?;
    let hash = client.hash_kv(last.0 as i64).await?;
    if revision(hash.header()) < last {
        return Err(format!("the hash of member {} is of an older revision", member + 1).into());
    }
    let mut rows = Vec::new();
    let mut from = b"\0".to_vec();
    loop {
        let options = GetOptions::new()
            .with_from_key()
            .with_limit(5000)
            .with_serializable()
            .with_revision(last.0 as i64);
        let page = client.get(from.clone(), Some(options)).await?;
        rows.extend(page.kvs().iter().map(row));
        match page.kvs().last() {
            Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
            _ => break,
        }
    }
    Ok(Held {
        member: format!("n{}", member + 1),
        revision: last,
        rows,
        hash: hash.hash(),
    })
}
