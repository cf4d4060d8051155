//! Flags whose effect shows outside: each is tried on the server under test and on the real etcd, which must agree.

use cluster::{Cluster, Server, TempDir};
use etcd_client::{Client, ConnectOptions};
use quorate_conformance::{PATIENCE, connect, eventually, peer, program, serves};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// One member with these flags, which serves.
async fn started(program: &Path, flags: &[&str]) -> (Cluster, TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let name = program.to_str().expect("a path of letters");
    let server = Server::new("tested", name, folder.path()).expect("the server's program");
    let cluster = Cluster::start(&server.with(flags), folder.path(), 1).expect("it starts");
    let endpoint = cluster.endpoints().remove(0);
    assert!(serves(&endpoint).await, "{}", cluster.last_words());
    (cluster, folder, endpoint)
}

/// A call that takes longer is told, with what it was about and never with what it carried.
#[tokio::test]
async fn slow_calls_are_told() {
    for program in [program(), peer("etcd")] {
        let flags = ["--warning-unary-request-duration=1ns"];
        let (cluster, _folder, endpoint) = started(&program, &flags).await;
        let mut client = connect(&[endpoint]).await;
        client.put("slow-key", "canary", None).await.expect("put");
        client
            .user_add("slow-user", "canary", None)
            .await
            .expect("a user");
        for path in ["/etcdserverpb.KV/Put", "/etcdserverpb.Auth/UserAdd"] {
            let line = eventually("the call is told", || async {
                let lines = cluster.members[0].said("\"msg\":\"request stats\"");
                lines.into_iter().find(|line| line.contains(path))
            })
            .await;
            for part in [
                "{\"level\":\"warn\"",
                "\"time spent\":\"",
                "\"remote\":\"127.0.0.1:",
                "\"request size\":",
                "\"response size\":",
            ] {
                assert!(line.contains(part), "{part}: {line}");
            }
            assert_eq!(line.contains("slow-key"), path.ends_with("Put"), "{line}");
        }
        assert!(cluster.members[0].said("canary").is_empty());

        let (cluster, _folder, endpoint) =
            started(&program, &["--warning-unary-request-duration=1h"]).await;
        let mut client = connect(&[endpoint]).await;
        client.put("slow-key", "1", None).await.expect("put");
        client
            .user_add("slow-user", "1", None)
            .await
            .expect("a user");
        assert!(cluster.members[0].said("request stats").is_empty());
    }
}

/// What the server says of itself as an HTTP/2 connection begins: setting 3 is how many streams it takes at once.
fn streams_of(endpoint: &str) -> u32 {
    let address = endpoint.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .expect("it listens");
    socket.write_all(&settings).expect("it listens");
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; length as usize];
        socket.read_exact(&mut body).expect("its payload");
        if (head[3], head[4]) == (4, 0) {
            let mut settings = body.chunks_exact(6);
            let streams = settings
                .find(|it| it[..2] == [0, 3])
                .expect("it is bounded");
            return u32::from_be_bytes([streams[2], streams[3], streams[4], streams[5]]);
        }
    }
}

#[tokio::test]
async fn a_connection_has_as_many_streams_as_are_configured() {
    for program in [program(), peer("etcd")] {
        let (_cluster, _folder, endpoint) =
            started(&program, &["--max-concurrent-streams=7"]).await;
        assert_eq!(streams_of(&endpoint), 7, "{}", program.display());
    }
}

/// The hash of a password names its cost, and a backup holds the hash.
#[tokio::test]
async fn passwords_are_hashed_at_the_configured_cost() {
    for program in [program(), peer("etcd")] {
        let (_cluster, folder, endpoint) = started(&program, &["--bcrypt-cost=5"]).await;
        let mut client = connect(std::slice::from_ref(&endpoint)).await;
        client.user_add("ann", "word", None).await.expect("a user");
        let file = folder.path().join("backup.db");
        let saved = Command::new(peer("etcdctl"))
            .args(["--endpoints", &endpoint, "snapshot", "save"])
            .arg(&file)
            .output()
            .expect("etcdctl");
        assert!(saved.status.success(), "{saved:?}");
        let backup = std::fs::read(&file).expect("the backup");
        let costs = backup.windows(7).filter(|it| it.starts_with(b"$2a$"));
        let costs: Vec<_> = costs.map(|it| it[4..].to_vec()).collect();
        assert!(!costs.is_empty(), "{}", program.display());
        assert!(costs.iter().all(|cost| cost == b"05$"), "{costs:?}");
    }
}

/// A simple token lives as long as it is used, and for the configured time after.
#[tokio::test]
async fn a_token_that_nobody_uses_is_over_after_its_time() {
    for program in [program(), peer("etcd")] {
        let (_cluster, _folder, endpoint) =
            started(&program, &["--auth-token-ttl=1", "--bcrypt-cost=4"]).await;
        let mut client = connect(std::slice::from_ref(&endpoint)).await;
        client.user_add("root", "word", None).await.expect("root");
        client.user_grant_role("root", "root").await.expect("grant");
        client.auth_enable().await.expect("enable");
        // Each asks once, one after the other, each later than the one before.
        let mut sessions = Vec::new();
        for _ in 0..60 {
            let options = ConnectOptions::new().with_user("root", "word");
            let client = Client::connect([&endpoint], Some(options)).await;
            sessions.push(client.expect("root is let in"));
        }
        let mut words = None;
        while let (None, Some(mut client)) = (&words, sessions.pop()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            words = client
                .get("a", None)
                .await
                .err()
                .map(|error| error.to_string());
        }
        let words = words.expect("a token is over");
        assert!(words.contains("etcdserver: invalid auth token"), "{words}");
    }
}
