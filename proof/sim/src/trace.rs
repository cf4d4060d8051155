//! What happened, as one number and, when asked, as lines.
//!
//! Every event of a run goes into one xxh3: two runs of a seed must give the same number, in any
//! process (the twin run). Lines are only made in a run that records, which is always a second run of a
//! seed that failed: replay is exact, so nothing is paid for them before.

use checker::Time;
use std::collections::VecDeque;
use std::fmt::Write as _;
use xxhash_rust::xxh3::Xxh3;

/// Bytes gathered before they are hashed.
const BUFFER_BYTES: usize = 4096;

/// The trace of one run.
pub struct Trace {
    hash: Xxh3,
    buffer: Vec<u8>,
    n_events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps lines if `records`.
    pub fn new(records: bool) -> Trace {
        Trace {
            hash: Xxh3::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES * 2),
            n_events: 0,
            lines: records.then(Vec::new),
        }
    }

    /// Notes an event: its kind, the numbers that identify it, and its text for people.
    pub fn note(&mut self, now: Time, kind: &str, numbers: &[u64], text: impl FnOnce() -> String) {
        self.n_events += 1;
        self.buffer.extend_from_slice(&now.0.to_le_bytes());
        self.buffer.extend_from_slice(kind.as_bytes());
        for number in numbers {
            self.buffer.extend_from_slice(&number.to_le_bytes());
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
        if let Some(lines) = &mut self.lines {
            lines.push(json_line(self.n_events, now, kind, &text()));
        }
    }

    /// Whether lines are kept.
    pub fn records(&self) -> bool {
        self.lines.is_some()
    }

    /// Events so far.
    pub fn n_events(&self) -> u64 {
        self.n_events
    }

    /// The number that stands for the whole run.
    pub fn digest(&mut self) -> u64 {
        self.hash.update(&self.buffer);
        self.buffer.clear();
        self.hash.digest()
    }

    /// The lines, if they were kept.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

fn json_line(step: u64, now: Time, kind: &str, text: &str) -> String {
    let mut line = format!("{{\"step\":{step},\"time\":{now},\"kind\":\"{kind}\",\"text\":\"");
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push_str("\"}");
    line
}

/// The last `n` lines.
pub fn last(lines: &[String], n: usize) -> Vec<&str> {
    let mut kept: VecDeque<&str> = lines.iter().rev().take(n).map(String::as_str).collect();
    kept.make_contiguous().reverse();
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_depends_on_every_event_and_not_on_recording() {
        let run = |records, last| {
            let mut trace = Trace::new(records);
            (0..1000).for_each(|n| trace.note(Time(n), "tick", &[n], || n.to_string()));
            trace.note(Time(1000), "end", &[last], String::new);
            trace.digest()
        };
        assert_eq!(run(false, 1), run(true, 1));
        assert_ne!(run(false, 1), run(false, 2));
    }

    #[test]
    fn lines_are_json() {
        let mut trace = Trace::new(true);
        trace.note(Time(1_500_000_000), "say", &[], || {
            "a \"quoted\"\nline".to_owned()
        });
        let lines = trace.into_lines();
        assert_eq!(
            last(&lines, 3),
            [r#"{"step":1,"time":1.500000,"kind":"say","text":"a \"quoted\"\nline"}"#]
        );
    }
}
