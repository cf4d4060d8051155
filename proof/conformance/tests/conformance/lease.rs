//! Leases: LeaseClient, LeaseKeeper and its stream, and the same methods of Client.

use etcd_client::{Error, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions};
use quorate_conformance::{PATIENCE, code, eventually, refusal, shared};
use tokio::task::JoinSet;
use tokio::time::timeout;

#[tokio::test]
async fn grant_takes_an_id_or_makes_one() {
    let mut client = shared().await.client;
    let mut leases = client.lease_client();
    let mut made = client.lease_grant(60, None).await.expect("grant");
    assert!(made.id() > 0);
    assert_eq!((made.ttl(), made.error()), (60, ""));
    assert!(made.header().expect("a header").revision() > 0);
    assert!(made.take_header().is_some());

    let options = LeaseGrantOptions::new().with_id(0x1ea5e);
    let chosen = leases
        .grant(60, Some(options.clone()))
        .await
        .expect("grant");
    assert_eq!(chosen.id(), 0x1ea5e);
    let (code, message) = refusal(leases.grant(60, Some(options)).await);
    assert_eq!(
        (code, &*message),
        (
            code::FAILED_PRECONDITION,
            "etcdserver: lease already exists"
        )
    );
    let (code, message) = refusal(leases.grant(9_000_000_001, None).await);
    assert_eq!(
        (code, &*message),
        (code::OUT_OF_RANGE, "etcdserver: too large lease TTL")
    );
    // 1.5 election timeouts, rounded up, are the least.
    for ttl in [1, 0, -5] {
        let least = leases.grant(ttl, None).await.expect("grant");
        assert_eq!(least.ttl(), 2);
        leases.revoke(least.id()).await.ok();
    }
    leases.revoke(made.id()).await.expect("revoke");
    leases.revoke(chosen.id()).await.expect("revoke");
}

#[tokio::test]
async fn revoke_takes_the_keys_along() {
    let mut client = shared().await.client;
    let mut leases = client.lease_client();
    let id = client.lease_grant(60, None).await.expect("grant").id();
    let with = Some(PutOptions::new().with_lease(id));
    client
        .put("revoke/a", "1", with.clone())
        .await
        .expect("put");
    client.put("revoke/b", "1", with).await.expect("put");
    client
        .put("revoke/b", "2", None)
        .await
        .expect("a put without a lease detaches");
    let mut revoked = client.lease_revoke(id).await.expect("revoke");
    assert!(revoked.header().is_some());
    assert!(revoked.take_header().is_some());
    assert_eq!(client.get("revoke/a", None).await.expect("get").count(), 0);
    assert_eq!(client.get("revoke/b", None).await.expect("get").count(), 1);
    let (code, message) = refusal(leases.revoke(id).await);
    assert_eq!(
        (code, &*message),
        (code::NOT_FOUND, "etcdserver: requested lease not found")
    );
}

