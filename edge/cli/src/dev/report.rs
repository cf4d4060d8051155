//! What the user gets to see.

use super::children::{Child, Children, arguments};
use super::context::Claim;
use super::plan::{Member, Plan};
use super::{DevError, failed, probe};
use crate::table::Table;
use serde::Serialize;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

/// Removes the ready file of an earlier run, so that nobody takes it for this one's.
pub(super) fn remove_stale(file: &Path) -> Result<(), DevError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove", file)(error))
        }
        _ => Ok(()),
    }
}

/// What programs read about the cluster.
#[derive(Serialize)]
pub(super) struct Ready {
    members: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: String,
    pid: u32,
    etcd: String,
    native: String,
    peer: String,
}

/// It, now.
pub(super) fn ready(plan: &Plan, children: &Children) -> Ready {
    let members = plan.members.iter().zip(children.running());
    let line = |(member, child): (&Member, &Child)| Line {
        name: member.name.clone(),
        pid: child.pid,
        etcd: member.client_address().to_string(),
        // One port serves both: the path of a request decides.
        native: member.client_address().to_string(),
        peer: member.peer_address().to_string(),
    };
    Ready {
        members: members.map(line).collect(),
    }
}

/// Writes the ready file, whole or not at all.
pub(super) fn write_ready_file(
    file: &Path,
    plan: &Plan,
    children: &Children,
) -> Result<(), DevError> {
    let text = serde_json::to_string(&ready(plan, children)).unwrap_or_default() + "\n";
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    std::fs::write(new, text).map_err(failed("write", new))?;
    std::fs::rename(new, file).map_err(failed("write", file))
}

/// The table, the commands, the context, how to stop, where the data is.
pub(super) async fn table(
    plan: &Plan,
    children: &Children,
    took: Duration,
    claim: &Option<Claim>,
    context: &str,
) -> String {
    let mut text = String::new();
    let how = if plan.continues { "continued" } else { "new" };
    let n = plan.members.len();
    let members = if n == 1 { "member" } else { "members" };
    // A String takes everything.
    let _ = writeln!(
        text,
        "quorate {}: a {how} cluster of {n} {members}, serving after {:.2} s\n",
        env!("CARGO_PKG_VERSION"),
        took.as_secs_f64(),
    );
    let mut rows = Table::new(["  NAME", "ROLE", "ADDRESS", "PID"]);
    for (member, child) in plan.members.iter().zip(children.running()) {
        let address = member.client_address();
        let status = probe::status(address).await;
        let role = status.map_or_else(|_| "?".to_owned(), |status| status.role);
        rows.row([
            format!("  {}", member.name),
            role,
            address.to_string(),
            child.pid.to_string(),
        ]);
    }
    text.push_str(&rows.text());
    let is_selected = claim.as_ref().is_some_and(Claim::is_selected);
    text.push_str(&commands(plan, is_selected));
    let _ = writeln!(text, "\ncontext: {context}");
    let _ = writeln!(text, "stop:  Ctrl-C, or kill {}", std::process::id());
    let dir = plan.dir.path().display();
    let fate = match plan.dir.is_temporary {
        true => "removed at the end; --data-dir DIR keeps it",
        false => "kept; the same command continues it",
    };
    let _ = writeln!(text, "data:  {dir} ({fate}); logs: {dir}/n1.log …");
    text
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Commands that work as they stand, now. Whether ours need endpoints, the context decides.
fn commands(plan: &Plan, is_selected: bool) -> String {
    let all = plan.members.iter().map(|m| m.client_address().to_string());
    let all = all.collect::<Vec<_>>().join(",");
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "quorate".to_owned());
    let program = match is_selected {
        true => program,
        false => format!("{program} --endpoints {all}"),
    };
    let mut text = format!(
        "\ntry:   {program} put greeting hello\n       {program} lock nightly --ttl 5s -- echo I hold it\n       \
         {program} status\n"
    );
    if is_on_path("etcdctl") {
        let first = plan.members[0].client_address();
        let endpoint = match first.port() {
            2379 => String::new(),
            _ => format!(" --endpoints={first}"),
        };
        text.push_str(&format!(
            "       etcdctl{endpoint} put greeting hello\n       \
             etcdctl --endpoints={all} endpoint status -w table\n"
        ));
    } else {
        text.push_str(
            "       (etcdctl would work, too; in Debian it is in the package etcd-client)\n",
        );
    }
    text
}

/// What to say when a member's process has ended while the cluster goes on.
pub(super) fn ended(child: &Child, plan: &Plan) -> String {
    let how = match child.ended {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was ended by signal {signal}"),
            (_, Some(0)) => "has stopped".to_owned(),
            (_, Some(code)) => format!("has ended with code {code}"),
            _ => "has ended".to_owned(),
        },
        None => "has ended".to_owned(),
    };
    let mut text = format!(
        "\n{} (process {}) {how}; its log: {}\n",
        child.name,
        child.pid,
        child.log.display(),
    );
    if let Some(member) = plan.members.iter().find(|member| member.name == child.name) {
        let program = std::env::current_exe();
        let program = program.map_or_else(|_| "quorate".to_owned(), |p| p.display().to_string());
        let line = arguments(plan, member).join(" ");
        let _ = writeln!(text, "bring it back: {program} {line}");
    }
    text
}

/// What is left behind.
pub(super) fn what_remains(plan: &Plan) -> String {
    match plan.dir.is_temporary {
        true => "the data is removed".to_owned(),
        false => format!("the data is in {}", plan.dir.path().display()),
    }
}
