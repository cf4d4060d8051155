//! Users, roles and permissions.

use crate::check::{Checks, client, client_as, endpoints, holds, refused, same};
use crate::data::{put, value};
use crate::watches::{events, next};
use etcd_client::{Compare, CompareOp, GetOptions, Permission, Txn, WatchOptions};

pub(crate) async fn checks(checks: &mut Checks) {
    checks
        .check("auth: users and roles, enabled", async || {
            let mut c = client(&endpoints()[..1]).await?;
            refused("not yet", c.auth_enable().await, "root user does not exist")?;
            c.user_add("root", "secret", None).await?;
            c.role_add("root").await?;
            c.user_grant_role("root", "root").await?;
            c.user_add("alice", "wonder", None).await?;
            c.role_add("reader").await?;
            c.role_grant_permission("reader", Permission::read("auth/read/").with_prefix())
                .await?;
            c.role_grant_permission("reader", Permission::read_write("auth/work/").with_prefix())
                .await?;
            c.user_grant_role("alice", "reader").await?;
            same("users", c.user_list().await?.users(), ["alice", "root"])?;
            same("roles", c.role_list().await?.roles(), ["reader", "root"])?;
            same(
                "permissions",
                c.role_get("reader").await?.permissions().len(),
                2,
            )?;
            refused(
                "twice",
                c.user_add("alice", "x", None).await,
                "user name already exists",
            )?;
            put(&mut c, "auth/read/a", "1").await?;
            c.auth_enable().await?;
            Ok(())
        })
        .await;
    checks
        .check(
            "auth: who says no name, or a wrong word, is turned away",
            async || {
                // A certificate says who asks, though ours has no name in it.
                let is_known = std::env::var_os("CLIENTS_CA").is_some();
                let nobody = if is_known {
                    "permission denied"
                } else {
                    "user name is empty"
                };
                let mut c = client(&endpoints()[..1]).await?;
                refused("nobody", c.get("auth/read/a", None).await, nobody)?;
                refused(
                    "a wrong word",
                    client_as("alice", "x").await,
                    "authentication failed",
                )
            },
        )
        .await;
    checks
        .check("auth: a user may do what its role grants, and nothing else, in watches, locks and elections too", async || {
            let mut root = client_as("root", "secret").await?;
            let mut alice = client_as("alice", "wonder").await?;
            same("read", value(&mut alice, "auth/read/a").await?.as_deref(), Some("1"))?;
            put(&mut alice, "auth/work/a", "1").await?;
            let denied = "permission denied";
            refused("a put", alice.put("auth/read/a", "2", None).await, denied)?;
            refused("another key", alice.get("auth/other", None).await, denied)?;
            let all = Some(GetOptions::new().with_all_keys());
            refused("all", alice.get("", all).await, denied)?;
            refused("from a key on", alice.get("auth/read/", Some(GetOptions::new().with_from_key())).await, denied)?;
            let txn = Txn::new().when([Compare::version("auth/other", CompareOp::Equal, 0)]);
            refused("a transaction", alice.txn(txn).await, denied)?;
            refused("administration", alice.user_add("mallory", "x", None).await, denied)?;
            refused("compaction", alice.compact(1, None).await, denied)?;
            let prefix = Some(WatchOptions::new().with_prefix());
            let mut stream = alice.watch("auth/read/", prefix).await?;
            holds("a watch", next(&mut stream).await?.created())?;
            put(&mut root, "auth/read/b", "1").await?;
            same("its event", &*events(&mut stream, 1).await?, "put auth/read/b=1")?;
            match alice.watch("auth/other", None).await {
                Err(error) => holds("its words", error.to_string().contains(denied))?,
                Ok(mut stream) => {
                    let answer = next(&mut stream).await?;
                    holds("a watch is refused", answer.canceled() && answer.cancel_reason().contains(denied))?;
                }
            }
            let lock = alice.lock("auth/work/lock", None).await?;
            alice.unlock(lock.key()).await?;
            let lease = alice.lease_grant(30, None).await?.id();
            alice.campaign("auth/work/race", "alice", lease).await?;
            refused("another lock", alice.lock("auth/lock", None).await, denied)
        })
        .await;
    checks
        .check(
            "auth: what is taken away is gone, and the door open again",
            async || {
                let mut root = client_as("root", "secret").await?;
                let mut alice = client_as("alice", "wonder").await?;
                put(&mut alice, "auth/work/a", "2").await?;
                let prefix = etcd_client::RoleRevokePermissionOptions::new().with_prefix();
                root.role_revoke_permission("reader", "auth/work/", Some(prefix))
                    .await?;
                let put_again = alice.put("auth/work/a", "3", None).await;
                holds("a put is refused", put_again.is_err())?;
                root.user_change_password("alice", "new").await?;
                refused(
                    "the old word",
                    client_as("alice", "wonder").await,
                    "authentication failed",
                )?;
                let mut again = client_as("alice", "new").await?;
                same(
                    "read",
                    value(&mut again, "auth/read/a").await?.as_deref(),
                    Some("1"),
                )?;
                let mut root = client_as("root", "secret").await?;
                root.role_delete("reader").await?;
                root.user_delete("alice").await?;
                let mut root = client_as("root", "secret").await?;
                root.auth_disable().await?;
                let mut c = client(&endpoints()[..1]).await?;
                same(
                    "open",
                    value(&mut c, "auth/read/a").await?.as_deref(),
                    Some("1"),
                )
            },
        )
        .await;
}
