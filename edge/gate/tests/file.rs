//! The gate of a file, against real files and real deaths.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Rng;
use common::{Actor, ROLE, say};
use quorate_gate::file::{Contents, FencedFile, FileError, Step};
use quorate_gate::{Stale, Token};

fn stale(result: Result<(), FileError>) -> Result<(), Stale> {
    match result {
        Err(FileError::Stale(stale)) => Err(stale),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

#[test]
fn a_late_writer_overwrites_without_the_gate_and_not_with_it() {
    let directory = tempfile::tempdir().unwrap();

    // Without: the holder of 33 wakes up after 34 has written, and b's data is gone.
    let plain = directory.path().join("plain");
    fs::write(&plain, "b").unwrap();
    fs::write(&plain, "a, late").unwrap();
    assert_eq!(fs::read_to_string(&plain).unwrap(), "a, late");

    // With.
    let path = directory.path().join("state");
    let (a, b) = (FencedFile::new(&path), FencedFile::new(&path));
    assert_eq!(b.read().unwrap(), None);
    a.write(Token(33), b"a").unwrap();
    b.write(Token(34), b"b").unwrap();
    let before = fs::read(&path).unwrap();
    let late = a.write(Token(33), b"a, late").unwrap_err();
    assert_eq!(
        late.to_string(),
        "token 33 is older than 34: the write was refused and nothing changed"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    b.write(Token(34), b"b again").unwrap();
    let (token, data) = (Token(34), b"b again".to_vec());
    assert_eq!(a.read().unwrap(), Some(Contents { token, data }));
}

#[test]
fn a_file_that_is_not_fenced_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    fs::write(&path, "somebody's text\n").unwrap();
    let refused = FencedFile::new(&path).write(Token(1), b"x").unwrap_err();
    assert!(matches!(refused, FileError::NotFenced { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's text\n");
}

#[test]
fn a_held_file_has_one_holder() {
    let directory = tempfile::tempdir().unwrap();
    let file = FencedFile::new(directory.path().join("state"));
    let mut held = file.try_hold().unwrap();
    assert!(matches!(file.try_hold(), Err(FileError::Held { .. })));
    held.write(Token(1), b"x").unwrap();
    drop(held);
    file.try_hold().unwrap().write(Token(1), b"y").unwrap();
}

#[test]
fn the_permissions_of_the_file_stay() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let file = FencedFile::new(&path);
    file.write(Token(1), b"x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    file.write(Token(2), b"y").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn of_concurrent_writers_the_newest_token_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = FencedFile::new(directory.path().join("state"));
    let history = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (file, history) = (file.clone(), Arc::clone(&history));
            std::thread::spawn(move || {
                for (n, token) in common::tokens(writer, 25).into_iter().enumerate() {
                    let value = format!("{writer}.{n}");
                    let mut held = file.hold().unwrap();
                    if stale(held.write(token, value.as_bytes())).is_ok() {
                        // Still held: this is the order of the writes.
                        history.lock().unwrap().push((token, value));
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let all: Vec<Token> = (0..4)
        .flat_map(|writer| common::tokens(writer, 25))
        .collect();
    let last = file.read().unwrap().unwrap();
    let last = (last.token, String::from_utf8(last.data).unwrap());
    common::judge(&history.lock().unwrap(), &all, &last);
}

struct OneFileEach<'a>(&'a Path);

impl OneFileEach<'_> {
    fn file(&self, resource: &str) -> FencedFile {
        FencedFile::new(self.0.join(resource))
    }
}

impl common::Resource for OneFileEach<'_> {
    fn write(&mut self, resource: &str, token: Token, value: &str) -> Result<(), Stale> {
        stale(self.file(resource).write(token, value.as_bytes()))
    }

    fn look(&mut self, resource: &str) -> Option<(Token, String)> {
        let Contents { token, data } = self.file(resource).read().unwrap()?;
        Some((token, String::from_utf8(data).unwrap()))
    }
}

#[test]
fn it_agrees_with_the_model() {
    let directory = tempfile::tempdir().unwrap();
    common::agrees_with_the_model(&mut OneFileEach(directory.path()));
}

const STEPS: [Step; 8] = [
    Step::Locked,
    Step::Admitted,
    Step::Created,
    Step::HalfWritten,
    Step::Written,
    Step::Synced,
    Step::Renamed,
    Step::DirectorySynced,
];

/// Data that fits one token only, so that a mixture of two writes is seen.
fn data(token: Token) -> Vec<u8> {
    let length = 50_000 + token.get() as usize % 1000;
    token.to_string().bytes().cycle().take(length).collect()
}

/// Not a test of its own: what the children play. `die STEP PATH` writes token 2 and kills itself at a step;
/// `write PATH` writes with rising tokens until it is killed.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.splitn(3, ' ').collect();
    if let ["die", step, path] = words[..] {
        let mut held = FencedFile::new(path).hold().unwrap();
        let die = &mut |at| {
            if format!("{at:?}") == step {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            }
        };
        held.write_in_steps(Token(2), &data(Token(2)), die).unwrap();
    } else {
        let file = FencedFile::new(words[1]);
        let mut token = file
            .read()
            .unwrap()
            .map_or(Token(0), |contents| contents.token);
        loop {
            token.0 += 1;
            file.write(token, &data(token)).unwrap();
            say(&token.to_string());
        }
    }
}

#[test]
fn a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    for step in STEPS {
        let path = directory.path().join(format!("{step:?}"));
        let file = FencedFile::new(&path);
        file.write(Token(1), &data(Token(1))).unwrap();
        let mut actor = Actor::start("child", &format!("die {step:?} {}", path.display()));
        assert!(actor.was_killed(), "at {step:?}");
        let is_new = matches!(step, Step::Renamed | Step::DirectorySynced);
        let left = file.read().unwrap().unwrap();
        assert_eq!(
            left.token,
            Token(if is_new { 2 } else { 1 }),
            "killed at {step:?}"
        );
        assert_eq!(left.data, data(left.token), "killed at {step:?}");
        // The dead hold no lock, and what they left behind is in nobody's way.
        file.write(Token(3), b"next").unwrap();
        assert!(stale(file.write(Token(2), b"late")).is_err());
        assert_eq!(file.read().unwrap().unwrap().data, b"next");
    }
}

#[test]
fn a_writer_killed_at_any_time_leaves_a_whole_file_and_its_fence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let file = FencedFile::new(&path);
    let mut rng = Rng::new(9);
    for round in 0..20 {
        let mut actor = Actor::start("child", &format!("write {}", path.display()));
        let mut acknowledged = Token(0);
        for _ in 0..rng.between(1, 4) {
            acknowledged = actor.hear().unwrap().parse().unwrap();
        }
        // Anywhere within the next write or two: that is the point of this test, no wait for anything.
        std::thread::sleep(Duration::from_micros(rng.below(4000)));
        actor.kill();
        while let Some(word) = actor.hear() {
            acknowledged = word.parse().unwrap();
        }
        let left = file.read().unwrap().unwrap();
        assert!(
            left.token >= acknowledged,
            "round {round}: {} < {acknowledged}",
            left.token
        );
        assert_eq!(left.data, data(left.token), "round {round}");
    }
}
