//! The reader: it believes no number in a file.
//!
//! ```text
//!   File::open ─► the newer sound meta ─► File::root ─► File::items ─► entries in order, page after page
//! ```
//!
//! What keeps hostile bytes harmless: a page's number and its overflow are looked at against the file's length
//! before memory is taken, a walk goes down [`DEPTH_MAX`] levels at most and takes each page once, entries of a page
//! share no bytes, and keys must ascend. The free list is not looked at, so it makes no difference whether there is one.

use crate::layout::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, HEADER_BYTES, IS_BUCKET, LEAF, META_BYTES, Meta,
    NO_FREE_LIST, u16_at, u32_at, u64_at,
};
use std::error::Error;
use thiserror::Error;

/// Sizes of pages that are looked for: machines have pages of 4 KiB to 64 KiB.
const PAGE_BYTES_MIN: u32 = 1024;
const PAGE_BYTES_MAX: u32 = 64 * 1024;

/// Levels of one tree. Four are enough for a hundred million pages.
const DEPTH_MAX: usize = 32;

/// Buckets in buckets that [`File::check`] follows.
const NESTED_MAX: usize = 16;

/// Bytes of one page with its overflow: two values as large as any request that a server may be configured
/// to take.
const RUN_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Where the bytes of a file are.
pub trait ReadAt {
    /// How many there are.
    fn n_bytes(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on, which is in bounds.
    ///
    /// # Errors
    /// The world's.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl ReadAt for &[u8] {
    fn n_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..)?.get(..buffer.len()))
            .ok_or("beyond the end")?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Its bytes cannot be had.
    #[error("cannot read the file")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// Its bytes are no sound file.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Damage {
    /// There is no meta page whose checksum is right.
    #[error("this is no bbolt file: neither of its two meta pages is sound")]
    NoMeta,
    /// The file ends before its last page.
    #[error("the file is cut: it should have {expected} bytes and has {found}")]
    Cut {
        /// By its meta page.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// A page lies outside the file.
    #[error("page {0} lies outside the file")]
    Outside(u64),
    /// A page says of itself that it is another, or of no kind that can be there.
    #[error("page {0} is not what it should be")]
    Kind(u64),
    /// Something in a page lies outside the page, or has no key.
    #[error("page {0} has an entry that is not in it")]
    Element(u64),
    /// Keys do not ascend.
    #[error("page {0} has a key that is not above the one before it")]
    Order(u64),
    /// A page is part of the tree twice.
    #[error("page {0} is there twice")]
    Twice(u64),
    /// A tree is deeper than any.
    #[error("page {0} lies too deep")]
    Deep(u64),
    /// A page is larger than any.
    #[error("page {0} is too large")]
    Large(u64),
}

/// A file that can be read.
pub struct File<S> {
    source: S,
    meta: Meta,
}

/// A bucket in a file.
#[derive(Clone, Debug)]
pub struct Bucket(Place);

#[derive(Clone, Debug)]
enum Place {
    Page(u64),
    /// In its parent's page, which has this number.
    Inline(u64, Vec<u8>),
}

/// What a whole file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Buckets, without the root.
    pub n_buckets: u64,
    /// Entries in all of them.
    pub n_entries: u64,
}

