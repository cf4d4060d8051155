//! Queues against a model that is a list: who holds, which tokens are old, and what goes with a lease.

use api::proto::{
    CompactRequest, EnterRequest, EnterResponse, Fence, LeaveRequest, Mode, ProclaimRequest, Queue,
    QueueKind,
};
use base::{Instant, LeaseId, Revision, Rng};
use native::{LINES_ROOT, LineDialect, LineUpkeep, QueueName, Refusal, Refused, Request, fence};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use store::{Dialect, Genesis, Outcome, Stamp, State, Store};

struct Cluster(Store);

impl Cluster {
    fn new() -> Cluster {
        Cluster(Store::new(Genesis::default()))
    }

    fn apply(&mut self, request: &Request) -> Outcome {
        let stamp = Stamp::default();
        let mut txn = self.0.begin(LINES_ROOT, &stamp);
        let outcome = LineDialect.apply(&mut txn, &request.encode(), &stamp);
        txn.finish();
        outcome
    }

    fn enter(&mut self, request: EnterRequest) -> Result<EnterResponse, Refusal> {
        let outcome = self.apply(&Request::Enter(request));
        match Refused::of_outcome(&outcome) {
            Some(refused) => Err(refused.refusal),
            None => Ok(EnterResponse::decode(outcome.body).expect("an answer")),
        }
    }

    fn ask(&mut self, request: Request) -> Result<(), Refusal> {
        Refusal::of_number(self.apply(&request).status).map_or(Ok(()), Err)
    }

    fn lease(&mut self, lease: i64, is_granted: bool) {
        let mut txn = self.0.begin(LINES_ROOT, &Stamp::default());
        match is_granted {
            true => txn.lease_grant(LeaseId(lease), 10),
            false => drop(txn.lease_revoke(LeaseId(lease))),
        }
        txn.finish();
    }

    fn state(&self) -> State {
        self.0.publish()
    }
}

fn queue(kind: QueueKind, name: &'static str) -> Queue {
    Queue {
        kind: kind.into(),
        name: name.into(),
    }
}

fn lock(name: &'static str, lease: i64) -> EnterRequest {
    EnterRequest {
        queue: Some(queue(QueueKind::Lock, name)),
        lease,
        ..EnterRequest::default()
    }
}

fn fenced(state: &State, queue: Queue, token: u64) -> Result<(), Refusal> {
    let queue = Some(queue);
    fence::check(state, &Fence { queue, token }).map_err(|refused| refused.refusal)
}

#[test]
fn a_late_holder_is_told_that_its_token_is_old() {
    let mut cluster = Cluster::new();
    let jobs = || queue(QueueKind::Lock, "jobs");
    cluster.lease(1, true);
    cluster.lease(2, true);
    let first = cluster.enter(lock("jobs", 1)).expect("a place");
    let second = cluster.enter(lock("jobs", 2)).expect("a place");
    assert!(first.is_held && !second.is_held);
    assert!(second.token > first.token);
    assert_eq!(fenced(&cluster.state(), jobs(), first.token), Ok(()));
    assert_eq!(
        fenced(&cluster.state(), jobs(), second.token),
        Err(Refusal::NotHeld)
    );
    // The first one sleeps for too long.
    cluster.lease(1, false);
    assert_eq!(
        fenced(&cluster.state(), jobs(), first.token),
        Err(Refusal::StaleToken)
    );
    assert_eq!(fenced(&cluster.state(), jobs(), second.token), Ok(()));
    assert!(
        cluster
            .state()
            .root(LINES_ROOT)
            .count(&store::KeyRange::all(), None)
            == Ok(2)
    );
}

