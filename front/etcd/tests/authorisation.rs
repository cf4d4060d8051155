//! 20,000 generated cases of authorisation against a model that knows no intervals: plain sets of keys over a small
//! universe. What is told must be a part of what may be read, what is changed a part of what may be written.
//!
//! It covers the advisories E1 (a range from a key on), E2 and E3 (nested transactions, `prev_kv` and leases in them), E11
//! (keys of leases) and E16 (a watch goes on after its permission is gone).
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::Rng;
use bytes::Bytes;
use etcd::proto::{authpb, etcdserverpb as pb};
use etcd::{Method, Refusal, Status};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use support::World;

const CASES: u64 = 20_000;

type Keys = BTreeSet<&'static str>;

/// All keys that there are: some begin with others, and one is the smallest of all.
const UNIVERSE: [&str; 10] = ["\0", "a", "a\0", "ab", "b", "ba", "bb", "c", "ca", "\u{7f}"];

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.below(of.len() as u64) as usize]
}

/// A key and an end: one key, from the key on, up to a key; sometimes up to one before it.
fn range(rng: &mut Rng) -> (&'static str, &'static str) {
    let key = *pick(rng, &UNIVERSE);
    match rng.below(4) {
        0 => (key, "\0"),
        1 => (key, ""),
        _ => (key, *pick(rng, &UNIVERSE)),
    }
}

fn keys_of(key: &str, end: &str) -> Keys {
    let all = UNIVERSE.iter().copied();
    match end {
        "" => all.filter(|it| *it == key).collect(),
        "\0" => all.filter(|it| *it >= key).collect(),
        end => all.filter(|it| *it >= key && *it < end).collect(),
    }
}

fn as_text(bytes: &[u8]) -> &'static str {
    let found = UNIVERSE.iter().find(|it| it.as_bytes() == bytes);
    found.expect("only keys of the universe are asked for")
}

/// What the user may do, and what hangs on which lease.
struct Model {
    read: Keys,
    write: Keys,
    leases: BTreeMap<i64, Keys>,
}

/// What a request touches, by the model's own reading of it.
#[derive(Default, Debug)]
struct Touched {
    read: Keys,
    write: Keys,
    /// Whether only single keys are named: then the model knows exactly what is allowed.
    has_range: bool,
}

impl Touched {
    fn reads(&mut self, key: &[u8], end: &[u8]) {
        self.has_range |= !end.is_empty();
        self.read.extend(keys_of(as_text(key), text_of_end(end)));
    }

    fn writes(&mut self, key: &[u8], end: &[u8]) {
        self.has_range |= !end.is_empty();
        self.write.extend(keys_of(as_text(key), text_of_end(end)));
    }

    fn put(&mut self, put: &pb::PutRequest, model: &Model) {
        self.writes(&put.key, b"");
        if put.prev_kv {
            self.reads(&put.key, b"");
        }
        if let Some(keys) = model.leases.get(&put.lease) {
            self.write.extend(keys);
        }
    }

    fn delete(&mut self, delete: &pb::DeleteRangeRequest) {
        self.writes(&delete.key, &delete.range_end);
        if delete.prev_kv {
            self.reads(&delete.key, &delete.range_end);
        }
    }

    fn txn(&mut self, txn: &pb::TxnRequest, model: &Model) {
        use pb::request_op::Request;
        for compare in &txn.compare {
            self.reads(&compare.key, &compare.range_end);
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op.request.as_ref().unwrap() {
                Request::RequestRange(range) => self.reads(&range.key, &range.range_end),
                Request::RequestPut(put) => self.put(put, model),
                Request::RequestDeleteRange(delete) => self.delete(delete),
                Request::RequestTxn(txn) => self.txn(txn, model),
            }
        }
    }
}

fn text_of_end(end: &[u8]) -> &'static str {
    match end {
        [] => "",
        [0] => "\0",
        end => as_text(end),
    }
}

// ---- requests ------------------------------------------------------------------------------------

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn range_request(rng: &mut Rng) -> pb::RangeRequest {
    let (key, end) = range(rng);
    pb::RangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        count_only: rng.below(6) == 0,
        limit: rng.below(3) as i64,
        ..Default::default()
    }
}

