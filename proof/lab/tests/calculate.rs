//! The arithmetic, against naive models that look at everything.

use base::Rng;
use clock::guard::DriftBound;
use lab::calculate::{availability, failures, lease, phi, quorums};
use std::process::Command;
use std::time::Duration;

fn calc(arguments: &[&str]) -> (Option<i32>, String, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("calc")
        .args(arguments)
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said.status.code(), text(&said.stdout), text(&said.stderr))
}

/// Every part of `members` that has `size`, as bits.
fn parts(members: u32, size: u32) -> Vec<u32> {
    let all = 0..1u32 << members;
    all.filter(|part| part.count_ones() == size).collect()
}

#[test]
fn overlaps_are_those_of_every_pair_of_parts() {
    for members in 1..=6 {
        for writes in 1..=members {
            for reads in 1..=members {
                let answer = quorums::one(members, writes, reads).expect("they are quorums");
                let least = |one: &[u32], other: &[u32]| {
                    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| a & b));
                    pairs.map(u32::count_ones).min()
                };
                let (w, r) = (parts(members, writes), parts(members, reads));
                let said = |name: &str| answer.json[name].as_u64().map(|n| n as u32);
                assert_eq!(said("overlap"), least(&w, &r));
                assert_eq!(said("writesOverlap"), least(&w, &w));
                assert_eq!(answer.json["isStrong"], least(&w, &r) > Some(0));
            }
        }
    }
}

#[test]
fn what_a_size_tolerates_is_what_every_failure_leaves() {
    for members in 1..=9 {
        let it = failures::of(members);
        let quorums = parts(members, it.majority);
        let survives = |down: &u32| quorums.iter().any(|quorum| quorum & down == 0);
        let survives_all = |n: &u32| parts(members, *n).iter().all(survives);
        assert_eq!(
            (0..=members).take_while(survives_all).last(),
            Some(it.crashes)
        );
        // Two quorums of those that must not lie share more than could lie.
        assert!(3 * it.lies < members && 3 * (it.lies + 1) >= members);
        if members % 2 == 0 {
            assert_eq!(it.crashes, failures::of(members - 1).crashes);
        }
    }
}

#[test]
fn availability_is_the_sum_over_every_set_of_members() {
    for members in 1..=10u32 {
        for up in [0.0, 0.5, 0.9, 0.999, 1.0] {
            let too_few = (0..1u32 << members).filter(|set| 2 * set.count_ones() <= members);
            let chance = |set: u32| {
                let n_up = set.count_ones() as i32;
                f64::powi(up, n_up) * f64::powi(1.0 - up, members as i32 - n_up)
            };
            let naive: f64 = too_few.map(chance).sum();
            let computed = availability::no_majority(members, up);
            assert!((computed - naive).abs() < 1e-12 * (1.0 + 1.0 / naive.max(1e-3)));
        }
    }
}

#[test]
fn phi_grows_with_silence_and_falls_with_jitter() {
    let phi = |gaps: &[f64], since| {
        let answer = phi::of(gaps, since, 300.0, 0.0);
        answer.json["phi"].as_f64()
    };
    let (steady, jittery) = ([100.0, 99.0, 101.0, 100.0], [40.0, 160.0, 90.0, 110.0]);
    let mut last = Some(-1.0);
    for since in [0.0, 100.0, 101.0, 102.0, 103.0, 110.0] {
        let now = phi(&steady, since);
        assert!(now >= last, "{now:?} after {since} ms, {last:?} before");
        last = now;
    }
    assert!(phi(&jittery, 150.0) < phi(&steady, 150.0));
    // At the mean one silence in two is longer: φ is the logarithm of 2.
    let at_mean = phi(&steady, 100.0).expect("it is finite");
    assert!((at_mean - 2f64.log10()).abs() < 1e-9);
    // Gaps without any deviation: no number says how surprising, so JSON says null.
    assert_eq!(phi(&[100.0, 100.0], 101.0), None);
}

