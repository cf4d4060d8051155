//! `quorate snapshot`: backups, in the form that etcd's own tools take.

use crate::cmd::status::bytes;
use crate::complaint::Complaint;
use crate::flags;
use crate::link::Link;
use crate::output::Voice;
use crate::table::Table;
use base::Chain;
use clap::{Args, Subcommand};
use serde::Serialize;
use server::backup::{self, BackupError, HashCheck, Restore as How};
use server::config::Config;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Save the whole cluster in a file, look at one, and begin a new cluster from one.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    before_help = "\
Examples:
  quorate snapshot save backup.db
  quorate snapshot status backup.db
  quorate snapshot restore backup.db --name n1 --data-dir ./n1"
)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// Save what one member has in a file, which etcd's tools read too.
    #[command(before_help = "\
Examples:
  quorate snapshot save backup.db
  quorate snapshot save backup.db --endpoints 10.0.0.1:2379")]
    Save(Save),
    /// Show what a file holds, after checking every page of it.
    #[command(before_help = "\
Examples:
  quorate snapshot status backup.db
  quorate snapshot status backup.db -o json")]
    Status(Status),
    /// Make a member's data directory from a file of ours or of an etcd's. Each member of the new cluster is restored
    /// from the same file, with the same flags but its own name, URLs and directory.
    #[command(before_help = "\
Examples:
  quorate snapshot restore backup.db --name n1 --data-dir ./n1
  quorate snapshot restore b.db --name n1 --initial-cluster n1=http://a:2380,n2=http://b:2380 --initial-advertise-peer-urls http://a:2380
  quorate snapshot restore backup.db --bump-revision 1000000000 --mark-compacted
  quorate snapshot restore /var/lib/etcd/member/snap/db --skip-hash-check --data-dir ./n1")]
    Restore(Box<Restore>),
}

#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Where the backup goes; what was there is replaced once the new one is whole.
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// The file.
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The file.
    file: PathBuf,
    /// The member's name.
    #[arg(long, default_value = "default")]
    name: String,
    /// Its directory, which must be new or empty; NAME.etcd without it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The new cluster: NAME=URL, with commas between; without it this member alone.
    #[arg(long, value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// Tells the new cluster from others with the same URLs, and from the one that it was.
    #[arg(long, value_name = "TOKEN", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// The member's peer URLs, as MEMBERS has them.
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "http://localhost:2380"
    )]
    initial_advertise_peer_urls: Vec<String>,
    /// Do without the SHA-256 behind the file: it is a database from a data directory.
    #[arg(long)]
    skip_hash_check: bool,
    /// Raise the revision by so much, so that it is above all that was given out after the backup.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "mark_compacted"
    )]
    bump_revision: u64,
    /// Let everything before the new revision count as compacted, so that watches from before it hear of it.
    #[arg(long, requires = "bump_revision")]
    mark_compacted: bool,
    /// Has no effect: log and data lie in one directory.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    file: String,
    n_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    hash: u32,
    revision: u64,
    total_key: usize,
    total_size: u64,
    version: String,
    /// Of the bucket that only we know.
    #[serde(skip_serializing_if = "Option::is_none")]
    quorate_size: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Restored {
    name: String,
    member_id: String,
    cluster_id: String,
    revision: u64,
    compact_revision: u64,
    data_dir: String,
    is_quorates: bool,
}

/// Saves a backup.
pub(crate) async fn save(save: Save, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let part = part_of(&save.file);
    let written = write(&part, link).await;
    let n_bytes = match written {
        Ok(n_bytes) => n_bytes,
        Err(complaint) => {
            // Half of a backup is none.
            let _ = fs::remove_file(&part);
            return Err(complaint);
        }
    };
    rename(&part, &save.file).map_err(|error| failed("write", &save.file, &error))?;
    let saved = Saved {
        file: save.file.display().to_string(),
        n_bytes,
    };
    voice.answer("SnapshotSaved", &saved, || {
        format!("saved {} in {}\n", bytes(saved.n_bytes), saved.file)
    })?;
    Ok(0)
}

