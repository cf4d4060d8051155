//! From what is in the files to what rustls needs.

use super::files::{Material, certificates, key, malformed, revocation_lists};
use super::verify::{Called, Callers, Demands, Revoked};
use super::{Rules, Side, TlsError};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// The two sides of a door.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) server: Option<Arc<ServerConfig>>,
    /// Nothing where nobody goes out, or nobody is believed.
    pub(super) client: Option<Arc<ClientConfig>>,
}

/// Whose signature is believed, and what else is demanded.
struct Trust {
    roots: Arc<RootCertStore>,
    demands: Demands,
}

impl Built {
    pub(super) fn new(rules: &Rules, material: &Material) -> Result<Built, TlsError> {
        let trust = Trust::read(rules, material)?;
        let goes_out = rules.side == Side::Peer && (trust.is_some() || rules.believes_anybody);
        let client = match goes_out {
            true => Some(client(rules, material, trust.as_ref())?),
            false => None,
        };
        Ok(Built {
            server: Some(server(rules, material, trust.as_ref())?),
            client,
        })
    }
}

impl Trust {
    fn read(rules: &Rules, material: &Material) -> Result<Option<Trust>, TlsError> {
        let (Some(path), Some(bytes)) = (&rules.files.trusted_ca, &material.trusted_ca) else {
            return Ok(None);
        };
        let trusted = certificates(path, bytes)?;
        let mut roots = RootCertStore::empty();
        for ca in &trusted {
            let added = roots.add(ca.clone());
            added.map_err(|error| malformed(path, &error))?;
        }
        let revoked = match (&rules.files.crl, &material.crl) {
            (Some(path), Some(bytes)) => {
                Revoked::read(path, &revocation_lists(path, bytes)?, &trusted)?
            }
            _ => Revoked::default(),
        };
        Ok(Some(Trust {
            roots: Arc::new(roots),
            demands: Demands::new(rules, revoked),
        }))
    }
}

fn failed(path: &Path) -> impl Fn(rustls::Error) -> TlsError + '_ {
    |source| TlsError::Rustls {
        path: path.display().to_string(),
        source,
    }
}

fn server(
    rules: &Rules,
    material: &Material,
    trust: Option<&Trust>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let path = &rules.files.cert;
    let builder = ServerConfig::builder_with_provider(rules.offer.provider.clone())
        .with_protocol_versions(&rules.offer.versions)
        .map_err(failed(path))?;
    let builder = match trust {
        Some(trust) => {
            let provider = rules.offer.provider.clone();
            let signatures =
                WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider)
                    .build()
                    .map_err(|error| malformed(path, &error))?;
            builder.with_client_cert_verifier(Arc::new(Callers {
                signatures,
                demands: trust.demands.clone(),
            }))
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = shown((path, &material.cert), (&rules.files.key, &material.key))?;
    let mut config = builder.with_single_cert(chain, key).map_err(failed(path))?;
    if rules.side == Side::Client {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client(
    rules: &Rules,
    material: &Material,
    trust: Option<&Trust>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = rules.offer.provider.clone();
    let algorithms = provider.signature_verification_algorithms;
    let signatures = trust.map(|trust| {
        WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), provider.clone())
            .build()
            .map_err(|error| malformed(&rules.files.cert, &error))
    });
    let called = Called {
        signatures: signatures.transpose()?,
        demands: trust.map(|trust| trust.demands.clone()).unwrap_or_default(),
        algorithms,
    };
    let (cert, key) = match (&rules.files.client_cert, &material.client_cert) {
        (Some(path), Some(bytes)) => {
            let key = rules
                .files
                .client_key
                .as_ref()
                .zip(material.client_key.as_ref());
            // Both or none: the flags were checked.
            let (key_path, key) = key.unwrap_or((&rules.files.key, &material.key));
            ((path, bytes), (key_path, key))
        }
        _ => (
            (&rules.files.cert, &material.cert),
            (&rules.files.key, &material.key),
        ),
    };
    let path = cert.0;
    let (chain, key) = shown(cert, key)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&rules.offer.versions)
        .map_err(failed(path))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(called))
        .with_client_auth_cert(chain, key)
        .map_err(failed(path))?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A certificate with its chain, and its key.
fn shown(
    cert: (&std::path::PathBuf, &Vec<u8>),
    private: (&std::path::PathBuf, &Vec<u8>),
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    Ok((certificates(cert.0, cert.1)?, key(private.0, private.1)?))
}
