//! What a member does of itself, over simulated time: compaction and alarms that go.

#![allow(clippy::unwrap_used)] // in a test, that is how it fails

extern crate quorate_etcd as etcd;

mod support;

use base::{Instant, MemberId, Revision};
use etcd::upkeep::{By, Compactor, Retention, Vigil};
use etcd::{Alarm, AlarmKind, Limits, alarm_request, alarms, compaction_request, disarm_request};
use std::time::Duration;
use store::RootId;
use support::World;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn at(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

/// One put a minute for `minutes`, and a look every six seconds: when (in minutes) what was compacted.
fn run(retention: Retention, minutes: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, u64)> {
    let mut world = World::new();
    let mut compactor = Compactor::new(etcd::ROOT, retention, at(0));
    let mut compacted = Vec::new();
    for minute in 1..=minutes {
        world.wall_ms = minute * MINUTE - 1;
        world.put("a", "b");
        for look in 0..10 {
            let ms = minute * MINUTE + look * 6000;
            compactor.note(at(ms), &world.state);
            if !leads(minute) {
                continue;
            }
            if let Some(due) = compactor.due(at(ms), ms, &world.state) {
                let request = compaction_request(due.revision);
                world.apply(&request).expect("compacts");
                compactor.done(due.revision, at(ms));
                assert_eq!(world.state.root(etcd::ROOT).compacted(), due.revision);
                compacted.push((minute, due.revision.0));
            }
        }
    }
    compacted
}

// The put of minute m has revision m + 1.
#[test]
fn a_short_period_is_looked_after_once_in_a_period() {
    let kept = Retention::Period(Duration::from_secs(10 * 60));
    let compacted = run(kept, 45, |_| true);
    // At minute 10 nothing is ten minutes old but the beginning.
    assert_eq!(compacted, [(10, 1), (20, 11), (30, 21), (40, 31)]);
}

#[test]
fn a_long_period_is_looked_after_hourly() {
    let kept = Retention::Period(Duration::from_millis(2 * HOUR));
    let compacted = run(kept, 330, |_| true);
    assert_eq!(compacted, [(120, 1), (180, 61), (240, 121), (300, 181)]);
}

#[test]
fn a_number_of_revisions_is_kept_and_looked_after_every_five_minutes() {
    let compacted = run(Retention::Revisions(8), 23, |_| true);
    assert_eq!(compacted, [(8, 1), (13, 6), (18, 11), (23, 16)]);
    assert_eq!(run(Retention::Revisions(1000), 60, |_| true), []);
}

#[test]
fn whoever_does_not_lead_pauses_and_knows_at_once_when_it_leads() {
    let kept = Retention::Period(Duration::from_secs(10 * 60));
    let compacted = run(kept, 45, |minute| minute >= 38);
    assert_eq!(compacted, [(38, 29)]);
}

#[test]
fn nothing_is_compacted_twice_and_a_failure_is_tried_again_after_a_tenth() {
    let mut world = World::new();
    world.wall_ms = 0;
    world.put("a", "1");
    let kept = Retention::Period(Duration::from_secs(60));
    let mut compactor = Compactor::new(etcd::ROOT, kept, at(0));
    let looks: Vec<u64> = (0..200)
        .filter(|second| {
            let ms = second * 1000;
            compactor.note(at(ms), &world.state);
            compactor.due(at(ms), ms, &world.state).is_some()
        })
        .collect();
    // Nobody told it that one had come about.
    assert_eq!(looks[..3], [60, 66, 72]);
    compactor.done(Revision(2), at(200_000));
    for second in 200..400 {
        let ms = second * 1000;
        assert_eq!(compactor.due(at(ms), ms, &world.state), None, "{second}");
    }
}

/// A put every `every_ms` for `minutes`, with a clock that is ahead by `ahead_ms`; what is compacted, and by what.
fn busy(every_ms: u64, minutes: u64, ahead_ms: u64) -> Vec<(u64, u64, By)> {
    let mut world = World::new();
    world.wall_ms = HOUR;
    let kept = Retention::Period(Duration::from_secs(10 * 60));
    let mut compactor = Compactor::new(etcd::ROOT, kept, at(0));
    let mut compacted = Vec::new();
    for ms in (0..minutes * MINUTE).step_by(every_ms as usize) {
        world.wall_ms = HOUR + ms;
        world.put("a", "b");
        compactor.note(at(ms), &world.state);
        if let Some(due) = compactor.due(at(ms), HOUR + ms + ahead_ms, &world.state) {
            world
                .apply(&compaction_request(due.revision))
                .expect("compacts");
            compactor.done(due.revision, at(ms));
            compacted.push((ms / MINUTE, due.revision.0, due.by));
        }
    }
    compacted
}

#[test]
fn a_clock_that_is_ahead_compacts_no_history_that_is_to_be_kept() {
    // A put each second: what is compacted at minute 20 was there at minute 10.
    let right = busy(1000, 31, 0);
    let by = By::State;
    assert_eq!(right, [(10, 1, by), (20, 601, by), (30, 1201, by)]);
    let ahead = busy(1000, 31, 2 * HOUR);
    let by = By::Samples;
    assert_eq!(ahead, [(10, 2, by), (20, 602, by), (30, 1202, by)]);
}

#[test]
fn where_times_are_forgotten_what_was_seen_decides() {
    let mut world = World::new();
    world.wall_ms = HOUR;
    world.put("a", "1");
    let kept = Retention::Period(Duration::from_secs(10 * 60));
    // Of another root than the one whose compaction lets go of the times: in a busy cluster it is that they are too many.
    let mut compactor = Compactor::new(RootId(1), kept, at(0));
    compactor.note(at(0), &world.state);
    world.wall_ms += 10 * MINUTE;
    world.put("a", "2");
    world.put("a", "3");
    let request = compaction_request(world.state.revision());
    world.apply(&request).expect("compacts");
    let look = |compactor: &mut Compactor, ms: u64| {
        compactor.note(at(ms), &world.state);
        compactor.due(at(ms), HOUR + ms, &world.state)
    };
    let due = look(&mut compactor, 10 * MINUTE).expect("one sample is old enough");
    assert_eq!((due.revision, due.by), (Revision(2), By::Samples));
    compactor.done(due.revision, at(10 * MINUTE));
    // Nothing was written since.
    let due = look(&mut compactor, 21 * MINUTE).expect("the next one");
    assert_eq!((due.revision, due.by), (Revision(4), By::State));
}

// ---- alarms -------------------------------------------------------------------------------------

fn full(member: u64) -> Alarm {
    Alarm {
        kind: AlarmKind::NoSpace,
        member: MemberId(member),
    }
}

#[test]
fn an_alarm_goes_when_a_tenth_of_the_quota_is_free_and_not_before() {
    let limits = Limits {
        quota_bytes: 100_000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let mut vigil = Vigil::default();
    let mut n = 0;
    while world.state.bytes_in_use() < 95_000 {
        n += 1;
        world.put(&format!("k{n}"), &"v".repeat(1000));
    }
    world.apply(&alarm_request(full(1))).expect("raised");
    world.apply(&alarm_request(full(2))).expect("raised");
    let look = |vigil: &mut Vigil, world: &World| vigil.look(&world.state, &limits, |it| it.0 == 1);
    assert_eq!(look(&mut vigil, &world), []);
    // Keys that are overwritten free nothing until they are compacted away.
    let mut disarmed = Vec::new();
    let mut freed = 0;
    while disarmed.is_empty() {
        freed += 1;
        assert!(freed < n, "nothing was taken back");
        world.delete(&format!("k{freed}"));
        let request = compaction_request(world.state.revision());
        world.apply(&request).expect("compacts");
        world.sweep();
        let is_room = world.state.bytes_in_use() < 90_000;
        disarmed = look(&mut vigil, &world);
        assert_eq!(!disarmed.is_empty(), is_room, "{freed}");
    }
    assert_eq!(disarmed, [full(1)], "the other member answers for its own");
    world.apply(&disarm_request(full(1))).expect("taken back");
    assert_eq!(alarms(&world.state).collect::<Vec<_>>(), [full(2)]);
    assert_eq!(look(&mut vigil, &world), []);
}

#[test]
fn an_alarm_that_was_raised_by_hand_stays() {
    let limits = Limits {
        quota_bytes: 100_000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let mut vigil = Vigil::default();
    world.apply(&alarm_request(full(1))).expect("raised");
    assert_eq!(vigil.look(&world.state, &limits, |_| true), []);
    // Nor does it go where there is no quota at all.
    let boundless = Limits {
        quota_bytes: 0,
        ..limits
    };
    assert_eq!(vigil.look(&world.state, &boundless, |_| true), []);
}

#[test]
fn room_that_is_made_before_anybody_looks_counts_too() {
    let limits = Limits {
        quota_bytes: 100_000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let mut vigil = Vigil::default();
    vigil.raises(MemberId(1));
    // The proposal takes its time, longer than its answer is waited for.
    for _ in 0..3 {
        assert_eq!(vigil.look(&world.state, &limits, |_| true), []);
    }
    world.apply(&alarm_request(full(1))).expect("raised");
    assert_eq!(vigil.look(&world.state, &limits, |_| true), [full(1)]);
    world.apply(&disarm_request(full(1))).expect("taken back");
    assert_eq!(vigil.look(&world.state, &limits, |_| true), []);
    // The next one is somebody else's.
    world.apply(&alarm_request(full(1))).expect("raised");
    assert_eq!(vigil.look(&world.state, &limits, |_| true), []);
}

#[test]
fn a_member_that_starts_again_takes_its_own_alarm_back() {
    let mut world = World::new();
    world.apply(&alarm_request(full(1))).expect("raised");
    world.apply(&alarm_request(full(2))).expect("raised");
    for quota_bytes in [100_000, 0] {
        let limits = Limits {
            quota_bytes,
            ..Limits::default()
        };
        let mut vigil = Vigil::at_start(MemberId(1));
        let over = vigil.look(&world.state, &limits, |_| true);
        assert_eq!(over, [full(1)], "the other one knows its own");
    }
    let mut vigil = Vigil::at_start(MemberId(3));
    let limits = Limits::default();
    assert_eq!(vigil.look(&world.state, &limits, |_| true), []);
    world.apply(&alarm_request(full(3))).expect("raised");
    assert_eq!(vigil.look(&world.state, &limits, |_| true), [], "by hand");
}
