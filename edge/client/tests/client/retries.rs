//! Lost answers, cut connections and silent members: each write takes effect once, and an error says whether it did.

use crate::fake::{Fake, Fault, nobody};
use api::Method;
use api::proto::{PutRequest, PutResponse};
use base::Rng;
use quorate::{Client, Code, Error};
use std::time::{Duration, Instant};

/// How often the value `text` was written.
fn n_puts(fake: &Fake, text: &str) -> usize {
    let model = fake.model();
    model.puts.iter().filter(|value| value == &text).count()
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_asked_again_and_applied_once() {
    let faults = [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::CutAfter,
        Fault::CutBefore,
        Fault::StallAfter,
        Fault::Stall,
        Fault::Late(Duration::ZERO),
    ];
    for fault in faults {
        let fake = Fake::start(2).await;
        let q = fake.client().await;
        fake.once(Method::Put, fault);
        let written = q.put("/a", "1").await.expect("asked again");
        assert_eq!(n_puts(&fake, "1"), 1, "{fault:?}");
        assert_eq!(fake.n_asked(Method::Put), 2, "{fault:?}");
        // A late echo changes nothing.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(
            fake.model().kvs["/a".as_bytes()].mod_revision,
            written.revision()
        );
        assert_eq!(n_puts(&fake, "1"), 1, "{fault:?}");
    }
}

/// Many writers, faults of every kind at random: what was acknowledged was applied once, what was refused never, what is
/// unknown at most once.
async fn storm(seed: u64) {
    let fake = Fake::start(3).await;
    let mut rng = Rng::new(seed);
    fake.script(move |_, method| match method {
        Method::Put | Method::Grant | Method::Renew => match rng.below(24) {
            0 => Fault::LoseAnswer,
            1 => Fault::LoseRequest,
            2 => Fault::CutAfter,
            3 => Fault::CutBefore,
            4 => Fault::Refuse(Code::Busy),
            5 => Fault::Refuse(Code::OutcomeUnknown),
            6 => Fault::Late(Duration::from_millis(rng.below(30))),
            7 => Fault::Refuse(Code::NoAnswer),
            8 if rng.one_in(4) => Fault::StallAfter,
            _ => Fault::None,
        },
        _ => Fault::None,
    });
    let q = fake
        .builder()
        .attempt(Duration::from_millis(100))
        .deadline(Duration::from_millis(400))
        .writes_max(4)
        .connect()
        .await
        .expect("it listens");
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let q = q.clone();
            tokio::spawn(async move {
                let mut ended = Vec::new();
                for n in 0..12 {
                    let value = format!("{writer}.{n}");
                    ended.push((value.clone(), q.put("/a", value).await));
                }
                ended
            })
        })
        .collect();
    let mut unknown = Vec::new();
    for writer in writers {
        for (value, ended) in writer.await.expect("no panic") {
            match ended {
                Ok(_) => assert_eq!(n_puts(&fake, &value), 1, "seed {seed}: {value}"),
                Err(error) if error.is_indeterminate() => unknown.push((value, error)),
                Err(error) => {
                    assert_eq!(n_puts(&fake, &value), 0, "seed {seed}: {value}: {error}");
                }
            }
        }
    }
    // What is unknown is settled by asking again by hand.
    fake.script(|_, _| Fault::None);
    for (value, error) in unknown {
        let id = error.request_id().expect("it was numbered");
        let again = q.put("/a", value.clone()).request_id(id).await;
        again.unwrap_or_else(|error| panic!("seed {seed}: {value}: {error}"));
        assert_eq!(n_puts(&fake, &value), 1, "seed {seed}: {value}");
    }
    // Late echoes change nothing.
    tokio::time::sleep(Duration::from_millis(40)).await;
    let model = fake.model();
    let mut puts = model.puts.clone();
    puts.sort();
    puts.dedup();
    assert_eq!(puts.len(), model.puts.len(), "seed {seed}");
}

#[tokio::test]
async fn each_write_is_applied_once_whatever_is_lost() {
    let storms: Vec<_> = (0..6).map(|seed| tokio::spawn(storm(seed))).collect();
    for storm in storms {
        storm.await.expect("a storm passes");
    }
}

#[tokio::test]
async fn at_the_deadline_the_error_carries_the_request_id() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    q.put("/before", "0").await.expect("written");
    let mut n = 0;
    fake.script(move |_, method| match method {
        Method::Put => {
            n += 1;
            // The first attempt is applied; nobody says so.
            [Fault::LoseAnswer, Fault::LoseRequest][usize::from(n > 1)]
        }
        _ => Fault::None,
    });
    let began = Instant::now();
    let timeout = Duration::from_millis(500);
    let error = q.put("/a", "1").timeout(timeout).await.expect_err("lost");
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
    assert!(error.is_indeterminate(), "{error}");
    assert_eq!(error.took_effect(), None);
    assert_eq!(error.code(), "Q2104");
    let id = error.request_id().expect("it was numbered");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(error.help().contains(&id.to_string()), "{}", error.help());
    let Error::Indeterminate { revision_floor, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(revision_floor, 1);
    fake.script(|_, _| Fault::None);
    // Other writes go on, in another session.
    q.put("/b", "2").await.expect("written");
    let again = q.put("/a", "1").request_id(id).await.expect("once");
    assert_eq!(again.revision(), 2);
    assert_eq!(n_puts(&fake, "1"), 1);
    let other = q.put("/a", "other").request_id(id).await;
    let other = other.expect_err("another write");
    assert!(other.is(Code::NumberReused));
    // The number was given because something was written under it.
    assert!(other.is_indeterminate(), "{other}");
}

