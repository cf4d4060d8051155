//! The waiting desk: exactly those are woken whose waiting is over.

mod support;

use api::proto::{EnterRequest, LeaveRequest, Mode, Queue, QueueKind};
use base::{Revision, Rng};
use native::{
    DeskFull, Entered, LINES, LINES_ROOT, ObserverId, QueueName, Reply, Request, Wait, WaitId,
    Woken,
};
use std::collections::BTreeMap;
use store::State;
use support::{Member, PARTS};

fn queue(kind: QueueKind, name: &str) -> Queue {
    Queue {
        kind: kind.into(),
        name: name.to_owned().into(),
    }
}

fn enter(kind: QueueKind, name: &str, lease: i64, owner: u64, mode: Mode) -> EnterRequest {
    EnterRequest {
        queue: Some(queue(kind, name)),
        mode: mode.into(),
        permits: match kind {
            QueueKind::Semaphore | QueueKind::Barrier => 3,
            _ => 0,
        },
        lease,
        owner: owner.to_string().into(),
        value: "v".into(),
    }
}

fn take(member: &mut Member, request: EnterRequest) -> Entered {
    let outcome = member.apply(LINES, &Request::Enter(request).encode());
    native::entered(&outcome).expect("a place")
}

fn leave(member: &mut Member, name: &QueueName, token: Revision) -> bool {
    let request = LeaveRequest {
        queue: Some(name.queue()),
        token: token.0,
        ..Default::default()
    };
    member
        .apply(LINES, &Request::Leave(request).encode())
        .is_done()
}

fn wait(member: &mut Member, name: &QueueName, token: Revision) -> Wait {
    let state = member.state();
    member
        .desk
        .wait(name, token, &state)
        .expect("there is room")
}

#[test]
fn one_end_in_a_line_of_a_thousand_is_one_notice() {
    for kind in [QueueKind::Lock, QueueKind::Election, QueueKind::Semaphore] {
        let mut member = Member::new();
        let name = QueueName::of(Some(&queue(kind, "jobs"))).expect("a name");
        let mut line = Vec::new();
        for n in 1..=1000 {
            member.grant(n);
            let token = take(&mut member, enter(kind, "jobs", n, 0, Mode::Exclusive)).token;
            let id = match wait(&mut member, &name, token) {
                Wait::Waits(id) => Some(id),
                Wait::Over(woken) => {
                    assert_eq!(woken, Woken::Held);
                    None
                }
            };
            line.push((n, token, id));
        }
        assert!(member.woken.is_empty());
        let n_held = line.iter().filter(|it| it.2.is_none()).count();
        // The head ends, by its own word or by its lease's: its successor hears of it, and nobody else.
        for at in 0..line.len() - n_held {
            match at % 2 {
                0 => assert!(leave(&mut member, &name, line[at].1)),
                _ => member.expire(line[at].0),
            }
            let next = line[at + n_held].2.expect("it waits");
            assert_eq!(std::mem::take(&mut member.woken), [(next, Woken::Held)]);
        }
        assert_eq!(member.desk.n_waits(), 0);
    }
}

#[test]
fn a_failure_in_the_middle_tells_only_whoever_failed() {
    let mut member = Member::new();
    let name = QueueName::of(Some(&queue(QueueKind::Lock, "jobs"))).expect("a name");
    let mut ids = Vec::new();
    for n in 1..=100 {
        member.grant(n);
        let request = enter(QueueKind::Lock, "jobs", n, 0, Mode::Exclusive);
        let token = take(&mut member, request).token;
        ids.push(wait(&mut member, &name, token));
    }
    member.expire(50);
    let Wait::Waits(id) = ids[49] else {
        panic!("it waits");
    };
    assert_eq!(std::mem::take(&mut member.woken), [(id, Woken::Gone)]);
}

#[test]
fn the_end_of_a_writer_wakes_all_readers_behind_it() {
    let mut member = Member::new();
    member.grant(1);
    member.grant(2);
    let name = QueueName::of(Some(&queue(QueueKind::Lock, "rw"))).expect("a name");
    let enter = |lease, owner, mode| enter(QueueKind::Lock, "rw", lease, owner, mode);
    let writer = take(&mut member, enter(1, 0, Mode::Exclusive)).token;
    let mut readers = Vec::new();
    for n in 0..500 {
        let token = take(&mut member, enter(2, n, Mode::Shared)).token;
        match wait(&mut member, &name, token) {
            Wait::Waits(id) => readers.push((id, Woken::Held)),
            over => panic!("{over:?}"),
        }
    }
    let last = take(&mut member, enter(1, 1, Mode::Exclusive)).token;
    let Wait::Waits(last) = wait(&mut member, &name, last) else {
        panic!("it waits");
    };
    assert!(leave(&mut member, &name, writer));
    assert_eq!(std::mem::take(&mut member.woken), readers);
    member.expire(2);
    assert_eq!(member.woken, [(last, Woken::Held)]);
}

#[test]
fn a_full_desk_refuses_and_takes_again() {
    let mut member = Member::new();
    member.desk = native::Desk::new(1);
    member.grant(1);
    let name = QueueName::of(Some(&queue(QueueKind::Lock, "l"))).expect("a name");
    let tokens: Vec<Revision> = (0..3)
        .map(|n| {
            take(
                &mut member,
                enter(QueueKind::Lock, "l", 1, n, Mode::Exclusive),
            )
            .token
        })
        .collect();
    let state = member.state();
    let Wait::Waits(id) = wait(&mut member, &name, tokens[1]) else {
        panic!("it waits");
    };
    assert_eq!(member.desk.wait(&name, tokens[2], &state), Err(DeskFull));
    // What holds needs no room.
    assert_eq!(wait(&mut member, &name, tokens[0]), Wait::Over(Woken::Held));
    member.desk.cancel(id);
    member.desk.cancel(id);
    assert!(matches!(
        wait(&mut member, &name, tokens[2]),
        Wait::Waits(_)
    ));
    let observer = member.desk.observe(&name).expect("there is room");
    assert_eq!(member.desk.observe(&name), Err(DeskFull));
    member.desk.close(observer);
    assert!(member.desk.observe(&name).is_ok());
}

