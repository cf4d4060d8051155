//! The golden scripts about users and roles, `rules.txt` and `alarms.txt` in `front/etcd/tests/golden-auth`, on whole servers: the one under test,
//! and the real etcd 3.6 that `proof/peers/build` makes (Debian's 3.4 says of the role root that it may nothing). What the
//! words mean is said in `front/etcd/tests/auth_scripts.rs`.

use etcd_client::{
    AlarmAction, AlarmType, Client, ConnectOptions, DeleteOptions, Error, GetOptions, LeaderKey,
    Permission, ProclaimOptions, PutOptions, ResignOptions, RoleRevokePermissionOptions,
    UserAddOptions,
};
use quorate_conformance::{Target, alone, another, connect};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const RULES: &str = include_str!("../../../../front/etcd/tests/golden-auth/rules.txt");
const ALARMS: &str = include_str!("../../../../front/etcd/tests/golden-auth/alarms.txt");

struct Player {
    target: Target,
    asks: Client,
    passwords: BTreeMap<String, String>,
}

fn bytes(word: &str) -> Vec<u8> {
    match word {
        "\"\"" => Vec::new(),
        "\\0" => vec![0],
        word => word.as_bytes().to_vec(),
    }
}

/// The end of a range: none, or the one word.
fn end(words: &[&str]) -> Vec<u8> {
    match words {
        [] => Vec::new(),
        ["on"] => vec![0],
        [end] => bytes(end),
        more => panic!("one end, not {more:?}"),
    }
}

fn leader(key: &str, lease: &str) -> LeaderKey {
    let lease = lease.parse().expect("a number");
    LeaderKey::new().with_key(bytes(key)).with_lease(lease)
}

fn unquoted(word: &str) -> &str {
    if word == "\"\"" { "" } else { word }
}

type Told = Result<String, Error>;

fn ok<T>(done: Result<T, Error>) -> Told {
    done.map(|_| "ok".to_owned())
}

fn show(permission: &Permission) -> String {
    let kind = ["read", "write", "readwrite"][permission.get_type() as usize];
    let key = permission.key().escape_ascii();
    match permission.range_end() {
        [] => format!("{kind} {key}"),
        [0] => format!("{kind} {key} on"),
        end => format!("{kind} {key}..{}", end.escape_ascii()),
    }
}

impl Player {
    async fn user(&self, name: &str) -> Client {
        let password = self.passwords.get(name).expect("a user of the script");
        let options = ConnectOptions::new().with_user(name, password);
        let client = Client::connect(&self.target.endpoints, Some(options)).await;
        client.expect("a user is let in")
    }

    async fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["as", name] = words[..] {
            self.asks = match name {
                "nobody" => connect(&self.target.endpoints).await,
                name => self.user(name).await,
            };
            return format!("{name} asks");
        }
        // A new token each time, as a client makes itself one when users have changed.
        match self.ask(&words).await {
            Ok(told) => told,
            Err(Error::GRpcStatus(status)) => format!("{:?}: {}", status.code(), status.message()),
            Err(other) => panic!("{line}: {other}"),
        }
    }

    async fn ask(&mut self, words: &[&str]) -> Told {
        let mut client = self.asks.clone();
        match *words {
            ["auth", "enable"] => ok(client.auth_enable().await),
            ["auth", "disable"] => ok(client.auth_disable().await),
            ["user", "add", name, password] => {
                let name = unquoted(name);
                let options = match password {
                    "-" => Some(UserAddOptions::new().with_no_pwd()),
                    _ => None,
                };
                client.user_add(name, password, options).await?;
                // Only now: who was refused keeps the password it has.
                self.passwords.insert(name.to_owned(), password.to_owned());
                Ok("ok".to_owned())
            }
            ["user", "del", name] => ok(client.user_delete(name).await),
            ["user", "passwd", name, password] => {
                client
                    .user_change_password(name, unquoted(password))
                    .await?;
                self.passwords.insert(name.to_owned(), password.to_owned());
                Ok("ok".to_owned())
            }
            ["user", "get", name] => {
                let user = client.user_get(unquoted(name)).await?;
                Ok(format!("roles {:?}", user.roles()))
            }
            ["user", "list"] => {
                let list = client.user_list().await?;
                Ok(format!("users {:?}", list.users()))
            }
            ["user", "grant", name, role] => ok(client.user_grant_role(name, role).await),
            ["user", "revoke", name, role] => ok(client.user_revoke_role(name, role).await),
            ["role", "add", role] => ok(client.role_add(unquoted(role)).await),
            ["role", "del", role] => ok(client.role_delete(role).await),
            ["role", "get", role] => {
                let role = client.role_get(role).await?;
                let shown: Vec<String> = role.permissions().iter().map(show).collect();
                Ok(format!("may [{}]", shown.join(", ")))
            }
            ["role", "list"] => {
                let list = client.role_list().await?;
                Ok(format!("roles {:?}", list.roles()))
            }
            ["role", "grant", role, kind, key, ref rest @ ..] => {
                let permission = match kind {
                    "read" => Permission::read(bytes(key)),
                    "write" => Permission::write(bytes(key)),
                    _ => Permission::read_write(bytes(key)),
                };
                let permission = permission.with_range_end(end(rest));
                ok(client.role_grant_permission(role, permission).await)
            }
            ["role", "revoke", role, key, ref rest @ ..] => {
                let options = RoleRevokePermissionOptions::new().with_range_end(end(rest));
                let revoked = client.role_revoke_permission(role, bytes(key), Some(options));
                ok(revoked.await)
            }
            ["login", name, password] => {
                let mut auth = client.auth_client();
                let token = auth
                    .authenticate(name.into(), unquoted(password).into())
                    .await?;
                assert!(!token.token().is_empty());
                Ok("a token".to_owned())
            }
            ["put", key, value, ref flags @ ..] => {
                let lease = flags.iter().find_map(|word| word.strip_prefix("lease="));
                let mut options = PutOptions::new();
                if let Some(lease) = lease {
                    options = options.with_lease(lease.parse().expect("a number"));
                }
                if flags.contains(&"prev") {
                    options = options.with_prev_key();
                }
                if flags.contains(&"keep") {
                    options = options.with_ignore_value();
                }
                ok(client.put(bytes(key), bytes(value), Some(options)).await)
            }
            ["get", key, ref rest @ ..] => {
                let options = GetOptions::new().with_range(end(rest));
                let answer = client.get(bytes(key), Some(options)).await?;
                let pairs = answer.kvs().iter().map(|kv| {
                    let (key, value) = (kv.key().escape_ascii(), kv.value().escape_ascii());
                    format!("{key}={value}")
                });
                Ok(format!("[{}]", pairs.collect::<Vec<_>>().join(" ")))
            }
            ["del", key, ref rest @ ..] => {
                let ends: Vec<&str> = rest.iter().copied().filter(|it| *it != "prev").collect();
                let mut options = DeleteOptions::new().with_range(end(&ends));
                if rest.contains(&"prev") {
                    options = options.with_prev_key();
                }
                ok(client.delete(bytes(key), Some(options)).await)
            }
            ["lease", "grant", id] => {
                let id = id.parse().expect("a number");
                let options = etcd_client::LeaseGrantOptions::new().with_id(id);
                ok(client.lease_grant(600, Some(options)).await)
            }
            ["lease", "revoke", id] => ok(client.lease_revoke(id.parse().expect("a number")).await),
            ["lease", "keep", id] => {
                let id = id.parse().expect("a number");
                // It answers when the first renewal was.
                ok(client.lease_keep_alive(id).await)
            }
            ["alarm", action, kind] => {
                let action = match action {
                    "raise" => AlarmAction::Activate,
                    _ => AlarmAction::Deactivate,
                };
                let kind = match kind {
                    "corrupt" => AlarmType::Corrupt,
                    _ => AlarmType::Nospace,
                };
                ok(client.alarm(action, kind, None).await)
            }
            ["unlock", key] => ok(client.unlock(bytes(key)).await),
            ["proclaim", key, lease] => {
                let options = ProclaimOptions::new().with_leader(leader(key, lease));
                ok(client.proclaim("v", Some(options)).await)
            }
            ["resign", key, lease] => {
                let options = ResignOptions::new().with_leader(leader(key, lease));
                ok(client.resign(Some(options)).await)
            }
            _ => panic!("no such words: {words:?}"),
        }
    }
}