fn put_request(rng: &mut Rng) -> pb::PutRequest {
    let ignore_value = rng.below(6) == 0;
    pb::PutRequest {
        key: bytes(pick::<&str>(rng, &UNIVERSE)),
        value: if ignore_value {
            Bytes::new()
        } else {
            bytes("new")
        },
        lease: *pick(rng, &[0, 0, 0, 1, 2]),
        prev_kv: rng.below(4) == 0,
        ignore_value,
        ..Default::default()
    }
}

fn delete_request(rng: &mut Rng) -> pb::DeleteRangeRequest {
    let (key, end) = range(rng);
    pb::DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(end),
        prev_kv: rng.below(3) == 0,
    }
}

fn txn_request(rng: &mut Rng, depth: u32) -> pb::TxnRequest {
    use pb::request_op::Request;
    let compares = (0..rng.below(2)).map(|_| {
        let (key, end) = range(rng);
        pb::Compare {
            result: rng.below(4) as i32,
            target: 0,
            key: bytes(key),
            range_end: bytes(end),
            target_union: Some(pb::compare::TargetUnion::Version(rng.below(2) as i64)),
        }
    });
    let compare = compares.collect();
    let ops = |rng: &mut Rng| -> Vec<pb::RequestOp> {
        let n = rng.below(3);
        let one = |rng: &mut Rng| match rng.below(8) {
            0..=2 => Request::RequestRange(range_request(rng)),
            3 | 4 => Request::RequestPut(put_request(rng)),
            5 => Request::RequestDeleteRange(delete_request(rng)),
            _ if depth > 1 => Request::RequestTxn(txn_request(rng, depth - 1)),
            _ => Request::RequestRange(range_request(rng)),
        };
        (0..n)
            .map(|_| pb::RequestOp {
                request: Some(one(rng)),
            })
            .collect()
    };
    pb::TxnRequest {
        compare,
        success: ops(rng),
        failure: ops(rng),
    }
}

// ---- what is told --------------------------------------------------------------------------------

/// Every key in an answer, wherever it stands.
fn told_by_txn(answer: &pb::TxnResponse, told: &mut Keys) {
    use pb::response_op::Response;
    for op in &answer.responses {
        match op.response.as_ref().unwrap() {
            Response::ResponseRange(answer) => {
                told.extend(answer.kvs.iter().map(|kv| as_text(&kv.key)));
            }
            Response::ResponsePut(answer) => {
                told.extend(answer.prev_kv.iter().map(|kv| as_text(&kv.key)));
            }
            Response::ResponseDeleteRange(answer) => {
                told.extend(answer.prev_kvs.iter().map(|kv| as_text(&kv.key)));
            }
            Response::ResponseTxn(answer) => told_by_txn(answer, told),
        }
    }
}

fn contents(world: &World) -> BTreeMap<Vec<u8>, (Vec<u8>, u64)> {
    let all = store::KeyRange::from(Bytes::from_static(&[0]));
    let root = world.state.root(etcd::ROOT);
    let records = root.range(&all, None).unwrap();
    records
        .map(|it| {
            (
                it.key().to_vec(),
                (it.value().to_vec(), it.mod_revision().0),
            )
        })
        .collect()
}

