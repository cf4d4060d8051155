//! The watch streams of a pair: both ends are sent the same, and what they deliver is compared.
//!
//! Events arrive when they arrive. Nothing here waits for a while and then looks: each step waits until both ends
//! have come as far, and only where nothing at all can be awaited (silence is an answer to a question for progress)
//! does time decide.

use super::{Failure, Pair};
use crate::differences::MISSING;
use crate::operation::Body;
use crate::proto;
use crate::proto::etcdserverpb as pb;
use crate::side::Side;
use crate::transport::PATIENCE;
use crate::tree::{Difference, Tree};
use crate::watching::{BARRIER, BARRIER_KEY, Sorted, Stream};
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What etcd takes to look at watches that begin in the past, and some more.
const SYNC_INTERVAL: Duration = Duration::from_millis(130);
/// How long one side's answer to a question for progress may be missing before it is asked again.
const PROGRESS_AGAIN: Duration = Duration::from_millis(120);
/// How many further times.
const PROGRESS_TRIES: u32 = 8;
/// How long a question for progress waits for anybody's answer: that nobody answers can be right.
const PROGRESS_SILENCE: Duration = Duration::from_millis(60);
/// How long events may be under way where no barrier tells.
const BLIND: Duration = Duration::from_millis(15);
/// How long one side's events may be missing when the other has them.
const EVENTS_PATIENCE: Duration = Duration::from_secs(5);

impl Pair {
    pub(super) async fn watch(
        &mut self,
        number: u8,
        caller: Option<u8>,
        message: &[u8],
    ) -> Result<(), Failure> {
        let method = proto::method("Watch/Watch");
        let Ok(request) = pb::WatchRequest::decode(message) else {
            return Ok(());
        };
        use pb::watch_request::RequestUnion;
        if !self.streams.contains_key(&number) {
            self.open(number, caller).await?;
        }
        let id = match &request.request_union {
            Some(RequestUnion::CancelRequest(cancel)) => Some(cancel.watch_id),
            _ => None,
        };
        // What is under way to a watch that ends is lost or not: a question of time.
        if id.is_some() {
            self.settle().await?;
        }
        // Whether an id is taken is a question of time where a watch is about to be ended by a compaction.
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union
            && create.watch_id != 0
        {
            self.wait_for_late_watches().await?;
        }
        self.dismissed(number).await?;
        // The member of the stream must have applied all that others answered.
        self.sync_members().await?;
        let body = Body::Template(message.to_vec());
        let (to_peer, to_ours) = (
            self.peer.fill(&method, &body, self.known),
            self.ours.fill(&method, &body, self.known),
        );
        self.absorb();
        let Some((peer, ours)) = self.streams.get_mut(&number) else {
            return Ok(());
        };
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union {
            peer.sorted.asked.push_back(create.fragment);
            ours.sorted.asked.push_back(create.fragment);
        }
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union
            && create.start_revision != 0
        {
            self.last_late_watch = Some(Instant::now());
        }
        let created = (peer.sorted.n_created, ours.sorted.n_created);
        let canceled = (peer.sorted.n_canceled, ours.sorted.n_canceled);
        let is_alive =
            id.is_some_and(|id| peer.sorted.alive.contains(&id) || ours.sorted.alive.contains(&id));
        peer.send(to_peer);
        ours.send(to_ours);
        match request.request_union {
            Some(RequestUnion::CreateRequest(_)) => {
                self.wait(number, |peer, ours| {
                    peer.n_created > created.0 && ours.n_created > created.1
                })
                .await
            }
            Some(RequestUnion::CancelRequest(_)) if is_alive => {
                self.wait(number, |peer, ours| {
                    peer.n_canceled > canceled.0 && ours.n_canceled > canceled.1
                })
                .await
            }
            _ => Ok(()),
        }
    }

