//! Every command of etcdctl, of two releases, on a cluster of ours and on the real etcd: the same answers.
//!
//! ```text
//!   script.txt   what is typed, command by command (play.rs says how it is read)
//!   3.4.txt      what Debian's etcdctl prints, on etcd 3.6
//!   3.6.txt      what etcdctl 3.6 prints, on etcd 3.6 (both are built by proof/peers/build)
//!   play.rs      plays the script on a cluster of three members
//!   mask.rs      gives names to what differs from run to run: ids, ports, times, sizes
//! ```
//!
//! The two printed pages are compared with what ours answers and, each time anew, with what the real etcd answers.
//! `UPDATE=1` writes them, from the real etcd. Revisions are not masked: they must agree.

mod mask;
mod play;

use cluster::{Cluster, Server, TempDir};
use quorate_conformance::program;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's, which `.ci/run` installs.
fn debians() -> PathBuf {
    let path = PathBuf::from("/usr/bin/etcdctl");
    assert!(
        path.exists(),
        "Debian's etcdctl is not there: apt-get install etcd-client"
    );
    path
}

/// A program of the real etcd, built from its Go module if it is not there yet.
fn peer(name: &str) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/build");
    let built = Command::new(build).output().expect("bash");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "proof/peers/build failed: {said}");
    // target/debug/deps/etcdctl-… → target/peers
    let own = std::env::current_exe().expect("the path of this test");
    let target = own.ancestors().nth(3).expect("a target folder");
    target.join("peers").join(name)
}

/// What the script prints on a new cluster of this server.
fn page(server: &Path, etcdctl: &Path, release: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let server = server.display().to_string();
    let server = Server::new("tested", &server, folder.path()).expect("the server's program");
    let cluster = Cluster::start(&server, folder.path(), 3).expect("the server starts");
    play::play(&cluster, etcdctl, release, folder.path())
}

fn kept(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/etcdctl/{release}.txt"))
}

/// Compares with the page that is kept.
fn compare(page: &str, release: &str) {
    let wanted = std::fs::read_to_string(kept(release)).unwrap_or_default();
    let differs = difference(&wanted, page);
    assert!(differs.is_none(), "{}", differs.unwrap_or_default());
}

/// The real one may write the page, and must print it.
fn compare_or_update(page: &str, release: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(kept(release), page).expect("the page is written");
    }
    compare(page, release);
}

/// The first answers that are not as they should be, each with its command.
fn difference(wanted: &str, got: &str) -> Option<String> {
    let blocks = |page: &str| -> Vec<String> {
        let begun = page.replace("\n$ ", "\n\u{1}$ ");
        begun.split('\u{1}').map(str::to_owned).collect()
    };
    let (wanted, got) = (blocks(wanted), blocks(got));
    let mut told = String::new();
    for index in 0..wanted.len().max(got.len()) {
        let (w, g) = (wanted.get(index), got.get(index));
        if w != g {
            let none = "(nothing)\n".to_owned();
            told += &format!(
                "--- wanted\n{}--- got\n{}\n",
                w.unwrap_or(&none),
                g.unwrap_or(&none)
            );
        }
    }
    (!told.is_empty()).then_some(told)
}

#[test]
fn ours_answers_debians_etcdctl_as_etcd_does() {
    compare(&page(&program(), &debians(), "3.4"), "3.4");
}

#[test]
fn ours_answers_a_current_etcdctl_as_etcd_does() {
    compare(&page(&program(), &peer("etcdctl"), "3.6"), "3.6");
}

#[test]
fn etcd_answers_debians_etcdctl_as_the_page_says() {
    compare_or_update(&page(&peer("etcd"), &debians(), "3.4"), "3.4");
}

#[test]
fn etcd_answers_a_current_etcdctl_as_the_page_says() {
    compare_or_update(&page(&peer("etcd"), &peer("etcdctl"), "3.6"), "3.6");
}

#[test]
fn a_difference_is_told_with_its_command() {
    let told = difference("$ a\n1\n$ b\n2\n", "$ a\n1\n$ b\n3\n");
    assert_eq!(
        told.as_deref(),
        Some("--- wanted\n$ b\n2\n--- got\n$ b\n3\n\n")
    );
    assert_eq!(difference("$ a\n", "$ a\n"), None);
}