/// A world with data, authentication enabled, and a user with a random role or two.
fn world(rng: &mut Rng) -> (World, Model) {
    let mut world = World::new();
    for lease in [1, 2] {
        let grant = pb::LeaseGrantRequest { id: lease, ttl: 60 };
        let _: pb::LeaseGrantResponse = world.call(Method::LeaseGrant, &grant).unwrap();
    }
    let mut model = Model {
        read: Keys::new(),
        write: Keys::new(),
        leases: BTreeMap::from([(1, Keys::new()), (2, Keys::new())]),
    };
    for key in UNIVERSE {
        if rng.below(3) == 0 {
            continue;
        }
        let lease = *pick(rng, &[0, 0, 1, 2]);
        let put = pb::PutRequest {
            key: bytes(key),
            value: bytes("old"),
            lease,
            ..Default::default()
        };
        let _: pb::PutResponse = world.call(Method::Put, &put).unwrap();
        if let Some(keys) = model.leases.get_mut(&lease) {
            keys.insert(key);
        }
    }
    let ok = |done: Result<Bytes, Status>| drop(done.unwrap());
    let add = |name: &str| pb::AuthUserAddRequest {
        name: name.into(),
        password: "x".into(),
        ..Default::default()
    };
    for name in ["root", "ann"] {
        ok(world.call_bytes(Method::UserAdd, add(name).encode_to_vec().into()));
    }
    let grant = |world: &mut World, user: &str, role: &str| {
        let grant = pb::AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        };
        drop(
            world
                .call_bytes(Method::UserGrantRole, grant.encode_to_vec().into())
                .unwrap(),
        );
    };
    grant(&mut world, "root", "root");
    for role in ["one", "two"] {
        let add = pb::AuthRoleAddRequest { name: role.into() };
        ok(world.call_bytes(Method::RoleAdd, add.encode_to_vec().into()));
        let is_granted = rng.below(4) > 0;
        if is_granted {
            grant(&mut world, "ann", role);
        }
        let mut granted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for _ in 0..rng.below(4) {
            let (key, end) = range(rng);
            let kind = rng.below(3);
            let request = pb::AuthRoleGrantPermissionRequest {
                name: role.into(),
                perm: Some(authpb::Permission {
                    perm_type: kind as i32,
                    key: bytes(key),
                    range_end: bytes(end),
                }),
            };
            let done =
                world.call_bytes(Method::RoleGrantPermission, request.encode_to_vec().into());
            // The end lies before the key: no permission at all.
            let is_range = end.is_empty() || end == "\0" || key < end;
            assert_eq!(done.is_ok(), is_range, "{key:?} {end:?}");
            if is_range {
                // The same keys again replace the kind (E13: by key and end, both).
                granted.insert((key, end), kind);
            }
        }
        for ((key, end), kind) in granted.into_iter().filter(|_| is_granted) {
            let keys = keys_of(key, end);
            if kind != 1 {
                model.read.extend(&keys);
            }
            if kind != 0 {
                model.write.extend(&keys);
            }
        }
    }
    ok(world.call_bytes(Method::AuthEnable, Bytes::new()));
    world.ask_as(Some("ann"));
    (world, model)
}

fn denied(refused: &Status) -> bool {
    *refused == Refusal::PermissionDenied.into()
}

