//! Which crate may use which. Absences cannot be seen in code, so they are written here: whoever adds an
//! arrow edits this table, and that is the moment for an ADR.

/// For each of our crates: where it lies, and which of our crates it may use outside its tests.
pub const LAYERS: &[(&str, &str, &[&str])] = &[
    ("core/base", "base", &[]),
    ("core/clock", "clock", &["base"]),
    ("core/wire", "wire", &["base"]),
    ("core/store", "store", &["base", "clock"]),
    ("core/consensus", "consensus", &["base"]),
    ("core/storage", "storage", &["base", "store", "consensus"]),
    (
        "core/node",
        "node",
        &["base", "clock", "store", "consensus"],
    ),
    // bbolt's format, for etcd's backups: it knows nothing of ours.
    ("front/bolt", "bolt", &[]),
    (
        "front/etcd",
        "etcd",
        &["base", "clock", "store", "wire", "bolt"],
    ),
    ("front/api", "api", &["base"]),
    ("front/native", "native", &["base", "clock", "store", "api"]),
    (
        "edge/server",
        "server",
        &[
            "base",
            "clock",
            "store",
            "consensus",
            "storage",
            "node",
            "wire",
            "bolt",
            "etcd",
            "api",
            "native",
        ],
    ),
    ("edge/client", "client", &["base", "clock", "api"]),
    (
        "edge/cli",
        "cli",
        &["base", "clock", "storage", "server", "api", "client", "lab"],
    ),
    // Gates stand at resources of others; they know nothing of ours.
    ("edge/gate", "gate", &[]),
    ("proof/testkit", "testkit", &[]),
    ("proof/tidy", "tidy", &[]),
    // Certificates for tests.
    ("proof/pki", "pki", &[]),
    ("proof/checker", "checker", &["base"]),
    (
        "proof/sim",
        "sim",
        &[
            "base",
            "clock",
            "store",
            "consensus",
            "storage",
            "node",
            "wire",
            "etcd",
            "api",
            "native",
            "checker",
            "spec",
        ],
    ),
    ("proof/spec", "spec", &["base", "consensus"]),
    ("proof/lab", "lab", &["base", "clock", "sim", "spec"]),
    // A workspace of its own, with the same arrows.
    (
        "proof/fuzz",
        "fuzz",
        &[
            "base",
            "clock",
            "store",
            "consensus",
            "storage",
            "node",
            "wire",
            "bolt",
            "etcd",
        ],
    ),
    (
        "proof/store-bench",
        "store-bench",
        &["base", "clock", "store"],
    ),
    ("proof/cluster", "cluster", &[]),
    ("proof/levels", "levels", &["checker", "cluster"]),
    (
        "proof/chaos",
        "chaos",
        &["base", "checker", "cluster", "pki"],
    ),
    // Knows the server by its flags and its answers alone.
    ("proof/differential", "differential", &["base", "cluster"]),
    ("proof/conformance", "conformance", &["cluster", "client"]),
    ("proof/clients", "clients", &["cluster"]),
    ("bench", "bench", &["cluster", "levels"]),
    ("tools/protoc", "protoc", &[]),
];

/// Crates from outside that only one of ours may name, with the reason.
pub const KEPT_IN: &[(&str, &str, &str)] = &[
    (
        "raft",
        "core/consensus",
        "the engine can be replaced as long as one crate names it",
    ),
    ("tokio", "edge/", "async belongs to the edge"),
    ("h2", "edge/", "sockets belong to the edge"),
    (
        "tracing",
        "edge/",
        "logs are effects; core and front return what happened",
    ),
];

/// Complaints about the manifest of the crate in `folder`.
pub fn complaints(folder: &str, manifest: &str) -> Vec<String> {
    let Some((_, name, allowed)) = LAYERS.iter().find(|(at, _, _)| *at == folder) else {
        return vec![format!(
            "{folder}: a crate that proof/tidy/src/layers.rs does not know"
        )];
    };
    let mut complaints = Vec::new();
    for dependency in dependencies(manifest) {
        let ours = LAYERS.iter().any(|(_, other, _)| *other == dependency);
        if ours && !allowed.contains(&dependency.as_str()) {
            complaints.push(format!("{folder}: {name} must not use {dependency}"));
        }
        for (outside, home, reason) in KEPT_IN {
            let product = folder.starts_with("core/") || folder.starts_with("front/");
            if dependency == *outside && product && !folder.starts_with(home) {
                complaints.push(format!("{folder}: {outside} is kept in {home}: {reason}"));
            }
        }
    }
    complaints
}

/// The names under `[dependencies]`; those of tests and build scripts do not count.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut within = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = line.trim() == "[dependencies]";
        } else if within && let Some((name, _)) = line.split_once(['=', '.']) {
            names.push(name.trim().trim_matches('"').to_string());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_to_the_right_is_seen() {
        let manifest = "[dependencies]\nbase = { workspace = true }\nnode.workspace = true\n";
        assert_eq!(
            complaints("core/store", manifest),
            ["core/store: store must not use node"]
        );
    }

    #[test]
    fn raft_is_named_in_one_place() {
        let manifest = "[dependencies]\nraft = \"0.7\"\n";
        assert_eq!(complaints("core/consensus", manifest), [] as [&str; 0]);
        assert_eq!(complaints("core/node", manifest).len(), 1);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let manifest = "[dependencies]\n\n[dev-dependencies]\nnode = \"1\"\n";
        assert_eq!(complaints("core/store", manifest), [] as [&str; 0]);
    }
}
