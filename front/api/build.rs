//! Compiles `proto/` with protox and prost, and gives every message its JSON.
//!
//! JSON is derived from the same messages: `serde` on each, and on each field how its kind is written (`src/json.rs`).
//! A field whose comment says `@id` is an id, which people see as hexadecimal.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use std::collections::BTreeSet;

const FILES: [&str; 5] = [
    "common.proto",
    "kv.proto",
    "lease.proto",
    "lock.proto",
    "cluster.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut ids = BTreeSet::new();
    for file in FILES {
        ids.extend(ids_of(&std::fs::read_to_string(format!("proto/{file}"))?));
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.message_attribute(
        ".",
        "#[derive(serde::Serialize, serde::Deserialize)]\n\
         #[serde(default, deny_unknown_fields, rename_all = \"camelCase\")]",
    );
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        for field in &message.field {
            if let Some(attribute) = attribute(message, field, &ids) {
                let path = format!(".quorate.v1.{}.{}", message.name(), field.name());
                config.field_attribute(path, format!("#[serde({attribute})]"));
            }
        }
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

/// How `field` is written in JSON, when it is not as its Rust type would be.
fn attribute(
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
    ids: &BTreeSet<(String, String)>,
) -> Option<String> {
    let is_repeated = field.label() == Label::Repeated;
    let is_optional = field.proto3_optional();
    let is_id = ids.contains(&(message.name().to_owned(), field.name().to_owned()));
    let with = match field.r#type() {
        Type::Bytes if is_repeated => "Texts".to_owned(),
        Type::Bytes if is_optional => "OptionalText".to_owned(),
        Type::Bytes => "Text".to_owned(),
        Type::Uint64 if is_id => "Id".to_owned(),
        Type::Int64 if is_id => "SignedId".to_owned(),
        Type::Uint64 if is_optional => "OptionalNumber".to_owned(),
        Type::Uint64 => "Number".to_owned(),
        Type::Enum => format!("Named::<{}>", field.type_name().rsplit('.').next()?),
        Type::Message if !is_repeated => {
            return Some("skip_serializing_if = \"Option::is_none\"".to_owned());
        }
        Type::Uint32 | Type::Bool if is_optional => {
            return Some("skip_serializing_if = \"Option::is_none\"".to_owned());
        }
        Type::String if !is_repeated => {
            return Some("skip_serializing_if = \"String::is_empty\"".to_owned());
        }
        Type::Message | Type::String | Type::Bool | Type::Uint32 => return None,
        other => panic!("{}.{}: {other:?} has no JSON", message.name(), field.name()),
    };
    let skip = match is_optional {
        true => ", skip_serializing_if = \"Option::is_none\"",
        false => "",
    };
    Some(format!("with = \"crate::json::{with}\"{skip}"))
}

/// The fields of `text`, a file of ours, whose comment says `@id`, each with its message.
fn ids_of(text: &str) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    let (mut message, mut is_id) = (String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            message = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if line.starts_with("//") {
            is_id |= line.contains("@id");
        } else {
            if is_id && let Some((before, _)) = line.split_once(" = ") {
                let name = before.rsplit(' ').next().unwrap_or_default();
                ids.push((message.clone(), name.to_owned()));
            }
            is_id = false;
        }
    }
    ids
}
