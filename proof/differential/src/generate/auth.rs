//! Users, roles and permissions, and everything else as somebody.
//!
//! Root's password is always the same one, so that the tester's own questions find an answer; everybody else's
//! changes.

use super::{BARRIER_KEY, one_of};
use crate::operation::{Ask, Operation};
use crate::proto::authpb;
use crate::proto::etcdserverpb as pb;
use crate::side::OLD_TOKEN;
use base::Rng;

const USERS: u64 = 4;

/// Root, as whom the tester asks.
pub(crate) const ROOT: &str = "root";
/// Root's password.
pub(crate) const ROOT_PASSWORD: &str = "password of root";

/// Who asks.
#[derive(Default)]
pub(super) struct Callers {
    /// Whether authentication is on, as far as the history alone tells.
    is_on: bool,
}

impl Callers {
    /// Gives an operation somebody who asks for it, while authentication may be on.
    pub(super) fn see(&mut self, rng: &mut Rng, operation: &mut Operation) {
        let somebody = match (self.is_on, rng.below(20)) {
            (true, 0..10) => Some(0),
            (true, 10..17) | (false, 0) => Some(1 + rng.below(USERS - 1) as u8),
            // A token that was good before the last one was asked for.
            (true, 17) => Some(OLD_TOKEN + rng.below(USERS) as u8),
            _ => None,
        };
        match operation {
            Operation::Ask(ask) => {
                self.is_on = match ask.method {
                    "Auth/AuthEnable" => true,
                    "Auth/AuthDisable" if ask.caller == Some(0) => false,
                    _ => self.is_on,
                };
                ask.caller = ask.caller.or(somebody);
            }
            Operation::Watch { caller, .. }
            | Operation::KeepAlive { caller, .. }
            | Operation::RangeStream { caller, .. } => {
                *caller = somebody;
            }
            _ => {}
        }
        if self.is_on && operation.caller() != Some(0) {
            super::filled::fill(operation);
        }
    }
}

/// The number of a user, by its name.
pub(crate) fn user_number(name: &str) -> Option<u8> {
    match name {
        ROOT => Some(0),
        _ => name.strip_prefix("user-")?.parse().ok(),
    }
}

fn user(rng: &mut Rng) -> String {
    match rng.below(30) {
        0 => String::new(),
        1 => ROOT.to_owned(),
        2 => "nobody".to_owned(),
        n => format!("user-{}", 1 + n % (USERS - 1)),
    }
}

fn role(rng: &mut Rng) -> String {
    match rng.below(30) {
        0 => String::new(),
        1 => ROOT.to_owned(),
        2 => "none".to_owned(),
        n => format!("role-{}", n % 3),
    }
}

fn password(rng: &mut Rng) -> String {
    one_of(rng, &["one", "one", "one", "two", ""]).to_owned()
}

/// What permissions are about. Each key begins one range: two that begin at one key are two here, and in etcd one hides
/// the other, or is there twice, as it comes (docs/compat/etcd.md).
const RANGES: &[(&[u8], &[u8])] = &[
    // A folder, in which others lie.
    (b"a", b"c"),
    (b"a/1", b"a/2"),
    (b"a\0", b""),
    (b"b", b""),
    (b"c", b"\0"),
    (b"\0", b"\0"),
    (b"\xff", b""),
    (b"dir/one", b""),
    (b"dir/", b"dir0"),
    (BARRIER_KEY, b""),
    (BARRIER_KEY, b""),
    (BARRIER_KEY, b""),
];
/// What is no range, or everything.
const ODD_RANGES: &[(&[u8], &[u8])] = &[(b"", b""), (b"", b"\0"), (b"", b"a"), (b"b", b"a")];

fn permission(rng: &mut Rng) -> authpb::Permission {
    let ranges = if rng.one_in(12) { ODD_RANGES } else { RANGES };
    let (key, range_end) = one_of(rng, ranges);
    authpb::Permission {
        perm_type: super::choice(rng, 3),
        key: key.to_vec(),
        range_end: range_end.to_vec(),
    }
}

/// One request to the `Auth` service.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    Operation::Ask(ask(rng))
}

