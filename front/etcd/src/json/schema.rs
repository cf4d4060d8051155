//! What the messages look like: tables that the build makes from `proto/`.

use super::{JsonError, read, write};
use crate::Method;

/// A message.
pub(crate) struct Message {
    /// With its package.
    pub(crate) name: &'static str,
    /// In the order of their numbers.
    pub(crate) fields: &'static [Field],
}

/// A field of a message.
pub(crate) struct Field {
    /// In the `.proto` file; this is what is written.
    pub(crate) name: &'static str,
    /// In JSON by protobuf's own rules; this is read as well.
    pub(crate) json_name: &'static str,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) is_repeated: bool,
    /// The alternative that it is one of, by its place in the message.
    pub(crate) oneof: Option<usize>,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "which kinds occur is the matter of proto/")]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    String,
    Bytes,
    /// By its place in [`ENUMS`].
    Enum(usize),
    /// By its place in [`MESSAGES`].
    Message(usize),
}

/// Names and numbers.
pub(crate) struct Enum {
    pub(crate) values: &'static [(&'static str, i32)],
}

pub(crate) struct Call {
    path: &'static str,
    request: usize,
    response: usize,
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// One message's look.
#[derive(Clone, Copy)]
pub struct Schema(pub(crate) &'static Message);

impl Schema {
    /// Of every message there is.
    pub fn all() -> impl Iterator<Item = Schema> {
        MESSAGES.iter().map(Schema)
    }

    /// Of what a method is asked.
    pub fn request(method: Method) -> Schema {
        Schema(&MESSAGES[call(method).request])
    }

    /// Of what it answers.
    pub fn response(method: Method) -> Schema {
        Schema(&MESSAGES[call(method).response])
    }

    /// The message's name with its package.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The message in protobuf that `json`, one object, says.
    ///
    /// # Errors
    /// It is no JSON, or not this message's.
    pub fn read(self, json: &[u8]) -> Result<Vec<u8>, JsonError> {
        self.read_bounded(json, usize::MAX)
    }

    /// As [`Schema::read`], and it stops when a list has more than `list_max` messages, before it understands them: only
    /// transactions have such lists.
    ///
    /// # Errors
    /// As [`Schema::read`], and [`JsonError::TooManyOps`].
    pub fn read_bounded(self, json: &[u8], list_max: usize) -> Result<Vec<u8>, JsonError> {
        read::message(self.0, json, list_max)
    }

    /// Writes the message whose protobuf is `bytes` to `out`, as JSON on one line.
    ///
    /// # Errors
    /// The bytes are not this message's.
    pub fn write(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        write::message(self.0, bytes, out, write::DEPTH_MAX)
    }
}

fn call(method: Method) -> &'static Call {
    let found = CALLS.iter().find(|call| call.path == method.path());
    found.expect("every method stands in proto/, which a test looks after")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_messages_and_no_message_is_too_wide() {
        for method in Method::ALL {
            assert!(Schema::request(*method).name().contains('.'), "{method:?}");
            Schema::response(*method);
        }
        assert_eq!(CALLS.len(), Method::ALL.len());
        for message in MESSAGES {
            // Which fields were there already is a set of bits.
            assert!(message.fields.len() <= 64, "{}", message.name);
        }
    }
}
