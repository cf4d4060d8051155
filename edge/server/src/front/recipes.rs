//! Locks and elections: the calls that wait for their turn, and those that look on.
//!
//! What to write, who is first and what to answer is `front/etcd`'s matter ([`etcd::recipes`]); this file
//! waits. A call that ends before it was answered, for whatever reason, takes its key out of the line: see
//! [`Place`].

use super::{Ended, Front};
use crate::auth::refreshed;
use crate::contenders::{Leaving, Slot, Wait};
use crate::grpc::Call;
use crate::member::{Member, OpenStream};
use base::{LeaseId, Revision};
use bytes::Bytes;
use etcd::auth::{Caller, Needs};
use etcd::proto::etcdserverpb::ResponseHeader;
use etcd::recipes::{self, Contender, Entry, Line, Recipe, Seen, Standing};
use etcd::{Code, HeaderParts, Method, Plan, Refusal, Status};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a lease that was granted for a waiting call is renewed: thrice in its life.
const RENEW_EVERY: Duration = Duration::from_secs(recipes::SESSION_TTL_S as u64 / 3);

/// How long to wait before a withdrawal that could not be proposed is tried again.
const WITHDRAW_AGAIN: Duration = Duration::from_millis(200);

/// Bytes that an observer takes from its watch at a time.
const OBSERVE_BYTES: usize = 64 * 1024;

impl Front {
    /// Serves a call of the lock or the election service.
    ///
    /// What it writes is decided in the log, what it reads here, each as of then: a call may wait for long.
    pub(super) async fn recipe(
        &self,
        recipe: Recipe,
        who: &Caller,
        call: &mut Call,
    ) -> Result<(), Ended> {
        let served = match recipe {
            Recipe::Contend(entry) => self.contend(entry, who, call).await,
            Recipe::Observe(line) => self.observe(&line, who, call).await,
            Recipe::Unlock(key) => self.unlock(key, who, call).await,
            Recipe::Proclaim(leader, value) => {
                let lease = LeaseId(leader.lease);
                let answer = self.proclaim(&leader, &value, lease, who).await;
                reply(answer, call).await
            }
            Recipe::Resign(leader) => {
                let txn = recipes::resign(&leader.key, leader.rev);
                let answer = self.write(Method::Txn, txn, who).await;
                reply(answer.and_then(|a| Ok(recipes::answer_resign(a)?)), call).await
            }
            Recipe::Leader(line) => reply(self.leader_of(&line, who).await, call).await,
        };
        served.map_err(|ended| match ended {
            Ended::Etcd(status) => Ended::Etcd(recipes::told(status)),
            gone @ Ended::Transport(_) => gone,
        })
    }

    // ---- contenders ---------------------------------------------------------------------------

    /// Stands in line, and answers when it is the call's turn.
    async fn contend(&self, entry: Entry, who: &Caller, call: &mut Call) -> Result<(), Ended> {
        let mut place = self.join(entry, who).await?;
        place.stage = Stage::Waiting;
        let turn = self.turn(&place).await;
        if turn == Err(place.contender.gone().into()) && place.granted.is_none() {
            // There is nothing left to withdraw.
            place.stage = Stage::Kept;
        }
        let now = turn?;
        // From here on the place is withdrawn only if this call made it: another may hold it already.
        place.stage = Stage::joined(place.is_new);
        let answer = place.contender.answer(place.header, now);
        call.replies.reply(answer).await?;
        place.stage = Stage::Kept;
        Ok(())
    }

    /// Puts the key. It is a task of its own, because a call that is dropped meanwhile does not know whether
    /// its key will be there; the task does, and drops the place in its stead.
    async fn join(&self, entry: Entry, who: &Caller) -> Result<Place, Status> {
        let slot = self.slot()?;
        let (tell, told) = oneshot::channel();
        let (front, who) = (Front(self.0.clone()), who.clone());
        tokio::task::spawn_local(async move {
            // Whoever asked may be gone: then this drops the place.
            let _ = tell.send(front.join_now(entry, slot, &who).await);
        });
        told.await.map_err(|_| Status::from(Refusal::Stopped))?
    }

    async fn join_now(&self, entry: Entry, slot: Slot, who: &Caller) -> Result<Place, Status> {
        let (lease, granted) = match entry.lease {
            LeaseId::NONE => {
                let lease = self.grant(who).await?;
                (lease, Some(lease))
            }
            lease => (lease, None),
        };
        let answer = match self.write(Method::Txn, entry.join(lease), who).await {
            Ok(answer) => answer,
            Err(status) => {
                // If the key is there after all, it goes with its lease.
                if granted.is_some() {
                    self.0.contenders.leave(Leaving {
                        contender: None,
                        granted,
                        _slot: slot,
                    });
                }
                return Err(status);
            }
        };
        let joined = entry.joined(lease, answer)?;
        let mut place = Place {
            member: self.0.clone(),
            contender: joined.contender,
            header: joined.header,
            is_new: joined.is_new,
            granted,
            who: who.clone(),
            slot: Some(slot),
            stage: Stage::joined(joined.is_new),
        };
        if joined.is_outdated {
            // As in etcd, a candidate that cannot say its value resigns.
            place.stage = Stage::Waiting;
            let txn = entry.proclaim(&place.contender);
            recipes::answer_proclaim(self.write(Method::Txn, txn, who).await?)?;
            place.stage = Stage::Kept;
        }
        Ok(place)
    }

