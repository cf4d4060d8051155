//! `etcd::json`: a request as JSON, every method, whole or in pieces.

use super::{Target, Verdict};
use crate::{heap, mutate};
use base::Rng;
use etcd::Method;
use etcd::json::{JsonValues, Schema};

/// See the module.
pub const TARGET: Target = Target {
    name: "etcd_json",
    run,
    corpus,
    mutate: damage,
    one_in: 1,
};

/// Bytes that one input may take: its own a few times over, and what the parser keeps.
const HEAP_SHARE: usize = 8;

/// The first byte says the method, the second how long the pieces are; the rest is JSON. What is accepted is told
/// again, and what was told is read as the same and told as the same: there is one way to tell it.
pub fn run(input: &[u8]) -> Verdict {
    let [which, step, json @ ..] = input else {
        return Verdict::Refused;
    };
    let method = Method::ALL[usize::from(*which) % Method::ALL.len()];
    let schema = Schema::request(method);
    let mut values = JsonValues::new(mutate::INPUT_BYTES_MAX);
    let mut is_accepted = false;
    for piece in json.chunks(usize::from(*step) * 16 + 1) {
        values.push(piece);
        loop {
            let value = match values.next_value() {
                Ok(Some(value)) => value,
                Ok(None) => break,
                Err(_) => return Verdict::Refused,
            };
            let most = HEAP_SHARE * value.len() + 65_536;
            let read = heap::bounded(most, "a request in JSON", || schema.read(&value));
            let Ok(read) = read else {
                return Verdict::Refused;
            };
            let told = told(schema, &read);
            let again = schema.read(&told).expect("what we tell can be read");
            assert_eq!(self::told(schema, &again), told, "one way to tell it");
            is_accepted = true;
        }
    }
    Verdict::of(is_accepted && values.end().is_ok())
}

fn told(schema: Schema, message: &[u8]) -> Vec<u8> {
    let mut told = Vec::new();
    let written = schema.write(message, &mut told);
    written.expect("what was read can be told");
    told
}

fn corpus() -> Vec<Vec<u8>> {
    let texts: [(Method, &str); 9] = [
        (
            Method::Range,
            r#"{"key":"YQ==","range_end":"AA","limit":"10","sort_order":"DESCEND","sortTarget":2,"keys_only":true}"#,
        ),
        (
            Method::Put,
            r#"{"key":"-_-_","value":"YQ","lease":7e0,"prev_kv":false,"unknown":[{"a":null}]}"#,
        ),
        (
            Method::Txn,
            r#"{"compare":[{"target":"VERSION","key":"YQ==","version":"0"}],"success":[{"request_txn":{"success":[{"request_range":{"key":"YQ=="}}]}}],"failure":[{"requestPut":{"key":"YQ=="}}]}"#,
        ),
        (
            Method::Watch,
            r#"{"create_request":{"key":"YQ==","filters":["NOPUT",1]}} {"cancel_request":{"watch_id":"4"}}{"progress_request":{}}"#,
        ),
        (
            Method::LeaseGrant,
            r#"{"TTL":"-9223372036854775808","ID":1.5e1}"#,
        ),
        (
            Method::MemberAdd,
            r#"{"peerURLs":["http://a:1","\u2603\ud834\udd1e"],"isLearner":true}"#,
        ),
        (
            Method::UserAdd,
            r#"{"name":"a","password":"\"\\\/\b","options":{"no_password":true}}"#,
        ),
        (
            Method::RoleGrantPermission,
            r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#,
        ),
        (
            Method::ElectionProclaim,
            r#"{"leader":{"name":"ZQ==","key":"ZS85","rev":"13","lease":"9"},"value":"eW91"}"#,
        ),
    ];
    let input = |(method, text): &(Method, &str)| {
        let which = Method::ALL.iter().position(|it| it == method);
        let which = which.unwrap_or_default() as u8;
        [&[which, 7], text.as_bytes()].concat()
    };
    texts.iter().map(input).collect()
}

/// Pieces of JSON that bytes rarely become by chance.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "1e999",
    "-0",
    "0.0",
    "\"key\":\"YQ==\",",
    "{\"success\":[{\"request_txn\":",
    "9223372036854775808",
    "\"=\"",
];

fn damage(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if rng.below(3) > 0 {
        return mutate::bytes(input, other, rng);
    }
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(input.len() as u64 + 1) as usize;
        let piece = rng.pick(PIECES).copied().unwrap_or_default();
        let n_times = if rng.below(8) == 0 { 200 } else { 1 };
        input.splice(at..at, piece.repeat(n_times).into_bytes());
    }
    input.truncate(mutate::INPUT_BYTES_MAX);
}
