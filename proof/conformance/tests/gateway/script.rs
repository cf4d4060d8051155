//! The story, and what differs between two servers that tell it: names of members, clusters and leases by chance.

use crate::curl::{Answer, Stream, curl, member};
use quorate_conformance::Target;
use serde_json::Value;
use std::fmt::Write as _;

#[tokio::test]
async fn a_story_in_json_has_the_answers_of_etcd() {
    let target = member().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/script.txt");
    testkit::check(file, |commands| {
        let mut told = String::new();
        for command in commands.lines() {
            tell(&target, command, &mut told);
        }
        told
    });
}

/// `METHOD path body`, or `LINES n path body` for the first lines of a stream; `\n` in a body is a line's end.
fn tell(target: &Target, command: &str, told: &mut String) {
    let mut words = command.splitn(3, ' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let rest = words.next().unwrap_or_default();
    if method == "LINES" {
        let n_lines: usize = path.parse().expect("a number");
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut stream = Stream::open(target, path, body);
        stream.end();
        for _ in 0..n_lines {
            let line = stream.line();
            let _ = writeln!(told, "{}", masked(&line));
        }
        return;
    }
    let url = format!("{}{path}", target.endpoints[0]);
    let body = (!rest.is_empty()).then(|| rest.replace("\\n", "\n"));
    let Answer {
        status,
        headers,
        body,
    } = curl(&url, &["-X", method], body.as_deref().map(str::as_bytes));
    let kind = headers
        .lines()
        .find_map(|it| it.strip_prefix("content-type: "));
    let _ = write!(told, "{status} {}", kind.unwrap_or("-"));
    if kind.is_some_and(|kind| kind.starts_with("application/json")) {
        for line in body.lines() {
            let _ = write!(told, "\n{}", masked(line));
        }
    }
    told.push('\n');
}

/// The same JSON with its fields in order, and what is by chance hidden.
pub(crate) fn masked(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(mut value) => {
            mask(&mut value);
            value.to_string()
        }
        Err(_) => format!("not JSON: {json}"),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_chance = matches!(
                    name.as_str(),
                    "cluster_id"
                        | "member_id"
                        | "raft_term"
                        | "raftTerm"
                        | "raftIndex"
                        | "raftAppliedIndex"
                        | "memberID"
                        | "leader"
                        | "dbSize"
                        | "dbSizeInUse"
                        | "dbSizeQuota"
                        | "hash"
                        | "peerURLs"
                        | "clientURLs"
                        | "version"
                        | "etcdserver"
                ) && !value.is_object()
                    && !(name == "version" && value.as_str().is_some_and(|it| it.len() < 4));
                // Leases are named in the story, members are not.
                let is_member = name == "ID" && value.as_str().is_some_and(|it| it.len() > 9);
                if is_chance || is_member {
                    *value = Value::from("*");
                }
                // Places in the text are told, but Go writes them with a blank that no keyboard has, on some builds.
                if name == "message"
                    && let Some(text) = value.as_str()
                {
                    *value = Value::from(text.replace('\u{a0}', " "));
                }
                mask(value);
            }
        }
        _ => {}
    }
}
