//! The session half beyond keys: leases, members, status, snapshots, health, and what is not offered.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::{LeaseId, MemberId, Revision};
use bytes::Bytes;
use etcd::proto::etcdserverpb as pb;
use etcd::proto::health as health_pb;
use etcd::{
    ClusterOp, Code, Health, LeaseStream, Limits, MemberStatus, Method, Plan, Refusal, Session,
    Shape, Status,
};
use prost::Message;
use support::{HEADER, World};

fn body(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

// ---- names and passwords -----------------------------------------------------------------------

#[test]
fn a_name_or_a_password_that_nobody_can_have_is_refused_at_once() {
    let plan = |name: usize, password: usize| {
        let login = pb::AuthenticateRequest {
            name: "n".repeat(name),
            password: "p".repeat(password),
        };
        let plan = Session::new(Limits::default(), 1).plan(Method::Authenticate, body(&login));
        plan.map(|_| ())
    };
    use etcd::auth::{NAME_BYTES_MAX, PASSWORD_SHOWN_BYTES_MAX};
    assert_eq!(plan(NAME_BYTES_MAX, PASSWORD_SHOWN_BYTES_MAX), Ok(()));
    let refused = Err(Refusal::AuthFailed.into());
    assert_eq!(plan(NAME_BYTES_MAX + 1, 1), refused);
    assert_eq!(plan(1, PASSWORD_SHOWN_BYTES_MAX + 1), refused);
}

// ---- leases ------------------------------------------------------------------------------------

#[test]
fn a_lease_without_an_id_gets_one_that_is_positive_and_its_own() {
    let mut world = World::new();
    let request = pb::LeaseGrantRequest { ttl: 10, id: 0 };
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let answer: pb::LeaseGrantResponse = world.call(Method::LeaseGrant, &request).unwrap();
        assert!(answer.id > 0 && ids.insert(answer.id));
        assert_eq!((answer.ttl, answer.error.as_str()), (10, ""));
    }
}

#[test]
fn the_least_time_to_live_goes_with_the_election_timeout() {
    let cases = [
        (1000, 2),
        (1333, 2),
        (1334, 3),
        (5000, 8),
        (100, 1),
        (50_000, 75),
    ];
    for (election_ms, ttl_s) in cases {
        assert_eq!(Limits::lease_ttl_min_s(election_ms), ttl_s, "{election_ms}");
    }
}

#[test]
fn renewals_are_answered_in_the_order_in_which_they_were_asked() {
    let mut stream = LeaseStream::new();
    let renewals: Vec<_> = [1, 77, 2]
        .map(|id| {
            stream
                .handle(&pb::LeaseKeepAliveRequest { id }.encode_to_vec())
                .unwrap()
        })
        .into();
    assert_eq!(
        renewals.iter().map(|r| r.lease).collect::<Vec<_>>(),
        [1, 77, 2].map(LeaseId)
    );
    // The member answers in another order.
    stream.renewed(renewals[2].number, Some(20));
    assert_eq!(stream.next_answer(Revision(7), &HEADER), None);
    stream.renewed(renewals[0].number, Some(10));
    stream.renewed(renewals[1].number, None);
    let mut answers = Vec::new();
    while let Some(bytes) = stream.next_answer(Revision(7), &HEADER) {
        let answer = pb::LeaseKeepAliveResponse::decode(bytes).unwrap();
        assert_eq!(answer.header.unwrap().revision, 7);
        answers.push((answer.id, answer.ttl));
    }
    // Unknown is no error: its time to live is 0.
    assert_eq!(answers, [(1, 10), (77, 0), (2, 20)]);
    // Late or wrong numbers are nobody's.
    stream.renewed(0, Some(10));
    stream.renewed(99, Some(10));
    assert_eq!(stream.next_answer(Revision(7), &HEADER), None);
}

#[test]
fn a_stream_of_renewals_is_bounded() {
    let mut stream = LeaseStream::new();
    for _ in 0..etcd::RENEWALS_MAX {
        assert!(!stream.is_full());
        stream.handle(&[]).unwrap();
    }
    assert!(stream.is_full());
}

// ---- members -----------------------------------------------------------------------------------

