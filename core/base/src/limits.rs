//! How much: every bound with its name, its unit and its reason.
//!
//! A full queue refuses; it never grows. Limits that clients can change by configuration stand in the
//! configuration; these are the ones that hold the machine together.

/// The highest term, index, revision, version, serial or generation that is believed of bytes from
/// outside, be they from a disk or from a member. It leaves room to count on from it for ever: at a
/// million entries a second it takes 146,000 years to come here.
pub const NUMBER_MAX: u64 = 1 << 62;

/// Bytes of one client request, etcd's `--max-request-bytes` (its default).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;

/// Bytes that a gRPC message may have on top of [`REQUEST_BYTES_MAX`], as etcd's own transport allows,
/// so that a request that is a little too large is answered in etcd's words and not the transport's.
pub const REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;

/// Operations in one transaction, etcd's `--max-txn-ops` (its default).
pub const TXN_OPS_MAX: usize = 128;

/// Records that one transaction may read, in its comparisons and its ranges together: about 0.2 s of work, which every
/// member has. No client of etcd's has had as many keys in one.
pub const TXN_ROWS_MAX: u64 = 2 * 1024 * 1024;

/// Bytes of the ranges in one transaction's answer, a little more where it reads what it has written itself. An answer is
/// in memory as a whole, at every member.
pub const TXN_ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of all commands in one log entry. A batch is closed when it would grow past this, so that one
/// entry never holds up a heartbeat for long on a slow link. One request may exceed it alone.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Commands in one log entry.
pub const BATCH_COMMANDS_MAX: usize = 4096;

/// Bytes of one log entry. A frame or record that claims more is damaged or hostile.
pub const ENTRY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of one frame between members: one append of [`APPEND_BYTES_MAX`] and its surroundings.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of entries in one append to a follower; one entry may exceed it alone.
pub const APPEND_BYTES_MAX: u64 = 1024 * 1024;

/// Appends under way to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Entries in one append message that comes from outside.
pub const APPEND_ENTRIES_MAX: usize = 65_536;

/// Members in one configuration that comes from outside, counting learners. Seven voters is the most
/// that anybody should run; the rest is room for learners.
pub const MEMBERS_MAX: usize = 64;

/// Bytes of commands that clients have asked for and that are not proposed yet, per member.
pub const PROPOSALS_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Commands that clients have asked for and that are not answered yet, per member.
pub const PROPOSALS_WAITING_MAX: usize = 50_000;

/// Reads that wait for a round of ReadIndex, per member.
pub const READS_WAITING_MAX: usize = 100_000;

/// Bytes of the answer of a session's newest write, which is kept in case it is asked for again. The answer of a
/// larger one is only known to be "done".
pub const RETRY_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Batches whose hybrid times are kept, so that a revision has a time and a time a revision: 100 MB of memory at the
/// very most. Compaction forgets times as it forgets history; this bound is met only where one root is never
/// compacted while others write without end, and then the oldest times go.
pub const REVISION_TIMES_MAX: u64 = 1 << 22;

/// Bytes of entries kept in memory behind the applied index, for followers that lag a little. A
/// follower that lags more gets a snapshot.
pub const LOG_TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Entries kept in memory behind the applied index, as etcd's `--snapshot-catchup-entries`.
pub const LOG_TAIL_ENTRIES_MAX: u64 = 5000;

/// Entries that are committed and not applied; beyond it new proposals are refused ("too many
/// requests"), so that a slow apply costs latency and not memory.
pub const APPLY_LAG_MAX: u64 = 5000;

/// Bytes that one watcher may have queued before it is put back to reading history at its own pace.
pub const WATCH_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of messages queued for one peer; beyond it messages are dropped, as a network may.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = {
    // A request fits in an entry, an entry in an append, an append in a frame.
    assert!(REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES < ENTRY_BYTES_MAX);
    assert!(BATCH_BYTES_MAX + REQUEST_BYTES_MAX < ENTRY_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX + APPEND_BYTES_MAX as usize + 64 * 1024 < FRAME_BYTES_MAX);
    // A peer's queue holds at least a few frames.
    assert!(PEER_QUEUE_BYTES_MAX >= 4 * FRAME_BYTES_MAX);
};
