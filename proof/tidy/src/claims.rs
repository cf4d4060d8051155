//! Tables of compatibility and of advisories: a row that says "works", "taken", "served" or "held" names the test that
//! would fail if it did not.
//!
//! A table counts when it has a column "State" and a column "Test". What stands between backticks under "Test" is the
//! name of a test function (of any of our languages) or the path of a script; each must exist.

/// What a row may begin with that somebody could rely on.
const CLAIMS: [&str; 4] = ["works", "taken", "served", "held"];

/// Complaints about the tables of the page at `path`. `is_test` knows whether a test function has a name or a file a path.
pub fn complaints(path: &str, text: &str, is_test: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut columns: Option<(usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let at = number + 1;
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let place = |name: &str| cells.iter().position(|cell| *cell == name);
        if let (Some(state), Some(test)) = (place("State"), place("Test")) {
            columns = Some((state, test));
            continue;
        }
        let Some((state, test)) = columns else {
            continue;
        };
        let Some(claim) = cells
            .get(state)
            .and_then(|cell| CLAIMS.iter().find(|claim| cell.starts_with(**claim)))
        else {
            continue;
        };
        let named: Vec<&str> = cells
            .get(test)
            .map(|cell| cell.split('`').skip(1).step_by(2).collect())
            .unwrap_or_default();
        if named.is_empty() {
            found.push(format!("{path}:{at}: says \"{claim}\" and names no test"));
        }
        for name in named {
            if !is_test(name) {
                found.push(format!("{path}:{at}: there is no test `{name}`"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| Method | State | Test |
| --- | --- | --- |
| Put | works | `put_answers` |
| Range | works |  |
| Txn | works | `put_answers`, `gone` |
| Hash | refused |  |
| Alarm | taken |  |
| Status | served: the same call | `gone` |

| Method | State |
| --- | --- |
| Watch | works |
";

    #[test]
    fn a_row_that_works_names_a_test_that_exists() {
        let complaints = complaints("page", PAGE, |name| name == "put_answers");
        assert_eq!(
            complaints,
            [
                "page:4: says \"works\" and names no test",
                "page:5: there is no test `gone`",
                "page:7: says \"taken\" and names no test",
                "page:8: there is no test `gone`"
            ]
        );
    }
}