#[test]
fn members_must_have_urls_of_a_scheme_and_an_address() {
    let mut session = Session::new(Limits::default(), 1);
    let mut add = |urls: &[&str]| {
        let request = pb::MemberAddRequest {
            peer_ur_ls: urls.iter().map(|url| (*url).to_owned()).collect(),
            is_learner: true,
        };
        session.plan(Method::MemberAdd, body(&request))
    };
    for right in [
        "http://10.0.0.1:2380",
        "https://n1.example:2380",
        "http://[::1]:1",
        "unix://sock:1",
    ] {
        let expected = ClusterOp::Add {
            peer_urls: vec![right.to_owned()],
            is_learner: true,
        };
        assert_eq!(add(&[right]), Ok(Plan::Change(expected)), "{right}");
    }
    let wrong = [
        "",
        "127.0.0.1:2380",
        "http://10.0.0.1",
        "http://10.0.0.1:x",
        "http://10.0.0.1:99999",
        "http://10.0.0.1:80/x",
        "ftp://10.0.0.1:80",
        "http://::1:80",
        "http://a@b:80",
        "unix://",
    ];
    for wrong in wrong {
        assert_eq!(add(&[wrong]), Err(Refusal::BadMemberUrls.into()), "{wrong}");
    }
    assert_eq!(add(&[]), Err(Refusal::BadMemberUrls.into()));
    let sorted = ClusterOp::Add {
        peer_urls: vec!["http://a:1".into(), "http://b:1".into()],
        is_learner: true,
    };
    assert_eq!(
        add(&["http://b:1", " http://a:1 "]),
        Ok(Plan::Change(sorted))
    );
}

