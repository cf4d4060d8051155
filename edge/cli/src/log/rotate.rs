//! A log file that is set aside when it is large, by etcd's `--log-rotation-config-json`.
//!
//! ```text
//!   etcd.log                                 what is written now
//!   etcd-2026-11-29T20-50-48.033.log(.gz)    what was set aside, oldest first in the order of names
//! ```
//!
//! Names and rules are those that etcd's users know: `maxsize` in megabytes, `maxage` in days, `maxbackups` files, 0 for
//! no bound; `compress` by gzip, in a thread of its own. Moments in names are UTC, also with `localtime`.

use super::line::rfc3339;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How files are rotated.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Rotation {
    /// Megabytes of one file.
    maxsize: u64,
    /// Days after which a file that was set aside goes; 0: it stays.
    maxage: u64,
    /// Files that are set aside; 0: any number.
    maxbackups: usize,
    /// Taken, and without effect.
    localtime: bool,
    /// Whether they are compressed.
    compress: bool,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation {
            maxsize: 100,
            maxage: 0,
            maxbackups: 0,
            localtime: false,
            compress: false,
        }
    }
}

impl Rotation {
    /// From the flag's text; nothing said is etcd's default.
    pub(super) fn parse(text: &str) -> Result<Rotation, serde_json::Error> {
        match text.trim() {
            "" => Ok(Rotation::default()),
            text => serde_json::from_str(text),
        }
    }

    fn bytes_max(&self) -> u64 {
        match self.maxsize {
            0 => Rotation::default().maxsize * MEGABYTE,
            n => n.saturating_mul(MEGABYTE),
        }
    }
}

/// A file, with or without rotation.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    written: u64,
    rotation: Option<Rotation>,
    bytes_max: u64,
}

