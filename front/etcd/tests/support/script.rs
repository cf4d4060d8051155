//! The words of the golden scripts: one request a line, answers in short.
//!
//! ```text
//!   put KEY VALUE [lease=N] [prev] [ignore-value] [ignore-lease]
//!   get KEY [END] [rev=N] [limit=N] [sort=TARGET] [order=asc|desc] [keys] [count] [min-mod=N] …
//!   del KEY [END] [prev]                         END: a key, `prefix`, or `on` (from the key on)
//!   txn [if CMP , CMP …] [then OP ; OP …] [else OP ; OP …]      OP: put/get/del, or ( if … then … )
//!   CMP: version|create|mod|value|lease KEY [..END] =|!=|<|> OPERAND
//!   compact N · grant ID TTL · revoke ID · ttl ID [keys] · leases · alarm get|raise|clear [KIND MEMBER]
//!   open · watch ID KEY [END] [rev=N] [prev] [noput] [nodelete] [fragment] · unwatch ID · progress · poll
//! ```

use crate::support::World;
use bytes::Bytes;
use etcd::proto::{etcdserverpb as pb, mvccpb};
use etcd::{Method, Status, StreamId};
use std::fmt::Write as _;

pub(crate) struct Teller {
    world: World,
    stream: StreamId,
}

impl Teller {
    pub(crate) fn new() -> Teller {
        let mut world = World::new();
        let stream = world.desk.open();
        Teller { world, stream }
    }

    pub(crate) fn tell(&mut self, step: &str) -> String {
        let mut told = String::new();
        for line in step.lines() {
            told += &self.line(line);
        }
        told
    }

    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, rest) = words.split_first().expect("lines are not empty");
        let world = &mut self.world;
        match *verb {
            "put" => told(world.call(Method::Put, &put(rest)), show_put),
            "get" => told(world.call(Method::Range, &get(rest)), show_range),
            "del" => told(world.call(Method::DeleteRange, &del(rest)), show_delete),
            "txn" => {
                let (request, left) = txn(rest);
                assert!(left.is_empty(), "left over: {left:?}");
                told(world.call(Method::Txn, &request), show_txn)
            }
            "compact" => {
                let request = pb::CompactionRequest {
                    revision: number(rest[0]),
                    physical: false,
                };
                told(
                    world.call(Method::Compact, &request),
                    |a: &pb::CompactionResponse| format!("compacted {}", header(&a.header)),
                )
            }
            "grant" => {
                let request = pb::LeaseGrantRequest {
                    id: number(rest[0]),
                    ttl: number(rest[1]),
                };
                told(
                    world.call(Method::LeaseGrant, &request),
                    |a: &pb::LeaseGrantResponse| {
                        format!("granted {} for {} s {}", a.id, a.ttl, header(&a.header))
                    },
                )
            }
            "revoke" => {
                let request = pb::LeaseRevokeRequest {
                    id: number(rest[0]),
                };
                told(
                    world.call(Method::LeaseRevoke, &request),
                    |a: &pb::LeaseRevokeResponse| format!("revoked {}", header(&a.header)),
                )
            }
            "ttl" => {
                let request = pb::LeaseTimeToLiveRequest {
                    id: number(rest[0]),
                    keys: rest.contains(&"keys"),
                };
                let answer = world.call(Method::LeaseTimeToLive, &request);
                told(answer, |a: &pb::LeaseTimeToLiveResponse| {
                    let keys: Vec<_> = a.keys.iter().map(text).collect();
                    format!(
                        "lease {} ttl {} of {} keys {keys:?}",
                        a.id, a.ttl, a.granted_ttl
                    )
                })
            }
            "leases" => {
                let answer = world.call(Method::LeaseLeases, &pb::LeaseLeasesRequest {});
                told(answer, |a: &pb::LeaseLeasesResponse| {
                    format!("{:?}", a.leases.iter().map(|l| l.id).collect::<Vec<_>>())
                })
            }
            "alarm" => {
                let actions = ["get", "raise", "clear"];
                let kinds = ["NONE", "NOSPACE", "CORRUPT"];
                let place = |of: &[&str], word: &str| of.iter().position(|w| *w == word).unwrap();
                let request = pb::AlarmRequest {
                    action: place(&actions, rest[0]) as i32,
                    alarm: rest.get(1).map_or(0, |kind| place(&kinds, kind)) as i32,
                    member_id: rest.get(2).map_or(0, |id| number(id) as u64),
                };
                told(
                    world.call(Method::Alarm, &request),
                    |a: &pb::AlarmResponse| {
                        let each = a
                            .alarms
                            .iter()
                            .map(|a| format!("{}@{}", kinds[a.alarm as usize], a.member_id));
                        format!(
                            "alarms {:?} {}",
                            each.collect::<Vec<_>>(),
                            header(&a.header)
                        )
                    },
                )
            }
            "open" => {
                self.stream = world.desk.open();
                "opened\n".to_owned()
            }
            "watch" => {
                let request = pb::watch_request::RequestUnion::CreateRequest(watch(rest));
                self.watch_request(request)
            }
            "unwatch" => {
                let request = pb::WatchCancelRequest {
                    watch_id: number(rest[0]),
                };
                self.watch_request(pb::watch_request::RequestUnion::CancelRequest(request))
            }
            "progress" => {
                let request = pb::WatchProgressRequest {};
                self.watch_request(pb::watch_request::RequestUnion::ProgressRequest(request))
            }
            "poll" => show_watch(&world.drain(self.stream)),
            other => panic!("no such word: {other}"),
        }
    }

    fn watch_request(&mut self, request: pb::watch_request::RequestUnion) -> String {
        let request = pb::WatchRequest {
            request_union: Some(request),
        };
        show_watch(&self.world.watch(self.stream, request))
    }
}

