//! What a cluster does of itself, and what an operator does to it: on real processes of ours alone.

use cluster::{Cluster, Member, Place, Server, TempDir};
use etcd_client::{Client, GetOptions, MemberAddOptions};
use quorate_conformance::{
    PATIENCE, code, connect, eventually, new_place, program, refusal, serves,
};
use std::path::Path;

fn server(folder: &Path, flags: &[&str]) -> Server {
    let program = program().display().to_string();
    let server = Server::new("tested", &program, folder).expect("the server's program");
    server.with(flags)
}

/// A cluster of `n` that serves.
async fn start(n: usize, flags: &[&str]) -> (Cluster, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let server = server(folder.path(), flags);
    let cluster = Cluster::start(&server, folder.path(), n).expect("the server starts");
    for member in &cluster.members {
        assert!(
            serves(&member.client_url()).await,
            "{}",
            cluster.last_words()
        );
    }
    (cluster, folder)
}

async fn client_of(member: &Member) -> Client {
    connect(&[member.client_url()]).await
}

async fn value(client: &mut Client, key: &str) -> Option<String> {
    let answer = client.get(key, None::<GetOptions>).await.expect("a read");
    let row = answer.kvs().first()?;
    Some(row.value_str().expect("text").to_owned())
}

/// A member that was added to `cluster`, not started yet.
async fn added(cluster: &Cluster, client: &mut Client, name: &str) -> Member {
    let place: Place = new_place();
    add(client, &place.peer_url(), None).await;
    let mut initial: Vec<String> = Vec::new();
    let list = client.member_list().await.expect("the members");
    for member in list.members() {
        let name = if member.name().is_empty() {
            name
        } else {
            member.name()
        };
        initial.push(format!("{name}={}", member.peer_urls()[0]));
    }
    cluster.member(name, place, &initial.join(","), "existing")
}

#[tokio::test]
async fn what_is_left_of_a_lost_majority_becomes_a_cluster_of_its_own() {
    let (mut cluster, _folder) = start(3, &[]).await;
    let mut client = client_of(&cluster.members[0]).await;
    for n in 0..50 {
        let put = client.put(format!("k{n}"), format!("v{n}"), None).await;
        put.expect("a put");
    }
    // All three have it: what is acknowledged is on two of them, and not by law on the one that is left.
    let mut first = client_of(&cluster.members[0]).await;
    assert_eq!(value(&mut first, "k49").await.as_deref(), Some("v49"));
    let before = first.status().await.expect("a status");
    let ids = before.header().map(|it| (it.cluster_id(), it.member_id()));
    for member in &mut cluster.members {
        member.kill();
    }
    let survivor = &mut cluster.members[0];
    survivor.add_flags(&["--force-new-cluster"]);
    survivor.start().expect("it starts");
    let url = survivor.client_url();
    assert!(serves(&url).await, "{}", cluster.last_words());

    let mut client = client_of(&cluster.members[0]).await;
    for n in 0..50 {
        let found = value(&mut client, &format!("k{n}")).await;
        assert_eq!(found, Some(format!("v{n}")));
    }
    let after = client.status().await.expect("a status");
    let same = after.header().map(|it| (it.cluster_id(), it.member_id()));
    assert_eq!(same, ids, "cluster and member keep their ids");
    let list = client.member_list().await.expect("the members");
    assert_eq!(list.members().len(), 1);
    client.put("after", "1", None).await.expect("a put");

    // Members are added again, with new ids.
    let mut joined = added(&cluster, &mut client, "n4").await;
    joined.start().expect("it starts");
    assert!(
        serves(&joined.client_url()).await,
        "{}",
        joined.last_words(20)
    );
    let mut at_joined = client_of(&joined).await;
    assert_eq!(value(&mut at_joined, "k49").await.as_deref(), Some("v49"));
    assert_eq!(value(&mut at_joined, "after").await.as_deref(), Some("1"));

    // One of the lost comes back: it was removed, and is told so.
    cluster.members[1].start().expect("it starts");
    eventually("a lost member hears that it was removed", || async {
        let said = cluster.members[1].said("removed");
        (!said.is_empty()).then_some(())
    })
    .await;
    let list = client.member_list().await.expect("the members");
    assert_eq!(list.members().len(), 2);
}

#[tokio::test]
async fn what_was_said_of_the_first_members_counts_once() {
    let (mut cluster, _folder) = start(1, &["--initial-cluster-token=one"]).await;
    let mut client = client_of(&cluster.members[0]).await;
    client.put("k", "v", None).await.expect("a put");
    let ids = client.status().await.expect("a status");
    let ids = ids.header().map(|it| (it.cluster_id(), it.member_id()));
    for other in [
        &["--initial-cluster-token=another"][..],
        &["--initial-cluster=n1=http://127.0.0.1:1,n9=http://127.0.0.1:2"],
        &["--initial-cluster=n9=http://127.0.0.1:2"],
    ] {
        let member = &mut cluster.members[0];
        member.kill();
        member.add_flags(other);
        member.start().expect("it starts");
        let url = member.client_url();
        assert!(serves(&url).await, "{}", cluster.last_words());
        let mut client = client_of(&cluster.members[0]).await;
        assert_eq!(value(&mut client, "k").await.as_deref(), Some("v"));
        let now = client.status().await.expect("a status");
        assert_eq!(
            now.header().map(|it| (it.cluster_id(), it.member_id())),
            ids
        );
    }
}

