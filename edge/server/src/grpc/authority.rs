//! A mend for old clients: an `:authority` that is a whole URL.
//!
//! etcd 3.4's Go client dials the endpoint `http://127.0.0.1:2379` for its Maintenance calls and sends that
//! text as the `:authority`, where only `127.0.0.1:2379` belongs (RFC 9113 §8.3.1). Go's servers do not look;
//! `h2` refuses the request, and `etcdctl endpoint status` with it. We do not use the authority at all, so
//! the offending three characters are overwritten before `h2` sees them:
//!
//! ```text
//!   http://127.0.0.1:2379      ':' becomes 'j' and '/' becomes '3': letters whose Huffman codes (RFC 7541
//!   httpj33127.0.0.1:2379      appendix B) are as long, so that no length changes, neither of the frame
//!                              nor of the client's compression table
//! ```
//!
//! Only the first request of a connection is looked at, unless it had to be mended: then all are. What this
//! is not: a parser of HPACK. It steps over fields and gives up at anything odd, which is then `h2`'s.

use super::limits::FRAME_BYTES_MAX;

const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
/// `:authority` in HPACK's static table.
const AUTHORITY_INDEX: usize = 1;

/// What is to be found and what is written over it: the same number of bits, most significant first.
struct Mend {
    find: u64,
    write: u64,
    bits: u32,
}

/// In Huffman's code: `http://` and `https://`, a group for each letter.
#[allow(clippy::unusual_byte_groupings)]
const HUFFMAN: [Mend; 2] = [
    Mend {
        find: 0b100111_01001_01001_101011_1011100_011000_011000,
        write: 0b100111_01001_01001_101011_1110100_011001_011001,
        bits: 41,
    },
    Mend {
        find: 0b100111_01001_01001_101011_01000_1011100_011000_011000,
        write: 0b100111_01001_01001_101011_01000_1110100_011001_011001,
        bits: 46,
    },
];

/// Looks through what a client sends.
pub(super) struct AuthorityMend {
    /// Bytes of the current frame (or of the preface) that need no look.
    pass: usize,
    is_off: bool,
}

impl AuthorityMend {
    /// For a connection that begins with HTTP/2's preface of 24 bytes.
    pub(super) fn new() -> AuthorityMend {
        AuthorityMend {
            pass: 24,
            is_off: false,
        }
    }

    /// Whether there is nothing to look at any more.
    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    /// Looks at `bytes`, which follow those that were looked at before; how many of them can go on. The
    /// rest is to be given again with what comes next.
    pub(super) fn look(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while !self.is_off {
            let passing = self.pass.min(bytes.len() - at);
            at += passing;
            self.pass -= passing;
            let Some(head) = bytes[at..].first_chunk::<FRAME_HEAD_BYTES>() else {
                return at;
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let whole = FRAME_HEAD_BYTES + length;
            if kind != HEADERS || length > FRAME_BYTES_MAX as usize {
                self.pass = whole;
                continue;
            }
            let Some(frame) = bytes[at..].get_mut(..whole) else {
                return at;
            };
            let is_mended = mend(&mut frame[FRAME_HEAD_BYTES..], flags).unwrap_or(false);
            self.is_off = !is_mended;
            at += whole;
        }
        bytes.len()
    }
}

/// Mends the authority in a block of fields, if it is there and broken; nothing at bytes that are odd.
fn mend(payload: &mut [u8], flags: u8) -> Option<bool> {
    let mut at = 0;
    let mut end = payload.len();
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*payload.first()?))?;
        at += 1;
    }
    if flags & PRIORITY != 0 {
        at += 5;
    }
    let block = payload.get_mut(at..end)?;
    let mut at = 0;
    while at < block.len() {
        let first = block[at];
        let literal_bits = match first {
            0x80.. => {
                number(block, &mut at, 7)?;
                continue;
            }
            0x40.. => 6,
            0x20.. => {
                number(block, &mut at, 5)?;
                continue;
            }
            _ => 4,
        };
        let name = number(block, &mut at, literal_bits)?;
        if name == 0 {
            let length = number(block, &mut at, 7)?;
            at = at.checked_add(length)?;
        }
        let is_huffman = block.get(at)? & 0x80 != 0;
        let length = number(block, &mut at, 7)?;
        let value = block.get_mut(at..at.checked_add(length)?)?;
        if name == AUTHORITY_INDEX {
            return Some(mend_value(value, is_huffman));
        }
        at += length;
    }
    Some(false)
}

