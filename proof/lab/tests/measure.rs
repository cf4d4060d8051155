//! The measurements: what the literature says, within bounds that have reasons, and the tables as they are printed.
//!
//! Seeds are fixed, so nothing here is left to chance: a bound is wide enough for chance when somebody changes a seed.

use lab::measure::swim::How;
use lab::measure::{ALL, gossip, phi, split_vote, staleness, swim};
use std::path::Path;

/// So many standard deviations off is no accident: one in 15,000.
const OFF: f64 = 4.0;

/// Whether `counted` of `n` fits a probability.
fn fits(counted: u64, n: u64, probability: f64) -> bool {
    let expected = n as f64 * probability;
    // And half a count: counts are whole.
    let deviation = (expected * (1.0 - probability)).sqrt();
    (counted as f64 - expected).abs() <= OFF * deviation + 0.5
}

#[test]
fn gossip_reaches_all_in_logarithmic_time_at_a_constant_price() {
    let (reach, residue) = (gossip::reach(), gossip::residue());
    for one in &reach {
        // Pittel: log₂ N + ln N and a constant, in probability. The last one is late by a constant with a tail that
        // falls like e^-x: of 21 runs, the worst by 7.
        let off = f64::from(one.median) - one.expected;
        assert!(off.abs() <= 2.5, "{}: median {}", one.n, one.median);
        assert!(
            f64::from(one.max) <= one.expected + 7.0,
            "{}: {}",
            one.n,
            one.max
        );
        // Who knows sends one message in each round, whatever N is.
        assert!(one.sent_per_node_round <= 1.0, "{}", one.n);
    }
    // A hundred times the nodes: log₂ 100 + ln 100 = 11.2 rounds more, and not a hundred times as many.
    let by_n = |n: usize| reach.iter().find(|one| one.n == n).expect("it is measured");
    let more = by_n(10_000).median - by_n(100).median;
    assert!((8..=15).contains(&more), "{more} rounds more");
    for pair in residue.windows(2) {
        assert!(pair[1].missed < pair[0].missed);
    }
    for one in &residue {
        // 100,000 nodes; those whom a rumour misses are missed together, so chance is greater than that of a count:
        // for k = 5 some 250 are missed, give or take a tenth.
        let off = one.missed / one.expected;
        assert!(
            (0.75..=1.25).contains(&off),
            "k = {}: {}",
            one.doubts,
            one.missed
        );
        // Whoever knows was told in vain k times and once not.
        let traffic = f64::from(one.doubts + 1) * (1.0 - one.missed);
        assert!(
            (one.traffic / traffic - 1.0).abs() < 0.01,
            "k = {}: {}",
            one.doubts,
            one.traffic
        );
    }
    golden("gossip", &gossip::table(&reach, &residue));
}

#[test]
fn indirect_pings_and_suspicion_save_the_living_as_the_formula_says() {
    let rows = swim::measure();
    for one in &rows {
        assert!(
            fits(one.n_errors, one.n_pinged, one.expected),
            "{:?} of {} at {} %: {} of {}",
            one.how,
            one.n,
            one.loss_percent,
            one.n_errors,
            one.n_pinged
        );
        // A ping and its answer; with the answers to three others' requests at most: 2 + 3 · 4, and as many for who
        // is asked. Whatever N is.
        assert!(one.sent <= 8.0, "{} messages", one.sent);
    }
    let sum = |how: How| {
        let of = rows.iter().filter(|one| one.how == how);
        of.map(|one| one.n_errors).sum::<u64>()
    };
    assert!(sum(How::Indirect) * 5 < sum(How::Direct));
    assert!(sum(How::Suspicion) * 5 < sum(How::Indirect));
    golden("swim", &swim::table(&rows));
}

