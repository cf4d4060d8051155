//! What a run prints: tables of what was asked and what differed, and the history behind a failure.

use crate::differences::Rules;
use crate::operation::Operation;
use crate::pair::{Finding, Tally};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The rules with their reasons.
pub(crate) fn rules(rules: &Rules) -> String {
    rules.iter().fold(String::new(), |mut text, rule| {
        let _ = writeln!(text, "{}\n    {}", rule.name, rule.reason);
        text
    })
}

/// Operations by kind and differences by rule.
pub(crate) fn tables(tally: &Tally, rules: &Rules) -> String {
    let mut text = format!("{:<32} {:>9} {:>9}\n", "operation", "done", "refused");
    for (kind, (n, n_refused)) in &tally.kinds {
        let _ = writeln!(text, "{kind:<32} {n:>9} {n_refused:>9}");
    }
    let _ = writeln!(text, "\n{:<60} {:>9}", "difference that is meant", "seen");
    for (at, rule) in rules.iter().enumerate() {
        let n = tally.rules.get(&at).copied().unwrap_or(0);
        let unused = if n == 0 { "  (unused)" } else { "" };
        let _ = writeln!(text, "{:<60} {n:>9}{unused}", rule.name);
    }
    for (n, finding) in tally.unexplained.values() {
        let _ = writeln!(text, "\nUNEXPLAINED, {n} times: {finding}");
    }
    let _ = writeln!(
        text,
        "\n{} events compared, {} messages of ours in fragments",
        tally.n_events, tally.n_fragments
    );
    text
}

/// A short history, and how to play it.
pub(crate) fn history(history: &[(usize, Operation)], finding: &Finding, command: &str) -> String {
    let mut text = format!(
        "\nthe shortest history found ({} operations):\n",
        history.len()
    );
    for (number, operation) in history {
        let _ = writeln!(text, "{number:>8}: {operation}");
    }
    let numbers: Vec<usize> = history.iter().map(|(number, _)| *number).collect();
    let only = spans(&numbers);
    let _ = writeln!(text, "\n{finding}\nagain:\n  {command} --only {only}");
    text
}

/// `3,17-20`
fn spans(numbers: &[usize]) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => spans.push((*number, *number)),
        }
    }
    let words = spans.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// The numbers that `3,17-20` names.
///
/// # Errors
/// It is written in another way.
pub(crate) fn numbers(spans: &str) -> Result<BTreeSet<usize>, String> {
    let mut numbers = BTreeSet::new();
    for span in spans.split(',') {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let read = |word: &str| {
            let number = word.trim().parse::<usize>();
            number.map_err(|_| format!("{spans:?} is no list of numbers like 3,17-20"))
        };
        numbers.extend(read(first)?..=read(last)?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_spans_and_read_again() {
        let some = [3, 17, 18, 19, 20, 40];
        assert_eq!(spans(&some), "3,17-20,40");
        let read: Vec<usize> = numbers("3,17-20,40").expect("a list").into_iter().collect();
        assert_eq!(read, some);
        assert!(numbers("3,x").is_err());
    }
}
