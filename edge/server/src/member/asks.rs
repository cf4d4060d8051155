//! What requests ask of a member: to put a command into the log, to read at a level, to renew a lease, and whoever it is
//! that asks.

use super::*;

impl Member {
    /// Puts a request of any front's into the log and waits for what became of it. With `retry` it is a session's
    /// numbered write.
    pub(crate) async fn propose_to(
        &self,
        dialect: DialectId,
        request: Bytes,
        retry: Option<(LeaseId, u64)>,
        identity: Option<OnBehalfOf>,
    ) -> Result<Answer, NotAnswered> {
        let proposed = self
            .node
            .borrow_mut()
            .propose_as(dialect, request, retry, identity);
        self.answered(proposed).await
    }

    /// Puts a request of etcd's into the log, on behalf of `identity`, and waits for what became of it. With `retry` it
    /// is a session's numbered write.
    pub(crate) async fn propose(
        &self,
        request: Bytes,
        retry: Option<(LeaseId, u64)>,
        identity: Option<OnBehalfOf>,
    ) -> Result<Answer, Status> {
        let proposed = self
            .node
            .borrow_mut()
            .propose_as(etcd::DIALECT, request, retry, identity);
        self.outcome(proposed).await
    }

    /// What became of a session's numbered write, without the log: see [`node::Node::decided`].
    pub(crate) async fn decided(
        &self,
        dialect: DialectId,
        request: Bytes,
        numbered: (LeaseId, u64),
        identity: Option<OnBehalfOf>,
    ) -> Result<Option<(Outcome, Revision)>, Status> {
        self.read_index().await?;
        let node = self.node.borrow();
        Ok(node.decided(dialect, request, numbered, identity))
    }

    /// Who asks, as of now.
    pub(crate) fn identify(&self, asking: &Asking) -> Caller {
        self.with_state(|state| self.doorkeeper.identify(asking, state))
    }

    /// Waits for a token that was issued a moment ago and is not applied here yet: clients log in at one member and ask
    /// at the next. Without it the token would be nobody's here, and it still is after one look for what was decided.
    pub(crate) async fn await_token(&self, asking: &Asking) {
        let may_come = self.with_state(|state| self.doorkeeper.may_come(asking, state));
        if may_come && let Err(status) = self.read_index().await {
            debug!(reason = %status.message, "a token is not known here, and nobody says whether it is to come");
        }
    }

    /// The name of the user who asks, for whoever notes what was done.
    pub(crate) fn user_of(&self, asking: &Asking) -> Option<String> {
        match self.identify(asking) {
            Ok(Some(OnBehalfOf::User { name, .. })) => {
                Some(String::from_utf8_lossy(&name).into_owned())
            }
            _ => None,
        }
    }

    /// The member's own word, where somebody's is wanted.
    pub(crate) fn own_word(&self) -> Option<OnBehalfOf> {
        self.with_state(crate::auth::own_word)
    }

    /// Asks for a change of the membership.
    pub(crate) async fn change_members(&self, change: MemberChange) -> Result<Answer, Status> {
        let proposed = self.node.borrow_mut().change_members(change);
        self.outcome(proposed).await
    }

    pub(super) async fn outcome(
        &self,
        proposed: Result<node::Tag, Refused>,
    ) -> Result<Answer, Status> {
        self.answered(proposed).await.map_err(|why| match why {
            NotAnswered::Refused(why) => refused(why),
            NotAnswered::Unknown => self.timeout(),
        })
    }

    pub(super) async fn answered(
        &self,
        proposed: Result<node::Tag, Refused>,
    ) -> Result<Answer, NotAnswered> {
        let tag = match proposed {
            Ok(tag) => tag,
            Err(why) => {
                self.metrics.proposals_failed.inc();
                return Err(NotAnswered::Refused(why));
            }
        };
        let began = clock::now();
        let wait = self.proposals.begin(tag.0, began);
        self.work.set();
        // A wait that is given up tells the node, which then need not keep the tag.
        let forget = Forget { member: self, tag };
        let answer = wait.answer().await;
        let is_answered = answer.is_ok();
        self.metrics.requests[usize::from(is_answered)].observe(clock::now().since(began));
        let Ok(answer) = answer else {
            self.metrics.proposals_failed.inc();
            return Err(NotAnswered::Unknown);
        };
        std::mem::forget(forget);
        Ok(answer)
    }

    /// Waits until the published state is as fresh as a linearizable read wants it.
    pub(crate) async fn read_index(&self) -> Result<(), Status> {
        match self.read_at(ReadLevel::Linearizable).await {
            Ok(_) => Ok(()),
            Err(NotRead::Refused(why)) => Err(refused(why)),
            // Nobody asks for a lease here.
            Err(NotRead::Failed(_)) => Err(Refusal::Stopped.into()),
            Err(NotRead::Expired) => Err(self.timeout()),
        }
    }

