//! TLS: what a member shows, whom it believes, and how both change while it runs.
//!
//! ```text
//!   config::TransportSecurity ─► Security::open ──┐   one for each door: clients, members
//!                                                 ▼
//!        files.rs  what is in the files ─► build.rs ─► server(): for whoever comes in (door/porter.rs)
//!           ▲                                │     └─► client(): for the way out       (door/way.rs)
//!           └── looked at again ─────────────┘
//!
//!   verify.rs       who is believed: signed by the CA, not revoked, of an allowed name
//!   certificate.rs  the names in a certificate
//!   suites.rs       versions and cipher suites by Go's names
//!   made.rs         a certificate for `--auto-tls`
//! ```
//!
//! All listeners of a door and all ways out of it share one [`Security`], so no rule holds on one and not on another
//! (etcd's CRL did, GHSA-3wh4). Its files are looked at again when somebody shakes hands, at most every
//! [`LOOK_EVERY`]: certificates, keys, CAs and revocations alike. What cannot be used is said once, and what was there
//! before stays in force. Connections that stand are not touched.
//!
//! Sessions are not resumed: a resumed one would not show its certificate again, and outlive its revocation.

mod build;
mod certificate;
mod files;
mod made;
mod suites;
mod verify;

use crate::config::{TlsPolicy, TransportSecurity};
use base::Chain;
use build::Built;
use files::{Files, Material, Print};
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

pub use certificate::Certificate;
pub(crate) use made::self_signed;
pub(crate) use verify::Refused;

/// The pause between two looks at the files: "within a second" has room for a look and for what it costs.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Which door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// That of clients.
    Client,
    /// That of members.
    Peer,
}

impl Side {
    /// A flag of that side.
    pub(crate) fn flag(self, name: &str) -> String {
        match self {
            Side::Client => format!("--{name}"),
            Side::Peer => format!("--peer-{name}"),
        }
    }

    /// The directory of certificates made here, under `fixtures`.
    fn fixtures(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Peer => "peer",
        }
    }
}

/// Why TLS cannot be had as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything that belongs there.
    #[error("{path} has more than {} bytes", files::FILE_BYTES_MAX)]
    TooLarge {
        /// Which.
        path: String,
    },
    /// A file has other contents than it should.
    #[error("{path} has no {what} in PEM")]
    Nothing {
        /// Which.
        path: String,
        /// What it should have.
        what: &'static str,
    },
    /// Something in a file is not understood.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key, or the rules, do not fit together.
    #[error("{path}")]
    Rustls {
        /// The certificate's file.
        path: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Flags that do not fit together.
    #[error("{0}")]
    Flags(String),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// A certificate that was made cannot be kept.
    #[error("cannot write {path}")]
    Write {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What does not change while a member runs.
#[derive(Clone, Debug)]
struct Rules {
    side: Side,
    files: Files,
    /// Callers must show a certificate that is believed.
    asks_callers: bool,
    /// Who is called is not looked at: everybody has made a certificate of their own.
    believes_anybody: bool,
    allowed_cns: Vec<String>,
    allowed_hostnames: Vec<String>,
    skips_callers_names: bool,
    offer: suites::Offer,
}

/// TLS of one door.
#[derive(Debug)]
pub struct Security {
    rules: Rules,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    built: Built,
    looked_at: Instant,
    /// The files as they were at the last look.
    prints: Vec<Print>,
    /// What was in them then, whether it could be used or not.
    digest: u64,
}

impl Security {
    /// Reads everything, and makes a certificate in `data_dir` for `hosts` if that is asked for. Nothing when there is
    /// nothing to show.
    ///
    /// # Errors
    /// What was asked for cannot be had.
    pub(crate) fn open(
        side: Side,
        asked: &TransportSecurity,
        policy: &TlsPolicy,
        data_dir: &Path,
        hosts: &[String],
    ) -> Result<Option<Arc<Security>>, TlsError> {
        let Some(rules) = Rules::new(side, asked, policy, data_dir, hosts)? else {
            return Ok(None);
        };
        let prints = rules.files.prints();
        let material = Material::read(&rules.files)?;
        let built = Built::new(&rules, &material)?;
        let loaded = Loaded {
            built,
            looked_at: Instant::now(),
            prints,
            digest: material.digest(),
        };
        Ok(Some(Arc::new(Security {
            rules,
            loaded: Mutex::new(loaded),
        })))
    }

    /// What is shown to whoever comes in, of the files as they are now.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.with_newest(|built| built.server.clone())
    }

    /// What is shown on the way out, and who is believed there; nothing when there is nobody to believe.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.with_newest(|built| built.client.clone())
    }

    /// Whether a caller's certificate must be one of a member, by its names.
    pub(crate) fn checks_callers_names(&self) -> bool {
        self.rules.asks_callers && !self.rules.skips_callers_names
    }

    /// Whether the operator has said by name who may call.
    pub(crate) fn names_callers(&self) -> bool {
        !self.rules.allowed_cns.is_empty() || !self.rules.allowed_hostnames.is_empty()
    }

    fn with_newest<T>(&self, take: impl FnOnce(&Built) -> T) -> T {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked_at.elapsed() >= LOOK_EVERY {
            loaded.looked_at = Instant::now();
            loaded.look(&self.rules);
        }
        take(&loaded.built)
    }
}

