//! The files of one door's TLS: whether they have changed, and what is in them.

use super::TlsError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes of one file: revocation lists of large authorities have megabytes.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A file that was changed so recently may be changed again without its times telling: file systems stamp in steps.
const YOUNG: Duration = Duration::from_secs(2);

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) trusted_ca: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
}

/// How a file looks from outside; links are followed, so one that points elsewhere is another file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Print(Option<(u64, u64, u64, SystemTime, i64)>);

impl Print {
    fn of(path: &Path) -> Print {
        let found = std::fs::metadata(path).ok();
        Print(found.and_then(|found| {
            let changed = found.ctime() * 1_000_000_000 + found.ctime_nsec();
            Some((
                found.dev(),
                found.ino(),
                found.len(),
                found.modified().ok()?,
                changed,
            ))
        }))
    }

    /// Whether it may change without looking different.
    pub(super) fn is_young(&self) -> bool {
        let Some((_, _, _, _, changed)) = self.0 else {
            return false;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let age = now.unwrap_or_default().as_nanos() as i128 - i128::from(changed);
        age < YOUNG.as_nanos() as i128
    }
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Path> {
        let optional = [
            &self.client_cert,
            &self.client_key,
            &self.trusted_ca,
            &self.crl,
        ];
        [&self.cert, &self.key]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .map(PathBuf::as_path)
    }

    pub(super) fn prints(&self) -> Vec<Print> {
        self.all().map(Print::of).collect()
    }

    /// Their names, for the log.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.all().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }
}

/// What is in the files.
pub(super) struct Material {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_cert: Option<Vec<u8>>,
    pub(super) client_key: Option<Vec<u8>>,
    pub(super) trusted_ca: Option<Vec<u8>>,
    pub(super) crl: Option<Vec<u8>>,
}

impl Material {
    pub(super) fn read(files: &Files) -> Result<Material, TlsError> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        Ok(Material {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            client_cert: optional(&files.client_cert)?,
            client_key: optional(&files.client_key)?,
            trusted_ca: optional(&files.trusted_ca)?,
            crl: optional(&files.crl)?,
        })
    }

    /// Tells contents apart; never 0.
    pub(super) fn digest(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        let optional = [
            &self.client_cert,
            &self.client_key,
            &self.trusted_ca,
            &self.crl,
        ];
        let all = [&self.cert, &self.key].into_iter();
        for part in all.chain(optional.into_iter().flatten()) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.digest().max(1)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let named = || path.display().to_string();
    let failed = |source| TlsError::Read {
        path: named(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(TlsError::TooLarge { path: named() }),
        false => Ok(bytes),
    }
}

/// The certificates in `bytes`, which came from `path`.
pub(super) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|error| malformed(path, &error))?;
    match read.is_empty() {
        true => Err(nothing(path, "certificate")),
        false => Ok(read),
    }
}

/// The key in `bytes`.
pub(super) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => nothing(path, "private key"),
        error => malformed(path, &error),
    })
}

/// The revocation lists in `bytes`: PEM, or one in DER.
pub(super) fn revocation_lists(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    // A DER file begins with a SEQUENCE, and text does not.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|error| malformed(path, &error))?;
    match read.is_empty() {
        true => Err(nothing(path, "revocation list")),
        false => Ok(read),
    }
}

fn nothing(path: &Path, what: &'static str) -> TlsError {
    TlsError::Nothing {
        path: path.display().to_string(),
        what,
    }
}

pub(super) fn malformed(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
