//! Hostile bytes for every decoder of bytes from outside, from stable Rust alone.
//!
//! ```text
//!   corpus: valid bytes,        mutate: small damage,           run: properties,
//!   by the real encoders ─────► sealed again where there ─────► asserted of whatever ──► Accepted
//!   (messages, logs, states)    are sums                        is accepted              Refused
//!        targets/*.rs           mutate parts frames             targets/*.rs             or it panics
//!                               chunks directory
//! ```
//!
//! ```text
//! cargo run --release -- smoke --runs 20000            # exit code 1 when anything broke
//! cargo run --release -- smoke --target log --seed 7
//! cargo run --release -- replay log FILE               # one input again
//! ```
//!
//! | target | what comes in | what must hold |
//! | --- | --- | --- |
//! | `peer_frames` | a connection between members | each accepted frame comes back as it went; what waits is bounded |
//! | `engine` | Raft's messages, through the gate | the engine never stops; terms and decisions only rise; no hole |
//! | `batch` `system_command` `change` | what log entries hold | one value, one encoding; nothing believed before it is there |
//! | `etcd_requests` | a client's requests, every method | answers are of their type; a refusal takes no revision; memory is bounded |
//! | `etcd_json` | a request as JSON, every method | what is accepted is told in one way; memory is a few times the input |
//! | `etcd_log` | requests in the log | members decide alike and stay sound |
//! | `watch_desk` | a client's watch stream | created, then rising events, then silence; nothing is left behind |
//! | `log` | a damaged data directory | nothing that was not written; lost means "damaged", and stays so |
//! | `checkpoint` | a damaged newest checkpoint | the member starts from the older one, with the whole log |
//! | `snapshot_stream` `etcd_snapshot` | a state from a member, a file from an operator | what was written, or refused; readable in any case |
//!
//! A target is a plain function of bytes ([`targets::Target::run`]). The driver ([`smoke`]) is mutational
//! and deterministic: one seed is one sequence of inputs, on every machine. It has no feedback from
//! coverage; that it gets past the front doors is seen in its table, and a target that accepts or refuses
//! nothing fails the run. `--plant` plants a defect that it must find; with the feature `mutants` the log
//! has one of its own (`tests/planted.rs`).
//!
//! Everything is built with overflow checks and `debug_assert!`, which shipped builds do not have: a sum
//! that wraps there is a panic here.
//!
//! Bugs that were found are files in `found/`, replayed by every run; those that are not repaired yet
//! are named in [`known`], and only those are passed over.

pub mod attempt;
pub mod heap;
pub mod known;
pub mod smoke;
pub mod targets;

mod chunks;
mod directory;
mod frames;
mod mutate;
mod parts;
mod states;
mod world;