#[test]
fn who_asks_again_has_the_place_that_it_has() {
    let mut cluster = Cluster::new();
    cluster.lease(1, true);
    let first = cluster.enter(lock("jobs", 1)).expect("a place");
    let revision = cluster.state().revision();
    let again = cluster.enter(lock("jobs", 1)).expect("a place");
    assert_eq!((again.token, again.is_held), (first.token, true));
    assert_eq!((first.claim, again.claim), (revision.0, revision.0 + 1));
    // The first try gives up late: the place is the second one's.
    let late = |claim| {
        Request::Leave(LeaveRequest {
            queue: Some(queue(QueueKind::Lock, "jobs")),
            token: first.token,
            claim,
        })
    };
    assert_eq!(cluster.ask(late(first.claim)), Err(Refusal::EnteredAgain));
    assert_eq!(
        fenced(
            &cluster.state(),
            queue(QueueKind::Lock, "jobs"),
            first.token
        ),
        Ok(())
    );
    let other = EnterRequest {
        owner: "another thread".into(),
        ..lock("jobs", 1)
    };
    assert!(!cluster.enter(other).expect("a place").is_held);
    // Given back, it is another place.
    let leave = LeaveRequest {
        queue: Some(queue(QueueKind::Lock, "jobs")),
        token: first.token,
        ..Default::default()
    };
    assert_eq!(cluster.ask(Request::Leave(leave.clone())), Ok(()));
    assert_eq!(cluster.ask(Request::Leave(leave)), Err(Refusal::StaleToken));
    assert!(cluster.enter(lock("jobs", 1)).expect("a place").token > first.token);
}

#[test]
fn a_leader_proclaims_while_it_leads() {
    let mut cluster = Cluster::new();
    let election = || queue(QueueKind::Election, "leader");
    let campaign = |lease, value: &'static str| EnterRequest {
        queue: Some(election()),
        lease,
        value: value.into(),
        ..EnterRequest::default()
    };
    cluster.lease(1, true);
    cluster.lease(2, true);
    let first = cluster.enter(campaign(1, "a")).expect("a place").token;
    let second = cluster.enter(campaign(2, "b")).expect("a place").token;
    let says = |token, value: &'static str| {
        Request::Proclaim(ProclaimRequest {
            name: "leader".into(),
            token,
            value: value.into(),
        })
    };
    let leader = |cluster: &Cluster| {
        let queue = QueueName::of(Some(&election())).expect("a name");
        let state = cluster.state();
        let head = queue.head(state.root(LINES_ROOT)).expect("somebody leads");
        (head.token.0, head.place.value)
    };
    assert_eq!(leader(&cluster), (first, "a".into()));
    assert_eq!(cluster.ask(says(first, "a2")), Ok(()));
    assert_eq!(cluster.ask(says(second, "b2")), Err(Refusal::NotHeld));
    assert_eq!(leader(&cluster), (first, "a2".into()), "the token stays");
    cluster.lease(1, false);
    assert_eq!(cluster.ask(says(first, "a3")), Err(Refusal::StaleToken));
    assert_eq!(leader(&cluster), (second, "b".into()));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new();
    cluster.lease(1, true);
    let semaphore = |permits| EnterRequest {
        queue: Some(queue(QueueKind::Semaphore, "s")),
        permits,
        owner: permits.to_string().into(),
        ..lock("", 1)
    };
    cluster.enter(semaphore(3)).expect("a place");
    let digest = cluster.state().digest();
    let long = EnterRequest {
        queue: Some(Queue {
            kind: QueueKind::Lock.into(),
            name: vec![b'x'; native::NAME_BYTES_MAX + 1].into(),
        }),
        ..lock("", 1)
    };
    let owner = EnterRequest {
        owner: vec![b'x'; native::NAME_BYTES_MAX + 1].into(),
        ..lock("jobs", 1)
    };
    let kindless = EnterRequest {
        queue: Some(queue(QueueKind::Unspecified, "jobs")),
        ..lock("jobs", 1)
    };
    let mode = EnterRequest {
        mode: 9,
        ..lock("jobs", 1)
    };
    for (request, refusal) in [
        (lock("", 1), Refusal::BadName),
        (long, Refusal::BadName),
        (owner, Refusal::BadName),
        (kindless, Refusal::Malformed),
        (mode, Refusal::Malformed),
        (
            EnterRequest {
                queue: None,
                ..lock("", 1)
            },
            Refusal::Malformed,
        ),
        (lock("jobs", 0), Refusal::NoLease),
        (lock("jobs", 7), Refusal::NoLease),
        (semaphore(0), Refusal::BadPermits),
        (semaphore(2), Refusal::BadPermits),
        (semaphore(native::PERMITS_MAX + 1), Refusal::BadPermits),
    ] {
        assert_eq!(cluster.enter(request.clone()), Err(refusal), "{request:?}");
    }
    let mut rng = Rng::new(1);
    for n in 0..5000 {
        let mut bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect();
        if n % 2 == 0 && !bytes.is_empty() {
            bytes[0] = 17 + (n % 3) as u8;
        }
        let stamp = Stamp::default();
        let mut txn = cluster.0.begin(LINES_ROOT, &stamp);
        let outcome = LineDialect.apply(&mut txn, &bytes, &stamp);
        txn.finish();
        assert!(!outcome.is_done(), "{bytes:?}");
    }
    assert_eq!(cluster.state().digest(), digest);
}