#[test]
fn the_membership_refuses_what_etcd_refuses() {
    let mut world = World::new();
    let mut txn = world.store.begin(etcd::ROOT, &store::Stamp::default());
    txn.member_put(&store::Member {
        id: MemberId(2),
        peer_urls: vec!["http://l:1".into()],
        is_learner: true,
        ..Default::default()
    });
    txn.finish();
    let state = world.store.publish();
    let check = |op| etcd::check_cluster_op(&state, &op, etcd::LEARNERS_MAX);
    let urls = |url: &str| vec![url.to_owned()];
    let add = |url, is_learner| ClusterOp::Add {
        peer_urls: urls(url),
        is_learner,
    };
    let update = |id, url| ClusterOp::Update {
        member: MemberId(id),
        peer_urls: urls(url),
    };
    assert_eq!(check(add("http://new:1", false)), Ok(()));
    assert_eq!(
        check(add("http://new:1", true)),
        Err(Refusal::TooManyLearners)
    );
    assert_eq!(check(add("http://l:1", false)), Err(Refusal::PeerUrlExists));
    assert_eq!(
        check(ClusterOp::Remove(MemberId(9))),
        Err(Refusal::MemberNotFound)
    );
    assert_eq!(check(ClusterOp::Remove(MemberId(2))), Ok(()));
    assert_eq!(
        check(ClusterOp::Promote(MemberId(9))),
        Err(Refusal::MemberNotFound)
    );
    assert_eq!(
        check(ClusterOp::Promote(MemberId(1))),
        Err(Refusal::MemberNotLearner)
    );
    assert_eq!(check(ClusterOp::Promote(MemberId(2))), Ok(()));
    assert_eq!(
        check(update(9, "http://new:1")),
        Err(Refusal::MemberNotFound)
    );
    assert_eq!(check(update(1, "http://l:1")), Err(Refusal::PeerUrlExists));
    assert_eq!(check(update(2, "http://l:1")), Ok(()));
    // Whether there is such a member is looked at before its place.
    let mut nowhere = |id| {
        let request = pb::MemberUpdateRequest {
            id,
            peer_ur_ls: vec!["nonsense".to_owned()],
        };
        match world.session.plan(Method::MemberUpdate, body(&request)) {
            Ok(Plan::Change(op)) => check(op).map_err(Status::from),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(nowhere(9), Err(Refusal::MemberNotFound.into()));
    assert_eq!(nowhere(1), Err(Refusal::BadMemberUrls.into()));

    let added = etcd::answer_member_add(&state, MemberId(2), &HEADER);
    let added = pb::MemberAddResponse::decode(added).unwrap();
    assert_eq!(
        added.header.unwrap().revision,
        0,
        "the Cluster service tells no revision"
    );
    assert!(added.member.unwrap().is_learner);
    assert_eq!(added.members.len(), 2);
    let all = pb::MemberListResponse::decode(etcd::answer_members(&state, &HEADER)).unwrap();
    assert_eq!(all.members[0].name, "n1");
    assert_eq!(all.members, added.members);
}

#[test]
fn a_member_list_is_linearizable_when_asked() {
    let mut session = Session::new(Limits::default(), 1);
    for linearizable in [false, true] {
        let request = pb::MemberListRequest { linearizable };
        let Ok(Plan::Read(read)) = session.plan(Method::MemberList, body(&request)) else {
            panic!("a list is a read");
        };
        assert_eq!(read.linearizable, linearizable);
    }
}

// ---- maintenance -------------------------------------------------------------------------------

#[test]
fn status_tells_alarms_and_a_missing_leader_in_etcds_words() {
    let mut world = World::new();
    world.put("a", "1");
    let alarm = etcd::Alarm {
        kind: etcd::AlarmKind::NoSpace,
        member: MemberId(5),
    };
    world.apply(&etcd::alarm_request(alarm)).unwrap();
    let status = MemberStatus {
        committed: base::Index(9),
        applied: base::Index(8),
        is_learner: true,
        quota_bytes: 1000,
        ..Default::default()
    };
    let answer = etcd::answer_status(&world.state, &status, &HEADER);
    let answer = pb::StatusResponse::decode(answer).unwrap();
    assert_eq!(
        answer.errors,
        ["etcdserver: no leader", "memberID:5 alarm:NOSPACE "]
    );
    assert_eq!(answer.version, etcd::ETCD_VERSION);
    assert_eq!(
        (
            answer.raft_index,
            answer.raft_applied_index,
            answer.raft_term
        ),
        (9, 8, 3)
    );
    assert_eq!((answer.is_learner, answer.db_size_quota), (true, 1000));
    assert!(answer.db_size > 0 && answer.db_size_in_use > 0);
    assert!(answer.downgrade_info.is_some());
    assert_eq!(answer.header.unwrap().revision, 2);
}

#[test]
fn the_version_is_one_that_kubernetes_trusts() {
    let numbers: Vec<u32> = etcd::ETCD_VERSION
        .split('.')
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(numbers.len() == 3 && numbers >= vec![3, 5, 13]);
}

#[test]
fn a_full_store_is_noticed_before_a_request_enters_the_log() {
    let mut world = World::new();
    world.put("a", &"v".repeat(10_000));
    let limits = Limits {
        quota_bytes: 12_000,
        ..Limits::default()
    };
    assert!(!limits.is_over_quota(&world.state, 300));
    assert!(limits.is_over_quota(&world.state, 5000));
    assert!(
        !limits.is_over_quota(&world.state, 0),
        "what frees is never refused"
    );
    let endless = Limits {
        quota_bytes: 0,
        ..limits
    };
    assert!(!endless.is_over_quota(&world.state, u64::MAX));

    let cost = |plan| match plan {
        Ok(Plan::Propose { cost_bytes, .. }) => cost_bytes,
        other => panic!("{other:?}"),
    };
    let put = pb::PutRequest {
        key: "abc".into(),
        value: "defg".into(),
        ..Default::default()
    };
    assert_eq!(cost(world.session.plan(Method::Put, body(&put))), 256 + 7);
    let op = |put: &pb::PutRequest| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put.clone())),
    };
    let other = pb::PutRequest {
        key: "x".into(),
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        success: vec![op(&other)],
        failure: vec![op(&put), op(&other)],
        ..Default::default()
    };
    assert_eq!(
        cost(world.session.plan(Method::Txn, body(&txn))),
        256 + 7 + 256 + 1
    );
    let grant = pb::LeaseGrantRequest { ttl: 10, id: 1 };
    assert_eq!(
        cost(world.session.plan(Method::LeaseGrant, body(&grant))),
        64
    );
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    assert_eq!(
        cost(world.session.plan(Method::DeleteRange, body(&delete))),
        0
    );
}

