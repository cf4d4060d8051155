//! What a leader knows about the others, and how it sends to them.

use base::{Index, MemberId, Membership};
use consensus::Replication;
use std::collections::BTreeMap;

/// One member, as the leader sees it (Raft figure 2: nextIndex, matchIndex).
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) matched: Index,
    pub(super) next: Index,
    pub(super) state: Replication,
    /// A probe is under way: no second one until it is answered, or a heartbeat is.
    pub(super) waits: bool,
    /// Heard of since the last check of the quorum.
    pub(super) active: bool,
}

impl Peer {
    fn new(next: Index) -> Peer {
        Peer {
            matched: Index(0),
            next,
            state: Replication::Probing,
            waits: false,
            active: true,
        }
    }

    /// Looks again for the place where the logs agree, from `next` on.
    pub(super) fn probe(&mut self, next: Index) {
        self.state = Replication::Probing;
        self.next = next.max(self.matched.next());
        self.waits = false;
    }
}

/// The others, of the leader's membership.
pub(super) type Peers = BTreeMap<MemberId, Peer>;

/// Everybody but `own`; who was known stays as known.
pub(super) fn peers_of(
    membership: &Membership,
    own: MemberId,
    known: &Peers,
    next: Index,
) -> Peers {
    let others = membership.everyone().into_iter().filter(|it| *it != own);
    others
        .map(|it| (it, known.get(&it).copied().unwrap_or(Peer::new(next))))
        .collect()
}
