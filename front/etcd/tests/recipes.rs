//! Golden scripts of locks and elections against one member's store, one step at a time: what is proposed, who
//! is before whom, and what is answered. Nobody waits here; `edge/server` does.
//!
//! ```text
//!   grant LEASE · revoke LEASE · put KEY · del KEY
//!   lock NAME LEASE · campaign NAME LEASE [VALUE]     joins the line
//!   stand KEY · answer KEY [waited] · withdraw KEY    of who joined by that key last
//!   unlock KEY · proclaim KEY REVISION VALUE · resign KEY REVISION · leader NAME
//! ```
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::{LeaseId, Revision};
use bytes::Bytes;
use etcd::proto::{etcdserverpb as pb, v3electionpb as elections, v3lockpb as locks};
use etcd::recipes::{self, Entry, Joined, Line, Recipe, Seen, Standing};
use etcd::{Code, Method, Plan, Refusal, Status};
use prost::Message;
use std::collections::BTreeMap;
use support::{HEADER, World};

#[test]
fn scripts_tell_who_is_first() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-recipes");
    testkit::check_all(directory, || {
        let mut teller = Teller {
            world: World::new(),
            joined: BTreeMap::new(),
        };
        move |step| {
            step.lines()
                .map(|line| match teller.line(line) {
                    Ok(told) => told + "\n",
                    Err(status) => format!("{status}\n"),
                })
                .collect()
        }
    });
}

struct Teller {
    world: World,
    joined: BTreeMap<String, Joined>,
}

impl Teller {
    fn line(&mut self, line: &str) -> Result<String, Status> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["grant", lease] => {
                let (ttl, id) = (10, lease_of(lease).0);
                self.write(Method::LeaseGrant, &pb::LeaseGrantRequest { ttl, id })
            }
            ["revoke", lease] => {
                let id = lease_of(lease).0;
                self.write(Method::LeaseRevoke, &pb::LeaseRevokeRequest { id })
            }
            ["put", key] => {
                self.world.put(key, "");
                Ok(self.now())
            }
            ["del", key] => {
                self.world.delete(key);
                Ok(self.now())
            }
            ["lock", name, lease] => {
                let request = locks::LockRequest {
                    name: bytes(name),
                    lease: lease_of(lease).0,
                };
                self.join(Method::Lock, &request)
            }
            ["campaign", name, lease, ref value @ ..] => {
                let request = elections::CampaignRequest {
                    name: bytes(name),
                    lease: lease_of(lease).0,
                    value: bytes(value.first().unwrap_or(&"")),
                };
                self.join(Method::ElectionCampaign, &request)
            }
            ["stand", key] => Ok(self.stand(key)),
            ["answer", key, ref waited @ ..] => {
                let joined = self.joined[key].clone();
                let now = (!waited.is_empty()).then(|| (HEADER, self.world.state.revision()));
                Ok(answered(&joined.contender.answer(joined.header, now)))
            }
            ["withdraw", key] => {
                let txn = self.joined[key].contender.withdraw();
                let answer = self.world.call_bytes(Method::Txn, txn)?;
                let answer = pb::TxnResponse::decode(answer).unwrap();
                Ok(format!("{} {}", answer.succeeded, self.now()))
            }
            ["unlock", key] => {
                let answer = self
                    .world
                    .call_bytes(Method::DeleteRange, recipes::unlock(bytes(key)))?;
                let answer =
                    locks::UnlockResponse::decode(recipes::answer_unlock(answer)?).unwrap();
                Ok(at(answer.header))
            }
            ["proclaim", key, revision, value] => {
                let leader = leader_key(key, revision);
                let request = elections::ProclaimRequest {
                    leader: Some(leader),
                    value: bytes(value),
                };
                let Recipe::Proclaim(leader, value) =
                    self.recipe(Method::ElectionProclaim, &request)?
                else {
                    panic!("a proclamation");
                };
                let lease = LeaseId(leader.lease);
                let txn = recipes::proclaim(&leader, &value, lease);
                let answer = self.world.call_bytes(Method::Txn, txn)?;
                let answer = recipes::answer_proclaim(answer)?;
                Ok(at(elections::ProclaimResponse::decode(answer)
                    .unwrap()
                    .header))
            }
            ["resign", key, revision] => {
                let leader = leader_key(key, revision);
                let txn = recipes::resign(&leader.key, leader.rev);
                let answer = self.world.call_bytes(Method::Txn, txn)?;
                let answer = recipes::answer_resign(answer)?;
                Ok(at(elections::ResignResponse::decode(answer)
                    .unwrap()
                    .header))
            }
            ["leader", name] => {
                let request = elections::LeaderRequest { name: bytes(name) };
                let Recipe::Leader(line) = self.recipe(Method::ElectionLeader, &request)? else {
                    panic!("a question");
                };
                let record = line
                    .first(&self.world.state)
                    .ok_or(Refusal::ElectionNoLeader)?;
                let revision = self.world.state.revision();
                let kv = recipes::key_value(&record);
                let answer = recipes::answer_leader(kv, &HEADER, revision);
                let answer = elections::LeaderResponse::decode(answer).unwrap();
                let kv = answer.kv.unwrap();
                Ok(format!(
                    "{}={} c{} m{} v{} lease {:x} {}",
                    text(&kv.key),
                    text(&kv.value),
                    kv.create_revision,
                    kv.mod_revision,
                    kv.version,
                    kv.lease,
                    at(answer.header)
                ))
            }
            _ => panic!("what is {line:?}?"),
        }
    }

    fn recipe(&mut self, method: Method, request: &impl Message) -> Result<Recipe, Status> {
        let plan = self
            .world
            .session
            .plan(method, request.encode_to_vec().into())?;
        match plan {
            Plan::Recipe(recipe) => Ok(recipe),
            other => panic!("not a recipe: {other:?}"),
        }
    }

    fn join(&mut self, method: Method, request: &impl Message) -> Result<String, Status> {
        let Recipe::Contend(entry) = self.recipe(method, request)? else {
            panic!("a contender");
        };
        let joined = enter(&mut self.world, &entry)?;
        let mut told = match joined.is_new {
            true => "new",
            false => "found",
        }
        .to_owned();
        if joined.is_outdated {
            let txn = entry.proclaim(&joined.contender);
            recipes::answer_proclaim(self.world.call_bytes(Method::Txn, txn)?)?;
            told += ", proclaimed";
        }
        let key = text(joined.contender.key());
        self.joined.insert(key.clone(), joined);
        Ok(format!("{key} {told}: {} {}", self.stand(&key), self.now()))
    }

    fn stand(&self, key: &str) -> String {
        match self.joined[key].contender.standing(&self.world.state) {
            Standing::First => "first".to_owned(),
            Standing::Behind(before) => format!("behind {}", text(&before)),
            Standing::Gone => format!("gone: {}", self.joined[key].contender.gone()),
        }
    }

    fn write(&mut self, method: Method, request: &impl Message) -> Result<String, Status> {
        self.world
            .call_bytes(method, request.encode_to_vec().into())?;
        Ok(self.now())
    }

    fn now(&self) -> String {
        format!("@{}", self.world.state.revision().0)
    }
}

