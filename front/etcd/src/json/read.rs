//! From JSON to protobuf.
//!
//! serde drives: the parser meets a key or a value and asks here what to do with it, and what it says goes to the end
//! of one buffer. A message within another is written in place, its length in hindsight. The rules are those of Go's
//! `protojson` with `DiscardUnknown`, which etcd's gateway uses: a field twice is an error, so are two alternatives of
//! one; `null` is as if the field were not there; the name of an enumeration's value that does not exist is ignored.

use super::JsonError;
use super::schema::{ENUMS, Enum, Field, Kind, MESSAGES, Message};
use crate::pb;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Digits of the longest integer, and some more.
const DIGITS_MAX: usize = 40;

pub(super) fn message(
    message: &'static Message,
    json: &[u8],
    list_max: usize,
) -> Result<Vec<u8>, JsonError> {
    let reading = Reading {
        json,
        list_max,
        is_list_too_long: Cell::new(false),
        failure: Cell::new(None),
    };
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut from = serde_json::Deserializer::from_slice(json);
    let object = Object {
        message,
        out: &mut out,
        reading: &reading,
    };
    let read = object.deserialize(&mut from).and_then(|()| from.end());
    match (read, reading.failure.take()) {
        (Ok(()), _) => Ok(out),
        (Err(_), _) if reading.is_list_too_long.get() => Err(JsonError::TooManyOps),
        (Err(_), Some(failure)) => Err(JsonError::Malformed(failure)),
        (Err(error), None) => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            let (line, column) = (error.line(), error.column());
            let text = format!("syntax error (line {line}:{column}): {what}");
            Err(JsonError::Malformed(text))
        }
    }
}

/// What is read, and what is wrong with it in words that name the place.
struct Reading<'a> {
    json: &'a [u8],
    /// Messages in one list.
    list_max: usize,
    is_list_too_long: Cell<bool>,
    failure: Cell<Option<String>>,
}

impl Reading<'_> {
    /// Keeps what is wrong; the parser is told only that something is. `text` is a part of what is read, and the
    /// place is `before` bytes before it.
    fn fail<E: serde::de::Error>(&self, text: &str, before: usize, what: &str) -> E {
        let start = text.as_ptr().addr().checked_sub(self.json.as_ptr().addr());
        let read = start
            .and_then(|at| self.json.get(..at.checked_sub(before)?))
            .map(String::from_utf8_lossy);
        let place = read.map(|read| {
            let line = read.matches('\n').count() + 1;
            let column = read.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("(line {line}:{column}): ")
        });
        let failure = format!("{}{what}", place.unwrap_or_default());
        self.failure.set(Some(failure));
        E::custom("")
    }
}

/// A message: its fields go to the buffer.
struct Object<'a> {
    message: &'static Message,
    out: &'a mut Vec<u8>,
    reading: &'a Reading<'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object: {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut fields_seen, mut oneofs_seen) = (0_u64, 0_u64);
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let known = |field: &Field| field.json_name == name || field.name == name;
            let Some(at) = self.message.fields.iter().position(known) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &self.message.fields[at];
            if !is_new(&mut fields_seen, at) {
                let what = format!("duplicate field {name:?}");
                return Err(self.reading.fail(&name, 1, &what));
            }
            let is_set = map.next_value_seed(Value {
                field,
                out: &mut *self.out,
                reading: self.reading,
            })?;
            if let Some(oneof) = field.oneof
                && is_set
                && !is_new(&mut oneofs_seen, oneof)
            {
                let what = format!("error parsing {name:?}, its alternative is already set");
                return Err(self.reading.fail(&name, 1, &what));
            }
        }
        Ok(())
    }
}

/// A field's name, a part of what is read where it can be.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn is_new(seen: &mut u64, at: usize) -> bool {
    let bit = 1 << at;
    let is_new = *seen & bit == 0;
    *seen |= bit;
    is_new
}

/// A field's value, with its tag. Answers whether there was one: `null` is none.
struct Value<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
    reading: &'a Reading<'a>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        let field = self.field;
        if field.is_repeated || matches!(field.kind, Kind::Message(_)) {
            return from.deserialize_any(Within(self));
        }
        let text = <&RawValue as serde::Deserialize>::deserialize(from)?.get();
        if text == "null" {
            return Ok(false);
        }
        let written = scalar(field, field.oneof.is_some(), text, self.out);
        written.map_err(|what| self.reading.fail(text, 0, &what))?;
        Ok(true)
    }
}

/// A message or a list, where `null` may stand instead.
struct Within<'a>(Value<'a>);

