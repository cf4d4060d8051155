//! Numbers from the disk that are counted on from: how large they may be.
//!
//! Sums show what a disk does to a number. What they do not show is a number that somebody wrote with
//! right sums: at the end of its range, the next record would have no number. So every number that is
//! added to later has a bound, and a start refuses what is beyond it before it changes anything.
//!
//! What it is not: a judge of damage. A block whose sums are wrong never comes here.

use crate::disk::FileName;
use crate::log::UNKNOWN;
use base::limits::NUMBER_MAX;
use base::{HardState, LogPosition};

/// A number in the data directory that is larger than it can be. No disk does that and no version of
/// this program wrote it, so there is no repair: the directory is to be restored or replaced.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file} has the {what} {found}, and {most} is the most that is allowed")]
pub struct Excess {
    /// In which file.
    pub file: FileName,
    /// Which number.
    pub what: &'static str,
    /// Its value.
    pub found: u64,
    /// The highest value that it may have.
    pub most: u64,
}

/// A number beyond its bound, by somebody who does not know in which file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beyond {
    pub(crate) what: &'static str,
    pub(crate) found: u64,
    pub(crate) most: u64,
}

impl Beyond {
    /// It stands in `file`.
    pub(crate) fn of(self, file: FileName) -> Excess {
        Excess {
            file,
            what: self.what,
            found: self.found,
            most: self.most,
        }
    }
}

/// A number with a bound of its own.
pub(crate) fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), Beyond> {
    match found <= most {
        true => Ok(()),
        false => Err(Beyond { what, found, most }),
    }
}

/// A number that rises by one.
pub(crate) fn countable(what: &'static str, found: u64) -> Result<(), Beyond> {
    at_most(what, found, NUMBER_MAX)
}

/// A place in the log.
pub(crate) fn reachable(position: LogPosition) -> Result<(), Beyond> {
    countable("term", position.term.0)?;
    countable("index", position.index.0)
}

/// A place that was promised, which may be unknown.
pub(crate) fn promisable(position: LogPosition) -> Result<(), Beyond> {
    match position == UNKNOWN {
        true => Ok(()),
        false => {
            countable("promised term", position.term.0)?;
            countable("promised index", position.index.0)
        }
    }
}

/// A hard state; whom it voted for is no number.
pub(crate) fn holdable(hard_state: &HardState) -> Result<(), Beyond> {
    countable("term of the hard state", hard_state.term.0)?;
    countable("commit", hard_state.commit.0)
}
