//! The list of the crate's public methods against our tests: no method without a test that calls it.
//!
//! `methods.txt` has one line for each public method of each type that the crate exports:
//!
//! ```text
//! KvClient::put            put_answers_its_revision_and_the_value_before   works
//! ```
//!
//! The method; the test that covers it; what our server does: `works`, `refused` (answers `Unimplemented` with
//! a message), or `either` while it is being built. The checks below read the crate's own source, so a new
//! version of it with a new method fails here until there is a test.

use etcd_client::Error;
use quorate_conformance::{code, is_ours};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const METHODS: &str = include_str!("methods.txt");

struct Row {
    method: &'static str,
    test: &'static str,
    ours: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = METHODS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &'static str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [method, test, ours] => Row { method, test, ours },
        _ => panic!("not `method test works|refused|either`: {line}"),
    };
    lines.map(row).collect()
}

/// The answer, if the method works. On our server, and where `methods.txt` says so, it may be refused instead:
/// with the code for what does not exist, and a message. Anything else fails the test.
pub(crate) fn works_or_refused<T>(method: &str, result: Result<T, Error>) -> Option<T> {
    let row = rows().into_iter().find(|row| row.method == method);
    let ours = row
        .unwrap_or_else(|| panic!("{method} is not in methods.txt"))
        .ours;
    // Old versions of etcd lack the newest methods.
    let may_refuse = !is_ours() || ours != "works";
    let must_refuse = is_ours() && ours == "refused";
    match result {
        Ok(_) if must_refuse => panic!("{method} works now: say so in methods.txt"),
        Ok(answer) => Some(answer),
        Err(Error::GRpcStatus(status))
            if may_refuse && status.code() as i32 == code::UNIMPLEMENTED =>
        {
            assert!(
                !status.message().is_empty(),
                "{method} is refused without a word"
            );
            None
        }
        Err(err) => panic!("{method}: {err}"),
    }
}

/// The platform that rustc builds for here.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("-vV").output().expect("rustc -vV");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

/// Where cargo keeps the source of the crate that this test is built with.
fn crate_source() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Only this platform's crates were downloaded; cargo wants those of all when it is not told.
    let platform = format!("--filter-platform={}", host());
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .arg(platform)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    let text = String::from_utf8_lossy(&metadata.stdout).into_owned();
    let end = text
        .match_indices("/Cargo.toml\"")
        .map(|(at, _)| at)
        .find(|at| {
            text[..*at]
                .rsplit('/')
                .next()
                .is_some_and(|dir| dir.starts_with("etcd-client-"))
        })
        .unwrap_or_else(|| {
            panic!(
                "no etcd-client: {}",
                String::from_utf8_lossy(&metadata.stderr)
            )
        });
    let start = text[..end].rfind('"').expect("the start of the path") + 1;
    Path::new(&text[start..end]).join("src")
}

fn sources(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            all.push(std::fs::read_to_string(path).expect("a source file"));
        }
    }
    all
}

/// The names that `lib.rs` exports without a feature being asked for.
fn exported(lib: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let lines: Vec<&str> = lib.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if !line.starts_with("pub use ") || (at > 0 && lines[at - 1].contains("cfg")) {
            continue;
        }
        let statement: String = lines[at..]
            .join(" ")
            .split(';')
            .next()
            .unwrap_or("")
            .to_owned();
        let list = statement.rsplit("::").next().unwrap_or("");
        let list = statement
            .split_once('{')
            .map_or(list, |(_, list)| list.trim_end_matches('}'));
        names.extend(
            list.split(',')
                .map(|name| name.trim().trim_matches('}').to_owned()),
        );
    }
    names.remove("");
    names
}

/// `Type::method` for every `pub fn` in an `impl Type` block. The crate is formatted by rustfmt, so an `impl`
/// begins and ends in column 0 and a method in column 4.
fn public_methods() -> BTreeSet<String> {
    let source = crate_source();
    let lib = std::fs::read_to_string(source.join("lib.rs")).expect("lib.rs");
    let exported = exported(&lib);
    let mut methods = BTreeSet::new();
    for file in sources(&source) {
        let (mut of, mut under_cfg) = (None, false);
        for line in file.lines() {
            if let Some(rest) = line.strip_prefix("impl ") {
                let name = rest.trim_end_matches([' ', '{']);
                of = exported.contains(name).then(|| name.to_owned());
            } else if line.starts_with('}') {
                of = None;
            }
            let trimmed = line.trim_start();
            if trimmed.starts_with("#[cfg(feature") {
                under_cfg = true;
            }
            let Some(of) = &of else { continue };
            let Some(rest) = line
                .strip_prefix("    pub ")
                .filter(|rest| rest.contains("fn "))
            else {
                continue;
            };
            let name = rest.split_once("fn ").expect("found above").1;
            let name = name.split(['(', '<']).next().expect("a name");
            if !std::mem::take(&mut under_cfg) && !rest.starts_with('(') {
                methods.insert(format!("{of}::{name}"));
            }
        }
    }
    methods
}

/// The text of each test function by name.
fn tests() -> BTreeMap<String, String> {
    let mut tests = BTreeMap::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")) {
        let mut rest = &file[..];
        while let Some(at) = rest.find("test]\nasync fn ") {
            rest = &rest[at + "test]\nasync fn ".len()..];
            let name = rest.split('(').next().expect("a name").to_owned();
            let end = rest.find("\n}\n").expect("the end of a function");
            // Helpers count as part of the tests of their file.
            tests.insert(name, format!("{}\n{}", &rest[..end], helpers(&file)));
        }
    }
    tests
}

fn helpers(file: &str) -> String {
    let parts = file
        .split("\n}\n")
        .filter(|part| !part.contains("test]\nasync fn"));
    parts.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_public_method_has_a_line() {
    let wanted = public_methods();
    assert!(
        wanted.len() > 400,
        "the crate's source was not understood: {wanted:?}"
    );
    let listed: BTreeSet<String> = rows().iter().map(|row| row.method.to_owned()).collect();
    let missing: Vec<&String> = wanted.difference(&listed).collect();
    let stale: Vec<&String> = listed.difference(&wanted).collect();
    assert!(
        missing.is_empty(),
        "methods of etcd-client without a test: {missing:#?}"
    );
    assert!(
        stale.is_empty(),
        "no longer methods of etcd-client: {stale:#?}"
    );
}

#[test]
fn every_line_names_a_test_that_calls_the_method() {
    let tests = tests();
    let mut wrong = Vec::new();
    for Row { method, test, ours } in rows() {
        assert!(
            ["works", "refused", "either"].contains(&ours),
            "{method}: {ours}"
        );
        let (of, name) = method.split_once("::").expect("Type::method");
        let calls = [
            format!(".{name}("),
            format!("{of}::{name}("),
            format!("::{name})"),
        ];
        let Some(text) = tests.get(test) else {
            wrong.push(format!("{method}: no test is called {test}"));
            continue;
        };
        if !calls.iter().any(|call| text.contains(call)) {
            wrong.push(format!("{method}: {test} does not call it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