#[tokio::test]
async fn an_alarm_goes_when_there_is_room_again() {
    let (cluster, _folder) = start(3, &["--quota-backend-bytes=1000000"]).await;
    let mut client = client_of(&cluster.members[1]).await;
    let big = "x".repeat(50_000);
    let mut n = 0;
    let full = loop {
        n += 1;
        assert!(n < 100, "the quota does not hold");
        if let Err(error) = client.put(format!("big/{n}"), big.clone(), None).await {
            break refusal::<()>(Err(error));
        }
    };
    assert_eq!(full.1, "etcdserver: mvcc: database space exceeded");
    let alarms = client
        .alarm(
            etcd_client::AlarmAction::Get,
            etcd_client::AlarmType::None,
            None,
        )
        .await
        .expect("the alarms");
    assert_eq!(alarms.alarms().len(), 1);
    let prefix = etcd_client::DeleteOptions::new().with_prefix();
    let deleted = client.delete("big/", Some(prefix)).await.expect("a delete");
    let revision = deleted.header().expect("a header").revision();
    client.compact(revision, None).await.expect("a compaction");
    let url = cluster.members[2].client_url();
    eventually("puts are taken again", || async {
        let mut client = connect(std::slice::from_ref(&url)).await;
        client.put("small", "1", None).await.ok()
    })
    .await;
    let said = cluster.members[1].said("alarm NOSPACE is taken back");
    assert_eq!(said.len(), 1, "the member that raised it takes it back");
}

#[tokio::test]
async fn history_is_forgotten_by_the_leader_alone() {
    let flags = [
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1s",
    ];
    let (cluster, _folder) = start(3, &flags).await;
    let mut client = client_of(&cluster.members[0]).await;
    let put = client.put("a", "1", None).await.expect("a put");
    let revision = put.header().expect("a header").revision();
    client.put("a", "2", None).await.expect("a put");
    client.put("a", "3", None).await.expect("a put");
    let url = cluster.members[0].client_url();
    eventually("the old revision is compacted", || async {
        let mut client = connect(std::slice::from_ref(&url)).await;
        let options = GetOptions::new().with_revision(revision);
        let read = client.get("a", Some(options)).await;
        read.err().map(|error| {
            let words = refusal::<()>(Err(error)).1;
            assert_eq!(
                words,
                "etcdserver: mvcc: required revision has been compacted"
            );
        })
    })
    .await;
    assert_eq!(value(&mut client, "a").await.as_deref(), Some("3"));
    let who = |words: &str| {
        let members = cluster.members.iter();
        members.filter(|it| !it.said(words).is_empty()).count()
    };
    assert_eq!(who("starting auto periodic compaction"), 1);
    assert_eq!(who("completed auto periodic compaction"), 1);
}

