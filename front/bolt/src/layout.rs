//! Where what is in a page.
//!
//! ```text
//!   page     id u64 │ flags u16 │ count u16 │ overflow u32 │ elements … │ keys and values …
//!   leaf     flags u32 │ pos u32 │ key len u32 │ value len u32      pos: from this element to its key
//!   branch   pos u32 │ key len u32 │ page u64
//!   meta     magic u32 │ version u32 │ page size u32 │ 0 u32 │ root page u64 │ sequence u64
//!            │ free list page u64 │ pages u64 │ transaction u64 │ FNV-1a of all before u64
//!   bucket   root page u64 │ sequence u64 │ the page itself, when the root page is 0
//! ```

/// Bytes of a page that is written here. Files of others may have larger and smaller ones.
pub const PAGE_BYTES: usize = 4096;

/// The longest key, bbolt's.
pub const KEY_BYTES_MAX: usize = 32_768;

/// The longest value, bbolt's.
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

pub(crate) const MAGIC: u32 = 0xED0C_DAED;
pub(crate) const VERSION: u32 = 2;
/// In the place of the free list's page: there is none, whoever wants it walks the tree.
pub(crate) const NO_FREE_LIST: u64 = u64::MAX;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const ELEMENT_BYTES: usize = 16;
pub(crate) const BUCKET_BYTES: usize = 16;
pub(crate) const META_BYTES: usize = 64;
const META_HASHED_BYTES: usize = 56;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREE_LIST: u16 = 0x10;

/// The flag of a leaf element that is a bucket.
pub(crate) const IS_BUCKET: u32 = 1;

/// What a meta page says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) page_bytes: u32,
    pub(crate) root: u64,
    pub(crate) free_list: u64,
    /// Pages in the file, the meta pages included.
    pub(crate) pages: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    /// The bytes behind the page header.
    pub(crate) fn encode(&self) -> [u8; META_BYTES] {
        let mut out = [0; META_BYTES];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.root.to_le_bytes());
        out[32..40].copy_from_slice(&self.free_list.to_le_bytes());
        out[40..48].copy_from_slice(&self.pages.to_le_bytes());
        out[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let sum = fnv_1a(&out[..META_HASHED_BYTES]);
        out[META_HASHED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The meta in these bytes, if they are one.
    pub(crate) fn decode(bytes: &[u8; META_BYTES]) -> Option<Meta> {
        let sound = u32_at(bytes, 0)? == MAGIC
            && u32_at(bytes, 4)? == VERSION
            && u64_at(bytes, META_HASHED_BYTES)? == fnv_1a(&bytes[..META_HASHED_BYTES]);
        if !sound {
            return None;
        }
        Some(Meta {
            page_bytes: u32_at(bytes, 8)?,
            root: u64_at(bytes, 16)?,
            free_list: u64_at(bytes, 32)?,
            pages: u64_at(bytes, 40)?,
            transaction: u64_at(bytes, 48)?,
        })
    }
}

/// The header of a page.
pub(crate) fn header(id: u64, flags: u16, count: u16, overflow: u32) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&id.to_le_bytes());
    out[8..10].copy_from_slice(&flags.to_le_bytes());
    out[10..12].copy_from_slice(&count.to_le_bytes());
    out[12..].copy_from_slice(&overflow.to_le_bytes());
    out
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let slice = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*slice))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let slice = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*slice))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let slice = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*slice))
}

/// FNV-1a of 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
