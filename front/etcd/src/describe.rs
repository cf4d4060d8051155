//! A request in words for people: what it is and which names it says, never a value and never a secret.
//!
//! For lines of the log (a command that was slow) and of the audit log. Only what is listed here is ever said: a field
//! that nobody listed (a value, a password, a token) stays unsaid, also one that is added later. Everything is cut.

use crate::method::Method;
use crate::request::{DeleteView, Kind, OpView, PutView, RangeView, TxnView, two_integers};
use crate::scan::{Fields, Value};
use crate::session::Query;
use store::RangeEnd;

/// Bytes of a name that are said.
const NAME_BYTES_MAX: usize = 128;

/// Names that are said of one request.
const NAMES_MAX: usize = 16;

/// A command of etcd's as it stands in the log: `put:<key:"colour" value_size:5 >`.
pub fn describe_command(request: &[u8]) -> String {
    let Some((number, message)) = request.split_first() else {
        return "nothing".to_owned();
    };
    let kind = Kind::of_number(*number);
    let words = match kind {
        Some(Kind::Put) => PutView::read(message).ok().map(|put| put_words(&put)),
        Some(Kind::DeleteRange) => DeleteView::read(message).ok().map(|it| delete_words(&it)),
        Some(Kind::Txn) => TxnView::read(message).ok().map(|txn| txn_words(&txn)),
        Some(Kind::Compact) => two_integers(message)
            .ok()
            .map(|(revision, _)| format!("compaction:<revision:{revision} >")),
        _ => None,
    };
    words.unwrap_or_else(|| match kind {
        Some(kind) => format!("{kind:?}:<size:{} >", message.len()),
        None => format!("size:{}", request.len()),
    })
}

fn put_words(put: &PutView<'_>) -> String {
    let (key, size) = (said(put.key), put.value.len());
    format!("put:<key:\"{key}\" value_size:{size} >")
}

fn delete_words(it: &DeleteView<'_>) -> String {
    format!(
        "delete_range:<key:\"{}\" range_end:\"{}\" >",
        said(it.key),
        said(it.end)
    )
}

fn txn_words(txn: &TxnView<'_>) -> String {
    let mut words = format!("txn:<compare:{} ", txn.compare.len());
    for (branch, ops) in [("success", &txn.success), ("failure", &txn.failure)] {
        for op in ops.iter().take(NAMES_MAX) {
            words += &format!("{branch}:<{} > ", op_words(op));
        }
        if let Some(more) = ops.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
            words += &format!("{branch}:<{more} more > ");
        }
    }
    words + ">"
}

fn op_words(op: &OpView<'_>) -> String {
    match op {
        OpView::Range(range) => format!(
            "range:<key:\"{}\" range_end:\"{}\" >",
            said(range.key),
            said(range.end)
        ),
        OpView::Put(put) => put_words(put),
        OpView::DeleteRange(it) => delete_words(it),
        OpView::Txn(txn) => format!("txn:<compare:{} >", txn.compare.len()),
        OpView::Empty => "nothing".to_owned(),
    }
}

/// A read: `range:<key:"colour" range_end:"" limit:0 >`.
pub fn describe_query(query: &Query) -> String {
    match query {
        Query::Range(read) => {
            let end = match &read.range.end {
                RangeEnd::Single => "".into(),
                RangeEnd::Unbounded => "\\x00".into(),
                RangeEnd::Before(end) => said(end),
            };
            let (key, limit) = (said(&read.range.start), read.options.limit);
            format!("range:<key:\"{key}\" range_end:\"{end}\" limit:{limit} >")
        }
        Query::Txn(message) => match TxnView::read(message) {
            Ok(txn) => txn_words(&txn),
            Err(_) => format!("size:{}", message.len()),
        },
        other => format!("{other:?}"),
    }
}

