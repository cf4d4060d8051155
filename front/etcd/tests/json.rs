//! JSON and back: every message against another implementation of the same mapping, and the odd inputs by hand.
#![allow(clippy::unwrap_used)] // a test that fails says where

use proptest::prelude::*;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
    Value,
};
use quorate_etcd::Method;
use quorate_etcd::json::{JsonError, JsonValues, Schema};
use std::sync::OnceLock;

/// The messages by protox, which our tables are made from too; what is made of them here is not ours.
fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let files = ["kv", "auth", "rpc", "v3lock", "v3election", "health"];
        let files = files.map(|file| format!("{file}.proto"));
        let compiled = protox::compile(files, [folder]).unwrap();
        DescriptorPool::from_file_descriptor_set(compiled).unwrap()
    })
}

/// A few bits at a time out of one number: what a message is made of.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % n
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(3),
            1 => u64::MAX - self.below(3),
            2 => i64::MIN as u64 + self.below(3),
            _ => self.below(u64::MAX >> 16) << self.below(17),
        }
    }

    fn message(&mut self, descriptor: MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let is_deep = depth == 0 && matches!(field.kind(), Kind::Message(_));
            if is_deep || self.below(2) == 0 {
                continue;
            }
            let value = match field.is_list() {
                true => {
                    let n_values = self.below(4);
                    Value::List((0..n_values).map(|_| self.value(&field, depth)).collect())
                }
                false => self.value(&field, depth),
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::Int32 => Value::I32(self.number() as i32),
            Kind::Int64 => Value::I64(self.number() as i64),
            Kind::Uint32 => Value::U32(self.number() as u32),
            Kind::Uint64 => Value::U64(self.number()),
            Kind::String => {
                let texts = ["", "a", "\"\\/\n\u{1}", "größe ☃ 𝄞", "\u{2028}<&>"];
                Value::String(texts[self.below(5) as usize].to_owned())
            }
            Kind::Bytes => {
                let n_bytes = self.below(8);
                let bytes: Vec<u8> = (0..n_bytes).map(|_| self.below(256) as u8).collect();
                Value::Bytes(bytes.into())
            }
            Kind::Enum(_) => Value::EnumNumber(self.below(7) as i32 - 1),
            Kind::Message(descriptor) => Value::Message(self.message(descriptor, depth - 1)),
            other => panic!("{other:?} does not occur"),
        }
    }
}

fn json_of(message: &DynamicMessage, options: &SerializeOptions) -> serde_json::Value {
    let json = message.serialize_with_options(serde_json::value::Serializer, options);
    json.unwrap()
}

