//! Whoever is asked who they are says it: the command line as a user, on a member with authentication.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use std::fs;
use support::*;

fn quorate(member: &Lone, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let endpoint = member.client.to_string();
    let arguments = [arguments, &["-o", "json"]].concat();
    let variables = [&[("QUORATE_ENDPOINTS", endpoint.as_str())][..], variables].concat();
    Said::of(&run(&arguments, &variables))
}

/// etcd's API over HTTP.
fn etcd(member: &Lone, path: &str, body: &str) {
    let (status, answer) = post(member.client, &format!("/v3/auth/{path}"), body);
    assert!(status.contains(" 200 "), "{path}: {status} {answer}");
}

#[test]
fn a_user_is_asked_for_a_name_and_a_password() {
    let scratch = Scratch::new();
    let member = Lone::start(&scratch);
    // Nobody is asked yet: a user who says who they are is no stranger.
    let root = ["--user", "root:word"];
    let put = quorate(&member, &[&["put", "k", "before"][..], &root].concat(), &[]);
    assert_eq!(put.code, Some(0), "{put:?}");
    etcd(&member, "user/add", r#"{"name":"root","password":"word"}"#);
    etcd(&member, "user/add", r#"{"name":"ann","password":"hers"}"#);
    etcd(&member, "user/grant", r#"{"user":"root","role":"root"}"#);
    etcd(&member, "enable", "{}");

    let stranger = quorate(&member, &["get", "k"], &[]);
    assert_eq!(stranger.code, Some(2), "{stranger:?}");
    assert_eq!(stranger.error()["code"], "Q8001", "{stranger:?}");
    let wrong = quorate(&member, &["get", "k", "--user", "root:wrong"], &[]);
    assert_eq!(wrong.error()["code"], "Q8001", "{wrong:?}");
    let ann = quorate(&member, &["get", "k", "--user", "ann:hers"], &[]);
    assert_eq!(ann.error()["code"], "Q8002", "{ann:?}");

    // A password in a file, one in a variable, a write and a stream.
    let file = scratch.path("password");
    fs::write(&file, "word\n").unwrap();
    let of_file = ["--user", "root", "--password-file", file.to_str().unwrap()];
    let put = quorate(
        &member,
        &[&["put", "k", "after"][..], &of_file].concat(),
        &[],
    );
    assert_eq!(put.code, Some(0), "{put:?}");
    let variables = [("QUORATE_USER", "root:word")];
    let got = quorate(&member, &["get", "k"], &variables);
    assert!(got.code == Some(0) && got.out.contains("after"), "{got:?}");
    let backup = scratch.path("backup.db");
    let save = ["snapshot", "save", backup.to_str().unwrap()];
    let refused = quorate(&member, &save, &[("QUORATE_USER", "ann:hers")]);
    assert_eq!(refused.error()["code"], "Q8002", "{refused:?}");
    let saved = quorate(&member, &save, &variables);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    assert!(fs::metadata(&backup).unwrap().len() > 0);
}