/// One request by ann; whether it was let through.
fn case(seed: u64) -> bool {
    let mut rng = Rng::new(seed);
    let (mut world, model) = world(&mut rng);
    let before = contents(&world);
    let mut touched = Touched::default();
    let mut told = Keys::new();
    let kind = rng.below(8);
    let refused = match kind {
        0 => {
            let request = range_request(&mut rng);
            touched.reads(&request.key, &request.range_end);
            let answer: Result<pb::RangeResponse, _> = world.call(Method::Range, &request);
            answer
                .map(|it| told.extend(it.kvs.iter().map(|kv| as_text(&kv.key))))
                .err()
        }
        1 => {
            let request = put_request(&mut rng);
            touched.put(&request, &model);
            let answer: Result<pb::PutResponse, _> = world.call(Method::Put, &request);
            answer
                .map(|it| told.extend(it.prev_kv.iter().map(|kv| as_text(&kv.key))))
                .err()
        }
        2 => {
            let request = delete_request(&mut rng);
            touched.delete(&request);
            let answer: Result<pb::DeleteRangeResponse, _> =
                world.call(Method::DeleteRange, &request);
            answer
                .map(|it| told.extend(it.prev_kvs.iter().map(|kv| as_text(&kv.key))))
                .err()
        }
        3 if rng.one_in(3) => {
            // Which leases there are is told to whoever may read all that hangs on them.
            touched.read.extend(model.leases.values().flatten());
            let request = pb::LeaseLeasesRequest {};
            let answer: Result<pb::LeaseLeasesResponse, _> =
                world.call(Method::LeaseLeases, &request);
            answer.err()
        }
        3 => {
            let lease = *pick(&mut rng, &[1, 2]);
            touched.read.extend(&model.leases[&lease]);
            let request = pb::LeaseTimeToLiveRequest {
                id: lease,
                keys: true,
            };
            let answer: Result<pb::LeaseTimeToLiveResponse, _> =
                world.call(Method::LeaseTimeToLive, &request);
            answer
                .map(|it| told.extend(it.keys.iter().map(|key| as_text(key))))
                .err()
        }
        4 => {
            let lease = *pick(&mut rng, &[1, 2]);
            touched.write.extend(&model.leases[&lease]);
            let request = pb::LeaseRevokeRequest { id: lease };
            let answer: Result<pb::LeaseRevokeResponse, _> =
                world.call(Method::LeaseRevoke, &request);
            answer.err()
        }
        5 => {
            let stream = world.desk.open();
            let (key, end) = range(&mut rng);
            let create = pb::WatchCreateRequest {
                key: bytes(key),
                range_end: bytes(end),
                start_revision: rng.below(2) as i64,
                prev_kv: true,
                ..Default::default()
            };
            let union = pb::watch_request::RequestUnion::CreateRequest(create);
            let request = pb::WatchRequest {
                request_union: Some(union),
            };
            let created = world.watch(stream, request).remove(0);
            let is_empty = created.cancel_reason.contains("range is empty");
            let refused = created.canceled && !is_empty;
            // Everything happens, by root's hand, and what the watch tells is noted.
            world.ask_as(Some("root"));
            for key in UNIVERSE {
                world.put(key, "seen");
            }
            for response in world.drain(stream) {
                let kvs = response.events.into_iter().filter_map(|event| event.kv);
                told.extend(kvs.map(|kv| as_text(&kv.key)));
            }
            if !created.canceled {
                touched.reads(key.as_bytes(), end.as_bytes());
                assert_eq!(
                    told, touched.read,
                    "seed {seed}: all that is watched is told"
                );
            }
            assert!(
                told.is_subset(&model.read),
                "seed {seed}: {told:?} of {:?}",
                model.read
            );
            assert!(
                touched.read.is_subset(&model.read),
                "seed {seed}: {touched:?}"
            );
            return !refused;
        }
        _ => {
            let request = txn_request(&mut rng, 8);
            touched.txn(&request, &model);
            let answer: Result<pb::TxnResponse, _> = world.call(Method::Txn, &request);
            answer.map(|it| told_by_txn(&it, &mut told)).err()
        }
    };
    let after = contents(&world);
    let of = |at: &BTreeMap<Vec<u8>, (Vec<u8>, u64)>, key: &str| at.get(key.as_bytes()).cloned();
    let changed: Keys = UNIVERSE
        .into_iter()
        .filter(|key| of(&before, key) != of(&after, key))
        .collect();
    let (may_read, may_write) = (&model.read, &model.write);
    assert!(
        told.is_subset(may_read),
        "seed {seed}: told {told:?}, may read {may_read:?}"
    );
    assert!(
        changed.is_subset(may_write),
        "seed {seed}: {changed:?}, may write {may_write:?}"
    );
    let is_allowed = touched.read.is_subset(may_read) && touched.write.is_subset(may_write);
    let is_denied = refused.as_ref().is_some_and(denied);
    assert!(
        is_allowed || refused.is_some(),
        "seed {seed}: {touched:?} was let through"
    );
    assert!(
        !(is_denied && is_allowed && !touched.has_range),
        "seed {seed}: {touched:?} was denied"
    );
    assert!(
        refused.is_none() || changed.is_empty(),
        "seed {seed}: refused and done"
    );
    !is_denied
}

#[test]
fn nothing_leaks_in_20_000_generated_cases() {
    let n_let_through = (0..CASES).filter(|seed| case(*seed)).count();
    println!("{CASES} cases, {n_let_through} let through, no leak");
    // A guard that refuses everything would leak nothing either.
    assert!((2_000..18_000).contains(&n_let_through), "{n_let_through}");
}

