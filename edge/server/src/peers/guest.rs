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