/// One place in the model's list.
#[derive(Clone, Debug)]
struct Waiting {
    token: u64,
    lease: i64,
    owner: &'static str,
    is_shared: bool,
    /// Let through by a barrier.
    is_through: bool,
}

/// Who holds, said as people would.
fn holders(kind: QueueKind, permits: u32, list: &[Waiting]) -> BTreeSet<u64> {
    let n = match kind {
        QueueKind::Barrier => list.iter().filter(|it| it.is_through).count(),
        QueueKind::Semaphore => permits as usize,
        QueueKind::Lock if list.first().is_some_and(|it| it.is_shared) => {
            list.iter().take_while(|it| it.is_shared).count()
        }
        _ => 1,
    };
    list.iter().take(n).map(|it| it.token).collect()
}

#[test]
fn queues_are_what_a_list_would_be() {
    const QUEUES: [(QueueKind, &str, u32); 6] = [
        (QueueKind::Lock, "a", 0),
        // A name that begins like another one.
        (QueueKind::Lock, "ab", 0),
        (QueueKind::Semaphore, "a", 2),
        (QueueKind::Election, "a", 0),
        (QueueKind::Lock, "b\0\u{1}", 0),
        (QueueKind::Barrier, "a", 3),
    ];
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut cluster = Cluster::new();
        let mut lists: BTreeMap<usize, Vec<Waiting>> = BTreeMap::new();
        let mut leases = BTreeSet::new();
        let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
        let mut tokens: Vec<(usize, u64)> = Vec::new();
        for step in 0..400 {
            let story = format!("seed {seed}, step {step}");
            let at = rng.below(QUEUES.len() as u64) as usize;
            let (kind, name, permits) = QUEUES[at];
            let lease = rng.between(1, 5) as i64;
            match rng.below(6) {
                0 => {
                    if leases.remove(&lease) {
                        cluster.lease(lease, false);
                        for list in lists.values_mut() {
                            list.retain(|it| it.lease != lease);
                        }
                    } else {
                        leases.insert(lease);
                        cluster.lease(lease, true);
                    }
                }
                1 => {
                    let Some((of, token)) = rng.pick(&tokens).copied() else {
                        continue;
                    };
                    let (kind, name, _) = QUEUES[of];
                    let leave = LeaveRequest {
                        queue: Some(queue(kind, name)),
                        token,
                        ..Default::default()
                    };
                    let list = lists.entry(of).or_default();
                    let was = list.iter().any(|it| it.token == token);
                    let expected = if was {
                        Ok(())
                    } else {
                        Err(Refusal::StaleToken)
                    };
                    assert_eq!(cluster.ask(Request::Leave(leave)), expected, "{story}");
                    list.retain(|it| it.token != token);
                }
                _ => {
                    let owner = *rng.pick(&["", "x", "y"]).unwrap_or(&"");
                    let is_shared = kind == QueueKind::Lock && rng.one_in(2);
                    let request = EnterRequest {
                        queue: Some(queue(kind, name)),
                        mode: if is_shared {
                            Mode::Shared
                        } else {
                            Mode::Exclusive
                        }
                        .into(),
                        permits,
                        lease,
                        owner: owner.into(),
                        value: "v".into(),
                    };
                    let answer = cluster.enter(request);
                    let list = lists.entry(at).or_default();
                    if !leases.contains(&lease) {
                        assert_eq!(answer, Err(Refusal::NoLease), "{story}");
                        continue;
                    }
                    let known = list
                        .iter()
                        .find(|it| it.lease == lease && it.owner == owner);
                    if known.is_some_and(|known| known.is_shared != is_shared) {
                        assert_eq!(answer, Err(Refusal::OtherPlace), "{story}");
                        continue;
                    }
                    let answer = answer.expect("a place");
                    match known {
                        Some(known) => assert_eq!(answer.token, known.token, "{story}"),
                        None => {
                            let last = newest.entry(at).or_default();
                            assert!(answer.token > *last, "{story}: a token rises");
                            *last = answer.token;
                            tokens.push((at, answer.token));
                            list.push(Waiting {
                                token: answer.token,
                                lease,
                                owner,
                                is_shared,
                                is_through: false,
                            });
                            let n_behind = list.iter().filter(|it| !it.is_through).count();
                            if kind == QueueKind::Barrier && n_behind >= permits as usize {
                                list.iter_mut().for_each(|it| it.is_through = true);
                            }
                        }
                    }
                    let holds = holders(kind, permits, list).contains(&answer.token);
                    assert_eq!(answer.is_held, holds, "{story}");
                }
            }
            let state = cluster.state();
            let root = state.root(LINES_ROOT);
            for (at, (kind, name, permits)) in QUEUES.into_iter().enumerate() {
                let list = lists.get(&at).map_or(&[][..], Vec::as_slice);
                let expected = holders(kind, permits, list);
                let name = QueueName::of(Some(&queue(kind, name))).expect("a name");
                let found: BTreeSet<u64> = name.holders(root).map(|it| it.token.0).collect();
                assert_eq!(found, expected, "{story}");
                assert_eq!(name.len(root), list.len() as u64, "{story}");
                let newest = Revision(expected.last().copied().unwrap_or(0));
                assert_eq!(name.newest_holder(root), newest, "{story}");
            }
            for (of, token) in &tokens {
                let (kind, name, permits) = QUEUES[*of];
                let list = lists.get(of).map_or(&[][..], Vec::as_slice);
                let expected = match list.iter().any(|it| it.token == *token) {
                    false => Err(Refusal::StaleToken),
                    true if holders(kind, permits, list).contains(token) => Ok(()),
                    true => Err(Refusal::NotHeld),
                };
                assert_eq!(
                    fenced(&state, queue(kind, name), *token),
                    expected,
                    "{story}"
                );
            }
            state.check();
        }
        assert!(tokens.len() > 20, "seed {seed} did little");
    }
}

