//! The commands, each in a file of its own: its arguments, and what it does.

pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod explain;
pub(crate) mod help;
pub(crate) mod quorum;
pub(crate) mod server;
pub(crate) mod version;
