//! Pictures: as text, as SVG, and as a trace that other tools read.

use lab::diagram::{Event, Kind, Picture, SHIVIZ, Sent};
use regex::Regex;
use std::collections::BTreeMap;

fn event(at: usize, kind: Kind, text: &str) -> Event {
    Event {
        at,
        kind,
        text: text.into(),
        said: Vec::new(),
        sends: Vec::new(),
    }
}

/// a sends two messages to c: one is lost. b crashes and comes back. A name needs escaping.
fn picture() -> Picture {
    let mut picture = Picture::new(["a".into(), "b".into(), "c<\"&".into()]);
    let sends = [0, 1].map(|message| Sent {
        message,
        to: 2,
        text: "x".into(),
    });
    picture.push(Event {
        sends: sends.into(),
        ..event(0, Kind::Woke, "go")
    });
    picture.push(event(1, Kind::Crashed, "crashes"));
    picture.push(event(
        2,
        Kind::Received {
            from: 0,
            message: 1,
        },
        "x",
    ));
    picture.push(event(
        2,
        Kind::Lost {
            from: 0,
            message: 0,
        },
        "x is lost",
    ));
    picture.push(event(0, Kind::Tick, "time 1"));
    picture.push(Event {
        said: vec!["knows \"nothing\"".into()],
        ..event(1, Kind::Restarted, "is back")
    });
    picture.push(event(2, Kind::Paused, "stands still"));
    picture.push(event(0, Kind::Fault, "its clock jumps"));
    picture.push(event(2, Kind::Resumed, "goes on"));
    picture
}

#[test]
fn text_has_a_row_for_each_event() {
    let expected = "
      a       b       c<\"&
   1  ●       │       │       a  go
   2  │       ✕       │       b  crashes
   3  ├───────┼──────▶●       a → c<\"&  x  (sent at 1)
   4  ├───────┼──────▶✕       a → c<\"&  x is lost  (sent at 1)
   5  ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄  time 1
   6  │       ◉       │       b  is back: knows \"nothing\"
   7  │       │       ‖       c<\"&  stands still
   8  !       │       ┊       a  its clock jumps
   9  │       │       ▷       c<\"&  goes on
";
    assert_eq!(picture().text(), expected[1..]);
}

#[test]
fn text_folds_three_ticks_and_more_between_which_nothing_happens() {
    let mut picture = Picture::new(["a".into()]);
    for time in 1..=2 {
        picture.push(event(0, Kind::Tick, &format!("time {time}")));
    }
    picture.push(event(0, Kind::Woke, "go"));
    for time in 3..=5 {
        picture.push(event(0, Kind::Tick, &format!("time {time}")));
    }
    picture.push(event(0, Kind::Everywhere, "the network parts: halves"));
    picture.push(event(0, Kind::Tick, "time 6"));
    let expected = "
      a
   1  ┄┄┄┄┄┄  time 1
   2  ┄┄┄┄┄┄  time 2
   3  ●       a  go
   4  ┄┄┄┄┄┄  time 3 … time 5
   7  ┄┄┄┄┄┄  the network parts: halves
   8  ┄┄┄┄┄┄  time 6
";
    assert_eq!(picture.text(), expected[1..]);
    // The others show each: a trace counts steps, and an SVG is as long as it likes.
    assert_eq!(picture.svg().matches(">time ").count(), 6);
    assert_eq!(picture.trace().lines().count(), 1);
}

#[test]
fn a_line_of_the_trace_is_json_and_what_shiviz_reads() {
    let line_of = Regex::new(&SHIVIZ.replace("(?<", "(?P<")).expect("it is a regular expression");
    let trace = picture().trace();
    let mut clocks: Vec<(String, BTreeMap<String, u64>)> = Vec::new();
    for line in trace.lines() {
        let _: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let found = line_of.captures(line).unwrap_or_else(|| panic!("{line}"));
        let clock = serde_json::from_str(&found["clock"]).expect("a clock is JSON");
        clocks.push((found["host"].into(), clock));
    }
    // Nobody can know of the tick and of the loss.
    assert_eq!(clocks.len(), 7);
    let (host, received) = &clocks[2];
    assert_eq!(host, "c<\\\"&", "as JSON writes it");
    assert_eq!(received["a"], 1, "it knows of the sending");
    assert!(!received.contains_key("b"));
    // Each host counts its own events, which is what ShiViz checks.
    let mut own: BTreeMap<&str, u64> = BTreeMap::new();
    for (host, clock) in &clocks {
        let next = own.entry(host).or_default();
        *next += 1;
        let me = serde_json::from_str::<String>(&format!("\"{host}\"")).expect("a name");
        assert_eq!(clock[&me], *next, "{host}");
    }
}

#[test]
fn svg_is_well_formed_and_shows_everything() {
    let svg = picture().svg();
    let tag = Regex::new(r#"<(/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<>]*")*) ?(/?)>"#)
        .expect("an expression");
    let mut open: Vec<String> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for found in tag.captures_iter(&svg) {
        match (&found[1], &found[4]) {
            ("/", _) => assert_eq!(open.pop().as_deref(), Some(&found[2])),
            ("", "/") => {}
            _ => open.push(found[2].into()),
        }
        *counts.entry(found[2].into()).or_default() += 1;
    }
    assert!(open.is_empty(), "{open:?}");
    let between = tag.replace_all(&svg, "");
    assert!(!between.contains(['<', '>']), "{between}");
    // Three lives, two arrows (one dashed), one line across; a dot for all but the loss and the tick.
    assert_eq!(counts["line"], 3 + 2 + 1);
    assert_eq!(counts["circle"], 7);
    assert!(svg.contains("c&lt;&quot;&amp;"));
}

#[test]
fn the_guide_tells_how_shiviz_reads_it() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/lab.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    assert!(guide.lines().any(|line| line == SHIVIZ));
}
