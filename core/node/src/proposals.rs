//! How a write becomes an entry: commands wait here until a round of proposals is free.
//!
//! One entry of the log is a *batch* of commands. At most [`ROUNDS_MAX`] batches of this leader are
//! uncommitted at a time; what arrives meanwhile forms the next one. So a single client's put goes out
//! at once, and under load batches grow by themselves, which was measured to be cheaper than many small
//! entries in flight (DESIGN §2.1: 33 against 42–48 µs of CPU per put). After a round of many the next one
//! waits a moment for those who were just answered: `gathering.rs`.
//!
//! Invariants: commands leave in the order in which they came; the bytes waiting are the sum of the
//! sizes of the commands waiting; neither passes its limit.

use base::limits::{
    BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, MEMBERS_MAX, PROPOSALS_WAITING_BYTES_MAX,
    PROPOSALS_WAITING_MAX,
};
use base::{MemberId, Membership, invariant};
use std::collections::{BTreeMap, VecDeque};
use store::command::{Command, Identity};

/// Uncommitted batches that one leader has under way.
pub const ROUNDS_MAX: usize = 1;

/// Bytes that a command takes in a batch beyond its request.
const COMMAND_OVERHEAD_BYTES: usize = 40;

/// Commands that wait for their round.
#[derive(Debug, Default)]
pub struct Proposals {
    waiting: VecDeque<Command>,
    waiting_bytes: usize,
}

impl Proposals {
    /// Whether one more command of `request_bytes` fits.
    pub fn has_room(&self, request_bytes: usize) -> bool {
        self.waiting.len() < PROPOSALS_WAITING_MAX
            && self.waiting_bytes + request_bytes + COMMAND_OVERHEAD_BYTES
                <= PROPOSALS_WAITING_BYTES_MAX
    }

    /// Queues a command. The caller has asked [`Proposals::has_room`].
    pub fn push(&mut self, command: Command) {
        self.waiting_bytes += size(&command);
        self.waiting.push_back(command);
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next batch: at least one command if any waits, then as many as fit in
    /// [`BATCH_BYTES_MAX`] and [`BATCH_COMMANDS_MAX`]. One that `stands_alone` is a batch by itself.
    pub fn take_batch(&mut self, stands_alone: impl Fn(&Command) -> bool) -> Vec<Command> {
        let mut bytes = 0;
        let mut count = 0;
        for command in &self.waiting {
            let next = bytes + size(command);
            let alone = stands_alone(command);
            if count > 0 && (alone || next > BATCH_BYTES_MAX || count == BATCH_COMMANDS_MAX) {
                break;
            }
            bytes = next;
            count += 1;
            if alone {
                break;
            }
        }
        self.waiting_bytes -= bytes;
        self.waiting.drain(..count).collect()
    }

    /// Puts a batch back in front: it was not taken by the engine.
    pub fn put_back(&mut self, batch: Vec<Command>) {
        for command in batch.into_iter().rev() {
            self.waiting_bytes += size(&command);
            self.waiting.push_front(command);
        }
    }

    /// Drops commands that do not pass.
    pub fn retain(&mut self, passes: impl FnMut(&Command) -> bool) {
        self.waiting.retain(passes);
        self.waiting_bytes = self.waiting.iter().map(size).sum();
    }

    /// Checks the invariants.
    pub fn check(&self) {
        let sum: usize = self.waiting.iter().map(size).sum();
        invariant!(
            sum == self.waiting_bytes,
            "{sum} bytes wait, {} counted",
            self.waiting_bytes
        );
    }
}

/// Lives of one member whose commands are remembered.
const LIVES_KEPT: usize = 8;

/// Members whose commands are remembered.
const ORIGINS_MAX: usize = 2 * MEMBERS_MAX;

/// How far the commands of each member have come, so that one that comes twice is known.
///
/// Tags rise within one life of a member, and the life is their upper half. Lives are not compared: a
/// member whose clock was set back starts with a lower number and must be heard all the same.
#[derive(Debug, Default)]
pub struct Tags {
    last: BTreeMap<MemberId, VecDeque<(u32, u64)>>,
}

impl Tags {
    /// Whether `tag` or a later one of the same life of `origin` was noted.
    pub fn has_passed(&self, origin: MemberId, tag: u64) -> bool {
        let life = (tag >> 32) as u32;
        self.last.get(&origin).is_some_and(|lives| {
            let mut lives = lives.iter();
            lives.any(|(of, last)| *of == life && tag <= *last)
        })
    }

