//! The JSON of the messages: as people see it, back again, and strict about what it does not know.

use api::proto::{
    Condition, Consistency, Fence, GetResponse, Header, How, KeyValue, Level, PutRequest, Queue,
    QueueKind, Read, Retry, Write,
};

fn put() -> PutRequest {
    PutRequest {
        key: "greeting".into(),
        value: vec![0xff, 0x00, 0x7f].into(),
        lease: 0x69_4d7a,
        write: Some(Write {
            conditions: vec![Condition {
                key: "greeting".into(),
                mod_revision: Some(u64::MAX),
                value: Some("hello".into()),
                ..Condition::default()
            }],
            fences: vec![Fence {
                queue: Some(Queue {
                    kind: QueueKind::Lock.into(),
                    name: "jobs".into(),
                }),
                token: 33,
            }],
            retry: Some(Retry {
                session: 0x69_4d7a,
                sequence: 12,
            }),
            commit_wait: false,
        }),
        previous: true,
    }
}

#[test]
fn a_request_reads_as_people_write_it_and_back() {
    let json = serde_json::to_string_pretty(&put()).expect("every message has its JSON");
    let expected = r#"{
  "key": "greeting",
  "value": {
    "base64": "/wB/"
  },
  "lease": "694d7a",
  "write": {
    "conditions": [
      {
        "key": "greeting",
        "modRevision": "18446744073709551615",
        "value": "hello"
      }
    ],
    "fences": [
      {
        "queue": {
          "kind": "lock",
          "name": "jobs"
        },
        "token": "33"
      }
    ],
    "retry": {
      "session": "694d7a",
      "sequence": "12"
    },
    "commitWait": false
  },
  "previous": true
}"#;
    assert_eq!(json, expected);
    let back: PutRequest = serde_json::from_str(&json).expect("it was just written");
    assert_eq!(back, put());
}

#[test]
fn an_answer_says_how_fresh_it_is() {
    let answer = GetResponse {
        header: Some(Header {
            cluster: 0xab,
            member: 0xcd,
            term: 2,
            revision: 7,
            time: "2026-11-29T08:00:00.123Z".into(),
            level: Level::Lease.into(),
            how: How::Lease.into(),
            staleness_ms: Some(0),
            session: "s1-000000ab-7".into(),
        }),
        kv: Some(KeyValue {
            key: "k".into(),
            ..KeyValue::default()
        }),
    };
    let json = serde_json::to_value(&answer).expect("JSON");
    let header = &json["header"];
    assert_eq!(header["level"], "lease");
    assert_eq!(header["member"], "cd");
    assert_eq!(header["stalenessMs"], "0");
    assert_eq!(json["kv"]["createRevision"], "0");
    assert_eq!(
        serde_json::from_value::<GetResponse>(json).expect("back"),
        answer
    );
}

#[test]
fn numbers_may_be_numbers_and_what_is_unknown_is_refused() {
    let read: Read = serde_json::from_str(r#"{"revision": 5}"#).expect("a plain number");
    assert_eq!(read.revision, 5);
    let level: Consistency =
        serde_json::from_str(r#"{"level":"bounded","boundMs":"100"}"#).expect("names");
    assert_eq!((level.level(), level.bound_ms), (Level::Bounded, 100));
    for bad in [
        r#"{"revison": 5}"#,
        r#"{"revision": -5}"#,
        r#"{"revision": "5x"}"#,
        r#"{"revision": 1.5}"#,
        r#"{"revision": 18446744073709551616}"#,
    ] {
        assert!(serde_json::from_str::<Read>(bad).is_err(), "{bad}");
    }
    for bad in [
        r#"{"level":"BOUNDED"}"#,
        r#"{"level":"fresh"}"#,
        r#"{"level":3}"#,
    ] {
        assert!(serde_json::from_str::<Consistency>(bad).is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<PutRequest>(r#"{"lease":"-1"}"#).is_err());
    assert!(serde_json::from_str::<PutRequest>(r#"{"lease":"8000000000000000"}"#).is_err());
    assert!(serde_json::from_str::<PutRequest>(r#"{"value":{"base64":"/w"}}"#).is_err());
}
