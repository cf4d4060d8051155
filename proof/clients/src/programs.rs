//! The clients: what makes each of them ready, and what runs it.
//!
//! Every version is pinned in a file beside the program (go.sum, requirements.txt, pom.xml, package-lock.json, Cargo.lock).
//! What the toolchains make goes to `target/clients`, and downloads go through their ordinary clients.

use crate::{Failure, Places};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One client of etcd, and the program that uses it.
pub(crate) struct Program {
    /// How `--only` and reports call it.
    pub(crate) name: &'static str,
    /// Its folder beside this crate's `src`.
    pub(crate) folder: &'static str,
    /// The file in that folder which names every check.
    pub(crate) checks: &'static str,
    kind: Kind,
}

enum Kind {
    /// `go build` with this `go.mod` and these build tags.
    Go {
        modfile: &'static str,
        tags: &'static str,
    },
    /// A file run by the Python of a virtual environment of its own.
    Python {
        file: &'static str,
        requirements: &'static str,
    },
    Java,
    Node,
    Rust,
}

/// All clients, in the order in which they run.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "go",
        folder: "go",
        checks: "checks.txt",
        kind: Kind::Go {
            modfile: "go.mod",
            tags: "",
        },
    },
    // The next release's client: the same program, and what only that one can ask.
    Program {
        name: "go-next",
        folder: "go",
        checks: "checks-next.txt",
        kind: Kind::Go {
            modfile: "next.mod",
            tags: "next",
        },
    },
    Program {
        name: "python",
        folder: "python",
        checks: "checks.txt",
        kind: Kind::Python {
            file: "client.py",
            requirements: "requirements.txt",
        },
    },
    // Speaks JSON to the gateway.
    Program {
        name: "python-gateway",
        folder: "python",
        checks: "checks-gateway.txt",
        kind: Kind::Python {
            file: "gateway.py",
            requirements: "requirements-gateway.txt",
        },
    },
    Program {
        name: "java",
        folder: "java",
        checks: "checks.txt",
        kind: Kind::Java,
    },
    Program {
        name: "node",
        folder: "node",
        checks: "checks.txt",
        kind: Kind::Node,
    },
    Program {
        name: "rust",
        folder: "rust",
        checks: "checks.txt",
        kind: Kind::Rust,
    },
];

/// Beginnings of names of checks that a server of ours cannot pass yet. They are counted aloud.
const NOT_YET: &[&str] = &[];

impl Program {
    /// What our server does not have yet, for `CLIENTS_NOT_YET`.
    pub(crate) fn not_yet_of_ours(&self) -> String {
        NOT_YET.join(",")
    }

    /// Builds it, or installs what it needs; the command that runs it.
    ///
    /// # Errors
    /// A toolchain is missing or fails: in its own words.
    pub(crate) fn prepare(&self, places: &Places) -> Result<Command, Failure> {
        let sources = places.sources.join(self.folder);
        let made = places.made.join(self.name);
        fs::create_dir_all(&made)?;
        match self.kind {
            Kind::Go { modfile, tags } => {
                let out = made.join("client");
                let mut build = Command::new("go");
                build
                    .current_dir(&sources)
                    .args(["build", "-modfile", modfile, "-tags", tags, "-o"]);
                build.arg(&out).arg(".");
                build
                    .env("CGO_ENABLED", "0")
                    .env("GOTOOLCHAIN", "local")
                    .env("GOWORK", "off");
                build.env("GOFLAGS", "-mod=readonly -buildvcs=false -p=2");
                succeed(build, "Go 1.26 (https://go.dev/dl)")?;
                Ok(Command::new(out))
            }
            Kind::Python { file, requirements } => {
                let wanted = sources.join(requirements);
                let python = made.join("bin/python");
                once(&made.join("installed"), &[&wanted], || {
                    let mut new = Command::new("python3");
                    new.args(["-m", "venv", "--clear"]).arg(&made);
                    succeed(new, "python3 with venv (Debian: python3-venv)")?;
                    let mut install = Command::new(&python);
                    install.args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                    ]);
                    install.arg("--no-deps").arg("-r").arg(&wanted);
                    succeed(install, "pip")
                })?;
                let mut command = Command::new(python);
                command
                    .arg(sources.join(file))
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                Ok(command)
            }
            Kind::Java => {
                let mut build = Command::new("mvn");
                build
                    .current_dir(&sources)
                    .args(["--quiet", "--batch-mode"]);
                build
                    .arg(format!("-Dmade={}", made.display()))
                    .arg("compile");
                succeed(
                    build,
                    "Maven and a JDK of at least 17 (Debian: maven, openjdk-17-jdk-headless)",
                )?;
                let mut command = Command::new("java");
                command
                    .arg("-cp")
                    .arg(format!("{0}/classes:{0}/libraries/*", made.display()));
                command.arg("Main");
                Ok(command)
            }
            Kind::Node => {
                let files = ["package.json", "package-lock.json"].map(|file| sources.join(file));
                once(&made.join("installed"), &[&files[0], &files[1]], || {
                    for file in &files {
                        fs::copy(
                            file,
                            made.join(file.file_name().ok_or("a file without a name")?),
                        )?;
                    }
                    let mut install = Command::new("npm");
                    install.current_dir(&made).args([
                        "ci",
                        "--ignore-scripts",
                        "--no-audit",
                        "--no-fund",
                        "--silent",
                    ]);
                    succeed(install, "Node and npm (Debian: nodejs, npm)")
                })?;
                let mut command = Command::new("node");
                command
                    .arg(sources.join("client.js"))
                    .env("NODE_PATH", made.join("node_modules"));
                Ok(command)
            }
            Kind::Rust => {
                let built = places.built.join("quorate-clients-rust");
                if !built.exists() {
                    return Err("it is not built: `cargo build -p quorate-clients`".into());
                }
                Ok(Command::new(built))
            }
        }
    }
}

/// Does `work` unless it was done for these very files.
fn once(
    stamp: &Path,
    files: &[&Path],
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut wanted = String::new();
    for file in files {
        wanted += &fs::read_to_string(file).map_err(|err| format!("{}: {err}", file.display()))?;
    }
    if fs::read_to_string(stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    Ok(fs::write(stamp, wanted)?)
}

/// Runs a command to its end; its words if that is a bad one.
fn succeed(mut command: Command, needs: &str) -> Result<(), Failure> {
    let said = command
        .output()
        .map_err(|err| format!("{command:?}: {err}; it needs {needs}"))?;
    if said.status.success() {
        return Ok(());
    }
    let words = [said.stdout, said.stderr].concat();
    Err(format!(
        "{command:?} failed (it needs {needs}):\n{}",
        String::from_utf8_lossy(&words)
    )
    .into())
}