    /// Waits until nobody is before the contender. Answers the moment in which that was seen, if it had to
    /// wait.
    async fn turn(&self, place: &Place) -> Result<Option<(HeaderParts, Revision)>, Status> {
        let contender = &place.contender;
        let needs = Needs::of_read(&contender.line().range());
        let mut has_waited = false;
        loop {
            // Whether it is its turn tells of others' keys.
            let _ = self.permit_now(&place.who, &needs)?;
            match self.0.with_state(|state| contender.standing(state)) {
                Standing::Gone => return Err(contender.gone().into()),
                Standing::First => break,
                Standing::Behind(before) => {
                    has_waited = true;
                    let keys = [before, contender.key().clone()];
                    self.ended(&self.0.contenders.wait(keys), place).await;
                }
            }
        }
        if !has_waited {
            return Ok(None);
        }
        // That it is the first stays true. That its key still exists must be as fresh as any read, because the
        // lease may have run out elsewhere long ago if this member is behind.
        self.0.read_index().await?;
        let _ = self.permit_now(&place.who, &needs)?;
        let header = self.0.header();
        self.0.with_state(|state| match contender.standing(state) {
            Standing::First => Ok(Some((header, state.revision()))),
            _ => Err(contender.gone().into()),
        })
    }

    /// Waits, and keeps alive the lease that nobody else knows of.
    async fn ended(&self, wait: &Wait, place: &Place) {
        let Some(lease) = place.granted else {
            return wait.ended().await;
        };
        while tokio::time::timeout(RENEW_EVERY, wait.ended())
            .await
            .is_err()
        {
            // If that fails, the next one may not; and if the lease is gone, so is the key.
            let _ = self.0.lease(lease, true).await;
        }
    }

    /// Takes away what calls that went away have left, as long as the member lives.
    pub(crate) async fn withdrawals(self) {
        loop {
            for leaving in self.0.contenders.left().await {
                tokio::task::spawn_local(Front(self.0.clone()).withdraw(leaving));
            }
        }
    }

    async fn withdraw(self, leaving: Leaving) {
        let contender = leaving.contender.as_ref();
        let (method, request) = match (leaving.granted, contender) {
            // The key goes with its lease.
            (Some(lease), _) => (Method::LeaseRevoke, recipes::revoke(lease)),
            (None, Some(contender)) => (Method::Txn, contender.withdraw()),
            (None, None) => return,
        };
        let lease = leaving.granted.or(contender.map(Contender::lease));
        // Tidying up is the member's own work, whoever left it.
        while let Err(status) = self
            .write(method, request.clone(), &Ok(self.0.own_word()))
            .await
        {
            // Without its lease there is no key either.
            let is_over =
                lease.is_none_or(|lease| self.0.with_state(|state| state.lease(lease).is_none()));
            if is_over || status == Refusal::LeaseNotFound.into() {
                return;
            }
            tokio::time::sleep(WITHDRAW_AGAIN).await;
        }
    }

    // ---- short calls --------------------------------------------------------------------------

    async fn unlock(&self, key: Bytes, who: &Caller, call: &mut Call) -> Result<(), Ended> {
        let deleted = self
            .write(Method::DeleteRange, recipes::unlock(key), who)
            .await;
        reply(deleted.and_then(|a| Ok(recipes::answer_unlock(a)?)), call).await
    }

    async fn proclaim(
        &self,
        leader: &etcd::proto::v3electionpb::LeaderKey,
        value: &Bytes,
        lease: LeaseId,
        who: &Caller,
    ) -> Result<Bytes, Status> {
        let granted = match lease {
            LeaseId::NONE => Some(self.grant(who).await?),
            _ => None,
        };
        let txn = recipes::proclaim(leader, value, granted.unwrap_or(lease));
        let written = self.write(Method::Txn, txn, who).await;
        Ok(recipes::answer_proclaim(written?)?)
    }

    async fn leader_of(&self, line: &Line, who: &Caller) -> Result<Bytes, Status> {
        self.0.read_index().await?;
        let _ = self.permit_now(who, &Needs::of_read(&line.range()))?;
        self.leading(line)
            .map(|(answer, ..)| answer)
            .ok_or_else(|| Refusal::ElectionNoLeader.into())
    }

    /// The answer about who leads by the published state, with the leader's key and the state's revision.
    fn leading(&self, line: &Line) -> Option<(Bytes, Bytes, Revision)> {
        let header = self.0.header();
        self.0.with_state(|state| {
            let record = line.first(state)?;
            let revision = state.revision();
            let answer = recipes::answer_leader(recipes::key_value(&record), &header, revision);
            Some((answer, Bytes::copy_from_slice(record.key()), revision))
        })
    }

    // ---- observers ----------------------------------------------------------------------------

