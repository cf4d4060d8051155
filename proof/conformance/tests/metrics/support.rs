//! Pages as numbers.

use conformance::{Target, eventually};
use prometheus_parse::{Scrape, Value};
use quorate_conformance as conformance;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The head and the body of `GET target`.
pub(crate) fn get(endpoint: &str, target: &str) -> (String, String) {
    asked(endpoint, "GET", target)
}

pub(crate) fn asked(endpoint: &str, method: &str, target: &str) -> (String, String) {
    let address = endpoint.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(
        socket,
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = match head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        false => body.to_owned(),
        true => unchunked(body),
    };
    (head.to_owned(), body)
}

pub(crate) fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// A member's numbers: name and labels as text, and the value; of histograms the number of values.
pub(crate) struct Numbers(pub(crate) BTreeMap<String, f64>);

impl Numbers {
    pub(crate) fn of(endpoint: &str) -> Numbers {
        let (head, body) = get(endpoint, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{head}"
        );
        let lines = body.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).unwrap();
        let mut numbers = BTreeMap::new();
        for sample in scrape.samples {
            let mut labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            labels.sort();
            let value = match sample.value {
                Value::Counter(n) | Value::Gauge(n) | Value::Untyped(n) => n,
                Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
                Value::Summary(_) => continue,
            };
            let key = format!("{}{{{}}}", sample.metric, labels.join(","));
            numbers.insert(key, value);
        }
        Numbers(numbers)
    }

    /// The sum of all series of `name` whose labels hold all of `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let prefix = format!("{name}{{");
        let of_name = self.0.iter().filter(|(key, _)| key.starts_with(&prefix));
        let fits = |key: &str| labels.iter().all(|label| key.contains(label));
        of_name
            .filter(|(key, _)| fits(key))
            .map(|(_, value)| value)
            .sum()
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.sum(name, &[])
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0
            .keys()
            .any(|key| key.starts_with(&format!("{name}{{")))
    }
}

/// Waits until a number of a member is as it should be.
pub(crate) async fn becomes(endpoint: &str, what: &str, is: impl Fn(&Numbers) -> bool) {
    eventually(what, || async { is(&Numbers::of(endpoint)).then_some(()) }).await;
}

/// What `numbers` say more than `before`.
pub(crate) fn grown(before: &Numbers, now: &Numbers, name: &str, labels: &[&str]) -> f64 {
    now.sum(name, labels) - before.sum(name, labels)
}

pub(crate) async fn leader_of(target: &Target) -> usize {
    eventually("somebody leads", || async {
        let leads = |endpoint: &String| Numbers::of(endpoint).get("etcd_server_is_leader") == 1.0;
        target.endpoints.iter().position(leads)
    })
    .await
}
