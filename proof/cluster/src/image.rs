//! A small ext4 file system in a file, for one member's data: it can be filled, and cut from power.
//!
//! Cutting the power is `EXT4_IOC_SHUTDOWN` without a flush of the journal: from that moment nothing more
//! reaches the image, and what was not synced is gone when it is mounted again. The call takes a pointer, which
//! Rust cannot pass without `unsafe`; perl, which every Debian has, makes it.
//!
//! Needs root and e2fsprogs. Invariant: it is mounted unless [`Image::unmount`] was called last.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The file that [`Image::fill`] writes.
const BALLAST: &str = "ballast";
/// How long a file system may stay busy after its last process was killed.
const BUSY: Duration = Duration::from_secs(10);
/// `ioctl(dir, EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH)`.
const SHUTDOWN: &str = r#"open(D, "<", $ARGV[0]) or die "$!"; my $how = pack("I", 2); ioctl(D, 0x8004587d, $how) or die "$!";"#;

/// A mounted image. Unmounted on drop; the file stays where it is.
pub struct Image {
    file: PathBuf,
    at: PathBuf,
    is_mounted: bool,
}

impl Image {
    /// Makes `folder/name.img` of so many MiB and mounts it at `folder/name`.
    ///
    /// # Errors
    /// No room, no root, or no `mkfs.ext4`.
    pub fn new(folder: &Path, name: &str, mib: u64) -> io::Result<Image> {
        let (file, at) = (folder.join(format!("{name}.img")), folder.join(name));
        File::create(&file)?.set_len(mib * 1024 * 1024)?;
        std::fs::create_dir_all(&at)?;
        run("mkfs.ext4", &["-q", "-m", "0", &text(&file)])?;
        let mut image = Image {
            file,
            at,
            is_mounted: false,
        };
        image.mount()?;
        Ok(image)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Whether it is mounted.
    pub fn is_mounted(&self) -> bool {
        self.is_mounted
    }

    /// Mounts it, if it is not.
    ///
    /// # Errors
    /// The words of `mount`.
    pub fn mount(&mut self) -> io::Result<()> {
        if !self.is_mounted {
            run("mount", &["-o", "loop", &text(&self.file), &text(&self.at)])?;
            self.is_mounted = true;
        }
        Ok(())
    }

    /// Unmounts it, really: nothing of it stays in memory. Its processes must have ended.
    ///
    /// # Errors
    /// Somebody still uses it.
    pub fn unmount(&mut self) -> io::Result<()> {
        let until = Instant::now() + BUSY;
        while self.is_mounted {
            match run("umount", &[&text(&self.at)]) {
                Ok(()) => self.is_mounted = false,
                Err(err) if Instant::now() > until => return Err(err),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(())
    }

    /// Cuts the power: from now on nothing reaches the image, not even what was written before and not synced.
    ///
    /// # Errors
    /// No perl, or a kernel that cannot.
    pub fn cut_power(&self) -> io::Result<()> {
        run("perl", &["-e", SHUTDOWN, &text(&self.at)])
    }

    /// Fills it with a stranger's file until nothing more fits.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(self.at.join(BALLAST))?;
        let mut length = 0;
        // Reserving blocks is as good as writing them. The last ones are not contiguous: smaller and smaller pieces.
        let mut piece: u64 = statvfs(&self.at).map(|fs| fs.f_bavail * fs.f_frsize)?;
        while piece >= 4096 {
            match fallocate(&ballast, FallocateFlags::empty(), length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
        ballast.seek(SeekFrom::End(0))?;
        while ballast.write_all(&[7; 4096]).is_ok() {}
        // What the file system had promised and cannot keep is found out here.
        let _ = ballast.sync_all();
        Ok(())
    }

    /// Takes that file away, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn empty(&self) -> io::Result<()> {
        match std::fs::remove_file(self.at.join(BALLAST)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a member that is being killed may still hold it.
            let _ = run("umount", &["-l", &text(&self.at)]);
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let run = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|err| io::Error::other(format!("{program}: {err}")))?;
    crate::said(&run, program, &arguments.join(" "))
}