// ---- requests ----------------------------------------------------------------------------------

fn number(word: &str) -> i64 {
    word.parse()
        .unwrap_or_else(|_| panic!("not a number: {word}"))
}

/// `""` is the empty key, and `\0` the smallest.
fn key(word: &str) -> Bytes {
    match word {
        "\"\"" => Bytes::new(),
        "\\0" => Bytes::from_static(&[0]),
        word => Bytes::copy_from_slice(word.as_bytes()),
    }
}

fn end(start: &str, word: Option<&&str>) -> Bytes {
    match word {
        None => Bytes::new(),
        Some(&"on") => Bytes::from_static(&[0]),
        Some(&"prefix") => {
            let mut end = start.as_bytes().to_vec();
            *end.last_mut().expect("a prefix is not empty") += 1;
            end.into()
        }
        Some(word) => key(word),
    }
}

const FLAGS: [&str; 9] = [
    "prev",
    "keys",
    "count",
    "ignore-value",
    "ignore-lease",
    "noput",
    "nodelete",
    "fragment",
    "notify",
];

/// Words that are neither options nor flags.
fn plain<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let is_plain = |word: &&&str| !word.contains('=') && !FLAGS.contains(word);
    words.iter().filter(is_plain).copied().collect()
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let value = |word: &&'a str| word.strip_prefix(name)?.strip_prefix('=');
    words.iter().find_map(value)
}

fn option_number(words: &[&str], name: &str) -> i64 {
    option(words, name).map_or(0, number)
}

fn put(words: &[&str]) -> pb::PutRequest {
    let plain = plain(words);
    pb::PutRequest {
        key: key(plain[0]),
        value: plain.get(1).map_or(Bytes::new(), |value| key(value)),
        lease: option_number(words, "lease"),
        prev_kv: words.contains(&"prev"),
        ignore_value: words.contains(&"ignore-value"),
        ignore_lease: words.contains(&"ignore-lease"),
    }
}

fn get(words: &[&str]) -> pb::RangeRequest {
    let plain = plain(words);
    let place = |of: &[&str], name| {
        option(words, name).map_or(0, |word| of.iter().position(|w| *w == word).unwrap_or(9))
    };
    pb::RangeRequest {
        key: key(plain[0]),
        range_end: end(plain[0], plain.get(1)),
        limit: option_number(words, "limit"),
        revision: option_number(words, "rev"),
        sort_order: place(&["none", "asc", "desc"], "order") as i32,
        sort_target: place(&["key", "version", "create", "mod", "value"], "sort") as i32,
        serializable: false,
        keys_only: words.contains(&"keys"),
        count_only: words.contains(&"count"),
        min_mod_revision: option_number(words, "min-mod"),
        max_mod_revision: option_number(words, "max-mod"),
        min_create_revision: option_number(words, "min-create"),
        max_create_revision: option_number(words, "max-create"),
    }
}

