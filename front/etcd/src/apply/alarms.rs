//! Alarms: replicated notes that a member is out of space or that the data cannot be trusted, and what
//! they forbid.
//!
//! ```text
//!   Table 16:  [ alarm type: 1 byte ][ member id: 8 bytes, big endian ]  →  "1"
//! ```

use crate::pb;
use crate::request::Kind;
use crate::scan::{Fields, Malformed};
use crate::status::Refusal;
use base::MemberId;
use bytes::Bytes;
use store::{State, Table, WriteTxn};

pub(crate) const ALARMS: Table = Table(16);

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum AlarmKind {
    /// A member's store is full: puts and grants are refused until somebody makes room and disarms.
    NoSpace = 1,
    /// Members differ: everything that goes through the log is refused, but what is about users, roles and alarms.
    Corrupt = 2,
}

impl AlarmKind {
    /// etcd's number.
    pub fn of_number(number: i32) -> Option<AlarmKind> {
        match number {
            1 => Some(AlarmKind::NoSpace),
            2 => Some(AlarmKind::Corrupt),
            _ => None,
        }
    }

    /// etcd's name.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }
}

/// One member's alarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// With whom.
    pub member: MemberId,
}

impl Alarm {
    pub(crate) fn key(self) -> [u8; 9] {
        let mut key = [self.kind as u8; 9];
        key[1..].copy_from_slice(&self.member.0.to_be_bytes());
        key
    }

    fn of_key(key: &[u8]) -> Option<Alarm> {
        let (kind, member) = key.split_first()?;
        Some(Alarm {
            kind: AlarmKind::of_number(i32::from(*kind))?,
            member: MemberId(u64::from_be_bytes(member.try_into().ok()?)),
        })
    }

    /// It as an `AlarmMember` of its own.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        pb::uint(&mut out, 1, self.member.0);
        pb::uint(&mut out, 2, self.kind as u64);
        out
    }

    /// Reads an `AlarmMember`; nothing when it is of no kind that we know.
    pub(crate) fn decode(message: &[u8]) -> Result<Option<Alarm>, Malformed> {
        let (mut member, mut kind) = (0, 0);
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => member = value.int()? as u64,
                2 => kind = value.choice()?,
                _ => {}
            }
        }
        Ok(AlarmKind::of_number(kind).map(|kind| Alarm {
            kind,
            member: MemberId(member),
        }))
    }

    /// Writes it as an `AlarmMember` in `field`.
    pub(crate) fn write(self, out: &mut Vec<u8>, field: u32) {
        pb::nested(out, field, |out| {
            pb::uint(out, 1, self.member.0);
            pb::uint(out, 2, self.kind as u64);
        });
    }
}

/// The alarms that are raised, by kind and member.
pub fn alarms(state: &State) -> impl Iterator<Item = Alarm> + '_ {
    state
        .records(ALARMS)
        .filter_map(|(key, _)| Alarm::of_key(&key))
}

/// Where the alarms NOSPACE stand in the state: for whoever makes another cluster of it.
pub fn full_records(state: &State) -> Vec<(Table, Bytes)> {
    let full = alarms(state).filter(|alarm| alarm.kind == AlarmKind::NoSpace);
    full.map(|alarm| (ALARMS, Bytes::copy_from_slice(&alarm.key())))
        .collect()
}

/// From this apply version on alarms forbid what etcd's forbid, and in its order.
const ORDER_VERSION: u16 = 4;

/// Where among the questions whether a request may be the one about alarms stands. The order is etcd's.
///
/// ```text
///   puts, deletions, transactions       alarms · name · rights
///   leases                              name · alarms · rights
///   compaction                          name · rights · alarms
///   alarms, users, roles, tokens        name · rights              alarms do not touch them: whoever is to put an alarm
///                                                                  out must be able to log in
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    First,
    BehindName,
    Last,
    Never,
}

