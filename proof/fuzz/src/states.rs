//! States to write snapshots of, and what a member does with a state that it was given.

use crate::world::World;
use base::{Index, LogPosition, MemberId, Membership, Revision, Term};
use store::stream::{Reader, Writer};
use store::{DecodeError, KeyRange, Member, RootId, Stamp, State, Store, Table};

/// A state with a bit of everything, as of `position`, swept half-way.
pub(crate) fn sample(position: LogPosition) -> State {
    let mut store = World::lived_in().store;
    let stamp = stamp_after(store.state());
    let mut txn = store.begin(RootId(1), &stamp);
    txn.put(b"znode", b"data", base::LeaseId(7));
    txn.record_put(Table(40), b"key", "value".into());
    txn.member_put(&Member {
        id: MemberId(3),
        name: "n3".into(),
        peer_urls: vec!["http://10.0.0.3:2380".into()],
        is_learner: true,
        ..Member::default()
    });
    txn.finish();
    store.set_membership(Membership {
        voters: vec![MemberId(1), MemberId(2)],
        voters_outgoing: vec![MemberId(1)],
        learners: vec![MemberId(3)],
        ..Membership::default()
    });
    store.raise_apply_version(2);
    store.set_applied(position);
    store.publish()
}

/// What a leader gives to the batch after `state`.
fn stamp_after(state: &State) -> Stamp {
    Stamp {
        time: state.time().next(0),
        apply_version: 2,
        ..Stamp::default()
    }
}

/// A place in the log.
pub(crate) fn position(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

/// The snapshot stream of `state`.
pub(crate) fn stream_of(state: &State, chunk_bytes: usize) -> Vec<u8> {
    let mut writer = Writer::new(state.clone());
    let chunks = std::iter::from_fn(|| writer.next_chunk(chunk_bytes));
    chunks.collect::<Vec<_>>().concat()
}

/// The state in a snapshot stream.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn load(stream: &[u8]) -> Result<State, DecodeError> {
    let mut reader = Reader::new();
    reader.push(stream)?;
    reader.finish()
}

/// Reads everything that a state has.
pub(crate) fn read(state: &State) {
    let all = KeyRange::all();
    for root in state.roots() {
        let view = state.root(root);
        let rows = view.range(&all, None).map_or(0, Iterator::count);
        assert!(rows < 10_000, "{rows} keys in a small state");
        assert_eq!(
            view.count(&all, None).ok(),
            Some(rows as u64),
            "rows are counted"
        );
        let _ = view.hash(Revision(0));
        let past = Some(view.compacted());
        let _ = view.range(&all, past).map(Iterator::count);
        let _ = view.count(&all, past);
        let _ = view.events(view.compacted()).map(Iterator::count);
    }
    for lease in state.leases() {
        let _ = state.lease_keys(lease.id).count();
    }
    assert_eq!(state.revision_at(state.time()), Ok(state.revision()));
    let mut time = None;
    // The oldest revisions and the newest; a forged revision may be very high.
    let newest = state.revision().0;
    let late = newest.saturating_sub(100).max(100)..=newest;
    for revision in (0..newest.min(99) + 1).chain(late) {
        let of_it = state.time_of(Revision(revision));
        assert!(of_it >= time, "times ascend");
        time = of_it;
        let at = time.map(|time| state.revision_at(time));
        assert!(at.is_none_or(|at| at.is_ok_and(|at| at.0 >= revision)));
    }
    let _ = (state.members(), state.bytes_in_use(), state.membership());
}

/// Goes on from a state as a member does: puts, deletes, compacts, revokes, sweeps.
pub(crate) fn go_on(state: State) {
    let mut store = Store::from_state(state.clone());
    let stamp = stamp_after(&state);
    for root in state.roots() {
        let view = state.root(root);
        let keys = view.range(&KeyRange::all(), None);
        let first = keys
            .ok()
            .and_then(|mut keys| keys.next().map(|r| r.key().to_vec()));
        let mut txn = store.begin(root, &stamp);
        txn.put(
            first.as_deref().unwrap_or(b"a"),
            b"later",
            base::LeaseId::NONE,
        );
        txn.put(b"fresh", b"later", base::LeaseId::NONE);
        txn.finish();
        let mut txn = store.begin(root, &stamp);
        txn.delete(&KeyRange::all());
        txn.finish();
        let newest = store.state().revision();
        let mut txn = store.begin(root, &stamp);
        txn.compact(newest);
        txn.finish();
    }
    for lease in state.leases() {
        let mut txn = store.begin(RootId(0), &stamp);
        txn.lease_revoke(lease.id);
        txn.finish();
    }
    let mut n_sweeps = 0;
    while store.sweep(16) {
        n_sweeps += 1;
        assert!(n_sweeps < 10_000, "a sweep without an end");
    }
    read(&store.publish());
}