#[tokio::test]
async fn a_write_without_a_number_is_sent_once() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    fake.once(Method::Put, Fault::LoseRequest);
    let error = q.put("/a", "1").once(false).await.expect_err("lost");
    assert!(error.is_indeterminate(), "{error}");
    assert_eq!(error.request_id(), None);
    assert_eq!(fake.n_asked(Method::Put), 1);
    // What was certainly not applied is sent again all the same.
    fake.once(Method::Put, Fault::Refuse(Code::Busy));
    q.put("/a", "2").once(false).await.expect("asked again");
    assert_eq!((n_puts(&fake, "1"), n_puts(&fake, "2")), (0, 1));
    assert!(fake.model().leases.is_empty(), "no session was opened");
}

#[tokio::test]
async fn a_member_that_is_not_there_costs_nothing_but_a_moment() {
    let fake = Fake::start(1).await;
    let (dead, _socket) = nobody();
    for n in 0..16 {
        // Each of these clients begins anywhere, so about half of them meet the dead member first. Without a number: that
        // must count as "nothing was sent".
        let q = fake.builder().endpoints([dead.to_string()]);
        let q = q.connect_lazily().expect("two addresses");
        let put = q.put("/a", n.to_string()).once(false);
        put.await.expect("the other one answers");
    }
    assert_eq!(fake.model().puts.len(), 16);
}

#[tokio::test]
async fn when_nobody_is_there_the_error_is_definite() {
    let (dead, _socket) = nobody();
    let endpoints = [dead.to_string()];
    let builder = || {
        let builder = Client::builder().endpoints(endpoints.clone());
        builder.deadline(Duration::from_millis(300))
    };
    let error = builder().connect().await.expect_err("nobody");
    assert!(error.is(Code::NotConnected), "{error}");
    let q = builder().connect_lazily().expect("an address");
    let error = q.put("/a", "1").await.expect_err("nobody");
    assert!(error.is(Code::NotConnected), "{error}");
    assert_eq!(error.took_effect(), Some(false));
}

#[tokio::test]
async fn a_silent_member_does_not_hold_up_reads() {
    let fake = Fake::start(3).await;
    let q = fake.client().await;
    q.put("/a", "1").await.expect("written");
    fake.script(|member, _| [Fault::Stall, Fault::None, Fault::None][member]);
    let began = Instant::now();
    for _ in 0..20 {
        assert!(q.get("/a").await.expect("read").kv.is_some());
    }
    // It is met once, then it rests.
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1800), "{took:?}");
}

#[tokio::test]
async fn reads_pass_over_members_that_refuse_for_now() {
    for code in [
        Code::Busy,
        Code::NoAnswer,
        Code::Stopped,
        Code::Behind,
        Code::Learner,
        Code::BoundNotMet,
    ] {
        let fake = Fake::start(2).await;
        let q = fake.client().await;
        fake.once(Method::Get, Fault::Refuse(code));
        q.get("/a")
            .await
            .unwrap_or_else(|error| panic!("{code:?}: {error}"));
        assert_eq!(fake.n_asked(Method::Get), 2);
    }
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    fake.once(Method::Get, Fault::Refuse(Code::NoLease));
    let error = q.get("/a").await.expect_err("a word that does not pass");
    assert!(error.is(Code::NoLease));
    assert_eq!(fake.n_asked(Method::Get), 1);
}

#[tokio::test]
async fn a_session_that_is_over_before_the_write_is_replaced() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    q.put("/a", "1").await.expect("written");
    fake.shared.end_all_leases();
    q.put("/a", "2").await.expect("a new session");
    assert_eq!(n_puts(&fake, "2"), 1);
}

#[tokio::test]
async fn a_session_that_ends_between_two_attempts_leaves_the_write_unknown() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    q.put("/a", "1").await.expect("written");
    let shared = fake.shared.clone();
    let mut n = 0;
    fake.script(move |_, method| {
        n += usize::from(method == Method::Put);
        match (method, n) {
            (Method::Put, 1) => Fault::LoseAnswer,
            (Method::Put, 2) => {
                // Between the attempts: the answer of the first is forgotten with its session.
                shared.end_all_leases();
                Fault::None
            }
            _ => Fault::None,
        }
    });
    let error = q.put("/a", "2").await.expect_err("nobody knows");
    assert!(error.is_indeterminate(), "{error}");
    assert_eq!(error.code(), "Q6001");
    assert_eq!(n_puts(&fake, "2"), 1);
}

