//! One member at work: the pure node, and everything that its effects ask for.
//!
//! ```text
//!   requests ─► propose · read ─┐                          ┌─► peers.send
//!   peers    ─► receive ────────┤      ┌──────────────┐    ├─► log thread (persist)
//!   threads  ─► persisted … ────┼─────►│ node::Node   ├────┼─► desk.publish ► root ► answers · reads
//!   clock    ─► tick ───────────┘ work │ take_effects │    ├─► checkpoint thread · snapshot threads
//!                                      └──────────────┘    └─► leadership · membership · stop
//! ```
//!
//! All of it is one thread, so a `RefCell` is the only lock, and no borrow lives across an `.await`. Inputs
//! only change the node and set `work`; the *pump* then takes the effects of everything that came in the
//! meantime at once: requests that arrive together share a record of the log, a sync and a message.
//!
//! Order that clients rely on: events reach the desk, then the root switches, then answers go out.

mod asks;
mod words;

use crate::audit::Audit;
use crate::auth::{Asking, Doorkeeper};
use crate::clock;
use crate::config::Config;
use crate::contenders::Contenders;
use crate::corrupt;
use crate::durable::{Checkpoints, LogThread};
use crate::entrance::Way;
use crate::events::{Event, Reports};
use crate::few::{self, Few};
use crate::grpc::Turns;
use crate::metrics::Metrics;
use crate::native::{Desks, NotRead};
use crate::peers::{Inbox, LocalPage, Peers, render_members, send_snapshot};
use crate::signal::Signal;
use crate::vitals::Vitals;
use crate::waits::{Expired, Waits};
use base::{ClusterId, Instant, LeaseId, MemberId, Membership, PeerMessage, Revision, Term};
use bytes::Bytes;
use etcd::auth::Caller;
use etcd::{HeaderParts, Refusal, Session, Status, StreamId, WatchDesk};
use node::{
    Answer, Effects, LeaseAnswer, MemberChange, Node, ReadFailed, ReadGrant, ReadLevel, ReadNow,
    Refused, StopReason, SystemRefusal, Ticket,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use storage::{Identity, Space};
use store::command::{DialectId, Identity as OnBehalfOf};
use store::{Outcome, State};
use tokio::sync::{Notify, mpsc::UnboundedReceiver, oneshot};
use tracing::{debug, error, info, warn};

/// How often the desk looks for quiet watches, unless they are to hear more often than that.
const DESK_TICK: Duration = Duration::from_millis(500);

/// While a batch is gathered, how often to look whether it has waited long enough.
const GATHER_LOOK: Duration = node::GATHER_MAX.checked_div(2).expect("two is not zero");

/// A removed member that waits so long until the others know is worth a line.
const LEAVING_LONG: Duration = Duration::from_secs(10);

/// A linearizable read that waits so long is slow: a round of heartbeats takes far less.
const READ_SLOW: Duration = Duration::from_millis(500);

/// Defragmentations that may be waited for at once.
const DEFRAGS_MAX: usize = 64;

/// What a watch stream's task waits for.
#[derive(Default)]
pub(crate) struct StreamWork {
    pub(crate) signal: Signal,
    /// Messages that are to be sent before anything else.
    pub(crate) pending: RefCell<Vec<Bytes>>,
    /// From where its client comes.
    from: Option<SocketAddr>,
}

/// A member at work.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    node: RefCell<Node>,
    pub(crate) desk: RefCell<WatchDesk>,
    pub(crate) session: RefCell<Session>,
    state: RefCell<State>,
    proposals: Waits<Answer>,
    reads: Waits<Result<ReadGrant, ReadFailed>>,
    leases: Waits<LeaseAnswer>,
    last_ticket: Cell<u64>,
    work: Signal,
    streams: RefCell<BTreeMap<StreamId, Rc<StreamWork>>>,
    pub(crate) contenders: Rc<Contenders>,
    /// Who waits for what of the native front's.
    pub(crate) desks: Rc<Desks>,
    pub(crate) planner: RefCell<native::Session>,
    peers: Peers,
    log: LogThread,
    checkpoints: Arc<Checkpoints>,
    reports: Reports,
    space: Cell<Space>,
    pub(crate) vitals: Vitals,
    /// Who callers are.
    pub(crate) doorkeeper: Doorkeeper,
    /// Whether authentication is enabled, and the revision of users and roles, as streams know them.
    authorised: Cell<(bool, u64)>,
    pub(crate) metrics: Metrics,
    pub(crate) audit: Option<Audit>,
    /// What this member had at compactions.
    pub(crate) compacted: RefCell<corrupt::Remembered>,
    /// Which NOSPACE alarms go by themselves.
    pub(crate) vigil: RefCell<etcd::upkeep::Vigil>,
    /// Who hashes all there is to compare members, …
    pub(crate) comparisons: Few,
    /// … and because a client asks.
    pub(crate) hashes: Few,
    /// Who is sent a snapshot, …
    pub(crate) snapshots: Few,
    /// … and who makes the next part of one.
    pub(crate) snapshot_parts: Few,
    /// Clients' connections, and requests that are large, take turns.
    pub(crate) turns: Rc<Turns>,
    term: Cell<Term>,
    desk_ticked: Cell<Instant>,
    /// Who waits for a defragmentation.
    defrags: RefCell<Vec<oneshot::Sender<bool>>>,
    /// Since when there has been no leader.
    leaderless: Cell<Option<Instant>>,
    /// It was said that this member cannot leave.
    leaving_told: Cell<bool>,
    /// The alarms that were told of last.
    alarms: RefCell<Vec<etcd::Alarm>>,
    /// The leader that was told of last.
    led_by: Cell<MemberId>,
    /// When the last tick was.
    ticked: Cell<Option<Instant>>,
    /// The compaction that is not swept yet, and since when.
    compacting: Cell<Option<(Revision, Instant)>>,
    /// Up to where history was compacted when last looked.
    compacted_to: Cell<Revision>,
    is_ready: Cell<bool>,
    became_ready: Notify,
    leadership: Notify,
    stopped: RefCell<Option<StopReason>>,
    stop_told: Notify,
}

