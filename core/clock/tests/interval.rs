//! The laws of interval time: the true time is inside while errors are honest, commit-wait makes stamps
//! mean an order, a majority outvotes wrong clocks; and what a lying bound breaks.

use base::Rng;
use clock::{Interval, UnixNanos, agree, commit_wait};
use std::time::Duration;

/// A wall clock that is off by `off_ns` and says that it is off by at most `stated_ns`.
#[derive(Clone, Copy)]
struct Wall {
    off_ns: i64,
    stated_ns: u64,
}

impl Wall {
    fn read(self, true_ns: u64) -> Interval {
        let wall = UnixNanos(true_ns.saturating_add_signed(self.off_ns));
        Interval::around(wall, Duration::from_nanos(self.stated_ns))
    }
}

/// A new error of a clock, as wrong as its bound permits, often exactly that.
fn honest(rng: &mut Rng, stated_ns: u64) -> Wall {
    let size = if rng.one_in(3) {
        stated_ns
    } else {
        rng.between(0, stated_ns)
    } as i64;
    let off_ns = if rng.one_in(2) { size } else { -size };
    Wall { off_ns, stated_ns }
}

/// One transaction in true time: from its start to when it is visible, and its stamp.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Transaction {
    start_ns: u64,
    visible_ns: u64,
    stamp: UnixNanos,
}

/// Whether the waiting is done: what is tested, and what is left out to see the law fail.
#[derive(Clone, Copy, PartialEq)]
enum Waiting {
    Commit,
    None,
}

/// Runs transactions at several nodes, many at once; `clock` brings the wall clock for each reading.
fn run(seed: u64, waiting: Waiting, clock: impl Fn(&mut Rng, u64) -> Wall) -> Vec<Transaction> {
    let mut rng = Rng::new(seed);
    let n_nodes = rng.between(1, 5);
    let mut done = Vec::new();
    for node in 0..n_nodes {
        let mut true_ns = 1_000_000 + rng.below(1000);
        for _ in 0..30 {
            true_ns += rng.below(300);
            let start_ns = true_ns;
            let stamp = clock(&mut rng, node).read(true_ns).latest();
            if waiting == Waiting::Commit {
                true_ns = wait(&mut rng, true_ns, stamp, |rng| clock(rng, node));
            }
            done.push(Transaction {
                start_ns,
                visible_ns: true_ns,
                stamp,
            });
        }
    }
    done
}

/// Waits from `true_ns` until `stamp` is surely in the past; returns when that is.
fn wait(
    rng: &mut Rng,
    mut true_ns: u64,
    stamp: UnixNanos,
    clock: impl Fn(&mut Rng) -> Wall,
) -> u64 {
    loop {
        let left = commit_wait(clock(rng).read(true_ns), stamp);
        if left.is_zero() {
            return true_ns;
        }
        // The clock that measures the wait may be fast: then it wakes early and asks again.
        true_ns += rng.between(1, left.as_nanos() as u64);
    }
}

/// A pair whose stamps contradict the order in which the two happened.
fn contradiction(done: &[Transaction]) -> Option<(Transaction, Transaction)> {
    let pairs = done
        .iter()
        .flat_map(|first| done.iter().map(move |second| (*first, *second)));
    pairs
        .into_iter()
        .find(|(first, second)| first.visible_ns < second.start_ns && first.stamp >= second.stamp)
}

#[test]
fn the_true_time_is_inside_while_errors_are_honest() {
    let mut rng = Rng::new(1);
    for _ in 0..100_000 {
        let stated_ns = rng.below(1_000_000);
        let true_ns = rng.below(3_000_000);
        let interval = honest(&mut rng, stated_ns).read(true_ns);
        assert!(
            interval.contains(UnixNanos(true_ns)),
            "{true_ns} in {interval}"
        );
        assert!(interval.width() <= Duration::from_nanos(2 * stated_ns));
    }
}

#[test]
fn what_is_surely_before_happened_before() {
    let mut rng = Rng::new(2);
    let (mut n_sure, mut n_unsure) = (0, 0);
    for _ in 0..100_000 {
        let (first_ns, second_ns) = (2000 + rng.below(1000), 2000 + rng.below(1000));
        let (a, b) = (rng.below(300), rng.below(300));
        let first = honest(&mut rng, a).read(first_ns);
        let second = honest(&mut rng, b).read(second_ns);
        if first.is_surely_before(second) {
            assert!(first_ns < second_ns, "{first} and {second}");
            n_sure += 1;
        }
        assert!(!(first.is_surely_before(second) && second.is_surely_before(first)));
        n_unsure += u64::from(first.overlaps(second));
    }
    assert!(n_sure > 10_000 && n_unsure > 10_000);
}

#[test]
fn commit_wait_orders_stamps_as_the_transactions_were() {
    for seed in 0..500 {
        // The error of each clock changes between any two readings, within its bound.
        let done = run(seed, Waiting::Commit, |rng, node| {
            honest(rng, 50 * (node + 1))
        });
        assert_eq!(contradiction(&done), None, "seed {seed}");
        for transaction in done {
            // The stamp was the true time at some moment between start and visibility.
            let inside = transaction.start_ns..transaction.visible_ns;
            assert!(
                inside.contains(&transaction.stamp.0),
                "seed {seed}: {transaction:?}"
            );
        }
    }
}

#[test]
fn without_commit_wait_honest_clocks_contradict_the_order() {
    let found = (0..500).find_map(|seed| {
        contradiction(&run(seed, Waiting::None, |rng, node| {
            honest(rng, 50 * (node + 1))
        }))
    });
    let (first, second) = found.expect("a counter-example");
    assert!(first.visible_ns < second.start_ns && first.stamp >= second.stamp);
}

