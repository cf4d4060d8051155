//! Stories of several calls that wait for each other: locks, elections, a lease that runs out.
//!
//! Who waits, and who is woken by what, is decided by the story and not by the clock: the next step is taken when
//! both servers have come as far.

use crate::marks::{GRANTED, MEMBER};
use crate::operation::{Ask, Contest, End};
use crate::pair::{Failure, Pair};
use crate::proto;
use crate::proto::etcdserverpb as pb;
use crate::proto::v3electionpb as election_pb;
use crate::proto::v3lockpb as lock_pb;
use crate::side::{Answer, Side};
use crate::transport;
use bytes::Bytes;
use prost::Message;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tonic::Status;

/// The leases of contenders have numbers of their own, so that no other operation meets them.
const FIRST_LEASE: i64 = 0x20_0000;
/// The number under which a lease is remembered that a server granted to a caller without one.
const OWN_LEASE: i64 = GRANTED + 90;
/// How long both may be in the same place, and not as far as the story is.
const ALIKE_PATIENCE: Duration = Duration::from_secs(3);
/// How long both may take to come as far as the story is.
const PATIENCE: Duration = Duration::from_secs(15);

/// A call that waits at both servers.
struct Waiting {
    lease: i64,
    calls: [JoinHandle<Result<Bytes, Status>>; 2],
}

impl Waiting {
    fn start(pair: &mut Pair, method: &'static str, lease: i64, request: &impl Message) -> Waiting {
        let body = Bytes::from(request.encode_to_vec());
        let call = |side: &mut Side| {
            let path = proto::path(&proto::method(method));
            let member = side.next_member();
            let (channel, token) = (side.channel(member), side.token(Some(0)));
            let body = body.clone();
            tokio::spawn(
                async move { transport::unary(&channel, &path, body, token.as_deref()).await },
            )
        };
        let calls = [call(&mut pair.peer), call(&mut pair.ours)];
        Waiting { lease, calls }
    }

    /// Waits for both answers and compares them.
    async fn answers(
        self,
        pair: &mut Pair,
        method: &'static str,
    ) -> Result<(Answer, Answer), Failure> {
        let [peer, ours] = self.calls;
        let (peer, ours) = tokio::join!(peer, ours);
        let gone = |_| Err(Status::cancelled("the call's task ended"));
        let (peer, ours) = (peer.unwrap_or_else(gone), ours.unwrap_or_else(gone));
        let described = proto::method(method);
        if self.lease == 0 {
            pair.has_named_leases = true;
            learn_own_lease(&mut pair.peer, &described, &peer);
            learn_own_lease(&mut pair.ours, &described, &ours);
        }
        let peer = pair.peer.read(&described, peer);
        let ours = pair.ours.read(&described, ours);
        pair.compare(method, None, &peer, &ours)?;
        let revision = peer.tree.number(&["header", "revision"]);
        pair.known.now = pair.known.now.max(revision);
        Ok((peer, ours))
    }
}

/// The lease that the server granted to a caller without one stands at the end of its key.
fn learn_own_lease(
    side: &mut Side,
    method: &prost_reflect::MethodDescriptor,
    came: &Result<Bytes, Status>,
) {
    let answer = side.read(method, came.clone());
    let key = [
        answer.tree.bytes(&["key"]),
        answer.tree.bytes(&["leader", "key"]),
    ]
    .concat();
    let text = String::from_utf8_lossy(&key).into_owned();
    let lease = text
        .rsplit('/')
        .next()
        .and_then(|hex| i64::from_str_radix(hex, 16).ok());
    if let Some(lease) = lease {
        side.names.learn(OWN_LEASE, lease);
    }
}

fn key_of(name: &[u8], lease: i64) -> Vec<u8> {
    [name, format!("/{lease:x}").as_bytes()].concat()
}

/// The line of a name: every key under it.
fn line(name: &[u8]) -> pb::RangeRequest {
    let mut key = name.to_vec();
    key.push(b'/');
    let mut range_end = name.to_vec();
    range_end.push(b'/' + 1);
    pb::RangeRequest {
        key,
        range_end,
        sort_order: 1,
        sort_target: 2,
        ..Default::default()
    }
}