/// What `Member::new` is made of.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) session: Session,
    pub(crate) planner: native::Session,
    pub(crate) peers: Peers,
    pub(crate) log: LogThread,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) reports: Reports,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) metrics: Metrics,
    pub(crate) audit: Option<Audit>,
}

impl Member {
    pub(crate) fn new(parts: Parts) -> Rc<Member> {
        let patience = parts.config.request_timeout();
        let header = HeaderParts {
            cluster: parts.identity.cluster,
            member: parts.identity.member,
            term: parts.node.status().term,
        };
        let request_bytes_max = parts.config.request_bytes_max;
        let mut desk = WatchDesk::new(header, request_bytes_max, base::Mutants::none());
        desk.set_progress_interval(parts.config.progress_notify);
        let member = Rc::new(Member {
            identity: parts.identity,
            state: RefCell::new(parts.node.state().clone()),
            desk: RefCell::new(desk),
            session: RefCell::new(parts.session),
            proposals: Waits::new(patience),
            reads: Waits::new(patience),
            leases: Waits::new(patience),
            last_ticket: Cell::new(0),
            work: Signal::default(),
            streams: RefCell::default(),
            contenders: Rc::default(),
            desks: Desks::new(native::HeaderParts {
                cluster: header.cluster,
                member: header.member,
                term: header.term,
            }),
            planner: RefCell::new(parts.planner),
            peers: parts.peers,
            log: parts.log,
            checkpoints: parts.checkpoints,
            reports: parts.reports,
            space: Cell::new(Space::Normal),
            vitals: Vitals::default(),
            doorkeeper: parts.doorkeeper,
            authorised: Cell::new((false, 0)),
            metrics: parts.metrics,
            audit: parts.audit,
            compacted: RefCell::default(),
            vigil: RefCell::new(etcd::upkeep::Vigil::at_start(header.member)),
            comparisons: Few::new(1, few::COMPARISONS_WAITING_MAX),
            hashes: Few::new(few::HASHES_AT_ONCE, few::HASHES_WAITING_MAX),
            snapshots: Few::new(few::SNAPSHOTS_MAX, 0),
            snapshot_parts: Few::new(few::SNAPSHOTS_AT_ONCE, few::SNAPSHOTS_MAX),
            turns: Rc::default(),
            term: Cell::new(header.term),
            desk_ticked: Cell::new(Instant(0)),
            defrags: RefCell::default(),
            leaderless: Cell::new(None),
            leaving_told: Cell::new(false),
            alarms: RefCell::default(),
            led_by: Cell::new(MemberId::NONE),
            ticked: Cell::new(None),
            compacting: Cell::new(None),
            compacted_to: Cell::new(parts.node.state().root(etcd::ROOT).compacted()),
            is_ready: Cell::new(false),
            became_ready: Notify::new(),
            leadership: Notify::new(),
            stopped: RefCell::new(None),
            stop_told: Notify::new(),
            node: RefCell::new(parts.node),
            config: parts.config,
        });
        let raised = member.with_state(State::apply_version);
        member.peers.spoken().raised(raised);
        member.work.set();
        member
    }

