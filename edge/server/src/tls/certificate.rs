//! The names in a certificate, and what it may be used for.

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What somebody has shown. That it is believed was decided before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The subject's common name. Nothing when there are several: which of them would be meant?
    pub common_name: Option<String>,
    /// The DNS names that it is for, wildcards among them.
    pub dns_names: Vec<String>,
    /// The addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// Whether whoever has it may be a server.
    pub is_for_servers: bool,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Reads one; nothing when it is none.
    pub fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut names = parsed.subject().iter_common_name();
        let common_name = match (names.next(), names.next()) {
            (Some(only), None) => only.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
        let alternatives = parsed.subject_alternative_name().ok()?;
        for name in alternatives.iter().flat_map(|it| &it.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let usage = parsed.extended_key_usage().ok()?;
        let is_for_servers = usage.is_none_or(|usage| usage.value.any || usage.value.server_auth);
        Some(Certificate {
            common_name: common_name.filter(|name| !name.is_empty()),
            dns_names,
            addresses,
            is_for_servers,
            der: der.clone().into_owned(),
        })
    }

    /// Whether it is for this name or address, by the rules of TLS: alternative names only, a wildcard for one label.
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        ParsedCertificate::try_from(&self.der)
            .is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
