//! Every method of etcd's API × {nobody, a token that is none, an expired one, an outdated one, a user who may nothing}: all
//! are refused in etcd's words, but for those that `auth_open.txt` names. And the doors beside gRPC.
//!
//! The methods come from the server's own table, so a new one is asked as soon as it exists; so do the gateway's paths.

use bytes::{Buf, BufMut, Bytes};
use etcd::Method;
use etcd::proto::{etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};
use prost::Message;
use quorate_conformance::{PATIENCE, Target, alone_with, another, peer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

const OPEN: &str = include_str!("auth_open.txt");
/// Where the gateway's paths are: the table that the server is built of.
const PATHS: &str = include_str!("../../../edge/server/src/gateway/paths.rs");
const SECRET: &str = "a secret of this test's";

/// Bytes as they are.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// Asks and takes the first message; a watch that is canceled as it is created is refused.
async fn ask(
    channel: &Channel,
    method: Method,
    body: Bytes,
    token: Option<&str>,
) -> Result<Bytes, String> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let mut request = Request::new(tokio_stream::iter([body]));
    request.set_timeout(Duration::from_secs(20));
    if let Some(token) = token {
        let token = token.parse().expect("ASCII");
        request.metadata_mut().insert("token", token);
    }
    let path = method.path().parse().expect("a path");
    let words = |status: Status| status.message().to_owned();
    let answer = client.streaming(request, path, Raw).await.map_err(words)?;
    let first = answer.into_inner().message().await.map_err(words)?;
    let first = first.unwrap_or_default();
    if method == Method::Watch {
        let response = pb::WatchResponse::decode(first.clone()).expect("a response");
        if response.canceled {
            assert_eq!((response.created, response.watch_id), (true, -1));
            let (_, words) = response.cancel_reason.split_once("desc = ").expect("words");
            return Err(words.to_owned());
        }
    }
    Ok(first)
}