    /// Connects to the members that `introduced` names, or that the state knows.
    pub(crate) fn connect(self: &Rc<Self>, introduced: &[store::Member]) {
        let inbox: Rc<dyn Inbox> = self.clone();
        let members = self.state.borrow().members();
        self.peers.update(
            if members.is_empty() {
                introduced
            } else {
                &members
            },
            &inbox,
        );
    }

    // ---- what requests ask ------------------------------------------------------------------

    /// The published state.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Looks at the published state without holding it.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.borrow())
    }

    pub(crate) fn header(&self) -> HeaderParts {
        HeaderParts {
            cluster: self.identity.cluster,
            member: self.identity.member,
            term: self.term.get(),
        }
    }

    pub(crate) fn leader(&self) -> MemberId {
        self.node.borrow().leader()
    }

    /// Whether there has been no leader for so long that streams which want one are ended: etcd's three
    /// election timeouts.
    pub(crate) fn is_leaderless(&self) -> bool {
        let patience = 3 * self.config.election;
        self.leaderless
            .get()
            .is_some_and(|since| clock::now().since(since) >= patience)
    }

    pub(crate) fn status(&self) -> node::Status {
        self.node.borrow().status()
    }

    pub(crate) fn space(&self) -> Space {
        self.space.get()
    }

    /// Whether the cluster has acknowledged that this member serves.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.get()
    }

    pub(crate) fn set_ready(&self) {
        self.is_ready.set(true);
        self.became_ready.notify_waiters();
    }

    /// Waits until the cluster knows this member's name and addresses: whoever is served before that could
    /// not be told where this member is.
    pub(crate) async fn ready(&self) -> Result<(), Status> {
        if self.is_ready() {
            return Ok(());
        }
        let ready = async {
            while !self.is_ready() {
                self.became_ready.notified().await;
            }
        };
        let patience = self.config.request_timeout();
        tokio::time::timeout(patience, ready)
            .await
            .map_err(|_| self.timeout())
    }

    fn next_ticket(&self) -> Ticket {
        self.last_ticket.set(self.last_ticket.get() + 1);
        Ticket(self.last_ticket.get())
    }

    /// Writes that wait for their outcome.
    pub(crate) fn n_pending(&self) -> usize {
        self.proposals.n_open()
    }

    /// Whether somebody waits for a defragmentation.
    pub(crate) fn is_defragmenting(&self) -> bool {
        !self.defrags.borrow().is_empty()
    }

    /// What the node has done in this life.
    pub(crate) fn counts(&self) -> node::Counts {
        self.node.borrow().counts()
    }

    /// The other members' wall clocks.
    pub(crate) fn clocks(&self) -> BTreeMap<MemberId, node::ClockOffset> {
        self.node.borrow().clock_offsets()
    }

    /// Whether the connection to `member` stands.
    pub(crate) fn is_connected(&self, member: MemberId) -> bool {
        self.peers.is_connected(member)
    }

    /// Since when the connection to `member` stands, if it does.
    pub(crate) fn connected_since(&self, member: MemberId) -> Option<Instant> {
        self.peers.connected_since(member)
    }

    /// What this member stamps entries with: its wall clock, held back by the others'.
    pub(crate) fn stamp_wall_ms(&self) -> u64 {
        self.node.borrow().stamp_wall_ms()
    }

    /// Why this member would refuse a change if it led, by what it has applied.
    pub(crate) fn would_refuse(&self, change: &MemberChange) -> Option<SystemRefusal> {
        self.node.borrow().would_refuse(change)
    }

    /// From where the client of a stream of watches comes.
    pub(crate) fn stream_from(&self, id: StreamId) -> Option<SocketAddr> {
        self.streams.borrow().get(&id)?.from
    }

    fn timeout(&self) -> Status {
        if self.stopped.borrow().is_some() {
            return Refusal::Stopped.into();
        }
        Refusal::Timeout.into()
    }

    // ---- watch streams ----------------------------------------------------------------------

    /// Opens a watch stream.
    pub(crate) fn open_stream(self: &Rc<Self>, from: Option<SocketAddr>) -> OpenStream {
        let id = self.desk.borrow_mut().open();
        let work = Rc::new(StreamWork {
            from,
            ..StreamWork::default()
        });
        self.streams.borrow_mut().insert(id, work.clone());
        OpenStream {
            member: self.clone(),
            id,
            work,
        }
    }

    /// Wakes the streams that have something to send.
    pub(crate) fn wake_streams(&self) {
        let ready = self.desk.borrow_mut().ready();
        let streams = self.streams.borrow();
        for work in ready.iter().filter_map(|id| streams.get(id)) {
            work.signal.set();
        }
    }

    fn tick_desk(&self, now: Instant) {
        if now.since(self.desk_ticked.get()) < DESK_TICK.min(self.config.progress_notify / 2) {
            return;
        }
        self.desk_ticked.set(now);
        if self.is_leaderless() {
            // Streams that want a leader look for themselves.
            self.streams
                .borrow()
                .values()
                .for_each(|work| work.signal.set());
        }
        self.desks
            .tick(now, &self.state.borrow(), self.is_leaderless());
        let told = self.desk.borrow_mut().tick(now);
        let streams = self.streams.borrow();
        for (id, messages) in told {
            // Whoever has not taken the former news gets no more of it: nothing heaps up for a client that does not read.
            if let Some(work) = streams.get(&id)
                && work.pending.borrow().is_empty()
            {
                work.pending.replace(messages);
                work.signal.set();
            }
        }
    }

    // ---- the pump ---------------------------------------------------------------------------

    /// Carries out what the node wants, as long as the member lives.
    pub(crate) async fn pump(self: Rc<Self>) {
        loop {
            match self.look_again() {
                Some(after) => drop(tokio::time::timeout(after, self.work.wait()).await),
                None => self.work.wait().await,
            }
            while self.turn() {
                // More of the same is due, but sockets come first.
                tokio::task::yield_now().await;
            }
        }
    }

    /// When the node is to be asked for effects although nothing came in.
    fn look_again(&self) -> Option<Duration> {
        let node = self.node.borrow();
        match (node.is_gathering(), node.is_sweeping()) {
            (true, _) => Some(GATHER_LOOK),
            (false, true) => Some(node::SWEEP_REST),
            (false, false) => None,
        }
    }

    /// Lets time pass, every ten milliseconds.
    pub(crate) async fn ticks(self: Rc<Self>) {
        let mut interval = tokio::time::interval(node::NodeConfig::TICK);
        // A member that was paused has not seen the others all that while; running through the lost
        // ticks at once would only make it campaign before it looks.
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now = self.looked();
            self.look_at_heartbeats(now);
            self.node.borrow_mut().tick(now, clock::wall_ms());
            self.proposals.expire(now);
            self.reads.expire(now);
            self.leases.expire(now);
            self.tick_desk(now);
            self.tell_leaving(now);
            self.look_at_compaction(now);
            self.look_at_alarms();
            self.work.set();
        }
    }

    /// Takes in what the threads report.
    pub(crate) async fn reports(self: Rc<Self>, mut reports: UnboundedReceiver<Event>) {
        while let Some(event) = reports.recv().await {
            let mut node = self.node.borrow_mut();
            match event {
                Event::Persisted {
                    number,
                    took,
                    bytes,
                } => {
                    self.vitals.synced(took, clock::now());
                    self.metrics.fsync.observe(took);
                    self.metrics.wal_bytes.add(bytes);
                    node.persisted(number);
                }
                Event::Committed { took } => self.metrics.commit.observe(took),
                Event::Installed { took } => {
                    self.metrics.receiving.set(0);
                    self.metrics.received.observe(took);
                }
                Event::Checkpointed {
                    meta,
                    log_floor: Some(floor),
                    took,
                } => {
                    self.metrics.checkpoint.observe(took);
                    let to = node.checkpointed(&meta).min(floor);
                    self.log.free(to);
                    // One that was under way when somebody asked is not the one that was asked for.
                    let is_asked =
                        !self.defrags.borrow().is_empty() && !node.checkpoint_is_wanted();
                    if is_asked || self.space.get() != Space::Normal {
                        self.checkpoints.trim();
                    }
                }
                Event::Checkpointed {
                    log_floor: None, ..
                } => {
                    node.checkpoint_failed();
                    if !node.checkpoint_is_wanted() {
                        self.defragmented(false);
                    }
                }
                Event::Trimmed { log_floor } => {
                    if let Some(floor) = log_floor {
                        self.log.free(floor);
                    }
                    if !node.checkpoint_is_wanted() {
                        self.defragmented(log_floor.is_some());
                    }
                }
                Event::SnapshotSent { to, sent } => node.snapshot_sent(to, sent),
                Event::SnapshotReceived { from, meta, state } => {
                    node.snapshot_received(from, meta, *state);
                }
                Event::Space(space) => {
                    self.space.set(space);
                    node.disk_is_tight(space != Space::Normal);
                    if space != Space::Normal {
                        self.checkpoints.trim();
                    }
                }
            }
            self.work.set();
        }
    }

    /// One turn; whether the node has more to do.
    fn turn(self: &Rc<Self>) -> bool {
        let effects = self
            .node
            .borrow_mut()
            .take_effects(clock::now(), clock::wall_ms());
        let more = effects.more;
        self.carry_out(effects);
        more
    }

    fn carry_out(self: &Rc<Self>, effects: Effects) {
        let before = match effects.membership.is_some() {
            true => self.with_state(|state| state.membership().clone()),
            false => Membership::default(),
        };
        for (to, message) in &effects.send {
            self.peers.send(*to, message);
        }
        for snapshot in effects.send_snapshots {
            let reached = (self.peers.urls(snapshot.to), self.peers.way());
            let own = wire::Origin {
                cluster: self.identity.cluster,
                member: self.identity.member,
            };
            let name = self.config.name.clone();
            let what = (snapshot.meta, snapshot.state);
            let versions = self.peers.spoken().versions();
            let reports = self.reports.clone();
            send_snapshot(own, name, snapshot.to, (reached, versions), what, reports);
        }
        if let Some(persist) = effects.persist {
            if persist.snapshot.is_some() {
                self.metrics.receiving.set(1);
            }
            self.log.persist(persist);
        }
        if let Some(leadership) = effects.leadership {
            self.term.set(leadership.term);
            self.tell_leadership(&leadership);
            let leader = leadership.leader;
            if !leader.is_none() {
                self.leaderless.set(None);
            } else if self.leaderless.get().is_none() {
                self.leaderless.set(Some(clock::now()));
            }
            self.desk.borrow_mut().set_header(self.header());
            self.desks.set_header(self.native_header());
            self.leadership.notify_waiters();
        }
        if let Some(state) = effects.published {
            let mut desk = self.desk.borrow_mut();
            if effects.restored {
                desk.restored(&state);
            }
            // Watches that may no longer read end before they are told anything further.
            desk.authorise(&state);
            if !effects.events.is_empty() {
                desk.publish(&state, &effects.events);
            }
            drop(desk);
            let authorised = (etcd::auth::is_enabled(&state), etcd::auth::revision(&state));
            let has_auth_changed = self.authorised.replace(authorised) != authorised;
            self.desks
                .publish(&state, &effects.events, effects.restored);
            let version_before = self.with_state(State::apply_version);
            if state.apply_version() != version_before {
                info!(
                    from = version_before,
                    to = state.apply_version(),
                    "the cluster's apply version is raised: all members know it"
                );
                self.peers.spoken().raised(state.apply_version());
            }
            let members_before = self.state.replace(state).membership().clone();
            if effects.membership.is_some()
                || effects.restored
                || members_before != *self.state.borrow().membership()
            {
                self.connect(&[]);
            }
            self.wake_streams();
            if has_auth_changed {
                // They look whether they may still go on.
                self.desks.wake_all();
            }
            self.contenders.publish(&effects.events);
            if effects.restored {
                self.contenders.restored();
            }
        }
        for answer in effects.answers {
            self.proposals.answer(answer.tag.0, answer);
        }
        for (ticket, result) in effects.reads {
            self.reads.answer(ticket.0, result);
        }
        for (ticket, answer) in effects.leases {
            self.leases.answer(ticket.0, answer);
        }
        if let Some((meta, state)) = effects.checkpoint {
            self.checkpoints.write(meta, state);
        }
        if let Some(membership) = effects.membership {
            self.tell_membership(&before, &membership);
        }
        if let Some(reason) = effects.stop {
            self.stop(reason);
        }
    }

    /// It must not go on.
    pub(crate) fn stop(&self, reason: StopReason) {
        match &reason {
            StopReason::Removed => warn!("this member was removed from the cluster"),
            other => error!(reason = ?other, "this member must not go on"),
        }
        *self.stopped.borrow_mut() = Some(reason);
        self.proposals.expire_all();
        self.reads.expire_all();
        self.leases.expire_all();
        self.defrags.take();
        self.stop_told.notify_waiters();
        self.stop_told.notify_one();
    }

    /// Waits until the member must not go on.
    pub(crate) async fn stopped(&self) -> StopReason {
        loop {
            if let Some(reason) = self.stopped.borrow().clone() {
                return reason;
            }
            self.stop_told.notified().await;
        }
    }

    /// Waits until there is a leader.
    pub(crate) async fn leader_known(&self) {
        while self.leader().is_none() {
            self.leadership.notified().await;
        }
    }

    /// How other members are reached.
    pub(crate) fn way(&self) -> Way {
        self.peers.way()
    }

    /// Which members this member is connected to, itself left out.
    pub(crate) fn connected_members(&self) -> Vec<MemberId> {
        let members = self.with_state(State::members);
        let members = members.into_iter().map(|member| member.id);
        members
            .filter(|member| self.peers.is_connected(*member))
            .collect()
    }

    /// Which voters this member is connected to, itself left out.
    pub(crate) fn connected_voters(&self) -> Vec<MemberId> {
        let voters = self.with_state(|state| state.membership().voters.clone());
        voters
            .into_iter()
            .filter(|voter| self.peers.is_connected(*voter))
            .collect()
    }
}

