//! Which versions of the peer protocol this member speaks, and which it must hear.
//!
//! Builds differ by one protocol at least while a cluster is upgraded member by member, so the two ends of a connection
//! take the newest that both know, and a message that an older one does not have is not sent there. Once the cluster's
//! apply version is one that a former build does not know, such a build is turned away at the door: it would stop at
//! the first entry that it met.

use base::MemberId;
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use wire::{Hello, Purpose, VERSION_MAX, VERSION_MIN, VERSION_OF_KNOWS};

/// The first apply version that builds of the oldest protocol do not know.
const APPLY_VERSION_OF_KNOWS: u16 = 3;

/// Shared by everything that introduces itself or is introduced to.
#[derive(Clone)]
pub(crate) struct Spoken {
    min: Rc<Cell<u16>>,
    max: u16,
}

impl Spoken {
    /// Of a member that knows apply versions up to `apply_version_max`.
    pub(crate) fn new(apply_version_max: u16) -> Spoken {
        let is_former = apply_version_max < APPLY_VERSION_OF_KNOWS;
        Spoken {
            min: Rc::new(Cell::new(VERSION_MIN)),
            max: if is_former { VERSION_MIN } else { VERSION_MAX },
        }
    }

    /// The cluster's apply version is `apply_version` now.
    pub(crate) fn raised(&self, apply_version: u16) {
        if apply_version >= APPLY_VERSION_OF_KNOWS {
            self.min.set(VERSION_OF_KNOWS);
        }
    }

    /// The versions.
    pub(crate) fn versions(&self) -> RangeInclusive<u16> {
        self.min.get()..=self.max
    }
}

/// The first word to `to`.
pub(super) fn hello(
    versions: &RangeInclusive<u16>,
    purpose: Purpose,
    to: MemberId,
    name: &str,
) -> Hello {
    Hello {
        version_min: *versions.start(),
        version_max: *versions.end(),
        ..Hello::new(purpose, to, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ClusterId;
    use wire::{HelloRefusal, HelloReply, Origin};

    fn of(member: u64) -> Origin {
        Origin {
            cluster: ClusterId(1),
            member: MemberId(member),
        }
    }

    fn meet(opener: &Spoken, listener: &Spoken) -> HelloReply {
        let hello = hello(&opener.versions(), Purpose::Messages, MemberId(2), "n1");
        hello.answer_within(of(1), of(2), listener.versions())
    }

    #[test]
    fn a_former_build_is_welcome_until_the_version_rises() {
        let (former, new) = (Spoken::new(2), Spoken::new(3));
        let refused = HelloReply::Refused(HelloRefusal::WrongVersion);
        assert_eq!(meet(&former, &new), HelloReply::Welcome { version: 2 });
        assert_eq!(meet(&new, &former), HelloReply::Welcome { version: 2 });
        assert_eq!(meet(&new, &new), HelloReply::Welcome { version: 3 });
        new.raised(2);
        assert_eq!(meet(&former, &new), HelloReply::Welcome { version: 2 });
        new.raised(3);
        assert_eq!(meet(&former, &new), refused);
        assert_eq!(meet(&new, &former), refused);
        assert_eq!(meet(&new, &new), HelloReply::Welcome { version: 3 });
    }
}
