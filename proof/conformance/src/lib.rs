//! Where the conformance tests find a server: a running cluster, or one that they start.
//!
//! ```text
//!   QUORATE_TEST_ENDPOINTS=http://…,http://…   a cluster that runs and that nobody else uses
//!   QUORATE_TEST_SERVER=/usr/bin/etcd          a program with etcd's flags, started on loopback
//!   (neither)                                  the `quorate` that this build made
//! ```
//!
//! The tests themselves are in `tests/conformance`: one for every public method of the public `etcd-client`
//! crate, held complete by `methods.txt` and `coverage.rs`. They know nothing of our code. They pass on the
//! real etcd, which shows that they ask for etcd's behaviour and not for ours.
//!
//! Most tests share one cluster of three members and keep to keys of their own. Those that change what all see
//! (members, compaction, auth, alarms, the leader) get a cluster of their own; on a given cluster they run alone.

use cluster::{Cluster, Place, Server, TempDir};
use etcd_client::{Client, ConnectOptions, Error, GetOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::{Duration, Instant};

/// How long something that must come true may take, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster that a test uses.
pub struct Target {
    /// A client: of one member where the cluster is shared, else of all.
    pub client: Client,
    /// The client URLs of all members.
    pub endpoints: Vec<String>,
    /// The cluster, if this test started it for itself.
    pub own: Option<Cluster>,
    _folder: Option<TempDir>,
    _guard: Option<Guard>,
}

/// On a given cluster, tests of one kind share it and those of the other have it alone.
enum Guard {
    Shared {
        _lock: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _lock: RwLockWriteGuard<'static, ()>,
    },
}

static GIVEN: RwLock<()> = RwLock::new(());

impl Target {
    /// A client of one member.
    ///
    /// # Panics
    /// It cannot be reached.
    pub async fn at(&self, member: usize) -> Client {
        connect(&self.endpoints[member..=member]).await
    }
}

/// The cluster of three members that tests share. Keep to keys that begin with the test's name.
///
/// # Panics
/// There is no server to test, or it does not serve.
pub async fn shared() -> Target {
    let (endpoints, guard) = match given() {
        Some(endpoints) => {
            let lock = GIVEN.read().unwrap_or_else(PoisonError::into_inner);
            (endpoints, Some(Guard::Shared { _lock: lock }))
        }
        None => (started().to_vec(), None),
    };
    let mut target = target(endpoints, None, None, guard).await;
    // One member for one test, each in turn: at another member than the one that answered a put, a watch
    // from now on may still begin before it, in etcd as in ours.
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let member = TURN.fetch_add(1, Ordering::Relaxed) % target.endpoints.len();
    target.client = target.at(member).await;
    target
}

/// A cluster of `n` new members for one test alone.
///
/// # Panics
/// There is no server to test, or it does not serve.
pub async fn alone(n: usize) -> Target {
    alone_with(n, &[]).await
}

/// As [`alone`], with further flags for the server (which a given cluster does not have).
///
/// # Panics
/// There is no server to test, or it does not serve.
pub async fn alone_with(n: usize, flags: &[&str]) -> Target {
    if let Some(endpoints) = given() {
        let lock = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
        return target(endpoints, None, None, Some(Guard::Alone { _lock: lock })).await;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let cluster = Cluster::start(&server(folder.path()).with(flags), folder.path(), n)
        .expect("the server starts");
    target(cluster.endpoints(), Some(cluster), Some(folder), None).await
}

/// One new member of another program with etcd's flags, for one test alone: what the real etcd answers.
///
/// # Panics
/// It does not serve.
pub async fn another(program: &std::path::Path) -> Target {
    let folder = TempDir::new().expect("a temporary folder");
    let program = program.display().to_string();
    let server = Server::new("another", &program, folder.path()).expect("the server's program");
    let cluster = Cluster::start(&server, folder.path(), 1).expect("the server starts");
    target(cluster.endpoints(), Some(cluster), Some(folder), None).await
}

async fn target(
    endpoints: Vec<String>,
    own: Option<Cluster>,
    folder: Option<TempDir>,
    guard: Option<Guard>,
) -> Target {
    for endpoint in &endpoints {
        if !serves(endpoint).await {
            let last = own.as_ref().map(Cluster::last_words).unwrap_or_default();
            panic!("{endpoint} does not serve within {PATIENCE:?}\n{last}");
        }
    }
    let client = connect(&endpoints).await;
    Target {
        client,
        endpoints,
        own,
        _folder: folder,
        _guard: guard,
    }
}

/// A client of these endpoints.
///
/// # Panics
/// It cannot be made.
pub async fn connect(endpoints: &[String]) -> Client {
    let options = ConnectOptions::new().with_timeout(PATIENCE);
    Client::connect(endpoints, Some(options))
        .await
        .expect("a client")
}

/// Whether an endpoint answers a get within [`PATIENCE`].
pub async fn serves(endpoint: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let one = async {
            let options = ConnectOptions::new().with_timeout(Duration::from_secs(2));
            let mut client = Client::connect([endpoint], Some(options)).await.ok()?;
            client.get("no-such-key", None::<GetOptions>).await.ok()
        };
        if one.await.is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Asks until the answer is there, at most for [`PATIENCE`].
///
/// # Panics
/// It does not come.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within {PATIENCE:?}: {what}");
}

/// The gRPC code and the message of a refusal.
///
/// # Panics
/// The call succeeded, or failed by something else than the server's answer.
#[track_caller]
pub fn refusal<T>(result: Result<T, Error>) -> (i32, String) {
    match result {
        Ok(_) => panic!("the call succeeded; a refusal was wanted"),
        Err(Error::GRpcStatus(status)) => (status.code() as i32, status.message().to_owned()),
        Err(other) => panic!("not an answer of the server: {other}"),
    }
}

/// gRPC's codes, as far as the tests name them.
pub mod code {
    #![allow(missing_docs)]
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const UNAVAILABLE: i32 = 14;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
}

/// A further member for a cluster that the test started.
///
/// # Panics
/// No free port.
pub fn new_place() -> Place {
    Place::loopback().expect("two free ports")
}

/// Whether the server under test is ours (`methods.txt` says which methods it does not have yet).
/// `QUORATE_TEST_IS=etcd` says that a given cluster is the real thing.
pub fn is_ours() -> bool {
    match std::env::var("QUORATE_TEST_IS") {
        Ok(name) => name != "etcd",
        Err(_) if given().is_some() => true,
        Err(_) => std::fs::canonicalize(program())
            .is_ok_and(|file| file.file_name().is_some_and(|name| name != "etcd")),
    }
}

fn given() -> Option<Vec<String>> {
    let endpoints = std::env::var("QUORATE_TEST_ENDPOINTS").ok()?;
    Some(endpoints.split(',').map(str::to_owned).collect())
}

/// The program under test.
///
/// # Panics
/// There is none.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("QUORATE_TEST_SERVER") {
        return program.into();
    }
    // target/debug/deps/conformance-… → target/debug/quorate
    let own = std::env::current_exe().expect("the path of this test");
    let built = own
        .parent()
        .and_then(|deps| deps.parent())
        .map(|dir| dir.join("quorate"));
    built.filter(|file| file.exists()).expect(
        "no server to test: `cargo build -p quorate-cli` first, or set QUORATE_TEST_SERVER to a program \
         with etcd's flags, or QUORATE_TEST_ENDPOINTS to a running cluster",
    )
}

