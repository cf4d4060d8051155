//! The calls that go on: watches, lease keep-alive, health. Snapshots are in `backup`.

use super::{Ended, Front};
use crate::auth::Asking;
use crate::grpc::{Call, Requests};
use crate::member::OpenStream;
use bytes::Bytes;
use etcd::auth::Needs;
use etcd::{Health, LeaseStream, Method, Refusal, Renewal, Status};
use node::LeaseAnswer;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes of events that one stream takes from its watches at a time; what it holds behind a client that
/// does not read.
const POLL_BYTES: usize = 256 * 1024;

/// What a watch stream's task woke for.
enum Woken {
    Request(Bytes),
    End,
    Work,
}

impl Front {
    /// One client's watches. Requests are read only while nothing waits to be sent, so a client that does
    /// not read cannot make this member remember its questions either.
    pub(super) async fn watch(&self, call: &mut Call) -> Result<(), Ended> {
        self.check_leader(call)?;
        let wants_leader = super::wants_leader(call);
        let stream = self.0.open_stream(call.head.from);
        let asking = super::asking(call);
        let Call {
            requests, replies, ..
        } = call;
        replies.open()?;
        let mut asks = true;
        loop {
            match next_of(requests, asks, &stream).await? {
                Woken::Request(request) => {
                    self.0.await_token(&asking).await;
                    let handled = {
                        let state = self.0.state();
                        // As in etcd each watch is asked for anew: the token may have come to its end.
                        let who = self.0.doorkeeper.identify(&asking, &state);
                        let mut desk = self.0.desk.borrow_mut();
                        desk.handle_as(stream.id, &request, &state, &who)
                    };
                    for message in handled? {
                        replies.send(message).await?;
                    }
                }
                // The client has no more to ask and still wants to hear, as long as there is a watch.
                Woken::End => asks = false,
                Woken::Work if wants_leader && self.0.is_leaderless() => {
                    return Err(Refusal::NoLeader.into());
                }
                Woken::Work => {}
            }
            // All that there is, in order, before anything else is asked.
            loop {
                let mut messages = stream.work.pending.take();
                {
                    let state = self.0.state();
                    let mut desk = self.0.desk.borrow_mut();
                    messages.extend(desk.poll(stream.id, &state, POLL_BYTES));
                }
                self.0.wake_streams();
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    replies.send(message).await?;
                }
                tokio::task::yield_now().await;
            }
            if !asks && !self.0.desk.borrow().has_watches(stream.id) {
                return Ok(());
            }
        }
    }

    /// One client's lease renewals, answered in order.
    pub(super) async fn lease_keep_alive(&self, call: &mut Call) -> Result<(), Ended> {
        self.check_leader(call)?;
        let asking = super::asking(call);
        let _ = self.admit(&asking, &Needs::user(), false).await?;
        let Call {
            requests, replies, ..
        } = call;
        let mut stream = LeaseStream::new();
        let mut under_way: VecDeque<(u64, Renewing<'_>)> = VecDeque::new();
        let mut open = true;
        let mut refused = None;
        replies.open()?;
        while open || !under_way.is_empty() {
            let may_ask = open && !stream.is_full();
            let next = poll_fn(|cx| poll_renewals(requests, may_ask, &mut under_way, cx)).await;
            match next? {
                Renewed::Asked(Some(request)) => {
                    match self.renewal(&mut stream, &request, &asking).await {
                        Ok(renewal) => {
                            let asked = self.0.lease(renewal.lease, true);
                            under_way.push_back((renewal.number, Box::pin(asked)));
                        }
                        // What was asked before is answered first.
                        Err(status) => (open, refused) = (false, Some(status)),
                    }
                }
                Renewed::Asked(None) => open = false,
                Renewed::Answered(number, answer) => match answer? {
                    // A renewed lease has its full time, which is whole seconds.
                    LeaseAnswer::Alive { remaining_ms, .. } => {
                        stream.renewed(number, Some(remaining_ms / 1000));
                    }
                    LeaseAnswer::Gone => stream.renewed(number, None),
                    LeaseAnswer::Stopped => return Err(Refusal::Stopped.into()),
                },
            }
            let (header, revision) = (self.0.header(), self.0.with_state(|state| state.revision()));
            while let Some(answer) = stream.next_answer(revision, &header) {
                replies.send(answer).await?;
            }
        }
        refused.map_or(Ok(()), |status| Err(status.into()))
    }

    /// The next renewal that is asked for, if it may be.
    async fn renewal(
        &self,
        stream: &mut LeaseStream,
        request: &[u8],
        asking: &Asking,
    ) -> Result<Renewal, Status> {
        let renewal = stream.handle(request)?;
        let needs = Needs::of_renewal(renewal.lease);
        let _ = self.admit(asking, &needs, false).await?;
        Ok(renewal)
    }

    pub(super) async fn health(
        &self,
        method: Method,
        known: bool,
        call: &mut Call,
    ) -> Result<(), Ended> {
        if method == Method::HealthCheck {
            if !known {
                return Err(etcd::unknown_service().into());
            }
            return Ok(call
                .replies
                .reply(etcd::answer_health(Health::Serving))
                .await?);
        }
        let health = if known {
            Health::Serving
        } else {
            Health::ServiceUnknown
        };
        call.replies.send(etcd::answer_health(health)).await?;
        // It stays as it is for as long as this process answers at all.
        std::future::pending().await
    }
}

async fn next_of(requests: &mut Requests, asks: bool, stream: &OpenStream) -> Result<Woken, Ended> {
    poll_fn(|cx| {
        if stream.work.signal.poll_wait(cx).is_ready() {
            return Poll::Ready(Ok(Woken::Work));
        }
        if !asks {
            return Poll::Pending;
        }
        match requests.poll_next(cx) {
            Poll::Ready(Ok(Some(request))) => Poll::Ready(Ok(Woken::Request(request))),
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(Woken::End)),
            Poll::Ready(Err(status)) => Poll::Ready(Err(status.into())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

type Renewing<'a> = Pin<Box<dyn Future<Output = Result<LeaseAnswer, Status>> + 'a>>;

enum Renewed {
    Asked(Option<Bytes>),
    Answered(u64, Result<LeaseAnswer, Status>),
}

fn poll_renewals(
    requests: &mut Requests,
    may_ask: bool,
    under_way: &mut VecDeque<(u64, Renewing<'_>)>,
    cx: &mut Context<'_>,
) -> Poll<Result<Renewed, Ended>> {
    for at in 0..under_way.len() {
        let (number, renewing) = &mut under_way[at];
        if let Poll::Ready(answer) = renewing.as_mut().poll(cx) {
            let number = *number;
            under_way.remove(at);
            return Poll::Ready(Ok(Renewed::Answered(number, answer)));
        }
    }
    if may_ask && let Poll::Ready(request) = requests.poll_next(cx) {
        return Poll::Ready(Ok(Renewed::Asked(request?)));
    }
    Poll::Pending
}