fn of(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// A request that makes sense, so that nothing but who asks is wrong with it.
fn request(method: Method) -> Bytes {
    let key = || Bytes::from_static(b"a");
    let put = || pb::PutRequest {
        key: key(),
        ..Default::default()
    };
    let range = pb::RangeRequest {
        key: key(),
        ..Default::default()
    };
    let leader = Some(election::LeaderKey {
        name: key(),
        key: key(),
        rev: 1,
        lease: 1,
    });
    let name = || "ann".to_owned();
    match method {
        Method::Range | Method::RangeStream => of(&range),
        Method::Put => of(&put()),
        Method::Txn => {
            let op = pb::request_op::Request::RequestPut(put());
            let op = pb::RequestOp { request: Some(op) };
            of(&pb::TxnRequest {
                success: vec![op],
                ..Default::default()
            })
        }
        Method::DeleteRange => of(&pb::DeleteRangeRequest {
            key: key(),
            ..Default::default()
        }),
        Method::Compact => of(&pb::CompactionRequest {
            revision: 1,
            physical: false,
        }),
        Method::Watch => {
            let create = pb::WatchCreateRequest {
                key: key(),
                ..Default::default()
            };
            let union = pb::watch_request::RequestUnion::CreateRequest(create);
            of(&pb::WatchRequest {
                request_union: Some(union),
            })
        }
        Method::LeaseGrant => of(&pb::LeaseGrantRequest { ttl: 60, id: 0 }),
        // Lease 7 holds a key of root's.
        Method::LeaseRevoke => of(&pb::LeaseRevokeRequest { id: 7 }),
        Method::LeaseKeepAlive => of(&pb::LeaseKeepAliveRequest { id: 7 }),
        Method::LeaseTimeToLive => of(&pb::LeaseTimeToLiveRequest { id: 7, keys: true }),
        Method::MemberAdd => of(&pb::MemberAddRequest {
            peer_ur_ls: vec!["http://127.0.0.1:1".to_owned()],
            is_learner: true,
        }),
        Method::MemberUpdate => of(&pb::MemberUpdateRequest {
            id: 1,
            peer_ur_ls: vec!["http://127.0.0.1:1".to_owned()],
        }),
        Method::MemberRemove | Method::MemberPromote | Method::MoveLeader => {
            of(&pb::MemberRemoveRequest { id: 1 })
        }
        Method::UserAdd => of(&pb::AuthUserAddRequest {
            name: "new".to_owned(),
            password: "x".to_owned(),
            ..Default::default()
        }),
        Method::UserGet => of(&pb::AuthUserGetRequest {
            name: "root".to_owned(),
        }),
        Method::UserDelete | Method::RoleAdd | Method::RoleGet | Method::RoleDelete => {
            of(&pb::AuthUserGetRequest { name: name() })
        }
        Method::UserChangePassword => of(&pb::AuthUserChangePasswordRequest {
            name: name(),
            password: "x".to_owned(),
            ..Default::default()
        }),
        Method::UserGrantRole | Method::UserRevokeRole => of(&pb::AuthUserGrantRoleRequest {
            user: name(),
            role: "root".to_owned(),
        }),
        Method::RoleGrantPermission => of(&pb::AuthRoleGrantPermissionRequest {
            name: name(),
            perm: Some(Default::default()),
        }),
        Method::RoleRevokePermission => of(&pb::AuthRoleRevokePermissionRequest {
            role: name(),
            ..Default::default()
        }),
        Method::Authenticate => of(&pb::AuthenticateRequest {
            name: name(),
            password: "word".to_owned(),
        }),
        Method::Lock => of(&lock::LockRequest {
            name: key(),
            lease: 0,
        }),
        Method::Unlock => of(&lock::UnlockRequest { key: key() }),
        Method::ElectionCampaign => of(&election::CampaignRequest {
            name: key(),
            lease: 0,
            value: key(),
        }),
        Method::ElectionProclaim => of(&election::ProclaimRequest {
            leader,
            value: key(),
        }),
        Method::ElectionResign => of(&election::ResignRequest { leader }),
        Method::ElectionLeader | Method::ElectionObserve => {
            of(&election::LeaderRequest { name: key() })
        }
        Method::LeaseLeases
        | Method::MemberList
        | Method::Alarm
        | Method::Status
        | Method::Defragment
        | Method::Hash
        | Method::HashKv
        | Method::Snapshot
        | Method::Downgrade
        | Method::AuthEnable
        | Method::AuthDisable
        | Method::AuthStatus
        | Method::UserList
        | Method::RoleList
        | Method::HealthCheck
        | Method::HealthWatch => Bytes::new(),
    }
}

/// A member with authentication: root, and ann who may nothing; lease 7 holds root's key.
async fn locked(flags: &[&str]) -> (Target, Channel) {
    let target = alone_with(1, flags).await;
    lock_up(&target).await;
    let endpoint = Channel::from_shared(target.endpoints[0].clone()).expect("a URL");
    let channel = endpoint.connect().await.expect("a connection");
    (target, channel)
}

async fn lock_up(target: &Target) {
    let mut client = target.client.clone();
    let grant = etcd_client::LeaseGrantOptions::new().with_id(7);
    client.lease_grant(600, Some(grant)).await.expect("a lease");
    let put = etcd_client::PutOptions::new().with_lease(7);
    client.put("a", "1", Some(put)).await.expect("put");
    client.user_add("root", "secret", None).await.expect("root");
    client.user_add("ann", "word", None).await.expect("ann");
    client.user_grant_role("root", "root").await.expect("grant");
    client.auth_enable().await.expect("enable");
}

async fn login(target: &Target, name: &str, password: &str) -> String {
    let mut client = target.client.auth_client();
    let token = client.authenticate(name.into(), password.into()).await;
    token.expect("a token").token().to_owned()
}

fn levels() -> BTreeMap<&'static str, &'static str> {
    let lines = OPEN.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(m, l)| (m, l.trim()))
        .collect()
}

/// Every method that is not open is refused with `words`.
async fn all_refused(channel: &Channel, token: Option<&str>, words: &str) {
    let levels = levels();
    for method in Method::ALL {
        let answer = ask(channel, *method, request(*method), token).await;
        match levels.get(format!("{method:?}").as_str()) {
            Some(&"open") => assert!(answer.is_ok(), "{method:?}: {answer:?}"),
            _ => assert_eq!(answer.err().as_deref(), Some(words), "{method:?}"),
        }
    }
}

#[tokio::test]
async fn every_method_is_refused_without_and_with_wrong_credentials() {
    let (target, channel) = locked(&[]).await;
    all_refused(&channel, None, "etcdserver: user name is empty").await;
    let right = login(&target, "root", "secret").await;
    let invalid = "etcdserver: invalid auth token";
    let (letters, number) = right.split_once('.').expect("letters and a number");
    assert_eq!(letters.len(), 16);
    for wrong in [
        "".to_owned(),
        "x".to_owned(),
        format!("{letters}.99"),
        format!("AAAAAAAAAAAAAAAA.{number}"),
        format!("{letters}."),
        letters.to_owned(),
    ] {
        all_refused(&channel, Some(&wrong), invalid).await;
    }
    // And nobody was harmed: the right token still opens.
    let range = request(Method::Range);
    ask(&channel, Method::Range, range, Some(&right))
        .await
        .expect("root reads");
}

