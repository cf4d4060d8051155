//! Three members of the server that this build made, with links that a test holds.

use crate::{Links, Native};
use cluster::{Cluster, Place, Server, TempDir, free_port};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long something that must come true may take, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The members' own, as they are started here.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a member waits before it says that it has no answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// A running cluster of three.
pub struct World {
    /// Its processes.
    pub cluster: Cluster,
    links: Links,
    _folder: TempDir,
}

impl World {
    /// Starts it with further flags, and waits until each member serves.
    ///
    /// # Panics
    /// It does not serve.
    pub async fn start(flags: &[&str]) -> World {
        let folder = TempDir::new().expect("a temporary folder");
        let program = program().display().to_string();
        let server = Server::new("tested", &program, folder.path()).expect("the server's program");
        let places: Vec<Place> = (0..3).map(|_| place()).collect();
        let listeners = Links::bind(&places).await.expect("the ports are free");
        let cluster = Cluster::start_at(&server.with(flags), folder.path(), places.clone());
        let cluster = cluster.expect("the server starts");
        let processes: Vec<u32> = cluster.members.iter().filter_map(|it| it.pid()).collect();
        let world = World {
            links: Links::open(listeners, &places, &processes),
            cluster,
            _folder: folder,
        };
        for member in 0..3 {
            world.serves(member).await;
        }
        world
    }

    /// Waits until a member answers a linearizable read.
    ///
    /// # Panics
    /// It does not.
    pub async fn serves(&self, member: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let read = self.native(member).get("no-such-key", "linearizable").await;
            if read.is_ok() {
                return;
            }
            let last = self.cluster.last_words();
            assert!(
                Instant::now() < until,
                "{member} does not serve: {read:?}\n{last}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The native door of a member.
    pub fn native(&self, member: usize) -> Native {
        let place = &self.cluster.members[member].place;
        Native::new(&place.host, place.client_port)
    }

    /// The URL of a member's etcd door.
    pub fn endpoint(&self, member: usize) -> String {
        self.cluster.members[member].client_url()
    }

    /// Who leads, by position.
    ///
    /// # Panics
    /// Nobody does.
    pub async fn leader(&self) -> usize {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for member in 0..3 {
                if self.native(member).leads().await {
                    return member;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody leads\n{}", self.cluster.last_words());
    }

    /// A follower, and the leader.
    pub async fn follower_and_leader(&self) -> (usize, usize) {
        let leader = self.leader().await;
        ((leader + 1) % 3, leader)
    }

    /// Cuts a member off from its peers. Its clients still reach it.
    pub async fn cut(&self, member: usize) {
        self.links.cut(member).await;
    }

    /// Ends that.
    pub fn heal(&self, member: usize) {
        self.links.heal(member);
    }
}

fn place() -> Place {
    let mut place = Place::loopback().expect("two free ports");
    place.peer_port_behind = Some(free_port().expect("a free port"));
    place
}

/// The program under test: `QUORATE_TEST_SERVER`, else the `quorate` of this build.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("QUORATE_TEST_SERVER") {
        return program.into();
    }
    // target/debug/deps/levels-… → target/debug/quorate
    let own = std::env::current_exe().expect("the path of this test");
    let folder = own.parent().and_then(|deps| deps.parent());
    let built = folder.map(|folder| folder.join("quorate"));
    built
        .filter(|file| file.exists())
        .expect("no server to test: `cargo build -p quorate-cli` first, or set QUORATE_TEST_SERVER")
}
