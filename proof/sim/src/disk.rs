//! A disk that keeps exactly what it promised and loses the rest.
//!
//! It implements `storage::Disk` by that trait's own contract, to the letter: what was written and not
//! synced may, in a power cut, survive or not, sector by sector and in any order; so may names that
//! were not followed by a `sync_dir`. The choice is drawn from the run's seed. The death of the process
//! alone loses nothing.
//!
//! ```text
//!   inode:   durable ◄── sync ── pending writes, in order      current = durable + all pending
//!   names:   durable ◄── sync_dir ── pending changes           current = durable + all pending
//!   power cut: durable + some pending ──► both durable and current
//! ```
//!
//! Beyond the contract it can be hurt on purpose: flipped bits, unreadable sectors, a full device, a
//! sync that fails and drops what it should have kept (reference: reliability §3.2, "fsyncgate"), and
//! blocks that are stale or were misdirected (`disk/blocks.rs`).
//!
//! Time is not its business: the member that owns it decides how long an operation takes.

mod blocks;

use base::Rng;
use blocks::{Changed, touched};
use std::collections::{BTreeMap, BTreeSet};
use storage::{Disk, DiskError, DiskFault, FileName};

pub use blocks::WrongBlock;

/// The unit that survives or not.
pub const SECTOR_BYTES: usize = 512;

type InodeNumber = u64;

#[derive(Clone, Debug)]
enum Pending {
    /// The file was emptied and filled with so many zeros.
    Reset(usize),
    Write {
        offset: usize,
        data: Vec<u8>,
    },
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Pending>,
    unreadable: BTreeSet<usize>,
    /// By sector: what stood there before the last sync that changed it.
    changed: BTreeMap<usize, Changed>,
    /// The last sync that changed anything here.
    synced_at: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(FileName, InodeNumber),
    Unlink(FileName),
    Rename(FileName, FileName),
}

/// How a power cut treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Everything is lost.
    Nothing,
    /// Everything survives, as if it had been written back just in time.
    Everything,
    /// Each sector and each name on its own.
    EachAlone,
    /// A prefix in the order of writing survives; the write at the cut is torn.
    Prefix,
}

impl PowerCut {
    /// One of the four.
    pub fn draw(rng: &mut Rng) -> PowerCut {
        match rng.below(5) {
            0 => PowerCut::Nothing,
            1 => PowerCut::Everything,
            2 => PowerCut::Prefix,
            _ => PowerCut::EachAlone,
        }
    }
}

