//! The snapshot stream: what goes in comes out, and nothing else is believed.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use base::limits::NUMBER_MAX;
use base::{LeaseId, LogPosition, MemberId, Membership, Revision, Rng};
use clock::HybridTime;
use common::{ROOTS, TABLE};
use store::stream::{Reader, Writer};
use store::{AsOfError, DecodeError, Genesis, KeyRange, Member, Stamp, State, Store};

/// A small state that has a bit of everything, swept half-way.
fn sample() -> State {
    let mut store = Store::new(Genesis {
        membership: Membership {
            voters: vec![MemberId(1), MemberId(2)],
            learners: vec![MemberId(3)],
            auto_leave: true,
            ..Membership::default()
        },
        members: vec![Member {
            id: MemberId(1),
            name: "n1".into(),
            peer_urls: vec!["http://10.0.0.1:2380".into()],
            ..Member::default()
        }],
    });
    let stamp = Stamp {
        time: HybridTime::new(1_700_000_000_000, 3),
        ..Stamp::default()
    };
    let mut txn = store.begin(ROOTS[0], &stamp);
    txn.lease_grant(LeaseId(0x77), 30);
    txn.put(b"a", b"1", LeaseId(0x77));
    txn.put(b"b", b"", LeaseId::NONE);
    txn.finish();
    for n in 0..4u8 {
        let stamp = Stamp {
            time: HybridTime::new(1_700_000_000_000, 4 + u16::from(n / 2)),
            ..Stamp::default()
        };
        let mut txn = store.begin(ROOTS[0], &stamp);
        txn.put(b"b", &[n], LeaseId::NONE);
        txn.finish();
    }
    let mut txn = store.begin(ROOTS[0], &stamp);
    txn.delete(&KeyRange::single("b"));
    txn.compact(Revision(4));
    txn.record_put(TABLE, b"key", "value".into());
    txn.finish();
    store.sweep(3);
    let mut txn = store.begin(ROOTS[1], &stamp);
    txn.put(b"znode", b"data", LeaseId(0x77));
    txn.finish();
    store.raise_apply_version(2);
    store.set_applied(LogPosition {
        term: base::Term(5),
        index: base::Index(9),
    });
    store.publish()
}

fn stream_of(state: &State, chunk_bytes: usize) -> Vec<u8> {
    let mut writer = Writer::new(state.clone());
    let mut bytes = vec![];
    while let Some(chunk) = writer.next_chunk(chunk_bytes) {
        bytes.extend_from_slice(&chunk);
    }
    assert!(
        writer.next_chunk(chunk_bytes).is_none(),
        "the end is the end"
    );
    bytes
}

fn load(bytes: &[u8]) -> Result<State, DecodeError> {
    let mut reader = Reader::new();
    reader.push(bytes)?;
    reader.finish()
}

fn assert_same(ours: &State, other: &State) {
    other.check();
    assert_eq!(ours.revision(), other.revision());
    assert_eq!(ours.applied(), other.applied());
    assert_eq!(ours.time(), other.time());
    assert_eq!(ours.digest(), other.digest());
    assert_eq!(ours.apply_version(), other.apply_version());
    assert_eq!(ours.membership(), other.membership());
    assert_eq!(ours.members(), other.members());
    assert_eq!(ours.bytes_in_use(), other.bytes_in_use());
    assert!(ours.records(TABLE).eq(other.records(TABLE)));
    assert!(ours.leases().eq(other.leases()));
    assert!(ours.roots().eq(other.roots()));
    for lease in ours.leases() {
        assert!(ours.lease_keys(lease.id).eq(other.lease_keys(lease.id)));
    }
    for revision in 0..=ours.revision().0 + 1 {
        let revision = Revision(revision);
        assert_eq!(ours.time_of(revision), other.time_of(revision));
    }
    for id in ours.roots() {
        let (ours, other) = (ours.root(id), other.root(id));
        assert_eq!(ours.compacted(), other.compacted());
        assert_eq!(ours.versions(), other.versions());
        assert_eq!(ours.hash(Revision(0)), other.hash(Revision(0)));
        let all = KeyRange::all();
        assert!(
            ours.range(&all, None)
                .unwrap()
                .eq(other.range(&all, None).unwrap())
        );
        let from = ours.compacted();
        assert!(ours.events(from).unwrap().eq(other.events(from).unwrap()));
    }
}

#[test]
fn what_goes_in_comes_out_whatever_the_size_of_chunks() {
    let state = sample();
    let whole = stream_of(&state, usize::MAX);
    assert_same(&state, &load(&whole).unwrap());
    for chunk_bytes in [0, 1, 60, 200, 1000] {
        assert_same(&state, &load(&stream_of(&state, chunk_bytes)).unwrap());
    }
    // What was loaded is written as the same bytes again.
    assert_eq!(stream_of(&load(&whole).unwrap(), usize::MAX), whole);
}

