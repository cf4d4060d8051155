//! A whole state on its way from one member to another, each end on a thread of its own.
//!
//! ```text
//!   sender    Hello{snapshot} ► SnapshotHeader ► SnapshotChunk … ► SnapshotEnd{hash} ►
//!   receiver  ◄ HelloReply                                              ◄ SnapshotOutcome
//! ```
//!
//! Encoding and decoding a large state takes a second of a processor, which the member's thread does not
//! have; a state is immutable and shared, so a patient thread of low priority does it with plain blocking
//! sockets. A receiver takes one snapshot at a time: each needs memory for a whole state.

use super::HANDSHAKE_TIMEOUT;
use super::spoken::hello;
use crate::entrance::{Blocking, Socket, Way};
use crate::events::{Event, Reports};
use crate::identity::Url;
use base::{Chain, MemberId, PeerMessage, SnapshotMeta};
use bytes::BytesMut;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{State, stream};
use tracing::{info, warn};
use wire::{Frame, FrameReader, HelloReply, Origin, Purpose, SnapshotEnd, SnapshotHeader};
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes encoded between two writes.
const STEP_BYTES: usize = 256 * 1024;

/// The time in which the other side must take or send some bytes.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which the receiver must have built the state, once it has all bytes.
const BUILD_TIMEOUT: Duration = Duration::from_secs(120);

/// How much less important than serving clients a transfer is (`nice`).
const NICE: i32 = 10;

/// Whether a snapshot is being received.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<BusyGuard> {
        let was_taken = self.0.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| BusyGuard(self.0.clone()))
    }
}

