//! `quorate lease`: leases that nobody keeps alive but whoever renews them.

use super::del::n_keys;
use crate::complaint::Complaint;
use crate::global::{Globals, Takes};
use crate::link::Link;
use crate::output::shown;
use crate::parse;
use crate::table::Table;
use api::Method;
use api::proto::{
    GrantResponse, ListLeasesRequest, ListLeasesResponse, LookLeaseRequest, LookLeaseResponse,
    RenewRequest, RenewResponse, RevokeResponse,
};
use clap::{Args, Subcommand};
use client::LeaseId;
use std::time::Duration;

/// Grant, renew and end leases: keys that were written with one go with it.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    before_help = "\
Examples:
  quorate lease grant 60s                       prints the lease's id
  quorate put worker/1 here --lease 694d7a
  quorate lease renew 694d7a
  quorate lease revoke 694d7a                   ends it, and its keys with it"
)]
pub(crate) struct Lease {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Grant one, and print its id.
    #[command(before_help = "\
Examples:
  quorate lease grant 60s
  quorate lease grant 60s --id 694d7a")]
    Grant {
        /// How long it lives without a sign of life, whole seconds; the cluster lengthens what is too short for it.
        #[arg(value_parser = parse::ttl)]
        ttl: Duration,
        /// Its id; without it one is drawn.
        #[arg(long, value_parser = parse::lease)]
        id: Option<i64>,
    },
    /// Let it live for its full time from now on.
    #[command(before_help = "Examples:\n  quorate lease renew 694d7a")]
    Renew {
        /// Its id.
        #[arg(value_parser = parse::lease)]
        id: i64,
    },
    /// End it; its keys and places go with it.
    #[command(before_help = "\
Examples:
  quorate lease revoke 694d7a --dry-run      which keys would go
  quorate lease revoke 694d7a")]
    Revoke {
        /// Its id.
        #[arg(value_parser = parse::lease)]
        id: i64,
    },
    /// Print how long it has left.
    #[command(before_help = "\
Examples:
  quorate lease look 694d7a
  quorate lease look 694d7a --keys           and which keys go with it")]
    Look {
        /// Its id.
        #[arg(value_parser = parse::lease)]
        id: i64,
        /// Its keys, too.
        #[arg(long)]
        keys: bool,
    },
    /// List all leases.
    #[command(before_help = "Examples:\n  quorate lease list\n  quorate lease list -o json")]
    List,
}

impl Lease {
    /// Whether it changes something at the cluster.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.action, Action::Look { .. } | Action::List)
    }

    /// Revoking destroys, listing reads.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            dry_run: matches!(self.action, Action::Revoke { .. }),
            consistency: matches!(self.action, Action::List),
        }
    }
}

/// Does it.
pub(crate) async fn run(lease: Lease, link: &Link, globals: &Globals) -> Result<u8, Complaint> {
    let voice = globals.voice();
    match lease.action {
        Action::Grant { ttl, id } => {
            let wanted = LeaseId(id.unwrap_or(0));
            let granted = link.client.grant_unattended(ttl, wanted).await;
            let granted = granted.map_err(|error| Complaint::from(&error).about("the grant"))?;
            let answer = GrantResponse {
                header: None,
                lease: granted.lease.0,
                ttl_s: granted.ttl.as_secs(),
                epoch: granted.epoch,
            };
            if granted.ttl != ttl {
                voice.remark(format_args!(
                    "the cluster lengthened it to {} s",
                    answer.ttl_s
                ));
            }
            voice.answer("GrantResponse", &answer, || format!("{:x}\n", answer.lease))?;
        }
        Action::Renew { id } => {
            let request = RenewRequest { lease: id };
            let answer: RenewResponse = link.read(Method::Renew, &request).await?;
            voice.answer("RenewResponse", &answer, || {
                left(answer.remaining_ms, answer.ttl_s)
            })?;
        }
        Action::Revoke { id } if globals.dry_run => {
            let look = look(link, id, true).await?;
            voice.answer("WouldRevoke", &look, || {
                let keys: String = look.keys.iter().map(|key| shown(key) + "\n").collect();
                format!(
                    "would end lease {id:x} and delete {}
{keys}",
                    n_keys(look.keys.len() as u64)
                )
            })?;
        }
        Action::Revoke { id } => {
            let revoked = link.client.revoke(LeaseId(id)).await;
            revoked.map_err(|error| Complaint::from(&error).about("the revocation"))?;
            voice.answer("RevokeResponse", &RevokeResponse::default(), || {
                format!("lease {id:x} has ended\n")
            })?;
        }
        Action::Look { id, keys } => {
            let look = look(link, id, keys).await?;
            voice.answer("LookLeaseResponse", &look, || {
                let keys: String = look.keys.iter().map(|key| shown(key) + "\n").collect();
                left(look.remaining_ms, look.ttl_s) + &keys
            })?;
        }
        Action::List => {
            let request = ListLeasesRequest {
                consistency: link.consistency.clone(),
            };
            let answer: ListLeasesResponse = link.read(Method::ListLeases, &request).await?;
            voice.answer("ListLeasesResponse", &answer, || table(&answer))?;
        }
    }
    Ok(0)
}

async fn look(link: &Link, lease: i64, keys: bool) -> Result<LookLeaseResponse, Complaint> {
    link.read(Method::LookLease, &LookLeaseRequest { lease, keys })
        .await
}

fn left(remaining_ms: u64, ttl_s: u64) -> String {
    format!(
        "{}.{:03} s left of {ttl_s} s\n",
        remaining_ms / 1000,
        remaining_ms % 1000
    )
}

fn table(answer: &ListLeasesResponse) -> String {
    let mut table = Table::new(["LEASE", "TTL", "GRANTED"]);
    for line in &answer.leases {
        table.row([
            format!("{:x}", line.lease),
            format!("{} s", line.ttl_s),
            line.granted.clone(),
        ]);
    }
    table.text()
}
