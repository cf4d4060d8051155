//! gRPC's message framing: one byte of flags, four bytes of length (big-endian), the message.
//!
//! ```text
//!   ┌───────┬───────────────┬──────────────────────┐
//!   │ 0 / 1 │ length, 32 bit│ message              │   a message may span many DATA frames,
//!   └───────┴───────────────┴──────────────────────┘   and one frame may hold many messages
//! ```
//!
//! [`Assembler`] is a pure decoder: bytes go in as they come, whole messages come out. The length is
//! compared with the limit before a byte of the message is kept. A message that arrived in one piece is
//! a slice of what arrived and is not copied.

use super::limits::{PARTIAL_BYTES_MAX, PARTIAL_FREE_BYTES};
use super::status::{Code, Status};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::cell::Cell;
use std::rc::Rc;

const PREFIX_BYTES: usize = 5;

/// Bytes in large messages that have not arrived whole, shared by many calls.
#[derive(Clone)]
pub struct Budget {
    used: Rc<Cell<usize>>,
    bytes_max: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::of(PARTIAL_BYTES_MAX)
    }
}

impl Budget {
    /// So many bytes.
    pub(super) fn of(bytes_max: usize) -> Budget {
        Budget {
            used: Rc::default(),
            bytes_max,
        }
    }

    /// Room for so many bytes until the claim is dropped.
    pub(super) fn take(&self, bytes: usize) -> Result<Claim, Status> {
        let after = self.used.get().saturating_add(bytes);
        if after > self.bytes_max {
            let text = "grpc: too many bytes in requests under way";
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        self.used.set(after);
        Ok(Claim(self.clone(), bytes))
    }

    /// Bytes claimed now.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

/// Bytes that are claimed of a budget.
pub(crate) struct Claim(Budget, usize);

impl Claim {
    fn bytes(&self) -> usize {
        self.1
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - self.1);
    }
}

/// Puts messages together.
///
/// Invariant: `gathered` is empty, or starts with the prefix of the message that is being gathered.
pub struct Assembler {
    message_bytes_max: usize,
    budget: Budget,
    claim: Option<Claim>,
    gathered: BytesMut,
    chunk: Bytes,
}

impl Assembler {
    /// An assembler of messages of at most `message_bytes_max` bytes each.
    pub fn new(message_bytes_max: usize, budget: Budget) -> Assembler {
        Assembler {
            message_bytes_max,
            budget,
            claim: None,
            gathered: BytesMut::new(),
            chunk: Bytes::new(),
        }
    }

    /// Takes what arrived. The last chunk must have been drained by [`Assembler::next_message`].
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::from(&self.chunk[..]);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// Whether no part of a message is held.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.chunk.is_empty()
    }

    /// The next whole message, or nothing until more arrives.
    ///
    /// # Errors
    /// The message is too large or compressed; the call cannot go on.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.gathered.is_empty() {
            if self.chunk.len() < PREFIX_BYTES {
                self.gather(PREFIX_BYTES);
                return Ok(None);
            }
            let length = self.length(&self.chunk[..PREFIX_BYTES])?;
            if self.chunk.len() >= PREFIX_BYTES + length {
                let mut message = self.chunk.split_to(PREFIX_BYTES + length);
                message.advance(PREFIX_BYTES);
                return Ok(Some(message));
            }
        } else if self.gathered.len() < PREFIX_BYTES {
            self.gather(PREFIX_BYTES);
            if self.gathered.len() < PREFIX_BYTES {
                return Ok(None);
            }
        }
        self.gather(PREFIX_BYTES.max(self.gathered.len()));
        let length = self.length(&self.gathered[..PREFIX_BYTES])?;
        self.claim((PREFIX_BYTES + length).min(self.gathered.len() + self.chunk.len()))?;
        self.gather(PREFIX_BYTES + length);
        if self.gathered.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.claim = None;
        let mut message = std::mem::take(&mut self.gathered).freeze();
        message.advance(PREFIX_BYTES);
        Ok(Some(message))
    }

    /// Room for `held` bytes, in steps. What came is counted and not what was announced: who announces much and sends
    /// nothing takes nothing from others.
    fn claim(&mut self, held: usize) -> Result<(), Status> {
        let claimed = self.claim.as_ref().map_or(PARTIAL_FREE_BYTES, Claim::bytes);
        if held > claimed {
            self.claim = None;
            self.claim = Some(self.budget.take(held.next_power_of_two())?);
        }
        Ok(())
    }

    /// Moves bytes from the chunk until `gathered` has `wanted`.
    fn gather(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.gathered.len());
        let part = self.chunk.split_to(missing.min(self.chunk.len()));
        self.gathered.extend_from_slice(&part);
    }

    fn length(&self, prefix: &[u8]) -> Result<usize, Status> {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 {
            let text = "grpc: compressed flag set with identity or empty encoding";
            return Err(Status::new(Code::Internal, text));
        }
        if length > self.message_bytes_max {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!(
                    "grpc: received message larger than max ({length} vs. {})",
                    self.message_bytes_max
                ),
            ));
        }
        Ok(length)
    }
}

