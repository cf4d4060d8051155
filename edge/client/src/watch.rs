//! Watching: every change of some keys, once each and in order, over cuts and changes of member.
//!
//! ```text
//!   member 1   ── 4 ── 5 ── synced 5 ── 6a ─╳ cut
//!   member 2                                └─ from 6: 6a 6b ── synced 6 ── …
//!   told        4    5                 6a           6b                       6a is not told twice
//! ```
//!
//! Invariants: what was told is remembered up to the *synced* revision, before which nothing can be missing, and one by one
//! behind it; a watch resumes at synced + 1 and leaves out what was told. Only a compacted history ends it: that is an
//! error with the oldest revision that is left, because silence would be a gap.

use crate::client::{Client, Core};
use crate::error::{Code, Error, Result, is_passing, may_be_applied};
use crate::transport::{Trial, error_of};
use crate::values::{KeyValue, Keys};
use api::{Method, proto};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;

/// Answers that wait for a slow reader; then the member waits.
const ANSWERS_MAX: usize = 64;

/// A member says something every few seconds, if only that nothing happened. One that is silent for so long is left.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchKind {
    /// It was written.
    Put,
    /// It was deleted, or went with its lease.
    Delete,
}

/// A change of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchKind,
    /// The key; without a value when it was deleted.
    pub kv: KeyValue,
    /// What was there before, when [`WatchBuilder::previous`] asked for it.
    pub previous: Option<KeyValue>,
}

impl WatchEvent {
    /// The revision at which it happened.
    pub fn revision(&self) -> u64 {
        self.kv.revision
    }
}

/// Why a watch ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// What should have been told next is forgotten: some changes can never be told. Read the keys anew, and watch from
    /// the revision of that read.
    #[error("history before revision {oldest} is compacted")]
    Compacted {
        /// The oldest revision that can be told.
        oldest: u64,
    },
    /// The cluster refused it.
    #[error(transparent)]
    Refused(Error),
}

/// What to watch.
#[derive(Clone, Debug)]
#[must_use = "a watch begins with `stream`"]
pub struct WatchBuilder {
    client: Client,
    request: proto::WatchRequest,
}

impl Client {
    /// Watches keys.
    ///
    /// ```no_run
    /// # async fn story(q: &quorate::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate::Keys;
    /// let config = q.range(Keys::prefix("/app/")).await?;
    /// let mut changes = q
    ///     .watch(Keys::prefix("/app/"))
    ///     .from(config.freshness.revision + 1)
    ///     .stream();
    /// while let Some(change) = changes.next().await {
    ///     println!("{:?}", change?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, keys: impl Into<Keys>) -> WatchBuilder {
        WatchBuilder {
            client: self.clone(),
            request: proto::WatchRequest {
                keys: Some(keys.into().message()),
                progress: true,
                ..proto::WatchRequest::default()
            },
        }
    }
}

impl WatchBuilder {
    /// The first revision of interest; 0: what happens from now on.
    pub fn from(mut self, revision: u64) -> WatchBuilder {
        self.request.start_revision = revision;
        self
    }

    /// Tell what was there before.
    pub fn previous(mut self) -> WatchBuilder {
        self.request.previous = true;
        self
    }

    /// Without writes.
    pub fn no_put(mut self) -> WatchBuilder {
        self.request.no_put = true;
        self
    }

    /// Without deletes.
    pub fn no_delete(mut self) -> WatchBuilder {
        self.request.no_delete = true;
        self
    }

    /// Begins to watch.
    pub fn stream(self) -> Watch {
        let (tx, rx) = mpsc::channel(ANSWERS_MAX);
        let core = self.client.core.clone();
        let runtime = core.runtime.clone();
        // It ends when the watch is dropped: then nobody takes its answers.
        runtime.spawn(follow(core, self.request, tx));
        Watch {
            told: rx,
            events: VecDeque::new(),
            stands: false,
            synced_next: 0,
            synced: Arc::new(AtomicU64::new(0)),
        }
    }
}

