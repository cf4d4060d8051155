//! How a replica brings another's instance to an end (section 4.3.4, figure 3).

use super::*;

impl Replica {
    /// Recovery: phase 1 of Paxos, for one instance.
    pub(super) fn prepare(&mut self, at: Instance, cx: &mut Cx<'_>) {
        let Some(left) = self.recoveries_left.checked_sub(1) else {
            return;
        };
        self.recoveries_left = left;
        let promised = self.promised.get(&at).copied().unwrap_or_default();
        let ballot = Ballot(promised.0 + 1, cx.me().0 as u8 + 1);
        self.promised.insert(at, ballot);
        let mine = BTreeMap::from([(cx.me(), self.log.get(&at).cloned())]);
        self.running.insert(at, (ballot, Phase::Prepare(mine)));
        cx.send_all(self.others(cx), &Message::Prepare(at, ballot));
    }

    pub(super) fn promise(
        &mut self,
        from: ProcessId,
        at: Instance,
        ballot: Ballot,
        record: Option<Record>,
        cx: &mut Cx<'_>,
    ) {
        let f = self.f();
        let Some((_, Phase::Prepare(promises))) =
            self.running.get_mut(&at).filter(|one| one.0 == ballot)
        else {
            return;
        };
        promises.insert(from, record);
        if promises.len() <= f {
            return;
        }
        let owner = ProcessId(usize::from(at.0) - 1);
        let has_owner = promises.contains_key(&owner);
        let records: Vec<Record> = promises.values().flatten().cloned().collect();
        let highest = records.iter().map(|(_, of, _)| *of).max();
        let latest = || records.iter().filter(|(_, of, _)| Some(*of) == highest);
        let find = |status| records.iter().find(move |(how, ..)| *how == status);
        // A fast quorum without its owner has left F equal answers among any F + 1 of the others.
        let is_fast = |what: &Attributes| {
            let equal = latest().filter(|(_, of, other)| of.0 == 0 && other == what);
            !has_owner && equal.count() >= f
        };
        if let Some((_, _, what)) = find(Status::Committed) {
            self.decide(at, what.clone(), cx);
        } else if let Some((_, _, what)) = latest().find(|(how, ..)| *how == Status::Accepted) {
            self.accept(at, ballot, what.clone(), cx);
        } else if let Some((_, _, what)) = latest().find(|(_, _, what)| is_fast(what)) {
            self.accept(at, ballot, what.clone(), cx);
        } else if let Some(command) = latest().find_map(|(_, _, what)| what.command) {
            self.pre_accept(at, ballot, command, cx);
        } else {
            self.accept(at, ballot, union([]), cx);
        }
    }
}
