//! The format is a promise: these bytes were sent by the first version and must be read for ever.
//! `docs/format/peer.md` explains the same bytes.

use base::{
    ClusterId, Entry, EntryKind, Index, LogPosition, MemberId, Message, MessageKind, PeerMessage,
    Term,
};
use bytes::{Bytes, BytesMut};
use quorate_wire::{Frame, FrameReader, Hello, Origin, Purpose, encode};
use std::time::Duration;

const ORIGIN: Origin = Origin {
    cluster: ClusterId(0x0807_0605_0403_0201),
    member: MemberId(0xa1),
};

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

fn check(frame: Frame, expected: &[&str]) {
    let mut bytes = BytesMut::new();
    encode(ORIGIN, &frame, &mut bytes);
    assert_eq!(hex(&bytes), expected.join(" "));
    let read = FrameReader::of_stranger().next(&mut bytes);
    assert_eq!(read, Ok(Some((ORIGIN, frame))));
}

#[test]
fn hello() {
    check(
        Frame::Hello(Hello::new(Purpose::Messages, MemberId(0xa2), "n1")),
        &[
            // The header: "QR", version 1, kind 1 (Hello), flags, zero, length 17, body crc,
            "51 52 01 01 00 00 00 00 11 00 00 00 50 a2 33 6d",
            // cluster, sender, header crc.
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 d7 26 d3 47",
            // Versions 2 to 3, for messages, to a2, "n1".
            "02 00 03 00 01 a2 00 00 00 00 00 00 00 02 00 6e 31",
        ],
    );
}

#[test]
fn knows() {
    check(
        Frame::Message(PeerMessage::Knows { apply_version: 3 }),
        &[
            "51 52 01 03 00 00 00 00 03 00 00 00 69 76 21 24",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 09 01 12 ba",
            // Knows, apply version 3.
            "10 03 00",
        ],
    );
}

#[test]
fn hello_of_the_build_that_spoke_protocol_2_only() {
    let hello = Hello {
        version_max: 2,
        ..Hello::new(Purpose::Messages, MemberId(0xa2), "n1")
    };
    check(
        Frame::Hello(hello),
        &[
            // The header: "QR", version 1, kind 1 (Hello), flags, zero, length 17, body crc,
            "51 52 01 01 00 00 00 00 11 00 00 00 51 5f bd 0a",
            // cluster, sender, header crc.
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 f4 b0 15 66",
            // Versions 2 to 2, for messages, to a2, "n1".
            "02 00 02 00 01 a2 00 00 00 00 00 00 00 02 00 6e 31",
        ],
    );
}

#[test]
fn append() {
    let mut append = Message::new(MessageKind::Append, ORIGIN.member, MemberId(0xa2), Term(3));
    append.position = LogPosition {
        term: Term(2),
        index: Index(7),
    };
    append.commit = Index(6);
    append.entries = vec![Entry {
        position: LogPosition {
            term: Term(3),
            index: Index(8),
        },
        kind: EntryKind::Normal,
        data: Bytes::from_static(b"put"),
        context: Bytes::new(),
    }];
    check(
        Frame::Message(PeerMessage::Raft(Box::new(append))),
        &[
            "51 52 01 03 00 00 00 00 70 00 00 00 48 46 fa 60",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 74 9f ce d7",
            // Raft, append, no refusal, no snapshot; to, from, term.
            "01 01 00 00 a2 00 00 00 00 00 00 00 a1 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00",
            // After 7@2, committed to 6, committed term, hint, priority.
            "02 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00",
            "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
            // No context, one entry: 8@3, ordinary, "put", no context.
            "00 00 00 00 01 00 00 00 03 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00",
            "01 03 00 00 00 70 75 74 00 00 00 00",
        ],
    );
}

#[test]
fn lease_reply() {
    check(
        Frame::Message(PeerMessage::LeaseReply {
            ticket: 0x11,
            remaining_ms: Some(1500),
            retry: false,
            epoch: Term(3),
        }),
        &[
            "51 52 01 03 00 00 00 00 1b 00 00 00 82 97 58 64",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 fc ce 6b 42",
            // Lease reply, ticket, epoch, no need to ask again, known, 1500 ms.
            "07 11 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 00 01 dc 05 00 00 00 00 00 00",
        ],
    );
}

#[test]
fn promises() {
    check(
        Frame::Message(PeerMessage::PromiseRequest {
            round: 0x12,
            term: Term(3),
        }),
        &[
            "51 52 01 03 00 00 00 00 11 00 00 00 a5 69 fa 78",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 80 f7 99 6e",
            // Promise request, round, term.
            "0c 12 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00",
        ],
    );
    check(
        Frame::Message(PeerMessage::PromiseReply {
            round: 0x12,
            promised: Duration::from_millis(980),
        }),
        &[
            "51 52 01 03 00 00 00 00 11 00 00 00 a6 ec a8 33",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 7a a3 81 72",
            // Promise reply, round, 980,000,000 ns.
            "0d 12 00 00 00 00 00 00 00 00 9d 69 3a 00 00 00 00",
        ],
    );
}

#[test]
fn clocks() {
    check(
        Frame::Message(PeerMessage::ClockReply {
            asked: 0x13,
            wall_ms: 1_700_000_000_000,
        }),
        &[
            "51 52 01 03 00 00 00 00 11 00 00 00 20 53 06 25",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 67 ff ab 86",
            // Clock reply, the asker's number, milliseconds since 1970.
            "0f 13 00 00 00 00 00 00 00 00 68 e5 cf 8b 01 00 00",
        ],
    );
}

#[test]
fn bounce() {
    check(
        Frame::Message(PeerMessage::Bounce {
            batch: Bytes::from_static(b"put"),
        }),
        &[
            "51 52 01 03 00 00 00 00 08 00 00 00 38 5b 97 fb",
            "01 02 03 04 05 06 07 08 a1 00 00 00 00 00 00 00 d8 f2 c5 29",
            // Bounce, "put".
            "11 03 00 00 00 70 75 74",
        ],
    );
}
