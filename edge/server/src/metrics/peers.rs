//! What goes to and comes from other members.

use super::cells::{Counter, Histogram, NETWORK};
use base::MemberId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Members that are counted apart: more than a cluster may have, since members come and go.
const PEERS_MAX: usize = 4 * base::limits::MEMBERS_MAX;

/// A round trip that took longer is no round trip: the answer is to a question of long ago.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

/// What is counted of one member.
pub(crate) struct PeerCounts {
    /// Bytes written to it.
    pub(crate) sent_bytes: Counter,
    /// Messages dropped, connections broken or not made.
    pub(crate) sent_failures: Counter,
    /// Bytes read from it.
    pub(crate) received_bytes: Counter,
    /// Connections that ended in what is not the protocol.
    pub(crate) received_failures: Counter,
    /// Connections to it that broke.
    pub(crate) lost: Counter,
    /// How long it takes to answer.
    pub(crate) round_trip: Histogram,
}

impl Default for PeerCounts {
    fn default() -> PeerCounts {
        PeerCounts {
            sent_bytes: Counter::default(),
            sent_failures: Counter::default(),
            received_bytes: Counter::default(),
            received_failures: Counter::default(),
            lost: Counter::default(),
            round_trip: Histogram::new(&NETWORK),
        }
    }
}

/// All of them, shared by whoever counts.
#[derive(Clone, Default)]
pub(crate) struct PeersCounts(Rc<RefCell<BTreeMap<MemberId, Rc<PeerCounts>>>>);

impl PeersCounts {
    /// Those of `member`. Whoever comes after very many is counted with the strangers, who are member 0.
    pub(crate) fn of(&self, member: MemberId) -> Rc<PeerCounts> {
        let mut peers = self.0.borrow_mut();
        let is_full = peers.len() >= PEERS_MAX && !peers.contains_key(&member);
        let member = if is_full { MemberId::NONE } else { member };
        peers.entry(member).or_default().clone()
    }

    /// `member` answers a question that was asked at `asked` on our clock.
    pub(crate) fn answered(&self, member: MemberId, asked: base::Instant, now: base::Instant) {
        // The number comes back from outside: it may be anything.
        let took = now.since(asked);
        if asked <= now && took <= ROUND_TRIP_MAX {
            self.of(member).round_trip.observe(took);
        }
    }

    /// Everybody, as they are now.
    pub(crate) fn all(&self) -> Vec<(MemberId, Rc<PeerCounts>)> {
        let peers = self.0.borrow();
        peers
            .iter()
            .map(|(id, counts)| (*id, counts.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_come_and_go_are_bounded() {
        let peers = PeersCounts::default();
        for id in 1..1000 {
            peers.of(MemberId(id)).sent_bytes.inc();
        }
        assert!(peers.all().len() <= PEERS_MAX + 1);
        let total: u64 = peers.all().iter().map(|(_, it)| it.sent_bytes.get()).sum();
        assert_eq!(total, 999);
    }

    #[test]
    fn an_answer_to_no_question_is_no_round_trip() {
        let peers = PeersCounts::default();
        let at = |s: u64| base::Instant(s * 1_000_000_000);
        peers.answered(MemberId(2), at(100), at(99));
        peers.answered(MemberId(2), at(1), at(99));
        assert!(peers.all().is_empty());
        peers.answered(MemberId(2), at(98), at(99));
        assert_eq!(peers.of(MemberId(2)).round_trip.n(), 1);
    }
}
