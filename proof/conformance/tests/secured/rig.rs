//! Members on loopback that speak TLS.

use client::{Client, Tls};
use cluster::{Cluster, Place, Server, TempDir};
use pki::{Authority, Use, Wish};
use quorate_conformance::{PATIENCE, program};
use std::path::Path;
use std::time::{Duration, Instant};

/// A cluster, the folder with its certificates, and who signed them.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) ca: Authority,
    pub(crate) folder: TempDir,
}

impl Rig {
    /// `n` members that ask everybody for a certificate, and one for a client.
    pub(crate) fn start(n: usize) -> Rig {
        let folder = TempDir::new().unwrap();
        let mut ca = Authority::new("ca").unwrap();
        std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        issue(&mut ca, folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let flags = [
            ("--cert-file", file("member.crt")),
            ("--key-file", file("member.key")),
            ("--trusted-ca-file", file("ca.crt")),
            ("--client-cert-auth", "true".to_owned()),
            ("--peer-cert-file", file("member.crt")),
            ("--peer-key-file", file("member.key")),
            ("--peer-trusted-ca-file", file("ca.crt")),
            ("--peer-client-cert-auth", "true".to_owned()),
        ]
        .map(|(flag, value)| format!("{flag}={value}"));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::new("secured", program().to_str().unwrap(), folder.path());
        let server = server.unwrap().with(&flags);
        let places = (0..n).map(|_| Place::loopback().unwrap().secured());
        let cluster = Cluster::start_at(&server, &folder.path().join("data"), places.collect());
        let cluster = cluster.unwrap();
        Rig {
            cluster,
            ca,
            folder,
        }
    }

    /// What a client of it believes and shows.
    pub(crate) fn tls(&self) -> Tls {
        let folder = self.folder.path();
        Tls::new()
            .cacert(folder.join("ca.crt"))
            .identity(folder.join("client.crt"), folder.join("client.key"))
    }

    /// A client of one member, or of all.
    pub(crate) fn client(&self, tls: Tls, member: Option<usize>) -> Client {
        let endpoints = self.cluster.endpoints();
        let endpoints = match member {
            Some(member) => vec![endpoints[member].clone()],
            None => endpoints,
        };
        let client = Client::builder().endpoints(endpoints).tls(tls);
        client.connect_lazily().unwrap()
    }

    /// Waits until every member serves whoever believes and shows this.
    pub(crate) async fn served(&self, tls: &Tls) {
        for member in 0..self.cluster.members.len() {
            let began = Instant::now();
            loop {
                let told = match self.client(tls.clone(), Some(member)).get("/served").await {
                    Ok(_) => break,
                    Err(error) => error,
                };
                let words = || format!("{told}\n{}", self.cluster.last_words());
                assert!(began.elapsed() < PATIENCE, "{}", words());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Certificates for a member and for a client.
pub(crate) fn issue(ca: &mut Authority, folder: &Path) {
    let member = Wish {
        cn: Some("member"),
        hosts: &["127.0.0.1", "localhost"],
        ..Wish::default()
    };
    ca.issue(&member).unwrap().write(folder, "member").unwrap();
    let client = Wish {
        cn: Some("client"),
        purpose: Use::Client,
        ..Wish::default()
    };
    ca.issue(&client).unwrap().write(folder, "client").unwrap();
}
