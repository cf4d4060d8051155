//! The election service: ElectionClient, and the same methods of Client.

use crate::coverage::works_or_refused;
use etcd_client::{LeaderKey, ProclaimOptions, ResignOptions};
use quorate_conformance::{PATIENCE, refusal, shared};
use tokio::time::timeout;

#[tokio::test]
async fn one_candidate_leads_and_the_next_follows() {
    let target = shared().await;
    let mut client = target.client.clone();
    let mut elections = client.election_client();
    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let campaign = client.campaign("elect/a", "first", lease).await;
    let Some(mut won) = works_or_refused("Client::campaign", campaign) else {
        works_or_refused(
            "ElectionClient::campaign",
            elections.campaign("elect/a", "", lease).await,
        );
        works_or_refused(
            "ElectionClient::proclaim",
            elections.proclaim("", None).await,
        );
        works_or_refused("ElectionClient::leader", elections.leader("elect/a").await);
        works_or_refused("ElectionClient::resign", elections.resign(None).await);
        let observed = match elections.observe("elect/a").await {
            Ok(mut stream) => stream.message().await.map(drop),
            Err(err) => Err(err),
        };
        works_or_refused("ElectionClient::observe", observed);
        return;
    };
    assert!(won.header().is_some());
    assert!(won.take_header().is_some());
    let key = won.leader().expect("a key").clone();
    assert_eq!(
        (key.name_str().expect("text"), key.name()),
        ("elect/a", &b"elect/a"[..])
    );
    assert_eq!(key.key_str().expect("text"), format!("elect/a/{lease:x}"));
    // SAFETY: both are ASCII, as the lines above have shown.
    assert_eq!(unsafe { key.name_str_unchecked() }, "elect/a");
    // SAFETY: as above.
    assert_eq!(
        unsafe { key.key_str_unchecked() },
        format!("elect/a/{lease:x}")
    );
    assert_eq!(key.key(), format!("elect/a/{lease:x}").as_bytes());
    assert_eq!(key.lease(), lease);
    assert!(key.rev() > 0);
    assert!(won.take_leader().is_some());

    let mut leader = client.leader("elect/a").await.expect("leader");
    assert_eq!(leader.kv().expect("a key").value(), b"first");
    assert!(leader.header().is_some());
    assert!(leader.take_header().is_some());
    assert!(leader.take_kv().is_some());

    // A key can be put together again from its parts.
    let same = LeaderKey::new()
        .with_name(key.name())
        .with_key(key.key())
        .with_rev(key.rev())
        .with_lease(key.lease());
    let options = ProclaimOptions::new().with_leader(same);
    let mut told = client
        .proclaim("second", Some(options.clone()))
        .await
        .expect("proclaim");
    assert!(told.header().is_some());
    assert!(told.take_header().is_some());
    elections
        .proclaim("third", Some(options.clone()))
        .await
        .expect("proclaim");
    assert_eq!(
        elections
            .leader("elect/a")
            .await
            .expect("leader")
            .kv()
            .expect("a key")
            .value(),
        b"third"
    );

    let mut observed = client.observe("elect/a").await.expect("observe");
    let mut also = elections.observe("elect/a").await.expect("observe");
    for stream in [&mut observed, &mut also] {
        let seen = timeout(PATIENCE, stream.message())
            .await
            .expect("in time")
            .expect("no error");
        assert_eq!(
            seen.expect("a leader").kv().expect("a key").value(),
            b"third"
        );
    }

    let second_lease = client.lease_grant(60, None).await.expect("grant").id();
    let mut other = target.at(0).await.election_client();
    let next = tokio::spawn(async move { other.campaign("elect/a", "heir", second_lease).await });
    let options = ResignOptions::new().with_leader(key.clone());
    let mut resigned = client.resign(Some(options)).await.expect("resign");
    assert!(resigned.header().is_some());
    assert!(resigned.take_header().is_some());
    let next = timeout(PATIENCE, next)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("campaign");
    let seen = timeout(PATIENCE, observed.message())
        .await
        .expect("in time")
        .expect("no error");
    assert_eq!(
        seen.expect("a leader").kv().expect("a key").value(),
        b"heir"
    );
    let (_, message) = refusal(
        client
            .proclaim("late", Some(ProclaimOptions::new().with_leader(key)))
            .await,
    );
    assert_eq!(message, "election: not leader");

    let heir = next.leader().expect("a key").clone();
    elections
        .resign(Some(ResignOptions::new().with_leader(heir)))
        .await
        .expect("resign");
    let (_, message) = refusal(elections.leader("elect/a").await);
    assert_eq!(message, "election: no leader");
    let (_, message) = refusal(elections.proclaim("", None).await);
    assert_eq!(message, "\"leader\" field must be provided");
    let (_, message) = refusal(elections.resign(None).await);
    assert_eq!(message, "\"leader\" field must be provided");
    for lease in [lease, second_lease] {
        client.lease_revoke(lease).await.expect("revoke");
    }
}