#[tokio::test]
async fn keep_alive_is_answered_by_every_member() {
    let target = shared().await;
    let mut client = target.client.clone();
    let id = client.lease_grant(60, None).await.expect("grant").id();
    for member in 0..target.endpoints.len() {
        let mut at = target.at(member).await;
        let (mut keeper, mut answers) = at.lease_keep_alive(id).await.expect("keep alive");
        assert_eq!(keeper.id(), id);
        for _ in 0..3 {
            keeper.keep_alive().await.expect("asked");
            let answer = timeout(PATIENCE, answers.message()).await.expect("in time");
            let mut answer = answer.expect("no error").expect("an answer");
            assert_eq!((answer.id(), answer.ttl()), (id, 60));
            assert!(answer.header().is_some());
            assert!(answer.take_header().is_some());
        }
    }
    let mut leases = client.lease_client();
    client.lease_revoke(id).await.expect("revoke");
    // An unknown lease is not an error of the server: it answers TTL 0.
    let unknown = leases.keep_alive(id).await.map(drop);
    assert!(
        matches!(unknown, Err(Error::LeaseKeepAliveError(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn time_to_live_knows_ttl_and_keys() {
    let mut client = shared().await.client;
    let mut leases = client.lease_client();
    let id = client.lease_grant(100, None).await.expect("grant").id();
    let with = Some(PutOptions::new().with_lease(id));
    client.put("ttl/a", "", with.clone()).await.expect("put");
    client.put("ttl/b", "", with).await.expect("put");
    let mut plain = client
        .lease_time_to_live(id, None)
        .await
        .expect("time to live");
    assert_eq!(
        (plain.id(), plain.granted_ttl(), plain.keys().len()),
        (id, 100, 0)
    );
    assert!((90..=100).contains(&plain.ttl()), "{}", plain.ttl());
    assert!(plain.header().is_some());
    assert!(plain.take_header().is_some());
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let with_keys = leases
        .time_to_live(id, Some(options))
        .await
        .expect("time to live");
    let mut keys = with_keys.keys().to_vec();
    keys.sort();
    assert_eq!(keys, [b"ttl/a", b"ttl/b"]);
    client.lease_revoke(id).await.expect("revoke");
    let gone = leases
        .time_to_live(id, None)
        .await
        .expect("an unknown lease is no error");
    assert_eq!((gone.ttl(), gone.granted_ttl()), (-1, 0));
}

/// A member that is behind has not heard of what was just granted and put elsewhere. To call the lease gone
/// would end a session, and with it every lock.
#[tokio::test]
async fn a_lease_is_known_at_every_member_as_soon_as_it_is_granted() {
    let target = shared().await;
    let mut members = Vec::new();
    for member in 0..target.endpoints.len() {
        members.push(target.at(member).await);
    }
    for round in 0..200 {
        let mut first = members[round % members.len()].clone();
        let id = first.lease_grant(60, None).await.expect("grant").id();
        let mut asked = JoinSet::new();
        for mut member in members.iter().cloned() {
            asked.spawn(async move {
                let kept = member.lease_keep_alive(id).await.map(drop);
                kept.expect("it is renewed");
                let look = member.lease_time_to_live(id, None).await;
                assert_eq!(look.expect("an answer").granted_ttl(), 60);
            });
        }
        asked.join_all().await;
        let with = Some(PutOptions::new().with_lease(id));
        first.put("known/a", "", with).await.expect("put");
        let mut asked = JoinSet::new();
        for mut member in members.iter().cloned() {
            asked.spawn(async move {
                let options = LeaseTimeToLiveOptions::new().with_keys();
                let look = member.lease_time_to_live(id, Some(options)).await;
                assert_eq!(look.expect("an answer").keys(), [b"known/a"]);
            });
        }
        asked.join_all().await;
        first.lease_revoke(id).await.expect("revoke");
    }
}

#[tokio::test]
async fn leases_lists_them() {
    let mut client = shared().await.client;
    let mut leases = client.lease_client();
    let id = client.lease_grant(60, None).await.expect("grant").id();
    let mut list = client.leases().await.expect("leases");
    assert!(list.leases().iter().any(|lease| lease.id() == id));
    assert!(list.header().is_some());
    assert!(list.take_header().is_some());
    leases.revoke(id).await.expect("revoke");
    let list = leases.leases().await.expect("leases");
    assert!(list.leases().iter().all(|lease| lease.id() != id));
}

#[tokio::test]
async fn a_lease_that_is_not_kept_expires_with_its_keys() {
    let mut client = shared().await.client;
    let id = client.lease_grant(2, None).await.expect("grant").id();
    let with = Some(PutOptions::new().with_lease(id));
    client.put("expire/a", "", with).await.expect("put");
    assert_eq!(client.get("expire/a", None).await.expect("get").count(), 1);
    eventually("the key of an expired lease goes", || async {
        let got = client.clone().get("expire/a", None).await.expect("get");
        (got.count() == 0).then_some(())
    })
    .await;
    let gone = client
        .lease_time_to_live(id, None)
        .await
        .expect("time to live");
    assert_eq!(gone.ttl(), -1);
}