/// One simulated disk with one data directory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inodes: BTreeMap<InodeNumber, Inode>,
    next_inode: InodeNumber,
    names: BTreeMap<FileName, InodeNumber>,
    durable_names: BTreeMap<FileName, InodeNumber>,
    pending_names: Vec<NameChange>,
    capacity_bytes: u64,
    /// The next so many syncs fail.
    failing_syncs: u32,
    /// Syncs of files so far.
    n_syncs: u64,
    /// Syncs say that they are done, and are not.
    lies: bool,
    /// The power goes after so many changes.
    fuse: Option<u64>,
    /// What fails drops what it covered: the choice is drawn from here.
    rng: Rng,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(capacity_bytes: u64, rng: Rng) -> SimDisk {
        SimDisk {
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            capacity_bytes,
            failing_syncs: 0,
            n_syncs: 0,
            lies: false,
            fuse: None,
            rng,
        }
    }

    /// Cuts the power: what was not synced is treated as `cut` says.
    pub fn cut_power(&mut self, cut: PowerCut) {
        let mut rng = self.rng.fork(1);
        let mut survives = |n_left: usize, cut_at: usize| match cut {
            PowerCut::Nothing => false,
            PowerCut::Everything => true,
            PowerCut::EachAlone => rng.one_in(2),
            PowerCut::Prefix => n_left < cut_at,
        };
        let changes = std::mem::take(&mut self.pending_names);
        let cut_at = self.rng.below(changes.len() as u64 + 1) as usize;
        for (n, change) in changes.into_iter().enumerate() {
            if survives(n, cut_at) {
                apply_name(&mut self.durable_names, change);
            }
        }
        let mut tear = self.rng.fork(2);
        for inode in self.inodes.values_mut() {
            let pending = std::mem::take(&mut inode.pending);
            let cut_at = tear.below(pending.len() as u64 + 1) as usize;
            for (n, write) in pending.into_iter().enumerate() {
                match write {
                    Pending::Reset(length) if survives(n, cut_at) => {
                        inode.durable = vec![0; length];
                        inode.changed.clear();
                    }
                    Pending::Reset(_) => {}
                    Pending::Write { offset, data } => {
                        let torn = cut == PowerCut::Prefix && n == cut_at;
                        for (start, sector) in sectors(offset, &data) {
                            let kept = if torn {
                                tear.one_in(2)
                            } else {
                                survives(n, cut_at)
                            };
                            if kept {
                                put(&mut inode.durable, start, sector);
                                inode.changed.remove(&(start / SECTOR_BYTES));
                            }
                        }
                    }
                }
            }
            inode.current = inode.durable.clone();
        }
        self.names = self.durable_names.clone();
        self.drop_unnamed();
        self.failing_syncs = 0;
        self.fuse = None;
    }

    /// The power will go before the change after the next `n`; nothing: it stays. For a crash during
    /// recovery, which is one call.
    pub fn set_fuse(&mut self, n: Option<u64>) {
        self.fuse = n;
    }

    /// Whether the power went.
    pub fn is_dead(&self) -> bool {
        self.fuse == Some(0)
    }

    fn burn(
        &mut self,
        action: &'static str,
        file: &dyn std::fmt::Display,
    ) -> Result<(), DiskError> {
        match &mut self.fuse {
            Some(0) => Err(DiskError::new(action, file, DiskFault::Other)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// From now on syncs do nothing and say that all is well: what is written is there until the power goes.
    pub fn lie(&mut self) {
        self.lies = true;
    }

    /// The next `n` syncs fail, and what they covered is lost as in a power cut.
    pub fn fail_syncs(&mut self, n: u32) {
        self.failing_syncs = n;
    }

    /// How much may be stored from now on; less than what is stored means: full.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity_bytes = bytes;
    }

    /// Bytes that all files take.
    pub fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .map(|inode| self.inodes[inode].current.len() as u64)
            .sum()
    }

    /// Flips one bit at rest, somewhere in the first `within` bytes that are not zero of a file whose
    /// name begins with `prefix`. Returns where, or nothing when there is no such byte.
    pub fn flip_bit(
        &mut self,
        prefix: &str,
        spared: Option<&str>,
        rng: &mut Rng,
    ) -> Option<(FileName, usize)> {
        let files: Vec<FileName> = self
            .names
            .keys()
            .filter(|name| name.as_str().starts_with(prefix))
            .filter(|name| Some(name.as_str()) != spared)
            .cloned()
            .collect();
        let file = rng.pick(&files)?.clone();
        let inode = self.inodes.get(&self.names[&file])?;
        let used: Vec<usize> = (0..inode.current.len())
            .filter(|at| inode.current[*at] != 0)
            .collect();
        let at = *rng.pick(&used)?;
        let bit = 1 << rng.below(8);
        self.flip(&file, at, bit);
        Some((file, at))
    }

    /// Flips the bits of `mask` at rest in one byte of `file`, if there is such a byte.
    pub fn flip(&mut self, file: &FileName, at: usize, mask: u8) {
        let number = self.names.get(file);
        if let Some(inode) = number.and_then(|number| self.inodes.get_mut(number)) {
            for bytes in [&mut inode.current, &mut inode.durable] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
        }
    }

    /// Makes the sector around `offset` of `file` unreadable until it is written again.
    pub fn spoil(&mut self, file: &FileName, offset: usize) {
        if let Some(inode) = self
            .names
            .get(file)
            .and_then(|inode| self.inodes.get_mut(inode))
        {
            inode.unreadable.insert(offset / SECTOR_BYTES);
        }
    }

    /// Removes every file: a new, empty disk.
    pub fn wipe(&mut self) {
        self.inodes.clear();
        self.names.clear();
        self.durable_names.clear();
        self.pending_names.clear();
    }

    /// Those of `files` that are not synced, or whose names are not.
    pub fn dirty_of(&self, files: impl Iterator<Item = FileName>) -> Vec<FileName> {
        // Asked at every acknowledgement, of logs with hundreds of files. A liar looks clean.
        if self.lies || !self.is_dirty() {
            return Vec::new();
        }
        let is_dirty = |name: &FileName| {
            let number = self.names.get(name);
            let inode = number.and_then(|number| self.inodes.get(number));
            let is_named = self.durable_names.get(name) == number;
            !is_named || inode.is_some_and(|inode| !inode.pending.is_empty())
        };
        files.filter(is_dirty).collect()
    }

    /// Whether anything would be lost if the power went now.
    pub fn is_dirty(&self) -> bool {
        !self.pending_names.is_empty()
            || self.inodes.values().any(|inode| !inode.pending.is_empty())
    }

    fn inode(&self, action: &'static str, file: &FileName) -> Result<&Inode, DiskError> {
        self.names
            .get(file)
            .map(|inode| &self.inodes[inode])
            .ok_or_else(|| DiskError::new(action, file, DiskFault::NotFound))
    }

    fn inode_mut(
        &mut self,
        action: &'static str,
        file: &FileName,
    ) -> Result<&mut Inode, DiskError> {
        let number = self.names.get(file);
        number
            .and_then(|number| self.inodes.get_mut(number))
            .ok_or_else(|| DiskError::new(action, file, DiskFault::NotFound))
    }

    fn drop_unnamed(&mut self) {
        let all_have_names = self.inodes.len() == self.names.len();
        if self.pending_names.is_empty() && all_have_names {
            return;
        }
        let pending = self.pending_names.iter().filter_map(|change| match change {
            NameChange::Link(_, inode) => Some(*inode),
            _ => None,
        });
        let named: BTreeSet<InodeNumber> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .chain(pending)
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    fn room_for(&self, more: u64) -> bool {
        self.used_bytes() + more <= self.capacity_bytes
    }
}

/// The parts of a write that survive alone: cut at the sectors' borders.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == data.len() {
            return None;
        }
        let start = offset + at;
        let end = (at + SECTOR_BYTES - start % SECTOR_BYTES).min(data.len());
        let part = &data[at..end];
        at = end;
        Some((start, part))
    })
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

