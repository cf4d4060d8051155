//! Certificates of one run: an authority, one for the members, one for clients.
//!
//! None has a common name: to etcd that would be a user's name, and its JSON gateway refuses such a client.

use crate::Failure;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::path::{Path, PathBuf};

/// PEM files.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) member: Pair,
    pub(crate) client: Pair,
}

/// A certificate and its key (PKCS#8).
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// New ones, in `folder`.
    ///
    /// # Errors
    /// They cannot be made or written.
    pub(crate) fn make(folder: &Path) -> Result<Certificates, Failure> {
        let mut params = params("authority", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = folder.join("authority.pem");
        fs::write(&authority, issuer.pem())?;
        let pair = |name: &str, usages: &[ExtendedKeyUsagePurpose]| -> Result<Pair, Failure> {
            let mut params = self::params(name, usages)?;
            params.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyEncipherment,
            ];
            let key = KeyPair::generate()?;
            let pair = Pair {
                certificate: folder.join(format!("{name}.pem")),
                key: folder.join(format!("{name}-key.pem")),
            };
            fs::write(&pair.certificate, params.signed_by(&key, &issuer)?.pem())?;
            fs::write(&pair.key, key.serialize_pem())?;
            Ok(pair)
        };
        // etcd's gateway is a client of its own member, with the member's certificate.
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Ok(Certificates {
            authority,
            member: pair("member", &both)?,
            client: pair("client", &both[1..])?,
        })
    }
}

fn params(
    unit: &str,
    usages: &[ExtendedKeyUsagePurpose],
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "quorate proof");
    name.push(DnType::OrganizationalUnitName, unit);
    params.extended_key_usages = usages.to_vec();
    Ok(params)
}