#[test]
fn a_suspicion_of_8_is_wrong_once_in_a_hundred_million() {
    let rows = phi::measure();
    for one in &rows {
        // 200,000 weights, whose deviation is below three times their mean: within one percent and a half or so.
        let off = one.weighed / one.expected - 1.0;
        assert!(off.abs() < 0.03, "φ = {}: {}", one.phi, one.weighed);
        if let Some(counted) = one.counted {
            let n = 2_000_000;
            assert!(
                fits((counted * n as f64).round() as u64, n, one.expected),
                "φ = {}: {counted}",
                one.phi
            );
        }
        if let (Some(learnt), Some(counted)) = (one.learnt, one.counted) {
            // An estimate from 100 gaps is off by 7 % of a deviation or so: more mistakes, and not more than thrice
            // as many at 3.7 deviations.
            assert!(
                learnt >= counted && learnt < 3.0 * counted,
                "φ = {}: {learnt}",
                one.phi
            );
        }
    }
    let eight = rows
        .iter()
        .find(|one| one.phi == 8.0)
        .expect("8 is measured");
    assert!((eight.deviations - 5.612).abs() < 1e-3);
    golden("phi", &phi::table(&rows));
}

#[test]
fn votes_split_less_the_wider_the_range_of_timeouts_is() {
    let rows = split_vote::measure();
    let networks: Vec<&[split_vote::Split]> = rows.chunks(rows.len() / 2).collect();
    for network in &networks {
        for pair in network.windows(2) {
            assert!(pair[1].split <= pair[0].split, "{} ms", pair[1].width_ms);
        }
        for one in *network {
            // Two percent for chance: four deviations of 2,000 elections are less than five.
            let at_most = one.bound + 0.02;
            assert!(one.split <= at_most, "{} ms: {}", one.width_ms, one.split);
        }
        // Without width it goes on without end; the paper saw more than ten seconds, again and again.
        let none = &network[0];
        assert_eq!(none.width_ms, 0);
        assert!(none.split > 0.9 && none.median_ms > 300);
        // With the width of the paper nine of ten and more are decided in their first term.
        let full = &network[network.len() - 1];
        assert_eq!(full.width_ms, 150);
        assert!(full.split < 0.1 && full.never == 0.0);
    }
    // The paper: 5 ms of randomness brought the median down to 287 ms, and with 50 ms the longest of 1,000 elections
    // took 513 ms. Here no worse: there, not every log was good enough to win.
    let of = |width: u64| networks[0].iter().find(|one| one.width_ms == width);
    assert!(of(5).expect("it is measured").median_ms <= 287);
    assert!(of(50).expect("it is measured").max_ms <= 513);
    golden("split-vote", &split_vote::table(&rows));
}

#[test]
fn quorums_that_overlap_are_never_stale_and_others_are() {
    let rows = staleness::measure();
    for one in &rows {
        let (n, w, r) = one.quorum;
        if w + r > n {
            assert_eq!(one.stale, [0; 4], "{n}/{w}/{r}");
            assert_eq!(one.expected, 0.0);
            continue;
        }
        assert!(one.stale[0] > 0, "{n}/{w}/{r} is never stale");
        // Later reads are less stale, and none is staler than if the write had gone no further than its quorum.
        let chance = OFF * (staleness::READS as f64 * one.expected).sqrt();
        for pair in one.stale.windows(2) {
            assert!(pair[1] as f64 <= pair[0] as f64 + chance, "{n}/{w}/{r}");
        }
        let at_most = staleness::READS as f64 * one.expected + chance;
        assert!(
            one.stale[0] as f64 <= at_most,
            "{n}/{w}/{r}: {}",
            one.stale[0]
        );
    }
    golden("staleness", &staleness::table(&rows));
}

#[test]
fn every_measurement_is_listed_and_tested() {
    let mut golden: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().trim_end_matches(".txt").to_string())
        .collect();
    golden.sort();
    let mut names: Vec<&str> = ALL.iter().map(|one| one.name).collect();
    names.sort_unstable();
    assert_eq!(golden, names);
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/measure")
}

/// Compares with `golden/measure/NAME.txt`; with `UPDATE=1` writes it.
fn golden(name: &str, text: &str) {
    let file = folder().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(folder()).expect("the folder can be made");
        std::fs::write(&file, text).expect("the file can be written");
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        kept,
        text,
        "{} differs; UPDATE=1 writes it anew",
        file.display()
    );
}
