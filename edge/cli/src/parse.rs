//! What stands on a command line, as values: ids, times, levels, fences, numbered writes.
//!
//! Every text that a command prints is one that commands take: an id is hexadecimal, a token decimal.

use api::proto::{Consistency, Fence, Level, Queue, QueueKind, Retry};
use bytes::Bytes;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

/// The kinds of lines, as they stand before a name. A name without one is a lock's.
const KINDS: [(&str, QueueKind); 5] = [
    ("lock", QueueKind::Lock),
    ("sem", QueueKind::Semaphore),
    ("elect", QueueKind::Election),
    ("barrier", QueueKind::Barrier),
    ("etcd", QueueKind::Etcd),
];

/// Keys, values and names: any bytes that the shell can pass.
pub(crate) fn bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|text| Bytes::from(text.into_vec()))
}

/// `694d7a`, `0x694d7a`.
pub(crate) fn id(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(id) if id > 0 && !digits.starts_with('+') => Ok(id),
        _ => Err("an id is hexadecimal and not 0, such as 694d7a".to_owned()),
    }
}

/// The id of a lease.
pub(crate) fn lease(text: &str) -> Result<i64, String> {
    i64::try_from(id(text)?).map_err(|_| "a lease is at most 7fffffffffffffff".to_owned())
}

/// `5s`, `100ms`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; such as 5s or 100ms"))
}

/// A lease's time to live: whole seconds.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => duration(text)?,
    };
    match ttl.subsec_nanos() == 0 && !ttl.is_zero() {
        true => Ok(ttl),
        false => Err("whole seconds, at least 1s".to_owned()),
    }
}

/// How fresh a read is. `session` alone has no token yet.
pub(crate) fn consistency(text: &str) -> Result<Consistency, String> {
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    let level = match (name, rest) {
        ("linearizable", None) => Level::Linearizable,
        ("lease", None) => Level::Lease,
        ("sequential", None) => Level::Sequential,
        ("session", None) => Level::Session,
        ("session", Some(token)) => {
            token
                .parse::<api::SessionToken>()
                .map_err(|error| error.to_string())?;
            Level::Session
        }
        ("bounded", Some(bound)) => {
            let bound_ms = u64::try_from(duration(bound)?.as_millis()).unwrap_or(u64::MAX);
            return Ok(Consistency {
                level: Level::Bounded.into(),
                bound_ms,
                ..Consistency::default()
            });
        }
        _ => {
            return Err(
                "one of linearizable, lease, bounded:100ms, session, session:TOKEN, \
                        sequential"
                    .to_owned(),
            );
        }
    };
    Ok(Consistency {
        level: level.into(),
        session: rest.unwrap_or_default().to_owned(),
        ..Consistency::default()
    })
}

/// `jobs`, `lock/jobs`, `sem/pool`, `elect/db`, `etcd/prefix`.
pub(crate) fn queue(text: &str) -> Queue {
    let known = text.split_once('/').and_then(|(before, name)| {
        let kind = KINDS.iter().find(|(word, _)| *word == before)?;
        Some((kind.1, name))
    });
    let (kind, name) = known.unwrap_or((QueueKind::Lock, text));
    Queue {
        kind: kind.into(),
        name: Bytes::copy_from_slice(name.as_bytes()),
    }
}

/// The text that [`queue`] reads as this line.
pub(crate) fn queue_text(queue: &Queue) -> String {
    let word = KINDS.iter().find(|(_, kind)| *kind == queue.kind());
    let name = crate::output::shown(&queue.name);
    format!("{}/{name}", word.map_or("?", |(word, _)| word))
}

/// `jobs=33`: the token of a line.
pub(crate) fn fence(text: &str) -> Result<Fence, String> {
    let wrong = || {
        "NAME=TOKEN, where NAME is lock/x, sem/x, elect/x, etcd/x, or x for lock/x, and the token is \
         decimal"
            .to_owned()
    };
    let (name, token) = text.rsplit_once('=').ok_or_else(wrong)?;
    let queue = queue(name);
    if queue.name.is_empty() || !token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    Ok(Fence {
        queue: Some(queue),
        token: token.parse().map_err(|_| wrong())?,
    })
}

