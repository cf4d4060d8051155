//! Members and maintenance.

use crate::check::{Checks, client, endpoints, eventually, holds, refused, same};
use crate::data::put;
use etcd_client::{AlarmAction, AlarmType, MemberAddOptions};

pub(crate) async fn checks(checks: &mut Checks) {
    checks
        .check(
            "cluster: members are listed, a learner comes, moves and goes",
            async || {
                let mut c = client(&endpoints()).await?;
                let list = c.member_list().await?;
                let mut urls: Vec<_> = list
                    .members()
                    .iter()
                    .flat_map(|one| one.client_urls().to_vec())
                    .collect();
                let mut wanted = endpoints();
                urls.sort();
                wanted.sort();
                same("urls", urls, wanted)?;
                let learner = Some(MemberAddOptions::new().with_is_learner());
                // A cluster takes a member once all voters have seen each other for five seconds.
                let mut added = None;
                let taken = eventually("the cluster takes a member", async || {
                    let taken = c.member_add(["http://127.0.0.1:1"], learner.clone());
                    added = taken.await.ok();
                    added.is_some()
                });
                taken.await?;
                let added = added.ok_or("no answer")?;
                let id = added
                    .member()
                    .map(|member| member.id())
                    .ok_or("no member")?;
                let promoted = c.member_promote(id).await;
                refused("promoted", promoted, "in sync with leader")?;
                c.member_update(id, ["http://127.0.0.1:2".to_owned()])
                    .await?;
                c.member_remove(id).await?;
                same("members", c.member_list().await?.members().len(), 3)
            },
        )
        .await;
    checks
        .check(
            "maintenance: status, alarms, hashes, defragment, snapshot, move the leader",
            async || {
                let mut c = client(&endpoints()).await?;
                let revision = put(&mut c, "maintenance", "1").await?;
                let mut hashes = Vec::new();
                let mut leading = None;
                for endpoint in endpoints() {
                    let mut at = client(&[endpoint]).await?;
                    eventually("the member is there", async || {
                        at.hash_kv(revision).await.is_ok()
                    })
                    .await?;
                    hashes.push(at.hash_kv(revision).await?.hash());
                    let status = at.status().await?;
                    holds(
                        "status",
                        status.version().starts_with("3.") && status.db_size() > 0,
                    )?;
                    if status
                        .header()
                        .is_some_and(|header| header.member_id() == status.leader())
                    {
                        leading = Some((at, status.leader()));
                    }
                }
                hashes.dedup();
                same("different hashes", hashes.len(), 1)?;
                let alarms = c.alarm(AlarmAction::Get, AlarmType::None, None).await?;
                same("alarms", alarms.alarms().len(), 0)?;
                let mut first = client(&endpoints()[..1]).await?;
                first.defragment().await?;
                let mut stream = first.snapshot().await?;
                let mut size = 0;
                while let Some(part) = stream.message().await? {
                    size += part.blob().len();
                }
                holds("a snapshot", size > 32)?;
                let (mut at, old) = leading.ok_or("nobody leads")?;
                let list = c.member_list().await?;
                let other = list
                    .members()
                    .iter()
                    .map(|one| one.id())
                    .find(|id| *id != old);
                let other = other.ok_or("no other member")?;
                at.move_leader(other).await?;
                eventually("it leads", async || {
                    at.status()
                        .await
                        .is_ok_and(|status| status.leader() == other)
                })
                .await
            },
        )
        .await;
}