#[test]
fn hashes_of_equal_members_are_equal_and_history_counts() {
    let hash = |world: &mut World, revision| -> Result<pb::HashKvResponse, Status> {
        world.call(Method::HashKv, &pb::HashKvRequest { revision })
    };
    let (mut one, mut two) = (World::new(), World::new());
    for world in [&mut one, &mut two] {
        for n in 0..10 {
            world.put("a", &n.to_string());
        }
        world.compact(5);
    }
    while one.store.sweep(100) {}
    one.state = one.store.publish();
    let (of_one, of_two) = (hash(&mut one, 0).unwrap(), hash(&mut two, 0).unwrap());
    assert_eq!(of_one, of_two, "however far each has swept");
    assert_eq!((of_one.compact_revision, of_one.hash_revision), (5, 11));
    assert_ne!(of_one.hash, hash(&mut one, 10).unwrap().hash);
    assert_eq!(hash(&mut one, 4), Err(Refusal::Compacted.into()));
    assert_eq!(hash(&mut one, 12), Err(Refusal::FutureRevision.into()));
    assert_eq!(hash(&mut World::new(), 0).unwrap().compact_revision, -1);
    let whole: pb::HashResponse = one.call(Method::Hash, &pb::HashRequest {}).unwrap();
    assert_eq!(whole.hash, of_one.hash);
}

// ---- health, and what is not offered -----------------------------------------------------------

#[test]
fn health_of_the_whole_server_is_known_and_of_nothing_else() {
    let mut session = Session::new(Limits::default(), 1);
    for method in [Method::HealthCheck, Method::HealthWatch] {
        for (service, known) in [("", true), ("etcdserverpb.KV", false)] {
            let request = health_pb::HealthCheckRequest {
                service: service.into(),
            };
            assert_eq!(
                session.plan(method, body(&request)),
                Ok(Plan::Health { known })
            );
        }
    }
    for (health, number) in [
        (Health::Serving, 1),
        (Health::NotServing, 2),
        (Health::ServiceUnknown, 3),
    ] {
        let answer = health_pb::HealthCheckResponse::decode(etcd::answer_health(health)).unwrap();
        assert_eq!(answer.status, number);
    }
    assert_eq!(etcd::unknown_service().code, Code::NotFound);
}

#[test]
fn every_method_is_planned_or_says_clearly_that_it_is_not_offered() {
    let mut session = Session::new(Limits::default(), 1);
    for method in Method::ALL
        .iter()
        .filter(|method| method.shape() != Shape::Bidirectional)
    {
        let planned = session.plan(*method, Bytes::new());
        match planned {
            Err(status) if matches!(method, Method::ElectionProclaim | Method::ElectionResign) => {
                assert_eq!(status, Refusal::LeaderMissing.into(), "{method:?}");
            }
            Err(status) if *method == Method::Unlock => {
                assert_eq!(status.message, Refusal::EmptyKey.message());
            }
            Err(status) => assert_eq!(status.code, Code::InvalidArgument, "{method:?}"),
            // Refused too, once it is known that whoever asks may ask.
            Ok(Plan::Downgrade) => assert_eq!(*method, Method::Downgrade),
            Ok(_) => assert_ne!(*method, Method::Downgrade),
        }
    }
    let status = etcd::Status::from(Refusal::DowngradeUnimplemented);
    assert_eq!(status.code, Code::Unimplemented);
    assert!(status.message.starts_with("quorate: "), "{status:?}");
}

#[test]
fn users_and_roles_are_said_to_be_off() {
    let answer: pb::AuthStatusResponse = World::new()
        .call(Method::AuthStatus, &pb::AuthStatusRequest {})
        .unwrap();
    assert!(!answer.enabled);
}

#[test]
fn an_outcome_of_a_newer_member_is_an_error_and_not_a_crash() {
    let outcome = store::Outcome {
        status: 65_000,
        body: Bytes::new(),
    };
    let status = etcd::answer_outcome(&outcome, base::Revision(1), &HEADER).unwrap_err();
    assert_eq!(status.code, Code::Unknown);
}
