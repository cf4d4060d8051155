//! Members, alarms and maintenance.
//!
//! Left out: a second voting member and the removal of the only one, which would end the cluster.

use super::{kv, lease, one_of, txn};
use crate::marks::{MEMBER, NOW};
use crate::operation::{Ask, Body, Operation};
use crate::proto::etcdserverpb as pb;
use base::Rng;

const NOBODY: u64 = 0x7777;

fn member(rng: &mut Rng) -> u64 {
    one_of(
        rng,
        &[0, NOBODY, MEMBER.cast_unsigned(), MEMBER.cast_unsigned()],
    )
}

/// One question that changes nothing for long.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    Operation::Ask(match rng.below(24) {
        0..4 => {
            let request = pb::MemberListRequest {
                linearizable: rng.one_in(2),
            };
            Ask::new("Cluster/MemberList", &request)
        }
        4..7 => Ask::new("Maintenance/Status", &pb::StatusRequest {}),
        7 => Ask::new("Maintenance/Hash", &pb::HashRequest {}),
        8..13 => {
            // etcd also answers what it noted at any compaction since its start: only the present, and beside it.
            let request = pb::HashKvRequest {
                revision: one_of(rng, &[0, 0, 0, NOW, NOW + 1, -1]),
            };
            Ask::new("Maintenance/HashKV", &request)
        }
        13 if rng.one_in(5) => Ask::new("Maintenance/Defragment", &pb::DefragmentRequest {}),
        14 => {
            let request = pb::MoveLeaderRequest {
                target_id: member(rng),
            };
            Ask::new("Maintenance/MoveLeader", &request)
        }
        15 => {
            let request = pb::MemberRemoveRequest {
                id: one_of(rng, &[0, NOBODY]),
            };
            Ask::new("Cluster/MemberRemove", &request)
        }
        16 => {
            let request = pb::MemberPromoteRequest { id: member(rng) };
            Ask::new("Cluster/MemberPromote", &request)
        }
        17 => {
            let request = pb::MemberUpdateRequest {
                id: one_of(rng, &[0, NOBODY]),
                peer_ur_ls: urls(rng),
            };
            Ask::new("Cluster/MemberUpdate", &request)
        }
        18 => Ask::new("Auth/AuthStatus", &pb::AuthStatusRequest {}),
        19 => Ask {
            method: "Health/Check",
            // The service's name: the server as a whole, or another.
            body: Body::Raw(if rng.one_in(2) {
                Vec::new()
            } else {
                vec![10, 1, b'x']
            }),
            caller: None,
            remember: None,
        },
        20 => {
            // One that is enabled changes etcd's storage: only what is refused, or undoes nothing.
            let (action, version) = one_of(
                rng,
                &[
                    (0, "3.5.0"),
                    (0, "3.4.0"),
                    (0, "x"),
                    (1, ""),
                    (1, "3.4.0"),
                    (1, "x"),
                    (2, ""),
                    (3, "3.5.0"),
                ],
            );
            let request = pb::DowngradeRequest {
                action,
                version: version.to_owned(),
            };
            Ask::new("Maintenance/Downgrade", &request)
        }
        _ => alarm(rng, 0),
    })
}

fn urls(rng: &mut Rng) -> Vec<String> {
    let urls: &[&[&str]] = &[
        &[],
        &["http://127.0.0.1:1"],
        &["http://127.0.0.1:1", "http://127.0.0.1:2"],
        &["nonsense"],
        &["http://10.0.0.1"],
        &["http://host:1/path"],
        &["ftp://127.0.0.1:1"],
        &[""],
    ];
    one_of(rng, urls)
        .iter()
        .map(|url| (*url).to_owned())
        .collect()
}

fn alarm(rng: &mut Rng, action: i32) -> Ask {
    let request = pb::AlarmRequest {
        action,
        member_id: member(rng),
        alarm: i32::try_from(rng.below(3)).unwrap_or(0),
    };
    Ask::new("Maintenance/Alarm", &request)
}

/// Operations that stand together, with their end.
pub(super) fn block(rng: &mut Rng) -> Vec<Operation> {
    match rng.below(8) {
        0..3 => vec![Operation::Learner { urls: urls(rng) }],
        3 => alarmed(rng),
        _ => lease::short(rng),
    }
}

/// An alarm is raised, things are tried, and it is put out.
fn alarmed(rng: &mut Rng) -> Vec<Operation> {
    let kind = i32::try_from(rng.below(4)).unwrap_or(0).min(2);
    let member_id = member(rng);
    let ask = |action| {
        let request = pb::AlarmRequest {
            action,
            member_id,
            alarm: kind,
        };
        Operation::Ask(Ask::new("Maintenance/Alarm", &request))
    };
    let mut block = vec![ask(1)];
    for _ in 0..rng.below(10) {
        block.push(match rng.below(8) {
            0 => Operation::Ask(Ask::new("Maintenance/Status", &pb::StatusRequest {})),
            1 => Operation::Ask(alarm(rng, 0)),
            2 => lease::operation(rng),
            3 => txn::flat(rng),
            _ => kv::operation(rng),
        });
    }
    block.push(ask(2));
    block.push(Operation::Ask(alarm(rng, 0)));
    block
}
