//! `etcd::snapshot_contents`: a snapshot file that an operator gives to `restore`.
//!
//! The first byte says whether the SHA-256 was made anew after the damage.

use super::{Target, Verdict};
use crate::states::{go_on, load, position, read, sample};
use crate::{chunks, heap, mutate};
use base::Rng;
use etcd::proto::etcdserverpb::SnapshotResponse;
use etcd::{SnapshotStream, snapshot_contents};
use prost::Message;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// See the module.
pub const TARGET: Target = Target {
    name: "etcd_snapshot",
    run,
    corpus,
    mutate,
    one_in: 4,
};

const SEALED: u8 = 1;
const HASH: usize = 32;

static WRITTEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut stream = SnapshotStream::new(sample(position(5, 9)));
    let messages = std::iter::from_fn(|| stream.next_message());
    let blobs = messages.map(|m| SnapshotResponse::decode(m).expect("ours decodes").blob);
    blobs.collect::<Vec<_>>().concat()
});

/// What is in it lies at its front, is nearly all of it, and unless somebody sealed it again is what was
/// written. The reader behind it gets it in any case.
pub fn run(input: &[u8]) -> Verdict {
    let Some((mode, file)) = input.split_first() else {
        return Verdict::Refused;
    };
    let Ok(contents) = heap::bounded(4096, "a snapshot file", || snapshot_contents(file)) else {
        return Verdict::Refused;
    };
    assert!(file.starts_with(contents), "the contents are its front");
    let rest = file.len() - contents.len();
    assert!(
        (HASH + 2..HASH + 2 + 512).contains(&rest),
        "{rest} bytes of it are something else"
    );
    if *mode != SEALED {
        assert!(file == &WRITTEN[..], "nobody wrote this");
    }
    let bytes_max = 65_536 + 64 * file.len();
    let Ok(state) = heap::bounded(bytes_max, "a snapshot", || load(contents)) else {
        return Verdict::Refused;
    };
    read(&state);
    go_on(state);
    Verdict::Accepted
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let mode = input.first().copied().unwrap_or(0);
    match rng.below(4) {
        0 => mutate::bytes(input, other, rng),
        // The padding and what is before it.
        1 if input.len() > 600 => {
            let at = input.len() - HASH - 1 - rng.below(520) as usize;
            mutate::put_number(input, at, rng);
            seal(input);
            return;
        }
        2 => {
            mutate::bytes(input, other, rng);
            seal(input);
            return;
        }
        _ => {
            let file = input.get(1..).unwrap_or(&[]);
            let Ok(contents) = snapshot_contents(file) else {
                return mutate::bytes(input, other, rng);
            };
            let mut contents = contents.to_vec();
            let other = other.get(1..).and_then(|file| snapshot_contents(file).ok());
            chunks::mutate_sealed(&mut contents, other.unwrap_or(&[]), rng);
            let padding = 2 + (512 - (contents.len() + 2) % 512) % 512;
            contents.extend(std::iter::repeat_n(0, padding - 2));
            contents.extend_from_slice(&(padding as u16).to_le_bytes());
            *input = [&[SEALED][..], &contents, &[0; HASH]].concat();
            seal(input);
            return;
        }
    }
    // What is sealed cannot be unsealed: the claim would be wrong.
    if let Some(first) = input.first_mut() {
        *first = mode;
    }
}

/// Puts the hash right and says so.
fn seal(input: &mut Vec<u8>) {
    // Every length is refused but those of 32 modulo 512.
    let body = input.len().saturating_sub(1 + HASH) / 512 * 512;
    input.truncate(1 + body);
    input.resize(1 + body, 0);
    let hash = Sha256::digest(&input[1..]);
    input.extend_from_slice(&hash);
    input[0] = SEALED;
}

fn corpus() -> Vec<Vec<u8>> {
    vec![[&[0][..], &WRITTEN].concat()]
}