#[test]
fn a_barrier_begins_anew_and_leaves_nothing_behind() {
    let mut cluster = Cluster::new();
    cluster.lease(1, true);
    cluster.lease(2, true);
    let barrier = || queue(QueueKind::Barrier, "b");
    let come = |lease, owner: &'static str| EnterRequest {
        queue: Some(barrier()),
        permits: 2,
        lease,
        owner: owner.into(),
        ..EnterRequest::default()
    };
    let mut round = |owners: [&'static str; 2]| {
        let first = cluster.enter(come(1, owners[0])).expect("a place");
        let second = cluster.enter(come(2, owners[1])).expect("a place");
        assert!(!first.is_held && second.is_held);
        let state = cluster.state();
        assert_eq!(fenced(&state, barrier(), first.token), Ok(()));
        [first.token, second.token]
    };
    let first = round(["a", "b"]);
    let second = round(["c", "d"]);
    // Somebody of the first round goes: the others hold as before.
    cluster.lease(1, false);
    let state = cluster.state();
    assert_eq!(fenced(&state, barrier(), first[1]), Ok(()));
    assert_eq!(
        fenced(&state, barrier(), first[0]),
        Err(Refusal::StaleToken)
    );
    for token in [first[1], second[1]] {
        let leave = LeaveRequest {
            queue: Some(barrier()),
            token,
            ..Default::default()
        };
        assert_eq!(cluster.ask(Request::Leave(leave)), Ok(()));
    }
    let all = store::KeyRange::all();
    assert_eq!(cluster.state().root(LINES_ROOT).count(&all, None), Ok(0));
}