/// Waits until both lines are that long, and then compares them.
async fn line_is(pair: &mut Pair, name: &[u8], n: usize) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let ask = Ask {
            caller: Some(0),
            ..Ask::new("KV/Range", &line(name))
        };
        let known = pair.known;
        let (peer, ours) = tokio::join!(pair.peer.ask(&ask, known), pair.ours.ask(&ask, known));
        let length = |answer: &Answer| answer.tree.list(&["kvs"]).len();
        // Both alike and not as long: a contender was refused at both.
        let patience = match length(&peer) == length(&ours) {
            true => ALIKE_PATIENCE,
            false => PATIENCE,
        };
        let is_late = started.elapsed() > patience;
        if is_late || (length(&peer) == n && length(&ours) == n) {
            return pair.compare("KV/Range", ask.tree().as_ref(), &peer, &ours);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The last in a line of `n + 1` goes away while it waits, and so does its key.
async fn hang_up(pair: &mut Pair, name: &[u8], last: Waiting, n: usize) -> Result<(), Failure> {
    last.calls.iter().for_each(JoinHandle::abort);
    if pair.has_auth {
        // etcd would withdraw it without a token, is refused, and keeps the key until its lease ends
        // (docs/compat/etcd.md). So it ends, and ours has withdrawn it before.
        withdrawn_by_ours(pair, name, n).await?;
        revoke(pair, last.lease).await?;
    }
    line_is(pair, name, n).await
}

/// Waits until our line is that long, whatever etcd's is.
async fn withdrawn_by_ours(pair: &mut Pair, name: &[u8], n: usize) -> Result<(), Failure> {
    let ask = Ask {
        caller: Some(0),
        ..Ask::new("KV/Range", &line(name))
    };
    let started = Instant::now();
    loop {
        let known = pair.known;
        let (peer, ours) = tokio::join!(pair.peer.ask(&ask, known), pair.ours.ask(&ask, known));
        if ours.is_refused || ours.tree.list(&["kvs"]).len() == n {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return pair.compare("KV/Range", ask.tree().as_ref(), &peer, &ours);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn is_free(pair: &mut Pair, name: &[u8]) -> Result<bool, Failure> {
    let (answer, _) = pair.say("KV/Range", &line(name)).await?;
    Ok(!answer.is_refused && answer.tree.list(&["kvs"]).is_empty())
}

async fn grant(pair: &mut Pair, lease: i64) -> Result<(), Failure> {
    let grant = pb::LeaseGrantRequest {
        ttl: 3000,
        id: lease,
    };
    pair.say("Lease/LeaseGrant", &grant).await.map(drop)
}

async fn revoke(pair: &mut Pair, lease: i64) -> Result<(), Failure> {
    let revoke = pb::LeaseRevokeRequest { id: lease };
    pair.say("Lease/LeaseRevoke", &revoke).await.map(drop)
}

fn leases(contest: &Contest) -> Vec<i64> {
    match contest.leaseless {
        true => vec![0],
        false => (0..contest.n_contenders)
            .map(|n| FIRST_LEASE + i64::from(n))
            .collect(),
    }
}

/// A story of a lock.
pub(crate) async fn locks(pair: &mut Pair, contest: &Contest) -> Result<(), Failure> {
    const METHOD: &str = "Lock/Lock";
    if !is_free(pair, &contest.name).await? {
        return Ok(());
    }
    let mut waiting = VecDeque::new();
    let leases = leases(contest);
    for (n, lease) in leases.iter().enumerate() {
        if *lease != 0 {
            grant(pair, *lease).await?;
        }
        let request = lock_pb::LockRequest {
            name: contest.name.clone(),
            lease: *lease,
        };
        let call = Waiting::start(pair, METHOD, *lease, &request);
        if n == 0 {
            call.answers(pair, METHOD).await?;
        } else {
            waiting.push_back(call);
        }
        line_is(pair, &contest.name, n + 1).await?;
    }
    let mut first = leases[0];
    for end in &contest.ends {
        match end {
            End::LastHangsUp => {
                let Some(last) = waiting.pop_back() else {
                    continue;
                };
                hang_up(pair, &contest.name, last, waiting.len() + 1).await?;
                continue;
            }
            End::LosesLease if first != 0 => revoke(pair, first).await?,
            End::LosesKey => {
                let key = key_of(&contest.name, if first == 0 { OWN_LEASE } else { first });
                let delete = pb::DeleteRangeRequest {
                    key,
                    ..Default::default()
                };
                pair.say("KV/DeleteRange", &delete).await?;
            }
            _ => {
                let key = key_of(&contest.name, if first == 0 { OWN_LEASE } else { first });
                pair.say("Lock/Unlock", &lock_pb::UnlockRequest { key })
                    .await?;
            }
        }
        let Some(next) = waiting.pop_front() else {
            break;
        };
        first = next.lease;
        next.answers(pair, METHOD).await?;
    }
    finish(pair, contest, &leases, waiting).await
}

/// Everything that a story made goes away.
async fn finish(
    pair: &mut Pair,
    contest: &Contest,
    leases: &[i64],
    mut waiting: VecDeque<Waiting>,
) -> Result<(), Failure> {
    while let Some(last) = waiting.pop_back() {
        last.calls.iter().for_each(JoinHandle::abort);
    }
    for lease in leases.iter().rev() {
        let lease = if *lease == 0 { OWN_LEASE } else { *lease };
        revoke(pair, lease).await?;
    }
    line_is(pair, &contest.name, 0).await
}

/// A story of an election.
pub(crate) async fn election(pair: &mut Pair, contest: &Contest) -> Result<(), Failure> {
    const METHOD: &str = "Election/Campaign";
    if !is_free(pair, &contest.name).await? {
        return Ok(());
    }
    let leader_request = election_pb::LeaderRequest {
        name: contest.name.clone(),
    };
    pair.say("Election/Leader", &leader_request).await?;
    let mut waiting = VecDeque::new();
    let leases = leases(contest);
    let mut leader = election_pb::LeaderKey::default();
    for (n, lease) in leases.iter().enumerate() {
        if *lease != 0 {
            grant(pair, *lease).await?;
        }
        let request = election_pb::CampaignRequest {
            name: contest.name.clone(),
            lease: *lease,
            value: format!("value {n}").into_bytes(),
        };
        let call = Waiting::start(pair, METHOD, *lease, &request);
        if n == 0 {
            let (answer, _) = call.answers(pair, METHOD).await?;
            if answer.is_refused {
                // An alarm is raised, and nobody leads.
                return finish(pair, contest, &leases, waiting).await;
            }
            leader = leader_of(&answer);
        } else {
            waiting.push_back(call);
        }
        line_is(pair, &contest.name, n + 1).await?;
    }
    for end in &contest.ends {
        pair.say("Election/Leader", &leader_request).await?;
        proclaim(pair, &leader).await?;
        match end {
            End::LastHangsUp => {
                let Some(last) = waiting.pop_back() else {
                    continue;
                };
                hang_up(pair, &contest.name, last, waiting.len() + 1).await?;
                continue;
            }
            End::LosesLease if leader.lease != 0 => revoke(pair, leader.lease).await?,
            End::LosesKey => {
                let delete = pb::DeleteRangeRequest {
                    key: leader.key.clone(),
                    ..Default::default()
                };
                pair.say("KV/DeleteRange", &delete).await?;
            }
            _ => {
                let resign = election_pb::ResignRequest {
                    leader: Some(leader.clone()),
                };
                pair.say("Election/Resign", &resign).await?;
            }
        }
        // Those that come late.
        let resign = election_pb::ResignRequest {
            leader: Some(leader.clone()),
        };
        pair.say("Election/Resign", &resign).await?;
        proclaim(pair, &leader).await?;
        let Some(next) = waiting.pop_front() else {
            break;
        };
        let (answer, _) = next.answers(pair, METHOD).await?;
        leader = leader_of(&answer);
    }
    finish(pair, contest, &leases, waiting).await
}

async fn proclaim(pair: &mut Pair, leader: &election_pb::LeaderKey) -> Result<(), Failure> {
    let mut wrong = leader.clone();
    wrong.rev += 1;
    for (leader, value) in [
        (leader.clone(), "proclaimed"),
        (wrong, "by a wrong revision"),
    ] {
        let request = election_pb::ProclaimRequest {
            leader: Some(leader),
            value: value.into(),
        };
        pair.say("Election/Proclaim", &request).await?;
    }
    Ok(())
}

/// The proof of leadership as an answer tells it, with marks where the server chose.
fn leader_of(answer: &Answer) -> election_pb::LeaderKey {
    let tree = &answer.tree;
    election_pb::LeaderKey {
        name: tree.bytes(&["leader", "name"]).to_vec(),
        key: tree.bytes(&["leader", "key"]).to_vec(),
        rev: tree.number(&["leader", "rev"]),
        lease: tree.number(&["leader", "lease"]),
    }
}

/// A lease with keys runs out by itself, at both in its own time.
pub(crate) async fn expiry(pair: &mut Pair, lease: i64, keys: &[Vec<u8>]) -> Result<(), Failure> {
    let grant = pb::LeaseGrantRequest { ttl: 1, id: lease };
    pair.say("Lease/LeaseGrant", &grant).await?;
    for key in keys {
        let put = pb::PutRequest {
            key: key.clone(),
            lease,
            ..Default::default()
        };
        pair.say("KV/Put", &put).await?;
    }
    let question = pb::LeaseTimeToLiveRequest {
        id: lease,
        keys: true,
    };
    let ask = Ask {
        caller: Some(0),
        ..Ask::new("Lease/LeaseTimeToLive", &question)
    };
    let started = Instant::now();
    loop {
        let known = pair.known;
        let (peer, ours) = tokio::join!(pair.peer.ask(&ask, known), pair.ours.ask(&ask, known));
        let is_over = |answer: &Answer| answer.tree.number(&["TTL"]) == -1;
        if (is_over(&peer) && is_over(&ours)) || peer.is_refused || started.elapsed() > PATIENCE {
            pair.compare("Lease/LeaseTimeToLive", ask.tree().as_ref(), &peer, &ours)?;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = pb::RangeRequest {
        key: vec![0],
        range_end: vec![0],
        ..Default::default()
    };
    pair.say("KV/Range", &all).await?;
    Ok(())
}

/// A member joins that never starts; what can be done with it is refused or not, and it goes.
pub(crate) async fn learner(pair: &mut Pair, urls: &[String]) -> Result<(), Failure> {
    const LEARNER: i64 = MEMBER + 9;
    let add = pb::MemberAddRequest {
        peer_ur_ls: urls.to_vec(),
        is_learner: true,
    };
    let ask = Ask {
        caller: Some(0),
        ..Ask::new("Cluster/MemberAdd", &add)
    };
    let known = pair.known;
    let (peer, ours) = tokio::join!(pair.peer.ask(&ask, known), pair.ours.ask(&ask, known));
    // The ids are known now, and the answers can be read with them.
    pair.peer.names.learn(LEARNER, peer.member.cast_signed());
    pair.ours.names.learn(LEARNER, ours.member.cast_signed());
    let list = pb::MemberListRequest { linearizable: true };
    if !peer.is_refused || !ours.is_refused {
        let same = peer.is_refused == ours.is_refused;
        if !same {
            return pair.compare("Cluster/MemberAdd", ask.tree().as_ref(), &peer, &ours);
        }
        let id = LEARNER.cast_unsigned();
        pair.say("Cluster/MemberList", &list).await?;
        pair.say("Cluster/MemberAdd", &add).await?;
        pair.say("Cluster/MemberPromote", &pb::MemberPromoteRequest { id })
            .await?;
        let moved = ["http://127.0.0.1:7".to_owned()];
        // With no URLs, or bad ones, this ends etcd 3.6.16 ("failed NewURLs"): not asked.
        for peer_ur_ls in [moved.to_vec(), urls.to_vec()] {
            let update = pb::MemberUpdateRequest { id, peer_ur_ls };
            pair.say("Cluster/MemberUpdate", &update).await?;
            pair.say("Cluster/MemberList", &list).await?;
        }
        let move_leader = pb::MoveLeaderRequest { target_id: id };
        pair.say("Maintenance/MoveLeader", &move_leader).await?;
        pair.say("Cluster/MemberRemove", &pb::MemberRemoveRequest { id })
            .await?;
        pair.say("Cluster/MemberRemove", &pb::MemberRemoveRequest { id })
            .await?;
    } else {
        pair.compare("Cluster/MemberAdd", ask.tree().as_ref(), &peer, &ours)?;
    }
    pair.say("Cluster/MemberList", &list).await.map(drop)
}