/// A token that was right and that nobody used for its time.
async fn expired(target: &Target, channel: &Channel) -> String {
    let token = login(target, "root", "secret").await;
    let range = || ask(channel, Method::Range, request(Method::Range), Some(&token));
    range().await.expect("it is right while it is young");
    // Whoever uses a token makes it young again: each time it is left alone for longer.
    let (mut alone, started) = (Duration::from_millis(300), Instant::now());
    while started.elapsed() < PATIENCE {
        tokio::time::sleep(alone).await;
        if range().await.is_err() {
            return token;
        }
        alone += alone / 2;
    }
    panic!("a token that lives for a second was good for longer");
}

#[tokio::test]
async fn every_method_is_refused_with_a_token_that_is_over() {
    let (target, channel) = locked(&["--auth-token-ttl=1", "--bcrypt-cost=4"]).await;
    let over = expired(&target, &channel).await;
    all_refused(&channel, Some(&over), "etcdserver: invalid auth token").await;
    gateway_refuses(&target, Some(&over), false).await;
    // It is not the member that refuses everybody.
    let young = login(&target, "root", "secret").await;
    ask(
        &channel,
        Method::Range,
        request(Method::Range),
        Some(&young),
    )
    .await
    .expect("root reads");
}

#[tokio::test]
async fn a_user_without_a_role_may_do_nothing_but_what_every_user_may() {
    let (target, channel) = locked(&[]).await;
    let ann = login(&target, "ann", "word").await;
    let levels = levels();
    for method in Method::ALL {
        let answer = ask(&channel, *method, request(*method), Some(&ann)).await;
        match levels.get(format!("{method:?}").as_str()) {
            Some(_) => assert!(answer.is_ok(), "{method:?}: {answer:?}"),
            None => {
                let words = "etcdserver: permission denied";
                assert_eq!(answer.err().as_deref(), Some(words), "{method:?}");
            }
        }
    }
}

#[tokio::test]
async fn signed_tokens_are_believed_until_they_expire_or_users_change() {
    let folder = cluster::TempDir::new().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, SECRET).expect("a key");
    let spec = format!(
        "--auth-token=jwt,priv-key={},sign-method=HS256,ttl=10m",
        key.display()
    );
    let (target, channel) = locked(&[&spec]).await;
    let root = login(&target, "root", "secret").await;
    ask(&channel, Method::Range, request(Method::Range), Some(&root))
        .await
        .expect("root reads");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let signed = |algorithm, secret: &str, claims: Value| {
        let header = jsonwebtoken::Header::new(algorithm);
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&header, &claims, &key).expect("signed")
    };
    use jsonwebtoken::Algorithm::{HS256, HS512};
    let claims =
        |revision: u64, exp: u64| json!({ "username": "root", "revision": revision, "exp": exp });
    // Who knows the key can say who it is.
    let own = signed(HS256, SECRET, claims(4, now + 60));
    ask(&channel, Method::Range, request(Method::Range), Some(&own))
        .await
        .expect("root reads");
    let invalid = "etcdserver: invalid auth token";
    for wrong in [
        signed(HS256, SECRET, claims(4, now - 1)),
        signed(HS256, "another secret", claims(4, now + 60)),
        signed(HS512, SECRET, claims(4, now + 60)),
        // E14: claims that are missing, or of another kind, stop nobody but their bearer.
        signed(HS256, SECRET, json!({ "revision": 4, "exp": now + 60 })),
        signed(
            HS256,
            SECRET,
            json!({ "username": "root", "exp": now + 60 }),
        ),
        signed(HS256, SECRET, json!({ "username": "root", "revision": 4 })),
        signed(
            HS256,
            SECRET,
            json!({ "username": 7, "revision": "x", "exp": now + 60 }),
        ),
        // No signature at all.
        "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6NCwiZXhwIjo5OTk5OTk5OTk5fQ."
            .to_owned(),
    ] {
        all_refused(&channel, Some(&wrong), invalid).await;
    }
    let role = pb::AuthRoleAddRequest { name: "r".into() };
    ask(&channel, Method::RoleAdd, of(&role), Some(&root))
        .await
        .expect("a role");
    all_refused(
        &channel,
        Some(&root),
        "etcdserver: revision of auth store is old",
    )
    .await;
    let again = login(&target, "root", "secret").await;
    ask(&channel, Method::RoleList, Bytes::new(), Some(&again))
        .await
        .expect("root again");
}