impl<'de> Visitor<'de> for Within<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.field.is_repeated {
            true => "an array",
            false => "an object",
        };
        write!(f, "{what} for field {}", self.0.field.name)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let Kind::Message(which) = self.0.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        if self.0.field.is_repeated {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        let Within(Value {
            field,
            out,
            reading,
        }) = self;
        let start = pb::open(out, field.number);
        let object = Object {
            message: &MESSAGES[which],
            out: &mut *out,
            reading,
        };
        object.visit_map(map)?;
        pb::close(out, start);
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        if !self.0.field.is_repeated {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let Within(Value {
            field,
            out,
            reading,
        }) = self;
        for n in 0.. {
            if n > reading.list_max && matches!(field.kind, Kind::Message(_)) {
                reading.is_list_too_long.set(true);
                return Err(A::Error::custom(""));
            }
            let element = Element(Value {
                field,
                out: &mut *out,
                reading,
            });
            if list.next_element_seed(element)?.is_none() {
                break;
            }
        }
        Ok(true)
    }
}

/// One of a list.
struct Element<'a>(Value<'a>);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Element(Value {
            field,
            out,
            reading,
        }) = self;
        if let Kind::Message(which) = field.kind {
            let start = pb::open(out, field.number);
            let object = Object {
                message: &MESSAGES[which],
                out: &mut *out,
                reading,
            };
            object.deserialize(from)?;
            pb::close(out, start);
            return Ok(());
        }
        let text = <&RawValue as serde::Deserialize>::deserialize(from)?.get();
        let written = scalar(field, true, text, out);
        written.map_err(|what| reading.fail(text, 0, &what))
    }
}

/// Writes a field that is no message. A default value is left out unless it `stays`: in a list, or as an alternative.
fn scalar(field: &Field, stays: bool, json: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let invalid = |what: &str| {
        format!(
            "invalid value for {what} field {}: {}",
            field.name,
            excerpt(json)
        )
    };
    let number = field.number;
    let mut integer = |value: u64| match stays {
        true => {
            pb::varint(out, u64::from(number) << 3);
            pb::varint(out, value);
        }
        false => pb::uint(out, number, value),
    };
    match field.kind {
        Kind::Bool => match json {
            "true" => integer(1),
            "false" => integer(0),
            _ => return Err(invalid("bool")),
        },
        // Negative numbers take ten bytes in protobuf, of 32 bits as of 64.
        Kind::Int32 => integer(
            within(json, i32::MIN.into(), i32::MAX.into()).ok_or_else(|| invalid("int32"))? as u64,
        ),
        Kind::Int64 => integer(
            within(json, i64::MIN.into(), i64::MAX.into()).ok_or_else(|| invalid("int64"))? as u64,
        ),
        Kind::Uint32 => {
            integer(within(json, 0, u32::MAX.into()).ok_or_else(|| invalid("uint32"))? as u64)
        }
        Kind::Uint64 => {
            integer(within(json, 0, u64::MAX.into()).ok_or_else(|| invalid("uint64"))? as u64)
        }
        Kind::Enum(which) => match enumerated(&ENUMS[which], json) {
            Named::Number(value) => integer(value as u64),
            // An unknown name is ignored, as an unknown field is.
            Named::Unknown => {}
            Named::Invalid => return Err(invalid("enum")),
        },
        Kind::String => {
            let text = string(json).ok_or_else(|| invalid("string"))?;
            bytes(number, stays, text.as_bytes(), out);
        }
        Kind::Bytes => {
            let text = string(json).ok_or_else(|| invalid("bytes"))?;
            let value = base64(&text).map_err(|_| invalid("bytes"))?;
            bytes(number, stays, &value, out);
        }
        Kind::Message(_) => return Err(invalid("message")),
    }
    Ok(())
}

fn bytes(number: u32, stays: bool, value: &[u8], out: &mut Vec<u8>) {
    match stays {
        true => {
            pb::message(out, number, value.len());
            out.extend_from_slice(value);
        }
        false => pb::bytes(out, number, value),
    }
}

/// The beginning of what was said, to be shown to who said it.
fn excerpt(json: &str) -> &str {
    let end = json.char_indices().nth(40).map_or(json.len(), |(at, _)| at);
    &json[..end]
}

