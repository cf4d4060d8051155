//! Frames: what is written is read, and nothing else is.

use base::limits::FRAME_BYTES_MAX;
use base::{
    ClusterId, Entry, EntryKind, Index, LeaseId, LogPosition, MemberId, Membership, Message,
    MessageKind, PeerMessage, SnapshotMeta, Term,
};
use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_wire::{
    Frame, FrameReader, HEADER_BYTES, HELLO_BYTES_MAX, Hello, HelloRefusal, HelloReply, Origin,
    Purpose, SNAPSHOT_CHUNK_BYTES_MAX, SnapshotEnd, SnapshotHeader, WireError, encode,
    encode_message,
};
use std::time::Duration;

const ORIGIN: Origin = Origin {
    cluster: ClusterId(0xc1),
    member: MemberId(0xa1),
};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn reader() -> FrameReader {
    let mut reader = FrameReader::of_stranger();
    reader.trust(ORIGIN);
    reader
}

fn bytes_of(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    encode(ORIGIN, frame, &mut out);
    out
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..80).prop_map(Bytes::from)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| LogPosition {
        term: Term(term),
        index: Index(index),
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![Just(EntryKind::Normal), Just(EntryKind::Change)];
    (position(), kind, blob(), blob()).prop_map(|(position, kind, data, context)| Entry {
        position,
        kind,
        data,
        context,
    })
}

fn meta() -> impl Strategy<Value = SnapshotMeta> {
    let members = || vec(any::<u64>().prop_map(MemberId), 0..5);
    let lists = (members(), members(), members(), members(), any::<bool>());
    (position(), lists).prop_map(|(position, lists)| {
        let (voters, voters_outgoing, learners, learners_next, auto_leave) = lists;
        SnapshotMeta {
            position,
            membership: Membership {
                voters,
                voters_outgoing,
                learners,
                learners_next,
                auto_leave,
            },
        }
    })
}

fn raft() -> impl Strategy<Value = PeerMessage> {
    let kind = proptest::sample::select(vec![
        MessageKind::Append,
        MessageKind::AppendResponse,
        MessageKind::Heartbeat,
        MessageKind::HeartbeatResponse,
        MessageKind::Vote,
        MessageKind::VoteResponse,
        MessageKind::PreVote,
        MessageKind::PreVoteResponse,
        MessageKind::Snapshot,
        MessageKind::TimeoutNow,
    ]);
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    );
    let rest = (
        any::<bool>(),
        any::<i64>(),
        blob(),
        vec(entry(), 0..4),
        proptest::option::of(meta()),
    );
    (kind, numbers, position(), rest).prop_map(|(kind, numbers, position, rest)| {
        let (to, term, commit, commit_term, hint) = numbers;
        let (reject, priority, context, entries, snapshot) = rest;
        let mut message = Message::new(kind, ORIGIN.member, MemberId(to), Term(term));
        message.position = position;
        message.commit = Index(commit);
        message.commit_term = Term(commit_term);
        message.reject = reject;
        message.reject_hint = Index(hint);
        message.priority = priority;
        message.context = context;
        message.entries = entries;
        message.snapshot = snapshot;
        PeerMessage::Raft(Box::new(message))
    })
}

