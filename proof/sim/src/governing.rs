//! Worlds with users, permissions and alarms: an administrator who changes the rules, and users who try what they may not.
//!
//! ```text
//!   administrator ─ role, user, grant, revoke, enable, alarm ─► etcd's front ─► log      each deed until it is certain
//!   users         ─ put, get, delete of u<user>/<n> ──────────► etcd's front, each with its name (asking.rs)
//!                                          │
//!                     judge: what surely was forbidden never happened; what surely was allowed was never refused
//! ```
//!
//! The administrator never grants the same key twice, so between two certain moments it is known for each key whether
//! its user may touch it. What lies between (a deed under way, or one whose outcome was unknown once and which may
//! come late) proves nothing and is not judged. Everybody is known by name, as by a certificate: the member that is
//! asked adds the revision of users and roles that it knows, and a write that the log reaches after a change is refused.

use crate::world::{Event, World};
use base::{MemberId, Rng};
use bytes::Bytes;
use checker::{Key, Level, Operation, Outcome, Request, Span, Time, Violation};
use etcd::Method;
use etcd::auth::{ROOT_ROLE, ROOT_USER};
use etcd::proto::authpb;
use etcd::proto::etcdserverpb as pb;
use node::Tag;
use prost::Message;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// What a user hears when it may not.
const DENIED: &str = "etcdserver: permission denied";

/// How many quiet seconds in a row must find no alarm before the administrator rests.
const QUIET_CLEARS: u32 = 2;

/// Who governs, in worlds that are governed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Users who try.
    pub n_users: u64,
    /// The longest time between two deeds.
    pub pace: Duration,
    /// Whether there are alarms, too.
    pub alarms: bool,
}

impl Rules {
    /// The rules of the world of `seed`: most have none.
    pub fn draw(seed: u64) -> Option<Rules> {
        let mut rng = Rng::new(seed ^ 0x474f_5645_524e_0001);
        if !rng.one_in(2) {
            return None;
        }
        Some(Rules {
            n_users: rng.between(1, 3),
            pace: Duration::from_millis(*rng.pick(&[60, 300, 1_200]).unwrap_or(&300)),
            alarms: rng.one_in(2),
        })
    }
}

/// What can happen to the administrator.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum GovernEvent {
    /// The next deed, or the same again.
    Next,
    /// An attempt reaches a member.
    Arrives {
        attempt: u64,
        member: usize,
        life: u32,
    },
    /// What became of an attempt.
    Returns { attempt: u64, heard: Heard },
    /// The administrator waits no longer.
    GivesUp { attempt: u64 },
}

/// What the administrator hears of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It took effect.
    Done,
    /// It did not, and will not.
    Refused(String),
}

#[derive(Clone, Debug)]
enum Deed {
    AddRole(u64),
    AddUser(u64),
    GiveRole(u64),
    AddRoot,
    GiveRoot,
    Enable,
    Grant(usize),
    Revoke(usize),
    Raise(MemberId),
    Clear(MemberId),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// From when to when something was asked until it was certain.
#[derive(Clone, Copy, Debug)]
struct Span2 {
    called: Time,
    /// Nothing until it is certain.
    done: Option<Time>,
}

/// One key and the user who may touch it between two deeds.
struct Rule {
    user: u64,
    key: Key,
    granted: Option<Span2>,
    revoked: Option<Span2>,
    /// A grant's outcome was unknown once: it may come late, even after a revocation.
    is_tainted: bool,
}

/// A time in which the alarm surely stood.
struct Alarm {
    from: Time,
    to: Time,
}

/// One user's mind: it knows which keys there are, and not whether it may.
pub struct User {
    /// Its place among all clients, from 1.
    pub number: u64,
    me: u64,
    n_users: u64,
    /// How many keys each user has been granted or will be next.
    newest: u64,
    n_values: u64,
    rng: Rng,
}

impl User {
    /// What it asks next.
    pub fn next_request(&mut self) -> Request {
        let whose = match self.rng.one_in(6) {
            true => self.rng.between(1, self.n_users),
            false => self.me,
        };
        let back = self.rng.below(4);
        let key = key(whose, (self.newest + 1).saturating_sub(back));
        match self.rng.below(5) {
            0 | 1 => Request::Range {
                span: Span::single(key),
                at: None,
                level: Level::Linearizable,
            },
            2 => Request::Delete {
                span: Span::single(key),
            },
            _ => {
                self.n_values += 1;
                Request::Put {
                    key,
                    value: format!("u{}v{}", self.me, self.n_values).into_bytes(),
                    lease: base::LeaseId::NONE,
                }
            }
        }
    }

