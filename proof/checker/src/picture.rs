//! A counter-example as one HTML file: who asked what when, what is guilty, why, and the orders tried.
//!
//! ```text
//!   client 1  ├ #298 put k=v149 ┤   ├ #300 put k=v150 ┤
//!   client 2                                            ├ #999 get k → v149 ┤
//! ```
//!
//! The idea of a lane for each client is Porcupine's. The file needs nothing but itself: no scripts, no
//! fonts, no links. Its axis shows the order of calls and answers, not their distance: what counts is who
//! was first and who overlapped, and a pause of seconds would push everything else together. One
//! violation gives the same bytes every time.

use crate::history::{Answer, Operation, Outcome, Row, Time, text};
use crate::orders::label;
use crate::verdict::Violation;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Operations around the guilty ones that are drawn for each of them.
const NEIGHBOURS_MAX: usize = 3;
/// More guilty operations than this are drawn alone.
const GUILTY_WITH_NEIGHBOURS_MAX: usize = 12;
/// Operations in one picture. Of more guilty ones the last are drawn: the promise is broken there.
const DRAWN_MAX: usize = 60;
/// Letters of an operation that fit on its bar.
const LETTERS_MAX: usize = 44;

const LETTER_PX: usize = 8;
const MOMENT_PX: usize = 16;
const LANE_PX: usize = 46;
const BAR_PX: usize = 28;
const LEFT_PX: usize = 90;

/// The picture of `violation`, or nothing when no operation of `history` proves it. `where_from` says
/// which run this is: a seed and its world.
pub fn html(violation: &Violation, history: &[Operation], where_from: &str) -> Option<String> {
    let guilty: BTreeSet<u64> = violation.operations.iter().copied().collect();
    let drawn = drawn(&guilty, history);
    if !drawn.iter().any(|op| guilty.contains(&op.number)) {
        return None;
    }
    let claim = escape(&violation.claim.replace('_', " "));
    let mut page =
        format!("{HEAD}<title>{claim}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n");
    let _ = writeln!(page, "<h1>Broken: {claim}</h1>");
    let _ = writeln!(page, "<p class=\"from\">{}</p>", escape(where_from));
    page += "<h2>Who asked what when</h2>\n<p>One lane for each client; a bar begins with the call and \
             ends with the answer. The axis keeps their order and not their distance. Red: the operations \
             that prove it. Dashed: nobody knows what became of it.</p>\n";
    page += &svg(&drawn, &guilty);
    let _ = writeln!(
        page,
        "<h2>Why</h2>\n<pre>{}</pre>",
        escape(&violation.evidence)
    );
    page += &orders(violation);
    page += &table(&drawn, &guilty);
    page += "</body>\n</html>\n";
    Some(page)
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1c2330; --soft: #667085; --line: #d5dae3;
  --bar: #e4e9f2; --guilty: #fbdcd9; --edge: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --ink: #e6e9ef; --soft: #98a2b3;
  --line: #343c4a; --bar: #263041; --guilty: #55201b; --edge: #ff8a7d; } }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.from, p { color: var(--soft); } .bad { color: var(--edge); }
pre, .lanes, .wide { overflow-x: auto; } pre, code, td { font: 13px/1.5 ui-monospace, monospace; }
pre { border: 1px solid var(--line); padding: .8rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .2rem .7rem;
  text-align: left; vertical-align: top; } tr.guilty td:first-child { border-left: 4px solid var(--edge); }
svg text { fill: var(--ink); font: 12px ui-monospace, monospace; } svg .name { fill: var(--soft); }
svg line { stroke: var(--line); } svg rect { fill: var(--bar); stroke: var(--soft); }
svg .guilty rect { fill: var(--guilty); stroke: var(--edge); stroke-width: 2; }
svg .unknown rect { stroke-dasharray: 5 4; } svg .refused text { text-decoration: line-through; }
";

/// The guilty operations and a few that overlapped each, in the order of their calls.
fn drawn<'a>(guilty: &BTreeSet<u64>, history: &'a [Operation]) -> Vec<&'a Operation> {
    let mut chosen: Vec<&Operation> = history
        .iter()
        .filter(|op| guilty.contains(&op.number))
        .collect();
    chosen.sort_by_key(|op| (op.call, op.number));
    chosen.drain(..chosen.len().saturating_sub(DRAWN_MAX));
    let mut numbers: BTreeSet<u64> = chosen.iter().map(|op| op.number).collect();
    if chosen.len() <= GUILTY_WITH_NEIGHBOURS_MAX {
        for op in chosen.clone() {
            let near = history.iter().filter(|other| {
                let end = |op: &Operation| match op.outcome {
                    Outcome::Unknown => op.call,
                    _ => op.returned,
                };
                other.call <= end(op) && op.call <= end(other)
            });
            for other in near.take(NEIGHBOURS_MAX) {
                if numbers.insert(other.number) {
                    chosen.push(other);
                }
            }
        }
    }
    chosen.sort_by_key(|op| (op.call, op.number));
    chosen
}

/// A bar: where it is, and what is written on it.
struct Bar {
    first_px: usize,
    end_px: usize,
    words: String,
}