fn message() -> impl Strategy<Value = PeerMessage> {
    let number = any::<u64>;
    let lease = || any::<i64>().prop_map(LeaseId);
    prop_oneof![
        4 => raft(),
        1 => blob().prop_map(|batch| PeerMessage::Forward { batch }),
        1 => number().prop_map(|attempt| PeerMessage::ReadIndexRequest { attempt }),
        1 => (number(), number()).prop_map(|(attempt, index)| PeerMessage::ReadIndexReply {
            attempt,
            index: Index(index),
        }),
        1 => (number(), lease())
            .prop_map(|(ticket, lease)| PeerMessage::LeaseRenewRequest { ticket, lease }),
        1 => (number(), lease())
            .prop_map(|(ticket, lease)| PeerMessage::LeaseRemainingRequest { ticket, lease }),
        1 => (number(), proptest::option::of(number()), any::<bool>(), number()).prop_map(
            |(ticket, remaining_ms, retry, epoch)| PeerMessage::LeaseReply {
                ticket,
                remaining_ms,
                retry,
                epoch: Term(epoch),
            }
        ),
        1 => (number(), number())
            .prop_map(|(round, term)| PeerMessage::PromiseRequest { round, term: Term(term) }),
        1 => (number(), number()).prop_map(|(round, promised)| PeerMessage::PromiseReply {
            round,
            promised: Duration::from_nanos(promised),
        }),
        1 => number().prop_map(|asked| PeerMessage::ClockRequest { asked }),
        1 => (number(), number())
            .prop_map(|(asked, wall_ms)| PeerMessage::ClockReply { asked, wall_ms }),
        1 => any::<u16>().prop_map(|apply_version| PeerMessage::Knows { apply_version }),
        1 => proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|batch| PeerMessage::Bounce { batch: batch.into() }),
        1 => position().prop_map(|intact| PeerMessage::Recovering { intact }),
        1 => any::<bool>().prop_map(|installed| PeerMessage::SnapshotOutcome { installed }),
        1 => Just(PeerMessage::Removed),
        1 => Just(PeerMessage::Leaving),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let hello = (
        any::<u16>(),
        any::<u16>(),
        any::<bool>(),
        any::<u64>(),
        "[a-zé]{0,40}",
    );
    let refusals = vec![
        HelloRefusal::WrongCluster,
        HelloRefusal::WrongMember,
        HelloRefusal::WrongVersion,
        HelloRefusal::Removed,
        HelloRefusal::Busy,
    ];
    prop_oneof![
        6 => message().prop_map(Frame::Message),
        1 => hello.prop_map(|(version_min, version_max, is_snapshot, to, name)| {
            let purpose = if is_snapshot { Purpose::Snapshot } else { Purpose::Messages };
            Frame::Hello(Hello { version_min, version_max, purpose, to: MemberId(to), name })
        }),
        1 => any::<u16>().prop_map(|version| Frame::HelloReply(HelloReply::Welcome { version })),
        1 => proptest::sample::select(refusals)
            .prop_map(|why| Frame::HelloReply(HelloReply::Refused(why))),
        1 => meta().prop_map(|meta| Frame::SnapshotHeader(SnapshotHeader { meta })),
        1 => blob().prop_map(Frame::SnapshotChunk),
        1 => (any::<u64>(), any::<u64>())
            .prop_map(|(bytes, hash)| Frame::SnapshotEnd(SnapshotEnd { bytes, hash })),
    ]
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn what_is_written_is_read(frames in vec(frame(), 1..5), cuts in vec(1usize..200, 1..40)) {
        let mut stream = BytesMut::new();
        for frame in &frames {
            encode(ORIGIN, frame, &mut stream);
        }
        // However the stream is cut into reads.
        let mut reader = reader();
        let (mut input, mut read) = (BytesMut::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            if stream.is_empty() {
                break;
            }
            input.put_slice(&stream.split_to((*cut).min(stream.len())));
            while let Some((origin, frame)) = reader.next(&mut input).expect("frames of ours") {
                prop_assert_eq!(origin, ORIGIN);
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let mut input = BytesMut::from(&bytes[..]);
        let _ = reader().next(&mut input);
    }

    /// A whole frame with a body of any bytes: past the checksums, into the decoders.
    #[test]
    fn any_body_is_a_frame_or_an_error(kind in 0u8..9, tag in 0u8..11, body in vec(any::<u8>(), 0..300)) {
        let _ = reader().next(&mut framed(kind, &[&[tag], &body[..]].concat()));
    }

    /// A good body with one byte changed, and checksums to match.
    #[test]
    fn a_forged_body_is_a_frame_or_an_error(frame in frame(), at in any::<usize>(), byte in any::<u8>()) {
        let good = bytes_of(&frame);
        let mut body = good[HEADER_BYTES..].to_vec();
        if !body.is_empty() {
            let at = at % body.len();
            body[at] = byte;
        }
        let _ = reader().next(&mut framed(good[3], &body));
    }
}

/// A frame with correct checksums around any body.
fn framed(kind: u8, body: &[u8]) -> BytesMut {
    let mut bytes = bytes_of(&Frame::SnapshotChunk(Bytes::copy_from_slice(body)));
    bytes[3] = kind;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn samples() -> Vec<Frame> {
    let at = |term, index| LogPosition {
        term: Term(term),
        index: Index(index),
    };
    let mut append = Message::new(MessageKind::Append, ORIGIN.member, MemberId(2), Term(3));
    append.position = at(2, 7);
    append.commit = Index(6);
    append.entries = vec![Entry {
        position: at(3, 8),
        kind: EntryKind::Normal,
        data: Bytes::from_static(b"put a 1"),
        context: Bytes::new(),
    }];
    let meta = SnapshotMeta {
        position: at(2, 5),
        membership: Membership::of_voters(vec![MemberId(1), MemberId(2)]),
    };
    vec![
        Frame::Hello(Hello::new(Purpose::Messages, MemberId(2), "n1")),
        Frame::HelloReply(HelloReply::Welcome { version: 1 }),
        Frame::Message(PeerMessage::Raft(Box::new(append))),
        Frame::Message(PeerMessage::ReadIndexRequest { attempt: 9 }),
        Frame::SnapshotHeader(SnapshotHeader { meta }),
        Frame::SnapshotChunk(Bytes::from_static(b"a chunk")),
        Frame::SnapshotEnd(SnapshotEnd { bytes: 7, hash: 1 }),
    ]
}

#[test]
fn every_flipped_bit_is_noticed() {
    for frame in samples() {
        let good = bytes_of(&frame);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let outcome = reader().next(&mut bad);
                assert!(
                    outcome.is_err(),
                    "bit {bit} of byte {at} of {frame:?}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_frame_cut_anywhere_waits_for_the_rest() {
    for frame in samples() {
        let good = bytes_of(&frame);
        for at in 0..good.len() {
            let mut reader = reader();
            let mut input = BytesMut::from(&good[..at]);
            assert_eq!(reader.next(&mut input), Ok(None));
            assert!(reader.missing(input.len()) > 0);
            input.put_slice(&good[at..]);
            assert_eq!(reader.next(&mut input), Ok(Some((ORIGIN, frame.clone()))));
        }
    }
}

#[test]
fn a_large_length_is_refused_before_its_body_is_waited_for() {
    let mut header = bytes_of(&Frame::SnapshotChunk(Bytes::new()));
    let mut claim = |length: u32| {
        header[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c(&header[..32]);
        header[32..36].copy_from_slice(&crc.to_le_bytes());
        header.clone()
    };
    let bytes = FRAME_BYTES_MAX + 1;
    let too_large = WireError::TooLarge {
        bytes,
        bytes_max: FRAME_BYTES_MAX,
    };
    assert_eq!(reader().next(&mut claim(bytes as u32)), Err(too_large));
    assert_eq!(reader().next(&mut claim(bytes as u32 - 1)), Ok(None));
    // A stranger may say hello and no more.
    let bytes = HELLO_BYTES_MAX + 1;
    let too_large = WireError::TooLarge {
        bytes,
        bytes_max: HELLO_BYTES_MAX,
    };
    assert_eq!(
        FrameReader::of_stranger().next(&mut claim(bytes as u32)),
        Err(too_large)
    );
}

#[test]
fn counts_are_compared_with_what_is_left() {
    // An append that claims 60,000 entries and holds none.
    let mut append = Message::new(MessageKind::Append, ORIGIN.member, MemberId(2), Term(3));
    append.context = Bytes::from_static(b"context");
    let good = bytes_of(&Frame::Message(PeerMessage::Raft(Box::new(append))));
    let mut body = good[HEADER_BYTES..].to_vec();
    let count_at = body.len() - 4;
    body[count_at..].copy_from_slice(&60_000u32.to_le_bytes());
    let outcome = reader().next(&mut framed(3, &body));
    assert_eq!(outcome, Err(WireError::Malformed("a count beyond the end")));
}

#[test]
fn another_program_is_told_apart_by_two_bytes() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"P", b"\x16\x03\x01", b"Qx"] {
        let mut input = BytesMut::from(bytes);
        assert_eq!(
            FrameReader::of_stranger().next(&mut input),
            Err(WireError::NotAFrame)
        );
    }
}

#[test]
fn nobody_speaks_for_another_cluster_or_member() {
    let mut out = BytesMut::new();
    let ping = PeerMessage::ReadIndexRequest { attempt: 1 };
    let foreign = Origin {
        cluster: ClusterId(0xc2),
        ..ORIGIN
    };
    encode_message(foreign, &ping, &mut out);
    assert_eq!(
        reader().next(&mut out),
        Err(WireError::WrongCluster(ClusterId(0xc2)))
    );

    let mut out = BytesMut::new();
    let other = Origin {
        member: MemberId(0xa2),
        ..ORIGIN
    };
    encode_message(other, &ping, &mut out);
    assert_eq!(
        reader().next(&mut out),
        Err(WireError::WrongSender(MemberId(0xa2)))
    );

    // Honest in the header, somebody else inside.
    let mut out = BytesMut::new();
    let heartbeat = Message::new(MessageKind::Heartbeat, MemberId(5), MemberId(2), Term(3));
    encode_message(ORIGIN, &PeerMessage::Raft(Box::new(heartbeat)), &mut out);
    assert_eq!(
        reader().next(&mut out),
        Err(WireError::WrongSender(MemberId(5)))
    );
}

#[test]
fn what_is_read_does_not_pin_the_read_buffer() {
    let mut input = BytesMut::with_capacity(1 << 20);
    encode(
        ORIGIN,
        &Frame::SnapshotChunk(Bytes::from_static(b"small")),
        &mut input,
    );
    let start = input.as_ptr() as usize;
    let (_, frame) = reader()
        .next(&mut input)
        .expect("a frame")
        .expect("all of it");
    let Frame::SnapshotChunk(chunk) = frame else {
        panic!("{frame:?}")
    };
    let at = chunk.as_ptr() as usize;
    assert!(!(start..start + (1 << 20)).contains(&at));
}

#[test]
fn the_handshake_finds_a_version_or_says_why_not() {
    let own = Origin {
        cluster: ClusterId(0xc1),
        member: MemberId(2),
    };
    let hello = Hello::new(Purpose::Messages, MemberId(2), "n1");
    assert_eq!(
        hello.answer(ORIGIN, own),
        HelloReply::Welcome { version: 3 }
    );

    let foreign = Origin {
        cluster: ClusterId(9),
        ..ORIGIN
    };
    let refused = HelloReply::Refused;
    assert_eq!(
        hello.answer(foreign, own),
        refused(HelloRefusal::WrongCluster)
    );

    let moved = Hello::new(Purpose::Messages, MemberId(3), "n1");
    assert_eq!(
        moved.answer(ORIGIN, own),
        refused(HelloRefusal::WrongMember)
    );
    assert_eq!(hello.answer(own, own), refused(HelloRefusal::WrongMember));

    let future = Hello {
        version_min: 4,
        version_max: 9,
        ..hello.clone()
    };
    assert_eq!(
        future.answer(ORIGIN, own),
        refused(HelloRefusal::WrongVersion)
    );
    let former = Hello {
        version_max: 2,
        ..hello.clone()
    };
    assert_eq!(
        former.answer(ORIGIN, own),
        HelloReply::Welcome { version: 2 }
    );
    let rolling = Hello {
        version_max: 9,
        ..hello
    };
    assert_eq!(
        rolling.answer(ORIGIN, own),
        HelloReply::Welcome { version: 3 }
    );
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let name = "é".repeat(200);
    let hello = Hello::new(Purpose::Messages, MemberId(2), &name);
    assert_eq!(hello.name, "é".repeat(128));
    let mut bytes = bytes_of(&Frame::Hello(hello.clone()));
    assert!(bytes.len() - HEADER_BYTES <= HELLO_BYTES_MAX);
    let read = FrameReader::of_stranger().next(&mut bytes);
    assert_eq!(read, Ok(Some((ORIGIN, Frame::Hello(hello)))));
}

#[test]
fn a_chunk_has_a_limit_of_its_own() {
    let chunk = Bytes::from(vec![0; SNAPSHOT_CHUNK_BYTES_MAX + 1]);
    let mut bytes = bytes_of(&Frame::SnapshotChunk(chunk));
    let outcome = reader().next(&mut bytes);
    assert_eq!(
        outcome,
        Err(WireError::Malformed("a chunk that is too large"))
    );
}
