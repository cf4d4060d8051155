//! Both servers in lock step: each operation is done to both, and what comes back is compared, before the next.

mod streams;

use crate::contest;
use crate::differences::{Rules, Seen};
use crate::generate::SHORT_LEASES;
use crate::marks::{Known, MEMBER, Names};
use crate::operation::{Ask, Body, Operation, Which};
use crate::proto;
use crate::proto::etcdserverpb as pb;
use crate::side::{Answer, Side};
use crate::transport::{self, PATIENCE};
use crate::tree::{Difference, Tree};
use crate::watching::Stream;
use prost::Message;
use prost_reflect::DynamicMessage;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_stream::StreamExt;

/// Two programs to compare, and how.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) peer: PathBuf,
    pub(crate) ours: PathBuf,
    /// How many members ours has.
    pub(crate) n_members: usize,
    /// Whether the peer is etcd 3.7.
    pub(crate) is_next: bool,
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
    /// How many messages of ours went on in the next one.
    pub(crate) n_fragments: u64,
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
    /// Whether authentication is on.
    pub(crate) has_auth: bool,
    /// Whether a key may hang, or have hung, on a lease that the servers named: their hashes differ then.
    pub(crate) has_named_leases: bool,
    /// Whether a run goes on after a difference that no rule explains.
    pub(crate) is_lenient: bool,
}

/// What etcd may leave unwritten for so long (it is 100 ms), and some more.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);

/// How long who was told to wait with a password waits before the next attempt.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);

/// How long a new etcd may take to know the version of its storage: it decides that behind its first answers.
const VERSION_PATIENCE: Duration = Duration::from_secs(10);
/// What it says before.
const VERSION_BEFORE: &str = "3.5.0";

