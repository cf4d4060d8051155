//! Contexts: named clusters in the user's configuration directory, one of them selected.
//!
//! ```text
//!   ~/.config/quorate/            or $XDG_CONFIG_HOME/quorate, or $QUORATE_CONFIG_DIR
//!     current                     the name of the selected one
//!     contexts/dev.json           {"format":1,"endpoints":["127.0.0.1:2379",…]}
//!     contexts/prod.json          {"format":1,"endpoints":["https://10.0.0.1:2379",…],"tls":{"cacert":"/etc/…"}}
//! ```
//!
//! Which endpoints a command uses, the first that is said:
//!
//! ```text
//!   --endpoints ▸ --context ▸ QUORATE_ENDPOINTS ▸ QUORATE_CONTEXT ▸ the selected context ▸ 127.0.0.1:2379
//! ```

use crate::complaint::Complaint;
use crate::parse;
use api::Code;
use client::Tls;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a member listens when nobody says.
pub(crate) const ENDPOINT_DEFAULT: &str = "127.0.0.1:2379";

/// The version of a context's file.
const FORMAT: u32 = 1;

/// Bytes of a name: it is a file's.
const NAME_BYTES_MAX: usize = 64;

/// A cluster that has a name here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    format: u32,
    /// `host:port` of its members, at least one.
    pub(crate) endpoints: Vec<String>,
    /// How it is known; nothing in the clear.
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub(crate) tls: Trust,
}

/// Files for TLS, and how much is believed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Whose signature is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cacert: Option<PathBuf>,
    /// What is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Whether anybody is believed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure_skip_tls_verify: bool,
}

impl Trust {
    fn is_empty(&self) -> bool {
        *self == Trust::default()
    }

    /// What the client takes; nothing when nothing was said.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Complaint> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut tls = Tls::new();
        if let Some(file) = &self.cacert {
            tls = tls.cacert(file);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => tls = tls.identity(cert, key),
            (None, None) => {}
            _ => {
                let text = "--cert and --key belong together: one of them was not given";
                return Err(Complaint::usage(text));
            }
        }
        if self.insecure_skip_tls_verify {
            tls = tls.insecure_skip_verify();
        }
        Ok(Some(tls))
    }
}

impl Context {
    /// One with these members.
    pub(crate) fn new(endpoints: Vec<String>) -> Context {
        Context {
            format: FORMAT,
            endpoints,
            tls: Trust::default(),
        }
    }

    /// The same, over TLS.
    pub(crate) fn with(mut self, tls: Trust) -> Context {
        self.tls = tls;
        self
    }
}

/// The directory of them all.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    dir: PathBuf,
}

impl Contexts {
    /// Those of the user; nothing is read or made yet.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Contexts, Complaint> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let dir = if let Some(dir) = set("QUORATE_CONFIG_DIR") {
            PathBuf::from(dir)
        } else if let Some(dir) = set("XDG_CONFIG_HOME") {
            Path::new(&dir).join("quorate")
        } else if let Some(home) = set("HOME") {
            Path::new(&home).join(".config/quorate")
        } else {
            return Err(Complaint::unexpected(
                "there is no configuration directory: QUORATE_CONFIG_DIR and HOME are not set",
            ));
        };
        Ok(Contexts { dir })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join("contexts").join(format!("{name}.json"))
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, Complaint> {
        let dir = self.dir.join("contexts");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &dir, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("read", &dir, &error))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(
                name.filter(|name| check_name(name).is_ok())
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// The one with this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Context>, Complaint> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let file = self.file(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &file, &error)),
        };
        let wrong = |reason: &dyn std::fmt::Display| {
            Complaint::unexpected(format!("{} is no context: {reason}", file.display()))
        };
        let context: Context = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if context.format != FORMAT {
            return Err(wrong(&format_args!(
                "format {} is not known",
                context.format
            )));
        }
        if context.endpoints.is_empty() {
            return Err(wrong(&"it names no endpoints"));
        }
        Ok(Some(context))
    }

    /// The one with this name, or what to say.
    pub(crate) fn look_up(&self, name: &str) -> Result<Context, Complaint> {
        if let Some(context) = self.find(name)? {
            return Ok(context);
        }
        let complaint =
            Complaint::coded(Code::NoContext, format!("there is no context \"{name}\""));
        let names = self.names()?;
        match parse::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => Err(complaint.help(format!("did you mean \"{near}\"?"))),
            None => Err(complaint),
        }
    }

    /// Writes one, whole or not at all.
    pub(crate) fn save(&self, name: &str, context: &Context) -> Result<(), Complaint> {
        check_name(name).map_err(Complaint::usage)?;
        let text = serde_json::to_string(context).unwrap_or_default() + "\n";
        self.write(&self.file(name), &text)
    }

    /// Removes one; it is selected no more.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Complaint> {
        if self.selected()?.as_deref() == Some(name) {
            self.deselect()?;
        }
        remove(&self.file(name))
    }

    /// The name of the selected one. It may have been removed by hand.
    pub(crate) fn selected(&self) -> Result<Option<String>, Complaint> {
        let file = self.dir.join("current");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file, &error)),
        }
    }

    /// Selects one that is there.
    pub(crate) fn select(&self, name: &str) -> Result<(), Complaint> {
        self.look_up(name)?;
        self.write(&self.dir.join("current"), &format!("{name}\n"))
    }

    /// Selects none.
    pub(crate) fn deselect(&self) -> Result<(), Complaint> {
        remove(&self.dir.join("current"))
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), Complaint> {
        let dir = file.parent().unwrap_or(&self.dir);
        fs::create_dir_all(dir).map_err(|error| failed("create", dir, &error))?;
        let new = file.with_extension(format!("new-{}", std::process::id()));
        fs::write(&new, text).map_err(|error| failed("write", &new, &error))?;
        fs::rename(&new, file).map_err(|error| failed("write", file, &error))
    }
}

