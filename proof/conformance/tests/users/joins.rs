//! A member decides by its own state, so users, roles, tokens and the revision of them must come along however that state
//! came: in a received state, or from a backup.

use cluster::{Cluster, Server, TempDir};
use etcd_client::{Client, ConnectOptions, Error, GetOptions, Permission, Txn, TxnOp};
use quorate_conformance::{PATIENCE, alone, eventually, is_ours, new_place, peer, program};
use std::path::Path;
use std::process::Command;

/// The last is nobody's name.
const USERS: [&str; 5] = ["root", "ann", "tom", "idle", ""];

async fn user(endpoint: &str, name: &str) -> Result<Client, Error> {
    let options = match name {
        "" => ConnectOptions::new(),
        name => ConnectOptions::new().with_user(name, format!("{name}'s word")),
    };
    Client::connect([endpoint], Some(options.with_timeout(PATIENCE))).await
}

fn told<T>(what: &str, answer: Result<T, Error>) -> String {
    match answer {
        Ok(_) => format!("{what}: yes"),
        Err(Error::GRpcStatus(status)) => {
            format!("{what}: {:?} {}", status.code(), status.message())
        }
        Err(other) => panic!("{what}: not an answer of the server: {other}"),
    }
}

/// Whether an answer has what is there, and not only is no refusal.
fn read(what: &str, answer: Result<etcd_client::GetResponse, Error>) -> String {
    let n = answer.as_ref().map_or(0, |got| got.kvs().len());
    format!("{} ({n})", told(what, answer))
}

/// Every decision of one member, about everybody.
async fn decisions(endpoint: &str) -> Vec<String> {
    let mut all = Vec::new();
    for name in USERS {
        let mut client = match user(endpoint, name).await {
            Ok(client) => client,
            Err(error) => {
                all.push(told(name, Err::<(), _>(error)));
                continue;
            }
        };
        for level in ["linearizable", "serializable"] {
            let level_of = |options: GetOptions| match level {
                "serializable" => options.with_serializable(),
                _ => options,
            };
            for (key, end) in [
                ("a/1", ""),
                ("b/1", ""),
                ("a/", "a0"),
                ("a/", "b0"),
                ("a/1", "\0"),
            ] {
                let options = level_of(GetOptions::new().with_range(end));
                let got = client.get(key, Some(options)).await;
                all.push(read(&format!("{name} gets {key}..{end:?} {level}"), got));
            }
        }
        for key in ["a/2", "b/2", "c"] {
            let put = client.put(key, name, None).await;
            all.push(told(&format!("{name} puts {key}"), put));
            let delete = client.delete(key, None).await;
            all.push(told(&format!("{name} deletes {key}"), delete));
        }
        let txn = Txn::new().and_then([TxnOp::get("a/1", None), TxnOp::delete("b/2", None)]);
        let txn = client.txn(txn).await;
        all.push(told(
            &format!("{name} reads a/1 and deletes b/2 at once"),
            txn,
        ));
        let listed = client.user_list().await;
        all.push(told(&format!("{name} lists users"), listed));
        let leases = client.leases().await;
        all.push(told(&format!("{name} lists leases"), leases));
    }
    all
}

/// Users, roles and a few keys; then much history that is forgotten, so that nobody can catch up by it.
async fn fill(client: &mut Client) {
    for role in ["a", "b", "idle"] {
        client.role_add(role).await.expect("a role");
    }
    for name in &USERS[..4] {
        let word = format!("{name}'s word");
        client.user_add(*name, word, None).await.expect("a user");
    }
    let grants = [
        ("a", Permission::read_write("a/").with_prefix()),
        ("b", Permission::write("b/").with_prefix()),
        ("b", Permission::read("a/1")),
    ];
    for (role, permission) in grants {
        let granted = client.role_grant_permission(role, permission).await;
        granted.expect("a permission");
    }
    for (name, role) in [
        ("root", "root"),
        ("ann", "a"),
        ("tom", "b"),
        ("idle", "idle"),
    ] {
        client.user_grant_role(name, role).await.expect("a grant");
    }
    for n in 0..300 {
        let key = ["a/1", "b/1", "d"][n % 3];
        client.put(key, n.to_string(), None).await.expect("a put");
    }
}