impl<S: ReadAt> File<S> {
    /// Looks for the newer sound meta page.
    ///
    /// # Errors
    /// There is none, the file is cut, or it cannot be read.
    pub fn open(source: S) -> Result<File<S>, ReadError> {
        let first = meta_at(&source, 0)?.filter(|meta| has_sound_page_size(meta, None));
        let sizes = match first {
            Some(meta) => vec![meta.page_bytes],
            // The first page may be the one that is lost, and with it the size of all.
            None => (0..)
                .map(|power| PAGE_BYTES_MIN << power)
                .take_while(|size| *size <= PAGE_BYTES_MAX)
                .collect(),
        };
        let mut best = first;
        for size in sizes {
            let second = meta_at(&source, size.into())?;
            let second = second.filter(|meta| has_sound_page_size(meta, Some(size)));
            best = match (best, second) {
                (Some(best), Some(second)) if second.transaction <= best.transaction => Some(best),
                (best, second) => second.or(best),
            };
        }
        let meta = best.ok_or(Damage::NoMeta)?;
        let file = File { source, meta };
        let found = file.source.n_bytes();
        let expected = file.file_bytes().ok_or(Damage::NoMeta)?;
        if expected > found {
            return Err(Damage::Cut { expected, found }.into());
        }
        if !(2..meta.pages).contains(&meta.root) {
            return Err(Damage::Outside(meta.root).into());
        }
        Ok(file)
    }

    /// Bytes of all pages, as far as they are in use; nothing when that is no number.
    fn file_bytes(&self) -> Option<u64> {
        self.meta.pages.checked_mul(self.meta.page_bytes.into())
    }

    /// Bytes of the file that count: all pages, those behind the last one not.
    pub fn n_bytes(&self) -> u64 {
        self.file_bytes().unwrap_or(0)
    }

    /// Where the bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Whether the file keeps a list of its free pages. etcd's files keep none.
    pub fn has_free_list(&self) -> bool {
        self.meta.free_list != NO_FREE_LIST
    }

    /// The bucket that holds all others.
    pub fn root(&self) -> Bucket {
        Bucket(Place::Page(self.meta.root))
    }

    /// The bucket `name` in the root bucket.
    ///
    /// # Errors
    /// The way to it is damaged.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, ReadError> {
        let mut items = self.items(&self.root());
        while let Some(item) = items.next()? {
            if item.key == name {
                return Ok(match item.entry {
                    Entry::Bucket(bucket) => Some(bucket),
                    Entry::Value(_) => None,
                });
            }
        }
        Ok(None)
    }

    /// What a bucket holds, in the order of the keys.
    pub fn items(&self, bucket: &Bucket) -> Items<'_, S> {
        self.walk(bucket.clone(), self.nothing_seen())
    }

    fn walk(&self, bucket: Bucket, seen: Seen) -> Items<'_, S> {
        Items {
            file: self,
            seen,
            start: Some(bucket),
            path: Vec::new(),
            last_key: Vec::new(),
        }
    }

    fn nothing_seen(&self) -> Seen {
        Seen(vec![0; self.meta.pages.div_ceil(8) as usize])
    }

    /// Walks through everything, buckets in buckets too.
    ///
    /// # Errors
    /// The first damage.
    pub fn check(&self) -> Result<Totals, ReadError> {
        let mut totals = Totals::default();
        let mut waiting = vec![(self.root(), 0)];
        let mut seen = self.nothing_seen();
        while let Some((bucket, nested)) = waiting.pop() {
            let mut items = self.walk(bucket, seen);
            while let Some(item) = items.next()? {
                match item.entry {
                    Entry::Value(_) => totals.n_entries += 1,
                    Entry::Bucket(Bucket(Place::Page(page))) if nested == NESTED_MAX => {
                        return Err(Damage::Deep(page).into());
                    }
                    Entry::Bucket(bucket) => {
                        totals.n_buckets += 1;
                        waiting.push((bucket, nested + 1));
                    }
                }
            }
            seen = items.seen;
        }
        Ok(totals)
    }

    /// A page of a tree, whole.
    fn page(&self, id: u64) -> Result<Page, ReadError> {
        let size = u64::from(self.meta.page_bytes);
        if !(2..self.meta.pages).contains(&id) {
            return Err(Damage::Outside(id).into());
        }
        let mut bytes = vec![0; size as usize];
        self.read(id * size, &mut bytes)?;
        let says = u64_at(&bytes, 0);
        let overflow = u64::from(u32_at(&bytes, 12).unwrap_or(0));
        if says != Some(id) {
            return Err(Damage::Kind(id).into());
        }
        if id + overflow >= self.meta.pages {
            return Err(Damage::Outside(id + overflow).into());
        }
        let run = (overflow + 1) * size;
        if run > RUN_BYTES_MAX {
            return Err(Damage::Large(id).into());
        }
        if overflow > 0 {
            bytes.resize(run as usize, 0);
            self.read((id + 1) * size, &mut bytes[size as usize..])?;
        }
        Ok(Page::of(id, bytes)?)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.source
            .read_at(offset, buffer)
            .map_err(ReadError::Source)
    }
}

