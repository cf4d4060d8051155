//! etcd's configuration file: YAML whose keys are the flags' names.
//!
//! Two sections hold the flags of TLS without their prefix, and a few more hold what has a section of its own in
//! etcd. A key that nobody knows is noted and not refused, as in etcd. Lists are joined by commas; a text that is
//! folded over several lines keeps its blanks, which lists of URLs forgive. Of a key that stands twice the last counts,
//! and a switch may be `yes` or `off`: etcd's library reads YAML 1.1.

use super::raw::Raw;
use super::{FlagError, table, value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml_ng::{Mapping, Value};
use std::fmt;
use std::fs::File;
use std::io::Read as _;

/// Bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of a section, and the flags that they stand for.
type Section = &'static [(&'static str, &'static str)];

const CLIENT: Section = &[
    ("cert-file", "cert-file"),
    ("key-file", "key-file"),
    ("client-cert-file", "client-cert-file"),
    ("client-key-file", "client-key-file"),
    ("client-cert-auth", "client-cert-auth"),
    ("trusted-ca-file", "trusted-ca-file"),
    ("crl-file", "client-crl-file"),
    ("auto-tls", "auto-tls"),
    ("allowed-cn", "client-cert-allowed-cn"),
    ("allowed-cns", "client-cert-allowed-cn"),
    ("allowed-hostname", "client-cert-allowed-hostname"),
    ("allowed-hostnames", "client-cert-allowed-hostname"),
];

const PEER: Section = &[
    ("cert-file", "peer-cert-file"),
    ("key-file", "peer-key-file"),
    ("client-cert-file", "peer-client-cert-file"),
    ("client-key-file", "peer-client-key-file"),
    ("client-cert-auth", "peer-client-cert-auth"),
    ("trusted-ca-file", "peer-trusted-ca-file"),
    ("crl-file", "peer-crl-file"),
    ("auto-tls", "peer-auto-tls"),
    ("allowed-cn", "peer-cert-allowed-cn"),
    ("allowed-cns", "peer-cert-allowed-cn"),
    ("allowed-hostname", "peer-cert-allowed-hostname"),
    ("allowed-hostnames", "peer-cert-allowed-hostname"),
    (
        "skip-client-san-verification",
        "peer-skip-client-san-verification",
    ),
];

const SOCKET: Section = &[
    ("reuse-port", "socket-reuse-port"),
    ("reuse-address", "socket-reuse-address"),
];

const SECTIONS: &[(&str, Section)] = &[
    ("client-transport-security", CLIENT),
    ("peer-transport-security", PEER),
    ("socket-options", SOCKET),
];

/// Reads a file.
pub(super) fn read(path: &str) -> Result<Raw, FlagError> {
    let wrong = |reason: String| FlagError::File {
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let opened = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    parse(&text).map_err(|error| match error {
        FlagError::File { reason, .. } => wrong(reason),
        other => wrong(other.to_string()),
    })
}

/// Reads the text of a file.
pub(super) fn parse(text: &str) -> Result<Raw, FlagError> {
    let wrong = |reason: String| FlagError::File {
        path: String::new(),
        reason,
    };
    let mut raw = Raw::default();
    let Lenient(document) =
        serde_yaml_ng::from_str(text).map_err(|error| wrong(format!("not YAML: {error}")))?;
    let top = match document {
        Value::Null => return Ok(raw),
        Value::Mapping(top) => top,
        _ => return Err(wrong("keys and values are needed".to_owned())),
    };
    for (key, value) in top {
        let Value::String(key) = key else {
            return Err(wrong(format!("{key:?} is not the name of a flag")));
        };
        let section = SECTIONS.iter().find(|(name, _)| *name == key);
        match (section, value) {
            (Some(_), Value::Null) => {}
            (Some((_, keys)), Value::Mapping(inner)) => {
                for (name, value) in inner {
                    let known = keys.iter().find(|(known, _)| name.as_str() == Some(known));
                    match known {
                        Some((name, flag)) => {
                            take(&mut raw, &format!("{key}.{name}"), flag, value)?
                        }
                        None => raw.note(format!("unknown key {key}.{} is ignored", shown(&name))),
                    }
                }
            }
            (Some(_), _) => return Err(wrong(format!("{key} is a section: keys are needed"))),
            // etcd's own sample has `proxy` there, and nothing to fall back from. `discovery` itself is refused.
            (None, value) if key == "discovery-fallback" => {
                if !value.is_null() && !matches!(value.as_str(), Some("" | "exit")) {
                    raw.note(format!(
                        "{key} has no effect here: there is no discovery to fall back from"
                    ));
                }
            }
            (None, value) if table::find(&key).is_some_and(|flag| flag.name != "config-file") => {
                let name = key.clone();
                take(&mut raw, &key, &name, value)?;
            }
            (None, Value::Null) => {}
            (None, _) => raw.note(format!("unknown key {key} is ignored")),
        }
    }
    Ok(raw)
}

fn shown(key: &Value) -> &str {
    key.as_str().unwrap_or("(not a text)")
}

fn take(raw: &mut Raw, key: &str, flag: &str, value: Value) -> Result<(), FlagError> {
    let wrong = || FlagError::File {
        path: String::new(),
        reason: format!("{key}: one value is needed, or a list of them"),
    };
    let text = match value {
        // A key without a value says nothing.
        Value::Null => return Ok(()),
        Value::Sequence(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(scalar).collect();
            parts.ok_or_else(wrong)?.join(",")
        }
        // Feature gates may be written as a map.
        Value::Mapping(gates) if flag == "feature-gates" => {
            let pair =
                |(gate, on): (&Value, &Value)| Some(format!("{}={}", scalar(gate)?, scalar(on)?));
            let pairs: Option<Vec<String>> = gates.iter().map(pair).collect();
            pairs.ok_or_else(wrong)?.join(",")
        }
        value => scalar(&value).ok_or_else(wrong)?,
    };
    let found = table::find(flag).ok_or_else(wrong)?;
    let text = match value::yaml_switch(&text) {
        Some(on) if found.is_switch => on.to_string(),
        _ => text,
    };
    raw.take(flag, found, text)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        _ => None,
    }
}

/// A document in which a key may stand twice, as in etcd: the last one counts.
struct Lenient(Value);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lenient, D::Error> {
        deserializer.deserialize_any(Builder).map(Lenient)
    }
}

/// Builds the value of a [`Lenient`].
struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a list or keys with values")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Bool(on))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    /// An empty document.
    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Lenient(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Sequence(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Mapping::new();
        while let Some((Lenient(key), Lenient(value))) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Mapping(map))
    }
}
