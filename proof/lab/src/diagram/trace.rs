//! The picture as a trace: JSON lines with vector clocks.
//!
//! A line is `{"host":"p1","clock":{"p1":1},"event":"…","step":1}`. ShiViz opens the file with the parser
//! [`SHIVIZ`].

use super::{Kind, Picture};
use std::collections::BTreeMap;

/// The regular expression that ShiViz (or anybody) reads a trace with.
pub const SHIVIZ: &str = r#"^\{"host":"(?<host>(?:[^"\\]|\\.)+)","clock":(?<clock>\{[^}]*\}),"event":"(?<event>(?:[^"\\]|\\.)*)","step":\d+\}$"#;

impl Picture {
    /// A line for each event that happened to a process; the clock counts what each process had done that this
    /// event can know of.
    pub fn trace(&self) -> String {
        let mut clocks: Vec<BTreeMap<usize, u64>> = vec![BTreeMap::new(); self.processes.len()];
        let mut sent: BTreeMap<usize, BTreeMap<usize, u64>> = BTreeMap::new();
        let mut lines = String::new();
        for (step, event) in self.events.iter().enumerate() {
            // A loss and a tick happen to nobody who could know of them.
            if matches!(
                event.kind,
                Kind::Everywhere | Kind::Tick | Kind::Lost { .. }
            ) {
                continue;
            }
            if let Kind::Received { message, .. } = &event.kind
                && let Some(before) = sent.get(message)
            {
                for (process, count) in before {
                    let known = clocks[event.at].entry(*process).or_default();
                    *known = (*known).max(*count);
                }
            }
            *clocks[event.at].entry(event.at).or_default() += 1;
            for message in &event.sends {
                sent.insert(message.message, clocks[event.at].clone());
            }
            let quote = |text: &str| serde_json::Value::from(text).to_string();
            let name = |at: usize| quote(self.processes.get(at).map_or("?", String::as_str));
            let clock: Vec<String> = clocks[event.at]
                .iter()
                .map(|(process, count)| format!("{}:{count}", name(*process)))
                .collect();
            lines += &format!(
                "{{\"host\":{},\"clock\":{{{}}},\"event\":{},\"step\":{}}}\n",
                name(event.at),
                clock.join(","),
                quote(&event.line(&self.processes)),
                step + 1
            );
        }
        lines
    }
}
