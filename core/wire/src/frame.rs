//! Frames: where one thing ends and the next begins, whose it is, and whether it arrived whole.
//!
//! ```text
//!    0      2       3      4       6      8        12         16        24       32           36
//!    ┌──────┬───────┬──────┬───────┬──────┬────────┬──────────┬─────────┬────────┬────────────┐
//!    │"QR"  │version│ kind │ flags │ zero │ length │ body crc │ cluster │ sender │ header crc │ body
//!    └──────┴───────┴──────┴───────┴──────┴────────┴──────────┴─────────┴────────┴────────────┘
//! ```
//!
//! The header's checksum is verified before its length is believed, and the length before a byte of
//! memory is taken for the body. Until a connection has introduced itself only small frames pass
//! ([`HELLO_BYTES_MAX`]).

use crate::hello::{Hello, HelloReply};
use crate::message;
use crate::snapshot::{SNAPSHOT_CHUNK_BYTES_MAX, SnapshotEnd, SnapshotHeader};
use crate::take::Take;
use base::limits::FRAME_BYTES_MAX;
use base::{ClusterId, MemberId, PeerMessage};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 36;

/// Bytes of the largest body that a stranger may send.
pub const HELLO_BYTES_MAX: usize = 1024;

/// The version of the header. It never changes; what comes after it is negotiated in the `Hello`.
const HEADER_VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"QR";
/// The header's checksum covers everything before itself.
const CHECKED_BYTES: usize = 32;

/// Whose frame: written into every header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The cluster that the sender belongs to.
    pub cluster: ClusterId,
    /// The sender.
    pub member: MemberId,
}

/// What a frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The first word of whoever opened the connection.
    Hello(Hello),
    /// The answer to it.
    HelloReply(HelloReply),
    /// Anything that members say to each other.
    Message(PeerMessage),
    /// The beginning of a snapshot.
    SnapshotHeader(SnapshotHeader),
    /// A part of it, at most [`SNAPSHOT_CHUNK_BYTES_MAX`] bytes.
    SnapshotChunk(Bytes),
    /// Its end.
    SnapshotEnd(SnapshotEnd),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => 1,
            Frame::HelloReply(_) => 2,
            Frame::Message(_) => 3,
            Frame::SnapshotHeader(_) => 4,
            Frame::SnapshotChunk(_) => 5,
            Frame::SnapshotEnd(_) => 6,
        }
    }
}

/// Why bytes are not a frame. After any of them the connection is of no more use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WireError {
    /// Not our protocol: another program on the port, or a lost place in the stream.
    #[error("not a frame of ours")]
    NotAFrame,
    /// The header does not have the checksum that it names.
    #[error("frame header is damaged")]
    HeaderDamaged,
    /// The body does not have the checksum that the header names.
    #[error("frame body is damaged")]
    BodyDamaged,
    /// Larger than allowed at this point of the connection.
    #[error("a frame of {bytes} bytes is larger than {bytes_max} bytes")]
    TooLarge {
        /// What the header claims.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Of another cluster.
    #[error("the sender belongs to cluster {0}")]
    WrongCluster(ClusterId),
    /// Of somebody else than who introduced himself.
    #[error("the sender is member {0}")]
    WrongSender(MemberId),
    /// A whole frame that makes no sense: a newer sender, or a hostile one.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
}

/// Writes one frame of `origin` to the end of `out`.
pub fn encode(origin: Origin, frame: &Frame, out: &mut BytesMut) {
    encode_with(origin, frame.kind(), out, |out| match frame {
        Frame::Hello(hello) => hello.encode(out),
        Frame::HelloReply(reply) => reply.encode(out),
        Frame::Message(message) => message::encode_body(message, out),
        Frame::SnapshotHeader(header) => header.encode(out),
        Frame::SnapshotChunk(chunk) => out.put_slice(chunk),
        Frame::SnapshotEnd(end) => end.encode(out),
    });
}

/// Leaves room for the header, lets `body` write, and fills the header in.
pub(crate) fn encode_with(
    origin: Origin,
    kind: u8,
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    body(out);
    let frame = &mut out[start..];
    let length = frame.len() - HEADER_BYTES;
    base::invariant!(
        length <= FRAME_BYTES_MAX,
        "a frame of {length} bytes: limits on what it carries should have stopped it"
    );
    let body_crc = crc32c::crc32c(&frame[HEADER_BYTES..]);
    let mut header = &mut frame[..HEADER_BYTES];
    header.put_slice(&MAGIC);
    header.put_u8(HEADER_VERSION);
    header.put_u8(kind);
    header.put_u16_le(0);
    header.put_u16_le(0);
    header.put_u32_le(length as u32);
    header.put_u32_le(body_crc);
    header.put_u64_le(origin.cluster.0);
    header.put_u64_le(origin.member.0);
    let header_crc = crc32c::crc32c(&frame[..CHECKED_BYTES]);
    frame[CHECKED_BYTES..HEADER_BYTES].copy_from_slice(&header_crc.to_le_bytes());
}

