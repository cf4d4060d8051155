//! Plays the script. Each line is one of:
//!
//! ```text
//!   # words                a comment, which is printed: it divides the page
//!   put a 1                a command, run to its end: its output and its exit code, if that is not 0
//!   < a line               put before a command: what it reads on its standard input
//!   ~ get a                asked again until it succeeds and prints a line (`~2`: two)
//!   quiet del a            run, and its output is of no interest
//!   & w watch a            begins and goes on; `w` is its name
//!   wait w PUT b           until what `w` has printed contains the words
//!   end w                  an interrupt (as by Ctrl-C); then what it has printed
//!   lead M1                the member that leads from now on
//!   3.6 auth status        only for this release; `3.4` likewise
//! ```
//!
//! `E1`, `P1`, `M1` stand for a member's client URL, peer URL and id, `L1` for the first lease that was granted, `TMP` for
//! a folder. A command goes to `E1` if it names no `--endpoints`; `ALL` are all members.

use crate::mask::Mask;
use cluster::Cluster;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something that must come true may take, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const SCRIPT: &str = include_str!("script.txt");

/// What the script prints, masked.
pub(crate) fn play(cluster: &Cluster, etcdctl: &Path, release: &str, folder: &Path) -> String {
    let mut player = Player {
        etcdctl: etcdctl.to_owned(),
        endpoints: cluster.endpoints().join(","),
        folder: folder.to_owned(),
        mask: Mask::new(cluster, folder),
        input: String::new(),
        begun: Vec::new(),
        page: String::new(),
    };
    player.until("a healthy cluster", |player| {
        let all = format!("--endpoints={}", player.endpoints);
        let (_, healthy) = player.run(&["endpoint", "health", &all]);
        healthy
    });
    let (members, _) = player.run(&["member", "list", "-w", "json"]);
    player.mask.learn_members(&members);
    for line in SCRIPT.lines() {
        let mut line = line;
        for other in ["3.4 ", "3.6 "] {
            if let Some(rest) = line.strip_prefix(other) {
                line = if other.trim() == release { rest } else { "" };
            }
        }
        player.line(line);
    }
    player.page
}

struct Player {
    etcdctl: PathBuf,
    endpoints: String,
    folder: PathBuf,
    mask: Mask,
    /// What the next command reads.
    input: String,
    begun: Vec<Begun>,
    page: String,
}

/// A command that goes on.
struct Begun {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Drop for Begun {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Player {
    fn line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "" => {}
            "#" => self.page += &format!("\n# {rest}\n"),
            "<" => self.input += &format!("{rest}\n"),
            "~" | "~2" => {
                let n_lines = if verb == "~" { 1 } else { 2 };
                let words = self.words(rest);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let mut said = String::new();
                self.until(rest, |player| {
                    let good;
                    (said, good) = player.run(&words);
                    let lines = said.lines().filter(|line| !line.is_empty());
                    good && lines.count() >= n_lines
                });
                self.print(rest, &said);
            }
            "quiet" => {
                let words = self.words(rest);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (said, good) = self.run(&words);
                assert!(good, "{rest}: {said}");
            }
            "&" => self.begin(rest),
            "wait" => {
                let (name, words) = rest.split_once(' ').expect("`wait NAME WORDS`");
                self.until(line, |player| player.shown(name).contains(words));
            }
            "end" => self.end(rest),
            "lead" => self.lead(rest),
            _ => {
                let words = self.words(line);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (said, _) = self.run(&words);
                self.print(line, &said);
            }
        }
    }