fn del(words: &[&str]) -> pb::DeleteRangeRequest {
    let plain = plain(words);
    pb::DeleteRangeRequest {
        key: key(plain[0]),
        range_end: end(plain[0], plain.get(1)),
        prev_kv: words.contains(&"prev"),
    }
}

fn watch(words: &[&str]) -> pb::WatchCreateRequest {
    let plain = plain(words);
    let filters = ["noput", "nodelete"];
    let filters = filters
        .iter()
        .enumerate()
        .filter(|(_, name)| words.contains(name));
    pb::WatchCreateRequest {
        watch_id: number(plain[0]),
        key: key(plain[1]),
        range_end: end(plain[1], plain.get(2)),
        start_revision: option_number(words, "rev"),
        progress_notify: words.contains(&"notify"),
        filters: filters.map(|(n, _)| n as i32).collect(),
        prev_kv: words.contains(&"prev"),
        fragment: words.contains(&"fragment"),
    }
}

/// Reads `[if …] [then …] [else …]` up to a `)` that closes it; returns what follows.
fn txn<'w, 'a>(mut words: &'w [&'a str]) -> (pb::TxnRequest, &'w [&'a str]) {
    let mut request = pb::TxnRequest::default();
    while let Some((word, rest)) = words.split_first() {
        words = rest;
        match *word {
            "if" => {
                let n = words
                    .iter()
                    .take_while(|w| !["then", "else", ")"].contains(*w))
                    .count();
                request.compare = words[..n].split(|w| *w == ",").map(compare).collect();
                words = &words[n..];
            }
            "then" => (request.success, words) = ops(words),
            "else" => (request.failure, words) = ops(words),
            ")" => break,
            other => panic!("unexpected {other}"),
        }
    }
    (request, words)
}

fn ops<'w, 'a>(mut words: &'w [&'a str]) -> (Vec<pb::RequestOp>, &'w [&'a str]) {
    use pb::request_op::Request;
    let mut ops = Vec::new();
    loop {
        let request = if words[0] == "(" {
            let (inner, rest) = txn(&words[1..]);
            words = rest;
            Some(Request::RequestTxn(inner))
        } else {
            let ends = ["then", "else", ")", ";"];
            let n = words.iter().take_while(|w| !ends.contains(*w)).count();
            let (op, rest) = words.split_at(n);
            words = rest;
            match op[0] {
                "put" => Some(Request::RequestPut(put(&op[1..]))),
                "get" => Some(Request::RequestRange(get(&op[1..]))),
                "del" => Some(Request::RequestDeleteRange(del(&op[1..]))),
                "nothing" => None,
                other => panic!("no such operation: {other}"),
            }
        };
        ops.push(pb::RequestOp { request });
        if words.first() != Some(&";") {
            return (ops, words);
        }
        words = &words[1..];
    }
}

fn compare(words: &[&str]) -> pb::Compare {
    use pb::compare::TargetUnion;
    let [target, subject, operator, operand] = words else {
        panic!("not a comparison: {words:?}");
    };
    let (start, range_end) = match subject.split_once("..") {
        Some((start, last)) => (start, end(start, Some(&last))),
        None => (*subject, Bytes::new()),
    };
    let (target, union) = match *target {
        "version" => (0, TargetUnion::Version(number(operand))),
        "create" => (1, TargetUnion::CreateRevision(number(operand))),
        "mod" => (2, TargetUnion::ModRevision(number(operand))),
        "value" => (3, TargetUnion::Value(key(operand))),
        "lease" => (4, TargetUnion::Lease(number(operand))),
        other => panic!("no such target: {other}"),
    };
    pb::Compare {
        result: ["=", ">", "<", "!="]
            .iter()
            .position(|w| w == operator)
            .unwrap() as i32,
        target,
        key: key(start),
        target_union: Some(union),
        range_end,
    }
}

