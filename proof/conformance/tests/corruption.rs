//! A member whose keys are not those of the others, and whose files say that all is well: as after a bug, or after memory
//! that forgot a bit. The test writes such a member, by the pages about the formats (`docs/format/checkpoint.md` and
//! `snapshot.md`), and looks that the others find it, name it, and refuse to go on before somebody has looked.
//!
//! Of ours alone: these are our files.

use cluster::{Cluster, Member, Server, TempDir};
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, GetOptions, PutOptions, Txn, TxnOp,
};
use quorate_conformance::{PATIENCE, connect, eventually, new_place, program, refusal, serves};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const TRUE: &[u8] = b"what everybody decided";
const FALSE: &[u8] = b"what everybody derided";
const CORRUPT: &str = "etcdserver: corrupt cluster";

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The snapshot stream with another value in it, and all its sums right.
fn changed(stream: &[u8]) -> Vec<u8> {
    let (mut out, mut at, mut n_changed) = (Vec::new(), 0, 0);
    let mut hasher = Xxh3::new();
    while at < stream.len() {
        let end = at + 5 + u32_at(stream, at) as usize;
        let mut chunk = stream[at..end].to_vec();
        // Versions are chunks of kind 5.
        let found = chunk.windows(TRUE.len()).position(|it| it == TRUE);
        if let (5, Some(value)) = (chunk[4], found) {
            chunk[value..value + TRUE.len()].copy_from_slice(FALSE);
            n_changed += 1;
        }
        hasher.update(&chunk);
        out.extend(&chunk);
        out.extend(hasher.digest().to_le_bytes());
        at = end + 8;
    }
    assert_eq!(n_changed, 1, "the value is in the checkpoint");
    out
}

