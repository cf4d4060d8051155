//! bbolt's file format, in which etcd keeps its data and sends its backups: a writer and a reader.
//!
//! ```text
//!   page 0    page 1    page 2      page 3 …                                  pages-1
//!   ┌────────┬─────────┬───────────┬───────┬───────┬──────────┬─────┬────────┬────────────────┐
//!   │ meta   │ meta    │ free list │ leaf  │ leaf  │ branch   │  …  │ branch │ leaf: the root │
//!   │ newer  │ older   │ (empty)   │   ▲   │   ▲   │ of those │     │        │ bucket's names │
//!   └───┬────┴─────────┴───────────┴───┼───┴───┼───┴────┬─────┴─────┴────────┴────────▲───────┘
//!       │                              └───────┴────────┘                             │
//!       └──────────────── "the root bucket is at …, the file has … pages" ────────────┘
//! ```
//!
//! A file is a B+ tree of *buckets*: the root bucket's leaves hold the names of the others, each with the page
//! of its own tree, or with the whole of it *inline* when that is short. A page whose content is longer goes on
//! in the pages after it (*overflow*). Numbers are little endian.
//!
//! [`Writer`] takes entries in order and gives out pages in order. A page comes after the pages below it, so
//! only the meta pages, which come first, know what is not known yet: the entries are given twice. The first
//! pass ([`Writer::measure`]) counts, the second one ([`Writer::emit`]) gives out bytes. Neither
//! keeps more than one unfinished page for each level of the tree, however much there is.
//!
//! [`File`] reads what anybody wrote, etcd and `bbolt compact` among them, and believes nothing: every number is
//! checked against the file before memory is taken for it, no page is read twice on one walk, and trees have a
//! greatest depth. Bytes from outside are never a panic.
//!
//! What is deliberately absent: changing a file that is there, transactions, and the free list's content, which only
//! a writer in place would need. The bytes are drawn in `docs/format/backup.md`.
//!
//! Read in this order: `layout`, `write`, `read`.
#![forbid(unsafe_code)]

mod layout;
mod read;
mod write;

pub use layout::{KEY_BYTES_MAX, PAGE_BYTES, VALUE_BYTES_MAX};
pub use read::{Bucket, Damage, Entry, File, Item, Items, ReadAt, ReadError, Totals};
pub use write::{Layout, WriteError, Writer};
