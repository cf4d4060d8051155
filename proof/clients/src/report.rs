//! What a program prints, read and judged.
//!
//! ```text
//!   ok kv: a put is read back
//!   FAILED watch: history: wanted 3 events, got 2
//!   not yet auth: a user may read only what its role grants
//!   12 passed, 1 failed, 1 not yet
//! ```
//!
//! The last line must agree with the others, the exit code with the last line, and the names with `checks.txt`:
//! a program that dies early, or forgets a check, fails.

use crate::Failure;
use crate::programs::Program;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a program may run. Each takes well under a minute on a quiet machine.
const RUN_MAX: Duration = Duration::from_secs(400);

/// What one program reported.
#[derive(Default)]
pub(crate) struct Report {
    passed: Vec<String>,
    failed: Vec<String>,
    not_yet: Vec<String>,
    /// The program's own count.
    last_line: Option<String>,
    exit_is_good: bool,
    has_run: bool,
    /// What the program said on its standard error.
    errors: String,
    /// The members' logs, if something failed.
    pub(crate) last_words: String,
}

/// Runs the program to its end, at most for [`RUN_MAX`].
///
/// # Errors
/// It cannot be started.
pub(crate) fn watch(mut command: Command, errors: &Path) -> Result<Report, Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(errors)?)
        .spawn()
        .map_err(|err| format!("{command:?}: {err}"))?;
    let mut report = Report {
        has_run: true,
        ..Report::default()
    };
    let over = read(&mut child, &mut report);
    if over.is_err() {
        // It may have ended meanwhile.
        let _ = child.kill();
        report.failed.push(format!(
            "the program: did not end within {} s",
            RUN_MAX.as_secs()
        ));
    }
    report.exit_is_good = child.wait()?.success();
    report.errors = fs::read_to_string(errors).unwrap_or_default();
    Ok(report)
}

/// Reads the lines as they come, until the program closes its output.
fn read(child: &mut Child, report: &mut Report) -> Result<(), mpsc::RecvTimeoutError> {
    let Some(output) = child.stdout.take() else {
        return Ok(());
    };
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                break;
            }
        }
    });
    let until = Instant::now() + RUN_MAX;
    loop {
        match rx.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => report.take(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            Err(over) => return Err(over),
        }
    }
}

impl Report {
    /// Of a client that could not even run.
    pub(crate) fn broken(why: &str) -> Report {
        Report {
            failed: vec![format!("the program: {why}")],
            ..Report::default()
        }
    }

    fn take(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("ok ") {
            self.passed.push(name.to_owned());
        } else if let Some(name) = line.strip_prefix("FAILED ") {
            self.failed.push(name.to_owned());
        } else if let Some(name) = line.strip_prefix("not yet ") {
            self.not_yet.push(name.to_owned());
        } else {
            self.last_line = Some(line.to_owned());
        }
    }

    /// Compares with what the client promises, or writes that down anew.
    ///
    /// # Errors
    /// The list cannot be read or written.
    pub(crate) fn judge(
        &mut self,
        folder: &Path,
        client: &Program,
        update: bool,
    ) -> Result<(), Failure> {
        if !self.has_run {
            return Ok(()); // Nothing more is learnt by naming every check.
        }
        let counts = self.counts();
        if self.last_line.as_ref() != Some(&counts) {
            let line = self.last_line.as_deref().unwrap_or("nothing");
            self.failed.push(format!(
                "the program: said `{line}` in the end, and reported {counts}"
            ));
        } else if self.exit_is_good != self.failed.is_empty() {
            self.failed
                .push("the program: its exit code is not what it reported".to_owned());
        }
        let file = folder.join(client.checks);
        let reported: BTreeSet<&str> = self
            .passed
            .iter()
            .chain(&self.not_yet)
            .map(String::as_str)
            .collect();
        if update && self.failed.is_empty() {
            let names: Vec<&str> = reported.into_iter().collect();
            fs::write(file, names.join("\n") + "\n")?;
            return Ok(());
        }
        let promised =
            fs::read_to_string(&file).map_err(|err| format!("{}: {err}", file.display()))?;
        let failed = |name: &str| {
            self.failed
                .iter()
                .any(|line| line.starts_with(&format!("{name}: ")))
        };
        let missing = promised
            .lines()
            .filter(|name| !reported.contains(name) && !failed(name));
        let mut complaints: Vec<String> = missing
            .map(|name| format!("{name}: was not reported"))
            .collect();
        let promised: BTreeSet<&str> = promised.lines().collect();
        let strange = reported.iter().filter(|name| !promised.contains(*name));
        complaints.extend(strange.map(|name| format!("{name}: is not in {}", client.checks)));
        self.failed.append(&mut complaints);
        Ok(())
    }

