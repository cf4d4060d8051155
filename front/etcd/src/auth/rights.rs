//! What a user may do, and whether that is what is needed.

use super::interval::{Interval, Intervals};
use super::needs::{Level, Needs, Verb};
use super::records::{ROOT_ROLE, Settings, role, user};
use crate::proto::authpb::permission::Type;
use crate::status::Refusal;
use bytes::Bytes;
use store::State;
use store::command::Identity;

/// Who asks, as the transport has established: nobody said, somebody, or a token that is none.
pub type Caller = Result<Option<Identity>, Refusal>;

/// A user as of now: whoever is known by name alone, such as by a certificate.
pub fn user_identity(state: &State, name: Bytes) -> Identity {
    let revision = Settings::of(state).revision;
    Identity::User { name, revision }
}

/// What one user may do: the union of what all roles allow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    is_root: bool,
    roles: Vec<String>,
    read: Intervals,
    write: Intervals,
}

impl Rights {
    /// The rights of the user of this name; nothing when there is none.
    pub fn of(state: &State, name: &[u8]) -> Option<Rights> {
        let roles = user(state, name)?.roles;
        if roles.iter().any(|role| role == ROOT_ROLE) {
            return Some(Rights {
                is_root: true,
                roles,
                ..Rights::default()
            });
        }
        let (mut read, mut write) = (Vec::new(), Vec::new());
        let known = roles.iter().filter_map(|name| role(state, name.as_bytes()));
        for permission in known.flat_map(|role| role.key_permission) {
            let interval = Interval::of(&permission.key, &permission.range_end);
            match Type::try_from(permission.perm_type) {
                Ok(Type::Read) => read.push(interval),
                Ok(Type::Write) => write.push(interval),
                Ok(Type::Readwrite) => {
                    read.push(interval.clone());
                    write.push(interval);
                }
                // What nobody can read allows nothing.
                Err(_) => {}
            }
        }
        Some(Rights {
            is_root: false,
            roles,
            read: Intervals::union(read),
            write: Intervals::union(write),
        })
    }

    /// Whether everything is allowed.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Whether this may be done to these keys.
    pub fn allow(&self, interval: &Interval, verb: Verb) -> bool {
        let intervals = match verb {
            Verb::Read => &self.read,
            Verb::Write => &self.write,
        };
        self.is_root || intervals.cover(interval)
    }

    /// Whether the user `name`, whose rights these are, has all that is needed.
    fn suffice(&self, state: &State, name: &[u8], needs: &Needs) -> bool {
        let may_ask = match &needs.level {
            Level::Open | Level::User => true,
            Level::Self_(wanted) => self.is_root || *wanted == name,
            Level::Holder(role) => {
                self.is_root || self.roles.iter().any(|it| it.as_bytes() == &role[..])
            }
            Level::Root => self.is_root,
        };
        let keys = || {
            needs
                .keys
                .iter()
                .all(|(keys, verb)| self.allow(keys, *verb))
        };
        let leases = || {
            let mut leases = needs.leases.iter();
            self.is_root
                || leases.all(|(lease, verb)| {
                    state.lease_keys(*lease).all(|(root, key)| match verb {
                        // Keys of other fronts are not told.
                        Verb::Read if root != crate::ROOT => true,
                        // Only root may touch those.
                        Verb::Write if root != crate::ROOT => false,
                        Verb::Read | Verb::Write => self.allow(&Interval::single(key), *verb),
                    })
                })
        };
        may_ask && keys() && leases()
    }
}

/// Whether `identity` may do what needs this, as of `state`.
///
/// # Errors
/// etcd's refusals: nobody said who asks, users have changed since it was established who asks, or it may not.
pub fn permit(state: &State, identity: Option<&Identity>, needs: &Needs) -> Result<(), Refusal> {
    let settings = Settings::of(state);
    if !settings.enabled || needs.level == Level::Open {
        return Ok(());
    }
    if let Some(Identity::User { revision, .. }) = identity
        && *revision != settings.revision
    {
        return Err(Refusal::AuthOldRevision);
    }
    let name = match identity {
        // As in etcd nobody's name is the empty one, and of oneself one may ask: there is no such user.
        None if needs.level == Level::Self_(Bytes::new()) => return Ok(()),
        None => return Err(Refusal::UserEmpty),
        Some(Identity::Member) => return Ok(()),
        Some(Identity::User { name, .. }) => name,
    };
    match Rights::of(state, name) {
        Some(rights) if rights.suffice(state, name, needs) => Ok(()),
        _ => Err(Refusal::PermissionDenied),
    }
}

/// As [`permit`], for whoever the transport says that it is.
///
/// # Errors
/// As [`permit`], and what is wrong with the caller's token where one is needed.
pub fn permit_caller(state: &State, caller: &Caller, needs: &Needs) -> Result<(), Refusal> {
    if !Settings::of(state).enabled || needs.level == Level::Open {
        return Ok(());
    }
    match caller {
        Ok(identity) => permit(state, identity.as_ref(), needs),
        // A certificate without a name in it: where root is needed, etcd asks for a name.
        Err(Refusal::PermissionDenied) if needs.level == Level::Root => Err(Refusal::UserEmpty),
        Err(refusal) => Err(*refusal),
    }
}

/// Whether `identity` has the role root, where that is needed.
///
/// # Errors
/// As [`permit`].
pub fn permit_root(state: &State, identity: Option<&Identity>) -> Result<(), Refusal> {
    permit(state, identity, &Needs::default())
}