    /// Notes `tag`.
    pub fn note(&mut self, origin: MemberId, tag: u64) {
        if self.last.len() >= ORIGINS_MAX && !self.last.contains_key(&origin) {
            return;
        }
        let life = (tag >> 32) as u32;
        let lives = self.last.entry(origin).or_default();
        match lives.iter_mut().rev().find(|(of, _)| *of == life) {
            Some((_, last)) => *last = tag.max(*last),
            None => {
                if lives.len() == LIVES_KEPT {
                    lives.pop_front();
                }
                lives.push_back((life, tag));
            }
        }
    }

    /// Forgets everybody who is not a member.
    pub fn retain(&mut self, membership: &Membership) {
        self.last.retain(|origin, _| membership.contains(*origin));
    }
}

/// Bytes that a command takes in a batch.
fn size(command: &Command) -> usize {
    let identity = command.identity.as_ref().map_or(0, Identity::encoded_len);
    command.request.len() + identity + COMMAND_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use store::command::DialectId;

    fn command(tag: u64, bytes: usize) -> Command {
        Command {
            dialect: DialectId(1),
            origin: MemberId(1),
            tag,
            client: None,
            identity: None,
            request: Bytes::from(vec![0; bytes]),
        }
    }

    fn tags(batch: &[Command]) -> Vec<u64> {
        batch.iter().map(|command| command.tag).collect()
    }

    #[test]
    fn commands_leave_in_order_and_batches_keep_their_bound() {
        let mut proposals = Proposals::default();
        for tag in 0..5 {
            proposals.push(command(tag, BATCH_BYTES_MAX / 2 - 100));
        }
        assert_eq!(tags(&proposals.take_batch(|_| false)), [0, 1]);
        let batch = proposals.take_batch(|_| false);
        assert_eq!(tags(&batch), [2, 3]);
        proposals.put_back(batch);
        proposals.check();
        assert_eq!(tags(&proposals.take_batch(|_| false)), [2, 3]);
        assert_eq!(tags(&proposals.take_batch(|_| false)), [4]);
        assert!(proposals.is_empty());
    }

    #[test]
    fn a_command_that_stands_alone_is_a_batch_by_itself() {
        let mut proposals = Proposals::default();
        (0..4).for_each(|tag| proposals.push(command(tag, 1)));
        let alone = |command: &Command| command.tag == 1;
        let batches: Vec<_> = (0..3).map(|_| tags(&proposals.take_batch(alone))).collect();
        assert_eq!(batches, [vec![0], vec![1], vec![2, 3]]);
    }

    #[test]
    fn a_tag_passes_once_in_each_life() {
        let (life, member) = (|n: u64| n << 32, MemberId(2));
        let mut tags = Tags::default();
        assert!(!tags.has_passed(member, life(9) + 1));
        tags.note(member, life(9) + 2);
        assert!(tags.has_passed(member, life(9) + 1) && tags.has_passed(member, life(9) + 2));
        assert!(!tags.has_passed(member, life(9) + 3));
        // Its clock was set back between two lives.
        assert!(!tags.has_passed(member, life(4) + 1));
        tags.note(member, life(4) + 1);
        assert!(tags.has_passed(member, life(4) + 1), "and again");
        assert!(tags.has_passed(member, life(9) + 2), "from the former life");
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut proposals = Proposals::default();
        while proposals.has_room(1 << 20) {
            proposals.push(command(0, 1 << 20));
        }
        assert!(proposals.waiting_bytes <= PROPOSALS_WAITING_BYTES_MAX);
        assert!(proposals.has_room(0), "a small one still fits");
    }
}