    /// Whether nothing failed.
    pub(crate) fn holds(&self) -> bool {
        self.failed.is_empty() && self.exit_is_good
    }

    /// `12 passed, 1 failed, 1 not yet`
    pub(crate) fn counts(&self) -> String {
        let (passed, failed, not_yet) = (self.passed.len(), self.failed.len(), self.not_yet.len());
        format!("{passed} passed, {failed} failed, {not_yet} not yet")
    }

    /// For a person: what failed, why, and what both sides said.
    pub(crate) fn print(&self, client: &str, verbose: bool) {
        println!("\n== {client}: {}", self.counts());
        if verbose {
            self.passed
                .iter()
                .for_each(|name| println!("ok       {name}"));
        }
        self.not_yet
            .iter()
            .for_each(|name| println!("not yet  {name}"));
        self.failed
            .iter()
            .for_each(|name| println!("FAILED   {name}"));
        if !self.holds() {
            let lines: Vec<&str> = self.errors.lines().collect();
            println!(
                "--- the program's last words\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
            println!("{}", self.last_words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::PROGRAMS;
    use cluster::TempDir;

    fn judged(output: &str, promised: &str) -> Report {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join(PROGRAMS[0].checks), promised).expect("a file");
        let script = format!("printf '%s\\n' '{}'", output.replace('\n', "' '"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let mut report = watch(command, &folder.path().join("errors")).expect("a shell");
        report
            .judge(folder.path(), &PROGRAMS[0], false)
            .expect("a list");
        report
    }

    #[test]
    fn what_is_reported_and_promised_holds() {
        let report = judged(
            "ok a: one\nnot yet b: two\n1 passed, 0 failed, 1 not yet",
            "a: one\nb: two\n",
        );
        assert!(report.holds(), "{:?}", report.failed);
    }

    #[test]
    fn a_check_that_fails_is_seen() {
        assert!(
            !judged(
                "FAILED a: one: no\n0 passed, 1 failed, 0 not yet",
                "a: one\n"
            )
            .holds()
        );
    }

    #[test]
    fn a_check_that_is_not_reported_fails() {
        let report = judged(
            "ok a: one\n1 passed, 0 failed, 0 not yet",
            "a: one\nb: two\n",
        );
        assert_eq!(report.failed, ["b: two: was not reported"]);
    }

    #[test]
    fn a_check_that_was_not_promised_fails() {
        let report = judged("ok a: one\n1 passed, 0 failed, 0 not yet", "");
        assert_eq!(report.failed, ["a: one: is not in checks.txt"]);
    }

    #[test]
    fn a_program_that_dies_early_fails() {
        assert!(!judged("ok a: one", "a: one\n").holds());
        let report = judged("FAILED a: one: no", "a: one\nb: two\n");
        let missing = "b: two: was not reported".to_owned();
        assert!(report.failed.contains(&missing), "{:?}", report.failed);
        assert!(!judged("ok a: one\n2 passed, 0 failed, 0 not yet", "a: one\n").holds());
    }
}
