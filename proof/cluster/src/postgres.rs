//! A real PostgreSQL server, for tests that need a resource outside: with a directory and a socket of its own, and no
//! port. It ends with its value; and with this process, however that ends, since the shell around it then reads the end of
//! its input.

use crate::TempDir;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server, or one that is starting.
pub struct Postgres {
    folder: TempDir,
    shell: Child,
}

/// The program `name`: from `PATH`, else where Debian hides it.
fn program(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let mut files = folders.iter().map(|folder| folder.join(name));
    files.find(|file| file.is_file()).ok_or_else(|| {
        io::Error::other(format!(
            "PostgreSQL is not installed: no {name} in PATH or /usr/lib/postgresql/*/bin; on Debian: \
             apt-get install postgresql"
        ))
    })
}

/// A command as a user that PostgreSQL accepts: not root.
fn as_user(is_root: bool) -> Command {
    let mut command = Command::new(if is_root { "runuser" } else { "sh" });
    match is_root {
        true => command.args(["-u", "postgres", "--", "sh", "-c"]),
        false => command.arg("-c"),
    };
    command.current_dir("/");
    command
}

impl Postgres {
    /// Makes a database for the user `gate` and starts the server. It may not answer yet.
    ///
    /// # Errors
    /// It is not installed, or cannot be started.
    pub fn start() -> io::Result<Postgres> {
        let (initdb, postgres) = (program("initdb")?, program("postgres")?);
        // A socket's path has a limit of about a hundred bytes.
        let folder = TempDir::under(Path::new("/tmp"))?;
        let at = folder.path().display();
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            let mut chown = Command::new("chown");
            if !chown.arg("postgres").arg(folder.path()).status()?.success() {
                return Err(io::Error::other("there is no user postgres"));
            }
        }
        let initdb = initdb.display();
        let flags = "-U gate -A trust -E UTF8 --locale=C --no-sync";
        let made = as_user(is_root)
            .arg(format!("{initdb} -D {at}/data {flags}"))
            .output()?;
        if !made.status.success() {
            let text = String::from_utf8_lossy(&made.stderr);
            return Err(io::Error::other(format!("initdb: {text}")));
        }
        // The server waits for its children, the shell for the end of its input.
        let shell = as_user(is_root)
            .arg(format!(
                "{} -D {at}/data -k {at} -c listen_addresses= -c fsync=off > {at}/log 2>&1 < /dev/null &
                 server=$!; cat > /dev/null; kill -QUIT $server; wait $server",
                postgres.display()
            ))
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Postgres { folder, shell })
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its log, if it has ended by itself.
    pub fn last_words(&mut self) -> Option<String> {
        let status = self.shell.try_wait().ok()??;
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        Some(format!("the server ended ({status})\n{log}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Whatever it says, it is over.
        let _ = self.shell.wait();
    }
}
