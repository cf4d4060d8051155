//! Gives names to what differs from run to run, and only to that: ids, addresses, terms, times, sizes, hashes.

use cluster::Cluster;
use regex::Regex;
use std::path::Path;

/// What stands for what, in one run.
pub(crate) struct Mask {
    /// Longer ones first: a number may be the beginning of another.
    names: Vec<(String, String)>,
    n_leases: usize,
}

impl Mask {
    /// Knows the addresses.
    pub(crate) fn new(cluster: &Cluster, folder: &Path) -> Mask {
        let mut mask = Mask {
            names: vec![(folder.display().to_string(), "TMP".to_owned())],
            n_leases: 0,
        };
        for (index, member) in cluster.members.iter().enumerate() {
            let n = index + 1;
            mask.add(&member.place.client_url(), &format!("E{n}"));
            mask.add(&member.place.peer_url(), &format!("P{n}"));
        }
        mask
    }

    fn add(&mut self, value: &str, name: &str) {
        self.names.push((value.to_owned(), name.to_owned()));
        self.names
            .sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// An id is printed both ways.
    fn add_id(&mut self, id: u64, name: &str) {
        self.add(&id.to_string(), name);
        self.add(&format!("{id:x}"), name);
    }

    /// Takes the ids from a list of members as JSON. A member is `M1` because its name is `n1`.
    pub(crate) fn learn_members(&mut self, json: &str) {
        let number = |text: &str| text.parse().unwrap_or(0);
        let cluster = regex(r#""cluster_id":(\d+)"#);
        if let Some(found) = cluster.captures(json) {
            self.add_id(number(&found[1]), "CLUSTER");
        }
        for found in regex(r#""ID":(\d+),"name":"n(\d)""#).captures_iter(json) {
            self.add_id(number(&found[1]), &format!("M{}", &found[2]));
        }
    }

    /// Leases and further members are named in the order in which they appear.
    pub(crate) fn learn_leases(&mut self, said: &str) {
        let granted = regex(r"lease ([0-9a-f]{12,16}) granted with");
        let added = regex(r"Member +([0-9a-f]{12,16}) added ");
        for found in granted.captures_iter(said) {
            let id = u64::from_str_radix(&found[1], 16).unwrap_or(0);
            if !self.names.iter().any(|(value, _)| *value == found[1]) {
                self.n_leases += 1;
                let name = format!("L{}", self.n_leases);
                // Printed with leading zeros, which go first: the longest is looked for first.
                self.add(&found[1], &name);
                self.add_id(id, &name);
            }
        }
        for found in added.captures_iter(said) {
            let id = u64::from_str_radix(&found[1], 16).unwrap_or(0);
            let n = self
                .names
                .iter()
                .filter(|(_, name)| name.starts_with('M'))
                .count()
                / 2;
            if !self.names.iter().any(|(value, _)| *value == found[1]) {
                self.add_id(id, &format!("M{}", n + 1));
            }
        }
    }

    /// A word of the script, with names replaced by what they stand for: ids as etcdctl takes them.
    pub(crate) fn meant(&self, word: &str) -> String {
        let is_hex = |value: &str| !value.contains(':') && u64::from_str_radix(value, 16).is_ok();
        let is_decimal = |value: &str, name: &str| {
            let id = value.parse::<u64>();
            name.starts_with(['M', 'L'])
                && id.is_ok_and(|id| self.names.contains(&(format!("{id:x}"), name.to_owned())))
        };
        let mut text = word.to_owned();
        for (value, name) in &self.names {
            let is_id = name.starts_with(['M', 'L']);
            if is_id && (!is_hex(value) || is_decimal(value, name)) {
                continue;
            }
            let whole = regex(&format!(r"(^|[=,/:]){name}($|[,/:])"));
            let with = format!("${{1}}{value}${{2}}");
            text = whole.replace_all(&text, with.as_str()).into_owned();
        }
        text
    }

    /// What a command printed, with names instead of what differs.
    pub(crate) fn mask(&self, line: &str, said: &str) -> String {
        let mut text = said.to_owned();
        for (value, name) in &self.names {
            text = text.replace(value, name);
            // An endpoint may be told without its scheme.
            if let Some(bare) = value.strip_prefix("http://") {
                text = text.replace(bare, name);
            }
        }
        for (pattern, with) in [
            // Tables are as wide as what is in them.
            (r"-{3,}", "---"),
            (r" {2,}", " "),
            (r"\b3\.6\.\d+\b", "3.6.x"),
            (r"took = [^ \n]+", "took = T"),
            (r#""took":"[^"]+""#, r#""took":"T""#),
            (r#""Took" : [^\n]+"#, r#""Took" : T"#),
            (r"took [0-9.]+m?s", "took T"),
            (r"\| +[0-9.]+(ms|µs|s) ", "| T "),
            (r"remaining\(\d+s\)", "remaining(Rs)"),
            (r#""ttl":\d+"#, r#""ttl":R"#),
            (r#""TTL" : \d+"#, r#""TTL" : R"#),
            (
                r#""(raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|hash)":\d+"#,
                r#""$1":N"#,
            ),
            (
                r#""(RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Hash)" : \d+"#,
                r#""$1" : N"#,
            ),
            // Keys of locks and elections end with a lease.
            (r"/[0-9a-f]{14,16}\b", "/LEASE"),
            (r"[0-9.]+ [kMG]?B\b", "SIZE"),
        ] {
            text = regex(pattern).replace_all(&text, with).into_owned();
        }
        let is_counted = line.contains("endpoint status")
            || line.contains("hashkv")
            || line.contains("snapshot status");
        if is_counted && !line.contains("json") && !line.contains("fields") {
            text = regex(r"(^|[ |,])\d+\b")
                .replace_all(&text, "${1}N")
                .into_owned();
        }
        if line.contains("snapshot status") {
            text = regex(r"^[0-9a-f]+,").replace(&text, "HASH,").into_owned();
        }
        let lines = text.lines().map(str::trim_end);
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        // Members come in the order of their ids, and the healthy in the order in which they answer.
        let is_crowd =
            line.starts_with("member") || line.contains("health") || line.contains("--cluster");
        if is_crowd { in_order(&text) } else { text }
    }
}

/// The parts of a text in an order of ours: objects of a list, paragraphs, words after a comma, lines.
fn in_order(text: &str) -> String {
    let sorted = |separator: &str| {
        let mut parts: Vec<&str> = text.trim_end().split(separator).collect();
        parts.sort_unstable();
        parts.join(separator) + "\n"
    };
    if text.contains("ETCD_INITIAL_CLUSTER=") {
        let line = regex(r#"ETCD_INITIAL_CLUSTER="([^"]*)""#);
        let order = |found: &regex::Captures<'_>| {
            let mut parts: Vec<&str> = found[1].split(',').collect();
            parts.sort_unstable();
            format!(r#"ETCD_INITIAL_CLUSTER="{}""#, parts.join(","))
        };
        return line.replace_all(text, order).into_owned();
    }
    let is_json = text.starts_with(['{', '[']);
    if is_json {
        let objects = regex(r"\{[^{}]*\}");
        let mut parts: Vec<&str> = objects
            .find_iter(text)
            .map(|found| found.as_str())
            .collect();
        parts.sort_unstable();
        let hole = objects.replace_all(text, "{}");
        return format!("{}{}\n", hole, parts.join("\n"));
    }
    if text.contains("\n\n") {
        sorted("\n\n")
    } else {
        sorted("\n")
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours")
}
