//! Ten thousand connections that say nothing, at a door that speaks TLS (CVE-2026-73500 of etcd's).

use crate::rig::Rig;
use cluster::usage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const N_IDLE: usize = 10_000;
const RSS_GROWTH_MAX: u64 = 64 * 1024 * 1024;
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes of an honest client in one measurement.
const N_HONEST: usize = 100;
/// What a machine that does other things may add to a measurement.
const NOISE: Duration = Duration::from_millis(20);
const ROUNDS: usize = 3;

/// The 99th of 100: a handshake and a write.
async fn p99(rig: &Rig) -> Duration {
    let mut took = Vec::new();
    for n in 0..N_HONEST {
        let began = Instant::now();
        let client = rig.client(rig.tls(), None);
        client
            .put("/honest", n.to_string())
            .await
            .expect("an honest client is served");
        took.push(began.elapsed());
    }
    took.sort();
    took[N_HONEST * 99 / 100 - 1]
}

fn descriptors(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    assert!(enough, "the machine allows too few descriptors: {limit:?}");
    let raised = Rlimit {
        current: Some(wanted),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn connections_that_say_nothing_cost_next_to_nothing() {
    descriptors(N_IDLE as u64 + 1000);
    let rig = Rig::start(1);
    rig.served(&rig.tls()).await;
    let member = &rig.cluster.members[0];
    let address: SocketAddr = (
        member.place.host.parse::<std::net::IpAddr>().unwrap(),
        member.place.client_port,
    )
        .into();
    let rss = || usage(member.pid().unwrap()).unwrap().resident_bytes;
    p99(&rig).await;
    let mut said = Vec::new();
    for _ in 0..ROUNDS {
        let (calm, before) = (p99(&rig).await, rss());
        let began = Instant::now();
        let idle: Vec<TcpStream> = (0..N_IDLE)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let opened = began.elapsed();
        let stormy = p99(&rig).await;
        let growth = rss().saturating_sub(before);
        assert!(
            growth < RSS_GROWTH_MAX,
            "{growth} bytes for {N_IDLE} idle connections"
        );
        let last = Instant::now();
        for mut socket in idle {
            socket.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
            // An end, or a reset: both are one.
            let ended = socket.read(&mut [0; 16]);
            let is_closed = match &ended {
                Ok(n) => *n == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            assert!(
                is_closed,
                "a connection that says nothing is kept: {ended:?}"
            );
        }
        assert!(last.elapsed() < CLOSED_WITHIN, "all are closed in time");
        said.push(format!(
            "{N_IDLE} idle connections in {opened:.2?}: {} KiB more, closed within {:.1?}; \
             a handshake and a write: p99 {calm:.2?} before, {stormy:.2?} meanwhile",
            growth / 1024,
            opened + last.elapsed()
        ));
        if stormy <= 2 * calm + NOISE {
            println!("storm: {}", said.last().unwrap());
            return;
        }
    }
    panic!(
        "an honest client waits too long, each time:\n{}",
        said.join("\n")
    );
}