/// What names may be: a file's, on every system.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('.');
    match is_name {
        true => Ok(()),
        false => Err(format!(
            "\"{name}\" cannot name a context: 1 to {NAME_BYTES_MAX} letters, digits, -, _ and ., no . at \
             the start"
        )),
    }
}

fn remove(file: &Path) -> Result<(), Complaint> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", file, &error))
        }
        _ => Ok(()),
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Complaint {
    Complaint::unexpected(format!("cannot {action} {}: {error}", path.display()))
}

/// What was said about where the cluster is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// `--endpoints`.
    pub(crate) endpoints: Vec<String>,
    /// `--context`.
    pub(crate) context: Option<String>,
}

/// Who named the endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// `--endpoints`.
    Flag,
    /// `QUORATE_ENDPOINTS`.
    Variable,
    /// A context, and who chose it.
    Context { name: String, by: &'static str },
    /// Nobody.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag => f.write_str("--endpoints"),
            Origin::Variable => f.write_str("QUORATE_ENDPOINTS"),
            Origin::Context { name, by } => write!(f, "context \"{name}\", {by}"),
            Origin::Default => f.write_str("the default: nothing else was said"),
        }
    }
}

/// Which endpoints, and who said so.
pub(crate) fn resolve(
    said: &Said,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Vec<String>, Origin), Complaint> {
    if !said.endpoints.is_empty() {
        return Ok((said.endpoints.clone(), Origin::Flag));
    }
    let of_context = |name: String, by| {
        let context = Contexts::of(&variable)?.look_up(&name)?;
        Ok((context.endpoints, Origin::Context { name, by }))
    };
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(name) = said.context.clone() {
        return of_context(name, "by --context");
    }
    if let Some(text) = set("QUORATE_ENDPOINTS") {
        return Ok((endpoints(&text)?, Origin::Variable));
    }
    if let Some(name) = set("QUORATE_CONTEXT") {
        return of_context(name, "by QUORATE_CONTEXT");
    }
    // Without a home there can be nothing selected.
    let selected = Contexts::of(&variable).map_or(Ok(None), |contexts| contexts.selected())?;
    match selected {
        Some(name) => of_context(name, "selected"),
        None => Ok((vec![ENDPOINT_DEFAULT.to_owned()], Origin::Default)),
    }
}

/// Whom to believe: each file the first that is said, by a flag, by a variable, or by the context that names the
/// endpoints.
pub(crate) fn trust(
    flags: &Trust,
    said: &Said,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Trust, Complaint> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let file = |name| set(name).map(PathBuf::from);
    let of_context = match resolve(said, &variable)? {
        (_, Origin::Context { name, .. }) => Contexts::of(&variable)?.look_up(&name)?.tls,
        _ => Trust::default(),
    };
    let skips = || {
        let said = set("QUORATE_INSECURE_SKIP_TLS_VERIFY");
        said.is_some_and(|said| said == "true" || said == "1")
    };
    // A certificate and its key come from one place.
    let (cert, key) = if flags.cert.is_some() || flags.key.is_some() {
        (flags.cert.clone(), flags.key.clone())
    } else if let (Some(cert), key) = (file("QUORATE_CERT"), file("QUORATE_KEY")) {
        (Some(cert), key)
    } else {
        (of_context.cert, of_context.key)
    };
    let cacert = flags.cacert.clone().or_else(|| file("QUORATE_CACERT"));
    Ok(Trust {
        cacert: cacert.or(of_context.cacert),
        cert,
        key,
        insecure_skip_tls_verify: flags.insecure_skip_tls_verify
            || skips()
            || of_context.insecure_skip_tls_verify,
    })
}

/// `host:port,host:port`.
fn endpoints(text: &str) -> Result<Vec<String>, Complaint> {
    let all: Result<Vec<_>, _> = text.split(',').map(|part| endpoint(part.trim())).collect();
    all.map_err(|reason| Complaint::usage(format!("QUORATE_ENDPOINTS is \"{text}\": {reason}")))
}

/// `host:port`, with or without `http://` before it; what is kept has none. `https://` is kept.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    if let Some(rest) = text.strip_prefix("https://") {
        return match rest.contains("://") {
            true => Err("an endpoint is host:port".to_owned()),
            false => Ok(format!("https://{}", endpoint(rest)?)),
        };
    }
    let address = text.strip_prefix("http://").unwrap_or(text);
    let address = address.strip_suffix('/').unwrap_or(address);
    let is_one = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match is_one {
        true => Ok(address.to_owned()),
        false => Err("an endpoint is host:port".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "context/tests.rs"]
mod tests;
