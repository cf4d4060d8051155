//! Versions of TLS and cipher suites, by the names that Go, and so etcd, uses.

use super::TlsError;
use crate::config::{TlsPolicy, TlsVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// What is offered in a handshake.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// A name, and another that Go had for the same before RFC 7905 was one.
const ALIASES: [(&str, &str); 2] = [
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

/// Go's name of a suite; it is IANA's, but for version 1.3.
fn name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

fn is_13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

impl Offer {
    pub(super) fn new(policy: &TlsPolicy) -> Result<Offer, TlsError> {
        let refused = |text: String| Err(TlsError::Flags(text));
        let max = policy.max.unwrap_or(TlsVersion::Tls13);
        if policy.min > max {
            return refused("--tls-min-version is newer than --tls-max-version".to_owned());
        }
        let mut provider = ring::default_provider();
        if !policy.cipher_suites.is_empty() {
            provider.cipher_suites = chosen(&policy.cipher_suites, &provider.cipher_suites)?;
        }
        let is_offered = |version: TlsVersion| policy.min <= version && version <= max;
        let mut versions = Vec::new();
        if is_offered(TlsVersion::Tls13) {
            versions.push(&version::TLS13);
        }
        if is_offered(TlsVersion::Tls12) && !provider.cipher_suites.iter().all(is_13) {
            versions.push(&version::TLS12);
        }
        if versions.is_empty() {
            let text =
                "--cipher-suites has none of TLS 1.2, and --tls-max-version allows nothing newer";
            return refused(text.to_owned());
        }
        let provider = Arc::new(provider);
        Ok(Offer { provider, versions })
    }
}

/// The suites that are asked for. As with Go those of TLS 1.3 are all there when none of them is named: there a list
/// chooses among those of TLS 1.2.
fn chosen(
    asked: &[String],
    known: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen = Vec::new();
    for asked in asked {
        let alias = ALIASES.iter().find(|(other, _)| other == asked);
        let wanted = alias.map_or(asked.as_str(), |(_, real)| real);
        let Some(suite) = known.iter().find(|suite| name(suite) == wanted) else {
            let known: Vec<String> = known.iter().map(name).collect();
            return Err(TlsError::Flags(format!(
                "unexpected TLS cipher suite {asked:?}: unknown, or not safe (no forward secrecy, CBC, RC4 or \
                 3DES); known are {}",
                known.join(", ")
            )));
        };
        chosen.push(*suite);
    }
    if !chosen.iter().any(is_13) {
        chosen.extend(known.iter().filter(|suite| is_13(suite)));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(min: TlsVersion, max: Option<TlsVersion>, suites: &[&str]) -> TlsPolicy {
        TlsPolicy {
            min,
            max,
            cipher_suites: suites.iter().map(ToString::to_string).collect(),
            ..TlsPolicy::default()
        }
    }

    fn offered(policy: &TlsPolicy) -> Result<(Vec<String>, usize), String> {
        let offer = Offer::new(policy).map_err(|error| error.to_string())?;
        let suites = offer.provider.cipher_suites.iter().map(name).collect();
        Ok((suites, offer.versions.len()))
    }

    #[test]
    fn suites_are_chosen_by_gos_names() {
        let rsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let (suites, n_versions) = offered(&policy(TlsVersion::Tls12, None, &[rsa])).expect("safe");
        assert_eq!((suites[0].as_str(), suites.len(), n_versions), (rsa, 4, 2));
        let old = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
        assert!(offered(&policy(TlsVersion::Tls12, None, &[old])).is_ok());
        let new = "TLS_AES_128_GCM_SHA256";
        let only = offered(&policy(TlsVersion::Tls12, None, &[new])).expect("safe");
        assert_eq!(only, (vec![new.to_owned()], 1));
    }

    #[test]
    fn what_is_not_safe_or_not_possible_is_refused() {
        for unsafe_one in [
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_RC4_128_SHA",
            "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
            "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
            "nonsense",
            "",
        ] {
            let text =
                offered(&policy(TlsVersion::Tls12, None, &[unsafe_one])).expect_err("unsafe");
            assert!(text.starts_with("unexpected TLS cipher suite"), "{text}");
        }
        let backwards = policy(TlsVersion::Tls13, Some(TlsVersion::Tls12), &[]);
        assert!(offered(&backwards).is_err());
        let nothing = policy(
            TlsVersion::Tls12,
            Some(TlsVersion::Tls12),
            &["TLS_AES_128_GCM_SHA256"],
        );
        assert!(offered(&nothing).is_err());
    }

    #[test]
    fn a_newest_version_takes_the_newer_away() {
        let old = policy(TlsVersion::Tls12, Some(TlsVersion::Tls12), &[]);
        assert_eq!(
            Offer::new(&old).expect("possible").versions,
            [&version::TLS12]
        );
        let new = policy(TlsVersion::Tls13, None, &[]);
        assert_eq!(
            Offer::new(&new).expect("possible").versions,
            [&version::TLS13]
        );
    }
}
