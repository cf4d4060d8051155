//! Whether the certificate that a caller shows is one of a member's.
//!
//! That it is signed by the CA was checked before, and is not enough: clients' certificates often are, too. So there are
//! two questions more. Where does it come from? (etcd's: an address that the certificate is for, or that one of its
//! names has.) And whose is it? (Ours: who says hello as a member shows a certificate for one of that member's peer
//! URLs.) etcd looks up addresses' names in DNS to compare them with wildcards; whoever owns an address can give it any
//! name, so here a wildcard is compared with the hosts in the members' own peer URLs, and those are looked up.

use crate::identity::Url;
use crate::tls::Certificate;
use base::MemberId;
use std::net::IpAddr;
use std::time::Duration;
use store::Member;

/// Names that are looked up for one certificate.
const NAMES_MAX: usize = 32;

/// How long one name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a certificate is not a member's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum GuestError {
    /// In etcd's words.
    #[error("tls: \"{address}\" does not match any of DNSNames {names:?}")]
    Address {
        /// From where it came.
        address: IpAddr,
        /// What the certificate is for.
        names: Vec<String>,
    },
    /// It is another's.
    #[error(
        "it says that it is member {member}, and shows a certificate that is not for {hosts} \
         (--peer-cert-allowed-cn or --peer-skip-client-san-verification allow others)"
    )]
    Other {
        /// Who it says it is.
        member: MemberId,
        /// Where that member is.
        hosts: String,
    },
    /// It was believed, and what it says cannot be read here: then it is nobody's.
    #[error("it shows a certificate whose names cannot be read")]
    Unread,
    /// It may only be a client.
    #[error("it says that it is member {0}, and shows a certificate that is for clients only")]
    Client(MemberId),
}

fn hosts(member: &Member) -> Vec<String> {
    let urls = member.peer_urls.iter();
    urls.filter_map(|url| Url::parse(url).ok())
        .map(|url| url.host().to_owned())
        .collect()
}

/// The certificate that was shown, where one was asked for.
pub(super) fn asked_for(shown: Option<&Certificate>) -> Result<&Certificate, GuestError> {
    shown.ok_or(GuestError::Unread)
}

/// Whether `shown` is for the address that it came from.
pub(super) async fn check_address(
    shown: &Certificate,
    from: IpAddr,
    members: &[Member],
) -> Result<(), GuestError> {
    let from = from.to_canonical();
    if shown.dns_names.is_empty() && shown.addresses.is_empty() {
        return Ok(());
    }
    if shown.addresses.iter().any(|ip| ip.to_canonical() == from) {
        return Ok(());
    }
    let is_wildcard = |name: &&String| name.starts_with("*.");
    let mut names: Vec<String> = shown
        .dns_names
        .iter()
        .filter(|name| !is_wildcard(name))
        .cloned()
        .collect();
    if shown.dns_names.iter().any(|name| is_wildcard(&name)) {
        let known = members.iter().flat_map(hosts);
        names.extend(known.filter(|host| shown.is_for(host)));
    }
    for name in names.iter().take(NAMES_MAX) {
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((&**name, 0)));
        if let Ok(Ok(mut found)) = looked_up.await
            && found.any(|address| address.ip().to_canonical() == from)
        {
            return Ok(());
        }
    }
    Err(GuestError::Address {
        address: from,
        names: shown.dns_names.clone(),
    })
}

