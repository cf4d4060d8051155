//! `store::command::Batch`: what a log entry holds, and what a follower forwards.

use super::{Target, Verdict};
use crate::{heap, mutate};
use base::MemberId;
use bytes::Bytes;
use clock::HybridTime;
use store::command::{Batch, Command, DialectId};

/// See the module.
pub const TARGET: Target = Target {
    name: "batch",
    run,
    corpus,
    mutate: mutate::bytes,
    one_in: 1,
};

/// Decodes; what was accepted has these bytes and no others, and no length was believed.
pub fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let decoded = heap::bounded(8 * input.len() + 4096, "a batch", || Batch::decode(&bytes));
    let Ok(batch) = decoded else {
        return Verdict::Refused;
    };
    assert_eq!(batch.encoded_len(), input.len(), "the announced length");
    assert_eq!(&batch.encode()[..], input, "one batch has one encoding");
    Verdict::Accepted
}

fn corpus() -> Vec<Vec<u8>> {
    let command = |n: u64, client: Option<(u64, u64)>, request: &[u8]| Command {
        dialect: DialectId(n as u8),
        origin: MemberId(n),
        tag: 1000 + n,
        client,
        identity: None,
        request: Bytes::copy_from_slice(request),
    };
    let batch = |commands: Vec<Command>| Batch {
        apply_version: 1,
        time: HybridTime::new(1_700_000_000_000, 7),
        commands,
    };
    let many = (0..40).map(|n| command(n, (n % 2 == 0).then_some((n, 2 * n)), b"x"));
    [
        Batch::default(),
        batch(vec![command(1, None, b"\x01\x0a\x01a\x12\x01b")]),
        batch(vec![
            command(1, Some((7, 8)), b""),
            command(0, None, &[7; 300]),
        ]),
        batch(many.collect()),
    ]
    .iter()
    .map(|batch| batch.encode().to_vec())
    .collect()
}