    /// Tells who leads and every value that is proclaimed, from now on.
    async fn observe(&self, line: &Line, who: &Caller, call: &mut Call) -> Result<(), Ended> {
        let _slot = self.slot()?;
        let wants_leader = super::wants_leader(call);
        call.replies.open()?;
        self.0.read_index().await?;
        loop {
            // Its watches end when it may read no more, and then it comes by here.
            let who = self.permit_now(who, &Needs::of_read(&line.range()))?;
            // Between the look and the watch nothing can happen: there is no `.await`.
            let leading = self.leading(line);
            let stream = self.0.open_stream(None);
            let request = match &leading {
                Some((_, key, revision)) => recipes::watch_key(key.clone(), *revision),
                None => line.watch_request(self.0.with_state(store::State::revision)),
            };
            let handled = {
                let state = self.0.state();
                let mut desk = self.0.desk.borrow_mut();
                desk.handle_as(stream.id, &request, &state, &who)
            };
            handled?;
            if let Some((answer, ..)) = leading {
                call.replies.send(answer).await?;
                self.follow(&stream, wants_leader, call).await?;
            } else {
                // Whoever it is, the state knows; and who goes before we look is no leader.
                self.next_seen(&stream, wants_leader).await?;
            }
        }
    }

    /// Tells the values of one leader until its key is gone.
    async fn follow(
        &self,
        stream: &OpenStream,
        wants_leader: bool,
        call: &mut Call,
    ) -> Result<(), Ended> {
        loop {
            for seen in self.next_seen(stream, wants_leader).await? {
                let Seen::Put(kv) = seen else {
                    return Ok(());
                };
                let revision = Revision(kv.mod_revision as u64);
                let answer = recipes::answer_leader(kv, &self.0.header(), revision);
                call.replies.send(answer).await?;
            }
        }
    }

    /// What happened next; never nothing.
    async fn next_seen(&self, stream: &OpenStream, wants_leader: bool) -> Result<Vec<Seen>, Ended> {
        loop {
            let mut messages = stream.work.pending.take();
            {
                let state = self.0.state();
                let mut desk = self.0.desk.borrow_mut();
                messages.extend(desk.poll(stream.id, &state, OBSERVE_BYTES));
            }
            self.0.wake_streams();
            let seen: Vec<Seen> = messages.into_iter().flat_map(recipes::seen).collect();
            if !seen.is_empty() {
                return Ok(seen);
            }
            stream.work.signal.wait().await;
            if wants_leader && self.0.is_leaderless() {
                return Err(Refusal::NoLeader.into());
            }
        }
    }

    // ---- what they are made of ----------------------------------------------------------------

    fn slot(&self) -> Result<Slot, Status> {
        let slot = self.0.contenders.take_slot();
        slot.ok_or_else(|| Refusal::TooManyRequests.into())
    }

    async fn grant(&self, who: &Caller) -> Result<LeaseId, Status> {
        let answer = self
            .write(Method::LeaseGrant, recipes::grant(), who)
            .await?;
        Ok(recipes::granted(answer)?)
    }

    /// A request of etcd's that goes through the log, as if a client had sent it.
    async fn write(&self, method: Method, request: Bytes, who: &Caller) -> Result<Bytes, Status> {
        let plan = self.0.session.borrow_mut().plan(method, request)?;
        let Plan::Propose {
            request,
            cost_bytes,
        } = plan
        else {
            let text = "quorate: a recipe's step is not for the log";
            return Err(Status::new(Code::Internal, text));
        };
        let who = self.0.with_state(|state| refreshed(who, state))?;
        self.propose(request, cost_bytes, None, who).await
    }

    /// Whether a caller that was let in may still read this, and who it is as of now.
    fn permit_now(&self, who: &Caller, needs: &Needs) -> Result<Caller, Status> {
        let who = self.0.with_state(|state| refreshed(who, state));
        self.permit(&who, needs)?;
        Ok(who)
    }
}

async fn reply(answer: Result<Bytes, Status>, call: &mut Call) -> Result<(), Ended> {
    Ok(call.replies.reply(answer?).await?)
}

/// What becomes of a place's key when the place is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is another call's as well: it stays.
    Kept,
    /// It goes: the call made it, and was not answered.
    Made,
    /// It goes, whoever made it: as in etcd, who gives up waiting gives up the key.
    Waiting,
}

impl Stage {
    fn joined(is_new: bool) -> Stage {
        match is_new {
            true => Stage::Made,
            false => Stage::Kept,
        }
    }
}

/// A place in a line, as long as its call is not answered. Dropping it withdraws the contender: the key is
/// deleted in the background, and the slot is taken until that is done.
struct Place {
    member: Rc<Member>,
    contender: Contender,
    /// Of the answer to the entry.
    header: ResponseHeader,
    is_new: bool,
    /// The lease, if it was granted for this call.
    granted: Option<LeaseId>,
    /// Whose it is.
    who: Caller,
    slot: Option<Slot>,
    stage: Stage,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.stage == Stage::Kept {
            return;
        }
        if let Some(slot) = self.slot.take() {
            self.member.contenders.leave(Leaving {
                contender: Some(self.contender.clone()),
                granted: self.granted,
                _slot: slot,
            });
        }
    }
}
