//! Golden scripts about users, roles and who may do what: `golden-auth/`. The real etcd plays `rules.txt`, too, and so does a
//! whole member over its socket (`proof/conformance`, `auth_scripts.rs`).
//!
//! ```text
//!   auth enable|disable
//!   user add NAME PASSWORD|- · del NAME · passwd NAME PASSWORD · get NAME · list · grant|revoke NAME ROLE
//!   role add|del|get NAME · list · grant ROLE read|write|readwrite KEY [END] · revoke ROLE KEY [END]
//!   login NAME PASSWORD · as NAME|nobody           END: a key, or `on` (from the key on)
//!   put KEY VALUE [prev] [keep] [lease=N] · get KEY [END] · del KEY [END] [prev] · lease grant|revoke|keep N
//!   alarm raise|clear corrupt|nospace · unlock KEY · proclaim|resign KEY LEASE
//! ```
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

mod support;

use bytes::Bytes;
use etcd::auth::{self, Needs};
use etcd::proto::{authpb, etcdserverpb as pb, v3electionpb as elections};
use etcd::{Method, Status};
use prost::Message;
use support::World;

struct Teller(World);

impl Teller {
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = match words[..] {
            ["as", "nobody"] => {
                self.0.ask_as(None);
                Ok("nobody asks".to_owned())
            }
            ["as", name] => {
                self.0.ask_as(Some(name));
                Ok(format!("{name} asks"))
            }
            _ => {
                // Whoever asks shows a new token each time.
                if let Ok(Some(store::command::Identity::User { name, .. })) = self.0.caller.clone()
                {
                    let name = String::from_utf8(name.to_vec()).unwrap();
                    self.0.ask_as(Some(&name));
                }
                self.ask(&words)
            }
        };
        told.unwrap_or_else(|status| status.to_string()) + "\n"
    }

    fn ok<A: Message + Default>(
        &mut self,
        method: Method,
        request: &impl Message,
    ) -> Result<String, Status> {
        let _: A = self.0.call(method, request)?;
        Ok("ok".to_owned())
    }

    fn ask(&mut self, words: &[&str]) -> Result<String, Status> {
        let text = |word: &str| word.to_owned();
        match *words {
            ["auth", "enable"] => {
                self.ok::<pb::AuthEnableResponse>(Method::AuthEnable, &pb::AuthEnableRequest {})
            }
            ["auth", "disable"] => {
                self.ok::<pb::AuthDisableResponse>(Method::AuthDisable, &pb::AuthDisableRequest {})
            }
            ["auth", "status"] => {
                let request = pb::AuthStatusRequest {};
                let answer: pb::AuthStatusResponse = self.0.call(Method::AuthStatus, &request)?;
                let state = if answer.enabled {
                    "enabled"
                } else {
                    "disabled"
                };
                Ok(format!("{state} at {}", answer.auth_revision))
            }
            ["user", "add", name, password] => {
                let options = authpb::UserAddOptions {
                    no_password: password == "-",
                };
                let request = pb::AuthUserAddRequest {
                    name: text(unquoted(name)),
                    password: text(password),
                    options: Some(options),
                    ..Default::default()
                };
                self.ok::<pb::AuthUserAddResponse>(Method::UserAdd, &request)
            }
            ["user", "del", name] => {
                let request = pb::AuthUserDeleteRequest { name: text(name) };
                self.ok::<pb::AuthUserDeleteResponse>(Method::UserDelete, &request)
            }
            ["user", "passwd", name, password] => {
                let request = pb::AuthUserChangePasswordRequest {
                    name: text(name),
                    password: text(unquoted(password)),
                    ..Default::default()
                };
                self.ok::<pb::AuthUserChangePasswordResponse>(Method::UserChangePassword, &request)
            }
            ["user", "get", name] => {
                let request = pb::AuthUserGetRequest {
                    name: text(unquoted(name)),
                };
                let answer: pb::AuthUserGetResponse = self.0.call(Method::UserGet, &request)?;
                Ok(format!("roles {:?}", answer.roles))
            }
            ["user", "list"] => {
                let request = pb::AuthUserListRequest {};
                let answer: pb::AuthUserListResponse = self.0.call(Method::UserList, &request)?;
                Ok(format!("users {:?}", answer.users))
            }
            ["user", "grant", user, role] => {
                let (user, role) = (text(user), text(role));
                let request = pb::AuthUserGrantRoleRequest { user, role };
                self.ok::<pb::AuthUserGrantRoleResponse>(Method::UserGrantRole, &request)
            }
            ["user", "revoke", name, role] => {
                let (name, role) = (text(name), text(role));
                let request = pb::AuthUserRevokeRoleRequest { name, role };
                self.ok::<pb::AuthUserRevokeRoleResponse>(Method::UserRevokeRole, &request)
            }
            ["role", "add", name] => {
                let request = pb::AuthRoleAddRequest {
                    name: text(unquoted(name)),
                };
                self.ok::<pb::AuthRoleAddResponse>(Method::RoleAdd, &request)
            }
            ["role", "del", role] => {
                let request = pb::AuthRoleDeleteRequest { role: text(role) };
                self.ok::<pb::AuthRoleDeleteResponse>(Method::RoleDelete, &request)
            }
            ["role", "get", role] => {
                let request = pb::AuthRoleGetRequest { role: text(role) };
                let answer: pb::AuthRoleGetResponse = self.0.call(Method::RoleGet, &request)?;
                let shown: Vec<String> = answer.perm.iter().map(show).collect();
                Ok(format!("may [{}]", shown.join(", ")))
            }
            ["role", "list"] => {
                let request = pb::AuthRoleListRequest {};
                let answer: pb::AuthRoleListResponse = self.0.call(Method::RoleList, &request)?;
                Ok(format!("roles {:?}", answer.roles))
            }
            ["role", "grant", role, kind, key, ref end @ ..] => {
                let kinds = ["read", "write", "readwrite"];
                let permission = authpb::Permission {
                    perm_type: kinds.iter().position(|it| *it == kind).unwrap() as i32,
                    key: bytes(key),
                    range_end: range_end(end),
                };
                let request = pb::AuthRoleGrantPermissionRequest {
                    name: text(role),
                    perm: Some(permission),
                };
                let method = Method::RoleGrantPermission;
                self.ok::<pb::AuthRoleGrantPermissionResponse>(method, &request)
            }
            ["role", "grant", role] => {
                let request = pb::AuthRoleGrantPermissionRequest {
                    name: text(role),
                    perm: None,
                };
                let method = Method::RoleGrantPermission;
                self.ok::<pb::AuthRoleGrantPermissionResponse>(method, &request)
            }
            ["role", "revoke", role, key, ref end @ ..] => {
                let request = pb::AuthRoleRevokePermissionRequest {
                    role: text(role),
                    key: bytes(key),
                    range_end: range_end(end),
                };
                let method = Method::RoleRevokePermission;
                self.ok::<pb::AuthRoleRevokePermissionResponse>(method, &request)
            }
            ["login", name, password] => {
                let request = pb::AuthenticateRequest {
                    name: text(name),
                    password: text(unquoted(password)),
                };
                let answer: pb::AuthenticateResponse =
                    self.0.call(Method::Authenticate, &request)?;
                let token = etcd::auth::find_token(&self.0.state, &answer.token);
                assert_eq!(token.unwrap().user, name);
                Ok("a token".to_owned())
            }
            ["put", key, value, ref flags @ ..] => {
                let lease = flags.iter().find_map(|word| word.strip_prefix("lease="));
                let request = pb::PutRequest {
                    key: bytes(key),
                    value: bytes(value),
                    prev_kv: flags.contains(&"prev"),
                    ignore_value: flags.contains(&"keep"),
                    lease: lease.map_or(0, |lease| lease.parse().unwrap()),
                    ..Default::default()
                };
                self.ok::<pb::PutResponse>(Method::Put, &request)
            }
            ["get", key, ref end @ ..] => {
                let request = pb::RangeRequest {
                    key: bytes(key),
                    range_end: range_end(end),
                    ..Default::default()
                };
                let answer: pb::RangeResponse = self.0.call(Method::Range, &request)?;
                let pairs = answer.kvs.iter().map(|kv| {
                    let (key, value) = (kv.key.escape_ascii(), kv.value.escape_ascii());
                    format!("{key}={value}")
                });
                Ok(format!("[{}]", pairs.collect::<Vec<_>>().join(" ")))
            }
            ["del", key, ref rest @ ..] => {
                let end: Vec<&str> = rest
                    .iter()
                    .copied()
                    .filter(|word| *word != "prev")
                    .collect();
                let request = pb::DeleteRangeRequest {
                    key: bytes(key),
                    range_end: range_end(&end),
                    prev_kv: rest.contains(&"prev"),
                };
                self.ok::<pb::DeleteRangeResponse>(Method::DeleteRange, &request)
            }
            ["lease", "grant", id] => {
                let request = pb::LeaseGrantRequest {
                    id: id.parse().unwrap(),
                    ttl: 600,
                };
                self.ok::<pb::LeaseGrantResponse>(Method::LeaseGrant, &request)
            }
            ["lease", "revoke", id] => {
                let request = pb::LeaseRevokeRequest {
                    id: id.parse().unwrap(),
                };
                self.ok::<pb::LeaseRevokeResponse>(Method::LeaseRevoke, &request)
            }
            ["lease", "keep", id] => {
                let needs = Needs::of_renewal(base::LeaseId(id.parse().unwrap()));
                auth::permit_caller(&self.0.state, &self.0.caller, &needs)?;
                Ok("ok".to_owned())
            }
            ["alarm", action, kind] => {
                let request = pb::AlarmRequest {
                    action: ["", "raise", "clear"]
                        .iter()
                        .position(|it| *it == action)
                        .unwrap() as i32,
                    alarm: ["", "nospace", "corrupt"]
                        .iter()
                        .position(|it| *it == kind)
                        .unwrap() as i32,
                    ..Default::default()
                };
                self.ok::<pb::AlarmResponse>(Method::Alarm, &request)
            }
            // Of recipes the world knows who may.
            ["unlock", key] => {
                let request = etcd::proto::v3lockpb::UnlockRequest { key: bytes(key) };
                self.ok::<pb::PutResponse>(Method::Unlock, &request)
            }
            ["proclaim", key, lease] => {
                let leader = Some(leader(key, lease));
                let value = b"v".as_slice().into();
                let request = elections::ProclaimRequest { leader, value };
                self.ok::<pb::PutResponse>(Method::ElectionProclaim, &request)
            }
            ["resign", key, lease] => {
                let leader = Some(leader(key, lease));
                let request = elections::ResignRequest { leader };
                self.ok::<pb::PutResponse>(Method::ElectionResign, &request)
            }
            _ => panic!("no such words: {words:?}"),
        }
    }
}

