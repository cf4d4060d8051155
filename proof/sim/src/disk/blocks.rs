//! Whole blocks that are wrong though they were synced: stale ones, and writes that went elsewhere.
//!
//! ```text
//!   stale block          the block shows what stood there before the sync that changed it last
//!   misdirected write    as that, and what belonged there stands in another place, of this file or another
//! ```
//!
//! Each block is whole in itself, so nothing but its place and its neighbours can give it away: that is
//! what the log's serials, numbers and hashes are for (`docs/format/wal.md` §6).
//!
//! What it is not: able to hit everything. Of the *newest record* only the next record, or the watermark,
//! says that it was durable; a stale block of it looks as if the power had gone before its sync, and no
//! log can tell (§7 there). So the newest sync of the log is spared; or, when the watermark was synced
//! after it, the watermark's newest block, which is then the one that tells. Blocks that were written
//! and not synced are spared too: they are a power cut's business.

use super::{Inode, Pending, SECTOR_BYTES, SimDisk, put};
use base::Rng;
use std::fmt;
use storage::FileName;

/// Sectors of the larger kind of block: a frame of 4096 bytes.
const BLOCK_SECTORS: usize = 8;

/// The sync that changed a sector last, and what stood there before.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    at_sync: u64,
    earlier: Vec<u8>,
}

/// A block that is wrong now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongBlock {
    /// The file in which its earlier contents are back.
    pub file: FileName,
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub bytes: usize,
    /// Where its contents went, if they went anywhere.
    pub landed: Option<(FileName, usize)>,
}

impl fmt::Display for WrongBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongBlock {
            file,
            offset,
            bytes,
            landed,
        } = self;
        match landed {
            None => write!(f, "stale: {bytes} bytes of {file} at {offset}"),
            Some((other, at)) => write!(
                f,
                "misdirected: {bytes} bytes of {file} at {offset} went to {other} at {at}"
            ),
        }
    }
}

impl Inode {
    /// What is pending becomes durable by the sync with this number.
    pub(super) fn settle(&mut self, sync: u64) {
        let mut before = std::collections::BTreeMap::new();
        for write in std::mem::take(&mut self.pending) {
            match write {
                Pending::Reset(length) => {
                    self.durable = vec![0; length];
                    self.changed.clear();
                    before.clear();
                }
                Pending::Write { offset, data } => {
                    for sector in touched(offset, data.len()) {
                        before
                            .entry(sector)
                            .or_insert_with(|| sector_of(&self.durable, sector));
                    }
                    put(&mut self.durable, offset, &data);
                }
            }
        }
        for (sector, earlier) in before {
            if sector_of(&self.durable, sector) != earlier {
                let at_sync = sync;
                self.changed.insert(sector, Changed { at_sync, earlier });
                self.synced_at = sync;
            }
        }
    }

    /// Whether something that is not synced stands in `sector`.
    fn is_pending(&self, sector: usize) -> bool {
        self.pending.iter().any(|write| match write {
            Pending::Reset(_) => true,
            Pending::Write { offset, data } => touched(*offset, data.len()).contains(&sector),
        })
    }

    /// Puts `contents` into `sector`, durably, as far as the file goes.
    fn replace(&mut self, sector: usize, contents: &[u8]) {
        for bytes in [&mut self.current, &mut self.durable] {
            let start = (sector * SECTOR_BYTES).min(bytes.len());
            let end = (start + SECTOR_BYTES).min(bytes.len());
            bytes[start..end].copy_from_slice(&contents[..end - start]);
        }
        self.changed.remove(&sector);
        self.unreadable.remove(&sector);
    }
}

/// The sectors that a write of so many bytes touches.
pub(super) fn touched(offset: usize, length: usize) -> std::ops::Range<usize> {
    offset / SECTOR_BYTES..(offset + length).div_ceil(SECTOR_BYTES)
}

/// A sector, with zeros where the file has no bytes.
fn sector_of(bytes: &[u8], sector: usize) -> Vec<u8> {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    let mut contents = bytes[start..end].to_vec();
    contents.resize(SECTOR_BYTES, 0);
    contents
}

/// Which syncs are spared; see the module.
#[derive(Clone, Copy)]
struct Spared {
    prefix: &'static str,
    sync: u64,
}

impl SimDisk {
    /// One synced block shows its earlier contents from now on. Nothing when there is none that may.
    pub fn make_stale(&mut self, rng: &mut Rng) -> Option<WrongBlock> {
        let (file, sectors) = self.draw_changed(rng)?;
        self.bring_back(&file, &sectors);
        Some(WrongBlock {
            offset: sectors.start * SECTOR_BYTES,
            bytes: sectors.len() * SECTOR_BYTES,
            file,
            landed: None,
        })
    }