/// A JSON string's text; nothing when it is no string.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let is_plain = json.len() >= 2 && json.starts_with('"') && !json.contains('\\');
    match is_plain {
        // The parser has seen it already, so that it ends with a quotation mark.
        true => Some(Cow::Borrowed(&json[1..json.len() - 1])),
        false => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

/// An integer between these, as a JSON number or as one in a string.
fn within(json: &str, min: i128, max: i128) -> Option<i128> {
    let value = match json.starts_with('"') {
        true => {
            let text = string(json)?;
            // `" 1"` is no number, and neither is `"nan"`: only what would be one without the quotation marks.
            serde_json::from_str::<&RawValue>(&text)
                .ok()
                .filter(|raw| raw.get().len() == text.len())?;
            exact(&text)?
        }
        false => exact(json)?,
    };
    (min..=max).contains(&value).then_some(value)
}

/// The integer that a JSON number is, if it is one: `10`, `1e1` and `10.0` are the same.
fn exact(number: &str) -> Option<i128> {
    let (is_negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value: i128 = digits.parse().ok()?;
    // By how many places the digits are too far right; negative when zeros are missing.
    let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if value != 0 {
        let power = 10_i128.checked_pow(places.unsigned_abs())?;
        match places > 0 {
            true if value % power != 0 => return None,
            true => value /= power,
            false => value = value.checked_mul(power)?,
        }
    }
    Some(if is_negative { -value } else { value })
}

enum Named {
    Number(i32),
    Unknown,
    Invalid,
}

fn enumerated(one: &Enum, json: &str) -> Named {
    if json.starts_with('"') {
        let Some(name) = string(json) else {
            return Named::Invalid;
        };
        let known = one.values.iter().find(|(known, _)| *known == name);
        return known.map_or(Named::Unknown, |(_, number)| Named::Number(*number));
    }
    // The bounds are those of the type.
    match exact(json).and_then(|value| i32::try_from(value).ok()) {
        Some(number) => Named::Number(number),
        None => Named::Invalid,
    }
}

/// Base64 of either alphabet, padded or not, as Go reads it: line ends are stepped over.
fn base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    const fn engine(alphabet: &Alphabet, padding: DecodePaddingMode) -> GeneralPurpose {
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(padding);
        GeneralPurpose::new(alphabet, config)
    }
    const PADDED: DecodePaddingMode = DecodePaddingMode::RequireCanonical;
    const BARE: DecodePaddingMode = DecodePaddingMode::RequireNone;
    let engine = match (text.contains(['-', '_']), text.len().is_multiple_of(4)) {
        (false, true) => const { engine(&STANDARD, PADDED) },
        (false, false) => const { engine(&STANDARD, BARE) },
        (true, true) => const { engine(&URL_SAFE, PADDED) },
        (true, false) => const { engine(&URL_SAFE, BARE) },
    };
    match text.contains(['\r', '\n']) {
        true => engine.decode(text.replace(['\r', '\n'], "")),
        false => engine.decode(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let range = crate::json::Schema::request(crate::Method::Range);
        for (json, said) in [
            (
                "{\"key\":1}",
                "(line 1:8): invalid value for bytes field key: 1",
            ),
            (
                "{\"key\":\"YQ==\",\n \"limit\":\"x\"}",
                "(line 2:10): invalid value for int64 field limit: \"x\"",
            ),
            (
                "{\"key\":\"YQ==\",\"key\":\"YQ==\"}",
                "(line 1:15): duplicate field \"key\"",
            ),
            ("{\"key\":tru}", "syntax error (line 1:11): expected ident"),
        ] {
            let wanted = JsonError::Malformed(said.to_owned());
            assert_eq!(range.read(json.as_bytes()), Err(wanted));
        }
    }

    #[test]
    fn an_integer_is_what_its_digits_say_exactly() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("10", 10),
            ("1e1", 10),
            ("100e-1", 10),
            ("10.0", 10),
            ("0.5e1", 5),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("0e999", 0),
        ] {
            assert_eq!(exact(text), Some(value), "{text}");
        }
        for text in [
            "1.5",
            "1e-1",
            "1e400",
            "1e-2147483648",
            "true",
            "{}",
            "",
            "-",
            "1.e1x",
        ] {
            assert_eq!(exact(text), None, "{text}");
        }
        for text in ["\"1\"", "\"1e0\"", "1"] {
            assert_eq!(within(text, 0, 9), Some(1), "{text}");
        }
        for text in [
            "\" 1\"", "\"1 \"", "\"\"", "\"01\"", "\"+1\"", "\"-1\"", "10", "null", "\"null\"",
        ] {
            assert_eq!(within(text, 0, 9), None, "{text}");
        }
    }

    #[test]
    fn base64_comes_in_two_alphabets_with_padding_or_without() {
        for text in ["+/+/", "-_-_", "+/+/\\n"] {
            let text = string(&format!("\"{text}\"")).map(Cow::into_owned);
            if text.as_deref() == Some("+/+/\n") {
                // Go counts the line's end before it takes it away: five characters want no padding.
                assert!(base64("+/+/\n").is_ok());
                continue;
            }
            assert_eq!(
                base64(&text.unwrap_or_default()),
                Ok(vec![0xfb, 0xff, 0xbf])
            );
        }
        for text in ["YQ==", "YQ", "YR"] {
            assert_eq!(base64(text), Ok(b"a".to_vec()), "{text}");
        }
        for text in ["YQ=", "Y", "+_+_", "a b=", "YQ===", "=", "\u{e9}"] {
            assert!(base64(text).is_err(), "{text}");
        }
    }
}