/// Waits until a member's cluster goes by the newest rules. The version may rise in steps.
async fn raised_to_the_newest(member: &Member) {
    eventually("the version is raised", || async {
        let raised = member.said("apply version is raised");
        let newest = |line: &String| line.contains("\"to\":4");
        raised.iter().any(newest).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_joining_member_of_the_build_before_is_told_to_be_newer() {
    let (cluster, _folder) = start(1, &[]).await;
    raised_to_the_newest(&cluster.members[0]).await;
    let mut client = client_of(&cluster.members[0]).await;
    let mut joined = added(&cluster, &mut client, "n2").await;
    joined.add_flags(&["--quorate-apply-version-max=2"]);
    joined.start().expect("it starts");
    assert!(joined.ends_within(PATIENCE), "{}", joined.last_words(20));
    let words = "the cluster is at apply version 4, and this program knows versions up to 2";
    assert!(!joined.said(words).is_empty(), "{}", joined.last_words(20));
}

#[tokio::test]
async fn a_member_does_not_go_back_behind_a_raised_version() {
    let (mut cluster, _folder) = start(1, &[]).await;
    raised_to_the_newest(&cluster.members[0]).await;
    let member = &mut cluster.members[0];
    member.kill();
    member.add_flags(&["--quorate-apply-version-max=2"]);
    member.start().expect("it starts");
    assert!(member.ends_within(PATIENCE), "{}", member.last_words(20));
    assert!(
        !member.said("version 3").is_empty(),
        "{}",
        member.last_words(20)
    );
}

#[tokio::test]
async fn members_that_are_alike_accuse_nobody() {
    let flags = [
        "--corrupt-check-time=1s",
        "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
        "--compact-hash-check-time=1s",
    ];
    let (mut cluster, _folder) = start(3, &flags).await;
    let mut client = client_of(&cluster.members[0]).await;
    for n in 0..200 {
        let put = client.put(format!("k{}", n % 7), n.to_string(), None).await;
        let revision = put.expect("a put").header().expect("a header").revision();
        if n % 20 == 19 {
            client
                .compact(revision - 5, None)
                .await
                .expect("a compaction");
        }
    }
    // A member that starts compares before it serves.
    cluster.members[2].kill();
    // What is sent to a leader that has just died waits until its time is over: it may have been the third.
    eventually("somebody leads", || async {
        let mut client = client.clone();
        client.put("k", "while it was away", None).await.ok()
    })
    .await;
    cluster.members[2].start().expect("it starts");
    let url = cluster.members[2].client_url();
    assert!(serves(&url).await, "{}", cluster.last_words());
    let passed = cluster.members[2].said("initial corruption checking passed");
    assert_eq!(passed.len(), 2);
    for what in ["Now", "Compaction"] {
        eventually("a check is made", || async {
            let members = cluster.members.iter();
            let mut lines = members.flat_map(|it| it.said("corruption check passed"));
            lines.any(|line| line.contains(what)).then_some(())
        })
        .await;
    }
    let alarms = client
        .alarm(
            etcd_client::AlarmAction::Get,
            etcd_client::AlarmType::None,
            None,
        )
        .await
        .expect("the alarms");
    assert_eq!(alarms.alarms().len(), 0, "{}", cluster.last_words());
}

/// Adds a member of `peer_url` as soon as the cluster takes one: all voters must have seen each other for five seconds.
async fn add(client: &Client, peer_url: &str, options: Option<MemberAddOptions>) -> u64 {
    let added = eventually("the cluster takes a member", || async {
        let mut client = client.clone();
        client.member_add([peer_url], options.clone()).await.ok()
    })
    .await;
    added.member().expect("the new member").id()
}

#[tokio::test]
async fn a_change_that_costs_the_majority_is_refused_unless_nobody_minds() {
    let (cluster, _folder) = start(1, &[]).await;
    let mut client = client_of(&cluster.members[0]).await;
    // A lone member may always get a second one. One of three would have started with the third.
    let second = client.member_add([new_place().peer_url()], None).await;
    second.expect("a second");
    let third = client.member_add([new_place().peer_url()], None).await;
    let wanted = "etcdserver: re-configuration failed due to not enough started members";
    assert_eq!(refusal(third).1, wanted);

    // The connections are young, and three of six will not have started.
    let (cluster, _folder) = start(3, &["--strict-reconfig-check=false"]).await;
    let mut client = client_of(&cluster.members[0]).await;
    for _ in 4..=6 {
        let added = client.member_add([new_place().peer_url()], None).await;
        added.expect("nobody minds");
    }
}

#[tokio::test]
async fn who_is_down_counts_when_the_members_change() {
    let (mut cluster, _folder) = start(3, &[]).await;
    let client = client_of(&cluster.members[0]).await;
    let mut members = client.cluster_client();
    let list = members.member_list().await.expect("the members");
    let id_of = |name: &str| {
        let mut members = list.members().iter();
        members.find(|it| it.name() == name).expect("listed").id()
    };
    let (second, third) = (id_of("n2"), id_of("n3"));
    let learner = Some(MemberAddOptions::new().with_is_learner());
    let one = add(&client, &new_place().peer_url(), learner.clone()).await;
    cluster.members[2].kill();
    // Whether all are alive is asked first; how many learners there may be then.
    let wanted = "etcdserver: unhealthy cluster";
    eventually("it is known who is down", || async {
        let mut client = client.clone();
        let another = [new_place().peer_url()];
        let refused = client.member_add(another, learner.clone()).await;
        (refusal(refused).1 == wanted).then_some(())
    })
    .await;
    let (code, words) = refusal(members.member_add([new_place().peer_url()], None).await);
    assert_eq!((code, &*words), (code::UNAVAILABLE, wanted));
    let (code, words) = refusal(members.member_remove(second).await);
    assert_eq!((code, &*words), (code::UNAVAILABLE, wanted), "it is needed");
    // What is sent to a leader that has just died waits until its time is over: it may have been the third.
    eventually("somebody leads", || async {
        let mut client = client.clone();
        client.put("before", "1", None).await.ok()
    })
    .await;
    members.member_remove(one).await.expect("a learner");
    // Who is down costs nothing.
    members.member_remove(third).await.expect("it was down");
    let mut at = client_of(&cluster.members[1]).await;
    at.put("after", "1", None).await.expect("two of two");
}