struct BusyGuard(Arc<AtomicBool>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("cannot connect to {url}")]
    Connect { url: String, source: io::Error },
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("what it says is not understood")]
    Wire(#[from] wire::WireError),
    #[error("it refuses: {0}")]
    Refused(wire::HelloRefusal),
    #[error("it could not use the snapshot")]
    NotInstalled,
    #[error("the snapshot's bytes are not a state")]
    State(#[from] store::DecodeError),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("none of its peer URLs can be used")]
    NoUrl,
}

/// Frames over a blocking socket.
struct Talk {
    socket: Blocking,
    reader: FrameReader,
    input: BytesMut,
    output: BytesMut,
    own: Origin,
}

impl Talk {
    fn next(&mut self) -> Result<(Origin, Frame), TransferError> {
        loop {
            if let Some(frame) = self.reader.next(&mut self.input)? {
                return Ok(frame);
            }
            let filled = self.input.len();
            let wanted = self.reader.missing(filled).max(STEP_BYTES);
            self.input.resize(filled + wanted, 0);
            let n = self.socket.read(&mut self.input[filled..]);
            self.input.truncate(filled + *n.as_ref().unwrap_or(&0));
            if n? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn say(&mut self, frame: &Frame) -> Result<(), TransferError> {
        self.output.clear();
        wire::encode(self.own, frame, &mut self.output);
        Ok(self.socket.write_all(&self.output)?)
    }
}

fn lower_priority() {
    // Without the permission the transfer is merely less polite.
    let _ = rustix::process::setpriority_process(None, NICE);
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body);
    if let Err(error) = started {
        // What the thread would have reported is a failure, which dropping its parts does not do; Raft
        // asks again for what it does not hear of.
        warn!(error = %Chain(&error), "cannot start a thread for a snapshot");
    }
}

/// Streams `state` to the member `to`, and reports.
pub(crate) fn send_snapshot(
    own: Origin,
    name: String,
    to: MemberId,
    ((urls, way), versions): ((Vec<String>, Way), RangeInclusive<u16>),
    snapshot: (SnapshotMeta, State),
    reports: Reports,
) {
    thread("snapshot-send", move || {
        lower_priority();
        let position = snapshot.0.position;
        let sent = send(own, &name, to, (&urls, &way), &versions, snapshot);
        match &sent {
            Ok(bytes) => info!(peer = %to, %position, bytes, "a snapshot was sent"),
            Err(error) => {
                warn!(peer = %to, %position, reason = %Chain(error), "a snapshot was not sent");
            }
        }
        let sent = sent.is_ok();
        // If nobody listens, the member has stopped.
        let _ = reports.send(Event::SnapshotSent { to, sent });
    });
}

fn connect(urls: &[String], way: &Way) -> Result<Blocking, TransferError> {
    let mut last = TransferError::NoUrl;
    for url in urls.iter().filter_map(|url| Url::parse(url).ok()) {
        match way.connect_blocking(&url, HANDSHAKE_TIMEOUT, STALL_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(source) => {
                let url = url.to_string();
                last = TransferError::Connect { url, source };
            }
        }
    }
    Err(last)
}

fn send(
    own: Origin,
    name: &str,
    to: MemberId,
    (urls, way): (&[String], &Way),
    versions: &RangeInclusive<u16>,
    (meta, state): (SnapshotMeta, State),
) -> Result<u64, TransferError> {
    let socket = connect(urls, way)?;
    socket.set_read_timeout(HANDSHAKE_TIMEOUT)?;
    let mut talk = Talk {
        socket,
        reader: FrameReader::of_stranger(),
        input: BytesMut::new(),
        output: BytesMut::new(),
        own,
    };
    talk.say(&Frame::Hello(hello(versions, Purpose::Snapshot, to, name)))?;
    match talk.next()? {
        (_, Frame::HelloReply(HelloReply::Welcome { .. })) => {}
        (_, Frame::HelloReply(HelloReply::Refused(why))) => {
            return Err(TransferError::Refused(why));
        }
        _ => return Err(TransferError::Protocol("it did not answer the hello")),
    }
    talk.say(&Frame::SnapshotHeader(SnapshotHeader { meta }))?;
    let mut writer = stream::Writer::new(state);
    let mut hasher = Xxh3Default::new();
    let mut bytes = 0;
    while let Some(chunk) = writer.next_chunk(STEP_BYTES) {
        // A single record may be larger than a step; a chunk's bound is the wire's.
        for part in chunk.chunks(wire::SNAPSHOT_CHUNK_BYTES_MAX) {
            hasher.update(part);
            bytes += part.len() as u64;
            talk.say(&Frame::SnapshotChunk(chunk.slice_ref(part)))?;
        }
    }
    drop(writer);
    let hash = hasher.digest();
    talk.say(&Frame::SnapshotEnd(SnapshotEnd { bytes, hash }))?;
    talk.socket.set_read_timeout(BUILD_TIMEOUT)?;
    match talk.next()? {
        (_, Frame::Message(PeerMessage::SnapshotOutcome { installed: true })) => Ok(bytes),
        (_, Frame::Message(PeerMessage::SnapshotOutcome { installed: false })) => {
            Err(TransferError::NotInstalled)
        }
        _ => Err(TransferError::Protocol("it did not say how it went")),
    }
}

/// Receives the snapshot whose sender has introduced itself on `socket`, and reports it.
pub(super) fn receive_snapshot(
    socket: Socket,
    own: Origin,
    from: MemberId,
    reader: FrameReader,
    input: BytesMut,
    reports: Reports,
    busy: &Busy,
) {
    // Two senders at once: the second is cut off and tries again later.
    let Some(busy) = busy.take() else { return };
    thread("snapshot-receive", move || {
        let _busy = busy;
        lower_priority();
        let received = socket
            .into_blocking(STALL_TIMEOUT)
            .map_err(TransferError::from)
            .and_then(|socket| {
                let output = BytesMut::new();
                let mut talk = Talk {
                    socket,
                    reader,
                    input,
                    output,
                    own,
                };
                let received = receive(&mut talk);
                let installed = received.is_ok();
                let outcome = Frame::Message(PeerMessage::SnapshotOutcome { installed });
                // The sender may be gone; what was received is good all the same.
                let _ = talk.say(&outcome);
                received
            });
        match received {
            Ok((meta, state)) => {
                info!(peer = %from, position = %meta.position, "a snapshot was received");
                let state = Box::new(state);
                let _ = reports.send(Event::SnapshotReceived { from, meta, state });
            }
            Err(error) => {
                warn!(peer = %from, reason = %Chain(&error), "a snapshot was not received");
            }
        }
    });
}

fn receive(talk: &mut Talk) -> Result<(SnapshotMeta, State), TransferError> {
    let (_, Frame::SnapshotHeader(header)) = talk.next()? else {
        return Err(TransferError::Protocol("a snapshot begins with its header"));
    };
    let mut reader = stream::Reader::new();
    let mut hasher = Xxh3Default::new();
    let mut bytes = 0;
    loop {
        match talk.next()? {
            (_, Frame::SnapshotChunk(chunk)) => {
                hasher.update(&chunk);
                bytes += chunk.len() as u64;
                reader.push(&chunk)?;
            }
            (_, Frame::SnapshotEnd(end)) => {
                if (end.bytes, end.hash) != (bytes, hasher.digest()) {
                    return Err(TransferError::Protocol(
                        "its bytes are not those that were sent",
                    ));
                }
                break;
            }
            _ => {
                return Err(TransferError::Protocol(
                    "it sends what is not part of a snapshot",
                ));
            }
        }
    }
    let state = reader.finish()?;
    if state.applied() != header.meta.position {
        return Err(TransferError::Protocol(
            "its state is that of another entry",
        ));
    }
    Ok((header.meta, state))
}
