//! Who takes the NOSPACE alarm back when there is room again.
//!
//! etcd leaves that to a person (`etcdctl alarm disarm`), who has to find out that a full cluster stays read-only after
//! it was emptied. Here an alarm goes by itself once the data takes less than nine tenths of the quota: less than the
//! quota alone would let it go and come with every put.
//!
//! Only an alarm that the quota raised, or that stood while the data was that large, is taken back: whoever raises one by hand on a cluster with
//! room means something else by it, and must take it back. A member that starts again does not know any more who raised the
//! alarm that it bears, and believes that it was the quota. Each member answers for its own alarm, since its quota raised
//! it; the leader answers for those that it does not reach.

use crate::Limits;
use crate::apply::alarms::{Alarm, AlarmKind};
use base::MemberId;
use std::collections::BTreeSet;
use store::State;

/// Below so many tenths of the quota there is room again.
const ROOM_TENTHS: u64 = 9;

/// Remembers which alarms stood while there was no room.
#[derive(Debug, Default)]
pub struct Vigil {
    seen_full: BTreeSet<MemberId>,
    /// Whose alarm the quota wants raised, as long as it does not stand: a proposal may come about after its answer was
    /// given up.
    wanted: BTreeSet<MemberId>,
}

impl Vigil {
    /// `member`, this one, has just started.
    pub fn at_start(member: MemberId) -> Vigil {
        Vigil {
            seen_full: BTreeSet::from([member]),
            wanted: BTreeSet::new(),
        }
    }

    /// The quota of `member`, this one, is about to raise its alarm: somebody may make room before the next look.
    pub fn raises(&mut self, member: MemberId) {
        self.wanted.insert(member);
    }

    /// Which alarms to disarm now, of those for which `answers_for` says that this member answers.
    pub fn look(
        &mut self,
        state: &State,
        limits: &Limits,
        answers_for: impl Fn(MemberId) -> bool,
    ) -> Vec<Alarm> {
        let raised: Vec<Alarm> = crate::alarms(state)
            .filter(|alarm| alarm.kind == AlarmKind::NoSpace)
            .collect();
        for alarm in &raised {
            if self.wanted.remove(&alarm.member) {
                self.seen_full.insert(alarm.member);
            }
        }
        self.seen_full
            .retain(|member| raised.iter().any(|alarm| alarm.member == *member));
        if raised.is_empty() {
            return raised;
        }
        let bound = limits.quota_bytes / 10 * ROOM_TENTHS;
        if limits.quota_bytes != 0 && state.bytes_in_use() >= bound {
            self.seen_full.extend(raised.iter().map(|it| it.member));
            return Vec::new();
        }
        let is_over = |alarm: &Alarm| self.seen_full.contains(&alarm.member);
        raised
            .into_iter()
            .filter(|alarm| is_over(alarm) && answers_for(alarm.member))
            .collect()
    }
}
