//! The judges of lines and of levels: what is right passes, and each doctored fact is rejected.

use crate::fresh::{self, Demand, Look};
use crate::history::Time;
use crate::line::{Change, Clocks, Fact, Kind, Line, Lines, Place};
use base::{LeaseId, MemberId, Revision};

const CLOCKS: Clocks = Clocks {
    error_permille: 0,
    keep_bound: true,
};

fn line(kind: Kind) -> Line {
    Line {
        kind,
        name: b"jobs".to_vec(),
    }
}

fn taken(token: u64, shares: bool, permits: u64) -> Change {
    Change::Taken(Place {
        token: Revision(token),
        shares,
        permits,
        lease: LeaseId(token as i64),
    })
}

/// Each change at its revision, which is known at as many milliseconds.
fn lines(kind: Kind, changes: &[(u64, Change)]) -> Lines {
    let mut lines = Lines::default();
    for (at, change) in changes {
        let (time, changes) = (ms(*at), vec![(line(kind), change.clone())]);
        let told = lines.observe(MemberId(1), time, Revision(*at), changes);
        assert_eq!(told, Ok(()));
    }
    lines
}

fn ms(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

/// 7 holds until its lease ends at 12, then 9 does.
fn a_lock() -> Lines {
    let changes = [
        (7, taken(7, false, 0)),
        (9, taken(9, false, 0)),
        (12, Change::Gone(Revision(7))),
    ];
    lines(Kind::Lock, &changes)
}

fn told(kind: Kind, token: u64, revision: u64, is_held: bool) -> Fact {
    Fact::Told {
        line: line(kind),
        token: Revision(token),
        revision: Revision(revision),
        is_held,
    }
}

fn wrote(token: u64, revision: u64) -> Fact {
    Fact::Wrote {
        line: line(Kind::Lock),
        token: Revision(token),
        revision: Revision(revision),
    }
}

fn believed(token: u64, until: u64) -> Fact {
    Fact::Believed {
        line: line(Kind::Lock),
        token: Revision(token),
        from: ms(7),
        until: ms(until),
    }
}

fn not_let(token: u64, call: u64, returned: u64) -> Fact {
    Fact::NotLet {
        line: line(Kind::Lock),
        token: Revision(token),
        call: ms(call),
        returned: ms(returned),
    }
}

fn outside(token: u64, at: u64) -> Fact {
    Fact::WorkedOutside {
        line: line(Kind::Lock),
        token: Revision(token),
        at: ms(at),
    }
}

fn observed(tokens: &[u64], revision: u64) -> Fact {
    Fact::Observed {
        stream: 1,
        line: line(Kind::Lock),
        tokens: tokens.iter().copied().map(Revision).collect(),
        revision: Revision(revision),
    }
}

fn lives(lease: i64, call: u64, returned: u64, revision: u64, ttl_ms: u64) -> Fact {
    Fact::Lives {
        lease: LeaseId(lease),
        call: ms(call),
        returned: ms(returned),
        revision: Revision(revision),
        ttl: ttl_ms * 1_000_000,
    }
}

fn claims(lines: &Lines, facts: &[Fact]) -> Vec<&'static str> {
    let found = lines.check(facts, CLOCKS, &[LeaseId(9)]);
    found.iter().map(|violation| violation.claim).collect()
}

#[test]
fn a_good_story_passes_and_each_doctored_fact_is_rejected() {
    let good = [
        told(Kind::Lock, 7, 7, true),
        told(Kind::Lock, 9, 9, false),
        told(Kind::Lock, 9, 12, true),
        wrote(7, 8),
        wrote(9, 13),
        not_let(7, 11, 14),
        not_let(9, 10, 14),
        believed(7, 12),
        outside(7, 8),
        outside(9, 13),
        observed(&[7], 8),
        observed(&[9], 12),
        lives(7, 2, 4, 6, 10),
        lives(9, 8, 9, 8, 10),
        Fact::CalledGone {
            lease: LeaseId(7),
            call: ms(13),
            returned: ms(14),
        },
    ];
    assert_eq!(claims(&a_lock(), &good), Vec::<&str>::new());
    let gone_9 = Fact::CalledGone {
        lease: LeaseId(9),
        call: ms(13),
        returned: ms(14),
    };
    let revoked = Fact::Revoked {
        lease: LeaseId(9),
        call: ms(10),
        revision: Some(Revision(13)),
    };
    let doctored = [
        (told(Kind::Lock, 9, 9, true), "who_is_told_to_hold_holds"),
        (told(Kind::Lock, 9, 12, false), "who_is_told_to_hold_holds"),
        (wrote(7, 12), "only_a_holder_s_write_has_an_effect"),
        (wrote(9, 11), "only_a_holder_s_write_has_an_effect"),
        (not_let(7, 8, 11), "a_holder_s_write_is_let_through"),
        (not_let(9, 13, 14), "a_holder_s_write_is_let_through"),
        (believed(7, 13), "a_holder_that_stops_in_time_holds"),
        (outside(7, 14), "a_gate_lets_no_older_token_through"),
        (observed(&[9], 9), "an_observer_is_told_who_holds"),
        (observed(&[7], 9), "an_observer_never_goes_back"),
        (lives(7, 3, 4, 6, 10), "a_lease_never_ends_early"),
        (lives(7, 13, 14, 11, 10), "a_lease_called_alive_lives"),
        (lives(7, 11, 14, 12, 10), "a_lease_called_alive_lives"),
        (gone_9, "a_lease_called_gone_is_gone"),
        (revoked, "no_place_outlives_its_lease"),
    ];
    for (fact, claim) in doctored {
        let mut facts = good.to_vec();
        facts.push(fact.clone());
        let found = claims(&a_lock(), &facts);
        assert_eq!(found, [claim], "{fact:?}");
    }
}

