//! `wire::FrameReader`: the bytes of a connection between members, cut anywhere.
//!
//! The first byte says how the connection stands: bit 0, whether its other end has introduced itself;
//! bit 1, whether the bytes come in small pieces.

use super::{Target, Verdict};
use crate::frames::{self, ORIGIN};
use crate::{heap, mutate};
use base::limits::FRAME_BYTES_MAX;
use base::{
    Entry, EntryKind, Index, LeaseId, LogPosition, MemberId, Membership, Message, MessageKind,
    PeerMessage, Rng, SnapshotMeta, Term,
};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use wire::{
    Frame, FrameReader, HEADER_BYTES, HELLO_BYTES_MAX, Hello, HelloRefusal, HelloReply, Purpose,
    SnapshotEnd, SnapshotHeader, encode,
};

/// See the module.
pub const TARGET: Target = Target {
    name: "peer_frames",
    run,
    corpus,
    mutate,
    one_in: 1,
};

const TRUSTED: u8 = 1;
const IN_PIECES: u8 = 2;

/// Reads frames until the bytes end or are refused. Each frame that was accepted is encoded and decoded
/// to itself; what waits for more is never more than one frame.
pub fn run(input: &[u8]) -> Verdict {
    let Some((mode, stream)) = input.split_first() else {
        return Verdict::Refused;
    };
    let frames = heap::bounded(16 * stream.len() + 65_536, "frames", || read(*mode, stream));
    let Ok(frames) = frames else {
        return Verdict::Refused;
    };
    for (origin, frame) in &frames {
        let mut bytes = BytesMut::new();
        encode(*origin, frame, &mut bytes);
        let mut reader = FrameReader::of_stranger();
        reader.trust(*origin);
        let again = reader.next(&mut bytes);
        assert_eq!(again, Ok(Some((*origin, frame.clone()))), "it comes back");
        assert!(bytes.is_empty(), "a frame ends where it ends");
    }
    Verdict::of(!frames.is_empty())
}

/// All frames of `stream`; an error too when it ends within one.
fn read(mode: u8, stream: &[u8]) -> Result<Vec<(wire::Origin, Frame)>, ()> {
    let mut reader = FrameReader::of_stranger();
    let mut bytes_max = HELLO_BYTES_MAX;
    if mode & TRUSTED != 0 {
        reader.trust(ORIGIN);
        bytes_max = FRAME_BYTES_MAX;
    }
    let piece_bytes = match mode & IN_PIECES {
        0 => stream.len().max(1),
        _ => 23,
    };
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece_bytes) {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match reader.next(&mut buffer) {
                Ok(Some((origin, frame))) => {
                    assert!(mode & TRUSTED == 0 || origin == ORIGIN, "of {origin:?}");
                    assert!(
                        buffer.len() < before || before == 0,
                        "a frame out of nothing"
                    );
                    frames.push((origin, frame));
                }
                Ok(None) => break,
                Err(_) => return Err(()),
            }
        }
        let missing = reader.missing(buffer.len());
        assert!(missing > 0, "a whole frame waits among {}", buffer.len());
        assert!(
            missing + buffer.len() <= bytes_max.max(HEADER_BYTES),
            "{missing} bytes are waited for behind {}",
            buffer.len()
        );
    }
    match buffer.is_empty() {
        true => Ok(frames),
        false => Err(()),
    }
}

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    frames::mutate(input, 1, other, rng);
    if rng.one_in(100) {
        // All of a stranger's bytes and one more.
        mutate::bytes(input, other, rng);
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let stream = |mode: u8, frames: &[Frame]| {
        let mut out = BytesMut::from(&[mode][..]);
        for frame in frames {
            encode(ORIGIN, frame, &mut out);
        }
        out.to_vec()
    };
    let mut corpus = Vec::new();
    for frame in samples() {
        let is_greeting = matches!(frame, Frame::Hello(_) | Frame::HelloReply(_));
        corpus.push(stream(TRUSTED, std::slice::from_ref(&frame)));
        if is_greeting {
            corpus.push(stream(0, &[frame]));
        }
    }
    corpus.push(stream(TRUSTED | IN_PIECES, &samples()));
    corpus
}