    async fn open(&mut self, number: u8, caller: Option<u8>) -> Result<(), Failure> {
        let member = self.ours.next_member();
        let open = |side: &Side, member| {
            Stream::open(
                side.channel(member),
                side.token(caller),
                Arc::clone(&self.news),
            )
        };
        let mut streams = (open(&self.peer, 0), open(&self.ours, member));
        streams.0.sorted.asked.push_back(false);
        streams.1.sorted.asked.push_back(false);
        let barrier = pb::WatchCreateRequest {
            key: BARRIER_KEY.to_vec(),
            watch_id: BARRIER,
            ..Default::default()
        };
        use pb::watch_request::RequestUnion;
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(barrier)),
        };
        streams.0.send(request.encode_to_vec().into());
        streams.1.send(request.encode_to_vec().into());
        self.streams.insert(number, streams);
        self.wait(number, |peer, ours| {
            peer.n_created > 0 && ours.n_created > 0
        })
        .await
    }

    /// Lets every member apply what any has answered. One alone always has.
    pub(super) async fn sync_members(&mut self) -> Result<(), Failure> {
        if self.ours.n_members() == 1 {
            return Ok(());
        }
        let range = pb::RangeRequest {
            key: b"x".to_vec(),
            ..Default::default()
        };
        for _ in 0..self.ours.n_members() {
            self.say("KV/Range", &range).await?;
        }
        Ok(())
    }

    /// Waits until both ends of a stream are so, or have ended.
    async fn wait(
        &mut self,
        number: u8,
        is_so: impl Fn(&Sorted, &Sorted) -> bool,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            self.absorb();
            let Some((peer, ours)) = self.streams.get(&number) else {
                return Ok(());
            };
            let (peer, ours) = (&peer.sorted, &ours.sorted);
            if is_so(peer, ours) {
                return self.compare_events();
            }
            if peer.has_ended() && ours.has_ended() {
                self.compare_events()?;
                self.streams.remove(&number);
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return self.missing(number);
            }
            self.news_within(Duration::from_millis(5)).await;
        }
    }

    async fn news_within(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.news.notified()).await;
    }

    fn absorb(&mut self) {
        for (peer, ours) in self.streams.values_mut() {
            peer.absorb(&self.peer.names);
            ours.absorb(&self.ours.names);
        }
    }

    /// Compares what has arrived on both ends of every stream.
    pub(super) fn compare_events(&mut self) -> Result<(), Failure> {
        self.absorb();
        let mut streams = std::mem::take(&mut self.streams);
        let mut outcome = Ok(());
        for (number, (peer, ours)) in &mut streams {
            for (side, faults) in [("etcd", &peer.sorted.faults), ("ours", &ours.sorted.faults)] {
                if let Some(fault) = faults.first() {
                    let text = Tree::Text(format!("{side}: {fault}"));
                    let path = "promise".to_owned();
                    let difference = Difference {
                        path,
                        peer: None,
                        ours: Some(text),
                    };
                    let call = format!("Watch/Watch stream {number}");
                    outcome = outcome.and_then(|()| self.explain(&call, None, difference, None));
                }
            }
            let (found, n_events) = Sorted::compare(&mut peer.sorted, &mut ours.sorted);
            self.tally.n_events += n_events;
            self.tally.n_fragments += std::mem::take(&mut ours.sorted.n_fragments);
            for (difference, whole) in found {
                outcome =
                    outcome.and_then(|()| self.explain("Watch/Watch", None, difference, whole));
            }
        }
        for (peer, ours) in streams.values_mut() {
            dismiss(peer, ours);
        }
        streams.retain(|_, (peer, ours)| !(peer.sorted.has_ended() && ours.sorted.has_ended()));
        self.streams = streams;
        outcome
    }

    /// One side has something that the other has not, after all patience.
    fn missing(&mut self, number: u8) -> Result<(), Failure> {
        let Some((peer, ours)) = self.streams.get(&number) else {
            return Ok(());
        };
        let difference = Difference {
            path: MISSING.to_owned(),
            peer: peer.sorted.left(),
            ours: ours.sorted.left(),
        };
        // Whoever goes on goes on without this stream.
        self.streams.remove(&number);
        self.explain("Watch/Watch", None, difference, None)
    }

    /// Waits until etcd has forgotten what a compaction had ended.
    async fn dismissed(&mut self, number: u8) -> Result<(), Failure> {
        self.wait(number, |peer, _| peer.dismissed.is_empty()).await
    }

    /// Waits until every stream has delivered all that it must, and compares it.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        if self.streams.is_empty() {
            return Ok(());
        }
        let put = pb::PutRequest {
            key: BARRIER_KEY.to_vec(),
            ..Default::default()
        };
        let (answer, _) = self.say("KV/Put", &put).await?;
        if !answer.is_refused {
            let revision = answer.tree.number(&["header", "revision"]);
            let past = |sorted: &Sorted| sorted.barrier.is_none_or(|seen| seen >= revision);
            for number in self.streams.keys().copied().collect::<Vec<_>>() {
                self.wait(number, |peer, ours| past(peer) && past(ours))
                    .await?;
            }
        }
        let is_blind = |(peer, ours): &(Stream, Stream)| {
            peer.sorted.barrier.is_none() || ours.sorted.barrier.is_none()
        };
        if answer.is_refused || self.streams.values().any(is_blind) {
            tokio::time::sleep(BLIND).await;
        }
        let started = Instant::now();
        loop {
            self.compare_events()?;
            let unequal = self.streams.iter().find(|(_, (peer, ours))| {
                peer.sorted.left().is_some() || ours.sorted.left().is_some()
            });
            let Some((number, _)) = unequal else {
                return Ok(());
            };
            if started.elapsed() > EVENTS_PATIENCE {
                let number = *number;
                return self.missing(number);
            }
            self.news_within(Duration::from_millis(5)).await;
        }
    }

    /// Waits until etcd has looked at watches that begin in the past: a stream tells its progress only then.
    pub(super) async fn wait_for_late_watches(&mut self) -> Result<(), Failure> {
        if let Some(since) = self.last_late_watch.take() {
            tokio::time::sleep(SYNC_INTERVAL.saturating_sub(since.elapsed())).await;
            for number in self.streams.keys().copied().collect::<Vec<_>>() {
                self.progress(number).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn progress(&mut self, number: u8) -> Result<(), Failure> {
        if !self.streams.contains_key(&number) {
            return Ok(());
        }
        self.settle().await?;
        self.dismissed(number).await?;
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::ProgressRequest(
                pb::WatchProgressRequest {},
            )),
        };
        let body = bytes::Bytes::from(request.encode_to_vec());
        let Some((peer, ours)) = self.streams.get(&number) else {
            return Ok(());
        };
        let before = (peer.sorted.n_progress, ours.sorted.n_progress);
        peer.send(body.clone());
        ours.send(body.clone());
        let mut asked = Instant::now();
        let mut tries = 0;
        loop {
            self.absorb();
            let Some((peer, ours)) = self.streams.get(&number) else {
                return Ok(());
            };
            let heard = (
                peer.sorted.n_progress > before.0,
                ours.sorted.n_progress > before.1,
            );
            match heard {
                (true, true) => return Ok(()),
                (false, false) if asked.elapsed() > PROGRESS_SILENCE => return Ok(()),
                (true, false) | (false, true) if asked.elapsed() > PROGRESS_AGAIN => {
                    tries += 1;
                    if tries > PROGRESS_TRIES {
                        return self.missing(number);
                    }
                    let silent = if heard.0 { ours } else { peer };
                    silent.send(body.clone());
                    asked = Instant::now();
                }
                _ => {}
            }
            self.news_within(Duration::from_millis(5)).await;
        }
    }
}

/// Cancels what a compaction has ended, as good clients do.
fn dismiss(peer: &mut Stream, ours: &mut Stream) {
    for stream in [peer, ours] {
        for watch_id in std::mem::take(&mut stream.sorted.ended) {
            use pb::watch_request::RequestUnion;
            let request = pb::WatchRequest {
                request_union: Some(RequestUnion::CancelRequest(pb::WatchCancelRequest {
                    watch_id,
                })),
            };
            stream.sorted.dismissed.insert(watch_id);
            stream.send(request.encode_to_vec().into());
        }
    }
}
