//! A disk that remembers what is not durable yet, and can be cut off at any operation.

use base::Rng;
use quorate_storage::{Disk, DiskError, DiskFault, FileName};
use std::collections::BTreeMap;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum NameChange {
    Put(FileName, usize),
    Gone(FileName),
    Moved(FileName, FileName, usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Sectors written and not synced: which, and what.
    pending: Vec<(usize, Vec<u8>)>,
}

/// How a power cut treats what is not durable.
#[derive(Clone, Debug)]
pub enum Cut {
    Drop,
    Keep,
    /// Only the n-th pending thing survives.
    Only(usize),
    /// All but the n-th survive.
    Without(usize),
    /// The first n survive.
    Prefix(usize),
    /// Each on its own.
    Random(u64),
}

#[derive(Clone, Debug)]
pub struct CrashDisk {
    inodes: Vec<Inode>,
    durable: BTreeMap<FileName, usize>,
    current: BTreeMap<FileName, usize>,
    changes: Vec<NameChange>,
    /// Mutating operations until the machine stops; each operation after that fails.
    pub fuel: u64,
    pub spent: u64,
}

impl Default for CrashDisk {
    fn default() -> CrashDisk {
        CrashDisk {
            inodes: Vec::new(),
            durable: BTreeMap::new(),
            current: BTreeMap::new(),
            changes: Vec::new(),
            fuel: u64::MAX,
            spent: 0,
        }
    }
}

impl CrashDisk {
    /// How many things are not durable: sectors and names.
    pub fn pending(&self) -> usize {
        self.inodes
            .iter()
            .map(|inode| inode.pending.len())
            .sum::<usize>()
            + self.changes.len()
    }

    /// All ways of cutting that are worth a look here.
    pub fn cuts(&self, seed: u64) -> Vec<Cut> {
        let n = self.pending();
        if n == 0 {
            return vec![Cut::Drop];
        }
        let mut cuts = vec![Cut::Drop, Cut::Keep];
        for i in 0..n {
            cuts.extend([Cut::Only(i), Cut::Without(i), Cut::Prefix(i)]);
        }
        cuts.extend((0..6).map(|i| Cut::Random(seed * 31 + i)));
        cuts
    }

    /// The disk after a power cut.
    pub fn cut(&self, how: &Cut) -> CrashDisk {
        let mut at = 0;
        let mut rng = Rng::new(if let Cut::Random(seed) = how {
            *seed
        } else {
            0
        });
        let mut survives = || {
            let i = at;
            at += 1;
            match how {
                Cut::Drop => false,
                Cut::Keep => true,
                Cut::Only(n) => i == *n,
                Cut::Without(n) => i != *n,
                Cut::Prefix(n) => i < *n,
                Cut::Random(_) => rng.one_in(2),
            }
        };
        let mut inodes = self.inodes.clone();
        for inode in &mut inodes {
            for (sector, bytes) in std::mem::take(&mut inode.pending) {
                if survives() {
                    let start = sector * SECTOR;
                    let end = start + bytes.len();
                    if inode.durable.len() < end {
                        inode.durable.resize(end, 0);
                    }
                    inode.durable[start..end].copy_from_slice(&bytes);
                }
            }
            inode.current = inode.durable.clone();
        }
        let mut names = self.durable.clone();
        for change in &self.changes {
            if survives() {
                match change {
                    NameChange::Put(name, inode) => {
                        names.insert(name.clone(), *inode);
                    }
                    NameChange::Gone(name) => {
                        names.remove(name);
                    }
                    NameChange::Moved(from, to, inode) => {
                        names.remove(from);
                        names.insert(to.clone(), *inode);
                    }
                }
            }
        }
        CrashDisk {
            inodes,
            durable: names.clone(),
            current: names,
            ..CrashDisk::default()
        }
    }

    fn spend(&mut self, action: &'static str) -> Result<(), DiskError> {
        self.spent += 1;
        if self.fuel == 0 {
            return Err(DiskError::new(
                action,
                "the machine has stopped",
                DiskFault::Other,
            ));
        }
        self.fuel -= 1;
        Ok(())
    }

    fn inode(&self, action: &'static str, file: &FileName) -> Result<usize, DiskError> {
        let found = self.current.get(file).copied();
        found.ok_or_else(|| DiskError::new(action, file, DiskFault::NotFound))
    }
}

impl Disk for CrashDisk {
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        Ok(self.current.keys().cloned().collect())
    }

    fn len(&self, file: &FileName) -> Result<u64, DiskError> {
        Ok(self.inodes[self.inode("stat", file)?].current.len() as u64)
    }

    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let bytes = &self.inodes[self.inode("read", file)?].current;
        let start = (offset as usize).min(bytes.len());
        let n = buffer.len().min(bytes.len() - start);
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.spend("write")?;
        let inode = self.inode("write", file)?;
        let inode = &mut self.inodes[inode];
        let (start, end) = (offset as usize, offset as usize + data.len());
        if inode.current.len() < end {
            inode.current.resize(end, 0);
        }
        inode.current[start..end].copy_from_slice(data);
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let (a, b) = (
                sector * SECTOR,
                ((sector + 1) * SECTOR).min(inode.current.len()),
            );
            inode.pending.push((sector, inode.current[a..b].to_vec()));
        }
        Ok(())
    }

    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError> {
        self.spend("create")?;
        // Any length may come through a crash; none of it, half of it, all of it.
        let zeros = vec![0; length as usize];
        let half = zeros.len() / 2 / SECTOR;
        let mut pending = Vec::new();
        if half > 0 {
            pending.push((half, vec![0; SECTOR]));
        }
        if length > 0 {
            let last = (zeros.len() - 1) / SECTOR;
            pending.push((last, vec![0; zeros.len() - last * SECTOR]));
        }
        self.inodes.push(Inode {
            durable: Vec::new(),
            current: zeros,
            pending,
        });
        let inode = self.inodes.len() - 1;
        self.current.insert(file.clone(), inode);
        self.changes.push(NameChange::Put(file.clone(), inode));
        Ok(())
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.spend("sync")?;
        let inode = self.inode("sync", file)?;
        let inode = &mut self.inodes[inode];
        inode.durable = inode.current.clone();
        inode.pending.clear();
        Ok(())
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.spend("sync")?;
        self.durable = self.current.clone();
        self.changes.clear();
        Ok(())
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.spend("rename")?;
        let inode = self.inode("rename", from)?;
        self.current.remove(from);
        self.current.insert(to.clone(), inode);
        self.changes
            .push(NameChange::Moved(from.clone(), to.clone(), inode));
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.spend("remove")?;
        self.inode("remove", file)?;
        self.current.remove(file);
        self.changes.push(NameChange::Gone(file.clone()));
        Ok(())
    }

    fn space_left(&self) -> Result<u64, DiskError> {
        Ok(u64::MAX)
    }
}
