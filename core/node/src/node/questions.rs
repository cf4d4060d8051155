//! How reads and lease questions go: joined to rounds of ReadIndex on the leader, sent to it by
//! everybody else.

use super::{Node, Question, READ_PATIENCE};
use crate::effects::{LeaseAnswer, Refused, Ticket};
use crate::reads::Waiter;
use base::{Index, LeaseId, Mark, MemberId, Mutant, PeerMessage};
use std::time::Duration;

impl Node {
    /// How long to wait for the leader's answer.
    pub(super) fn read_patience(&self) -> Duration {
        READ_PATIENCE.max(self.config.election / 2)
    }

    /// Whether `from` is a member, as far as is applied here. Strangers are not served.
    pub(super) fn is_member(&self, from: MemberId) -> bool {
        let membership = self.machine.state().membership();
        membership.is_voter(from)
            || membership.learners.contains(&from)
            || membership.learners_next.contains(&from)
    }

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
        let is_late = self.config.mutants.has(Mutant::FreshnessFromAnswer);
        let answered = is_late.then_some(self.now);
        for (to, attempt) in self.reads.indexed(attempt, index, answered) {
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
        if !self.serves() {
            return Err(Refused::Stopped);
        }
        if !self.reads.has_room() || self.questions.len() >= base::limits::READS_WAITING_MAX {
            return Err(Refused::Busy);
        }
        if self.leadership.is_self {
            self.reads.push(lease_waiter(None, ticket, lease, renews));
        } else {
            self.ask_leader(Question {
                ticket,
                lease,
                renews,
                asked: None,
            });
        }
        Ok(())
    }

    /// Sends a question to the leader under a fresh number, or keeps it until there is a leader.
    fn ask_leader(&mut self, mut question: Question) {
        let attempt = self.reads.fresh_number(self.config.incarnation);
        let Question { lease, renews, .. } = question;
        if !self.leadership.leader.is_none() {
            question.asked = Some(self.now);
            let ticket = attempt;
            let message = if renews {
                PeerMessage::LeaseRenewRequest { ticket, lease }
            } else {
                PeerMessage::LeaseRemainingRequest { ticket, lease }
            };
            self.send.push((self.leadership.leader, message));
        }
        self.questions.insert(attempt, question);
    }

    /// Questions without an answer go to the leader again, which may be another one by now, or this
    /// member itself.
    pub(super) fn ask_again(&mut self) {
        if self.leadership.leader.is_none() {
            return;
        }
        let (now, patience) = (self.now, self.read_patience());
        let is_due = |question: &Question| {
            let asked = question.asked;
            asked.is_none_or(|asked| now.since(asked) >= patience)
        };
        let due: Vec<u64> = self
            .questions
            .iter()
            .filter(|(_, question)| self.leadership.is_self || is_due(question))
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in due {
            let Some(question) = self.questions.remove(&attempt) else {
                continue;
            };
            Mark::LeaseAskedAgain.reach();
            if self.leadership.is_self {
                let Question {
                    ticket,
                    lease,
                    renews,
                    ..
                } = question;
                self.reads.push(lease_waiter(None, ticket, lease, renews));
            } else {
                self.ask_leader(question);
            }
        }
    }

    /// Whoever was asked is not in office any more: the next leader is asked as soon as it is known.
    pub(super) fn questions_lost(&mut self) {
        for question in self.questions.values_mut() {
            question.asked = None;
        }
    }

    pub(super) fn receive_question(
        &mut self,
        from: MemberId,
        ticket: Ticket,
        lease: LeaseId,
        renews: bool,
    ) {
        if !self.is_member(from) {
            return;
        }
        if self.leadership.is_self && self.reads.has_room() {
            self.reads
                .push(lease_waiter(Some(from), ticket, lease, renews));
        } else {
            let reply = PeerMessage::LeaseReply {
                ticket: ticket.0,
                remaining_ms: None,
                retry: true,
                epoch: self.leadership.term,
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
                    let attempt = self.reads.fresh_number(self.config.incarnation);
                    let question = Question {
                        ticket,
                        lease,
                        renews,
                        asked: None,
                    };
                    self.questions.insert(attempt, question);
                }
                Some(to) => {
                    let ticket = ticket.0;
                    let reply = PeerMessage::LeaseReply {
                        ticket,
                        remaining_ms: None,
                        retry: true,
                        epoch: self.leadership.term,
                    };
                    self.send.push((to, reply));
                }
            }
            return;
        }
        let left = if renews {
            let is_forgiving = self.config.mutants.has(Mutant::LeaseRenewedWhenGone);
            let renewed = self.leases.renew(lease, self.now);
            self.counts.leases_renewed += u64::from(renewed.is_some());
            renewed.or(is_forgiving.then_some(Duration::from_secs(5)))
        } else {
            self.leases.remaining(lease, self.now)
        };
        let remaining_ms = left.map(|left| left.as_millis() as u64);
        match from {
            None => {
                let answer = remaining_ms.map_or(LeaseAnswer::Gone, |ms| LeaseAnswer::Alive {
                    remaining_ms: ms,
                    epoch: self.leadership.term,
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
                        epoch: self.leadership.term,
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