/// Plays the script and says where the answers differ.
async fn play(script: &str, target: Target, whose: &str) {
    let asks = target.client.clone();
    let mut player = Player {
        target,
        asks,
        passwords: BTreeMap::new(),
    };
    let (mut asked, mut expected, mut is_answer) = (Vec::new(), Vec::new(), false);
    let mut n_lines = 0;
    for line in script.lines().chain([""]) {
        match line {
            "---" => is_answer = true,
            "" => {
                let mut answers = Vec::new();
                for question in std::mem::take(&mut asked) {
                    answers.push(format!("{question}  ->  {}", player.line(question).await));
                    n_lines += 1;
                }
                let wanted: Vec<String> = std::mem::take(&mut expected);
                let told: Vec<&str> = answers
                    .iter()
                    .filter_map(|it| it.split_once("  ->  ").map(|(_, told)| told))
                    .collect();
                assert_eq!(told, wanted, "{whose} differs: {answers:#?}");
                is_answer = false;
            }
            line if line.starts_with('#') => {}
            line if is_answer => expected.push(line.to_owned()),
            line => asked.push(line),
        }
    }
    assert!(n_lines > 40, "the script was played: {n_lines} lines");
}

#[tokio::test]
async fn a_member_plays_the_script_about_users_and_roles() {
    play(RULES, alone(1).await, "the server under test").await;
}

/// The real etcd, built from its Go module if it is not there yet.
fn real_etcd() -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/build");
    let built = Command::new(build).output().expect("bash");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "proof/peers/build failed: {said}");
    // target/debug/deps/conformance-… → target/peers
    let own = std::env::current_exe().expect("the path of this test");
    let target = own.ancestors().nth(3).expect("a target folder");
    target.join("peers/etcd")
}

#[tokio::test]
async fn the_real_etcd_plays_the_script_about_users_and_roles() {
    play(RULES, another(&real_etcd()).await, "the real etcd").await;
}

/// Waits until a new member decides by this version: it rises one step at a time, soon after the start.
async fn apply_version(target: &Target, version: u32) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = target.endpoints[0].trim_start_matches("http://").to_owned();
    let wanted = format!("\nquorate_apply_version {version}\n");
    for _ in 0..600 {
        let mut stream = tokio::net::TcpStream::connect(&address)
            .await
            .expect("it listens");
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await.expect("it answers");
        if String::from_utf8_lossy(&page).contains(&wanted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the member does not come to apply version {version}");
}

#[tokio::test]
async fn a_member_plays_the_script_about_alarms_and_rights() {
    let target = alone(1).await;
    // Alarms and rights are asked for in etcd's order from this version on.
    apply_version(&target, 4).await;
    play(ALARMS, target, "the server under test").await;
}

#[tokio::test]
async fn the_real_etcd_plays_the_script_about_alarms_and_rights() {
    play(ALARMS, another(&real_etcd()).await, "the real etcd").await;
}
