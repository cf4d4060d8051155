//! The commands, each in a file of its own: its arguments, and what it does.

pub(crate) mod audit;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod del;
pub(crate) mod doctor;
pub(crate) mod elect;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod lab;
pub(crate) mod lease;
pub(crate) mod lock;
mod options;
pub(crate) mod put;
pub(crate) mod quorum;
pub(crate) mod range;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod txn;
pub(crate) mod version;
pub(crate) mod watch;