/// Sends an HTTP/1.1 request.
async fn send(target: &Target, head: &str, body: &str) -> TcpStream {
    let address = target.endpoints[0].trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "{head}\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    socket
}

/// The status line of an HTTP/1.1 request, and the body.
async fn http(target: &Target, head: &str, body: &str) -> String {
    let mut socket = send(target, head, body).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer));
    read.await.expect("in time").expect("text");
    answer
}

/// The gateway's paths and what is there.
fn paths() -> Vec<(&'static str, Method)> {
    let (_, table) = PATHS.split_once("PATHS: &[").expect("the table begins");
    let (table, _) = table.split_once("\n];").expect("and ends");
    let (_, rows) = table.split_once('\n').expect("a row a line");
    let row = |row: &'static str| {
        let row = row.trim().strip_prefix("(\"")?.strip_suffix("),")?;
        let (path, name) = row.split_once("\", Method::")?;
        let mut all = Method::ALL.iter();
        Some((path, *all.find(|it| format!("{it:?}") == name)?))
    };
    let paths = rows
        .lines()
        .map(|it| row(it).unwrap_or_else(|| panic!("what is {it}?")));
    paths.collect()
}

/// Asks a path of the gateway: the status, and the first JSON of the body.
async fn post(target: &Target, path: &str, method: Method, token: Option<&str>) -> (u16, Value) {
    let mut body = Vec::new();
    let schema = etcd::json::Schema::request(method);
    schema.write(&request(method), &mut body).expect("JSON");
    let body = String::from_utf8(body).expect("text");
    let mut head = format!("POST {path} HTTP/1.1");
    if let Some(token) = token {
        head += &format!("\r\nAuthorization: {token}");
    }
    let mut socket = send(target, &head, &body).await;
    let mut answer = Vec::new();
    // A stream may go on behind its first JSON.
    let first = loop {
        let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut answer));
        let n_bytes = read.await.unwrap_or_else(|_| panic!("{path}: nothing"));
        let first = first_json(&answer);
        if first.is_some() || n_bytes.expect("bytes") == 0 {
            break first.unwrap_or_default();
        }
    };
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{path}: {answer}"));
    (status, first)
}

/// What comes first in the body: sent in chunks, JSON stands between their lengths.
fn first_json(answer: &[u8]) -> Option<Value> {
    let start = answer.iter().position(|byte| *byte == b'{')?;
    let mut values = serde_json::Deserializer::from_slice(&answer[start..]).into_iter();
    values.next()?.ok()
}

/// Every path of the gateway refuses who has no token, or none that is good, as etcd does: its status, its code, its words.
async fn gateway_refuses(target: &Target, token: Option<&str>, is_etcd: bool) {
    let (status, code, name, words) = match token {
        None => (400, 3, "InvalidArgument", "etcdserver: user name is empty"),
        Some(_) => (401, 16, "Unauthenticated", "etcdserver: invalid auth token"),
    };
    let levels = levels();
    for (path, method) in paths() {
        // etcd says nothing here, and goes on to say nothing.
        if is_etcd && method == Method::ElectionObserve {
            continue;
        }
        let answer = post(target, path, method, token).await;
        let said = format!("{path}: {answer:?}");
        let error = |code: u16| json!({ "code": code, "message": words });
        match method {
            Method::AuthStatus if is_etcd => assert_eq!(answer, (status, error(code)), "{said}"),
            _ if levels.get(format!("{method:?}").as_str()) == Some(&"open") => {
                assert_eq!(answer.0, 200, "{said}");
            }
            Method::Watch => {
                let result = &answer.1["result"];
                let reason = format!("rpc error: code = {name} desc = {words}");
                assert_eq!(answer.0, 200, "{said}");
                assert_eq!(result["canceled"], true, "{said}");
                assert_eq!(result["watch_id"], "-1", "{said}");
                assert_eq!(result["cancel_reason"], reason, "{said}");
            }
            Method::LeaseKeepAlive | Method::Snapshot => {
                assert_eq!(answer, (status, json!({ "error": error(code) })), "{said}");
            }
            // etcd's own client stands before these, and its error has lost its code.
            Method::Lock
            | Method::Unlock
            | Method::ElectionCampaign
            | Method::ElectionProclaim
            | Method::ElectionLeader
            | Method::ElectionResign => assert_eq!(answer, (500, error(2)), "{said}"),
            Method::ElectionObserve => {
                assert_eq!(answer, (500, json!({ "error": error(2) })), "{said}");
            }
            _ => assert_eq!(answer, (status, error(code)), "{said}"),
        }
    }
}

