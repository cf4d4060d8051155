//! Which path is whose: the one table.

use super::{Door, Port, vars};
use crate::auth::Asking;
use crate::front::{Front, NotingNative, Probe};
use crate::gateway;
use crate::grpc::{Code, Exchange, Page, Reply};
use crate::metrics::CONTENT_TYPE;
use crate::native::Native;
use http::{HeaderMap, HeaderValue, header};

impl Port {
    /// Answers a request that may be made.
    pub(super) async fn route(&self, exchange: Exchange) -> Reply {
        let path = exchange.parts.uri.path();
        if self.door != Door::Metrics && path.starts_with("/v1/") {
            return self.native(exchange).await;
        }
        let has_gateway = self.door != Door::Metrics && self.front.0.config.grpc_gateway;
        if has_gateway && gateway::is_gateways(path) {
            return self.gateway.exchange(&self.front, exchange).await;
        }
        page(&self.front, self.door, &exchange).await
    }
}

impl Port {
    /// A call of Quorate's own API as JSON.
    async fn native(&self, exchange: Exchange) -> Reply {
        let member = &self.front.0;
        let method = api::Method::of_json_path(exchange.parts.uri.path());
        let asking = Asking::of_http(&exchange.parts.headers);
        member.await_token(&asking).await;
        let note = match (&member.audit, method) {
            (Some(audit), Some(method)) => {
                let user = member.user_of(&asking);
                let name = user.as_deref().or(exchange.common_name.as_deref());
                let who = (name, exchange.from);
                Some(NotingNative::of(audit, method.json_path(), method, who))
            }
            _ => None,
        };
        let reply = Native(member.clone(), asking).exchange(exchange).await;
        if let Some(note) = note {
            let status = match &reply {
                Reply::Page { page, .. } => page.status,
                Reply::Events(_) | Reply::Http(_) => 200,
            };
            note.end(code_of(status)).await;
        }
        reply
    }
}

/// The code that comes nearest to an HTTP status.
fn code_of(status: u16) -> Code {
    match status {
        200..=299 => Code::Ok,
        400 | 405 | 413 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 | 412 => Code::FailedPrecondition,
        429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

/// A plain page.
async fn page(front: &Front, door: Door, exchange: &Exchange) -> Reply {
    let path = exchange.parts.uri.path();
    let query = exchange.parts.uri.query().unwrap_or_default();
    let is_read = exchange.parts.method == http::Method::GET;
    let is_clients = matches!(door, Door::Clients | Door::Http);
    let probe = Probe::of_path(path);
    let is_known = probe.is_some()
        || path == "/health"
        || is_clients && matches!(path, "/version" | "/status" | "/debug/vars");
    let page = match path {
        // As in etcd, whatever the method.
        "/metrics" => Page {
            status: 200,
            content_type: CONTENT_TYPE,
            body: front.0.metrics_page(),
        },
        _ if !is_known => Page::not_found(),
        _ if !is_read => {
            let allowed = HeaderValue::from_static("GET");
            let beside = HeaderMap::from_iter([(header::ALLOW, allowed)]);
            return Reply::from(Page::text(405, "Method Not Allowed\n")).with(beside);
        }
        "/version" => front.version_page(),
        "/status" => front.status_page(),
        "/debug/vars" => vars::page(&front.0),
        _ => match probe {
            Some(probe) => front.probe_page(probe, query).await,
            None => front.health_page(query).await,
        },
    };
    page.into()
}