impl Loaded {
    /// Takes over what has changed.
    fn look(&mut self, rules: &Rules) {
        // Before the reading: what is written meanwhile is seen the next time.
        let prints = rules.files.prints();
        if prints == self.prints && !prints.iter().any(Print::is_young) {
            return;
        }
        let is_news = prints != self.prints;
        self.prints = prints;
        let read = Material::read(&rules.files);
        let digest = read.as_ref().map_or(0, Material::digest);
        if digest == self.digest && (digest != 0 || !is_news) {
            return;
        }
        self.digest = digest;
        let files = rules.files.names();
        match read.and_then(|material| Built::new(rules, &material)) {
            Ok(built) => {
                self.built = built;
                info!(
                    files,
                    "TLS: the files have changed and are used from now on"
                );
            }
            Err(wrong) => error!(
                files,
                error = %Chain(&wrong),
                "TLS: the files have changed and cannot be used; what was there before stays in force"
            ),
        }
    }
}

impl Rules {
    fn new(
        side: Side,
        asked: &TransportSecurity,
        policy: &TlsPolicy,
        data_dir: &Path,
        hosts: &[String],
    ) -> Result<Option<Rules>, TlsError> {
        check_pairs(side, asked)?;
        let Some((cert, key, is_made)) = certificate_files(side, asked, policy, data_dir, hosts)?
        else {
            return Ok(None);
        };
        let trusted_ca = asked.trusted_ca_file.clone().filter(|_| !is_made);
        if asked.client_cert_auth && trusted_ca.is_none() && !is_made {
            let text = format!(
                "{} needs {}: nobody's signature is believed unless it is given",
                side.flag("client-cert-auth"),
                side.flag("trusted-ca-file")
            );
            return Err(TlsError::Flags(text));
        }
        if !asked.allowed_cns.is_empty() && !asked.allowed_hostnames.is_empty() {
            // etcd's words.
            let text = format!(
                "AllowedCN and AllowedHostname are mutually exclusive (cns={:?}, hostnames={:?})",
                asked.allowed_cns, asked.allowed_hostnames
            );
            return Err(TlsError::Flags(text));
        }
        Ok(Some(Rules {
            side,
            asks_callers: trusted_ca.is_some(),
            believes_anybody: is_made,
            files: Files {
                client_cert: asked.client_cert_file.clone(),
                client_key: asked.client_key_file.clone(),
                crl: asked.crl_file.clone().filter(|_| trusted_ca.is_some()),
                trusted_ca,
                cert,
                key,
            },
            allowed_cns: asked.allowed_cns.clone(),
            allowed_hostnames: asked.allowed_hostnames.clone(),
            skips_callers_names: asked.skip_client_san_verification,
            offer: suites::Offer::new(policy)?,
        }))
    }
}

/// etcd's rules about files that come in pairs, in its words.
fn check_pairs(side: Side, asked: &TransportSecurity) -> Result<(), TlsError> {
    let text = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or_else(String::new, |path| path.display().to_string())
    };
    if asked.cert_file.is_some() != asked.key_file.is_some() {
        return Err(TlsError::Flags(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]: {} and {}",
            text(&asked.key_file),
            text(&asked.cert_file),
            side.flag("key-file"),
            side.flag("cert-file"),
        )));
    }
    if asked.client_cert_file.is_some() != asked.client_key_file.is_some() {
        return Err(TlsError::Flags(format!(
            "ClientKeyFile and ClientCertFile must both be present or both absent: \
             key: {}, cert: {}",
            text(&asked.client_key_file),
            text(&asked.client_cert_file),
        )));
    }
    Ok(())
}

/// Where certificate and key are, and whether they were made here.
fn certificate_files(
    side: Side,
    asked: &TransportSecurity,
    policy: &TlsPolicy,
    data_dir: &Path,
    hosts: &[String],
) -> Result<Option<(PathBuf, PathBuf, bool)>, TlsError> {
    if let (Some(cert), Some(key)) = (&asked.cert_file, &asked.key_file) {
        if asked.auto_tls {
            warn!(
                flag = side.flag("auto-tls"),
                "ignoring auto TLS since certs are given"
            );
        }
        return Ok(Some((cert.clone(), key.clone(), false)));
    }
    if !asked.auto_tls {
        return Ok(None);
    }
    if asked.trusted_ca_file.is_some() || asked.client_cert_auth {
        warn!(
            flag = side.flag("auto-tls"),
            "certificates are made by everybody for themselves: no CA is looked at, and nobody is asked for one"
        );
    }
    let dir = data_dir.join("fixtures").join(side.fixtures());
    let (cert, key) = self_signed(&dir, hosts, policy.self_signed_years)?;
    if side == Side::Peer {
        warn!(
            "--peer-auto-tls: members are not told from others by their certificates; \
             traffic between them is encrypted, and not authenticated"
        );
    }
    Ok(Some((cert, key, true)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "tests/mod.rs"]
mod tests;
