//! The newest token of each resource: in memory for the check, durable before a higher one counts.
//!
//! # Invariants
//!
//! * The file's token of a resource is never below the one in memory: it is written first.
//! * A resource is taken by one request at a time.
//! * No resource is ever forgotten, and there are never more than the limit.
//!
//! The data of the file is one line for each resource, `token resource`, in the order of names. The file is
//! fenced by the number of writes: whatever else went wrong, it never goes back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

use super::StartError;
use super::answer::Answer;
use super::request::{Gated, is_name};
use crate::file::{FencedFile, FileError, HeldFile};
use crate::token::{Stale, Token};

/// A resource that one request has taken: its newest token, if any has passed.
pub(super) type Taken = OwnedMutexGuard<Option<Token>>;

#[derive(Debug)]
pub(super) struct Newest {
    resources: Mutex<BTreeMap<String, Arc<Turns<Option<Token>>>>>,
    resources_max: usize,
    durable: Arc<Mutex<Durable>>,
}

#[derive(Debug)]
struct Durable {
    file: HeldFile,
    tokens: BTreeMap<String, Token>,
    n_writes: Token,
}

impl Newest {
    pub(super) fn open(path: PathBuf, resources_max: usize) -> Result<Newest, StartError> {
        let file = FencedFile::new(&path).try_hold()?;
        let (tokens, n_writes) = match file.read()? {
            None => (BTreeMap::new(), Token(0)),
            Some(contents) => {
                let tokens =
                    decode(&contents.data).map_err(|line| StartError::Foreign { path, line })?;
                (tokens, contents.token)
            }
        };
        let resources = tokens
            .iter()
            .map(|(name, token)| (name.clone(), Arc::new(Turns::new(Some(*token)))))
            .collect();
        let mut durable = Durable {
            file,
            tokens,
            n_writes,
        };
        // What cannot be written is better known at the start than at the first request.
        durable.write()?;
        Ok(Newest {
            resources: Mutex::new(resources),
            resources_max,
            durable: Arc::new(Mutex::new(durable)),
        })
    }

    /// Waits for the resource's turn, first come, first served.
    pub(super) async fn take(&self, resource: &str) -> Result<Taken, Answer> {
        let turns = {
            let mut resources = lock(&self.resources);
            match resources.get(resource) {
                Some(turns) => Arc::clone(turns),
                None if resources.len() >= self.resources_max => {
                    let resources_max = self.resources_max;
                    return Err(Answer::TooManyResources { resources_max });
                }
                None => {
                    let turns = Arc::new(Turns::new(None));
                    resources.insert(resource.to_owned(), Arc::clone(&turns));
                    turns
                }
            }
        };
        Ok(turns.lock_owned().await)
    }

    /// Lets the request pass, unless a newer token has; gives the resource back to be kept until the request
    /// has ended.
    pub(super) async fn admit(&self, mut taken: Taken, gated: Gated) -> Result<Taken, Answer> {
        let Gated { resource, token } = gated;
        match *taken {
            Some(newest) if token < newest => {
                return Err(Answer::Stale(Stale { token, newest }));
            }
            Some(newest) if token == newest => return Ok(taken),
            _ => {}
        }
        let durable = Arc::clone(&self.durable);
        let written = tokio::task::spawn_blocking(move || lock(&durable).raise(resource, token));
        match written.await {
            Ok(Ok(())) => {
                *taken = Some(token);
                Ok(taken)
            }
            _ => Err(Answer::StateNotDurable),
        }
    }
}

impl Durable {
    fn raise(&mut self, resource: String, token: Token) -> Result<(), FileError> {
        let old = self.tokens.insert(resource.clone(), token);
        let written = self.write();
        if written.is_err() {
            // The request is not forwarded, so the token has not passed. If the file has it all the same, the file is
            // above memory, which is the safe side.
            match old {
                Some(old) => self.tokens.insert(resource, old),
                None => self.tokens.remove(&resource),
            };
        }
        written
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.n_writes.0 = self.n_writes.0.saturating_add(1);
        self.file.write(self.n_writes, &encode(&self.tokens))
    }
}

fn encode(tokens: &BTreeMap<String, Token>) -> Vec<u8> {
    let mut text = String::new();
    for (resource, token) in tokens {
        let _ = writeln!(text, "{token} {resource}");
    }
    text.into_bytes()
}

/// Reads the lines; total. An error is the number of the first line that is not one of ours.
fn decode(data: &[u8]) -> Result<BTreeMap<String, Token>, usize> {
    let mut tokens = BTreeMap::new();
    let text = std::str::from_utf8(data).map_err(|_| 1_usize)?;
    for (at, line) in text.split_terminator('\n').enumerate() {
        let read = line.split_once(' ').and_then(|(token, resource)| {
            let token: Token = token.parse().ok()?;
            is_name(resource).then(|| (resource.to_owned(), token))
        });
        let (resource, token) = read.ok_or(at + 1)?;
        tokens.insert(resource, token);
    }
    // One reading: a line that comes twice, or out of order, was not written here.
    if encode(&tokens) != data {
        return Err(tokens.len());
    }
    Ok(tokens)
}

/// A thread that panicked in here has left every map whole: each change is one insertion.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_we_did_not_write_are_refused() {
        let tokens = BTreeMap::from([("/a".to_owned(), Token(34)), ("b".to_owned(), Token(0))]);
        assert_eq!(encode(&tokens), b"34 /a\n0 b\n");
        assert_eq!(decode(b"34 /a\n0 b\n"), Ok(tokens));
        assert_eq!(decode(b""), Ok(BTreeMap::new()));
        for data in [
            "34 a",
            "a 34\n",
            "34 a\n33 a\n",
            "34 b\n34 a\n",
            "34  a\n",
            "34 \n",
            "\n",
            "34 \u{e4}\n",
        ] {
            assert!(decode(data.as_bytes()).is_err(), "{data:?}");
        }
    }
}