#[test]
fn a_watch_ends_with_the_permission_before_it_is_told_anything_further() {
    let mut world = World::new();
    let ask = |world: &mut World, method, request: Vec<u8>| {
        drop(world.call_bytes(method, request.into()).unwrap());
    };
    for name in ["root", "ann"] {
        let add = pb::AuthUserAddRequest {
            name: name.into(),
            ..Default::default()
        };
        ask(&mut world, Method::UserAdd, add.encode_to_vec());
    }
    let add = pb::AuthRoleAddRequest { name: "r".into() };
    ask(&mut world, Method::RoleAdd, add.encode_to_vec());
    for (user, role) in [("root", "root"), ("ann", "r")] {
        let (user, role) = (user.into(), role.into());
        let grant = pb::AuthUserGrantRoleRequest { user, role };
        ask(&mut world, Method::UserGrantRole, grant.encode_to_vec());
    }
    let grant = pb::AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm: Some(authpb::Permission {
            perm_type: 0,
            key: bytes("a"),
            range_end: bytes("c"),
        }),
    };
    ask(
        &mut world,
        Method::RoleGrantPermission,
        grant.encode_to_vec(),
    );
    let open = |world: &mut World, key: &str, end: &str| {
        let create = pb::WatchCreateRequest {
            key: bytes(key),
            range_end: bytes(end),
            ..Default::default()
        };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let stream = world.desk.open();
        let request = pb::WatchRequest {
            request_union: Some(union),
        };
        (stream, world.watch(stream, request).remove(0))
    };
    let (nobodys, created) = open(&mut world, "a", "");
    assert!(!created.canceled, "authentication is off");
    ask(&mut world, Method::AuthEnable, Vec::new());
    let ended = world.drain(nobodys);
    assert!(ended[0].canceled && ended[0].cancel_reason.contains("user name is empty"));

    world.ask_as(Some("ann"));
    // E1: from the key on is not the key alone.
    let (_, refused) = open(&mut world, "a", "\0");
    assert!(refused.canceled && refused.watch_id == -1);
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    );
    let (stream, created) = open(&mut world, "a", "c");
    assert!(!created.canceled);
    let (all_keys, refused) = open(&mut world, "\0", "\0");
    assert!(refused.canceled && world.drain(all_keys).is_empty());
    world.ask_as(Some("root"));
    world.put("a", "1");
    assert_eq!(world.drain(stream)[0].events.len(), 1);
    // An event that waits, and then the permission goes: the event is not told any more.
    world.put("b", "2");
    let revoke = pb::AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: bytes("a"),
        range_end: bytes("c"),
    };
    ask(
        &mut world,
        Method::RoleRevokePermission,
        revoke.encode_to_vec(),
    );
    world.ask_as(Some("root"));
    world.put("a", "3");
    let told = world.drain(stream);
    assert_eq!(told.len(), 1);
    assert!(told[0].canceled && told[0].events.is_empty());
    assert!(
        told[0]
            .cancel_reason
            .ends_with("desc = etcdserver: permission denied")
    );
    assert_eq!(world.desk.n_watches(), 0);
}

#[test]
fn what_can_be_no_request_is_refused_before_anybody_is_asked_who_they_are() {
    let (mut world, _) = world(&mut Rng::new(1));
    // Nobody has a name here, as after a request without a token.
    world.caller = Ok(None);
    let range = pb::RangeRequest {
        key: bytes("a"),
        ..Default::default()
    };
    let refused = world.call_bytes(Method::Range, range.encode_to_vec().into());
    assert_eq!(refused, Err(Refusal::UserEmpty.into()));
    let create = pb::WatchCreateRequest {
        key: bytes("a"),
        start_revision: -1,
        ..Default::default()
    };
    let union = pb::watch_request::RequestUnion::CreateRequest(create);
    let stream = world.desk.open();
    let request = pb::WatchRequest {
        request_union: Some(union),
    };
    let refused = world.watch(stream, request).remove(0);
    assert_eq!(refused.cancel_reason, Refusal::Compacted.message());
    // Nobody's key is unlocked.
    let refused = world.call_bytes(Method::Unlock, Bytes::new());
    assert_eq!(refused, Err(etcd::recipes::told(Refusal::EmptyKey.into())));
    // A member's new place is looked at after whoever asks for it.
    let update = pb::MemberUpdateRequest {
        id: 1,
        peer_ur_ls: vec!["nonsense".to_owned()],
    };
    let body: Bytes = update.encode_to_vec().into();
    let refused = world.call_bytes(Method::MemberUpdate, body.clone());
    assert_eq!(refused, Err(Refusal::UserEmpty.into()));
    world.ask_as(Some("root"));
    let refused = world.call_bytes(Method::MemberUpdate, body);
    assert_eq!(refused, Err(Refusal::BadMemberUrls.into()));
}

#[test]
fn an_outdated_identity_is_told_so_by_every_kind_of_request() {
    let (mut world, _) = world(&mut Rng::new(1));
    let old = world.caller.clone();
    world.ask_as(Some("root"));
    let add = pb::AuthRoleAddRequest { name: "x".into() };
    let _: pb::AuthRoleAddResponse = world.call(Method::RoleAdd, &add).unwrap();
    world.caller = old;
    let expected = Err(Refusal::AuthOldRevision.into());
    let range = pb::RangeRequest {
        key: bytes("a"),
        ..Default::default()
    };
    assert_eq!(
        world.call::<_, pb::RangeResponse>(Method::Range, &range),
        expected
    );
    // In the log, too: whoever planned it may have known an older state.
    let put = pb::PutRequest {
        key: bytes("a"),
        ..Default::default()
    };
    let request = [&[1], &put.encode_to_vec()[..]].concat();
    assert_eq!(world.apply(&request), Err(Refusal::AuthOldRevision.into()));
    world.caller = Ok(None);
    assert_eq!(world.apply(&request), Err(Refusal::UserEmpty.into()));
    world.caller = Err(Refusal::InvalidAuthToken);
    let expected = Err(Refusal::InvalidAuthToken.into());
    assert_eq!(
        world.call::<_, pb::RangeResponse>(Method::Range, &range),
        expected
    );
}

