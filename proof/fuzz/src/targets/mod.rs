//! The targets: one function for each way by which bytes from outside come in.

pub mod batch;
pub mod bolt_file;
pub mod change;
pub mod checkpoint;
pub mod engine;
pub mod etcd_json;
pub mod etcd_log;
pub mod etcd_requests;
pub mod etcd_snapshot;
pub mod log;
pub mod peer_frames;
pub mod snapshot_stream;
pub mod system_command;
pub mod watch_desk;

use base::Rng;

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It got past the front door, whole.
    Accepted,
    /// It was refused, or some of it.
    Refused,
}

impl Verdict {
    /// Accepted, or not.
    pub fn of(is_accepted: bool) -> Verdict {
        match is_accepted {
            true => Verdict::Accepted,
            false => Verdict::Refused,
        }
    }
}

/// One way in.
pub struct Target {
    /// As the command line says it.
    pub name: &'static str,
    /// Takes any bytes; panics when a property does not hold, and for no other reason.
    pub run: fn(&[u8]) -> Verdict,
    /// Valid inputs, made with the product's own encoders.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Makes another input of one, given a second one to take pieces from.
    pub mutate: fn(&mut Vec<u8>, &[u8], &mut Rng),
    /// One run of so many: targets that build whole worlds are slower than those that read a number.
    pub one_in: u64,
}

/// All of them.
pub const ALL: &[Target] = &[
    peer_frames::TARGET,
    engine::TARGET,
    batch::TARGET,
    system_command::TARGET,
    change::TARGET,
    etcd_requests::TARGET,
    etcd_json::TARGET,
    etcd_log::TARGET,
    watch_desk::TARGET,
    log::TARGET,
    checkpoint::TARGET,
    snapshot_stream::TARGET,
    bolt_file::TARGET,
    etcd_snapshot::TARGET,
];

/// The target with this name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
