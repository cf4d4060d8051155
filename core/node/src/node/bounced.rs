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
//! A command that came back goes out under a new number, since each origin's numbers only rise at the leader. Its client
//! knows it by the first one.

use super::Node;
use crate::effects::Tag;
use base::{Mark, MemberId, PeerMessage};
use bytes::Bytes;
use clock::HybridTime;
use std::collections::BTreeMap;
use store::command::{Batch, Command};

/// What came back, and what the clients call it.
#[derive(Debug, Default)]
pub(super) struct Bounced {
    /// Goes out with the next tick: by then there may be another leader.
    waiting: Vec<Command>,
    /// The number by which a command goes out, and the one by which its client knows it.
    names: BTreeMap<Tag, Tag>,
}

impl Bounced {
    /// What the client calls the command that was answered as `tag`.
    pub(super) fn take_name(&mut self, tag: Tag) -> Tag {
        self.names.remove(&tag).unwrap_or(tag)
    }

    /// The number by which the client's command `tag` is under way.
    pub(super) fn current(&self, tag: Tag) -> Tag {
        let mut names = self.names.iter();
        names
            .find(|(_, name)| **name == tag)
            .map_or(tag, |it| *it.0)
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
        for mut command in batch.commands {
            let tag = Tag(command.tag);
            if command.origin != self.config.member || !self.machine.expects(tag) {
                continue;
            }
            self.machine.forget(tag);
            let name = self.bounced.take_name(tag);
            let fresh = self.next_tag();
            self.machine.expect(fresh);
            self.bounced.names.insert(fresh, name);
            command.tag = fresh.0;
            self.bounced.waiting.push(command);
        }
    }

    /// What came back is tried again.
    pub(super) fn try_bounced(&mut self) {
        if self.leadership.leader.is_none() {
            return;
        }
        for command in std::mem::take(&mut self.bounced.waiting) {
            match self.proposals.has_room(command.request.len()) {
                true => self.proposals.push(command),
                false => self.bounced.waiting.push(command),
            }
        }
    }
}