/// A program of the real etcd of the release that we emulate, built from its Go module if it is not there yet.
///
/// # Panics
/// It cannot be built.
pub fn peer(name: &str) -> PathBuf {
    // target/debug/deps/users-… → target/peers
    let own = std::env::current_exe().expect("the path of this test");
    let target = own.ancestors().nth(3).expect("a target folder");
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/build");
        let built = Command::new(script)
            .env("CARGO_TARGET_DIR", target)
            .output();
        let built = built.expect("proof/peers/build");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "proof/peers/build failed: {said}");
    });
    target.join("peers").join(name)
}

fn server(links: &std::path::Path) -> Server {
    let program = program();
    Server::new("tested", &program.display().to_string(), links).expect("the server's program")
}

static STARTED: OnceLock<(Mutex<Cluster>, Vec<String>)> = OnceLock::new();

/// The shared cluster. It is a static, which nobody drops, so a guardian ends it with this process.
fn started() -> &'static [String] {
    let (_, endpoints) = STARTED.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("quorate-shared-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let cluster = Cluster::start(&server(&folder), &folder, 3).expect("the server starts");
        cluster.end_with_this_process().expect("a guardian");
        let endpoints = cluster.endpoints();
        (Mutex::new(cluster), endpoints)
    });
    endpoints
}

/// The logs of the shared cluster, for a failure that must explain itself.
pub fn shared_last_words() -> String {
    let Some((cluster, _)) = STARTED.get() else {
        return String::new();
    };
    let cluster: MutexGuard<'_, Cluster> = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.last_words()
}
