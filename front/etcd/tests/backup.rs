//! Backups: what is written is what is restored, etcd's numbers about it, and damage.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use base::{LeaseId, LogPosition, MemberId, Membership, Revision};
use bolt::{Entry, File};
use bytes::Bytes;
use etcd::backup::{
    BUCKET_OF_OURS, Backup, HashCheck, RestoreFault, SealFault, Sealed, hash_kv, restore, summary,
};
use etcd::proto::{authpb, etcdserverpb as pb};
use etcd::{Method, SnapshotStream};
use proptest::prelude::*;
use prost::Message;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use store::restore::{Refounding, refound};
use store::{Genesis, KeyRange, Member, RootId, Stamp, State, Store, Table};
use support::World;

/// A root that etcd's tools know nothing of.
const OTHER: RootId = RootId(1);

fn file(state: &State) -> Vec<u8> {
    let mut backup = Backup::new(state.clone());
    let n_bytes = backup.measure().unwrap();
    let mut file = Vec::new();
    loop {
        let more = backup.next_bytes(1).unwrap();
        if more.is_empty() {
            assert_eq!(file.len() as u64, n_bytes, "what was announced");
            return file;
        }
        file.extend(more);
    }
}

fn restored(file: &[u8]) -> etcd::backup::Contents {
    let file = File::open(file).unwrap();
    file.check().unwrap();
    let contents = restore(&file).unwrap();
    contents.state.check();
    contents
}

/// All that can be asked of a state, in words.
fn picture(state: &State) -> String {
    let mut out = format!("{} at {}\n", state.revision(), state.time());
    for root in [etcd::ROOT, OTHER] {
        let view = state.root(root);
        writeln!(out, "root {root:?} from {}", view.compacted()).unwrap();
        let all = KeyRange::all();
        for at in view.compacted().0.max(1)..=state.revision().0 {
            let at = Revision(at);
            let keys: Vec<_> = view.range(&all, Some(at)).unwrap().collect();
            let events: Vec<_> = view.events(at).unwrap().collect();
            let n = view.count(&all, Some(at)).unwrap();
            writeln!(out, "{at} {n} {keys:?} {events:?} {:?}", state.time_of(at)).unwrap();
        }
        writeln!(out, "{:?}", view.hash(Revision(0)).unwrap()).unwrap();
    }
    for at in state.root(etcd::ROOT).compacted().0.max(1)..=state.revision().0 {
        writeln!(out, "{:?}", hash_kv(state, Revision(at)).unwrap()).unwrap();
    }
    for lease in state.leases() {
        let keys: Vec<_> = state.lease_keys(lease.id).collect();
        writeln!(out, "{lease:?} {keys:?}").unwrap();
    }
    for table in [1, 2, 3, 16, 17, 18, 19, 20, 21, 40] {
        let records: Vec<_> = state.records(Table(table)).collect();
        writeln!(out, "{table} {records:?}").unwrap();
    }
    out
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u8, bool),
    Delete(u8, u8),
    Other(u8, Option<u8>),
    Lease(i64),
    Revoke(i64),
    Compact(u8),
    Sweep(u8),
    Record(u8),
    User(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let lease = prop_oneof![1i64..4, Just(-3i64), Just(i64::MAX)];
    let op = prop_oneof![
        8 => (0u8..8, any::<u8>(), any::<bool>()).prop_map(|(k, v, l)| Op::Put(k, v, l)),
        3 => (0u8..8, 1u8..4).prop_map(|(k, n)| Op::Delete(k, n)),
        2 => (0u8..3, any::<Option<u8>>()).prop_map(|(k, v)| Op::Other(k, v)),
        2 => lease.clone().prop_map(Op::Lease),
        1 => lease.prop_map(Op::Revoke),
        1 => any::<u8>().prop_map(Op::Compact),
        1 => (0u8..30).prop_map(Op::Sweep),
        1 => any::<u8>().prop_map(Op::Record),
        1 => (0u8..4).prop_map(Op::User),
    ];
    prop::collection::vec(op, 0..60)
}

