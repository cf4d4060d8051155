//! The bytes of batches: what goes in comes out, and hostile bytes are errors.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use base::{MemberId, Rng};
use bytes::Bytes;
use clock::HybridTime;
use proptest::prelude::*;
use proptest::test_runner::Config;
use store::DecodeError;
use store::command::{Batch, Command, DialectId, IDENTITY_BYTES_MAX, Identity};

fn identity() -> impl Strategy<Value = Identity> {
    let name = prop::collection::vec(any::<u8>(), 1..20);
    let user = (name, any::<u64>()).prop_map(|(name, revision)| Identity::User {
        name: name.into(),
        revision,
    });
    prop_oneof![1 => Just(Identity::Member), 3 => user]
}

fn command() -> impl Strategy<Value = Command> {
    let identity = prop::option::of(identity());
    let client = prop::option::of((any::<u64>(), any::<u64>()));
    let request = prop::collection::vec(any::<u8>(), 0..40);
    let numbers = (any::<u8>(), any::<u64>(), any::<u64>());
    (numbers, client, identity, request).prop_map(
        |((dialect, origin, tag), client, identity, request)| Command {
            dialect: DialectId(dialect),
            origin: MemberId(origin),
            tag,
            client,
            identity,
            request: request.into(),
        },
    )
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_goes_in_comes_out(
        apply_version in any::<u16>(),
        time in any::<u64>().prop_map(HybridTime),
        commands in prop::collection::vec(command(), 0..20),
    ) {
        let batch = Batch { apply_version, time, commands };
        let bytes = batch.encode();
        prop_assert_eq!(bytes.len(), batch.encoded_len());
        prop_assert_eq!(Batch::decode(&bytes), Ok(batch));
        for end in 0..bytes.len() {
            prop_assert!(Batch::decode(&bytes.slice(..end)).is_err(), "cut at {}", end);
        }
        let surplus = Bytes::from([&bytes[..], &[0]].concat());
        prop_assert_eq!(Batch::decode(&surplus), Err(DecodeError::LeftOver(1)));
    }

    /// Any bytes give an error, or a batch that is written as the same bytes again.
    #[test]
    fn bytes_have_one_reading(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from([&[1, 0][..], &bytes].concat());
        if let Ok(batch) = Batch::decode(&bytes) {
            prop_assert_eq!(batch.encode(), bytes);
        }
    }
}

fn sample() -> Batch {
    Batch {
        apply_version: 1,
        time: HybridTime::new(1_700_000_000_000, 2),
        commands: vec![
            Command {
                dialect: DialectId(1),
                origin: MemberId(0xa1),
                tag: 42,
                client: None,
                identity: None,
                request: Bytes::from_static(b"put"),
            },
            Command {
                dialect: DialectId(2),
                origin: MemberId(0xb2),
                tag: 43,
                client: Some((7, 8)),
                identity: None,
                request: Bytes::new(),
            },
        ],
    }
}

/// [`sample`] with somebody behind each command.
fn signed_sample() -> Batch {
    let mut batch = sample();
    batch.commands[0].identity = Some(Identity::User {
        name: Bytes::from_static(b"ann"),
        revision: 9,
    });
    batch.commands[1].identity = Some(Identity::Member);
    batch
}

#[test]
fn an_identity_has_a_name_of_bounded_length_and_the_member_none() {
    let signed = |name: usize, revision| {
        let mut batch = sample();
        batch.commands.truncate(1);
        batch.commands[0].identity = Some(Identity::User {
            name: vec![b'x'; name].into(),
            revision,
        });
        Batch::decode(&batch.encode())
    };
    assert!(signed(IDENTITY_BYTES_MAX, 0).is_ok());
    let refused = Err(DecodeError::OutOfBounds("an identity"));
    assert_eq!(signed(IDENTITY_BYTES_MAX + 1, 1), refused);
    assert_eq!(signed(0, 1), refused);
}

#[test]
fn a_flipped_byte_is_an_error_or_another_batch() {
    let bytes = sample().encode();
    let mut rng = Rng::new(1);
    for _ in 0..20_000 {
        let mut flipped = bytes.to_vec();
        let at = rng.below(bytes.len() as u64) as usize;
        flipped[at] ^= rng.between(1, 255) as u8;
        match Batch::decode(&flipped.into()) {
            Ok(batch) => assert_ne!(batch, sample()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn a_claim_of_many_commands_takes_no_memory() {
    let mut bytes = sample().encode().to_vec();
    bytes[12..16].copy_from_slice(&4096u32.to_le_bytes());
    assert_eq!(
        Batch::decode(&bytes.clone().into()),
        Err(DecodeError::Short("a batch"))
    );
    bytes[12..16].copy_from_slice(&4097u32.to_le_bytes());
    let refused = Err(DecodeError::OutOfBounds("the number of commands"));
    assert_eq!(Batch::decode(&bytes.into()), refused);
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = sample().encode().to_vec();
    bytes[0] = 2;
    let refused = Err(DecodeError::Version { found: 2, known: 1 });
    assert_eq!(Batch::decode(&bytes.into()), refused);
}

#[test]
fn requests_share_the_batchs_bytes() {
    let bytes = sample().encode();
    let batch = Batch::decode(&bytes).unwrap();
    let range = bytes.as_ptr_range();
    assert!(range.contains(&batch.commands[0].request.as_ptr()));
}

/// The drawn bytes in the documentation are those of this batch.
#[test]
fn the_format_is_as_drawn() {
    for batch in [sample(), signed_sample()] {
        let mut drawn = String::new();
        for (at, line) in batch.encode().chunks(16).enumerate() {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            drawn += &format!("{:04x}  {}\n", at * 16, hex.join(" "));
        }
        let document = include_str!("../../../docs/format/command.md");
        assert!(document.contains(drawn.trim_end()), "draw this:\n{drawn}");
    }
}
