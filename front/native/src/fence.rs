//! Fences: what may be demanded of a write is that a token holds, now, at the revision of the write.
//!
//! A resource outside can only compare a token with the newest that it has seen. Inside the one log there is more to
//! know: whether the token's place is still in its line and holds. So a late write is refused although nobody newer
//! has come yet. (Burrows, "The Chubby lock service", 2006, §2.4: sequencers.)
//!
//! Locks and elections of etcd's clients are lines, too: the keys under the name and a slash, in the order in which
//! they were created, and the first holds. That is what holds in etcd's own recipes; see its documentation of
//! `concurrency`.

use crate::queue::{ETCD_NAME_BYTES_MAX, PLACES_MAX, QueueName};
use crate::refusal::{Refusal, Refused};
use api::proto::{Fence, QueueKind};
use base::{Mutant, Revision};
use store::{KeyRange, State};

/// Fences of one write.
pub const FENCES_MAX: usize = 16;

/// Whether fences make sense.
///
/// # Errors
/// There are too many, or one has no line, no token, or a bad name.
pub(crate) fn check_shape(fences: &[Fence]) -> Result<(), Refusal> {
    if fences.len() > FENCES_MAX {
        return Err(Refusal::TooManyFences);
    }
    for fence in fences {
        line(fence)?;
    }
    Ok(())
}

/// Whether the tokens of all `fences` hold in `state`.
///
/// # Errors
/// The first that does not.
pub fn check_all(state: &State, fences: &[Fence]) -> Result<(), Refused> {
    if fences.len() > FENCES_MAX {
        return Err(Refusal::TooManyFences.into());
    }
    fences.iter().try_for_each(|fence| check(state, fence))
}

/// Whether the token of `fence` holds in `state`.
///
/// # Errors
/// [`Refusal::StaleToken`] or [`Refusal::NotHeld`] with the newest token that holds, or the fence makes no sense.
pub fn check(state: &State, fence: &Fence) -> Result<(), Refused> {
    let token = Revision(fence.token);
    match line(fence)? {
        Line::Ours(queue) => {
            let root = state.root(crate::LINES_ROOT);
            if is_let_through(state, &queue, token) {
                return Ok(());
            }
            let refusal = match queue.find(root, token) {
                Some(taken) if queue.holds_in(state, &taken) => return Ok(()),
                Some(_) => Refusal::NotHeld,
                None => Refusal::StaleToken,
            };
            Err(refused(refusal, token, queue.newest_holder(root)))
        }
        Line::Etcd(range) => check_etcd(state, &range, token),
    }
}

/// Planted bugs.
fn is_let_through(state: &State, queue: &QueueName, token: Revision) -> bool {
    let mutants = state.mutants();
    mutants.has(Mutant::FenceNotChecked)
        || mutants.has(Mutant::FenceChecksNewestOnly)
            && token >= queue.newest_holder(state.root(crate::LINES_ROOT))
}

enum Line {
    Ours(QueueName),
    /// The keys of the contenders.
    Etcd(KeyRange),
}

fn line(fence: &Fence) -> Result<Line, Refusal> {
    let queue = fence.queue.as_ref().ok_or(Refusal::Malformed)?;
    if fence.token == 0 {
        return Err(Refusal::Malformed);
    }
    if queue.kind() != QueueKind::Etcd {
        return QueueName::of(Some(queue)).map(Line::Ours);
    }
    if queue.name.is_empty() || queue.name.len() > ETCD_NAME_BYTES_MAX {
        return Err(Refusal::BadName);
    }
    let prefix = [&queue.name[..], b"/"].concat();
    Ok(Line::Etcd(KeyRange::prefix(prefix)))
}

/// Keys are not in the order of their creation, so all have to be looked at; a line that is too long for that
/// cannot be fenced with.
fn check_etcd(state: &State, range: &KeyRange, token: Revision) -> Result<(), Refused> {
    let root = state.root(crate::ETCD_ROOT);
    if root.count(range, None).unwrap_or(u64::MAX) > PLACES_MAX {
        return Err(Refusal::QueueFull.into());
    }
    let mut first = Revision(u64::MAX);
    let mut is_there = false;
    for record in root.range(range, None).into_iter().flatten() {
        first = first.min(record.create_revision());
        is_there |= record.create_revision() == token;
    }
    match (first == token, is_there) {
        (true, _) => Ok(()),
        (false, true) => Err(refused(Refusal::NotHeld, token, first)),
        (false, false) if first.0 == u64::MAX => {
            Err(refused(Refusal::StaleToken, token, Revision(0)))
        }
        (false, false) => Err(refused(Refusal::StaleToken, token, first)),
    }
}

fn refused(refusal: Refusal, token: Revision, newest: Revision) -> Refused {
    Refused::token(refusal, token.0, newest.0)
}