fn svg(drawn: &[&Operation], guilty: &BTreeSet<u64>) -> String {
    let clients: BTreeSet<u64> = drawn.iter().map(|op| op.client).collect();
    let lanes: BTreeMap<u64, usize> = clients.into_iter().zip(0..).collect();
    let bars = bars(drawn);
    let end = bars.iter().map(|bar| bar.end_px).max().unwrap_or(LEFT_PX);
    let (width, height) = (end + MOMENT_PX, lanes.len() * LANE_PX + 8);
    let mut svg = format!(
        "<div class=\"lanes\"><svg width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"operations by client\">\n"
    );
    for (client, lane) in &lanes {
        let middle = lane * LANE_PX + LANE_PX / 2;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT_PX}\" y1=\"{middle}\" x2=\"{width}\" y2=\"{middle}\"/>\
             <text class=\"name\" x=\"4\" y=\"{}\">client {client}</text>",
            middle + 4
        );
    }
    for (op, bar) in drawn.iter().zip(&bars) {
        let mut class = String::from(match op.outcome {
            Outcome::Answered { .. } => "answered",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown => "unknown",
        });
        if guilty.contains(&op.number) {
            class += " guilty";
        }
        let top = lanes[&op.client] * LANE_PX + (LANE_PX - BAR_PX) / 2;
        let _ = writeln!(
            svg,
            "<g class=\"{class}\"><title>{}</title><rect x=\"{}\" y=\"{top}\" width=\"{}\" \
             height=\"{BAR_PX}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&op.to_string()),
            bar.first_px,
            bar.end_px - bar.first_px,
            bar.first_px + LETTER_PX,
            top + 18,
            escape(&bar.words)
        );
    }
    svg + "</svg></div>\n"
}

/// Calls and answers in their order, each as far to the right as the words on the bars need.
fn bars(drawn: &[&Operation]) -> Vec<Bar> {
    // A call sorts before an answer at the same moment: then they overlap.
    let mut moments: Vec<(Time, u8, usize)> = Vec::new();
    for (at, op) in drawn.iter().enumerate() {
        moments.push((op.call, 0, at));
        moments.push((end_of(op, drawn), 1, at));
    }
    moments.sort_unstable();
    let mut bars: Vec<Bar> = drawn
        .iter()
        .map(|op| Bar {
            first_px: 0,
            end_px: 0,
            words: words(op),
        })
        .collect();
    let mut px = LEFT_PX;
    for (_, kind, at) in moments {
        px += MOMENT_PX;
        let bar = &mut bars[at];
        if kind == 0 {
            bar.first_px = px;
        } else {
            px = px.max(bar.first_px + (bar.words.chars().count() + 2) * LETTER_PX);
            bar.end_px = px;
        }
    }
    bars
}

/// An operation that nobody heard of again is drawn until its client asks the next one.
fn end_of(op: &Operation, drawn: &[&Operation]) -> Time {
    if op.outcome != Outcome::Unknown {
        return op.returned;
    }
    let next = drawn
        .iter()
        .filter(|other| other.client == op.client && other.call > op.call);
    let next = next.map(|other| Time(other.call.0 - 1)).min();
    next.unwrap_or(Time(u64::MAX))
}

fn words(op: &Operation) -> String {
    let told = match &op.outcome {
        Outcome::Answered { answer, .. } => brief(answer),
        Outcome::Refused { .. } => "refused".to_owned(),
        Outcome::Unknown => "?".to_owned(),
    };
    let asked = cut(
        &op.request.to_string(),
        LETTERS_MAX - told.chars().count() - 2,
    );
    format!("#{} {asked} → {told}", op.number)
}

/// An answer in a few letters.
fn brief(answer: &Answer) -> String {
    let value = |row: &Row| text(&row.value);
    let brief = match answer {
        Answer::Rows(rows) => match &rows[..] {
            [] => "nothing".to_owned(),
            [row] => value(row),
            rows => format!("{} rows", rows.len()),
        },
        Answer::Txn { succeeded, .. } => (if *succeeded { "then" } else { "else" }).to_owned(),
        Answer::Put { .. } => "ok".to_owned(),
        other => other.to_string(),
    };
    cut(&brief, LETTERS_MAX / 2)
}

fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.max(1) - 1).chain(['…']).collect()
}

fn orders(violation: &Violation) -> String {
    if violation.attempts.is_empty() {
        return String::new();
    }
    let mut list = "<h2>Orders that were tried</h2>\n<p>Each stops where nothing may follow: what had been \
                    answered before something else was asked goes before it. The longest come first.</p>\n<ol>\n"
        .to_owned();
    for attempt in &violation.attempts {
        let placed: Vec<String> = attempt.order.iter().map(|number| label(*number)).collect();
        let placed = match placed.is_empty() {
            true => "at the very beginning".to_owned(),
            false => placed.join(" → "),
        };
        let _ = write!(list, "<li><code>{placed}</code>");
        for reason in &attempt.stuck {
            let _ = write!(list, "<br><span class=\"bad\">✗ {}</span>", escape(reason));
        }
        list += "</li>\n";
    }
    list + "</ol>\n"
}

fn table(drawn: &[&Operation], guilty: &BTreeSet<u64>) -> String {
    let mut table = "<h2>All that is drawn</h2>\n<div class=\"wide\"><table>\n<tr><th></th><th>client</th>\
                     <th>call</th><th>answer</th><th>asked</th><th>told</th><th>revision</th></tr>\n"
        .to_owned();
    for op in drawn {
        let (told, returned) = match &op.outcome {
            Outcome::Answered { answer, .. } => (answer.to_string(), op.returned.to_string()),
            Outcome::Refused { reason } => (format!("refused: {reason}"), op.returned.to_string()),
            Outcome::Unknown => ("unknown".to_owned(), String::new()),
        };
        let class = match guilty.contains(&op.number) {
            true => " class=\"guilty\"",
            false => "",
        };
        let revision = op.revision().map_or(String::new(), |at| at.to_string());
        let _ = writeln!(
            table,
            "<tr{class}><td>#{}</td><td>{}</td><td>{}</td><td>{returned}</td><td>{}</td><td>{}</td>\
             <td>{revision}</td></tr>",
            op.number,
            op.client,
            op.call,
            escape(&op.request.to_string()),
            escape(&told)
        );
    }
    table + "</table></div>\n"
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
