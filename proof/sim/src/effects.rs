//! What members want from the world, carried out: frames, states, disk operations, events, answers.
//!
//! The order is the node's contract: what is published goes to the watch desk, then becomes the root
//! that readers see, then answers go out; nothing is reported durable before the disk has finished.

use crate::disk_work::Done;
use crate::member::{CLUSTER, Condition};
use crate::speak;
use crate::tape::{Kind, Who};
use crate::world::{Event, World};
use base::{MemberId, PeerMessage, SnapshotMeta};
use bytes::{Bytes, BytesMut};
use checker::{Event as Happened, Violation};
use node::{Effects, SnapshotSend, StopReason};
use store::{RootId, State};
use wire::{Frame, FrameReader, Origin};

impl World {
    // ---- effects ----------------------------------------------------------------------------

    pub(crate) fn pump(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, wall_ms) = (it.clock.instant(now), it.clock.wall_ms(now));
        let Some(process) = &mut it.process else {
            return;
        };
        process.pump_due = false;
        let effects = process.node.take_effects(instant, wall_ms);
        self.n_pumps += 1;
        if self.n_pumps.is_multiple_of(64)
            && let Some(process) = &self.members[member].process
        {
            process.node.check();
        }
        let more = effects.more;
        self.observe(member, &effects);
        self.aim(member, &effects);
        self.carry_out(member, effects);
        if more {
            self.pump_soon(member);
        }
    }

    /// Holds the step that gave `effects` against the specification.
    fn observe(&mut self, member: usize, effects: &Effects) {
        let id = self.members[member].id;
        let Some(process) = &self.members[member].process else {
            return;
        };
        let engine = process.node.engine();
        let messages = effects
            .send
            .iter()
            .filter_map(|(_, message)| match message {
                PeerMessage::Raft(message) => Some(&**message),
                _ => None,
            });
        let mut broken = self.observer.stepped(id, engine, messages);
        if let Some(persist) = &effects.persist {
            broken.extend(self.observer.writes(id, engine, &persist.entries));
        }
        for broken in broken {
            self.violate(Violation::new(broken.claim, broken.what));
        }
    }

    fn carry_out(&mut self, member: usize, effects: Effects) {
        let from = self.members[member].id;
        for (to, message) in effects.send {
            // The server's links know what the other side speaks, and what it would not understand.
            let is_former = self.members.iter().any(|it| it.id == to && it.is_former);
            if is_former && wire::protocol_of(&message) > wire::VERSION_MIN {
                continue;
            }
            let mut bytes = BytesMut::new();
            let origin = Origin {
                cluster: CLUSTER,
                member: from,
            };
            wire::encode_message(origin, &message, &mut bytes);
            let bytes = bytes.freeze();
            for late_us in self.misfortune.lags_us(&self.settings.plan, &message) {
                self.send(from, to, &message, bytes.clone(), late_us);
            }
        }
        for snapshot in effects.send_snapshots {
            self.send_state(member, snapshot);
        }
        if let Some(process) = &mut self.members[member].process {
            if let Some(persist) = effects.persist {
                process.work.persist(persist);
            }
            if let Some((meta, state)) = effects.checkpoint {
                process.work.checkpoint(meta, state);
            }
        }
        if let Some(state) = &effects.published {
            self.published(member, state, &effects.events, effects.restored);
        }
        for answer in effects.answers {
            let is_theirs = self.native_answered(member, &answer)
                || self.govern_answered(member, answer.tag, &answer);
            if !is_theirs {
                self.answered(member, answer);
            }
        }
        for (ticket, result) in effects.reads {
            if !self.native_read_ready(member, ticket, &result) {
                self.read_ready(member, ticket, result.is_ok());
            }
        }
        for (ticket, answer) in effects.leases {
            if !self.native_lease_answered(member, ticket, answer) {
                self.lease_answered(member, ticket, answer);
            }
        }
        if let Some(leadership) = effects.leadership {
            self.note(member, "leadership", || {
                format!("term {} leader n{}", leadership.term, leadership.leader)
            });
        }
        self.desk_ready(member);
        self.disk_begin(member);
        if let Some(reason) = effects.stop {
            self.stopped(member, &reason);
        }
    }

    fn stopped(&mut self, member: usize, reason: &StopReason) {
        self.note(member, "stop", || format!("{reason:?}"));
        match reason {
            StopReason::Removed => self.members[member].condition = Condition::Left,
            StopReason::Diverged { .. } | StopReason::Corrupt | StopReason::TooOld { .. } => {
                let id = self.members[member].id;
                let claim = match reason {
                    StopReason::TooOld { .. } => "no_member_meets_what_it_does_not_know",
                    _ => "members_have_equal_digests",
                };
                self.violate(Violation::new(
                    claim,
                    format!("member {id} stopped itself: {reason:?}"),
                ));
                self.members[member].condition = Condition::Ruined(format!("{reason:?}"));
            }
        }
        self.kill(member, "stopped");
    }

    fn published(
        &mut self,
        member: usize,
        state: &State,
        events: &[(RootId, store::Event)],
        restored: bool,
    ) {
        let now = self.now();
        let id = self.members[member].id;
        let position = state.applied();
        self.trace.note(
            now,
            "apply",
            &[id.0, position.index.0, state.digest()],
            || format!("n{id}: applied {position}, revision {}", state.revision()),
        );
        if let Some(tape) = &mut self.tape {
            let text = format!("applied {}, revision {}", position.index, state.revision());
            tape.happened(now, Who::Member(id), Kind::Apply, text);
        }
        if let Err(violation) = self.digests.observe(id, position, state.digest()) {
            self.violate(violation);
        }
        if position.index.0 > self.membership.0 {
            self.membership = (position.index.0, state.membership().clone());
        }
        let mut at = 0;
        while at < events.len() {
            let revision = events[at].1.revision();
            let mut page = Vec::new();
            while let Some((root, event)) = events
                .get(at)
                .filter(|(_, event)| event.revision() == revision)
            {
                if *root == etcd::ROOT {
                    page.push(Happened {
                        row: speak::row_of_record(&event.record),
                    });
                }
                at += 1;
            }
            if !page.is_empty()
                && let Err(violation) = self.chronicle.observe(id, now, revision, page)
            {
                self.violate(violation);
            }
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        if restored {
            process.desk.restored(state);
        }
        process.desk.publish(state, events);
        process.state = state.clone();
        self.native_published(member, state, events, restored);
    }

    // ---- disk -------------------------------------------------------------------------------

    fn disk_begin(&mut self, member: usize) {
        let sync_us = self.settings.plan.sync.as_micros() as u64;
        let it = &mut self.members[member];
        let Some(process) = &mut it.process else {
            return;
        };
        let Some(op) = process.work.begin() else {
            return;
        };
        let mut after = match op {
            storage::Op::Sync { .. } => 30 + self.rng.below(sync_us),
            storage::Op::SyncDir => 20 + self.rng.below(sync_us / 4),
            storage::Op::Create { .. } => 20 + self.rng.below(100),
            _ => 1 + self.rng.below(15),
        };
        after *= it.disk_slowness;
        if matches!(op, storage::Op::Sync { .. }) {
            after += std::mem::take(&mut it.hang_us);
        }
        self.schedule.after_us(
            after,
            Event::Disk {
                member,
                life: it.life,
            },
        );
    }

    pub(crate) fn disk_done(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let Some(process) = &mut it.process else {
            return;
        };
        let done = match process.work.finish(&mut it.disk) {
            Ok(done) => done,
            Err(error) => {
                // Rule R5: a failed sync ends the member; it is never tried again.
                let text = base::Chain(&error).to_string();
                self.note(member, "disk", || text);
                self.kill(member, "abort");
                let after = self.rng.between(10_000, 1_000_000);
                self.schedule.after_us(after, Event::Start { member });
                return;
            }
        };
        let mut full = false;
        for done in done {
            let id = self.members[member].id;
            let Some(process) = &mut self.members[member].process else {
                return;
            };
            match done {
                Done::Persisted(persist) => {
                    let number = persist.number;
                    // The log's word is one thing, the disk another.
                    let it = &mut self.members[member];
                    let Some(process) = &mut it.process else {
                        return;
                    };
                    if it.disk.dirty_of(process.work.log.files()).is_empty() {
                        let meta = persist.snapshot.as_ref().map(|(meta, _)| meta);
                        self.observer
                            .synced(id, persist.hard_state, meta, &persist.entries);
                    }
                    process.node.persisted(number);
                    self.trace.note(now, "durable", &[id.0, number], || {
                        format!("n{id}: record {number}")
                    });
                    if let Some(tape) = &mut self.tape {
                        tape.noted(now, id, "durable", &format!("record {number}"));
                    }
                }
                Done::Checkpointed(meta) => {
                    let floor = process.node.checkpointed(&meta);
                    process.work.free(floor);
                    self.trace
                        .note(now, "checkpoint", &[id.0, meta.position.index.0], || {
                            format!("n{id}: at {}", meta.position)
                        });
                }
                Done::CheckpointFailed => process.node.checkpoint_failed(),
                Done::Full => full = true,
            }
        }
        if full {
            // Nothing is begun until the next pump, a tick later at most.
            return;
        }
        self.disk_begin(member);
        self.pump_soon(member);
    }

    // ---- network ----------------------------------------------------------------------------

    fn send(
        &mut self,
        from: MemberId,
        to: MemberId,
        message: &PeerMessage,
        bytes: Bytes,
        late_us: u64,
    ) {
        let Some(to_place) = self.place(to) else {
            return;
        };
        let copies = self.network.send(from, to, bytes.len());
        let now = self.now();
        let tape = self.tape.as_mut();
        let number = tape.map_or(0, |tape| {
            tape.sends(now, from, to, message, !copies.is_empty())
        });
        for copy in copies {
            let mut bytes = bytes.clone();
            if let Some(draw) = copy.corrupt {
                let mut damaged = bytes.to_vec();
                let at = draw as usize % damaged.len();
                damaged[at] ^= 1 << (draw >> 61);
                bytes = damaged.into();
            }
            self.schedule.after_us(
                copy.after_us + late_us,
                Event::Frame {
                    to: to_place,
                    from,
                    bytes,
                    number,
                },
            );
        }
    }

    pub(crate) fn frame(&mut self, to: usize, from: MemberId, bytes: &Bytes, number: u64) {
        let now = self.now();
        let mut reader = FrameReader::of_stranger();
        reader.trust(Origin {
            cluster: CLUSTER,
            member: from,
        });
        let mut input = BytesMut::from(&bytes[..]);
        // Damage is caught by the checksums; then the connection ends and the frame is lost.
        let Ok(Some((_, Frame::Message(message)))) = reader.next(&mut input) else {
            return self.note(to, "damaged", || format!("a frame of n{from}"));
        };
        let id = self.members[to].id;
        let kind = message_kind(&message);
        self.trace.note(
            now,
            "frame",
            &[id.0, from.0, bytes.len() as u64, kind],
            || format!("n{from} -> n{id}: {message:?}"),
        );
        let it = &mut self.members[to];
        let instant = it.clock.instant(now);
        if let Some(process) = &mut it.process {
            if let Some(tape) = &mut self.tape {
                tape.receives(now, id, from, number, &message);
            }
            process.node.receive(from, message, instant);
            self.pump_soon(to);
        }
    }

    fn send_state(&mut self, member: usize, snapshot: SnapshotSend) {
        let from = self.members[member].id;
        let life = self.members[member].life;
        let mut writer = store::stream::Writer::new(snapshot.state);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = writer.next_chunk(16 * 1024) {
            bytes.extend_from_slice(&chunk);
        }
        let bytes = bytes.freeze();
        let to = snapshot.to;
        self.note(member, "send-state", || {
            format!("to n{to} at {}", snapshot.meta.position)
        });
        let copies = self.network.send(from, to, bytes.len());
        let arrived = self.place(to).zip(copies.first().copied());
        if let Some((to, copy)) = arrived {
            let event = Event::State {
                to,
                from,
                meta: snapshot.meta,
                bytes,
            };
            self.schedule.after_us(copy.after_us * 3, event);
        }
        let after = self.rng.between(500, 50_000);
        let arrived = arrived.is_some();
        self.schedule.after_us(
            after,
            Event::StateSent {
                member,
                life,
                to,
                arrived,
            },
        );
    }

    pub(crate) fn state(&mut self, to: usize, from: MemberId, meta: SnapshotMeta, bytes: &Bytes) {
        let Some(process) = &mut self.members[to].process else {
            return;
        };
        let mut reader = store::stream::Reader::new();
        let read = reader.push(bytes).and_then(|()| reader.finish());
        match read {
            Ok(state) => {
                process.node.snapshot_received(from, meta.clone(), state);
                self.note(to, "state", || format!("from n{from} at {}", meta.position));
                self.pump_soon(to);
            }
            Err(error) => self.violate(Violation::new(
                "a_state_reads_back",
                format!("from member {from}: {}", base::Chain(&error)),
            )),
        }
    }
}

fn message_kind(message: &PeerMessage) -> u64 {
    match message {
        PeerMessage::Raft(message) => message.kind as u64 ^ (message.term.0 << 8),
        PeerMessage::Forward { .. } => 100,
        PeerMessage::ReadIndexRequest { .. } => 101,
        PeerMessage::ReadIndexReply { .. } => 102,
        PeerMessage::LeaseRenewRequest { .. } => 103,
        PeerMessage::LeaseRemainingRequest { .. } => 104,
        PeerMessage::LeaseReply { .. } => 105,
        PeerMessage::Recovering { .. } => 106,
        PeerMessage::SnapshotOutcome { .. } => 107,
        PeerMessage::Removed => 108,
        PeerMessage::Leaving => 109,
        PeerMessage::PromiseRequest { .. } => 110,
        PeerMessage::PromiseReply { .. } => 111,
        PeerMessage::ClockRequest { .. } => 112,
        PeerMessage::ClockReply { .. } => 113,
        PeerMessage::Knows { .. } => 114,
        PeerMessage::Bounce { .. } => 115,
    }
}