    /// The name that it is known by.
    pub fn name(&self) -> Bytes {
        name(self.me)
    }
}

/// The name of a user.
pub fn name(user: u64) -> Bytes {
    format!("user{user}").into()
}

fn key(user: u64, n: u64) -> Key {
    format!("u{user}/{n}").into_bytes()
}

/// The administrator, and all that is known of the rules.
pub struct Governing {
    rules: Option<Rules>,
    rng: Rng,
    /// What must be done before anything else.
    first: VecDeque<Deed>,
    deed: Option<Deed>,
    /// The attempt that is under way, and whether an earlier one of this deed is unknown.
    attempt: u64,
    is_under_way: bool,
    was_unknown: bool,
    called: Time,
    enabled: Option<Time>,
    keys: Vec<Rule>,
    raised: Option<Time>,
    alarmed: MemberId,
    alarms: Vec<Alarm>,
    /// A disarming's outcome was unknown once: no alarm after it surely stands.
    alarms_tainted: bool,
    is_raised: bool,
    quiet_clears: u32,
}

impl Governing {
    /// The administrator of a world with these rules.
    pub fn new(rules: Option<Rules>, seed: u64) -> Governing {
        let mut first = VecDeque::new();
        if let Some(rules) = rules {
            for user in 1..=rules.n_users {
                first.extend([
                    Deed::AddRole(user),
                    Deed::AddUser(user),
                    Deed::GiveRole(user),
                ]);
            }
            first.extend([Deed::AddRoot, Deed::GiveRoot, Deed::Enable]);
        }
        Governing {
            rules,
            rng: Rng::new(seed ^ 0x474f_5645_524e_0002),
            first,
            deed: None,
            attempt: 0,
            is_under_way: false,
            was_unknown: false,
            called: Time(0),
            enabled: None,
            keys: Vec::new(),
            raised: None,
            alarmed: MemberId(0),
            alarms: Vec::new(),
            alarms_tainted: false,
            is_raised: false,
            quiet_clears: 0,
        }
    }

    /// The users, who take the places after `n_before` clients.
    pub fn users(rules: Option<Rules>, seed: u64, n_before: u64) -> Vec<User> {
        let Some(rules) = rules else {
            return Vec::new();
        };
        let mut rng = Rng::new(seed ^ 0x474f_5645_524e_0003);
        (1..=rules.n_users)
            .map(|me| User {
                number: n_before + me,
                me,
                n_users: rules.n_users,
                newest: 0,
                n_values: 0,
                rng: rng.fork(me),
            })
            .collect()
    }

    /// Whether anybody governs here.
    pub fn is_governed(&self) -> bool {
        self.rules.is_some()
    }