impl Turn {
    /// Its place for a request of this kind, by the rules of `apply_version`.
    pub(crate) fn of(kind: Kind, apply_version: u16) -> Turn {
        match kind {
            Kind::Alarm => Turn::Never,
            _ if apply_version < ORDER_VERSION => Turn::Last,
            Kind::Put | Kind::DeleteRange | Kind::Txn => Turn::First,
            Kind::LeaseGrant | Kind::LeaseRevoke => Turn::BehindName,
            Kind::Compact => Turn::Last,
            Kind::AuthEnable
            | Kind::AuthDisable
            | Kind::UserAdd
            | Kind::UserDelete
            | Kind::UserChangePassword
            | Kind::UserGrantRole
            | Kind::UserRevokeRole
            | Kind::RoleAdd
            | Kind::RoleDelete
            | Kind::RoleGrantPermission
            | Kind::RoleRevokePermission
            | Kind::IssueToken => Turn::Never,
        }
    }

    /// Whether it is before the one about rights, for somebody with or without a name.
    pub(crate) fn is_before_rights(self, has_name: bool) -> bool {
        match self {
            Turn::First => true,
            Turn::BehindName => has_name,
            Turn::Last | Turn::Never => false,
        }
    }
}

/// Refuses what the raised alarms forbid: everything that goes through the log, or what may make the data larger.
///
/// # Errors
/// [`Refusal::Corrupt`], [`Refusal::NoSpace`].
pub fn forbids(state: &State, grows: impl FnOnce() -> bool) -> Result<(), Refusal> {
    Forbidden::of(state).check(grows)
}

/// What the raised alarms forbid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Forbidden {
    is_full: bool,
    is_corrupt: bool,
}

impl Forbidden {
    /// Looks once: nearly always there is no alarm, and this is on the way of every put.
    pub(super) fn of(state: &State) -> Forbidden {
        let mut forbidden = Forbidden::default();
        for alarm in alarms(state) {
            match alarm.kind {
                AlarmKind::NoSpace => forbidden.is_full = true,
                AlarmKind::Corrupt => forbidden.is_corrupt = true,
            }
        }
        forbidden
    }

    /// Both: `grows` tells whether the request adds.
    pub(super) fn check(self, grows: impl FnOnce() -> bool) -> Result<(), Refusal> {
        self.check_sound()?;
        match self.is_full && grows() {
            true => self.check_space(),
            false => Ok(()),
        }
    }

    /// Refuses everything that goes through the log while the data cannot be trusted.
    pub(super) fn check_sound(self) -> Result<(), Refusal> {
        if self.is_corrupt {
            Err(Refusal::Corrupt)
        } else {
            Ok(())
        }
    }

    /// Refuses what adds while a member is out of space.
    pub(super) fn check_space(self) -> Result<(), Refusal> {
        if self.is_full {
            Err(Refusal::NoSpace)
        } else {
            Ok(())
        }
    }
}

/// What an `AlarmRequest` asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AlarmView {
    pub(crate) action: i32,
    pub(crate) member: MemberId,
    pub(crate) alarm: i32,
}

pub(crate) const ACTIVATE: i32 = 1;
pub(crate) const DEACTIVATE: i32 = 2;

impl AlarmView {
    pub(crate) fn read(message: &[u8]) -> Result<AlarmView, Malformed> {
        let mut view = AlarmView::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => view.action = value.choice()?,
                2 => view.member = MemberId(value.int()? as u64),
                3 => view.alarm = value.choice()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// Raises or clears an alarm. As in etcd the answer names it when it is raised now, also when it was
/// before, and when it was there to be cleared.
pub(super) fn change(
    txn: &mut WriteTxn<'_>,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let AlarmView {
        action,
        member,
        alarm,
    } = AlarmView::read(message)?;
    let Some(kind) = AlarmKind::of_number(alarm) else {
        return Ok(());
    };
    let alarm = Alarm { kind, member };
    let key = alarm.key();
    let is_raised = txn.record(ALARMS, &key).is_some();
    match action {
        ACTIVATE if !is_raised => {
            txn.record_put(ALARMS, &key, Bytes::from_static(b"1"));
        }
        ACTIVATE => {}
        DEACTIVATE if is_raised => {
            txn.record_delete(ALARMS, &key);
        }
        _ => return Ok(()),
    }
    alarm.write(out, 2);
    Ok(())
}
