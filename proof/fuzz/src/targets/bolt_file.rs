//! `bolt::File`: a file of bbolt's, etcd's database among them.

use super::{Target, Verdict};
use crate::{heap, mutate};
use base::Rng;
use bolt::{Entry, File, Writer};

/// See the module.
pub const TARGET: Target = Target {
    name: "bolt_file",
    run,
    corpus,
    mutate,
    one_in: 2,
};

const PAGE: usize = 4096;

/// Walks through all of it: keys ascend in each bucket, no length was believed, and what is there is no more
/// than the file has room for.
pub fn run(input: &[u8]) -> Verdict {
    let walked = heap::bounded(512 * 1024 + 24 * input.len(), "a file", || {
        let file = File::open(input).ok()?;
        let totals = file.check().ok()?;
        let mut n_bytes = 0;
        let mut items = file.items(&file.root());
        while let Some(item) = items.next().ok()? {
            n_bytes += item.key.len();
            if let Entry::Value(value) = item.entry {
                n_bytes += value.len();
            }
        }
        Some((totals, n_bytes))
    });
    let Some((totals, n_bytes)) = walked else {
        return Verdict::Refused;
    };
    assert!(n_bytes <= input.len(), "{n_bytes} bytes of {}", input.len());
    // An element has sixteen bytes and a key.
    let most = 16 * input.len() as u64;
    assert!(
        totals.n_entries <= most && totals.n_buckets <= most,
        "{totals:?}"
    );
    Verdict::Accepted
}

fn write(writer: &mut Writer, n: u32) -> Result<(), bolt::WriteError> {
    for bucket in [&b"alarm"[..], b"key", b"meta"] {
        writer.begin_bucket(bucket)?;
        let n_entries = match bucket {
            b"key" => n,
            _ => n.min(3),
        };
        for entry in 0..n_entries {
            let length = match entry % 50 {
                49 => 6000,
                _ => entry as usize % 40,
            };
            writer.push(&entry.to_be_bytes(), &vec![7; length])?;
        }
        if bucket == b"meta" {
            writer.begin_bucket(b"nested")?;
            writer.push(b"k", &[1; 2000])?;
            writer.end_bucket()?;
        }
        writer.end_bucket()?;
    }
    Ok(())
}

fn corpus() -> Vec<Vec<u8>> {
    let file = |n| {
        let mut writer = Writer::measure();
        write(&mut writer, n).ok()?;
        let mut writer = Writer::emit(writer.finish().ok()?);
        write(&mut writer, n).ok()?;
        writer.finish().ok()?;
        Some(writer.take_ready())
    };
    [0, 3, 200, 700].into_iter().filter_map(file).collect()
}

/// Damage in the headers and elements of pages, which say where everything is, as often as anywhere.
fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let n_pages = (input.len() / PAGE) as u64;
    if n_pages == 0 || rng.one_in(3) {
        mutate::bytes(input, other, rng);
        return;
    }
    for _ in 0..rng.between(1, 4) {
        let page = rng.below(n_pages) as usize * PAGE;
        match rng.below(4) {
            // One page for another: cycles, and pages that lie about who they are.
            0 => {
                let from = rng.below(n_pages) as usize * PAGE;
                input.copy_within(from..from + PAGE, page);
            }
            1 => mutate::put_number(input, page + rng.below(3) as usize * 8, rng),
            _ => {
                let at = page + 16 + rng.below(24) as usize * 4;
                mutate::edit_field(input, at, rng);
            }
        }
    }
}