    /// The words of a line, with names replaced by what they stand for. Quotes hold blanks together.
    fn words(&self, line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        let mut is_word = false;
        for c in line.chars() {
            match c {
                '\'' => {
                    is_quoted = !is_quoted;
                    is_word = true;
                }
                ' ' if !is_quoted => {
                    if is_word {
                        words.push(String::new());
                    }
                    is_word = false;
                }
                _ => {
                    is_word = true;
                    words.last_mut().expect("a word").push(c);
                }
            }
        }
        let meant = |word: &String| {
            self.mask
                .meant(word)
                .replace("=ALL", &format!("={}", self.endpoints))
        };
        words.iter().map(meant).collect()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.etcdctl);
        command
            .env_clear()
            .env("ETCDCTL_API", "3")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(words);
        if !words.iter().any(|word| word.starts_with("--endpoints")) {
            command.arg(format!("--endpoints={}", self.mask.meant("E1")));
        }
        command
    }

    /// What a command prints, and whether it succeeds. Its own log lines are left out.
    fn run(&mut self, words: &[&str]) -> (String, bool) {
        let mut command = self.command(words);
        command.arg("--command-timeout=20s");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl");
        let input = std::mem::take(&mut self.input);
        let mut stdin = child.stdin.take().expect("its input");
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let said = child.wait_with_output().expect("its output");
        let mut text = String::from_utf8_lossy(&said.stdout).into_owned();
        text += &without_logs(&String::from_utf8_lossy(&said.stderr));
        match said.status.code() {
            Some(0) => {}
            code => text += &format!("(exit {})\n", code.unwrap_or(-1)),
        }
        self.mask.learn_leases(&text);
        (text, said.status.success())
    }

    fn print(&mut self, line: &str, said: &str) {
        let masked = self.mask.mask(line, said);
        self.page += &format!("$ {line}\n{masked}");
        if !masked.is_empty() && !masked.ends_with('\n') {
            self.page += "\n";
        }
    }

    fn begin(&mut self, rest: &str) {
        let (name, line) = rest.split_once(' ').expect("`& NAME COMMAND`");
        let words = self.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.folder.join(format!("{name}.out"));
        let file = File::create(&output).expect("a file");
        let child = self
            .command(&words)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("etcdctl");
        let name = name.to_owned();
        self.begun.push(Begun {
            name,
            child,
            output,
        });
    }

    fn shown(&self, name: &str) -> String {
        let one = self.begun.iter().find(|one| one.name == name);
        let output = &one.expect("it was begun").output;
        std::fs::read_to_string(output).unwrap_or_default()
    }

    fn end(&mut self, name: &str) {
        let shown = self.shown(name);
        let index = self.begun.iter().position(|one| one.name == name);
        let mut one = self.begun.remove(index.expect("it was begun"));
        let pid = one.child.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()), "kill -INT {pid}");
        let until = Instant::now() + PATIENCE;
        while one.child.try_wait().expect("its end").is_none() {
            assert!(Instant::now() < until, "{name} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        // Where one response ends and the next begins may differ.
        let shown = without_logs(&shown).replace("\n\n", "\n");
        self.print(&format!("({name})"), &shown);
    }

    /// Asks whoever leads to make `name` the leader.
    fn lead(&mut self, name: &str) {
        let wanted = self.mask.meant(name);
        self.until("the leader moves", |player| {
            for n in 1..=3 {
                let at = format!("--endpoints={}", player.mask.meant(&format!("E{n}")));
                let (said, _) = player.run(&["endpoint", "status", "-w", "fields", &at]);
                let field = |name: &str| {
                    let begin = format!("\"{name}\" : ");
                    let line = said.lines().find_map(|line| line.strip_prefix(&begin));
                    line.and_then(|id| id.parse::<u64>().ok()).unwrap_or(0)
                };
                let (own, leader) = (field("MemberID"), field("Leader"));
                if leader != 0 && format!("{leader:x}") == wanted {
                    return true;
                }
                if own != 0 && own == leader {
                    player.run(&["move-leader", &wanted, &at]);
                }
            }
            false
        });
        // Every member knows.
        self.until("all know the leader", |player| {
            (1..=3).all(|n| {
                let at = format!("--endpoints={}", player.mask.meant(&format!("E{n}")));
                let (said, _) = player.run(&["endpoint", "status", "-w", "fields", &at]);
                let leader = u64::from_str_radix(&wanted, 16).unwrap_or(0);
                said.contains(&format!("\"Leader\" : {leader}\n"))
            })
        });
    }

    fn until(&mut self, what: &str, mut ask: impl FnMut(&mut Player) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !ask(self) {
            assert!(
                Instant::now() < until,
                "not within {PATIENCE:?}: {what}\n{}",
                self.page
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The client library writes its log to the same place as etcdctl its errors.
fn without_logs(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("{\"level\":"));
    lines.map(|line| format!("{line}\n")).collect()
}
