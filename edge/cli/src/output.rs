//! The one place where answers are printed.
//!
//! ```text
//!   table   for people                        -o table (the default)
//!   json    {"apiVersion":"quorate/v1","kind":…, the message's own fields}
//!   jsonl   the same on one line: what streams print
//!   yaml    the same as YAML
//! ```
//!
//! Data goes to standard output and every word about it to standard error. A reader that goes away (`| head`)
//! ends the command in silence.

use crate::complaint::Complaint;
use serde::Serialize;
use std::io::{self, Write};

/// The version of what is printed for programs.
pub(crate) const API_VERSION: &str = "quorate/v1";

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// JSON, one object per line.
    Jsonl,
    /// YAML.
    Yaml,
}

/// Where and how a command speaks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Voice {
    /// The form of answers and errors.
    pub(crate) format: Format,
    /// Whether remarks are left out.
    pub(crate) is_quiet: bool,
}

/// What programs read: the version and the kind, then the message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, T> {
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// `body` as text of `format`; [`Format::Table`] has none.
pub(crate) fn render<T: Serialize>(
    format: Format,
    kind: &str,
    body: &T,
) -> Result<String, Complaint> {
    debug_assert!(
        !serde_json::to_value(body).is_ok_and(|it| it.get("kind").is_some()),
        "{kind} has a field of that name"
    );
    let envelope = Envelope {
        api_version: API_VERSION,
        kind,
        body,
    };
    let odd =
        |error: &dyn std::fmt::Display| Complaint::bug(format!("{kind} has no text: {error}"));
    let text = match format {
        Format::Table => return Ok(String::new()),
        Format::Json => serde_json::to_string_pretty(&envelope).map_err(|e| odd(&e))? + "\n",
        Format::Jsonl => serde_json::to_string(&envelope).map_err(|e| odd(&e))? + "\n",
        Format::Yaml => {
            "---\n".to_owned() + &serde_yaml_ng::to_string(&envelope).map_err(|e| odd(&e))?
        }
    };
    Ok(text)
}

impl Voice {
    /// Whether people read it.
    pub(crate) fn is_for_people(self) -> bool {
        self.format == Format::Table
    }

    /// Prints one answer: `table` for people, else `body`.
    pub(crate) fn answer<T: Serialize>(
        self,
        kind: &str,
        body: &T,
        table: impl FnOnce() -> String,
    ) -> Result<(), Complaint> {
        let text = match self.format {
            Format::Table => table(),
            format => render(format, kind, body)?,
        };
        raw(text.as_bytes())
    }

    /// Prints one element of a stream: for programs always on one line, unless it is YAML.
    pub(crate) fn element<T: Serialize>(
        self,
        kind: &str,
        body: &T,
        line: impl FnOnce() -> String,
    ) -> Result<(), Complaint> {
        let text = match self.format {
            Format::Table => line(),
            Format::Json | Format::Jsonl => render(Format::Jsonl, kind, body)?,
            Format::Yaml => render(Format::Yaml, kind, body)?,
        };
        raw(text.as_bytes())
    }

    /// Says something about what is done, on standard error.
    pub(crate) fn remark(self, text: impl std::fmt::Display) {
        if !self.is_quiet {
            // Nobody is left to tell when standard error fails.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Prints an error.
    pub(crate) fn complain(self, complaint: &Complaint) {
        let text = match self.format {
            Format::Table => complaint.text(),
            Format::Json | Format::Jsonl => complaint.rendered(Format::Jsonl),
            Format::Yaml => complaint.rendered(Format::Yaml),
        };
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Writes bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Complaint> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Complaint::unread()),
        Err(error) => Err(Complaint::unexpected(format!(
            "cannot write to standard output: {error}"
        ))),
        Ok(()) => Ok(()),
    }
}

/// Bytes for people: text as it is, everything else as `\xff`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;
    use api::proto;

    fn answer() -> proto::PutResponse {
        proto::PutResponse {
            header: Some(proto::Header {
                cluster: 0x5e3,
                revision: 7,
                ..proto::Header::default()
            }),
            previous: Some(proto::KeyValue {
                key: "k".into(),
                value: "true".into(),
                ..proto::KeyValue::default()
            }),
        }
    }

    #[test]
    fn every_form_says_version_and_kind_first() {
        let json = render(Format::Json, "PutResponse", &answer()).unwrap();
        assert!(json.starts_with("{\n  \"apiVersion\": \"quorate/v1\",\n  \"kind\": \"PutResponse\",\n  \"header\": {"), "{json}");
        let line = render(Format::Jsonl, "PutResponse", &answer()).unwrap();
        assert_eq!(line.lines().count(), 1);
        let pretty: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            pretty,
            serde_json::from_str::<serde_json::Value>(&line).unwrap()
        );
    }

    #[test]
    fn yaml_keeps_strings_strings() {
        let yaml = render(Format::Yaml, "PutResponse", &answer()).unwrap();
        let back: serde_yaml_ng::Value = serde_yaml_ng::from_str(&yaml).unwrap();
        // 5e3 is an id here, and a number to a careless writer.
        for (text, at) in [
            ("5e3", &back["header"]["cluster"]),
            ("7", &back["header"]["revision"]),
            ("true", &back["previous"]["value"]),
        ] {
            assert_eq!(at.as_str(), Some(text), "{yaml}");
        }
    }

    #[test]
    fn people_see_text_and_escaped_bytes() {
        assert_eq!(shown("größe".as_bytes()), "größe");
        assert_eq!(shown(b"a\x1b[2J"), "a\\x1b[2J");
        assert_eq!(shown(&[0xff, b'a']), "\\xffa");
    }
}
