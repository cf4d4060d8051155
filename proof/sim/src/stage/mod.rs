//! A world driven by hand: three production members, a few clients, and whoever types the commands.
//!
//! ```text
//!   command.rs   what may be typed: one line, one command
//!   bug.rs       bugs of the shell around the core, which may be planted in a shipped build, too
//!   script.rs    stories that come with it
//!   drive.rs     Stage: carries commands out in a World, and lets time pass between them
//!   verdict.rs   what became of it: is the history linearizable, and what proves that it is not
//!   opened.rs    the world of any seed, on tape
//! ```
//!
//! Nothing here is a model: members are `node::Node` over `storage::Log` behind etcd's front, as everywhere in the
//! simulator, and one seed with one list of commands is one run exactly. What is by hand is the trouble and the
//! questions. Clients reach every member at all times; cuts are between members.

mod bug;
mod command;
mod drive;
mod opened;
mod script;
mod verdict;

pub use bug::{Bug, ShellBug, UnknownBug};
pub use command::{Command, NotACommand, Question, USAGE, Whom};
pub use drive::{CLIENTS_MAX, Refused, Stage};
pub use opened::open;
pub use script::{Script, ScriptError, Story};
pub use verdict::{Finding, Guilt, law};
