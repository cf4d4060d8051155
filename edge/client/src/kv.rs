//! Keys and values: get, range, put, delete.
//!
//! Each call gives a request that is sent by awaiting it, so that what is special is said in between:
//!
//! ```no_run
//! # async fn story(q: &quorate::Client, guard: &quorate::LockGuard) -> quorate::Result<()> {
//! use quorate::{Consistency, Keys};
//! let got = q.get("/app/colour").consistency(Consistency::Session).await?;
//! let revision = got.kv.as_ref().map_or(0, |kv| kv.revision);
//! q.put("/app/colour", "blue")
//!     .if_revision(revision)
//!     .fence(&guard.fence())
//!     .await?;
//! let mut all = q.range(Keys::prefix("/app/")).stream();
//! while let Some(kv) = all.next().await {
//!     println!("{:?}", kv?);
//! }
//! # Ok(())
//! # }
//! ```

use crate::client::Client;
use crate::error::Result;
use crate::read::{Consistency, Freshness};
use crate::sessions::Numbering;
use crate::values::{Condition, Fence, Key, KeyValue, Keys, value};
use api::{Method, proto};
use base::LeaseId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio_stream::Stream;

/// A request under way.
pub type Asking<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Which state is read, and for how long it is tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadOptions {
    pub(crate) consistency: Option<Consistency>,
    revision: u64,
    as_of: String,
    pub(crate) timeout: Option<Duration>,
}

impl ReadOptions {
    fn message(&self, client: &Client) -> proto::Read {
        proto::Read {
            consistency: Some(client.core.consistency(self.consistency)),
            revision: self.revision,
            as_of: self.as_of.clone(),
        }
    }
}

/// Under which conditions a write takes effect, and how it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) fences: Vec<Fence>,
    pub(crate) commit_wait: bool,
    pub(crate) numbering: Numbering,
    pub(crate) timeout: Option<Duration>,
}

impl WriteOptions {
    pub(crate) fn message(&self, retry: Option<proto::Retry>) -> proto::Write {
        proto::Write {
            conditions: self.conditions.iter().map(|it| it.0.clone()).collect(),
            fences: self.fences.iter().map(|it| it.0.clone()).collect(),
            retry,
            commit_wait: self.commit_wait,
        }
    }
}

macro_rules! read_options {
    ($name:ident) => {
        impl $name {
            /// How fresh the state must be; see [`Consistency`].
            pub fn consistency(mut self, consistency: Consistency) -> Self {
                self.options.consistency = Some(consistency);
                self
            }

            /// As it was at this revision.
            pub fn at_revision(mut self, revision: u64) -> Self {
                self.options.revision = revision;
                self
            }

            /// As it was at this time: RFC 3339, with a counter behind it or not.
            pub fn as_of(mut self, time: impl Into<String>) -> Self {
                self.options.as_of = time.into();
                self
            }

            /// For how long it is tried, instead of the client's deadline.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }
        }
    };
}

macro_rules! write_options {
    ($name:ident) => {
        impl $name {
            /// Refused unless `fence` holds at the moment of the write.
            pub fn fence(mut self, fence: &$crate::values::Fence) -> Self {
                self.options.fences.push(fence.clone());
                self
            }

            /// Answered when the write's time is surely in the past, by every clock that keeps its bound.
            pub fn commit_wait(mut self) -> Self {
                self.options.commit_wait = true;
                self
            }

            /// Whether it is numbered, so that a lost answer is asked again and it takes effect once; it is unless this
            /// says no.
            pub fn once(mut self, is_numbered: bool) -> Self {
                self.options.numbering = match is_numbered {
                    true => $crate::sessions::Numbering::Next,
                    false => $crate::sessions::Numbering::None,
                };
                self
            }

            /// Repeats the write of an [`Error::Indeterminate`](crate::Error::Indeterminate). It must be the same write;
            /// an earlier attempt of it counts, and this one only if there was none.
            pub fn request_id(mut self, id: $crate::error::RequestId) -> Self {
                self.options.numbering = $crate::sessions::Numbering::Given(id);
                self
            }

            /// For how long it is tried, instead of the client's deadline.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.timeout = Some(timeout);
                self
            }
        }
    };
}
pub(crate) use write_options;

/// Asks for one key; send it by awaiting it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Get {
    client: Client,
    key: Key,
    options: ReadOptions,
}

/// What a [`Get`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Got {
    /// The key with its value; nothing when there is none.
    pub kv: Option<KeyValue>,
    /// How fresh that is.
    pub freshness: Freshness,
}

/// Asks for several keys; send it by awaiting it, or read page by page with [`Range::stream`].
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Range {
    client: Client,
    keys: Keys,
    limit: u32,
    is_descending: bool,
    keys_only: bool,
    options: ReadOptions,
}

