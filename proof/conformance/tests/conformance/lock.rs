//! The lock service: LockClient, and the same methods of Client.

use crate::coverage::works_or_refused;
use etcd_client::{GetOptions, LockOptions};
use quorate_conformance::{PATIENCE, eventually, shared};
use tokio::time::timeout;

#[tokio::test]
async fn lock_is_held_by_one_at_a_time() {
    let target = shared().await;
    let mut client = target.client.clone();
    let mut locks = client.lock_client();
    let Some(mut first) = works_or_refused("Client::lock", client.lock("lock/a", None).await)
    else {
        works_or_refused("LockClient::lock", locks.lock("lock/a", None).await);
        works_or_refused("LockClient::unlock", locks.unlock("lock/a").await);
        works_or_refused("Client::unlock", client.unlock("lock/a").await);
        return;
    };
    assert!(first.key().starts_with(b"lock/a/"));
    assert!(first.header().is_some());
    assert!(first.take_header().is_some());

    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let options = LockOptions::new().with_lease(lease);
    let mut other = target.at(0).await.lock_client();
    let second = tokio::spawn(async move { other.lock("lock/a", Some(options)).await });
    let prefix = GetOptions::new().with_prefix();
    eventually("the second stands in line", || async {
        let line = client
            .clone()
            .get("lock/a/", Some(prefix.clone()))
            .await
            .expect("get");
        (line.count() == 2).then_some(())
    })
    .await;
    assert!(!second.is_finished());
    let mut unlocked = client.unlock(first.key()).await.expect("unlock");
    assert!(unlocked.header().is_some());
    assert!(unlocked.take_header().is_some());
    let second = timeout(PATIENCE, second)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("lock");
    // A lock's key is its name and the lease that holds it.
    assert_eq!(second.key(), format!("lock/a/{lease:x}").as_bytes());
    locks.unlock(second.key()).await.expect("unlock");
    let third = locks.lock("lock/a", None).await.expect("lock");
    locks.unlock(third.key()).await.expect("unlock");
    client.lease_revoke(lease).await.expect("revoke");
}
