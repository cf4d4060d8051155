//! Hybrid time as text: what is written is read again, and what is not a time is refused.

use base::Rng;
use clock::{HybridTime, TextError};

/// Known pairs, computed by other tools.
const KNOWN: &[(u64, &str)] = &[
    (0, "1970-01-01T00:00:00.000Z"),
    (951_782_399_999, "2000-02-28T23:59:59.999Z"),
    (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (951_868_800_000, "2000-03-01T00:00:00.000Z"),
    (1_234_567_890_000, "2009-02-13T23:31:30.000Z"),
    (1_795_248_000_123, "2026-11-21T08:00:00.123Z"),
    (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    (253_402_300_800_000, "+10000-01-01T00:00:00.000Z"),
    ((1 << 48) - 1, "+10889-08-02T05:31:50.655Z"),
];

#[test]
fn known_times_have_their_text() {
    for (physical_ms, text) in KNOWN {
        let stamp = HybridTime::new(*physical_ms, 0);
        assert_eq!(stamp.to_rfc3339(), *text);
        assert_eq!(HybridTime::from_rfc3339(text), Ok(stamp), "{text}");
    }
}

#[test]
fn each_time_reads_as_itself_and_text_keeps_the_order_of_times() {
    let mut rng = Rng::new(1);
    let mut texts = Vec::new();
    for _ in 0..20_000 {
        let stamp = HybridTime(rng.next_u64() >> rng.below(30));
        let text = stamp.to_rfc3339();
        assert_eq!(HybridTime::from_rfc3339(&text), Ok(stamp), "{text}");
        if stamp.logical() == 0 && !text.starts_with('+') {
            texts.push((stamp, text));
        }
    }
    for ms in (0..253_402_300_800_000).step_by(86_400_000 * 37 + 12_345) {
        let stamp = HybridTime::new(ms, 0);
        texts.push((stamp, stamp.to_rfc3339()));
    }
    texts.sort();
    assert!(texts.is_sorted_by(|a, b| a.1 <= b.1));
}

#[test]
fn every_day_of_eight_centuries_follows_the_one_before() {
    // By brute force: count the days, with the rule for leap years as people learn it.
    let mut ms = 0;
    for year in 1970..2770 {
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let february = if is_leap { 29 } else { 28 };
        for (month, n_days) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            .into_iter()
            .enumerate()
        {
            for day in 1..=n_days {
                let text = format!("{year}-{:02}-{day:02}T00:00:00.000Z", month + 1);
                assert_eq!(HybridTime::new(ms, 0).to_rfc3339(), text);
                assert_eq!(HybridTime::from_rfc3339(&text), Ok(HybridTime::new(ms, 0)));
                ms += 86_400_000;
            }
            let beyond = format!("{year}-{:02}-{:02}T00:00:00Z", month + 1, n_days + 1);
            assert_eq!(
                HybridTime::from_rfc3339(&beyond),
                Err(TextError::Range { part: "day" })
            );
        }
    }
}

#[test]
fn what_people_write_is_understood() {
    let eight = HybridTime::new(1_795_248_000_000, 0);
    for text in [
        "2026-11-21T08:00:00Z",
        "2026-11-21t08:00:00z",
        "2026-11-21T08:00:00.0Z",
        "2026-11-21T08:00:00.000999999Z",
        "2026-11-21T09:00:00+01:00",
        "2026-11-20T20:30:00-11:30",
    ] {
        assert_eq!(HybridTime::from_rfc3339(text), Ok(eight), "{text}");
    }
    let counted = HybridTime::new(1_795_248_000_500, 65_535);
    assert_eq!(
        HybridTime::from_rfc3339("2026-11-21T08:00:00.5Z+65535"),
        Ok(counted)
    );
    assert_eq!(
        HybridTime::from_rfc3339("2026-11-21T09:00:00.5+01:00+65535"),
        Ok(counted)
    );
}

#[test]
fn what_is_no_time_is_refused_and_says_why() {
    let form = |at| TextError::Form { at };
    let range = |part| TextError::Range { part };
    for (text, why) in [
        ("", form(0)),
        ("yesterday", form(0)),
        ("2026-11-21", form(10)),
        ("2026-11-21 08:00:00Z", form(10)),
        ("2026-11-21T08:00:00", form(19)),
        ("2026-11-21T08:00:00.Z", form(20)),
        ("2026-11-21T08:00:00.0000000001Z", form(29)),
        ("2026-11-21T08:00:00Z+", form(21)),
        ("2026-11-21T08:00:00Z+0", form(21)),
        ("2026-11-21T08:00:00Z+07", form(21)),
        ("2026-11-21T08:00:00Z+655351", form(26)),
        ("2026-11-21T08:00:00Z ", form(20)),
        ("2026-11-21T08:00:00Ż", form(19)),
        ("2026-11-21T08:00:00Z+65536", range("counter")),
        ("2026-13-21T08:00:00Z", range("month")),
        ("2026-00-21T08:00:00Z", range("month")),
        ("2026-02-29T08:00:00Z", range("day")),
        ("2026-02-00T08:00:00Z", range("day")),
        ("2026-11-21T24:00:00Z", range("hour")),
        ("2026-11-21T08:60:00Z", range("minute")),
        ("2026-11-21T08:00:61Z", range("second")),
        ("2026-11-21T08:00:00+24:00", range("offset")),
        ("1969-12-31T23:59:59.999Z", range("year")),
        ("1970-01-01T00:00:00+00:01", range("year")),
        ("+10889-08-02T05:31:50.656Z", range("year")),
        ("2016-12-31T23:59:60Z", TextError::LeapSecond),
    ] {
        assert_eq!(HybridTime::from_rfc3339(text), Err(why), "{text}");
    }
}

#[test]
fn no_text_is_fatal() {
    let mut rng = Rng::new(2);
    let alphabet = b"0123456789-+:.TtZz 9\xff";
    for _ in 0..100_000 {
        let mut text = b"2026-11-21T08:00:00.123Z+7".to_vec();
        for _ in 0..rng.between(1, 4) {
            let at = rng.below(text.len() as u64) as usize;
            text[at] = *rng.pick(alphabet).expect("not empty");
        }
        text.truncate(rng.between(0, 26) as usize);
        let text = String::from_utf8_lossy(&text);
        if let Ok(stamp) = HybridTime::from_rfc3339(&text) {
            assert_eq!(
                HybridTime::from_rfc3339(&stamp.to_rfc3339()),
                Ok(stamp),
                "{text}"
            );
        }
    }
}
