//! Maintenance: MaintenanceClient, and the same methods of Client.

use crate::coverage::works_or_refused;
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, DeleteOptions,
    DowngradeOptions,
};
use quorate_conformance::{alone, alone_with, code, eventually, refusal, shared};

#[tokio::test]
async fn status_tells_who_leads_and_how_far() {
    let target = shared().await;
    let mut client = target.client.clone();
    client.put("status/a", "1", None).await.expect("put");
    let mut leaders = Vec::new();
    for member in 0..target.endpoints.len() {
        let mut at = target.at(member).await;
        let mut status = at.status().await.expect("status");
        assert!(status.version().starts_with("3."), "{}", status.version());
        assert!(status.raft_index() > 0 && status.raft_term() > 0);
        assert!(status.raft_applied_index() > 0);
        assert!(status.raft_applied_index() <= status.raft_index());
        assert!(status.db_size() > 0 && status.raft_used_db_size() > 0);
        assert!(status.raft_used_db_size() <= status.db_size());
        assert!(!status.is_learner());
        assert_eq!(status.errors(), [""; 0]);
        // etcd fills these from 3.6 on; whoever does must make sense.
        let storage = status.storage_version();
        assert!(storage.is_empty() || storage.starts_with("3."), "{storage}");
        assert!(status.db_size_quota() >= 0);
        if let Some(info) = status.downgrade_info() {
            assert!(!info.enabled());
            assert_eq!(info.target_version(), "");
        }
        assert!(status.header().expect("a header").revision() > 0);
        leaders.push(status.leader());
        assert!(status.take_header().is_some());
        at.maintenance_client().status().await.expect("status");
    }
    assert!(
        leaders
            .iter()
            .all(|leader| *leader == leaders[0] && *leader != 0),
        "{leaders:?}"
    );
}

#[tokio::test]
async fn defragment_answers() {
    let mut client = shared().await.client;
    let mut done = client.defragment().await.expect("defragment");
    // etcd sends no header here; that a client can ask for it is all there is to say.
    let _ = (done.header().is_some(), done.take_header());
    client
        .maintenance_client()
        .defragment()
        .await
        .expect("defragment");
}

/// The hash and the compaction of each member at a revision.
async fn hashes(clients: &[Client], revision: i64) -> Vec<(u32, i64)> {
    let mut all = Vec::new();
    for client in clients {
        let answer = client.clone().maintenance_client().hash_kv(revision).await;
        all.push(answer.map_or((0, -2), |answer| (answer.hash(), answer.compact_version())));
    }
    all
}

#[tokio::test]
async fn hash_kv_is_the_same_at_all_members() {
    let target = shared().await;
    let mut client = target.client.clone();
    let put = client.put("hash/a", "1", None).await.expect("put");
    let revision = put.header().expect("a header").revision();
    let mut clients = Vec::new();
    for member in 0..target.endpoints.len() {
        clients.push(target.at(member).await);
    }
    let first = eventually("all members have applied the put", || async {
        let all = hashes(&clients, revision).await;
        (all.iter().all(|one| *one == all[0]) && all[0].1 > -2).then(|| all[0])
    })
    .await;
    client.put("hash/a", "2", None).await.expect("put");
    assert_eq!(
        hashes(&clients[..1], revision).await,
        [first],
        "the past does not change"
    );
    let mut answer = client.hash_kv(revision).await.expect("hash");
    assert!(
        answer.hash_revision() == revision || answer.hash_revision() == 0,
        "0 before etcd 3.6"
    );
    assert!(answer.header().is_some());
    assert!(answer.take_header().is_some());
    let (code, message) = refusal(client.hash_kv(i64::MAX).await);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, future));
}

#[tokio::test]
async fn hash_answers() {
    let mut client = shared().await.client;
    let mut hash = client.hash().await.expect("hash");
    assert!(hash.hash() > 0);
    assert!(hash.header().is_some());
    assert!(hash.take_header().is_some());
    client.maintenance_client().hash().await.expect("hash");
}

#[tokio::test]
async fn snapshot_streams_to_its_checksum() {
    let target = shared().await;
    let mut client = target.client.clone();
    client
        .put("snapshot/a", vec![b'x'; 100_000], None)
        .await
        .expect("put");
    let mut at = target.at(0).await;
    let mut first = at.snapshot().await.expect("snapshot");
    let mut second = at.maintenance_client().snapshot().await.expect("snapshot");
    for stream in [&mut first, &mut second] {
        let (mut bytes, mut last_remaining, mut messages) = (0, u64::MAX, 0);
        while let Some(mut part) = stream.message().await.expect("a part") {
            bytes += part.blob().len();
            assert!(part.remaining_bytes() <= last_remaining, "it counts down");
            last_remaining = part.remaining_bytes();
            assert!(part.version().is_empty() || part.version().starts_with("3."));
            let _ = (part.header().is_some(), part.take_header());
            messages += 1;
        }
        assert_eq!(last_remaining, 0);
        assert!(bytes > 32 && messages > 1);
    }
}