// ---- history ------------------------------------------------------------------------------------

/// A cluster in which one place stands, and others came and went.
fn with_history() -> (Cluster, EnterResponse) {
    let mut cluster = Cluster::new();
    cluster.lease(1, true);
    cluster.lease(2, true);
    let stays = cluster.enter(lock("stays", 1)).expect("a place");
    for _ in 0..100 {
        let token = cluster.enter(lock("jobs", 2)).expect("a place").token;
        let leave = Request::Leave(LeaveRequest {
            queue: Some(queue(QueueKind::Lock, "jobs")),
            token,
            ..LeaveRequest::default()
        });
        cluster.ask(leave).expect("it stood");
    }
    (cluster, stays)
}

fn n_versions(cluster: &mut Cluster) -> u64 {
    while cluster.0.is_sweeping() {
        cluster.0.sweep(100);
    }
    cluster.state().root(LINES_ROOT).versions()
}

#[test]
fn how_lines_were_is_forgotten_from_version_4_on_and_what_stands_stays() {
    let (mut cluster, stays) = with_history();
    assert!(n_versions(&mut cluster) >= 400);
    let revision = cluster.state().revision().0;
    let forget = || Request::CompactLines(CompactRequest { revision });
    cluster.0.raise_apply_version(3);
    assert_eq!(cluster.ask(forget()), Err(Refusal::Malformed));
    assert!(n_versions(&mut cluster) >= 400);
    cluster.0.raise_apply_version(4);
    cluster.ask(forget()).expect("known");
    // The place and its owner's note, and what happened at that very revision: the two deletes of the last one that left.
    assert_eq!(n_versions(&mut cluster), 4);
    let jobs = queue(QueueKind::Lock, "stays");
    assert_eq!(fenced(&cluster.state(), jobs, stays.token), Ok(()));
    let next = cluster.enter(lock("jobs", 2)).expect("a place");
    assert!(next.is_held && next.token > revision, "tokens go on rising");
}

#[test]
fn a_leader_has_lines_forgotten_minute_by_minute_while_there_is_something_to_forget() {
    let (mut cluster, _) = with_history();
    cluster.0.raise_apply_version(4);
    let mut upkeep = LineUpkeep::default();
    let mut look = |cluster: &Cluster, seconds: u64| {
        let now = Instant(seconds * 1_000_000_000);
        upkeep.due(now, &cluster.state())
    };
    let then = cluster.state().revision();
    assert_eq!(look(&cluster, 0), None, "what is newer than a minute stays");
    cluster.enter(lock("jobs", 2)).expect("a place");
    assert_eq!(look(&cluster, 59), None);
    let request = look(&cluster, 60).expect("due");
    let request = Request::decode(&request).expect("a request");
    let revision = then.0;
    assert_eq!(request, Request::CompactLines(CompactRequest { revision }));
    cluster.ask(request).expect("it is known");
    assert!(
        look(&cluster, 120).is_some(),
        "the place that came meanwhile"
    );
    let request = Request::CompactLines(CompactRequest {
        revision: cluster.state().revision().0,
    });
    cluster.ask(request).expect("it is known");
    for minute in 3..6 {
        assert_eq!(look(&cluster, minute * 60), None, "nothing has changed");
    }
    let mut former = Cluster::new();
    former.lease(1, true);
    former.enter(lock("jobs", 1)).expect("a place");
    for minute in 6..9 {
        assert_eq!(look(&former, minute * 60), None, "not all know it");
    }
}
