//! Both servers in lock step: each operation is done to both, and what comes back is compared, before the next.

use crate::contest;
use crate::differences::{MISSING, Rules, Seen};
use crate::marks::Known;
use crate::operation::{Ask, Body, Operation, Which};
use crate::proto;
use crate::proto::etcdserverpb as pb;
use crate::side::{Answer, Side};
use crate::transport::{self, PATIENCE};
use crate::tree::{Difference, Tree};
use crate::watching::{BARRIER, BARRIER_KEY, Sorted, Stream};
use prost::Message;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_stream::StreamExt;

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

/// Two programs to compare, and how.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) peer: PathBuf,
    pub(crate) ours: PathBuf,
    /// How many members ours has.
    pub(crate) n_members: usize,
    /// What may differ.
    pub(crate) rules: Rules,
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The servers differ, and no rule says that they may.
    #[error("{0}")]
    Differs(Box<Finding>),
    /// A server does not start, or dies.
    #[error("a server failed")]
    Server(#[from] io::Error),
}

/// An unexplained difference.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) call: String,
    pub(crate) request: Option<Tree>,
    pub(crate) difference: Difference,
    /// Both whole answers, if it was one.
    pub(crate) answers: Option<(Tree, Tree)>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show =
            |tree: &Option<Tree>| tree.as_ref().map_or("nothing".to_owned(), Tree::to_string);
        writeln!(f, "{} differs at {}", self.call, self.difference.path)?;
        if let Some(request) = &self.request {
            writeln!(f, "  asked: {request}")?;
        }
        writeln!(f, "  etcd: {}", show(&self.difference.peer))?;
        writeln!(f, "  ours: {}", show(&self.difference.ours))?;
        if let Some((peer, ours)) = &self.answers {
            writeln!(f, "whole answers\n  etcd: {peer}\n  ours: {ours}")?;
        }
        Ok(())
    }
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By kind: how many operations, and how many of them were refused by both.
    pub(crate) kinds: BTreeMap<&'static str, (u64, u64)>,
    /// By rule: how many differences it explained.
    pub(crate) rules: BTreeMap<usize, u64>,
    /// By method and place: differences that no rule explains, where a run goes on all the same, and the first.
    pub(crate) unexplained: BTreeMap<(String, String), (u64, Finding)>,
    /// How many events were compared.
    pub(crate) n_events: u64,
}

/// The two servers and what is open between them and us.
pub(crate) struct Pair {
    pub(crate) peer: Side,
    pub(crate) ours: Side,
    pub(crate) known: Known,
    pub(crate) tally: Tally,
    rules: Rules,
    streams: BTreeMap<u8, (Stream, Stream)>,
    news: Arc<Notify>,
    last_late_watch: Option<Instant>,
    /// Whether a run goes on after a difference that no rule explains.
    pub(crate) is_lenient: bool,
}

const FLAGS: &[&str] = &["--log-level", "error", "--bcrypt-cost", "4"];
const PEER_FLAGS: &[&str] = &["--unsafe-no-fsync"];

