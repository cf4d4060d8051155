//! What a request needs: the one visitor of everything that a client can ask.
//!
//! A request becomes a [`Level`], which says who may ask at all, and intervals of keys with what is done to them. Each
//! kind is matched by name; what is nested is flattened, both branches of a transaction and its comparisons included,
//! because a branch that is not taken tells by its being not taken.
//!
//! ```text
//!   Range            read  the keys                      LeaseRevoke       write  all keys on the lease
//!   Put              write the key                       LeaseTimeToLive   read   all keys on it, if it tells them
//!     prev_kv        read  the key                       Lock, Campaign    read   the line, write the key
//!     lease          write all keys on the lease         Unlock            write  the key
//!   LeaseKeepAlive   write all keys on the lease         Proclaim, Resign  read and write the key
//!   DeleteRange      write the keys                      Leader, Observe   read   the line
//!     prev_kv        read  the keys                      Watch             read   the keys
//!   Txn              read  what is compared,             MemberList, Status, AlarmGet, leases     some user
//!                    and what all its operations need    everything else                          root
//! ```

use super::interval::Interval;
use crate::apply::alarms::AlarmKind;
use crate::proto::etcdserverpb as pbs;
use crate::recipes::Recipe;
use crate::request::{DeleteView, Kind, OpView, PutView, RangeView, TxnView, two_integers};
use crate::session::{Plan, Query};
use crate::status::Refusal;
use base::LeaseId;
use bytes::Bytes;
use prost::Message;
use store::KeyRange;

/// Before this apply version a put that keeps the value needed to read it. etcd asks for no such thing, and that there is
/// a key is told to whoever may delete it.
const KEPT_VALUE_VERSION: u16 = 4;

/// What is done to keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verb {
    /// Their values, or that they exist, can be told from the answer.
    Read,
    /// They are put or deleted.
    Write,
}

/// Who may ask at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Everybody, also who says no name.
    Open,
    /// Every user.
    User,
    /// The user of this name, and root.
    Self_(Bytes),
    /// Users who have this role, and root.
    Holder(Bytes),
    /// Users who have the role root.
    #[default]
    Root,
}

/// What a request needs. Nothing said is root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Who may ask.
    pub level: Level,
    /// And what they must be allowed.
    pub keys: Vec<(Interval, Verb)>,
    /// The same for all keys that hang on a lease when it is decided.
    pub leases: Vec<(LeaseId, Verb)>,
}

impl Needs {
    fn of_level(level: Level) -> Needs {
        Needs {
            level,
            ..Needs::default()
        }
    }

    /// Some user, whoever it is.
    pub fn user() -> Needs {
        Needs::of_level(Level::User)
    }

    /// Reading `range`: a watch, an observer.
    pub fn of_read(range: &KeyRange) -> Needs {
        Needs::user().and(Interval::of_range(range), Verb::Read)
    }

    /// Renewing a lease: whoever may not end it may not keep it alive either.
    pub fn of_renewal(lease: LeaseId) -> Needs {
        Needs {
            leases: vec![(lease, Verb::Write)],
            ..Needs::user()
        }
    }

    fn and(mut self, interval: Interval, verb: Verb) -> Needs {
        self.keys.push((interval, verb));
        self
    }

    /// What a request in the log needs, by the rules of `apply_version`.
    ///
    /// # Errors
    /// It is malformed.
    pub fn of_logged(kind: Kind, message: &[u8], apply_version: u16) -> Result<Needs, Refusal> {
        let mut needs = Needs::user();
        match kind {
            Kind::Put => needs.put(&PutView::read(message)?, apply_version),
            Kind::DeleteRange => needs.delete(&DeleteView::read(message)?),
            Kind::Txn => needs.txn(&TxnView::read(message)?, apply_version),
            Kind::LeaseGrant => {}
            Kind::LeaseRevoke => {
                let lease = LeaseId(two_integers(message)?.0);
                needs.leases.push((lease, Verb::Write));
            }
            // Whoever shows a checked password's token has nothing else to show.
            Kind::IssueToken => needs.level = Level::Open,
            Kind::Compact
            | Kind::Alarm
            | Kind::AuthEnable
            | Kind::AuthDisable
            | Kind::UserAdd
            | Kind::UserDelete
            | Kind::UserChangePassword
            | Kind::UserGrantRole
            | Kind::UserRevokeRole
            | Kind::RoleAdd
            | Kind::RoleDelete
            | Kind::RoleGrantPermission
            | Kind::RoleRevokePermission => needs.level = Level::Root,
        }
        Ok(needs)
    }

    /// As [`Needs::of_logged`], of a request in its envelope.
    ///
    /// # Errors
    /// It is malformed.
    pub fn of_request(request: &[u8], apply_version: u16) -> Result<Needs, Refusal> {
        let (number, message) = request.split_first().ok_or(Refusal::Malformed)?;
        let kind = Kind::of_number(*number).ok_or(Refusal::Malformed)?;
        Needs::of_logged(kind, message, apply_version)
    }

