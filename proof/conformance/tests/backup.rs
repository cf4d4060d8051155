//! Backups between us and the real etcd, both ways, judged by etcd's own tools (`proof/peers/build` makes them, of the
//! release that we emulate; Debian's are of 3.4): what one saves the other goes on from, with the same keys,
//! revisions, versions and leases, and the same hash of history.

use client::{Client as Native, Key};
use cluster::{Cluster, Member, Place, Server, TempDir};
use etcd_client::{
    Client, CompactionOptions, DeleteOptions, EventType, GetOptions, PutOptions, Txn, TxnOp,
    WatchOptions,
};
use quorate_conformance::{PATIENCE, Target, alone, connect, eventually, program};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tokio::time::timeout;

/// A real program of the release that we emulate.
fn peer(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let target = program();
        let target = target.parent().and_then(Path::parent).expect("target/");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/build");
        let built = Command::new(script)
            .env("CARGO_TARGET_DIR", target)
            .output();
        let built = built.expect("proof/peers/build");
        assert!(
            built.status.success(),
            "the peers cannot be built: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        target.join("peers")
    });
    folder.join(name)
}

/// Runs a program that must end well; what it prints.
fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("ETCD_VERIFY", "all")
        .output()
        .expect("the program");
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs our program, which must refuse; its words.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output();
    let output = output.expect("the program");
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// The number behind `"name":` in one line of JSON.
fn number(json: &str, name: &str) -> i64 {
    let start = json.find(&format!("\"{name}\":"));
    let start = start.unwrap_or_else(|| panic!("no {name} in {json}")) + name.len() + 3;
    let rest = json[start..].trim_start();
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit());
    let digits = &rest[..end.unwrap_or(rest.len())];
    digits.parse().expect("a number")
}

/// A history with everything that a backup has to carry: versions, deletes, leases, transactions, a compaction.
async fn write_history(client: &mut Client) {
    let lease = |ttl, id| {
        let mut client = client.clone();
        async move {
            let options = etcd_client::LeaseGrantOptions::new().with_id(id);
            client
                .lease_grant(ttl, Some(options))
                .await
                .expect("a lease");
        }
    };
    lease(3600, 0x1234).await;
    lease(7200, 0x5678).await;
    for n in 0..120 {
        let key = format!("key/{:02}", n % 40);
        let value = format!("{n}").repeat(1 + n % 90);
        client.put(key, value, None).await.expect("a put");
    }
    for n in 0..5 {
        let options = PutOptions::new().with_lease(0x1234);
        let put = client.put(format!("leased/{n}"), "l", Some(options));
        put.await.expect("a put on a lease");
    }
    let range = DeleteOptions::new().with_range("key/08");
    client
        .delete("key/03", Some(range))
        .await
        .expect("a delete");
    let txn = Txn::new().and_then([
        TxnOp::put("key/05", "again", None),
        TxnOp::put("txn", "x", None),
        TxnOp::delete("key/20", None),
    ]);
    client.txn(txn).await.expect("a transaction");
    let large = client.put("large", vec![b'L'; 1_000_000], None).await;
    large.expect("a large put");
    client.compact(90, None).await.expect("a compaction");
    client.delete("key/30", None).await.expect("a delete");
    client.put("key/30", "reborn", None).await.expect("a put");
    let deleted = client.delete("key/31", None).await.expect("a delete");
    // Compacted at a delete: its tombstone stays, and does not count in the hash.
    let at = deleted.header().expect("a header").revision();
    let physical = CompactionOptions::new().with_physical();
    client
        .compact(at, Some(physical))
        .await
        .expect("a compaction");
    for n in 0..20 {
        client
            .put("last", format!("{n}"), None)
            .await
            .expect("a put");
    }
}

/// Everything that a client can see: the same text is the same data.
async fn picture(client: &mut Client) -> String {
    let mut out = String::new();
    let now = all(client, 0).await;
    let newest = now.1;
    out.push_str(&format!("now at {newest}\n{}", now.0));
    for at in newest - 15..newest {
        out.push_str(&format!("at {at}\n{}", all(client, at).await.0));
    }
    for lease in [0x1234, 0x5678] {
        let options = etcd_client::LeaseTimeToLiveOptions::new().with_keys();
        let left = client.lease_time_to_live(lease, Some(options)).await;
        let left = left.expect("a lease's time");
        let keys = left.keys().iter().map(|key| String::from_utf8_lossy(key));
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        // How much is left depends on the moment; it begins anew after a restore.
        let fresh = left.ttl() > 0;
        out.push_str(&format!(
            "lease {lease} {} {fresh} {keys:?}\n",
            left.granted_ttl()
        ));
    }
    out
}

