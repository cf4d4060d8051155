//! A certificate that a member makes for itself: `--auto-tls`, `--peer-auto-tls`.
//!
//! Where etcd keeps its own: `fixtures/client` and `fixtures/peer` under the data directory, `cert.pem` and `key.pem`.
//! Once made it is used until its time is over.

use super::TlsError;
use super::files::{certificates, malformed};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A little for clocks that are behind.
const EARLY: Duration = Duration::from_secs(300);

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The certificate and the key in `dir`, made if they are not there or no longer good.
///
/// # Errors
/// They cannot be made or kept.
pub(crate) fn self_signed(
    dir: &Path,
    hosts: &[String],
    years: u32,
) -> Result<(PathBuf, PathBuf), TlsError> {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    if years == 0 {
        let text = "--self-signed-cert-validity is 0: at least a year";
        return Err(TlsError::Flags(text.to_owned()));
    }
    if cert.exists() && key.exists() {
        if is_good(&cert)? {
            return Ok((cert, key));
        }
        warn!(file = %cert.display(), "the certificate that was made here is too old: another is made");
    }
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(TlsError::Make)?;
    let now = std::time::SystemTime::now();
    params.not_before = (now - EARLY).into();
    params.not_after = (now + YEAR * years).into();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "quorate");
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let pair = KeyPair::generate().map_err(TlsError::Make)?;
    let made = params.self_signed(&pair).map_err(TlsError::Make)?;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::Write { path, source }
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed(dir))?;
    // The key first: whoever finds the certificate finds its key.
    write(&key, pair.serialize_pem().as_bytes(), 0o600).map_err(failed(&key))?;
    write(&cert, made.pem().as_bytes(), 0o644).map_err(failed(&cert))?;
    info!(file = %cert.display(), years, "a certificate was made");
    Ok((cert, key))
}

fn is_good(path: &Path) -> Result<bool, TlsError> {
    let bytes = fs::read(path).map_err(|source| TlsError::Read {
        path: path.display().to_string(),
        source,
    })?;
    let all = certificates(path, &bytes)?;
    let (_, first) = X509Certificate::from_der(&all[0]).map_err(|e| malformed(path, &e))?;
    Ok(first.validity().is_valid())
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
