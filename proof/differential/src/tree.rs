//! An answer as a tree of names and values, in which two answers can be compared and a difference has a path.
//!
//! What a server chose for itself (member and cluster ids, leases it named, its addresses) is written by the
//! mark of `marks` that stands for it, so that it is the same in both trees when it means the same. Fields that
//! no descriptor knows are kept as `unknown N`.

use crate::marks::Names;
use prost_reflect::{DynamicMessage, UnknownField, Value};
use std::collections::BTreeMap;
use std::fmt;

/// A value of any field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Number(i128),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    /// Only the fields that are there.
    Message(BTreeMap<String, Tree>),
}

/// Two values at one place that are not the same; `None` where one has nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Names by points, `[]` for any place in a list: `kvs[].lease`.
    pub(crate) path: String,
    pub(crate) peer: Option<Tree>,
    pub(crate) ours: Option<Tree>,
}

impl Tree {
    /// `message`, with what a server chose written as `names` has it.
    pub(crate) fn of(message: &DynamicMessage, names: &Names) -> Tree {
        let known = message.fields().map(|(field, value)| {
            let mut tree = Tree::value(value, names);
            // Members stand in the order of their ids, which the server chose, etcd's leases by the time they
            // have left, and a lease's keys and alarms (`errors` of a status) as chance has it.
            if let (Tree::List(list), true) = (
                &mut tree,
                matches!(
                    field.name(),
                    "members" | "leases" | "keys" | "alarms" | "errors"
                ),
            ) {
                list.sort_by_key(Tree::to_string);
            }
            (field.name().to_owned(), tree)
        });
        let unknown = message.unknown_fields().map(|field| {
            (
                format!("unknown {}", field.number()),
                Tree::Bytes(bytes_of(field)),
            )
        });
        Tree::Message(known.chain(unknown).collect())
    }

    fn value(value: &Value, names: &Names) -> Tree {
        match value {
            Value::Bool(flag) => Tree::Number(i128::from(*flag)),
            Value::I32(n) | Value::EnumNumber(n) => Tree::Number(i128::from(*n)),
            Value::U32(n) => Tree::Number(i128::from(*n)),
            Value::I64(n) => Tree::Number(i128::from(names.mark_of(*n))),
            // Ids of members are unsigned on the wire and marks are small.
            Value::U64(n) => {
                Tree::Number(i128::from(names.mark_of(n.cast_signed()).cast_unsigned()))
            }
            Value::F32(n) => Tree::Text(n.to_string()),
            Value::F64(n) => Tree::Text(n.to_string()),
            Value::String(text) => Tree::Text(names.marked_text(text)),
            Value::Bytes(bytes) => Tree::Bytes(names.marked_bytes(bytes)),
            Value::Message(message) => Tree::of(message, names),
            Value::List(list) => Tree::List(list.iter().map(|v| Tree::value(v, names)).collect()),
            // etcd's protocol has no maps.
            Value::Map(map) => Tree::Text(format!("{map:?}")),
        }
    }

