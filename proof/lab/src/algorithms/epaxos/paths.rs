//! How a replica gets a command chosen: pre-accept, then the fast path or the slow one (section 4.3.2, figure 2).

use super::*;

impl Replica {
    /// Phase 1.
    pub(super) fn pre_accept(
        &mut self,
        at: Instance,
        ballot: Ballot,
        command: Command,
        cx: &mut Cx<'_>,
    ) {
        let mine = self.known(at, Some(command));
        self.running
            .insert(at, (ballot, Phase::PreAccept(BTreeMap::new())));
        self.record(at, Status::PreAccepted, ballot, mine.clone(), cx);
        let message = Message::PreAccept(at, ballot, mine);
        if ballot.0 == 0 {
            cx.send_all(self.asked.iter().copied(), &message);
        } else {
            cx.send_all(self.others(cx), &message);
        }
    }

    pub(super) fn pre_accepted(
        &mut self,
        from: ProcessId,
        at: Instance,
        ballot: Ballot,
        told: Attributes,
        cx: &mut Cx<'_>,
    ) {
        let f = self.f();
        let Some((_, Phase::PreAccept(replies))) =
            self.running.get_mut(&at).filter(|one| one.0 == ballot)
        else {
            return;
        };
        replies.entry(from).or_insert(told.clone());
        let all = union(replies.values());
        // A command that is recovered takes the slow path always.
        let is_fast = ballot.0 == 0 && replies.len() == 2 * f - 1;
        let is_equal = replies.values().all(|reply| *reply == all);
        if is_fast && (is_equal || self.broken.is(&EQUAL_REPLIES)) {
            cx.say(format_args!("the fast path"));
            self.decide(at, told, cx);
        } else if replies.len() >= f
            && (ballot.0 > 0 || !is_equal && !self.broken.is(&EQUAL_REPLIES))
        {
            cx.say(format_args!("the slow path"));
            self.accept(at, ballot, all, cx);
        } else if replies.len() == f {
            cx.anytime(Timer::Hurry(at));
        }
    }

    /// Phase 2 of Paxos.
    pub(super) fn accept(
        &mut self,
        at: Instance,
        ballot: Ballot,
        what: Attributes,
        cx: &mut Cx<'_>,
    ) {
        cx.cancel(&Timer::Hurry(at));
        self.running
            .insert(at, (ballot, Phase::Accept(BTreeSet::new())));
        self.record(at, Status::Accepted, ballot, what.clone(), cx);
        cx.send_all(self.others(cx), &Message::Accept(at, ballot, what));
    }

    pub(super) fn accepted(
        &mut self,
        from: ProcessId,
        at: Instance,
        ballot: Ballot,
        cx: &mut Cx<'_>,
    ) {
        let f = self.f();
        if let Some((of, Phase::Accept(votes))) = self.running.get_mut(&at)
            && *of == ballot
            && votes.insert(from)
            && votes.len() >= f
            && let Some((_, _, what)) = self.log.get(&at).cloned()
        {
            self.decide(at, what, cx);
        }
    }

    pub(super) fn decide(&mut self, at: Instance, what: Attributes, cx: &mut Cx<'_>) {
        cx.fact(Fact(at, what.clone()));
        cx.send_all(self.others(cx), &Message::Commit(at, what.clone()));
        self.commit(at, what, cx);
    }

    pub(super) fn commit(&mut self, at: Instance, what: Attributes, cx: &mut Cx<'_>) {
        cx.cancel(&Timer::Hurry(at));
        self.running.remove(&at);
        if !self.is_committed(at) {
            let ballot = self.promised.get(&at).copied().unwrap_or_default();
            self.record(at, Status::Committed, ballot, what, cx);
            self.execute(cx);
        }
    }
}