// ---- answers -----------------------------------------------------------------------------------

fn told<A>(answer: Result<A, Status>, show: impl Fn(&A) -> String) -> String {
    match answer {
        Ok(answer) => show(&answer) + "\n",
        Err(status) => format!("{status}\n"),
    }
}

fn text(bytes: &Bytes) -> String {
    bytes.escape_ascii().to_string()
}

/// `@5` for a whole header, `(5)` for a revision alone, `()` for an empty one, `-` for none.
fn header(header: &Option<pb::ResponseHeader>) -> String {
    match header {
        None => "-".to_owned(),
        Some(h) if h.cluster_id == 7 && h.member_id == 1 && h.raft_term == 3 => match h.revision {
            0 => "@".to_owned(),
            revision => format!("@{revision}"),
        },
        Some(h) if h.revision != 0 => format!("({})", h.revision),
        Some(_) => "()".to_owned(),
    }
}

fn show_kv(kv: &mvccpb::KeyValue) -> String {
    let mut shown = format!(
        "{}={} c{} m{} v{}",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    );
    if kv.lease != 0 {
        let _ = write!(shown, " lease {}", kv.lease);
    }
    shown
}

fn show_put(answer: &pb::PutResponse) -> String {
    let prev = answer
        .prev_kv
        .as_ref()
        .map_or(String::new(), |kv| format!(" was [{}]", show_kv(kv)));
    format!("put {}{prev}", header(&answer.header))
}

fn show_range(answer: &pb::RangeResponse) -> String {
    let mut shown = format!("{} of {}", answer.kvs.len(), answer.count);
    if answer.more {
        shown += " more";
    }
    let _ = write!(shown, " {}", header(&answer.header));
    for kv in &answer.kvs {
        let _ = write!(shown, " [{}]", show_kv(kv));
    }
    shown
}

fn show_delete(answer: &pb::DeleteRangeResponse) -> String {
    let mut shown = format!("deleted {} {}", answer.deleted, header(&answer.header));
    for kv in &answer.prev_kvs {
        let _ = write!(shown, " was [{}]", show_kv(kv));
    }
    shown
}

fn show_txn(answer: &pb::TxnResponse) -> String {
    use pb::response_op::Response;
    let branch = if answer.succeeded { "then" } else { "else" };
    let mut shown = format!("{branch} {}", header(&answer.header));
    for op in &answer.responses {
        let op = match op.response.as_ref().expect("an answer for each operation") {
            Response::ResponseRange(answer) => show_range(answer),
            Response::ResponsePut(answer) => show_put(answer),
            Response::ResponseDeleteRange(answer) => show_delete(answer),
            Response::ResponseTxn(answer) => format!("( {} )", show_txn(answer)),
        };
        let _ = write!(shown, " | {op}");
    }
    shown
}

fn show_watch(responses: &[pb::WatchResponse]) -> String {
    let mut shown = String::new();
    for response in responses {
        let _ = write!(
            shown,
            "watch {} {}",
            response.watch_id,
            header(&response.header)
        );
        for (flag, name) in [
            (response.created, "created"),
            (response.canceled, "canceled"),
            (response.fragment, "fragment"),
        ] {
            if flag {
                let _ = write!(shown, " {name}");
            }
        }
        if response.compact_revision != 0 {
            let _ = write!(shown, " compacted {}", response.compact_revision);
        }
        if !response.cancel_reason.is_empty() {
            let _ = write!(shown, " because {:?}", response.cancel_reason);
        }
        for event in &response.events {
            let kind = if event.r#type == 1 { "delete" } else { "put" };
            let kv = event.kv.as_ref().expect("an event has a key");
            let _ = write!(shown, " | {kind} {}", show_kv(kv));
            if let Some(previous) = &event.prev_kv {
                let _ = write!(shown, " was [{}]", show_kv(previous));
            }
        }
        shown += "\n";
    }
    if shown.is_empty() {
        "nothing\n".to_owned()
    } else {
        shown
    }
}
