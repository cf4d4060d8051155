//! Bugs that can be planted: three in the shell around the core, which every build has; and all of the core's own, where
//! the build has them.
//!
//! A shipped server has no planted bugs compiled in, and the lab ships in the same binary. So what strangers can break is
//! what the simulator itself does around the core: its disks, and the moment at which it answers a client. That is also
//! where most real systems were broken: a disk that lied about a sync, a proxy that answered too soon, a read that asked
//! nobody.

use crate::plan::Consensus;
use base::{Mutant, Mutants};

/// A bug of the shell around the production core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ShellBug {
    /// Every disk says that a sync is done, and has done nothing.
    LyingDisk,
    /// A leader answers a put when it has proposed it, not when it is decided.
    AnswerEarly,
    /// A linearizable read is answered from the member's own state.
    ReadLocally,
}

impl ShellBug {
    /// All of them.
    pub const ALL: [ShellBug; 3] = [
        ShellBug::AnswerEarly,
        ShellBug::LyingDisk,
        ShellBug::ReadLocally,
    ];

    /// How the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            ShellBug::LyingDisk => "lying-disk",
            ShellBug::AnswerEarly => "answer-early",
            ShellBug::ReadLocally => "read-locally",
        }
    }

    /// What is broken, in one line.
    pub fn about(self) -> &'static str {
        match self {
            ShellBug::LyingDisk => {
                "every disk says that a sync is done, and has done nothing: what was acknowledged is gone when the \
                 power of a majority goes"
            }
            ShellBug::AnswerEarly => {
                "a leader answers a put when it has proposed it, not when a majority has it: whoever leads alone \
                 acknowledges what nobody will ever see"
            }
            ShellBug::ReadLocally => {
                "a linearizable read is answered from the member's own state, without asking a majority: whoever \
                 is cut off tells what was true once"
            }
        }
    }
}

/// A planted bug of either kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Of the shell: in every build.
    Shell(ShellBug),
    /// Of the core: only in builds that have them.
    Core(Mutant),
}

/// No such bug can be planted here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownBug {
    /// Nobody knows it.
    #[error("no bug has the name {name}; there are {known}")]
    NoSuch {
        /// What was asked for.
        name: String,
        /// All that can be planted in this build.
        known: String,
    },
    /// It is one of the core's, and this build has none of them.
    #[error(
        "{name} is a bug of the core, and this build has none of those in it: cargo run -p quorate-lab --features mutants \
         plants it; here there are {known}"
    )]
    NotInThisBuild {
        /// What was asked for.
        name: String,
        /// All that can be planted in this build.
        known: String,
    },
}

impl Bug {
    /// The bug with this name.
    ///
    /// # Errors
    /// There is none, or not in this build.
    pub fn named(name: &str) -> Result<Bug, UnknownBug> {
        if let Some(bug) = ShellBug::ALL.into_iter().find(|bug| bug.name() == name) {
            return Ok(Bug::Shell(bug));
        }
        let known = || {
            let names: Vec<&str> = Bug::names().collect();
            names.join(", ")
        };
        let name = name.to_owned();
        match Mutant::ALL.iter().find(|mutant| mutant.name() == name) {
            None => Err(UnknownBug::NoSuch {
                name,
                known: known(),
            }),
            Some(mutant) if Mutants::plant(*mutant).is_some() => Ok(Bug::Core(*mutant)),
            Some(_) => Err(UnknownBug::NotInThisBuild {
                name,
                known: known(),
            }),
        }
    }

    /// The names of all that can be planted in this build, the shell's first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let core = Mutant::ALL
            .iter()
            .filter(|mutant| Mutants::plant(**mutant).is_some());
        ShellBug::ALL
            .into_iter()
            .map(ShellBug::name)
            .chain(core.map(|mutant| mutant.name()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Bug::Shell(bug) => bug.name(),
            Bug::Core(mutant) => mutant.name(),
        }
    }

    /// The bug of the shell, if it is one.
    pub fn of_shell(self) -> Option<ShellBug> {
        match self {
            Bug::Shell(bug) => Some(bug),
            Bug::Core(_) => None,
        }
    }

    /// The engine in which it is: nothing, if it is in either.
    pub fn engine(self) -> Option<Consensus> {
        match self {
            Bug::Core(mutant) if mutant.is_of_specification() => Some(Consensus::Specification),
            _ => None,
        }
    }

    /// The core's planted bugs: none, if it is one of the shell.
    pub fn of_core(self) -> Mutants {
        match self {
            Bug::Shell(_) => Mutants::none(),
            Bug::Core(mutant) => Mutants::plant(mutant).unwrap_or_default(),
        }
    }
}