impl RotatingFile {
    /// Opens `path` to write at its end.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<RotatingFile> {
        let file = append(path)?;
        Ok(RotatingFile {
            path: path.to_owned(),
            written: file.metadata()?.len(),
            file,
            bytes_max: rotation.as_ref().map_or(u64::MAX, Rotation::bytes_max),
            rotation,
        })
    }

    /// Writes one line, after the file was set aside if it would become too large.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.written > 0 && self.written.saturating_add(length) > self.bytes_max {
            self.set_aside()?;
        }
        self.file.write_all(line)?;
        self.written += length;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let aside = self.free_name();
        fs::rename(&self.path, &aside)?;
        self.file = append(&self.path)?;
        self.written = 0;
        let Some(rotation) = self.rotation.clone() else {
            return Ok(());
        };
        let path = self.path.clone();
        let tidy = move || {
            // What cannot be compressed or removed stays; the next time tries again.
            if rotation.compress {
                let _ = compress(&aside);
            }
            let _ = remove_old(&path, &rotation, SystemTime::now());
        };
        // Compressing takes a while, and lines go on. Without a thread the file stays as it is.
        let _ = std::thread::Builder::new()
            .name("log rotation".to_owned())
            .spawn(tidy);
        Ok(())
    }

    /// The name for what is set aside now, which no file has.
    fn free_name(&self) -> PathBuf {
        let mut moment = SystemTime::now();
        loop {
            let name = aside(&self.path, moment);
            if !name.exists() && !gz(&name).exists() {
                return name;
            }
            moment += Duration::from_millis(1);
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// `etcd.log` at a moment is `etcd-2026-11-29T20-50-48.033.log`.
fn aside(path: &Path, moment: SystemTime) -> PathBuf {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = rfc3339(since).replace(':', "-");
    // Milliseconds are enough: three digits and the Z go.
    let moment = &moment[..moment.len() - 4];
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{moment}{extension}"))
}

/// The file's name before and after its last dot.
fn parts(path: &Path) -> (String, String) {
    let of = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = of(path.extension()).map_or_else(String::new, |it| format!(".{it}"));
    (of(path.file_stem()).unwrap_or_default(), extension)
}

fn gz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn compress(path: &Path) -> io::Result<()> {
    let target = gz(path);
    let mut encoder = GzEncoder::new(append(&target)?, Compression::default());
    let copied = io::copy(&mut File::open(path)?, &mut encoder);
    match copied.and_then(|_| encoder.finish()?.sync_all()) {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            fs::remove_file(&target)?;
            Err(error)
        }
    }
}

/// Removes what is too old or too many of the files that were set aside.
fn remove_old(path: &Path, rotation: &Rotation, now: SystemTime) -> io::Result<()> {
    let (stem, extension) = parts(path);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut old = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(&format!("{stem}-")) else {
            continue;
        };
        let rest = rest.strip_suffix(".gz").unwrap_or(rest);
        let moment = rest.strip_suffix(&extension);
        if moment.is_some_and(is_moment) {
            old.push((name, entry.path(), entry.metadata()?.modified()?));
        }
    }
    // Names hold moments: the newest first.
    old.sort_by(|a, b| b.0.cmp(&a.0));
    for (at, (_, path, modified)) in old.iter().enumerate() {
        let is_too_many = rotation.maxbackups > 0 && at >= rotation.maxbackups;
        let age = now.duration_since(*modified).unwrap_or_default();
        let is_too_old =
            rotation.maxage > 0 && age >= DAY.saturating_mul(rotation.maxage.min(100_000) as u32);
        if is_too_many || is_too_old {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// `2026-11-29T20-50-48.033`: other people's files beside ours are left alone.
fn is_moment(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd-dd-dd.ddd";
    text.len() == shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                exactly => byte == exactly,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn rotation_is_said_as_in_etcd() {
        let text =
            r#"{"maxsize": 10, "maxage": 1, "maxbackups": 2, "localtime": true, "compress": true}"#;
        let rotation = Rotation::parse(text).expect("as in etcd");
        assert_eq!(
            (rotation.maxsize, rotation.maxage, rotation.maxbackups),
            (10, 1, 2)
        );
        assert!(rotation.compress);
        assert_eq!(
            Rotation::parse("").expect("nothing said"),
            Rotation::default()
        );
        assert!(Rotation::parse("{").is_err());
    }

    #[test]
    fn a_file_that_is_full_is_set_aside_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("etcd.log");
        let mut file = RotatingFile::open(&path, Some(Rotation::default())).expect("a file");
        file.bytes_max = 100;
        for n in 0..20 {
            file.write(format!("line {n:02} of ten and more bytes\n").as_bytes())
                .expect("room");
        }
        let mut text = String::new();
        for name in names(folder.path())
            .iter()
            .filter(|name| *name != "etcd.log")
        {
            assert!(
                is_moment(&name["etcd-".len()..name.len() - ".log".len()]),
                "{name}"
            );
            text += &fs::read_to_string(folder.path().join(name)).expect("readable");
        }
        text += &fs::read_to_string(&path).expect("readable");
        let expected: String = (0..20)
            .map(|n| format!("line {n:02} of ten and more bytes\n"))
            .collect();
        assert_eq!(text, expected);
        let again = RotatingFile::open(&path, None).expect("a file");
        assert_eq!(again.written, fs::metadata(&path).expect("there").len());
    }

    #[test]
    fn what_is_too_much_or_too_old_goes_and_strangers_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("etcd.log");
        for name in [
            "etcd-2026-01-01T00-00-00.000.log",
            "etcd-2026-01-02T00-00-00.000.log.gz",
            "etcd-2026-01-03T00-00-00.000.log",
            "etcd-audit.log",
            "etcd.log",
        ] {
            fs::write(folder.path().join(name), "x").expect("room");
        }
        let rotation = |maxage, maxbackups| Rotation {
            maxage,
            maxbackups,
            ..Rotation::default()
        };
        let now = SystemTime::now();
        remove_old(&path, &rotation(0, 2), now).expect("removed");
        let left = names(folder.path());
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(!left.contains(&"etcd-2026-01-01T00-00-00.000.log".to_owned()));
        remove_old(&path, &rotation(1, 0), now).expect("removed");
        assert_eq!(names(folder.path()).len(), 4);
        remove_old(&path, &rotation(1, 0), now + 2 * DAY).expect("removed");
        assert_eq!(names(folder.path()), ["etcd-audit.log", "etcd.log"]);
    }

    #[test]
    fn compressed_it_says_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, "words ".repeat(1000)).expect("room");
        compress(&path).expect("compressed");
        let mut text = String::new();
        let file = File::open(gz(&path)).expect("there");
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).expect("gzip");
        assert_eq!(text, "words ".repeat(1000));
        assert!(!path.exists());
    }
}