fn apply_name(names: &mut BTreeMap<FileName, InodeNumber>, change: NameChange) {
    match change {
        NameChange::Link(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Unlink(name) => {
            names.remove(&name);
        }
        NameChange::Rename(from, to) => {
            // Where the creation of `from` was itself lost there is nothing to rename.
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        Ok(self.names.keys().cloned().collect())
    }

    fn len(&self, file: &FileName) -> Result<u64, DiskError> {
        Ok(self.inode("stat", file)?.current.len() as u64)
    }

    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let inode = self.inode("read", file)?;
        let start = (offset as usize).min(inode.current.len());
        let end = (start + buffer.len()).min(inode.current.len());
        let touched = start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        if start < end && inode.unreadable.range(touched).next().is_some() {
            return Err(DiskError::new("read", file, DiskFault::Unreadable));
        }
        buffer[..end - start].copy_from_slice(&inode.current[start..end]);
        Ok(end - start)
    }

    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.burn("write", file)?;
        let offset = offset as usize;
        let length = self.inode("write", file)?.current.len();
        let more = (offset + data.len()).saturating_sub(length);
        if more > 0 && !self.room_for(more as u64) {
            return Err(DiskError::new("write", file, DiskFault::NoSpace));
        }
        let inode = self.inode_mut("write", file)?;
        put(&mut inode.current, offset, data);
        for sector in touched(offset, data.len()) {
            inode.unreadable.remove(&sector);
        }
        inode.pending.push(Pending::Write {
            offset,
            data: data.to_vec(),
        });
        Ok(())
    }

    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError> {
        self.burn("create", file)?;
        let existing = self.names.get(file).copied();
        let freed = existing.map_or(0, |inode| self.inodes[&inode].current.len() as u64);
        if !self.room_for(length.saturating_sub(freed)) {
            if existing.is_some() {
                self.remove(file)?;
            }
            return Err(DiskError::new("create", file, DiskFault::NoSpace));
        }
        let number = existing.unwrap_or_else(|| {
            self.next_inode += 1;
            self.names.insert(file.clone(), self.next_inode);
            self.pending_names
                .push(NameChange::Link(file.clone(), self.next_inode));
            self.next_inode
        });
        let inode = self.inodes.entry(number).or_default();
        inode.current = vec![0; length as usize];
        inode.unreadable.clear();
        inode.pending.push(Pending::Reset(length as usize));
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.burn("sync", file)?;
        self.inode("sync", file)?;
        if self.failing_syncs > 0 {
            self.failing_syncs -= 1;
            self.cut_power(PowerCut::EachAlone);
            return Err(DiskError::new("sync", file, DiskFault::Other));
        }
        if self.lies {
            return Ok(());
        }
        self.n_syncs += 1;
        let sync = self.n_syncs;
        self.inode_mut("sync", file)?.settle(sync);
        Ok(())
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.burn("sync", &"the data directory")?;
        if self.lies || self.pending_names.is_empty() {
            return Ok(());
        }
        self.pending_names.clear();
        self.durable_names = self.names.clone();
        self.drop_unnamed();
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.burn("rename", from)?;
        self.inode("rename", from)?;
        let change = NameChange::Rename(from.clone(), to.clone());
        apply_name(&mut self.names, change.clone());
        self.pending_names.push(change);
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.burn("remove", file)?;
        self.inode("remove", file)?;
        let change = NameChange::Unlink(file.clone());
        apply_name(&mut self.names, change.clone());
        self.pending_names.push(change);
        Ok(())
    }

    fn space_left(&self) -> Result<u64, DiskError> {
        Ok(self.capacity_bytes.saturating_sub(self.used_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text).unwrap()
    }

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(1 << 20, Rng::new(seed))
    }

    fn bytes(disk: &SimDisk, file: &FileName) -> Vec<u8> {
        let mut buffer = vec![0; disk.len(file).unwrap() as usize];
        disk.read_at(file, 0, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn what_was_synced_survives_every_cut_and_the_rest_may_not() {
        let file = name("a");
        let (mut lost, mut kept, mut mixed) = (0, 0, 0);
        for seed in 0..200 {
            let mut disk = disk(seed);
            disk.create(&file, 4096).unwrap();
            disk.write_at(&file, 0, &[1; 2048]).unwrap();
            disk.sync(&file).unwrap();
            disk.sync_dir().unwrap();
            disk.write_at(&file, 1024, &[2; 2048]).unwrap();
            disk.cut_power(PowerCut::draw(&mut Rng::new(seed)));
            let after = bytes(&disk, &file);
            assert_eq!(after.len(), 4096);
            assert_eq!(after[..1024], [1; 1024], "nobody wrote here");
            let survived = after
                .chunks(512)
                .filter(|sector| *sector == [2; 512])
                .count();
            assert!(
                after
                    .chunks(512)
                    .all(|sector| sector.iter().all(|b| *b == sector[0]))
            );
            match survived {
                0 => lost += 1,
                4 => kept += 1,
                _ => mixed += 1,
            }
        }
        assert!(
            lost > 20 && kept > 20 && mixed > 20,
            "{lost} {kept} {mixed}"
        );
    }

    #[test]
    fn a_name_without_a_synced_directory_may_vanish_though_its_bytes_were_synced() {
        let file = name("a");
        let mut vanished = 0;
        for seed in 0..50 {
            let mut disk = disk(seed);
            disk.create(&file, 512).unwrap();
            disk.sync(&file).unwrap();
            disk.cut_power(PowerCut::EachAlone);
            match disk.len(&file) {
                Err(error) => {
                    assert_eq!(error.fault, DiskFault::NotFound);
                    vanished += 1;
                }
                Ok(length) => assert_eq!(length, 512),
            }
        }
        assert!((10..40).contains(&vanished), "{vanished}");
    }

    #[test]
    fn a_rename_leads_to_the_old_file_or_to_the_new_one() {
        let (old, new) = (name("manifest"), name("tmp"));
        for seed in 0..50 {
            let mut disk = disk(seed);
            for (file, byte) in [(&old, 1), (&new, 2)] {
                disk.create(file, 512).unwrap();
                disk.write_at(file, 0, &[byte; 512]).unwrap();
                disk.sync(file).unwrap();
            }
            disk.sync_dir().unwrap();
            disk.rename(&new, &old).unwrap();
            assert_eq!(bytes(&disk, &old), [2; 512]);
            disk.cut_power(PowerCut::EachAlone);
            let after = bytes(&disk, &old);
            assert!(after == [1; 512] || after == [2; 512]);
            assert_eq!(disk.len(&new).is_ok(), after == [1; 512]);
        }
    }

    #[test]
    fn a_full_disk_refuses_to_grow_and_still_overwrites() {
        let file = name("a");
        let mut disk = disk(1);
        disk.create(&file, 4096).unwrap();
        disk.set_capacity(4096);
        disk.write_at(&file, 0, &[1; 4096]).unwrap();
        assert_eq!(
            disk.write_at(&file, 4096, &[1]).unwrap_err().fault,
            DiskFault::NoSpace
        );
        assert_eq!(
            disk.create(&name("b"), 1).unwrap_err().fault,
            DiskFault::NoSpace
        );
        assert_eq!(disk.list().unwrap(), [file]);
    }

    #[test]
    fn the_process_alone_loses_nothing_and_a_failed_sync_may() {
        let file = name("a");
        let mut lost = 0;
        for seed in 0..50 {
            let mut disk = disk(seed);
            disk.create(&file, 512).unwrap();
            disk.sync(&file).unwrap();
            disk.sync_dir().unwrap();
            disk.write_at(&file, 0, &[7; 512]).unwrap();
            assert!(disk.is_dirty());
            assert_eq!(bytes(&disk, &file), [7; 512]);
            disk.fail_syncs(1);
            assert!(disk.sync(&file).is_err());
            assert!(disk.sync(&file).is_ok(), "the second sync lies");
            lost += usize::from(bytes(&disk, &file) == [0; 512]);
        }
        assert!((10..40).contains(&lost), "{lost}");
    }

    #[test]
    fn flipped_bits_and_spoilt_sectors_are_what_reads_meet() {
        let file = name("wal-1");
        let mut disk = disk(1);
        disk.create(&file, 1024).unwrap();
        disk.write_at(&file, 600, &[255; 8]).unwrap();
        disk.sync(&file).unwrap();
        let (hit, at) = disk.flip_bit("wal", None, &mut Rng::new(1)).unwrap();
        assert_eq!(hit, file);
        assert_ne!(bytes(&disk, &file)[at], 255);
        disk.spoil(&file, at);
        let mut buffer = [0; 512];
        assert!(disk.read_at(&file, 0, &mut buffer).is_ok());
        let fault = disk.read_at(&file, 512, &mut buffer).unwrap_err().fault;
        assert_eq!(fault, DiskFault::Unreadable);
        disk.write_at(&file, 512, &[0; 512]).unwrap();
        assert!(disk.read_at(&file, 512, &mut buffer).is_ok());
    }
}
