//! Bytes that make no sense: refused, never a panic, and nothing is changed.

mod support;

use api::proto::{self, Condition, Fence, Keys, Operation, Queue, QueueKind, Write};
use api::{Code, Method};
use base::Rng;
use bytes::Bytes;
use native::{Encoding, KEYS, LINES, Plan, Request};
use prost::Message;
use support::Member;

/// A request of each call, full of fields.
fn samples() -> Vec<(Method, Bytes, String)> {
    let queue = || {
        Some(Queue {
            kind: QueueKind::Lock.into(),
            name: "jobs".into(),
        })
    };
    let keys = || {
        Some(Keys {
            prefix: "a".into(),
            ..Keys::default()
        })
    };
    let write = || {
        Some(Write {
            conditions: vec![Condition {
                key: "a".into(),
                version: Some(3),
                value: Some("x".into()),
                ..Condition::default()
            }],
            fences: vec![Fence {
                queue: queue(),
                token: 7,
            }],
            retry: Some(proto::Retry {
                session: 5,
                sequence: 1,
            }),
            commit_wait: true,
        })
    };
    let read = || {
        Some(proto::Read {
            consistency: Some(proto::Consistency {
                level: proto::Level::Session.into(),
                session: "s1-000000c1-5".to_owned(),
                ..Default::default()
            }),
            revision: 3,
            ..Default::default()
        })
    };
    let enter = proto::EnterRequest {
        queue: queue(),
        lease: 5,
        owner: "me".into(),
        value: "v".into(),
        ..Default::default()
    };
    fn sample<M: Message + serde::Serialize>(
        method: Method,
        message: M,
    ) -> (Method, Bytes, String) {
        let json = serde_json::to_string(&message).expect("every message has its JSON");
        (method, message.encode_to_vec().into(), json)
    }
    vec![
        sample(
            Method::Get,
            proto::GetRequest {
                key: "a".into(),
                read: read(),
            },
        ),
        sample(
            Method::Range,
            proto::RangeRequest {
                keys: keys(),
                limit: 5,
                read: read(),
                ..Default::default()
            },
        ),
        sample(
            Method::Put,
            proto::PutRequest {
                key: "a".into(),
                value: "b".into(),
                lease: 5,
                write: write(),
                previous: true,
            },
        ),
        sample(
            Method::Delete,
            proto::DeleteRequest {
                keys: keys(),
                write: write(),
                previous: true,
            },
        ),
        sample(
            Method::Txn,
            proto::TxnRequest {
                write: write(),
                then: vec![Operation {
                    put: Some(proto::PutOperation {
                        key: "a".into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }],
                otherwise: vec![Operation {
                    range: Some(proto::RangeOperation {
                        keys: keys(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }],
            },
        ),
        sample(Method::Compact, proto::CompactRequest { revision: 1 }),
        sample(
            Method::Watch,
            proto::WatchRequest {
                keys: keys(),
                start_revision: 3,
                ..Default::default()
            },
        ),
        sample(Method::Grant, proto::GrantRequest { lease: 9, ttl_s: 9 }),
        sample(Method::Renew, proto::RenewRequest { lease: 9 }),
        sample(Method::Revoke, proto::RevokeRequest { lease: 9 }),
        sample(
            Method::LookLease,
            proto::LookLeaseRequest {
                lease: 9,
                keys: true,
            },
        ),
        sample(Method::ListLeases, proto::ListLeasesRequest::default()),
        sample(Method::Enter, enter.clone()),
        sample(
            Method::Await,
            proto::AwaitRequest {
                queue: queue(),
                token: 7,
                timeout_ms: 9,
            },
        ),
        sample(
            Method::Acquire,
            proto::AcquireRequest {
                enter: Some(enter),
                timeout_ms: 9,
            },
        ),
        sample(
            Method::Leave,
            proto::LeaveRequest {
                queue: queue(),
                token: 7,
                ..Default::default()
            },
        ),
        sample(
            Method::Proclaim,
            proto::ProclaimRequest {
                name: "e".into(),
                token: 7,
                value: "v".into(),
            },
        ),
        sample(
            Method::LookQueue,
            proto::LookQueueRequest {
                queue: queue(),
                ..Default::default()
            },
        ),
        sample(
            Method::Check,
            proto::CheckRequest {
                fences: write().expect("a write").fences,
                ..Default::default()
            },
        ),
        sample(Method::Observe, proto::ObserveRequest { queue: queue() }),
        sample(Method::Status, proto::StatusRequest {}),
        sample(Method::Now, proto::NowRequest {}),
    ]
}

#[test]
fn both_encodings_of_a_request_have_one_plan() {
    let samples = samples();
    assert_eq!(samples.len(), Method::ALL.len(), "every call has a sample");
    for (method, bytes, json) in samples {
        let mut member = Member::new();
        let first = member.session.plan(method, bytes, Encoding::Proto);
        let second = member
            .session
            .plan(method, json.clone().into(), Encoding::Json);
        assert!(first.is_ok(), "{method:?}: {first:?}");
        assert_eq!(first, second, "{json}");
    }
}

/// Plans it, does what the plan says to the store, and looks that nothing breaks.
fn swallow(member: &mut Member, method: Method, body: Bytes, encoding: Encoding) -> bool {
    match member.session.plan(method, body, encoding) {
        Ok(Plan::Propose {
            dialect, request, ..
        }) => {
            member.apply(dialect, &request);
            true
        }
        Ok(Plan::Read { query, .. }) => {
            let _ = member.read(&query);
            true
        }
        Ok(_) => true,
        Err(fault) => {
            assert!(fault.0.known().is_some() && !fault.0.message.is_empty());
            assert_ne!(fault.code(), Code::Internal);
            false
        }
    }
}

#[test]
fn bytes_of_any_kind_are_planned_or_refused() {
    let mut rng = Rng::new(3);
    let mut member = Member::new();
    member.grant(5);
    for (method, bytes, json) in samples() {
        let (mut n_planned, mut n_refused) = (0, 0);
        let mut count = |is_planned| match is_planned {
            true => n_planned += 1,
            false => n_refused += 1,
        };
        for (encoding, whole) in [(Encoding::Proto, bytes), (Encoding::Json, json.into())] {
            let whole: Bytes = whole;
            for end in 0..whole.len() {
                count(swallow(&mut member, method, whole.slice(..end), encoding));
            }
            for _ in 0..2000 {
                let mut changed = whole.to_vec();
                for _ in 0..rng.between(1, 3) {
                    match rng.below(4) {
                        // Often the first byte of a length: then it is huge.
                        0 if !changed.is_empty() => {
                            let at = rng.below(changed.len() as u64) as usize;
                            changed[at] = 0xff;
                        }
                        1 => {
                            let at = rng.below(changed.len() as u64 + 1) as usize;
                            changed.insert(at, rng.next_u64() as u8);
                        }
                        2 if !changed.is_empty() => {
                            let at = rng.below(changed.len() as u64) as usize;
                            changed.remove(at);
                        }
                        _ if !changed.is_empty() => {
                            let at = rng.below(changed.len() as u64) as usize;
                            changed[at] ^= 1 << rng.below(8);
                        }
                        _ => {}
                    }
                }
                count(swallow(&mut member, method, changed.into(), encoding));
            }
            for _ in 0..300 {
                let n = rng.below(60);
                let noise: Vec<u8> = (0..n).map(|_| rng.next_u64() as u8).collect();
                count(swallow(&mut member, method, noise.into(), encoding));
            }
        }
        assert!(
            n_refused > 100,
            "{method:?} refused {n_refused} of {n_planned}"
        );
    }
    member.state().check();
}

#[test]
fn json_that_nobody_knows_is_refused_by_name() {
    let mut member = Member::new();
    for (method, _, json) in samples() {
        let odd = match json.as_str() {
            "{}" => r#"{"odd":1}"#.to_owned(),
            json => json.replacen('{', r#"{"odd":1,"#, 1),
        };
        let fault = member.plan(method, &odd).expect_err("an odd field");
        assert_eq!(fault.code(), Code::Malformed);
        assert!(fault.0.message.contains("odd"), "{}", fault.0.message);
    }
    let deep = "[".repeat(100_000);
    assert!(member.plan(Method::Put, &deep).is_err());
    let bytes = Bytes::from_static(b"{\"key\":\"\xff\xfe\"}");
    let fault = member.session.plan(Method::Get, bytes, Encoding::Json);
    assert_eq!(fault.expect_err("no UTF-8").code(), Code::Malformed);
}

#[test]
fn the_log_may_hold_anything() {
    let mut rng = Rng::new(5);
    let mut member = Member::new();
    member.grant(5);
    let kinds: Vec<u8> = (1..=7).chain(17..=19).collect();
    let digest = member.state().digest();
    for dialect in [KEYS, LINES] {
        for bytes in [&b""[..], &[0], &[8], &[16], &[20], &[255, 1, 2]] {
            assert!(!member.apply(dialect, bytes).is_done());
        }
    }
    // A kind of the other dialect.
    let enter = Request::Enter(Default::default());
    assert!(!member.apply(KEYS, &enter.encode()).is_done());
    let put = proto::PutRequest {
        key: "a".into(),
        ..Default::default()
    };
    assert!(!member.apply(LINES, &Request::Put(put).encode()).is_done());
    assert_eq!(member.state().digest(), digest, "a refusal changes nothing");
    for n in 0..40_000 {
        let kind = *rng.pick(&kinds).expect("there are kinds");
        let mut bytes = vec![kind];
        bytes.extend((0..rng.below(50)).map(|_| rng.next_u64() as u8));
        let dialect = if n % 2 == 0 { KEYS } else { LINES };
        let before = (member.state().digest(), member.state().revision());
        let outcome = member.apply(dialect, &bytes);
        if !outcome.is_done() {
            let after = (member.state().digest(), member.state().revision());
            assert_eq!(before, after, "{bytes:?}");
        }
    }
    member.state().check();
}
