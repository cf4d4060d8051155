//! JSON that comes in, as the messages of a call.

use super::malformed;
use crate::grpc::limits::{HTTP1_BODY_TIMEOUT, UNDERSTOOD_AT_ONCE_BYTES_MAX};
use crate::grpc::{BodyError, Claim, Code, Messages, Place, RequestBody, Status, Turns};
use bytes::Bytes;
use etcd::json::{JsonValues, Schema};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

/// The one message of a call that has only one.
pub(super) struct One(pub(super) Option<Bytes>);

impl Messages for One {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        Poll::Ready(Ok(self.0.take()))
    }
}

/// The messages of a call that may have many: one object after the other in the body.
///
/// A client may be silent between two objects for as long as it likes. An object that has begun must end in time, and
/// takes its bytes from those that all requests under way share.
pub(super) struct Many {
    body: RequestBody,
    values: JsonValues,
    schema: Schema,
    bounds: Bounds,
    /// Large objects take turns.
    turns: Rc<Turns>,
    place: Place,
    /// An object that waits for its turn.
    whole: Option<Bytes>,
    claim: Option<Claim>,
    /// When the object that has begun must have ended.
    due: Option<Pin<Box<Sleep>>>,
}

/// How much one message may have.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of it in protobuf.
    pub(super) message_bytes_max: usize,
    /// Messages in one of its lists: operations of a transaction.
    pub(super) list_max: usize,
}

impl Many {
    pub(super) fn new(body: RequestBody, schema: Schema, bounds: Bounds, turns: Rc<Turns>) -> Many {
        Many {
            values: JsonValues::new(body.bytes_max()),
            body,
            schema,
            bounds,
            turns,
            place: Place::default(),
            whole: None,
            claim: None,
            due: None,
        }
    }

    /// Keeps account of what is held.
    fn hold(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        self.claim = None;
        let held = self.values.held_bytes();
        if held == 0 {
            self.due = None;
            return Ok(());
        }
        self.claim = self.body.claim(held.next_power_of_two()).map_err(unread)?;
        let due = self
            .due
            .get_or_insert_with(|| Box::pin(sleep(HTTP1_BODY_TIMEOUT)));
        match due.as_mut().poll(cx) {
            Poll::Ready(()) => Err(unread(BodyError::Gone)),
            Poll::Pending => Ok(()),
        }
    }
}

impl Messages for Many {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(value) = &self.whole {
                if value.len() > UNDERSTOOD_AT_ONCE_BYTES_MAX {
                    ready!(self.turns.poll_enter(&self.place, cx));
                }
                let message = decoded(self.schema, value, self.bounds)?;
                self.whole = None;
                return Poll::Ready(Ok(Some(message)));
            }
            self.whole = self.values.next_value().map_err(|e| malformed(&e))?;
            if self.whole.is_some() {
                // What follows it has begun now.
                self.due = None;
                continue;
            }
            self.hold(cx)?;
            match ready!(self.body.poll_chunk(cx)).map_err(unread)? {
                Some(chunk) => self.values.push(&chunk),
                None => {
                    self.values.end().map_err(|e| malformed(&e))?;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }
}

/// The first object of a body; what follows it is not looked at, and without any the message is empty, as in etcd.
pub(super) fn first(
    schema: Schema,
    body: &Bytes,
    bytes_max: usize,
    bounds: Bounds,
) -> Result<Bytes, Status> {
    let mut values = JsonValues::new(bytes_max);
    values.push(body);
    match values.next_value().map_err(|e| malformed(&e))? {
        Some(value) => decoded(schema, &value, bounds),
        None => {
            values.end().map_err(|e| malformed(&e))?;
            Ok(Bytes::new())
        }
    }
}

fn decoded(schema: Schema, value: &[u8], bounds: Bounds) -> Result<Bytes, Status> {
    let message = schema.read_bounded(value, bounds.list_max);
    let message = message.map_err(|e| malformed(&e))?;
    match message.len() > bounds.message_bytes_max {
        true => Err(too_large(message.len(), bounds.message_bytes_max)),
        false => Ok(message.into()),
    }
}

fn too_large(length: usize, max: usize) -> Status {
    let text = format!("grpc: received message larger than max ({length} vs. {max})");
    Status::new(Code::ResourceExhausted, text)
}

/// Why a body was not read, as a call's end.
pub(super) fn unread(error: BodyError) -> Status {
    let code = match error {
        BodyError::TooLarge(_) | BodyError::Busy => Code::ResourceExhausted,
        BodyError::Gone => Code::Cancelled,
    };
    Status::new(code, format!("quorate: {error}"))
}