    fn draw(&mut self, members: &[MemberId], is_closing: bool) -> Option<Deed> {
        let rules = self.rules?;
        if let Some(deed) = self.first.pop_front() {
            return Some(deed);
        }
        let alarmed = self.alarmed;
        if is_closing {
            let is_clean = !rules.alarms || alarmed == MemberId(0);
            if is_clean || self.quiet_clears >= QUIET_CLEARS {
                return None;
            }
            return Some(Deed::Clear(alarmed));
        }
        if self.is_raised {
            return match self.rng.one_in(2) {
                true => Some(Deed::Clear(alarmed)),
                false => Some(self.grant()),
            };
        }
        if rules.alarms && self.rng.one_in(6) {
            self.alarmed = match alarmed {
                MemberId(0) => self.rng.pick(members).copied()?,
                known => known,
            };
            return Some(Deed::Raise(self.alarmed));
        }
        let open: Vec<usize> = (0..self.keys.len())
            .filter(|at| self.keys[*at].revoked.is_none())
            .collect();
        match self.rng.pick(&open).copied() {
            Some(rule) if self.rng.one_in(2) => Some(Deed::Revoke(rule)),
            _ => Some(self.grant()),
        }
    }

    fn grant(&mut self) -> Deed {
        let n_users = self.rules.map_or(1, |rules| rules.n_users);
        let user = self.rng.between(1, n_users);
        let n = self.keys.iter().filter(|rule| rule.user == user).count() as u64;
        self.keys.push(Rule {
            user,
            key: key(user, n + 1),
            granted: None,
            revoked: None,
            is_tainted: false,
        });
        Deed::Grant(self.keys.len() - 1)
    }

    /// A user and a key that is, was, or soon will be its own.
    pub fn any_key(&self, rng: &mut Rng) -> Option<(u64, Key)> {
        let newest = self.keys.len().saturating_sub(8);
        let rule = rng.pick(&self.keys[newest..])?;
        Some((rule.user, rule.key.clone()))
    }

    fn n_keys(&self, user: u64) -> u64 {
        self.keys.iter().filter(|rule| rule.user == user).count() as u64
    }

    /// Notes that a deed begins.
    fn begins(&mut self, deed: &Deed, now: Time) {
        self.called = now;
        self.was_unknown = false;
        let span = Span2 {
            called: now,
            done: None,
        };
        match deed {
            Deed::Grant(rule) => self.keys[*rule].granted = Some(span),
            Deed::Revoke(rule) => self.keys[*rule].revoked = Some(span),
            Deed::Clear(_) => {
                if let Some(from) = self.raised.take()
                    && !self.alarms_tainted
                {
                    self.alarms.push(Alarm { from, to: now });
                }
            }
            _ => {}
        }
    }

    /// Notes that a deed is done for certain.
    fn ends(&mut self, deed: &Deed, now: Time) {
        match deed {
            Deed::Enable => self.enabled = Some(now),
            Deed::Grant(rule) => {
                let rule = &mut self.keys[*rule];
                rule.is_tainted |= self.was_unknown;
                if let Some(span) = &mut rule.granted {
                    span.done = Some(now);
                }
            }
            Deed::Revoke(rule) => {
                if let Some(span) = &mut self.keys[*rule].revoked {
                    span.done = Some(now);
                }
            }
            Deed::Raise(_) => {
                self.is_raised = true;
                self.raised = Some(now);
            }
            Deed::Clear(_) => {
                self.is_raised = false;
                self.alarms_tainted |= self.was_unknown;
            }
            _ => {}
        }
    }

    // ---- the judge --------------------------------------------------------------------------

    /// Whether, all the while from `called` to `returned`, `user` surely must not touch `key`.
    fn is_forbidden(&self, user: u64, key: &Key, called: Time, returned: Time) -> bool {
        if self.enabled.is_none_or(|enabled| enabled > called) {
            return false;
        }
        let Some(rule) = self.keys.iter().find(|rule| rule.key == *key) else {
            return true;
        };
        if rule.user != user {
            return true;
        }
        let not_yet = rule.granted.is_none_or(|span| span.called > returned);
        let no_more = rule.revoked.and_then(|span| span.done);
        not_yet || (!rule.is_tainted && no_more.is_some_and(|done| done < called))
    }

