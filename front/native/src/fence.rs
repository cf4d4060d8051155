//! Fences: what may be demanded of a write is that a token holds, now, at the revision of the write.
//!
//! A resource outside can only compare a token with the newest that it has seen. Inside the one log there is more to
//! know: whether the token's place is still in its queue and holds. So a late write is refused although nobody newer
//! has come yet. (Burrows, "The Chubby lock service", 2006, §2.4: sequencers.)

use crate::proto::Fence;
use crate::queue::QueueName;
use crate::refusal::Refusal;
use base::Revision;
use store::State;

/// Whether the token of `fence` holds in `state`.
///
/// # Errors
/// [`Refusal::StaleToken`], [`Refusal::NotHeld`], or the fence makes no sense.
pub fn check(state: &State, fence: &Fence) -> Result<(), Refusal> {
    let queue = QueueName::of(fence.queue.as_ref())?;
    let root = state.root(crate::LOCKS_ROOT);
    let token = Revision(fence.token);
    if queue.is_held(root, token) {
        Ok(())
    } else if queue.find(root, token).is_some() {
        Err(Refusal::NotHeld)
    } else {
        Err(Refusal::StaleToken)
    }
}