fn enter(world: &mut World, entry: &Entry) -> Result<Joined, Status> {
    let answer = world.call_bytes(Method::Txn, entry.join(entry.lease))?;
    entry.joined(entry.lease, answer)
}

fn answered(answer: &Bytes) -> String {
    let election = elections::CampaignResponse::decode(answer.clone());
    if let Ok(Some(leader)) = election.map(|answer| answer.leader) {
        let answer = elections::CampaignResponse::decode(answer.clone()).unwrap();
        return format!(
            "{} {} rev {} lease {:x} {}",
            text(&leader.name),
            text(&leader.key),
            leader.rev,
            leader.lease,
            at(answer.header)
        );
    }
    let answer = locks::LockResponse::decode(answer.clone()).unwrap();
    format!("{} {}", text(&answer.key), at(answer.header))
}

fn leader_key(key: &str, revision: &str) -> elections::LeaderKey {
    let (name, lease) = key.rsplit_once('/').unwrap();
    elections::LeaderKey {
        name: bytes(name),
        key: bytes(key),
        rev: revision.parse().unwrap(),
        lease: lease_of(lease).0,
    }
}

fn at(header: Option<pb::ResponseHeader>) -> String {
    let header = header.unwrap();
    assert_eq!(
        (header.cluster_id, header.member_id, header.raft_term),
        (7, 1, 3)
    );
    format!("@{}", header.revision)
}

