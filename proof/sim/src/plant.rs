//! Bugs from patch files: a bug that is not worth a branch in the product is planted as a patch.
//!
//! The patch goes into a second work tree of what is checked out (with what is not committed), the
//! simulator is built there, and each seed runs in both: the patched one must break a promise in a seed that the
//! plain one passes. A fix, reversed, is such a patch: so the folder `patches` shows that the bugs of the past would
//! be found again.

use crate::mutants::Fate;
use crate::run::run;
use base::Mutants;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the second work tree and what is built of it are kept, between runs too: most of it is built once.
const PLACE: &str = "target/plant";

/// A simulator with a bug in it.
pub struct Planted {
    binary: PathBuf,
}

impl Planted {
    /// Builds the simulator of this work tree with `patch` applied, as `profile` says.
    ///
    /// # Errors
    /// When git or cargo cannot be run, the patch does not apply, or what comes out does not build: with what
    /// they said.
    pub fn build(patch: &Path, profile: &str) -> io::Result<Planted> {
        let patch = patch.canonicalize()?;
        let root = PathBuf::from(said(git(".", &["rev-parse", "--show-toplevel"]))?.trim());
        let place = root.join(PLACE);
        let tree = place.join("tree");
        let changes = said(git(&root, &["diff", "--binary", "HEAD"]))?;
        if tree.exists() {
            said(git(&tree, &["checkout", "--quiet", "--force", "--detach"]))?;
            let head = said(git(&root, &["rev-parse", "HEAD"]))?;
            said(git(&tree, &["reset", "--quiet", "--hard", head.trim()]))?;
            said(git(&tree, &["clean", "--quiet", "-fd"]))?;
        } else {
            std::fs::create_dir_all(&place)?;
            let tree = tree.display().to_string();
            said(git(&root, &["worktree", "prune"]))?;
            said(git(
                &root,
                &["worktree", "add", "--quiet", "--detach", &tree],
            ))?;
        }
        if !changes.is_empty() {
            let path = place.join("changes.patch");
            std::fs::write(&path, changes)?;
            said(git(&tree, &["apply", &path.display().to_string()]))?;
        }
        let unknown = said(git(
            &root,
            &["ls-files", "-z", "--others", "--exclude-standard"],
        ))?;
        for name in unknown.split_terminator('\0') {
            let copy = tree.join(name);
            std::fs::create_dir_all(copy.parent().unwrap_or(&tree))?;
            std::fs::copy(root.join(name), copy)?;
        }
        said(git(&tree, &["apply", &patch.display().to_string()]))?;
        let built = place.join("built");
        said(
            Command::new("cargo")
                .args(["build", "--quiet", "--locked", "-p", "quorate-sim"])
                .args(["--profile", profile, "--target-dir"])
                .arg(&built)
                .current_dir(&tree),
        )?;
        let folder = match profile {
            "dev" => "debug",
            other => other,
        };
        Ok(Planted {
            binary: built.join(folder).join("sim"),
        })
    }

    /// Runs `n_seeds` seeds from `from` on, until one is caught. A seed that fails without the bug, too, catches
    /// nothing.
    ///
    /// # Errors
    /// When the simulator cannot be run, or says something that is not an answer.
    pub fn hunt(&self, from: u64, n_seeds: u64, jobs: usize) -> io::Result<Fate> {
        let next = AtomicU64::new(from);
        let found: Mutex<io::Result<Found>> = Mutex::new(Ok(Found::default()));
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let is_over = |found: &io::Result<Found>| {
                    found.as_ref().map_or(true, |found| {
                        found.caught.as_ref().is_some_and(|caught| caught.0 < seed)
                    })
                };
                if seed >= from + n_seeds
                    || is_over(&found.lock().unwrap_or_else(|e| e.into_inner()))
                {
                    return;
                }
                let verdict = self.run(seed);
                let clean = run(seed, Mutants::none(), None, false);
                let mut found = found.lock().unwrap_or_else(|e| e.into_inner());
                match (verdict, found.as_mut()) {
                    (Ok(verdict), Ok(found)) => {
                        found.differs |= verdict.hash != clean.hash;
                        let is_first = found.caught.as_ref().is_none_or(|first| seed < first.0);
                        if let (Some(claim), true, true) =
                            (verdict.claim, clean.violations.is_empty(), is_first)
                        {
                            found.caught = Some((seed, claim));
                        }
                    }
                    (Err(error), _) => *found = Err(error),
                    (Ok(_), Err(_)) => return,
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(work);
            }
        });
        let found = found.into_inner().unwrap_or_else(|e| e.into_inner())?;
        Ok(match found.caught {
            Some((seed, claim)) => Fate::Caught {
                n_seeds: seed - from + 1,
                claim,
            },
            None if found.differs => Fate::Escaped,
            None => Fate::NotPlanted,
        })
    }

    fn run(&self, seed: u64) -> io::Result<Verdict> {
        let seed_text = seed.to_string();
        let output = Command::new(&self.binary)
            .args(["run", "--seeds", "1", "--jobs", "1", "--show", "0"])
            .args(["--trace-hash", "--from", &seed_text])
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let after = |start: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.strip_prefix(start)?.split(' ').next()?.to_owned()))
        };
        let hash = after(&format!("{seed} "))
            .and_then(|hash| u64::from_str_radix(&hash, 16).ok())
            .ok_or_else(|| {
                io::Error::other(format!(
                    "seed {seed}: {}\n{text}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                ))
            })?;
        Ok(Verdict {
            hash,
            claim: after("FAILED "),
        })
    }
}

/// What one seed came to.
struct Verdict {
    hash: u64,
    claim: Option<String>,
}

/// What all seeds came to, so far.
#[derive(Default)]
struct Found {
    differs: bool,
    caught: Option<(u64, String)>,
}

fn git(at: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(at.as_ref()).args(arguments);
    command
}

/// What a command printed; its complaint when it failed.
fn said(mut command: impl std::borrow::BorrowMut<Command>) -> io::Result<String> {
    let command = command.borrow_mut();
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output()?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&stderr);
    Err(io::Error::other(format!(
        "{command:?}: {}",
        complaint.trim()
    )))
}