fn ask(rng: &mut Rng) -> Ask {
    match rng.below(50) {
        0..4 => user_add(rng),
        4..7 => Ask::new("Auth/UserGet", &pb::AuthUserGetRequest { name: user(rng) }),
        7..9 => Ask::new("Auth/UserList", &pb::AuthUserListRequest {}),
        9 => {
            let mut name = user(rng);
            // Root goes where authentication is off, and then nobody is root for a while.
            if name == ROOT && !rng.one_in(4) {
                name = "user-1".to_owned();
            }
            Ask::new("Auth/UserDelete", &pb::AuthUserDeleteRequest { name })
        }
        10..12 => {
            let name = user(rng);
            let password = match name == ROOT {
                true => ROOT_PASSWORD.to_owned(),
                false => password(rng),
            };
            let request = pb::AuthUserChangePasswordRequest {
                name,
                password,
                hashed_password: String::new(),
            };
            Ask::new("Auth/UserChangePassword", &request)
        }
        12..18 => {
            let request = pb::AuthUserGrantRoleRequest {
                user: user(rng),
                role: role(rng),
            };
            Ask::new("Auth/UserGrantRole", &request)
        }
        18..20 => {
            let request = pb::AuthUserRevokeRoleRequest {
                name: user(rng),
                role: role(rng),
            };
            Ask::new("Auth/UserRevokeRole", &request)
        }
        20..23 => Ask::new("Auth/RoleAdd", &pb::AuthRoleAddRequest { name: role(rng) }),
        23..26 => Ask::new("Auth/RoleGet", &pb::AuthRoleGetRequest { role: role(rng) }),
        26 => Ask::new("Auth/RoleList", &pb::AuthRoleListRequest {}),
        27 => Ask::new(
            "Auth/RoleDelete",
            &pb::AuthRoleDeleteRequest { role: role(rng) },
        ),
        28..36 => {
            let perm = (!rng.one_in(40)).then(|| permission(rng));
            let request = pb::AuthRoleGrantPermissionRequest {
                name: role(rng),
                perm,
            };
            Ask::new("Auth/RoleGrantPermission", &request)
        }
        36..38 => {
            let permission = permission(rng);
            let request = pb::AuthRoleRevokePermissionRequest {
                role: role(rng),
                key: permission.key,
                range_end: permission.range_end,
            };
            Ask::new("Auth/RoleRevokePermission", &request)
        }
        38..40 => Ask::new("Auth/AuthStatus", &pb::AuthStatusRequest {}),
        40 => Ask::new("Auth/AuthEnable", &pb::AuthEnableRequest {}),
        41 => Ask::new("Auth/AuthDisable", &pb::AuthDisableRequest {}),
        _ => {
            let name = user(rng);
            let password = match name == ROOT && !rng.one_in(3) {
                true => ROOT_PASSWORD.to_owned(),
                false => password(rng),
            };
            Ask::new(
                "Auth/Authenticate",
                &pb::AuthenticateRequest { name, password },
            )
        }
    }
}

fn user_add(rng: &mut Rng) -> Ask {
    let name = user(rng);
    let no_password = rng.one_in(6);
    let mut password = password(rng);
    if name == ROOT {
        password = ROOT_PASSWORD.to_owned();
    }
    let request = pb::AuthUserAddRequest {
        name,
        password,
        options: rng
            .one_in(2)
            .then_some(authpb::UserAddOptions { no_password }),
        hashed_password: String::new(),
    };
    Ask::new("Auth/UserAdd", &request)
}

/// Root exists, and authentication goes on or off.
pub(super) fn block(rng: &mut Rng) -> Vec<Operation> {
    let by_root = |ask: Ask| {
        Operation::Ask(Ask {
            caller: Some(0),
            ..ask
        })
    };
    if rng.one_in(3) {
        return vec![
            by_root(root_token()),
            by_root(Ask::new("Auth/AuthDisable", &pb::AuthDisableRequest {})),
        ];
    }
    let root = || ROOT.to_owned();
    let add = pb::AuthUserAddRequest {
        name: root(),
        password: ROOT_PASSWORD.to_owned(),
        ..Default::default()
    };
    let grant = pb::AuthUserGrantRoleRequest {
        user: root(),
        role: root(),
    };
    let mut block = vec![
        by_root(Ask::new("Auth/UserAdd", &add)),
        by_root(Ask::new(
            "Auth/RoleAdd",
            &pb::AuthRoleAddRequest { name: root() },
        )),
        by_root(Ask::new("Auth/UserGrantRole", &grant)),
    ];
    for n in 1..USERS {
        let add = pb::AuthUserAddRequest {
            name: format!("user-{n}"),
            password: "one".to_owned(),
            ..Default::default()
        };
        block.push(by_root(Ask::new("Auth/UserAdd", &add)));
    }
    block.extend((0..rng.below(20)).map(|_| by_root(ask(rng))));
    block.push(by_root(Ask::new(
        "Auth/AuthEnable",
        &pb::AuthEnableRequest {},
    )));
    block.push(by_root(root_token()));
    for n in 1..USERS {
        let (name, password) = (format!("user-{n}"), "one".to_owned());
        let request = pb::AuthenticateRequest { name, password };
        block.push(Operation::Ask(Ask::new("Auth/Authenticate", &request)));
    }
    block
}

/// Root asks for a token.
pub(crate) fn root_token() -> Ask {
    let request = pb::AuthenticateRequest {
        name: ROOT.to_owned(),
        password: ROOT_PASSWORD.to_owned(),
    };
    Ask::new("Auth/Authenticate", &request)
}
