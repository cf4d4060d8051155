//! The writer: entries in order, given twice, become pages in order.
//!
//! Each open bucket is a tree that grows at its right edge. A full leaf is given out and leaves its first key and
//! its page's number with the branch above it; a full branch does the same one level up. So what is kept is one
//! unfinished page for each level of each open bucket.
//!
//! ```text
//!    push ─► leaf ──full──► out            bucket ends: what is unfinished goes out from below, and the last
//!              └─(first key, page)─► branch     page that goes out is the tree's root
//!                                      └─(first key, page)─► branch …
//! ```
//!
//! A branch always keeps its last child back when it goes out full, so that no branch ever ends with one
//! child alone. A bucket that fits into a quarter of a page is written inline, as bbolt does.

use crate::layout::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, FREE_LIST, HEADER_BYTES, IS_BUCKET, KEY_BYTES_MAX, LEAF,
    META, Meta, PAGE_BYTES, VALUE_BYTES_MAX, header,
};
use thiserror::Error;

/// The page of the free list, which is empty: nothing in the file is unused.
const FREE_LIST_PAGE: u64 = 2;
const FIRST_PAGE: u64 = 3;

/// The newer meta lies in page 0, so its transaction is even.
const TRANSACTION: u64 = 2;

/// Bytes of a bucket that is written inline, its page header included.
const INLINE_BYTES_MAX: usize = PAGE_BYTES / 4;

/// Children that a branch has at least when it goes out before its bucket ends: one more stays with it.
const CHILDREN_MIN: usize = 2;

/// Why an entry cannot be written. The writer is of no more use then.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum WriteError {
    /// The key is empty, too long, or not above the one before it in its bucket.
    #[error("the key {0:?} is empty, too long, or not above the one before it")]
    Key(Vec<u8>),
    /// The value is too long.
    #[error("a value of {0} bytes is too long")]
    Value(usize),
    /// No bucket is open that could end.
    #[error("no bucket is open")]
    NotOpen,
    /// A bucket is still open at the end.
    #[error("{0} buckets are still open")]
    Open(usize),
    /// The second pass was given something else than the first.
    #[error("the second pass gave other entries than the first")]
    Differs,
}

/// What the first pass finds out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    pages: u64,
    root: u64,
}

impl Layout {
    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

/// Makes a file. See the module's documentation.
pub struct Writer {
    /// What the first pass found out; nothing while this is the first pass.
    layout: Option<Layout>,
    out: Vec<u8>,
    next_page: u64,
    /// The root bucket and, below it, those that are open.
    open: Vec<Tree>,
}

/// An open bucket.
#[derive(Default)]
struct Tree {
    name: Vec<u8>,
    last_key: Vec<u8>,
    leaf: Leaf,
    has_buckets: bool,
    /// From the level above the leaves up.
    branches: Vec<Branch>,
}

#[derive(Default)]
struct Leaf {
    /// Flags, length of key, length of value.
    elements: Vec<(u32, u32, u32)>,
    data: Vec<u8>,
}

#[derive(Default)]
struct Branch {
    children: Vec<Child>,
    key_bytes: usize,
}

struct Child {
    first_key: Vec<u8>,
    page: u64,
}

impl Writer {
    /// The first pass: nothing comes out of it but a [`Layout`].
    pub fn measure() -> Writer {
        Writer {
            layout: None,
            out: Vec::new(),
            next_page: FIRST_PAGE,
            open: vec![Tree::default()],
        }
    }

    /// The second pass, to which the same is given again.
    pub fn emit(layout: Layout) -> Writer {
        let mut writer = Writer {
            layout: Some(layout),
            ..Writer::measure()
        };
        for page in 0..2 {
            let meta = Meta {
                page_bytes: PAGE_BYTES as u32,
                root: layout.root,
                free_list: FREE_LIST_PAGE,
                pages: layout.pages,
                transaction: TRANSACTION - page,
            };
            writer.out.extend_from_slice(&header(page, META, 0, 0));
            writer.out.extend_from_slice(&meta.encode());
            writer.fill_page();
        }
        let free_list = header(FREE_LIST_PAGE, FREE_LIST, 0, 0);
        writer.out.extend_from_slice(&free_list);
        writer.fill_page();
        writer
    }