#[tokio::test]
async fn alarms_are_listed_raised_and_disarmed() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut maintenance = client.maintenance_client();
    let none = client
        .alarm(AlarmAction::Get, AlarmType::None, None)
        .await
        .expect("alarms");
    assert_eq!(none.alarms().len(), 0);
    let id = client
        .status()
        .await
        .expect("status")
        .header()
        .expect("a header")
        .member_id();
    let mut options = AlarmOptions::new();
    options.with_member(id);
    let raised = maintenance
        .alarm(
            AlarmAction::Activate,
            AlarmType::Nospace,
            Some(options.clone()),
        )
        .await
        .expect("raise");
    assert_eq!(raised.alarms().len(), 1);
    let mut list = maintenance
        .alarm(AlarmAction::Get, AlarmType::Nospace, None)
        .await
        .expect("alarms");
    let alarm = &list.alarms()[0];
    assert_eq!((alarm.member_id(), alarm.alarm()), (id, AlarmType::Nospace));
    // etcd sends no header here.
    let _ = (list.header().is_some(), list.take_header());
    let (code, message) = refusal(client.put("alarm/a", "1", None).await);
    let wanted = "etcdserver: mvcc: database space exceeded";
    assert_eq!((code, &*message), (code::RESOURCE_EXHAUSTED, wanted));
    client.get("alarm/a", None).await.expect("reading goes on");
    client
        .delete("alarm/a", None)
        .await
        .expect("deleting goes on");
    client
        .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options))
        .await
        .expect("disarm");
    client.put("alarm/a", "1", None).await.expect("put");
}

#[tokio::test]
async fn a_full_quota_raises_the_alarm() {
    let target = alone_with(1, &["--quota-backend-bytes", "3000000"]).await;
    if target.own.is_none() {
        return; // A given cluster has the quota that it has.
    }
    let mut client = target.client.clone();
    let refused = 'full: {
        // etcd looks at the size of its last commit to disk, up to 100 ms ago.
        for i in 0..400 {
            let put = client
                .put(format!("quota/{i}"), vec![b'x'; 500_000], None)
                .await;
            if put.is_err() {
                break 'full put;
            }
        }
        panic!("200 MB fit into a quota of 3");
    };
    let (code, message) = refusal(refused);
    let wanted = "etcdserver: mvcc: database space exceeded";
    assert_eq!((code, &*message), (code::RESOURCE_EXHAUSTED, wanted));
    // The alarm itself is a replicated entry that follows the first refusal.
    let raised = eventually("the alarm", || async {
        let list = client
            .clone()
            .alarm(AlarmAction::Get, AlarmType::None, None)
            .await;
        list.expect("alarms")
            .alarms()
            .first()
            .map(etcd_client::AlarmMember::alarm)
    })
    .await;
    assert_eq!(raised, AlarmType::Nospace);
    let errors = client.status().await.expect("status").errors().to_vec();
    assert!(
        errors.iter().any(|error| error.contains("NOSPACE")),
        "{errors:?}"
    );

    // The way back, as etcd's own guide walks it; compacting at the very revision of the delete is enough.
    let options = DeleteOptions::new().with_prefix();
    let deleted = client
        .delete("quota/", Some(options))
        .await
        .expect("delete");
    let revision = deleted.header().expect("a header").revision();
    let physical = CompactionOptions::new().with_physical();
    client
        .compact(revision, Some(physical))
        .await
        .expect("compact");
    client.defragment().await.expect("defragment");
    let status = client.status().await.expect("status");
    let mut raised_by = AlarmOptions::new();
    raised_by.with_member(status.header().expect("a header").member_id());
    client
        .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(raised_by))
        .await
        .expect("disarm");
    for i in 0..4 {
        eventually("room again", || async {
            let put = client
                .clone()
                .put(format!("quota/{i}"), vec![b'y'; 500_000], None)
                .await;
            put.ok().map(|_| ())
        })
        .await;
    }
}

#[tokio::test]
async fn move_leader_moves_it() {
    let target = alone(3).await;
    let mut ids = Vec::new();
    for member in 0..3 {
        let status = target.at(member).await.status().await.expect("status");
        ids.push(status.header().expect("a header").member_id());
    }
    let leader = async || {
        let mut seen = Vec::new();
        for member in 0..3 {
            seen.push(
                target
                    .at(member)
                    .await
                    .status()
                    .await
                    .expect("status")
                    .leader(),
            );
        }
        seen
    };
    // The role that moves comes back the same way: through both methods.
    for round in 0..2 {
        let now = eventually("all agree on the leader", || async {
            let seen = leader().await;
            seen.iter()
                .all(|one| *one == seen[0] && *one != 0)
                .then(|| seen[0])
        })
        .await;
        let from = ids
            .iter()
            .position(|id| *id == now)
            .expect("one of the three");
        let to = ids[(from + 1) % 3];
        let mut at = target.at(from).await;
        let (code, message) = refusal(at.move_leader(4711).await);
        let bad = "etcdserver: bad leader transferee";
        assert_eq!((code, &*message), (code::FAILED_PRECONDITION, bad));
        let follower = target.at((from + 1) % 3).await;
        let (code, message) = refusal(follower.maintenance_client().move_leader(now).await);
        assert_eq!(
            (code, &*message),
            (code::FAILED_PRECONDITION, "etcdserver: not leader")
        );
        let mut moved = match round {
            0 => at.move_leader(to).await.expect("move"),
            _ => at.maintenance_client().move_leader(to).await.expect("move"),
        };
        // etcd sends no header here.
        let _ = (moved.header().is_some(), moved.take_header());
        eventually("all see the new leader", || async {
            leader().await.iter().all(|one| *one == to).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn downgrade_is_validated_or_unimplemented() {
    // etcd has it since 3.5.
    let client = shared().await.client;
    let mut maintenance = client.maintenance_client();
    for options in [
        DowngradeOptions::Validate("3.0.0".into()),
        DowngradeOptions::Enable("3.0.0".into()),
    ] {
        let answer = maintenance.downgrade(options).await;
        assert_ne!(
            refusal(answer.map(|mut done| (done.version().len(), done.take_header()))).0,
            0
        );
    }
    let cancel = maintenance.downgrade(DowngradeOptions::Cancel).await;
    if let Some(done) = works_or_refused("MaintenanceClient::downgrade", cancel) {
        assert!(done.header().is_some());
    }
}