async fn write(part: &Path, link: &Link) -> Result<u64, Complaint> {
    let mut backup = link
        .client
        .backup()
        .await
        .map_err(|error| Complaint::from(&error))?;
    let unwritten = |error: io::Error| failed("write", part, &error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(part).map_err(unwritten)?;
    let mut n_bytes = 0;
    while let Some(blob) = backup
        .next()
        .await
        .map_err(|error| Complaint::from(&error))?
    {
        file.write_all(&blob).map_err(unwritten)?;
        n_bytes += blob.len() as u64;
    }
    file.sync_all().map_err(unwritten)?;
    // What came is believed when its hash is right, not because the stream ended.
    backup::check_seal(part).map_err(|error| of_backup(&error))?;
    Ok(n_bytes)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

fn rename(part: &Path, file: &Path) -> io::Result<()> {
    fs::rename(part, file)?;
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Shows what is in a file.
pub(crate) fn status(status: &Status, voice: Voice) -> Result<(), Complaint> {
    let found = backup::summary(&status.file).map_err(|error| of_backup(&error))?;
    let summary = Summary {
        hash: found.hash,
        revision: found.revision.0,
        total_key: found.n_keys,
        total_size: found.n_bytes,
        version: found.version,
        quorate_size: found.ours_bytes,
    };
    voice.answer("SnapshotStatus", &summary, || {
        let mut table = Table::new(["HASH", "REVISION", "KEYS", "SIZE", "VERSION", "OF QUORATE"]);
        table.row([
            format!("{:x}", summary.hash),
            summary.revision.to_string(),
            summary.total_key.to_string(),
            bytes(summary.total_size),
            summary.version.clone(),
            summary.quorate_size.map_or("-".to_owned(), bytes),
        ]);
        table.text()
    })
}

/// Makes a data directory.
pub(crate) fn restore(restore: &Restore, voice: Voice) -> Result<(), Complaint> {
    if restore.mark_compacted && restore.bump_revision == 0 {
        return Err(Complaint::usage(
            "--mark-compacted needs a --bump-revision above 0",
        ));
    }
    let name = restore.name.clone();
    let data_dir = match &restore.data_dir {
        Some(dir) => dir.clone(),
        None => PathBuf::from(format!("{name}.etcd")),
    };
    let mut config = Config::new(&name, data_dir);
    let peer_urls = restore.initial_advertise_peer_urls.iter();
    let alone: Vec<String> = peer_urls
        .map(|url| format!("{}={url}", config.name))
        .collect();
    let read = |members: &str| {
        flags::initial_cluster(members).map_err(|error| Complaint::usage(Chain(&error).to_string()))
    };
    // Through the same eyes as the cluster's, so that the same URL has the same letters.
    config.advertise_peer = read(&alone.join(","))?
        .into_iter()
        .flat_map(|member| member.peer_urls)
        .collect();
    config.initial_cluster = read(restore.initial_cluster.as_ref().unwrap_or(&alone.join(",")))?;
    config.token = restore.initial_cluster_token.clone();
    let how = How {
        check: match restore.skip_hash_check {
            true => HashCheck::Skipped,
            false => HashCheck::Required,
        },
        bump: restore.bump_revision,
        mark_compacted: restore.mark_compacted,
    };
    let done = backup::restore(&restore.file, &config, how).map_err(|error| of_backup(&error))?;
    if restore.wal_dir.is_some() {
        voice.remark("--wal-dir has no effect: log and data lie in one directory");
    }
    if let Some(revision) = done.outdated {
        voice.remark(format!(
            "the file has been through an etcd since revision {revision}: native keys, locks and sessions of \
             then are left out"
        ));
    }
    let restored = Restored {
        name,
        member_id: done.member.to_string(),
        cluster_id: done.cluster.to_string(),
        revision: done.revision.0,
        compact_revision: done.compacted.0,
        data_dir: config.data_dir.display().to_string(),
        is_quorates: done.is_ours,
    };
    voice.answer("SnapshotRestored", &restored, || {
        format!(
            "restored {} ({}) of cluster {} at revision {} in {}\n",
            restored.name,
            restored.member_id,
            restored.cluster_id,
            restored.revision,
            restored.data_dir
        )
    })
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Complaint {
    Complaint::unexpected(format!("cannot {verb} {}: {error}", path.display()))
}

fn of_backup(error: &BackupError) -> Complaint {
    let complaint = match error {
        BackupError::Config(_) => Complaint::usage(Chain(error).to_string()),
        BackupError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Complaint::not_found(Chain(error).to_string())
        }
        _ => Complaint::unexpected(Chain(error).to_string()),
    };
    match error {
        BackupError::Seal(_) => complaint.help(
            "take another backup; or, for a database that was copied from an etcd's data directory:  \
             --skip-hash-check",
        ),
        _ => complaint,
    }
}
