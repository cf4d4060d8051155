//! Membership: ClusterClient, and the same methods of Client.

use etcd_client::{Client, GetOptions, MemberAddOptions};
use quorate_conformance::{alone, code, connect, eventually, new_place, refusal, serves};
use std::time::Duration;

const UNKNOWN: &str = "etcdserver: member not found";

#[tokio::test]
async fn member_list_names_the_members() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    // A member publishes its name and client URLs through the log, shortly after it serves.
    let mut list = eventually("the member's client URL is listed", || async {
        let list = client.clone().member_list().await.expect("list");
        let own = [target.endpoints[0].clone()];
        list.members()
            .iter()
            .any(|one| one.client_urls() == own)
            .then_some(list)
    })
    .await;
    assert_eq!(
        client.member_list().await.expect("list").members().len(),
        target.endpoints.len()
    );
    let one = list
        .members()
        .iter()
        .find(|one| one.client_urls() == [target.endpoints[0].clone()]);
    let one = one.expect("the member that was asked").clone();
    assert!(one.id() > 0 && !one.name().is_empty() && !one.is_learner());
    assert_eq!(one.peer_urls().len(), 1);
    if let Some(own) = &target.own {
        assert_eq!(one.name(), own.members[0].name);
        assert_eq!(one.peer_urls(), [own.members[0].place.peer_url()]);
    }
    // Answers about members carry no revision.
    assert_eq!(list.header().expect("a header").revision(), 0);
    assert!(list.take_header().is_some());
    let same = client.cluster_client().member_list().await.expect("list");
    assert_eq!(same.members().len(), target.endpoints.len());
}

/// Adds a member as soon as the cluster allows: etcd wants to have seen its peers for five seconds.
async fn add(client: &Client, url: &str, options: Option<MemberAddOptions>) -> (u64, Vec<String>) {
    let mut added = eventually("the cluster takes a member", || async {
        client.clone().member_add([url], options.clone()).await.ok()
    })
    .await;
    let member = added.member().expect("the new member").clone();
    assert_eq!(
        (member.peer_urls(), member.name()),
        (&[url.to_owned()][..], "")
    );
    assert!(
        added
            .member_list()
            .iter()
            .any(|one| one.id() == member.id())
    );
    assert!(added.header().is_some());
    assert!(added.take_header().is_some());
    let urls = added
        .member_list()
        .iter()
        .flat_map(|one| one.peer_urls().to_vec())
        .collect();
    (member.id(), urls)
}

#[tokio::test]
async fn a_learner_is_added_promoted_and_removed() {
    let mut target = alone(1).await;
    let mut client = target.client.clone();
    let mut members = client.cluster_client();
    let place = new_place();
    let learner = MemberAddOptions::new().with_is_learner();
    let (id, _) = add(&client, &place.peer_url(), Some(learner.clone())).await;
    let list = client.member_list().await.expect("list");
    assert!(
        list.members()
            .iter()
            .any(|one| one.id() == id && one.is_learner())
    );
    let other = new_place().peer_url();
    let (code, message) = refusal(members.member_add([other], Some(learner)).await);
    let wanted = "etcdserver: too many learner members in cluster";
    assert_eq!((code, &*message), (code::FAILED_PRECONDITION, wanted));
    let (code, message) = refusal(client.member_promote(id).await);
    let wanted = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_eq!((code, &*message), (code::FAILED_PRECONDITION, wanted));

    if let Some(cluster) = &mut target.own {
        let first = &cluster.members[0];
        let initial = format!(
            "{}={},n2={}",
            first.name,
            first.place.peer_url(),
            place.peer_url()
        );
        let mut joined = cluster.member("n2", place.clone(), &initial, "existing");
        joined.start().expect("the learner starts");
        cluster.members.push(joined);
        let at = connect(&[place.client_url()]).await;
        let local = GetOptions::new().with_serializable();
        eventually("the learner answers a serializable get", || async {
            at.clone().get("x", Some(local.clone())).await.ok()
        })
        .await;
        // A member that has just come learns from the log that it is a learner.
        let refused = eventually("a learner refuses a linearizable get", || async {
            at.clone().get("x", None).await.err()
        })
        .await;
        let (code, message) = refusal(Err::<(), _>(refused));
        assert_eq!(message, "etcdserver: rpc not supported for learner");
        assert!(code == 14 || code == code::FAILED_PRECONDITION, "{code}");
        assert!(at.clone().status().await.expect("status").is_learner());
        let mut promoted = eventually("the learner has caught up", || async {
            client
                .clone()
                .cluster_client()
                .member_promote(id)
                .await
                .ok()
        })
        .await;
        assert!(
            promoted
                .members()
                .iter()
                .any(|one| one.id() == id && !one.is_learner())
        );
        assert!(promoted.header().is_some());
        assert!(promoted.take_header().is_some());
        assert!(
            serves(&place.client_url()).await,
            "a voter serves linearizable gets"
        );
        let (code, message) = refusal(client.member_promote(id).await);
        let wanted = "etcdserver: can only promote a learner member";
        assert_eq!((code, &*message), (code::FAILED_PRECONDITION, wanted));
    }
    let mut removed = eventually("the cluster lets a member go", || async {
        client.clone().member_remove(id).await.ok()
    })
    .await;
    assert!(removed.members().iter().all(|one| one.id() != id));
    assert!(removed.header().is_some());
    assert!(removed.take_header().is_some());
    let (code, message) = refusal(members.member_remove(id).await);
    assert_eq!((code, &*message), (code::NOT_FOUND, UNKNOWN));
    if let Some(cluster) = &mut target.own {
        assert!(
            cluster.members[1].ends_within(Duration::from_secs(20)),
            "a removed member ends by itself"
        );
    }
}

#[tokio::test]
async fn a_member_changes_its_peer_url() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut members = client.cluster_client();
    let place = new_place();
    // A learner that never comes does not count for the majority.
    let learner = MemberAddOptions::new().with_is_learner();
    let (id, urls) = add(&client, &place.peer_url(), Some(learner)).await;
    let other = new_place().peer_url();
    let mut updated = client
        .member_update(id, [other.clone()])
        .await
        .expect("update");
    assert!(
        updated
            .members()
            .iter()
            .any(|one| one.id() == id && one.peer_urls() == [other.clone()])
    );
    assert!(updated.header().is_some());
    assert!(updated.take_header().is_some());
    let taken = urls
        .into_iter()
        .find(|url| *url != place.peer_url())
        .expect("the first member's");
    let (code, message) = refusal(members.member_update(id, [taken]).await);
    assert_eq!(
        (code, &*message),
        (
            code::FAILED_PRECONDITION,
            "etcdserver: Peer URLs already exists"
        )
    );
    let (code, message) = refusal(members.member_update(4711, [other]).await);
    assert_eq!((code, &*message), (code::NOT_FOUND, UNKNOWN));
    let (code, message) = refusal(members.member_promote(4711).await);
    assert_eq!((code, &*message), (code::NOT_FOUND, UNKNOWN));
    members.member_remove(id).await.expect("remove");
}
