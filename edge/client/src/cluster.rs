//! The cluster itself: what its members say about themselves, and the time.

use crate::client::Client;
use crate::error::{Error, RequestId, Result};
use crate::read::{Consistency, Freshness};
use crate::values::Fence;
use api::{Method, proto};
use prost::Message;

/// The messages of the API, for tools that show them as they are.
pub mod raw {
    pub use api::proto::*;
    pub use api::{Method, Names};
}

impl Client {
    /// What some member says about itself and the cluster.
    ///
    /// # Errors
    /// No member answered.
    pub async fn status(&self) -> Result<raw::StatusResponse> {
        let request = proto::StatusRequest {};
        let status: proto::StatusResponse = self.core.read(Method::Status, &request, None).await?;
        self.core.saw(status.header.clone());
        Ok(status)
    }

    /// What each endpoint says about itself and the cluster, in the order in which they were given.
    pub async fn status_of_each(&self) -> Vec<(String, Result<raw::StatusResponse>)> {
        let asked: Vec<_> = (0..self.endpoints().count())
            .map(|index| {
                let core = self.core.clone();
                self.core.runtime.spawn(async move {
                    let request = proto::StatusRequest {};
                    let asked = core.transport.ask_one(index, Method::Status, &request);
                    asked.await.map_err(Error::refused)
                })
            })
            .collect();
        let mut told = Vec::new();
        for (asked, name) in asked.into_iter().zip(self.core.transport.names()) {
            let status = asked.await.unwrap_or_else(|stopped| {
                Err(Error::definite(crate::Code::NoAnswer, stopped.to_string()))
            });
            told.push((name.to_owned(), status));
        }
        told
    }

    /// The time, as some member knows it.
    ///
    /// # Errors
    /// No member answered.
    pub async fn now(&self) -> Result<raw::NowResponse> {
        let request = proto::NowRequest {};
        let now: proto::NowResponse = self.core.read(Method::Now, &request, None).await?;
        self.core.saw(now.header.clone());
        Ok(now)
    }

    /// Whether all these fences hold.
    ///
    /// # Errors
    /// Those that a write with these fences would have: Q4001 with both tokens, Q4002.
    pub async fn check(
        &self,
        fences: impl IntoIterator<Item = Fence>,
        consistency: Consistency,
    ) -> Result<Freshness> {
        let request = proto::CheckRequest {
            fences: fences.into_iter().map(|fence| fence.0).collect(),
            consistency: Some(self.core.consistency(Some(consistency))),
        };
        let answer: proto::CheckResponse = self.core.read(Method::Check, &request, None).await?;
        Ok(self.core.saw(answer.header))
    }

    /// Sends a message as it is and gives the answer as it is, with the retries of a read: for tools. What changes
    /// something must mean the same the second time; a write with a number goes by [`Client::raw_write`].
    ///
    /// # Errors
    /// As everywhere.
    pub async fn raw<Q, A>(&self, method: Method, request: &Q) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        if changes_nothing(method) {
            return self.core.read(method, request, None).await;
        }
        let until = self.core.until(None);
        Ok(self.core.repeat(method, request, until).await?.answer)
    }

    /// Sends a write as it is, which carries the number `request_id` for the first time, and gives the answer as it
    /// is: for tools that number their writes themselves.
    ///
    /// # Errors
    /// As everywhere.
    pub async fn raw_write<Q, A>(
        &self,
        method: Method,
        request: &Q,
        request_id: RequestId,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let until = self.core.until(None);
        let sessions = &self.sessions;
        let asked = sessions.attempt(method, request, request_id, until, false);
        asked.await.map_err(|failed| failed.error)
    }

    /// [`Client::raw_write`] of what was asked before under this number, here or elsewhere, and may have been applied.
    ///
    /// # Errors
    /// As everywhere. Without an answer of the cluster's it is indeterminate, even when nothing could be sent.
    pub async fn raw_write_again<Q, A>(
        &self,
        method: Method,
        request: &Q,
        request_id: RequestId,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let until = self.core.until(None);
        let sessions = &self.sessions;
        let asked = sessions.attempt(method, request, request_id, until, true);
        asked.await.map_err(|failed| failed.error)
    }
}

fn changes_nothing(method: Method) -> bool {
    match method {
        Method::Get
        | Method::Range
        | Method::Watch
        | Method::LookLease
        | Method::ListLeases
        | Method::Await
        | Method::LookQueue
        | Method::Check
        | Method::Observe
        | Method::Status
        | Method::Now => true,
        Method::Put
        | Method::Delete
        | Method::Txn
        | Method::Compact
        | Method::Grant
        | Method::Renew
        | Method::Revoke
        | Method::Enter
        | Method::Acquire
        | Method::Leave
        | Method::Proclaim => false,
    }
}
