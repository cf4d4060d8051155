//! The picture as SVG: the arrows slant from where a message was sent to where it arrived.

use super::{Kind, Picture};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const ROW: usize = 26;
const COLUMN: usize = 110;
const TOP: usize = 40;
const LEFT: usize = 60;

impl Picture {
    /// The picture as one SVG file that needs nothing else.
    pub fn svg(&self) -> String {
        let x = |process: usize| LEFT + process * COLUMN;
        let y = |row: usize| TOP + (row + 1) * ROW;
        let words = x(self.processes.len());
        let longest = self
            .events
            .iter()
            .map(|event| event.line(&self.processes).chars().count());
        let (width, height) = (
            words + 20 + longest.max().unwrap_or(0) * 7,
            y(self.events.len()) + 10,
        );
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
             <defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\">\
             <path d=\"M0,0 L8,4 L0,8 z\" fill=\"#246\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for (at, name) in self.processes.iter().enumerate() {
            let (x, bottom) = (x(at), y(self.events.len()));
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n\
                 <line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#bbb\"/>",
                TOP - 12,
                escape(name)
            );
        }
        let mut sent_at: BTreeMap<usize, usize> = BTreeMap::new();
        for (row, event) in self.events.iter().enumerate() {
            let y_here = y(row);
            for sent in &event.sends {
                sent_at.insert(sent.message, row);
            }
            let (mut colour, mut is_lost) = ("#246", false);
            match &event.kind {
                Kind::Received { from, message } | Kind::Lost { from, message } => {
                    is_lost = matches!(event.kind, Kind::Lost { .. });
                    let y_from = sent_at.get(message).map_or(y_here, |row| y(*row));
                    let dashes = if is_lost {
                        " stroke-dasharray=\"4 3\""
                    } else {
                        ""
                    };
                    let _ = writeln!(
                        svg,
                        "<line x1=\"{}\" y1=\"{y_from}\" x2=\"{}\" y2=\"{y_here}\" stroke=\"#246\"{dashes} \
                         marker-end=\"url(#tip)\"/>",
                        x(*from),
                        x(event.at),
                    );
                }
                Kind::Everywhere | Kind::Tick => {
                    let _ = writeln!(
                        svg,
                        "<line x1=\"{}\" y1=\"{y_here}\" x2=\"{words}\" y2=\"{y_here}\" stroke=\"#c90\" \
                         stroke-dasharray=\"2 4\"/>",
                        LEFT / 2
                    );
                }
                Kind::Crashed | Kind::Fault | Kind::Paused => colour = "#b00",
                Kind::Start | Kind::Woke | Kind::Restarted | Kind::Resumed => {}
            }
            if !matches!(event.kind, Kind::Everywhere | Kind::Tick) && !is_lost {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{}\" cy=\"{y_here}\" r=\"4\" fill=\"{colour}\"/>",
                    x(event.at)
                );
            }
            let _ = writeln!(
                svg,
                "<text x=\"{LEFT}\" y=\"{}\" text-anchor=\"end\" fill=\"#888\" dx=\"-20\">{}</text>\
                 <text x=\"{words}\" y=\"{}\" fill=\"{colour}\">{}</text>",
                y_here + 4,
                row + 1,
                y_here + 4,
                escape(&event.line(&self.processes))
            );
        }
        svg + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