/// How often a state was received: never, where the log alone was enough.
async fn states_received(metrics: &str) -> f64 {
    let page = Command::new("curl")
        .args(["-s", "-m", "10", metrics])
        .output();
    let page = String::from_utf8_lossy(&page.expect("curl is installed").stdout).into_owned();
    let name = "etcd_snap_db_save_total_duration_seconds_count ";
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the metric is there")
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn a_member_that_received_its_state_decides_as_the_others_do() {
    let mut target = alone(1).await;
    let mut client = target.client.clone();
    fill(&mut client).await;
    client.auth_enable().await.expect("enable");
    let first = target.endpoints[0].clone();
    let mut root = user(&first, "root").await.expect("root");
    let anns = root
        .auth_client()
        .authenticate("ann".into(), "ann's word".into())
        .await;
    let anns_token = anns.expect("ann's token").token().to_owned();
    let newest = root.get("a/1", None).await.expect("get");
    let newest = newest.header().expect("a header").revision();
    root.compact(newest, None).await.expect("compact");
    // It writes a checkpoint and gives up the log before.
    root.maintenance_client()
        .defragment()
        .await
        .expect("defragment");

    let Some(cluster) = &mut target.own else {
        return; // A given cluster has no place for a further member.
    };
    let place = new_place();
    eventually("the cluster takes a member", || async {
        let mut root = root.clone();
        root.member_add([place.peer_url()], None).await.ok()
    })
    .await;
    let one = &cluster.members[0];
    let (name, url) = (&one.name, one.place.peer_url());
    let initial = format!("{name}={url},n2={}", place.peer_url());
    let mut joined = cluster.member("n2", place.clone(), &initial, "existing");
    joined.start().expect("the member starts");
    cluster.members.push(joined);
    let second = place.client_url();
    eventually("the new member lets root in and knows its keys", || async {
        let mut root = user(&second, "root").await.ok()?;
        root.get("a/1", None)
            .await
            .ok()
            .filter(|got| got.kvs().len() == 1)
    })
    .await;
    if is_ours() {
        assert!(states_received(&format!("{second}/metrics")).await > 0.0);
    }

    let (old, new) = (decisions(&first).await, decisions(&second).await);
    assert_eq!(new, old);
    // And they are decisions: somebody may, somebody may not.
    let n_yes = old.iter().filter(|it| it.contains(": yes")).count();
    assert!(n_yes > 20 && old.len() - n_yes > 40, "{old:#?}");

    let mut revisions = Vec::new();
    for endpoint in [&first, &second] {
        revisions.push(auth_status(endpoint));
    }
    assert_eq!(revisions[0], revisions[1]);
    if is_ours() {
        // A token of before the new member was there: known to all of ours.
        let body = r#"{"key":"YS8x"}"#;
        let header = format!("Authorization: {anns_token}");
        let url = format!("{second}/v3/kv/range");
        let said = Command::new("curl")
            .args(["-s", "-m", "10", "-H", &header, "-d", body, &url])
            .output()
            .expect("curl is installed");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("\"kvs\":["), "{said}");
    }
}

/// Whether authentication is on, and the revision of users and roles.
fn auth_status(endpoint: &str) -> String {
    let said = Command::new(peer("etcdctl"))
        .args([
            "--endpoints",
            endpoint,
            "--user",
            "root:root's word",
            "auth",
            "status",
        ])
        .output()
        .expect("etcdctl");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("true"), "{said}");
    said
}

/// A member from a backup of `endpoint`'s, by our own restore or by etcd's.
fn restored(endpoint: &str, folder: &Path) -> Cluster {
    let file = folder.join("backup.db");
    let file = file.to_str().expect("a path of letters");
    let run = |program: &Path, words: &[&str]| {
        let done = Command::new(program).args(words).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {said}");
    };
    let user = ["--endpoints", endpoint, "--user", "root:root's word"];
    let save = [&user[..], &["snapshot", "save", file]].concat();
    run(&peer("etcdctl"), &save);
    let (place, data) = (new_place(), folder.join("n1"));
    let initial = format!("n1={}", place.peer_url());
    // The token that the cluster will be started with.
    let token = format!("{}-{}", std::process::id(), folder.display());
    let (peer_url, data) = (place.peer_url(), data.to_str().expect("a path of letters"));
    let words = [
        "snapshot",
        "restore",
        file,
        "--data-dir",
        data,
        "--name",
        "n1",
        "--initial-cluster",
        &initial,
        "--initial-cluster-token",
        &token,
        "--initial-advertise-peer-urls",
        &peer_url,
    ];
    match is_ours() {
        true => run(&program(), &words),
        false => run(&peer("etcdutl"), &words),
    }
    let program = program();
    let server = Server::new("tested", program.to_str().expect("letters"), folder);
    let server = server.expect("the server's program");
    Cluster::start_at(&server, folder, vec![place]).expect("it starts")
}

#[tokio::test]
async fn a_member_from_a_backup_decides_as_the_one_it_is_of_did() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    fill(&mut client).await;
    client.auth_enable().await.expect("enable");
    let before = decisions(&target.endpoints[0]).await;
    let folder = TempDir::new().expect("a folder");
    let cluster = restored(&target.endpoints[0], folder.path());
    let endpoint = cluster.endpoints().remove(0);
    eventually("it serves", || async {
        let mut root = user(&endpoint, "root").await.ok()?;
        root.get("a/1", None).await.ok()
    })
    .await;
    assert_eq!(decisions(&endpoint).await, before);
    assert_eq!(auth_status(&endpoint), auth_status(&target.endpoints[0]));
}
