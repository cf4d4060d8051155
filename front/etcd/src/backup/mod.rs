//! Backups as etcd's own tools know them: a bbolt file with etcd's buckets, and what else we keep in one of ours.
//!
//! ```text
//!   State ─► SnapshotStream ─► Backup ─► bolt::Writer ─► file + SHA-256      etcdutl snapshot status, restore, hashkv
//!                 (messages)    (in steps, twice)                            quorate snapshot …
//!
//!   file, of ours or of etcd's ─► Sealed ─► bolt::File ─► restore ─► State        summary ─► numbers for people
//! ```
//!
//! | bucket | holds |
//! | --- | --- |
//! | `key` | every retained version of etcd's keys, by revision |
//! | `lease`, `alarm`, `members`, `members_removed`, `cluster`, `meta` | what etcd keeps there |
//! | `auth`, `authRoles`, `authUsers` | users and roles ([`auth`]) |
//! | `quorate` | the store's own stream of all but etcd's keys, in pieces; etcd's tools pass it over |
//!
//! So a restore into etcd has all that etcd can hold, and a restore into Quorate loses nothing. Where a file has been
//! through an etcd in between, its `quorate` bucket is of another day than its keys: it says which state it belongs
//! to, and is left out when that is not the file's.
//!
//! [`hash`] is etcd's hash of history over the same keys and values, so it agrees with a real etcd's.
//!
//! The bytes are drawn in `docs/format/backup.md`. Read in this order: `schema`, `write`, `read`, `hash`.

mod auth;
pub(crate) mod hash;
mod read;
mod schema;
mod seal;
mod write;

pub use hash::{KvHash, hash_kv};
pub use read::{Contents, RestoreFault, Summary, restore, summary};
pub use schema::BUCKET_OF_OURS;
pub use seal::{HashCheck, SealFault, Sealed};
pub use write::{Backup, BackupFault};
