//! Compiles `proto/` with protox and prost: no `protoc` on the user's machine, and no service code,
//! since the front does not know the transport. Beside the types it writes what `src/json` reads: the messages,
//! enumerations and methods as plain tables.

// Built with on the developer's machine; nothing of it runs in a member.
#![allow(clippy::disallowed_methods)]

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        ["kv", "auth", "rpc", "v3lock", "v3election", "health"].map(|f| format!("{f}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(
        Path::new(&folder).join("schema.rs"),
        schema(&Names::of(&descriptors), &descriptors)?,
    )?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

/// All messages and enumerations by their full names, those within others among them.
#[derive(Default)]
struct Names<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Names<'a> {
    fn of(descriptors: &'a FileDescriptorSet) -> Names<'a> {
        let mut names = Names::default();
        for file in &descriptors.file {
            let package = format!(".{}", file.package());
            names.add(&package, &file.message_type, &file.enum_type);
        }
        names
    }

    fn add(
        &mut self,
        within: &str,
        messages: &'a [DescriptorProto],
        enums: &'a [EnumDescriptorProto],
    ) {
        for one in enums {
            self.enums.insert(format!("{within}.{}", one.name()), one);
        }
        for message in messages {
            let name = format!("{within}.{}", message.name());
            self.add(&name, &message.nested_type, &message.enum_type);
            self.messages.insert(name, message);
        }
    }
}

/// Where `name` stands in its table.
fn index<T>(table: &BTreeMap<String, T>, name: &str) -> Result<usize, String> {
    let found = table.keys().position(|known| known == name);
    found.ok_or_else(|| format!("no type {name}"))
}

fn schema(
    names: &Names<'_>,
    descriptors: &FileDescriptorSet,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut out = String::from("pub(crate) static MESSAGES: &[Message] = &[\n");
    for (name, message) in &names.messages {
        writeln!(out, "Message {{ name: {:?}, fields: &[", &name[1..])?;
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|field| field.number());
        for field in fields {
            writeln!(
                out,
                "Field {{ name: {:?}, json_name: {:?}, number: {}, kind: {}, is_repeated: {}, oneof: {:?} }},",
                field.name(),
                field.json_name(),
                field.number(),
                kind(names, field)?,
                field.label() == Label::Repeated,
                field.oneof_index.map(usize::try_from).transpose()?,
            )?;
        }
        out.push_str("] },\n");
    }
    out.push_str("];\npub(crate) static ENUMS: &[Enum] = &[\n");
    for one in names.enums.values() {
        let values = one.value.iter().map(|value| (value.name(), value.number()));
        writeln!(out, "Enum {{ values: &{:?} }},", values.collect::<Vec<_>>())?;
    }
    out.push_str("];\npub(crate) static CALLS: &[Call] = &[\n");
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                writeln!(
                    out,
                    "Call {{ path: \"/{}.{}/{}\", request: {}, response: {} }},",
                    file.package(),
                    service.name(),
                    method.name(),
                    index(&names.messages, method.input_type())?,
                    index(&names.messages, method.output_type())?,
                )?;
            }
        }
    }
    out.push_str("];\n");
    Ok(out)
}

/// How a field is written; etcd needs no more kinds than these.
fn kind(names: &Names<'_>, field: &FieldDescriptorProto) -> Result<String, String> {
    Ok(match field.r#type() {
        Type::Bool => "Kind::Bool".to_owned(),
        Type::Int32 => "Kind::Int32".to_owned(),
        Type::Int64 => "Kind::Int64".to_owned(),
        Type::Uint32 => "Kind::Uint32".to_owned(),
        Type::Uint64 => "Kind::Uint64".to_owned(),
        Type::String => "Kind::String".to_owned(),
        Type::Bytes => "Kind::Bytes".to_owned(),
        Type::Enum => format!("Kind::Enum({})", index(&names.enums, field.type_name())?),
        Type::Message => format!(
            "Kind::Message({})",
            index(&names.messages, field.type_name())?
        ),
        other => return Err(format!("{}: no JSON for {other:?}", field.name())),
    })
}