/// What a [`Range`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Ranged {
    /// The keys with their values, in order.
    pub kvs: Vec<KeyValue>,
    /// How many there are in the range, whatever the limit.
    pub count: u64,
    /// There are more; [`Range::stream`] reads them all.
    pub more: bool,
    /// How fresh that is.
    pub freshness: Freshness,
    next: Key,
}

/// Writes a key; send it by awaiting it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Put {
    client: Client,
    key: Key,
    value: Bytes,
    lease: LeaseId,
    previous: bool,
    options: WriteOptions,
}

/// What a [`Put`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Written {
    /// The revision and time of the write.
    pub freshness: Freshness,
    /// What was there before, when [`Put::previous`] asked for it.
    pub previous: Option<KeyValue>,
}

impl Written {
    /// The revision that the write took.
    pub fn revision(&self) -> u64 {
        self.freshness.revision
    }
}

/// Deletes keys; send it by awaiting it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Delete {
    client: Client,
    keys: Keys,
    previous: bool,
    options: WriteOptions,
}

/// What a [`Delete`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Deleted {
    /// How many keys went.
    pub deleted: u64,
    /// What they were, when [`Delete::previous`] asked for it.
    pub previous: Vec<KeyValue>,
    /// The revision and time of the write.
    pub freshness: Freshness,
}

impl Client {
    /// Asks for one key.
    pub fn get(&self, key: impl Into<Key>) -> Get {
        Get {
            client: self.clone(),
            key: key.into(),
            options: ReadOptions::default(),
        }
    }

    /// Asks for several keys.
    pub fn range(&self, keys: impl Into<Keys>) -> Range {
        Range {
            client: self.clone(),
            keys: keys.into(),
            limit: 0,
            is_descending: false,
            keys_only: false,
            options: ReadOptions::default(),
        }
    }

    /// Writes a key.
    pub fn put(&self, key: impl Into<Key>, to: impl Into<Key>) -> Put {
        Put {
            client: self.clone(),
            key: key.into(),
            value: value(to),
            lease: LeaseId::NONE,
            previous: false,
            options: WriteOptions::default(),
        }
    }

    /// Deletes keys.
    pub fn delete(&self, keys: impl Into<Keys>) -> Delete {
        Delete {
            client: self.clone(),
            keys: keys.into(),
            previous: false,
            options: WriteOptions::default(),
        }
    }

    /// Forgets what was before `revision`.
    ///
    /// # Errors
    /// Q3102 when it has not happened yet.
    pub async fn compact(&self, revision: u64) -> Result<Freshness> {
        let request = proto::CompactRequest { revision };
        let until = self.core.until(None);
        let asked = self.core.repeat(Method::Compact, &request, until);
        let answer: proto::CompactResponse = asked.await?.answer;
        Ok(self.core.saw(answer.header))
    }
}

read_options!(Get);
read_options!(Range);
write_options!(Put);
write_options!(Delete);

impl IntoFuture for Get {
    type Output = Result<Got>;
    type IntoFuture = Asking<Got>;

    fn into_future(self) -> Asking<Got> {
        Box::pin(async move {
            let core = &self.client.core;
            let request = proto::GetRequest {
                key: self.key.0,
                read: Some(self.options.message(&self.client)),
            };
            let asked = core.read(Method::Get, &request, self.options.timeout);
            let answer: proto::GetResponse = asked.await?;
            Ok(Got {
                freshness: core.saw(answer.header),
                kv: answer.kv.map(KeyValue::of),
            })
        })
    }
}

impl Range {
    /// At most so many in one answer; 0 for the server's limit.
    pub fn limit(mut self, limit: u32) -> Range {
        self.limit = limit;
        self
    }

    /// The last first.
    pub fn descending(mut self) -> Range {
        self.is_descending = true;
        self
    }

    /// Without the values.
    pub fn keys_only(mut self) -> Range {
        self.keys_only = true;
        self
    }

    /// Only how many there are.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn count(self) -> Result<(u64, Freshness)> {
        let ranged = self.ask(true).await?;
        Ok((ranged.count, ranged.freshness))
    }

    /// All of them, page by page, all at the revision of the first page. [`Range::limit`] is the size of a page.
    pub fn stream(self) -> RangeStream {
        RangeStream {
            page: VecDeque::new(),
            asking: Some(self.clone().into_future()),
            range: self,
        }
    }

    fn ask(self, count_only: bool) -> Asking<Ranged> {
        Box::pin(async move {
            let core = &self.client.core;
            let request = proto::RangeRequest {
                read: Some(self.options.message(&self.client)),
                keys: Some(self.keys.message()),
                limit: self.limit,
                descending: self.is_descending,
                keys_only: self.keys_only,
                count_only,
            };
            let asked = core.read(Method::Range, &request, self.options.timeout);
            let answer: proto::RangeResponse = asked.await?;
            Ok(Ranged {
                freshness: core.saw(answer.header),
                kvs: KeyValue::all(answer.kvs),
                count: answer.count,
                more: answer.more,
                next: Key(answer.next),
            })
        })
    }
}