fn user_and_role(n: u8) -> (authpb::User, authpb::Role) {
    let name = Bytes::from(format!("name-{n}"));
    let permission = |key: &'static str| authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite as i32,
        key: key.into(),
        range_end: Bytes::from_static(&[0]),
    };
    let user = authpb::User {
        name: name.clone(),
        password: Bytes::from_static(b"$2a$04$hash"),
        roles: vec!["a".to_owned(), format!("name-{n}")],
        options: Some(authpb::UserAddOptions { no_password: false }),
    };
    let role = authpb::Role {
        name,
        key_permission: vec![permission("a"), permission("b")],
    };
    (user, role)
}

fn run(ops: &[Op]) -> World {
    let mut world = World::new();
    for op in ops {
        world.wall_ms += 1;
        let stamp = Stamp {
            time: clock::HybridTime::new(world.wall_ms, 0),
            apply_version: 2,
            origin: MemberId(1),
        };
        let leases: Vec<LeaseId> = world.state.leases().map(|lease| lease.id).collect();
        match op {
            Op::Put(key, value, on_lease) => {
                let lease = leases.get(usize::from(*value) % leases.len().max(1));
                let request = pb::PutRequest {
                    key: vec![b'a' + key].into(),
                    value: vec![*value; usize::from(*value) * 40].into(),
                    lease: lease.filter(|_| *on_lease).map_or(0, |lease| lease.0),
                    ..Default::default()
                };
                let _: pb::PutResponse = world.call(Method::Put, &request).unwrap();
            }
            Op::Delete(key, n) => {
                let request = pb::DeleteRangeRequest {
                    key: vec![b'a' + key].into(),
                    range_end: vec![b'a' + key + n].into(),
                    prev_kv: false,
                };
                let _: pb::DeleteRangeResponse = world.call(Method::DeleteRange, &request).unwrap();
            }
            Op::Other(key, value) => {
                let mut txn = world.store.begin(OTHER, &stamp);
                let lease = leases.first().copied().unwrap_or(LeaseId::NONE);
                match value {
                    Some(value) => drop(txn.put(&[*key], &[*value], lease)),
                    None => drop(txn.delete(&KeyRange::single(vec![*key]))),
                }
                txn.finish();
            }
            Op::Lease(id) if !leases.contains(&LeaseId(*id)) => {
                let request = pb::LeaseGrantRequest { id: *id, ttl: 60 };
                let _: pb::LeaseGrantResponse = world.call(Method::LeaseGrant, &request).unwrap();
            }
            Op::Revoke(id) if leases.contains(&LeaseId(*id)) => {
                let request = pb::LeaseRevokeRequest { id: *id };
                let _: pb::LeaseRevokeResponse = world.call(Method::LeaseRevoke, &request).unwrap();
            }
            Op::Lease(_) | Op::Revoke(_) => {}
            Op::Compact(part) => {
                let from = world.state.root(etcd::ROOT).compacted().0;
                let to = from + (world.state.revision().0 - from) * u64::from(*part) / 255;
                if to > from {
                    world.compact(to as i64);
                }
            }
            Op::Sweep(steps) => drop(world.store.sweep(usize::from(*steps))),
            Op::User(n) => {
                let mut txn = world.store.begin(etcd::ROOT, &stamp);
                let (user, role) = user_and_role(*n);
                txn.record_put(Table(19), &user.name, user.encode_to_vec().into());
                txn.record_put(Table(20), &role.name, role.encode_to_vec().into());
                txn.finish();
            }
            Op::Record(n) => {
                let mut txn = world.store.begin(OTHER, &stamp);
                txn.record_put(Table(40), &[*n], Bytes::from(vec![*n]));
                txn.finish();
            }
        }
        world.store.set_applied(LogPosition {
            term: base::Term(1),
            index: world.store.state().applied().index.next(),
        });
        world.state = world.store.publish();
    }
    let mut users = ops.iter().rev().filter_map(|op| match op {
        Op::User(n) => Some(*n),
        _ => None,
    });
    // Last of all: who comes then must say who he is.
    if let Some(n) = users.next() {
        let mut txn = world.store.begin(etcd::ROOT, &Stamp::default());
        // Enabled or not, the revision, no token yet.
        let settings = [&[n % 2][..], &[0; 7], &[2 + n], &[0; 8]].concat();
        txn.record_put(Table(18), b"", settings.into());
        txn.finish();
        world.state = world.store.publish();
    }
    world
}

