//! Linearizable, sequential and bounded reads at a follower that is cut off.

use checker::levels;
use quorate_levels::{Client, Door, History, PATIENCE, REQUEST_TIMEOUT, World};
use std::time::{Duration, Instant};

/// A follower that has both registers of each door at "old" and is cut off, while the others have "new".
async fn cut_off(world: &World, history: &History) -> (usize, usize) {
    let (behind, leader) = world.follower_and_leader().await;
    let mut writer = Client::new(history, 1);
    for door in Door::ALL {
        let old = writer.put(world, leader, door, "x", "old").await;
        old.expect("a healthy cluster");
        // It has it, and knows how fresh it is.
        let seen = writer.get(world, behind, door, "x", "linearizable").await;
        assert_eq!(seen.expect("read").value.as_deref(), Some("old"));
    }
    world.cut(behind).await;
    for door in Door::ALL {
        let new = writer.put(world, leader, door, "x", "new").await;
        new.expect("two of three");
    }
    (behind, leader)
}

fn assert_kept(history: &History) {
    if let Err(violation) = levels::check(&history.accesses()) {
        panic!("{violation}");
    }
}

#[tokio::test]
async fn a_linearizable_read_at_a_member_that_is_cut_off_is_refused_and_never_old() {
    let (world, history) = (World::start(&[]).await, History::default());
    let (behind, _) = cut_off(&world, &history).await;
    let [mut native, mut etcd] = [2, 3].map(|process| Client::new(&history, process));
    let began = Instant::now();
    let refused = tokio::join!(
        native.get(&world, behind, Door::Native, "x", "linearizable"),
        etcd.get(&world, behind, Door::Etcd, "x", "linearizable"),
    );
    for (read, door) in [(refused.0, Door::Native), (refused.1, Door::Etcd)] {
        assert_eq!(read.expect_err("nobody to ask").code, "Q2102", "{door:?}");
    }
    // It waits for the majority as long as it may, and says so then.
    assert!(began.elapsed() > REQUEST_TIMEOUT - Duration::from_secs(2));
    world.heal(behind);
    world.serves(behind).await;
    for door in Door::ALL {
        let seen = native.get(&world, behind, door, "x", "linearizable").await;
        assert_eq!(seen.expect("healed").value.as_deref(), Some("new"));
    }
    assert_kept(&history);
}

#[tokio::test]
async fn a_sequential_read_may_be_old_and_never_goes_back() {
    let (world, history) = (World::start(&[]).await, History::default());
    let (behind, _) = cut_off(&world, &history).await;
    for (process, door) in (2..).zip(Door::ALL) {
        let mut client = Client::new(&history, process);
        // The anomaly: long since overwritten, and served without a word.
        for _ in 0..20 {
            let seen = client.get(&world, behind, door, "x", "sequential").await;
            let seen = seen.expect("nobody is asked");
            assert_eq!(seen.value.as_deref(), Some("old"), "{door:?}");
            assert_eq!((&*seen.level, &*seen.how), ("sequential", "local"));
        }
        // The other members have the new one.
        let elsewhere = (behind + 1) % 3;
        let mut other = Client::new(&history, process + 10);
        let seen = other.get(&world, elsewhere, door, "x", "linearizable");
        let seen = seen.await.expect("two of three");
        assert_eq!(seen.value.as_deref(), Some("new"));
    }
    world.heal(behind);
    for (process, door) in (2..).zip(Door::ALL) {
        let mut client = Client::new(&history, process);
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = client.get(&world, behind, door, "x", "sequential").await;
            if seen.expect("nobody is asked").value.as_deref() == Some("new") {
                break;
            }
            assert!(Instant::now() < until, "it never learns of the new value");
        }
    }
    assert_kept(&history);
}

/// Longer than it takes, on a slow machine, from the last round of a majority to the read.
const BOUND_MS: u64 = 8000;

#[tokio::test]
async fn a_bounded_read_is_old_within_its_bound_and_refused_past_it() {
    let (world, history) = (World::start(&[]).await, History::default());
    let (behind, _) = cut_off(&world, &history).await;
    let bound = format!("bounded:{BOUND_MS}ms");
    let [mut native, mut etcd] = [2, 3].map(|process| Client::new(&history, process));
    // The anomaly: it is old, and says by how much at most.
    for (client, door) in [(&mut native, Door::Native), (&mut etcd, Door::Etcd)] {
        let seen = client.get(&world, behind, door, "x", &bound).await;
        let seen = seen.expect("fresh enough");
        assert_eq!(seen.value.as_deref(), Some("old"), "{door:?}");
        assert_eq!((&*seen.level, &*seen.how), ("bounded", "local"));
        let staleness = seen.staleness_ms.expect("a round was made before");
        assert!(staleness <= BOUND_MS, "{staleness} ms");
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = native.get(&world, behind, Door::Native, "x", "sequential");
        let staleness = seen.await.expect("nobody is asked").staleness_ms;
        if staleness.expect("known") > BOUND_MS {
            break;
        }
        assert!(Instant::now() < until, "time stands still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = tokio::join!(
        native.get(&world, behind, Door::Native, "x", &bound),
        etcd.get(&world, behind, Door::Etcd, "x", &bound),
    );
    for (read, door) in [(refused.0, Door::Native), (refused.1, Door::Etcd)] {
        assert_eq!(read.expect_err("too old").code, "Q3105", "{door:?}");
    }
    world.heal(behind);
    world.serves(behind).await;
    let seen = native
        .get(&world, behind, Door::Native, "x", "bounded:1ms")
        .await;
    assert_eq!(seen.expect("healed").value.as_deref(), Some("new"));
    assert_kept(&history);
}