    /// Waits until the published state may be read at `level`.
    pub(crate) async fn read_at(&self, level: ReadLevel) -> Result<ReadGrant, NotRead> {
        let began = clock::now();
        let granted = self.read_when_ready(level).await;
        let metrics = &self.metrics;
        let is_linearizable = matches!(level, ReadLevel::Linearizable);
        if is_linearizable && clock::now().since(began) >= READ_SLOW {
            metrics.read_indexes_slow.inc();
        }
        let reads = &metrics.reads[level_number(level)];
        match &granted {
            Ok(_) => reads.granted.inc(),
            Err(_) => {
                reads.failed.inc();
                if is_linearizable {
                    metrics.read_indexes_failed.inc();
                }
            }
        }
        granted
    }

    pub(super) async fn read_when_ready(&self, level: ReadLevel) -> Result<ReadGrant, NotRead> {
        let ticket = self.next_ticket();
        let now = self.looked();
        let asked = self.node.borrow_mut().read_at(ticket, level, now);
        let at_once = match asked {
            Ok(ReadNow::Waits) => None,
            Ok(ReadNow::Granted(grant)) => Some(Ok(grant)),
            Ok(ReadNow::Failed(why)) => Some(Err(NotRead::Failed(why))),
            Err(why) => Some(Err(NotRead::Refused(why))),
        };
        if let Some(answer) = at_once {
            // The node has kept nothing of it: the number is free, and the window of waits has no holes.
            self.last_ticket.set(ticket.0 - 1);
            return answer;
        }
        let wait = self.reads.begin(ticket.0, clock::now());
        self.work.set();
        // A read that is given up need not be kept.
        let forget = ForgetRead {
            member: self,
            ticket,
        };
        let granted = match wait.answer().await {
            Ok(granted) => granted.map_err(NotRead::Failed),
            Err(Expired) => return Err(NotRead::Expired),
        };
        std::mem::forget(forget);
        granted
    }

    /// Whether what was read under `grant` may be said.
    pub(crate) fn lease_holds(&self, grant: &ReadGrant, now: Instant) -> bool {
        self.node.borrow().lease_holds(grant, now)
    }

    /// The present, after a look whether the wall clock was set: the node must hear of that before anything is done
    /// with a reading from after it.
    pub(crate) fn looked(&self) -> Instant {
        let (now, wall) = (clock::now(), clock::wall());
        if let Some(jump) = self.vitals.clocks(now, wall) {
            warn!(%jump, "the wall clock was set, or the member was paused between two looks at its clocks");
            self.node.borrow_mut().clock_jumped(now);
        }
        now
    }

    /// By how many milliseconds the other members' wall clocks differ from this one's.
    pub(crate) fn clock_offsets(&self) -> Vec<u64> {
        let offsets = self.node.borrow().clock_offsets();
        let ms = |offset: node::ClockOffset| offset.ahead_ms.unsigned_abs();
        offsets.into_values().map(ms).collect()
    }

    /// Who answers, in the native API's answers.
    pub(crate) fn native_header(&self) -> native::HeaderParts {
        native::HeaderParts {
            cluster: self.identity.cluster,
            member: self.identity.member,
            term: self.term.get(),
        }
    }

    /// Whether this member must not go on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    /// Renews a lease, or asks how long it has left.
    pub(crate) async fn lease(&self, lease: LeaseId, renew: bool) -> Result<LeaseAnswer, Status> {
        let ticket = self.next_ticket();
        let asked = match renew {
            true => self.node.borrow_mut().lease_renew(ticket, lease),
            false => self.node.borrow_mut().lease_remaining(ticket, lease),
        };
        asked.map_err(refused)?;
        let wait = self.leases.begin(ticket.0, clock::now());
        self.work.set();
        wait.answer().await.map_err(|Expired| self.timeout())
    }

    /// Hands the leadership to `to` and waits until it has it.
    pub(crate) async fn move_leader(&self, to: MemberId) -> Result<(), Status> {
        self.node
            .borrow_mut()
            .transfer_leader(to)
            .map_err(refused)?;
        self.work.set();
        let moved = async {
            while self.leader() != to {
                self.leadership.notified().await;
            }
        };
        let patience = self.config.request_timeout();
        tokio::time::timeout(patience, moved)
            .await
            .map_err(|_| self.timeout())
    }

    /// Gives back what the disk can spare: a checkpoint of the present state, and the end of the older one
    /// and of the log before. Memory needs no such thing: it is freed as versions are compacted away.
    pub(crate) async fn defragment(&self) -> Result<(), Status> {
        let (tell, told) = oneshot::channel();
        if self.defrags.borrow().len() >= DEFRAGS_MAX {
            return Err(Refusal::TooManyRequests.into());
        }
        self.defrags.borrow_mut().push(tell);
        if !self.node.borrow_mut().checkpoint_now() {
            self.checkpoints.trim();
        }
        self.work.set();
        let began = clock::now();
        let told = told.await;
        self.metrics.defragment.observe(clock::now().since(began));
        match told {
            Ok(true) => Ok(()),
            // What a disk without room for a checkpoint most likely is.
            Ok(false) => Err(Refusal::NoSpace.into()),
            Err(_) => Err(Refusal::Stopped.into()),
        }
    }

    pub(super) fn defragmented(&self, done: bool) {
        for tell in self.defrags.take() {
            // Whoever asked may be gone.
            let _ = tell.send(done);
        }
    }
}
