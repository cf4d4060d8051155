//! How reads and lease questions go: joined to rounds of ReadIndex on the leader, sent to it by
//! everybody else.

use super::{Node, Question};
use crate::effects::{LeaseAnswer, Refused, Ticket};
use crate::reads::Waiter;
use base::{Index, Instant, LeaseId, MemberId, Mutant, PeerMessage};

impl Node {
    pub(super) fn start_read_round(&mut self) {
        if !self.reads.wants_round() || self.replica.disk_hangs(self.now) {
            return;
        }
        if self.leadership.is_self {
            let attempt = self.reads.start(self.config.incarnation, self.now);
            if !self.replica.read_index(attempt) {
                self.reads.lost();
            }
        } else if !self.leadership.leader.is_none() {
            let attempt = self.reads.start(self.config.incarnation, self.now);
            let request = PeerMessage::ReadIndexRequest { attempt };
            self.send.push((self.leadership.leader, request));
        }
    }

    pub(super) fn indexed(&mut self, attempt: u64, index: Index) {
        let index = if self.config.mutants.has(Mutant::ReadBeforeApply) {
            Index(0)
        } else {
            index
        };
        for (to, attempt) in self.reads.indexed(attempt, index) {
            self.send
                .push((to, PeerMessage::ReadIndexReply { attempt, index }));
        }
    }

    pub(super) fn ask(
        &mut self,
        ticket: Ticket,
        lease: LeaseId,
        renews: bool,
    ) -> Result<(), Refused> {
        if self.is_out() {
            return Err(Refused::Stopped);
        }
        if !self.reads.has_room() || self.questions.len() >= base::limits::READS_WAITING_MAX {
            return Err(Refused::Busy);
        }
        if self.leadership.is_self {
            self.reads.push(lease_waiter(None, ticket, lease, renews));
        } else {
            self.questions.insert(
                ticket,
                Question {
                    lease,
                    renews,
                    asked: self.now,
                },
            );
            self.send_question(ticket, lease, renews);
        }
        Ok(())
    }

    pub(super) fn send_question(&mut self, ticket: Ticket, lease: LeaseId, renews: bool) {
        if self.leadership.leader.is_none() {
            return;
        }
        let ticket = ticket.0;
        let message = if renews {
            PeerMessage::LeaseRenewRequest { ticket, lease }
        } else {
            PeerMessage::LeaseRemainingRequest { ticket, lease }
        };
        self.send.push((self.leadership.leader, message));
    }

    /// Questions without an answer go to the leader again, which may be another one by now, or this
    /// member itself.
    pub(super) fn ask_again(&mut self) {
        let now = self.now;
        let due: Vec<(Ticket, Question)> = self
            .questions
            .iter_mut()
            .filter(|(_, question)| now.since(question.asked) >= super::READ_PATIENCE)
            .map(|(ticket, question)| {
                question.asked = now;
                (*ticket, *question)
            })
            .collect();
        for (ticket, question) in due {
            if self.leadership.is_self {
                self.questions.remove(&ticket);
                self.reads
                    .push(lease_waiter(None, ticket, question.lease, question.renews));
            } else {
                self.send_question(ticket, question.lease, question.renews);
            }
        }
    }

    pub(super) fn receive_question(
        &mut self,
        from: MemberId,
        ticket: Ticket,
        lease: LeaseId,
        renews: bool,
    ) {
        if self.leadership.is_self && self.reads.has_room() {
            self.reads
                .push(lease_waiter(Some(from), ticket, lease, renews));
        } else {
            let reply = PeerMessage::LeaseReply {
                ticket: ticket.0,
                remaining_ms: None,
                retry: true,
            };
            self.send.push((from, reply));
        }
    }

    /// Answers a lease question that a majority has confirmed to be this leader's to answer.
    pub(super) fn answer_question(
        &mut self,
        from: Option<MemberId>,
        ticket: Ticket,
        lease: LeaseId,
        renews: bool,
    ) {
        if !self.may_lead() {
            // Lost the office since: ask the next leader.
            match from {
                None => {
                    let asked = Instant(0);
                    self.questions.insert(
                        ticket,
                        Question {
                            lease,
                            renews,
                            asked,
                        },
                    );
                }
                Some(to) => {
                    let ticket = ticket.0;
                    let reply = PeerMessage::LeaseReply {
                        ticket,
                        remaining_ms: None,
                        retry: true,
                    };
                    self.send.push((to, reply));
                }
            }
            return;
        }
        let left = if renews {
            self.leases.renew(lease, self.now)
        } else {
            self.leases.remaining(lease, self.now)
        };
        let remaining_ms = left.map(|left| left.as_millis() as u64);
        match from {
            None => {
                let answer = remaining_ms.map_or(LeaseAnswer::Gone, |ms| LeaseAnswer::Alive {
                    remaining_ms: ms,
                });
                self.lease_answers.push((ticket, answer));
            }
            Some(to) => {
                let ticket = ticket.0;
                self.send.push((
                    to,
                    PeerMessage::LeaseReply {
                        ticket,
                        remaining_ms,
                        retry: false,
                    },
                ));
            }
        }
    }
}

fn lease_waiter(from: Option<MemberId>, ticket: Ticket, lease: LeaseId, renews: bool) -> Waiter {
    if renews {
        Waiter::Renewal {
            from,
            ticket,
            lease,
        }
    } else {
        Waiter::Remaining {
            from,
            ticket,
            lease,
        }
    }
}