/// `message` with its prefix, as one piece.
pub fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_slice(&prefix(message.len()));
    out.put_slice(message);
    out.freeze()
}

/// Bytes of a message that goes out: etcd's bound, and less than its length could say.
const SENT_BYTES_MAX: usize = i32::MAX as usize;

/// Refuses to send a message of `length` bytes that is too large, in grpc-go's words.
pub(super) fn check_sent(length: usize) -> Result<(), Status> {
    if length > SENT_BYTES_MAX {
        let text =
            format!("grpc: trying to send message larger than max ({length} vs. {SENT_BYTES_MAX})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(())
}

/// The prefix of a message of `length` bytes.
pub(super) fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    let length = u32::try_from(length).expect("`check_sent` has let it pass");
    let [a, b, c, d] = length.to_be_bytes();
    [0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(max: usize, bytes: &[u8], step: usize) -> Result<Vec<Bytes>, Status> {
        let mut assembler = Assembler::new(max, Budget::default());
        let mut out = Vec::new();
        for chunk in bytes.chunks(step) {
            assembler.push(Bytes::copy_from_slice(chunk));
            while let Some(message) = assembler.next_message()? {
                out.push(message);
            }
        }
        assert!(assembler.is_empty());
        Ok(out)
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_were_cut() {
        let big = vec![7; 40_000];
        let messages: [&[u8]; 5] = [b"", b"a", &big, b"", b"the end"];
        let bytes: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
        for step in [1, 2, 4, 5, 6, 7, 1000, 40_003, bytes.len()] {
            assert_eq!(
                assembled(40_000, &bytes, step).expect("valid"),
                messages,
                "{step}"
            );
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_by_its_prefix_alone() {
        let prefix = [0, 0, 0, 0, 11];
        let error = assembled(10, &prefix, 1).expect_err("11 > 10");
        assert_eq!(error.code, Code::ResourceExhausted);
        assert_eq!(
            error.message,
            "grpc: received message larger than max (11 vs. 10)"
        );
    }

    #[test]
    fn an_answer_that_no_client_could_take_is_refused_and_nothing_worse() {
        assert_eq!(check_sent(SENT_BYTES_MAX), Ok(()));
        for length in [SENT_BYTES_MAX + 1, 5 << 30] {
            let refused = check_sent(length).expect_err("too large");
            assert_eq!(refused.code, Code::ResourceExhausted);
            let words = format!("larger than max ({length} vs. 2147483647)");
            assert!(refused.message.ends_with(&words), "{}", refused.message);
        }
    }

    #[test]
    fn partial_messages_share_one_budget_and_give_it_back() {
        let budget = Budget::default();
        let all_but_a_bit = budget.take(PARTIAL_BYTES_MAX - 32 * 1024).expect("room");
        let begun = |bytes: usize| {
            let mut begun = vec![0, 0x10, 0, 0, 0]; // a message of 256 MiB
            begun.resize(bytes, 7);
            Bytes::from(begun)
        };
        let mut first = Assembler::new(1 << 30, budget.clone());
        first.push(begun(20_000));
        assert_eq!(first.next_message(), Ok(None));
        assert_eq!(budget.used(), PARTIAL_BYTES_MAX);
        let mut second = Assembler::new(1 << 30, budget.clone());
        second.push(begun(20_000));
        assert_eq!(
            second.next_message().expect_err("no room").code,
            Code::ResourceExhausted
        );
        drop((first, all_but_a_bit));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_announced_and_does_not_come_takes_no_room() {
        let budget = Budget::default();
        let mut assembler = Assembler::new(1 << 30, budget.clone());
        assembler.push(Bytes::from_static(&[0, 0x10, 0, 0, 0, 7]));
        assert_eq!(assembler.next_message(), Ok(None));
        assert_eq!(budget.used(), 0);
        assert!(assembler.gathered.capacity() < PARTIAL_FREE_BYTES);
    }
}
