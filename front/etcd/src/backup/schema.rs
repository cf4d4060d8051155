//! The entries of etcd's buckets, byte by byte.
//!
//! ```text
//!   key      revision u64 BE │ '_' │ operation u64 BE │ 't' if deleted   →   mvccpb.KeyValue
//!   lease    id u64 BE                                                   →   leasepb.Lease
//!   alarm    etcdserverpb.AlarmMember                                    →   nothing
//!   members  id in hexadecimal                                           →   JSON
//! ```

use crate::pb;
use crate::record;
use crate::scan::{Fields, Malformed};
use base::{LeaseId, MemberId, Membership, Revision};
use store::{Member, Place, Record};

pub(super) const ALARM: &[u8] = b"alarm";
pub(super) const AUTH: &[u8] = b"auth";
pub(super) const AUTH_ROLES: &[u8] = b"authRoles";
pub(super) const AUTH_USERS: &[u8] = b"authUsers";
pub(super) const CLUSTER: &[u8] = b"cluster";
/// The bucket of etcd's keys, whose name begins the hash of history too.
pub(super) const KEY: &[u8] = b"key";
pub(super) const LEASE: &[u8] = b"lease";
pub(super) const MEMBERS: &[u8] = b"members";
pub(super) const MEMBERS_REMOVED: &[u8] = b"members_removed";
pub(super) const META: &[u8] = b"meta";
/// The bucket that only we know.
pub const BUCKET_OF_OURS: &[u8] = b"quorate";

pub(super) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
pub(super) const DOWNGRADE: &[u8] = b"downgrade";
/// Nobody is about to install an older version.
pub(super) const NO_DOWNGRADE: &[u8] = br#"{"target-version":"","enabled":false}"#;

pub(super) const CONF_STATE: &[u8] = b"confState";
pub(super) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
pub(super) const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
pub(super) const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
pub(super) const STORAGE_VERSION: &[u8] = b"storageVersion";
pub(super) const TERM: &[u8] = b"term";

const REVISION_BYTES: usize = 17;
const TOMBSTONE: u8 = b't';

/// A key of the bucket `key`: where a version is in history, and whether it says that its key is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RevisionKey {
    pub(super) place: Place,
    pub(super) is_tombstone: bool,
}

impl RevisionKey {
    pub(super) fn of(record: &Record) -> RevisionKey {
        RevisionKey {
            place: record.place(),
            is_tombstone: record.is_tombstone(),
        }
    }

    /// The bytes, and how many of them count.
    pub(super) fn encode(self, out: &mut [u8; REVISION_BYTES + 1]) -> &[u8] {
        out[..8].copy_from_slice(&self.place.revision.0.to_be_bytes());
        out[8] = b'_';
        out[9..REVISION_BYTES].copy_from_slice(&u64::from(self.place.sub).to_be_bytes());
        out[REVISION_BYTES] = TOMBSTONE;
        let length = REVISION_BYTES + usize::from(self.is_tombstone);
        &out[..length]
    }

    pub(super) fn decode(key: &[u8]) -> Option<RevisionKey> {
        let (revision, rest) = key.split_first_chunk::<8>()?;
        let (b'_', rest) = rest.split_first()? else {
            return None;
        };
        let (sub, mark) = rest.split_first_chunk::<8>()?;
        let is_tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let revision = i64::from_be_bytes(*revision);
        Some(RevisionKey {
            place: Place {
                revision: Revision(u64::try_from(revision).ok()?),
                sub: u32::try_from(u64::from_be_bytes(*sub)).ok()?,
            },
            is_tombstone,
        })
    }
}

/// A revision alone, as the two counters of compaction are written.
pub(super) fn revision(revision: Revision) -> Vec<u8> {
    let key = RevisionKey {
        place: Place { revision, sub: 0 },
        is_tombstone: false,
    };
    key.encode(&mut [0; REVISION_BYTES + 1]).to_vec()
}

/// Writes a version as an `mvccpb.KeyValue`; of a tombstone only the key is there.
pub(super) fn key_value(out: &mut Vec<u8>, record: &Record) {
    match record.is_tombstone() {
        true => pb::bytes(out, 1, record.key()),
        false => record::write_fields(out, record),
    }
}

/// An `mvccpb.KeyValue`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a [u8],
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) version: i64,
    pub(super) value: &'a [u8],
    pub(super) lease: LeaseId,
}

impl<'a> KeyValue<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<KeyValue<'a>, Malformed> {
        let mut kv = KeyValue::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => kv.key = value.bytes()?,
                2 => kv.created = value.int()?,
                3 => kv.modified = value.int()?,
                4 => kv.version = value.int()?,
                5 => kv.value = value.bytes()?,
                6 => kv.lease = LeaseId(value.int()?),
                _ => {}
            }
        }
        Ok(kv)
    }
}

/// A `leasepb.Lease`, without what was left of its time when it was last noted.
pub(super) fn lease(id: LeaseId, ttl_s: i64) -> Vec<u8> {
    let mut out = Vec::new();
    pb::uint(&mut out, 1, id.0 as u64);
    pb::uint(&mut out, 2, ttl_s as u64);
    out
}

/// Id and time to live of a `leasepb.Lease`.
pub(super) fn read_lease(message: &[u8]) -> Result<(LeaseId, i64), Malformed> {
    let (mut id, mut ttl_s) = (0, 0);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => id = value.int()?,
            2 => ttl_s = value.int()?,
            _ => {}
        }
    }
    Ok((LeaseId(id), ttl_s))
}

/// A member's name in its bucket.
pub(super) fn member_key(id: MemberId) -> Vec<u8> {
    format!("{:x}", id.0).into_bytes()
}

/// A member as etcd describes it.
pub(super) fn member(member: &Member) -> Vec<u8> {
    let list = |urls: &[String]| {
        let urls: Vec<String> = urls.iter().map(|url| text(url)).collect();
        urls.join(",")
    };
    let mut out = format!(
        r#"{{"id":{},"peerURLs":[{}]"#,
        member.id.0,
        list(&member.peer_urls)
    );
    if member.is_learner {
        out.push_str(r#","isLearner":true"#);
    }
    if !member.name.is_empty() {
        out.push_str(&format!(r#","name":{}"#, text(&member.name)));
    }
    if !member.client_urls.is_empty() {
        out.push_str(&format!(r#","clientURLs":[{}]"#, list(&member.client_urls)));
    }
    out.push('}');
    out.into_bytes()
}

/// Who votes, as raft's library writes it down.
pub(super) fn conf_state(membership: &Membership) -> Vec<u8> {
    let mut out = String::from("{");
    for (name, members) in [
        ("voters", &membership.voters),
        ("learners", &membership.learners),
        ("voters_outgoing", &membership.voters_outgoing),
        ("learners_next", &membership.learners_next),
    ] {
        if !members.is_empty() {
            let ids: Vec<String> = members.iter().map(|id| id.0.to_string()).collect();
            out.push_str(&format!(r#""{name}":[{}],"#, ids.join(",")));
        }
    }
    out.push_str(&format!(r#""auto_leave":{}}}"#, membership.auto_leave));
    out.into_bytes()
}

/// A string of JSON.
fn text(words: &str) -> String {
    let mut out = String::from("\"");
    for c in words.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
