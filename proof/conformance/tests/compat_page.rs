//! `docs/compat/etcd.md` has everything that the real etcd of the release that we emulate has: each flag, RPC, path of the
//! gateway, metric and command. The lists are had from etcd itself: from what `--help` prints, from `/metrics` of a member
//! that runs, and from the module that its gateway is built of. What the page *says* of each is held by `proof/tidy`.

use cluster::{Cluster, Server, TempDir};
use quorate_conformance::{peer, serves};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../../docs/compat/etcd.md");

fn said(program: &Path, words: &[&str]) -> String {
    let done = Command::new(program).args(words).output();
    let done = done.unwrap_or_else(|err| panic!("{}: {err}", program.display()));
    // Some print their help where others print complaints.
    let (out, err) = (done.stdout, done.stderr);
    String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err)
}

/// What stands under the heading `name`.
fn section(name: &str) -> &'static str {
    let heading = format!("\n## {name}\n");
    let (_, rest) = PAGE.split_once(&heading).expect("the heading is there");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// What stands between backticks in `text`, in its order.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The first cells of the tables in `text`.
fn first_cells(text: &'static str) -> impl Iterator<Item = &'static str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next())
}

#[track_caller]
fn assert_all(
    what: &str,
    theirs: &BTreeSet<String>,
    n_min: usize,
    is_there: impl Fn(&str) -> bool,
) {
    // A list that came out empty would prove nothing.
    assert!(
        theirs.len() >= n_min,
        "only {} of {what}: {theirs:?}",
        theirs.len()
    );
    let missing: Vec<_> = theirs.iter().filter(|it| !is_there(it)).collect();
    assert!(
        missing.is_empty(),
        "{what} that the page does not have: {missing:?}"
    );
}

#[test]
fn every_flag_of_etcds_is_on_the_page() {
    let help = said(&peer("etcd"), &["--help"]);
    let flags = help.lines().filter_map(|line| {
        let flag = line.strip_prefix("  --")?;
        let end = flag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        Some(flag[..end.unwrap_or(flag.len())].to_owned())
    });
    let rows: BTreeSet<&str> = ticked(section("Flags")).into_iter().collect();
    assert_all("flags", &flags.collect(), 100, |flag| {
        rows.contains(&*format!("--{flag}"))
    });
}

/// `member list, add` is two commands of `member`.
fn commands() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let cells = first_cells(PAGE).chain([section("Not served")]);
    for text in cells.flat_map(ticked) {
        let mut commands = text.split(", ");
        let first = commands.next().unwrap_or(text);
        let (group, rest) = first.split_once(' ').unwrap_or(("", first));
        all.insert(first.to_owned());
        // `snapshot save` of `etcdctl snapshot save`.
        all.insert(rest.to_owned());
        all.extend(commands.map(|command| format!("{group} {command}").trim().to_owned()));
    }
    all
}

#[test]
fn every_command_of_etcdctl_and_etcdutl_is_on_the_page() {
    let mut theirs = BTreeSet::new();
    let help = said(&peer("etcdctl"), &["--help"]);
    let (_, list) = help.split_once("COMMANDS:\n").expect("a list of commands");
    let list = list.split("\n\n").next().unwrap_or(list);
    theirs.extend(list.lines().filter_map(|line| {
        let (command, _) = line.trim_start().split_once('\t')?;
        Some(command.to_owned())
    }));
    let indented = |help: &str| {
        let (_, list) = help.split_once("Available Commands:\n").unwrap_or_default();
        let lines = list.lines().take_while(|line| line.starts_with("  "));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    for command in indented(&said(&peer("etcdutl"), &["--help"])) {
        let below = match &*command {
            "snapshot" => indented(&said(&peer("etcdutl"), &[&command, "--help"])),
            _ => Vec::new(),
        };
        if below.is_empty() {
            theirs.insert(command);
        } else {
            theirs.extend(below.iter().map(|it| format!("{command} {it}")));
        }
    }
    let ours = commands();
    assert_all("commands", &theirs, 40, |command| {
        let group = command.split(' ').next().unwrap_or(command);
        ours.contains(command) || ours.contains(&format!("{group} *"))
    });
}

/// `Auth/UserAdd, UserGet` is two methods of `Auth`.
fn methods() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for cell in first_cells(section("Methods")) {
        let Some((service, methods)) = cell.rsplit_once('/') else {
            continue;
        };
        for method in methods.split(", ") {
            all.insert(format!("{service}/{method}"));
        }
    }
    all
}

/// `etcd_a_b_total`, `…_c_total` is two names: the second has as much of the first as it needs.
fn is_metric_said(name: &str, said: &[&str]) -> bool {
    let mut before = "";
    for text in said {
        let stem = text.split('{').next().unwrap_or(text);
        let is_it = match (text.strip_prefix('…'), text.split_once('{')) {
            (Some(end), _) => {
                let shared = name.strip_suffix(end).unwrap_or("");
                !shared.is_empty() && before.starts_with(shared)
            }
            (None, Some((start, rest))) => {
                let (choices, end) = rest.split_once('}').unwrap_or((rest, ""));
                let middle = name.strip_prefix(start).and_then(|it| it.strip_suffix(end));
                middle.is_some_and(|middle| choices.split(',').any(|it| it == middle))
            }
            (None, None) => match text.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *text,
            },
        };
        if is_it {
            return true;
        }
        if stem.contains('_') && !text.starts_with('…') {
            before = stem;
        }
    }
    false
}