fn mend_value(value: &mut [u8], is_huffman: bool) -> bool {
    if is_huffman {
        return HUFFMAN.iter().any(|mend| mend.apply(value));
    }
    let broken = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| value.starts_with(scheme));
    let Some(scheme) = broken else { return false };
    for byte in &mut value[..scheme.len()] {
        *byte = match *byte {
            b':' => b'j',
            b'/' => b'3',
            other => other,
        };
    }
    true
}

impl Mend {
    fn apply(&self, value: &mut [u8]) -> bool {
        let Some(start) = value.first_chunk_mut::<8>() else {
            return false;
        };
        let rest = 64 - self.bits;
        let bits = u64::from_be_bytes(*start);
        if bits >> rest != self.find {
            return false;
        }
        let kept = bits & ((1 << rest) - 1);
        *start = (self.write << rest | kept).to_be_bytes();
        true
    }
}

/// An integer with a prefix of `bits` (RFC 7541 §5.1); no larger than any that occurs in a real request.
fn number(bytes: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*bytes.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*bytes.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(c: char) -> (u64, u32) {
        let (code, bits) = match c {
            '/' => (0x18, 6),
            ':' => (0x5c, 7),
            '3' => (0x19, 6),
            'j' => (0x74, 7),
            'h' => (0x27, 6),
            't' => (0x9, 5),
            'p' => (0x2b, 6),
            's' => (0x8, 5),
            '.' => (0x17, 6),
            '0' => (0, 5),
            '1' => (1, 5),
            '2' => (2, 5),
            _ => panic!("not needed: {c}"),
        };
        (code, bits)
    }

    fn huffman(text: &str) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for (code, n) in text.chars().map(code) {
            bits.extend((0..n).rev().map(|i| code >> i & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        let byte = |bits: &[bool]| bits.iter().fold(0, |n, bit| n << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    /// A request as Go sends it: `:method: POST`, `:scheme: http`, `:path`, `:authority`.
    fn request(authority: &[u8], is_huffman: bool) -> Vec<u8> {
        let mut block = vec![0x83, 0x86, 0x44, 2, b'/', b'x', 0x41];
        block.push(authority.len() as u8 | if is_huffman { 0x80 } else { 0 });
        block.extend_from_slice(authority);
        block.extend_from_slice(&[0x40, 1, b'a', 1, b'b']);
        let mut frame = vec![0, 0, block.len() as u8, HEADERS, 4, 0, 0, 0, 1];
        frame.extend_from_slice(&block);
        frame
    }

    fn connection(request: &[u8]) -> Vec<u8> {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        [&[b'P'; 24][..], &settings, request, &settings, request].concat()
    }

    /// What comes out when the bytes come in pieces of `step`.
    fn passed(bytes: &[u8], step: usize) -> Vec<u8> {
        let mut mend = AuthorityMend::new();
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            held.extend_from_slice(piece);
            let n = mend.look(&mut held);
            out.extend(held.drain(..n));
        }
        assert!(held.is_empty(), "nothing is kept back");
        out
    }

    #[test]
    fn a_url_becomes_an_authority_of_the_same_length() {
        for (url, wanted) in [
            ("http://120.0.0.1:2012", "httpj33120.0.0.1:2012"),
            ("https://120.0.0.1:2012", "httpsj33120.0.0.1:2012"),
        ] {
            let plain = connection(&request(url.as_bytes(), false));
            let coded = connection(&request(&huffman(url), true));
            for step in [1, 2, 7, 30, 1000] {
                assert_eq!(
                    passed(&plain, step),
                    connection(&request(wanted.as_bytes(), false))
                );
                assert_eq!(
                    passed(&coded, step),
                    connection(&request(&huffman(wanted), true))
                );
            }
        }
    }

    #[test]
    fn what_is_right_or_odd_passes_as_it_is_and_is_not_looked_at_again() {
        let right = connection(&request(b"120.0.0.1:2012", false));
        let coded = connection(&request(&huffman("120.0.0.1:2012"), true));
        let mut odd = request(b"http://x", false);
        odd[FRAME_HEAD_BYTES + 7] = 0x7f; // claims more than there is
        let large = [&[b'P'; 24][..], &[0xff; 9]].concat();
        for bytes in [right, coded, connection(&odd), large] {
            for step in [1, 5, 1000] {
                assert_eq!(passed(&bytes, step), bytes);
            }
        }
        let mut mend = AuthorityMend::new();
        mend.look(&mut connection(&request(b"120.0.0.1:2012", false)));
        assert!(mend.is_off());
    }
}