fn lease_of(text: &str) -> LeaseId {
    LeaseId(i64::from_str_radix(text, 16).unwrap())
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// ---- what scripts do not show -------------------------------------------------------------------

fn line(world: &mut World, name: &str) -> Line {
    let request = elections::LeaderRequest { name: bytes(name) };
    let plan = world
        .session
        .plan(Method::ElectionObserve, request.encode_to_vec().into());
    match plan {
        Ok(Plan::Recipe(Recipe::Observe(line))) => line,
        other => panic!("not a line: {other:?}"),
    }
}

#[test]
fn a_name_has_a_longest_length() {
    let mut world = World::new();
    let mut plan = |length: usize, method: Method| {
        let request = locks::LockRequest {
            name: vec![b'n'; length].into(),
            lease: 0,
        };
        world
            .session
            .plan(method, request.encode_to_vec().into())
            .map(drop)
    };
    // The name is the first field of all of them.
    for method in [
        Method::Lock,
        Method::ElectionCampaign,
        Method::ElectionLeader,
        Method::ElectionObserve,
    ] {
        assert_eq!(plan(recipes::NAME_BYTES_MAX, method), Ok(()));
        let refused = plan(recipes::NAME_BYTES_MAX + 1, method);
        assert_eq!(refused, Err(Refusal::NameTooLong.into()), "{method:?}");
    }
    let told = Refusal::NameTooLong.message();
    assert!(told.contains(&recipes::NAME_BYTES_MAX.to_string()));
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let mut world = World::new();
    for method in [Method::Lock, Method::Unlock, Method::ElectionCampaign] {
        let refused = world.session.plan(method, Bytes::from_static(&[0x0a, 9]));
        assert_eq!(refused, Err(Refusal::Malformed.into()), "{method:?}");
    }
    for method in [Method::ElectionProclaim, Method::ElectionResign] {
        let refused = world.session.plan(method, Bytes::new());
        assert_eq!(refused, Err(Refusal::LeaderMissing.into()), "{method:?}");
    }
}

#[test]
fn a_contender_does_not_hold_its_request() {
    let mut world = World::new();
    let lease: pb::LeaseGrantResponse = world
        .call(
            Method::LeaseGrant,
            &pb::LeaseGrantRequest { ttl: 10, id: 1 },
        )
        .unwrap();
    let request = elections::CampaignRequest {
        name: bytes("jobs"),
        lease: lease.id,
        value: vec![b'v'; 100_000].into(),
    };
    let body = Bytes::from(request.encode_to_vec());
    let plan = world.session.plan(Method::ElectionCampaign, body.clone());
    let Ok(Plan::Recipe(Recipe::Contend(entry))) = plan else {
        panic!("a contender");
    };
    let joined = enter(&mut world, &entry).unwrap();
    drop(entry);
    assert!(body.is_unique(), "100 kB are held by a call that waits");
    assert_eq!(joined.contender.standing(&world.state), Standing::First);
}

#[test]
fn an_observer_sees_the_puts_and_the_end_of_a_leader() {
    let mut world = World::new();
    let line = line(&mut world, "jobs");
    let (of_line, of_key) = (world.desk.open(), world.desk.open());
    let revision = world.state.revision();
    let watch = line.watch_request(revision);
    world.desk.handle(of_line, &watch, &world.state).unwrap();
    let watch = recipes::watch_key(bytes("jobs/1"), revision);
    world.desk.handle(of_key, &watch, &world.state).unwrap();
    world.put("jobs", "not in line");
    world.put("jobs/1", "a");
    world.put("jobs/2", "b");
    world.put("jobs/1", "c");
    world.delete("jobs/1");
    let mut told = |stream| -> Vec<String> {
        let messages = world.desk.poll(stream, &world.state, 1 << 20);
        let seen = messages.into_iter().flat_map(recipes::seen);
        seen.map(|seen| match seen {
            Seen::Put(kv) => format!("{}={}", text(&kv.key), text(&kv.value)),
            Seen::Over => "over".to_owned(),
        })
        .collect()
    };
    assert_eq!(told(of_line), ["jobs/1=a", "jobs/2=b", "jobs/1=c", "over"]);
    assert_eq!(told(of_key), ["jobs/1=a", "jobs/1=c", "over"]);
    assert_eq!(recipes::seen(Bytes::from_static(&[0xff])), [Seen::Over]);
}

#[test]
fn a_lease_that_was_granted_lives_as_long_as_a_session_of_etcds() {
    let mut world = World::new();
    let answer = world
        .call_bytes(Method::LeaseGrant, recipes::grant())
        .unwrap();
    let lease = recipes::granted(answer).unwrap();
    assert_eq!(world.state.lease(lease).unwrap().ttl_s, 60);
    world
        .call_bytes(Method::LeaseRevoke, recipes::revoke(lease))
        .unwrap();
    assert_eq!(world.state.lease(lease), None);
    assert_eq!(world.state.revision(), Revision(1));
}

#[test]
fn refusals_lose_their_code_but_that_there_is_no_leader() {
    let told = recipes::told(Refusal::LeaseNotFound.into());
    assert_eq!(told.code, Code::Unknown);
    assert_eq!(told.message, Refusal::LeaseNotFound.message());
    let no_leader = Status::from(Refusal::NoLeader);
    assert_eq!(recipes::told(no_leader.clone()), no_leader);
}