/// How a wait ends, by looking at every place of the line.
fn ends(name: &QueueName, token: Revision, state: &State) -> Option<Woken> {
    let root = state.root(LINES_ROOT);
    let places: Vec<_> = name.places(root).collect();
    if !places.iter().any(|place| place.token == token) {
        return Some(Woken::Gone);
    }
    let mut holders = name.holders(root);
    holders
        .any(|place| place.token == token)
        .then_some(Woken::Held)
}

#[test]
fn the_desk_tells_what_looking_at_everything_would_tell() {
    const LINES_OF: [(QueueKind, &str); 5] = [
        (QueueKind::Lock, "a"),
        (QueueKind::Lock, "ab"),
        (QueueKind::Semaphore, "a"),
        (QueueKind::Election, "a"),
        (QueueKind::Barrier, "a"),
    ];
    let names: Vec<QueueName> = LINES_OF
        .iter()
        .map(|(kind, name)| QueueName::of(Some(&queue(*kind, name))).expect("a name"))
        .collect();
    let mut n_woken = 0;
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let mut member = Member::new();
        let mut waiting: BTreeMap<WaitId, (usize, Revision)> = BTreeMap::new();
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); names.len()];
        let observers: Vec<ObserverId> = names
            .iter()
            .map(|name| member.desk.observe(name).expect("there is room"))
            .collect();
        let mut tokens: Vec<(usize, Revision)> = Vec::new();
        let mut saved: Option<State> = None;
        for step in 0..300 {
            let story = format!("seed {seed}, step {step}");
            let at = rng.below(names.len() as u64) as usize;
            let lease = rng.between(1, 6) as i64;
            let has_lease = member.store.state().lease(base::LeaseId(lease)).is_some();
            match rng.below(12) {
                0 if has_lease => member.expire(lease),
                1 | 2 => {
                    if let Some((of, token)) = rng.pick(&tokens).copied() {
                        leave(&mut member, &names[of], token);
                    }
                }
                3 | 4 => {
                    if let Some((of, token)) = rng.pick(&tokens).copied() {
                        let expected = ends(&names[of], token, &member.state());
                        match wait(&mut member, &names[of], token) {
                            Wait::Over(woken) => assert_eq!(Some(woken), expected, "{story}"),
                            Wait::Waits(id) => {
                                assert_eq!(expected, None, "{story}");
                                waiting.insert(id, (of, token));
                            }
                        }
                    }
                }
                5 => {
                    if let Some(id) = waiting.keys().next().copied() {
                        member.desk.cancel(id);
                        waiting.remove(&id);
                    }
                }
                6 if rng.one_in(8) => saved = Some(member.state()),
                7 if rng.one_in(4) => {
                    if let Some(state) = saved.take() {
                        // A snapshot, of another time.
                        member.store = store::Store::from_state(state);
                        let state = member.state();
                        let woken = member.desk.restored(&state);
                        member.woken.extend(woken);
                    }
                }
                _ if !has_lease => member.grant(lease),
                _ => {
                    let (kind, name) = LINES_OF[at];
                    let owner = rng.below(3);
                    // Each owner wants one kind of place: another kind is refused while it has one.
                    let mode = match owner == 0 && kind == QueueKind::Lock {
                        true => Mode::Shared,
                        false => Mode::Exclusive,
                    };
                    let token = take(&mut member, enter(kind, name, lease, owner, mode)).token;
                    tokens.push((at, token));
                    if rng.one_in(2)
                        && let Wait::Waits(id) = wait(&mut member, &names[at], token)
                    {
                        waiting.insert(id, (at, token));
                    }
                }
            }
            let state = member.state();
            let mut expected: Vec<(WaitId, Woken)> = Vec::new();
            for (id, (of, token)) in &waiting {
                expected.extend(ends(&names[*of], *token, &state).map(|woken| (*id, woken)));
            }
            let mut woken = std::mem::take(&mut member.woken);
            woken.sort_by_key(|it| it.0);
            assert_eq!(woken, expected, "{story}");
            for (id, _) in woken {
                waiting.remove(&id);
                n_woken += 1;
            }
            member.desk.check(&state);
            // Observers are looked at now and then, and know what is last.
            if rng.one_in(3) {
                for id in member.desk.ready() {
                    let of = observers.iter().position(|it| *it == id).expect("ours");
                    if let Some(Reply::Observe(told)) = member.desk.look(id, &state, &PARTS) {
                        let now: Vec<u64> = told.holders.iter().map(|it| it.token).collect();
                        assert!(seen[of] != now || now.is_empty(), "{story}: told twice");
                        seen[of] = now;
                    }
                }
                for (of, name) in names.iter().enumerate() {
                    let holders = name.holders(state.root(LINES_ROOT));
                    let now: Vec<u64> = holders.map(|it| it.token.0).collect();
                    assert_eq!(seen[of], now, "{story}");
                }
            }
        }
    }
    assert!(n_woken > 500, "only {n_woken} were woken");
}
