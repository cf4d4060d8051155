//! What is found at the start: whose directory it is, what the log and the newest checkpoint say.
//!
//! ```text
//!   nothing there, a new cluster      the genesis, the same on all members, becomes the first checkpoint
//!   nothing there, joining            nothing: the leader will send all
//!   something there                   newest checkpoint + entries after it, or a damage report
//! ```

use super::force::force_new_cluster;
use super::{CHECKPOINT_STEP_BYTES, log_config};
use crate::config::{Config, InitialState};
use crate::disk::FileDisk;
use crate::entrance::Way;
use crate::identity::Url;
use crate::peers::{JoinError, Known, ask_apply_version, ask_members};
use base::{Chain, ClusterId, MemberId, Membership, Mutants, SnapshotMeta};
use node::Boot;
use std::time::Duration;
use storage::{
    Catalog, CheckpointWriter, Disk as _, DiskError, Health, Identity, Log, RecoverError,
    Recovered, Step, execute, recover,
};
use store::{Genesis, Member, State, Store};
use tracing::{info, warn};

/// How long a joining member looks for somebody who knows it.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two rounds of asking.
const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// Why there is no start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory cannot be opened.
    #[error("cannot open the data directory")]
    Open(#[source] std::io::Error),
    /// What is in the directory cannot be used.
    #[error("cannot start from the data directory")]
    Recover(#[from] RecoverError),
    /// The first checkpoint cannot be written.
    #[error("cannot prepare the data directory")]
    Prepare(#[from] DiskError),
    /// Something that was acknowledged is lost and there is nobody to get it from.
    #[error("data is lost, and a member alone has nobody to get it from:\n{0}")]
    Lost(String),
    /// Data is lost, and with it the note of how much there was.
    #[error(
        "data is lost, and with it the note of how much this member had promised to keep, so it could \
         never be sure to have all of it back; remove it from the cluster, empty its data directory, \
         and add it anew:\n{0}"
    )]
    LostTrack(String),
    /// The cluster does not know this member.
    #[error(
        "no member of the running cluster knows this one by its peer URLs ({urls}); \
         add it first: etcdctl member add {name} --peer-urls={urls}"
    )]
    NotAdded {
        /// This member's name.
        name: String,
        /// Its peer URLs.
        urls: String,
    },
    /// The cluster, or what is in the directory, is of a newer build.
    #[error(
        "{whose} at apply version {version}, and this program knows versions up to {known}: start a newer one"
    )]
    TooOld {
        /// `the cluster is` or `the data directory is`.
        whose: &'static str,
        /// Its version.
        version: u16,
        /// What is known here.
        known: u16,
    },
    /// A member that cannot become a cluster of its own.
    #[error("--force-new-cluster cannot make a cluster of this member: {0}")]
    CannotForce(String),
    /// Nobody in the cluster answered.
    #[error("nobody in the running cluster answered for {0:?}")]
    NobodyAnswered(Duration),
}

/// A member's past.
pub(crate) struct Booted {
    pub(crate) identity: Identity,
    pub(crate) boot: Boot,
    pub(crate) log: Log,
    pub(crate) catalog: Catalog,
    /// Who is in the cluster that is joined, as long as the own state does not say.
    pub(crate) introduced: Vec<Member>,
}

/// Finds out with what to start.
pub(crate) async fn boot(
    config: &Config,
    disk: &mut FileDisk,
    way: &Way,
) -> Result<Booted, BootError> {
    let (identity, introduced) = identity(config, disk, way).await?;
    let recovered = recover(disk, &identity, &log_config(), Mutants::none())?;
    for note in &recovered.notes {
        warn!(note, "recovery");
    }
    if let Some(position) = recovered.doubt {
        info!(%position, "an entry was being written when the member stopped");
    }
    let Recovered {
        mut log,
        hard_state,
        entries,
        checkpoint,
        mut catalog,
        health,
        ..
    } = recovered;
    let state = match checkpoint {
        Some((_, state)) => state,
        None if config.initial_state == InitialState::Existing => Store::blank().publish(),
        None => {
            // Whose first state was not written yet: it must be the one that the flags tell.
            let expected = expected(config);
            if identity != expected {
                return Err(BootError::Recover(RecoverError::Foreign {
                    found_member: identity.member,
                    found_cluster: identity.cluster,
                    member: expected.member,
                    cluster: expected.cluster,
                }));
            }
            let state = genesis(config);
            if log.end() == base::LogPosition::default() {
                catalog = begin(disk, &identity, &catalog, &mut log, &state)?;
            }
            state
        }
    };
    check_version("the data directory is", state.apply_version(), config)?;
    let health = health_of(health, &state, identity.member)?;
    let mut boot = Boot {
        hard_state,
        entries,
        state,
        health,
    };
    decide_what_is_contained(&mut boot);
    if config.force_new_cluster {
        (boot.state, catalog) =
            force_new_cluster(&identity, disk, &mut log, &catalog, boot.clone())?;
        boot.entries.clear();
        decide_what_is_contained(&mut boot);
    }
    Ok(Booted {
        identity,
        boot,
        log,
        catalog,
        introduced,
    })
}

/// What the first state contains is committed by definition.
fn decide_what_is_contained(boot: &mut Boot) {
    let (hard_state, applied) = (&mut boot.hard_state, boot.state.applied());
    hard_state.term = hard_state.term.max(applied.term);
    hard_state.commit = hard_state.commit.max(applied.index);
}

/// A build that does not know the rules must not decide by them.
fn check_version(whose: &'static str, version: u16, config: &Config) -> Result<(), BootError> {
    let known = config.apply_version_max;
    match version > known {
        false => Ok(()),
        true => Err(BootError::TooOld {
            whose,
            version,
            known,
        }),
    }
}

