//! etcd's API: a client's requests, one after another, to every method that answers single requests.
//!
//! Each part of the input is one request; its tag chooses the method. They meet one small state, so what
//! the first ones do is what the later ones find.

use super::{Target, Verdict};
use crate::parts::{self, Part, part};
use crate::world::{World, body};
use crate::{heap, mutate};
use base::Rng;
use bytes::Bytes;
use etcd::proto::{etcdserverpb as pb, health as health_pb};
use etcd::{LeaseStream, Method, Shape};
use prost::Message;

/// See the module.
pub const TARGET: Target = Target {
    name: "etcd_requests",
    run,
    corpus,
    mutate,
    one_in: 2,
};

/// Bytes that one request may ask for beside its own: the state is of a few kilobytes, and one
/// operation, which takes a byte of the request at least, answers with all of it at most.
const STATE_BYTES_MAX: usize = 16 * 1024;

/// Each request is refused, taking no revision, or answered with messages of its method's type. At the
/// end the state is sound.
pub fn run(input: &[u8]) -> Verdict {
    let mut world = World::lived_in();
    let mut renewals = LeaseStream::new();
    let mut all_accepted = !input.is_empty();
    for request in parts::unpack(input).into_iter().take(32) {
        let method = method_of(request.tag);
        let bytes_max = 1024 * 1024 + request.bytes.len() * STATE_BYTES_MAX;
        let bytes = Bytes::from(request.bytes);
        if method.shape() == Shape::Bidirectional {
            all_accepted &= renew(&world, &mut renewals, &bytes);
            continue;
        }
        let answer = heap::bounded(bytes_max, method.path(), || world.call(method, bytes));
        match answer {
            Ok(messages) => messages.into_iter().for_each(|m| assert_decodes(method, m)),
            Err(_) => all_accepted = false,
        }
    }
    while world.store.sweep(3) {}
    world.store.state().check();
    Verdict::of(all_accepted)
}

fn method_of(tag: u8) -> Method {
    Method::ALL[usize::from(tag) % Method::ALL.len()]
}

fn renew(world: &World, stream: &mut LeaseStream, request: &[u8]) -> bool {
    let Ok(renewal) = stream.handle(request) else {
        return false;
    };
    stream.renewed(renewal.number, (renewal.number % 2 == 0).then_some(60));
    while let Some(answer) = stream.next_answer(world.state.revision(), &crate::world::HEADER) {
        let answer = pb::LeaseKeepAliveResponse::decode(answer);
        assert!(answer.is_ok_and(|answer| answer.id == renewal.lease.0));
    }
    true
}

