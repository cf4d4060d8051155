//! etcd's command line: flags and `ETCD_` variables in, a checked `Config` out.
//!
//! ```text
//!   arguments ─┐                       table.rs: every flag, and what becomes of it
//!              ├─► Raw (what was typed) ──► complete() ──► server::Config (checked)
//!   ETCD_*    ─┘
//! ```
//!
//! The syntax is that of Go's flag package: `--k v`, `--k=v`, `-k v`, `-k=v`; a switch takes a value only
//! after `=`. A flag is never ignored in silence: it is used, or it tunes something inside etcd that does
//! not exist here and is noted, or it is refused with the reason.

mod table;

use base::Chain;
use server::config::{Config, InitialMember, InitialState, QUOTA_BYTES_DEFAULT};
use server::identity::{Url, UrlError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
#[cfg(test)]
use table::FLAGS;
use table::Meaning;

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogChoice {
    /// The least important lines that are written.
    pub(crate) level: tracing::Level,
    /// One JSON object per line, or text for people.
    pub(crate) json: bool,
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
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    NotAdvertised,
    #[error("{0}")]
    Config(String),
}

/// What was typed: text by flag.
#[derive(Debug, Default)]
struct Raw {
    values: BTreeMap<&'static str, String>,
    notes: Vec<String>,
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
    raw.read_environment(environment)?;
    raw.complete().map(|run| Asked::Run(Box::new(run)))
}

/// All flags, for people.
pub(crate) fn help() -> String {
    table::help()
}

impl Raw {
    fn read_arguments(
        &mut self,
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        while let Some(argument) = arguments.next() {
            let Some(body) = argument.strip_prefix("--").or(argument.strip_prefix('-')) else {
                return Err(FlagError::NotAFlag(argument));
            };
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let flag = table::find(name).ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
            let value = match value {
                Some(value) => value,
                None if flag.is_switch => "true".to_owned(),
                None => {
                    let missing = || FlagError::NoValue(name.to_owned());
                    arguments.next().ok_or_else(missing)?
                }
            };
            self.take(flag, value)?;
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), FlagError> {
        for (key, value) in environment {
            let Some(name) = key.strip_prefix("ETCD_") else {
                continue;
            };
            let name = name.to_ascii_lowercase().replace('_', "-");
            match table::find(&name) {
                Some(flag) if self.values.contains_key(flag.name) => {
                    return Err(FlagError::Shadowed(key));
                }
                Some(flag) => self.take(flag, value)?,
                None => self
                    .notes
                    .push(format!("unrecognized environment variable {key}={value}")),
            }
        }
        Ok(())
    }

    fn take(&mut self, flag: &'static table::Flag, value: String) -> Result<(), FlagError> {
        let asks_nothing = table::asks_nothing(flag, &value);
        match flag.meaning {
            Meaning::Used => {}
            Meaning::NoEffect if asks_nothing => {}
            Meaning::NoEffect => self
                .notes
                .push(format!("--{} has no effect here", flag.name)),
            Meaning::Refused(_) if asks_nothing => {}
            Meaning::Refused(reason) => {
                let flag = flag.name;
                return Err(FlagError::Unsupported { flag, reason });
            }
        }
        self.values.insert(flag.name, value);
        Ok(())
    }

    fn text(&self, flag: &'static str) -> Option<&str> {
        self.values.get(flag).map(String::as_str)
    }

    fn switch(&self, flag: &'static str) -> Result<bool, FlagError> {
        match self.text(flag) {
            None | Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some(value) => Err(FlagError::Value {
                flag,
                value: value.to_owned(),
                expected: "true or false",
            }),
        }
    }

    fn number<T: std::str::FromStr>(&self, flag: &'static str, default: T) -> Result<T, FlagError> {
        let Some(value) = self.text(flag) else {
            return Ok(default);
        };
        value.parse().map_err(|_| FlagError::Value {
            flag,
            value: value.to_owned(),
            expected: "a whole number is needed",
        })
    }

    /// A number for which there is no default: nothing unless somebody says it.
    fn stated<T: std::str::FromStr>(&self, flag: &'static str) -> Result<Option<T>, FlagError> {
        let Some(value) = self.text(flag).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let number = value.parse().map_err(|_| FlagError::Value {
            flag,
            value: value.to_owned(),
            expected: "a whole number is needed",
        })?;
        Ok(Some(number))
    }

    fn urls(&self, flag: &'static str, default: &str) -> Result<Vec<Url>, FlagError> {
        let text = self.text(flag).unwrap_or(default);
        let parse = |part: &str| Url::parse(part.trim()).map_err(|error| url_error(flag, &error));
        text.split(',').map(parse).collect()
    }

    fn complete(self) -> Result<Run, FlagError> {
        let name = self.text("name").unwrap_or("default").to_owned();
        let data_dir = self.text("data-dir").filter(|dir| !dir.is_empty());
        let data_dir =
            data_dir.map_or_else(|| PathBuf::from(format!("{name}.etcd")), PathBuf::from);
        let mut config = Config::new(&name, data_dir);

        if self.text("listen-client-urls").is_some() && self.text("advertise-client-urls").is_none()
        {
            return Err(FlagError::NotAdvertised);
        }
        let listen = |flag, default| -> Result<Vec<_>, FlagError> {
            let listen = |url: Url| {
                url.listen_address()
                    .map_err(|error| url_error(flag, &error))
            };
            self.urls(flag, default)?.into_iter().map(listen).collect()
        };
        config.listen_client = listen("listen-client-urls", "http://localhost:2379")?;
        config.listen_peer = listen("listen-peer-urls", "http://localhost:2380")?;
        let advertised = |flag, default| -> Result<Vec<String>, FlagError> {
            Ok(self
                .urls(flag, default)?
                .iter()
                .map(Url::to_string)
                .collect())
        };
        config.advertise_client = advertised("advertise-client-urls", "http://localhost:2379")?;
        config.advertise_peer = advertised("initial-advertise-peer-urls", "http://localhost:2380")?;
        config.initial_cluster = match self.text("initial-cluster").filter(|text| !text.is_empty())
        {
            Some(text) => initial_cluster(text)?,
            None => vec![InitialMember {
                name,
                peer_urls: config.advertise_peer.clone(),
            }],
        };
        config.initial_state = match self.text("initial-cluster-state") {
            None | Some("new") => InitialState::New,
            Some("existing") => InitialState::Existing,
            Some(value) => {
                return Err(FlagError::Value {
                    flag: "initial-cluster-state",
                    value: value.to_owned(),
                    expected: "new or existing",
                });
            }
        };
        if let Some(token) = self.text("initial-cluster-token") {
            config.token = token.to_owned();
        }
        config.snapshot_count = self.number("snapshot-count", config.snapshot_count)?;
        config.heartbeat = Duration::from_millis(self.number("heartbeat-interval", 100)?);
        config.election = Duration::from_millis(self.number("election-timeout", 1000)?);
        config.quota_bytes = match self.number("quota-backend-bytes", 0_i64)? {
            0 => Some(QUOTA_BYTES_DEFAULT),
            quota => u64::try_from(quota).ok(), // negative: no bound
        };
        config.txn_ops_max = self.number("max-txn-ops", config.txn_ops_max)?;
        config.request_bytes_max = self.number("max-request-bytes", config.request_bytes_max)?;
        config.learners_max = self.number("max-learners", config.learners_max)?;
        config.read_lease_drift_ppm = self.stated("read-lease-drift-ppm")?;
        config.clock_error_max = self.stated("clock-error-max")?.map(Duration::from_millis);
        config.apply_version_max =
            self.number("quorate-apply-version-max", config.apply_version_max)?;
        let ahead_ms = self.number("clock-ahead-max", config.clock_ahead_max.as_millis() as u64)?;
        config.clock_ahead_max = Duration::from_millis(ahead_ms);
        config
            .check()
            .map_err(|error| FlagError::Config(Chain(&error).to_string()))?;
        let parent = self.number("quorate-parent", 0)?;
        Ok(Run {
            config,
            log: self.log_choice()?,
            parent: (parent != 0).then_some(parent),
            notes: self.notes,
        })
    }

    fn log_choice(&self) -> Result<LogChoice, FlagError> {
        let level = match self.text("log-level") {
            Some("debug") => tracing::Level::DEBUG,
            None | Some("info") => tracing::Level::INFO,
            Some("warn") => tracing::Level::WARN,
            Some("error" | "dpanic" | "panic" | "fatal") => tracing::Level::ERROR,
            Some(value) => {
                return Err(FlagError::Value {
                    flag: "log-level",
                    value: value.to_owned(),
                    expected: "debug, info, warn or error",
                });
            }
        };
        let json = match self.text("log-format") {
            None | Some("json") => true,
            Some("console") => false,
            Some(value) => {
                return Err(FlagError::Value {
                    flag: "log-format",
                    value: value.to_owned(),
                    expected: "json or console",
                });
            }
        };
        Ok(LogChoice { level, json })
    }
}

fn url_error(flag: &'static str, error: &UrlError) -> FlagError {
    FlagError::Config(format!("--{flag}: {error}"))
}

/// `n1=http://…,n2=http://…`; a name may come several times, once for each of its URLs.
fn initial_cluster(text: &str) -> Result<Vec<InitialMember>, FlagError> {
    let wrong = || FlagError::Value {
        flag: "initial-cluster",
        value: text.to_owned(),
        expected: "name=http://host:port, separated by commas, is needed",
    };
    let mut members: Vec<InitialMember> = Vec::new();
    for part in text.split(',') {
        let (name, url) = part.trim().split_once('=').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        let url = Url::parse(url).map_err(|error| url_error("initial-cluster", &error))?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url.to_string()),
            None => members.push(InitialMember {
                name: name.to_owned(),
                peer_urls: vec![url.to_string()],
            }),
        }
    }
    Ok(members)
}

#[cfg(test)]
#[path = "flags/tests.rs"]
mod tests;