/// The text that [`fence`] reads as this fence.
pub(crate) fn fence_text(fence: &Fence) -> String {
    let queue = fence.queue.clone().unwrap_or_default();
    format!("{}={}", queue_text(&queue), fence.token)
}

/// `694d7a:12`: the session's lease and the number of the write.
pub(crate) fn request_id(text: &str) -> Result<Retry, String> {
    let wrong = || "SESSION:NUMBER, as an error printed it, such as 694d7a:1".to_owned();
    let (session, sequence) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Retry {
        session: lease(session).map_err(|_| wrong())?,
        sequence: match sequence.parse() {
            Ok(sequence) if sequence > 0 => sequence,
            _ => return Err(wrong()),
        },
    })
}

/// The text that [`request_id`] reads as this numbered write.
pub(crate) fn request_id_text(retry: &Retry) -> String {
    format!("{:x}:{}", retry.session, retry.sequence)
}

/// The one of `known` that was probably meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |other: &&str| (strsim::jaro_winkler(text, other) * 1000.0) as u64;
    let near = known.into_iter().filter(|other| likeness(other) >= 800);
    near.max_by_key(likeness)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal() {
        assert_eq!(id("694d7a"), Ok(0x69_4d7a));
        assert_eq!(id("0x694d7a"), Ok(0x69_4d7a));
        assert_eq!(id("694D7A"), Ok(0x69_4d7a));
        for bad in ["", "0", "0x", "+5", "-5", "12g", "10000000000000000"] {
            assert!(id(bad).is_err(), "{bad}");
        }
        assert!(lease("7fffffffffffffff").is_ok());
        assert!(lease("8000000000000000").is_err());
    }

    #[test]
    fn times_have_their_unit_and_leases_whole_seconds() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert!(duration("100").is_err());
        assert_eq!(ttl("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(ttl("5"), Ok(Duration::from_secs(5)));
        assert_eq!(ttl("2m"), Ok(Duration::from_secs(120)));
        for bad in ["0", "0s", "1500ms", "x"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_are_those_of_the_api() {
        let level = |text: &str| consistency(text).map(|it| (it.level(), it.bound_ms, it.session));
        assert_eq!(level("lease"), Ok((Level::Lease, 0, String::new())));
        assert_eq!(
            level("bounded:1s"),
            Ok((Level::Bounded, 1000, String::new()))
        );
        let token = "s1-9f3a02c1-1f4";
        assert_eq!(
            level(&format!("session:{token}")),
            Ok((Level::Session, 0, token.to_owned()))
        );
        assert_eq!(level("session"), Ok((Level::Session, 0, String::new())));
        for bad in [
            "",
            "bounded",
            "bounded:100",
            "lease:1s",
            "session:x",
            "fresh",
        ] {
            assert!(consistency(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_fence_prints_is_what_it_reads() {
        for (text, kind, name, token) in [
            ("jobs=33", QueueKind::Lock, "jobs", 33),
            ("jobs/nightly=1", QueueKind::Lock, "jobs/nightly", 1),
            ("lock/sem/x=1", QueueKind::Lock, "sem/x", 1),
            ("sem/pool=7", QueueKind::Semaphore, "pool", 7),
            ("elect/db=8", QueueKind::Election, "db", 8),
            (
                "etcd/a=b=18446744073709551615",
                QueueKind::Etcd,
                "a=b",
                u64::MAX,
            ),
        ] {
            let it = fence(text).unwrap();
            let queue = it.queue.clone().unwrap();
            assert_eq!(
                (queue.kind(), &queue.name[..], it.token),
                (kind, name.as_bytes(), token)
            );
            assert_eq!(fence(&fence_text(&it)), Ok(it), "{text}");
        }
        for bad in [
            "jobs", "jobs=", "jobs=x", "jobs=-1", "=1", "lock/=1", "jobs=+1",
        ] {
            assert!(fence(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_numbered_write_prints_is_what_it_reads() {
        let retry = request_id("0x694d7a:12").unwrap();
        assert_eq!(request_id_text(&retry), "694d7a:12");
        for bad in ["", "694d7a", "694d7a:", "694d7a:0", ":1", "x:1"] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_word_has_a_neighbour() {
        let codes = ["Q2103", "Q2104", "Q4001"];
        assert_eq!(nearest("Q4011", codes), Some("Q4001"));
        assert_eq!(nearest("hello", codes), None);
    }
}
