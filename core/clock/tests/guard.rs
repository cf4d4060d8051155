//! The guard band against brute force: a grantor and a holder with any two rates within the bound. The
//! holder has always stopped when the grantor lets go, and without the band a counter-example exists.

use base::{Instant, Rng};
use clock::UnixNanos;
use clock::guard::{
    DRIFT_PPM_MAX, DriftBound, Jump, JumpDetector, grantor_lets_go_at, guard_band, holder_stops_at,
    holds_until, usable,
};
use std::time::Duration;

/// A clock that reads ⌊start + rate · true time⌋, exactly: everything is counted in fractions.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// What it reads at true time 0, in thousandths of a nanosecond: rounding happens anywhere.
    start_milli: u128,
    /// Its rate is `up / down`.
    up: u128,
    down: u128,
}

/// A true time in nanoseconds, as a fraction.
#[derive(Clone, Copy, Debug)]
struct TrueTime {
    up: u128,
    down: u128,
}

impl TrueTime {
    fn is_after(self, other: TrueTime) -> bool {
        self.up * other.down > other.up * self.down
    }
}

impl Clock {
    fn read(self, true_ns: u128) -> Instant {
        Instant(
            ((self.start_milli * self.down + 1000 * true_ns * self.up) / (1000 * self.down)) as u64,
        )
    }

    /// The first moment at which it reads `instant` or more.
    fn reaches(self, instant: Instant) -> TrueTime {
        let left = (u128::from(instant.0) * 1000).saturating_sub(self.start_milli);
        TrueTime {
            up: left * self.down,
            down: 1000 * self.up,
        }
    }
}

/// The slowest, the fastest, the exact rate and one in between, of those that `ppm` permits.
fn rates(rng: &mut Rng, ppm: u32) -> [(u128, u128); 5] {
    let million = 1_000_000;
    let most = million + u128::from(ppm);
    let some = million + u128::from(rng.between(0, u64::from(ppm)));
    [
        (million, most),
        (most, million),
        (million, million),
        (million, some),
        (some, million),
    ]
}

/// One lease: sent at `sent_ns`, received `delay_ns` later. Whether the holder, who counts `counted`, acts
/// after the grantor has let go.
fn overlaps(
    holder: Clock,
    grantor: Clock,
    delay_ns: u128,
    lease: Duration,
    counted: Duration,
) -> bool {
    let sent_ns = 1000;
    let stops = holder.reaches(holder.read(sent_ns) + counted);
    let received = grantor.read(sent_ns + delay_ns);
    let lets_go = grantor.reaches(grantor_lets_go_at(received, lease));
    stops.is_after(lets_go)
}

/// The first overlap that is found among all pairs of rates, when the holder counts `counted(lease)`.
fn search(seed: u64, counted: impl Fn(Duration, DriftBound) -> Duration) -> Option<String> {
    let mut rng = Rng::new(seed);
    for ppm in [
        0,
        1,
        50,
        500,
        20_000,
        DRIFT_PPM_MAX,
        rng.between(0, 100_000) as u32,
    ] {
        let drift = DriftBound::from_ppm(ppm).expect("in range");
        // Each tiny lease, where rounding is everything, and some that people use.
        let tiny = 1..40u64;
        let some = [
            1_000_000,
            9_000_000_000,
            3_600_000_000_000,
            rng.between(40, 1 << 45),
        ];
        for lease in tiny.chain(some).map(Duration::from_nanos) {
            let holders = rates(&mut rng, ppm);
            let grantors = rates(&mut rng, ppm);
            for (holder, grantor) in holders
                .iter()
                .flat_map(|h| grantors.iter().map(move |g| (*h, *g)))
            {
                for delay_ns in [0, 1, u128::from(rng.below(1_000_000))] {
                    let mut clock = |(up, down)| Clock {
                        start_milli: u128::from(rng.below(1_000_000)),
                        up,
                        down,
                    };
                    let (holder, grantor) = (clock(holder), clock(grantor));
                    if overlaps(holder, grantor, delay_ns, lease, counted(lease, drift)) {
                        return Some(format!(
                            "{drift}, {lease:?}: {holder:?}, {grantor:?}, {delay_ns} ns"
                        ));
                    }
                }
            }
        }
    }
    None
}

#[test]
fn the_holder_has_stopped_when_the_grantor_lets_go() {
    for seed in 0..100 {
        assert_eq!(search(seed, usable), None, "seed {seed}");
    }
}

#[test]
fn without_the_guard_band_both_believe_that_they_hold_it() {
    assert!(search(0, |lease, _| lease).is_some());
    // By hand, with 500 ppm: a lease of nine seconds, a slow holder, a fast grantor. 9 ms of two holders.
    let lease = Duration::from_secs(9);
    let holder = Clock {
        start_milli: 0,
        up: 1_000_000,
        down: 1_000_500,
    };
    let grantor = Clock {
        start_milli: 0,
        up: 1_000_500,
        down: 1_000_000,
    };
    assert!(overlaps(holder, grantor, 0, lease, lease));
    assert!(overlaps(holder, grantor, 8_000_000, lease, lease));
    let drift = DriftBound::from_ppm(500).expect("in range");
    assert!(!overlaps(holder, grantor, 0, lease, usable(lease, drift)));
}

#[test]
fn one_factor_of_the_drift_is_not_enough() {
    let one_factor = |lease: Duration, drift: DriftBound| {
        let ns =
            lease.as_nanos().saturating_sub(1) * 1_000_000 / (1_000_000 + u128::from(drift.ppm()));
        Duration::from_nanos(ns as u64)
    };
    assert!(search(0, one_factor).is_some());
}