impl Inbox for Member {
    fn receive(&self, from: MemberId, message: PeerMessage) {
        let now = self.looked();
        if let PeerMessage::ClockReply { asked, .. } = &message {
            // Every member asks every other for its clock once a second: a probe that is there anyway.
            self.metrics.peers.answered(from, Instant(*asked), now);
        }
        self.node.borrow_mut().receive(from, message, now);
        self.work.set();
    }

    fn unreachable(&self, to: MemberId) {
        self.node.borrow_mut().unreachable(to);
    }

    fn was_removed(&self, member: MemberId) -> bool {
        self.node.borrow().has_seen_off(member)
    }

    fn members(&self) -> Vec<store::Member> {
        let members = self.state.borrow().members();
        match members.is_empty() {
            // Whoever joins has no state yet, and knows those who let it in.
            true => self.peers.members(),
            false => members,
        }
    }

    fn members_page(&self) -> String {
        let cluster: ClusterId = self.identity.cluster;
        render_members(cluster, &self.state.borrow().members())
    }

    fn apply_version(&self) -> u16 {
        self.node.borrow().apply_version()
    }

    fn page<'a>(&'a self, target: &'a str) -> LocalPage<'a> {
        Box::pin(corrupt::page(self, target))
    }
}

/// Tells the node that nobody waits for a command any more, unless it was answered.
struct Forget<'a> {
    member: &'a Member,
    tag: node::Tag,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        // Inside a turn the node is busy; then the tag is kept until its command is applied.
        if let Ok(mut node) = self.member.node.try_borrow_mut() {
            node.forget(self.tag);
        }
    }
}

