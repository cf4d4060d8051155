//! The member under attack: TLS at both doors, users and roles on, one honest user.

use super::honest::{Line, field};
use crate::Failure;
use cluster::{Cluster, Place, Server, TempDir};
use pki::{Authority, Wish};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// In this time members must serve.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// The user whose requests must not suffer.
pub(super) const HONEST: &str = "honest";
/// Their password.
pub(super) const PASSWORD: &str = "a word that no stranger knows";
/// Where their keys are.
pub(super) const PREFIX: &str = "h/";
/// bcrypt's default, as operators have it.
const ROOT: &str = "root";

/// Members under TLS, with users.
pub(super) struct House {
    pub(super) cluster: Cluster,
    /// The authority's certificate: all that a stranger needs.
    pub(super) ca: PathBuf,
    /// For honest clients: HTTP/2 by ALPN.
    pub(super) tls: Arc<ClientConfig>,
    _folder: TempDir,
}

impl House {
    /// Starts `n` members and makes the users.
    pub(super) async fn build(command: &str, disk: &Path, n: usize) -> Result<House, Failure> {
        let folder = TempDir::under(&std::path::absolute(disk)?)?;
        let mut authority = Authority::new("quorate's test of strangers")?;
        let hosts = ["127.0.0.1", "localhost"];
        let wish = Wish {
            hosts: &hosts,
            ..Wish::default()
        };
        let (certificate, key) = authority.issue(&wish)?.write(folder.path(), "member")?;
        let ca = folder.path().join("ca.crt");
        pki::replace(&ca, &authority.pem())?;
        let (certificate, key) = (certificate.display(), key.display());
        let flags = [
            format!("--cert-file={certificate}"),
            format!("--key-file={key}"),
            format!("--peer-cert-file={certificate}"),
            format!("--peer-key-file={key}"),
            format!("--peer-trusted-ca-file={}", ca.display()),
            "--peer-client-cert-auth".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::new("quorate", command, folder.path())?.with(&flags);
        let places = (0..n)
            .map(|_| Place::loopback().map(Place::secured))
            .collect::<Result<Vec<_>, _>>()?;
        let cluster = Cluster::start_at(&server, &folder.path().join("data"), places)?;
        let tls = client_config(&ca, &[b"h2"])?;
        let house = House {
            cluster,
            ca,
            tls,
            _folder: folder,
        };
        match house.make_users().await {
            Ok(()) => Ok(house),
            Err(why) => Err(format!("{why}\n{}", house.cluster.last_words()).into()),
        }
    }

    /// Where clients of the first member come in; it is the one that is attacked.
    pub(super) fn client_door(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.cluster.members[0].place.client_port))
    }

    /// Where its fellow members come in.
    pub(super) fn peer_door(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.cluster.members[0].place.peer_port))
    }

    /// The process under attack.
    pub(super) fn pid(&self) -> Result<u32, Failure> {
        Ok(self.cluster.members[0]
            .pid()
            .ok_or("the member does not run")?)
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        !self.cluster.members[0].ends_within(Duration::ZERO)
    }

    async fn make_users(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let line = loop {
            match Line::open(self.client_door(), &self.tls).await {
                Ok(line) => break line,
                Err(why) if began.elapsed() > PATIENCE => {
                    return Err(format!("the member does not serve: {why}").into());
                }
                Err(_) => sleep(LOOK).await,
            }
        };
        let user = |name: &str| [field(1, name), field(2, PASSWORD)].concat();
        let grant = |name: &str, role: &str| [field(1, name), field(2, role)].concat();
        let range = [&[0x08, 2][..], &field(2, PREFIX), &field(3, "h0")].concat();
        for (method, message) in [
            ("UserAdd", user(ROOT)),
            ("RoleAdd", field(1, ROOT)),
            ("UserGrantRole", grant(ROOT, ROOT)),
            ("UserAdd", user(HONEST)),
            ("RoleAdd", field(1, HONEST)),
            (
                "RoleGrantPermission",
                [field(1, HONEST), field(2, range)].concat(),
            ),
            ("UserGrantRole", grant(HONEST, HONEST)),
            ("AuthEnable", Vec::new()),
        ] {
            let path = format!("/etcdserverpb.Auth/{method}");
            let asked = Instant::now();
            // The first ones may come before there is a leader.
            while let Err(why) = line.ask(&path, None, &message).await {
                if asked.elapsed() > PATIENCE {
                    return Err(format!("{method}: {why}").into());
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

/// TLS of a client that believes `ca` and shows nothing.
pub(super) fn client_config(ca: &Path, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