/// The sound meta in the page at `offset`, if there is one.
fn meta_at(source: &impl ReadAt, offset: u64) -> Result<Option<Meta>, ReadError> {
    let mut bytes = [0; META_BYTES];
    let at = offset + HEADER_BYTES as u64;
    if source.n_bytes() < at + META_BYTES as u64 {
        return Ok(None);
    }
    let read = source.read_at(at, &mut bytes);
    read.map_err(ReadError::Source)?;
    Ok(Meta::decode(&bytes))
}

fn has_sound_page_size(meta: &Meta, expected: Option<u32>) -> bool {
    meta.page_bytes.is_power_of_two()
        && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&meta.page_bytes)
        && expected.is_none_or(|expected| expected == meta.page_bytes)
}

/// Which pages a walk has taken, a bit for each.
struct Seen(Vec<u8>);

impl Seen {
    fn take(&mut self, page: u64) -> Result<(), Damage> {
        let byte = usize::try_from(page / 8)
            .ok()
            .and_then(|at| self.0.get_mut(at))
            .ok_or(Damage::Outside(page))?;
        let bit = 1 << (page % 8);
        if *byte & bit != 0 {
            return Err(Damage::Twice(page));
        }
        *byte |= bit;
        Ok(())
    }
}

/// A page of a tree.
struct Page {
    id: u64,
    is_leaf: bool,
    count: usize,
    bytes: Vec<u8>,
}

impl Page {
    fn of(id: u64, bytes: Vec<u8>) -> Result<Page, Damage> {
        let is_leaf = match u16_at(&bytes, 8) {
            Some(LEAF) => true,
            Some(BRANCH) => false,
            _ => return Err(Damage::Kind(id)),
        };
        let count = usize::from(u16_at(&bytes, 10).ok_or(Damage::Kind(id))?);
        let page = Page {
            id,
            is_leaf,
            count,
            bytes,
        };
        match page.content_bytes().is_some_and(|n| n <= page.bytes.len()) {
            true => Ok(page),
            false => Err(Damage::Element(id)),
        }
    }

    /// Bytes of all that is in the page. Were its entries allowed to share bytes, a small file could pretend to
    /// hold very much.
    fn content_bytes(&self) -> Option<usize> {
        let mut n_bytes = HEADER_BYTES + self.count * ELEMENT_BYTES;
        for at in 0..self.count {
            let element = HEADER_BYTES + at * ELEMENT_BYTES;
            let number = |index: usize| u32_at(&self.bytes, element + 4 * index);
            let lengths = match self.is_leaf {
                true => [number(2)?, number(3)?],
                false => [number(1)?, 0],
            };
            for length in lengths {
                n_bytes = n_bytes.checked_add(length as usize)?;
            }
        }
        Some(n_bytes)
    }

    /// Number `at` of a leaf: whether it is a bucket, its key, its value.
    fn leaf(&self, at: usize) -> Option<(bool, &[u8], &[u8])> {
        let element = HEADER_BYTES + at * ELEMENT_BYTES;
        let number = |index: usize| u32_at(&self.bytes, element + 4 * index);
        let key_from = element.checked_add(number(1)? as usize)?;
        let value_from = key_from.checked_add(number(2)? as usize)?;
        let end = value_from.checked_add(number(3)? as usize)?;
        let key = self.bytes.get(key_from..value_from)?;
        let value = self.bytes.get(value_from..end)?;
        (!key.is_empty()).then_some((number(0)? & IS_BUCKET != 0, key, value))
    }