/// Tells the node that nobody waits for a read any more.
struct ForgetRead<'a> {
    member: &'a Member,
    ticket: Ticket,
}

impl Drop for ForgetRead<'_> {
    fn drop(&mut self) {
        // Inside a turn the node is busy; then the read is granted to nobody.
        if let Ok(mut node) = self.member.node.try_borrow_mut() {
            node.forget_read(self.ticket);
        }
    }
}

/// The place of a level among the counts of reads.
fn level_number(level: ReadLevel) -> usize {
    match level {
        ReadLevel::Linearizable => 0,
        ReadLevel::Lease => 1,
        ReadLevel::Bounded(_) => 2,
        ReadLevel::Session(_) => 3,
        ReadLevel::Sequential => 4,
    }
}

/// Why a write has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAnswered {
    /// Certain: it will not take effect.
    Refused(Refused),
    /// It may take effect, or have taken it.
    Unknown,
}

/// An open watch stream; it ends when this is dropped.
pub(crate) struct OpenStream {
    pub(crate) member: Rc<Member>,
    pub(crate) id: StreamId,
    pub(crate) work: Rc<StreamWork>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.member.streams.borrow_mut().remove(&self.id);
        self.member.desk.borrow_mut().close(self.id);
    }
}

/// A refusal of the node in etcd's words.
pub(crate) fn refused(refused: Refused) -> Status {
    let refusal = match refused {
        Refused::Busy => Refusal::TooManyRequests,
        Refused::TooLarge => Refusal::RequestTooLarge,
        Refused::NotLeader => Refusal::NotLeader,
        Refused::BadTransferee => Refusal::BadLeaderTransferee,
        Refused::Stopped => Refusal::Stopped,
    };
    refusal.into()
}

/// The outcome of a command whose answer came.
pub(crate) fn outcome(answer: &Answer) -> Result<&Outcome, Status> {
    // The command may have taken effect: what a client hears when its request times out.
    answer.outcome.as_ref().map_err(|_| Refusal::Timeout.into())
}
