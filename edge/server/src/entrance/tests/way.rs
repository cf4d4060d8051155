//! Every way out, to a member that shows the wrong certificate: links and joiners go by `connect`, snapshots by
//! `connect_blocking`, and there is no third.

use super::*;
use crate::config::{TlsPolicy, TransportSecurity};
use crate::entrance::{Entrance, Porter};
use crate::identity::{Listen, ListenAt};
use crate::tls::Side;
use pki::{Authority, Use, Wish};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MEMBER: Wish<'_> = Wish {
    cn: Some("member"),
    hosts: &["127.0.0.1"],
    purpose: Use::Both,
    good: pki::Good::Now,
};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a member is told that shows this.
fn security(ca: &mut Authority, folder: &Path, name: &str, wish: &Wish<'_>) -> Arc<Security> {
    let (cert, key) = ca.issue(wish).unwrap().write(folder, name).unwrap();
    let asked = TransportSecurity {
        cert_file: Some(cert),
        key_file: Some(key),
        trusted_ca_file: Some(folder.join("ca.crt")),
        ..TransportSecurity::default()
    };
    let opened = Security::open(Side::Peer, &asked, &TlsPolicy::default(), folder, &[]);
    opened.unwrap().unwrap()
}

/// A door that says back what is said, until the runtime ends.
fn echo(security: &Arc<Security>, porter: &Porter) -> Url {
    let listen = Listen {
        at: ListenAt::Tcp(([127, 0, 0, 1], 0).into()),
        is_tls: true,
    };
    let (mut entrance, listen) = Entrance::bind(&listen, Some(security), porter).unwrap();
    tokio::task::spawn_local(async move {
        while let Ok(mut visitor) = entrance.accept().await {
            tokio::task::spawn_local(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = visitor.socket.read(&mut bytes).await {
                    visitor.socket.write_all(&bytes[..n]).await.unwrap();
                    visitor.socket.flush().await.unwrap();
                }
            });
        }
    });
    Url::parse(&format!("https://{listen}")).unwrap()
}

#[test]
fn no_way_out_believes_a_certificate_for_another() {
    let name = format!("quorate-way-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let path = folder.0.clone();
    std::fs::create_dir_all(&path).unwrap();
    let mut ca = Authority::new("ca").unwrap();
    std::fs::write(path.join("ca.crt"), ca.pem()).unwrap();
    let way = Way::new(Some(security(&mut ca, &path, "own", &MEMBER)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let porter = Porter::default();
        let good = security(&mut ca, &path, "good", &MEMBER);
        let at = echo(&good, &porter);
        let long: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let socket = way.connect(&at).await.unwrap();
        assert_eq!(said_back(socket, &long).await, long);
        assert_eq!(said_back_blocking(&way, &at, &long).await.unwrap(), long);

        let hosts: &[&str] = &["127.0.0.2", "m1.example"];
        for (what, wish) in [
            ("for another host", Wish { hosts, ..MEMBER }),
            (
                "for clients",
                Wish {
                    purpose: Use::Client,
                    ..MEMBER
                },
            ),
            (
                "expired",
                Wish {
                    good: pki::Good::Before,
                    ..MEMBER
                },
            ),
        ] {
            let wrong = security(&mut ca, &path, "wrong", &wish);
            let at = echo(&wrong, &porter);
            assert!(way.connect(&at).await.is_err(), "{what}");
            assert!(said_back_blocking(&way, &at, b"x").await.is_err(), "{what}");
        }
        let plain = Url::parse(&at.to_string().replace("https", "http")).unwrap();
        let mut socket = way.connect(&plain).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(
            !answer.starts_with(b"GET"),
            "nothing is said in the clear where TLS is"
        );
        // Without an authority nobody is called.
        let refused = Way::default()
            .connect(&at)
            .await
            .expect_err("nobody is believed");
        assert!(
            refused.to_string().contains("--peer-trusted-ca-file"),
            "{refused}"
        );
    });
}

async fn said_back(mut socket: Socket, bytes: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; bytes.len()];
    let (mut written, mut read) = (0, 0);
    while read < bytes.len() {
        if written < bytes.len() {
            let part = &bytes[written..(written + 20_000).min(bytes.len())];
            socket.write_all(part).await.unwrap();
            socket.flush().await.unwrap();
            written += part.len();
        }
        let n = socket.read(&mut answer[read..]).await.unwrap();
        assert!(n > 0, "it ends early");
        read += n;
    }
    answer
}

async fn said_back_blocking(way: &Way, at: &Url, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (way, at, bytes) = (way.clone(), at.clone(), bytes.to_vec());
    let asking = tokio::task::spawn_blocking(move || {
        let timeout = Duration::from_secs(10);
        let mut socket = way.connect_blocking(&at, timeout, timeout)?;
        let mut answer = Vec::new();
        for part in bytes.chunks(20_000) {
            socket.write_all(part)?;
            let mut back = vec![0; part.len()];
            socket.read_exact(&mut back)?;
            answer.extend(back);
        }
        Ok(answer)
    });
    asking.await.unwrap()
}
