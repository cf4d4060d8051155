//! Leases, locks and elections.

use crate::check::{Checks, PATIENCE, client, endpoints, eventually, holds, refused, same};
use crate::data::value;
use etcd_client::{
    GetOptions, LeaseTimeToLiveOptions, LockOptions, ProclaimOptions, PutOptions, ResignOptions,
};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

pub(crate) async fn checks(checks: &mut Checks) {
    checks
        .check("lease: grant, look, list, revoke", async || {
            let mut c = client(&endpoints()).await?;
            let id = c.lease_grant(600, None).await?.id();
            c.put("lease/a", "1", Some(PutOptions::new().with_lease(id)))
                .await?;
            let keys = LeaseTimeToLiveOptions::new().with_keys();
            let look = c.lease_time_to_live(id, Some(keys)).await?;
            same("look", (look.granted_ttl(), look.keys().len()), (600, 1))?;
            eventually("it is in the list", async || {
                c.leases()
                    .await
                    .is_ok_and(|all| all.leases().iter().any(|one| one.id() == id))
            })
            .await?;
            c.lease_revoke(id).await?;
            same("its key", value(&mut c, "lease/a").await?, None::<String>)?;
            same("over", c.lease_time_to_live(id, None).await?.ttl(), -1)?;
            refused(
                "again",
                c.lease_revoke(id).await,
                "requested lease not found",
            )
        })
        .await;
    checks
        .check(
            "lease: kept alive it lives on, and then it expires with its keys",
            async || {
                let mut c = client(&endpoints()).await?;
                let id = c.lease_grant(2, None).await?.id();
                c.put("lease/b", "1", Some(PutOptions::new().with_lease(id)))
                    .await?;
                let (mut keeper, mut answers) = c.lease_keep_alive(id).await?;
                let until = Instant::now() + Duration::from_secs(5);
                while Instant::now() < until {
                    keeper.keep_alive().await?;
                    let answer = timeout(PATIENCE, answers.message()).await??;
                    same("ttl", answer.map(|answer| answer.ttl()), Some(2))?;
                    sleep(Duration::from_millis(500)).await;
                }
                same(
                    "kept",
                    value(&mut c, "lease/b").await?.as_deref(),
                    Some("1"),
                )?;
                eventually("expired", async || {
                    value(&mut c, "lease/b")
                        .await
                        .is_ok_and(|none| none.is_none())
                })
                .await
            },
        )
        .await;
    checks
        .check(
            "lock: one holds it, the next waits until it is free or its lease is over",
            async || {
                let mut c = client(&endpoints()).await?;
                let first = c.lease_grant(30, None).await?.id();
                let second = c.lease_grant(30, None).await?.id();
                let own = |lease| Some(LockOptions::new().with_lease(lease));
                let held = c.lock("lock/a", own(first)).await?;
                holds("its key", held.key().starts_with(b"lock/a/"))?;
                let mut other = c.clone();
                let waiting = tokio::spawn(async move { other.lock("lock/a", own(second)).await });
                eventually("two in line", async || {
                    let line = c
                        .get("lock/a/", Some(GetOptions::new().with_prefix()))
                        .await;
                    line.is_ok_and(|line| line.count() == 2)
                })
                .await?;
                holds("it waits", !waiting.is_finished())?;
                c.lease_revoke(first).await?;
                let next = timeout(PATIENCE, waiting).await???;
                c.unlock(next.key()).await?;
                let again = c.lock("lock/a", None).await?;
                c.unlock(again.key()).await?;
                Ok(())
            },
        )
        .await;
    checks
        .check(
            "election: one leads, proclaims and resigns, the next leads; observers see it",
            async || {
                let mut c = client(&endpoints()).await?;
                let first = c.lease_grant(30, None).await?.id();
                let second = c.lease_grant(30, None).await?.id();
                refused("nobody", c.leader("race").await, "election: no leader")?;
                let won = c.campaign("race", "one", first).await?;
                let key = won.leader().cloned().ok_or("no key")?;
                let mut observed = c.observe("race").await?;
                let mut other = c.clone();
                let waiting =
                    tokio::spawn(async move { other.campaign("race", "two", second).await });
                let mut leader = async || -> Result<String, crate::check::Failure> {
                    let answer = timeout(PATIENCE, observed.message())
                        .await??
                        .ok_or("it is over")?;
                    let kv = answer.kv().ok_or("no leader")?;
                    Ok(String::from_utf8_lossy(kv.value()).into_owned())
                };
                same("observed", &*leader().await?, "one")?;
                c.proclaim(
                    "still one",
                    Some(ProclaimOptions::new().with_leader(key.clone())),
                )
                .await?;
                same("observed", &*leader().await?, "still one")?;
                holds("the second waits", !waiting.is_finished())?;
                c.resign(Some(ResignOptions::new().with_leader(key.clone())))
                    .await?;
                timeout(PATIENCE, waiting).await???;
                same("observed", &*leader().await?, "two")?;
                let late = c
                    .proclaim("late", Some(ProclaimOptions::new().with_leader(key)))
                    .await;
                refused("late", late, "election: not leader")
            },
        )
        .await;
}