/// Whether `shown` is the certificate of `member`.
pub(super) fn check_member(
    shown: &Certificate,
    member: MemberId,
    members: &[Member],
) -> Result<(), GuestError> {
    let Some(known) = members.iter().find(|known| known.id == member) else {
        // One that was added while this member was away: where it is is not known here yet. A client's it is not.
        return match shown.is_for_servers {
            true => Ok(()),
            false => Err(GuestError::Client(member)),
        };
    };
    let hosts = hosts(known);
    match hosts.iter().any(|host| shown.is_for(host)) {
        true => Ok(()),
        false => Err(GuestError::Other {
            member,
            hosts: hosts.join(", "),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;
    use pki::{Authority, Use, Wish};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    fn shown(hosts: &[&str], purpose: Use) -> Certificate {
        let wish = Wish {
            hosts,
            purpose,
            ..Wish::default()
        };
        let issued = Authority::new("ca").unwrap().issue(&wish).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        Certificate::read(&der).unwrap()
    }

    fn member(number: u64, url: &str) -> Member {
        Member {
            id: MemberId(number),
            name: String::new(),
            peer_urls: vec![url.to_owned()],
            client_urls: Vec::new(),
            is_learner: false,
        }
    }

    fn comes_from(hosts: &[&str], from: &str, members: &[Member]) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let shown = shown(hosts, Use::Both);
        let checked = check_address(&shown, from.parse().unwrap(), members);
        runtime.block_on(checked).is_ok()
    }

    #[test]
    fn a_certificate_comes_from_where_it_is_for() {
        for (hosts, from, is_let_in) in [
            // etcd lets in what is for nothing at all; whose it is is another question.
            (vec![], "203.0.113.1", true),
            (vec!["203.0.113.1"], "203.0.113.1", true),
            (vec!["203.0.113.1"], "::ffff:203.0.113.1", true),
            (vec!["203.0.113.1"], "203.0.113.2", false),
            // A name is looked up: this one is in every hosts file.
            (vec!["localhost"], "127.0.0.1", true),
            (vec!["203.0.113.1", "localhost"], "127.0.0.1", true),
            (vec!["localhost"], "203.0.113.1", false),
        ] {
            assert_eq!(
                comes_from(&hosts, from, &[]),
                is_let_in,
                "{hosts:?} from {from}"
            );
        }
    }

    #[test]
    fn a_wildcard_is_for_members_hosts_that_are_looked_up() {
        let here = [member(1, "https://localhost:2380")];
        // It fits no host of a member's, so nothing is looked up, and no address is asked for its names.
        assert!(!comes_from(&["*.example"], "127.0.0.1", &here));
        assert!(!comes_from(&["*.example"], "127.0.0.1", &[]));
    }

    /// TLS looks at a caller's signatures and not at its names, so a certificate may be believed that says nothing here.
    #[test]
    fn a_certificate_whose_names_cannot_be_read_is_no_members() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // Alternative names (2.5.29.17) that are none.
        let names = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x7f]);
        params.custom_extensions.push(names);
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&pair).unwrap();
        let read = Certificate::read(made.der());
        assert_eq!(read, None);
        assert_eq!(asked_for(read.as_ref()), Err(GuestError::Unread));
        let good = shown(&["m1.svc.example"], Use::Both);
        assert_eq!(asked_for(Some(&good)), Ok(&good));
    }

    #[test]
    fn who_says_hello_shows_a_certificate_of_that_member() {
        let members = [
            member(1, "https://m1.svc.example:2380"),
            member(2, "https://[2001:db8::2]:2380"),
        ];
        let is_of = |hosts: &[&str], purpose, id| {
            check_member(&shown(hosts, purpose), MemberId(id), &members).is_ok()
        };
        assert!(is_of(&["m1.svc.example"], Use::Both, 1));
        assert!(is_of(&["*.svc.example"], Use::Both, 1));
        assert!(is_of(&["2001:db8::2"], Use::Both, 2));
        assert!(
            is_of(&["m1.svc.example"], Use::Client, 1),
            "its own certificate for the way out"
        );
        assert!(!is_of(&["m2.svc.example"], Use::Both, 1));
        assert!(
            !is_of(&["m1.svc.example"], Use::Both, 2),
            "another member's"
        );
        assert!(!is_of(&[], Use::Both, 1));
        assert!(
            is_of(&["m3.svc.example"], Use::Both, 3),
            "not known here yet"
        );
        assert!(!is_of(&["m3.svc.example"], Use::Client, 3));
    }
}