#[tokio::test]
async fn every_method_and_every_metric_of_etcds_is_on_the_page() {
    let folder = TempDir::new().expect("a folder");
    let program = peer("etcd").display().to_string();
    let server = Server::new("etcd", &program, folder.path()).expect("the program");
    let server = server.with(&["--metrics=extensive"]);
    let cluster = Cluster::start(&server, folder.path(), 1).expect("it starts");
    let endpoint = cluster.endpoints().remove(0);
    assert!(serves(&endpoint).await, "{}", cluster.last_words());
    let page = said(
        Path::new("curl"),
        &["-s", "-m", "20", &format!("{endpoint}/metrics")],
    );

    // A line for every method, from the start.
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let lines = page
        .lines()
        .filter(|it| it.starts_with("grpc_server_started_total{"));
    let theirs = lines.filter_map(|line| {
        let service = label(line, "grpc_service")?;
        let service = service.strip_prefix("etcdserverpb.").unwrap_or(&service);
        Some(format!("{service}/{}", label(line, "grpc_method")?))
    });
    let ours = methods();
    assert_all("methods", &theirs.collect(), 40, |it| ours.contains(it));

    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = names.filter_map(|line| line.split(' ').next());
    let said = ticked(section("Metrics"));
    assert_all(
        "metrics",
        &names.map(str::to_owned).collect(),
        120,
        |name| is_metric_said(name, &said),
    );
}

/// The paths that a page of Go's says to serve: `NewPattern(1, …, []string{"v3", "kv", "range"}, "")`.
fn patterns(text: &str, found: &mut BTreeSet<String>) {
    for line in text.lines().filter(|line| line.contains("NewPattern(")) {
        let (_, words) = line.split_once("[]string{").expect("the parts of a path");
        let words = words.split('}').next().unwrap_or(words);
        let parts = words.split('"').skip(1).step_by(2);
        found.insert(parts.map(|part| format!("/{part}")).collect());
    }
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.to_string_lossy().ends_with(".pb.gw.go") {
            patterns(&std::fs::read_to_string(&path).expect("text"), found);
        }
    }
}

/// `/v3/kv/range`, `put` is two paths; `/v3/auth/enable`, `user/…` one, and all that begin with another.
fn paths() -> (BTreeSet<String>, Vec<String>) {
    let (mut whole, mut starts) = (BTreeSet::new(), Vec::new());
    for cell in first_cells(section("JSON over HTTP")) {
        let mut folder = "";
        for text in ticked(cell) {
            let path = match text.starts_with('/') {
                true => text.to_owned(),
                false => format!("{folder}/{text}"),
            };
            if text.starts_with('/') {
                folder = text.rsplit_once('/').map_or("", |(folder, _)| folder);
            }
            match path.strip_suffix('…') {
                Some(start) => starts.push(start.to_owned()),
                None => drop(whole.insert(path)),
            }
        }
    }
    (whole, starts)
}

#[test]
fn every_path_of_etcds_gateway_is_on_the_page() {
    peer("etcd"); // built, so that its modules are here
    let mut theirs = BTreeSet::new();
    // From the cache of modules, or fetched once more: the peers may have been built elsewhere.
    let found = Command::new("go")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../peers"))
        .args(["mod", "download", "-json"])
        .args(["go.etcd.io/etcd/api/v3", "go.etcd.io/etcd/server/v3"])
        .env("GOFLAGS", "-mod=readonly")
        .output()
        .expect("go");
    let text = String::from_utf8_lossy(&found.stdout);
    let folders = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"Dir\": \""));
    let folders: Vec<&str> = folders.filter_map(|it| it.split('"').next()).collect();
    let complaint = String::from_utf8_lossy(&found.stderr);
    assert_eq!(folders.len(), 2, "{text}{complaint}");
    for folder in folders {
        walk(Path::new(folder), &mut theirs);
    }
    let (whole, starts) = paths();
    // `/v3alpha/…` is there to say that it is not served.
    let starts: Vec<_> = starts.iter().filter(|it| it.starts_with("/v3/")).collect();
    assert_all("paths", &theirs, 40, |path| {
        whole.contains(path) || starts.iter().any(|start| path.starts_with(start.as_str()))
    });
}

#[test]
fn a_name_that_is_not_there_is_missed() {
    let said = [
        "etcd_a_b_total",
        "…_c_total",
        "etcd_x_{y,z}_seconds",
        "go_*",
    ];
    for name in [
        "etcd_a_b_total",
        "etcd_a_c_total",
        "etcd_x_z_seconds",
        "go_threads",
    ] {
        assert!(is_metric_said(name, &said), "{name}");
    }
    for name in [
        "etcd_a_d_total",
        "etcd_b_c_total",
        "etcd_x_w_seconds",
        "etcd_a",
    ] {
        assert!(!is_metric_said(name, &said), "{name}");
    }
    assert!(commands().contains("member promote") && !commands().contains("member kill"));
    assert!(methods().contains("Auth/UserGet") && !methods().contains("Auth/UserKill"));
}