    /// One synced block went to another place: its own shows its earlier contents, and what stood in the
    /// other is overwritten. Nothing when there is none that may.
    pub fn misdirect(&mut self, rng: &mut Rng) -> Option<WrongBlock> {
        let (file, sectors) = self.draw_changed(rng)?;
        let (other, first) = self.draw_place(&file, &sectors, rng)?;
        let inode = &self.inodes[&self.names[&file]];
        let contents: Vec<Vec<u8>> = sectors
            .clone()
            .map(|sector| sector_of(&inode.current, sector))
            .collect();
        self.bring_back(&file, &sectors);
        let number = self.names[&other];
        let inode = self.inodes.get_mut(&number)?;
        for (n, contents) in contents.iter().enumerate() {
            inode.replace(first + n, contents);
        }
        Some(WrongBlock {
            offset: sectors.start * SECTOR_BYTES,
            bytes: sectors.len() * SECTOR_BYTES,
            file,
            landed: Some((other, first * SECTOR_BYTES)),
        })
    }

    fn bring_back(&mut self, file: &FileName, sectors: &std::ops::Range<usize>) {
        let Some(inode) = self
            .names
            .get(file)
            .and_then(|number| self.inodes.get_mut(number))
        else {
            return;
        };
        for sector in sectors.clone() {
            if let Some(changed) = inode.changed.remove(&sector) {
                inode.replace(sector, &changed.earlier);
            }
        }
    }

