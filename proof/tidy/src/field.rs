//! The page of claims: every line of the field has a row, and a row that says "shown" has a command and a test.
//!
//! The table has the columns Line, State, Command and Test. What stands between backticks under "Command" is what a
//! reader types; where it speaks of the lab, what it names must be there. What stands between backticks under "Test" is
//! `file::function`, or a file.

/// Lines that the page must have.
pub fn lines() -> impl Iterator<Item = String> {
    let numbered = (1..=33).map(|line| line.to_string());
    numbered.chain((1..=8).map(|question| format!("Q{question}")))
}

/// What the lab has, for commands to name.
#[derive(Clone, Debug, Default)]
pub struct Lab {
    /// Exhibits, each with the rules that can be broken.
    pub exhibits: Vec<(String, Vec<String>)>,
    /// Calculations.
    pub calculations: Vec<String>,
    /// Measurements.
    pub measurements: Vec<String>,
}

impl Lab {
    /// Reads them from sources, as (relative path, text): the catalogue's entries are `of::NAME_::…`, rules are
    /// `rule: "…"` or `rule("…"` in the folder of an exhibit, calculations are files, measurements are `name: "…"`.
    pub fn read(sources: &[(String, String)]) -> Lab {
        let text_of = |path: &str| {
            let found = sources.iter().find(|(at, _)| at == path);
            found.map_or("", |(_, text)| text.as_str())
        };
        let catalogue = text_of("proof/lab/src/catalogue.rs");
        let folders = catalogue.split("of::").skip(1).filter_map(|rest| {
            let (folder, _) = rest.split_once("::")?;
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            folder.chars().all(is_word).then(|| folder.to_string())
        });
        let exhibits = folders.map(|folder| {
            let below = format!("proof/lab/src/algorithms/{folder}/");
            let files = sources.iter().filter(|(path, _)| path.starts_with(&below));
            let rules = files.flat_map(|(_, text)| rules(text));
            (folder.replace('_', "-"), rules.collect())
        });
        let calculations = sources.iter().filter_map(|(path, _)| {
            let file = path.strip_prefix("proof/lab/src/calculate/")?;
            file.strip_suffix(".rs").map(String::from)
        });
        Lab {
            exhibits: exhibits.collect(),
            calculations: calculations.collect(),
            measurements: quoted_after(text_of("proof/lab/src/measure/mod.rs"), "name: \""),
        }
    }

    /// Why this command cannot be typed, as far as it speaks of the lab.
    fn complaint(&self, command: &str) -> Option<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let ["quorate", "lab", what, name, rest @ ..] = words.as_slice() else {
            return None;
        };
        let has = |names: &[String]| names.iter().any(|one| one == name);
        match *what {
            "run" | "story" => {
                let Some((_, rules)) = self.exhibits.iter().find(|(one, _)| one == name) else {
                    return Some(format!("the lab has no {name}"));
                };
                let broken = rest.iter().skip_while(|word| **word != "--break").nth(1)?;
                let is_rule = rules.iter().any(|rule| rule == broken);
                (!is_rule).then(|| format!("{name} has no rule {broken}"))
            }
            "calc" => (!has(&self.calculations)).then(|| format!("there is no calculation {name}")),
            "measure" => {
                (!has(&self.measurements)).then(|| format!("there is no measurement {name}"))
            }
            "question" => {
                let is_one = name
                    .parse()
                    .is_ok_and(|number: u32| (1..=8).contains(&number));
                (!is_one).then(|| format!("there is no question {name}"))
            }
            "list" | "cluster" => None,
            other => Some(format!("the lab has no command {other}")),
        }
    }
}

/// Rules that a source gives names to: `rule: "…"`, or `rule("…"` however its lines are broken.
fn rules(text: &str) -> Vec<String> {
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    [
        quoted_after(&dense, "rule:\""),
        quoted_after(&dense, "rule(\""),
    ]
    .concat()
}

/// What stands between `mark` and the next quotation mark.
fn quoted_after(text: &str, mark: &str) -> Vec<String> {
    let pieces = text.split(mark).skip(1);
    pieces
        .filter_map(|rest| rest.split('"').next().map(String::from))
        .collect()
}