async fn all(client: &mut Client, revision: i64) -> (String, i64) {
    let options = GetOptions::new().with_all_keys().with_revision(revision);
    let got = client.get("", Some(options)).await.expect("all keys");
    let lines = got.kvs().iter().map(|kv| {
        format!(
            "  {} created {} modified {} version {} lease {} value {}\n",
            String::from_utf8_lossy(kv.key()),
            kv.create_revision(),
            kv.mod_revision(),
            kv.version(),
            kv.lease(),
            String::from_utf8_lossy(&kv.value()[..kv.value().len().min(200)]),
        )
    });
    let revision = got.header().expect("a header").revision();
    (lines.collect(), revision)
}

/// Hash and compacted revision of a member's history up to `revision`.
async fn hash_kv(client: &mut Client, revision: i64) -> (u32, i64) {
    let hash = client.hash_kv(revision).await.expect("a hash");
    (hash.hash(), hash.compact_version())
}

/// Saves a backup by `etcdctl`, and says what one needs to know about it.
fn save(etcdctl: &Path, endpoint: &str, file: &Path) {
    let endpoints = format!("--endpoints={endpoint}");
    let mut command = Command::new(etcdctl);
    command.env("ETCDCTL_API", "3");
    command.args([&endpoints, "snapshot", "save", text(file)]);
    let output = command.output().expect("etcdctl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Three members, or one, that go on from `file`, each restored by our own command.
async fn restored(file: &Path, n: usize, flags: &[&str]) -> (Cluster, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let places: Vec<Place> = (0..n).map(|_| Place::loopback().expect("ports")).collect();
    let initial: Vec<String> = (1..)
        .zip(&places)
        .map(|(n, place)| format!("n{n}={}", place.peer_url()))
        .collect();
    let initial = initial.join(",");
    // The token that the cluster will be started with.
    let token = format!("{}-{}", std::process::id(), folder.path().display());
    for (n, place) in (1..).zip(&places) {
        let dir = folder.path().join(format!("n{n}"));
        let (name, peer) = (format!("n{n}"), place.peer_url());
        let own = [
            "snapshot",
            "restore",
            text(file),
            "--name",
            &name,
            "--data-dir",
            text(&dir),
            "--initial-cluster",
            &initial,
            "--initial-cluster-token",
            &token,
            "--initial-advertise-peer-urls",
            &peer,
        ];
        run(&program(), &[&own[..], flags].concat());
    }
    let program = program().display().to_string();
    let server = Server::new("restored", &program, folder.path()).expect("the program");
    let cluster = Cluster::start_at(&server, folder.path(), places).expect("it starts");
    for endpoint in cluster.endpoints() {
        let is_there = is_up(&endpoint).await;
        assert!(is_there, "{}", cluster.last_words());
    }
    (cluster, folder)
}

/// A real etcd that goes on from `file`, restored by its own tool, with its data in `folder`.
async fn etcd_from(file: &Path, folder: &TempDir) -> (Cluster, PathBuf) {
    let places = vec![Place::loopback().expect("ports")];
    let peer_url = places[0].peer_url();
    let (data, cluster) = (folder.path().join("n1"), format!("n1={peer_url}"));
    let restore = [
        "snapshot",
        "restore",
        text(file),
        "--name=n1",
        "--data-dir",
        text(&data),
        "--initial-cluster",
        &cluster,
        "--initial-advertise-peer-urls",
        &peer_url,
    ];
    run(&peer("etcdutl"), &restore);
    let server = Server::new("etcd", text(&peer("etcd")), folder.path()).expect("etcd");
    let etcd = Cluster::start_at(&server, folder.path(), places).expect("it starts");
    let endpoint = &etcd.endpoints()[0];
    assert!(is_up(endpoint).await, "{}", etcd.last_words());
    (etcd, data)
}

/// Whether an endpoint says anything within the time, be it that it lets nobody in.
async fn is_up(endpoint: &str) -> bool {
    let until = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < until {
        let asked = async {
            let mut client = Client::connect([endpoint], None).await.ok()?;
            match client.get("no-such-key", None::<GetOptions>).await {
                Ok(_) => Some(()),
                Err(error) => error
                    .to_string()
                    .contains("user name is empty")
                    .then_some(()),
            }
        };
        if matches!(
            timeout(std::time::Duration::from_secs(2), asked).await,
            Ok(Some(()))
        ) {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    false
}

/// A real etcd of this program, alone.
async fn etcd(program: &Path) -> Target {
    quorate_conformance::another(program).await
}

#[tokio::test]
async fn etcds_tools_read_our_backup_and_agree_about_it() {
    let target = alone(3).await;
    let mut client = target.client.clone();
    write_history(&mut client).await;
    let folder = TempDir::new().expect("a temporary folder");
    // Through each member, by Debian's etcdctl, a current one, and our own command: the same keys in all of them.
    let files = ["old.db", "new.db", "own.db"].map(|name| folder.path().join(name));
    eventually("all members are where the first is", || async {
        let mut at = Vec::new();
        for member in 0..3 {
            at.push(hash_kv(&mut target.at(member).await, 0).await);
        }
        at.iter().all(|it| *it == at[0]).then_some(())
    })
    .await;
    save(
        Path::new("/usr/bin/etcdctl"),
        &target.endpoints[0],
        &files[0],
    );
    save(&peer("etcdctl"), &target.endpoints[1], &files[1]);
    let own = [
        "snapshot",
        "save",
        text(&files[2]),
        "--endpoints",
        &target.endpoints[2][7..],
    ];
    run(&program(), &own);

    let revision = all(&mut client, 0).await.1;
    for file in &files {
        let bbolt = run(&peer("bbolt"), &["check", text(file)]);
        assert!(bbolt.contains("OK"), "{bbolt}");
        let theirs = run(
            &peer("etcdutl"),
            &["snapshot", "status", text(file), "-w", "json"],
        );
        assert_eq!(number(&theirs, "revision"), revision);
        assert!(theirs.contains("\"version\":\"3.6.0\""), "{theirs}");
        let ours = run(
            &program(),
            &["snapshot", "status", text(file), "-o", "json"],
        );
        for name in ["hash", "revision", "totalKey", "totalSize"] {
            assert_eq!(number(&ours, name), number(&theirs, name), "{name}");
        }
        let old = Command::new("/usr/bin/etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "status", text(file), "-w", "json"])
            .output()
            .expect("etcdctl");
        let old = String::from_utf8_lossy(&old.stdout).into_owned();
        // It takes all entries of all buckets for keys.
        for name in ["hash", "revision", "totalSize"] {
            assert_eq!(number(&old, name), number(&theirs, name), "{name}");
        }
    }
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&files[2]).expect("it is there"));
    assert_eq!(mode & 0o777, 0o600, "a backup is nobody else's");
}

#[tokio::test]
async fn etcds_own_tool_hashes_our_backup_as_the_member_does() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    write_history(&mut client).await;
    // It cannot hash any file, an etcd's neither, in which a key hangs on a lease: "no lessor to attach lease".
    let leased = DeleteOptions::new().with_prefix();
    client
        .delete("leased/", Some(leased))
        .await
        .expect("a delete");
    let newest = all(&mut client, 0).await.1;
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("ours.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);
    for at in [0, newest - 3, newest - 10] {
        let revision = at.to_string();
        // It opens the file as a server does, for writing: on a copy without the hash behind it.
        let copy = folder.path().join("copy.db");
        let bytes = std::fs::read(&file).expect("the backup");
        std::fs::write(&copy, &bytes[..bytes.len() - 32]).expect("a copy");
        let words = ["hashkv", text(&copy), "--rev", &revision, "-w", "json"];
        let said = run(&peer("etcdutl"), &words);
        let theirs = (
            number(&said, "hash") as u32,
            number(&said, "compactRevision"),
        );
        assert_eq!(theirs, hash_kv(&mut client, at).await, "{at}: {said}");
        assert!(theirs.1 > 0, "it was compacted");
    }
}

#[tokio::test]
async fn an_etcd_goes_on_from_our_backup() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    write_history(&mut client).await;
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("ours.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);

    let (etcd, _) = etcd_from(&file, &folder).await;
    let mut theirs = connect(&etcd.endpoints()).await;

    assert_eq!(picture(&mut theirs).await, picture(&mut client).await);
    assert_eq!(hash_kv(&mut theirs, 0).await, hash_kv(&mut client, 0).await);
    let newest = all(&mut theirs, 0).await.1;
    // What happened is told there, too.
    let options = WatchOptions::new().with_start_revision(newest - 3);
    let mut watch = theirs.watch("last", Some(options)).await.expect("a watch");
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let told = timeout(PATIENCE, watch.message()).await.expect("in time");
        let told = told.expect("events").expect("an answer");
        seen.extend(told.events().iter().map(|event| {
            assert_eq!(event.event_type(), EventType::Put);
            event.kv().expect("a key").mod_revision()
        }));
    }
    assert_eq!(seen, (newest - 3..=newest).collect::<Vec<_>>());
    let put = theirs.put("next", "", None).await.expect("a put");
    assert_eq!(put.header().expect("a header").revision(), newest + 1);
}

/// Saves a history of an etcd, restores it into three of ours, and compares.
async fn we_go_on_from(etcd_program: &Path, etcdctl: &Path) {
    let theirs = etcd(etcd_program).await;
    let mut client = theirs.client.clone();
    write_history(&mut client).await;
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("theirs.db");
    save(etcdctl, &theirs.endpoints[0], &file);
    let expected = picture(&mut client).await;
    let expected_hash = hash_kv(&mut client, 0).await;
    let newest = all(&mut client, 0).await.1;

    let (ours, _folder) = restored(&file, 3, &[]).await;
    for endpoint in ours.endpoints() {
        let mut client = connect(std::slice::from_ref(&endpoint)).await;
        assert_eq!(picture(&mut client).await, expected, "{endpoint}");
        assert_eq!(hash_kv(&mut client, newest).await, expected_hash);
    }
    let endpoints = format!("--endpoints={}", ours.endpoints().join(","));
    let keys = run(
        &peer("etcdctl"),
        &[&endpoints, "get", "", "--prefix", "--keys-only"],
    );
    assert!(
        keys.contains("leased/4") && !keys.contains("key/31"),
        "{keys}"
    );
    let mut client = connect(&ours.endpoints()).await;
    let put = client.put("next", "", None).await.expect("a put");
    assert_eq!(put.header().expect("a header").revision(), newest + 1);
    // The leases live on: what hangs on one goes with it.
    client.lease_revoke(0x1234).await.expect("a revoke");
    let left = client.get("leased/0", None).await.expect("a get");
    assert_eq!(left.kvs().len(), 0);
    let members = client.member_list().await.expect("members");
    assert_eq!(members.members().len(), 3);
}

#[tokio::test]
async fn three_of_ours_go_on_from_a_current_etcds_backup() {
    we_go_on_from(&peer("etcd"), &peer("etcdctl")).await;
}

#[tokio::test]
async fn three_of_ours_go_on_from_an_old_etcds_backup() {
    we_go_on_from(Path::new("/usr/bin/etcd"), Path::new("/usr/bin/etcdctl")).await;
}

#[tokio::test]
async fn the_database_of_a_stopped_etcd_is_a_backup_too() {
    let mut theirs = etcd(&peer("etcd")).await;
    let mut client = theirs.client.clone();
    write_history(&mut client).await;
    let expected = picture(&mut client).await;
    let own = theirs.own.as_mut().expect("it is this test's");
    let member = &mut own.members[0];
    let pid = rustix::process::Pid::from_raw(member.pid().expect("it runs") as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is asked to end");
    assert!(member.ends_within(PATIENCE), "it ends");
    let database = member.data.join("member/snap/db");
    let words = refused(&["snapshot", "restore", text(&database)]);
    assert!(
        words.contains("no SHA-256 at its end") && words.contains("--skip-hash-check"),
        "{words}"
    );
    let (ours, _folder) = restored(&database, 1, &["--skip-hash-check"]).await;
    let mut client = connect(&ours.endpoints()).await;
    assert_eq!(picture(&mut client).await, expected);
}

#[tokio::test]
async fn a_bumped_restore_tells_old_watches_that_they_missed_something() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    write_history(&mut client).await;
    let (keys, newest) = all(&mut client, 0).await;
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("ours.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);
    let words = refused(&["snapshot", "restore", text(&file), "--bump-revision", "5"]);
    assert!(words.contains("--mark-compacted"), "{words}");

    let flags = ["--bump-revision", "1000000", "--mark-compacted"];
    let (ours, _folder) = restored(&file, 3, &flags).await;
    let mut client = connect(&ours.endpoints()).await;
    assert_eq!(all(&mut client, 0).await, (keys, newest + 1_000_000));
    let options = WatchOptions::new().with_start_revision(newest + 1);
    let mut watch = client.watch("last", Some(options)).await.expect("a watch");
    let end = loop {
        let told = timeout(PATIENCE, watch.message()).await.expect("in time");
        let told = told.expect("an answer").expect("an answer");
        if told.canceled() {
            break told.compact_revision();
        }
    };
    assert_eq!(end, newest + 1_000_000);
    let put = client.put("next", "", None).await.expect("a put");
    let revision = put.header().expect("a header").revision();
    assert_eq!(revision, newest + 1_000_001);
    // And so does a backup of it: an etcd that is restored from it does not go back either.
    let again = folder.path().join("again.db");
    save(&peer("etcdctl"), &ours.endpoints()[0], &again);
    let status = run(
        &peer("etcdutl"),
        &["snapshot", "status", text(&again), "-w", "json"],
    );
    assert_eq!(number(&status, "revision"), revision);
}

/// Addresses and token may be those of the cluster that was backed up, and so are the ids of its members.
#[tokio::test]
async fn a_member_of_the_old_cluster_has_no_say_in_the_restored_one() {
    let mut target = alone(3).await;
    let mut client = target.client.clone();
    client.put("k", "backup", None).await.expect("a put");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("ours.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);
    for n in 0..20 {
        let put = client.put("k", format!("after {n}"), None).await;
        put.expect("a put");
    }
    let cluster = target.own.as_mut().expect("a cluster of its own");
    for member in &mut cluster.members {
        member.kill();
    }
    let said = |member: &Member, flag: &str| member.flag(flag).expect("it was said");
    let initial = said(&cluster.members[0], "initial-cluster");
    let token = said(&cluster.members[0], "initial-cluster-token");
    for member in &cluster.members[..2] {
        let dir = said(member, "data-dir");
        std::fs::remove_dir_all(&dir).expect("the old directory");
        let restore = [
            "snapshot",
            "restore",
            text(&file),
            "--name",
            &said(member, "name"),
            "--data-dir",
            &dir,
            "--initial-cluster",
            &initial,
            "--initial-cluster-token",
            &token,
            "--initial-advertise-peer-urls",
            &said(member, "initial-advertise-peer-urls"),
        ];
        run(&program(), &restore);
    }
    // The third keeps what it had, which is more, and is there first.
    for n in [2, 0, 1] {
        cluster.members[n].start().expect("it starts");
    }
    for n in [0, 1] {
        assert!(
            is_up(&cluster.members[n].client_url()).await,
            "{}",
            cluster.last_words()
        );
        let mut client = connect(&[cluster.members[n].client_url()]).await;
        let got = client.get("k", None).await.expect("a read");
        assert_eq!(got.kvs()[0].value(), b"backup");
        client.put("new", "1", None).await.expect("a put");
    }
}

#[tokio::test]
async fn what_only_we_know_comes_back_and_an_etcds_revision_does_not_go_back() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    client.put("etcd's", "1", None).await.expect("a put");
    let native = Native::builder().endpoints(target.endpoints.clone());
    let native = native.connect().await.expect("a client");
    let written = native.put("ours", "2").await.expect("a native put");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("ours.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);
    let newest = all(&mut client, 0).await.1;
    assert!(newest as u64 >= written.revision());
    // etcd's keys alone would have it one lower.
    let status = run(
        &peer("etcdutl"),
        &["snapshot", "status", text(&file), "-w", "json"],
    );
    assert_eq!(
        (number(&status, "revision"), number(&status, "totalKey")),
        (newest, 1)
    );

    let (ours, _folder) = restored(&file, 3, &[]).await;
    let restored = Native::builder().endpoints(ours.endpoints());
    let restored = restored.connect().await.expect("a client");
    let got = restored.get(Key::from("ours")).await.expect("a native get");
    assert_eq!(got.kv.expect("it is there").text(), Some("2"));
    let mut client = connect(&ours.endpoints()).await;
    assert_eq!(all(&mut client, 0).await.1, newest);
}

/// Makes users by etcd's own tool and lets nobody else in.
fn let_in(endpoint: &str) {
    let endpoint = format!("--endpoints={endpoint}");
    for line in [
        "put shown/a 1",
        "put hidden/a 2",
        "user add root:of-all",
        "user add alice:in-wonderland",
        "role add root",
        "role add reader",
        "role grant-permission reader read shown/ shown0",
        "user grant-role root root",
        "user grant-role alice reader",
        "auth enable",
    ] {
        let words: Vec<&str> = std::iter::once(&endpoint[..])
            .chain(line.split(' '))
            .collect();
        let output = Command::new(peer("etcdctl")).args(&words).output();
        let output = output.expect("etcdctl");
        let said = String::from_utf8_lossy(&output.stderr);
        // Some make the role of root by themselves.
        let is_there = said.contains("role name already exists");
        assert!(output.status.success() || is_there, "{line}: {said}");
    }
}

/// Who may do what after `let_in`, and after every way that its data took.
fn check_who_is_let_in(endpoint: &str) {
    let endpoint = format!("--endpoints={endpoint}");
    for (user, key, expected) in [
        ("alice:in-wonderland", "shown/a", "shown/a\n1\n"),
        ("alice:in-wonderland", "hidden/a", "permission denied"),
        ("alice:of-all", "shown/a", "authentication failed"),
        ("root:of-all", "hidden/a", "hidden/a\n2\n"),
        ("", "shown/a", "user name is empty"),
    ] {
        let user = format!("--user={user}");
        let mut words = vec![&endpoint[..], "get", key];
        if user != "--user=" {
            words.push(&user);
        }
        let output = Command::new(peer("etcdctl")).args(&words).output();
        let output = output.expect("etcdctl");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(expected), "{user} {key}: {said}");
    }
}

/// As `save`, as somebody who may; why not, if not.
fn try_save_as_root(endpoint: &str, file: &Path) -> Option<String> {
    let endpoint = format!("--endpoints={endpoint}");
    let user = "--user=root:of-all";
    let words = [&endpoint[..], user, "snapshot", "save", text(file)];
    let output = Command::new(peer("etcdctl")).args(words).output();
    let output = output.expect("etcdctl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[tokio::test]
async fn users_and_roles_come_along_both_ways() {
    let folder = TempDir::new().expect("a temporary folder");
    let theirs = etcd(&peer("etcd")).await;
    let_in(&theirs.endpoints[0]);
    check_who_is_let_in(&theirs.endpoints[0]);
    let file = folder.path().join("theirs.db");
    assert_eq!(try_save_as_root(&theirs.endpoints[0], &file), None);
    let (ours, _folder) = restored(&file, 1, &[]).await;

    // And on, into an etcd again.
    let again = folder.path().join("ours.db");
    assert_eq!(try_save_as_root(&ours.endpoints()[0], &again), None);
    check_who_is_let_in(&ours.endpoints()[0]);
    let (etcd, _data) = etcd_from(&again, &folder).await;
    check_who_is_let_in(&etcd.endpoints()[0]);
}

/// The same writes to both: hashes agree at every revision that both can hash.
#[tokio::test]
async fn our_hash_of_history_is_that_of_a_real_etcd() {
    let (theirs, ours) = (etcd(&peer("etcd")).await, alone(1).await);
    let (mut theirs, mut ours) = (theirs, ours);
    for round in 0..3u32 {
        for client in [&mut theirs.client, &mut ours.client] {
            for n in 0..40u32 {
                let key = format!("k{}", (n * 7 + round) % 13);
                match n % 5 {
                    4 => drop(client.delete(key, None).await.expect("a delete")),
                    3 => {
                        let txn = Txn::new().and_then([
                            TxnOp::put(format!("{key}/a"), format!("{n}"), None),
                            TxnOp::delete(key, None),
                        ]);
                        client.txn(txn).await.expect("a transaction");
                    }
                    _ => drop(
                        client
                            .put(key, vec![b'v'; n as usize], None)
                            .await
                            .expect("a put"),
                    ),
                }
            }
        }
        let newest = all(&mut theirs.client, 0).await.1;
        assert_eq!(all(&mut ours.client, 0).await.1, newest);
        // At the compacted revision itself and below it an etcd may answer with what it noted when it compacted.
        let compacted = hash_kv(&mut ours.client, 0).await.1;
        for at in (compacted.max(0) + 1..=newest).chain([0]) {
            let (one, other) = (
                hash_kv(&mut theirs.client, at).await,
                hash_kv(&mut ours.client, at).await,
            );
            assert_eq!(one, other, "round {round}, revision {at}");
        }
        assert!(newest - compacted > 20, "{newest} {compacted}");
        for client in [&mut theirs.client, &mut ours.client] {
            let physical = CompactionOptions::new().with_physical();
            let compacted = client.compact(newest - 25, Some(physical)).await;
            compacted.expect("a compaction");
        }
    }
}

#[tokio::test]
async fn what_is_no_backup_is_refused_in_clear_words() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    client
        .put("a", vec![b'x'; 100_000], None)
        .await
        .expect("a put");
    let folder = TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let file = at("whole.db");
    save(&peer("etcdctl"), &target.endpoints[0], &file);
    let whole = std::fs::read(&file).expect("the backup");
    let mut damaged = whole.clone();
    damaged[40_000] ^= 1;
    for (name, bytes, words) in [
        ("damaged.db", &damaged[..], "does not match the SHA-256"),
        (
            "cut.db",
            &whole[..whole.len() - 700],
            "no SHA-256 at its end",
        ),
        (
            "cut-page.db",
            &whole[..whole.len() - 4096],
            "does not match the SHA-256",
        ),
        ("empty.db", b"", "no SHA-256 at its end"),
    ] {
        std::fs::write(at(name), bytes).expect("a file");
        let dir = at("new");
        let said = refused(&[
            "snapshot",
            "restore",
            text(&at(name)),
            "--data-dir",
            text(&dir),
        ]);
        assert!(said.contains(words), "{name}: {said}");
        assert!(!dir.exists(), "{name} left something behind");
    }
    let said = refused(&["snapshot", "restore", text(&at("none.db"))]);
    assert!(said.contains("cannot open"), "{said}");
    std::fs::write(at("text.db"), vec![b'a'; 8192]).expect("a file");
    let said = refused(&["snapshot", "status", text(&at("text.db"))]);
    assert!(said.contains("no bbolt file"), "{said}");
    let said = refused(&[
        "snapshot",
        "restore",
        text(&file),
        "--data-dir",
        text(folder.path()),
    ]);
    assert!(said.contains("is not empty"), "{said}");
    let said = refused(&[
        "snapshot",
        "restore",
        text(&file),
        "--name",
        "stranger",
        "--initial-cluster",
        "n1=http://localhost:2380",
    ]);
    assert!(said.contains("does not name this member"), "{said}");
}

/// A backup of much costs a member little memory, whoever reads it slowly, and holds nobody up.
#[tokio::test]
async fn a_large_backup_takes_little_memory() {
    const VALUES: usize = 1000;
    const VALUE_BYTES: usize = 200_000;
    /// What a member may take on top while it makes 200 MB.
    const MORE_BYTES_MAX: u64 = 32 * 1024 * 1024;
    let target = alone(1).await;
    let mut client = target.client.clone();
    for n in 0..VALUES {
        let value = vec![b'a' + (n % 26) as u8; VALUE_BYTES];
        client
            .put(format!("{n:04}"), value, None)
            .await
            .expect("a put");
    }
    let own = target.own.as_ref().expect("it is this test's");
    let resident = || own.usage().resident_bytes;
    let before = resident();
    let mut backup = client.snapshot().await.expect("a snapshot");
    let (mut n_bytes, mut most, mut n_messages) = (0, before, 0);
    while let Some(piece) = backup.message().await.expect("a piece") {
        n_bytes += piece.blob().len();
        n_messages += 1;
        if n_messages % 100 == 0 {
            most = most.max(resident());
            // Others are served meanwhile.
            let put = client.put("meanwhile", "x", None);
            timeout(PATIENCE, put)
                .await
                .expect("in time")
                .expect("a put");
        }
    }
    assert!(
        n_bytes > VALUES * VALUE_BYTES && n_bytes < VALUES * VALUE_BYTES * 11 / 10,
        "{n_bytes}"
    );
    let more = most.saturating_sub(before);
    assert!(
        more < MORE_BYTES_MAX,
        "{more} bytes more for a backup of {n_bytes}"
    );
}
