//! Which path is whose: the one table.

use super::{Door, Port};
use crate::auth::Asking;
use crate::front::Front;
use crate::grpc::{Exchange, Page, Reply};
use crate::native::Native;

impl Port {
    /// Answers a request that may be made.
    pub(super) async fn route(&self, exchange: Exchange) -> Reply {
        let path = exchange.parts.uri.path();
        if self.door != Door::Metrics && path.starts_with("/v1/") {
            let asking = Asking::of_http(&exchange.parts.headers);
            let native = Native(self.front.0.clone(), asking);
            return native.exchange(exchange).await;
        }
        page(&self.front, self.door, &exchange).await.into()
    }
}

/// A plain page.
async fn page(front: &Front, door: Door, exchange: &Exchange) -> Page {
    let path = exchange.parts.uri.path();
    let query = exchange.parts.uri.query().unwrap_or_default();
    let is_read = matches!(exchange.parts.method.as_str(), "GET" | "HEAD");
    match (door, path) {
        (_, "/health") if is_read => front.health_page(query).await,
        (Door::Clients | Door::Http, "/version") if is_read => front.version_page(),
        (Door::Clients | Door::Http, "/status") if is_read => front.status_page(),
        (_, "/health") | (Door::Clients | Door::Http, "/version" | "/status") => {
            Page::text(405, "Method Not Allowed\n")
        }
        _ => Page::not_found(),
    }
}