impl IntoFuture for Range {
    type Output = Result<Ranged>;
    type IntoFuture = Asking<Ranged>;

    fn into_future(self) -> Asking<Ranged> {
        self.ask(false)
    }
}

/// All keys of a [`Range`], page by page. It ends after its first error.
#[must_use = "a stream does nothing until it is read"]
pub struct RangeStream {
    page: VecDeque<KeyValue>,
    asking: Option<Asking<Ranged>>,
    range: Range,
}

impl RangeStream {
    /// The next key; nothing at the end.
    pub async fn next(&mut self) -> Option<Result<KeyValue>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for RangeStream {
    type Item = Result<KeyValue>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(kv) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(kv)));
            }
            let Some(asking) = &mut self.asking else {
                return Poll::Ready(None);
            };
            let asked = ready!(asking.as_mut().poll(cx));
            self.asking = None;
            let ranged = match asked {
                Ok(ranged) => ranged,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if ranged.more {
                let range = &mut self.range;
                range.keys = range.keys.rest(ranged.next, range.is_descending);
                // One state for all pages. A member that has not come so far yet is not asked for the future.
                range.options.revision = ranged.freshness.revision;
                range.options.as_of = String::new();
                if let Some(token) = ranged.freshness.token {
                    range.options.consistency = Some(Consistency::SessionOf(token));
                }
                self.asking = Some(self.range.clone().into_future());
            }
            self.page = ranged.kvs.into();
        }
    }
}

impl Put {
    /// The key goes with this lease.
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.lease = lease;
        self
    }

    /// Only if the key was written last at `revision`; 0: only if it is not there.
    pub fn if_revision(self, revision: u64) -> Put {
        let key = self.key.clone();
        self.condition(Condition::of(key).revision(revision))
    }

    /// Only if the key is not there.
    pub fn if_absent(self) -> Put {
        let key = self.key.clone();
        self.condition(Condition::of(key).is_absent())
    }

    /// Only if the key is there.
    pub fn if_present(self) -> Put {
        let key = self.key.clone();
        self.condition(Condition::of(key).exists())
    }

    /// Only if `condition` holds; else Q5001.
    pub fn condition(mut self, condition: Condition) -> Put {
        self.options.conditions.push(condition);
        self
    }

    /// Tell what was there before.
    pub fn previous(mut self) -> Put {
        self.previous = true;
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<Written>;
    type IntoFuture = Asking<Written>;

    fn into_future(self) -> Asking<Written> {
        Box::pin(async move {
            let request = |retry| proto::PutRequest {
                key: self.key.0.clone(),
                value: self.value.clone(),
                lease: self.lease.0,
                write: Some(self.options.message(retry)),
                previous: self.previous,
            };
            let client = &self.client;
            let until = client.core.until(self.options.timeout);
            let numbering = self.options.numbering;
            let asked = client
                .sessions
                .write(Method::Put, numbering, until, request);
            let answer: proto::PutResponse = asked.await?;
            Ok(Written {
                freshness: client.core.saw(answer.header),
                previous: answer.previous.map(KeyValue::of),
            })
        })
    }
}

impl Delete {
    /// Only if the key was written last at `revision`. For deletes of one key.
    pub fn if_revision(self, revision: u64) -> Delete {
        match &self.keys {
            Keys::Key(key) => {
                let condition = Condition::of(key).revision(revision);
                self.condition(condition)
            }
            // The server refuses what no key can fulfil: an empty name.
            _ => self.condition(Condition::of("").revision(revision)),
        }
    }

    /// Only if `condition` holds; else Q5001.
    pub fn condition(mut self, condition: Condition) -> Delete {
        self.options.conditions.push(condition);
        self
    }

    /// Tell what was there before.
    pub fn previous(mut self) -> Delete {
        self.previous = true;
        self
    }
}

impl IntoFuture for Delete {
    type Output = Result<Deleted>;
    type IntoFuture = Asking<Deleted>;

    fn into_future(self) -> Asking<Deleted> {
        Box::pin(async move {
            let request = |retry| proto::DeleteRequest {
                keys: Some(self.keys.clone().message()),
                write: Some(self.options.message(retry)),
                previous: self.previous,
            };
            let client = &self.client;
            let until = client.core.until(self.options.timeout);
            let numbering = self.options.numbering;
            let asked = client
                .sessions
                .write(Method::Delete, numbering, until, request);
            let answer: proto::DeleteResponse = asked.await?;
            Ok(Deleted {
                freshness: client.core.saw(answer.header),
                deleted: answer.deleted,
                previous: KeyValue::all(answer.previous),
            })
        })
    }
}