    /// Whether, all the while, it surely may.
    fn is_allowed(&self, user: u64, key: &Key, called: Time, returned: Time) -> bool {
        let rule = self.keys.iter().find(|rule| rule.key == *key);
        rule.is_some_and(|rule| {
            let since = rule.granted.and_then(|span| span.done);
            rule.user == user
                && since.is_some_and(|done| done < called)
                && rule.revoked.is_none_or(|span| span.called > returned)
        })
    }

    /// What the users were told and what happened, against what was known of the rules.
    pub fn judge(
        &self,
        users: &[User],
        history: &[Operation],
        happened: impl Fn(&[u8]) -> bool,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        for operation in history {
            let wrote = match &operation.request {
                Request::Put { value, .. } => happened(value),
                _ => false,
            };
            let is_certain = operation.outcome != Outcome::Unknown;
            // What is unknown may take effect at any time after it was asked.
            let returned = match is_certain {
                true => operation.returned,
                false => Time(u64::MAX),
            };
            let stood = self
                .alarms
                .iter()
                .any(|alarm| alarm.from < operation.call && returned < alarm.to);
            if stood && wrote {
                violations.push(Violation::new(
                    "no_put_while_space_is_out",
                    format!("{operation} took effect under the alarm"),
                ));
            }
            let Some(user) = users.iter().find(|user| user.number == operation.client) else {
                continue;
            };
            let key = match &operation.request {
                Request::Put { key, .. } => key,
                Request::Range { span, .. } | Request::Delete { span } => &span.first,
                _ => continue,
            };
            let (call, me) = (operation.call, user.me);
            let answered = matches!(operation.outcome, Outcome::Answered { .. });
            if self.is_forbidden(me, key, call, returned) && (answered || wrote) {
                let what = match operation.request {
                    Request::Range { .. } => "no_read_without_permission",
                    _ => "no_write_without_permission",
                };
                violations.push(Violation::new(what, operation.to_string()));
            }
            if let Outcome::Refused { reason } = &operation.outcome
                && reason == DENIED
                && self.is_allowed(me, key, call, returned)
            {
                violations.push(Violation::new(
                    "nobody_is_refused_what_is_granted",
                    operation.to_string(),
                ));
            }
        }
        violations
    }
}

fn encode(deed: &Deed, keys: &[Rule]) -> (Method, Bytes) {
    fn bytes(message: &impl Message) -> Bytes {
        message.encode_to_vec().into()
    }
    let text = |name: Bytes| String::from_utf8_lossy(&name).into_owned();
    let role = |user: u64| format!("role{user}");
    let user = |name: String| pb::AuthUserAddRequest {
        name,
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..Default::default()
    };
    let give = |user: String, role: String| pb::AuthUserGrantRoleRequest { user, role };
    let alarm = |action: pb::alarm_request::AlarmAction, member: MemberId| pb::AlarmRequest {
        action: action.into(),
        member_id: member.0,
        alarm: pb::AlarmType::Nospace.into(),
    };
    use pb::alarm_request::AlarmAction;
    match deed {
        Deed::AddRole(n) => (
            Method::RoleAdd,
            bytes(&pb::AuthRoleAddRequest { name: role(*n) }),
        ),
        Deed::AddUser(n) => (Method::UserAdd, bytes(&user(text(name(*n))))),
        Deed::GiveRole(n) => (
            Method::UserGrantRole,
            bytes(&give(text(name(*n)), role(*n))),
        ),
        Deed::AddRoot => (Method::UserAdd, bytes(&user(ROOT_USER.to_owned()))),
        Deed::GiveRoot => (
            Method::UserGrantRole,
            bytes(&give(ROOT_USER.to_owned(), ROOT_ROLE.to_owned())),
        ),
        Deed::Enable => (Method::AuthEnable, bytes(&pb::AuthEnableRequest {})),
        Deed::Grant(at) => {
            let rule = &keys[*at];
            let perm = authpb::Permission {
                perm_type: authpb::permission::Type::Readwrite.into(),
                key: rule.key.clone().into(),
                range_end: Bytes::new(),
            };
            let message = pb::AuthRoleGrantPermissionRequest {
                name: role(rule.user),
                perm: Some(perm),
            };
            (Method::RoleGrantPermission, bytes(&message))
        }
        Deed::Revoke(at) => {
            let rule = &keys[*at];
            let message = pb::AuthRoleRevokePermissionRequest {
                role: role(rule.user),
                key: rule.key.clone().into(),
                range_end: Bytes::new(),
            };
            (Method::RoleRevokePermission, bytes(&message))
        }
        Deed::Raise(member) => (Method::Alarm, bytes(&alarm(AlarmAction::Activate, *member))),
        Deed::Clear(member) => (
            Method::Alarm,
            bytes(&alarm(AlarmAction::Deactivate, *member)),
        ),
    }
}

/// Whether a refusal says that the deed was done before: by an attempt of which nothing was heard.
fn says_done(deed: &Deed, reason: &str) -> bool {
    match deed {
        Deed::AddRole(_) => reason == "etcdserver: role name already exists",
        Deed::AddUser(_) | Deed::AddRoot => reason == "etcdserver: user name already exists",
        Deed::Revoke(_) => reason == "etcdserver: permission is not granted to the role",
        _ => false,
    }
}

impl World {
    /// Lets the administrator begin.
    pub fn begin_governing(&mut self) {
        if self.governing.is_governed() {
            let after = self.governing.rng.below(2_000_000);
            self.schedule
                .after_us(after, Event::Govern(GovernEvent::Next));
        }
    }

