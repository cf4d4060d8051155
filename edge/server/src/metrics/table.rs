//! The one table of names: what each series is called, of what kind it is, by what it is told apart, what it means.
//!
//! Names, kinds, labels and buckets that begin with `etcd_`, `grpc_`, `process_` or `os_` are etcd's and
//! Prometheus' own, also where a kind is odd (a sum that is called a gauge): dashboards and alerts name them. What is
//! ours begins with `quorate_`. The words are ours throughout. A golden test pins the whole table.

/// What kind of series it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A name and all that is said about it.
#[derive(Debug)]
pub(crate) struct Family {
    /// The name.
    pub(crate) name: &'static str,
    /// The kind.
    pub(crate) kind: Kind,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    /// What it means.
    pub(crate) help: &'static str,
}

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub(crate) const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    // The member.
    HAS_LEADER Gauge "etcd_server_has_leader" [] "1 while this member knows a leader.";
    IS_LEADER Gauge "etcd_server_is_leader" [] "1 while this member leads.";
    IS_LEARNER Gauge "etcd_server_is_learner" [] "1 while this member learns and does not vote.";
    LEADER_CHANGES Counter "etcd_server_leader_changes_seen_total" [] "Leaders that this member has seen come.";
    PROPOSALS_COMMITTED Gauge "etcd_server_proposals_committed_total" [] "The last entry of the log known to be decided.";
    PROPOSALS_APPLIED Gauge "etcd_server_proposals_applied_total" [] "The last entry of the log that was applied here.";
    PROPOSALS_PENDING Gauge "etcd_server_proposals_pending" [] "Writes of this member's clients that wait for their outcome.";
    PROPOSALS_FAILED Counter "etcd_server_proposals_failed_total" [] "Writes of this member's clients that were not taken, or had no outcome in time.";
    HEARTBEATS_LATE Counter "etcd_server_heartbeat_send_failures_total" [] "How often this leader sent its heartbeats late.";
    SLOW_APPLIES Counter "etcd_server_slow_apply_total" [] "Commands that took longer to apply than the configured warning.";
    SLOW_READ_INDEXES Counter "etcd_server_slow_read_indexes_total" [] "Linearizable reads that waited for half a second or longer.";
    READ_INDEXES_FAILED Counter "etcd_server_read_indexes_failed_total" [] "Linearizable reads that were not made certain.";
    APPLY_SECONDS Histogram "etcd_server_apply_duration_seconds" ["version", "op", "success"] "How long commands took to apply, by what they are and whether they did what they say.";
    RANGE_SECONDS Histogram "etcd_server_range_duration_seconds" ["success"] "How long ranges took to answer, without the wait for certainty.";
    REQUEST_SECONDS Histogram "etcd_server_request_duration_seconds" ["type", "success"] "How long writes took, from the proposal to the outcome.";
    CLIENT_REQUESTS Counter "etcd_server_client_requests_total" ["type", "client_api_version"] "Calls by what their client says of itself.";
    SNAPSHOT_APPLYING Gauge "etcd_server_snapshot_apply_in_progress_total" [] "1 while a received state is made this member's own.";
    LEARNERS_PROMOTED Counter "etcd_server_learner_promote_successes" [] "Learners whose promotion a client of this member asked for and got.";
    SERVER_VERSION Gauge "etcd_server_version" ["server_version"] "1 for the version of etcd whose behaviour this is.";
    CLUSTER_VERSION Gauge "etcd_cluster_version" ["cluster_version"] "1 for the cluster's version.";
    SERVER_ID Gauge "etcd_server_id" ["server_id"] "1 for this member's id, in hexadecimal.";
    QUOTA Gauge "etcd_server_quota_backend_bytes" [] "Bytes of data before the alarm NOSPACE; 0 for no bound.";
    HEALTH_SUCCESS Counter "etcd_server_health_success" [] "Answers of /health that said yes.";
    HEALTH_FAILURES Counter "etcd_server_health_failures" [] "Answers of /health that said no.";
    HEALTH_CHECK Gauge "etcd_server_healthcheck" ["type", "name"] "1 where the last look of this kind found it healthy.";
    HEALTH_CHECKS Counter "etcd_server_healthchecks_total" ["type", "name", "status"] "Looks of each kind, by what they found.";

    // The disk.
    FSYNC_SECONDS Histogram "etcd_disk_wal_fsync_duration_seconds" [] "How long records of the log took to be written and synced.";
    WAL_BYTES Gauge "etcd_disk_wal_write_bytes_total" [] "Bytes of entries that were written to the log.";
    COMMIT_SECONDS Histogram "etcd_disk_backend_commit_duration_seconds" [] "How long pieces of checkpoints took to be written and synced.";
    DEFRAGMENT_SECONDS Histogram "etcd_disk_backend_defrag_duration_seconds" [] "How long defragmentations took.";
    DEFRAGMENTING Gauge "etcd_disk_defrag_inflight" [] "1 while a defragmentation is under way.";
    SNAPSHOT_SECONDS Histogram "etcd_disk_backend_snapshot_duration_seconds" [] "How long clients took to get a whole snapshot.";
    CHECKPOINT_SECONDS Histogram "etcd_debugging_snap_save_total_duration_seconds" [] "How long whole checkpoints took.";
    RECEIVED_SECONDS Histogram "etcd_snap_db_save_total_duration_seconds" [] "How long received states took to become durable.";

    // The store.
    DB_BYTES Gauge "etcd_mvcc_db_total_size_in_bytes" [] "Bytes that the data takes, as Status tells it.";
    DB_BYTES_IN_USE Gauge "etcd_mvcc_db_total_size_in_use_in_bytes" [] "Bytes of those that are in use, as Status tells it.";
    PUTS Counter "etcd_mvcc_put_total" [] "Keys put by commands applied here.";
    DELETES Counter "etcd_mvcc_delete_total" [] "Ranges deleted by commands applied here.";
    RANGES Counter "etcd_mvcc_range_total" [] "Ranges read here.";
    TXNS Counter "etcd_mvcc_txn_total" [] "Commands applied here that did more than one thing.";
    HASH_SECONDS Histogram "etcd_mvcc_hash_duration_seconds" [] "How long hashes of everything took.";
    HASH_KV_SECONDS Histogram "etcd_mvcc_hash_rev_duration_seconds" [] "How long hashes of everything up to a revision took.";
    KEYS Gauge "etcd_debugging_mvcc_keys_total" [] "Keys that are there.";
    REVISION Gauge "etcd_debugging_mvcc_current_revision" [] "The store's revision.";
    COMPACTED Gauge "etcd_debugging_mvcc_compact_revision" [] "The revision of the last compaction.";
    COMPACTED_KEYS Counter "etcd_debugging_mvcc_db_compaction_keys_total" [] "Versions that compactions have removed.";
    COMPACTED_LAST Gauge "etcd_debugging_mvcc_db_compaction_last" [] "When the last compaction was finished, in seconds since 1970; 0 for none in this life.";
    COMPACT_MS Histogram "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds" [] "How long compactions took until all was removed.";
    PUT_BYTES Gauge "etcd_debugging_mvcc_total_put_size_in_bytes" [] "Bytes of keys and values put by commands applied here.";
    WATCHERS Gauge "etcd_debugging_mvcc_watcher_total" [] "Watches of this member's clients.";
    SLOW_WATCHERS Gauge "etcd_debugging_mvcc_slow_watcher_total" [] "Watches that read history because they are behind.";
    WATCH_STREAMS Gauge "etcd_debugging_mvcc_watch_stream_total" [] "Streams of watches.";
    EVENTS Counter "etcd_debugging_mvcc_events_total" [] "Events given to streams of watches.";
    PENDING_EVENTS Gauge "etcd_debugging_mvcc_pending_events_total" [] "Events that wait for their stream.";

    // Leases.
    LEASES_GRANTED Counter "etcd_debugging_lease_granted_total" [] "Leases granted by commands applied here.";
    LEASES_REVOKED Counter "etcd_debugging_lease_revoked_total" [] "Leases that ended by commands applied here, whatever the reason.";
    LEASES_RENEWED Counter "etcd_debugging_lease_renewed_total" [] "Renewals that this member granted as the leader.";
    LEASES_EXPIRED Counter "etcd_debugging_server_lease_expired_total" [] "Leases that this member, as the leader, found expired.";
    LEASE_TTL Histogram "etcd_debugging_lease_ttl_total" [] "Times to live of granted leases, in seconds.";

    // Members.
    PEER_SENT Counter "etcd_network_peer_sent_bytes_total" ["To"] "Bytes written to another member.";
    PEER_RECEIVED Counter "etcd_network_peer_received_bytes_total" ["From"] "Bytes read from another member; 0 stands for whoever is no member.";
    PEER_SENT_FAILURES Counter "etcd_network_peer_sent_failures_total" ["To"] "Messages to another member that were dropped, and connections to it that broke or were not made.";
    PEER_RECEIVED_FAILURES Counter "etcd_network_peer_received_failures_total" ["From"] "Connections of another member that ended in what is not its protocol.";
    PEER_ROUND_TRIP Histogram "etcd_network_peer_round_trip_time_seconds" ["To"] "How long another member took to answer a question.";
    PEERS_ACTIVE Gauge "etcd_network_active_peers" ["Local", "Remote"] "1 while the connection to another member stands.";
    PEERS_KNOWN Gauge "etcd_network_known_peers" ["Local", "Remote"] "1 for each member, this one among them.";
    PEERS_LOST Counter "etcd_network_disconnected_peers_total" ["Local", "Remote"] "Connections to another member that broke.";

    // Clients.
    CLIENT_RECEIVED Counter "etcd_network_client_grpc_received_bytes_total" [] "Bytes of messages of clients.";
    CLIENT_SENT Counter "etcd_network_client_grpc_sent_bytes_total" [] "Bytes of messages to clients.";
    GRPC_STARTED Counter "grpc_server_started_total" ["grpc_type", "grpc_service", "grpc_method"] "Calls begun.";
    GRPC_HANDLED Counter "grpc_server_handled_total" ["grpc_type", "grpc_service", "grpc_method", "grpc_code"] "Calls ended, by how.";
    GRPC_RECEIVED Counter "grpc_server_msg_received_total" ["grpc_type", "grpc_service", "grpc_method"] "Messages of clients.";
    GRPC_SENT Counter "grpc_server_msg_sent_total" ["grpc_type", "grpc_service", "grpc_method"] "Messages to clients.";
    GRPC_SECONDS Histogram "grpc_server_handling_seconds" ["grpc_type", "grpc_service", "grpc_method"] "How long calls took; with --metrics extensive.";

    // The process.
    CPU_SECONDS Counter "process_cpu_seconds_total" [] "Processor time used, in seconds.";
    OPEN_FDS Gauge "process_open_fds" [] "Open file descriptors.";
    MAX_FDS Gauge "process_max_fds" [] "File descriptors that may be open.";
    RESIDENT Gauge "process_resident_memory_bytes" [] "Bytes of memory that are resident.";
    VIRTUAL Gauge "process_virtual_memory_bytes" [] "Bytes of address space.";
    STARTED_AT Gauge "process_start_time_seconds" [] "When this process began, in seconds since 1970.";
    FD_USED Gauge "os_fd_used" [] "Open file descriptors.";
    FD_LIMIT Gauge "os_fd_limit" [] "File descriptors that may be open.";

    // What only Quorate has.
    TERM Gauge "quorate_term" [] "The election term.";
    APPLY_VERSION Gauge "quorate_apply_version" [] "By which version commands are decided.";
    READY Gauge "quorate_ready" [] "1 once the cluster has acknowledged that this member serves.";
    RECOVERING Gauge "quorate_recovering" [] "1 while the log is damaged and the others bring it back.";
    DISK_SPACE Gauge "quorate_disk_space" [] "0 while there is room, 1 while writes that grow are refused, 2 while all are.";
    CLOCK_OFFSET Gauge "quorate_clock_offset_seconds" ["peer"] "By how much another member's wall clock is ahead of this one's.";
    CLOCK_ERROR Gauge "quorate_clock_offset_error_seconds" ["peer"] "By how much that may be wrong.";
    BACKUP_AGE Gauge "quorate_backup_age_seconds" [] "How long ago a client took a whole snapshot of this member; absent when none did in this life.";
    READS Counter "quorate_reads_total" ["level", "result"] "Reads that asked for a level, by whether it was given.";
    WATCH_LAG Gauge "quorate_watch_lag_revisions" ["client", "stream"] "How many revisions the streams that are furthest behind are behind.";
    WATCH_WAITING Gauge "quorate_watch_waiting_bytes" ["client", "stream"] "Bytes of events that wait for those streams.";
    LOG_LINES_DROPPED Counter "quorate_log_lines_dropped_total" [] "Lines of the log that were dropped because whoever reads it is too slow.";
    AUDIT_LINES Counter "quorate_audit_lines_total" [] "Lines of the audit log that were taken.";
    AUDIT_LINES_DROPPED Counter "quorate_audit_lines_dropped_total" [] "Lines of the audit log that were dropped because the disk is too slow.";
    CONNECTIONS Gauge "quorate_client_connections" [] "Connections of clients.";
    CONNECTIONS_REFUSED Counter "quorate_client_connections_refused_total" ["reason"] "Connections of clients that were refused, by why.";
    SCRAPE_SECONDS Gauge "quorate_scrape_duration_seconds" [] "How long the page before this one took to gather.";
}
