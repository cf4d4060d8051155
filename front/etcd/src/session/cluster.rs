//! Changes of the membership as plain values, and the checks that need no clock and no network.

use crate::method::Method;
use crate::proto::etcdserverpb as pbs;
use crate::request::two_integers;
use crate::scan::Malformed;
use crate::status::{Refusal, Status};
use base::MemberId;
use bytes::Bytes;
use prost::Message;
use store::State;

/// A change of the membership that a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClusterOp {
    /// A new member. Its id is the driver's to choose.
    Add {
        /// Where other members will reach it; at least one, sorted.
        peer_urls: Vec<String>,
        /// Whether it begins as a learner.
        is_learner: bool,
    },
    /// A member leaves.
    Remove(MemberId),
    /// A member moves.
    Update {
        /// Which one.
        member: MemberId,
        /// Where other members reach it from now on; at least one, sorted.
        peer_urls: Vec<String>,
    },
    /// A member would move to where no URL leads. Refused, but only after whoever asks was judged and the member looked
    /// for, as etcd does.
    UpdateNowhere(MemberId),
    /// A learner becomes a voter.
    Promote(MemberId),
}

pub(super) fn plan(method: Method, body: Bytes) -> Result<ClusterOp, Status> {
    let malformed = |_| Status::from(Refusal::from(Malformed));
    let member = |body: &[u8]| -> Result<MemberId, Status> {
        let (id, _) = two_integers(body).map_err(Refusal::from)?;
        Ok(MemberId(id as u64))
    };
    match method {
        Method::MemberAdd => {
            let request = pbs::MemberAddRequest::decode(body).map_err(malformed)?;
            Ok(ClusterOp::Add {
                peer_urls: urls(request.peer_ur_ls)?,
                is_learner: request.is_learner,
            })
        }
        Method::MemberUpdate => {
            let request = pbs::MemberUpdateRequest::decode(body).map_err(malformed)?;
            let member = MemberId(request.id);
            Ok(match urls(request.peer_ur_ls) {
                Ok(peer_urls) => ClusterOp::Update { member, peer_urls },
                Err(_) => ClusterOp::UpdateNowhere(member),
            })
        }
        Method::MemberPromote => Ok(ClusterOp::Promote(member(&body)?)),
        _ => Ok(ClusterOp::Remove(member(&body)?)),
    }
}

/// At least one URL, each of a scheme and an address and nothing more; sorted, as etcd keeps them.
fn urls(urls: Vec<String>) -> Result<Vec<String>, Refusal> {
    let mut urls: Vec<String> = urls.iter().map(|url| url.trim().to_owned()).collect();
    if urls.is_empty() || !urls.iter().all(|url| is_member_url(url)) {
        return Err(Refusal::BadMemberUrls);
    }
    urls.sort();
    Ok(urls)
}

fn is_member_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    match scheme {
        "http" | "https" => {
            let Some((host, port)) = rest.rsplit_once(':') else {
                return false;
            };
            let bracketed = host.starts_with('[') && host.ends_with(']');
            let host_is_plain = !host.contains(['/', '?', '#', '@'])
                && (bracketed || !host.contains([':', '[', ']']));
            host_is_plain && port.parse::<u16>().is_ok()
        }
        "unix" | "unixs" => !rest.is_empty(),
        _ => false,
    }
}

/// Learners at one time, etcd's `--max-learners` (its default).
pub const LEARNERS_MAX: usize = 1;

/// Refuses what the membership in `state` forbids: for drivers without a leader to ask, whose state is all there is.
///
/// Whether a quorum would be left, and whether a learner has caught up, only the member knows.
///
/// # Errors
/// [`Refusal::MemberNotFound`], [`Refusal::PeerUrlExists`], [`Refusal::BadMemberUrls`], [`Refusal::MemberNotLearner`],
/// [`Refusal::TooManyLearners`].
pub fn check_cluster_op(state: &State, op: &ClusterOp, learners_max: usize) -> Result<(), Refusal> {
    let members = state.members();
    let known = |id: MemberId| members.iter().find(|member| member.id == id);
    let taken = |urls: &[String], but: MemberId| {
        let others = members.iter().filter(|member| member.id != but);
        others
            .flat_map(|member| &member.peer_urls)
            .any(|url| urls.contains(url))
    };
    match op {
        ClusterOp::Add {
            peer_urls,
            is_learner,
        } => {
            let n_learners = members.iter().filter(|member| member.is_learner).count();
            if taken(peer_urls, MemberId::NONE) {
                return Err(Refusal::PeerUrlExists);
            }
            if *is_learner && n_learners >= learners_max {
                return Err(Refusal::TooManyLearners);
            }
        }
        ClusterOp::Remove(id) => {
            known(*id).ok_or(Refusal::MemberNotFound)?;
        }
        ClusterOp::Update { member, peer_urls } => {
            known(*member).ok_or(Refusal::MemberNotFound)?;
            if taken(peer_urls, *member) {
                return Err(Refusal::PeerUrlExists);
            }
        }
        ClusterOp::UpdateNowhere(id) => {
            known(*id).ok_or(Refusal::MemberNotFound)?;
            return Err(Refusal::BadMemberUrls);
        }
        ClusterOp::Promote(id) => {
            if !known(*id).ok_or(Refusal::MemberNotFound)?.is_learner {
                return Err(Refusal::MemberNotLearner);
            }
        }
    }
    Ok(())
}
