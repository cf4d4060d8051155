//! A folder that goes away with its value.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new folder; removed, with all in it, on drop.
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new folder under `parent`.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn under(parent: &Path) -> io::Result<TempDir> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("quorate-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(TempDir(path))
    }

    /// A new folder where temporary ones belong.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new() -> io::Result<TempDir> {
        TempDir::under(&std::env::temp_dir())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
