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

/// All of them.
pub const KNOWN: &[Known] = &[];

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