impl Pair {
    /// A fresh pair, both serving.
    ///
    /// # Errors
    /// One does not start.
    pub(crate) async fn start(programs: &Programs) -> io::Result<Pair> {
        let is_etcd = |program: &PathBuf| {
            program
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("etcd"))
        };
        let flags = |program: &PathBuf| match is_etcd(program) {
            true => [FLAGS, PEER_FLAGS].concat(),
            false => FLAGS.to_vec(),
        };
        let (peer_flags, our_flags) = (flags(&programs.peer), flags(&programs.ours));
        let (peer, ours) = tokio::join!(
            Side::start("etcd", &programs.peer, &peer_flags, 1),
            Side::start("ours", &programs.ours, &our_flags, programs.n_members),
        );
        Ok(Pair {
            peer: peer?,
            ours: ours?,
            known: Known {
                now: 1,
                compacted: 0,
            },
            tally: Tally::default(),
            rules: programs.rules.clone(),
            streams: BTreeMap::new(),
            news: Arc::new(Notify::new()),
            last_late_watch: None,
            is_lenient: false,
        })
    }

    /// Does one operation to both and compares.
    ///
    /// # Errors
    /// An unexplained difference, or a server that fails.
    pub(crate) async fn perform(&mut self, operation: &Operation) -> Result<(), Failure> {
        let kind = operation.kind();
        let is_refused = match operation {
            Operation::Ask(ask) => self.plan_and_ask(ask).await?.0.is_refused,
            Operation::Watch {
                stream,
                caller,
                message,
            } => {
                self.watch(*stream, *caller, message).await?;
                false
            }
            Operation::CloseWatch { stream } => {
                self.settle().await?;
                self.streams.remove(stream);
                false
            }
            Operation::Progress { stream } => {
                self.progress(*stream).await?;
                false
            }
            Operation::KeepAlive { caller, leases } => {
                self.keep_alive(*caller, leases).await?;
                false
            }
            Operation::Locks(contest) => {
                contest::locks(self, contest).await?;
                false
            }
            Operation::Election(contest) => {
                contest::election(self, contest).await?;
                false
            }
            Operation::Expiry { lease, keys } => {
                contest::expiry(self, *lease, keys).await?;
                false
            }
            Operation::Learner { urls } => {
                contest::learner(self, urls).await?;
                false
            }
            Operation::Restart(which) => {
                self.restart(*which).await?;
                false
            }
            Operation::Settle => {
                self.settle().await?;
                false
            }
        };
        self.compare_events()?;
        let (n, n_refused) = self.tally.kinds.entry(kind).or_default();
        *n += 1;
        *n_refused += u64::from(is_refused);
        Ok(())
    }

    /// Asks both, after what must have happened before such a question.
    async fn plan_and_ask(&mut self, ask: &Ask) -> Result<(Answer, Answer), Failure> {
        // A watch that lags behind is ended by a compaction; whether it lags is a question of time.
        if ask.method == "KV/Compact" && !self.streams.is_empty() {
            self.settle().await?;
            self.wait_for_late_watches().await;
        }
        self.ask(ask).await
    }

    /// Asks both and compares the answers.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<(Answer, Answer), Failure> {
        let known = self.known;
        let (peer, ours) = tokio::join!(self.peer.ask(ask, known), self.ours.ask(ask, known));
        for (side, answer) in [(&self.peer, &peer), (&self.ours, &ours)] {
            if answer.is_lost() {
                return Err(side.obituary(answer).into());
            }
        }
        self.compare(ask.method, ask.tree().as_ref(), &peer, &ours)?;
        self.learn(ask, &peer, &ours);
        Ok((peer, ours))
    }

    /// A message asked of both.
    pub(crate) async fn say(
        &mut self,
        method: &'static str,
        message: &impl Message,
    ) -> Result<(Answer, Answer), Failure> {
        let ask = Ask::new(method, message);
        let by_root = |caller| Ask {
            caller,
            ..ask.clone()
        };
        let asked = self.ask(&by_root(self.internal_caller())).await?;
        // A restart, or a change of users, has cost root its token.
        if asked.0.is_about_tokens() && asked.1.is_about_tokens() {
            self.ask(&crate::generate::root_token()).await?;
            return self.ask(&by_root(self.internal_caller())).await;
        }
        Ok(asked)
    }

    /// Our own questions are asked by root, where it has a token.
    fn internal_caller(&self) -> Option<u8> {
        let both = self.peer.tokens.contains_key(&0) && self.ours.tokens.contains_key(&0);
        both.then_some(0)
    }

    fn learn(&mut self, ask: &Ask, peer: &Answer, ours: &Answer) {
        if peer.is_refused {
            return;
        }
        let revision = peer.tree.number(&["header", "revision"]);
        self.known.now = self.known.now.max(revision);
        let Some(request) = ask.tree() else { return };
        match ask.method {
            "KV/Compact" => {
                let method = proto::method(ask.method);
                let body = self.peer.fill(&method, &ask.body, self.known);
                if let Ok(filled) = pb::CompactionRequest::decode(body) {
                    self.known.compacted = filled.revision;
                }
            }
            "Auth/Authenticate" => {
                let user = request
                    .at(&["name"])
                    .map(Tree::to_string)
                    .unwrap_or_default();
                let slot = crate::generate::user_number(user.trim_matches('"'));
                if let (Some(slot), Some(left), Some(right)) = (slot, &peer.token, &ours.token) {
                    self.peer.tokens.insert(slot, left.clone());
                    self.ours.tokens.insert(slot, right.clone());
                }
            }
            _ => {}
        }
    }

    /// Compares two answers; what differs must have a rule.
    pub(crate) fn compare(
        &mut self,
        call: &str,
        request: Option<&Tree>,
        peer: &Answer,
        ours: &Answer,
    ) -> Result<(), Failure> {
        self.compare_trees(call, request, &peer.tree, &ours.tree)
    }

    pub(crate) fn compare_trees(
        &mut self,
        call: &str,
        request: Option<&Tree>,
        peer: &Tree,
        ours: &Tree,
    ) -> Result<(), Failure> {
        for difference in Tree::differences(peer, ours) {
            let answers = Some((peer.clone(), ours.clone()));
            self.explain(call, request, difference, answers)?;
        }
        Ok(())
    }

    fn explain(
        &mut self,
        call: &str,
        request: Option<&Tree>,
        difference: Difference,
        answers: Option<(Tree, Tree)>,
    ) -> Result<(), Failure> {
        let seen = Seen {
            call,
            request,
            difference: &difference,
        };
        match self.rules.rule_for(&seen) {
            Some(rule) => {
                *self.tally.rules.entry(rule).or_default() += 1;
                Ok(())
            }
            None => {
                let (request, call) = (request.cloned(), call.to_owned());
                let finding = Finding {
                    call,
                    request,
                    difference,
                    answers,
                };
                if !self.is_lenient {
                    return Err(Failure::Differs(Box::new(finding)));
                }
                let place = (finding.call.clone(), finding.difference.path.clone());
                let (n, _) = self.tally.unexplained.entry(place).or_insert((0, finding));
                *n += 1;
                Ok(())
            }
        }
    }

    // ---- watches -------------------------------------------------------------------------------

    async fn watch(
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
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union
            && create.start_revision != 0
        {
            self.last_late_watch = Some(Instant::now());
        }
        self.dismissed(number).await?;
        if self.ours.n_members() > 1 {
            // The member of the stream must have applied all that others answered.
            self.sync_members().await?;
        }
        let body = Body::Template(message.to_vec());
        let (to_peer, to_ours) = (
            self.peer.fill(&method, &body, self.known),
            self.ours.fill(&method, &body, self.known),
        );
        self.absorb();
        let Some((peer, ours)) = self.streams.get(&number) else {
            return Ok(());
        };
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
        let streams = (open(&self.peer, 0), open(&self.ours, member));
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

    async fn sync_members(&mut self) -> Result<(), Failure> {
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
    fn compare_events(&mut self) -> Result<(), Failure> {
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
            for difference in found {
                outcome =
                    outcome.and_then(|()| self.explain("Watch/Watch", None, difference, None));
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

    async fn wait_for_late_watches(&mut self) {
        if let Some(since) = self.last_late_watch.take() {
            tokio::time::sleep(SYNC_INTERVAL.saturating_sub(since.elapsed())).await;
        }
    }

    async fn progress(&mut self, number: u8) -> Result<(), Failure> {
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

    // ---- the rest ------------------------------------------------------------------------------

    async fn keep_alive(&mut self, caller: Option<u8>, leases: &[i64]) -> Result<(), Failure> {
        let method = proto::method("Lease/LeaseKeepAlive");
        let path = proto::path(&method);
        let mut answers = Vec::new();
        for side in [&mut self.peer, &mut self.ours] {
            let member = side.next_member();
            let requests: Vec<bytes::Bytes> = leases
                .iter()
                .map(|lease| {
                    let request = pb::LeaseKeepAliveRequest { id: *lease };
                    side.fill(
                        &method,
                        &Body::Template(request.encode_to_vec()),
                        self.known,
                    )
                })
                .collect();
            let token = side.token(caller);
            let bodies = tokio_stream::iter(requests);
            let (channel, token) = (side.channel(member), token.as_deref());
            let opened = transport::stream(&channel, &path, bodies, token).await;
            let heard = async {
                let mut heard = Vec::new();
                match opened {
                    Ok(mut stream) => {
                        while let Some(item) = stream.next().await {
                            heard.push(side.read(&method, item).tree);
                        }
                    }
                    Err(status) => heard.push(side.read(&method, Err(status)).tree),
                }
                heard
            };
            let heard = tokio::time::timeout(PATIENCE, heard).await;
            answers.push(Tree::List(heard.unwrap_or_default()));
        }
        self.compare_trees(method.name(), None, &answers[0], &answers[1])
    }

    async fn restart(&mut self, which: Which) -> Result<(), Failure> {
        self.settle().await?;
        self.streams.clear();
        let (peer, ours) = (&mut self.peer, &mut self.ours);
        match which {
            Which::Peer => peer.restart().await?,
            Which::Ours => ours.restart().await?,
            Which::Both => {
                let (left, right) = tokio::join!(peer.restart(), ours.restart());
                left?;
                right?;
            }
        }
        Ok(())
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