    /// Takes the bytes that are ready: whole pages, which follow those that were taken before.
    pub fn take_ready(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How many bytes are ready.
    pub fn n_ready(&self) -> usize {
        self.out.len()
    }

    /// Begins a bucket in the innermost one that is open.
    ///
    /// # Errors
    /// The name is no key that can follow.
    pub fn begin_bucket(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.innermost()?.check_key(name)?;
        self.open.push(Tree {
            name: name.to_vec(),
            ..Tree::default()
        });
        Ok(())
    }

    /// Ends the innermost bucket that is open.
    ///
    /// # Errors
    /// None is open.
    pub fn end_bucket(&mut self) -> Result<(), WriteError> {
        if self.open.len() < 2 {
            return Err(WriteError::NotOpen);
        }
        let mut tree = self.open.pop().ok_or(WriteError::NotOpen)?;
        let mut value = vec![0; BUCKET_BYTES];
        if tree.is_inline() {
            let count = tree.leaf.elements.len() as u16;
            value.extend_from_slice(&header(0, LEAF, count, 0));
            tree.leaf.encode(&mut value);
        } else {
            let root = self.close(&mut tree);
            value[..8].copy_from_slice(&root.to_le_bytes());
        }
        let parent = self.innermost()?;
        parent.has_buckets = true;
        self.add(&tree.name, IS_BUCKET, &value)
    }

    /// Adds an entry to the innermost bucket that is open. The root bucket, too, may have entries.
    ///
    /// # Errors
    /// The key cannot follow, or one of both is too long.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.add(key, 0, value)
    }

    /// Ends the file. In the second pass the last bytes are ready after it.
    ///
    /// # Errors
    /// A bucket is open, or the passes differ.
    pub fn finish(&mut self) -> Result<Layout, WriteError> {
        let mut root = match (self.open.pop(), self.open.len()) {
            (Some(root), 0) => root,
            (_, n_open) => return Err(WriteError::Open(n_open)),
        };
        let root = self.close(&mut root);
        let layout = Layout {
            pages: self.next_page,
            root,
        };
        match self.layout {
            Some(measured) if measured != layout => Err(WriteError::Differs),
            _ => Ok(layout),
        }
    }

    fn innermost(&mut self) -> Result<&mut Tree, WriteError> {
        self.open.last_mut().ok_or(WriteError::NotOpen)
    }

    fn add(&mut self, key: &[u8], flags: u32, value: &[u8]) -> Result<(), WriteError> {
        let mut tree = self.open.pop().ok_or(WriteError::NotOpen)?;
        tree.check_key(key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(WriteError::Value(value.len()));
        }
        let more = ELEMENT_BYTES + key.len() + value.len();
        if !tree.leaf.elements.is_empty() && tree.leaf.page_bytes() + more > PAGE_BYTES {
            self.leaf_out(&mut tree);
        }
        let lengths = (flags, key.len() as u32, value.len() as u32);
        tree.leaf.elements.push(lengths);
        tree.leaf.data.extend_from_slice(key);
        tree.leaf.data.extend_from_slice(value);
        tree.last_key.clear();
        tree.last_key.extend_from_slice(key);
        self.open.push(tree);
        Ok(())
    }

    /// Gives out all that is unfinished in a tree; its root's page.
    fn close(&mut self, tree: &mut Tree) -> u64 {
        // The only leaf of an empty bucket is empty.
        if !tree.leaf.elements.is_empty() || tree.branches.is_empty() {
            self.leaf_out(tree);
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == tree.branches.len();
            match &tree.branches[level].children[..] {
                [only] if is_top => return only.page,
                _ => self.branch_out(tree, level, 0),
            }
            level += 1;
        }
    }

