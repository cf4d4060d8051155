//! What cannot work is said at once, in the user's words, and changes nothing.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;
use support::*;

fn refused(flags: &[String]) -> String {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (code, text) = refusal(&flags);
    assert!(matches!(code, Some(1 | 2)), "code {code:?}: {text}");
    // The last line is for people; what stands before it is the log.
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_command_line_that_is_not_understood() {
    let text = refused(&["server".into(), "--nmae=x".into()]);
    assert_eq!(
        text,
        "error: flag provided but not defined: --nmae (--help lists all flags)"
    );
    let text = refused(&["serve".into()]);
    assert!(!text.is_empty());
    let both = run(&["server", "--name=a"], &[("ETCD_NAME", "b")]);
    let text = String::from_utf8_lossy(&both.stderr).into_owned();
    assert!(
        text.contains("conflicting environment variable \"ETCD_NAME\" is shadowed"),
        "{text}"
    );
}

#[test]
fn called_etcd_it_answers_as_etcd_does() {
    let scratch = Scratch::new();
    let link = scratch.path("etcd");
    symlink(QUORATE, &link).unwrap();
    let output = Command::new(&link).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("etcd Version: ")
        .unwrap();
    assert_eq!(version.split('.').count(), 3, "{text}");
    let output = Command::new(&link).arg("--help").output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("--initial-cluster-token")
    );
}

#[test]
fn a_directory_in_use_and_one_that_knows_better_than_flags() {
    let scratch = Scratch::new();
    let mut member = Lone::start(&scratch);
    let dir = scratch.path("s1");
    let (client, peer) = free_ports();

    let text = refused(&lone_flags(&dir, client, peer));
    assert!(text.starts_with("error: the data directory "), "{text}");
    let holder = format!(
        "is in use by another process (process id {})",
        member.process.pid()
    );
    assert!(text.contains(&holder), "{text}");

    signal("TERM", member.process.pid());
    assert_eq!(member.process.end(), Some(0));
    // Flags that would make another member of a new cluster: what they say of the beginning counts once.
    let moved = lone_flags(&dir, client, peer);
    let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    let mut moved = Running::start(QUORATE, &moved, &scratch.path("moved.log"));
    until("the member serves elsewhere", || {
        is_healthy(client).then_some(())
    });
    signal("TERM", moved.pid());
    assert_eq!(moved.end(), Some(0));

    // None of it did any harm.
    let flags = lone_flags(&dir, member.client, member.peer);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _again = Running::start(QUORATE, &flags, &scratch.path("again.log"));
    until("the member serves again", || {
        is_healthy(member.client).then_some(())
    });
}

#[test]
fn a_directory_that_cannot_be_one_and_ports_that_are_taken() {
    let scratch = Scratch::new();
    let (client, peer) = free_ports();
    fs::write(scratch.path("file"), "").unwrap();
    let text = refused(&lone_flags(&scratch.path("file/data"), client, peer));
    assert!(text.starts_with("error: cannot create "), "{text}");

    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let text = refused(&lone_flags(&scratch.path("a"), taken, peer));
    let start = format!("error: cannot listen for clients on {taken}: Address already in use");
    assert!(text.starts_with(&start), "{text}");
    let text = refused(&lone_flags(&scratch.path("b"), client, taken));
    assert!(
        text.starts_with("error: cannot listen for members on "),
        "{text}"
    );
}

#[test]
fn a_cluster_that_does_not_name_the_member() {
    let scratch = Scratch::new();
    let (client, peer) = free_ports();
    let mut flags = lone_flags(&scratch.path("a"), client, peer);
    flags.push("--initial-cluster=s2=http://127.0.0.1:1".to_owned());
    let text = refused(&flags);
    assert!(text.contains("there is no \"s1\" among \"s2\""), "{text}");
    assert!(!scratch.path("a").exists(), "nothing was made");
}
