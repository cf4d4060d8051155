//! What was typed: text by flag, from arguments or variables.

use super::table::{self, Meaning};
use super::{FlagError, value};
use server::identity::{Url, UrlError};
use std::collections::BTreeMap;
use std::time::Duration;

/// What was typed: text by flag.
#[derive(Debug, Default)]
pub(super) struct Raw {
    values: BTreeMap<&'static str, String>,
    /// Which flags were called by an older name, and which.
    older: BTreeMap<&'static str, String>,
    notes: Vec<String>,
}

impl Raw {
    /// How many flags were given.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn read_arguments(
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
            self.take(name, flag, value)?;
        }
        Ok(())
    }

    pub(super) fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), FlagError> {
        let typed: Vec<&'static str> = self.values.keys().copied().collect();
        for (key, value) in environment {
            let Some(name) = key.strip_prefix("ETCD_") else {
                continue;
            };
            let name = name.to_ascii_lowercase().replace('_', "-");
            match table::find(&name) {
                Some(flag) if typed.contains(&flag.name) => return Err(FlagError::Shadowed(key)),
                Some(_) if value.is_empty() => {}
                Some(flag) => self.take(&name, flag, value)?,
                // Its value is not told: who knows what secrets are in variables of others.
                None => self.note(format!("unrecognized environment variable {key}")),
            }
        }
        Ok(())
    }

    /// Takes a value that was given under `name`.
    pub(super) fn take(
        &mut self,
        name: &str,
        flag: &'static table::Flag,
        value: String,
    ) -> Result<(), FlagError> {
        let asks_nothing = table::asks_nothing(flag, &value);
        match flag.meaning {
            Meaning::Used => {}
            Meaning::NoEffect if asks_nothing => {}
            Meaning::NoEffect => self.notes.push(format!("--{name} has no effect here")),
            Meaning::Refused(_) if asks_nothing => {}
            Meaning::Refused(reason) => {
                let flag = flag.name;
                return Err(FlagError::Unsupported { flag, reason });
            }
        }
        let is_older = name != flag.name;
        let known = self.values.contains_key(flag.name);
        let earlier = self.older.get(flag.name);
        if known && is_older != earlier.is_some() {
            let old = earlier.cloned().unwrap_or_else(|| name.to_owned());
            let new = flag.name;
            return Err(FlagError::BothNames { old, new });
        }
        if is_older {
            self.older.insert(flag.name, name.to_owned());
        }
        self.values.insert(flag.name, value);
        Ok(())
    }

    pub(super) fn text(&self, flag: &'static str) -> Option<&str> {
        debug_assert!(table::find(flag).is_some(), "{flag} is not in the table");
        self.values.get(flag).map(String::as_str)
    }

    /// The name under which a flag was given: an older one, or its own.
    pub(super) fn given_as(&self, flag: &'static str) -> &str {
        self.older.get(flag).map_or(flag, String::as_str)
    }

    /// What was said, if that was more than nothing.
    pub(super) fn said(&self, flag: &'static str) -> Option<&str> {
        self.text(flag).filter(|text| !text.is_empty())
    }

    pub(super) fn switch(&self, flag: &'static str) -> Result<bool, FlagError> {
        self.switch_or(flag, false)
    }

    pub(super) fn switch_or(&self, flag: &'static str, default: bool) -> Result<bool, FlagError> {
        let Some(text) = self.text(flag) else {
            return Ok(default);
        };
        value::switch(text).ok_or_else(|| wrong(flag, text, "true or false"))
    }

    pub(super) fn number<T: std::str::FromStr>(
        &self,
        flag: &'static str,
        default: T,
    ) -> Result<T, FlagError> {
        let Some(text) = self.text(flag) else {
            return Ok(default);
        };
        let number = text.parse();
        number.map_err(|_| wrong(flag, text, "a whole number is needed"))
    }

    /// A number for which there is no default: nothing unless somebody says it.
    pub(super) fn stated<T: std::str::FromStr>(
        &self,
        flag: &'static str,
    ) -> Result<Option<T>, FlagError> {
        let Some(text) = self.said(flag) else {
            return Ok(None);
        };
        let number = text.parse();
        number
            .map(Some)
            .map_err(|_| wrong(flag, text, "a whole number is needed"))
    }

    /// A duration as Go writes it, or whole nanoseconds as etcd's YAML has them.
    pub(super) fn duration(
        &self,
        flag: &'static str,
        default: Duration,
    ) -> Result<Duration, FlagError> {
        let Some(text) = self.said(flag) else {
            return Ok(default);
        };
        let expected = "a duration such as 300ms, 5s or 1h30m is needed";
        value::duration_or_nanos(text).ok_or_else(|| wrong(flag, text, expected))
    }

    pub(super) fn urls(&self, flag: &'static str, default: &str) -> Result<Vec<Url>, FlagError> {
        let text = self.said(flag).unwrap_or(default);
        let parse = |part: &str| Url::parse(part).map_err(|error| url_error(flag, &error));
        value::list(text).map(parse).collect()
    }
}

pub(super) fn wrong(flag: &'static str, value: &str, expected: &'static str) -> FlagError {
    FlagError::Value {
        flag,
        value: value.to_owned(),
        expected,
    }
}

pub(super) fn url_error(flag: &'static str, error: &UrlError) -> FlagError {
    FlagError::Config(format!("--{flag}: {error}"))
}