/// Whatever two clocks within the bound do, the holder has stopped when the grantor lets go.
#[test]
fn a_holder_that_keeps_the_band_has_stopped_before_the_grantor_lets_go() {
    let mut rng = Rng::new(3);
    for _ in 0..10_000 {
        let ppm = rng.below(100_001) as u32;
        let ttl = Duration::from_micros(rng.between(1, 100_000_000));
        let error = Duration::from_micros(rng.below(10_000));
        let pause = Duration::from_micros(rng.below(10_000_000));
        let drift = DriftBound::from_ppm(ppm).expect("within the bound");
        let band = lease::of(ttl, drift, error, pause);
        assert!(band.guard_band <= ttl && band.grantor_lets_go == ttl);
        let Some(until) = band.holder_begins_until else {
            continue;
        };
        // The holder's clock is as slow as may be, and read too early; the grantor's is as fast as may be, and the
        // renewal took no time to arrive.
        let rho = 1.0 + f64::from(ppm) / 1e6;
        let holder_ends = (until + pause + error).as_secs_f64() * rho;
        let grantor_lets_go = band.grantor_lets_go.as_secs_f64() / rho;
        let is_safe = holder_ends <= grantor_lets_go + error.as_secs_f64() * rho + 1e-9;
        assert!(
            is_safe,
            "{ttl:?} at {ppm} ppm: {holder_ends} and {grantor_lets_go}"
        );
    }
}

#[test]
fn the_usual_configurations_are_a_table() {
    let (code, text, _) = calc(&["quorums"]);
    assert_eq!(code, Some(0));
    let row = |name: &str| {
        let row = text.lines().find(|line| line.starts_with(name));
        row.map(|row| row.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    };
    // strong, shared, reads survive, writes survive, both, two writes share
    assert_eq!(row("5/3/3").as_deref(), Some("yes 1 2 2 2 1"));
    assert_eq!(row("5/4/2").as_deref(), Some("yes 1 3 1 1 3"));
    assert_eq!(row("5/2/4").as_deref(), Some("yes 1 1 3 1 0"));
    assert_eq!(row("5/1/1").as_deref(), Some("no 0 4 4 4 0"));
    assert_eq!(row("3/1/3").as_deref(), Some("yes 1 0 2 0 0"));
    assert_eq!(row("3/2/2").as_deref(), Some("yes 1 1 1 1 1"));
}

#[test]
fn every_calculation_speaks_json_too() {
    for (arguments, field) in [
        (&["quorums", "5", "3", "3"][..], "overlap"),
        (&["quorums"], "usual"),
        (&["failures"], "sizes"),
        (&["availability", "--up", "0.9"], "sizes"),
        (&["phi", "--gaps", "100,110,90", "--since", "400"], "phi"),
        (
            &["lease", "--ttl", "10s", "--drift-ppm", "200"],
            "guardBandNs",
        ),
    ] {
        let with_form = [arguments, &["-o", "json"]].concat();
        let (code, text, complaint) = calc(&with_form);
        assert_eq!(code, Some(0), "{complaint}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert!(
            !json[field].is_null(),
            "{arguments:?} has no {field}: {text}"
        );
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused_in_a_sentence() {
    for (arguments, complaint) in [
        (&["quorums", "3", "4", "1"][..], "W is 4: of 3 members"),
        (&["failures", "--largest", "0"], "the largest size is 0"),
        (&["availability", "--up", "99"], "the probability is 99"),
        (&["availability", "--members", "0"], "N is 0"),
        (
            &["phi", "--gaps", "100,NaN", "--since", "1"],
            "a gap is NaN",
        ),
        (
            &["phi", "--gaps", "100", "--since", "inf"],
            "--since is inf",
        ),
        (&["lease", "--ttl", "0s", "--drift-ppm", "1"], "--ttl is 0"),
        (
            &["lease", "--ttl", "9s", "--drift-ppm", "100001"],
            "a drift of 100001 ppm",
        ),
    ] {
        let (code, text, said) = calc(arguments);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
    }
}