    fn leaf_out(&mut self, tree: &mut Tree) {
        let leaf = std::mem::take(&mut tree.leaf);
        let first_key = leaf.first_key().to_vec();
        let page = self.page(LEAF, leaf.elements.len(), leaf.page_bytes(), |out| {
            leaf.encode(out);
        });
        self.add_child(tree, 0, Child { first_key, page });
    }

    /// Gives out a branch but for its last `n_kept` children.
    fn branch_out(&mut self, tree: &mut Tree, level: usize, n_kept: usize) {
        let branch = &mut tree.branches[level];
        let n_out = branch.children.len() - n_kept;
        let kept = branch.children.split_off(n_out);
        let full = std::mem::replace(branch, Branch::of(kept));
        let first_key = full.children[0].first_key.clone();
        let page = self.page(BRANCH, full.children.len(), full.page_bytes(), |out| {
            full.encode(out);
        });
        self.add_child(tree, level + 1, Child { first_key, page });
    }

    fn add_child(&mut self, tree: &mut Tree, level: usize, child: Child) {
        if tree.branches.len() == level {
            tree.branches.push(Branch::default());
        }
        let branch = &tree.branches[level];
        let more = ELEMENT_BYTES + child.first_key.len();
        let is_full = branch.page_bytes() + more > PAGE_BYTES;
        if is_full && branch.children.len() > CHILDREN_MIN {
            self.branch_out(tree, level, 1);
        }
        let branch = &mut tree.branches[level];
        branch.key_bytes += child.first_key.len();
        branch.children.push(child);
    }

    /// Takes the next page, with as many behind it as `n_bytes` need.
    fn page(
        &mut self,
        flags: u16,
        count: usize,
        n_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let page = self.next_page;
        let n_pages = n_bytes.div_ceil(PAGE_BYTES);
        self.next_page += n_pages as u64;
        if self.layout.is_some() {
            let overflow = n_pages as u32 - 1;
            self.out.reserve(n_pages * PAGE_BYTES);
            self.out
                .extend_from_slice(&header(page, flags, count as u16, overflow));
            encode(&mut self.out);
            self.fill_page();
        }
        page
    }

    fn fill_page(&mut self) {
        self.out
            .resize(self.out.len().next_multiple_of(PAGE_BYTES), 0);
    }
}

impl Tree {
    fn check_key(&self, key: &[u8]) -> Result<(), WriteError> {
        let follows = key > &self.last_key[..];
        match !key.is_empty() && key.len() <= KEY_BYTES_MAX && follows {
            true => Ok(()),
            false => Err(WriteError::Key(key.to_vec())),
        }
    }

    fn is_inline(&self) -> bool {
        self.branches.is_empty() && !self.has_buckets && self.leaf.page_bytes() <= INLINE_BYTES_MAX
    }
}

impl Leaf {
    fn page_bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.data.len()
    }

    fn first_key(&self) -> &[u8] {
        let length = self.elements.first().map_or(0, |(_, key, _)| *key);
        &self.data[..length as usize]
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut pos = (self.elements.len() * ELEMENT_BYTES) as u32;
        for (flags, key, value) in &self.elements {
            for number in [*flags, pos, *key, *value] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            pos += key + value;
            pos -= ELEMENT_BYTES as u32;
        }
        out.extend_from_slice(&self.data);
    }
}

impl Branch {
    fn of(children: Vec<Child>) -> Branch {
        Branch {
            key_bytes: children.iter().map(|child| child.first_key.len()).sum(),
            children,
        }
    }

    fn page_bytes(&self) -> usize {
        HEADER_BYTES + self.children.len() * ELEMENT_BYTES + self.key_bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut pos = (self.children.len() * ELEMENT_BYTES) as u32;
        for child in &self.children {
            let length = child.first_key.len() as u32;
            out.extend_from_slice(&pos.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&child.page.to_le_bytes());
            pos += length;
            pos -= ELEMENT_BYTES as u32;
        }
        for child in &self.children {
            out.extend_from_slice(&child.first_key);
        }
    }
}
