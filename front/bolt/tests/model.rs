//! What is written is what is read: random buckets against sorted maps.
#![allow(clippy::unwrap_used)] // a test that fails says where

use bolt::{Entry, File, Layout, PAGE_BYTES, WriteError, Writer};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A bucket: names and keys share one order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Model(BTreeMap<Vec<u8>, Node>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    Value(Vec<u8>),
    Bucket(Model),
}

fn write(writer: &mut Writer, model: &Model, out: &mut Vec<u8>) {
    for (key, node) in &model.0 {
        match node {
            Node::Value(value) => writer.push(key, value).unwrap(),
            Node::Bucket(bucket) => {
                writer.begin_bucket(key).unwrap();
                write(writer, bucket, out);
                writer.end_bucket().unwrap();
            }
        }
        out.extend(writer.take_ready());
    }
}

fn layout(model: &Model) -> Layout {
    let mut writer = Writer::measure();
    let mut out = Vec::new();
    write(&mut writer, model, &mut out);
    assert!(out.is_empty(), "the first pass gives out nothing");
    writer.finish().unwrap()
}

fn file(model: &Model) -> Vec<u8> {
    let layout = layout(model);
    let mut writer = Writer::emit(layout);
    let mut out = Vec::new();
    write(&mut writer, model, &mut out);
    writer.finish().unwrap();
    out.extend(writer.take_ready());
    assert_eq!(out.len() as u64, layout.file_bytes());
    assert_eq!(out.len() % PAGE_BYTES, 0);
    out
}

fn read(file: &File<&[u8]>, bucket: &bolt::Bucket) -> Model {
    let mut model = Model::default();
    let mut items = file.items(bucket);
    while let Some(item) = items.next().unwrap() {
        let node = match item.entry {
            Entry::Value(value) => Node::Value(value.to_vec()),
            Entry::Bucket(bucket) => Node::Bucket(read(file, &bucket)),
        };
        model.0.insert(item.key.to_vec(), node);
    }
    model
}

fn model() -> impl Strategy<Value = Model> {
    let key = || prop::collection::vec(any::<u8>(), 1..40);
    let length = prop_oneof![8 => 0usize..60, 2 => 500usize..2500, 1 => 4000usize..20_000];
    let value = (length, any::<u8>()).prop_map(|(length, fill)| Node::Value(vec![fill; length]));
    let leaf = prop::collection::btree_map(key(), value.clone(), 0..300).prop_map(Model);
    leaf.prop_recursive(3, 2000, 6, move |inner| {
        let node = prop_oneof![value.clone(), inner.prop_map(Node::Bucket)];
        prop::collection::btree_map(key(), node, 0..12).prop_map(Model)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_written_is_what_is_read(model in model()) {
        let bytes = file(&model);
        let file = File::open(&bytes[..]).unwrap();
        prop_assert!(file.has_free_list());
        prop_assert_eq!(file.n_bytes(), bytes.len() as u64);
        file.check().unwrap();
        prop_assert_eq!(read(&file, &file.root()), model);
    }

    /// One byte is changed, or the file is cut: another answer or an error, and never a panic.
    #[test]
    fn a_damaged_file_is_an_error_or_another_file(
        model in model(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = file(&model);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(file) = File::open(&bytes[..]) {
            let _ = file.check();
        }
    }
}

/// Each of its bytes: with one of the two damaged the other counts, with both there is no file.
#[test]
fn a_meta_page_counts_only_with_its_checksum() {
    let pairs = (0..50_u8).map(|n| (vec![n], Node::Value(vec![n; 40])));
    let model = Model(pairs.collect());
    let whole = file(&model);
    // Behind the header of the page.
    for at in 16..16 + 64 {
        for bit in [0, 7] {
            let mut one = whole.clone();
            one[at] ^= 1 << bit;
            for is_second_too in [false, true] {
                one[PAGE_BYTES + at] ^= u8::from(is_second_too) << bit;
                let opened = File::open(&one[..]);
                match is_second_too {
                    false => {
                        let file = opened.unwrap();
                        assert_eq!(read(&file, &file.root()), model, "byte {at}");
                    }
                    true => {
                        let words = opened.err().unwrap().to_string();
                        let wanted = "neither of its two meta pages is sound";
                        assert!(words.ends_with(wanted), "byte {at}: {words}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_tree_has_no_branch_with_one_child() {
    // Around every border of one, two and three levels.
    for n in [1u32, 2, 93, 94, 95, 8000, 8001, 8002, 9000, 12_000] {
        let entries = (0..n).map(|n| {
            let key = n.to_be_bytes().to_vec();
            (key, Node::Value(vec![7; 24]))
        });
        let bucket = Node::Bucket(Model(entries.collect()));
        let model = Model(BTreeMap::from([(b"b".to_vec(), bucket)]));
        let bytes = file(&model);
        let opened = File::open(&bytes[..]).unwrap();
        assert_eq!(read(&opened, &opened.root()), model, "{n}");
        for page in bytes.chunks(PAGE_BYTES) {
            let (flags, count) = (page[8], u16::from_le_bytes([page[10], page[11]]));
            assert!(flags != 1 || count > 1, "{n}");
        }
    }
}

#[test]
fn keys_that_do_not_ascend_are_refused() {
    let mut writer = Writer::measure();
    writer.begin_bucket(b"b").unwrap();
    writer.push(b"k", b"").unwrap();
    assert_eq!(writer.push(b"k", b""), Err(WriteError::Key(b"k".to_vec())));
    let mut writer = Writer::measure();
    assert_eq!(writer.push(b"", b"v"), Err(WriteError::Key(Vec::new())));
    let mut writer = Writer::measure();
    writer.begin_bucket(b"b").unwrap();
    writer.end_bucket().unwrap();
    assert!(writer.begin_bucket(b"a").is_err());
    assert_eq!(Writer::measure().end_bucket(), Err(WriteError::NotOpen));
    let mut writer = Writer::measure();
    writer.begin_bucket(b"b").unwrap();
    assert_eq!(writer.finish(), Err(WriteError::Open(1)));
}

#[test]
fn passes_that_differ_are_an_error() {
    let layout = layout(&Model::default());
    let mut writer = Writer::emit(layout);
    for n in 0..1000u32 {
        writer.push(&n.to_be_bytes(), &[1; 30]).unwrap();
    }
    assert_eq!(writer.finish(), Err(WriteError::Differs));
}
