//! The picture as text.
//!
//! ```text
//!        p1      a1      a2
//!    1   ●       │       │       p1  propose x
//!    2   ├──────▶●       │       p1 → a1  prepare 1.p1: promises 1.p1
//!    3   │       ✕       │       a1  crashes
//! ```

use super::{Kind, Picture};
use std::fmt::Write as _;

/// A column is at least so wide.
const COLUMN_MIN: usize = 8;
/// So many ticks in which nothing happens, or more, are one row.
const FOLDED_MIN: usize = 3;

impl Picture {
    /// The picture as text: a row for each event, the arrow on the row where the message arrives. When it was sent
    /// earlier than on the row before, the row says where ("sent at 2"). Ticks between which nothing happens share a
    /// row; the next has the number that it would have without that.
    pub fn text(&self) -> String {
        let widest = self
            .processes
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        let width = (widest + 2).max(COLUMN_MIN);
        let mut rows = String::new();
        let mut head = String::from("      ");
        for name in &self.processes {
            let _ = write!(head, "{name:<width$}");
        }
        let _ = writeln!(rows, "{}", head.trim_end());
        let mut life = vec!['│'; self.processes.len()];
        let mut sent_at = std::collections::BTreeMap::new();
        let mut after_fold = 0;
        for (at, event) in self.events.iter().enumerate() {
            if at < after_fold {
                continue;
            }
            let number = at + 1;
            let mut line = event.line(&self.processes);
            let (mut marks, mut arrow) = (life.clone(), None);
            match &event.kind {
                Kind::Everywhere | Kind::Tick => {
                    let ticks = &self.events[at..at + self.ticks_from(at)];
                    if ticks.len() >= FOLDED_MIN
                        && let Some(last) = ticks.last()
                    {
                        let _ = write!(line, " … {}", last.text);
                        after_fold = at + ticks.len();
                    }
                    let dots: String = "┄".repeat((width * self.processes.len()).saturating_sub(2));
                    let _ = writeln!(rows, "{number:>4}  {dots}  {line}");
                    continue;
                }
                Kind::Received { from, message } | Kind::Lost { from, message } => {
                    let is_lost = matches!(event.kind, Kind::Lost { .. });
                    marks[event.at] = if is_lost { '✕' } else { '●' };
                    arrow = Some((*from, event.at));
                    match sent_at.get(message) {
                        Some(row) if row + 1 == number => {}
                        Some(row) => {
                            let _ = write!(line, "  (sent at {row})");
                        }
                        None => {}
                    }
                }
                Kind::Start | Kind::Woke => marks[event.at] = '●',
                Kind::Crashed => {
                    marks[event.at] = '✕';
                    life[event.at] = ' ';
                }
                Kind::Restarted => {
                    marks[event.at] = '◉';
                    life[event.at] = '│';
                }
                Kind::Paused => {
                    marks[event.at] = '‖';
                    life[event.at] = '┊';
                }
                Kind::Resumed => {
                    marks[event.at] = '▷';
                    life[event.at] = '│';
                }
                Kind::Fault => marks[event.at] = '!',
            }
            for sent in &event.sends {
                sent_at.insert(sent.message, number);
            }
            let _ = writeln!(rows, "{number:>4}  {}{line}", lanes(&marks, width, arrow));
        }
        rows
    }

    /// How many ticks follow each other from here on.
    fn ticks_from(&self, at: usize) -> usize {
        let rest = self.events[at..].iter();
        rest.take_while(|event| event.kind == Kind::Tick).count()
    }
}

/// The columns of one row, with an arrow from one to another.
fn lanes(marks: &[char], width: usize, arrow: Option<(usize, usize)>) -> String {
    let mut cells: Vec<char> = Vec::with_capacity(marks.len() * width);
    for mark in marks {
        cells.push(*mark);
        cells.extend(std::iter::repeat_n(' ', width - 1));
    }
    if let Some((from, to)) = arrow {
        let (low, high) = (from.min(to) * width, from.max(to) * width);
        for (at, cell) in cells.iter_mut().enumerate().take(high).skip(low + 1) {
            *cell = if at % width == 0 { '┼' } else { '─' };
        }
        match from.cmp(&to) {
            std::cmp::Ordering::Less => {
                cells[low] = '├';
                cells[high - 1] = '▶';
            }
            std::cmp::Ordering::Greater => {
                cells[high] = '┤';
                cells[low + 1] = '◀';
            }
            std::cmp::Ordering::Equal => {}
        }
    }
    cells.into_iter().collect()
}
