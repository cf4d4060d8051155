//! The real disk keeps what `storage::Disk` promises, as far as a test without a power cut can see.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::{Op, execute};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Scratch(path)
    }

    fn disk(&self) -> FileDisk {
        FileDisk::open(&self.0).expect("it exists")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(text: &str) -> FileName {
    FileName::parse(text).expect("a name")
}

fn contents(disk: &FileDisk, file: &FileName) -> Vec<u8> {
    let mut buffer = vec![0xff; 100];
    let n = disk.read_at(file, 0, &mut buffer).expect("readable");
    buffer.truncate(n);
    buffer
}

#[test]
fn what_was_written_is_read_also_by_the_next_process() {
    let scratch = Scratch::new();
    let (a, b) = (name("a"), name("b"));
    let mut disk = scratch.disk();
    let ops = [
        Op::Create {
            file: a.clone(),
            length: 10,
        },
        Op::Write {
            file: a.clone(),
            offset: 8,
            data: "wxyz"[..].into(),
        },
        Op::Sync { file: a.clone() },
        Op::Rename {
            from: a.clone(),
            to: b.clone(),
        },
        Op::SyncDir,
        Op::Remove { file: a.clone() },
    ];
    execute(&mut disk, &ops).expect("an ordinary disk");
    for disk in [disk, scratch.disk()] {
        assert_eq!(disk.list().expect("a directory"), std::slice::from_ref(&b));
        assert_eq!(contents(&disk, &b), b"\0\0\0\0\0\0\0\0wxyz");
        assert_eq!(disk.len(&b).expect("there"), 12);
        let error = disk.len(&a).expect_err("renamed");
        assert_eq!(error.fault, DiskFault::NotFound);
    }
}

#[test]
fn a_file_that_is_made_again_is_empty_and_a_rename_replaces() {
    let scratch = Scratch::new();
    let (a, b) = (name("a"), name("b"));
    let mut disk = scratch.disk();
    for file in [&a, &b] {
        disk.create(file, 0).expect("room");
        disk.write_at(file, 0, file.as_str().as_bytes())
            .expect("room");
    }
    disk.rename(&a, &b).expect("both exist");
    assert_eq!(contents(&disk, &b), b"a");
    disk.write_at(&b, 1, b"!").expect("room");
    assert_eq!(contents(&scratch.disk(), &b), b"a!");
    disk.create(&b, 3).expect("room");
    assert_eq!(contents(&disk, &b), [0; 3]);
}

#[test]
fn what_fails_says_what_and_why() {
    let scratch = Scratch::new();
    let disk = scratch.disk();
    let error = disk
        .read_at(&name("none"), 0, &mut [0])
        .expect_err("no such file");
    let text = base::Chain(&error).to_string();
    assert_eq!(
        text,
        "cannot read none: No such file or directory (os error 2)"
    );
    assert!(disk.space_left().expect("a file system") > 0);
}

#[test]
fn a_long_file_is_gone_at_once_and_its_blocks_in_pieces() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = Scratch::new();
    let (own, others) = (name("own"), name("others"));
    let length = 2 * FREED_PER_SYNC + 1000;
    let (bury, graves) = std::sync::mpsc::channel();
    let undertaker = Box::new(move |file| bury.send(file).expect("somebody takes it"));
    let mut patient = scratch.disk();
    let mut urgent = scratch.disk().with_undertaker(undertaker);
    patient.create(&own, length).expect("room");
    urgent.create(&others, length).expect("room");

    patient.remove(&own).expect("it is there");
    urgent.remove(&others).expect("it is there");
    assert!(patient.list().expect("a list").is_empty());
    let file = graves.try_recv().expect("the long wait is left to another");
    assert_eq!(file.metadata().expect("it lives on").len(), length);
    free_in_pieces(&file).expect("it can be cut");
    let left = file.metadata().expect("it lives on");
    assert_eq!(left.len(), 1000);
    assert!(left.blocks() * 512 <= FREED_PER_SYNC);
    let twice = patient.remove(&own).expect_err("gone");
    assert_eq!((twice.action, twice.fault), ("remove", DiskFault::NotFound));
}
