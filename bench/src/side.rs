//! A server under test: three members on a real disk, and when they serve.

use crate::Failure;
use crate::load::connect;
use clap::Args;
use cluster::{Cluster, Server, TempDir};
use etcd_client::{Client, GetOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a cluster may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which server is judged, and where: what every mode that starts one is told.
#[derive(Args)]
pub(crate) struct Subject {
    /// The server: a program and flags.
    #[arg(long, default_value = "target/release/quorate")]
    pub(crate) server: String,
    /// A folder on a real disk for the members' data.
    #[arg(long)]
    pub(crate) disk: PathBuf,
}

/// A cluster and the folder that holds it; both end with the value.
pub(crate) struct Side {
    pub(crate) cluster: Cluster,
    _folder: TempDir,
}

impl Side {
    /// Starts three members with data under `disk`, and waits until each serves.
    pub(crate) async fn start(server: &Server, disk: &Path) -> Result<Side, Failure> {
        Side::start_in(server, TempDir::under(disk)?).await
    }

    /// The same with data in `folder`.
    pub(crate) async fn start_in(server: &Server, folder: TempDir) -> Result<Side, Failure> {
        let cluster = Cluster::start(server, folder.path(), 3)?;
        let side = Side {
            cluster,
            _folder: folder,
        };
        side.serves().await?;
        Ok(side)
    }

    /// Waits until every member answers a linearizable get.
    pub(crate) async fn serves(&self) -> Result<(), Failure> {
        for member in &self.cluster.members {
            if member.pid().is_some()
                && until_serving(&member.client_url(), PATIENCE)
                    .await
                    .is_none()
            {
                return Err(format!(
                    "no service within {PATIENCE:?}\n{}",
                    self.cluster.last_words()
                )
                .into());
            }
        }
        Ok(())
    }

    /// Which member leads, by position.
    pub(crate) async fn leader(&self) -> Result<usize, Failure> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for (i, member) in self.cluster.members.iter().enumerate() {
                let Some(status) = status(&member.client_url()).await else {
                    continue;
                };
                let own = status
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::member_id);
                if status.leader() != 0 && status.leader() == own {
                    return Ok(i);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!(
            "no leader within {PATIENCE:?}\n{}",
            self.cluster.last_words()
        )
        .into())
    }
}

/// A member's Status, if it answers within a second.
pub(crate) async fn status(endpoint: &str) -> Option<etcd_client::StatusResponse> {
    let mut client = connect(endpoint).await.ok()?;
    tokio::time::timeout(Duration::from_secs(1), client.status())
        .await
        .ok()?
        .ok()
}

/// How long until a member answers a linearizable get.
pub(crate) async fn until_serving(endpoint: &str, patience: Duration) -> Option<Duration> {
    until_get(endpoint, patience, None).await
}

/// How long until a member answers a serializable get.
pub(crate) async fn until_serving_serializable(
    endpoint: &str,
    patience: Duration,
) -> Option<Duration> {
    until_get(
        endpoint,
        patience,
        Some(GetOptions::new().with_serializable()),
    )
    .await
}

/// A fresh connection for every try: one that met a closed port waits longer and longer by itself.
async fn until_get(
    endpoint: &str,
    patience: Duration,
    options: Option<GetOptions>,
) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < patience {
        let one = async {
            let mut client: Client = connect(endpoint).await.ok()?;
            client.get("no-such-key", options.clone()).await.ok()
        };
        if let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(2), one).await {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}
