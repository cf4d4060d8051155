//! `store::stream::Reader`: a state on its way from another member.
//!
//! The first byte says whether the hashes of the rest were made anew after the damage: then nothing is
//! promised of the contents but that they are a state or an error.

use super::{Target, Verdict};
use crate::states::{go_on, load, position, read, sample, stream_of};
use crate::{chunks, heap, mutate};
use base::Rng;
use std::sync::LazyLock;
use store::stream::Reader;

/// See the module.
pub const TARGET: Target = Target {
    name: "snapshot_stream",
    run,
    corpus,
    mutate,
    one_in: 2,
};

const SEALED: u8 = 1;

static WRITTEN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let state = sample(position(5, 9));
    let sizes = [usize::MAX, 300, 1];
    sizes.map(|bytes| stream_of(&state, bytes)).to_vec()
});

/// Whole or in pieces, the verdict is the same. What was not sealed again is what was written, or is
/// refused. What is accepted can be read, written again to the same bytes, and gone on from.
pub fn run(input: &[u8]) -> Verdict {
    let Some((mode, stream)) = input.split_first() else {
        return Verdict::Refused;
    };
    let bytes_max = 65_536 + 64 * stream.len();
    let whole = heap::bounded(bytes_max, "a snapshot", || load(stream));
    let in_pieces = load_in_pieces(stream);
    assert_eq!(
        whole.as_ref().err(),
        in_pieces.as_ref().err(),
        "bytes may be cut anywhere"
    );
    let Ok(state) = whole else {
        return Verdict::Refused;
    };
    if *mode != SEALED {
        assert!(WRITTEN.iter().any(|w| w == stream), "nobody wrote this");
        state.check();
    }
    read(&state);
    let again = stream_of(&state, 300);
    let loaded = load(&again).expect("what was accepted once is accepted again");
    assert_eq!(stream_of(&loaded, 300), again, "it is the same state");
    go_on(state);
    Verdict::Accepted
}

fn load_in_pieces(stream: &[u8]) -> Result<store::State, store::DecodeError> {
    let mut reader = Reader::new();
    for piece in stream.chunks(61) {
        reader.push(piece)?;
    }
    reader.finish()
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if input.is_empty() || rng.one_in(8) {
        let mode = input.first().copied();
        mutate::bytes(input, other, rng);
        // What is sealed cannot be unsealed: the claim would be wrong.
        if let (Some(mode), Some(first)) = (mode, input.first_mut()) {
            *first = mode;
        }
        return;
    }
    let mut stream = input.split_off(1);
    chunks::mutate_sealed(&mut stream, other.get(1..).unwrap_or(&[]), rng);
    *input = [&[SEALED][..], &stream].concat();
}

fn corpus() -> Vec<Vec<u8>> {
    let written = WRITTEN.iter();
    written.map(|stream| [&[0][..], stream].concat()).collect()
}