fn samples() -> Vec<Frame> {
    let hello = |purpose| Frame::Hello(Hello::new(purpose, MemberId(1), "größer"));
    let mut frames = vec![
        hello(Purpose::Messages),
        hello(Purpose::Snapshot),
        Frame::HelloReply(HelloReply::Welcome { version: 1 }),
        Frame::HelloReply(HelloReply::Refused(HelloRefusal::Removed)),
        Frame::SnapshotHeader(SnapshotHeader { meta: meta() }),
        Frame::SnapshotChunk(Bytes::from(vec![7; 600])),
        Frame::SnapshotEnd(SnapshotEnd {
            bytes: 600,
            hash: 0x1234,
        }),
    ];
    frames.extend(messages().into_iter().map(Frame::Message));
    frames
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        position: position(3, 9),
        membership: Membership {
            voters: vec![MemberId(1), MemberId(2), MemberId(3)],
            voters_outgoing: vec![MemberId(1), MemberId(4)],
            learners: vec![MemberId(5)],
            learners_next: vec![MemberId(4)],
            auto_leave: true,
        },
    }
}

/// One message of each kind.
fn messages() -> Vec<PeerMessage> {
    let kinds = [
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
    ];
    let entry = |index: u64, kind, data: &'static [u8]| Entry {
        position: position(3, index),
        kind,
        data: Bytes::from_static(data),
        context: Bytes::new(),
    };
    let mut all = Vec::new();
    for kind in kinds {
        let mut raft = Message::new(kind, MemberId(2), MemberId(1), Term(3));
        raft.position = position(2, 5);
        raft.commit = Index(5);
        match kind {
            MessageKind::Append => {
                raft.entries = vec![
                    entry(6, EntryKind::Normal, b"put a"),
                    entry(7, EntryKind::Change, b"\x01\x01\x01\x04\0\0\0\0\0\0\0"),
                    entry(8, EntryKind::Normal, b""),
                ];
                raft.entries[1].context = Bytes::from_static(b"context");
            }
            MessageKind::Heartbeat => raft.context = Bytes::from_static(&[1; 16]),
            MessageKind::Snapshot => raft.snapshot = Some(meta()),
            _ => {}
        }
        all.push(PeerMessage::Raft(Box::new(raft)));
    }
    let lease = LeaseId(-7);
    all.extend([
        PeerMessage::Forward {
            batch: Bytes::from_static(b"a batch"),
        },
        PeerMessage::ReadIndexRequest { attempt: 1 },
        PeerMessage::ReadIndexReply {
            attempt: 1,
            index: Index(7),
        },
        PeerMessage::LeaseRenewRequest { ticket: 2, lease },
        PeerMessage::LeaseRemainingRequest { ticket: 3, lease },
        PeerMessage::LeaseReply {
            ticket: 3,
            remaining_ms: Some(1500),
            retry: false,
            epoch: Term(3),
        },
        PeerMessage::LeaseReply {
            ticket: 4,
            remaining_ms: None,
            retry: true,
            epoch: Term(0),
        },
        PeerMessage::Recovering {
            intact: position(1, 4),
        },
        PeerMessage::SnapshotOutcome { installed: true },
        PeerMessage::Removed,
        PeerMessage::Leaving,
        PeerMessage::PromiseRequest {
            round: 5,
            term: Term(3),
        },
        PeerMessage::PromiseReply {
            round: 5,
            promised: Duration::from_millis(980),
        },
        PeerMessage::ClockRequest { asked: 6 },
        PeerMessage::ClockReply {
            asked: 6,
            wall_ms: 1_700_000_000_000,
        },
        PeerMessage::Knows { apply_version: 3 },
        PeerMessage::Bounce {
            batch: Bytes::from_static(b"commands"),
        },
    ]);
    all
}