/// Complaints about the page at `path`. `is_test` knows whether `file::function` or a file is there.
pub fn complaints(
    path: &str,
    text: &str,
    lab: &Lab,
    is_test: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut columns: Option<[usize; 4]> = None;
    for (at, line) in text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
    {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let line = line.trim().trim_start_matches('|');
        let cells: Vec<&str> = line
            .strip_suffix('|')
            .unwrap_or(line)
            .split('|')
            .map(str::trim)
            .collect();
        let place = |name: &str| cells.iter().position(|cell| *cell == name);
        if let (Some(line), Some(state), Some(command), Some(test)) = (
            place("Line"),
            place("State"),
            place("Command"),
            place("Test"),
        ) {
            columns = Some([line, state, command, test]);
            continue;
        }
        let Some(columns) = columns else { continue };
        if cells
            .iter()
            .all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-'))
        {
            continue;
        }
        let [name, state, command, test] =
            columns.map(|at| cells.get(at).copied().unwrap_or_default());
        let mut complain = |what: String| found.push(format!("{path}:{at}: line {name}: {what}"));
        if !lines().any(|known| known == name) {
            complain("there is no such line".into());
        }
        seen.push(name.to_string());
        let named = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(String::from)
                .collect()
        };
        let (commands, tests) = (named(command), named(test));
        let why = |word: &str| {
            state
                .strip_prefix(word)
                .is_some_and(|why| !why.trim().is_empty())
        };
        match state {
            "shown" if commands.is_empty() => complain("is shown by no command".into()),
            "shown" if tests.is_empty() => complain("is held by no test".into()),
            "shown" => {}
            _ if why("open:") || why("later:") => {}
            other => complain(format!(
                "{other:?} is no state: shown, open: why, later: whose"
            )),
        }
        for command in commands {
            if let Some(what) = lab.complaint(&command) {
                complain(format!("`{command}`: {what}"));
            }
        }
        for test in tests {
            if !is_test(&test) {
                complain(format!("there is no test `{test}`"));
            }
        }
    }
    for line in lines().filter(|line| !seen.contains(line)) {
        found.push(format!("{path}: line {line} is missing"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Lab {
        let source = |path: &str, text: &str| (path.to_string(), text.to_string());
        Lab::read(&[
            source(
                "proof/lab/src/catalogue.rs",
                "use of::x;\n&Of::<of::two_hands::Hands>::new(),",
            ),
            source(
                "proof/lab/src/algorithms/two_hands/mod.rs",
                "rule: \"both\",\nlaw: \"one\",",
            ),
            source("proof/lab/src/calculate/sums.rs", ""),
            source("proof/lab/src/measure/mod.rs", "name: \"rain\","),
        ])
    }

    /// A page with a good row for every line, and these instead of that of line 1.
    fn page(rows: &str) -> Vec<String> {
        let good = "shown | `quorate get a` | `a.rs::holds` |";
        let mut page =
            format!("| Line | State | Command | Test |\n| --- | --- | --- | --- |\n{rows}");
        for line in lines().skip(1) {
            page += &format!("| {line} | {good}\n");
        }
        complaints("page", &page, &lab(), |name| name == "a.rs::holds")
    }

    #[test]
    fn a_claim_that_is_shown_has_a_command_and_a_test() {
        assert_eq!(
            page("| 1 | shown | `quorate get a` | `a.rs::holds` |\n"),
            [] as [&str; 0]
        );
        assert_eq!(
            page("| 1 | shown | | `a.rs::holds` |\n"),
            ["page:3: line 1: is shown by no command"]
        );
        assert_eq!(
            page("| 1 | shown | `quorate get a` | |\n"),
            ["page:3: line 1: is held by no test"]
        );
        assert_eq!(
            page("| 1 | shown | `quorate get a` | `a.rs::gone` |\n"),
            ["page:3: line 1: there is no test `a.rs::gone`"]
        );
    }

    #[test]
    fn what_is_open_says_why_and_no_line_is_missing() {
        assert_eq!(
            page("| 1 | open: no page | | |\n| 1 | later: doors | | |\n"),
            [] as [&str; 0]
        );
        assert_eq!(
            page("| 1 | open: | | |\n"),
            ["page:3: line 1: \"open:\" is no state: shown, open: why, later: whose"]
        );
        assert_eq!(page(""), ["page: line 1 is missing"]);
        assert_eq!(
            page("| 1 | later: doors | | |\n| 34 | later: doors | | |\n").len(),
            1
        );
    }

    #[test]
    fn commands_of_the_lab_name_what_is_there() {
        let said = |command: &str| {
            let row = format!("| 1 | shown | `{command}` | `a.rs::holds` |\n");
            page(&row).pop().unwrap_or_default()
        };
        for good in [
            "quorate lab run two-hands",
            "quorate lab run two-hands --break both",
            "quorate lab calc sums 1 2",
            "quorate lab measure rain",
            "quorate lab question 8",
            "quorate status",
        ] {
            assert_eq!(said(good), "", "{good}");
        }
        for (bad, why) in [
            ("quorate lab run three-hands", "the lab has no three-hands"),
            (
                "quorate lab run two-hands --break one",
                "two-hands has no rule one",
            ),
            (
                "quorate lab calc products",
                "there is no calculation products",
            ),
            ("quorate lab measure snow", "there is no measurement snow"),
            ("quorate lab question 9", "there is no question 9"),
            ("quorate lab draw x", "the lab has no command draw"),
        ] {
            assert!(said(bad).ends_with(why), "{bad}: {}", said(bad));
        }
    }
}
