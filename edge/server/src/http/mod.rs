//! HTTP as a member speaks it: who may ask, and which path is whose.
//!
//! ```text
//!   listener ─ Door ─► Port (Service) ─┬─ gRPC ────────────────────► Front::serve
//!                                      └─ HTTP/1.1, HTTP/2 ─► access.rs   host, origin
//!                                                                 │
//!                                      routes.rs  ◄───────────────┘   path → handler
//!                                         ├─ /v1/…   Quorate's own API as JSON     native
//!                                         ├─ /v3/…   etcd's API as JSON            gateway
//!                                         └─ the rest  plain pages
//! ```
//!
//! Every listener for people and programs that are not members is a [`Port`] behind one of four [`Door`]s. A new page
//! is a line in `routes.rs`.

mod access;
mod routes;
mod vars;

use crate::auth::Asking;
use crate::front::Front;
use crate::gateway::{self, Gateway};
use crate::grpc::{
    self, Call, Change, Content, Counted, Drain, Exchange, Head, Page, Reply, Service, Turns,
};
use crate::member::Member;
use access::Access;
use std::rc::Rc;

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// Clients: gRPC, JSON and pages.
    Clients,
    /// Clients, where HTTP has an address of its own (`--listen-client-http-urls`): gRPC alone.
    Grpc,
    /// That address: JSON and pages.
    Http,
    /// Who watches over members (`--listen-metrics-urls`): metrics and health.
    Metrics,
}

/// What answers at one listener.
pub(crate) struct Port {
    front: Front,
    door: Door,
    access: Access,
    gateway: Gateway,
    drain: Rc<Drain>,
}

/// What all listeners of a member share.
#[derive(Clone, Default)]
pub(crate) struct Common {
    /// The end of service.
    pub(crate) drain: Rc<Drain>,
}

impl Port {
    /// Of `member`.
    pub(crate) fn new(member: &Rc<Member>, door: Door, common: &Common) -> Port {
        Port {
            front: Front(member.clone()),
            door,
            access: Access::new(&member.config),
            gateway: Gateway::default(),
            drain: common.drain.clone(),
        }
    }
}

impl Service for Port {
    fn drain(&self) -> Option<Rc<Drain>> {
        Some(self.drain.clone())
    }

    fn turns(&self) -> Option<Rc<Turns>> {
        Some(self.front.0.turns.clone())
    }

    fn knows(&self, headers: &http::HeaderMap, common_name: Option<&Rc<str>>) -> bool {
        let member = &self.front.0;
        if !member.with_state(etcd::auth::is_enabled) {
            return true;
        }
        let is_user = |asking: &Asking| matches!(member.identify(asking), Ok(Some(_)));
        is_user(&Asking::of_call(headers, common_name.cloned()))
            || is_user(&gateway::asking(headers))
    }

    fn is_endless(&self, path: &str) -> bool {
        use etcd::Method::{ElectionObserve, LeaseKeepAlive, Watch};
        let method = etcd::Method::of_path(path);
        let native = api::Method::of_grpc_path(path);
        matches!(method, Some(Watch | LeaseKeepAlive | ElectionObserve))
            || native.is_some_and(|method| method.shape() == api::Shape::Stream)
    }

    async fn serve(&self, call: &mut Call) -> Result<(), grpc::Status> {
        match self.door {
            Door::Clients | Door::Grpc => self.front.serve(call).await,
            Door::Http | Door::Metrics => {
                let text = "quorate: gRPC is not spoken at this address";
                Err(grpc::Status::new(grpc::Code::Unimplemented, text))
            }
        }
    }

    fn begun(&self, head: &Head) -> Counted {
        match self.door {
            Door::Clients | Door::Grpc => self.front.begun(head),
            Door::Http | Door::Metrics => Counted::default(),
        }
    }

    fn connected(&self, change: Change) {
        let metrics = &self.front.0.metrics;
        match change {
            Change::Begun => metrics.connections.add(1),
            Change::Ended => metrics.connections.add(-1),
            Change::Refused => metrics.connections_refused.inc(),
        }
    }

    async fn exchange(&self, mut exchange: Exchange) -> Reply {
        if self.door == Door::Grpc {
            let text =
                "404: this address speaks gRPC alone; HTTP is at --listen-client-http-urls\n";
            return Page::text(404, text).into();
        }
        if self.door == Door::Metrics {
            return self.route(exchange).await;
        }
        let beside = match self.access.check(&exchange) {
            Ok(beside) => beside,
            Err(page) => {
                exchange.discard().await;
                return page.into();
            }
        };
        if self.names_nobody(&exchange) {
            exchange.discard().await;
            let text = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
            return Page::text(400, text).into();
        }
        let reply = match exchange.parts.method == http::Method::OPTIONS {
            // A preflight, or what etcd answers to any other.
            true => Reply::Http(http::Response::new(Content::whole(""))),
            false => self.route(exchange).await,
        };
        reply.with(beside)
    }
}

impl Port {
    /// Whether a certificate is shown to the gateway in the belief that it says who asks: it does not, and with
    /// authentication on that would be a surprise.
    fn names_nobody(&self, exchange: &Exchange) -> bool {
        let member = &self.front.0;
        exchange
            .common_name
            .as_deref()
            .is_some_and(|it| !it.is_empty())
            && member.config.client_security.client_cert_auth
            && member.config.grpc_gateway
            && gateway::is_gateways(exchange.parts.uri.path())
            && gateway::is_auth_enabled(member)
    }
}