/// Changes as they happen. It resumes by itself, for as long as it takes; it ends after its first error.
#[must_use = "a stream does nothing until it is read"]
pub struct Watch {
    told: mpsc::Receiver<Result<Told, WatchError>>,
    events: VecDeque<WatchEvent>,
    stands: bool,
    /// What `synced` becomes when `events` are taken.
    synced_next: u64,
    synced: Arc<AtomicU64>,
}

/// What one answer brings.
#[derive(Debug)]
struct Told {
    events: Vec<WatchEvent>,
    synced: u64,
}

impl Watch {
    /// The next change; nothing after an error.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, WatchError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The next changes, of whole revisions: what was written together is given together. Nothing after an error.
    pub async fn next_whole(&mut self) -> Option<Result<Vec<WatchEvent>, WatchError>> {
        loop {
            let is_whole = |event: &WatchEvent| event.revision() <= self.synced_next;
            let n_whole = self.events.iter().take_while(|it| is_whole(it)).count();
            if n_whole > 0 {
                let whole = self.events.drain(..n_whole).collect();
                self.settle();
                return Some(Ok(whole));
            }
            match self.told.recv().await? {
                Ok(told) => self.take(told),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Waits until the watch stands: what happens from then on will be told.
    ///
    /// # Errors
    /// Why it ended. It is told here instead of by [`Watch::next`].
    pub async fn started(&mut self) -> Result<u64, WatchError> {
        while !self.stands {
            match self.told.recv().await {
                Some(Ok(told)) => self.take(told),
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(self.synced())
    }

    /// All changes up to this revision have been taken; to go on elsewhere, watch from the next one. 0 before the watch
    /// stands.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Relaxed)
    }

    fn take(&mut self, told: Told) {
        self.stands = true;
        self.events.extend(told.events);
        self.synced_next = self.synced_next.max(told.synced);
        self.settle();
    }

    fn settle(&self) {
        if self.events.is_empty() {
            self.synced.store(self.synced_next, Ordering::Relaxed);
        }
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.settle();
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.told.poll_recv(cx)) {
                Some(Ok(told)) => self.take(told),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("synced", &self.synced())
            .finish_non_exhaustive()
    }
}

/// What was told: everything up to `synced`, and behind it so many changes of each revision. Every member tells the
/// changes of one revision in the same order.
#[derive(Debug, Default)]
struct Cursor {
    /// Nothing until a member has said where the watch stands. (Revision 0 is a place to stand at, too.)
    synced: Option<u64>,
    /// What was told of revisions behind `synced`, over all members.
    told: BTreeMap<u64, usize>,
    /// What this member has told of them.
    heard: BTreeMap<u64, usize>,
}

impl Cursor {
    /// Another member begins to tell, behind `synced`.
    fn resume(&mut self) {
        self.heard.clear();
    }

    /// Takes one answer; gives what is new of it.
    fn take(&mut self, answer: proto::WatchResponse) -> Vec<WatchEvent> {
        let mut new = Vec::new();
        for event in answer.events {
            let kind = match event.kind() {
                proto::EventKind::Put => WatchKind::Put,
                proto::EventKind::Delete => WatchKind::Delete,
            };
            let kv = KeyValue::of(event.kv.unwrap_or_default());
            if self.synced.is_some_and(|synced| kv.revision <= synced) {
                continue;
            }
            let heard = self.heard.entry(kv.revision).or_default();
            let told = self.told.entry(kv.revision).or_default();
            *heard += 1;
            if *heard > *told {
                *told = *heard;
                new.push(WatchEvent {
                    kind,
                    kv,
                    previous: event.previous.map(KeyValue::of),
                });
            }
        }
        let synced = self.synced.unwrap_or(0).max(answer.synced_revision);
        self.synced = Some(synced);
        self.told = self.told.split_off(&(synced + 1));
        self.heard = self.heard.split_off(&(synced + 1));
        new
    }
}

/// Watches at one member after the other until nobody listens, or there is an error that does not pass.
async fn follow(
    core: Arc<Core>,
    mut request: proto::WatchRequest,
    tx: mpsc::Sender<Result<Told, WatchError>>,
) {
    let mut cursor = Cursor {
        synced: request.start_revision.checked_sub(1),
        ..Cursor::default()
    };
    let mut trial = Trial::default();
    while !tx.is_closed() {
        if let Some(synced) = cursor.synced {
            request.start_revision = synced + 1;
        }
        let watching = watch_once(&core, &mut trial, &request, &mut cursor, &tx);
        let error = tokio::select! {
            ended = watching => ended,
            () = tx.closed() => return,
        };
        if error.known() == Some(Code::Compacted) {
            let oldest = error.revision.unwrap_or(0);
            let _ = tx.send(Err(WatchError::Compacted { oldest })).await;
            return;
        }
        if !is_passing(&error) && !may_be_applied(&error) {
            let refused = WatchError::Refused(Error::refused(error));
            let _ = tx.send(Err(refused)).await;
            return;
        }
        tokio::select! {
            () = core.transport.pause_stream(&mut trial) => {}
            () = tx.closed() => return,
        }
    }
}

/// Watches at one member until that ends; says why.
async fn watch_once(
    core: &Core,
    trial: &mut Trial,
    request: &proto::WatchRequest,
    cursor: &mut Cursor,
    tx: &mpsc::Sender<Result<Told, WatchError>>,
) -> proto::Error {
    cursor.resume();
    let opened = core.transport.stream(trial, Method::Watch, request.clone());
    let mut answers: tonic::Streaming<proto::WatchResponse> = match opened.await {
        Ok(answers) => answers,
        Err(error) => return error,
    };
    let gone = || Code::NoAnswer.error("the watch was cut");
    loop {
        let mut answer = match tokio::time::timeout(SILENCE_MAX, answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) | Err(_) => return gone(),
            Ok(Err(status)) => return error_of(&status, "watch"),
        };
        // The first one has no events: it says where the watch stands.
        if trial.n_told == 0 && answer.events.is_empty() && request.start_revision == 0 {
            let stands = answer.header.as_ref().map_or(0, |header| header.revision);
            answer.synced_revision = answer.synced_revision.max(stands);
        }
        trial.n_told += 1;
        core.saw(answer.header.take());
        let events = cursor.take(answer);
        let told = Told {
            events,
            synced: cursor.synced.unwrap_or(0),
        };
        if tx.send(Ok(told)).await.is_err() {
            return gone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(events: &[(u64, &'static str)], synced_revision: u64) -> proto::WatchResponse {
        let event = |(revision, key): &(u64, &'static str)| proto::Event {
            kv: Some(proto::KeyValue {
                key: key.as_bytes().into(),
                mod_revision: *revision,
                ..proto::KeyValue::default()
            }),
            ..proto::Event::default()
        };
        proto::WatchResponse {
            events: events.iter().map(event).collect(),
            synced_revision,
            ..proto::WatchResponse::default()
        }
    }

    fn taken(cursor: &mut Cursor, answer: proto::WatchResponse) -> Vec<(u64, String)> {
        let new = cursor.take(answer).into_iter();
        new.map(|it| (it.revision(), it.kv.key.to_string()))
            .collect()
    }

    #[test]
    fn half_a_revision_is_not_told_twice_after_a_cut() {
        let mut cursor = Cursor::default();
        let told = taken(&mut cursor, answer(&[(5, "a"), (6, "a")], 5));
        assert_eq!(told, [(5, "a".to_owned()), (6, "a".to_owned())]);
        cursor.resume();
        let again = taken(&mut cursor, answer(&[(6, "a"), (6, "b")], 6));
        assert_eq!(again, [(6, "b".to_owned())]);
        cursor.resume();
        assert_eq!(taken(&mut cursor, answer(&[(6, "a")], 6)), []);
        assert!(cursor.told.is_empty() && cursor.heard.is_empty());
    }

    #[test]
    fn one_key_may_change_twice_at_one_revision() {
        let mut cursor = Cursor::default();
        let told = taken(&mut cursor, answer(&[(6, "a"), (6, "a")], 5));
        assert_eq!(told.len(), 2);
        cursor.resume();
        let again = taken(&mut cursor, answer(&[(6, "a"), (6, "a"), (6, "a")], 6));
        assert_eq!(again.len(), 1);
    }
}
