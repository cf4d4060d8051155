//! Which server is judged: a program, the name it is called by, and further flags.

use std::io;
use std::path::{Path, PathBuf};

/// A server program with etcd's flags.
#[derive(Clone, Debug)]
pub struct Server {
    /// How reports call it.
    pub name: String,
    program: PathBuf,
    flags: Vec<String>,
}

impl Server {
    /// `command` is a path (or a name on `PATH`) and flags, divided by blanks. The program is called by the
    /// name `etcd` through a symbolic link in `links`, because our binary shows its etcd face under that name.
    ///
    /// # Errors
    /// No such program, or `links` cannot be written.
    pub fn new(name: &str, command: &str, links: &Path) -> io::Result<Server> {
        let mut words = command.split_whitespace().map(str::to_owned);
        let word = words
            .next()
            .ok_or_else(|| missing("an empty server command"))?;
        let found = find(&word).ok_or_else(|| missing(&format!("no program {word}")))?;
        let folder = links.join(format!("bin-{name}"));
        std::fs::create_dir_all(&folder)?;
        let program = folder.join("etcd");
        match std::os::unix::fs::symlink(std::fs::canonicalize(found)?, &program) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        Ok(Server {
            name: name.to_owned(),
            program,
            flags: words.collect(),
        })
    }

    /// The same server with further flags.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Server {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn flags(&self) -> &[String] {
        &self.flags
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

fn find(word: &str) -> Option<PathBuf> {
    if word.contains('/') {
        return Path::new(word).exists().then(|| word.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(word))
        .find(|file| file.exists())
}
