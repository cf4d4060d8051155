//! `EtcdDialect::apply`: requests as they stand in the log, where no session has looked at them first.
//!
//! A follower's forwarded batch brings any bytes here, and every member must decide them alike.

use super::etcd_requests;
use super::{Target, Verdict};
use crate::parts::{self, part};
use crate::world::World;
use crate::{heap, mutate};
use base::{MemberId, Revision, Rng};
use etcd::{Alarm, AlarmKind, Kind, Method};

/// See the module.
pub const TARGET: Target = Target {
    name: "etcd_log",
    run,
    corpus,
    mutate,
    one_in: 2,
};

/// Two members that apply the same are equal, and sound; a refusal takes no revision.
pub fn run(input: &[u8]) -> Verdict {
    let mut worlds = [World::lived_in(), World::lived_in()];
    let mut all_accepted = !input.is_empty();
    for request in parts::unpack(input).into_iter().take(32) {
        let envelope = [&[request.tag][..], &request.bytes].concat();
        let bytes_max = 1024 * 1024 + envelope.len() * 16 * 1024;
        let [one, two] = &mut worlds;
        let first = heap::bounded(bytes_max, "an entry", || one.apply(&envelope));
        let second = two.apply(&envelope);
        // Each sweeps at its own pace, which nobody may notice.
        two.store.sweep(2);
        two.state = two.store.publish();
        assert_eq!(first, second, "members decide alike");
        all_accepted &= first.is_ok();
    }
    let [one, two] = worlds.map(|world| world.state);
    one.check();
    two.check();
    assert_eq!(one.digest(), two.digest(), "members are alike");
    let hash = |state: &store::State| state.root(etcd::ROOT).hash(Revision(0));
    assert_eq!(hash(&one), hash(&two), "their histories are alike");
    Verdict::of(all_accepted)
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if rng.one_in(16) {
        return mutate::bytes(input, other, rng);
    }
    let mut entries = parts::unpack(input);
    let other = parts::unpack(other);
    for _ in 0..rng.between(1, 4) {
        parts::edit(&mut entries, &other, 10, rng);
    }
    *input = parts::pack(&entries);
}

fn corpus() -> Vec<Vec<u8>> {
    let kind_of = |tag: u8| match Method::ALL[usize::from(tag)] {
        Method::Put => Some(Kind::Put),
        Method::DeleteRange => Some(Kind::DeleteRange),
        Method::Txn => Some(Kind::Txn),
        Method::Compact => Some(Kind::Compact),
        _ => None,
    };
    let mut entries: Vec<parts::Part> = etcd_requests::keys()
        .into_iter()
        .filter_map(|request| Some(part(kind_of(request.tag)? as u8, request.bytes)))
        .collect();
    // Time to live, id; and an id alone.
    entries.push(part(Kind::LeaseGrant as u8, [0x08, 10, 0x10, 9]));
    entries.push(part(Kind::LeaseRevoke as u8, [0x08, 7]));
    let alarm = etcd::alarm_request(Alarm {
        kind: AlarmKind::NoSpace,
        member: MemberId(1),
    });
    entries.push(part(alarm[0], &alarm[1..]));
    let mut corpus = vec![parts::pack(&entries)];
    corpus.extend(
        entries
            .iter()
            .map(|one| parts::pack(std::slice::from_ref(one))),
    );
    corpus
}
