//! Streams: watches and observers, over gRPC and as server-sent events alike.

use super::Native;
use crate::grpc::{EventSender, Replies};
use api::Code;
use native::{Encoding, Fault, Level, QueueName, Reply, WatchPlan};

/// Where a stream goes.
pub(super) enum Out<'a> {
    /// Messages of a gRPC call.
    Grpc(&'a mut Replies),
    /// Events of an HTTP answer.
    Events(&'a EventSender),
}

/// Why a stream ended early.
pub(super) enum Ended {
    /// With words for the client.
    Fault(Fault),
    /// The client is gone.
    Gone,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Fault(fault)
    }
}

impl Out<'_> {
    async fn send(&mut self, reply: &Reply) -> Result<(), Ended> {
        match self {
            Out::Grpc(replies) => {
                let sent = replies.send(reply.encode(Encoding::Proto)).await;
                sent.map_err(|_| Ended::Gone)
            }
            Out::Events(events) => {
                let sent = events.send(None, &reply.encode(Encoding::Json)).await;
                sent.map_err(|_| Ended::Gone)
            }
        }
    }

    /// Ready when the client of events is gone. A gRPC call that is reset is dropped by its transport.
    async fn gone(&self) {
        match self {
            Out::Grpc(_) => std::future::pending().await,
            Out::Events(events) => events.closed().await,
        }
    }
}

impl Native {
    /// What happens to keys, from the plan's start on.
    pub(super) async fn watch(&self, plan: &WatchPlan, mut out: Out<'_>) -> Result<(), Ended> {
        // Between the look and the watch nothing can happen: there is no `.await`.
        let (watching, first) = self.0.desks.watch(plan, &self.0.state())?;
        out.send(&first).await?;
        loop {
            tokio::select! {
                () = watching.work.signal.wait() => {}
                () = out.gone() => return Err(Ended::Gone),
            }
            if self.0.is_leaderless() {
                return Err(Fault::from(Code::NoAnswer).into());
            }
            // Whoever may no longer look is told nothing further.
            self.identity()?;
            let state = self.0.state();
            let streamed = watching.poll(&state);
            for reply in &streamed.replies {
                out.send(reply).await?;
            }
            if let Some(fault) = streamed.end {
                return Err(fault.into());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Who holds, from now on.
    pub(super) async fn observe(&self, queue: &QueueName, mut out: Out<'_>) -> Result<(), Ended> {
        let patience = self.0.config.request_timeout();
        self.0.fresh(Level::Linearizable, patience).await?;
        let observing = self.0.desks.observe(queue)?;
        loop {
            tokio::select! {
                () = observing.signal.wait() => {}
                () = out.gone() => return Err(Ended::Gone),
            }
            if self.0.is_stopped() {
                return Err(Fault::from(Code::Stopped).into());
            }
            if self.0.is_leaderless() {
                return Err(Fault::from(Code::NoAnswer).into());
            }
            self.identity()?;
            let told = observing.look(&self.0.state(), &self.0.native_header());
            if let Some(reply) = told {
                out.send(&reply).await?;
            }
        }
    }
}