#[test]
fn tokens_are_their_own_revisions_and_members_agree() {
    let reused = lines(Kind::Lock, &[(9, taken(8, false, 0))]);
    let found = reused.check(&[], CLOCKS, &[LeaseId(8)]);
    assert_eq!(found[0].claim, "tokens_only_rise");
    let mut lock = a_lock();
    let other = vec![(line(Kind::Lock), taken(9, true, 0))];
    let told = lock.observe(MemberId(2), ms(20), Revision(9), other);
    assert_eq!(told.unwrap_err().claim, "members_tell_the_same_history");
    let left = claims(&lines(Kind::Lock, &[(7, taken(7, false, 0))]), &[]);
    assert_eq!(left, ["no_place_outlives_its_lease"]);
}

/// Who holds after each of four places, all of which are on a living lease.
fn held(kind: Kind, places: &[(bool, u64)]) -> Vec<Vec<u64>> {
    let changes: Vec<(u64, Change)> = places
        .iter()
        .zip(1..)
        .map(|((shares, permits), at)| (at, taken(at, *shares, *permits)))
        .collect();
    let (lines, living) = (
        lines(kind, &changes),
        (1..9).map(LeaseId).collect::<Vec<_>>(),
    );
    let holds = |token: &u64, revision| {
        let fact = told(kind, *token, revision, true);
        lines.check(&[fact], CLOCKS, &living).is_empty()
    };
    let revisions = 1..=places.len() as u64;
    let after = |revision| {
        (1..=revision)
            .filter(|token| holds(token, revision))
            .collect()
    };
    revisions.map(after).collect()
}

#[test]
fn each_kind_of_line_has_its_holders() {
    let (alone, shares) = ((false, 0), (true, 0));
    let lock = held(Kind::Lock, &[shares, shares, alone, shares]);
    assert_eq!(lock, [vec![1], vec![1, 2], vec![1, 2], vec![1, 2]]);
    let two = [(false, 2); 4];
    let semaphore = held(Kind::Semaphore, &two);
    assert_eq!(semaphore, [vec![1], vec![1, 2], vec![1, 2], vec![1, 2]]);
    assert_eq!(held(Kind::Election, &[alone, alone]), [vec![1], vec![1]]);
    let barrier = held(Kind::Barrier, &two);
    assert_eq!(barrier, [vec![], vec![1, 2], vec![1, 2], vec![1, 2, 3, 4]]);
}

fn look(demand: Demand, call: u64, revision: u64) -> Look {
    Look {
        number: call,
        demand,
        member: (1, call as u32),
        call: ms(call),
        returned: ms(call + 1),
        revision: Revision(revision),
        age: None,
    }
}

#[test]
fn levels_forbid_what_they_say_and_permit_the_rest() {
    // 5 was acknowledged at 10 ms, 6 at 20, 7 at 30.
    let acknowledged = [
        (ms(10), Revision(5)),
        (ms(20), Revision(6)),
        (ms(30), Revision(7)),
    ];
    let bounded = Demand::Bounded(15_000_000);
    let aged = |age_ms: u64| Look {
        age: Some(age_ms * 1_000_000),
        ..look(Demand::Sequential, 40, 6)
    };
    let same_life = |call, revision| Look {
        member: (1, 1),
        ..look(Demand::Sequential, call, revision)
    };
    let cases: [(Vec<Look>, Option<&str>); 10] = [
        (vec![look(bounded, 36, 6)], None),
        (
            vec![look(bounded, 36, 5)],
            Some("a_bounded_read_keeps_its_bound"),
        ),
        (vec![look(Demand::Session(Revision(5)), 40, 5)], None),
        (
            vec![look(Demand::Session(Revision(6)), 40, 5)],
            Some("a_session_reads_what_it_has_seen"),
        ),
        (vec![look(Demand::Sequential, 40, 1)], None),
        (vec![aged(9)], None),
        (vec![aged(8)], Some("a_state_is_no_older_than_it_says")),
        (vec![same_life(1, 5), same_life(3, 5)], None),
        (
            vec![same_life(1, 5), same_life(3, 4)],
            Some("a_member_never_goes_back"),
        ),
        (
            vec![
                look(Demand::Sequential, 1, 5),
                look(Demand::Sequential, 3, 4),
            ],
            None,
        ),
    ];
    for (looks, expected) in cases {
        let (_, found) = fresh::check(&looks, &acknowledged, 0);
        let claim = found.first().map(|violation| violation.claim);
        assert_eq!(claim, expected, "{looks:?}");
    }
    // A clock that is slow by a fifth shows 15 ms for 18 true ones.
    let (_, found) = fresh::check(&[look(bounded, 36, 5)], &acknowledged, 200);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_is_permitted_is_counted() {
    let acknowledged = [(ms(10), Revision(5))];
    let demands = [
        Demand::Linearizable,
        Demand::Lease,
        Demand::Bounded(15_000_000),
        Demand::Session(Revision(4)),
        Demand::Sequential,
    ];
    let looks: Vec<Look> = demands.into_iter().map(|it| look(it, 12, 4)).collect();
    let (seen, found) = fresh::check(&looks, &acknowledged, 0);
    assert!(found.is_empty(), "{found:?}");
    let stale = [
        seen.sequential_stale,
        seen.bounded_stale,
        seen.session_stale,
        seen.lease_stale,
        seen.lease_reads,
    ];
    assert_eq!(stale, [1; 5]);
    let fresh_looks: Vec<Look> = demands.into_iter().map(|it| look(it, 12, 5)).collect();
    let (seen, _) = fresh::check(&fresh_looks, &acknowledged, 0);
    assert_eq!((seen.sequential_stale, seen.lease_stale), (0, 0));
}
