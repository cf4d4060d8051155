//! Golden scripts: text in, text out.
//!
//! A script is a text file of steps. Each step is some lines of commands, a line `---`, and what the
//! interpreter answered; blank lines part the steps. [`check`] runs the commands and compares;
//! with `UPDATE=1` in the environment it writes the answers into the file instead, and the diff is then
//! read like code.
//!
//! ```text
//! # The old holder wakes up late. Its token is stale, so its write is refused.
//! lock a jobs
//! pause a
//! ---
//! a holds jobs token=7
//!
//! put a x=1 token=7
//! ---
//! refused: token 7 is older than 8
//! ```
//!
//! Lines that begin with `#` are comments, kept as they are; a step may have any number before its
//! commands. An answer may contain blank lines: they are written as `.` alone. What is deliberately
//! absent: a language. The interpreter is one function of the test, and knows the API; the scripts know
//! only their story.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::Path;

/// Runs every step of the script at `path` through `interpreter`, which gets the commands of one step
/// (without comments) and returns the answer's text. One interpreter lives through the whole script.
///
/// # Panics
/// When an answer differs from the script's (the message shows the first difference), or the script
/// cannot be read. With `UPDATE=1` in the environment the script is rewritten instead.
pub fn check(path: impl AsRef<Path>, interpreter: impl FnMut(&str) -> String) {
    let path = path.as_ref();
    let script = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let played = play(&script, interpreter);
    if played == script {
        return;
    }
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(path, played)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        return;
    }
    panic!("{}: {}", path.display(), first_difference(&script, &played));
}

/// Sees that there is a file at `path`, whatever is in it. With `UPDATE=1` in the environment one that is
/// missing is written, with what `contents` says; one that is there is never written again. For what an
/// old version wrote, which cannot change.
///
/// # Panics
/// When the file is missing and is not to be written, or cannot be.
pub fn keep(path: impl AsRef<Path>, contents: impl FnOnce() -> String) {
    let path = path.as_ref();
    if path.exists() {
        return;
    }
    let is_update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    assert!(
        is_update,
        "{} is missing: UPDATE=1 writes it",
        path.display()
    );
    std::fs::write(path, contents())
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Checks every `*.txt` of the folder `directory`, in the order of their names. `new` makes a fresh
/// interpreter for each.
///
/// # Panics
/// As [`check`]; also when there is no script.
pub fn check_all<F: FnMut(&str) -> String>(
    directory: impl AsRef<Path>,
    mut new: impl FnMut() -> F,
) {
    let directory = directory.as_ref();
    let mut scripts: Vec<_> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script in {}", directory.display());
    for script in scripts {
        check(script, new());
    }
}

/// The script with the answers that `interpreter` gives.
pub fn play(script: &str, mut interpreter: impl FnMut(&str) -> String) -> String {
    let mut played = String::new();
    for (n, block) in blocks(script).into_iter().enumerate() {
        if n > 0 {
            played.push('\n');
        }
        let mut commands = String::new();
        let mut is_step = false;
        for line in block {
            if line == "---" {
                is_step = true;
                break;
            }
            let _ = writeln!(played, "{line}");
            if !line.starts_with('#') {
                commands += line;
                commands.push('\n');
            }
        }
        // A block of comments alone is a heading; commands without a line yet get their first answer.
        if is_step || !commands.is_empty() {
            played += "---\n";
            for line in interpreter(&commands).trim_end().lines() {
                let _ = writeln!(
                    played,
                    "{}",
                    if line.is_empty() {
                        "."
                    } else {
                        line.trim_end()
                    }
                );
            }
        }
    }
    played
}

fn blocks(script: &str) -> Vec<Vec<&str>> {
    script
        .lines()
        .collect::<Vec<_>>()
        .split(|line| line.trim().is_empty())
        .filter(|block| !block.is_empty())
        .map(<[&str]>::to_vec)
        .collect()
}

fn first_difference(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let same = expected
        .iter()
        .zip(&got)
        .take_while(|(a, b)| a == b)
        .count();
    let mut text = format!("line {} differs (UPDATE=1 accepts it)\n", same + 1);
    for line in &expected[same.saturating_sub(6)..same] {
        let _ = writeln!(text, "    {line}");
    }
    for line in expected[same..].iter().take(6) {
        let _ = writeln!(text, "  - {line}");
    }
    for line in got[same..].iter().take(6) {
        let _ = writeln!(text, "  + {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str =
        "# A heading.\n\n# A story.\nadd 1\nadd 2\n---\nsum 1\nsum 3\n\nadd 4\n---\nsum 7\n";

    fn adder() -> impl FnMut(&str) -> String {
        let mut sum = 0;
        move |commands| {
            let mut answer = String::new();
            for line in commands.lines() {
                sum += line.trim_start_matches("add ").parse::<i32>().unwrap();
                let _ = writeln!(answer, "sum {sum}");
            }
            answer
        }
    }

    #[test]
    fn a_true_script_plays_to_itself() {
        assert_eq!(play(SCRIPT, adder()), SCRIPT);
    }

    #[test]
    fn a_step_without_an_answer_gets_one_and_a_wrong_one_is_shown() {
        assert_eq!(play("add 1\n", adder()), "add 1\n---\nsum 1\n");
        let wrong = SCRIPT.replace("sum 7", "sum 8");
        let difference = first_difference(&wrong, &play(&wrong, adder()));
        assert!(difference.contains("line 12 differs"), "{difference}");
        assert!(difference.contains("- sum 8") && difference.contains("+ sum 7"));
    }

    #[test]
    fn blank_lines_of_an_answer_survive_a_second_reading() {
        let once = play("go\n", |_| "a\n\nb".to_owned());
        assert_eq!(once, "go\n---\na\n.\nb\n");
        assert_eq!(play(&once, |_| "a\n\nb".to_owned()), once);
    }
}