/// What we say is what the method's type says, read by somebody else's decoder.
fn assert_decodes(method: Method, message: Bytes) {
    fn check<M: Message + Default>(message: Bytes) -> Result<(), prost::DecodeError> {
        M::decode(message).map(drop)
    }
    let read: fn(Bytes) -> Result<(), prost::DecodeError> = match method {
        Method::Range => check::<pb::RangeResponse>,
        Method::RangeStream => check::<pb::RangeStreamResponse>,
        Method::Put => check::<pb::PutResponse>,
        Method::Txn if message.len() > 10_000 => return,
        Method::Txn => check::<pb::TxnResponse>,
        Method::DeleteRange => check::<pb::DeleteRangeResponse>,
        Method::Compact => check::<pb::CompactionResponse>,
        Method::LeaseGrant => check::<pb::LeaseGrantResponse>,
        Method::LeaseRevoke => check::<pb::LeaseRevokeResponse>,
        Method::LeaseTimeToLive => check::<pb::LeaseTimeToLiveResponse>,
        Method::LeaseLeases => check::<pb::LeaseLeasesResponse>,
        Method::MemberList | Method::MemberAdd | Method::MemberRemove => {
            check::<pb::MemberListResponse>
        }
        Method::MemberUpdate | Method::MemberPromote => check::<pb::MemberListResponse>,
        Method::Alarm => check::<pb::AlarmResponse>,
        Method::Status => check::<pb::StatusResponse>,
        Method::Hash => check::<pb::HashResponse>,
        Method::HashKv => check::<pb::HashKvResponse>,
        Method::Snapshot => check::<pb::SnapshotResponse>,
        Method::AuthStatus => check::<pb::AuthStatusResponse>,
        Method::AuthEnable => check::<pb::AuthEnableResponse>,
        Method::AuthDisable => check::<pb::AuthDisableResponse>,
        Method::UserAdd => check::<pb::AuthUserAddResponse>,
        Method::UserGet => check::<pb::AuthUserGetResponse>,
        Method::UserList => check::<pb::AuthUserListResponse>,
        Method::UserDelete => check::<pb::AuthUserDeleteResponse>,
        Method::UserChangePassword => check::<pb::AuthUserChangePasswordResponse>,
        Method::UserGrantRole => check::<pb::AuthUserGrantRoleResponse>,
        Method::UserRevokeRole => check::<pb::AuthUserRevokeRoleResponse>,
        Method::RoleAdd => check::<pb::AuthRoleAddResponse>,
        Method::RoleGet => check::<pb::AuthRoleGetResponse>,
        Method::RoleList => check::<pb::AuthRoleListResponse>,
        Method::RoleDelete => check::<pb::AuthRoleDeleteResponse>,
        Method::RoleGrantPermission => check::<pb::AuthRoleGrantPermissionResponse>,
        Method::RoleRevokePermission => check::<pb::AuthRoleRevokePermissionResponse>,
        Method::HealthCheck | Method::HealthWatch => check::<health_pb::HealthCheckResponse>,
        _ => return assert!(message.is_empty(), "{method:?} answers something"),
    };
    let read = read(message);
    assert!(read.is_ok(), "the answer of {method:?}: {read:?}");
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if rng.one_in(16) {
        return mutate::bytes(input, other, rng);
    }
    let mut requests = parts::unpack(input);
    let other = parts::unpack(other);
    for _ in 0..rng.between(1, 4) {
        parts::edit(&mut requests, &other, Method::ALL.len() as u64, rng);
    }
    *input = parts::pack(&requests);
}

fn request(method: Method, message: &impl Message) -> Part {
    let at = Method::ALL.iter().position(|known| *known == method);
    part(at.unwrap_or(0) as u8, body(message))
}

fn corpus() -> Vec<Vec<u8>> {
    let all = [keys(), leases(), members(), maintenance()];
    let mut corpus: Vec<Vec<u8>> = all.iter().map(|parts| parts::pack(parts)).collect();
    // And each on its own: a short input is damaged where it matters.
    corpus.extend(
        all.concat()
            .iter()
            .map(|one| parts::pack(std::slice::from_ref(one))),
    );
    corpus
}

/// Transactions and what they are made of.
pub(super) fn keys() -> Vec<Part> {
    let put = pb::PutRequest {
        key: "a".into(),
        value: "2".into(),
        lease: 7,
        prev_kv: true,
        ..Default::default()
    };
    let keep = pb::PutRequest {
        value: Bytes::new(),
        lease: 0,
        ignore_value: true,
        ignore_lease: true,
        ..put.clone()
    };
    let range = pb::RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 3,
        sort_order: 2,
        sort_target: 3,
        ..Default::default()
    };
    let past = pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        revision: 8,
        serializable: true,
        keys_only: true,
        min_mod_revision: 1,
        max_create_revision: 100,
        ..Default::default()
    };
    let delete = pb::DeleteRangeRequest {
        key: "dir/".into(),
        range_end: "dir0".into(),
        prev_kv: true,
    };
    let stream = pb::RangeRequest {
        sort_order: 0,
        sort_target: 0,
        ..range.clone()
    };
    vec![
        request(Method::Put, &put),
        request(Method::Put, &keep),
        request(Method::Range, &range),
        request(Method::Range, &past),
        request(Method::RangeStream, &stream),
        request(Method::Txn, &txn(&put, &range, &delete)),
        request(Method::Txn, &reads(&range, &past)),
        request(Method::DeleteRange, &delete),
        request(
            Method::Compact,
            &pb::CompactionRequest {
                revision: 9,
                physical: true,
            },
        ),
        request(Method::Range, &range),
    ]
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn txn(
    put: &pb::PutRequest,
    range: &pb::RangeRequest,
    delete: &pb::DeleteRangeRequest,
) -> pb::TxnRequest {
    use pb::compare::TargetUnion as Union;
    use pb::request_op::Request;
    let compare = |target: i32, union: Union| pb::Compare {
        result: 1,
        target,
        key: "a".into(),
        target_union: Some(union),
        ..Default::default()
    };
    let inner = pb::TxnRequest {
        success: vec![op(Request::RequestDeleteRange(delete.clone()))],
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![
            compare(0, Union::Version(1)),
            compare(1, Union::CreateRevision(2)),
            compare(2, Union::ModRevision(3)),
            compare(3, Union::Value("1".into())),
            compare(4, Union::Lease(7)),
        ],
        success: vec![
            op(Request::RequestPut(put.clone())),
            op(Request::RequestRange(range.clone())),
            op(Request::RequestTxn(inner.clone())),
        ],
        failure: vec![
            op(Request::RequestRange(range.clone())),
            op(Request::RequestTxn(inner)),
            op(Request::RequestPut(put.clone())),
        ],
    }
}