    /// What a question to the state needs.
    ///
    /// # Errors
    /// It is malformed.
    pub fn of_query(query: &Query) -> Result<Needs, Refusal> {
        Ok(match query {
            Query::Range(range) => Needs::of_read(&range.range),
            Query::Txn(message) => {
                let mut needs = Needs::user();
                // It puts nothing.
                needs.txn(&TxnView::read(message)?, u16::MAX);
                needs
            }
            Query::AuthStatus => Needs::of_level(Level::Open),
            Query::Leases | Query::Members => Needs::user(),
            Query::Alarms(None | Some(AlarmKind::NoSpace | AlarmKind::Corrupt)) => Needs::user(),
            Query::User(name) => Needs::of_level(Level::Self_(name.clone())),
            Query::Role(name) => Needs::of_level(Level::Holder(name.clone())),
            Query::Hash | Query::HashKv(_) | Query::Users | Query::Roles => Needs::default(),
        })
    }

    /// What a planned request needs.
    ///
    /// # Errors
    /// It is malformed.
    pub fn of_plan(plan: &Plan) -> Result<Needs, Refusal> {
        Ok(match plan {
            // By the newest rules: the log decides by those of its entry.
            Plan::Propose { request, .. } => Needs::of_request(request, u16::MAX)?,
            Plan::Read(read) | Plan::ReadStream(read) => Needs::of_query(&read.query)?,
            Plan::LeaseTimeToLive { lease, keys } => {
                let mut needs = Needs::user();
                if *keys {
                    needs.leases.push((*lease, Verb::Read));
                }
                needs
            }
            Plan::Recipe(recipe) => Needs::of_recipe(recipe),
            Plan::Status => Needs::user(),
            Plan::Health { .. } | Plan::Authenticate(_) => Needs::of_level(Level::Open),
            Plan::Change(_)
            | Plan::MoveLeader(_)
            | Plan::Defragment
            | Plan::Snapshot
            | Plan::Downgrade
            | Plan::Password(_) => Needs::default(),
        })
    }

    /// What a call of the lock or the election service needs. What it writes is decided again when it is written.
    pub fn of_recipe(recipe: &Recipe) -> Needs {
        let key = |key: &Bytes| Interval::single(key.clone());
        match recipe {
            Recipe::Contend(entry) => {
                let line = Needs::of_read(&entry.line().range());
                match entry.lease {
                    // Its key is named after a lease that is yet to be granted.
                    LeaseId::NONE => line,
                    lease => line.and(Interval::single(entry.key(lease)), Verb::Write),
                }
            }
            Recipe::Unlock(name) => Needs::user().and(key(name), Verb::Write),
            Recipe::Proclaim(leader, _) | Recipe::Resign(leader) => Needs::user()
                .and(key(&leader.key), Verb::Read)
                .and(key(&leader.key), Verb::Write),
            Recipe::Leader(line) | Recipe::Observe(line) => Needs::of_read(&line.range()),
        }
    }

    // ---- operations ---------------------------------------------------------------------------

    fn add(&mut self, key: &[u8], end: &[u8], verb: Verb) {
        self.keys.push((Interval::of(key, end), verb));
    }

    fn range(&mut self, view: &RangeView<'_>) {
        self.add(view.key, view.end, Verb::Read);
    }

    fn put(&mut self, view: &PutView<'_>, apply_version: u16) {
        self.add(view.key, &[], Verb::Write);
        if view.prev_kv || (view.ignore_value && apply_version < KEPT_VALUE_VERSION) {
            self.add(view.key, &[], Verb::Read);
        }
        if view.lease != 0 {
            // Who ends the lease deletes its keys; who adds one to it may keep the others from ending it.
            self.leases.push((LeaseId(view.lease), Verb::Write));
        }
    }

    fn delete(&mut self, view: &DeleteView<'_>) {
        self.add(view.key, view.end, Verb::Write);
        if view.prev_kv {
            self.add(view.key, view.end, Verb::Read);
        }
    }

    /// A transaction, to any depth (the reader bounds it).
    fn txn(&mut self, view: &TxnView<'_>, apply_version: u16) {
        for compare in &view.compare {
            self.add(compare.key, compare.end, Verb::Read);
        }
        for op in view.ops() {
            match op {
                OpView::Range(view) => self.range(view),
                OpView::Put(view) => self.put(view, apply_version),
                OpView::DeleteRange(view) => self.delete(view),
                OpView::Txn(view) => self.txn(view, apply_version),
                // It does nothing but be refused.
                OpView::Empty => {}
            }
        }
    }
}

/// Whether a plan changes users or roles: not every cluster understands that yet ([`super::check_gate`]).
pub fn changes_users(plan: &Plan) -> bool {
    match plan {
        Plan::Password(_) => true,
        Plan::Propose { request, .. } => {
            let kind = request.first().and_then(|number| Kind::of_number(*number));
            kind.is_some_and(|kind| kind >= Kind::AuthEnable)
        }
        _ => false,
    }
}

/// The name in an `AuthUserGetRequest` or an `AuthRoleGetRequest`: both have it in field 1.
pub(crate) fn name_of(body: &[u8]) -> Result<Bytes, Refusal> {
    let request = pbs::AuthUserGetRequest::decode(body).map_err(|_| Refusal::Malformed)?;
    Ok(request.name.into())
}
