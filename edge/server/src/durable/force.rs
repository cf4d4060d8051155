//! `--force-new-cluster`: a member's data becomes a cluster of that member alone.
//!
//! For the day on which a majority is lost for good. Everything in the member's log counts as decided: what the lost
//! majority had acknowledged is in it if this member ever had it, and nobody is left who could say which of the last
//! entries were not. They are applied, the others are removed, and what comes out is a new first checkpoint behind which
//! the log begins anew:
//!
//! ```text
//!   checkpoint + entries … ─► applied to the last ─► membership: this one; others: removed ─► checkpoint, empty log
//! ```
//!
//! The ids of the cluster and of the member stay, as in etcd. A removed member that comes back is told so and cannot
//! take part; two of three that come back *together* are a cluster of their own, so take care that they do not.

use super::boot::{BootError, begin};
use crate::disk::FileDisk;
use crate::native::{grows, locked};
use base::{HardState, Instant, LogPosition, Membership};
use etcd::EtcdDialect;
use etcd::auth::RootOnly;
use node::{Boot, Health, Node, NodeConfig};
use storage::{Catalog, Identity, Log};
use store::{Dialect, Member, RootId, Stamp, State, Store};
use tracing::warn;

/// Everybody who decides commands of the log.
pub(crate) fn dialects() -> Vec<Box<dyn Dialect + Send>> {
    vec![
        Box::new(EtcdDialect),
        Box::new(RootOnly::new(native::KeyDialect, locked, grows)),
        Box::new(RootOnly::new(native::LineDialect, locked, grows)),
    ]
}

/// Applies all that `boot` has and makes the member's own cluster of it, durably.
pub(super) fn force_new_cluster(
    identity: &Identity,
    disk: &mut FileDisk,
    log: &mut Log,
    catalog: &Catalog,
    boot: Boot,
) -> Result<(State, Catalog), BootError> {
    let refused = |why: &str| BootError::CannotForce(why.to_owned());
    if boot.health != Health::Intact {
        return Err(refused("its log is damaged"));
    }
    let term = boot.hard_state.term;
    let state = apply_all(identity, boot)?;
    if !state.membership().contains(identity.member) {
        return Err(refused("it is no member of its cluster"));
    }
    let before = state.members().len();
    let state = alone(identity, term, &state);
    warn!(
        member = %identity.member, cluster = %identity.cluster, members_before = before,
        applied = %state.applied(), revision = %state.revision(),
        "forcing a new cluster of this member alone"
    );
    let catalog = begin(disk, identity, catalog, log, &state)?;
    Ok((state, catalog))
}

/// The state after the last entry of the log, decided or not.
fn apply_all(identity: &Identity, boot: Boot) -> Result<State, BootError> {
    let refused = |why: String| BootError::CannotForce(why);
    let last = boot
        .entries
        .last()
        .map_or(boot.state.applied().index, |entry| entry.position.index);
    let hard_state = HardState {
        commit: last,
        ..boot.hard_state
    };
    let config = NodeConfig::new(identity.cluster, identity.member);
    let boot = Boot { hard_state, ..boot };
    let mut node = Node::new(config, boot, dialects(), Instant(0))
        .map_err(|error| refused(base::Chain(&error).to_string()))?;
    loop {
        let effects = node.take_effects(Instant(0), 0);
        if let Some(reason) = effects.stop {
            return Err(refused(format!("its log cannot be applied: {reason:?}")));
        }
        let mut is_idle = !effects.more;
        if let Some(persist) = effects.persist {
            node.persisted(persist.number);
            is_idle = false;
        }
        if let Some((meta, _)) = &effects.checkpoint {
            node.checkpointed(meta);
        }
        if is_idle {
            break;
        }
    }
    let state = node.state().clone();
    match state.applied().index == last {
        true => Ok(state),
        false => Err(refused(format!(
            "its log goes to {last} and could be applied to {} only",
            state.applied().index
        ))),
    }
}

/// The same state with nobody else in it.
fn alone(identity: &Identity, term: base::Term, state: &State) -> State {
    let own = identity.member;
    let mut store = Store::from_state(state.clone());
    let stamp = Stamp {
        time: state.time(),
        apply_version: state.apply_version(),
        origin: own,
    };
    let mut txn = store.begin(RootId(0), &stamp);
    for member in state.members() {
        match member.id == own {
            true => txn.member_put(&Member {
                is_learner: false,
                ..member
            }),
            false => {
                txn.member_remove(member.id);
            }
        }
    }
    txn.finish();
    store.set_membership(Membership::of_voters(vec![own]));
    // As if the change had been an entry of its own: a checkpoint later than every one before.
    let applied = state.applied();
    store.set_applied(LogPosition {
        term: term.max(applied.term),
        index: applied.index.next(),
    });
    store.publish()
}