    /// The newest sync that changed a file whose name begins so.
    fn newest_sync(&self, prefix: &str) -> u64 {
        let files = self
            .names
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix));
        let syncs = files.map(|(_, number)| self.inodes[number].synced_at);
        syncs.max().unwrap_or(0)
    }

    fn spared(&self) -> Spared {
        let (log, watermark) = (self.newest_sync("wal-"), self.newest_sync("watermark"));
        match watermark > log {
            true => Spared {
                prefix: "watermark",
                sync: watermark,
            },
            false => Spared {
                prefix: "wal-",
                sync: log,
            },
        }
    }

    /// Whether all of `sectors` may be hit.
    fn may_hit(&self, file: &FileName, sectors: std::ops::Range<usize>) -> bool {
        let Spared { prefix, sync } = self.spared();
        let inode = &self.inodes[&self.names[file]];
        sectors.into_iter().all(|sector| {
            let changed = inode.changed.get(&sector);
            let is_newest = changed.is_some_and(|changed| changed.at_sync == sync);
            let is_spared = is_newest && file.as_str().starts_with(prefix);
            !is_spared && !inode.is_pending(sector)
        })
    }

    /// A sector, or a frame, in which something stands that was synced over something else.
    fn draw_changed(&self, rng: &mut Rng) -> Option<(FileName, std::ops::Range<usize>)> {
        let mut places: Vec<(FileName, Vec<usize>)> = Vec::new();
        for (file, number) in &self.names {
            let changed = self.inodes[number].changed.keys().copied();
            let sectors: Vec<usize> = changed
                .filter(|sector| self.may_hit(file, *sector..sector + 1))
                .collect();
            if !sectors.is_empty() {
                places.push((file.clone(), sectors));
            }
        }
        let (file, sectors) = rng.pick(&places)?;
        let sector = *rng.pick(sectors)?;
        let first = sector / BLOCK_SECTORS * BLOCK_SECTORS;
        let block = first..first + BLOCK_SECTORS;
        let is_wide = rng.one_in(2) && self.may_hit(file, block.clone());
        Some((
            file.clone(),
            if is_wide { block } else { sector..sector + 1 },
        ))
    }

    /// Another place of the same size: often one where something stands.
    fn draw_place(
        &self,
        file: &FileName,
        sectors: &std::ops::Range<usize>,
        rng: &mut Rng,
    ) -> Option<(FileName, usize)> {
        let files: Vec<&FileName> = self.names.keys().collect();
        for _ in 0..20 {
            let other = match rng.one_in(2) {
                true => file,
                false => rng.pick(&files)?,
            };
            let inode = &self.inodes[&self.names[other]];
            let used: Vec<usize> = inode.changed.keys().copied().collect();
            let sector = match rng.one_in(3) {
                false if !used.is_empty() => *rng.pick(&used)?,
                _ => rng.below(inode.current.len().div_ceil(SECTOR_BYTES) as u64) as usize,
            };
            let first = sector / sectors.len() * sectors.len();
            let place = first..first + sectors.len();
            let is_other = other != file || place != *sectors;
            if is_other && !inode.current.is_empty() && self.may_hit(other, place) {
                return Some((other.clone(), first));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Disk;

    const FRAME: usize = 4096;

    fn name(text: &str) -> FileName {
        FileName::parse(text).unwrap()
    }

    fn bytes(disk: &SimDisk, file: &FileName) -> Vec<u8> {
        let mut buffer = vec![0; disk.len(file).unwrap() as usize];
        disk.read_at(file, 0, &mut buffer).unwrap();
        buffer
    }

    /// A log of four frames, written one after the other, and a watermark behind the second.
    fn disk() -> SimDisk {
        let mut disk = SimDisk::new(1 << 20, Rng::new(1));
        let (log, mark) = (name("wal-1.log"), name("watermark"));
        for (file, frames) in [(&log, 4), (&mark, 2)] {
            disk.create(file, frames * FRAME as u64).unwrap();
            disk.sync(file).unwrap();
        }
        disk.sync_dir().unwrap();
        for frame in 0..4 {
            let at = (frame * FRAME) as u64;
            disk.write_at(&log, at, &[frame as u8 + 1; FRAME]).unwrap();
            disk.sync(&log).unwrap();
            if frame == 1 {
                disk.write_at(&mark, 0, &[9; FRAME]).unwrap();
                disk.sync(&mark).unwrap();
            }
        }
        disk
    }

    #[test]
    fn a_stale_block_shows_what_was_there_before_and_outlives_the_power() {
        let mut n_wide = 0;
        for seed in 0..200 {
            let mut disk = disk();
            let before = disk.clone();
            let wrong = disk.make_stale(&mut Rng::new(seed)).unwrap();
            n_wide += usize::from(wrong.bytes == FRAME);
            disk.cut_power(super::super::PowerCut::Nothing);
            let range = wrong.offset..wrong.offset + wrong.bytes;
            for file in [name("wal-1.log"), name("watermark")] {
                let mut expected = bytes(&before, &file);
                if file == wrong.file {
                    expected[range.clone()].fill(0);
                    assert_ne!(expected, bytes(&before, &file));
                }
                assert_eq!(bytes(&disk, &file), expected, "{wrong}");
            }
        }
        assert!((50..150).contains(&n_wide), "{n_wide}");
    }

    #[test]
    fn a_misdirected_write_is_missing_in_one_place_and_stands_in_another() {
        let mut n_elsewhere = 0;
        for seed in 0..200 {
            let mut disk = disk();
            let before = disk.clone();
            let wrong = disk.misdirect(&mut Rng::new(seed)).unwrap();
            let (other, at) = wrong.landed.clone().unwrap();
            n_elsewhere += usize::from(other != wrong.file);
            let contents = bytes(&before, &wrong.file);
            let contents = &contents[wrong.offset..wrong.offset + wrong.bytes];
            assert_eq!(&bytes(&disk, &other)[at..at + wrong.bytes], contents);
            assert_ne!((&other, at), (&wrong.file, wrong.offset));
            let own = bytes(&disk, &wrong.file);
            assert_eq!(own[wrong.offset..][..wrong.bytes], vec![0; wrong.bytes]);
        }
        assert!((40..160).contains(&n_elsewhere), "{n_elsewhere}");
    }

    #[test]
    fn what_only_the_newest_sync_knows_of_is_spared() {
        for seed in 0..300 {
            let mut disk = disk();
            let mut rng = Rng::new(seed);
            while disk.make_stale(&mut rng).is_some() {}
            let log = bytes(&disk, &name("wal-1.log"));
            assert_eq!(log[..3 * FRAME], [0; 3 * FRAME]);
            assert_eq!(log[3 * FRAME..], [4; FRAME], "the newest record");
            assert_eq!(bytes(&disk, &name("watermark"))[..FRAME], [0; FRAME]);
        }
    }

    #[test]
    fn once_the_watermark_tells_it_is_the_watermark_that_is_spared() {
        let mut disk = disk();
        let mark = name("watermark");
        disk.write_at(&mark, FRAME as u64, &[10; FRAME]).unwrap();
        disk.sync(&mark).unwrap();
        let mut rng = Rng::new(1);
        while disk.make_stale(&mut rng).is_some() {}
        assert_eq!(bytes(&disk, &name("wal-1.log")), [0; 4 * FRAME]);
        let mark = bytes(&disk, &mark);
        assert_eq!((mark[0], mark[FRAME]), (0, 10));
    }

    #[test]
    fn what_is_not_synced_is_left_to_the_power_cut() {
        let mut disk = disk();
        let log = name("wal-1.log");
        disk.write_at(&log, 0, &[7; 2 * FRAME]).unwrap();
        let mut rng = Rng::new(1);
        while disk.make_stale(&mut rng).is_some() {}
        assert_eq!(bytes(&disk, &log)[..2 * FRAME], [7; 2 * FRAME]);
        disk.sync(&log).unwrap();
        disk.cut_power(super::super::PowerCut::Nothing);
        assert_eq!(bytes(&disk, &log)[..2 * FRAME], [7; 2 * FRAME]);
    }
}
