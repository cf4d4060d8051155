//! How the messages look as JSON: one schema for HTTP and for the command line.
//!
//! | kind | JSON |
//! | --- | --- |
//! | keys, values, names | text where they are UTF-8, else `{"base64": "…"}` |
//! | revisions, tokens, counts | a decimal string, since JSON's numbers end at 2⁵³; numbers are taken, too |
//! | ids: leases, members, clusters | lower-case hexadecimal, the same text everywhere |
//! | kinds and levels | their name in lower case, `linearizable` |
//! | times | RFC 3339 with the counter behind it |
//!
//! A field that no message has is refused: a mistyped `fence` must not become a write without one.

use crate::proto;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{SerializeMap as _, SerializeSeq as _, Serializer};
use std::marker::PhantomData;

/// Bytes: text where they are UTF-8.
pub(crate) struct Text;
/// Several of them.
pub(crate) struct Texts;
/// Bytes that may be missing.
pub(crate) struct OptionalText;
/// A number in a string.
pub(crate) struct Number;
/// A number that may be missing.
pub(crate) struct OptionalNumber;
/// An id.
pub(crate) struct Id;
/// An id that is signed in the messages, as etcd's leases are.
pub(crate) struct SignedId;
/// An enumeration by its names.
pub(crate) struct Named<E>(PhantomData<E>);

struct TextRef<'a>(&'a Bytes);

impl serde::Serialize for TextRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum TextIn {
    Plain(String),
    Base64 { base64: String },
}

impl TextIn {
    fn bytes<E: serde::de::Error>(self) -> Result<Bytes, E> {
        match self {
            TextIn::Plain(text) => Ok(text.into()),
            TextIn::Base64 { base64 } => STANDARD
                .decode(&base64)
                .map(Bytes::from)
                .map_err(|_| E::custom("base64 is malformed")),
        }
    }
}

impl Text {
    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        serde::Serialize::serialize(&TextRef(bytes), s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        TextIn::deserialize(d)?.bytes()
    }
}

impl Texts {
    pub(crate) fn serialize<S: Serializer>(all: &[Bytes], s: S) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(all.len()))?;
        for bytes in all {
            seq.serialize_element(&TextRef(bytes))?;
        }
        seq.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Bytes>, D::Error> {
        let all = Vec::<TextIn>::deserialize(d)?;
        all.into_iter().map(TextIn::bytes).collect()
    }
}

impl OptionalText {
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Bytes>, s: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => Text::serialize(bytes, s),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<TextIn>::deserialize(d)?;
        text.map(TextIn::bytes).transpose()
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberIn {
    Number(u64),
    Text(String),
}

impl NumberIn {
    fn number<E: serde::de::Error>(self) -> Result<u64, E> {
        match self {
            NumberIn::Number(number) => Ok(number),
            NumberIn::Text(text) => text
                .parse()
                .map_err(|_| E::custom(format!("\"{text}\" is no number from 0"))),
        }
    }
}

impl Number {
    pub(crate) fn serialize<S: Serializer>(number: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        NumberIn::deserialize(d)?.number()
    }
}

impl OptionalNumber {
    pub(crate) fn serialize<S: Serializer>(number: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => s.collect_str(number),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
        let number = Option::<NumberIn>::deserialize(d)?;
        number.map(NumberIn::number).transpose()
    }
}

impl Id {
    pub(crate) fn serialize<S: Serializer>(id: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{id:x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| D::Error::custom(format!("\"{text}\" is no id: hexadecimal digits")))
    }
}

impl SignedId {
    pub(crate) fn serialize<S: Serializer>(id: &i64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{id:x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
        let id = Id::deserialize(d)?;
        i64::try_from(id).map_err(|_| D::Error::custom("a lease is at most 7fffffffffffffff"))
    }
}

/// An enumeration of the messages: its names are `PREFIX_NAME` there and `name` in JSON.
pub trait Names: Sized + Copy {
    /// What stands before each name in the messages.
    const PREFIX: &'static str;
    /// The name in the messages.
    fn long(self) -> &'static str;
    /// The one with this name in the messages.
    fn of_long(name: &str) -> Option<Self>;
    /// The one with this number.
    fn of_number(number: i32) -> Option<Self>;
    /// The number.
    fn number(self) -> i32;

    /// The name in JSON and for people.
    fn name(self) -> String {
        let long = self.long();
        long.strip_prefix(Self::PREFIX)
            .unwrap_or(long)
            .to_ascii_lowercase()
    }

    /// The one with this name.
    fn of_name(name: &str) -> Option<Self> {
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let long = format!("{}{}", Self::PREFIX, name.to_ascii_uppercase());
        Self::of_long(&long).filter(|_| is_lower)
    }
}

macro_rules! names {
    ($($name:ident $prefix:literal)*) => {$(
        impl Names for proto::$name {
            const PREFIX: &'static str = $prefix;
            fn long(self) -> &'static str {
                self.as_str_name()
            }
            fn of_long(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }
            fn of_number(number: i32) -> Option<Self> {
                Self::try_from(number).ok()
            }
            fn number(self) -> i32 {
                self as i32
            }
        }
    )*};
}

names! {
    Level "LEVEL_"
    How "HOW_"
    Effect "EFFECT_"
    QueueKind "QUEUE_KIND_"
    Mode "MODE_"
    EventKind "EVENT_KIND_"
}

impl<E: Names> Named<E> {
    pub(crate) fn serialize<S: Serializer>(number: &i32, s: S) -> Result<S::Ok, S::Error> {
        match E::of_number(*number) {
            Some(known) => s.collect_str(&known.name()),
            None => s.collect_str(number),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i32, D::Error> {
        let name = String::deserialize(d)?;
        E::of_name(&name)
            .map(E::number)
            .ok_or_else(|| D::Error::custom(format!("\"{name}\" is not known here")))
    }
}
