//! What a member is told about TLS: files and rules. What becomes of them is `crate::tls`'s business.

use std::path::PathBuf;

/// TLS on one of a member's two doors, and on the way out of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransportSecurity {
    /// The certificate that is shown, as PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, as PEM.
    pub key_file: Option<PathBuf>,
    /// The certificate that is shown when this side calls; `cert_file` unless it is set.
    pub client_cert_file: Option<PathBuf>,
    /// Its key.
    pub client_key_file: Option<PathBuf>,
    /// Whose signature is believed, as PEM.
    pub trusted_ca_file: Option<PathBuf>,
    /// Whether a caller must show a certificate.
    pub client_cert_auth: bool,
    /// Certificates that are no longer believed, as PEM or DER.
    pub crl_file: Option<PathBuf>,
    /// Common names of which a caller's certificate must have one; none: any will do.
    pub allowed_cns: Vec<String>,
    /// Names of which a caller's certificate must be for one; none: any will do.
    pub allowed_hostnames: Vec<String>,
    /// Whether a certificate is made at the start when none is given.
    pub auto_tls: bool,
    /// Whether a caller's address need not be among its certificate's names. Only between members.
    pub skip_client_san_verification: bool,
}

impl TransportSecurity {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == TransportSecurity::default()
    }

    /// Whether there is, or will be, a certificate to show.
    pub fn has_certificate(&self) -> bool {
        self.auto_tls || (self.cert_file.is_some() && self.key_file.is_some())
    }
}

/// A version of TLS that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What TLS may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsPolicy {
    /// The oldest version.
    pub min: TlsVersion,
    /// The newest version; nothing: the newest there is.
    pub max: Option<TlsVersion>,
    /// Names of the cipher suites, Go's or IANA's; none: all that are safe.
    pub cipher_suites: Vec<String>,
    /// How many years a certificate that is made at the start is good for.
    pub self_signed_years: u32,
}

impl Default for TlsPolicy {
    fn default() -> TlsPolicy {
        TlsPolicy {
            min: TlsVersion::Tls12,
            max: None,
            cipher_suites: Vec::new(),
            self_signed_years: 1,
        }
    }
}
