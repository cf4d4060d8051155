//! What a caller shows.

use http::{HeaderMap, header};
use std::rc::Rc;

/// etcd's metadata key.
const TOKEN: &str = "token";

/// Metadata of a call that came through a gateway of gRPC's, one that stands by itself: the certificate is the gateway's.
const THROUGH_GATEWAY: &str = "grpcgateway-accept";

/// What a caller shows to say who it is. Cheap to clone: a call that goes on keeps it.
#[derive(Clone, Default)]
pub struct Asking {
    token: Option<Rc<str>>,
    common_name: Option<Rc<str>>,
}

impl Asking {
    /// A gRPC call: etcd's `token`, or `authorization`; and the name in the certificate of its connection. As in etcd it
    /// counts for nothing when a gateway asks for others (CVE-2018-16886).
    pub fn of_call(metadata: &HeaderMap, common_name: Option<Rc<str>>) -> Asking {
        // A value that is no text is a token that nobody has.
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or("").to_owned();
        let token = match metadata.get(TOKEN) {
            Some(token) => Some(text(token).into()),
            None => metadata.get(header::AUTHORIZATION).map(text).map(bare),
        };
        let common_name = common_name.filter(|_| !metadata.contains_key(THROUGH_GATEWAY));
        Asking { token, common_name }
    }

    /// A request over HTTP, JSON in it: the value of its `Authorization` header, with or without `Bearer`. The name in
    /// a certificate counts for nothing there, as in etcd: what speaks HTTP to a member may be a proxy for many.
    pub fn of_authorization(authorization: Option<&str>) -> Asking {
        Asking {
            token: authorization.map(|token| bare(token.to_owned())),
            common_name: None,
        }
    }

    /// As [`Asking::of_authorization`], of all headers.
    pub fn of_http(headers: &HeaderMap) -> Asking {
        let authorization = headers.get(header::AUTHORIZATION);
        Asking::of_authorization(authorization.map(|value| value.to_str().unwrap_or("")))
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

fn bare(token: String) -> Rc<str> {
    const BEARER: &str = "bearer ";
    let is_bearer = token
        .get(..BEARER.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(BEARER));
    match is_bearer {
        true => token[BEARER.len()..].trim().into(),
        false => token.into(),
    }
}