fn check(schema: Schema, seed: u64) {
    let descriptor = pool().get_message_by_name(schema.name()).unwrap();
    let message = Choices(seed | 1).message(descriptor.clone(), 4);
    let bytes = prost::Message::encode_to_vec(&message);
    // What was set to its default is as if it were not set, once it was encoded.
    let message = DynamicMessage::decode(descriptor.clone(), &bytes[..]).unwrap();
    let mut written = Vec::new();
    schema.write(&bytes, &mut written).unwrap();

    // As another writes it, with etcd's options.
    let etcds = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(true)
        .skip_default_fields(true);
    let ours: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(ours, json_of(&message, &etcds), "{}", schema.name());

    // And back: what we write, and what clients write that know protobuf's other names, and say defaults as well.
    let others = SerializeOptions::new()
        .use_enum_numbers(seed.is_multiple_of(2))
        .stringify_64_bit_integers(seed.is_multiple_of(3))
        .skip_default_fields(false);
    let others = serde_json::to_vec(&json_of(&message, &others)).unwrap();
    for json in [written, others] {
        let back = schema.read(&json).unwrap();
        let back = DynamicMessage::decode(descriptor.clone(), &back[..]).unwrap();
        let text = String::from_utf8_lossy(&json);
        assert_eq!(back, message, "{}: {text}", schema.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_message_survives_json_and_is_written_as_others_write_it(seed in any::<u64>()) {
        for (nth, schema) in Schema::all().enumerate() {
            check(schema, seed.wrapping_add(nth as u64));
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), nth in any::<usize>()) {
        let all: Vec<Schema> = Schema::all().collect();
        let schema = all[nth % all.len()];
        let _ = schema.write(&bytes, &mut Vec::new());
        let _ = schema.read(&bytes);
    }
}

#[test]
fn the_schema_names_every_message_of_the_protos() {
    let ours: Vec<&str> = Schema::all().map(Schema::name).collect();
    for message in pool().all_messages() {
        if message.package_name() != "google.protobuf" {
            assert!(
                ours.contains(&message.full_name()),
                "{}",
                message.full_name()
            );
        }
    }
}

/// What a method's request says, read from `json` and told again.
fn told(method: Method, json: &str) -> Result<String, JsonError> {
    let schema = Schema::request(method);
    let mut out = Vec::new();
    schema.write(&schema.read(json.as_bytes())?, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn names_numbers_and_bytes_come_in_every_spelling_that_gos_decoder_takes() {
    let range = r#"{"key":"+/+/","range_end":"AA==","limit":"10","sort_order":"DESCEND"}"#;
    for json in [
        range,
        r#"{"key":"-_-_","rangeEnd":"AA","limit":10,"sortOrder":2}"#,
        r#"{"sort_order":2.0,"limit":"1e1","range_end":"AA==","key":"\u002b/+/"}"#,
        r#" {"key":"+/+/","range_end":"AA==","limit":10.0,"sort_order":"DESCEND","x":[{"y":[]}],"revision":null} "#,
        r#"{"key":"+/+/","range_end":"AA==","limit":100e-1,"sort_order":"DESCEND","sort_target":"NO_SUCH_TARGET"}"#,
    ] {
        assert_eq!(told(Method::Range, json).as_deref(), Ok(range), "{json}");
    }
    // An alternative counts though it is zero; a message counts though it is empty.
    let txn = r#"{"compare":[{"version":"0"}],"success":[{"request_txn":{}}]}"#;
    assert_eq!(told(Method::Txn, txn).as_deref(), Ok(txn));
    let none = r#"{"compare":[{"version":null,"key":null}],"success":null}"#;
    assert_eq!(
        told(Method::Txn, none).as_deref(),
        Ok(r#"{"compare":[{}]}"#)
    );
    let watch = r#"{"create_request":{"filters":["NODELETE",0,"WHAT"]}}"#;
    let read = r#"{"create_request":{"filters":["NODELETE","NOPUT"]}}"#;
    assert_eq!(told(Method::Watch, watch).as_deref(), Ok(read));
}

#[test]
fn what_gos_decoder_refuses_is_refused() {
    for json in [
        "",
        "null",
        "[]",
        "\"a\"",
        "{} {}",
        "{\"key\":}",
        "{\"key\":\"YQ==\",}",
        "{key:\"YQ==\"}",
        "{\"key\":1}",
        "{\"key\":[\"YQ==\"]}",
        "{\"key\":\"Y\"}",
        "{\"key\":\"a b=\"}",
        "{\"key\":\"\\ud800\"}",
        "{\"limit\":1.5}",
        "{\"limit\":\"\"}",
        "{\"limit\":\" 1\"}",
        "{\"limit\":true}",
        "{\"limit\":9223372036854775808}",
        "{\"limit\":1e30}",
        "{\"sort_order\":2147483648}",
        "{\"sort_order\":true}",
        "{\"serializable\":1}",
        "{\"serializable\":\"true\"}",
        "{\"key\":\"YQ==\",\"key\":\"YQ==\"}",
        "{\"range_end\":\"YQ==\",\"rangeEnd\":null}",
    ] {
        let read = Schema::request(Method::Range).read(json.as_bytes());
        assert!(read.is_err(), "{json}");
    }
    for json in [
        "{\"compare\":{}}",
        "{\"compare\":[null]}",
        "{\"success\":[{\"request_put\":{},\"request_range\":{}}]}",
        "{\"success\":[{\"request_put\":[]}]}",
        "{\"success\":[{\"request_put\":3}]}",
        "{\"compare\":[{\"version\":1,\"mod_revision\":1}]}",
    ] {
        let read = Schema::request(Method::Txn).read(json.as_bytes());
        assert!(read.is_err(), "{json}");
    }
}

#[test]
fn of_a_transaction_no_more_operations_are_read_than_it_may_have() {
    let read = |n: usize, rest: &str| {
        let list = vec!["{}"; n].join(",");
        let json = format!("{{\"failure\":[{list}{rest}]}}");
        let read = Schema::request(Method::Txn).read_bounded(json.as_bytes(), 10);
        read.map(|message| message.len())
    };
    assert_eq!(read(10, ""), Ok(20));
    // What comes behind it is not looked at.
    let refused = Err(JsonError::TooManyOps);
    assert_eq!(read(11, ",3,nonsense"), refused);
    assert_eq!(read(100_000, ""), refused);
    let text = JsonError::TooManyOps.to_string();
    assert_eq!(text, "etcdserver: too many operations in txn request");
    // Lists of anything else are not bounded by it.
    let urls = vec!["\"a\""; 20].join(",");
    let json = format!("{{\"peerURLs\":[{urls}]}}");
    let read = Schema::request(Method::MemberAdd).read_bounded(json.as_bytes(), 10);
    assert_eq!(read.map(|message| message.len()), Ok(60));
}

#[test]
fn transactions_in_transactions_end_at_the_depth_of_json() {
    let nested = |n: usize| {
        let (open, close) = ("{\"success\":[{\"request_txn\":", "}]}");
        format!("{}{{}}{}", open.repeat(n), close.repeat(n))
    };
    let read = |json: &str| {
        let mut values = JsonValues::new(1 << 20);
        values.push(json.as_bytes());
        let value = values.next_value()?;
        told(Method::Txn, std::str::from_utf8(&value.unwrap()).unwrap())
    };
    // Two objects and an array each, and the innermost one.
    assert_eq!(read(&nested(42)), Ok(nested(42)));
    assert_eq!(read(&nested(43)), Err(JsonError::TooDeep));
    assert_eq!(read(&nested(5000)), Err(JsonError::TooDeep));
}