    /// Something happens to the administrator.
    pub fn govern_event(&mut self, event: GovernEvent) {
        match event {
            GovernEvent::Next => self.govern_next(),
            GovernEvent::Arrives {
                attempt,
                member,
                life,
            } => self.govern_arrives(attempt, member, life),
            GovernEvent::Returns { attempt, heard } => self.govern_returns(attempt, heard),
            GovernEvent::GivesUp { attempt } => {
                if attempt == self.governing.attempt && self.governing.is_under_way {
                    self.governing.is_under_way = false;
                    self.governing.was_unknown = true;
                    self.govern_later(Duration::from_millis(5));
                }
            }
        }
    }

    fn govern_later(&mut self, at_most: Duration) {
        let after = self.governing.rng.below(at_most.as_micros() as u64 + 1);
        self.schedule
            .after_us(after, Event::Govern(GovernEvent::Next));
    }

    fn govern_next(&mut self) {
        if self.governing.is_under_way {
            return;
        }
        let now = self.now();
        if self.governing.deed.is_none() {
            let members: Vec<MemberId> = self.members.iter().map(|it| it.id).collect();
            let is_closing = self.asking.are_quiet;
            let Some(deed) = self.governing.draw(&members, is_closing) else {
                // Nothing to do, and perhaps nothing more: look again.
                return self.govern_later(Duration::from_secs(1));
            };
            self.governing.begins(&deed, now);
            for user in 0..self.asking.users.len() {
                let me = self.asking.users[user].me;
                self.asking.users[user].newest = self.governing.n_keys(me);
            }
            self.governing.deed = Some(deed);
        }
        let running = self.running();
        let Some(member) = self.governing.rng.pick(&running).copied() else {
            return self.govern_later(Duration::from_millis(100));
        };
        self.governing.attempt += 1;
        self.governing.is_under_way = true;
        let attempt = self.governing.attempt;
        if let Some(deed) = self.governing.deed.clone() {
            self.trace
                .note(now, "govern", &[attempt], || format!("#{attempt}: {deed}"));
        }
        let life = self.members[member].life;
        let after = self.governing.rng.between(20, 400);
        let event = GovernEvent::Arrives {
            attempt,
            member,
            life,
        };
        self.schedule.after_us(after, Event::Govern(event));
        let patience = self.settings.plan.patience.max(Duration::from_millis(400));
        self.schedule
            .after(patience, Event::Govern(GovernEvent::GivesUp { attempt }));
    }

