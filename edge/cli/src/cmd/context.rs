//! `quorate context`: which cluster commands speak to.

use crate::complaint::Complaint;
use crate::context::{Context as Named, Contexts, Origin, Trust, endpoint};
use crate::global::{Globals, Takes};
use crate::table::Table;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

/// Name clusters, and select the one that commands speak to.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    before_help = "\
Examples:
  quorate context set prod 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  quorate context use prod
  quorate context show             which endpoints are used now, and who said so"
)]
pub(crate) struct Context {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List all contexts.
    #[command(before_help = "Examples:\n  quorate context list\n  quorate context list -o json")]
    List,
    /// Select one.
    #[command(name = "use", before_help = "Examples:\n  quorate context use dev")]
    Use(Name),
    /// Show which endpoints are used, and who said so; with a name, that context.
    #[command(before_help = "Examples:\n  quorate context show\n  quorate context show dev")]
    Show(MaybeName),
    /// Make one, or change it.
    #[command(before_help = "\
Examples:
  quorate context set prod 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  quorate context set prod https://10.0.0.1:2379 --cacert ca.crt --cert me.crt --key me.key")]
    Set(Set),
    /// Delete one.
    #[command(before_help = "Examples:\n  quorate context delete prod")]
    Delete(Name),
}

#[derive(Args, Debug)]
struct Name {
    /// The context's name.
    name: String,
}

#[derive(Args, Debug)]
struct MaybeName {
    /// The context's name; without it, what is in force.
    name: Option<String>,
}

#[derive(Args, Debug)]
struct Set {
    /// The context's name.
    name: String,
    /// Its members, host:port with commas between.
    #[arg(required = true, value_name = "ENDPOINTS", value_delimiter = ',', value_parser = endpoint)]
    members: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    is_selected: bool,
    endpoints: Vec<String>,
}

#[derive(Serialize)]
struct List {
    items: Vec<Line>,
}

#[derive(Serialize)]
struct InForce {
    endpoints: Vec<String>,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Context {
    /// Deleting one can be tried.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            dry_run: matches!(self.action, Action::Delete(_)),
            ..Takes::default()
        }
    }

    /// Does it.
    pub(crate) fn run(&self, globals: &Globals) -> Result<(), Complaint> {
        let contexts = Contexts::of(|name| std::env::var(name).ok());
        match &self.action {
            Action::List => list(&contexts?, globals),
            Action::Show(MaybeName { name: None }) => in_force(globals),
            Action::Show(MaybeName { name: Some(name) }) => one(&contexts?, name, globals),
            Action::Use(Name { name }) => {
                let contexts = contexts?;
                contexts.select(name)?;
                one(&contexts, name, globals)
            }
            Action::Set(set) => {
                let contexts = contexts?;
                let trust = Trust {
                    cacert: absolute(globals.cacert.as_ref())?,
                    cert: absolute(globals.cert.as_ref())?,
                    key: absolute(globals.key.as_ref())?,
                    insecure_skip_tls_verify: globals.insecure_skip_tls_verify,
                };
                trust.tls()?;
                contexts.save(&set.name, &Named::new(set.members.clone()).with(trust))?;
                one(&contexts, &set.name, globals)
            }
            Action::Delete(Name { name }) => {
                let contexts = contexts?;
                let line = line(&contexts, name)?;
                if !globals.dry_run {
                    contexts.delete(name)?;
                }
                globals
                    .voice()
                    .answer("Context", &line, || match globals.dry_run {
                        true => format!("would delete context \"{name}\"\n"),
                        false => format!("deleted context \"{name}\"\n"),
                    })
            }
        }
    }
}

/// Where a file is, seen from anywhere.
fn absolute(file: Option<&PathBuf>) -> Result<Option<PathBuf>, Complaint> {
    let Some(file) = file else { return Ok(None) };
    let found = std::path::absolute(file);
    found
        .map(Some)
        .map_err(|error| Complaint::unexpected(format!("cannot find {}: {error}", file.display())))
}

fn line(contexts: &Contexts, name: &str) -> Result<Line, Complaint> {
    Ok(Line {
        name: name.to_owned(),
        is_selected: contexts.selected()?.as_deref() == Some(name),
        endpoints: contexts.look_up(name)?.endpoints,
    })
}

fn table(lines: &[Line]) -> String {
    let mut table = Table::new(["NAME", "SELECTED", "ENDPOINTS"]);
    for line in lines {
        let selected = if line.is_selected { "*" } else { "" };
        table.row([
            line.name.clone(),
            selected.to_owned(),
            line.endpoints.join(","),
        ]);
    }
    table.text()
}

fn one(contexts: &Contexts, name: &str, globals: &Globals) -> Result<(), Complaint> {
    let line = line(contexts, name)?;
    globals
        .voice()
        .answer("Context", &line, || table(std::slice::from_ref(&line)))
}

fn list(contexts: &Contexts, globals: &Globals) -> Result<(), Complaint> {
    let names = contexts.names()?;
    let items: Result<Vec<_>, _> = names.iter().map(|name| line(contexts, name)).collect();
    let items = List { items: items? };
    globals
        .voice()
        .answer("Contexts", &items, || match items.items.is_empty() {
            true => {
                "there are no contexts; `quorate context set NAME HOST:PORT` makes one\n".to_owned()
            }
            false => table(&items.items),
        })
}

fn in_force(globals: &Globals) -> Result<(), Complaint> {
    let (endpoints, origin) = globals.endpoints()?;
    let answer = InForce {
        endpoints,
        origin: origin.to_string(),
        name: match origin {
            Origin::Context { name, .. } => Some(name),
            _ => None,
        },
    };
    globals.voice().answer("Endpoints", &answer, || {
        format!("{}   ({})\n", answer.endpoints.join(","), answer.origin)
    })
}