    /// The value at a path of field names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Tree> {
        path.iter().try_fold(self, |tree, name| match tree {
            Tree::Message(fields) => fields.get(*name),
            _ => None,
        })
    }

    /// The number at a path; 0 when there is none, as the protocol has it.
    pub(crate) fn number(&self, path: &[&str]) -> i64 {
        match self.at(path) {
            Some(Tree::Number(n)) => i64::try_from(*n).unwrap_or(0),
            _ => 0,
        }
    }

    /// The list at a path; empty when there is none.
    pub(crate) fn list(&self, path: &[&str]) -> &[Tree] {
        match self.at(path) {
            Some(Tree::List(list)) => list,
            _ => &[],
        }
    }

    /// The bytes at a path; empty when there are none.
    pub(crate) fn bytes(&self, path: &[&str]) -> &[u8] {
        match self.at(path) {
            Some(Tree::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The parts of an answer as one: in each the message `under` may have a list `long`, and what else the parts have
    /// stands in the one part where it must be, the last.
    pub(crate) fn joined(parts: &[Tree], under: &str, long: &str) -> Tree {
        let items: Vec<Tree> = parts
            .iter()
            .flat_map(|part| part.list(&[under, long]).iter().cloned())
            .collect();
        let mut whole = BTreeMap::from([("parts".to_owned(), Tree::List(items))]);
        for (at, part) in parts.iter().enumerate() {
            let Tree::Message(fields) = part else {
                continue;
            };
            for (name, value) in fields {
                let mut value = value.clone();
                if let (Tree::Message(fields), true) = (&mut value, name == under) {
                    fields.remove(long);
                }
                let is_last = at + 1 == parts.len();
                if is_last {
                    whole.insert(name.clone(), value);
                } else if value != Tree::Message(BTreeMap::new()) {
                    whole.insert(format!("early {name}"), value);
                }
            }
        }
        Tree::Message(whole)
    }

    /// All places in which `peer` and `ours` differ.
    pub(crate) fn differences(peer: &Tree, ours: &Tree) -> Vec<Difference> {
        let mut found = Vec::new();
        differ("", Some(peer), Some(ours), &mut found);
        found
    }
}

fn bytes_of(field: &UnknownField) -> Vec<u8> {
    let mut bytes = Vec::new();
    field.encode(&mut bytes);
    bytes
}

fn differ(path: &str, peer: Option<&Tree>, ours: Option<&Tree>, found: &mut Vec<Difference>) {
    if peer == ours {
        return;
    }
    match (peer, ours) {
        (Some(Tree::Message(left)), Some(Tree::Message(right))) => {
            let names: std::collections::BTreeSet<&String> =
                left.keys().chain(right.keys()).collect();
            for name in names {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                differ(&path, left.get(name), right.get(name), found);
            }
        }
        (Some(Tree::List(left)), Some(Tree::List(right))) if left.len() == right.len() => {
            let path = format!("{path}[]");
            for (left, right) in left.iter().zip(right) {
                differ(&path, Some(left), Some(right), found);
            }
        }
        _ => found.push(Difference {
            path: path.to_owned(),
            peer: peer.cloned(),
            ours: ours.cloned(),
        }),
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Number(n) => match crate::marks::word(*n) {
                Some(word) => f.write_str(&word),
                None => write!(f, "{n}"),
            },
            Tree::Text(text) => write!(f, "{text:?}"),
            Tree::Bytes(bytes) if bytes.len() > 200 => {
                write!(
                    f,
                    "\"{}…\" ({} bytes)",
                    bytes[..32].escape_ascii(),
                    bytes.len()
                )
            }
            Tree::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Tree::List(list) => {
                f.write_str("[")?;
                for (i, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Tree::Message(fields) => {
                f.write_str("{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;
    use prost::Message;

    fn tree(bytes: &[u8]) -> Tree {
        let message = DynamicMessage::decode(proto::method("KV/Range").output(), bytes);
        Tree::of(&message.expect("a message"), &Names::default())
    }

    #[test]
    fn a_difference_is_told_by_its_place() {
        let one = |lease, more| proto::etcdserverpb::RangeResponse {
            kvs: vec![proto::key_value(b"a", lease)],
            more,
            ..Default::default()
        };
        let (peer, ours) = (one(1, false).encode_to_vec(), one(2, true).encode_to_vec());
        let found = Tree::differences(&tree(&peer), &tree(&ours));
        let places: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(places, ["kvs[].lease", "more"]);
        assert!(Tree::differences(&tree(&peer), &tree(&peer)).is_empty());
    }

    #[test]
    fn a_field_that_nobody_knows_is_seen() {
        // Field 1000, a number.
        let more = [0xc0, 0x3e, 0x05];
        let found = Tree::differences(&tree(&[]), &tree(&more));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "unknown 1000");
    }

    #[test]
    fn what_a_server_chose_is_the_same_when_it_means_the_same() {
        let answer = |lease| proto::etcdserverpb::RangeResponse {
            kvs: vec![proto::key_value(
                format!("lock/{lease:x}").as_bytes(),
                lease,
            )],
            ..Default::default()
        };
        let read = |lease: i64| {
            let mut names = Names::default();
            names.learn(crate::marks::GRANTED + 3, lease);
            let bytes = answer(lease).encode_to_vec();
            let message =
                DynamicMessage::decode(proto::method("KV/Range").output(), bytes.as_slice());
            Tree::of(&message.expect("a message"), &names)
        };
        assert_eq!(read(0x7000_0000_0001), read(0x7fff_0000_0002));
        assert!(
            read(0x7000_0000_0001)
                .to_string()
                .contains("lease: granted 1000")
        );
    }
}
