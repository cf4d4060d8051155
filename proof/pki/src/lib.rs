//! Certificates for tests: an authority, what it signs (good or bad on purpose), and what it takes back.
//!
//! ```text
//!   Authority::new ── issue(&Wish) ──► Issued { certificate, key }      write(folder, name): NAME.crt, NAME.key
//!        │                                  │
//!        └── revoke(&issued) ── crl() ──► PEM
//! ```
//!
//! Deliberately absent: intermediate authorities, and keys other than P-256, which is the quickest.
#![forbid(unsafe_code)]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);

/// What a certificate may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Use {
    /// On both sides of a connection.
    #[default]
    Both,
    /// On the calling side only.
    Client,
    /// On the called side only.
    Server,
}

/// When a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Good {
    /// From an hour ago on, for a day.
    #[default]
    Now,
    /// It was, until an hour ago.
    Before,
    /// Not before an hour has passed.
    Later,
}

/// What a certificate is to be like.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// Its common name, if it has one.
    pub cn: Option<&'a str>,
    /// The names and addresses that it is for.
    pub hosts: &'a [&'a str],
    /// What it may be used for.
    pub purpose: Use,
    /// When it is good.
    pub good: Good,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    serial: SerialNumber,
}

impl Issued {
    /// Writes `NAME.crt` and `NAME.key` into a folder that is there, each whole or not at all. Returns where they are.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, folder: &Path, name: &str) -> std::io::Result<(PathBuf, PathBuf)> {
        let certificate = folder.join(format!("{name}.crt"));
        let key = folder.join(format!("{name}.key"));
        replace(&key, &self.key)?;
        replace(&certificate, &self.certificate)?;
        Ok((certificate, key))
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The file system's.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

/// Somebody whose signature is believed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    revoked: Vec<SerialNumber>,
    n_issued: u64,
    n_lists: u64,
}

impl Authority {
    /// One with this common name.
    ///
    /// # Errors
    /// No randomness for a key.
    pub fn new(cn: &str) -> Result<Authority, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(Some(cn));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Ok(Authority {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            revoked: Vec::new(),
            n_issued: 0,
            n_lists: 0,
        })
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a certificate.
    ///
    /// # Errors
    /// A host is no name.
    pub fn issue(&mut self, wish: &Wish<'_>) -> Result<Issued, Error> {
        let hosts: Vec<String> = wish.hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts)?;
        self.n_issued += 1;
        // The first bit must be 0, or the number is negative.
        let serial = SerialNumber::from(self.n_issued);
        params.serial_number = Some(serial.clone());
        params.distinguished_name = named(wish.cn);
        let now = SystemTime::now();
        let (from, until) = match wish.good {
            Good::Now => (now - HOUR, now + 24 * HOUR),
            Good::Before => (now - 2 * HOUR, now - HOUR),
            Good::Later => (now + HOUR, now + 2 * HOUR),
        };
        (params.not_before, params.not_after) = (from.into(), until.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let (server, client) = (
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        params.extended_key_usages = match wish.purpose {
            Use::Both => vec![server, client],
            Use::Client => vec![client],
            Use::Server => vec![server],
        };
        let key = KeyPair::generate()?;
        Ok(Issued {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
            serial,
        })
    }

    /// Takes a certificate back: the next [`Authority::crl`] has it.
    pub fn revoke(&mut self, issued: &Issued) {
        self.revoked.push(issued.serial.clone());
    }

    /// What was taken back, as PEM.
    ///
    /// # Errors
    /// None that a test can do anything about.
    pub fn crl(&mut self) -> Result<String, Error> {
        self.n_lists += 1;
        let long_ago = date_time_ymd(2020, 1, 1);
        let revoked = self.revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: long_ago,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: long_ago,
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(self.n_lists),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer)?.pem()
    }
}

fn named(cn: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "quorate's tests");
    if let Some(cn) = cn {
        name.push(DnType::CommonName, cn);
    }
    name
}
