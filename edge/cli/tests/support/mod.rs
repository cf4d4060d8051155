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
    write!(
        socket,
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
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
        Lone::start_with(scratch, &[])
    }

    /// With more flags.
    pub(crate) fn start_with(scratch: &Scratch, more: &[&str]) -> Lone {
        let (client, peer) = free_ports();
        let mut flags = lone_flags(&scratch.path("s1"), client, peer);
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
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
    for name in [
        "QUORATE_ENDPOINTS",
        "QUORATE_CONTEXT",
        "QUORATE_SESSION",
        "QUORATE_USER",
        "QUORATE_PASSWORD",
        "QUORATE_PASSWORD_FILE",
    ] {
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

/// A whole cluster of `quorate dev`'s, with a context directory of its own.
pub(crate) struct Cluster {
    pub(crate) dev: Running,
    pub(crate) members: Vec<DevMember>,
    pub(crate) scratch: Scratch,
}

/// One of its members.
pub(crate) struct DevMember {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
}

impl Cluster {
    /// A new one, that serves.
    pub(crate) fn start(members: usize) -> Cluster {
        let scratch = Scratch::new();
        let ready = scratch.path("ready.json");
        let n = members.to_string();
        let arguments = [
            "dev",
            "--members",
            &n,
            "--ready-file",
            ready.to_str().unwrap(),
        ];
        let dev = Running::start(QUORATE, &arguments, &scratch.path("dev.log"));
        let text = until("the cluster serves", || fs::read_to_string(&ready).ok());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let member = |value: &serde_json::Value| DevMember {
            name: value["name"].as_str().unwrap().to_owned(),
            pid: value["pid"].as_u64().unwrap() as u32,
            address: value["native"].as_str().unwrap().parse().unwrap(),
        };
        Cluster {
            dev,
            members: json["members"]
                .as_array()
                .unwrap()
                .iter()
                .map(member)
                .collect(),
            scratch,
        }
    }

    /// `QUORATE_ENDPOINTS` for it.
    pub(crate) fn endpoints(&self) -> String {
        let all = self.members.iter().map(|member| member.address.to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Runs the binary against it, to its end.
    pub(crate) fn quorate(&self, arguments: &[&str]) -> Said {
        Said::of(&run(arguments, &[("QUORATE_ENDPOINTS", &self.endpoints())]))
    }

    /// Starts the binary against it, or against `endpoints`; what it prints goes to `log`.
    pub(crate) fn begin(&self, endpoints: &str, arguments: &[&str], log: &str) -> Running {
        let log = fs::File::create(self.scratch.path(log)).unwrap();
        let child = Command::new(QUORATE)
            .args(arguments)
            .env("QUORATE_ENDPOINTS", endpoints)
            .env("QUORATE_CONFIG_DIR", "/nowhere/at/all")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Stopped ones would hold the end up.
        for member in &self.members {
            let _ = Command::new("kill")
                .arg("-CONT")
                .arg(member.pid.to_string())
                .output();
        }
        let _ = Command::new("kill")
            .arg("-INT")
            .arg(self.dev.pid().to_string())
            .output();
        let _ = self.dev.0.wait();
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The error as JSON, of a command with `-o json`.
    pub(crate) fn error(&self) -> serde_json::Value {
        serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The answer to a call of the native API as JSON: its status line and its body.
pub(crate) fn post(address: SocketAddr, path: &str, json: &str) -> (String, serde_json::Value) {
    let mut socket = TcpStream::connect(address).unwrap();
    let length = json.len();
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{json}"
    )
    .unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    (head.lines().next().unwrap().to_owned(), body)
}

/// A way to a member that can be cut.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    is_cut: std::sync::Arc<std::sync::atomic::AtomicBool>,
    sockets: std::sync::Arc<std::sync::Mutex<Vec<TcpStream>>>,
}

impl Way {
    /// A way to `member`, open.
    pub(crate) fn to(member: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way {
            address: listener.local_addr().unwrap(),
            is_cut: Default::default(),
            sockets: Default::default(),
        };
        let (is_cut, sockets) = (way.is_cut.clone(), way.sockets.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(member)) else {
                    return;
                };
                if is_cut.load(Ordering::SeqCst) {
                    continue; // both are closed
                }
                let mut kept = sockets.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
                kept.extend([client, server]);
            }
        });
        way
    }

    /// Nothing passes any more.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}