/// Waits until a new etcd has decided which version its storage has, or for long enough.
async fn settle_version(peer: &mut Side) {
    let known = Known {
        now: 1,
        compacted: 0,
    };
    let ask = Ask::new("Maintenance/Status", &pb::StatusRequest {});
    let started = Instant::now();
    while started.elapsed() < VERSION_PATIENCE {
        let told = peer.ask(&ask, known).await;
        match told.tree.at(&["storageVersion"]) {
            Some(Tree::Text(version)) if version != VERSION_BEFORE => return,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
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
        let (mut peer, ours) = (peer?, ours?);
        settle_version(&mut peer).await;
        Ok(Pair {
            peer,
            ours,
            known: Known {
                now: 1,
                compacted: 0,
            },
            tally: Tally::default(),
            rules: programs.rules.clone(),
            streams: BTreeMap::new(),
            news: Arc::new(Notify::new()),
            last_late_watch: None,
            has_auth: false,
            has_named_leases: false,
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
            Operation::RangeStream { caller, message } => {
                self.range_stream(*caller, message).await?
            }
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
            self.wait_for_late_watches().await?;
        }
        // Ours ends a watch at once that may no longer read, etcd lets it go on (docs/compat/etcd.md): what both
        // delivered until then is compared, and no watch lives through such a change.
        if self.may_take_rights(ask) && !self.streams.is_empty() {
            self.settle().await?;
            self.streams.clear();
        }
        // Such an answer's header is of the member that was asked, and it may lag behind the others, as in etcd.
        if ask.method == "Lease/LeaseTimeToLive" {
            self.sync_members().await?;
        }
        let answers = self.ask(ask).await?;
        if ask.method == "Lease/LeaseRevoke" && answers.0.is_refused {
            self.end_short_lease(ask).await?;
        }
        Ok(answers)
    }

    /// Ends a lease of a few seconds that whoever asked may not end: when it ends by itself is a question of time.
    async fn end_short_lease(&mut self, ask: &Ask) -> Result<(), Failure> {
        let id = ask.tree().map_or(0, |tree| tree.number(&["ID"]));
        match SHORT_LEASES.contains(&id) {
            true => {
                let revoke = pb::LeaseRevokeRequest { id };
                self.say("Lease/LeaseRevoke", &revoke).await.map(drop)
            }
            false => Ok(()),
        }
    }

    /// Whether a request may take from somebody what they may read. A grant may: it replaces what was granted for
    /// the same range.
    fn may_take_rights(&self, ask: &Ask) -> bool {
        const TAKING: &[&str] = &[
            "Auth/UserDelete",
            "Auth/UserRevokeRole",
            "Auth/RoleDelete",
            "Auth/RoleGrantPermission",
            "Auth/RoleRevokePermission",
        ];
        match self.has_auth {
            true => TAKING.contains(&ask.method),
            false => ask.method == "Auth/AuthEnable",
        }
    }

    /// Asks both and compares the answers.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<(Answer, Answer), Failure> {
        let known = self.known;
        let (peer, mut ours) = tokio::join!(self.peer.ask(ask, known), self.ours.ask(ask, known));
        // Who failed too often waits with the right password too (docs/compat/etcd.md); what it gets then is compared.
        let asked = Instant::now();
        while !peer.is_refused && ours.is_too_early() && asked.elapsed() < PATIENCE {
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            ours = self.ours.ask(ask, known).await;
        }
        for (side, answer) in [(&self.peer, &peer), (&self.ours, &ours)] {
            if answer.is_lost() {
                return Err(side.obituary(answer).into());
            }
        }
        self.compare(&ask.call(), ask.tree().as_ref(), &peer, &ours)?;
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
        let writes = ["KV/Put", "KV/Txn"].contains(&ask.method);
        if writes && !self.has_named_leases {
            let request = ask.tree().map(|tree| tree.to_string());
            self.has_named_leases = request.is_some_and(|words| words.contains("lease: granted"));
        }
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
            "Auth/AuthEnable" => self.has_auth = true,
            "Auth/AuthDisable" => self.has_auth = false,
            "Auth/Authenticate" => {
                let user = request
                    .at(&["name"])
                    .map(Tree::to_string)
                    .unwrap_or_default();
                let slot = crate::generate::user_number(user.trim_matches('"'));
                if let (Some(slot), Some(left), Some(right)) = (slot, &peer.token, &ours.token) {
                    self.peer.learn_token(slot, left);
                    self.ours.learn_token(slot, right);
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
        let call = match call {
            // What etcd noted at a compaction at 0 is its answer to who asks for no revision from then on.
            "Maintenance/HashKV"
                if peer.tree.number(&["compact_revision"]) == -1
                    && peer.tree.number(&["hash_revision"]) == 0 =>
            {
                "Maintenance/HashKV of nothing"
            }
            "Maintenance/HashKV" if self.has_named_leases => "Maintenance/HashKV with named leases",
            _ => call,
        };
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

    async fn keep_alive(&mut self, caller: Option<u8>, leases: &[i64]) -> Result<(), Failure> {
        self.sync_members().await?;
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

    /// A range that is answered in parts. How many there are is no promise; that only the last one tells the revision
    /// and the count is.
    async fn range_stream(&mut self, caller: Option<u8>, message: &[u8]) -> Result<bool, Failure> {
        let method = proto::method("KV/RangeStream");
        let path = proto::path(&method);
        let mut answers = Vec::new();
        for side in [&mut self.peer, &mut self.ours] {
            let member = side.next_member();
            let body = side.fill(&method, &Body::Template(message.to_vec()), self.known);
            let token = side.token(caller);
            let (channel, token) = (side.channel(member), token.as_deref());
            let heard = async {
                let mut heard = Vec::new();
                match transport::stream(&channel, &path, tokio_stream::once(body), token).await {
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
            answers.push(Tree::joined(
                &heard.unwrap_or_default(),
                "range_response",
                "kvs",
            ));
        }
        let template = DynamicMessage::decode(method.input(), message).ok();
        let request = template.map(|message| Tree::of(&message, &Names::default()));
        let is_refused = answers[0].at(&["refused"]).is_some();
        self.compare_trees("KV/RangeStream", request.as_ref(), &answers[0], &answers[1])?;
        Ok(is_refused)
    }

    async fn restart(&mut self, which: Which) -> Result<(), Failure> {
        self.settle().await?;
        self.streams.clear();
        if self.ours.n_members() == 1 {
            // A member of ours that starts does not know any more who raised its alarm for space, and takes it back where
            // there is room (docs/compat/etcd.md).
            let disarm = pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Deactivate as i32,
                member_id: MEMBER.cast_unsigned(),
                alarm: pb::AlarmType::Nospace as i32,
            };
            self.say("Maintenance/Alarm", &disarm).await?;
        }
        // What etcd's file has not when it is killed is done again from its log, and then a transaction that was refused
        // for what it wanted to read writes all the same (docs/compat/etcd.md). To hash the file it writes it.
        let (hashed, _) = self.say("Maintenance/Hash", &pb::HashRequest {}).await?;
        if hashed.is_refused {
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
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
        if !matches!(which, Which::Ours) {
            // etcd has forgotten its tokens, and ours has not: who shows one shows none that is known.
            self.ours.spoil_tokens();
        }
        Ok(())
    }
}
