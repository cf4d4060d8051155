//! Elections: who leads, who is told, and who works.

use crate::fake::{Fake, Fault};
use api::Method;
use api::proto::QueueKind;
use quorate::Code;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_leader_is_elected_proclaims_and_resigns() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let election = q.election("svc");
    assert_eq!(election.leader().await.expect("read"), None);
    let first = election.campaign("one").await.expect("elected");
    let second = tokio::spawn({
        let election = election.clone();
        async move { election.campaign("two").await }
    });
    fake.until("two stand", |model| {
        model.line(QueueKind::Election, "svc").len() == 2
    })
    .await;
    let leader = election.leader().await.expect("read").expect("elected");
    assert_eq!((leader.value, leader.token), ("one".into(), first.token()));
    first.proclaim("one, later").await.expect("it leads");
    let leader = election.leader().await.expect("read").expect("elected");
    assert_eq!(leader.value, "one, later");
    let fence = first.fence();
    q.put("/a", "1").fence(&fence).await.expect("it leads");
    first.resign().await.expect("it led");
    let second = second.await.expect("no panic").expect("elected");
    assert!(second.token() > fence.token());
    let late = q.put("/a", "2").fence(&fence).await;
    assert!(late.expect_err("it does not lead").is(Code::StaleToken));
    let impatient = election.campaign_within("three", SECOND / 5).await;
    assert!(impatient.expect_err("led").is(Code::WaitOver));
}

#[tokio::test]
async fn an_observer_hears_of_each_leader_over_cuts() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let election = q.election("svc");
    let mut leaders = election.observe();
    assert_eq!(leaders.next().await.expect("told").expect("read"), None);
    for name in ["one", "two", "three"] {
        fake.cut();
        let leadership = election.campaign(name).await.expect("elected");
        let told = leaders.next().await.expect("told").expect("read");
        assert_eq!(told.expect("one leads").value, name);
        fake.cut();
        leadership.resign().await.expect("it led");
        assert_eq!(leaders.next().await.expect("told").expect("read"), None);
    }
}

#[tokio::test]
async fn a_worker_works_while_it_leads_and_again_after_a_loss() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let n_terms = Arc::new(AtomicUsize::new(0));
    let counted = n_terms.clone();
    let election = q.election("svc").ttl(SECOND);
    let leading = tokio::spawn(async move {
        let work = |held: quorate::Held| {
            let term = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                if term < 2 {
                    std::future::pending::<()>().await;
                }
                held.token()
            }
        };
        election.lead("me", work).await
    });
    let mut tokens = Vec::new();
    for term in 1..=2 {
        fake.until("it leads", |model| {
            model.line(QueueKind::Election, "svc").len() == 1
                && n_terms.load(Ordering::SeqCst) == term
        })
        .await;
        let standing = fake.model().line(QueueKind::Election, "svc")[0].clone();
        tokens.push(standing.token);
        fake.change(|model| model.end_lease(standing.lease));
    }
    let last = leading.await.expect("no panic").expect("it led");
    tokens.push(last.get());
    assert!(tokens.is_sorted_by(|one, two| one < two), "{tokens:?}");
    fake.until("it has resigned", |model| model.n_places() == 0)
        .await;
}

#[tokio::test]
async fn a_campaign_that_is_dropped_leaves_the_line() {
    let fake = Fake::start(2).await;
    let q = fake.client().await;
    let held = q.election("svc").campaign("one").await.expect("elected");
    fake.script(|_, method| match method {
        Method::Enter => Fault::StallAfter,
        _ => Fault::None,
    });
    // Its answer is lost: only the cluster knows that it stands in line.
    let election = q.election("svc");
    let campaign = election.campaign("two");
    let dropped = tokio::time::timeout(SECOND / 5, campaign).await;
    assert!(dropped.is_err());
    fake.until("only the leader stands", |model| model.n_places() == 1)
        .await;
    assert!(held.is_held());
}
