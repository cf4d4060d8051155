//! What is refused before it enters the log, and every error that this crate can say.

mod support;

use api::proto::{self, How};
use api::{Code, Method, SessionToken};
use base::{ClusterId, LeaseId, Revision, Term};
use bytes::Bytes;
use native::{AnswerKind, Encoding, Fault, Freshness, KEYS, Level, Limits, Plan, Renewed, Reply};
use std::collections::BTreeSet;
use std::time::Duration;
use store::Outcome;
use support::{CLUSTER, FRESH, Member, PARTS};

fn limits() -> Limits {
    Limits {
        request_bytes_max: 200,
        txn_ops_max: 2,
        range_rows_max: 3,
        range_bytes_max: 1000,
        lease_ttl_min_s: 4,
        quota_bytes: 10_000,
    }
}

fn level(member: &mut Member, json: &str) -> Result<Level, Fault> {
    let json = format!(r#"{{"key":"a","read":{{"consistency":{json}}}}}"#);
    match member.plan(Method::Get, &json)? {
        Plan::Read { level, .. } => Ok(level),
        plan => panic!("{plan:?}"),
    }
}

#[test]
fn levels_are_read_and_checked() {
    let mut member = Member::new();
    let token = SessionToken::new(CLUSTER, Revision(9));
    for (json, expected) in [
        ("{}", Level::Linearizable),
        (r#"{"level":"linearizable"}"#, Level::Linearizable),
        (r#"{"level":"lease"}"#, Level::Lease),
        (
            r#"{"level":"bounded","boundMs":"1500"}"#,
            Level::Bounded(Duration::from_millis(1500)),
        ),
        (
            r#"{"level":"session","session":"s1-000000c1-9"}"#,
            Level::Session(token),
        ),
        (r#"{"level":"sequential"}"#, Level::Sequential),
    ] {
        assert_eq!(level(&mut member, json), Ok(expected), "{json}");
        assert_ne!(expected.level(), proto::Level::Unspecified);
    }
    for (json, code) in [
        (r#"{"level":"eventual"}"#, Code::Malformed),
        (r#"{"level":"bounded"}"#, Code::BadLevel),
        (r#"{"boundMs":"5"}"#, Code::BadLevel),
        (r#"{"level":"session"}"#, Code::BadLevel),
        (
            r#"{"level":"lease","session":"s1-000000c1-9"}"#,
            Code::BadLevel,
        ),
        (r#"{"level":"session","session":"9"}"#, Code::BadToken),
        (
            r#"{"level":"session","session":"s1-000000c2-9"}"#,
            Code::BadToken,
        ),
    ] {
        assert_eq!(
            level(&mut member, json).map_err(|it| it.code()),
            Err(code),
            "{json}"
        );
    }
    // Over gRPC a level is a number.
    let odd = proto::GetRequest {
        key: "a".into(),
        read: Some(proto::Read {
            consistency: Some(proto::Consistency {
                level: 77,
                ..Default::default()
            }),
            ..Default::default()
        }),
    };
    let body = prost::Message::encode_to_vec(&odd).into();
    let fault = member.session.plan(Method::Get, body, Encoding::Proto);
    assert_eq!(fault.expect_err("no level").code(), Code::BadLevel);
}

#[test]
fn a_write_says_how_it_is_acknowledged() {
    let mut member = Member::new();
    let json = r#"{"key":"a","value":"b","write":{"retry":{"session":"1f","sequence":"3"},"commitWait":true}}"#;
    match member.plan(Method::Put, json) {
        Ok(Plan::Propose {
            dialect,
            cost_bytes,
            retry,
            commit_wait,
            then,
            ..
        }) => {
            assert_eq!((dialect, then), (KEYS, AnswerKind::Put));
            assert_eq!((retry, commit_wait), (Some((LeaseId(0x1f), 3)), true));
            assert!(cost_bytes >= 2);
        }
        other => panic!("{other:?}"),
    }
    for retry in [r#"{"session":"1f"}"#, r#"{"sequence":"3"}"#] {
        let json = format!(r#"{{"key":"a","write":{{"retry":{retry}}}}}"#);
        let fault = member.plan(Method::Put, &json).expect_err("half a retry");
        assert_eq!(fault.code(), Code::Malformed);
    }
    // A transaction that reads, and yet is to be retried, goes through the log.
    let json = r#"{"then":[{"range":{"keys":{"all":true}}}],"write":{"retry":{"session":"1","sequence":"1"}}}"#;
    assert!(matches!(
        member.plan(Method::Txn, json),
        Ok(Plan::Propose { .. })
    ));
}

#[test]
fn configured_limits_are_checked_before_the_log() {
    let mut member = Member::with(limits());
    let long = "x".repeat(195);
    let json = format!(r#"{{"key":"a","value":"{long}"}}"#);
    let fault = member.plan(Method::Put, &json).expect_err("too large");
    assert_eq!(fault.code(), Code::TooLarge);
    let body = Bytes::from(vec![0; 201]);
    let fault = member.session.plan(Method::Put, body, Encoding::Proto);
    assert_eq!(fault.expect_err("too large").code(), Code::TooLarge);
    let put = |n: usize| format!(r#"{{"put":{{"key":"{n}"}}}}"#);
    let list = [put(1), put(2), put(3)].join(",");
    let json = format!(r#"{{"otherwise":[{list}]}}"#);
    let fault = member.plan(Method::Txn, &json).expect_err("too many");
    assert_eq!(fault.code(), Code::TooManyOperations);
    let condition = r#"{"key":"a","exists":true}"#;
    let json =
        format!(r#"{{"key":"a","write":{{"conditions":[{condition},{condition},{condition}]}}}}"#);
    let fault = member.plan(Method::Put, &json).expect_err("too many");
    assert_eq!(fault.code(), Code::TooManyOperations);
    let fence = r#"{"queue":{"kind":"lock","name":"l"},"token":"1"}"#;
    for (n, is_planned) in [(16, true), (17, false)] {
        let mut member = Member::new();
        let fences = vec![fence; n].join(",");
        let json = format!(r#"{{"key":"a","write":{{"fences":[{fences}]}}}}"#);
        let code = member.plan(Method::Put, &json).map_err(|it| it.code());
        assert_eq!(code.is_ok(), is_planned, "{n} fences: {code:?}");
        assert!(is_planned || code == Err(Code::TooManyOperations));
    }
    // A short time to live is lengthened, and a lease that has no id gets one.
    let Ok(Reply::Grant(granted)) = member.ask(Method::Grant, r#"{"ttlS":"1"}"#) else {
        panic!("no lease");
    };
    assert!(granted.lease != 0 && granted.ttl_s == 4 && granted.epoch == 3);
    // Rows and bytes of an answer.
    for n in 0..5 {
        let json = format!(r#"{{"key":"{n}","value":"{}"}}"#, "v".repeat(150));
        member.ask(Method::Put, &json).expect("written");
    }
    for json in [
        r#"{"keys":{"all":true}}"#,
        r#"{"keys":{"all":true},"limit":100}"#,
    ] {
        let Ok(Reply::Range(page)) = member.ask(Method::Range, json) else {
            panic!("no page");
        };
        assert_eq!((page.kvs.len(), page.more, page.count), (3, true, 5));
        assert_eq!(&page.next[..], b"2\0");
    }
    member = Member::with(Limits {
        range_bytes_max: 1,
        ..limits()
    });
    for n in 0..2 {
        member
            .ask(Method::Put, &format!(r#"{{"key":"{n}"}}"#))
            .expect("written");
    }
    let Ok(Reply::Range(page)) = member.ask(Method::Range, r#"{"keys":{"all":true}}"#) else {
        panic!("no page");
    };
    assert_eq!((page.kvs.len(), page.more), (1, true), "at least one");
    let state = member.state();
    assert!(!limits().is_over_quota(&state, 0));
    assert!(!limits().is_over_quota(&state, 100));
    assert!(limits().is_over_quota(&state, 10_000));
}

#[test]
fn leases_are_renewed_and_looked_at() {
    let mut member = Member::new();
    member.grant(0x1a);
    member
        .ask(Method::Put, r#"{"key":"a","lease":"1a"}"#)
        .expect("written");
    member
        .ask(
            Method::Enter,
            r#"{"queue":{"kind":"lock","name":"l"},"lease":"1a"}"#,
        )
        .expect("a place");
    let state = member.state();
    let lease = LeaseId(0x1a);
    assert_eq!(
        member.plan(Method::Renew, r#"{"lease":"1a"}"#),
        Ok(Plan::Renew(lease))
    );
    let renewed = Renewed {
        remaining: Duration::from_millis(9500),
        epoch: Term(4),
    };
    let fresh = Freshness {
        how: How::Lease,
        staleness: Some(Duration::from_micros(1500)),
        ..FRESH
    };
    let Ok(Reply::Renew(answer)) =
        native::answer_renew(&state, lease, Some(renewed), &PARTS, &fresh)
    else {
        panic!("it is there");
    };
    assert_eq!(
        (answer.ttl_s, answer.remaining_ms, answer.epoch),
        (10, 9500, 4)
    );
    let header = answer.header.expect("a header");
    assert_eq!((header.how(), header.staleness_ms), (How::Lease, Some(1)));
    assert_eq!(header.session, "s1-000000c1-3");
    let remaining = Some(renewed.remaining);
    let Ok(Reply::LookLease(answer)) =
        native::answer_look_lease(&state, lease, true, remaining, &PARTS, &FRESH)
    else {
        panic!("it is there");
    };
    // Its place is none of its keys.
    assert_eq!(answer.keys, [Bytes::from("a")]);
    for (lease, found) in [(LeaseId(0x1b), Some(renewed)), (lease, None)] {
        let fault = native::answer_renew(&state, lease, found, &PARTS, &FRESH);
        assert_eq!(fault.expect_err("none").code(), Code::LeaseNotFound);
        let remaining = found.map(|it| it.remaining);
        let fault = native::answer_look_lease(&state, lease, false, remaining, &PARTS, &FRESH);
        assert_eq!(fault.expect_err("none").code(), Code::LeaseNotFound);
    }
}

#[test]
fn an_await_needs_a_state_that_has_seen_the_token() {
    let mut member = Member::new();
    let json = r#"{"queue":{"kind":"lock","name":"l"},"token":"33","timeoutMs":"250"}"#;
    match member.plan(Method::Await, json) {
        Ok(Plan::Await {
            token,
            timeout,
            level: Level::Session(session),
            ..
        }) => {
            assert_eq!((token, session.revision()), (Revision(33), Revision(33)));
            assert_eq!(timeout, Some(Duration::from_millis(250)));
        }
        other => panic!("{other:?}"),
    }
}

/// Each code that this crate can say, with a request that meets it.
#[test]
fn every_error_that_can_be_said_is_met() {
    let mut met = BTreeSet::new();
    let mut member = Member::with(limits());
    member.grant(1);
    member.ask(Method::Put, r#"{"key":"a"}"#).expect("written");
    member.ask(Method::Put, r#"{"key":"a"}"#).expect("written");
    member
        .ask(Method::Compact, r#"{"revision":"3"}"#)
        .expect("compacted");
    let enter = r#"{"queue":{"kind":"lock","name":"l"},"lease":"1","owner":"b"}"#;
    member
        .ask(
            Method::Enter,
            r#"{"queue":{"kind":"lock","name":"l"},"lease":"1"}"#,
        )
        .expect("a place");
    member.ask(Method::Enter, enter).expect("a place");
    let fence = |token| {
        format!(r#"{{"fences":[{{"queue":{{"kind":"lock","name":"l"}},"token":"{token}"}}]}}"#)
    };
    let stale = fence(3);
    let waiting = fence(5);
    let large = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(250));
    let many = format!(
        r#"{{"then":[{}]}}"#,
        [r#"{"put":{"key":"1"}}"#; 3].join(",")
    );
    let cases = [
        (Code::Malformed, Method::Put, r#"{"kye":"a"}"#),
        (
            Code::BadName,
            Method::LookQueue,
            r#"{"queue":{"kind":"lock"}}"#,
        ),
        (Code::TooLarge, Method::Put, &large),
        (
            Code::BadToken,
            Method::ListLeases,
            r#"{"consistency":{"level":"session","session":"x"}}"#,
        ),
        (Code::BadKeys, Method::Get, "{}"),
        (Code::TooManyOperations, Method::Txn, &many),
        (
            Code::BadTime,
            Method::Get,
            r#"{"key":"a","read":{"asOf":"noon"}}"#,
        ),
        (
            Code::BadLevel,
            Method::Get,
            r#"{"key":"a","read":{"consistency":{"level":"bounded"}}}"#,
        ),
        (
            Code::Compacted,
            Method::Get,
            r#"{"key":"a","read":{"revision":"2"}}"#,
        ),
        (
            Code::Future,
            Method::Get,
            r#"{"key":"a","read":{"revision":"99"}}"#,
        ),
        (
            Code::NoSuchTime,
            Method::Get,
            r#"{"key":"a","read":{"asOf":"1970-01-01T00:00:00Z"}}"#,
        ),
        (Code::StaleToken, Method::Check, &stale),
        (Code::NotHeld, Method::Check, &waiting),
        (
            Code::BadPermits,
            Method::Enter,
            r#"{"queue":{"kind":"semaphore","name":"s"},"lease":"1"}"#,
        ),
        (
            Code::ConditionFailed,
            Method::Put,
            r#"{"key":"a","write":{"conditions":[{"key":"a","exists":false}]}}"#,
        ),
        (Code::LeaseNotFound, Method::Revoke, r#"{"lease":"77"}"#),
        (Code::LeaseExists, Method::Grant, r#"{"lease":"1"}"#),
    ];
    for (code, method, json) in cases {
        let fault = member.ask(method, json).expect_err("an error");
        assert_eq!(fault.code(), code, "{json}: {fault:?}");
        assert!(!fault.0.help.is_empty() && fault.0.effect() == code.effect());
        assert!(!fault.encode(Encoding::Proto).is_empty());
        let json = fault.encode(Encoding::Json);
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["code"], code.text());
        met.insert(code);
    }
    // What alarms say, the node's refusals of numbered writes, and what nobody knows.
    let state = member.state();
    for (status, code) in [
        (native::Refusal::NoSpace as u16, Code::NoSpace),
        (native::Refusal::Corrupt as u16, Code::Corrupt),
        (60_001, Code::SessionOver),
        (60_002, Code::Superseded),
        (60_003, Code::NumberReused),
        (60_004, Code::AnswerNotKept),
        (60_005, Code::Denied),
        (999, Code::Internal),
    ] {
        let outcome = Outcome::refused(status, Bytes::new());
        let fault = native::answer_outcome(AnswerKind::Put, &outcome, Revision(1), &state, &PARTS);
        assert_eq!(fault.expect_err("refused").code(), code);
        met.insert(code);
    }
    // Too many watches, and too many places: tests `watches` and `lines`.
    met.extend([Code::Busy, Code::QueueFull]);
    // Who asks is the edge's to know: test `auth_matrix` of proof/conformance, for each method.
    met.extend([Code::Unauthenticated, Code::Denied]);
    let said: Vec<&str> = met.iter().map(|code| code.text()).collect();
    assert_eq!(
        said.join(" "),
        "Q1001 Q1002 Q1003 Q1004 Q1005 Q1006 Q1007 Q1008 Q2101 Q2105 Q2107 Q3101 Q3102 Q3106 Q4001 Q4002 Q4003 Q4004 \
         Q5001 Q5003 Q5004 Q6001 Q6002 Q6003 Q6004 Q8001 Q8002 Q9001"
    );
    for refusal in native::Refusal::ALL {
        assert!(met.contains(&refusal.code()), "{refusal:?} is never met");
    }
    assert_eq!(ClusterId(0xc1), CLUSTER);
}