#[tokio::test]
async fn writes_at_once_have_sessions_of_their_own_and_give_them_back() {
    let fake = Fake::start(1).await;
    let q = fake
        .builder()
        .writes_max(4)
        .connect()
        .await
        .expect("it listens");
    for _ in 0..3 {
        let writes: Vec<_> = (0..20)
            .map(|n| tokio::spawn(q.put(format!("/{n}"), "x").into_future()))
            .collect();
        for write in writes {
            write.await.expect("no panic").expect("written");
        }
    }
    assert_eq!(fake.model().puts.len(), 60);
    assert_eq!(fake.model().leases.len(), 4);
    q.close().await;
    assert_eq!(fake.model().leases.len(), 0);
}

#[tokio::test]
async fn a_write_that_is_dropped_is_not_applied_after_the_next_one() {
    let fake = Fake::start(1).await;
    let q = fake
        .builder()
        .writes_max(1)
        .connect()
        .await
        .expect("it listens");
    q.put("/a", "0").await.expect("written");
    fake.once(Method::Put, Fault::Slow(Duration::from_millis(60)));
    let dropped = q.put("/a", "dropped").into_future();
    let _ = tokio::time::timeout(Duration::from_millis(30), dropped).await;
    q.put("/a", "next").await.expect("written");
    tokio::time::sleep(Duration::from_millis(120)).await;
    let model = fake.model();
    assert_eq!(model.puts, ["0", "next"]);
}

/// A first attempt to grant, forwarded late, brings no session back, in which its write would be new again.
#[tokio::test]
async fn a_late_grant_does_not_revive_a_session() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let (mut n_grants, mut n_puts_asked) = (0, 0);
    fake.script(move |_, method| match method {
        Method::Grant => {
            n_grants += 1;
            match n_grants {
                1 => Fault::Late(Duration::from_millis(150)),
                _ => Fault::None,
            }
        }
        Method::Put => {
            n_puts_asked += 1;
            match n_puts_asked {
                1 => Fault::Late(Duration::from_millis(250)),
                _ => Fault::None,
            }
        }
        _ => Fault::None,
    });
    q.put("/a", "1").await.expect("asked again");
    q.close().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    // The grant did come late: as another lease.
    assert_eq!(fake.model().leases.len(), 1);
    assert_eq!(n_puts(&fake, "1"), 1);
}

#[tokio::test]
async fn a_refusal_does_not_tell_of_an_attempt_before_it() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    q.put("/a", "1").await.expect("written");
    let leadership = q.election("e").campaign("me").await.expect("alone");
    let again = |code| vec![Fault::LoseAnswer, Fault::Refuse(code)];
    fake.each(Method::Compact, again(Code::Compacted));
    let error = q.compact(1).await.expect_err("refused");
    assert_eq!(error.took_effect(), None, "{error}");
    fake.each(Method::Proclaim, again(Code::StaleToken));
    let error = leadership.proclaim("x").await.expect_err("refused");
    assert_eq!(error.took_effect(), None, "{error}");
    for code in [Code::NumberReused, Code::Superseded] {
        fake.each(Method::Put, again(code));
        let error = q.put("/a", "2").await.expect_err("refused");
        assert!(error.is(code), "{error}");
        assert_eq!(error.took_effect(), None, "{error}");
    }
    // A refusal of the only attempt is certain.
    fake.once(Method::Proclaim, Fault::Refuse(Code::StaleToken));
    let error = leadership.proclaim("x").await.expect_err("refused");
    assert_eq!(error.took_effect(), Some(false), "{error}");
    // To renew what is not there does nothing, however often.
    fake.once(Method::Renew, Fault::LoseAnswer);
    let error = q.renew(quorate::LeaseId(5)).await.expect_err("not there");
    assert!(error.is(Code::LeaseNotFound), "{error}");
    assert_eq!(error.took_effect(), Some(false), "{error}");
}

/// As the command line does with `--request-id`.
#[tokio::test]
async fn a_write_asked_again_by_hand_stays_unknown_when_nobody_is_there() {
    let (dead, _socket) = nobody();
    let builder = Client::builder().endpoints([dead.to_string()]);
    let q = builder
        .deadline(Duration::from_millis(300))
        .connect_lazily();
    let q = q.expect("an address");
    let id = "5:1".parse().expect("an id");
    let request = PutRequest::default();
    let asked: Result<PutResponse, Error> = q.raw_write_again(Method::Put, &request, id).await;
    let error = asked.expect_err("nobody");
    assert_eq!(error.took_effect(), None, "{error}");
    assert_eq!(error.request_id(), Some(id));
    let asked: Result<PutResponse, Error> = q.raw_write(Method::Put, &request, id).await;
    let error = asked.expect_err("nobody");
    assert_eq!(error.took_effect(), Some(false), "{error}");
}
