//! Bugs that the targets have found and that are not repaired yet: each with an input that shows it.
//!
//! Smoke passes over these and over nothing else. An entry whose input no longer shows it fails the run:
//! whoever repairs a bug takes its entry off this list and leaves the file in `found/`, where every run
//! replays it.

use crate::attempt::Broken;

/// One bug that is known.
pub struct Known {
    /// Which targets find it.
    pub targets: &'static [&'static str],
    /// The source file in which it stops, by the end of its path.
    pub place: &'static str,
    /// What its panic says, or a part of it.
    pub says: &'static str,
    /// Its input, in `found/`.
    pub file: &'static str,
    /// What is wrong, in words.
    pub what: &'static str,
}

const OVERFLOW: &str = "attempt to add with overflow";
const LOG: &[&str] = &["log", "checkpoint"];
const STATE: &[&str] = &["snapshot_stream", "checkpoint", "etcd_snapshot"];

/// All of them need sums that somebody made anew: no disk and no cable does that.
pub const KNOWN: &[Known] = &[
    Known {
        targets: LOG,
        place: "storage/src/log.rs",
        says: "a serial is used twice",
        file: "log--promise-beyond-serials.bin",
        what: "a start believes a promised serial that is above every serial that was used",
    },
    Known {
        targets: LOG,
        place: "storage/src/resume.rs",
        says: OVERFLOW,
        file: "log--last-serial.bin",
        what: "a start adds one to a serial that is the largest number",
    },
    Known {
        targets: LOG,
        place: "storage/src/resume.rs",
        says: OVERFLOW,
        file: "log--last-segment.bin",
        what: "a start adds one to a segment's number that is the largest number",
    },
    Known {
        targets: LOG,
        place: "base/src/position.rs",
        says: OVERFLOW,
        file: "log--last-index.bin",
        what: "a start asks for the index after the largest number",
    },
    Known {
        targets: LOG,
        place: "storage/src/log.rs",
        says: OVERFLOW,
        file: "log--last-generation.bin",
        what: "a start adds one to a watermark's generation that is the largest number",
    },
    Known {
        targets: LOG,
        place: "storage/src/record.rs",
        says: OVERFLOW,
        file: "log--last-end.bin",
        what: "a start asks for the index after the end of a record, which is the largest number",
    },
    Known {
        targets: STATE,
        place: "store/src/root.rs",
        says: OVERFLOW,
        file: "snapshot_stream--last-version.bin",
        what: "a snapshot with a version of a key that is the largest number; the next put stops",
    },
    Known {
        targets: STATE,
        place: "base/src/position.rs",
        says: OVERFLOW,
        file: "snapshot_stream--last-revision.bin",
        what: "a snapshot with a revision that is the largest number; the next put stops",
    },
];

impl Known {
    /// Whether `broken`, found by `target`, is this.
    pub fn is(&self, target: &str, broken: &Broken) -> bool {
        let file = broken.place.split(':').next().unwrap_or_default();
        self.targets.contains(&target)
            && file.replace('\\', "/").ends_with(self.place)
            && broken.message.contains(self.says)
    }
}

/// Whether `broken` is known.
pub fn is_known(target: &str, broken: &Broken) -> bool {
    KNOWN.iter().any(|known| known.is(target, broken))
}
