//! Leases: kept alive, and lost before the cluster lets go.

use crate::fake::{Fake, Fault};
use api::Method;
use quorate::{Code, LeaseId, Lost};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Waits until so many renewals were asked for.
async fn renewed(fake: &Fake, n: usize) {
    while fake.n_asked(Method::Renew) < n {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_lease_is_kept_alive_and_its_epoch_is_told() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    fake.change(|model| model.epoch = 3);
    let ttl = SECOND * 2;
    let lease = q.grant(ttl).await.expect("granted");
    assert_eq!((lease.epoch(), lease.ttl()), (3, ttl));
    fake.change(|model| model.epoch = 4);
    tokio::time::sleep(ttl + SECOND / 2).await;
    assert!(lease.is_held());
    assert_eq!(lease.epoch(), 4);
    assert!(fake.n_asked(Method::Renew) >= 2);
    lease.revoke().await.expect("held");
    assert!(fake.model().leases.is_empty());
}

#[tokio::test]
async fn a_holder_stops_before_the_cluster_lets_go() {
    for fault in [Fault::Stall, Fault::LoseRequest, Fault::CutBefore] {
        let fake = Fake::start(2).await;
        let q = fake.client().await;
        let lease = q.grant(SECOND).await.expect("granted");
        let ends = fake.model().leases[&lease.id().0].ends;
        // Each reading is at or after the true one; the lowest is the closest.
        let readings = (0..50).map(|_| {
            let remaining = lease.remaining();
            Instant::now() + remaining
        });
        let stops = readings.min().expect("some");
        // 1 s less its guard band of 2 %.
        let band = ends.saturating_duration_since(stops);
        assert!(band > Duration::from_millis(15), "{fault:?}: {band:?}");
        assert!(band < Duration::from_millis(500), "{fault:?}: {band:?}");
        fake.script(move |_, method| match method {
            Method::Renew => fault,
            _ => Fault::None,
        });
        assert_eq!(lease.lost().await, Lost::Expired, "{fault:?}");
        assert!(Instant::now() >= stops, "{fault:?}");
        assert!(!lease.is_held());
        assert_eq!(lease.remaining(), Duration::ZERO);
    }
}

/// It counts from when the renewal was sent: an answer that takes long does not lengthen it.
#[tokio::test]
async fn a_slow_answer_does_not_lengthen_a_lease() {
    let fake = Fake::start(1).await;
    let q = fake
        .builder()
        .attempt(SECOND)
        .connect()
        .await
        .expect("it listens");
    fake.each(Method::Grant, vec![Fault::Slow(Duration::from_millis(400))]);
    let asked = Instant::now();
    let lease = q.grant(SECOND).await.expect("granted");
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert!(lease.remaining() < Duration::from_millis(600));
}

#[tokio::test]
async fn a_renewal_tells_how_much_is_left() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let lease = q.grant(Duration::from_secs(3)).await.expect("granted");
    // The leader says less than the whole: what was promised before still counts.
    fake.change(|model| model.remaining_ms = Some(100));
    renewed(&fake, 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lease.is_held());
    assert!(lease.remaining() < Duration::from_millis(2100));
}

#[tokio::test(flavor = "current_thread")]
async fn a_process_that_was_stopped_knows_at_once() {
    let fake = Fake::start(1).await;
    fake.change(|model| model.is_timeless = true);
    let q = fake.client().await;
    let lease = q.grant(SECOND).await.expect("granted");
    let mut lost = pin!(lease.lost());
    let mut context = Context::from_waker(Waker::noop());
    assert!(lost.as_mut().poll(&mut context).is_pending());
    // The whole runtime stands still, timers and sockets too: as if the process had been stopped.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(lost.as_mut().poll(&mut context), Poll::Ready(Lost::Expired));
    assert!(!lease.is_held());
    // The cluster, which did not let go, answers renewals again: too late.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!lease.is_held());
    assert_eq!(lease.lost().await, Lost::Expired);
}

#[tokio::test]
async fn a_lease_that_the_cluster_ended_is_lost() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let lease = q.grant(SECOND * 3).await.expect("granted");
    let lost = tokio::spawn(lease.lost());
    fake.change(|model| model.end_lease(lease.id().0));
    assert_eq!(lost.await.expect("no panic"), Lost::Revoked);
    let error = lease.revoke().await.expect_err("gone");
    assert!(error.is(Code::LockLost), "{error}");
}

#[tokio::test]
async fn granting_and_revoking_survive_lost_answers() {
    for fault in [Fault::LoseAnswer, Fault::CutAfter, Fault::StallAfter] {
        let fake = Fake::start(2).await;
        let q = fake.client().await;
        fake.once(Method::Grant, fault);
        let lease = q.grant(SECOND * 5).await.expect("asked again");
        // The one whose answer was lost ends on its own.
        let id = lease.id().0;
        assert!(fake.model().leases.contains_key(&id), "{fault:?}");
        assert!(lease.is_held());
        fake.once(Method::Revoke, fault);
        lease.revoke().await.expect("it was ours to end");
        assert!(!fake.model().leases.contains_key(&id), "{fault:?}");
        let unattended = q.grant_unattended(SECOND * 5, LeaseId(77)).await;
        unattended.expect("granted");
        fake.once(Method::Revoke, fault);
        q.revoke(LeaseId(77)).await.expect("it was this one");
        // Whoever chose the id is not given another one.
        fake.once(Method::Grant, fault);
        let unattended = q.grant_unattended(SECOND * 5, LeaseId(77)).await;
        assert_eq!(unattended.expect("asked again").lease, LeaseId(77));
    }
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_revoked_and_a_detached_one_is_left() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let lease = q.grant(SECOND * 60).await.expect("granted");
    drop(lease);
    fake.until("the lease is gone", |model| model.leases.is_empty())
        .await;
    let left = q.grant(SECOND * 60).await.expect("granted").detach();
    let look = q.renew(left).await.expect("there");
    assert_eq!(look.ttl, SECOND * 60);
    assert_eq!(q.leases(Default::default()).await.expect("listed").len(), 1);
    q.revoke(left).await.expect("there");
    let gone = q.revoke(left).await.expect_err("gone");
    assert!(gone.is(Code::LeaseNotFound));
    let unattended = q.grant_unattended(SECOND, LeaseId(77)).await;
    assert_eq!(unattended.expect("granted").lease, LeaseId(77));
    let taken = q.grant_unattended(SECOND, LeaseId(77)).await;
    assert!(taken.expect_err("taken").is(Code::LeaseExists));
}

/// A member that has not heard of a lease yet, or of anything for a while, is not the cluster.
#[tokio::test]
async fn one_member_that_lags_does_not_end_a_lease() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let ttl = SECOND * 2;
    let lease = q.grant(ttl).await.expect("granted");
    fake.script(|member, method| match (member, method) {
        (0, Method::Renew) => Fault::Refuse(Code::LeaseNotFound),
        _ => Fault::None,
    });
    tokio::time::sleep(ttl + SECOND / 2).await;
    assert!(lease.is_held());
    assert!(fake.asked_of(Method::Renew).contains(&0));
    // Two of them are believed.
    fake.script(|_, method| match method {
        Method::Renew => Fault::Refuse(Code::LeaseNotFound),
        _ => Fault::None,
    });
    assert_eq!(lease.lost().await, Lost::Revoked);
}