/// Cuts a stream of bytes into frames.
///
/// The caller reads from its socket into a buffer and calls [`FrameReader::next`] until it gives
/// nothing more. The reader holds no bytes itself, only what it knows about the frame under way.
#[derive(Clone, Debug)]
pub struct FrameReader {
    bytes_max: usize,
    expected: Option<Origin>,
    header: Option<Header>,
}

/// A verified header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    length: usize,
    body_crc: u32,
    origin: Origin,
}

impl FrameReader {
    /// For a connection that has not introduced itself: small frames, of anybody.
    pub fn of_stranger() -> FrameReader {
        FrameReader {
            bytes_max: HELLO_BYTES_MAX,
            expected: None,
            header: None,
        }
    }

    /// From now on: frames of any size, of `origin` alone.
    pub fn trust(&mut self, origin: Origin) {
        self.bytes_max = FRAME_BYTES_MAX;
        self.expected = Some(origin);
    }

    /// The next whole frame at the front of `input`, or nothing when more bytes are needed. What is
    /// returned is taken from `input` and shares no memory with it, so that a small entry that is
    /// kept for long does not keep a large buffer.
    ///
    /// # Errors
    /// When the bytes are not frames of ours; the connection is to be closed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<(Origin, Frame)>, WireError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else {
                    return check_beginning(input).map(|()| None);
                };
                let header = self.read_header(bytes)?;
                input.advance(HEADER_BYTES);
                self.header = Some(header);
                header
            }
        };
        if input.len() < header.length {
            return Ok(None);
        }
        let body = Bytes::copy_from_slice(&input[..header.length]);
        input.advance(header.length);
        self.header = None;
        if crc32c::crc32c(&body) != header.body_crc {
            return Err(WireError::BodyDamaged);
        }
        Ok(Some((header.origin, decode_body(header, body)?)))
    }

    /// Bytes that are missing for the frame under way, given what is in the caller's buffer: how much
    /// to reserve before the next read.
    pub fn missing(&self, in_buffer: usize) -> usize {
        let wanted = self.header.map_or(HEADER_BYTES, |header| header.length);
        wanted.saturating_sub(in_buffer)
    }

    fn read_header(&self, bytes: &[u8; HEADER_BYTES]) -> Result<Header, WireError> {
        check_beginning(bytes)?;
        let mut take = Take::new(Bytes::copy_from_slice(bytes));
        let _magic = take.u16()?;
        let version = take.u8()?;
        let kind = take.u8()?;
        let flags = take.u16()?;
        let zero = take.u16()?;
        let length = take.u32()? as usize;
        let body_crc = take.u32()?;
        let origin = Origin {
            cluster: ClusterId(take.u64()?),
            member: MemberId(take.u64()?),
        };
        if take.u32()? != crc32c::crc32c(&bytes[..CHECKED_BYTES]) {
            return Err(WireError::HeaderDamaged);
        }
        if version != HEADER_VERSION {
            return Err(WireError::Malformed("a header of another version"));
        }
        if flags != 0 || zero != 0 {
            return Err(WireError::Malformed("flags that mean nothing"));
        }
        if length > self.bytes_max {
            return Err(WireError::TooLarge {
                bytes: length,
                bytes_max: self.bytes_max,
            });
        }
        if origin.member.is_none() {
            return Err(WireError::Malformed("a frame of nobody"));
        }
        if let Some(expected) = self.expected {
            if origin.cluster != expected.cluster {
                return Err(WireError::WrongCluster(origin.cluster));
            }
            if origin.member != expected.member {
                return Err(WireError::WrongSender(origin.member));
            }
        }
        Ok(Header {
            kind,
            length,
            body_crc,
            origin,
        })
    }
}

/// Another program is told apart by its first two bytes already.
fn check_beginning(bytes: &[u8]) -> Result<(), WireError> {
    let n = bytes.len().min(MAGIC.len());
    match bytes[..n] == MAGIC[..n] {
        true => Ok(()),
        false => Err(WireError::NotAFrame),
    }
}

fn decode_body(header: Header, body: Bytes) -> Result<Frame, WireError> {
    if header.kind == 5 {
        if body.len() > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(WireError::Malformed("a chunk that is too large"));
        }
        return Ok(Frame::SnapshotChunk(body));
    }
    let mut take = Take::new(body);
    let frame = match header.kind {
        1 => Frame::Hello(Hello::decode(&mut take)?),
        2 => Frame::HelloReply(HelloReply::decode(&mut take)?),
        3 => {
            let message = message::decode_body(&mut take)?;
            if let PeerMessage::Raft(raft) = &message
                && raft.from != header.origin.member
            {
                return Err(WireError::WrongSender(raft.from));
            }
            Frame::Message(message)
        }
        4 => Frame::SnapshotHeader(SnapshotHeader::decode(&mut take)?),
        6 => Frame::SnapshotEnd(SnapshotEnd::decode(&mut take)?),
        _ => return Err(WireError::Malformed("a frame of an unknown kind")),
    };
    take.end()?;
    Ok(frame)
}