/// Apply version 4: before, whoever logged in often enough ended everybody's tokens.
#[test]
fn one_users_logins_end_no_tokens_but_their_own() {
    use etcd::auth::{self, IssueToken, TOKENS_MAX, Token, USER_TOKENS_MAX};
    for version in [3, 4] {
        let mut world = World::of_version(etcd::Limits::default(), version);
        let root_role = pb::AuthRoleAddRequest {
            name: "root".into(),
        };
        let _: pb::AuthRoleAddResponse = world.call(Method::RoleAdd, &root_role).unwrap();
        for name in ["root", "ann", "bob"] {
            let add = pb::AuthUserAddRequest {
                name: name.into(),
                password: "x".into(),
                ..Default::default()
            };
            let _: pb::AuthUserAddResponse = world.call(Method::UserAdd, &add).unwrap();
        }
        let grant = pb::AuthUserGrantRoleRequest {
            user: "root".into(),
            role: "root".into(),
        };
        let _: pb::AuthUserGrantRoleResponse = world.call(Method::UserGrantRole, &grant).unwrap();
        let enable = pb::AuthEnableRequest::default();
        let _: pb::AuthEnableResponse = world.call(Method::AuthEnable, &enable).unwrap();
        let login = |world: &mut World, name: &str| {
            let issue = IssueToken {
                user: name.into(),
                checked: auth::revision(&world.state),
                digest: Token::digest("letters"),
            };
            let _ = world.apply(&issue.request()).unwrap();
            format!("letters.{}", auth::last_token(&world.state))
        };
        let bobs = login(&mut world, "bob");
        let first = login(&mut world, "ann");
        let mut newest = Vec::new();
        for _ in 0..TOKENS_MAX {
            newest.push(login(&mut world, "ann"));
        }
        let is_known = |token: &String| auth::find_token(&world.state, token).is_some();
        assert_eq!(is_known(&bobs), version == 4, "by version {version}");
        assert!(!is_known(&first));
        let kept = if version == 4 {
            USER_TOKENS_MAX
        } else {
            TOKENS_MAX
        };
        assert_eq!(newest.iter().filter(|it| is_known(it)).count(), kept);
        assert!(
            newest[TOKENS_MAX - kept..].iter().all(is_known),
            "the newest"
        );
    }
}

/// What a member that is a little behind waits for, and what it does not.
#[test]
fn a_token_may_be_to_come_if_its_number_is_one_of_the_next() {
    use etcd::auth::{TOKENS_MAX, may_come};
    let (mut world, _) = world(&mut Rng::new(7));
    let login = pb::AuthenticateRequest {
        name: "ann".into(),
        password: "x".into(),
    };
    let token: pb::AuthenticateResponse = world.call(Method::Authenticate, &login).unwrap();
    let (_, last) = token.token.rsplit_once('.').unwrap();
    let last: u64 = last.parse().unwrap();
    let comes = |number: u64| may_come(&world.state, &format!("letters.{number}"));
    assert!(!comes(last) && comes(last + 1) && comes(last + TOKENS_MAX as u64));
    assert!(!comes(last + TOKENS_MAX as u64 + 1) && !comes(u64::MAX));
    assert!(!may_come(&world.state, "letters") && !may_come(&world.state, "a.b"));
}