#[test]
fn a_lying_error_bound_breaks_commit_wait() {
    // By hand: node a is 100 ns fast and says 10 ns. Its stamp is 90 ns in the future when it is visible.
    let liar = Wall {
        off_ns: 100,
        stated_ns: 10,
    };
    let exact = Wall {
        off_ns: 0,
        stated_ns: 10,
    };
    let stamp = liar.read(1000).latest();
    assert!(
        commit_wait(liar.read(1021), stamp).is_zero(),
        "visible at 1021"
    );
    let next = exact.read(1030).latest();
    assert!(
        next < stamp,
        "started after, stamped before: {next}, {stamp}"
    );
    assert!(!liar.read(1000).contains(UnixNanos(1000)));
    // And the random worlds find it too: one node in them is three times as wrong as it says.
    let lying = |rng: &mut Rng, node: u64| match node {
        0 => Wall {
            stated_ns: 50,
            ..honest(rng, 150)
        },
        _ => honest(rng, 50),
    };
    assert!((0..500).any(|seed| contradiction(&run(seed, Waiting::Commit, lying)).is_some()));
}

#[test]
fn a_wait_is_at_most_twice_the_error_and_is_enough_for_a_steady_clock() {
    let mut rng = Rng::new(3);
    for _ in 0..10_000 {
        let stated_ns = rng.below(10_000);
        let clock = honest(&mut rng, stated_ns);
        let true_ns = 1_000_000 + rng.below(1000);
        let now = clock.read(true_ns);
        let left = commit_wait(now, now.latest());
        assert!(left <= Duration::from_nanos(2 * stated_ns + 1));
        let later = clock.read(true_ns + left.as_nanos() as u64);
        assert_eq!(commit_wait(later, now.latest()), Duration::ZERO);
        // One nanosecond less is not enough: at `earliest == stamp` the stamp may be the present.
        let early = clock.read(true_ns + left.as_nanos() as u64 - 1);
        assert_eq!(commit_wait(early, now.latest()), Duration::from_nanos(1));
    }
}

fn interval(earliest: u64, latest: u64) -> Interval {
    Interval::between(UnixNanos(earliest), UnixNanos(latest)).expect("in order")
}

#[test]
fn a_majority_of_honest_readings_keeps_the_true_time_whatever_the_others_say() {
    let mut rng = Rng::new(4);
    let mut n_wrong_found = 0;
    for _ in 0..10_000 {
        let true_ns = 1000 + rng.below(100);
        let n = rng.between(1, 9) as usize;
        let n_liars = rng.below((n as u64).div_ceil(2)) as usize;
        let mut readings = Vec::new();
        for place in 0..n {
            readings.push(if place < n_liars {
                let earliest = 900 + rng.below(300);
                interval(earliest, earliest + rng.below(100))
            } else {
                let stated_ns = rng.below(60);
                honest(&mut rng, stated_ns).read(true_ns)
            });
        }
        let agreement = agree(&readings).expect("the honest ones have the true time in common");
        assert!(
            agreement.interval.contains(UnixNanos(true_ns)),
            "{true_ns} in {readings:?}"
        );
        assert!(
            agreement.falsetickers.iter().all(|place| *place < n_liars),
            "{readings:?}"
        );
        n_wrong_found += agreement.falsetickers.len();
        // By brute force: the hull of the points that a majority contains.
        let points: Vec<u64> = (800..1400)
            .filter(|at| {
                readings
                    .iter()
                    .filter(|r| r.contains(UnixNanos(*at)))
                    .count()
                    > n / 2
            })
            .collect();
        let hull = interval(points[0], points[points.len() - 1]);
        assert_eq!(agreement.interval, hull, "{readings:?}");
    }
    assert!(n_wrong_found > 2_000, "{n_wrong_found}");
}

#[test]
fn a_falseticker_that_stands_apart_is_named() {
    let readings = [interval(90, 110), interval(300, 310), interval(95, 120)];
    let agreement = agree(&readings).expect("two of three");
    assert_eq!(agreement.interval, interval(95, 110));
    assert_eq!(agreement.falsetickers, [1]);
}

#[test]
fn without_a_majority_there_is_no_time() {
    assert_eq!(agree(&[]), None);
    assert_eq!(
        agree(&[interval(0, 10), interval(20, 30)]),
        None,
        "one of two is no majority"
    );
    assert_eq!(
        agree(&[interval(0, 10), interval(20, 30), interval(40, 50)]),
        None
    );
    let touching = agree(&[interval(0, 10), interval(10, 30)]).expect("ends belong to readings");
    assert_eq!(touching.interval, interval(10, 10));
}

#[test]
fn most_readings_at_one_point_may_be_wrong_where_a_majority_is_right() {
    // Three honest readings share 9..=10; two liars stand with two of them at 11..=14, and that is four.
    let readings = [
        interval(0, 10),
        interval(5, 15),
        interval(9, 30),
        interval(11, 14),
        interval(11, 14),
    ];
    let most = (0..40).max_by_key(|at| {
        readings
            .iter()
            .filter(|r| r.contains(UnixNanos(*at)))
            .count()
    });
    assert!(
        most.is_some_and(|at| at > 10),
        "the most popular point is not the true time"
    );
    assert_eq!(
        agree(&readings).map(|agreement| agreement.interval),
        Some(interval(9, 14))
    );
}
