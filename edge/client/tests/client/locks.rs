//! Locks, semaphores and barriers; and what is left when their futures are dropped.

use crate::fake::{Fake, Fault, soon};
use api::Method;
use api::proto::QueueKind;
use base::Rng;
use quorate::{Client, Code, Consistency, Error, FencingToken, LockGuard, Lost};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn one_holds_and_the_next_one_follows_with_a_higher_token() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let first = q.lock("jobs").note("first").acquire().await.expect("free");
    let waiting = tokio::spawn(q.lock("jobs").acquire());
    fake.until("the second stands in line", |model| {
        model.line(QueueKind::Lock, "jobs").len() == 2
    })
    .await;
    assert!(!waiting.is_finished());
    let look = q.lock("jobs").look(Consistency::Linearizable).await;
    let look = look.expect("read");
    assert_eq!(
        look.iter().map(|it| it.is_held).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(look[0].value, "first");
    assert_eq!(look[0].token, first.token());
    let token = first.token();
    first.release().await.expect("held");
    let second = waiting.await.expect("no panic").expect("its turn");
    assert!(second.token() > token);
    assert!(second.is_held());
    drop(second);
    fake.until("the line is empty", |model| model.n_places() == 0)
        .await;
}

#[tokio::test]
async fn readers_share_and_a_writer_waits() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let one = q.lock("rw").shared().acquire().await.expect("shared");
    let two = q.lock("rw").shared().acquire().await.expect("shared");
    let try_alone = q.lock("rw").try_acquire().await.expect("asked");
    assert!(try_alone.is_none());
    assert_eq!(fake.model().n_places(), 2, "who only tried has left");
    one.release().await.expect("held");
    two.release().await.expect("held");
    assert!(q.lock("rw").try_acquire().await.expect("asked").is_some());
}

#[tokio::test]
async fn a_semaphore_has_so_many_permits() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let held = [
        q.semaphore("s", 2).acquire().await.expect("a permit"),
        q.semaphore("s", 2).acquire().await.expect("a permit"),
    ];
    assert!(
        q.semaphore("s", 2)
            .try_acquire()
            .await
            .expect("asked")
            .is_none()
    );
    let other = q.semaphore("s", 3).acquire().await;
    assert!(other.expect_err("another number").is(Code::BadPermits));
    drop(held);
    fake.until("both are given back", |model| model.n_places() == 0)
        .await;
}

#[tokio::test]
async fn a_barrier_opens_for_all_and_begins_anew() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    for _ in 0..2 {
        let waiting: Vec<_> = (0..2)
            .map(|_| tokio::spawn(q.barrier("b", 3).wait()))
            .collect();
        fake.until("two wait", |model| {
            model.line(QueueKind::Barrier, "b").len() == 2
        })
        .await;
        assert!(waiting.iter().all(|it| !it.is_finished()));
        q.barrier("b", 3).wait().await.expect("the last one");
        for waiting in waiting {
            waiting.await.expect("no panic").expect("open");
        }
        fake.until("all have left", |model| model.n_places() == 0)
            .await;
    }
}

#[tokio::test]
async fn patience_ends_and_the_place_is_given_back() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let held = q.lock("jobs").acquire().await.expect("free");
    let began = Instant::now();
    let waited = q.lock("jobs").acquire_within(Duration::from_millis(300));
    let error = waited.await.expect_err("held by another");
    assert!(error.is(Code::WaitOver), "{error}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290), "{took:?}");
    assert!(took < SECOND * 2, "{took:?}");
    assert_eq!(fake.model().n_places(), 1);
    drop(held);
    let got = q.lock("jobs").acquire_within(SECOND * 5).await;
    assert!(got.expect("given back").is_held());
}

/// Many contenders, each answer may be lost: never two at once, and all come to their turn.
#[tokio::test]
async fn a_lock_excludes_whatever_is_lost() {
    for seed in 0..3 {
        let fake = Fake::start(3).await;
        let mut rng = Rng::new(seed);
        fake.script(move |_, method| match method {
            Method::Enter | Method::Await | Method::Revoke | Method::Grant => match rng.below(12) {
                0 => Fault::LoseAnswer,
                1 => Fault::LoseRequest,
                2 => Fault::CutAfter,
                3 => Fault::Refuse(Code::Busy),
                _ => Fault::None,
            },
            _ => Fault::None,
        });
        let q = fake.client().await;
        let inside = Arc::new(AtomicUsize::new(0));
        let tokens: Arc<Mutex<Vec<FencingToken>>> = Arc::default();
        let contenders: Vec<_> = (0..20)
            .map(|_| {
                let (q, inside, tokens) = (q.clone(), inside.clone(), tokens.clone());
                tokio::spawn(async move {
                    let guard = q.lock("jobs").acquire().await?;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "seed {seed}");
                    tokens.lock().expect("no panic").push(guard.token());
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.release().await
                })
            })
            .collect();
        for contender in contenders {
            let ended = contender.await.expect("no panic");
            ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let tokens = tokens.lock().expect("no panic");
        assert_eq!(tokens.len(), 20);
        assert!(tokens.is_sorted(), "seed {seed}: {tokens:?}");
        assert_eq!(fake.model().n_places(), 0);
    }
}

