//! Processes, directories and questions for tests that run the real binary.
#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// A directory that goes when the test ends.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where a test's contexts are, beside `file`: never the user's own.
fn config_dir(file: &Path) -> PathBuf {
    file.parent().unwrap().join("config")
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(program: &str, arguments: &[&str], log: &Path) -> Running {
        let config = config_dir(log);
        let log = fs::File::create(log).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("QUORATE_CONFIG_DIR", config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end and returns its code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        until("the process ends", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Sends a signal, as `kill` does.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.unwrap().success());
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// The answer to `GET target`, head and body; nothing when nobody answers.
pub(crate) fn get(address: SocketAddr, target: &str) -> Option<String> {
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(socket, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a read of a majority works at `address`.
pub(crate) fn is_healthy(address: SocketAddr) -> bool {
    get(address, "/health").is_some_and(|text| text.starts_with("HTTP/1.1 200 "))
}

/// Two ports that are free now.
pub(crate) fn free_ports() -> (SocketAddr, SocketAddr) {
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, b) = (bind(), bind());
    (a.local_addr().unwrap(), b.local_addr().unwrap())
}

/// A member alone, that serves.
pub(crate) struct Lone {
    pub(crate) process: Running,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) log: PathBuf,
}

/// The flags of a member alone.
pub(crate) fn lone_flags(dir: &Path, client: SocketAddr, peer: SocketAddr) -> Vec<String> {
    [
        "server",
        "--name=s1",
        &format!("--data-dir={}", dir.display()),
        &format!("--listen-client-urls=http://{client}"),
        &format!("--advertise-client-urls=http://{client}"),
        &format!("--listen-peer-urls=http://{peer}"),
        &format!("--initial-advertise-peer-urls=http://{peer}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

impl Lone {
    pub(crate) fn start(scratch: &Scratch) -> Lone {
        let (client, peer) = free_ports();
        let flags = lone_flags(&scratch.path("s1"), client, peer);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let log = scratch.path("s1.log");
        let process = Running::start(QUORATE, &flags, &log);
        until("the member serves", || is_healthy(client).then_some(()));
        Lone {
            process,
            client,
            peer,
            log,
        }
    }
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(QUORATE);
    command.args(arguments);
    for name in ["QUORATE_ENDPOINTS", "QUORATE_CONTEXT", "QUORATE_SESSION"] {
        command.env_remove(name);
    }
    command.env("QUORATE_CONFIG_DIR", "/nowhere/at/all");
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).output().unwrap()
}

/// Its code and what it said on standard error.
pub(crate) fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments, &[]);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A shell in which `quorate` is the binary under test, with a directory of its own.
pub(crate) struct Shell {
    scratch: Scratch,
    environment: Vec<(String, String)>,
    hide: Box<dyn Fn(String) -> String>,
}

impl Shell {
    pub(crate) fn new() -> Shell {
        Shell::with(Vec::new(), |text| text)
    }

    /// One with more variables, and what to hide of answers because no two runs have it alike.
    pub(crate) fn with(
        environment: Vec<(String, String)>,
        hide: impl Fn(String) -> String + 'static,
    ) -> Shell {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("bin")).unwrap();
        std::os::unix::fs::symlink(QUORATE, scratch.path("bin/quorate")).unwrap();
        Shell {
            scratch,
            environment,
            hide: Box::new(hide),
        }
    }

    /// What the commands print on both outputs, and the exit code of the last if it is not 0.
    pub(crate) fn play(&self, commands: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 2>&1\n{commands}"))
            .current_dir(&self.scratch.0)
            .env(
                "PATH",
                format!("{}:{path}", self.scratch.path("bin").display()),
            )
            .env("QUORATE_CONFIG_DIR", self.scratch.path("config"))
            .env_remove("QUORATE_ENDPOINTS")
            .env_remove("QUORATE_CONTEXT")
            .env_remove("QUORATE_SESSION")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => text.push_str(&format!("exit {code}\n")),
            None => text.push_str("ended by a signal\n"),
        }
        let text = text.replace(&self.scratch.0.display().to_string(), "DIR");
        (self.hide)(text)
    }
}