/// The names that a client's request says: keys, users, roles, leases, locks. Of bytes that make no sense: none.
pub fn names(method: Method, message: &[u8]) -> Vec<String> {
    let mut names = Names::default();
    match method {
        Method::Put => names.add_all(PutView::read(message).ok().map(|put| [put.key, b""])),
        Method::DeleteRange => {
            names.add_all(DeleteView::read(message).ok().map(|it| [it.key, it.end]))
        }
        Method::Range | Method::RangeStream => {
            names.add_all(RangeView::read(message).ok().map(|it| [it.key, it.end]));
        }
        Method::Txn => {
            if let Ok(txn) = TxnView::read_bounded(message, NAMES_MAX) {
                names.add_txn(&txn);
            }
        }
        Method::Compact => names.number("revision", message, 1, false),
        Method::LeaseGrant => names.number("lease", message, 2, true),
        Method::LeaseRevoke | Method::LeaseTimeToLive => names.number("lease", message, 1, true),
        Method::MemberRemove
        | Method::MemberUpdate
        | Method::MemberPromote
        | Method::MoveLeader => {
            names.number("member", message, 1, true);
        }
        Method::MemberAdd => names.field(message, 1),
        Method::Authenticate
        | Method::UserAdd
        | Method::UserGet
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::RoleAdd
        | Method::RoleGet
        | Method::RoleDelete
        | Method::Lock
        | Method::Unlock
        | Method::ElectionCampaign
        | Method::ElectionLeader => names.field(message, 1),
        Method::UserGrantRole | Method::UserRevokeRole => {
            names.field(message, 1);
            names.field(message, 2);
        }
        Method::RoleGrantPermission => {
            names.field(message, 1);
            // A `Permission`: its key and the end of its range.
            if let Some(permission) = field(message, 2) {
                names.field(permission, 2);
                names.field(permission, 3);
            }
        }
        Method::RoleRevokePermission => (1..=3).for_each(|number| names.field(message, number)),
        _ => {}
    }
    names.0
}

/// The revision in the header of an answer, if it has one.
pub fn revision_of(answer: &[u8]) -> Option<i64> {
    let mut fields = Fields::of(field(answer, 1)?);
    while let Ok(Some((number, value))) = fields.next() {
        if let (3, Value::Varint(revision)) = (number, value) {
            return i64::try_from(revision).ok();
        }
    }
    None
}

/// Whether an answer to a delete says that there was nothing to delete.
pub fn deleted_nothing(answer: &[u8]) -> bool {
    let mut fields = Fields::of(answer);
    while let Ok(Some((number, value))) = fields.next() {
        if let (2, Value::Varint(n)) = (number, value) {
            return n == 0;
        }
    }
    true
}

#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: &[u8]) {
        if !name.is_empty() && self.0.len() < NAMES_MAX {
            self.0.push(said(name));
        }
    }

    fn add_all(&mut self, all: Option<[&[u8]; 2]>) {
        all.into_iter().flatten().for_each(|name| self.add(name));
    }

    fn add_txn(&mut self, txn: &TxnView<'_>) {
        for op in txn.ops() {
            match op {
                OpView::Put(put) => self.add(put.key),
                OpView::Range(it) => self.add_all(Some([it.key, it.end])),
                OpView::DeleteRange(it) => self.add_all(Some([it.key, it.end])),
                OpView::Txn(txn) => self.add_txn(txn),
                OpView::Empty => {}
            }
        }
    }

    fn field(&mut self, message: &[u8], number: u32) {
        self.add(field(message, number).unwrap_or_default());
    }

    fn number(&mut self, word: &str, message: &[u8], number: u32, is_id: bool) {
        let mut fields = Fields::of(message);
        while let Ok(Some((field, value))) = fields.next() {
            if let (true, Value::Varint(n)) = (field == number, value) {
                self.0.push(match is_id {
                    true => format!("{word}:{n:x}"),
                    false => format!("{word}:{n}"),
                });
                return;
            }
        }
    }
}

fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut fields = Fields::of(message);
    while let Ok(Some((field, value))) = fields.next() {
        if field == number {
            return value.bytes().ok();
        }
    }
    None
}

/// A name as it is said: cut, and what is no visible ASCII is escaped.
fn said(name: &[u8]) -> String {
    let cut = &name[..name.len().min(NAME_BYTES_MAX)];
    let dots = if cut.len() < name.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}
