//! What a cluster does of itself, and what an operator does to it: on real processes of ours alone.

use cluster::{Cluster, Member, Place, Server, TempDir};
use etcd_client::{Client, GetOptions};
use quorate_conformance::{PATIENCE, connect, eventually, new_place, program, refusal, serves};
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
    let answer = client.member_add([place.peer_url()], None).await;
    answer.expect("a member is added");
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

#[tokio::test]
async fn a_joining_member_of_the_build_before_is_told_to_be_newer() {
    let (cluster, _folder) = start(1, &[]).await;
    eventually("the version is raised", || async {
        (!cluster.members[0]
            .said("apply version is raised")
            .is_empty())
        .then_some(())
    })
    .await;
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
    eventually("the version is raised", || async {
        (!cluster.members[0]
            .said("apply version is raised")
            .is_empty())
        .then_some(())
    })
    .await;
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
    client
        .put("k", "while it was away", None)
        .await
        .expect("a put");
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

#[tokio::test]
async fn a_change_that_costs_the_majority_is_refused_unless_nobody_minds() {
    for (flag, is_refused) in [("true", true), ("false", false)] {
        let strict = format!("--strict-reconfig-check={flag}");
        let (cluster, _folder) = start(3, &[&strict]).await;
        let mut client = client_of(&cluster.members[0]).await;
        let third = new_place().peer_url();
        client.member_add([third], None).await.expect("a fourth");
        let fifth = client.member_add([new_place().peer_url()], None).await;
        // Three of four have started; with a fifth three of five would have, which is enough; with a sixth not.
        fifth.expect("a fifth");
        let sixth = client.member_add([new_place().peer_url()], None).await;
        assert_eq!(sixth.is_err(), is_refused, "strict: {flag}");
        if let Err(error) = sixth {
            let words = refusal::<()>(Err(error)).1;
            let wanted = "etcdserver: re-configuration failed due to not enough started members";
            assert_eq!(words, wanted);
        }
    }
}