#[tokio::test]
async fn every_path_of_the_gateway_is_refused_as_etcd_refuses_it() {
    let asked: Vec<_> = paths().into_iter().map(|(_, method)| method).collect();
    for method in Method::ALL {
        let has_none = [
            Method::RangeStream,
            Method::HealthCheck,
            Method::HealthWatch,
        ];
        assert!(
            asked.contains(method) != has_none.contains(method),
            "{method:?}"
        );
    }
    let ours = locked(&[]).await.0;
    let theirs = another(&peer("etcd")).await;
    lock_up(&theirs).await;
    for (target, is_etcd) in [(&ours, false), (&theirs, true)] {
        let right = login(target, "root", "secret").await;
        let (letters, _) = right.split_once('.').expect("letters and a number");
        gateway_refuses(target, None, is_etcd).await;
        for wrong in ["x", "Bearer x", letters] {
            gateway_refuses(target, Some(wrong), is_etcd).await;
        }
        let read = post(target, "/v3/kv/range", Method::Range, Some(&right)).await;
        assert_eq!((read.0, &read.1["count"]), (200, &json!("1")), "{read:?}");
    }
}

#[tokio::test]
async fn the_native_api_is_roots_alone_and_pages_stay_open() {
    let (target, _) = locked(&[]).await;
    let (root, ann) = (
        login(&target, "root", "secret").await,
        login(&target, "ann", "word").await,
    );
    let methods = client::raw::Method::ALL;
    for method in methods {
        let path = method.json_path();
        let nobody = http(&target, &format!("POST {path} HTTP/1.1"), "{}").await;
        assert!(nobody.starts_with("HTTP/1.1 401"), "{path}: {nobody}");
        assert!(nobody.contains("Q8001"), "{path}: {nobody}");
        let head = format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer {ann}");
        let denied = http(&target, &head, "{}").await;
        assert!(denied.starts_with("HTTP/1.1 403"), "{path}: {denied}");
        assert!(denied.contains("Q8002"), "{path}: {denied}");
    }
    let path = client::raw::Method::Status.json_path();
    let head = format!("POST {path} HTTP/1.1\r\nAuthorization: {root}");
    let status = http(&target, &head, "{}").await;
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    for page in ["/health", "/version"] {
        let open = http(&target, &format!("GET {page} HTTP/1.1"), "").await;
        assert!(open.starts_with("HTTP/1.1 200"), "{page}: {open}");
    }
}

#[tokio::test]
async fn a_password_is_in_no_log_and_no_page() {
    let canary = "canary-password-51c0";
    let (target, channel) = locked(&[]).await;
    let root = login(&target, "root", "secret").await;
    let add = pb::AuthUserAddRequest {
        name: "eve".into(),
        password: canary.into(),
        ..Default::default()
    };
    ask(&channel, Method::UserAdd, of(&add), Some(&root))
        .await
        .expect("a user");
    let token = login(&target, "eve", canary).await;
    let wrong = pb::AuthenticateRequest {
        name: "eve".into(),
        password: format!("{canary}x"),
    };
    let refused = ask(&channel, Method::Authenticate, of(&wrong), None).await;
    let mut said = refused.expect_err("it is wrong");
    for page in ["/metrics", "/status", "/health", "/debug/vars"] {
        said += &http(&target, &format!("GET {page} HTTP/1.1"), "").await;
    }
    let own = target.own.as_ref().expect("a cluster of this test's");
    said += &own.last_words();
    assert!(!said.contains(canary) && !said.contains(&token), "{said}");
    // Nor in what is on disk: there is only the hash.
    let mut files = vec![own.members[0].data.clone()];
    let mut n_files = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let contents = std::fs::read(&path).expect("a file");
        n_files += 1;
        for secret in [canary, &token] {
            let found = contents
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            assert!(!found, "{} has a secret", path.display());
        }
    }
    assert!(n_files > 0);
}