/// The same of a whole checkpoint: as long as it was, and sound by every sum.
fn corrupted(file: &[u8]) -> Vec<u8> {
    let first = u32_at(file, 16) as usize;
    let (mut at, mut lengths, mut stream) = (first, Vec::new(), Vec::new());
    loop {
        let length = u32_at(file, at) as usize;
        if length == 0 {
            break;
        }
        lengths.push(length);
        stream.extend(&file[at + 8..at + 8 + length]);
        at += 8 + length;
    }
    let stream = changed(&stream);
    let (mut out, mut rest) = (file[..first].to_vec(), &stream[..]);
    for (number, length) in lengths.iter().enumerate() {
        let (payload, after) = rest.split_at(*length);
        rest = after;
        let sum = crc32c::crc32c(&(number as u64).to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &(*length as u32).to_le_bytes());
        let sum = crc32c::crc32c_append(sum, payload);
        out.extend((*length as u32).to_le_bytes());
        out.extend(sum.to_le_bytes());
        out.extend(payload);
    }
    let mut end = vec![0; 8];
    end.extend((lengths.len() as u64).to_le_bytes());
    end.extend((out.len() as u64).to_le_bytes());
    end.extend(xxh3_64(&out).to_le_bytes());
    let sum = crc32c::crc32c(&end);
    end[4..8].copy_from_slice(&sum.to_le_bytes());
    out.extend(end);
    assert_eq!(out.len(), file.len());
    out
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Changes the value in the only checkpoint of a member that does not run.
fn corrupt(data: &Path) {
    let mut all = Vec::new();
    files(data, &mut all);
    let named = |name: &str| {
        let is_it = |path: &&PathBuf| {
            let file = path.file_name().expect("a name").to_string_lossy();
            file.starts_with(name)
        };
        all.iter().filter(is_it).cloned().collect::<Vec<_>>()
    };
    let checkpoints = named("checkpoint-");
    let newest = checkpoints.iter().max().expect("a checkpoint");
    let file = std::fs::read(newest).expect("it can be read");
    std::fs::write(newest, corrupted(&file)).expect("it is written");
    for older in checkpoints.iter().filter(|path| *path != newest) {
        std::fs::remove_file(older).expect("it goes");
    }
    // It knows the hash of the file. Without one it is made anew: each file proves itself.
    for manifest in named("manifest") {
        std::fs::remove_file(manifest).expect("it goes");
    }
}

/// Three members; the second has another value than the others and does not run.
struct Scene {
    cluster: Cluster,
    client: Client,
    wrong: u64,
    _folder: TempDir,
}

impl Scene {
    async fn new(flags: &[&str]) -> Scene {
        let folder = TempDir::new().expect("a folder");
        let program = program().display().to_string();
        let server = Server::new("tested", &program, folder.path()).expect("the server's program");
        let server = server.with(flags);
        let mut cluster = Cluster::start(&server, folder.path(), 3).expect("it starts");
        for member in &cluster.members {
            let url = member.client_url();
            assert!(serves(&url).await, "{}", cluster.last_words());
        }
        let mut client = connect(&[cluster.members[0].client_url()]).await;
        client.put("key", TRUE, None).await.expect("a put");
        let mut second = connect(&[cluster.members[1].client_url()]).await;
        assert_eq!(value(&mut second).await, TRUE);
        let status = second.status().await.expect("a status");
        let wrong = status.header().expect("a header").member_id();
        // A checkpoint of now, and nothing older.
        second
            .maintenance_client()
            .defragment()
            .await
            .expect("defragment");
        cluster.members[1].kill();
        corrupt(&cluster.members[1].data);
        Scene {
            cluster,
            client,
            wrong,
            _folder: folder,
        }
    }

    fn second(&mut self) -> &mut Member {
        &mut self.cluster.members[1]
    }

    /// Waits for the alarm, which is of the second member alone.
    async fn is_accused(&self) {
        let accused = eventually("the alarm is raised", || async {
            let accused = accused(&mut self.client.clone()).await;
            (!accused.is_empty()).then_some(accused)
        })
        .await;
        assert_eq!(accused, [self.wrong], "{}", self.cluster.last_words());
    }
}

async fn accused(client: &mut Client) -> Vec<u64> {
    let alarms = client.alarm(AlarmAction::Get, AlarmType::None, None).await;
    let alarms = alarms.expect("the alarms");
    let of_kind = |it: &etcd_client::AlarmMember| it.alarm() == AlarmType::Corrupt;
    assert!(alarms.alarms().iter().all(of_kind));
    alarms.alarms().iter().map(|it| it.member_id()).collect()
}

async fn value(client: &mut Client) -> Vec<u8> {
    let got = client.get("key", None).await.expect("a get");
    got.kvs()[0].value().to_vec()
}

#[tokio::test]
async fn a_corrupted_member_does_not_start_where_it_must_compare_first() {
    for flag in [
        "--feature-gates=InitialCorruptCheck=true",
        "--experimental-initial-corrupt-check=true",
    ] {
        let mut scene = Scene::new(&[flag]).await;
        scene.second().start().expect("it starts");
        let ended = scene.second().ends_within(PATIENCE);
        assert!(ended, "{}", scene.cluster.last_words());
        let words = "found data inconsistency with peers";
        let said = scene.second().said(words);
        assert!(!said.is_empty(), "{}", scene.cluster.last_words());
        assert!(scene.second().said("ready to serve client requests").len() == 1);
        // It harmed nobody.
        assert_eq!(accused(&mut scene.client).await, [0; 0]);
        scene.client.put("after", "1", None).await.expect("a put");
    }
}

#[tokio::test]
async fn a_corrupted_member_is_named_and_nothing_is_written_until_somebody_has_looked() {
    let mut scene = Scene::new(&["--corrupt-check-time=1s"]).await;
    scene.second().start().expect("it starts");
    scene.is_accused().await;

    // What changes anything is refused, by every member that is left.
    for member in [0, 2] {
        let endpoint = scene.cluster.members[member].client_url();
        let mut client = connect(&[endpoint]).await;
        let txn = Txn::new().and_then([TxnOp::put("key", "x", None)]);
        let refused = [
            refusal(client.put("key", "x", None::<PutOptions>).await),
            refusal(client.delete("key", None).await),
            refusal(client.txn(txn).await),
            refusal(client.lease_grant(60, None).await),
            refusal(client.compact(2, None).await),
        ];
        for (code, words) in refused {
            assert_eq!((code, &*words), (15, CORRUPT));
        }
        // What the others have can be read.
        assert_eq!(value(&mut client).await, TRUE);
        let local = GetOptions::new().with_serializable();
        let got = client.get("key", Some(local)).await.expect("a get");
        assert_eq!(got.kvs()[0].value(), TRUE);
    }

    // The one that was named finds it to be true, and is out.
    let ended = scene.second().ends_within(PATIENCE);
    assert!(ended, "{}", scene.cluster.last_words());
    let why = "its keys are not those of the other members";
    assert!(!scene.second().said(why).is_empty());
    scene.second().start().expect("it starts");
    let ended = scene.second().ends_within(PATIENCE);
    assert!(ended, "in quarantine: {}", scene.cluster.last_words());

    // As the guide says: removed, added anew with nothing, and the alarm taken back.
    let mut client = scene.client.clone();
    client.member_remove(scene.wrong).await.expect("removed");
    let place = new_place();
    eventually("the cluster takes a member", || async {
        let mut client = client.clone();
        client.member_add([place.peer_url()], None).await.ok()
    })
    .await;
    let mut initial = vec![format!("n4={}", place.peer_url())];
    for member in [0, 2].map(|at| &scene.cluster.members[at]) {
        initial.push(format!("{}={}", member.name, member.place.peer_url()));
    }
    let mut joined = scene
        .cluster
        .member("n4", place, &initial.join(","), "existing");
    joined.start().expect("it starts");
    let mut options = AlarmOptions::new();
    options.with_member(scene.wrong);
    let disarmed = client.alarm(AlarmAction::Deactivate, AlarmType::Corrupt, Some(options));
    disarmed.await.expect("disarmed");
    client.put("after", "1", None).await.expect("a put");
    assert!(
        serves(&joined.client_url()).await,
        "{}",
        joined.last_words(20)
    );
    let mut at_joined = connect(&[joined.client_url()]).await;
    assert_eq!(value(&mut at_joined).await, TRUE);
    assert_eq!(accused(&mut client).await, [0; 0]);
}

#[tokio::test]
async fn a_corrupted_member_is_named_by_its_hash_of_a_compaction() {
    let mut scene = Scene::new(&[
        "--feature-gates=CompactHashCheck=true",
        "--compact-hash-check-time=1s",
    ])
    .await;
    scene.second().start().expect("it starts");
    let url = scene.second().client_url();
    assert!(serves(&url).await, "{}", scene.cluster.last_words());
    // Nobody compares what nobody compacts: it serves what it has.
    let mut second = connect(&[url]).await;
    assert_eq!(value(&mut second).await, FALSE);
    let put = scene.client.put("other", "1", None).await.expect("a put");
    let revision = put.header().expect("a header").revision();
    scene.client.compact(revision, None).await.expect("compact");
    scene.is_accused().await;
    let ended = scene.second().ends_within(PATIENCE);
    assert!(ended, "{}", scene.cluster.last_words());
}
