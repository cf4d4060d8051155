//! Refusals that only certain members say, met through the whole program.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use serde_json::Value;
use support::*;

fn quorate(member: &Lone, arguments: &[&str]) -> Said {
    let endpoint = member.client.to_string();
    let arguments = [arguments, &["-o", "json"]].concat();
    Said::of(&run(&arguments, &[("QUORATE_ENDPOINTS", &endpoint)]))
}

#[test]
fn a_member_without_space_refuses_writes_and_goes_on_reading() {
    let scratch = Scratch::new();
    let member = Lone::start_with(&scratch, &["--quota-backend-bytes=20000"]);
    let value = "x".repeat(3000);
    let mut refused = None;
    for n in 0..20 {
        let said = quorate(&member, &["put", &format!("k{n}"), &value]);
        if said.code != Some(0) {
            refused = Some(said);
            break;
        }
    }
    let refused = refused.expect("60 kB do not go into 20 kB");
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert_eq!(refused.error()["code"], "Q2105", "{refused:?}");
    assert_eq!(quorate(&member, &["get", "k0"]).code, Some(0));
    let found = quorate(&member, &["doctor"]);
    assert_eq!(found.code, Some(1));
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let checks: Vec<&str> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert!(checks.contains(&"space"), "{checks:?}");
    assert!(checks.contains(&"margin"), "{checks:?}");
}

#[test]
fn a_cluster_whose_members_differ_takes_no_write() {
    let scratch = Scratch::new();
    let member = Lone::start(&scratch);
    let alarm = |action: &str| {
        // Of a member that is none, so that nobody compares for itself.
        let body = format!(r#"{{"action":"{action}","memberID":"77","alarm":"CORRUPT"}}"#);
        let _ = post(member.client, "/v3/maintenance/alarm", &body);
    };
    assert_eq!(quorate(&member, &["put", "k", "v"]).code, Some(0));
    alarm("ACTIVATE");
    let refused = quorate(&member, &["put", "k", "w"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert_eq!(refused.error()["code"], "Q2107", "{refused:?}");
    assert_eq!(quorate(&member, &["get", "k"]).code, Some(0));
    alarm("DEACTIVATE");
    assert_eq!(quorate(&member, &["put", "k", "w"]).code, Some(0));
}

#[test]
fn commit_wait_works_where_the_error_of_the_clock_is_known_and_only_there() {
    let scratch = Scratch::new();
    let stated = Lone::start_with(&scratch, &["--clock-error-max=5"]);
    let said = quorate(&stated, &["put", "k", "v", "--commit-wait"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    let scratch = Scratch::new();
    let unstated = Lone::start(&scratch);
    let (_, status) = post(unstated.client, "/v1/cluster/status", "{}");
    let said = quorate(&unstated, &["put", "k", "v", "--commit-wait"]);
    // Whether the kernel knows it is a matter of the machine.
    match status["clock"]["errorUs"].is_null() {
        true => {
            assert_eq!(said.code, Some(5), "{said:?}");
            assert_eq!(said.error()["code"], "Q3107", "{said:?}");
            assert_eq!(
                quorate(&unstated, &["get", "k"]).code,
                Some(3),
                "it was not written"
            );
        }
        false => assert_eq!(said.code, Some(0), "{said:?}"),
    }
}

#[test]
fn what_the_command_line_cannot_say_is_refused_over_http() {
    let scratch = Scratch::new();
    let member = Lone::start(&scratch);
    let bad_level = r#"{"key":"a","read":{"consistency":{"level":"bounded"}}}"#;
    let (status, error) = post(member.client, "/v1/kv/get", bad_level);
    assert_eq!(
        (status.as_str(), &error["error"]["code"]),
        ("HTTP/1.1 400 Bad Request", &"Q1008".into())
    );
    let (status, error) = post(member.client, "/v1/kv/got", "{}");
    assert_eq!(
        (status.as_str(), &error["error"]["code"]),
        ("HTTP/1.1 501 Not Implemented", &"Q1009".into())
    );
    // The schema of the command line's JSON is that of HTTP, but for what stands around it.
    let (_, mut over_http) = post(member.client, "/v1/kv/get", r#"{"key":"a"}"#);
    let said = quorate(&member, &["get", "a"]);
    let mut printed: Value = serde_json::from_str(&said.out).unwrap();
    printed
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "apiVersion" && name != "kind");
    for answer in [&mut over_http, &mut printed] {
        assert!(answer["header"]["time"].take().is_string());
    }
    assert_eq!(over_http, printed);
}
