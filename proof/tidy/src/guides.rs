//! Pages by which somebody decides: what they must say, and that each row has a command to type.
//!
//! This knows words, not truth. Whether what is said of another system is so, only a reader can tell; that the row, its
//! source and our answer are there is what can be checked.

use crate::field::Lab;

/// Where people decide whether and how large, and what must be said there of faults.
pub const CRASH_FAULTS: [(&str, &[&str]); 2] = [
    (
        "README.md",
        &[
            "It tolerates members that crash",
            "not members that lie on purpose",
        ],
    ),
    (
        "docs/guide/operations.md",
        &[
            "Quorate is for crash faults only.",
            "need 3f + 1 members",
            "Lying members are not tolerated",
        ],
    ),
];

/// Locks that the page of locks compares, by the name in their row.
const LOCKS: [&str; 4] = [
    "`SET NX PX` in one store",
    "a row lock",
    "a lease lock with a fence",
    "Redlock",
];

/// Systems that the page of systems has a row and an answer for.
const SYSTEMS: [&str; 10] = [
    "Spanner",
    "CockroachDB",
    "etcd",
    "DynamoDB",
    "Cassandra",
    "MongoDB",
    "Redis",
    "S3",
    "ZooKeeper",
    "Consul",
];

/// Levels as `--consistency` takes them; `bounded` has its bound behind a colon.
const LEVELS: [&str; 4] = ["linearizable", "lease", "session", "sequential"];

/// Which of the sentences the page lacks, however its lines are broken.
pub fn unsaid(path: &str, text: &str, sentences: &[&str]) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = words(text);
    let missing = sentences.iter().filter(|one| !said.contains(&words(one)));
    missing
        .map(|one| format!("{path}: does not say \"{one}\""))
        .collect()
}

/// Whether a script has a line that begins with this command, or runs it by cargo; a comment is none.
pub fn unrun(path: &str, text: &str, command: &str) -> Vec<String> {
    let runs = |line: &str| {
        line.starts_with(command) || (line.starts_with("cargo run ") && line.contains(command))
    };
    match text.lines().any(runs) {
        true => Vec::new(),
        false => vec![format!("{path}: does not run `{}`", command.trim())],
    }
}

/// Complaints about the page of locks: each has one row, when it is enough, when not, and a run that the lab has.
pub fn locks(path: &str, text: &str, lab: &Lab) -> Vec<String> {
    let mut found = Vec::new();
    for lock in LOCKS {
        let Some(cells) = row(text, |first| first == lock) else {
            found.push(format!("{path}: has no row for {lock}"));
            continue;
        };
        if cells.len() != 4 || cells.iter().any(|cell| cell.is_empty()) {
            found.push(format!("{path}: {lock}: a cell is missing"));
        }
        let commands = quoted(cells.last().copied().unwrap_or_default());
        if !commands.iter().any(|it| it.starts_with("quorate lab run ")) {
            found.push(format!("{path}: {lock}: no run shows it"));
        }
    }
    // In the prose, too: what is typed must be there.
    for command in quoted(text) {
        if let Some(what) = lab.complaint(command) {
            found.push(format!("{path}: `{command}`: {what}"));
        }
    }
    found
}

/// Complaints about the page of systems: each has a row with its source, and an answer with a level that there is.
pub fn systems(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for system in SYSTEMS {
        match row(text, |first| first == system) {
            None => found.push(format!("{path}: has no row for {system}")),
            Some(cells) if cells.len() != 5 || cells.iter().any(|cell| cell.is_empty()) => {
                found.push(format!("{path}: {system}: a cell is missing"));
            }
            Some(cells) if !cells[4].contains("](https://") => {
                found.push(format!("{path}: {system}: no source is named"));
            }
            Some(_) => {}
        }
        let habit = format!("{system}: ");
        match row(text, |first| first.starts_with(&habit)) {
            Some(_) => {}
            None => found.push(format!("{path}: {system}: no habit has an answer")),
        }
    }
    for cells in rows(text).filter(|cells| is_habit(cells)) {
        if !quoted(cells[1]).iter().any(|command| asks(command)) {
            found.push(format!("{path}: {}: no read answers it", cells[0]));
        }
    }
    found
}

/// Whether a row tells a habit of one of the systems.
fn is_habit(cells: &[&str]) -> bool {
    let of = |first: &str| first.split_once(": ").map(|(system, _)| system.to_string());
    cells.len() == 2 && of(cells[0]).is_some_and(|system| SYSTEMS.contains(&system.as_str()))
}

/// Whether a command is a read of a level that there is.
fn asks(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["quorate", "get", _, "--consistency", level] = words.as_slice() else {
        return false;
    };
    let bound = level.strip_prefix("bounded:");
    LEVELS.contains(level) || bound.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
}