fn leader(key: &str, lease: &str) -> elections::LeaderKey {
    elections::LeaderKey {
        key: bytes(key),
        lease: lease.parse().unwrap(),
        ..Default::default()
    }
}

/// `""` is nothing at all.
fn unquoted(word: &str) -> &str {
    if word == "\"\"" { "" } else { word }
}

fn bytes(word: &str) -> Bytes {
    match unquoted(word) {
        "\\0" => Bytes::from_static(&[0]),
        word => Bytes::copy_from_slice(word.as_bytes()),
    }
}

fn range_end(words: &[&str]) -> Bytes {
    match words {
        [] => Bytes::new(),
        ["on"] => Bytes::from_static(&[0]),
        [end] => bytes(end),
        more => panic!("one end, not {more:?}"),
    }
}

fn show(permission: &authpb::Permission) -> String {
    let kind = ["read", "write", "readwrite"][permission.perm_type as usize];
    let key = permission.key.escape_ascii();
    match &permission.range_end[..] {
        [] => format!("{kind} {key}"),
        [0] => format!("{kind} {key} on"),
        end => format!("{kind} {key}..{}", end.escape_ascii()),
    }
}

#[test]
fn scripts_tell_what_etcd_answers_about_users_and_roles() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-auth");
    testkit::check_all(directory, || {
        let mut teller = Teller(World::new());
        move |step| step.lines().map(|line| teller.line(line)).collect()
    });
}
