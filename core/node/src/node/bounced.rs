//! Commands that met nobody in office: they come back, and go to the next leader.
//!
//! ```text
//!   n2 ── Forward {term 5} ──► n1, leader of term 5, hands its office over
//!   n2 ◄─ Bounce ───────────── n1: "it waited here and I never proposed it", or "I led term 5, and lead no more"
//!   n2 ── Forward {term 6} ──► n3
//! ```
//!
//! Without it a write that lands on a follower in the moment of a handover is lost on its way, and its client waits until its
//! time is over, not knowing. A command comes back only from whoever *knows* that it did not propose it: it led the
//! term that the forwarder meant in this very life, so it remembers every command that it took. A member that was
//! started again remembers nothing and says nothing.
//!
//! A command that came back goes out under a new number, since each origin's numbers only rise at the leader; its client
//! knows it by the first one. **The new number is drawn in the moment in which the command joins the queue again**, as
//! that of any other command is. So the numbers in the queue ascend, and so do those that leave in it, whatever clients
//! ask for while a command waits for the tick. Drawn earlier, it would be overtaken by a later command, and whoever leads
//! would take it for one that came twice.
//!
//! **Nothing takes effect twice by it.** The old number came back from the only leader that it was ever sent to, which knows
//! that it did not propose it and has noted it: a late copy of the message is "again" there, and meets nobody else. At
//! its origin the old number is expected no more once it came back, so a second copy of the bounce finds nothing. And
//! the new number leaves once, or comes back by the same rules.

use super::Node;
use crate::effects::Tag;
use base::{Mark, MemberId, PeerMessage, invariant};
use bytes::Bytes;
use clock::HybridTime;
use std::collections::BTreeMap;
use store::command::{Batch, Command, Identity};

/// What came back, and what the clients call it.
///
/// Invariants ([`Bounced::check`]): `names` and `numbers` are inverse to each other, and somebody waits for each number.
#[derive(Debug, Default)]
pub(super) struct Bounced {
    /// With what their clients call them. They go out with the next tick: by then there may be another leader.
    waiting: Vec<(Command, Tag)>,
    /// The number by which a command goes out, and the one by which its client knows it.
    names: BTreeMap<Tag, Tag>,
    /// The other way round.
    numbers: BTreeMap<Tag, Tag>,
}

impl Bounced {
    /// What the client calls the command that was answered, or came back, as `tag`.
    pub(super) fn take_name(&mut self, tag: Tag) -> Tag {
        let Some(name) = self.names.remove(&tag) else {
            return tag;
        };
        self.numbers.remove(&name);
        name
    }

    /// The client gives up what it calls `name`. The number by which it is under way, if it is.
    pub(super) fn give_up(&mut self, name: Tag) -> Tag {
        self.waiting.retain(|(_, waiting)| *waiting != name);
        let Some(number) = self.numbers.remove(&name) else {
            return name;
        };
        self.names.remove(&number);
        number
    }

    /// How many commands wait for the next tick.
    pub(super) fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Checks the invariants.
    pub(super) fn check(&self, is_expected: impl Fn(Tag) -> bool) {
        invariant!(
            self.names.len() == self.numbers.len(),
            "{} names of {} numbers",
            self.numbers.len(),
            self.names.len()
        );
        for (number, name) in &self.names {
            invariant!(
                self.numbers.get(name) == Some(number) && is_expected(*number),
                "nobody waits for {number:?}, which is called {name:?}"
            );
        }
    }
}

impl Node {
    /// The term of the leader that a forwarded batch is meant for, in the place of the time that it does not have yet.
    pub(super) fn meant(&self) -> HybridTime {
        HybridTime(self.leadership.term.0)
    }

    /// Whoever led `meant` in this life and leads no more knows what it took, and gives the rest back.
    pub(super) fn give_back(&mut self, from: MemberId, batch: Batch) {
        if self.led.is_none_or(|led| led.0 != batch.time.0) || !self.is_member(from) {
            return;
        }
        let commands: Vec<Command> = batch
            .commands
            .into_iter()
            .filter(|command| {
                command.origin == from && !self.forwarded.has_passed(from, command.tag)
            })
            .collect();
        // A second copy of the same message must not bring it back twice.
        for command in &commands {
            self.forwarded.note(from, command.tag);
        }
        self.send_back(from, commands);
    }

    /// What others have forwarded and this leader has not proposed, now that it leads no more.
    pub(super) fn give_back_all(&mut self, commands: Vec<Command>) {
        let mut of: BTreeMap<MemberId, Vec<Command>> = BTreeMap::new();
        for command in commands {
            of.entry(command.origin).or_default().push(command);
        }
        for (origin, commands) in of {
            self.send_back(origin, commands);
        }
    }

    fn send_back(&mut self, to: MemberId, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        Mark::ForwardGivenBack.reach();
        let batch = Batch {
            apply_version: self.apply_version(),
            time: HybridTime::default(),
            commands,
        };
        let batch = batch.encode();
        self.send.push((to, PeerMessage::Bounce { batch }));
    }

    /// Commands of this member's clients came back.
    pub(super) fn receive_bounce(&mut self, from: MemberId, batch: &Bytes) {
        if !self.is_member(from) {
            return;
        }
        let Ok(batch) = Batch::decode(batch) else {
            return;
        };
        for command in batch.commands {
            let tag = Tag(command.tag);
            if command.origin != self.config.member || !self.machine.expects(tag) {
                continue;
            }
            self.machine.forget(tag);
            let name = self.bounced.take_name(tag);
            self.bounced.waiting.push((command, name));
        }
    }

    /// What came back is tried again.
    pub(super) fn try_bounced(&mut self) {
        if self.leadership.leader.is_none() {
            return;
        }
        for (mut command, name) in std::mem::take(&mut self.bounced.waiting) {
            let identity = command.identity.as_ref().map_or(0, Identity::encoded_len);
            if !self.proposals.has_room(command.request.len() + identity) {
                self.bounced.waiting.push((command, name));
                continue;
            }
            let number = self.next_tag();
            self.machine.expect(number);
            self.bounced.names.insert(number, name);
            self.bounced.numbers.insert(name, number);
            command.tag = number.0;
            self.proposals.push(command);
        }
    }
}