/// The rows of all tables, without their edges.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let tables = text.lines().filter_map(|line| {
        line.trim()
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
    });
    tables.map(|line| line.split('|').map(str::trim).collect())
}

/// The first row whose first cell is wanted.
fn row(text: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
    rows(text).find(|cells| cells.first().is_some_and(|first| wanted(first)))
}

/// What stands between backticks, line by line: a fence of three holds nothing.
fn quoted(text: &str) -> Vec<&str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|piece| !piece.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [&str; 0] = [];

    #[test]
    fn a_sentence_that_goes_is_missed_and_one_that_is_wrapped_is_not() {
        let page = "It is for crash\nfaults only, and\n   says so.";
        assert_eq!(unsaid("page", page, &["crash faults only"]), NONE);
        assert_eq!(
            unsaid("page", page, &["says so.", "3f + 1"]),
            ["page: does not say \"3f + 1\""]
        );
    }

    #[test]
    fn a_script_that_only_speaks_of_a_command_does_not_run_it() {
        let run = |text: &str| unrun("script", text, "-p chaos -- storms ");
        assert_eq!(run("cargo run -p chaos -- storms --seconds 5\n"), NONE);
        assert_eq!(run("# cargo run -p chaos -- storms x\n").len(), 1);
        assert_eq!(run("echo cargo run -p chaos -- storms x\n").len(), 1);
        assert_eq!(unrun("script", ".ci/chaos\n", ".ci/chaos"), NONE);
    }

    /// A page with a good row for every lock, but this one for the first.
    fn page_of_locks(first: &str) -> Vec<String> {
        let good = "harmless | harm | `quorate lab run two-hands` |";
        let mut page = format!("| lock | enough | not | see |\n| - | - | - | - |\n{first}");
        for lock in &LOCKS[1..] {
            page += &format!("| {lock} | {good}\n");
        }
        let lab = Lab {
            exhibits: vec![("two-hands".into(), vec!["both".into()])],
            ..Lab::default()
        };
        locks("page", &page, &lab)
    }

    #[test]
    fn each_lock_has_when_it_is_enough_and_a_run_that_is_there() {
        let row = |rest: &str| page_of_locks(&format!("| {} | {rest}\n", LOCKS[0]));
        assert_eq!(
            row("a | b | `quorate lab run two-hands --break both` |"),
            NONE
        );
        for (rest, why) in [
            ("a | | `quorate lab run two-hands` |", "a cell is missing"),
            ("a | b | `quorate lab question 5` |", "no run shows it"),
            ("a | b | `quorate lab run hands` |", "the lab has no hands"),
            (
                "a | b | `quorate lab run two-hands --break one` |",
                "two-hands has no rule one",
            ),
        ] {
            let said = row(rest);
            assert!(
                said.len() == 1 && said[0].ends_with(why),
                "{rest}: {said:?}"
            );
        }
        assert_eq!(
            page_of_locks(""),
            ["page: has no row for `SET NX PX` in one store"]
        );
    }

    /// A page with good rows for every system, but these for the first.
    fn page_of_systems(promise: &str, habit: &str) -> Vec<String> {
        let mut promises = promise.to_string();
        let mut habits = habit.to_string();
        for system in &SYSTEMS[1..] {
            promises += &format!("| {system} | a | b | c | [d](https://d) |\n");
            habits += &format!("| {system}: e | `quorate get k --consistency lease` |\n");
        }
        systems("page", &format!("{promises}\n{habits}"))
    }

    #[test]
    fn each_system_has_its_promise_its_source_and_an_answer() {
        let promise = "| Spanner | a | b | c | [d](https://d) |\n";
        let habit = "| Spanner: e | `quorate get k --consistency bounded:10s` |\n";
        assert_eq!(page_of_systems(promise, habit), NONE);
        for (promise, habit, why) in [
            ("", habit, "has no row for Spanner"),
            (promise, "", "no habit has an answer"),
            (
                "| Spanner | a | | c | [d](https://d) |\n",
                habit,
                "a cell is missing",
            ),
            (
                "| Spanner | a | b | c | a book |\n",
                habit,
                "no source is named",
            ),
            (
                promise,
                "| Spanner: e | `quorate get k --consistency strong` |\n",
                "no read answers it",
            ),
            (
                promise,
                "| Spanner: e | `quorate get k --consistency bounded` |\n",
                "no read answers it",
            ),
        ] {
            let said = page_of_systems(promise, habit);
            assert!(said.len() == 1 && said[0].ends_with(why), "{why}: {said:?}");
        }
    }
}
