//! What is said of a request in logs: names, never values and never secrets.

use prost::Message;
use quorate_etcd::proto::etcdserverpb as pb;
use quorate_etcd::{Limits, Method, Plan, Session, describe_command, names};

const SECRET: &str = "canary-5f1e";

fn proposed(method: Method, message: &impl Message) -> String {
    let mut session = Session::new(Limits::default(), 1);
    match session.plan(method, message.encode_to_vec().into()) {
        Ok(Plan::Propose { request, .. }) => describe_command(&request),
        other => panic!("{other:?}"),
    }
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: SECRET.into(),
        ..Default::default()
    }
}

#[test]
fn a_command_is_described_without_its_values() {
    assert_eq!(
        proposed(Method::Put, &put("colour")),
        "put:<key:\"colour\" value_size:11 >"
    );
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        range_end: vec![0].into(),
        ..Default::default()
    };
    assert_eq!(
        proposed(Method::DeleteRange, &delete),
        "delete_range:<key:\"a\" range_end:\"\\x00\" >"
    );
    let op = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put("in"))),
    };
    let txn = pb::TxnRequest {
        success: vec![op],
        ..Default::default()
    };
    assert_eq!(
        proposed(Method::Txn, &txn),
        "txn:<compare:0 success:<put:<key:\"in\" value_size:11 > > >"
    );
    assert_eq!(describe_command(b""), "nothing");
    assert_eq!(describe_command(&[200, 1, 2]), "size:3");
    let long = put(&"k".repeat(1000));
    assert!(proposed(Method::Put, &long).len() < 200);
}

#[test]
fn secrets_are_not_among_the_names() {
    let with_password = |method: Method| {
        // `name` is field 1 and `password` field 2 in all of these.
        let request = pb::AuthenticateRequest {
            name: "root".into(),
            password: SECRET.into(),
        };
        names(method, &request.encode_to_vec())
    };
    for method in [
        Method::Authenticate,
        Method::UserAdd,
        Method::UserChangePassword,
    ] {
        assert_eq!(with_password(method), ["root"], "{method:?}");
    }
    assert_eq!(names(Method::Put, &put("x").encode_to_vec()), ["x"]);
}

/// Whatever the method, whatever the field: only listed names are said. A message with the secret in every field but
/// the first three, and as the value of a put.
#[test]
fn what_nobody_listed_stays_unsaid() {
    let mut message = Vec::new();
    for field in 4..16_u8 {
        message.extend([field << 3 | 2, SECRET.len() as u8]);
        message.extend(SECRET.as_bytes());
    }
    for method in Method::ALL {
        let said = names(*method, &message).join(" ");
        assert!(!said.contains(SECRET), "{method:?}: {said}");
        let said = names(*method, &put("k").encode_to_vec()).join(" ");
        let says_names = matches!(
            method,
            Method::UserGrantRole
                | Method::UserRevokeRole
                | Method::RoleRevokePermission
                | Method::DeleteRange
                | Method::Range
                | Method::RangeStream
        );
        assert!(says_names || !said.contains(SECRET), "{method:?}: {said}");
    }
}
