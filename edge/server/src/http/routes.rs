//! Which path is whose: the one table.

use super::{Door, Port};
use crate::front::{Front, Probe};
use crate::grpc::{Exchange, Page, Reply};
use crate::metrics::CONTENT_TYPE;
use crate::native::Native;
use http::{HeaderMap, HeaderValue, header};

impl Port {
    /// Answers a request that may be made.
    pub(super) async fn route(&self, exchange: Exchange) -> Reply {
        let path = exchange.parts.uri.path();
        if self.door != Door::Metrics && path.starts_with("/v1/") {
            return Native(self.front.0.clone()).exchange(exchange).await;
        }
        page(&self.front, self.door, &exchange).await
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
        || is_clients && matches!(path, "/version" | "/status");
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
        _ => match probe {
            Some(probe) => front.probe_page(probe, query).await,
            None => front.health_page(query).await,
        },
    };
    page.into()
}