/// Polls `future` `n` times at most; nothing when it is not ready then. It is dropped right after its last poll, or, when
/// `is_woken`, when it would be polled next.
async fn polled<T>(future: impl Future<Output = T>, n: usize, is_woken: bool) -> Option<T> {
    let mut future = pin!(future);
    let mut n_polled = 0;
    poll_fn(|cx| {
        if n_polled == n {
            return Poll::Ready(None);
        }
        n_polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if n_polled == n && !is_woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops what `acquire` gives at each of its polls; afterwards only `n_left` places may be taken.
async fn dropped_everywhere<F>(
    fake: &Fake,
    claim: &str,
    n_left: usize,
    faults: &[Fault],
    acquire: impl Fn() -> F,
) where
    F: Future<Output = Result<LockGuard, Error>>,
{
    for is_woken in [false, true] {
        // A slow machine needs more polls, and nobody's turn comes while another holds it.
        let n_most = [200, 14][n_left.min(1)];
        for n in 0..n_most {
            fake.each(Method::Enter, faults.to_vec());
            let acquired = polled(acquire(), n, is_woken).await;
            let is_done = acquired.is_some();
            drop(acquired);
            let claim = format!("{claim}: dropped at poll {n}, woken {is_woken}");
            // A grant that was under way may come late, without a place: it ends by itself.
            fake.until(&claim, |model| model.n_places() == n_left).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
            fake.until(&claim, |model| model.n_places() == n_left).await;
            if is_done && n_left == 0 {
                break;
            }
            assert!(
                n < 13 || n_left > 0,
                "{claim}: it should have been done by now"
            );
        }
    }
}

#[tokio::test]
async fn acquire_may_be_dropped_anywhere() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let free = || q.lock("free").acquire();
    dropped_everywhere(&fake, "free", 0, &[], free).await;
    let faults = [Fault::LoseAnswer, Fault::CutAfter];
    dropped_everywhere(&fake, "an answer is lost", 0, &faults, free).await;
    let within = || q.lock("free").acquire_within(SECOND);
    dropped_everywhere(&fake, "within", 0, &[], within).await;
    let try_it = || async {
        let tried = q.lock("free").try_acquire().await?;
        Ok(tried.expect("nobody holds it"))
    };
    dropped_everywhere(&fake, "try", 0, &[], try_it).await;
    let held = q.lock("held").acquire().await.expect("free");
    let held_by_another = || q.lock("held").acquire();
    dropped_everywhere(&fake, "held", 1, &[], held_by_another).await;
    dropped_everywhere(&fake, "held, lost", 1, &faults, held_by_another).await;
    held.release().await.expect("held");
    let next = q.lock("held").acquire_within(SECOND).await;
    drop(next.expect("nobody stands in the way"));
}

#[tokio::test]
async fn release_may_be_dropped_anywhere() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    for n in 0..200 {
        let guard = q.lock("jobs").acquire().await.expect("free");
        fake.once(Method::Revoke, Fault::LoseRequest);
        let released = polled(guard.release(), n, true).await;
        fake.until("it is given back", |model| model.n_places() == 0)
            .await;
        if released.is_some() {
            return;
        }
    }
    panic!("it is never done");
}

#[tokio::test]
async fn work_is_dropped_as_soon_as_the_lock_is_lost() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let is_dropped = Arc::new(AtomicBool::new(false));
    let noticed = Dropped(is_dropped.clone());
    fake.script(|_, method| match method {
        Method::Renew => Fault::Stall,
        _ => Fault::None,
    });
    let began = Instant::now();
    let run = q.lock("jobs").ttl(SECOND).run(|held| async move {
        let _noticed = noticed;
        assert!(held.is_held() && held.check().is_ok());
        std::future::pending::<()>().await;
    });
    let error = soon(run).await.expect_err("lost");
    assert!(error.is(Code::LockLost), "{error}");
    assert!(is_dropped.load(Ordering::SeqCst));
    assert!(began.elapsed() < SECOND * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn work_that_ends_in_time_gives_its_result_and_the_lock_back() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let run = q.lock("jobs").run(|held| {
        let q = q.clone();
        async move {
            q.put("/effect", "1").fence(&held.fence()).await?;
            Ok::<_, Error>(held.token())
        }
    });
    let token = run.await.expect("held").expect("fenced");
    assert!(token.get() > 0);
    assert_eq!(fake.model().n_places(), 0);
    assert_eq!(fake.model().puts, ["1"]);
}

#[tokio::test]
async fn release_says_whether_it_was_held_to_the_end() {
    let fake = Fake::start(1).await;
    let q: Client = fake.client().await;
    let guard = q.lock("jobs").acquire().await.expect("free");
    fake.change(|model| model.end_lease(guard.lease().0));
    let error = guard.release().await.expect_err("it was gone");
    assert!(error.is(Code::LockLost), "{error}");
    let guard = q.lock("jobs").acquire().await.expect("free");
    fake.script(|_, method| match method {
        Method::Revoke => Fault::LoseRequest,
        _ => Fault::None,
    });
    let error = guard.release().await.expect_err("no answer");
    assert!(error.is_indeterminate(), "{error}");
}

#[tokio::test]
async fn a_place_that_is_lost_while_waiting_is_an_error() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let _held = q.lock("jobs").acquire().await.expect("free");
    let waiting = tokio::spawn(q.lock("jobs").acquire());
    fake.until("it waits", |model| model.n_places() == 2).await;
    fake.change(|model| {
        let line = model.line(QueueKind::Lock, "jobs");
        let lease = line[1].lease;
        model.end_lease(lease)
    });
    let error = waiting.await.expect("no panic").expect_err("lost");
    assert!(error.is(Code::LockLost), "{error}");
}

/// The cluster passes the lock on before its answer comes.
#[tokio::test]
async fn what_is_being_given_back_is_not_held_any_more() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let guard = q.lock("jobs").acquire().await.expect("free");
    let held = guard.held();
    fake.once(Method::Revoke, Fault::StallAfter);
    let release = tokio::spawn(guard.release());
    fake.until("the lock is free", |model| model.leases.is_empty())
        .await;
    assert_eq!(held.check(), Err(Lost::Released));
    release.await.expect("no panic").expect("it was ours");
}