#[test]
fn the_nanosecond_for_rounding_is_needed_and_one_is_enough() {
    let without_it =
        |lease: Duration, drift: DriftBound| usable(lease + Duration::from_nanos(1), drift);
    assert!((0..100).any(|seed| search(seed, without_it).is_some()));
}

#[test]
fn counting_from_the_answer_instead_of_the_sending_is_wrong() {
    // Perfect clocks, a lease of 10 µs, and an answer that takes 3 µs: the holder acts 3 µs too long.
    let exact = Clock {
        start_milli: 0,
        up: 1,
        down: 1,
    };
    let lease = Duration::from_micros(10);
    let drift = DriftBound::from_ppm(0).expect("in range");
    let from_answer = Duration::from_micros(3) + usable(lease, drift);
    assert!(overlaps(exact, exact, 0, lease, from_answer));
    assert!(!overlaps(exact, exact, 0, lease, usable(lease, drift)));
}

#[test]
fn a_holder_of_work_finishes_its_last_act_in_time() {
    let drift = DriftBound::from_ppm(500);
    let (sent, lease) = (Instant(77), Duration::from_secs(9));
    let act_max = Duration::from_millis(200);
    let until = holds_until(sent, lease, drift).expect("time is left");
    let stops = holder_stops_at(sent, lease, act_max, drift).expect("time is left");
    assert_eq!(stops + act_max, until);
}

#[test]
fn without_a_drift_bound_or_with_nothing_left_there_is_no_permission() {
    let (sent, lease) = (Instant(0), Duration::from_secs(9));
    let drift = DriftBound::from_ppm(500);
    assert_eq!(holds_until(sent, lease, None), None);
    assert_eq!(holder_stops_at(sent, lease, Duration::ZERO, None), None);
    assert_eq!(holds_until(sent, Duration::ZERO, drift), None);
    assert_eq!(holds_until(sent, Duration::from_nanos(1), drift), None);
    assert_eq!(holder_stops_at(sent, lease, lease, drift), None);
    assert_eq!(
        DriftBound::from_ppm(DRIFT_PPM_MAX + 1),
        None,
        "and nobody may state nonsense"
    );
    assert!(holds_until(sent, Duration::MAX, drift).is_some());
}

#[test]
fn the_guard_band_of_usual_numbers() {
    let band = |ms, ppm| {
        guard_band(
            Duration::from_millis(ms),
            DriftBound::from_ppm(ppm).expect("in range"),
        )
    };
    // 500 ppm, twice: about a thousandth.
    assert_eq!(band(1000, 500).as_micros(), 999);
    assert_eq!(band(9000, 500).as_micros(), 8993);
    // Two per cent, twice: about four.
    assert_eq!(band(1000, 20_000).as_micros(), 38_831);
    assert_eq!(band(1000, 0), Duration::from_nanos(1));
}

#[test]
fn a_wall_clock_that_is_set_is_noticed_and_one_that_drifts_is_not() {
    let mut rng = Rng::new(5);
    let bound_ns = 1_000_000;
    for _ in 0..2000 {
        let mut detector = JumpDetector::new(Duration::from_nanos(bound_ns));
        let (mut monotonic, mut wall) = (rng.below(1 << 60), (1 << 61) + rng.below(1 << 60));
        assert_eq!(
            detector.observe(Instant(monotonic), UnixNanos(wall)),
            None,
            "the first pair"
        );
        for _ in 0..20 {
            // Ten milliseconds with up to 500 ppm of slew; now and then somebody sets the clock.
            let passed = rng.below(10_000_000);
            monotonic += passed;
            wall = wall + passed - 5000 + rng.below(10_001);
            let expected = match rng.below(6) {
                0 => {
                    let by = bound_ns + 5001 + rng.below(1 << 59);
                    wall += by;
                    Some("forwards")
                }
                1 => {
                    let by = bound_ns + 5001 + rng.below(1 << 50);
                    wall -= by;
                    Some("backwards")
                }
                _ => None,
            };
            let seen =
                detector
                    .observe(Instant(monotonic), UnixNanos(wall))
                    .map(|jump| match jump {
                        Jump::Forwards(_) => "forwards",
                        Jump::Backwards(_) => "backwards",
                    });
            assert_eq!(seen, expected);
            // It is said once.
            assert_eq!(detector.observe(Instant(monotonic), UnixNanos(wall)), None);
            wall = wall.clamp(1 << 60, 1 << 63);
            detector.observe(Instant(monotonic), UnixNanos(wall));
        }
    }
}

#[test]
fn the_bound_of_a_jump_is_exact() {
    let mut detector = JumpDetector::new(Duration::from_millis(10));
    let ms = 1_000_000;
    detector.observe(Instant(0), UnixNanos(1000 * ms));
    assert_eq!(
        detector.observe(Instant(5 * ms), UnixNanos(1015 * ms)),
        None,
        "exactly 10 ms"
    );
    let jump = detector.observe(Instant(6 * ms), UnixNanos(1005 * ms));
    assert_eq!(jump, Some(Jump::Backwards(Duration::from_millis(11))));
    // A suspended machine: its boot-time clock and its wall clock both went on.
    assert_eq!(
        detector.observe(Instant(3_600_006 * ms), UnixNanos(3_601_005 * ms)),
        None
    );
    let far = detector.observe(Instant(3_600_006 * ms), UnixNanos(u64::MAX));
    assert!(matches!(far, Some(Jump::Forwards(_))));
    assert_eq!(
        jump.map(|jump| jump.to_string()),
        Some("the wall clock jumped backwards by 11 ms".into())
    );
}