fn reads(range: &pb::RangeRequest, past: &pb::RangeRequest) -> pb::TxnRequest {
    use pb::request_op::Request;
    pb::TxnRequest {
        success: vec![op(Request::RequestRange(range.clone()))],
        failure: vec![op(Request::RequestRange(past.clone()))],
        ..Default::default()
    }
}

fn leases() -> Vec<Part> {
    vec![
        request(
            Method::LeaseGrant,
            &pb::LeaseGrantRequest { ttl: 20, id: 9 },
        ),
        request(Method::LeaseGrant, &pb::LeaseGrantRequest { ttl: 5, id: 0 }),
        request(Method::LeaseKeepAlive, &pb::LeaseKeepAliveRequest { id: 7 }),
        request(
            Method::LeaseTimeToLive,
            &pb::LeaseTimeToLiveRequest { id: 7, keys: true },
        ),
        request(Method::LeaseLeases, &pb::LeaseLeasesRequest {}),
        request(Method::LeaseRevoke, &pb::LeaseRevokeRequest { id: 7 }),
    ]
}

fn members() -> Vec<Part> {
    let urls = |url: &str| vec![url.to_owned()];
    vec![
        request(
            Method::MemberList,
            &pb::MemberListRequest { linearizable: true },
        ),
        request(
            Method::MemberAdd,
            &pb::MemberAddRequest {
                peer_ur_ls: urls("http://[::1]:2380"),
                is_learner: true,
            },
        ),
        request(
            Method::MemberUpdate,
            &pb::MemberUpdateRequest {
                id: 1,
                peer_ur_ls: urls("https://n1.example:2380"),
            },
        ),
        request(Method::MemberRemove, &pb::MemberRemoveRequest { id: 1 }),
        request(Method::MemberPromote, &pb::MemberPromoteRequest { id: 1 }),
    ]
}

fn maintenance() -> Vec<Part> {
    let alarm = |action| pb::AlarmRequest {
        action,
        member_id: 1,
        alarm: 1,
    };
    vec![
        request(Method::Alarm, &alarm(1)),
        request(Method::Alarm, &alarm(0)),
        request(Method::Alarm, &alarm(2)),
        request(Method::Status, &pb::StatusRequest {}),
        request(Method::Hash, &pb::HashRequest {}),
        request(Method::HashKv, &pb::HashKvRequest { revision: 9 }),
        request(Method::Snapshot, &pb::SnapshotRequest {}),
        request(Method::MoveLeader, &pb::MoveLeaderRequest { target_id: 2 }),
        request(Method::Defragment, &pb::DefragmentRequest {}),
        request(Method::AuthStatus, &pb::AuthStatusRequest {}),
        request(
            Method::HealthCheck,
            &health_pb::HealthCheckRequest {
                service: String::new(),
            },
        ),
    ]
}
