//! `etcd::backup`: a file that an operator gives to `quorate snapshot restore`.
//!
//! The first byte says whether something was damaged behind the back of the SHA-256.

use super::{Target, Verdict};
use crate::states::{go_on, position, read, sample};
use crate::{chunks, heap, mutate};
use base::Rng;
use bolt::{Entry, File, Writer};
use etcd::SnapshotStream;
use etcd::backup::{BUCKET_OF_OURS, HashCheck, Sealed, restore, summary};
use etcd::proto::etcdserverpb::SnapshotResponse;
use prost::Message;
use std::sync::LazyLock;
use store::restore::{Refounding, refound};

/// See the module.
pub const TARGET: Target = Target {
    name: "etcd_snapshot",
    run,
    corpus,
    mutate,
    one_in: 4,
};

const UNCHECKED: u8 = 1;

static WRITTEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut stream = SnapshotStream::new(sample(position(5, 9)));
    let next = || stream.next_message().expect("a state can be laid out");
    let messages = std::iter::from_fn(next);
    let blobs = messages.map(|m| SnapshotResponse::decode(m).expect("ours decodes").blob);
    blobs.collect::<Vec<_>>().concat()
});

/// With its hash it is what was written. Without, a state that can be read and gone on from comes of it, in the
/// old cluster and as the beginning of a new one, or an error.
pub fn run(input: &[u8]) -> Verdict {
    let Some((mode, file)) = input.split_first() else {
        return Verdict::Refused;
    };
    let check = match *mode {
        UNCHECKED => HashCheck::Skipped,
        _ => HashCheck::Required,
    };
    let bytes_max = 1024 * 1024 + 64 * file.len();
    let restored = heap::bounded(bytes_max, "a backup", || {
        let sealed = Sealed::open(file, check).ok()?;
        if check == HashCheck::Required {
            assert!(file == &WRITTEN[..], "nobody wrote this");
        }
        let file = File::open(sealed).ok()?;
        let _ = summary(&file);
        restore(&file).ok()
    });
    let Some(contents) = restored else {
        return Verdict::Refused;
    };
    contents.state.check();
    read(&contents.state);
    let how = Refounding {
        bump: 3,
        mark_compacted: true,
        ..Refounding::default()
    };
    if let Ok(first) = refound(contents.state.clone(), how) {
        first.check();
        go_on(first);
    }
    go_on(contents.state);
    Verdict::Accepted
}

/// A bucket's name, and its keys with their values.
type Bucket = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// What is in a file, if it is one.
fn entries(file: &[u8]) -> Option<Vec<Bucket>> {
    let file = File::open(file).ok()?;
    let mut all = Vec::new();
    let mut buckets = file.items(&file.root());
    while let Some(item) = buckets.next().ok()? {
        let Entry::Bucket(bucket) = item.entry else {
            continue;
        };
        let mut entries = Vec::new();
        let mut items = file.items(&bucket);
        while let Some(item) = items.next().ok()? {
            if let Entry::Value(value) = item.entry {
                entries.push((item.key.to_vec(), value.to_vec()));
            }
        }
        all.push((item.key.to_vec(), entries));
    }
    Some(all)
}

fn write(buckets: &[Bucket], mut writer: Writer) -> Option<Writer> {
    for (name, entries) in buckets {
        writer.begin_bucket(name).ok()?;
        for (key, value) in entries {
            writer.push(key, value).ok()?;
        }
        writer.end_bucket().ok()?;
    }
    Some(writer)
}

fn file_of(buckets: &[Bucket]) -> Option<Vec<u8>> {
    let layout = write(buckets, Writer::measure())?.finish().ok()?;
    let mut writer = write(buckets, Writer::emit(layout))?;
    writer.finish().ok()?;
    Some(writer.take_ready())
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if rng.one_in(4) {
        // Whoever damages it leaves the claim, unless it is the claim that is damaged.
        return mutate::bytes(input, other, rng);
    }
    let file = input.get(1..).unwrap_or_default();
    let Some(mut buckets) = entries(file) else {
        return mutate::bytes(input, other, rng);
    };
    for _ in 0..rng.between(1, 3) {
        let n = buckets.len() as u64;
        if n == 0 {
            break;
        }
        let at = rng.below(n) as usize;
        let (name, entries) = &mut buckets[at];
        if entries.is_empty() || rng.one_in(20) {
            buckets.remove(at);
            continue;
        }
        if name == BUCKET_OF_OURS && rng.one_in(2) {
            let mut stream: Vec<u8> = Vec::new();
            entries.iter().for_each(|(_, piece)| stream.extend(piece));
            chunks::mutate_sealed(&mut stream, &[], rng);
            *entries = vec![(vec![0; 8], stream)];
            continue;
        }
        let entry = rng.below(entries.len() as u64) as usize;
        match rng.below(4) {
            0 => drop(entries.remove(entry)),
            1 => mutate::bytes(&mut entries[entry].0, b"", rng),
            _ => mutate::bytes(&mut entries[entry].1, b"", rng),
        }
        entries.sort_unstable();
        entries.dedup_by(|one, other| one.0 == other.0);
    }
    if let Some(file) = file_of(&buckets) {
        *input = [&[UNCHECKED][..], &file].concat();
    }
}

fn corpus() -> Vec<Vec<u8>> {
    vec![
        [&[0][..], &WRITTEN].concat(),
        [&[UNCHECKED][..], &WRITTEN].concat(),
    ]
}
