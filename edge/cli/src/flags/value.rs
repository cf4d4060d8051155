//! Values as Go's flag and time packages read them.

use std::time::Duration;

/// Nanoseconds of a Go unit of time.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration: `1h30m`, `1.5s`, `300ms`, `0`. Nothing when it is not one, is below zero, or is more than Go's 292 years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (whole, mut after) = rest.split_at(end);
        let mut fraction = "";
        if let Some(tail) = after.strip_prefix('.') {
            let end = tail
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(tail.len());
            (fraction, after) = tail.split_at(end);
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = after.split_at(end.unwrap_or(after.len()));
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if whole.len() > 19 {
            return None;
        }
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        nanos += whole * u128::from(*scale);
        let mut part = u128::from(*scale);
        for digit in fraction.bytes().take(18) {
            nanos += u128::from(digit - b'0') * part / 10;
            part /= 10;
        }
        if nanos > i64::MAX as u128 {
            return None;
        }
        rest = tail;
    }
    Some(Duration::from_nanos(nanos as u64))
}

/// A duration, or a bare number of nanoseconds, which is how etcd's YAML has them.
pub(super) fn duration_or_nanos(text: &str) -> Option<Duration> {
    match text.parse::<u64>() {
        Ok(nanos) if nanos <= i64::MAX as u64 => Some(Duration::from_nanos(nanos)),
        _ => duration(text),
    }
}

/// A switch.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        _ => None,
    }
}

/// A switch as YAML 1.1 writes it, beside Go's words: etcd's YAML library reads those.
pub(super) fn yaml_switch(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        other => switch(other),
    }
}

/// What a list with commas holds, without blanks around it.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("0", Some(ms(0))),
            ("1h", Some(ms(3_600_000))),
            ("1h30m", Some(ms(5_400_000))),
            ("1.5s", Some(ms(1500))),
            (".5s", Some(ms(500))),
            ("1.s", Some(ms(1000))),
            ("300ms", Some(ms(300))),
            ("2µs", Some(Duration::from_micros(2))),
            ("+1m", Some(ms(60_000))),
            ("2540400h", Some(ms(2_540_400 * 3_600_000))),
            ("2562048h", None), // more than fits in Go's 63 bits
            ("99999999999999999999h", None),
            ("", None),
            ("1", None),
            ("-1h", None),
            ("h", None),
            (".h", None),
            ("1x", None),
            ("1h 30m", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
        assert_eq!(duration_or_nanos("100000000"), Some(ms(100)));
        assert_eq!(duration_or_nanos("100ms"), Some(ms(100)));
        assert_eq!(duration_or_nanos("-1"), None);
    }

    #[test]
    fn lists_forgive_blanks() {
        assert_eq!(list(" a, b ,,c").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
