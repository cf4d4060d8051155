//! Who is believed: whoever shows a certificate of a trusted CA that is not revoked and has an allowed name.
//!
//! Chains, dates, purposes and signatures are webpki's to judge. What etcd adds is here, for callers and called alike:
//! the revocation file and the lists of allowed names.

use super::certificate::Certificate;
use super::files::malformed;
use super::{Rules, TlsError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tracing::warn;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

/// A certificate is of none of the allowed names.
#[derive(Debug, thiserror::Error)]
#[error("client certificate authentication failed: {shown} is not among the allowed names")]
struct NotAllowed {
    shown: String,
}

/// Why a handshake was broken off, in words for a log.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Error);

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // rustls prints these as Rust has them.
            Error::InvalidCertificate(CertificateError::Revoked) => {
                f.write_str("invalid peer certificate: certificate revoked")
            }
            Error::InvalidCertificate(CertificateError::Other(why)) => {
                write!(f, "invalid peer certificate: {}", why.0)
            }
            error => error.fmt(f),
        }
    }
}

/// What is demanded beyond the signature of a trusted CA.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    revoked: Arc<Revoked>,
    cns: Vec<String>,
    hostnames: Vec<String>,
}

/// Certificates that are no longer believed: who signed them, and their number.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeSet<(Vec<u8>, Vec<u8>)>);

impl Revoked {
    /// Reads lists. They are believed as the CA file is: whoever could change one could change the other. `trusted` are
    /// the names of those whose signature is believed.
    pub(super) fn read(
        path: &Path,
        lists: &[CertificateRevocationListDer<'_>],
        trusted: &[CertificateDer<'_>],
    ) -> Result<Revoked, TlsError> {
        let subjects: Vec<Vec<u8>> = trusted
            .iter()
            .filter_map(|der| X509Certificate::from_der(der).ok())
            .map(|(_, ca)| ca.subject().as_raw().to_vec())
            .collect();
        let mut revoked = BTreeSet::new();
        for list in lists {
            let (_, list) =
                CertificateRevocationList::from_der(list).map_err(|e| malformed(path, &e))?;
            let issuer = list.issuer().as_raw().to_vec();
            if !subjects.contains(&issuer) {
                // It may be of an intermediate CA, and then it is right.
                warn!(
                    file = %path.display(), issuer = %list.issuer(),
                    "a revocation list is of nobody in the trusted CA file"
                );
            }
            for entry in list.iter_revoked_certificates() {
                revoked.insert((issuer.clone(), entry.raw_serial().to_vec()));
            }
        }
        Ok(Revoked(revoked))
    }

    fn has(&self, der: &CertificateDer<'_>) -> Result<bool, Error> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let (_, cert) = X509Certificate::from_der(der)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let issuer = cert.issuer().as_raw().to_vec();
        let serial = cert.tbs_certificate.raw_serial().to_vec();
        Ok(self.0.contains(&(issuer, serial)))
    }
}

impl Demands {
    pub(super) fn new(rules: &Rules, revoked: Revoked) -> Demands {
        Demands {
            revoked: Arc::new(revoked),
            cns: rules.allowed_cns.clone(),
            hostnames: rules.allowed_hostnames.clone(),
        }
    }

    fn check(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        for shown in std::iter::once(leaf).chain(others) {
            if self.revoked.has(shown)? {
                return Err(CertificateError::Revoked.into());
            }
        }
        if self.cns.is_empty() && self.hostnames.is_empty() {
            return Ok(());
        }
        let leaf = Certificate::read(leaf).ok_or(CertificateError::BadEncoding)?;
        let has_cn = leaf
            .common_name
            .as_ref()
            .is_some_and(|name| self.cns.contains(name));
        if has_cn || self.hostnames.iter().any(|host| leaf.is_for(host)) {
            return Ok(());
        }
        let shown = match &leaf.common_name {
            Some(name) => format!("{name:?}"),
            None => "a certificate without a common name".to_owned(),
        };
        let why = OtherError(Arc::new(NotAllowed { shown }));
        Err(CertificateError::Other(why).into())
    }
}

/// Judges callers.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) signatures: Arc<dyn ClientCertVerifier>,
    pub(super) demands: Demands,
}

impl ClientCertVerifier for Callers {
    fn offer_client_auth(&self) -> bool {
        self.signatures.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.signatures.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signatures.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signatures.verify_client_cert(leaf, others, now)?;
        self.demands.check(leaf, others)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// Judges whoever is called.
#[derive(Debug)]
pub(super) struct Called {
    /// Nothing: anybody is believed who has the key of what they show.
    pub(super) signatures: Option<Arc<WebPkiServerVerifier>>,
    pub(super) demands: Demands,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(signatures) = &self.signatures {
            signatures.verify_server_cert(leaf, others, name, ocsp, now)?;
            self.demands.check(leaf, others)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