    fn govern_arrives(&mut self, attempt: u64, member: usize, life: u32) {
        let is_awaited = attempt == self.governing.attempt && self.governing.is_under_way;
        let Some(deed) = self.governing.deed.clone().filter(|_| is_awaited) else {
            return;
        };
        let it = &mut self.members[member];
        if it.is_paused {
            let event = GovernEvent::Arrives {
                attempt,
                member,
                life,
            };
            return self.schedule.after_us(5_000, Event::Govern(event));
        }
        let Some(process) = it.process.as_mut().filter(|_| it.life == life) else {
            return self.govern_hears(attempt, Heard::Refused("connection refused".to_owned()));
        };
        let (method, body) = encode(&deed, &self.governing.keys);
        let request = match process.session.plan(method, body) {
            Ok(etcd::Plan::Propose { request, .. }) => Ok(request),
            Ok(etcd::Plan::Password(change)) => Ok(change.hashed("")),
            Ok(other) => Err(format!("unexpected plan {other:?}")),
            Err(status) => Err(status.message.to_string()),
        };
        let root = etcd::auth::user_identity(&process.state, ROOT_USER.into());
        let proposed = request.and_then(|request| {
            let proposed = process
                .node
                .propose_as(etcd::DIALECT, request, None, Some(root));
            proposed.map_err(|refused| refused.to_string())
        });
        match proposed {
            Ok(tag) => {
                process.governing.insert(tag, attempt);
                self.pump_soon(member);
            }
            Err(reason) => self.govern_hears(attempt, Heard::Refused(reason)),
        }
    }

    fn govern_hears(&mut self, attempt: u64, heard: Heard) {
        let after = self.governing.rng.between(20, 400);
        let event = GovernEvent::Returns { attempt, heard };
        self.schedule.after_us(after, Event::Govern(event));
    }

    /// A command was decided: whether it was the administrator's.
    pub fn govern_answered(&mut self, member: usize, tag: Tag, answer: &node::Answer) -> bool {
        let Some(process) = &mut self.members[member].process else {
            return false;
        };
        let Some(attempt) = process.governing.remove(&tag) else {
            return false;
        };
        // What is in the state and not known here: nothing is heard.
        if let Ok(outcome) = &answer.outcome {
            let header = etcd::HeaderParts {
                cluster: crate::member::CLUSTER,
                member: self.members[member].id,
                term: base::Term(1),
            };
            let heard = match etcd::answer_outcome(outcome, answer.revision, &header) {
                Ok(_) => Heard::Done,
                Err(status) => Heard::Refused(status.message.to_string()),
            };
            self.govern_hears(attempt, heard);
        }
        true
    }

    fn govern_returns(&mut self, attempt: u64, heard: Heard) {
        if attempt != self.governing.attempt || !self.governing.is_under_way {
            return;
        }
        self.governing.is_under_way = false;
        let now = self.now();
        let Some(deed) = self.governing.deed.clone() else {
            return;
        };
        self.trace.note(now, "governed", &[attempt], || {
            format!("#{attempt}: {deed}: {heard:?}")
        });
        let is_done = match &heard {
            Heard::Done => true,
            Heard::Refused(reason) => self.governing.was_unknown && says_done(&deed, reason),
        };
        if !is_done {
            return self.govern_later(Duration::from_millis(50));
        }
        self.governing.ends(&deed, now);
        self.governing.deed = None;
        if self.asking.are_quiet {
            self.governing.quiet_clears += u32::from(matches!(deed, Deed::Clear(_)));
            return self.govern_later(Duration::from_secs(1));
        }
        let pace = match self.governing.first.is_empty() {
            true => self
                .governing
                .rules
                .map_or(Duration::ZERO, |rules| rules.pace),
            false => Duration::from_millis(20),
        };
        self.govern_later(pace);
    }
}