#[test]
fn a_loaded_store_goes_on_as_the_one_that_was_written() {
    let state = sample();
    let loaded = load(&stream_of(&state, 100)).unwrap();
    let mut stores = [state, loaded].map(Store::from_state);
    for store in &mut stores {
        for n in 0..50u8 {
            let mut txn = store.begin(ROOTS[usize::from(n % 2)], &Stamp::default());
            txn.put(&[n % 5], &[n], LeaseId(if n % 3 == 0 { 0x77 } else { 0 }));
            if n % 10 == 9 {
                txn.compact(Revision(u64::from(n)));
            }
            txn.finish();
            store.sweep(usize::from(n % 4));
        }
        while store.sweep(1) {}
    }
    assert_same(stores[0].state(), stores[1].state());
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let state = sample();
    let bytes = stream_of(&state, 100);
    let mut rng = Rng::new(1);
    for _ in 0..50 {
        let mut reader = Reader::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = rng.between(0, 40).min(rest.len() as u64) as usize;
            reader.push(&rest[..n]).unwrap();
            rest = &rest[n..];
        }
        assert_same(&state, &reader.finish().unwrap());
    }
}

#[test]
fn a_cut_a_flip_and_a_surplus_anywhere_are_noticed() {
    let bytes = stream_of(&sample(), 100);
    for at in 0..bytes.len() {
        assert!(load(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(load(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
    for surplus in [&[0][..], &bytes[..]] {
        assert!(load(&[&bytes[..], surplus].concat()).is_err());
    }
}

#[test]
fn chunks_cannot_be_swapped_dropped_or_repeated() {
    let mut writer = Writer::new(sample());
    let mut chunks = vec![];
    while let Some(chunk) = writer.next_chunk(1) {
        chunks.push(chunk);
    }
    for at in 0..chunks.len() {
        let mut dropped = chunks.clone();
        dropped.remove(at);
        assert!(load(&dropped.concat()).is_err(), "dropped {at}");
        let mut repeated = chunks.clone();
        repeated.insert(at, chunks[at].clone());
        assert!(load(&repeated.concat()).is_err(), "repeated {at}");
        let mut swapped = chunks.clone();
        swapped.swap(at, at.saturating_sub(1));
        assert!(at == 0 || load(&swapped.concat()).is_err(), "swapped {at}");
    }
}

/// Whoever can compute checksums can write anything: it must still be a state or an error.
#[test]
fn contents_with_right_checksums_are_checked_too() {
    let bytes = stream_of(&sample(), 100);
    let mut rng = Rng::new(3);
    let mut n_refused = 0;
    for _ in 0..20_000 {
        let mut forged = bytes.clone();
        for _ in 0..rng.between(1, 3) {
            let at = rng.below(bytes.len() as u64) as usize;
            forged[at] = rng.next_u64() as u8;
        }
        reseal(&mut forged);
        match load(&forged) {
            Err(_) => n_refused += 1,
            Ok(state) => {
                // It can be read, whatever it says.
                let at = state.revision_at(state.time());
                assert_eq!(at, Ok(state.revision()));
                assert_eq!(state.time_of(Revision(u64::MAX)), None);
                let _ = state.revision_at(HybridTime::new(1_700_000_000_000, 1));
                for root in state.roots() {
                    let view = state.root(root);
                    let rows = view.range(&KeyRange::all(), None).unwrap();
                    assert!(rows.count() <= 10);
                    let _ = view.hash(Revision(0));
                    let events = view.events(view.compacted()).unwrap();
                    assert!(events.count() <= 20);
                }
            }
        }
    }
    assert!(n_refused > 5000, "{n_refused}");
}

/// Writes right checksums behind all chunks, as far as lengths make sense.
fn reseal(bytes: &mut [u8]) {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let end = at + 5 + length;
        if end + 8 > bytes.len() {
            break;
        }
        hasher.update(&bytes[at..end]);
        bytes[end..end + 8].copy_from_slice(&hasher.digest().to_le_bytes());
        at = end + 8;
    }
}

/// What comes next adds to these: a state that is believed can be gone on from.
#[test]
fn a_number_without_room_to_count_on_is_refused_by_its_name() {
    let bytes = stream_of(&sample(), usize::MAX);
    let refused = |at: usize, number: u64| {
        let mut forged = bytes.clone();
        forged[at..at + 8].copy_from_slice(&number.to_le_bytes());
        reseal(&mut forged);
        load(&forged).err()
    };
    for (payload_at, what) in [(12, "the revision"), (20, "the term"), (28, "the index")] {
        for found in [u64::MAX, NUMBER_MAX + 1] {
            let expected = DecodeError::TooLarge {
                what,
                found,
                most: NUMBER_MAX,
            };
            assert_eq!(refused(5 + payload_at, found), Some(expected));
        }
        assert_eq!(refused(5 + payload_at, NUMBER_MAX), None, "{what}");
    }
    // Wherever the versions of keys, and the numbers of versions, stand.
    let mut n_versions = 0;
    let mut n_ordinals = 0;
    for at in 0..bytes.len() - 8 {
        if let Some(DecodeError::TooLarge { what, .. }) = refused(at, u64::MAX >> 1) {
            n_versions += u64::from(what == "the version of a key");
            n_ordinals += u64::from(what == "the number of a version");
        }
    }
    assert!(
        n_versions >= 1 && n_ordinals >= 1,
        "{n_versions} {n_ordinals}"
    );
}

/// The payload of the chunk of times begins here, and so long it is.
fn times_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let mut at = 0;
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if bytes[at + 4] == 8 {
            return at + 5..at + 5 + length;
        }
        at += 5 + length + 8;
    }
}

#[test]
fn times_that_cannot_be_are_refused() {
    let state = sample();
    let bytes = stream_of(&state, usize::MAX);
    let times = times_of(&bytes);
    let n_runs = times.len() / 16;
    assert!(n_runs >= 2, "{n_runs}");
    let refused = |forge: &dyn Fn(&mut Vec<u8>)| {
        let mut forged = bytes.clone();
        forge(&mut forged);
        reseal(&mut forged);
        load(&forged).err()
    };
    let out_of_order = Some(DecodeError::Contradiction("times are out of order"));
    for run in 0..n_runs {
        let at = times.start + 16 * run;
        let set = |at: usize, number: u64| {
            refused(&|bytes| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes()))
        };
        // A revision that is none or has not happened, a time after the state's own, either of them twice.
        assert_eq!(set(at, 0), out_of_order, "revision of run {run}");
        assert_eq!(set(at, state.revision().0 + 1), out_of_order);
        assert_eq!(set(at + 8, state.time().0 + 1), out_of_order);
        if run > 0 {
            for number_at in [at, at + 8] {
                let before = bytes[number_at - 16..][..8].try_into().unwrap();
                assert_eq!(set(number_at, u64::from_le_bytes(before)), out_of_order);
            }
        }
    }
    let none = refused(&|bytes| {
        bytes.drain(times.start - 5..times.end + 8);
    });
    let expected = DecodeError::Contradiction("a stream without times");
    assert_eq!(none, Some(expected));
    let old = refused(&|bytes| bytes[5 + 8] = 1);
    let expected = DecodeError::Contradiction("times in a stream of version 1");
    assert_eq!(old, Some(expected));
}

/// What an older build wrote: everything but times. Its own revision has the time of its head, and what is
/// applied next has its own.
#[test]
fn a_stream_of_version_1_is_read_and_knows_no_times_before_its_revision() {
    let state = sample();
    let mut bytes = stream_of(&state, usize::MAX);
    let times = times_of(&bytes);
    bytes.drain(times.start - 5..times.end + 8);
    bytes[5 + 8] = 1;
    reseal(&mut bytes);
    let old = load(&bytes).unwrap();
    old.check();
    let newest = old.revision();
    assert_eq!((newest, old.digest()), (state.revision(), state.digest()));
    for revision in 0..newest.0 {
        assert_eq!(old.time_of(Revision(revision)), None);
    }
    assert_eq!(old.time_of(newest), Some(state.time()));
    assert_eq!(old.revision_at(state.time()), Ok(newest));
    let requested = HybridTime(state.time().0 - 1);
    let oldest = state.time();
    let expected = Err(AsOfError::Forgotten { requested, oldest });
    assert_eq!(old.revision_at(requested), expected);

    let stamp = Stamp {
        time: state.time().next(0),
        ..Stamp::default()
    };
    let mut stores = [state, old].map(Store::from_state);
    for store in &mut stores {
        let mut txn = store.begin(ROOTS[0], &stamp);
        txn.put(b"next", b"", LeaseId::NONE);
        txn.finish();
        let state = store.state();
        assert_eq!(state.time_of(newest.next()), Some(stamp.time));
        assert_eq!(state.revision_at(stamp.time), Ok(newest.next()));
        assert_eq!(state.revision_at(oldest), Ok(newest));
    }
    assert_eq!(stores[0].state().digest(), stores[1].state().digest());
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = stream_of(&sample(), usize::MAX);
    bytes[5 + 8] = 9;
    reseal(&mut bytes);
    let expected = DecodeError::Version { found: 9, known: 2 };
    assert_eq!(load(&bytes).err(), Some(expected));
}

/// The drawn bytes in the documentation are those of this state.
#[test]
fn the_format_is_as_drawn() {
    let mut store = Store::new(Genesis {
        membership: Membership::of_voters(vec![MemberId(1)]),
        members: vec![],
    });
    let stamp = Stamp {
        time: HybridTime::new(1_700_000_000_000, 2),
        ..Stamp::default()
    };
    let mut txn = store.begin(ROOTS[0], &stamp);
    txn.lease_grant(LeaseId(7), 60);
    txn.put(b"key", b"value", LeaseId(7));
    txn.record_put(TABLE, b"k", "v".into());
    txn.finish();
    let mut writer = Writer::new(store.publish());
    let mut drawn = String::new();
    while let Some(chunk) = writer.next_chunk(usize::MAX) {
        for (at, line) in chunk.chunks(16).enumerate() {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            drawn += &format!("{:04x}  {}\n", at * 16, hex.join(" "));
        }
        drawn += "\n";
    }
    let document = include_str!("../../../docs/format/snapshot.md");
    assert!(document.contains(drawn.trim_end()), "draw this:\n{drawn}");
}