    /// The page of number `at` of a branch.
    fn child(&self, at: usize) -> Option<u64> {
        let element = HEADER_BYTES + at * ELEMENT_BYTES;
        let key_from = element.checked_add(u32_at(&self.bytes, element)? as usize)?;
        let end = key_from.checked_add(u32_at(&self.bytes, element + 4)? as usize)?;
        self.bytes.get(key_from..end)?;
        u64_at(&self.bytes, element + 8)
    }
}

/// One entry of a bucket.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// Its key, or its name.
    pub key: &'a [u8],
    /// What is under it.
    pub entry: Entry<'a>,
}

/// What a key leads to.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// A value.
    Value(&'a [u8]),
    /// A bucket in this one.
    Bucket(Bucket),
}

/// What a bucket holds, in the order of the keys. See [`File::items`].
pub struct Items<'f, S> {
    file: &'f File<S>,
    seen: Seen,
    /// The bucket, as long as it is not begun.
    start: Option<Bucket>,
    /// The pages from the root to the present leaf, with what is next in each.
    path: Vec<(Page, usize)>,
    last_key: Vec<u8>,
}

impl<S: ReadAt> Items<'_, S> {
    /// The next entry; nothing behind the last one. After an error there is no way on.
    ///
    /// # Errors
    /// The file is damaged here, or cannot be read.
    #[allow(clippy::should_implement_trait)] // an item borrows its page
    pub fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        if let Some(Bucket(place)) = self.start.take() {
            match place {
                Place::Page(page) => self.descend(page)?,
                Place::Inline(id, bytes) => {
                    let page = Page::of(id, bytes)?;
                    if !page.is_leaf {
                        return Err(Damage::Kind(id).into());
                    }
                    self.path.push((page, 0));
                }
            }
        }
        loop {
            let Some((page, next)) = self.path.last_mut() else {
                return Ok(None);
            };
            if *next >= page.count {
                self.path.pop();
                continue;
            }
            *next += 1;
            if page.is_leaf {
                break;
            }
            let child = page.child(*next - 1).ok_or(Damage::Element(page.id))?;
            self.descend(child)?;
        }
        self.present().map(Some)
    }

    fn descend(&mut self, id: u64) -> Result<(), ReadError> {
        if self.path.len() >= DEPTH_MAX {
            return Err(Damage::Deep(id).into());
        }
        self.seen.take(id)?;
        let page = self.file.page(id)?;
        let size = u64::from(self.file.meta.page_bytes);
        for behind in 1..page.bytes.len() as u64 / size {
            self.seen.take(id + behind)?;
        }
        self.path.push((page, 0));
        Ok(())
    }

    /// The entry that the path has just passed.
    fn present(&mut self) -> Result<Item<'_>, ReadError> {
        let Items { path, last_key, .. } = self;
        let Some((page, next)) = path.last() else {
            return Err(Damage::NoMeta.into());
        };
        let id = page.id;
        let entry = page.leaf(*next - 1).ok_or(Damage::Element(id))?;
        let (is_bucket, key, value) = entry;
        if key <= &last_key[..] {
            return Err(Damage::Order(id).into());
        }
        last_key.clear();
        last_key.extend_from_slice(key);
        let entry = match is_bucket {
            false => Entry::Value(value),
            true => {
                let (head, inline) = value
                    .split_at_checked(BUCKET_BYTES)
                    .ok_or(Damage::Element(id))?;
                Entry::Bucket(Bucket(match u64_at(head, 0) {
                    Some(0) => Place::Inline(id, inline.to_vec()),
                    Some(root) => Place::Page(root),
                    None => return Err(Damage::Element(id).into()),
                }))
            }
        };
        Ok(Item { key, entry })
    }
}
