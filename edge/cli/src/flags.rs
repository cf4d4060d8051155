//! etcd's command line: flags, `ETCD_` variables or a YAML file in, a checked `Config` out.
//!
//! ```text
//!   arguments ─┐                        table.rs: every flag, its older names, and what becomes of it
//!   ETCD_*    ─┼─► raw.rs: what was ──► complete.rs ──► server::Config (checked)
//!   file.rs   ─┘   typed, by flag       value.rs: durations, switches, numbers, as Go reads them
//! ```
//!
//! The syntax is that of Go's flag package: `--k v`, `--k=v`, `-k v`, `-k=v`; a switch takes a value only
//! after `=`. A file excludes everything else, as in etcd. A flag is never ignored in silence: it is used, or it
//! tunes something inside etcd that does not exist here and is noted, or it is refused with the reason.

mod complete;
mod file;
mod raw;
mod table;
mod value;

pub(crate) use complete::initial_cluster;

use raw::Raw;
use server::config::Config;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Run a member.
    Run(Box<Run>),
    /// Print the version.
    Version,
    /// Print the flags.
    Help,
}

/// A member to run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The member.
    pub(crate) config: Config,
    /// How it logs.
    pub(crate) log: LogChoice,
    /// The process whose death ends this one, set by `quorate dev`.
    pub(crate) parent: Option<u32>,
    /// What the user should know about flags that have no effect.
    pub(crate) notes: Vec<String>,
}

/// How a member logs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogChoice {
    /// The least important lines that are written.
    pub(crate) level: tracing::Level,
    /// One JSON object per line, or text for people.
    pub(crate) json: bool,
    /// Where: `stderr`, `stdout`, `default` (stderr), or paths of files.
    pub(crate) outputs: Vec<String>,
    /// How files are rotated, as the JSON text of `--log-rotation-config-json`; nothing: they are not.
    pub(crate) rotation: Option<String>,
}

/// Why a command line is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("flag provided but not defined: --{0} (--help lists all flags)")]
    Unknown(String),
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    #[error("\"{0}\" is not a flag; flags begin with --")]
    NotAFlag(String),
    #[error("--{flag} is \"{value}\": {expected}")]
    Value {
        flag: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("--{flag}: {reason}")]
    Unsupported {
        flag: &'static str,
        reason: &'static str,
    },
    #[error(
        "conflicting environment variable \"{0}\" is shadowed by corresponding command-line flag \
         (either unset environment variable or disable flag)"
    )]
    Shadowed(String),
    #[error("cannot set both --{old} and --{new}: they are one flag; use --{new}")]
    BothNames { old: String, new: &'static str },
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    NotAdvertised,
    #[error(
        "cannot specify both flags: --{flag}={value} and --feature-gates={gate}={on} at the same time, \
         please just use --feature-gates={gate}={on}"
    )]
    BothSwitches {
        flag: &'static str,
        value: bool,
        gate: &'static str,
        on: bool,
    },
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    SuitesOfTls13,
    #[error("multi logoutput for \"default\" is not supported yet")]
    DefaultAmongOutputs,
    #[error("--{0} must be >0 (set to 0s)")]
    NotAbove0(String),
    #[error("unrecognized feature gate: {0}")]
    UnknownGate(String),
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("{0}")]
    Config(String),
}

/// Reads a command line and the environment.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Asked, FlagError> {
    let mut raw = Raw::default();
    raw.read_arguments(arguments.into_iter())?;
    if raw.switch("version")? {
        return Ok(Asked::Version);
    }
    if raw.switch("help")? || raw.switch("h")? {
        return Ok(Asked::Help);
    }
    let environment: Vec<_> = environment.into_iter().collect();
    let from_environment = environment
        .iter()
        .find(|(key, value)| key == "ETCD_CONFIG_FILE" && !value.is_empty());
    let file = match (raw.text("config-file"), from_environment) {
        // The one pair of flag and variable that etcd does not call a conflict.
        (Some(path), _) => Some(path.to_owned()),
        (None, Some((_, path))) => Some(path.clone()),
        (None, None) => None,
    };
    match file.filter(|path| !path.is_empty()) {
        Some(path) => {
            let mut filed = file::read(&path)?;
            let others = environment
                .iter()
                .any(|(key, _)| key.starts_with("ETCD_") && key != "ETCD_CONFIG_FILE");
            let typed = raw.len() - usize::from(raw.text("config-file").is_some());
            if typed > 0 || others {
                filed.note(format!(
                    "loaded the configuration from {path}: other flags and ETCD_ variables are ignored"
                ));
            }
            raw = filed;
        }
        None => raw.read_environment(environment)?,
    }
    raw.complete().map(|run| Asked::Run(Box::new(run)))
}

/// All flags, for people.
pub(crate) fn help() -> String {
    table::help()
}

#[cfg(test)]
#[path = "flags/tests.rs"]
mod tests;