#[test]
fn a_token_ends_with_its_user_and_its_password_and_not_with_a_role() {
    let (mut world, _) = world(&mut Rng::new(1));
    world.ask_as(Some("root"));
    let login = |world: &mut World| {
        let login = pb::AuthenticateRequest {
            name: "ann".into(),
            password: "x".into(),
        };
        let token: pb::AuthenticateResponse = world.call(Method::Authenticate, &login).unwrap();
        token.token
    };
    let root = |world: &mut World, method, request: Vec<u8>| {
        world.ask_as(Some("root"));
        drop(world.call_bytes(method, request.into()).unwrap());
    };
    let is_known =
        |world: &World, token: &str| etcd::auth::find_token(&world.state, token).is_some();
    let (first, second) = (login(&mut world), login(&mut world));
    let request = pb::AuthRoleAddRequest { name: "own".into() };
    root(&mut world, Method::RoleAdd, request.encode_to_vec());
    let request = pb::AuthUserGrantRoleRequest {
        user: "ann".into(),
        role: "own".into(),
    };
    root(&mut world, Method::UserGrantRole, request.encode_to_vec());
    let request = pb::AuthRoleDeleteRequest { role: "own".into() };
    root(&mut world, Method::RoleDelete, request.encode_to_vec());
    assert!(is_known(&world, &first) && is_known(&world, &second));
    let request = pb::AuthUserChangePasswordRequest {
        name: "ann".into(),
        password: "x".into(),
        ..Default::default()
    };
    root(
        &mut world,
        Method::UserChangePassword,
        request.encode_to_vec(),
    );
    assert!(!is_known(&world, &first) && !is_known(&world, &second));
    let third = login(&mut world);
    assert!(is_known(&world, &third));
    let request = pb::AuthUserDeleteRequest { name: "ann".into() };
    root(&mut world, Method::UserDelete, request.encode_to_vec());
    assert!(!is_known(&world, &third));
}

#[test]
fn users_and_tokens_travel_in_a_snapshot_and_decide_alike_behind_it() {
    use etcd::auth;
    let (mut world, _) = world(&mut Rng::new(7));
    let login = pb::AuthenticateRequest {
        name: "ann".into(),
        password: "x".into(),
    };
    let token: pb::AuthenticateResponse = world.call(Method::Authenticate, &login).unwrap();
    // What a member that joins is sent, and what a checkpoint holds.
    let mut writer = store::stream::Writer::new(world.state.clone());
    let mut reader = store::stream::Reader::new();
    while let Some(chunk) = writer.next_chunk(1 << 16) {
        reader.push(&chunk).unwrap();
    }
    let state = reader.finish().unwrap();
    let found = auth::find_token(&state, &token.token).unwrap();
    assert_eq!(found.user, "ann");
    assert!(auth::is_enabled(&state) && auth::users(&state).eq(auth::users(&world.state)));
    assert!(auth::roles(&state).eq(auth::roles(&world.state)));
    assert_eq!(auth::revision(&state), auth::revision(&world.state));
    for name in ["root", "ann"] {
        assert_eq!(
            auth::Rights::of(&state, name.as_bytes()),
            auth::Rights::of(&world.state, name.as_bytes())
        );
    }
    assert_eq!(state.digest(), world.state.digest());
}

#[test]
fn secrets_are_not_printed_and_not_kept() {
    let canary = "canary-7f3a";
    let mut world = World::new();
    let add = pb::AuthUserAddRequest {
        name: "ann".into(),
        password: canary.into(),
        ..Default::default()
    };
    let mut session = etcd::Session::new(etcd::Limits::default(), 1);
    let plan = session
        .plan(Method::UserAdd, add.encode_to_vec().into())
        .unwrap();
    assert!(!format!("{plan:?}").contains(canary));
    let etcd::Plan::Password(change) = plan else {
        panic!("it is to be hashed");
    };
    let request = change.hashed("$2a$04$hash");
    assert!(
        !request
            .windows(canary.len())
            .any(|it| it == canary.as_bytes())
    );
    let _ = world.apply(&request).unwrap();
    let login = pb::AuthenticateRequest {
        name: "ann".into(),
        password: canary.into(),
    };
    let plan = session
        .plan(Method::Authenticate, login.encode_to_vec().into())
        .unwrap();
    assert!(!format!("{plan:?}").contains(canary));
    // Whoever needs no password must not leave one behind.
    let add = pb::AuthUserAddRequest {
        name: "cert".into(),
        password: canary.into(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..Default::default()
    };
    let plan = session
        .plan(Method::UserAdd, add.encode_to_vec().into())
        .unwrap();
    let etcd::Plan::Propose { request, .. } = plan else {
        panic!("there is nothing to hash");
    };
    assert!(
        !request
            .windows(canary.len())
            .any(|it| it == canary.as_bytes())
    );
}
