//! From protobuf to JSON.

use super::JsonError;
use super::schema::{ENUMS, Field, Kind, MESSAGES, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io::Write as _;

/// How deep messages may stand in each other: nested transactions take two for each, and some more stands around them.
pub(super) const DEPTH_MAX: usize = 300;

/// One value of a field, as it stands in the bytes.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

pub(super) fn message(
    message: &'static Message,
    bytes: &[u8],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonError> {
    let untellable = || JsonError::Untellable(message.name);
    let depth = depth.checked_sub(1).ok_or_else(untellable)?;
    let mut values = fields(message, bytes).ok_or_else(untellable)?;
    keep_one_of_each(message, &mut values);
    // Values of one field stand together then, in the order in which they were said.
    values.sort_by_key(|(at, _)| *at);
    out.push(b'{');
    let start = out.len();
    for group in values.chunk_by(|(a, _), (b, _)| a == b) {
        let field = &message.fields[group[0].0];
        let before = out.len();
        if before > start {
            out.push(b',');
        }
        text(field.name, out).ok_or_else(untellable)?;
        out.push(b':');
        let values = group.iter().map(|(_, value)| *value);
        if !write_field(field, values, out, depth)? {
            out.truncate(before);
        }
    }
    out.push(b'}');
    Ok(())
}

/// The fields that are known, by their places in the message.
fn fields<'a>(message: &Message, bytes: &'a [u8]) -> Option<Vec<(usize, Wire<'a>)>> {
    let mut rest = bytes;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let known = message.fields.iter().position(|it| it.number == number);
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut rest)?),
            1 => {
                take(&mut rest, 8)?;
                continue;
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Wire::Bytes(take(&mut rest, length)?)
            }
            5 => {
                take(&mut rest, 4)?;
                continue;
            }
            _ => return None,
        };
        let Some(at) = known else { continue };
        let field = &message.fields[at];
        match (field.kind, value) {
            (Kind::String | Kind::Bytes | Kind::Message(_), Wire::Bytes(_)) => {
                values.push((at, value));
            }
            (Kind::String | Kind::Bytes | Kind::Message(_), Wire::Varint(_)) => return None,
            (_, Wire::Varint(_)) => values.push((at, value)),
            (_, Wire::Bytes(_)) if !field.is_repeated => return None,
            (_, Wire::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    values.push((at, Wire::Varint(varint(&mut packed)?)));
                }
            }
        }
    }
    Some(values)
}

/// Of alternatives the last one said counts.
fn keep_one_of_each(message: &Message, values: &mut Vec<(usize, Wire<'_>)>) {
    let mut chosen = BTreeMap::new();
    for (at, _) in &*values {
        if let Some(oneof) = message.fields[*at].oneof {
            chosen.insert(oneof, *at);
        }
    }
    values.retain(|(at, _)| match message.fields[*at].oneof {
        Some(oneof) => chosen.get(&oneof) == Some(at),
        None => true,
    });
}

/// Writes a field's value; whether there was anything to write.
fn write_field<'a>(
    field: &Field,
    values: impl Iterator<Item = Wire<'a>> + Clone,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<bool, JsonError> {
    if field.is_repeated {
        out.push(b'[');
        for (nth, value) in values.enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            write_value(field, value, out, depth)?;
        }
        out.push(b']');
        return Ok(true);
    }
    let Some(last) = values.clone().last() else {
        return Ok(false);
    };
    if let Kind::Message(_) = field.kind
        && values.clone().nth(1).is_some()
    {
        // A message that is said in parts is all of its parts.
        let parts = values.filter_map(|value| match value {
            Wire::Bytes(part) => Some(part),
            Wire::Varint(_) => None,
        });
        let whole = parts.collect::<Vec<_>>().concat();
        write_value(field, Wire::Bytes(&whole), out, depth)?;
        return Ok(true);
    }
    let is_default = match (field.kind, last) {
        (Kind::Message(_), _) => false,
        (_, Wire::Varint(value)) => value == 0,
        (_, Wire::Bytes(value)) => value.is_empty(),
    };
    if is_default && field.oneof.is_none() {
        return Ok(false);
    }
    write_value(field, last, out, depth)?;
    Ok(true)
}

fn write_value(
    field: &Field,
    value: Wire<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonError> {
    let untellable = JsonError::Untellable(field.name);
    // Writing to memory does not fail.
    let written = match (field.kind, value) {
        (Kind::Bool, Wire::Varint(value)) => write!(out, "{}", value != 0),
        (Kind::Int32, Wire::Varint(value)) => write!(out, "{}", value as i32),
        (Kind::Uint32, Wire::Varint(value)) => write!(out, "{}", value as u32),
        (Kind::Int64, Wire::Varint(value)) => write!(out, "\"{}\"", value as i64),
        (Kind::Uint64, Wire::Varint(value)) => write!(out, "\"{value}\""),
        (Kind::Enum(which), Wire::Varint(value)) => {
            let number = value as i32;
            let known = ENUMS[which].values.iter().find(|(_, it)| *it == number);
            match known {
                Some((name, _)) => write!(out, "\"{name}\""),
                None => write!(out, "{number}"),
            }
        }
        (Kind::Bytes, Wire::Bytes(value)) => {
            out.push(b'"');
            let start = out.len();
            // Four for every three begun.
            out.resize(start + value.len().div_ceil(3) * 4, 0);
            STANDARD
                .encode_slice(value, &mut out[start..])
                .map_err(|_| untellable.clone())?;
            out.push(b'"');
            Ok(())
        }
        (Kind::String, Wire::Bytes(value)) => {
            let value = std::str::from_utf8(value).map_err(|_| untellable.clone())?;
            text(value, out).ok_or(untellable.clone())?;
            Ok(())
        }
        (Kind::Message(which), Wire::Bytes(value)) => {
            return message(&MESSAGES[which], value, out, depth);
        }
        _ => return Err(untellable),
    };
    written.map_err(|_| untellable)
}

fn text(value: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, value).ok()
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}
