//! A disk in memory: plain and correct, without faults. For tests, examples and `dev` experiments.
//!
//! Every write is as good as durable here; what a power cut does is the business of the simulator's
//! disk and of this crate's crash tests, which are built on the same trait.

use crate::disk::{Disk, DiskError, DiskFault, FileName};
use std::collections::BTreeMap;

/// A directory in memory with an optional limit of space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemDisk {
    files: BTreeMap<FileName, Vec<u8>>,
    capacity_bytes: u64,
}

impl Default for MemDisk {
    fn default() -> MemDisk {
        MemDisk::new()
    }
}

impl MemDisk {
    /// An empty directory with room for everything.
    pub fn new() -> MemDisk {
        MemDisk::with_capacity(u64::MAX)
    }

    /// An empty directory in which all files together may have `capacity_bytes`.
    pub fn with_capacity(capacity_bytes: u64) -> MemDisk {
        MemDisk {
            files: BTreeMap::new(),
            capacity_bytes,
        }
    }

    /// Changes the room; files that are there stay.
    pub fn set_capacity(&mut self, capacity_bytes: u64) {
        self.capacity_bytes = capacity_bytes;
    }

    /// All files, for looking and for damaging in tests.
    pub fn files(&self) -> &BTreeMap<FileName, Vec<u8>> {
        &self.files
    }

    /// All files, to damage them.
    pub fn files_mut(&mut self) -> &mut BTreeMap<FileName, Vec<u8>> {
        &mut self.files
    }

    fn used(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn file(&self, action: &'static str, file: &FileName) -> Result<&Vec<u8>, DiskError> {
        self.files
            .get(file)
            .ok_or_else(|| DiskError::new(action, file, DiskFault::NotFound))
    }
}

impl Disk for MemDisk {
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        Ok(self.files.keys().cloned().collect())
    }

    fn len(&self, file: &FileName) -> Result<u64, DiskError> {
        Ok(self.file("stat", file)?.len() as u64)
    }

    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let bytes = self.file("read", file)?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let n = buffer.len().min(bytes.len() - start);
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let end = offset + data.len() as u64;
        let growth = end.saturating_sub(self.file("write", file)?.len() as u64);
        if growth > 0 && growth > self.capacity_bytes.saturating_sub(self.used()) {
            return Err(DiskError::new("write", file, DiskFault::NoSpace));
        }
        let bytes = self.files.get_mut(file).expect("looked up above");
        if bytes.len() < end as usize {
            bytes.resize(end as usize, 0);
        }
        bytes[offset as usize..end as usize].copy_from_slice(data);
        Ok(())
    }

    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError> {
        self.files.remove(file);
        if length > self.capacity_bytes.saturating_sub(self.used()) {
            return Err(DiskError::new("create", file, DiskFault::NoSpace));
        }
        self.files.insert(file.clone(), vec![0; length as usize]);
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.file("sync", file).map(|_| ())
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let Some(bytes) = self.files.remove(from) else {
            return Err(DiskError::new("rename", from, DiskFault::NotFound));
        };
        self.files.insert(to.clone(), bytes);
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        match self.files.remove(file) {
            Some(_) => Ok(()),
            None => Err(DiskError::new("remove", file, DiskFault::NotFound)),
        }
    }

    fn space_left(&self) -> Result<u64, DiskError> {
        Ok(self.capacity_bytes.saturating_sub(self.used()))
    }
}