fn health_of(health: Health, state: &State, member: MemberId) -> Result<node::Health, BootError> {
    let Health::Damaged {
        watermark,
        intact,
        report,
    } = health
    else {
        return Ok(node::Health::Intact);
    };
    if state.membership().voters == [member] && state.membership().voters_outgoing.is_empty() {
        return Err(BootError::Lost(report));
    }
    if watermark == storage::UNKNOWN {
        // What one leader says cannot bound an unknown promise: a stale one could be answered.
        return Err(BootError::LostTrack(report));
    }
    warn!(%watermark, %intact, report, "data is lost: waiting for the others to bring it back");
    Ok(node::Health::Damaged { watermark })
}

/// The state of a new cluster: the same bytes on all its members.
fn genesis(config: &Config) -> State {
    Store::new(first_members(config)).publish()
}

/// Who is in a new cluster.
pub(super) fn first_members(config: &Config) -> Genesis {
    let ids = config.initial_ids();
    let members = config
        .initial_cluster
        .iter()
        .zip(&ids)
        .map(|(member, id)| Member {
            id: *id,
            peer_urls: member.peer_urls.clone(),
            ..Member::default()
        });
    Genesis {
        members: members.collect(),
        membership: Membership::of_voters(ids.clone()),
    }
}

/// Makes the first state durable and begins the log behind it.
pub(super) fn begin(
    disk: &mut FileDisk,
    identity: &Identity,
    catalog: &Catalog,
    log: &mut Log,
    state: &State,
) -> Result<Catalog, DiskError> {
    let meta = SnapshotMeta {
        position: state.applied(),
        membership: state.membership().clone(),
    };
    let mut writer = CheckpointWriter::new(identity, catalog, &meta, state.clone());
    loop {
        match writer.step(CHECKPOINT_STEP_BYTES) {
            Step::More(ops) => execute(disk, &ops)?,
            Step::Done { ops, catalog } => {
                execute(disk, &ops)?;
                execute(disk, &log.install(&meta))?;
                return Ok(catalog);
            }
        }
    }
}

// ---- who am I? ------------------------------------------------------------------------------

/// Who the flags say that a member of a new cluster is.
fn expected(config: &Config) -> Identity {
    Identity {
        cluster: config.initial_cluster_id(),
        member: config.initial_member_id(),
    }
}

async fn identity(
    config: &Config,
    disk: &mut FileDisk,
    way: &Way,
) -> Result<(Identity, Vec<Member>), BootError> {
    if disk.list()?.iter().any(|file| file.as_str() == "identity") {
        // An old directory knows better than flags: a member that was added later has an id that no
        // flag tells, and etcd, too, ignores the initial flags from the second start on.
        let nobody = Identity {
            cluster: ClusterId(0),
            member: MemberId::NONE,
        };
        let found = match recover(disk, &nobody, &log_config(), Mutants::none()) {
            Err(RecoverError::Foreign {
                found_cluster: cluster,
                found_member: member,
                ..
            }) => Identity { cluster, member },
            Err(error) => return Err(error.into()),
            Ok(_) => nobody,
        };
        return Ok((found, Vec::new()));
    }
    if config.initial_state == InitialState::New {
        return Ok((expected(config), Vec::new()));
    }
    join(config, way).await
}

/// Asks the members of the running cluster who this one is.
async fn join(config: &Config, way: &Way) -> Result<(Identity, Vec<Member>), BootError> {
    let others = config
        .initial_cluster
        .iter()
        .filter(|member| member.name != config.name);
    let urls: Vec<Url> = others
        .flat_map(|member| &member.peer_urls)
        .filter_map(|url| Url::parse(url).ok())
        .collect();
    let began = tokio::time::Instant::now();
    let (mut answered, mut is_added) = (false, false);
    loop {
        for url in &urls {
            match ask_members(url, way).await {
                Ok(known) => {
                    answered = true;
                    if let Some(member) = find_self(&known, config) {
                        is_added = true;
                        let identity = Identity {
                            cluster: known.cluster,
                            member,
                        };
                        // Whoever does not know what the cluster goes by might take part in what it does not understand.
                        let Some(version) = ask_apply_version(url, way).await else {
                            warn!(%url, "joining: no answer about the cluster's apply version");
                            continue;
                        };
                        check_version("the cluster is", version, config)?;
                        info!(%member, cluster = %known.cluster, "the cluster knows this member");
                        return Ok((identity, introduced(known)));
                    }
                }
                Err(error @ (JoinError::Io { .. } | JoinError::NotUnderstood { .. })) => {
                    warn!(reason = %Chain(&error), "joining");
                }
            }
        }
        if answered && !is_added {
            return Err(BootError::NotAdded {
                name: config.name.clone(),
                urls: config.advertise_peer.join(","),
            });
        }
        if began.elapsed() > JOIN_PATIENCE {
            return Err(BootError::NobodyAnswered(JOIN_PATIENCE));
        }
        tokio::time::sleep(JOIN_PAUSE).await;
    }
}

fn introduced(known: Known) -> Vec<Member> {
    let member = |(id, peer_urls)| Member {
        id,
        peer_urls,
        ..Member::default()
    };
    known.members.into_iter().map(member).collect()
}

fn find_self(known: &Known, config: &Config) -> Option<MemberId> {
    let mine = |urls: &Vec<String>| urls.iter().any(|url| config.advertise_peer.contains(url));
    known
        .members
        .iter()
        .find(|(_, urls)| mine(urls))
        .map(|(id, _)| *id)
}