proptest! {
    #![proptest_config(support::cases(64))]

    #[test]
    fn what_is_backed_up_is_what_is_restored(ops in ops()) {
        let world = run(&ops);
        let bytes = file(&world.state);
        let contents = restored(&bytes);
        prop_assert!(contents.is_ours && contents.outdated.is_none());
        prop_assert_eq!(contents.applied, world.state.applied());
        prop_assert_eq!(picture(&contents.state), picture(&world.state));
        // A backup of the restored is a backup of the same: nothing hidden is left or lost.
        let again = restored(&file(&contents.state));
        prop_assert_eq!(picture(&again.state), picture(&world.state));
        let said = summary(&File::open(&bytes[..]).unwrap()).unwrap();
        let view = world.state.root(etcd::ROOT);
        let all = KeyRange::all();
        prop_assert_eq!(said.n_keys as u64, view.count(&all, None).unwrap());
        let told = said.revision.max(view.compacted()).max(Revision(1));
        prop_assert_eq!(told, world.state.revision());
    }

    /// An etcd takes the bucket of ours for nothing, and writes a file without it.
    #[test]
    fn without_our_bucket_etcds_keys_and_leases_are_restored(ops in ops()) {
        let world = run(&ops);
        let contents = restored(&file_without(&world.state, BUCKET_OF_OURS));
        prop_assert!(!contents.is_ours && contents.outdated.is_none());
        let (ours, theirs) = (&world.state, &contents.state);
        prop_assert_eq!(ours.revision(), theirs.revision());
        let (view, other) = (ours.root(etcd::ROOT), theirs.root(etcd::ROOT));
        prop_assert_eq!(view.hash(Revision(0)).unwrap(), other.hash(Revision(0)).unwrap());
        let ids = |state: &State| state.leases().map(|it| (it.id, it.ttl_s)).collect::<Vec<_>>();
        prop_assert_eq!(ids(ours), ids(theirs));
        for table in [18, 19, 20].map(Table) {
            let records = |state: &State| state.records(table).collect::<Vec<_>>();
            prop_assert_eq!(records(ours), records(theirs));
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        ops in ops(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = file(&run(&ops).state);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(file) = File::open(&bytes[..]) {
            if let Ok(contents) = restore(&file) {
                contents.state.check();
                refound(contents.state, Refounding::default()).unwrap().check();
            }
            let _ = summary(&file);
        }
    }

    /// Members that are restored from one file in one way are equal, and go on as if nothing had been.
    #[test]
    fn a_new_cluster_goes_on_above_all_revisions(ops in ops(), bump in 0u64..5) {
        let world = run(&ops);
        let how = Refounding {
            genesis: Genesis {
                membership: Membership::of_voters(vec![MemberId(8), MemberId(9)]),
                members: vec![Member { id: MemberId(8), ..Member::default() }],
            },
            bump,
            mark_compacted: bump > 0,
            forget: Vec::new(),
        };
        let bytes = file(&world.state);
        let new = || refound(restored(&bytes).state, how.clone()).unwrap();
        let state = new();
        state.check();
        prop_assert_eq!(state.digest(), new().digest());
        let other = Refounding { bump: bump + 1, ..how.clone() };
        let other = refound(restored(&bytes).state, other).unwrap();
        prop_assert_ne!(state.digest(), other.digest(), "another way is another state");
        let revision = world.state.revision().0 + bump;
        prop_assert_eq!(state.revision(), Revision(revision));
        prop_assert_eq!(state.applied().index.0, 1);
        prop_assert_eq!(state.members().len(), 1);
        prop_assert_eq!(&state.membership().voters, &[MemberId(8), MemberId(9)]);
        let all = KeyRange::all();
        let keys = |state: &State| {
            let keys = state.root(etcd::ROOT).range(&all, None).unwrap();
            keys.cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(keys(&state), keys(&world.state));
        if bump > 0 && !world.state.roots().any(|root| root == OTHER) {
            let before = state.root(etcd::ROOT).events(Revision(revision - 1));
            prop_assert_eq!(before.is_err(), !keys(&state).is_empty() || before.is_err());
        }
        let mut store = Store::from_state(state);
        let mut txn = store.begin(etcd::ROOT, &Stamp::default());
        txn.put(b"next", b"", LeaseId::NONE);
        prop_assert_eq!(txn.finish().revision, Some(Revision(revision + 1)));
        while store.sweep(100) {}
        store.state().check();
    }
}

/// The same file but for one bucket, as an etcd would have written it.
fn file_without(state: &State, left_out: &[u8]) -> Vec<u8> {
    let bytes = file(state);
    let file = File::open(&bytes[..]).unwrap();
    let mut writer = bolt::Writer::measure();
    copy(&file, left_out, &mut writer);
    let mut writer = bolt::Writer::emit(writer.finish().unwrap());
    copy(&file, left_out, &mut writer);
    writer.finish().unwrap();
    writer.take_ready()
}

fn copy(file: &File<&[u8]>, left_out: &[u8], writer: &mut bolt::Writer) {
    let mut buckets = file.items(&file.root());
    while let Some(item) = buckets.next().unwrap() {
        let Entry::Bucket(bucket) = item.entry else {
            continue;
        };
        if item.key == left_out {
            continue;
        }
        writer.begin_bucket(item.key).unwrap();
        let mut entries = file.items(&bucket);
        while let Some(item) = entries.next().unwrap() {
            if let Entry::Value(value) = item.entry {
                writer.push(item.key, value).unwrap();
            }
        }
        writer.end_bucket().unwrap();
    }
}

fn small() -> World {
    run(&[
        Op::Lease(7),
        Op::Put(0, 1, true),
        Op::Put(1, 2, false),
        Op::Other(1, Some(5)),
        Op::Put(0, 3, false),
        Op::Delete(1, 1),
        Op::Compact(200),
        Op::User(1),
        Op::Put(2, 1, false),
        Op::Other(2, Some(6)),
    ])
}

/// Every entry of every bucket but the last one's, whose pieces are `docs/format/snapshot.md`'s, and all bytes
/// by their hash: who changes either changes what is in everybody's backups.
#[test]
fn the_entries_of_a_small_backup_are_pinned() {
    let bytes = file(&small().state);
    let file = File::open(&bytes[..]).unwrap();
    let mut out = String::new();
    let mut buckets = file.items(&file.root());
    while let Some(item) = buckets.next().unwrap() {
        let Entry::Bucket(bucket) = item.entry else {
            panic!("only buckets are in the root bucket");
        };
        writeln!(out, "{}", item.key.escape_ascii()).unwrap();
        let is_ours = item.key == BUCKET_OF_OURS;
        let mut entries = file.items(&bucket);
        while let Some(item) = entries.next().unwrap() {
            let Entry::Value(value) = item.entry else {
                panic!("buckets are not nested");
            };
            let value = match is_ours {
                true => format!("a piece of {} bytes", value.len()),
                false => value.escape_ascii().to_string(),
            };
            writeln!(out, "    {} = {value}", item.key.escape_ascii()).unwrap();
        }
    }
    let said = summary(&file).unwrap();
    writeln!(out, "{said:?}").unwrap();
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    writeln!(out, "{} bytes, SHA-256 {sum}", bytes.len()).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-backup/small.txt");
    testkit::check(path, |_| out.clone());
}

#[test]
fn a_snapshot_is_the_file_with_its_hash_and_counts_what_is_left() {
    let mut world = World::new();
    for n in 0..3000 {
        world.put(&format!("key-{n}"), &"v".repeat(n % 100));
    }
    world.put("long", &"l".repeat(300_000));
    let expected = file(&world.state);
    let mut stream = SnapshotStream::new(world.state.clone());
    let mut sent = Vec::new();
    let mut left = Vec::new();
    while let Some(bytes) = stream.next_message().unwrap() {
        // Writes go on beside it.
        world.put("later", "x");
        let message = pb::SnapshotResponse::decode(bytes).unwrap();
        assert!(message.header.is_none(), "as in etcd");
        assert_eq!(message.version, etcd::STORAGE_VERSION);
        sent.extend_from_slice(&message.blob);
        left.push((message.remaining_bytes, sent.len() as u64));
    }
    // What etcd's client checks from 3.5 on.
    assert_eq!(sent.len() % 512, 32);
    let (body, hash) = sent.split_at(sent.len() - 32);
    assert!(body == expected);
    assert_eq!(hash, &Sha256::digest(body)[..]);
    let last = left.pop().unwrap();
    assert_eq!(last, (0, sent.len() as u64), "the hash comes alone");
    assert!(left.len() > 10);
    for (rest, sent) in left {
        assert_eq!(rest + sent, body.len() as u64);
    }
}

#[test]
fn a_damaged_or_cut_snapshot_is_told_from_a_whole_one() {
    let bytes = file(&small().state);
    let whole = [bytes.clone(), Sha256::digest(&bytes).to_vec()].concat();
    let open = |file: &[u8], check| Sealed::open(file, check).map(|it| bolt::ReadAt::n_bytes(&it));
    assert_eq!(
        open(&whole, HashCheck::Required).unwrap(),
        bytes.len() as u64
    );
    let mut damaged = whole.clone();
    damaged[5000] ^= 1;
    let refused = open(&damaged, HashCheck::Required);
    assert!(matches!(refused, Err(SealFault::Differs)));
    // It is for the user to say that nobody should look.
    open(&damaged, HashCheck::Skipped).unwrap();
    for n in [1, 32, 33, 512, 4000] {
        let cut = &whole[..whole.len() - n];
        let refused = open(cut, HashCheck::Required);
        assert!(
            matches!(refused, Err(SealFault::Missing(_) | SealFault::Differs)),
            "{n}"
        );
    }
    let refused = open(&[], HashCheck::Required);
    assert!(matches!(refused, Err(SealFault::Missing(0))));
    // A database from a data directory has no hash.
    assert_eq!(
        open(&bytes, HashCheck::Skipped).unwrap(),
        bytes.len() as u64
    );
    let cut = &bytes[..bytes.len() - 4096];
    let refused = File::open(cut).err().unwrap().to_string();
    assert!(refused.contains("the file is cut"), "{refused}");
}

/// The keys went on in an etcd: what else was there is of another day.
#[test]
fn a_bucket_of_ours_from_another_day_is_left_out() {
    let world = small();
    let bytes = file(&world.state);
    let old = File::open(&bytes[..]).unwrap();
    let write = |writer: &mut bolt::Writer| {
        let mut buckets = old.items(&old.root());
        while let Some(item) = buckets.next().unwrap() {
            let Entry::Bucket(bucket) = item.entry else {
                continue;
            };
            writer.begin_bucket(item.key).unwrap();
            let mut entries = old.items(&bucket);
            while let Some(entry) = entries.next().unwrap() {
                if let Entry::Value(value) = entry.entry {
                    writer.push(entry.key, value).unwrap();
                }
            }
            if item.key == b"key" {
                let mut key = [0; 17];
                key[7] = 99;
                key[8] = b'_';
                // {key "z", created 99, modified 99, version 1}
                let value = [10, 1, b'z', 16, 99, 24, 99, 32, 1];
                writer.push(&key, &value).unwrap();
            }
            writer.end_bucket().unwrap();
        }
    };
    let mut writer = bolt::Writer::measure();
    write(&mut writer);
    let mut writer = bolt::Writer::emit(writer.finish().unwrap());
    write(&mut writer);
    writer.finish().unwrap();
    let contents = restored(&writer.take_ready());
    assert!(!contents.is_ours);
    assert_eq!(contents.outdated, Some(world.state.revision()));
    assert_eq!(contents.state.revision(), Revision(99));
    assert!(!contents.state.roots().any(|root| root == OTHER));
    assert!(
        contents
            .state
            .root(etcd::ROOT)
            .get(b"z", None)
            .unwrap()
            .is_some()
    );
}

/// An etcd's file with `key` alone in a bucket; without a value, that is a bucket in the bucket.
fn file_with(bucket: &[u8], key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let bytes = file(&small().state);
    let old = File::open(&bytes[..]).unwrap();
    let write = |writer: &mut bolt::Writer| {
        let mut buckets = old.items(&old.root());
        while let Some(item) = buckets.next().unwrap() {
            let Entry::Bucket(found) = item.entry else {
                continue;
            };
            if item.key == BUCKET_OF_OURS {
                continue;
            }
            writer.begin_bucket(item.key).unwrap();
            if item.key == bucket {
                match value {
                    Some(value) => writer.push(key, value).unwrap(),
                    None => {
                        writer.begin_bucket(key).unwrap();
                        writer.end_bucket().unwrap();
                    }
                }
            } else {
                let mut entries = old.items(&found);
                while let Some(entry) = entries.next().unwrap() {
                    if let Entry::Value(value) = entry.entry {
                        writer.push(entry.key, value).unwrap();
                    }
                }
            }
            writer.end_bucket().unwrap();
        }
    };
    let mut writer = bolt::Writer::measure();
    write(&mut writer);
    let mut writer = bolt::Writer::emit(writer.finish().unwrap());
    write(&mut writer);
    writer.finish().unwrap();
    writer.take_ready()
}

/// Users who cannot be read might be those that keep others out.
#[test]
fn users_that_cannot_be_read_are_an_error() {
    for (bucket, key, value) in [
        (&b"authUsers"[..], &b"name-1"[..], Some(&b"\xff"[..])),
        (b"authUsers", b"stranger", Some(b"\x0a\x06name-1")),
        (b"authUsers", b"name-1", None),
        (b"authRoles", b"name-1", Some(b"\xff")),
        (b"auth", b"authRevision", Some(b"short")),
        (b"auth", b"authEnabled", Some(b"\x03")),
        (b"auth", b"authEnabled", Some(b"")),
        (b"lease", b"\0\0\0\0\0\0\0\x01", None),
    ] {
        let bytes = file_with(bucket, key, value);
        let refused = restore(&File::open(&bytes[..]).unwrap());
        let is_said = match value {
            Some(_) => matches!(refused, Err(RestoreFault::Entry(_))),
            None => matches!(refused, Err(RestoreFault::Nested(_))),
        };
        assert!(is_said, "{bucket:?}");
    }
}

#[test]
fn a_range_that_an_etcd_kept_twice_keeps_both_rights() {
    use authpb::permission::Type;
    let permission = |perm_type: Type, end: &'static [u8]| authpb::Permission {
        perm_type: perm_type as i32,
        key: Bytes::from_static(b"a"),
        range_end: Bytes::from_static(end),
    };
    let role = authpb::Role {
        name: Bytes::from_static(b"both"),
        key_permission: vec![
            permission(Type::Read, b"c"),
            permission(Type::Write, b"b"),
            permission(Type::Write, b"c"),
            permission(Type::Write, b"b"),
        ],
    };
    let bytes = file_with(b"authRoles", b"both", Some(&role.encode_to_vec()));
    let state = restore(&File::open(&bytes[..]).unwrap()).unwrap().state;
    let (_, kept) = state.records(Table(20)).next().unwrap();
    let kept = authpb::Role::decode(kept).unwrap();
    let expected = [
        permission(Type::Write, b"b"),
        permission(Type::Readwrite, b"c"),
    ];
    assert_eq!(kept.key_permission, expected);
    // Root is let in before every member of the new cluster runs.
    assert_eq!(state.apply_version(), 3);
}

#[test]
fn a_file_without_etcds_keys_is_none_of_etcds() {
    let layout = bolt::Writer::measure().finish().unwrap();
    let mut writer = bolt::Writer::emit(layout);
    writer.finish().unwrap();
    let bytes = writer.take_ready();
    let file = File::open(&bytes[..]).unwrap();
    assert!(matches!(restore(&file), Err(RestoreFault::NoBucket("key"))));
    assert!(matches!(summary(&file), Err(RestoreFault::NoBucket("key"))));
}
