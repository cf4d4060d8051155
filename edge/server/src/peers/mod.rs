//! The connections among members.
//!
//! ```text
//!   this member                                      another member
//!   Peers::send ── queue ── link.rs ═══ messages ═══► listen.rs ── Inbox::receive
//!   transfer.rs (a thread) ═══════════ a snapshot ══► transfer.rs (a thread) ── Event::SnapshotReceived
//!   join.rs     ── GET /members over HTTP/1 ────────► listen.rs ── the members, as text
//! ```
//!
//! `guest.rs` looks at the certificates of those who call, where there are any; what TLS is, is `crate::tls`'s and
//! `crate::entrance`'s business.
//!
//! Each member opens one connection to each other for its own messages, and one more for each snapshot. What
//! the frames look like is `wire`'s business. A connection that fails is made again with growing pauses;
//! messages that find no connection or a full queue are dropped, as a network may, and Raft sends again.
//!
//! Invariants: nothing is read from a stranger beyond a small frame; a frame of another cluster, another
//! sender or wrong bytes closes the connection with one line in the log.

mod guest;
mod join;
mod link;
mod listen;
mod spoken;
mod transfer;

pub(crate) use join::{JoinError, Known, ask_apply_version, ask_members, ask_page, render_members};
pub(crate) use listen::listen;
pub(crate) use spoken::Spoken;
pub(crate) use transfer::send_snapshot;

use crate::entrance::Way;
use crate::metrics::PeersCounts;
use base::{Instant, MemberId, PeerMessage};
use link::Link;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use store::Member;
use wire::Origin;

/// The time in which a new connection must have introduced itself, and in which the answer must come.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which a hash must be answered to another member: it reads everything. Meanwhile the caller counts as a
/// stranger.
pub(crate) const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Incoming connections that have not introduced themselves.
const STRANGERS_MAX: usize = 64;

/// Incoming connections at a time: a few for each member that there may be.
const CONNECTIONS_MAX: usize = 4 * base::limits::MEMBERS_MAX;

/// A page that takes a while.
pub(crate) type LocalPage<'a> = Pin<Box<dyn Future<Output = Option<String>> + 'a>>;

/// What the connections deliver to.
pub(crate) trait Inbox: 'static {
    /// A message of another member.
    fn receive(&self, from: MemberId, message: PeerMessage);
    /// The connection to `to` broke or cannot be made.
    fn unreachable(&self, to: MemberId);
    /// Whether this member was removed from the cluster.
    fn was_removed(&self, member: MemberId) -> bool;
    /// The members that are known here.
    fn members(&self) -> Vec<Member>;
    /// The members, for one that joins.
    fn members_page(&self) -> String;
    /// The apply version of the cluster, for one that joins.
    fn apply_version(&self) -> u16;
    /// What another member asks about this one's contents; nothing when there is no such page, or no answer now.
    fn page<'a>(&'a self, target: &'a str) -> LocalPage<'a>;
}

/// Each member's peer URLs as they were when its link was opened, and the link.
type Links = BTreeMap<MemberId, (Vec<String>, Rc<Link>)>;

/// The outgoing connections.
pub(crate) struct Peers {
    own: Origin,
    name: Rc<str>,
    counts: PeersCounts,
    spoken: Spoken,
    way: Way,
    links: RefCell<Links>,
}

impl Peers {
    pub(crate) fn new(
        own: Origin,
        name: &str,
        way: Way,
        spoken: Spoken,
        counts: PeersCounts,
    ) -> Peers {
        Peers {
            own,
            name: name.into(),
            way,
            counts,
            spoken,
            links: RefCell::default(),
        }
    }

    /// Makes the connections fit the members.
    pub(crate) fn update(&self, members: &[Member], inbox: &Rc<dyn Inbox>) {
        let mut links = self.links.borrow_mut();
        links.retain(|id, (urls, link)| {
            let stays = members.iter().any(|m| m.id == *id && m.peer_urls == *urls);
            if !stays {
                link.close();
            }
            stays
        });
        for member in members {
            if member.id != self.own.member && !links.contains_key(&member.id) {
                let link = Link::open(
                    self.own,
                    (&self.name, &self.way),
                    member,
                    &self.spoken,
                    inbox.clone(),
                    &self.counts,
                );
                links.insert(member.id, (member.peer_urls.clone(), link));
            }
        }
    }

    /// Which protocols are spoken.
    pub(crate) fn spoken(&self) -> &Spoken {
        &self.spoken
    }

    /// Queues a message, or drops it.
    pub(crate) fn send(&self, to: MemberId, message: &PeerMessage) {
        if let Some((_, link)) = self.links.borrow().get(&to) {
            link.send(message);
        }
    }

    /// How they are reached.
    pub(crate) fn way(&self) -> Way {
        self.way.clone()
    }

    /// Those to whom there are links: all that is known before there is a state.
    pub(crate) fn members(&self) -> Vec<Member> {
        let links = self.links.borrow();
        let known = links.iter().map(|(id, (urls, _))| Member {
            id: *id,
            name: String::new(),
            peer_urls: urls.clone(),
            client_urls: Vec::new(),
            is_learner: false,
        });
        known.collect()
    }

    /// Where `member` is reached.
    pub(crate) fn urls(&self, member: MemberId) -> Vec<String> {
        let links = self.links.borrow();
        links
            .get(&member)
            .map_or_else(Vec::new, |(urls, _)| urls.clone())
    }

    /// Since when the connection to `member` stands, if it does.
    pub(crate) fn connected_since(&self, member: MemberId) -> Option<Instant> {
        let links = self.links.borrow();
        links.get(&member)?.1.connected_since()
    }

    /// Whether the connection to `member` stands.
    pub(crate) fn is_connected(&self, member: MemberId) -> bool {
        let links = self.links.borrow();
        links
            .get(&member)
            .is_some_and(|(_, link)| link.is_connected())
    }
}
