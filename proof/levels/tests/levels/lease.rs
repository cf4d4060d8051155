//! Lease reads: refused without a bound and by followers, nearly always free of a quorum, and over before another leads.

use checker::levels;
use quorate_levels::{Client, Door, ELECTION_TIMEOUT, History, PATIENCE, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BOUND: [&str; 2] = ["--read-lease-drift-ppm", "500"];

#[tokio::test]
async fn without_a_bound_of_the_drift_there_is_no_lease_read() {
    let (world, history) = (World::start(&[]).await, History::default());
    let mut client = Client::new(&history, 1);
    for member in 0..3 {
        for door in Door::ALL {
            let read = client.get(&world, member, door, "x", "lease").await;
            let refused = read.expect_err("nobody stated a bound");
            assert_eq!(refused.code, "Q3104", "{member} {door:?}");
            assert!(refused.message.contains("no bound on clock drift"));
        }
    }
}

const READS: u64 = 2000;

#[tokio::test]
async fn lease_reads_need_no_quorum_at_the_leader_and_are_refused_elsewhere() {
    let world = World::start(&BOUND).await;
    let (follower, leader) = world.follower_and_leader().await;
    let mut writer = Client::new(&History::default(), 1);
    for door in Door::ALL {
        let written = writer.put(&world, follower, door, "x", "1").await;
        written.expect("a healthy cluster");
        let refused = writer.get(&world, follower, door, "x", "lease").await;
        let refused = refused.expect_err("it does not lead");
        assert_eq!(refused.code, "Q3104", "{door:?}");
        let read = eventually_by_lease(&world, leader, door).await;
        assert_eq!(read.value.as_deref(), Some("1"), "{door:?}");
        assert_eq!((&*read.level, &*read.how), ("lease", "lease"), "{door:?}");
    }
    let mut client = world.native(leader);
    let (mut by_lease, mut first_refusal) = (0, None);
    for _ in 0..READS {
        match client.get("x", "lease").await {
            Ok(seen) if seen.how == "lease" => by_lease += 1,
            Ok(seen) => panic!("a lease read is by the lease or refused: {seen:?}"),
            Err(refused) => first_refusal = first_refusal.or(Some(refused)),
        }
    }
    println!("quorum-free: {by_lease} of {READS} lease reads; {first_refusal:?}");
    assert!(
        by_lease * 100 >= READS * 95,
        "{by_lease}: {first_refusal:?}"
    );
}

/// The leader's first promises may be on their way.
async fn eventually_by_lease(world: &World, leader: usize, door: Door) -> quorate_levels::Seen {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::new(&History::default(), 2);
        match client.get(world, leader, door, "x", "lease").await {
            Ok(seen) => return seen,
            Err(refused) => assert!(Instant::now() < until, "{refused:?}"),
        }
    }
}

/// From the cut until the last connection is really gone.
const CUT_SLACK: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_lease_reads_before_another_serves() {
    let (world, history) = (Arc::new(World::start(&BOUND).await), History::default());
    let leader = world.leader().await;
    let mut writer = Client::new(&history, 1);
    let written = writer.put(&world, leader, Door::Native, "x", "old").await;
    written.expect("a healthy cluster");
    eventually_by_lease(&world, leader, Door::Native).await;

    // The others: whoever leads next writes, and reads by its lease.
    let is_over = Arc::new(AtomicBool::new(false));
    let next = {
        let (world, history, is_over) = (world.clone(), history.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut client = Client::new(&history, 2);
            while !is_over.load(Ordering::SeqCst) {
                for member in (0..3).filter(|member| *member != leader) {
                    let read = client.get(&world, member, Door::Native, "x", "lease").await;
                    if read.is_ok() {
                        return Some((member, Instant::now()));
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            None
        })
    };
    world.cut(leader).await;
    let cut = Instant::now();

    let mut client = Client::new(&history, 3);
    let (mut last_asked, mut n_served) = (cut, 0);
    let refused = loop {
        let asked = Instant::now();
        match client.get(&world, leader, Door::Native, "x", "lease").await {
            Ok(seen) => {
                assert_eq!(seen.value.as_deref(), Some("old"));
                (last_asked, n_served) = (asked, n_served + 1);
            }
            Err(refused) => break refused,
        }
        assert!(asked.duration_since(cut) < PATIENCE, "its lease never ends");
    };
    assert_eq!(refused.code, "Q3104", "{}", refused.message);
    // It does not come back while it is cut off.
    for _ in 0..20 {
        let read = client.get(&world, leader, Door::Native, "x", "lease").await;
        assert_eq!(read.expect_err("it is cut off").code, "Q3104");
    }
    let served_for = last_asked.duration_since(cut);
    println!(
        "cut off, the old leader served {n_served} lease reads, the last {served_for:?} later"
    );
    assert!(served_for < ELECTION_TIMEOUT + CUT_SLACK, "{served_for:?}");

    let found = tokio::time::timeout(PATIENCE, next).await;
    is_over.store(true, Ordering::SeqCst);
    let (new_leader, first) = found
        .expect("another leads in time")
        .expect("no panic")
        .expect("it serves by its lease");
    assert!(first > last_asked, "two leaders read by their leases");
    let written = writer
        .put(&world, new_leader, Door::Native, "x", "new")
        .await;
    written.expect("two of three");
    let read = client.get(&world, leader, Door::Native, "x", "lease").await;
    assert_eq!(read.expect_err("it is cut off").code, "Q3104");
    let read = client
        .get(&world, new_leader, Door::Native, "x", "lease")
        .await;
    assert_eq!(read.expect("it leads").value.as_deref(), Some("new"));
    let verdict = levels::check(&history.accesses());
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
}
