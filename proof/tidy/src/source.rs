//! What one source file may contain, by the folder that it lies in.

/// Lines that a file may have. Most should be well under 600; past this a newcomer is lost.
pub const LINES_MAX: usize = 900;

/// Words that `core/` and `front/` must not contain, with the reason. They are looked for in code, not
/// in comments.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "effects go out as values"),
    ("std::net", "effects go out as values"),
    ("std::thread", "threads belong to the edge"),
    ("std::env", "configuration comes in as plain values"),
    ("Instant::now", "time comes in as `now`"),
    ("SystemTime", "time comes in as a number"),
    ("HashMap", "its order is random: BTreeMap"),
    ("HashSet", "its order is random: BTreeSet"),
    ("async fn", "async belongs to the edge"),
    ("unsafe {", "core and front forbid it"),
];

/// Complaints about the file at `path` (relative, with forward slashes).
pub fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    let is_product = path.starts_with("core/") || path.starts_with("front/");
    let in_source = path.contains("/src/") && !is_test;
    if !text.starts_with("//!") && !text.starts_with("#!") {
        found.push(format!(
            "{path}: opens without //!: what is it, what is it not?"
        ));
    }
    if text.lines().count() > LINES_MAX {
        found.push(format!("{path}: more than {LINES_MAX} lines"));
    }
    if is_product && path.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
        found.push(format!("{path}: core and front forbid unsafe code"));
    }
    for (number, line) in text.lines().enumerate() {
        let at = number + 1;
        let code = line.split("//").next().unwrap_or("");
        if is_product && in_source {
            for (word, reason) in IMPURE {
                // Asking whether one is already unwinding starts no thread.
                if code.replace("std::thread::panicking()", "").contains(word) {
                    found.push(format!("{path}:{at}: {word}: {reason}"));
                }
            }
        }
        if code.trim_start().starts_with(concat!("#[", "ignore")) {
            found.push(format!(
                "{path}:{at}: a test that does not run proves nothing"
            ));
        }
        if is_test
            && (code.contains("thread::sleep") || code.contains("time::sleep("))
            && is_product
        {
            found.push(format!(
                "{path}:{at}: tests wait for events, never for wall time"
            ));
        }
        for word in [concat!("todo", "!("), concat!("unimplemented", "!(")] {
            if code.contains(word) {
                found.push(format!(
                    "{path}:{at}: {word}): what is not built says so in words"
                ));
            }
        }
        for word in [concat!("FIX", "ME"), concat!("XX", "X")] {
            if line.contains(word) {
                found.push(format!("{path}:{at}: {word}: finish it, or file an issue"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, line: &str) -> usize {
        complaints(path, &format!("//! A file.\n{line}\n")).len()
    }

    #[test]
    fn the_core_reads_no_clock_and_keeps_no_random_order() {
        assert_eq!(one("core/node/src/a.rs", "let t = Instant::now();"), 1);
        assert_eq!(
            one("front/etcd/src/a.rs", "use std::collections::HashMap;"),
            1
        );
        assert_eq!(one("edge/server/src/a.rs", "let t = Instant::now();"), 0);
        assert_eq!(one("core/node/src/a.rs", "// never Instant::now"), 0);
    }

    #[test]
    fn a_file_must_introduce_itself() {
        assert_eq!(
            complaints("edge/cli/src/main.rs", "fn main() {}\n").len(),
            1
        );
    }

    #[test]
    fn ignored_tests_and_stubs_are_seen() {
        assert_eq!(
            one("edge/cli/src/a.rs", concat!("    #[", "ignore = \"slow\"]")),
            1
        );
        assert_eq!(one("edge/cli/src/a.rs", concat!("    todo", "!()")), 1);
    }

    #[test]
    fn long_files_are_seen() {
        let long = "//! Long.\n".repeat(LINES_MAX + 1);
        assert_eq!(complaints("edge/cli/src/a.rs", &long).len(), 1);
    }
}
